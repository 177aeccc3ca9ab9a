/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The result of matching one topic name: which workers have subscribers, and
 * which of their subscriber lists. Immutable, shared by messages with the same
 * topic, kept in each worker's exact-topic cache until a filter comes or goes.
 */
#ifndef _KMQTT_MATCH_H_
#define _KMQTT_MATCH_H_

#include <linux/refcount.h>
#include <linux/types.h>

#include "trie.h"

struct kmqtt_leaf;
struct kmqtt_msg;
struct kmqtt_ns;
struct kmqtt_worker;

/**
 * struct kmqtt_target - the part of a match that concerns one worker
 * @worker: the worker
 * @leaves: its subscriber lists
 * @nr: how many
 */
struct kmqtt_target {
	struct kmqtt_worker *worker;
	struct kmqtt_leaf **leaves;
	u32 nr;
};

/**
 * struct kmqtt_choice - the part of a match that is a shared subscription: one
 *	of its targets is chosen for each message
 * @targets: of workers that have members, of one list each
 * @nr: how many
 */
struct kmqtt_choice {
	struct kmqtt_target *targets;
	u32 nr;
};

/**
 * struct kmqtt_match - a match
 * @refs: the cache, tickets, and whoever made it
 * @generation: of the namespace, when it was made
 * @net_cookie: the namespace
 * @hash: of the topic
 * @topic_len: bytes of @topic
 * @nr: targets that get every message
 * @nr_choices: shared subscriptions
 * @nr_targets: those of @nr and of @choices
 * @sink: the sink subscribes, or somebody with KMQTT_QOS_UPGRADE
 * @shares: so does a member of a shared subscription: the daemon chooses
 * @over: there were too many shared subscriptions: some do not get it
 * @nr_leaves: in all targets
 * @targets: a worker each; then those of @choices
 * @choices: the shared subscriptions
 * @topic: the topic name
 */
struct kmqtt_match {
	refcount_t refs;
	u32 generation;
	u64 net_cookie;
	u32 hash;
	u32 topic_len;
	u32 nr;
	u32 nr_choices;
	u32 nr_targets;
	u32 nr_leaves;
	bool sink;
	bool shares;
	bool over;
	struct kmqtt_target *targets;
	struct kmqtt_choice *choices;
	const u8 *topic;
};

/* Matches kept, and the largest ones: clients choose the topics. */
enum {
	KMQTT_MATCH_CACHE = 1024,
	KMQTT_MATCH_CACHE_TOPIC = 256,
	KMQTT_MATCH_CACHE_LEAVES = 64,
};

/**
 * struct kmqtt_match_cache - matches by topic, direct-mapped; its worker's
 * @slots: a match with a reference, or NULL
 * @large: the last that was too large for them, likewise
 */
struct kmqtt_match_cache {
	struct kmqtt_match *slots[KMQTT_MATCH_CACHE];
	struct kmqtt_match *large;
};

/* Subscriber lists in one match; those of shared subscriptions, which one client
 * can have very many of, leave room for the others.
 */
enum {
	KMQTT_MATCH_LEAVES = 32768,
	KMQTT_MATCH_SHARED = 8192,
};

/**
 * struct kmqtt_matcher - what making matches needs; one a maker
 * @walk: scratch of the trie
 * @leaves: lists found, each with a reference; grows, and is kept
 * @nr: how many
 * @nr_shared: those of shared subscriptions
 * @room: for how many
 * @visited: nodes, and lists, that the last match took
 * @sink: see struct kmqtt_match
 * @shares: likewise
 * @over: likewise
 */
struct kmqtt_matcher {
	struct kmqtt_walk walk;
	struct kmqtt_leaf **leaves;
	u32 nr;
	u32 nr_shared;
	u32 room;
	u32 visited;
	bool sink;
	bool shares;
	bool over;
};

/* All of these: process context, may sleep. */
void kmqtt_matcher_init(struct kmqtt_matcher *matcher);
void kmqtt_matcher_exit(struct kmqtt_matcher *matcher);
struct kmqtt_match *kmqtt_match_make(struct kmqtt_matcher *matcher,
				     struct kmqtt_ns *ns, const u8 *topic,
				     u16 len, u32 hash);
struct kmqtt_match *kmqtt_match_get(struct kmqtt_match_cache *cache,
				    struct kmqtt_matcher *matcher,
				    struct kmqtt_ns *ns,
				    const struct kmqtt_msg *msg, bool *cached);
void kmqtt_match_cache_purge(struct kmqtt_match_cache *cache);
void kmqtt_match_free(struct kmqtt_match *match);

/* Whether nobody subscribes, nor the sink. */
static inline bool kmqtt_match_empty(const struct kmqtt_match *match)
{
	return !match->nr_targets && !match->sink;
}

static inline void kmqtt_match_hold(struct kmqtt_match *match)
{
	refcount_inc(&match->refs);
}

static inline void kmqtt_match_put(struct kmqtt_match *match)
{
	if (refcount_dec_and_test(&match->refs))
		kmqtt_match_free(match);
}

#endif /* _KMQTT_MATCH_H_ */
