// SPDX-License-Identifier: GPL-2.0
#include "worker.h"

#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/sched.h>

#include "conn.h"
#include "ns.h"
#include "sub.h"

/* Bytes of injected messages that workers have not taken, and the bound. The
 * one daemon of a namespace is the publisher; namespaces share the bound, since
 * messages may outlive theirs.
 */
enum { INJECT_CREDIT = 16 << 20 };
static atomic_t injected;

/* @nth: how many tickets the message has already. */
static struct kmqtt_msg_ticket *ticket_new(struct kmqtt_msg *msg,
					   struct kmqtt_match *match,
					   u32 target, u32 nth)
{
	struct kmqtt_msg_ticket *ticket = &msg->first;

	if (nth)
		ticket = kmqtt_msg_ticket_alloc(GFP_KERNEL);
	if (!ticket)
		return NULL;

	ticket->ticket.type = KMQTT_TICKET_MSG;
	ticket->ticket.passed = false;
	ticket->ticket.target = target;
	ticket->msg = msg;
	ticket->match = match;
	kmqtt_match_hold(match);
	return ticket;
}

/* Members that a target stands for; none while they do not keep up, unless that
 * is all the same.
 */
static u32 weight(const struct kmqtt_target *target, bool rested)
{
	const struct kmqtt_leaf *leaf = target->leaves[0];

	if (rested && time_before(jiffies, READ_ONCE(leaf->rests)))
		return 0;
	return READ_ONCE(leaf->count);
}

/* Whose turn it is: workers have as many as they have members. */
static struct kmqtt_target *choose(const struct kmqtt_choice *choice)
{
	struct kmqtt_group *group = choice->targets[0].leaves[0]->group;
	u32 turn = READ_ONCE(group->turn), total = 0, i;
	bool rested = true;

	/* Two who publish at once may take the same turn: no matter. */
	WRITE_ONCE(group->turn, turn + 1);
	for (i = 0; i < choice->nr; i++)
		total += weight(&choice->targets[i], true);
	if (!total) {
		rested = false;
		for (i = 0; i < choice->nr; i++)
			total += weight(&choice->targets[i], false);
	}
	if (!total)
		return &choice->targets[0];
	turn %= total;
	for (i = 0; i < choice->nr - 1; i++) {
		u32 n = weight(&choice->targets[i], rested);

		if (turn < n)
			break;
		turn -= n;
	}
	return &choice->targets[i];
}

/**
 * kmqtt_publish_pass_on() - let another worker's members of a group have a message
 * @ticket: the message, for a worker whose members do not keep up
 *
 * Once only, and not if those of all workers rest.
 *
 * Return: whether the ticket has left.
 */
bool kmqtt_publish_pass_on(struct kmqtt_msg_ticket *ticket)
{
	const struct kmqtt_match *match = ticket->match;
	const struct kmqtt_target *mine = &match->targets[ticket->ticket.target];
	const struct kmqtt_choice *choice = match->choices;
	struct kmqtt_target *other;

	if (ticket->ticket.passed)
		return false;
	while (mine >= choice->targets + choice->nr)
		choice++;
	other = choose(choice);
	if (other == mine || !weight(other, true))
		return false;
	ticket->ticket.passed = true;
	ticket->ticket.target = other - match->targets;
	kmqtt_worker_post(other->worker, &ticket->ticket);
	return true;
}

/* How many targets a message goes to. Of shared subscriptions the daemon may
 * choose the members, as it does above QoS 0.
 */
static u32 nr_tickets(const struct kmqtt_match *match,
		      const struct kmqtt_msg *msg)
{
	bool chosen = msg->qos || msg->sink & KMQTT_SINK_SHARES;

	return match->nr + (chosen ? 0 : match->nr_choices);
}

/* The nth of them, as an index. */
static u32 nth_target(const struct kmqtt_match *match, u32 nth)
{
	if (likely(nth < match->nr))
		return nth;
	return choose(&match->choices[nth - match->nr]) - match->targets;
}

/* A message's references and pending count, before any worker sees it: one a
 * target, and the caller's until kmqtt_msg_taken() and kmqtt_msg_put(). The sink
 * may have one already.
 */
static void msg_share(struct kmqtt_msg *msg, u32 targets)
{
	refcount_add(targets, &msg->refs);
	atomic_set(&msg->pending, targets + 1);
}

static void chain_add(struct kmqtt_worker *worker, u32 index,
		      struct llist_node *node)
{
	struct kmqtt_chain *chain = &worker->chains[index];

	if (!chain->first) {
		chain->last = node;
		chain->next = worker->chained;
		worker->chained = index;
	}
	node->next = chain->first;
	chain->first = node;
}

/* Why a match has its message in the sink. */
static u8 sink_flags(const struct kmqtt_match *match)
{
	if (IS_ERR(match) || likely(!match->sink))
		return 0;
	return KMQTT_SINK_FILTER | (match->shares ? KMQTT_SINK_SHARES : 0);
}

/* Find whom a message goes to, and put it into the sink if that is one of them,
 * or if it is retained.
 */
static struct kmqtt_match *match_and_sink(struct kmqtt_worker *worker,
					  struct kmqtt_ns *ns,
					  struct kmqtt_msg *msg, bool *cached)
{
	struct kmqtt_msg *record;
	struct kmqtt_match *match;

	match = kmqtt_match_get(&worker->cache, &worker->matcher, ns, msg,
				cached);
	msg->sink |= sink_flags(match);
	if (likely(!msg->sink))
		return match;

	record = kmqtt_sink_push(&ns->sink, worker, msg);
	if (msg->sink & KMQTT_SINK_RETAIN) {
		/* Who subscribed before it was queued is to get it, and may
		 * not have been there before, the sink included. Nearly always
		 * this finds the same match.
		 */
		match = kmqtt_match_get(&worker->cache, &worker->matcher, ns,
					msg, cached);
		record->sink |= sink_flags(match);
		msg->sink = record->sink;
	}
	kmqtt_msg_put(record);
	return match;
}

/**
 * kmqtt_publish_chain() - match a message and write its tickets
 * @worker: the worker that received it
 * @ns: the namespace
 * @msg: the message; the only reference passes on
 *
 * The tickets leave with kmqtt_publish_flush().
 *
 * Return: whether it went into the sink.
 */
bool kmqtt_publish_chain(struct kmqtt_worker *worker, struct kmqtt_ns *ns,
			 struct kmqtt_msg *msg)
{
	struct kmqtt_match *match;
	bool cached, sunk;
	u32 nr, i;

	match = match_and_sink(worker, ns, msg, &cached);
	sunk = msg->sink;
	if (unlikely(!cached))
		kmqtt_worker_visited(worker, worker->matcher.visited);
	if (IS_ERR(match)) {
		kmqtt_count(worker, ns, PTR_ERR(match) == -E2BIG ?
			    KMQTT_A_COUNTER_DROPPED_BUDGET :
			    KMQTT_A_COUNTER_DROPPED_NOMEM, 1);
		msg_share(msg, 0);
		goto out;
	}
	if (cached)
		kmqtt_count(worker, ns, KMQTT_A_COUNTER_MATCH_CACHED, 1);
	if (kmqtt_match_empty(match))
		kmqtt_count(worker, ns, KMQTT_A_COUNTER_NO_SUBSCRIBERS, 1);
	if (unlikely(match->over))
		kmqtt_count(worker, ns, KMQTT_A_COUNTER_DROPPED_BUDGET, 1);

	nr = nr_tickets(match, msg);
	msg_share(msg, nr);
	for (i = 0; i < nr; i++) {
		u32 target = nth_target(match, i);
		struct kmqtt_msg_ticket *ticket;

		ticket = ticket_new(msg, match, target, i);
		if (ticket) {
			chain_add(worker, match->targets[target].worker->index,
				  &ticket->ticket.node);
			continue;
		}
		kmqtt_count(worker, ns, KMQTT_A_COUNTER_DROPPED_NOMEM, 1);
		kmqtt_msg_taken(msg);
		kmqtt_msg_put(msg);
	}
out:
	kmqtt_msg_taken(msg);
	kmqtt_msg_put(msg);
	return sunk;
}

/* Put the tickets written so far into the inboxes, in order, and wake whoever
 * had nothing to do.
 */
void kmqtt_publish_flush(struct kmqtt_worker *worker)
{
	while (worker->chained >= 0) {
		u32 index = worker->chained;
		struct kmqtt_chain *chain = &worker->chains[index];
		struct kmqtt_worker *to = kmqtt_worker_at(index);

		worker->chained = chain->next;
		if (llist_add_batch(chain->first, chain->last, &to->inbox) &&
		    to != worker)
			wake_up_process(to->task);
		chain->first = NULL;
	}
}

/**
 * kmqtt_publish() - match a message and send it to the workers
 * @ns: the namespace, locked
 * @msg: the message; the only reference passes on, also on error
 *
 * Process context.
 *
 * Return: 0; -EAGAIN: the workers are too far behind; -E2BIG: over the budget
 * of nodes; -ENOMEM: it did not reach all.
 */
int kmqtt_publish(struct kmqtt_ns *ns, struct kmqtt_msg *msg)
{
	const u8 *topic = msg->data + msg->topic_off;
	struct kmqtt_match *match;
	int err = 0;
	u32 nr, i;

	if (atomic_read(&injected) >= INJECT_CREDIT) {
		kmqtt_msg_put(msg);
		return -EAGAIN;
	}
	match = kmqtt_match_make(&ns->matcher, ns, topic, msg->topic_len, 0);
	if (IS_ERR(match)) {
		kmqtt_msg_put(msg);
		return PTR_ERR(match);
	}

	atomic_add(kmqtt_msg_charge(msg), &injected);
	nr = nr_tickets(match, msg);
	msg_share(msg, nr);
	for (i = 0; i < nr; i++) {
		u32 target = nth_target(match, i);
		struct kmqtt_msg_ticket *ticket;

		ticket = ticket_new(msg, match, target, i);
		if (ticket) {
			kmqtt_worker_post(match->targets[target].worker,
					  &ticket->ticket);
			continue;
		}
		err = -ENOMEM;
		kmqtt_msg_taken(msg);
		kmqtt_msg_put(msg);
	}
	kmqtt_msg_taken(msg);
	kmqtt_msg_put(msg);
	kmqtt_match_put(match);
	return err;
}

/* Drop a message that nobody but its publisher knows of. */
void kmqtt_publish_drop(struct kmqtt_msg *msg)
{
	msg_share(msg, 0);
	kmqtt_msg_taken(msg);
	kmqtt_msg_put(msg);
}

void kmqtt_publish_credit_return(u32 bytes)
{
	atomic_sub(bytes, &injected);
}
