// SPDX-License-Identifier: GPL-2.0
/*
 * Telling late from twice. A well-behaved broker never gets here, so streams
 * carry a pointer only, and the list of gaps is made at the first one.
 *
 * The list is bounded: beyond GAPS_MAX the oldest gap is forgotten, and what
 * should arrive from it after all would be called a duplicate.
 */
#include <stdlib.h>
#include <string.h>

#include "order.h"

#define GAPS_MAX	256

struct gap {
	uint32_t from;
	uint32_t to;		/* exclusive */
};

struct gaps {
	unsigned int n;
	struct gap v[GAPS_MAX];
};

static void gaps_remove(struct gaps *g, unsigned int i)
{
	g->n--;
	memmove(&g->v[i], &g->v[i + 1], (g->n - i) * sizeof(g->v[0]));
}

static void gaps_append(struct gaps *g, uint32_t from, uint32_t to)
{
	if (g->n == GAPS_MAX)
		gaps_remove(g, 0);
	g->v[g->n].from = from;
	g->v[g->n].to = to;
	g->n++;
}

void stream_skip(struct stream *st, uint32_t from, uint32_t to)
{
	if (!st->gaps)
		st->gaps = calloc(1, sizeof(*st->gaps));
	if (st->gaps)
		gaps_append(st->gaps, from, to);
}

/* Differences, not comparisons: sequence numbers wrap. */
static bool gap_has(const struct gap *gap, uint32_t seq)
{
	return seq - gap->from < gap->to - gap->from;
}

static void gap_fill(struct gaps *g, unsigned int i, uint32_t seq)
{
	struct gap gap = g->v[i];

	gaps_remove(g, i);
	if (gap.from != seq)
		gaps_append(g, gap.from, seq);
	if (seq + 1 != gap.to)
		gaps_append(g, seq + 1, gap.to);
}

bool stream_late(struct stream *st, uint32_t seq)
{
	unsigned int i = st->gaps ? st->gaps->n : 0;

	while (i--) {
		if (!gap_has(&st->gaps->v[i], seq))
			continue;
		gap_fill(st->gaps, i, seq);
		return true;
	}
	return false;
}

void stream_free(struct stream *st)
{
	free(st->gaps);
	st->gaps = NULL;
}
