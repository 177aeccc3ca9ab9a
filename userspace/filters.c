// SPDX-License-Identifier: GPL-2.0
#include "filters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "message.h"
#include "session.h"
#include "shape.h"
#include "trie.h"

/**
 * struct share - subscriptions of one share name to one filter (MQTT 5, section
 * 4.8.2)
 * @link: among those of the filter
 * @pair: by filter and share name: there may be very many of a filter
 * @found: the next one of a match
 * @node: the filter
 * @members: its subscriptions
 * @next: whose turn it is, NULL: the first's
 * @away: those of @members whose session is away, as far as that is counted
 * @name_len: bytes of @name
 * @name: share name
 */
struct share {
	LIST_ENTRY(share) link;
	struct table_node pair;
	struct share *found;
	struct kmqtt_node *node;
	LIST_HEAD(, subscription) members;
	struct subscription *next;
	u32 away;
	u16 name_len;
	u8 name[];
};

/**
 * struct kmqtt_leaf - what a node of the trie points to
 * @subscriptions: all to its filter, but for shared ones
 * @shares: those, by share name
 * @away: those of @subscriptions whose session is away, as far as that is counted
 */
struct kmqtt_leaf {
	LIST_HEAD(, subscription) subscriptions;
	LIST_HEAD(, share) shares;
	u32 away;
};

/**
 * struct match_id - a subscription identifier that a match has found
 * @id: it
 * @next: number of the session's next one, from 1; 0: there is none
 */
struct match_id {
	u32 id;
	u32 next;
};

/**
 * struct match - a walk, and what it has found
 * @walk: the walk
 * @stamp: marks the sessions that it has found already
 * @publisher: who publishes, or NULL
 * @found: what it has found
 * @nr_shares: shares among that
 * @over: there are more of them
 * @ids: identifiers of its sessions
 * @id_count: how many there are
 * @id_size: and for how many there is room
 */
struct match {
	struct kmqtt_walk walk;
	u64 stamp;
	const struct session *publisher;
	struct filters_found found;
	u32 nr_shares;
	bool over;
	struct match_id *ids;
	u32 id_count;
	u32 id_size;
};

/* Members of a share that are looked at for one that is there. */
#define CHOICE_MAX 1024

/* Shares that a match finds, of which one client can have very many: as many as
 * the module's KMQTT_MATCH_SHARED.
 */
#define SHARES_MAX 8192

/* "$share/", with the '/' after the share name the least of a shared filter. */
static const char share_prefix[] = "$share/";

static struct kmqtt_trie trie;
static struct table pairs;
static struct table shares;
static struct match match;

int filters_open(void)
{
	return kmqtt_trie_init(&trie);
}

struct filters_parts filters_split(const u8 *filter, u16 len)
{
	struct filters_parts parts = { .topic = filter, .topic_len = len };
	const u8 *name = filter + sizeof(share_prefix) - 1, *slash;

	if (len < sizeof(share_prefix) ||
	    memcmp(filter, share_prefix, sizeof(share_prefix) - 1))
		return parts;
	slash = memchr(name, '/', filter + len - name);
	if (!slash || slash == name || slash + 1 == filter + len)
		return parts;
	parts.name = name;
	parts.name_len = slash - name;
	parts.topic = slash + 1;
	parts.topic_len = filter + len - parts.topic;
	return parts;
}

static struct kmqtt_node *node_of(const struct subscription *subscription)
{
	return subscription->shared ? subscription->share->node
				    : subscription->node;
}

/* @of: the filter's node, or share. */
static u32 pair_hash(const struct session *session, const void *of)
{
	/* Addresses, which nobody outside chooses. */
	return table_hash_u32((uintptr_t)session >> 4) ^
	       table_hash_u32((uintptr_t)of >> 4) * 3;
}

static struct subscription *find(const struct session *session, const void *of)
{
	struct subscription *subscription;
	struct table_node *entry;

	for (entry = table_chain(&pairs, pair_hash(session, of)); entry;
	     entry = entry->next) {
		subscription = container_of(entry, struct subscription, pair);
		if (subscription->session == session &&
		    (const void *)subscription->node == of)
			return subscription;
	}
	return NULL;
}

static u32 share_hash(const struct kmqtt_node *node, const struct filters_parts *parts)
{
	return table_hash(parts->name, parts->name_len) ^
	       table_hash_u32((uintptr_t)node >> 4);
}

static struct share *find_share(const struct kmqtt_node *node,
				const struct filters_parts *parts)
{
	struct table_node *entry;
	struct share *share;

	if (!node || !parts->name)
		return NULL;
	for (entry = table_chain(&shares, share_hash(node, parts)); entry;
	     entry = entry->next) {
		share = container_of(entry, struct share, pair);
		if (share->node == node &&
		    share->name_len == parts->name_len &&
		    !memcmp(share->name, parts->name, parts->name_len))
			return share;
	}
	return NULL;
}

struct share *filters_share(const u8 *filter, u16 len)
{
	struct filters_parts parts = filters_split(filter, len);

	return find_share(kmqtt_trie_find(&trie, parts.topic, parts.topic_len),
			  &parts);
}

struct subscription *filters_find(const struct session *session,
				  const u8 *filter, u16 len)
{
	struct filters_parts parts = filters_split(filter, len);
	struct kmqtt_node *node = kmqtt_trie_find(&trie, parts.topic,
						  parts.topic_len);
	const void *of = node;

	if (parts.name)
		of = find_share(node, &parts);
	return of ? find(session, of) : NULL;
}

static int count_shape(const struct kmqtt_node *node)
{
	struct shape shape;

	shape_of_node(&shape, node);
	return shape_get(&shape);
}

static void uncount_shape(const struct kmqtt_node *node)
{
	struct shape shape;

	shape_of_node(&shape, node);
	shape_put(&shape);
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
	if (node->leaves && LIST_EMPTY(&node->leaves->subscriptions) &&
	    LIST_EMPTY(&node->leaves->shares)) {
		free(node->leaves);
		node->leaves = NULL;
	}
	kmqtt_trie_put(&trie, node);
}

static struct share *share_make(struct kmqtt_node *node,
				const struct filters_parts *parts)
{
	struct share *share = find_share(node, parts);

	if (share)
		return share;
	share = calloc(1, sizeof(*share) + parts->name_len);
	if (!share)
		return NULL;
	share->node = node;
	share->name_len = parts->name_len;
	memcpy(share->name, parts->name, parts->name_len);
	if (table_add(&shares, &share->pair, share_hash(node, parts))) {
		free(share);
		return NULL;
	}
	LIST_INSERT_HEAD(&node->leaves->shares, share, link);
	return share;
}

static void share_put(struct share *share)
{
	if (!LIST_EMPTY(&share->members))
		return;
	LIST_REMOVE(share, link);
	table_del(&shares, &share->pair);
	free(share);
}

static void set(struct subscription *subscription,
		const struct store_subscription *wanted)
{
	subscription->qos = wanted->qos;
	subscription->options = wanted->options;
	subscription->identifier = wanted->identifier;
}

/* It is one of @node's, or of a share of it. 0 or -ENOMEM. */
static int attach(struct subscription *subscription, struct kmqtt_node *node,
		  const struct filters_parts *parts)
{
	struct session *session = subscription->session;

	subscription->shared = parts->name;
	subscription->node = node;
	if (parts->name) {
		subscription->share = share_make(node, parts);
		if (!subscription->share)
			return -ENOMEM;
	}
	if (table_add(&pairs, &subscription->pair,
		      pair_hash(session, subscription->node))) {
		if (subscription->shared)
			share_put(subscription->share);
		return -ENOMEM;
	}
	if (subscription->shared)
		LIST_INSERT_HEAD(&subscription->share->members, subscription,
				 link);
	else
		LIST_INSERT_HEAD(&node->leaves->subscriptions, subscription,
				 link);
	return 0;
}

struct subscription *
filters_subscribe(struct session *session,
		  const struct store_subscription *wanted)
{
	struct subscription *subscription =
		filters_find(session, wanted->filter, wanted->len);
	struct filters_parts parts = filters_split(wanted->filter, wanted->len);
	struct kmqtt_node *node;

	if (subscription) {
		set(subscription, wanted);
		return subscription;
	}
	subscription = malloc(sizeof(*subscription));
	if (!subscription)
		return NULL;
	node = kmqtt_trie_get(&trie, parts.topic, parts.topic_len);
	if (!node)
		goto free_subscription;
	subscription->session = session;
	if (count_shape(node))
		goto put_node;
	if (leaf_make(node) || attach(subscription, node, &parts))
		goto uncount;

	set(subscription, wanted);
	TAILQ_INSERT_TAIL(&session->subscriptions, subscription, own);
	session->subscription_count++;
	return subscription;

uncount:
	uncount_shape(node);
put_node:
	leaf_put(node);
free_subscription:
	free(subscription);
	return NULL;
}

void filters_unsubscribe(struct subscription *subscription)
{
	struct kmqtt_node *node = node_of(subscription);
	struct share *share = subscription->share;

	table_del(&pairs, &subscription->pair);
	if (subscription->shared && share->next == subscription)
		share->next = LIST_NEXT(subscription, link);
	LIST_REMOVE(subscription, link);
	if (subscription->shared)
		share_put(share);
	TAILQ_REMOVE(&subscription->session->subscriptions, subscription, own);
	subscription->session->subscription_count--;
	uncount_shape(node);
	leaf_put(node);
	free(subscription);
}

u16 filters_text(const struct subscription *subscription, u8 *filter)
{
	struct kmqtt_node *node = node_of(subscription);
	size_t len = kmqtt_trie_filter_len(node);
	u8 *to = filter;

	if (subscription->shared) {
		to = mempcpy(to, share_prefix, sizeof(share_prefix) - 1);
		to = mempcpy(to, subscription->share->name,
			     subscription->share->name_len);
		*to++ = '/';
	}
	kmqtt_trie_filter(node, to, len);
	return to - filter + len;
}

bool filters_away(const struct subscription *subscription, bool away)
{
	u32 *count = subscription->shared ? &subscription->share->away :
		     &subscription->node->leaves->away;

	return away ? !(*count)++ : !--(*count);
}

/* Matching */

static int note_id(struct session *session, u32 id)
{
	struct match_id *ids = match.ids;
	u32 size = match.id_size ? 2 * match.id_size : 64;

	if (match.id_count == match.id_size) {
		ids = reallocarray(ids, size, sizeof(*ids));
		if (!ids)
			return -ENOMEM;
		match.ids = ids;
		match.id_size = size;
	}
	ids[match.id_count++] = (struct match_id){ id, session->match_ids };
	session->match_ids = match.id_count;
	return 0;
}

static int note(const struct subscription *subscription)
{
	struct session *session = subscription->session;

	if (subscription->options & STORE_NO_LOCAL &&
	    session == match.publisher)
		return 0;
	if (session->match_stamp != match.stamp) {
		session->match_stamp = match.stamp;
		session->match_qos = subscription->qos;
		session->match_options = subscription->options;
		session->match_ids = 0;
		session->next_match = match.found.sessions;
		match.found.sessions = session;
	} else {
		if (session->match_qos < subscription->qos)
			session->match_qos = subscription->qos;
		session->match_options |= subscription->options;
	}
	return subscription->identifier ?
	       note_id(session, subscription->identifier) : 0;
}

static void note_shares(const struct kmqtt_node *node)
{
	struct share *share;

	LIST_FOREACH(share, &node->leaves->shares, link) {
		if (match.nr_shares == SHARES_MAX) {
			match.over = true;
			break;
		}
		match.nr_shares++;
		share->found = match.found.shares;
		match.found.shares = share;
	}
}

static int found(struct kmqtt_walk *walk, struct kmqtt_node *node)
{
	const struct subscription *subscription;
	int err;

	(void)walk;
	LIST_FOREACH(subscription, &node->leaves->subscriptions, link) {
		err = note(subscription);
		if (err)
			return err;
	}
	note_shares(node);
	return 0;
}

/* Not of each one: that is one a publish. */
static void log_over(void)
{
	static unsigned long long times;

	if (!match.over)
		return;
	times++;
	if (times & (times - 1))
		return;
	log_print(LOG_TYPE_WARNING,
		  "Warning: More than %u shared subscriptions match a topic, %llu times so far; the others do not get what is published.",
		  SHARES_MAX, times);
}

int filters_match(const u8 *topic, u16 len, const struct session *publisher,
		  struct filters_found *result)
{
	int err;

	match.walk.found = found;
	match.stamp++;
	match.publisher = publisher;
	match.found = (struct filters_found){ 0 };
	match.nr_shares = 0;
	match.over = false;
	match.id_count = 0;
	err = kmqtt_trie_match(&trie, topic, len, &match.walk);
	log_over();
	*result = match.found;
	return err;
}

/* Room for an origin of so many identifiers, and a filter of so many bytes. */
static struct origin *scratch(size_t ids, size_t len)
{
	static struct origin *origin;
	static size_t size;
	size_t need = sizeof(*origin) + ids * sizeof(u32) + len;
	void *more;

	if (need > size) {
		more = realloc(origin, need);
		if (!more)
			return NULL;
		origin = more;
		size = need;
	}
	*origin = (struct origin){ .identifiers_len = ids * sizeof(u32) };
	return origin;
}

const struct origin *filters_origin(const struct session *session)
{
	struct origin *origin;
	u32 at, n = 0;

	if (!session->match_ids)
		return NULL;
	for (at = session->match_ids; at; at = match.ids[at - 1].next)
		n++;
	origin = scratch(n, 0);
	if (!origin)
		return NULL;
	n = 0;
	for (at = session->match_ids; at; at = match.ids[at - 1].next)
		origin->identifiers[n++] = match.ids[at - 1].id;
	return origin;
}

const struct origin *
filters_share_origin(const struct subscription *subscription)
{
	struct origin *origin = scratch(!!subscription->identifier,
					UINT16_MAX);

	if (!origin)
		return NULL;
	if (subscription->identifier)
		origin->identifiers[0] = subscription->identifier;
	origin->share_len = filters_text(subscription,
					 (u8 *)origin->identifiers +
					 origin->identifiers_len);
	return origin;
}

struct share *filters_next_share(const struct share *share)
{
	return share->found;
}

static struct subscription *after(struct share *share,
				  struct subscription *subscription)
{
	struct subscription *next = LIST_NEXT(subscription, link);

	return next ? next : LIST_FIRST(&share->members);
}

struct subscription *filters_choose(struct share *share,
				    const struct message *message)
{
	struct subscription *first = share->next ? share->next
						 : LIST_FIRST(&share->members);
	struct subscription *chosen = NULL, *at = first;
	u32 n = 0;

	do {
		if (!session_may(at->session, message->data,
				 message->topic_len, KMQTT_ACCESS_READ))
			continue;
		if (at->session->client) {
			chosen = at;
			break;
		}
		if (!chosen && at->qos && session_is_away(at->session))
			chosen = at;
	} while (++n < CHOICE_MAX && (at = after(share, at)) != first);
	if (chosen)
		share->next = LIST_NEXT(chosen, link);
	return chosen;
}
