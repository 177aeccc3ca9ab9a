// SPDX-License-Identifier: GPL-2.0
#include "match.h"

#include <linux/err.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/stringhash.h>
#include <net/net_namespace.h>

#include "msg.h"
#include "ns.h"
#include "sub.h"
#include "worker.h"

static int matcher_grow(struct kmqtt_matcher *matcher)
{
	u32 room = max(16U, matcher->room * 2);
	struct kmqtt_leaf **leaves;

	if (room > KMQTT_MATCH_LEAVES)
		return -E2BIG;
	/* In the walk's read-side critical section. */
	leaves = krealloc_array(matcher->leaves, room, sizeof(*leaves),
				GFP_ATOMIC | __GFP_NOWARN);
	if (!leaves)
		return -ENOMEM;
	matcher->leaves = leaves;
	matcher->room = room;
	return 0;
}

/* Whether there is room for another list of a shared subscription. */
static bool matcher_share(struct kmqtt_matcher *matcher)
{
	matcher->over |= matcher->nr_shared == KMQTT_MATCH_SHARED;
	matcher->nr_shared += !matcher->over;
	return !matcher->over;
}

static int matcher_found(struct kmqtt_walk *walk, struct kmqtt_node *node)
{
	struct kmqtt_matcher *matcher;
	struct kmqtt_leaf *leaf;
	int err;

	matcher = container_of(walk, struct kmqtt_matcher, walk);
	for (leaf = rcu_dereference(node->leaves); leaf;
	     leaf = rcu_dereference(leaf->next)) {
		if (!leaf->worker || READ_ONCE(leaf->nr_upgrade)) {
			matcher->sink = true;
			matcher->shares |= !!leaf->group;
		}
		if (!leaf->worker || (leaf->group && !matcher_share(matcher)))
			continue;
		if (matcher->nr == matcher->room) {
			err = matcher_grow(matcher);
			if (err)
				return err;
		}
		if (kmqtt_leaf_hold(leaf))
			matcher->leaves[matcher->nr++] = leaf;
	}
	return 0;
}

void kmqtt_matcher_init(struct kmqtt_matcher *matcher)
{
	memset(matcher, 0, sizeof(*matcher));
	matcher->walk.found = matcher_found;
}

void kmqtt_matcher_exit(struct kmqtt_matcher *matcher)
{
	kfree(matcher->leaves);
}

static void matcher_drop(struct kmqtt_matcher *matcher)
{
	while (matcher->nr)
		kmqtt_leaf_put(matcher->leaves[--matcher->nr]);
}

/* By group, those of none first, then by worker. */
static int leaf_cmp(const void *a, const void *b)
{
	const struct kmqtt_leaf *x = *(struct kmqtt_leaf * const *)a;
	const struct kmqtt_leaf *y = *(struct kmqtt_leaf * const *)b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return (int)x->worker->index - (int)y->worker->index;
}

/* Whether a leaf begins another target than the one before it. */
static bool begins_target(struct kmqtt_leaf *const *leaves, u32 i)
{
	return !i || leaves[i]->worker != leaves[i - 1]->worker ||
	       leaves[i]->group != leaves[i - 1]->group;
}

static bool begins_choice(struct kmqtt_leaf *const *leaves, u32 i)
{
	return leaves[i]->group &&
	       (!i || leaves[i]->group != leaves[i - 1]->group);
}

/* Sort the leaves found, and count targets and choices. */
static void matcher_sort(struct kmqtt_matcher *matcher, u32 *targets,
			 u32 *choices)
{
	u32 i;

	if (matcher->nr > 1)
		sort(matcher->leaves, matcher->nr, sizeof(*matcher->leaves),
		     leaf_cmp, NULL);
	*targets = 0;
	*choices = 0;
	for (i = 0; i < matcher->nr; i++) {
		*targets += begins_target(matcher->leaves, i);
		*choices += begins_choice(matcher->leaves, i);
	}
}

/* Fill in the targets of a match, whose leaves are sorted. */
static void match_fill(struct kmqtt_match *match, struct kmqtt_leaf **leaves)
{
	struct kmqtt_choice *choice = match->choices - 1;
	struct kmqtt_target *target = match->targets - 1;
	u32 i;

	for (i = 0; i < match->nr_leaves; i++) {
		if (begins_target(leaves, i)) {
			target++;
			target->worker = leaves[i]->worker;
			target->leaves = leaves + i;
			target->nr = 0;
			if (begins_choice(leaves, i)) {
				choice++;
				choice->targets = target;
				choice->nr = 0;
			}
			if (leaves[i]->group)
				choice->nr++;
			else
				match->nr++;
		}
		target->nr++;
	}
}

/* One allocation: the match, its targets, their leaves, choices, the topic. */
static struct kmqtt_match *match_new(struct kmqtt_matcher *matcher,
				     const u8 *topic, u16 len)
{
	struct kmqtt_leaf **leaves;
	struct kmqtt_match *match;
	u32 targets, choices;
	u8 *text;

	matcher_sort(matcher, &targets, &choices);
	match = kvmalloc(sizeof(*match) + targets * sizeof(*match->targets) +
			 choices * sizeof(*match->choices) +
			 matcher->nr * sizeof(*leaves) + len,
			 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!match)
		return NULL;

	match->nr = 0;
	match->nr_choices = choices;
	match->nr_targets = targets;
	match->nr_leaves = matcher->nr;
	match->sink = matcher->sink;
	match->shares = matcher->shares;
	match->over = matcher->over;
	match->targets = (struct kmqtt_target *)(match + 1);
	match->choices = (struct kmqtt_choice *)(match->targets + targets);
	leaves = (struct kmqtt_leaf **)(match->choices + choices);
	text = (u8 *)(leaves + matcher->nr);

	memcpy(leaves, matcher->leaves, matcher->nr * sizeof(*leaves));
	matcher->nr = 0;
	match_fill(match, leaves);

	memcpy(text, topic, len);
	match->topic = text;
	match->topic_len = len;
	refcount_set(&match->refs, 1);
	return match;
}

/**
 * kmqtt_match_make() - match a topic name against the filters of a namespace
 * @matcher: the caller's alone
 * @ns: the namespace
 * @topic: a valid topic name
 * @len: its bytes
 * @hash: for kmqtt_match_get()
 *
 * Return: a match with one reference; -E2BIG: over the budget of nodes;
 * -ENOMEM.
 */
struct kmqtt_match *kmqtt_match_make(struct kmqtt_matcher *matcher,
				     struct kmqtt_ns *ns, const u8 *topic,
				     u16 len, u32 hash)
{
	struct kmqtt_match *match;
	u32 generation;
	int err;

	/* Before the walk: a change during it makes the match stale at once.
	 * Pairs with kmqtt_ns_changed().
	 */
	generation = smp_load_acquire(&ns->generation);

	matcher->sink = false;
	matcher->shares = false;
	matcher->over = false;
	matcher->nr_shared = 0;
	rcu_read_lock();
	err = kmqtt_trie_match(&ns->trie, topic, len, &matcher->walk);
	rcu_read_unlock();
	matcher->visited = KMQTT_TRIE_BUDGET - matcher->walk.budget +
			   matcher->nr;

	match = err ? NULL : match_new(matcher, topic, len);
	if (!match) {
		matcher_drop(matcher);
		return ERR_PTR(err ?: -ENOMEM);
	}
	match->net_cookie = ns->net->net_cookie;
	match->generation = generation;
	match->hash = hash;
	return match;
}

/* Whether no filter has come or gone since. */
static bool still_true(const struct kmqtt_match *match,
		       const struct kmqtt_ns *ns)
{
	/* Pairs with kmqtt_ns_changed(). */
	return match->generation == smp_load_acquire(&ns->generation) &&
	       match->net_cookie == ns->net->net_cookie;
}

/**
 * kmqtt_match_get() - the match of a message, from the cache if it is there
 * @cache: the caller's alone
 * @matcher: likewise
 * @ns: the namespace
 * @msg: the message
 * @cached: set to whether it was there
 *
 * Return: a match that belongs to the cache, valid until the next call, or an
 * error as kmqtt_match_make().
 */
struct kmqtt_match *kmqtt_match_get(struct kmqtt_match_cache *cache,
				    struct kmqtt_matcher *matcher,
				    struct kmqtt_ns *ns,
				    const struct kmqtt_msg *msg, bool *cached)
{
	const u8 *topic = msg->data + msg->topic_off;
	struct kmqtt_match **slot, *match;
	u32 hash;

	hash = full_name_hash(ns, (const char *)topic, msg->topic_len);
	slot = &cache->slots[hash % KMQTT_MATCH_CACHE];
	match = *slot;

	*cached = match && match->hash == hash && still_true(match, ns) &&
		  match->topic_len == msg->topic_len &&
		  !memcmp(match->topic, topic, msg->topic_len);
	if (*cached)
		return match;

	match = kmqtt_match_make(matcher, ns, topic, msg->topic_len, hash);
	if (IS_ERR(match))
		return match;
	if (match->topic_len > KMQTT_MATCH_CACHE_TOPIC ||
	    match->nr_leaves > KMQTT_MATCH_CACHE_LEAVES)
		slot = &cache->large;
	if (*slot)
		kmqtt_match_put(*slot);
	*slot = match;
	return match;
}

void kmqtt_match_cache_purge(struct kmqtt_match_cache *cache)
{
	u32 i;

	for (i = 0; i < KMQTT_MATCH_CACHE; i++) {
		if (cache->slots[i])
			kmqtt_match_put(cache->slots[i]);
		cache->slots[i] = NULL;
	}
	if (cache->large)
		kmqtt_match_put(cache->large);
	cache->large = NULL;
}

void kmqtt_match_free(struct kmqtt_match *match)
{
	u32 i, j;

	for (i = 0; i < match->nr_targets; i++)
		for (j = 0; j < match->targets[i].nr; j++)
			kmqtt_leaf_put(match->targets[i].leaves[j]);
	kvfree(match);
}
