// SPDX-License-Identifier: GPL-2.0
#include "shape.h"

#include <errno.h>
#include <stdlib.h>

#include "topic.h"
#include "trie.h"

/* All that a topic name can meet: the root, filters without "+", shallow ones,
 * and deep ones.
 */
_Static_assert(1 + KMQTT_LEVELS_MAX + (2 << SHAPE_SHALLOW) + SHAPE_MAX <
	       KMQTT_TRIE_BUDGET, "a match of any topic is within its budget");

/**
 * struct beginning - the first levels of some shapes
 * @parent: without the last level; NULL of the root
 * @next: with one more, which is not "+", or is
 * @refs: how many there are in @next, and filters that end here
 */
struct beginning {
	struct beginning *parent;
	struct beginning *next[2];
	u32 refs;
};

static struct beginning root;
static u32 used;	/* deep beginnings */

static bool is_plus(const u8 *level, size_t len)
{
	return len == 1 && *level == '+';
}

static bool is_multi(const u8 *level, size_t len)
{
	return len == 1 && *level == '#';
}

static u32 first_plus(const struct shape *shape)
{
	u32 at = 0;

	while (at < shape->levels && !shape->plus[at])
		at++;
	return at;
}

static void count_deep(struct shape *shape)
{
	u32 from = first_plus(shape);

	if (from < SHAPE_SHALLOW)
		from = SHAPE_SHALLOW;
	shape->deep = shape->levels > from ? shape->levels - from : 0;
}

void shape_of(struct shape *shape, const u8 *filter, u16 len)
{
	size_t at, n;

	shape->levels = 0;
	for (at = 0; at <= len; at += n + 1) {
		n = kmqtt_topic_level(filter, len, at);
		if (!is_multi(filter + at, n))
			shape->plus[shape->levels++] = is_plus(filter + at, n);
	}
	count_deep(shape);
}

void shape_of_node(struct shape *shape, const struct kmqtt_node *node)
{
	const struct kmqtt_node *at;
	u32 level = 0;

	if (is_multi(node->seg, node->len))
		node = node->parent;
	for (at = node; at->parent; at = at->parent)
		level++;
	shape->levels = level;
	for (at = node; at->parent; at = at->parent)
		shape->plus[--level] = is_plus(at->seg, at->len);
	count_deep(shape);
}

/* Whether the beginning of so many levels is a deep one. */
static bool is_deep(const struct shape *shape, u32 levels)
{
	return levels + shape->deep > shape->levels;
}

/* The longest beginning of @shape that there is; *@levels: how long it is. */
static struct beginning *find(const struct shape *shape, u32 *levels)
{
	struct beginning *next, *at = &root;

	for (*levels = 0; *levels < shape->levels; ++*levels) {
		next = at->next[shape->plus[*levels]];
		if (!next)
			break;
		at = next;
	}
	return at;
}

bool shape_may(const struct shape *shape, u32 subscriptions)
{
	bool few = subscriptions < SHAPE_FEW && shape->deep <= SHAPE_SHORT;
	u32 most = few ? SHAPE_MAX : SHAPE_MAX - SHAPE_RESERVE;
	u32 levels, more;

	if (!shape->deep)
		return true;
	find(shape, &levels);
	more = shape->levels - levels;
	if (more > shape->deep)
		more = shape->deep;
	return !more || used + more <= most;
}

/* From the one at @at up, what nobody needs; @shape begins with it. */
static void prune(const struct shape *shape, struct beginning *at, u32 levels)
{
	struct beginning *parent;

	for (; at != &root && !at->refs; at = parent, levels--) {
		parent = at->parent;
		parent->next[shape->plus[levels - 1]] = NULL;
		parent->refs--;
		used -= is_deep(shape, levels);
		free(at);
	}
}

int shape_get(const struct shape *shape)
{
	struct beginning *at, *next;
	u32 levels;

	if (!shape->deep)
		return 0;
	for (at = find(shape, &levels); levels < shape->levels; at = next) {
		next = calloc(1, sizeof(*next));
		if (!next) {
			prune(shape, at, levels);
			return -ENOMEM;
		}
		next->parent = at;
		at->next[shape->plus[levels++]] = next;
		at->refs++;
		used += is_deep(shape, levels);
	}
	at->refs++;
	return 0;
}

void shape_put(const struct shape *shape)
{
	struct beginning *at;
	u32 levels;

	if (!shape->deep)
		return;
	at = find(shape, &levels);
	at->refs--;
	prune(shape, at, levels);
}
