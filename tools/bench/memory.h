/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The scenario about memory: what an idle client costs, and a subscription.
 */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include "meminfo.h"

/* So many clients share a filter. */
#define MEMORY_SHARED		10
/* All in one packet. */
#define MEMORY_FILTERS_MAX	200

struct run;

/* Before, with clients, with subscriptions. */
struct memory {
	unsigned int nread;
	struct meminfo read[3];
};

void memory_work(struct run *run);

/* The part of the report. */
void memory_print(const struct run *run);
void memory_json(const struct run *run);

#endif
