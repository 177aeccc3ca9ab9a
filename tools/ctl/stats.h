/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The counters of the network namespace.
 */
#ifndef CTL_STATS_H
#define CTL_STATS_H

#include <linux/kmqtt.h>
#include <stddef.h>
#include <stdint.h>

/* By enum kmqtt_a_counter. */
struct stats_counters {
	uint64_t values[KMQTT_A_COUNTER_MAX + 1];
};

struct stats {
	uint64_t conns;
	uint64_t subs;
	uint64_t filters;
	uint64_t sink_seq;
	uint64_t sink_records;
	uint64_t sink_bytes;
	uint64_t sink_waiting;
	uint64_t sink_waits;
	uint64_t memory;
	uint64_t memory_limit;
	uint64_t ended[KMQTT_END_MAX + 1];
	struct stats_counters total;
	struct stats_counters *workers;
	size_t worker_count;
};

/*
 * Asks the module, to which we are connected. Returns 0, or -errno having said
 * what is wrong. What it returned 0 for is to be freed.
 */
int stats_get(struct stats *stats);
void stats_free(struct stats *stats);

/* Deliveries and publishes, whatever the reason. */
uint64_t stats_dropped(const struct stats *stats);

#endif
