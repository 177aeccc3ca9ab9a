// SPDX-License-Identifier: GPL-2.0
#include "hold.h"

#include <linux/slab.h>

#include "conn.h"
#include "worker.h"

/* Get a change that changes nothing yet, or NULL without memory. */
struct kmqtt_hold_change *kmqtt_hold_change_alloc(struct kmqtt_conn *conn)
{
	struct kmqtt_hold_change *change;

	change = kzalloc(sizeof(*change), GFP_KERNEL_ACCOUNT);
	if (!change)
		return NULL;
	change->ticket.type = KMQTT_TICKET_HOLD;
	kmqtt_conn_hold(conn);
	change->conn = conn;
	return change;
}

void kmqtt_hold_change_free(struct kmqtt_hold_change *change)
{
	kmqtt_conn_put(change->conn);
	kfree(change);
}

/* Hold a connection, or go on doing so. Return: the number of the hold, for its
 * subscriptions.
 */
u32 kmqtt_hold_begin(struct kmqtt_conn *conn)
{
	if (kmqtt_conn_ended(conn))
		return 0;
	if (!conn->hold)
		conn->hold = ++conn->last_hold;
	WRITE_ONCE(conn->held, true);
	conn->held_since = jiffies;
	kmqtt_conn_arm(conn, KMQTT_HOLD_MAX * MSEC_PER_SEC);
	return conn->hold;
}

/* There is a snapshot, as of record @seq of the sink. All publishes up to it are
 * here by now, since records can be read only then; and so are those injected
 * before. What comes from now on is newer.
 */
static void trim(struct kmqtt_worker *worker, struct kmqtt_conn *conn, u64 seq)
{
	kmqtt_tx_trim(worker, conn, min(seq, U64_MAX - 1) + 1);
	conn->hold = 0;
}

/* Send what waits. */
void kmqtt_hold_end(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	kmqtt_tx_trim(worker, conn, 0);
	conn->hold = 0;
	WRITE_ONCE(conn->held, false);
	kmqtt_tx_mark(worker, conn);
}

/* Apply a change; frees it. */
void kmqtt_hold_apply(struct kmqtt_worker *worker,
		      struct kmqtt_hold_change *change)
{
	struct kmqtt_conn *conn = change->conn;

	if (conn->held && change->trim)
		trim(worker, conn, change->seq);
	if (conn->held && change->release)
		kmqtt_hold_end(worker, conn);
	kmqtt_hold_change_free(change);
}
