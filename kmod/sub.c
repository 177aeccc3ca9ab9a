// SPDX-License-Identifier: GPL-2.0
#include "sub.h"

#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "access.h"
#include "conn.h"
#include "hold.h"
#include "ns.h"
#include "worker.h"

static struct kmem_cache *sub_cache __ro_after_init;

/* What a connection's subscriptions are sorted by, so that they need no links
 * but those of the tree. A leaf is one filter's, and one worker's; where it was
 * allocated says nothing, and stays.
 */
static unsigned long sub_key(const struct kmqtt_leaf *leaf)
{
	return (unsigned long)leaf;
}

static struct kmqtt_sub *sub_of(const struct rb_node *node)
{
	return rb_entry_safe(node, struct kmqtt_sub, of_conn);
}

static bool sub_less(struct rb_node *a, const struct rb_node *b)
{
	return sub_key(sub_of(a)->leaf) < sub_key(sub_of(b)->leaf);
}

/**
 * kmqtt_sub_after() - go on with a connection's subscriptions
 * @conn: the connection
 * @key: of the last one, its @leaf as a number; 0: begin
 *
 * Return: the next one, or NULL.
 */
struct kmqtt_sub *kmqtt_sub_after(const struct kmqtt_conn *conn,
				  unsigned long key)
{
	struct rb_node *node = conn->subs.rb_node;
	struct kmqtt_sub *found = NULL;

	while (node) {
		struct kmqtt_sub *sub = sub_of(node);

		if (sub_key(sub->leaf) > key) {
			found = sub;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

struct kmqtt_sub *kmqtt_sub_next(const struct kmqtt_sub *sub)
{
	return sub_of(rb_next(&sub->of_conn));
}

/* The connection's subscription in @leaf, which may be NULL, or NULL. */
static struct kmqtt_sub *sub_find(const struct kmqtt_conn *conn,
				  const struct kmqtt_leaf *leaf)
{
	struct kmqtt_sub *sub;

	if (!leaf)
		return NULL;
	sub = kmqtt_sub_after(conn, sub_key(leaf) - 1);
	return sub && sub->leaf == leaf ? sub : NULL;
}

static struct kmqtt_group *group_new(const struct kmqtt_filter *filter)
{
	struct kmqtt_group *group;

	group = kmalloc(struct_size(group, name, filter->group_len),
			GFP_KERNEL_ACCOUNT);
	if (!group)
		return NULL;
	refcount_set(&group->refs, 1);
	group->turn = 0;
	group->len = filter->group_len;
	memcpy(group->name, filter->group, group->len);
	return group;
}

static void group_put(struct kmqtt_group *group)
{
	if (group && refcount_dec_and_test(&group->refs))
		kfree(group);
}

/* Whether a leaf is for the share name of a filter, or both have none. */
static bool group_is(const struct kmqtt_leaf *leaf,
		     const struct kmqtt_filter *filter)
{
	const struct kmqtt_group *group = leaf->group;

	if (!group || !filter->group_len)
		return !group && !filter->group_len;
	return group->len == filter->group_len &&
	       !memcmp(group->name, filter->group, group->len);
}

static void leaf_free(struct rcu_head *rcu)
{
	struct kmqtt_leaf *leaf = container_of(rcu, struct kmqtt_leaf, rcu);

	kvfree(leaf->subs);
	group_put(leaf->group);
	kfree(leaf);
}

void kmqtt_leaf_put(struct kmqtt_leaf *leaf)
{
	if (refcount_dec_and_test(&leaf->refs))
		call_rcu(&leaf->rcu, leaf_free);
}

static struct kmqtt_leaf *leaf_find(struct kmqtt_ns *ns,
				    struct kmqtt_node *node,
				    const struct kmqtt_worker *worker,
				    const struct kmqtt_filter *filter)
{
	struct kmqtt_leaf *leaf;

	leaf = rcu_dereference_protected(node->leaves,
					 lockdep_is_held(&ns->lock));
	while (leaf && (leaf->worker != worker || !group_is(leaf, filter)))
		leaf = rcu_dereference_protected(leaf->next,
						 lockdep_is_held(&ns->lock));
	return leaf;
}

/* The group of a new leaf: another worker's, or a new one; with a reference.
 * NULL for a filter without.
 */
static struct kmqtt_group *leaf_group(struct kmqtt_ns *ns,
				      struct kmqtt_node *node,
				      const struct kmqtt_filter *filter)
{
	struct kmqtt_group *group;
	struct kmqtt_leaf *leaf;
	u32 nr = 0;

	if (!filter->group_len)
		return NULL;
	leaf = rcu_dereference_protected(node->leaves,
					 lockdep_is_held(&ns->lock));
	for (; leaf; leaf = rcu_dereference_protected(leaf->next,
						      lockdep_is_held(&ns->lock))) {
		nr += !!leaf->group;
		if (group_is(leaf, filter)) {
			refcount_inc(&leaf->group->refs);
			return leaf->group;
		}
	}
	/* Every one of them is looked at, here and by each publish. */
	if (nr >= KMQTT_GROUPS_MAX * kmqtt_nr_workers)
		return ERR_PTR(-E2BIG);
	group = group_new(filter);
	return group ?: ERR_PTR(-ENOMEM);
}

static struct kmqtt_leaf *leaf_add(struct kmqtt_ns *ns, struct kmqtt_node *node,
				   struct kmqtt_worker *worker,
				   const struct kmqtt_filter *filter)
{
	struct kmqtt_group *group = leaf_group(ns, node, filter);
	struct kmqtt_leaf *leaf;

	if (IS_ERR(group))
		return ERR_CAST(group);
	leaf = kzalloc(sizeof(*leaf), GFP_KERNEL_ACCOUNT);
	if (!leaf) {
		group_put(group);
		return ERR_PTR(-ENOMEM);
	}

	leaf->worker = worker;
	leaf->node = node;
	leaf->group = group;
	leaf->rests = jiffies;
	refcount_set(&leaf->refs, 1);
	RCU_INIT_POINTER(leaf->next,
			 rcu_dereference_protected(node->leaves,
						   lockdep_is_held(&ns->lock)));
	rcu_assign_pointer(node->leaves, leaf);
	kmqtt_ns_changed(ns);
	return leaf;
}

static void leaf_unlink(struct kmqtt_ns *ns, struct kmqtt_leaf *leaf)
{
	struct kmqtt_leaf __rcu **link = &leaf->node->leaves;
	struct kmqtt_leaf *at;

	while ((at = rcu_dereference_protected(*link,
					       lockdep_is_held(&ns->lock))) !=
	       leaf)
		link = &at->next;
	rcu_assign_pointer(*link,
			   rcu_dereference_protected(leaf->next,
						     lockdep_is_held(&ns->lock)));
	kmqtt_ns_changed(ns);
}

struct kmqtt_changes *kmqtt_changes_alloc(u32 nr)
{
	struct kmqtt_changes *changes;

	changes = kvmalloc(struct_size(changes, changes, nr),
			   GFP_KERNEL_ACCOUNT);
	if (!changes)
		return NULL;
	changes->ticket.type = KMQTT_TICKET_SUBS;
	changes->hold = NULL;
	changes->nr = 0;
	return changes;
}

/* The next of the sizes that allocations come in: 8, 12, 16, 24, 32 pointers. */
static u32 more_room(u32 room)
{
	if (room < 8)
		return room ? room * 2 : 1;
	return is_power_of_2(room) ? room + room / 2 : room + room / 3;
}

/* Make room for one more in a leaf's list, which the worker will move to. */
static int leaf_reserve(struct kmqtt_leaf *leaf, struct kmqtt_change *change)
{
	u32 room = more_room(leaf->room);

	change->subs = NULL;
	if (leaf->count < leaf->room)
		return 0;

	change->subs = kvmalloc_array(room, sizeof(*change->subs),
				      GFP_KERNEL_ACCOUNT);
	if (!change->subs)
		return -ENOMEM;
	change->old_room = leaf->room;
	leaf->room = room;
	return 0;
}

static void leaf_unreserve(struct kmqtt_leaf *leaf, struct kmqtt_change *change)
{
	if (!change->subs)
		return;
	kvfree(change->subs);
	leaf->room = change->old_room;
}

/* Note whether publishes at QoS 0 that a subscription matches go into the sink. */
static void set_upgrade(struct kmqtt_ns *ns, struct kmqtt_sub *sub,
			bool upgrade)
{
	struct kmqtt_leaf *leaf = sub->leaf;
	u32 nr = leaf->nr_upgrade + upgrade - sub->upgrade;
	bool changed = !nr != !leaf->nr_upgrade;

	sub->upgrade = upgrade;
	WRITE_ONCE(leaf->nr_upgrade, nr);
	if (changed)
		kmqtt_ns_changed(ns);
}

/* Take a subscription out of the control half, its node's reference too. */
static void sub_unlink(struct kmqtt_ns *ns, struct kmqtt_sub *sub)
{
	struct kmqtt_leaf *leaf = sub->leaf;
	struct kmqtt_node *node = leaf->node;

	set_upgrade(ns, sub, false);
	sub->conn->nr_subs--;
	ns->nr_subs--;
	sub->last = --leaf->count == 0;
	if (sub->last)
		leaf_unlink(ns, leaf);
	kmqtt_trie_put(&ns->trie, node);
}

/* A dump of the subscriptions may look meanwhile. */
static void set_options(struct kmqtt_sub *sub,
			const struct kmqtt_sub_options *options)
{
	WRITE_ONCE(sub->qos, options->qos);
	WRITE_ONCE(sub->form, options->form);
	WRITE_ONCE(sub->id, options->id);
}

static bool is_no_local(const struct kmqtt_sub *sub)
{
	return sub->form & KMQTT_FORM_NO_LOCAL;
}

static int sub_new(struct kmqtt_conn *conn, struct kmqtt_node *node,
		   const struct kmqtt_filter *filter, struct kmqtt_leaf *leaf,
		   struct kmqtt_change *change)
{
	struct kmqtt_ns *ns = conn->ns;
	struct kmqtt_sub *sub;
	int err = -ENOMEM;

	sub = kmem_cache_alloc(sub_cache, GFP_KERNEL_ACCOUNT);
	if (!sub)
		return -ENOMEM;

	if (!leaf)
		leaf = leaf_add(ns, node, conn->worker, filter);
	if (IS_ERR(leaf)) {
		err = PTR_ERR(leaf);
		goto free_sub;
	}

	err = leaf_reserve(leaf, change);
	if (err)
		goto free_leaf;

	sub->conn = conn;
	sub->leaf = leaf;
	sub->last = false;
	sub->upgrade = false;
	sub->readable = kmqtt_access_covers(conn, filter->topic, filter->len);
	set_options(sub, &change->options);
	rb_add(&sub->of_conn, &conn->subs, sub_less);
	leaf->count++;
	ns->nr_subs++;
	conn->nr_subs++;
	change->sub = sub;
	return 0;

free_leaf:
	if (!leaf->count) {
		leaf_unlink(ns, leaf);
		kmqtt_leaf_put(leaf);
	}
free_sub:
	kmem_cache_free(sub_cache, sub);
	return err;
}

/**
 * kmqtt_sub_add() - subscribe a connection, or change a subscription
 * @conn: the connection
 * @filter: the filter
 * @options: what it asks for
 * @changes: gets one more change, for which it has room
 *
 * Takes effect for publishers at once, for delivery with
 * kmqtt_changes_commit().
 *
 * Return: 0, -E2BIG: too many share names, or -ENOMEM, having changed nothing.
 */
int kmqtt_sub_add(struct kmqtt_conn *conn, const struct kmqtt_filter *filter,
		  const struct kmqtt_sub_options *options,
		  struct kmqtt_changes *changes)
{
	struct kmqtt_change *change = &changes->changes[changes->nr];
	struct kmqtt_trie *trie = &conn->ns->trie;
	struct kmqtt_leaf *leaf;
	struct kmqtt_node *node;
	int err;

	node = kmqtt_trie_get(trie, filter->topic, filter->len);
	if (!node)
		return -ENOMEM;

	change->options = *options;
	change->subs = NULL;
	leaf = leaf_find(conn->ns, node, conn->worker, filter);
	change->sub = sub_find(conn, leaf);
	if (change->sub) {
		change->op = KMQTT_CHANGE_SET;
		kmqtt_trie_put(trie, node);
		changes->nr++;
		return 0;
	}

	/* The subscription keeps the reference of the node. */
	change->op = KMQTT_CHANGE_ADD;
	err = sub_new(conn, node, filter, leaf, change);
	if (err) {
		kmqtt_trie_put(trie, node);
		return err;
	}
	changes->nr++;
	return 0;
}

/* As kmqtt_sub_add(), and cannot fail. */
void kmqtt_sub_del(struct kmqtt_conn *conn, const struct kmqtt_filter *filter,
		   struct kmqtt_changes *changes)
{
	struct kmqtt_change *change = &changes->changes[changes->nr];
	struct kmqtt_ns *ns = conn->ns;
	struct kmqtt_node *node;

	node = kmqtt_trie_find(&ns->trie, filter->topic, filter->len);
	if (!node)
		return;
	change->sub = sub_find(conn, leaf_find(ns, node, conn->worker, filter));
	if (!change->sub)
		return;

	change->op = KMQTT_CHANGE_DEL;
	change->subs = NULL;
	rb_erase(&change->sub->of_conn, &conn->subs);
	sub_unlink(ns, change->sub);
	changes->nr++;
}

/* Send changes to the connection's worker, which frees them. The sink has none:
 * nothing is delivered through its lists.
 */
void kmqtt_changes_commit(struct kmqtt_conn *conn,
			  struct kmqtt_changes *changes)
{
	u32 i;

	for (i = 0; i < changes->nr; i++) {
		const struct kmqtt_change *change = &changes->changes[i];

		if (change->op != KMQTT_CHANGE_DEL)
			set_upgrade(conn->ns, change->sub,
				    change->options.qos & KMQTT_QOS_UPGRADE);
	}
	if (changes->nr && conn->worker)
		kmqtt_worker_post(conn->worker, &changes->ticket);
	else
		kmqtt_changes_apply(changes);
}

/* Undo additions that were not committed, the last first; frees @changes. */
void kmqtt_changes_undo(struct kmqtt_conn *conn, struct kmqtt_changes *changes)
{
	while (changes->nr) {
		struct kmqtt_change *change = &changes->changes[--changes->nr];
		struct kmqtt_sub *sub = change->sub;

		if (change->op != KMQTT_CHANGE_ADD)
			continue;
		leaf_unreserve(sub->leaf, change);
		rb_erase(&sub->of_conn, &conn->subs);
		sub_unlink(conn->ns, sub);
		if (sub->last)
			kmqtt_leaf_put(sub->leaf);
		kmem_cache_free(sub_cache, sub);
	}
	kvfree(changes);
}

/**
 * kmqtt_subs_detach() - take all subscriptions of a connection out of the
 * control half
 * @conn: the connection; its tree now belongs to the worker, which calls
 *	kmqtt_subs_free()
 */
void kmqtt_subs_detach(struct kmqtt_conn *conn)
{
	struct kmqtt_sub *sub;

	for (sub = kmqtt_sub_after(conn, 0); sub; sub = kmqtt_sub_next(sub)) {
		sub_unlink(conn->ns, sub);
		cond_resched();
	}
}

static void leaf_insert(struct kmqtt_change *change, u32 hold)
{
	struct kmqtt_sub *sub = change->sub;
	struct kmqtt_leaf *leaf = sub->leaf;

	if (change->subs) {
		memcpy(change->subs, leaf->subs, leaf->nr * sizeof(*leaf->subs));
		kvfree(leaf->subs);
		leaf->subs = change->subs;
	}
	leaf->nr_no_local += is_no_local(sub);
	sub->hold = hold;
	sub->index = leaf->nr;
	leaf->subs[leaf->nr++] = sub;
	if (!READ_ONCE(sub->readable))
		leaf->cleared = READ_ONCE(kmqtt_access_generation) - 1;
}

static void sub_set(struct kmqtt_sub *sub,
		    const struct kmqtt_sub_options *options)
{
	sub->leaf->nr_no_local -= is_no_local(sub);
	set_options(sub, options);
	sub->leaf->nr_no_local += is_no_local(sub);
}

static void sub_free(struct kmqtt_sub *sub)
{
	struct kmqtt_leaf *leaf = sub->leaf;
	struct kmqtt_sub *moved = leaf->subs[--leaf->nr];

	leaf->nr_no_local -= is_no_local(sub);
	leaf->subs[sub->index] = moved;
	moved->index = sub->index;
	if (sub->last)
		kmqtt_leaf_put(leaf);
	kmem_cache_free(sub_cache, sub);
}

/* Apply changes to the worker's lists; frees @changes. */
void kmqtt_changes_apply(struct kmqtt_changes *changes)
{
	u32 hold = 0, i;

	if (changes->hold)
		hold = kmqtt_hold_begin(changes->hold);
	for (i = 0; i < changes->nr; i++) {
		struct kmqtt_change *change = &changes->changes[i];

		switch (change->op) {
		case KMQTT_CHANGE_ADD:
			leaf_insert(change, hold);
			break;
		case KMQTT_CHANGE_SET:
			sub_set(change->sub, &change->options);
			break;
		case KMQTT_CHANGE_DEL:
			sub_free(change->sub);
			break;
		}
	}
	kvfree(changes);
}

/* Take a dropped connection out of the worker's lists. */
void kmqtt_subs_free(struct kmqtt_conn *conn)
{
	struct kmqtt_sub *sub, *next;

	rbtree_postorder_for_each_entry_safe(sub, next, &conn->subs, of_conn) {
		sub_free(sub);
		cond_resched();
	}
	conn->subs = RB_ROOT;
}

int __init kmqtt_sub_init(void)
{
	sub_cache = KMEM_CACHE(kmqtt_sub, SLAB_ACCOUNT);
	return sub_cache ? 0 : -ENOMEM;
}

void kmqtt_sub_exit(void)
{
	kmem_cache_destroy(sub_cache);
}
