// SPDX-License-Identifier: GPL-2.0
#include "memory.h"

#include <linux/sched.h>
#include <net/sock.h>

#include "access.h"
#include "conn.h"
#include "ns.h"
#include "sub.h"

/* What a connection holds that is not counted. Not what it has sent and we do
 * not read: TCP bounds that, and it is what a pause makes grow.
 */
static u64 conn_size(const struct kmqtt_conn *conn)
{
	u64 names = conn->client_id_len + conn->user_name_len;

	if (rcu_access_pointer(conn->access))
		names += names + sizeof(struct kmqtt_access);
	return sizeof(*conn) + names +
	       READ_ONCE(conn->ring.room) * sizeof(struct kmqtt_entry) +
	       READ_ONCE(conn->upq.bytes) + READ_ONCE(conn->upq.kept) +
	       READ_ONCE(conn->sk->sk_wmem_queued);
}

/* ns->lock is held, so connections keep their sockets. */
static u64 look(struct kmqtt_ns *ns)
{
	u64 bytes = ns->nr_subs * sizeof(struct kmqtt_sub) +
		    ns->trie.nodes * sizeof(struct kmqtt_node);
	struct kmqtt_conn *conn;
	unsigned long id;

	xa_for_each(&ns->conns, id, conn) {
		bytes += conn_size(conn);
		cond_resched();
	}
	return bytes;
}

/* Publishers wait for memory that subscribers who do not read might hold for
 * ever: they lose what waits for them.
 */
static void shed(struct kmqtt_ns *ns)
{
	struct kmqtt_conn *conn;
	unsigned long id;

	xa_for_each(&ns->conns, id, conn) {
		if (READ_ONCE(conn->ring.nr) &&
		    (READ_ONCE(conn->tx_wait) || READ_ONCE(conn->held)))
			kmqtt_conn_kick(conn, KMQTT_CONN_SHED);
		cond_resched();
	}
}

static void memory_work(struct work_struct *work)
{
	struct kmqtt_memory *memory =
		container_of(work, struct kmqtt_memory, work.work);
	struct kmqtt_ns *ns = memory->ns;

	/* Whoever has it may be waiting for a socket: not on the system's
	 * workqueue.
	 */
	if (!mutex_trylock(&ns->lock)) {
		schedule_delayed_work(&memory->work, 1);
		return;
	}
	if (memory->limit) {
		WRITE_ONCE(memory->sampled, look(ns));
		if (kmqtt_memory_over(memory))
			shed(ns);
		schedule_delayed_work(&memory->work,
				      msecs_to_jiffies(KMQTT_MEMORY_EVERY));
	} else {
		WRITE_ONCE(memory->sampled, 0);
	}
	mutex_unlock(&ns->lock);
}

/**
 * kmqtt_memory_set() - change the limit
 * @memory: its namespace's, locked
 * @limit: bytes, 0 for any number
 */
void kmqtt_memory_set(struct kmqtt_memory *memory, u64 limit)
{
	WRITE_ONCE(memory->limit, limit);
	if (limit)
		schedule_delayed_work(&memory->work, 0);
}

void kmqtt_memory_init(struct kmqtt_memory *memory, struct kmqtt_ns *ns)
{
	memory->ns = ns;
	INIT_DELAYED_WORK(&memory->work, memory_work);
}

void kmqtt_memory_exit(struct kmqtt_memory *memory)
{
	cancel_delayed_work_sync(&memory->work);
	/* Workers may be about to free the last of what is counted. */
	while (atomic64_read(&memory->used))
		schedule_timeout_uninterruptible(1);
}
