// SPDX-License-Identifier: GPL-2.0
#include "walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "retained.h"
#include "ring.h"

/* Nodes of retained messages that are looked at in a turn, a millisecond or so;
 * and that a filter is compared with at once.
 */
#define SLICE	1024

static TAILQ_HEAD(, walk) walks = TAILQ_HEAD_INITIALIZER(walks);

static void turn(struct ring_op *op, const struct ring_result *result);

static struct ring_op op = { .done = turn };
static bool turning;

static void turn_soon(void)
{
	if (turning || TAILQ_EMPTY(&walks))
		return;
	turning = true;
	ring_soon(&op);
}

static void forget(struct walk *walk)
{
	if (walk->begun)
		retained_walk_end();
	TAILQ_REMOVE(&walks, walk, link);
	free(walk->filter);
	walk->filter = NULL;
}

static void begin(struct walk *walk)
{
	walk->begun = true;
	retained_walk_begin(walk->filter, walk->len, walk->calls->found, walk);
	walk->calls->begin(walk);
}

static void turn(struct ring_op *unused, const struct ring_result *result)
{
	struct walk *walk = TAILQ_FIRST(&walks);

	(void)unused;
	(void)result;
	turning = false;
	if (!walk)
		return;
	if (!walk->begun)
		begin(walk);
	if (retained_walk_go_on(SLICE)) {
		walk->calls->pause(walk);
	} else {
		forget(walk);
		walk->calls->end(walk);
	}
	turn_soon();
}

bool walk_needed(const void *filter, u16 len)
{
	return retained_cost(filter, len) > SLICE &&
	       retained_reach(filter, len, SLICE) == SLICE;
}

int walk_start(struct walk *walk, const struct walk_calls *calls,
	       const void *filter, u16 len)
{
	bool first = TAILQ_EMPTY(&walks);

	walk->filter = malloc(len);
	if (!walk->filter)
		return -ENOMEM;
	memcpy(walk->filter, filter, len);
	walk->len = len;
	walk->calls = calls;
	walk->begun = false;
	TAILQ_INSERT_TAIL(&walks, walk, link);
	/* At once: what is published until then is sent now, and found again. */
	if (first)
		begin(walk);
	turn_soon();
	return 0;
}

void walk_cancel(struct walk *walk)
{
	if (walk_is_under_way(walk))
		forget(walk);
}
