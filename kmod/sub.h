/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Subscriptions. Who subscribes to what has two halves. The control half, under
 * kmqtt_ns.lock, knows every subscription and answers netlink. The delivery half
 * belongs to workers: for each filter, a worker has one list of the
 * connections that it is home to. Changes travel from the one to the other
 * through the worker's inbox, in order with messages.
 */
#ifndef _KMQTT_SUB_H_
#define _KMQTT_SUB_H_

#include <linux/rbtree.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>

#include "form.h"
#include "msg.h"

struct kmqtt_conn;
struct kmqtt_node;
struct kmqtt_ns;
struct kmqtt_worker;
struct netlink_ext_ack;

/* In kmqtt_sub.qos, of a subscription with KMQTT_SUB_UPGRADE: the daemon delivers
 * what is in the sink because somebody subscribes to it.
 */
enum { KMQTT_QOS_UPGRADE = 4 };

/**
 * struct kmqtt_sub - one connection's subscription to one filter
 * @conn: the connection; alive as long as the subscription
 * @leaf: the list it is in
 * @of_conn: in kmqtt_conn.subs, by @leaf
 * @index: where in @leaf's list; the worker's
 * @hold: kmqtt_conn.hold when it came, if it came with the hold, or 0; the
 *	worker's
 * @qos: granted QoS, and KMQTT_QOS_UPGRADE; the worker's, once delivered to it
 * @form: form that it asks for, and KMQTT_FORM_NO_LOCAL; likewise
 * @id: if @form has one, its subscription identifier: the bytes of a variable
 *	byte integer, as they lie in memory; likewise
 * @readable: its connection may read all that the filter matches
 * @last: the last of its leaf, which is not in the trie any more; set before
 *	the worker is told to free it
 * @upgrade: it counts in @leaf's nr_upgrade; under kmqtt_ns.lock
 */
struct kmqtt_sub {
	struct kmqtt_conn *conn;
	struct kmqtt_leaf *leaf;
	struct rb_node of_conn;
	u32 index;
	u32 hold;
	u32 id;
	u8 qos;
	u8 form;
	bool readable;
	bool last : 1;
	bool upgrade : 1;
};

/**
 * struct kmqtt_group - a shared subscription (MQTT 5, section 4.8.2)
 * @refs: one a leaf of it
 * @turn: whose it is, among the members of all workers; whoever publishes
 * @len: bytes of @name
 * @name: the share name
 *
 * It has a leaf for each worker that has members.
 */
struct kmqtt_group {
	refcount_t refs;
	u32 turn;
	u32 len;
	u8 name[];
};

/* Jiffies that a leaf of a group is passed over whose members do not keep up. */
#define KMQTT_GROUP_REST	(HZ / 20)

/**
 * struct kmqtt_leaf - one worker's subscribers to one filter
 * @next: other workers' leaves of the filter; readers need RCU
 * @worker: whose; NULL: the sink's, which has no list
 * @node: the filter
 * @group: whose members they are; NULL: of no group
 * @rests: jiffies, until when its members do not keep up; the worker's
 * @turn: whose it is among them; the worker's
 * @refs: one while it has subscribers, one a match
 * @count: subscribers; under kmqtt_ns.lock
 * @room: entries that @subs will have room for; under kmqtt_ns.lock
 * @nr_upgrade: subscribers with KMQTT_QOS_UPGRADE; under kmqtt_ns.lock, read by
 *	whoever publishes
 * @nr: entries of @subs; the worker's
 * @nr_no_local: those with KMQTT_FORM_NO_LOCAL; the worker's
 * @subs: subscribers; the worker's
 * @cleared: kmqtt_access_generation as of which all of them were readable, while
 *	it is in use; the worker's
 * @rcu: deferred freeing
 */
struct kmqtt_leaf {
	struct kmqtt_leaf __rcu *next;
	struct kmqtt_worker *worker;
	struct kmqtt_node *node;
	struct kmqtt_group *group;
	unsigned long rests;
	u32 turn;
	refcount_t refs;
	u32 count;
	u32 room;
	u32 nr_upgrade;
	u32 nr;
	u32 nr_no_local;
	struct kmqtt_sub **subs;
	union {
		u64 cleared;
		struct rcu_head rcu;
	};
};

/**
 * enum kmqtt_change_op - what changes
 * @KMQTT_CHANGE_ADD: a subscription is new
 * @KMQTT_CHANGE_SET: what it asks for changes
 * @KMQTT_CHANGE_DEL: it ends, and is freed by the worker
 */
enum kmqtt_change_op {
	KMQTT_CHANGE_ADD,
	KMQTT_CHANGE_SET,
	KMQTT_CHANGE_DEL,
};

/**
 * struct kmqtt_filter - what is subscribed to
 * @topic: the topic filter, checked
 * @len: bytes of it
 * @group_len: bytes of @group, 0: none
 * @group: the share name
 */
struct kmqtt_filter {
	const u8 *topic;
	u32 len;
	u32 group_len;
	const u8 *group;
};

/**
 * struct kmqtt_sub_options - what a subscription asks for
 * @id: see struct kmqtt_sub
 * @qos: likewise
 * @form: likewise
 */
struct kmqtt_sub_options {
	u32 id;
	u8 qos;
	u8 form;
};

/**
 * struct kmqtt_change - one changed subscription
 * @op: enum kmqtt_change_op
 * @options: of ADD and SET
 * @old_room: ADD with @subs: kmqtt_leaf.room before, to undo it
 * @sub: which
 * @subs: ADD: a larger list to move to, or NULL
 */
struct kmqtt_change {
	u8 op;
	struct kmqtt_sub_options options;
	u32 old_room;
	struct kmqtt_sub *sub;
	struct kmqtt_sub **subs;
};

/**
 * struct kmqtt_changes - changes for one worker, in order
 * @ticket: of type KMQTT_TICKET_SUBS
 * @hold: the connection, which is held from then on; or NULL
 * @nr: how many
 * @changes: the changes
 */
struct kmqtt_changes {
	struct kmqtt_ticket ticket;
	struct kmqtt_conn *hold;
	u32 nr;
	struct kmqtt_change changes[];
};

/* The control half: under kmqtt_ns.lock, may sleep. */
struct kmqtt_changes *kmqtt_changes_alloc(u32 nr);
int kmqtt_sub_add(struct kmqtt_conn *conn, const struct kmqtt_filter *filter,
		  const struct kmqtt_sub_options *options,
		  struct kmqtt_changes *changes);
void kmqtt_sub_del(struct kmqtt_conn *conn, const struct kmqtt_filter *filter,
		   struct kmqtt_changes *changes);
void kmqtt_changes_commit(struct kmqtt_conn *conn,
			  struct kmqtt_changes *changes);
void kmqtt_changes_undo(struct kmqtt_conn *conn, struct kmqtt_changes *changes);

struct kmqtt_sub *kmqtt_sub_after(const struct kmqtt_conn *conn,
				  unsigned long key);
struct kmqtt_sub *kmqtt_sub_next(const struct kmqtt_sub *sub);
void kmqtt_subs_detach(struct kmqtt_conn *conn);

/* The delivery half: the worker. */
void kmqtt_changes_apply(struct kmqtt_changes *changes);
void kmqtt_subs_free(struct kmqtt_conn *conn);

/* Under rcu_read_lock(). */
static inline bool kmqtt_leaf_hold(struct kmqtt_leaf *leaf)
{
	return refcount_inc_not_zero(&leaf->refs);
}

void kmqtt_leaf_put(struct kmqtt_leaf *leaf);

int kmqtt_sub_init(void);
void kmqtt_sub_exit(void);

#endif /* _KMQTT_SUB_H_ */
