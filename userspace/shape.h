/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shapes of topic filters: which of a filter's levels are "+". However many
 * filters there are, a topic name matches at most one beginning of each shape:
 * where it is not "+", its own levels say what the filter has. So what a match
 * visits in the trie (kmod/trie.h) is bounded by how many beginnings of shapes
 * there are, and no messages are lost to filters made to exceed
 * KMQTT_TRIE_BUDGET: those that would are refused before anybody has them. (Of
 * topics whose levels are shorter than 64 bytes: longer ones count as several.)
 *
 * Only what is deep counts: a "+", and more than SHAPE_SHALLOW levels. Of the
 * rest there cannot be too many, so nobody is ever refused an ordinary filter.
 */
#ifndef _KMQTTD_SHAPE_H_
#define _KMQTTD_SHAPE_H_

#include <linux/kmqtt.h>

#include "types.h"

struct kmqtt_node;

enum {
	/* Levels of filters that do not count: 2^levels shapes of each. */
	SHAPE_SHALLOW = 8,
	/* Deep beginnings that all filters have together. */
	SHAPE_MAX = 2048,
	/* Those of them that are left for sessions with few subscriptions, none
	 * of which needs many.
	 */
	SHAPE_RESERVE = 1024,
	SHAPE_FEW = 32,
	SHAPE_SHORT = 8,
};

/**
 * struct shape - the shape of a filter
 * @levels: how many it has, a final "#" not among them
 * @deep: those of them that count: not among the first SHAPE_SHALLOW, and at or
 *	behind a "+"; 0 of an ordinary filter
 * @plus: of each, whether it is "+"
 */
struct shape {
	u16 levels;
	u16 deep;
	bool plus[KMQTT_LEVELS_MAX];
};

/* Of a valid filter. */
void shape_of(struct shape *shape, const u8 *filter, u16 len);

/* Of the filter that ends at a node of the trie. */
void shape_of_node(struct shape *shape, const struct kmqtt_node *node);

/* Whether a session of so many subscriptions may have one of this shape, too. */
bool shape_may(const struct shape *shape, u32 subscriptions);

/*
 * There is another filter of this shape, whether it may be or not: it may have
 * been there when the daemon was started. 0, or -ENOMEM and there is not.
 */
int shape_get(const struct shape *shape);

/* There is one less. */
void shape_put(const struct shape *shape);

#endif /* _KMQTTD_SHAPE_H_ */
