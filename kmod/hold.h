/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Holds: a connection gets none of its messages while the daemon, which has just
 * subscribed it, finds out which retained messages to send it first. Those are a
 * snapshot as of some record of the sink, and stand for the retained publishes
 * up to it that wait: see KMQTT_A_SUB_HOLD.
 */
#ifndef _KMQTT_HOLD_H_
#define _KMQTT_HOLD_H_

#include <linux/types.h>

#include "msg.h"

struct kmqtt_conn;
struct kmqtt_worker;

/**
 * struct kmqtt_hold_change - what becomes of a held connection
 * @ticket: of type KMQTT_TICKET_HOLD
 * @conn: the connection, with a reference
 * @trim: there is a snapshot
 * @seq: as of which record of the sink
 * @release: it is held no longer
 */
struct kmqtt_hold_change {
	struct kmqtt_ticket ticket;
	struct kmqtt_conn *conn;
	bool trim;
	u64 seq;
	bool release;
};

/* Process context, may sleep. */
struct kmqtt_hold_change *kmqtt_hold_change_alloc(struct kmqtt_conn *conn);

/* The worker. */
u32 kmqtt_hold_begin(struct kmqtt_conn *conn);
void kmqtt_hold_apply(struct kmqtt_worker *worker,
		      struct kmqtt_hold_change *change);
void kmqtt_hold_end(struct kmqtt_worker *worker, struct kmqtt_conn *conn);
void kmqtt_hold_change_free(struct kmqtt_hold_change *change);

#endif /* _KMQTT_HOLD_H_ */
