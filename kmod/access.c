// SPDX-License-Identifier: GPL-2.0
#include "access.h"

#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "ns.h"
#include "sub.h"

/* Starts with that of an empty list's. */
u64 kmqtt_access_generation;

/* Of rules: each contents' is its own. */
static atomic64_t rules_generation;

/* Memory of rule sets in a namespace, and with those that a daemon that died has
 * left to its connections.
 */
enum { RULES_BYTES = 64 << 20, KEPT_BYTES = 2 * RULES_BYTES };

static u32 rules_size(const struct kmqtt_rules *rules)
{
	return sizeof(*rules) + rules->nr * sizeof(*rules->rules) +
	       rules->bytes;
}

static void rules_free(struct rcu_head *rcu)
{
	kmqtt_rules_free(container_of(rcu, struct kmqtt_rules, rcu));
}

static void ruleset_put(struct kmqtt_ruleset *set)
{
	if (!refcount_dec_and_test(&set->refs))
		return;
	kmqtt_rules_free(rcu_dereference_protected(set->rules, true));
	kfree(set);
}

struct kmqtt_ruleset *kmqtt_ruleset_find(struct kmqtt_ns *ns, u32 id)
{
	return xa_load(&ns->rulesets, id);
}

static struct kmqtt_rules *contents(struct kmqtt_ns *ns,
				    const struct kmqtt_ruleset *set)
{
	return rcu_dereference_protected(set->rules,
					 lockdep_is_held(&ns->lock));
}

/* All lists are to be looked at again, and by then what was written before is
 * seen.
 */
static void changed(void)
{
	/* Namespaces do not share a lock. */
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	/* Pairs with list_readable(). */
	smp_store_release(&kmqtt_access_generation,
			  kmqtt_access_generation + 1);
	spin_unlock(&lock);
}

/* Have the deliveries of a connection checked from now on, each. */
static void subs_forget(struct kmqtt_conn *conn)
{
	struct kmqtt_sub *sub;

	for (sub = kmqtt_sub_after(conn, 0); sub; sub = kmqtt_sub_next(sub)) {
		WRITE_ONCE(sub->readable, false);
		cond_resched();
	}
}

/* Find out which of its subscriptions are readable; @filter: scratch. */
static void subs_judge(struct kmqtt_conn *conn, u8 *filter)
{
	struct kmqtt_sub *sub;

	for (sub = kmqtt_sub_after(conn, 0); sub; sub = kmqtt_sub_next(sub)) {
		const struct kmqtt_node *node = sub->leaf->node;
		size_t len = kmqtt_trie_filter_len(node);

		kmqtt_trie_filter(node, filter, len);
		WRITE_ONCE(sub->readable,
			   kmqtt_access_covers(conn, filter, len));
		cond_resched();
	}
}

static bool conn_has(const struct kmqtt_conn *conn,
		     const struct kmqtt_ruleset *set)
{
	const struct kmqtt_access *access;

	access = rcu_dereference_protected(conn->access,
					   lockdep_is_held(&conn->ns->lock));
	return access && access->set == set;
}

/* New contents: what is judged by the old is forgotten before they are there. */
static void ruleset_swap(struct kmqtt_ns *ns, struct kmqtt_ruleset *set,
			 struct kmqtt_rules *rules, u8 *filter)
{
	struct kmqtt_rules *old = contents(ns, set);
	struct kmqtt_conn *conn;
	unsigned long id;

	xa_for_each(&ns->conns, id, conn)
		if (conn_has(conn, set))
			subs_forget(conn);
	rcu_assign_pointer(set->rules, rules);
	changed();
	xa_for_each(&ns->conns, id, conn)
		if (conn_has(conn, set))
			subs_judge(conn, filter);
	call_rcu(&old->rcu, rules_free);
}

static int ruleset_add(struct kmqtt_ns *ns, u32 id, struct kmqtt_rules *rules)
{
	struct kmqtt_ruleset *set = kzalloc(sizeof(*set), GFP_KERNEL_ACCOUNT);
	int err;

	if (!set)
		return -ENOMEM;
	set->id = id;
	refcount_set(&set->refs, 1);
	RCU_INIT_POINTER(set->rules, rules);
	err = xa_err(xa_store(&ns->rulesets, id, set, GFP_KERNEL_ACCOUNT));
	if (err)
		kfree(set);
	else
		ns->nr_rulesets++;
	return err;
}

/**
 * kmqtt_ruleset_commit() - make a rule set, or give it new contents
 * @ns: the namespace
 * @id: its name
 * @rules: the contents; they pass on, but on error
 *
 * Return: 0; -E2BIG: there are enough rule sets; -ENOMEM.
 */
int kmqtt_ruleset_commit(struct kmqtt_ns *ns, u32 id, struct kmqtt_rules *rules)
{
	struct kmqtt_ruleset *set = kmqtt_ruleset_find(ns, id);
	u32 bytes = ns->rules_bytes + rules_size(rules);
	int err = 0;
	u8 *filter;

	if (set)
		bytes -= rules_size(contents(ns, set));
	if (bytes > RULES_BYTES || bytes + ns->kept_bytes > KEPT_BYTES ||
	    (!set && ns->nr_rulesets >= KMQTT_RULESETS_MAX))
		return -E2BIG;
	rules->generation = atomic64_inc_return(&rules_generation);

	if (set) {
		filter = kvmalloc(KMQTT_FILTER_MAX, GFP_KERNEL);
		if (!filter)
			return -ENOMEM;
		ruleset_swap(ns, set, rules, filter);
		kvfree(filter);
	} else {
		err = ruleset_add(ns, id, rules);
	}
	if (!err)
		ns->rules_bytes = bytes;
	return err;
}

/* Forget a rule set; connections that have it keep it. */
void kmqtt_ruleset_del(struct kmqtt_ns *ns, struct kmqtt_ruleset *set)
{
	xa_erase(&ns->rulesets, set->id);
	ns->nr_rulesets--;
	ns->rules_bytes -= rules_size(contents(ns, set));
	set->forgotten = true;
	if (set->users)
		ns->kept_bytes += rules_size(contents(ns, set));
	ruleset_put(set);
}

/* A connection has it no longer. */
static void user_gone(struct kmqtt_ns *ns, struct kmqtt_ruleset *set)
{
	if (!--set->users && set->forgotten)
		ns->kept_bytes -= rules_size(contents(ns, set));
}

void kmqtt_ruleset_del_all(struct kmqtt_ns *ns)
{
	struct kmqtt_ruleset *set;
	unsigned long id;

	xa_for_each(&ns->rulesets, id, set)
		kmqtt_ruleset_del(ns, set);
}

/* Get an access that no connection has yet, or NULL without memory. */
struct kmqtt_access *kmqtt_access_alloc(struct kmqtt_ruleset *set,
					const u8 *client_id, u32 client_id_len,
					const u8 *user, u32 user_len)
{
	struct kmqtt_access *access;

	access = kvzalloc(struct_size(access, names, client_id_len + user_len),
			  GFP_KERNEL_ACCOUNT);
	if (!access)
		return NULL;
	refcount_inc(&set->refs);
	access->set = set;
	memcpy(access->names, client_id, client_id_len);
	memcpy(access->names + client_id_len, user, user_len);
	kmqtt_who_init(&access->who, access->names, client_id_len,
		       access->names + client_id_len, user_len);
	return access;
}

/* Free an access that no connection has had. */
void kmqtt_access_discard(struct kmqtt_access *access)
{
	ruleset_put(access->set);
	kvfree(access);
}

static void access_free(struct rcu_head *rcu)
{
	kmqtt_access_discard(container_of(rcu, struct kmqtt_access, rcu));
}

/**
 * kmqtt_access_replace() - say what a connection may do from now on
 * @conn: the connection
 * @access: passes on; NULL: everything
 *
 * Return: 0, or -ENOMEM, having changed nothing.
 */
int kmqtt_access_replace(struct kmqtt_conn *conn, struct kmqtt_access *access)
{
	struct kmqtt_access *old;
	u8 *filter = NULL;

	if (conn->nr_subs) {
		filter = kvmalloc(KMQTT_FILTER_MAX, GFP_KERNEL);
		if (!filter)
			return -ENOMEM;
		subs_forget(conn);
	}
	if (access)
		access->set->users++;
	old = rcu_replace_pointer(conn->access, access,
				  lockdep_is_held(&conn->ns->lock));
	if (filter) {
		changed();
		subs_judge(conn, filter);
		kvfree(filter);
	}
	if (old) {
		user_gone(conn->ns, old->set);
		call_rcu(&old->rcu, access_free);
	}
	return 0;
}

/* A connection ends: it does not count any more, but is judged to its end. */
void kmqtt_access_leave(struct kmqtt_conn *conn)
{
	struct kmqtt_access *access;

	access = rcu_dereference_protected(conn->access,
					   lockdep_is_held(&conn->ns->lock));
	if (access)
		user_gone(conn->ns, access->set);
}

/* A connection is freed: nobody judges it any more. This may be in a callback of
 * RCU, and the module's end does not wait for one that is queued from there.
 */
void kmqtt_access_free(struct kmqtt_conn *conn)
{
	struct kmqtt_access *access;

	access = rcu_dereference_protected(conn->access, true);
	if (access)
		kmqtt_access_discard(access);
}

/* Whether a connection may read all that a filter matches. */
bool kmqtt_access_covers(struct kmqtt_conn *conn, const u8 *filter, size_t len)
{
	const struct kmqtt_access *access;

	access = rcu_dereference_protected(conn->access,
					   lockdep_is_held(&conn->ns->lock));
	return !access || kmqtt_rules_cover(contents(conn->ns, access->set),
					    &access->who, filter, len);
}

/* Whether @access allows what @verdict is about; the worker. */
static bool judge(const struct kmqtt_access *access,
		  struct kmqtt_verdict *verdict, const u8 *topic, size_t len,
		  u8 what)
{
	const struct kmqtt_rules *rules = rcu_dereference(access->set->rules);
	bool may;

	if (likely(verdict->generation == rules->generation &&
		   verdict->len == len && !memcmp(verdict->topic, topic, len)))
		return verdict->may;

	may = kmqtt_rules_may(rules, &access->who, topic, len, what);
	if (len <= KMQTT_VERDICT_TOPIC) {
		verdict->generation = rules->generation;
		verdict->len = len;
		verdict->may = may;
		memcpy(verdict->topic, topic, len);
	}
	return may;
}

bool kmqtt_access_publish(struct kmqtt_conn *conn, const u8 *topic, size_t len)
{
	struct kmqtt_access *access;
	bool may;

	rcu_read_lock();
	access = rcu_dereference(conn->access);
	may = !access || judge(access, &access->publish, topic, len,
			       KMQTT_ACCESS_WRITE);
	rcu_read_unlock();
	return may;
}

bool kmqtt_access_deliver(struct kmqtt_conn *conn, const u8 *topic, size_t len)
{
	struct kmqtt_access *access;
	bool may;

	rcu_read_lock();
	access = rcu_dereference(conn->access);
	may = !access || judge(access, &access->deliver, topic, len,
			       KMQTT_ACCESS_READ);
	rcu_read_unlock();
	return may;
}
