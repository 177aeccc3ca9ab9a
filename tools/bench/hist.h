/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A log-linear histogram of nanoseconds in fixed memory: exact below 128,
 * within 0.8 % above.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

#define HIST_BITS	7
#define HIST_SUB	(1u << HIST_BITS)
#define HIST_BUCKETS	((64 - HIST_BITS + 1) * HIST_SUB)

struct hist {
	uint64_t min;
	uint64_t max;
	uint64_t sum;
	/* The same value over and over is only counted at first. */
	uint64_t run;
	uint64_t run_value;
	uint64_t buckets[HIST_BUCKETS];
};

void hist_reset(struct hist *h);

/* To be called before the histogram is read. */
void hist_flush(struct hist *h);

static inline void hist_add(struct hist *h, uint64_t v)
{
	if (v != h->run_value) {
		hist_flush(h);
		h->run_value = v;
	}
	h->run++;
}

uint64_t hist_count(const struct hist *h);
double hist_mean(const struct hist *h);

/* The value that @per_mille (0 to 1000) thousandths do not exceed. */
uint64_t hist_quantile(const struct hist *h, unsigned int per_mille);

#endif
