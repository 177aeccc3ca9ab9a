/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests one after the other, up to a window of them at a time, and what
 * they cost by tenths: whether the last is as cheap as the first.
 */
#ifndef BENCH_SWEEP_H
#define BENCH_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "cost.h"
#include "hist.h"

#define SWEEP_TENTHS	10

struct run;

struct tenth {
	struct cost cost;
	uint64_t count;
};

struct sweep {
	const char *name;	/* "ping" */
	const char *each;	/* of the requests, mostly the same */
	uint64_t count;
	uint64_t items;		/* that all requests carry, or 0: one each */
	const char *item;	/* "delivery" */
	unsigned int window;
	void (*begin)(struct run *run, uint64_t i);
	uint64_t begun;
	uint64_t done;
	uint64_t elapsed_ns;	/* without the pauses between tenths */
	struct hist hist;
	struct cost cost;
	struct tenth tenths[SWEEP_TENTHS];
};

/* The next of the run's sweeps, or its last. */
struct sweep *sweep_new(struct run *run, const char *name, uint64_t count,
			void (*begin)(struct run *run, uint64_t i));

/* False: it failed, or was interrupted. */
bool sweep_run(struct run *run, struct sweep *s);

/* A request that was sent at @since_ns has been answered. */
void sweep_answered(struct run *run, uint64_t since_ns);

#endif
