/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The topic trie: which filters match a topic name (section 4.7).
 *
 * A node is one level of a filter; the edges between nodes live in one hash
 * table keyed by parent and level, so a node costs the same with one child or
 * with a million. Wildcards are ordinary children that a match tries as well.
 *
 * Pure: no socket, no lock of its own. Writers are serialised by the caller;
 * readers are in an RCU read-side critical section. A node is freed after a
 * grace period.
 */
#ifndef _KMQTT_TRIE_H_
#define _KMQTT_TRIE_H_

#include <linux/rcupdate.h>
#include <linux/rhashtable.h>
#include <linux/types.h>
#include <linux/kmqtt.h>

/* Nodes one match may visit: two filters a level at 200 levels fit many times,
 * a wildcard bomb ({+,x}/{+,x}/...: 2^levels) does not.
 */
enum { KMQTT_TRIE_BUDGET = 4096 };

struct kmqtt_leaf;

/**
 * struct kmqtt_node - one level of a topic filter
 * @edge: link in the trie's edges
 * @parent: the level before; NULL for the root
 * @plus: the child "+", found without hashing
 * @multi: the child "#"
 * @leaves: subscriptions to the filter that ends here; the user's
 * @refs: children, and references of kmqtt_trie_get()
 * @rcu: deferred freeing
 * @len: bytes of @seg
 * @seg: the level's text
 */
struct kmqtt_node {
	struct rhash_head edge;
	struct kmqtt_node *parent;
	struct kmqtt_node __rcu *plus;
	struct kmqtt_node __rcu *multi;
	struct kmqtt_leaf __rcu *leaves;
	struct rcu_head rcu;
	u32 refs;
	u32 len;
	u8 seg[];
};

/**
 * struct kmqtt_trie - all filters of a network namespace
 * @edges: nodes by parent and level
 * @root: the node before the first level
 * @nodes: how many nodes there are, without the root
 */
struct kmqtt_trie {
	struct rhashtable edges;
	struct kmqtt_node *root;
	u32 nodes;
};

/**
 * struct kmqtt_walk - scratch of one match; too large for a kernel stack
 * @found: called for each node whose filter matches; non-zero ends the walk
 * @budget: nodes it may still visit
 * @depth: used entries of @stack
 * @stack: "+" branches not yet taken, at most one a level
 */
struct kmqtt_walk {
	int (*found)(struct kmqtt_walk *walk, struct kmqtt_node *node);
	unsigned int budget;
	unsigned int depth;
	struct {
		struct kmqtt_node *node;
		size_t off;
	} stack[KMQTT_LEVELS_MAX + 1];
};

int kmqtt_trie_init(struct kmqtt_trie *trie);
void kmqtt_trie_destroy(struct kmqtt_trie *trie);

/* Writers: under the caller's lock; may sleep. */
struct kmqtt_node *kmqtt_trie_get(struct kmqtt_trie *trie, const u8 *filter,
				  size_t len);
void kmqtt_trie_hold(struct kmqtt_node *node);
void kmqtt_trie_put(struct kmqtt_trie *trie, struct kmqtt_node *node);
struct kmqtt_node *kmqtt_trie_find(struct kmqtt_trie *trie, const u8 *filter,
				   size_t len);
size_t kmqtt_trie_filter_len(const struct kmqtt_node *node);
void kmqtt_trie_filter(const struct kmqtt_node *node, u8 *filter, size_t len);

/* Readers: under rcu_read_lock(). */
int kmqtt_trie_match(struct kmqtt_trie *trie, const u8 *topic, size_t len,
		     struct kmqtt_walk *walk);

#endif /* _KMQTT_TRIE_H_ */
