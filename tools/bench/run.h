/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One run of one scenario: what its parts work on together.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "bench.h"
#include "conn.h"
#include "cost.h"
#include "load.h"
#include "net.h"
#include "shape.h"
#include "stall.h"
#include "sweep.h"

/* Reporting thousands of ready sockets at once costs fewer calls. */
#define EVENTS_MAX	4096

/* A scenario has at most so many. */
#define SWEEPS_MAX	4

enum phase {
	PHASE_SETUP,
	PHASE_WARMUP,
	PHASE_LOAD,
	PHASE_SWEEP,
};

struct run {
	const struct options *opt;
	enum phase phase;
	struct net net;
	struct shape shape;
	struct load load;
	struct conn *conns;	/* subscribers, then publishers */
	unsigned char *carries;	/* @carry_len bytes of each */
	uint32_t carry_len;
	uint32_t nconns;
	uint32_t opened;
	uint32_t opening;	/* begun, not yet ready */
	uint32_t ready;
	uint64_t turn;		/* whose ping is next */
	bool found;		/* an address that answers */
	int epoll;
	int timer;
	struct epoll_event *events;
	unsigned char *buf;	/* LEAD_MAX + RECEIVE_MAX bytes */
	unsigned char *acks;	/* as many, for what was read */
	size_t acks_len;
	uint64_t unacked;	/* QoS 1 messages without PUBACK */
	bool forgetting;	/* sessions are being removed */
	uint64_t bytes;		/* read and written: a sign of life */
	uint64_t bytes_then;
	uint64_t moved_ns;	/* when @bytes last changed */
	uint64_t start_ns;	/* of the phase */
	uint64_t end_ns;
	uint64_t shown_ns;	/* the last progress line */
	bool shown;
	struct match *match;
	struct memory *memory;
	struct stall stall;
	pid_t pid;		/* of the broker, or 0 */
	struct sweep sweeps[SWEEPS_MAX];
	unsigned int nsweeps;
	struct sweep *sweep;	/* the one that is running */
	bool have_cost;
	struct cost cost;	/* of the load phase */
	bool failed;
	bool timed_out;
	char error[320];
};

extern volatile sig_atomic_t run_interrupted;

/* The first failure ends the run, and is the one reported. */
void run_fail(struct run *run, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static inline bool run_over(const struct run *run)
{
	return run->failed || run_interrupted;
}

/*
 * Waits for events, at most @timeout_ms (-1: until the next tick), and
 * handles them. Returns how many there were.
 */
int run_round(struct run *run, int timeout_ms);

/*
 * A connection on which request and answer have just alternated delays its
 * ACKs, until one was delayed in vain, for 200 ms at most; from then on there
 * is one a read. Without a pause before messages are sent, what a delivery
 * costs would depend on how long ago its subscriber has connected.
 */
void run_rest(struct run *run);

static inline struct conn *run_publisher(struct run *run, uint32_t index)
{
	return &run->conns[run->opt->subscribers + index];
}

#endif
