// SPDX-License-Identifier: GPL-2.0
#include "worker.h"

#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "access.h"
#include "conn.h"
#include "ns.h"
#include "property.h"
#include "sub.h"

/* What a message grows by at the most in another form, with one identifier. */
enum { FORM_MORE = 16 };

/* Bits of kmqtt_sub.qos of those who get a message from the daemon: above QoS 0
 * all whose highest granted QoS is not, too; else those with KMQTT_QOS_UPGRADE,
 * if it is there to have it.
 */
static u8 daemons(const struct kmqtt_msg *msg)
{
	if (unlikely(msg->qos))
		return U8_MAX;
	return msg->sink & KMQTT_SINK_FILTER ? KMQTT_QOS_UPGRADE : 0;
}

static bool wanted(const struct kmqtt_worker *worker, u8 qos)
{
	return !(worker->run_daemons & qos);
}

/* Whether a subscription is for others' messages, and these are its own
 * [MQTT-3.8.3-3]. Where there is such a subscription, all messages of a run
 * have one publisher.
 */
static bool is_local(const struct kmqtt_worker *worker,
		     const struct kmqtt_sub *sub)
{
	return unlikely(sub->form & KMQTT_FORM_NO_LOCAL) &&
	       sub->conn->id == worker->run_conn_id;
}

/* What a subscriber wants of a run: RETAIN matters only if there is one. */
static u8 run_form(const struct kmqtt_run *run, u8 form)
{
	form &= ~KMQTT_FORM_NO_LOCAL;
	if (!run->retained)
		form &= ~KMQTT_FORM_RETAIN;
	return form;
}

/* The run in a form, encoded for the first who wants it; NULL without memory. */
static struct kmqtt_run *variant(struct kmqtt_worker *worker, u8 form)
{
	u8 room[1 + KMQTT_VARINT_BYTES] = { KMQTT_PROP_SUBSCRIPTION_ID };
	struct kmqtt_ids ids = { .data = room };
	struct kmqtt_run *run = worker->run;

	if (form == run->form)
		return run;
	if (worker->formed & BIT(form))
		return worker->variants[form];
	if (kmqtt_form_id(form))
		ids.len = 1 + kmqtt_form_id(form);
	/* Without memory for it, it is not tried again for everybody else. */
	run = kmqtt_run_encode(&worker->pool, run, 0, run->nr, form, &ids);
	worker->variants[form] = run;
	worker->formed |= BIT(form);
	return run;
}

/**
 * struct want - how a connection gets the run at hand
 * @form: the form
 * @tagged: a snapshot may stand for the retained messages
 * @id: its subscription identifier, if @form has one
 * @ids: several, else
 */
struct want {
	u8 form;
	bool tagged;
	const u32 *id;
	struct kmqtt_ids ids;
};

/* Append messages of the run, encoded for one connection alone. */
static void append_own(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		       const struct want *want, u32 first, u32 nr)
{
	u8 form = want->form & ~KMQTT_FORM_IDS;
	struct kmqtt_run *run = worker->run, *own;
	u64 tag = 0;

	/* Not for who would get nothing of it. */
	if (kmqtt_conn_ended(conn))
		return;
	if (conn->ring.messages >= conn->limits.ring_messages) {
		kmqtt_tx_drop(worker, conn, KMQTT_DROP_MESSAGES, nr);
		return;
	}
	own = kmqtt_run_encode(&worker->pool, run, first, nr, form, &want->ids);
	if (!own) {
		kmqtt_tx_drop(worker, conn, KMQTT_DROP_NOMEM, nr);
		return;
	}
	if (want->tagged)
		tag = kmqtt_msg_tag(run->body->msgs[first]);
	kmqtt_tx_append(worker, conn, own, NULL, tag);
	kmqtt_run_put(&worker->pool, own);
}

/* As append_want(), one message after the other: for kmqtt_tx_trim() to find
 * them, or because some are too large for the client.
 */
static void append_each(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
			struct want *want)
{
	u8 id[1 + KMQTT_VARINT_BYTES] = { KMQTT_PROP_SUBSCRIPTION_ID };
	u32 i;

	if (kmqtt_form_id(want->form)) {
		memcpy(id + 1, want->id, kmqtt_form_id(want->form));
		want->ids.data = id;
		want->ids.len = 1 + kmqtt_form_id(want->form);
	}
	for (i = 0; i < worker->run->nr; i++)
		append_own(worker, conn, want, i, 1);
}

/* Whether all messages of a run are small enough for a client in any form: the
 * fixed header, the property length and one identifier add less than that.
 */
static bool fits(const struct kmqtt_run *run, const struct kmqtt_conn *conn,
		 const struct want *want)
{
	return run->largest + want->ids.len + FORM_MORE <=
	       READ_ONCE(conn->max_send);
}

/* Append the run to a connection's ring as it wants it. */
static void append_want(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
			struct want *want)
{
	struct kmqtt_run *run;

	want->form = run_form(worker->run, want->form);
	if (unlikely(want->tagged || !fits(worker->run, conn, want))) {
		append_each(worker, conn, want);
		return;
	}
	if (unlikely(want->ids.len)) {
		append_own(worker, conn, want, 0, worker->run->nr);
		return;
	}
	run = variant(worker, want->form);
	if (likely(run))
		kmqtt_tx_append(worker, conn, run, want->id, 0);
	else
		kmqtt_tx_drop(worker, conn, KMQTT_DROP_NOMEM, worker->run->nr);
}

/* Append the run to a subscriber's ring. */
static void append_sub(struct kmqtt_worker *worker, const struct kmqtt_sub *sub)
{
	struct want want = { .form = sub->form, .id = &sub->id };

	if (likely(sub->form == worker->run->form &&
		   worker->run->largest <= READ_ONCE(sub->conn->max_send)))
		kmqtt_tx_append(worker, sub->conn, worker->run, NULL, 0);
	else if (!is_local(worker, sub))
		append_want(worker, sub->conn, &want);
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

/* Whether a connection may read the run's topic: all of its messages have that
 * of the match.
 */
static bool may_read(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	const struct kmqtt_match *match = worker->run_match;
	u32 nr = worker->run->nr;

	/* A long topic is judged anew for each. */
	cond_resched();
	if (kmqtt_access_deliver(conn, match->topic, match->topic_len))
		return true;
	WRITE_ONCE(conn->denied_deliveries, conn->denied_deliveries + nr);
	kmqtt_count(worker, conn->ns, KMQTT_A_COUNTER_DENIED_DELIVERIES, nr);
	return false;
}

/* As fanout_one(), where some may not read everything. */
static void fanout_one_checked(struct kmqtt_worker *worker,
			       struct kmqtt_leaf *leaf)
{
	u32 i;

	for (i = 0; i < leaf->nr; i++) {
		struct kmqtt_sub *sub = leaf->subs[i];

		if (wanted(worker, sub->qos) && !is_local(worker, sub) &&
		    (READ_ONCE(sub->readable) || may_read(worker, sub->conn)))
			append_sub(worker, sub);
	}
}

/* The usual case: one filter matches, so no connection can occur twice. */
static void fanout_one(struct kmqtt_worker *worker, struct kmqtt_leaf *leaf)
{
	u32 i;

	for (i = 0; i < leaf->nr; i++) {
		struct kmqtt_sub *sub = leaf->subs[i];

		if (wanted(worker, sub->qos))
			append_sub(worker, sub);
	}
}

static void fanout_list(struct kmqtt_worker *worker, struct kmqtt_leaf *leaf)
{
	kmqtt_worker_visited(worker, leaf->nr);
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

/* Note the subscription identifier of one more filter that matches. Without
 * memory it is left out.
 */
static void touch_id(struct kmqtt_worker *worker, const struct kmqtt_sub *sub)
{
	struct kmqtt_touched_ids *ids = &worker->ids;
	struct kmqtt_touched_id *entry;

	if (likely(!kmqtt_form_id(sub->form)))
		return;
	if (ids->nr == ids->room) {
		u32 room = max(64U, ids->room * 2);

		entry = kvmalloc_array(room, sizeof(*entry),
				       GFP_KERNEL | __GFP_NOWARN);
		if (!entry)
			return;
		if (ids->nr)
			memcpy(entry, ids->entries, ids->nr * sizeof(*entry));
		kvfree(ids->entries);
		ids->entries = entry;
		ids->room = room;
	}
	entry = &ids->entries[ids->nr++];
	entry->sub = sub;
	entry->next = sub->conn->touched_ids;
	sub->conn->touched_ids = ids->nr;
}

/* Collect every connection once, with the QoS of its filters, what form
 * they ask for, and whether one of them is not of the hold.
 */
static struct kmqtt_conn *collect(struct kmqtt_worker *worker,
				  const struct kmqtt_target *target)
{
	struct kmqtt_conn *touched = NULL;
	u64 stamp = ++worker->stamp;
	u32 i, j;

	worker->ids.nr = 0;
	for (i = 0; i < target->nr; i++) {
		struct kmqtt_leaf *leaf = target->leaves[i];

		kmqtt_worker_visited(worker, leaf->nr);
		for (j = 0; j < leaf->nr; j++) {
			struct kmqtt_sub *sub = leaf->subs[j];
			struct kmqtt_conn *conn = sub->conn;

			if (is_local(worker, sub))
				continue;
			if (conn->stamp != stamp) {
				conn->stamp = stamp;
				conn->touched_qos = 0;
				conn->touched_form = 0;
				conn->touched_before = false;
				conn->touched_ids = 0;
				conn->next_touched = touched;
				touched = conn;
			}
			conn->touched_qos |= sub->qos;
			conn->touched_form |= sub->form & ~KMQTT_FORM_IDS;
			conn->touched_before |= before_hold(sub);
			touch_id(worker, sub);
		}
	}
	return touched;
}

/* Write the identifiers of a connection's filters: all of them
 * [MQTT-3.3.4-4]. Return: their bytes, freed by the caller, or NULL.
 */
static u8 *write_ids(struct kmqtt_worker *worker, u32 index,
		     struct kmqtt_ids *ids)
{
	const struct kmqtt_touched_id *entries = worker->ids.entries;
	u32 len = 0, i;
	u8 *data, *pos;

	for (i = index; i; i = entries[i - 1].next)
		len += 1 + kmqtt_form_id(entries[i - 1].sub->form);
	data = kvmalloc(len, GFP_KERNEL | __GFP_NOWARN);
	if (!data)
		return NULL;
	pos = data;
	for (i = index; i; i = entries[i - 1].next) {
		const struct kmqtt_sub *sub = entries[i - 1].sub;

		*pos++ = KMQTT_PROP_SUBSCRIPTION_ID;
		memcpy(pos, &sub->id, kmqtt_form_id(sub->form));
		pos += kmqtt_form_id(sub->form);
	}
	ids->data = data;
	ids->len = len;
	return data;
}

/* Append the run to the ring of a connection that was collected. */
static void append_touched(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	const struct kmqtt_touched_id *entry;
	struct want want = {
		.form = conn->touched_form,
		.tagged = worker->run->retained && !conn->touched_before,
	};
	u8 *ids;

	if (likely(!conn->touched_ids)) {
		append_want(worker, conn, &want);
		return;
	}
	entry = &worker->ids.entries[conn->touched_ids - 1];
	if (!entry->next) {
		want.form |= entry->sub->form & KMQTT_FORM_IDS;
		want.id = &entry->sub->id;
		append_want(worker, conn, &want);
		return;
	}
	ids = write_ids(worker, conn->touched_ids, &want.ids);
	if (ids)
		append_want(worker, conn, &want);
	else
		kmqtt_tx_drop(worker, conn, KMQTT_DROP_NOMEM, worker->run->nr);
	kvfree(ids);
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

	for (; conn; conn = conn->next_touched)
		if (wanted(worker, conn->touched_qos) &&
		    (likely(readable) || conn->touched_readable ||
		     may_read(worker, conn)))
			append_touched(worker, conn);
}

/* Members of a group asked whether they keep up, before the first gets it. */
enum { GROUP_ASKED = 64 };

/* Whether a connection takes what is sent, now. */
static bool keeps_up(const struct kmqtt_conn *conn)
{
	return !READ_ONCE(conn->tx_wait) && !conn->held &&
	       !kmqtt_conn_ended(conn);
}

/* The member whose turn it is, but for those who do not keep up, and of those
 * who do not the first; NULL without members.
 */
static struct kmqtt_sub *next_member(struct kmqtt_leaf *leaf)
{
	u32 asked = min_t(u32, leaf->nr, GROUP_ASKED), turn = leaf->turn++, i;

	for (i = 0; i < asked; i++) {
		struct kmqtt_sub *sub = leaf->subs[(turn + i) % leaf->nr];

		if (keeps_up(sub->conn)) {
			leaf->turn += i;
			return sub;
		}
	}
	return leaf->nr ? leaf->subs[turn % leaf->nr] : NULL;
}

/* One member of a group gets the run, which is one message. */
static void fanout_shared(struct kmqtt_worker *worker)
{
	struct kmqtt_sub *sub = worker->run_member;

	if (READ_ONCE(sub->readable) || may_read(worker, sub->conn))
		append_sub(worker, sub);
}

static void ticket_drop(struct kmqtt_msg_ticket *ticket)
{
	struct kmqtt_msg *msg = ticket->msg;

	kmqtt_msg_ticket_done(ticket);
	kmqtt_msg_put(msg);
}

static struct kmqtt_leaf *first_leaf(const struct kmqtt_msg_ticket *ticket)
{
	return ticket->match->targets[ticket->ticket.target].leaves[0];
}

/* Whether a message is for a group. */
static bool is_shared(const struct kmqtt_msg_ticket *ticket)
{
	return first_leaf(ticket)->group;
}

/* Choose the member of a group that gets a message. If none keeps up, those of
 * other workers have it, and the next ones for a while.
 *
 * Return: whether the message has left, or nobody is there any more.
 */
static bool pass_on(struct kmqtt_worker *worker,
		    struct kmqtt_msg_ticket *ticket)
{
	struct kmqtt_leaf *leaf = first_leaf(ticket);
	struct kmqtt_sub *sub = next_member(leaf);

	if (!sub || !keeps_up(sub->conn)) {
		WRITE_ONCE(leaf->rests, jiffies + KMQTT_GROUP_REST);
		if (kmqtt_publish_pass_on(ticket))
			return true;
	}
	worker->run_member = sub;
	if (sub)
		return false;
	ticket_drop(ticket);
	return true;
}

/* The pass keeps a run until its end. */
static void keep(struct kmqtt_worker *worker, struct kmqtt_run *run)
{
	run->next = worker->runs;
	worker->runs = run;
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

	if (unlikely(worker->run_member))
		fanout_shared(worker);
	else if (worker->run_target->nr == 1 && !run->retained)
		fanout_list(worker, worker->run_target->leaves[0]);
	else
		fanout_many(worker);

	kmqtt_match_put(worker->run_match);
	worker->run = NULL;
	worker->run_member = NULL;
	keep(worker, run);
	while (unlikely(worker->formed)) {
		u32 form = __ffs(worker->formed);

		worker->formed &= ~BIT(form);
		if (worker->variants[form])
			keep(worker, worker->variants[form]);
	}
}

/* Whether somebody wants no messages of his own: then those of one publisher
 * make a run.
 */
static bool no_local(const struct kmqtt_target *target)
{
	u32 i;

	for (i = 0; i < target->nr; i++)
		if (target->leaves[i]->nr_no_local)
			return true;
	return false;
}

static int fanout_open(struct kmqtt_worker *worker,
		       const struct kmqtt_msg_ticket *ticket)
{
	worker->run = kmqtt_run_alloc(&worker->pool);
	if (!worker->run)
		return -ENOMEM;

	kmqtt_match_hold(ticket->match);
	worker->run_match = ticket->match;
	worker->run_target = &ticket->match->targets[ticket->ticket.target];
	worker->run_daemons = daemons(ticket->msg);
	worker->run_conn_id = ticket->msg->conn_id;
	worker->run_alone = no_local(worker->run_target);
	return 0;
}

/* Whether a message can join the run. */
static bool joins(const struct kmqtt_worker *worker,
		  const struct kmqtt_msg_ticket *ticket)
{
	const struct kmqtt_msg *msg = ticket->msg;

	return worker->run_match == ticket->match &&
	       worker->run_target == &ticket->match->targets[ticket->ticket.target] &&
	       worker->run_daemons == daemons(msg) &&
	       (!worker->run_alone || worker->run_conn_id == msg->conn_id) &&
	       kmqtt_run_takes(worker->run, msg);
}

/* A message is lost to all of a worker's subscribers. One of them, if there is
 * any left, is in its namespace, which the publisher may have taken along.
 */
static void count_nomem(struct kmqtt_worker *worker,
			const struct kmqtt_msg_ticket *ticket)
{
	const struct kmqtt_target *target =
		&ticket->match->targets[ticket->ticket.target];
	u32 i;

	for (i = 0; i < target->nr; i++) {
		const struct kmqtt_leaf *leaf = target->leaves[i];

		if (!leaf->nr)
			continue;
		kmqtt_count(worker, leaf->subs[0]->conn->ns,
			    KMQTT_A_COUNTER_DROPPED_NOMEM, 1);
		return;
	}
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

	if (worker->run && !joins(worker, ticket))
		kmqtt_fanout_close(worker);
	if (unlikely(is_shared(ticket)) && pass_on(worker, ticket))
		return;

	if (!worker->run && fanout_open(worker, ticket)) {
		count_nomem(worker, ticket);
		worker->run_member = NULL;
		ticket_drop(ticket);
		return;
	}
	kmqtt_run_add(worker->run, msg);
	kmqtt_msg_ticket_done(ticket);
	if (unlikely(worker->run_member))
		kmqtt_fanout_close(worker);
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
