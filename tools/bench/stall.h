/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Subscribers that stop reading.
 */
#ifndef BENCH_STALL_H
#define BENCH_STALL_H

#include <stddef.h>
#include <stdint.h>

struct run;
struct conn;

/* The kernel's memory, in bytes. */
struct stall {
	uint64_t before;	/* the stalled were filled */
	uint64_t peak;
};

/* Makes a fresh socket take little. */
void stall_shrink(int fd);

/* The topic that only the stalled subscribe to. @buf has @size bytes. */
void stall_topic(const struct run *run, char *buf, size_t size);

/* Nothing will be read from now on. */
void stall_begin(struct run *run, struct conn *c);

/* Publishes to the stalled alone until nothing fits on the way to them. */
void stall_fill(struct run *run);

/* Watches the peak: to be called now and then. */
void stall_watch(struct run *run);

#endif
