// SPDX-License-Identifier: GPL-2.0
#include "retained.h"

#include <errno.h>
#include <linux/kmqtt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "deadline.h"
#include "table.h"
#include "topic.h"

LIST_HEAD(node_list, node);

/**
 * struct expiry - a retained message will expire
 * @deadline: when
 * @node: whose it is
 */
struct expiry {
	struct deadline deadline;
	struct node *node;
};

/**
 * struct node - one level of a topic, under the levels before it
 * @sibling: among the children of @parent
 * @edge: in the map of nodes by parent and level
 * @parent: the level before; NULL for the root, which is before the first
 * @children: the levels after it
 * @message: retained for the topic that ends here, or NULL
 * @expiry: of @message, or NULL
 * @walk: the last paced walk that is done with it
 * @len: bytes of @level
 * @level: its text
 *
 * It is there for its message or for its children: without either it goes.
 */
struct node {
	LIST_ENTRY(node) sibling;
	struct table_node edge;
	struct node *parent;
	struct node_list children;
	struct message *message;
	struct expiry *expiry;
	u32 walk;
	u16 len;
	u8 level[];
};

/**
 * struct filter - a topic filter, in levels
 * @depth: levels, a final "#" not among them
 * @multi: "#" follows
 * @level: their text
 * @len: bytes of each
 */
struct filter {
	unsigned int depth;
	bool multi;
	const u8 *level[KMQTT_LEVELS_MAX];
	u16 len[KMQTT_LEVELS_MAX];
};

/**
 * struct way - where a walk through the tree is, depth first. A client chooses
 * how deep: hence no recursion; the way back is in the tree.
 * @filter: what it looks for
 * @node: where it is, NULL: at its end
 * @depth: of @node
 */
struct way {
	struct filter filter;
	struct node *node;
	unsigned int depth;
};

/**
 * struct paced - a walk that others may come in between of
 * @way: its node stays in the tree
 * @id: marks the nodes that it is done with
 * @found: called for each message
 * @arg: for it
 */
struct paced {
	struct way way;
	u32 id;
	int (*found)(struct message *message, void *arg);
	void *arg;
};

static struct paced paced;
static struct node root;
static struct table edges;
static u32 count;
static u64 bytes;
static void (*on_expiry)(struct message *message);

static u32 edge_hash(const struct node *parent, const u8 *level, size_t len)
{
	/* malloc() aligns to 16 bytes. */
	return table_hash(level, len) ^ table_hash_u32((uintptr_t)parent >> 4);
}

static struct node *child_find(const struct node *parent, const u8 *level,
			       size_t len)
{
	u32 hash = edge_hash(parent, level, len);
	struct table_node *edge;
	struct node *node;

	for (edge = table_chain(&edges, hash); edge; edge = edge->next) {
		node = container_of(edge, struct node, edge);
		if (edge->hash == hash && node->parent == parent &&
		    node->len == len && !memcmp(node->level, level, len))
			return node;
	}
	return NULL;
}

static struct node *child_add(struct node *parent, const u8 *level, size_t len)
{
	struct node *node = malloc(offsetof(struct node, level) + len);

	if (!node)
		return NULL;
	memset(node, 0, offsetof(struct node, level));
	node->parent = parent;
	node->len = len;
	memcpy(node->level, level, len);
	if (table_add(&edges, &node->edge, edge_hash(parent, level, len))) {
		free(node);
		return NULL;
	}
	LIST_INSERT_HEAD(&parent->children, node, sibling);
	return node;
}

static void child_remove(struct node *node)
{
	LIST_REMOVE(node, sibling);
	table_del(&edges, &node->edge);
	free(node);
}

/* Frees @node and its ancestors as far as they are there for nothing. */
static void prune(struct node *node)
{
	struct node *parent;

	while (node->parent && !node->message && LIST_EMPTY(&node->children) &&
	       node != paced.way.node) {
		parent = node->parent;
		child_remove(node);
		node = parent;
	}
}

/* The node of @topic; with @make made if need be, NULL then without memory. */
static struct node *node_of(const u8 *topic, size_t len, bool make)
{
	struct node *child, *node = &root;
	size_t at, n;

	for (at = 0; at <= len; at += n + 1) {
		n = kmqtt_topic_level(topic, len, at);
		child = child_find(node, topic + at, n);
		if (!child && make)
			child = child_add(node, topic + at, n);
		if (!child) {
			prune(node);
			return NULL;
		}
		node = child;
	}
	return node;
}

static void remove_message(struct node *node);

static void expired(struct deadline *deadline)
{
	struct expiry *expiry = container_of(deadline, struct expiry, deadline);
	struct node *node = expiry->node;

	if (on_expiry)
		on_expiry(node->message);
	remove_message(node);
}

/* Without memory it stays, until somebody asks for it, and after. */
static void watch_expiry(struct node *node)
{
	struct expiry *expiry = calloc(1, sizeof(*expiry));

	if (!expiry)
		return;
	expiry->node = node;
	expiry->deadline.due = expired;
	if (deadline_set(&expiry->deadline, node->message->expires + 1)) {
		free(expiry);
		return;
	}
	node->expiry = expiry;
}

static void take_message(struct node *node, struct message *message)
{
	count++;
	bytes += message_bytes(message);
	node->message = message_hold(message);
	if (message->expires)
		watch_expiry(node);
}

static void drop_message(struct node *node)
{
	if (!node->message)
		return;
	count--;
	bytes -= message_bytes(node->message);
	message_put(node->message);
	node->message = NULL;
	if (!node->expiry)
		return;
	deadline_cancel(&node->expiry->deadline);
	free(node->expiry);
	node->expiry = NULL;
}

static void remove_message(struct node *node)
{
	drop_message(node);
	prune(node);
}

static void split(struct filter *filter, const u8 *text, size_t len)
{
	size_t at, n;

	filter->depth = 0;
	filter->multi = false;
	for (at = 0; at <= len; at += n + 1) {
		n = kmqtt_topic_level(text, len, at);
		if (n == 1 && text[at] == '#') {
			filter->multi = true;
		} else {
			filter->level[filter->depth] = text + at;
			filter->len[filter->depth++] = n;
		}
	}
}

/* Does it match whatever level is at @depth, from 0? */
static bool is_wild(const struct filter *filter, unsigned int depth)
{
	if (depth >= filter->depth)
		return filter->multi;
	return filter->len[depth] == 1 && filter->level[depth][0] == '+';
}

/* No wildcard matches it [MQTT-4.7.2-1]. */
static bool is_hidden(const struct node *node)
{
	return node->parent == &root && node->len && node->level[0] == '$';
}

/* Of @node and the siblings after it, the first that a wildcard matches. */
static struct node *any(struct node *node)
{
	while (node && is_hidden(node))
		node = LIST_NEXT(node, sibling);
	return node;
}

static bool is_level(const struct filter *filter, unsigned int depth,
		     const struct node *node)
{
	if (is_wild(filter, depth))
		return !is_hidden(node);
	return node->len == filter->len[depth] &&
	       !memcmp(node->level, filter->level[depth], node->len);
}

/* The first child of @node, which is @depth levels down, that it matches. */
static struct node *first_child(const struct filter *filter,
				unsigned int depth, const struct node *node)
{
	if (is_wild(filter, depth))
		return any(LIST_FIRST(&node->children));
	if (depth == filter->depth)
		return NULL;
	return child_find(node, filter->level[depth], filter->len[depth]);
}

static void set_out(struct way *way, const void *text, u16 len)
{
	split(&way->filter, text, len);
	way->node = &root;
	way->depth = 0;
}

/* Goes to the next node that the beginning of the filter matches. */
static void step(struct way *way)
{
	struct node *next = first_child(&way->filter, way->depth, way->node);

	while (!next) {
		if (way->node == &root) {
			way->node = NULL;
			return;
		}
		way->depth--;
		if (is_wild(&way->filter, way->depth))
			next = any(LIST_NEXT(way->node, sibling));
		way->node = way->node->parent;
	}
	way->node = next;
	way->depth++;
}

/* The message where it is, if the whole filter matches it and it is valid. */
static struct message *message_at(const struct way *way, s64 now)
{
	struct message *message = way->node->message;

	/* "sport/#" matches "sport", too (section 4.7.1.2). */
	return message && way->depth >= way->filter.depth &&
	       !message_expired(message, now) ? message : NULL;
}

int retained_match(const void *filter, u16 len,
		   int (*found)(struct message *message, void *arg), void *arg)
{
	struct message *message;
	s64 now = message_now();
	struct way way;
	int err = 0;

	for (set_out(&way, filter, len); way.node && !err; step(&way)) {
		message = message_at(&way, now);
		if (message)
			err = found(message, arg);
	}
	return err;
}

u32 retained_reach(const void *filter, u16 len, u32 most)
{
	struct way way;
	u32 n = 0;

	for (set_out(&way, filter, len); way.node && n < most; step(&way))
		n++;
	return n;
}

/* Paced */

void retained_walk_begin(const void *filter, u16 len,
			 int (*found)(struct message *message, void *arg),
			 void *arg)
{
	/* 0 marks nodes that none has come to. */
	if (!++paced.id)
		paced.id++;
	paced.found = found;
	paced.arg = arg;
	set_out(&paced.way, filter, len);
}

bool retained_walk_go_on(u32 nodes)
{
	s64 now = message_now();
	struct message *message;
	struct node *left;

	for (; nodes && paced.way.node; nodes--) {
		left = paced.way.node;
		message = message_at(&paced.way, now);
		if (message && left->walk != paced.id) {
			left->walk = paced.id;
			paced.found(message, paced.arg);
		}
		step(&paced.way);
		prune(left);
	}
	return paced.way.node;
}

void retained_walk_end(void)
{
	struct node *left = paced.way.node;

	paced.way.node = NULL;
	if (left)
		prune(left);
}

/* Does the filter match all of the node's topic? */
static bool is_match(const struct filter *filter, const struct node *node)
{
	const struct node *at;
	unsigned int depth = 0;

	for (at = node; at->parent; at = at->parent)
		depth++;
	if (depth < filter->depth || (depth > filter->depth && !filter->multi))
		return false;
	for (at = node; at->parent; at = at->parent)
		if (!is_level(filter, --depth, at))
			return false;
	return true;
}

/* It changes: a walk that has not come to it finds it as it was. */
static void find_now(struct node *node)
{
	if (!paced.way.node || node->walk == paced.id)
		return;
	node->walk = paced.id;
	if (node->message && !message_expired(node->message, message_now()) &&
	    is_match(&paced.way.filter, node))
		paced.found(node->message, paced.arg);
}

void retained_on_expiry(void (*function)(struct message *message))
{
	on_expiry = function;
}

int retained_set(struct message *message)
{
	bool remove = !message->payload_len;
	struct node *node;

	node = node_of(message->data, message->topic_len, !remove);
	if (!node)
		return remove ? 0 : -ENOMEM;
	find_now(node);
	drop_message(node);
	if (remove)
		prune(node);
	else
		take_message(node, message);
	return 0;
}

u32 retained_cost(const void *text, u16 len)
{
	/* Without wildcards there is one way down. */
	return memchr(text, '+', len) || memchr(text, '#', len) ?
	       edges.count + 1 : 1;
}

u32 retained_count(void)
{
	return count;
}

u64 retained_bytes(void)
{
	return bytes;
}

void retained_clear(void)
{
	struct node *parent, *node = &root;

	retained_walk_end();
	for (;;) {
		while (!LIST_EMPTY(&node->children))
			node = LIST_FIRST(&node->children);
		drop_message(node);
		if (node == &root)
			break;
		parent = node->parent;
		child_remove(node);
		node = parent;
	}
	table_free(&edges);
}
