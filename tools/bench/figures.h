/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every report is made of: latency, cost, and JSON.
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "cost.h"
#include "hist.h"

struct run;

/* The cost of one of many, in ns or instructions. */
struct share_of_cost {
	double broker;
	double machine;
	double own;
};

struct share_of_cost figures_share(uint64_t machine_ns, uint64_t own_ns,
				   uint64_t count);

/*
 * NULL if the cost of @count of something is known, or why it is not. @cost
 * may be NULL: nothing was measured.
 */
const char *figures_cost_absent(const struct run *run, const struct cost *cost,
				uint64_t count);

/* Is /proc/stat precise enough for so long a stretch? */
bool figures_stat_is_good(const struct cost *cost);

/* For people: a line each. @each is what the cost is for: "a delivery". */
void figures_print_cost(const struct run *run, const char *what,
			const struct share_of_cost *c, const char *each,
			const char *source);
void figures_print_latency(const struct hist *h);

const char *plural(uint64_t n);

/* For programs: each prints "key": value and, but for the last two, a comma. */
void json_string(const char *key, const char *s);
void json_bool(const char *key, bool v);
void json_u64(const char *key, uint64_t v);
void json_error(const struct run *run);
void json_latency(const struct hist *h);
void json_cost_head(const struct run *run, const struct cost *cost);
void json_cost_absent(const char *why);
void json_share(const char *key, const struct share_of_cost *c);

#endif
