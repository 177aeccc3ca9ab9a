/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state of one network namespace: its connections, its filters, its
 * counters.
 */
#ifndef _KMQTT_NS_H_
#define _KMQTT_NS_H_

#include <linux/mutex.h>
#include <linux/xarray.h>
#include <linux/kmqtt.h>

#include "match.h"
#include "memory.h"
#include "sink.h"
#include "trie.h"
#include "trunk.h"

struct kmqtt_conn;
struct kmqtt_rules;
struct net;
struct task_struct;

/* Connections with event bits, in kmqtt_ns.conns. */
#define KMQTT_MARK_EVENT XA_MARK_1

/**
 * struct kmqtt_counters - what one worker counted in one namespace
 * @values: by enum kmqtt_a_counter
 * @sinking: oldest record in the sink whose message it has not sent to the
 *	workers yet; 0: none
 *
 * Written by the one worker only, read by anybody.
 */
struct kmqtt_counters {
	u64 values[KMQTT_A_COUNTER_MAX + 1];
	u64 sinking;
} ____cacheline_aligned_in_smp;

/**
 * struct kmqtt_ns - one network namespace
 * @net: the namespace
 * @lock: protects all that follows but what says otherwise; taken by netlink
 *	handlers only, never by a worker
 * @conns: connections by id; readable under its own lock
 * @next_id: for xa_alloc_cyclic()
 * @nr_conns: entries of @conns
 * @nr_subs: subscriptions of all connections
 * @trie: the topic trie; readers need RCU only
 * @rulesets: rule sets by id
 * @nr_rulesets: entries of @rulesets
 * @rules_bytes: of all their contents
 * @kept_bytes: of those that are not there any more, but that connections have
 * @draft_id: the rule set that @draft is for
 * @draft: contents being written, or NULL
 * @matcher: for injected messages
 * @injected: the serial that the daemon gave the last of them
 * @attaching: connection whose socket is being switched over
 * @attacher: the task that does it
 * @generation: changes when a match may change; no lock to read
 * @event_armed: the next event sends KMQTT_CMD_EVENT; atomic
 * @ended: connections ended, by enum kmqtt_end; atomic
 * @counters: one a worker
 * @sink: has a lock of its own
 * @trunk: likewise
 * @memory: to be read without the lock
 */
struct kmqtt_ns {
	struct net *net;
	struct mutex lock; /* protects what follows, with exceptions */
	struct xarray conns;
	u32 next_id;
	u32 nr_conns;
	u32 nr_subs;
	struct kmqtt_trie trie;
	struct xarray rulesets;
	u32 nr_rulesets;
	u32 rules_bytes;
	u32 kept_bytes;
	u32 draft_id;
	struct kmqtt_rules *draft;
	struct kmqtt_matcher matcher;
	u64 injected;
	struct kmqtt_conn *attaching;
	struct task_struct *attacher;
	u32 generation;
	int event_armed;
	atomic64_t ended[KMQTT_END_MAX + 1];
	struct kmqtt_counters *counters;
	struct kmqtt_sink sink;
	struct kmqtt_trunk trunk;
	struct kmqtt_memory memory;
};

struct kmqtt_ns *kmqtt_ns_of(const struct net *net);

/* Filters came or went: matches made before are stale. Under @ns->lock. */
static inline void kmqtt_ns_changed(struct kmqtt_ns *ns)
{
	/* Pairs with kmqtt_match_make() and kmqtt_match_get(). */
	smp_store_release(&ns->generation, ns->generation + 1);
}

int kmqtt_ns_init(void);
void kmqtt_ns_exit(void);

#endif /* _KMQTT_NS_H_ */
