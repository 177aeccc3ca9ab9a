// SPDX-License-Identifier: GPL-2.0
/*
 * The window engine.
 *
 * The window slides: as soon as a message has reached everybody, another one
 * may leave. It is the same publisher's, so that the window stays spread as
 * it was; only when there are more publishers than window do they take turns.
 *
 * A subscriber's stream never runs ahead of what it was sent, and whatever
 * it skips is given up at once: so in one lane all that is in flight lies
 * within the window, and a ring of that size is enough.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static uint32_t ring_size(uint32_t n)
{
	uint32_t size = 1;

	while (size < n)
		size <<= 1;
	return size;
}

static uint32_t lane_count(const struct load *l)
{
	return l->pairs || l->stamped ? l->publishers : 1;
}

/* The most that one lane can have in flight. */
static uint32_t lane_share(const struct load *l)
{
	if (l->take_turns || lane_count(l) == 1)
		return l->window;
	return (l->window + l->publishers - 1) / l->publishers;
}

static int alloc_lanes(struct load *l)
{
	uint32_t n = lane_count(l), size = ring_size(lane_share(l)), i;

	l->mask = size - 1;
	l->lanes = calloc(n, sizeof(*l->lanes));
	l->slots = calloc((size_t)n * size, sizeof(*l->slots));
	if (!l->lanes || !l->slots)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		l->lanes[i].ring = l->slots + (size_t)i * size;
	return 0;
}

static size_t stream_count(const struct load *l)
{
	size_t each = l->pairs ? 1 : lane_count(l);

	return each * l->subscribers;
}

int load_init(struct load *l, const struct options *opt)
{
	memset(l, 0, sizeof(*l));
	l->pairs = options_pairs(opt);
	l->stamped = options_stamped(opt);
	l->publishers = opt->publishers;
	l->subscribers = opt->subscribers;
	l->window = opt->window;
	l->take_turns = l->window < l->publishers;
	l->fan = l->pairs ? 1 : l->subscribers;
	hist_reset(&l->hist);
	l->shares = calloc(l->publishers, sizeof(*l->shares));
	l->listed = calloc(l->publishers, sizeof(*l->listed));
	l->streams = calloc(stream_count(l), sizeof(*l->streams));
	if (!l->shares || !l->listed || !l->streams)
		return -ENOMEM;
	return alloc_lanes(l);
}

void load_free(struct load *l)
{
	size_t i, n = l->streams ? stream_count(l) : 0;

	for (i = 0; i < n; i++)
		stream_free(&l->streams[i]);
	free(l->streams);
	free(l->slots);
	free(l->lanes);
	free(l->listed);
	free(l->shares);
}

void load_view(const struct load *l, uint32_t subscriber, struct view *v)
{
	v->lanes = l->pairs ? 1 : lane_count(l);
	v->first_lane = l->pairs ? subscriber : 0;
	v->streams = l->streams + (size_t)subscriber * v->lanes;
}

void load_list(struct load *l, uint32_t publisher)
{
	struct share *s = &l->shares[publisher];

	if (s->listed || !s->due)
		return;
	s->listed = true;
	l->listed[l->nlisted++] = publisher;
}

static void credit(struct load *l, uint32_t publisher)
{
	l->quota--;
	l->in_flight++;
	l->shares[publisher].due++;
	load_list(l, publisher);
}

static uint32_t next_turn(struct load *l)
{
	uint32_t publisher = l->turn;

	l->turn = publisher + 1 == l->publishers ? 0 : publisher + 1;
	return publisher;
}

void load_begin(struct load *l, uint64_t messages)
{
	uint32_t i;

	hist_reset(&l->hist);
	l->tally.delivered = 0;
	l->begun = 0;
	l->quota = messages;
	l->turn = 0;
	for (i = 0; i < l->window && l->quota; i++)
		credit(l, next_turn(l));
}

void load_stop(struct load *l)
{
	l->quota = 0;
}

bool load_faulty(const struct load *l)
{
	const struct tally *t = &l->tally;

	return t->lost || t->duplicated || t->reordered || t->corrupted;
}

uint64_t load_outstanding(const struct load *l)
{
	uint64_t n = 0;
	struct view v;
	uint32_t i, k;

	for (i = 0; i < l->subscribers; i++) {
		load_view(l, i, &v);
		for (k = 0; k < v.lanes; k++)
			n += l->lanes[v.first_lane + k].sent -
			     v.streams[k].next;
	}
	return n;
}

void load_complete(struct load *l, uint32_t publisher)
{
	l->in_flight--;
	if (!l->quota)
		return;
	credit(l, l->take_turns ? next_turn(l) : publisher);
}

static struct slot *slot_of(const struct load *l, uint32_t lane, uint32_t seq)
{
	return &l->lanes[lane].ring[seq & l->mask];
}

uint32_t load_take(struct load *l, uint32_t publisher, uint32_t max,
		   uint64_t ns, uint32_t *seq)
{
	uint32_t lane = lane_count(l) == 1 ? 0 : publisher;
	struct share *s = &l->shares[publisher];
	uint32_t n = s->due < max ? s->due : max, i;
	struct slot *slot;

	*seq = l->lanes[lane].sent;
	for (i = 0; i < n; i++) {
		slot = slot_of(l, lane, *seq + i);
		slot->ns = ns;
		slot->left = l->fan;
		slot->publisher = publisher;
	}
	l->lanes[lane].sent += n;
	l->begun += n;
	s->due -= n;
	return n;
}

static void late(struct load *l, struct stream *st, uint32_t seq, bool intact)
{
	if (!stream_late(st, seq)) {
		l->tally.duplicated++;
		return;
	}
	l->tally.lost--;
	if (!intact) {
		l->tally.corrupted++;
		return;
	}
	l->tally.reordered++;
	l->tally.delivered++;
}

/* What was skipped is given up, or the window would shrink for good. */
static void skip_to(struct load *l, struct stream *st, uint32_t lane,
		    uint32_t seq)
{
	uint32_t i;

	if (seq == st->next)
		return;
	l->tally.lost += seq - st->next;
	stream_skip(st, st->next, seq);
	for (i = st->next; i != seq; i++)
		load_release(l, slot_of(l, lane, i));
	st->next = seq;
}

static void arrive(struct load *l, struct stream *st, const struct stamp *stamp,
		   bool intact, uint64_t now)
{
	struct slot *slot = slot_of(l, stamp->publisher, stamp->seq);

	skip_to(l, st, stamp->publisher, stamp->seq);
	st->next++;
	if (intact && stamp->ns == slot->ns)
		load_count(l, slot, now);
	else
		l->tally.corrupted++;
	load_release(l, slot);
}

/*
 * A number that was never sent: of a stamp, it is wrong; guessed, it means
 * that there have been more deliveries than messages.
 */
static void never_sent(struct load *l)
{
	if (l->stamped)
		l->tally.corrupted++;
	else
		l->tally.duplicated++;
}

void load_odd(struct load *l, const struct view *v, const struct stamp *st,
	      bool intact, uint64_t now)
{
	uint32_t i = st->publisher - v->first_lane;
	struct stream *stream;

	if (i >= v->lanes) {
		l->tally.corrupted++;
		return;
	}
	stream = &v->streams[i];
	if ((int32_t)(l->lanes[st->publisher].sent - st->seq) <= 0)
		never_sent(l);
	else if ((int32_t)(st->seq - stream->next) < 0)
		late(l, stream, st->seq, intact);
	else
		arrive(l, stream, st, intact, now);
}
