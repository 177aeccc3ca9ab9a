// SPDX-License-Identifier: GPL-2.0
#include "worker.h"

#include "access.h"
#include "conn.h"
#include "ns.h"
#include "sub.h"

/* Messages published above QoS 0 go from here only to those whose highest
 * granted QoS is 0; the daemon delivers the others.
 */
static bool wanted(const struct kmqtt_worker *worker, u8 granted)
{
	return !worker->run_qos || !granted;
}

/* Whether all of a worker's subscribers to a filter may read what it matches.
 * Found out once after rules, or subscribers, have changed.
 */
static bool list_readable(struct kmqtt_leaf *leaf)
{
	/* Pairs with changed() in access.c. */
	u64 generation = smp_load_acquire(&kmqtt_access_generation);
	u32 i;

	if (likely(leaf->cleared == generation))
		return true;
	for (i = 0; i < leaf->nr; i++)
		if (!READ_ONCE(leaf->subs[i]->readable))
			return false;
	leaf->cleared = generation;
	return true;
}

static bool target_readable(const struct kmqtt_target *target)
{
	u32 i;

	for (i = 0; i < target->nr; i++)
		if (!list_readable(target->leaves[i]))
			return false;
	return true;
}

/* Append the run to a connection's ring, if that may read its topic: all of the
 * run's messages have that of the match.
 */
static void append_checked(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
			   bool tagged)
{
	const struct kmqtt_match *match = worker->run_match;
	struct kmqtt_run *run = worker->run;

	/* A long topic is judged anew for each. */
	cond_resched();
	if (!kmqtt_access_deliver(conn, match->topic, match->topic_len)) {
		WRITE_ONCE(conn->denied_deliveries,
			   conn->denied_deliveries + run->nr);
		kmqtt_count(worker, conn->ns,
			    KMQTT_A_COUNTER_DENIED_DELIVERIES, run->nr);
	} else if (tagged) {
		kmqtt_tx_append_tagged(worker, conn, run);
	} else {
		kmqtt_tx_append(worker, conn, run);
	}
}

/* As fanout_one(), where some may not read everything. */
static void fanout_one_checked(struct kmqtt_worker *worker,
			       struct kmqtt_leaf *leaf)
{
	u32 i;

	for (i = 0; i < leaf->nr; i++) {
		struct kmqtt_sub *sub = leaf->subs[i];

		if (!wanted(worker, sub->qos))
			continue;
		if (READ_ONCE(sub->readable))
			kmqtt_tx_append(worker, sub->conn, worker->run);
		else
			append_checked(worker, sub->conn, false);
	}
}

/* The usual case: one filter matches, so no connection can occur twice. */
static void fanout_one(struct kmqtt_worker *worker, struct kmqtt_leaf *leaf)
{
	u32 i;

	for (i = 0; i < leaf->nr; i++) {
		struct kmqtt_sub *sub = leaf->subs[i];

		if (wanted(worker, sub->qos))
			kmqtt_tx_append(worker, sub->conn, worker->run);
	}
}

static void fanout_list(struct kmqtt_worker *worker, struct kmqtt_leaf *leaf)
{
	if (likely(list_readable(leaf)))
		fanout_one(worker, leaf);
	else
		fanout_one_checked(worker, leaf);
}

/* Whether a subscription was there before its connection was held. */
static bool before_hold(const struct kmqtt_sub *sub)
{
	return !sub->hold || sub->hold != sub->conn->hold;
}

/* Collect every connection once, with the highest QoS of its filters, and
 * whether one of those is not of the hold.
 */
static struct kmqtt_conn *collect(struct kmqtt_worker *worker,
				  const struct kmqtt_target *target)
{
	struct kmqtt_conn *touched = NULL;
	u64 stamp = ++worker->stamp;
	u32 i, j;

	for (i = 0; i < target->nr; i++) {
		struct kmqtt_leaf *leaf = target->leaves[i];

		for (j = 0; j < leaf->nr; j++) {
			struct kmqtt_sub *sub = leaf->subs[j];
			struct kmqtt_conn *conn = sub->conn;

			if (conn->stamp != stamp) {
				conn->stamp = stamp;
				conn->touched_qos = sub->qos;
				conn->touched_before = before_hold(sub);
				conn->next_touched = touched;
				touched = conn;
				continue;
			}
			conn->touched_qos = max(conn->touched_qos, sub->qos);
			conn->touched_before |= before_hold(sub);
		}
	}
	return touched;
}

/* Note which of the connections collected may read all that one of their filters
 * matches, if that are not all of them.
 */
static bool collect_readable(const struct kmqtt_target *target,
			     struct kmqtt_conn *touched)
{
	u32 i, j;

	if (likely(target_readable(target)))
		return true;
	for (; touched; touched = touched->next_touched)
		touched->touched_readable = false;
	for (i = 0; i < target->nr; i++) {
		struct kmqtt_leaf *leaf = target->leaves[i];

		for (j = 0; j < leaf->nr; j++)
			leaf->subs[j]->conn->touched_readable |=
				READ_ONCE(leaf->subs[j]->readable);
	}
	return false;
}

static void fanout_many(struct kmqtt_worker *worker)
{
	struct kmqtt_conn *conn = collect(worker, worker->run_target);
	bool readable = collect_readable(worker->run_target, conn);
	struct kmqtt_run *run = worker->run;

	for (; conn; conn = conn->next_touched) {
		bool tagged = run->retained && !conn->touched_before;

		if (!wanted(worker, conn->touched_qos))
			continue;
		if (unlikely(!readable && !conn->touched_readable))
			append_checked(worker, conn, tagged);
		else if (unlikely(tagged))
			kmqtt_tx_append_tagged(worker, conn, run);
		else
			kmqtt_tx_append(worker, conn, run);
	}
}

/**
 * kmqtt_fanout_close() - append the gathered run to its subscribers' rings
 * @worker: the worker
 */
void kmqtt_fanout_close(struct kmqtt_worker *worker)
{
	struct kmqtt_run *run = worker->run;

	if (!run)
		return;

	if (worker->run_target->nr == 1 && !run->retained)
		fanout_list(worker, worker->run_target->leaves[0]);
	else
		fanout_many(worker);

	kmqtt_match_put(worker->run_match);
	worker->run = NULL;
	run->next = worker->runs;
	worker->runs = run;
}

static int fanout_open(struct kmqtt_worker *worker,
		       const struct kmqtt_msg_ticket *ticket)
{
	worker->run = kmqtt_run_alloc(&worker->pool);
	if (!worker->run)
		return -ENOMEM;

	kmqtt_match_hold(ticket->match);
	worker->run_match = ticket->match;
	worker->run_target = &ticket->match->targets[ticket->target];
	worker->run_qos = ticket->msg->qos;
	return 0;
}

/**
 * kmqtt_fanout() - deliver a message to the worker's subscribers
 * @worker: the worker
 * @ticket: the message; freed
 *
 * Gathers it with the messages before, if they go to the same subscribers.
 */
void kmqtt_fanout(struct kmqtt_worker *worker, struct kmqtt_msg_ticket *ticket)
{
	struct kmqtt_msg *msg = ticket->msg;

	if (worker->run && (worker->run_match != ticket->match ||
			    worker->run_qos != msg->qos ||
			    kmqtt_run_full(worker->run, msg->len)))
		kmqtt_fanout_close(worker);

	if (!worker->run && fanout_open(worker, ticket)) {
		if (msg->publisher)
			kmqtt_count(worker, msg->publisher->ns,
				    KMQTT_A_COUNTER_DROPPED_NOMEM, 1);
		kmqtt_msg_ticket_done(ticket);
		kmqtt_msg_put(msg);
		return;
	}
	kmqtt_run_add(worker->run, msg);
	kmqtt_msg_ticket_done(ticket);
}

/* The pass ends: keep only the runs that somebody still waits for. */
void kmqtt_fanout_settle(struct kmqtt_worker *worker)
{
	while (worker->runs) {
		struct kmqtt_run *run = worker->runs;

		worker->runs = run->next;
		if (run->refs > 1)
			kmqtt_run_settle(&worker->pool, run);
		kmqtt_run_put(&worker->pool, run);
	}
}
