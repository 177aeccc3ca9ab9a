/* SPDX-License-Identifier: GPL-2.0 */
/*
 * From bytes to verified deliveries.
 */
#ifndef BENCH_RECEIVE_H
#define BENCH_RECEIVE_H

#include <stddef.h>
#include <stdint.h>

struct run;
struct conn;

/* One read at most; before it there is room for what a packet began with. */
#define RECEIVE_MAX	(256u << 10)

/*
 * @buf holds @n bytes just read, behind LEAD_MAX bytes of room; @now is when.
 */
void receive(struct run *run, struct conn *c, unsigned char *buf, size_t n,
	     uint64_t now);

#endif
