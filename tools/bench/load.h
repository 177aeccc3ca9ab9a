/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The window engine: which message may be sent when, which delivery ends
 * which message, and what was wrong with it. It knows no sockets.
 *
 * A lane is a sequence of messages: one a publisher. Payloads too small for
 * a stamp do not say whose they are, so there all publishers of one topic
 * share a lane, and the n-th delivery is taken for the n-th message.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "bench.h"
#include "hist.h"
#include "order.h"
#include "shape.h"

/* A message in flight. */
struct slot {
	uint64_t ns;		/* when it was written */
	uint32_t left;		/* deliveries still to come */
	uint32_t publisher;
};

struct lane {
	struct slot *ring;
	uint32_t sent;		/* the next sequence number */
};

/* What a publisher may send. */
struct share {
	uint32_t due;
	bool listed;
};

struct tally {
	uint64_t delivered;
	uint64_t lost;
	uint64_t duplicated;
	uint64_t reordered;
	uint64_t corrupted;
};

/* What one subscriber should see. */
struct view {
	struct stream *streams;	/* one a lane */
	uint32_t first_lane;
	uint32_t lanes;
};

struct load {
	struct lane *lanes;
	uint32_t mask;		/* of every lane's ring */
	uint32_t fan;		/* deliveries a message */
	bool stamped;
	bool pairs;
	bool take_turns;	/* more publishers than window */
	uint32_t publishers;
	uint32_t subscribers;
	uint32_t window;
	uint32_t turn;
	uint64_t quota;		/* messages not yet begun */
	uint64_t begun;
	uint64_t in_flight;
	uint64_t last_ns;	/* the last delivery in order */
	struct share *shares;
	uint32_t *listed;	/* publishers that may send something */
	uint32_t nlisted;
	struct slot *slots;
	struct stream *streams;
	struct tally tally;
	struct hist hist;
};

int load_init(struct load *l, const struct options *opt);
void load_free(struct load *l);
void load_view(const struct load *l, uint32_t subscriber, struct view *v);

/* Counters start anew; faults are kept, a run with faults has failed. */
void load_begin(struct load *l, uint64_t messages);
void load_stop(struct load *l);
bool load_faulty(const struct load *l);

/* Deliveries that have neither come nor been given up. */
uint64_t load_outstanding(const struct load *l);

/* A publisher's turn to send has come. */
void load_list(struct load *l, uint32_t publisher);

/*
 * Begins up to @max messages that @publisher owes, all written at @ns.
 * Returns how many; *@seq is the first one's number.
 */
uint32_t load_take(struct load *l, uint32_t publisher, uint32_t max,
		   uint64_t ns, uint32_t *seq);

/* A message is with everybody; another one takes its place. */
void load_complete(struct load *l, uint32_t publisher);

/* A delivery that load_in_order() turned down, or whose bytes are wrong. */
void load_odd(struct load *l, const struct view *v, const struct stamp *st,
	      bool intact, uint64_t now);

static inline bool load_done(const struct load *l)
{
	return !l->in_flight;
}

static inline uint64_t load_expected(const struct load *l)
{
	return l->begun * l->fan;
}

static inline void load_release(struct load *l, struct slot *slot)
{
	if (!--slot->left)
		load_complete(l, slot->publisher);
}

/* The stamp that a delivery without one is taken to have. */
static inline void load_guess(const struct load *l, const struct view *v,
			      struct stamp *st)
{
	st->publisher = v->first_lane;
	st->seq = v->streams[0].next;
	st->ns = l->lanes[st->publisher].ring[st->seq & l->mask].ns;
}

static inline void load_count(struct load *l, const struct slot *slot,
			      uint64_t now)
{
	l->tally.delivered++;
	l->last_ns = now;
	hist_add(&l->hist, now - slot->ns);
}

/* The usual delivery, quickly; false for any other, without effect. */
static inline bool load_in_order(struct load *l, const struct view *v,
				 const struct stamp *st, uint64_t now)
{
	uint32_t i = st->publisher - v->first_lane;
	struct slot *slot;
	struct lane *lane;

	if (unlikely(i >= v->lanes || st->seq != v->streams[i].next))
		return false;
	lane = &l->lanes[st->publisher];
	slot = &lane->ring[st->seq & l->mask];
	if (unlikely(st->seq == lane->sent || st->ns != slot->ns))
		return false;
	v->streams[i].next++;
	load_count(l, slot, now);
	load_release(l, slot);
	return true;
}

#endif
