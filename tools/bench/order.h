/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The order in which one subscriber saw one sequence of messages.
 */
#ifndef BENCH_ORDER_H
#define BENCH_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct gaps;

struct stream {
	struct gaps *gaps;	/* what was skipped; NULL for nothing yet */
	uint32_t next;		/* the sequence number due */
};

/* Notes that @from up to but not including @to were skipped. */
void stream_skip(struct stream *st, uint32_t from, uint32_t to);

/*
 * A number before the one that was due: true if it had been skipped (so it
 * is late), false if it had been seen (so it is a duplicate).
 */
bool stream_late(struct stream *st, uint32_t seq);

void stream_free(struct stream *st);

#endif
