/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a stretch of time cost the machine, and this process.
 */
#ifndef BENCH_COST_H
#define BENCH_COST_H

#include <stdbool.h>
#include <stdint.h>

struct cost {
	bool have_sched;	/* /proc/schedstat was there */
	bool have_stat;		/* /proc/stat was there */
	uint64_t sched_ns;	/* all processors' busy time, precise */
	uint64_t stat_ns;	/* the same in clock ticks, mostly 10 ms */
	uint64_t own_ns;	/* this process, user and kernel */
};

/* Sleeps a little first: busy time is booked at context switches. */
void cost_read(struct cost *c);

/* @a becomes the cost from @since to @a. */
void cost_since(struct cost *a, const struct cost *since);

/* Adds up stretches, beginning with one of zeroes. */
void cost_add(struct cost *a, const struct cost *b);

/* The better figure for the whole machine, and where it comes from. */
uint64_t cost_machine_ns(const struct cost *c);
const char *cost_source(const struct cost *c);

#endif
