/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rule sets in use: a namespace has them by id, and connections refer to them.
 * New contents replace the old at once, also for connections that live.
 *
 * A publish is checked when it is received. A delivery is not, where the
 * subscription's filter is wholly readable: the control half, under
 * kmqtt_ns.lock, finds that out when the subscription or the rules change, and
 * says so in kmqtt_sub.readable. Workers look at that only where they have not
 * found a whole list readable since rules have last changed.
 */
#ifndef _KMQTT_ACCESS_H_
#define _KMQTT_ACCESS_H_

#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/types.h>

#include "conn.h"
#include "rules.h"

/**
 * struct kmqtt_ruleset - a rule set of a namespace
 * @refs: the namespace, and each connection's access
 * @id: its name
 * @users: connections that have it; under kmqtt_ns.lock
 * @forgotten: its namespace does not know it any more; likewise
 * @rules: its contents; readers need RCU
 *
 * Readers find it through an access, so the last reference is dropped after them.
 */
struct kmqtt_ruleset {
	refcount_t refs;
	u32 id;
	u32 users;
	bool forgotten;
	struct kmqtt_rules __rcu *rules;
};

enum { KMQTT_VERDICT_TOPIC = 64 };

/**
 * struct kmqtt_verdict - the last one about a short topic; the worker's
 * @generation: of the rules; 0: there is none
 * @len: bytes of the topic
 * @may: the verdict
 * @topic: the topic name
 */
struct kmqtt_verdict {
	u64 generation;
	u16 len;
	bool may;
	u8 topic[KMQTT_VERDICT_TOPIC];
};

/**
 * struct kmqtt_access - what a connection may do
 * @set: its rules, with a reference
 * @who: its names, in @names
 * @publish: the last verdict about a publish
 * @deliver: the last about a delivery
 * @rcu: deferred freeing
 * @names: client identifier and user name
 */
struct kmqtt_access {
	struct kmqtt_ruleset *set;
	struct kmqtt_who who;
	struct kmqtt_verdict publish;
	struct kmqtt_verdict deliver;
	struct rcu_head rcu;
	u8 names[];
};

/* Changes when a subscription may have become unreadable. */
extern u64 kmqtt_access_generation;

/* Netlink handlers: under kmqtt_ns.lock, may sleep. */
struct kmqtt_ruleset *kmqtt_ruleset_find(struct kmqtt_ns *ns, u32 id);
int kmqtt_ruleset_commit(struct kmqtt_ns *ns, u32 id,
			 struct kmqtt_rules *rules);
void kmqtt_ruleset_del(struct kmqtt_ns *ns, struct kmqtt_ruleset *set);
void kmqtt_ruleset_del_all(struct kmqtt_ns *ns);

struct kmqtt_access *kmqtt_access_alloc(struct kmqtt_ruleset *set,
					const u8 *client_id, u32 client_id_len,
					const u8 *user, u32 user_len);
void kmqtt_access_discard(struct kmqtt_access *access);
int kmqtt_access_replace(struct kmqtt_conn *conn, struct kmqtt_access *access);
void kmqtt_access_leave(struct kmqtt_conn *conn);
bool kmqtt_access_covers(struct kmqtt_conn *conn, const u8 *filter, size_t len);

/* Any context. */
void kmqtt_access_free(struct kmqtt_conn *conn);

/* The worker. */
bool kmqtt_access_publish(struct kmqtt_conn *conn, const u8 *topic, size_t len);
bool kmqtt_access_deliver(struct kmqtt_conn *conn, const u8 *topic, size_t len);

/* Whether a connection may publish to a topic. */
static inline bool kmqtt_may_publish(struct kmqtt_conn *conn, const u8 *topic,
				     size_t len)
{
	return likely(!rcu_access_pointer(conn->access)) ||
	       kmqtt_access_publish(conn, topic, len);
}

#endif /* _KMQTT_ACCESS_H_ */
