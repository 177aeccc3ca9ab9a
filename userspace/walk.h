/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Walks through very many retained messages, for one filter each: one after the
 * other, some of it in each turn of the ring, so that other clients are served
 * meanwhile. What a walk finds is what was retained when it began.
 */
#ifndef _KMQTTD_WALK_H_
#define _KMQTTD_WALK_H_

#include <sys/queue.h>

#include "types.h"

struct message;
struct walk;

/**
 * struct walk_calls - what a walk calls
 * @begin: it begins now, in walk_start() if there is no other: what is retained
 *	later is not found
 * @found: for each message, as retained_match() does; it may not end the walk
 * @pause: others have their turn
 * @end: it is over, and may be freed
 */
struct walk_calls {
	void (*begin)(struct walk *walk);
	int (*found)(struct message *message, void *walk);
	void (*pause)(struct walk *walk);
	void (*end)(struct walk *walk);
};

/**
 * struct walk - a walk, embedded in what it is for
 * @link: among those that wait for their turn, the first of which has it
 * @calls: what it calls
 * @filter: a copy of the filter, NULL: it is not under way
 * @len: bytes of it
 * @begun: its turn has come
 */
struct walk {
	TAILQ_ENTRY(walk) link;
	const struct walk_calls *calls;
	u8 *filter;
	u16 len;
	bool begun;
};

/* Whether a filter needs one: else retained_match() takes no longer. */
bool walk_needed(const void *filter, u16 len);

/* 0, and a turn of the ring will begin it; or -ENOMEM. */
int walk_start(struct walk *walk, const struct walk_calls *calls,
	       const void *filter, u16 len);

static inline bool walk_is_under_way(const struct walk *walk)
{
	return walk->filter;
}

/* Calls nothing more, if it is under way. */
void walk_cancel(struct walk *walk);

#endif /* _KMQTTD_WALK_H_ */
