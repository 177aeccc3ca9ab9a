/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Many subscriptions, and messages that match few of them.
 */
#ifndef BENCH_MATCH_H
#define BENCH_MATCH_H

#include <stdint.h>

/* Four filters a device, whose number has six digits. */
#define MATCH_FILTERS_MAX	4000000u
/* Each device's four filters are different clients'. */
#define MATCH_CLIENTS_MIN	4u
/* A packet fits what a connection carries over. */
#define MATCH_PAYLOAD_MAX	128u

struct run;
struct conn;
struct match;

void match_work(struct run *run);
void match_free(struct match *m);

/* A PUBLISH has come, whole. */
void match_delivery(struct run *run, struct conn *c, const unsigned char *p,
		    uint32_t len, uint64_t now);

#endif
