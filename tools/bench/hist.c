// SPDX-License-Identifier: GPL-2.0
/*
 * Latency histogram. What happens once a delivery is in hist.h.
 */
#include <string.h>

#include "hist.h"

void hist_reset(struct hist *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

static unsigned int hist_bucket(uint64_t v)
{
	unsigned int shift;

	if (v < HIST_SUB)
		return (unsigned int)v;
	shift = 63 - HIST_BITS - (unsigned int)__builtin_clzll(v);
	return (shift << HIST_BITS) + (unsigned int)(v >> shift);
}

void hist_flush(struct hist *h)
{
	const uint64_t v = h->run_value;

	if (!h->run)
		return;
	h->buckets[hist_bucket(v)] += h->run;
	h->sum += v * h->run;
	if (v < h->min)
		h->min = v;
	if (v > h->max)
		h->max = v;
	h->run = 0;
}

uint64_t hist_count(const struct hist *h)
{
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; i < HIST_BUCKETS; i++)
		n += h->buckets[i];
	return n;
}

double hist_mean(const struct hist *h)
{
	uint64_t n = hist_count(h);

	return n ? (double)h->sum / (double)n : 0;
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_top(unsigned int b)
{
	unsigned int shift;

	if (b < HIST_SUB)
		return b;
	shift = (b >> HIST_BITS) - 1;
	return (((uint64_t)(b & (HIST_SUB - 1)) + HIST_SUB + 1) << shift) - 1;
}

uint64_t hist_quantile(const struct hist *h, unsigned int per_mille)
{
	uint64_t n = hist_count(h), seen = 0, rank;
	unsigned int i;

	if (!n)
		return 0;
	/* Rounded up, so that the quantile covers at least its share. */
	rank = (uint64_t)(((__uint128_t)n * per_mille + 999) / 1000);
	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen >= rank && seen)
			break;
	}
	if (i == HIST_BUCKETS || bucket_top(i) > h->max)
		return h->max;
	return bucket_top(i) < h->min ? h->min : bucket_top(i);
}
