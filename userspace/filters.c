// SPDX-License-Identifier: GPL-2.0
#include "filters.h"

#include <errno.h>
#include <stdlib.h>

#include "session.h"
#include "trie.h"

/**
 * struct kmqtt_leaf - what a node of the trie points to
 * @subscriptions: all to its filter
 * @away: those of them whose session is away, as far as that is counted
 */
struct kmqtt_leaf {
	LIST_HEAD(, subscription) subscriptions;
	u32 away;
};

/**
 * struct match - a walk, and what it has found
 * @walk: the walk
 * @stamp: marks the sessions that it has found already
 * @first: of the sessions
 */
struct match {
	struct kmqtt_walk walk;
	u64 stamp;
	struct session *first;
};

static struct kmqtt_trie trie;
static struct table pairs;

int filters_open(void)
{
	return kmqtt_trie_init(&trie);
}

static u32 pair_hash(const struct session *session,
		     const struct kmqtt_node *node)
{
	/* Addresses, which nobody outside chooses. */
	return table_hash_u32((uintptr_t)session >> 4) ^
	       table_hash_u32((uintptr_t)node >> 4) * 3;
}

static struct subscription *find(const struct session *session,
				 const struct kmqtt_node *node)
{
	struct subscription *subscription;
	struct table_node *entry;

	for (entry = table_chain(&pairs, pair_hash(session, node)); entry;
	     entry = entry->next) {
		subscription = container_of(entry, struct subscription, pair);
		if (subscription->session == session &&
		    subscription->node == node)
			return subscription;
	}
	return NULL;
}

struct subscription *filters_find(const struct session *session,
				  const u8 *filter, u16 len)
{
	struct kmqtt_node *node = kmqtt_trie_find(&trie, filter, len);

	return node ? find(session, node) : NULL;
}

/* A list for @node, which has a reference for each of its subscriptions. */
static int leaf_make(struct kmqtt_node *node)
{
	if (!node->leaves)
		node->leaves = calloc(1, sizeof(*node->leaves));
	return node->leaves ? 0 : -ENOMEM;
}

static void leaf_put(struct kmqtt_node *node)
{
	if (node->leaves && LIST_EMPTY(&node->leaves->subscriptions)) {
		free(node->leaves);
		node->leaves = NULL;
	}
	kmqtt_trie_put(&trie, node);
}

static void set(struct subscription *subscription,
		const struct store_subscription *wanted)
{
	subscription->qos = wanted->qos;
	subscription->options = wanted->options;
	subscription->identifier = wanted->identifier;
}

struct subscription *
filters_subscribe(struct session *session,
		  const struct store_subscription *wanted)
{
	struct subscription *subscription =
		filters_find(session, wanted->filter, wanted->len);
	struct kmqtt_node *node;

	if (subscription) {
		set(subscription, wanted);
		return subscription;
	}
	subscription = malloc(sizeof(*subscription));
	if (!subscription)
		return NULL;
	node = kmqtt_trie_get(&trie, wanted->filter, wanted->len);
	if (!node)
		goto free_subscription;
	if (leaf_make(node) ||
	    table_add(&pairs, &subscription->pair, pair_hash(session, node)))
		goto put_node;

	subscription->session = session;
	subscription->node = node;
	set(subscription, wanted);
	LIST_INSERT_HEAD(&node->leaves->subscriptions, subscription, link);
	TAILQ_INSERT_TAIL(&session->subscriptions, subscription, own);
	session->subscription_count++;
	return subscription;

put_node:
	leaf_put(node);
free_subscription:
	free(subscription);
	return NULL;
}

void filters_unsubscribe(struct subscription *subscription)
{
	table_del(&pairs, &subscription->pair);
	LIST_REMOVE(subscription, link);
	TAILQ_REMOVE(&subscription->session->subscriptions, subscription, own);
	subscription->session->subscription_count--;
	leaf_put(subscription->node);
	free(subscription);
}

u16 filters_text(const struct subscription *subscription, u8 *filter)
{
	size_t len = kmqtt_trie_filter_len(subscription->node);

	kmqtt_trie_filter(subscription->node, filter, len);
	return len;
}

bool filters_away(const struct subscription *subscription, bool away)
{
	struct kmqtt_leaf *leaf = subscription->node->leaves;

	return away ? !leaf->away++ : !--leaf->away;
}

static int found(struct kmqtt_walk *walk, struct kmqtt_node *node)
{
	struct match *match = container_of(walk, struct match, walk);
	const struct subscription *subscription;

	LIST_FOREACH(subscription, &node->leaves->subscriptions, link) {
		struct session *session = subscription->session;

		if (session->match_stamp != match->stamp) {
			session->match_stamp = match->stamp;
			session->match_qos = subscription->qos;
			session->next_match = match->first;
			match->first = session;
		} else if (session->match_qos < subscription->qos) {
			session->match_qos = subscription->qos;
		}
	}
	return 0;
}

int filters_match(const u8 *topic, u16 len, struct session **sessions)
{
	static struct match match = { .walk.found = found };
	int err;

	match.stamp++;
	match.first = NULL;
	err = kmqtt_trie_match(&trie, topic, len, &match.walk);
	*sessions = match.first;
	return err;
}
