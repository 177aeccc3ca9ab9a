// SPDX-License-Identifier: GPL-2.0
#include "trie.h"

#include <linux/errno.h>
#include <linux/jhash.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "topic.h"

struct edge_key {
	const struct kmqtt_node *parent;
	const u8 *seg;
	size_t len;
};

static u32 edge_hash(const struct kmqtt_node *parent, const u8 *seg, size_t len,
		     u32 seed)
{
	/* Nodes are at least 64 bytes apart; the seed is secret. */
	return jhash(seg, len, seed ^ (u32)((unsigned long)parent >> 6));
}

static u32 edge_key_hash(const void *data, u32 len, u32 seed)
{
	const struct edge_key *key = data;

	return edge_hash(key->parent, key->seg, key->len, seed);
}

static u32 edge_obj_hash(const void *data, u32 len, u32 seed)
{
	const struct kmqtt_node *node = data;

	return edge_hash(node->parent, node->seg, node->len, seed);
}

static int edge_cmp(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct kmqtt_node *node = obj;
	const struct edge_key *key = arg->key;

	return node->parent != key->parent || node->len != key->len ||
	       memcmp(node->seg, key->seg, key->len);
}

static const struct rhashtable_params edge_params = {
	.key_len = sizeof(struct edge_key),
	.head_offset = offsetof(struct kmqtt_node, edge),
	.hashfn = edge_key_hash,
	.obj_hashfn = edge_obj_hash,
	.obj_cmpfn = edge_cmp,
	.automatic_shrinking = true,
};

static struct kmqtt_node *node_new(struct kmqtt_node *parent, const u8 *seg,
				   size_t len)
{
	struct kmqtt_node *node;

	node = kzalloc(struct_size(node, seg, len), GFP_KERNEL_ACCOUNT);
	if (!node)
		return NULL;

	node->parent = parent;
	node->len = len;
	memcpy(node->seg, seg, len);
	return node;
}

static struct kmqtt_node *child_find(struct kmqtt_trie *trie,
				     const struct kmqtt_node *parent,
				     const u8 *seg, size_t len)
{
	struct edge_key key = { .parent = parent, .seg = seg, .len = len };

	return rhashtable_lookup(&trie->edges, &key, edge_params);
}

static bool is_plus(const struct kmqtt_node *node)
{
	return node->len == 1 && node->seg[0] == '+';
}

static bool is_multi(const struct kmqtt_node *node)
{
	return node->len == 1 && node->seg[0] == '#';
}

static struct kmqtt_node *child_add(struct kmqtt_trie *trie,
				    struct kmqtt_node *parent, const u8 *seg,
				    size_t len)
{
	struct kmqtt_node *node = node_new(parent, seg, len);

	if (!node)
		return NULL;
	if (rhashtable_insert_fast(&trie->edges, &node->edge, edge_params)) {
		kfree(node);
		return NULL;
	}

	if (is_plus(node))
		rcu_assign_pointer(parent->plus, node);
	else if (is_multi(node))
		rcu_assign_pointer(parent->multi, node);
	parent->refs++;
	trie->nodes++;
	return node;
}

static void child_remove(struct kmqtt_trie *trie, struct kmqtt_node *node)
{
	struct kmqtt_node *parent = node->parent;

	if (is_plus(node))
		RCU_INIT_POINTER(parent->plus, NULL);
	else if (is_multi(node))
		RCU_INIT_POINTER(parent->multi, NULL);
	rhashtable_remove_fast(&trie->edges, &node->edge, edge_params);
	parent->refs--;
	trie->nodes--;
	kfree_rcu(node, rcu);
}

/* Free @node and its ancestors as far as nobody needs them. */
static void prune(struct kmqtt_trie *trie, struct kmqtt_node *node)
{
	while (node->parent && !node->refs) {
		struct kmqtt_node *parent = node->parent;

		child_remove(trie, node);
		node = parent;
	}
}

int kmqtt_trie_init(struct kmqtt_trie *trie)
{
	int err;

	trie->nodes = 0;
	trie->root = node_new(NULL, (const u8 *)"", 0);
	if (!trie->root)
		return -ENOMEM;

	err = rhashtable_init(&trie->edges, &edge_params);
	if (err)
		kfree(trie->root);
	return err;
}

/* All references have been put: only the root is left. */
void kmqtt_trie_destroy(struct kmqtt_trie *trie)
{
	rhashtable_destroy(&trie->edges);
	kfree(trie->root);
}

/**
 * kmqtt_trie_get() - the node of a filter, made if need be
 * @trie: the trie
 * @filter: a filter that kmqtt_topic_filter_check() accepts
 * @len: its bytes
 *
 * Return: the node with a reference for kmqtt_trie_put(), or NULL without
 * memory.
 */
struct kmqtt_node *kmqtt_trie_get(struct kmqtt_trie *trie, const u8 *filter,
				  size_t len)
{
	struct kmqtt_node *node = trie->root;
	size_t off = 0;

	while (off <= len) {
		size_t n = kmqtt_topic_level(filter, len, off);
		struct kmqtt_node *child;

		rcu_read_lock();
		child = child_find(trie, node, filter + off, n);
		rcu_read_unlock();
		if (!child)
			child = child_add(trie, node, filter + off, n);
		if (!child) {
			prune(trie, node);
			return NULL;
		}
		node = child;
		off += n + 1;
	}

	node->refs++;
	return node;
}

void kmqtt_trie_hold(struct kmqtt_node *node)
{
	node->refs++;
}

void kmqtt_trie_put(struct kmqtt_trie *trie, struct kmqtt_node *node)
{
	node->refs--;
	prune(trie, node);
}

/* The node of exactly this filter, without a reference, or NULL. */
struct kmqtt_node *kmqtt_trie_find(struct kmqtt_trie *trie, const u8 *filter,
				   size_t len)
{
	struct kmqtt_node *node = trie->root;
	size_t off = 0;

	rcu_read_lock();
	while (node && off <= len) {
		size_t n = kmqtt_topic_level(filter, len, off);

		node = child_find(trie, node, filter + off, n);
		off += n + 1;
	}
	rcu_read_unlock();

	return node;
}

/* Bytes of the text of a node's filter. */
size_t kmqtt_trie_filter_len(const struct kmqtt_node *node)
{
	size_t len = 0;

	for (; node->parent; node = node->parent)
		len += node->len + !!node->parent->parent;
	return len;
}

/**
 * kmqtt_trie_filter() - write the text of a node's filter
 * @node: the node
 * @filter: room for it
 * @len: its bytes, as kmqtt_trie_filter_len() says
 */
void kmqtt_trie_filter(const struct kmqtt_node *node, u8 *filter, size_t len)
{
	for (; node->parent; node = node->parent) {
		len -= node->len;
		memcpy(filter + len, node->seg, node->len);
		if (node->parent->parent)
			filter[--len] = '/';
	}
}

static int found(struct kmqtt_walk *walk, struct kmqtt_node *node)
{
	return rcu_access_pointer(node->leaves) ? walk->found(walk, node) : 0;
}

/* Follow one branch from @node at @off to its end, noting "+" on the way. */
static int match_branch(struct kmqtt_trie *trie, const u8 *topic, size_t len,
			struct kmqtt_walk *walk, struct kmqtt_node *node,
			size_t off)
{
	while (node) {
		/* Wildcards do not match a leading '$' [MQTT-4.7.2-1]. */
		bool wild = node->parent || topic[0] != '$';
		struct kmqtt_node *child;
		size_t n;
		int err;

		if (!walk->budget--)
			return -E2BIG;

		/* "sport/#" matches "sport" too (4.7.1.2), hence before the
		 * test for the end.
		 */
		child = rcu_dereference(node->multi);
		if (child && wild) {
			err = found(walk, child);
			if (err)
				return err;
		}
		if (off > len)
			return found(walk, node);

		n = kmqtt_topic_level(topic, len, off);
		/* Long levels cost more to look up. */
		walk->budget -= min_t(size_t, walk->budget, n / 64);
		child = rcu_dereference(node->plus);
		if (child && wild) {
			walk->stack[walk->depth].node = child;
			walk->stack[walk->depth++].off = off + n + 1;
		}
		node = child_find(trie, node, topic + off, n);
		off += n + 1;
	}
	return 0;
}

/**
 * kmqtt_trie_match() - find every filter that matches a topic name
 * @trie: the trie
 * @topic: a name that kmqtt_topic_name_check() accepts
 * @len: its bytes
 * @walk: scratch, with found() set
 *
 * Return: 0, what found() returned, or -E2BIG: more than KMQTT_TRIE_BUDGET
 * nodes would have to be visited.
 */
int kmqtt_trie_match(struct kmqtt_trie *trie, const u8 *topic, size_t len,
		     struct kmqtt_walk *walk)
{
	int err;

	walk->budget = KMQTT_TRIE_BUDGET;
	walk->depth = 0;
	err = match_branch(trie, topic, len, walk, trie->root, 0);
	while (!err && walk->depth) {
		walk->depth--;
		err = match_branch(trie, topic, len, walk,
				   walk->stack[walk->depth].node,
				   walk->stack[walk->depth].off);
	}
	return err;
}
