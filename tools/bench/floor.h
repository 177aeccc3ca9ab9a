/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The built-in broker that does nothing but send.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <stdint.h>
#include <sys/types.h>

struct options;

struct floor {
	pid_t pid;	/* 0: not started */
	unsigned int port;
};

/* Starts it on a free loopback port; 0 or a negative error. */
int floor_start(struct floor *floor, const struct options *opt,
		uint32_t packet_len);
void floor_stop(struct floor *floor);

#endif
