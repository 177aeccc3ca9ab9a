/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kmqtt-bench: what every part of the load generator shares.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define NSEC_PER_SEC	1000000000ull
#define NSEC_PER_MSEC	1000000ull

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

/* Exit codes; --help documents them. */
enum {
	BENCH_OK = 0,
	BENCH_FAILED = 1,
	BENCH_USAGE = 2,
};

enum scenario {
	SCENARIO_FANOUT,
	SCENARIO_FANIN,
	SCENARIO_P2P,
	SCENARIO_PING,
	SCENARIO_CONNECT,
	SCENARIO_SUBSCRIBE,
	SCENARIO_MATCH,
	SCENARIO_MEMORY,
};

#define SCENARIOS	(SCENARIO_MEMORY + 1)

extern const char *const scenario_names[SCENARIOS];

/* What the built-in broker can be told to do wrong (see fault.c). */
enum fault_kind {
	FAULT_NONE,
	FAULT_LOSS,
	FAULT_DUPLICATE,
	FAULT_REORDER,
	FAULT_CORRUPT,
	FAULT_TOPIC,
	FAULT_SHORT,
	FAULT_CLOSE,
};

struct options {
	enum scenario scenario;
	bool floor;
	const char *host;
	unsigned int port;
	unsigned int publishers;
	unsigned int subscribers;	/* without those who stall */
	unsigned int stalled;
	unsigned int rest;
	unsigned int window;
	uint64_t deliveries;		/* or requests */
	unsigned int filters;		/* memory: of each client */
	pid_t pid;			/* memory: of the broker, or 0 */
	unsigned int subscriptions;	/* match: of all clients together */
	uint64_t duration_ns;		/* 0: count deliveries instead */
	uint64_t warmup;		/* messages */
	unsigned int payload;
	unsigned int qos;
	unsigned int publisher_version;	/* of the protocol */
	unsigned int subscriber_version; /* and of those who only ask */
	bool identifiers;		/* of subscriptions */
	unsigned int properties;	/* user properties of a PUBLISH */
	bool durable;			/* subscribers' sessions */
	const char *prefix;
	unsigned int timeout_s;
	bool nodelay;
	bool batch;			/* SCHED_BATCH for this process */
	bool json;
	bool quiet;
	bool progress;
	bool instructions;		/* a ns of the clock is one */
	enum fault_kind fault;
	uint64_t fault_every;
};

/* Messages in a window, and not requests one by one? */
static inline bool options_load(const struct options *opt)
{
	return opt->scenario <= SCENARIO_P2P;
}

/* Every publisher has a topic of its own, and one subscriber. */
static inline bool options_pairs(const struct options *opt)
{
	return opt->scenario == SCENARIO_P2P;
}

/* Without room for publisher, sequence and time, order goes unchecked. */
#define STAMP_LEN	16u

static inline bool options_stamped(const struct options *opt)
{
	return opt->payload >= STAMP_LEN;
}

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Runs what the options ask for, reports, returns the exit code. */
int scenario_run(const struct options *opt);

#endif
