// SPDX-License-Identifier: GPL-2.0
#include "deadline.h"

#include <errno.h>
#include <stdlib.h>

/* Deadlines that are called at once. */
#define TICK_MAX 4096

/* A binary heap: none comes before the one at half its place. */
static struct deadline **heap;
static u32 count;
static u32 size;

static void put(u32 place, struct deadline *deadline)
{
	heap[place - 1] = deadline;
	deadline->place = place;
}

static void up(struct deadline *deadline)
{
	u32 place = deadline->place;

	while (place > 1 && heap[place / 2 - 1]->when > deadline->when) {
		put(place, heap[place / 2 - 1]);
		place /= 2;
	}
	put(place, deadline);
}

static void down(struct deadline *deadline)
{
	u32 place = deadline->place, child;

	while ((child = 2 * place) <= count) {
		if (child < count && heap[child]->when < heap[child - 1]->when)
			child++;
		if (heap[child - 1]->when >= deadline->when)
			break;
		put(place, heap[child - 1]);
		place = child;
	}
	put(place, deadline);
}

static int grow(void)
{
	u32 more = size ? 2 * size : 64;
	struct deadline **larger = reallocarray(heap, more, sizeof(*heap));

	if (!larger)
		return -ENOMEM;
	heap = larger;
	size = more;
	return 0;
}

int deadline_set(struct deadline *deadline, s64 when)
{
	if (!deadline->place) {
		if (count == size && grow())
			return -ENOMEM;
		put(++count, deadline);
	}
	deadline->when = when;
	up(deadline);
	down(deadline);
	return 0;
}

void deadline_cancel(struct deadline *deadline)
{
	struct deadline *last;
	u32 place = deadline->place;

	if (!place)
		return;
	deadline->place = 0;
	last = heap[--count];
	if (last == deadline)
		return;
	put(place, last);
	up(last);
	down(last);
}

void deadline_tick(s64 now)
{
	struct deadline *first;
	u32 n;

	for (n = 0; count && n < TICK_MAX; n++) {
		first = heap[0];
		if (first->when > now)
			break;
		deadline_cancel(first);
		first->due(first);
	}
}
