// SPDX-License-Identifier: GPL-2.0
#include "outbound.h"

#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "frame.h"
#include "journal.h"
#include "log.h"
#include "memory.h"
#include "retained.h"
#include "session.h"
#include "store.h"

/* Deliveries read from the store at once; memory holds at most twice that. */
#define PAGE 256

/* Packet identifiers, from 1 (section 2.3.1). */
#define PACKET_IDS 65535

/* Those in use that are passed over for one that is free. */
#define SKIP_MAX 1024

/* Deliveries that are looked through one by one: with more there is an index. */
#define INDEX_MIN 64

/**
 * struct reading - a page being read for a session
 * @read: the store's
 * @session: for whom; NULL: nobody waits for it any more
 * @expected: deliveries that were beyond when it was asked for
 * @change: the last one before it
 */
struct reading {
	struct store_read read;
	struct session *session;
	u32 expected;
	u64 change;
};

TAILQ_HEAD(sessions, session);

static const struct config *settings;
static struct sessions committing = TAILQ_HEAD_INITIALIZER(committing);

void outbound_configure(const struct config *config)
{
	settings = config;
}

void outbound_init(struct outbound *outbound)
{
	TAILQ_INIT(&outbound->passing);
	TAILQ_INIT(&outbound->waiting);
	TAILQ_INIT(&outbound->inflight);
	outbound->next_seq = 1;
}

static u16 packet_id(u64 seq)
{
	return (seq - 1) % PACKET_IDS + 1;
}

/* In the database or in the journal: it has a place in the order. */
static bool is_stored(const struct session *session,
		      const struct delivery *delivery)
{
	return session->sid && delivery->qos;
}

/* The index: a client may acknowledge in any order, and what is not there. */

static void index_free(struct outbound *outbound)
{
	if (outbound->index)
		table_free(outbound->index);
	free(outbound->index);
	outbound->index = NULL;
}

static void index_one(struct outbound *outbound, struct delivery *delivery)
{
	if (table_add(outbound->index, &delivery->by_id,
		      table_hash_u32(packet_id(delivery->seq))))
		index_free(outbound);	/* it was the first */
}

/* Without memory there is none, which is only slower. */
static void index_make(struct outbound *outbound, struct deliveries *list)
{
	struct delivery *delivery;

	outbound->index = calloc(1, sizeof(*outbound->index));
	TAILQ_FOREACH(delivery, list, link)
		if (outbound->index)
			index_one(outbound, delivery);
}

/* @delivery is the last of @nr in the list. */
static void index_add(struct outbound *outbound, struct deliveries *list, u32 nr,
		      struct delivery *delivery)
{
	if (outbound->index)
		index_one(outbound, delivery);
	else if (nr > INDEX_MIN)
		index_make(outbound, list);
}

/* @nr are left. */
static void index_del(struct outbound *outbound, u32 nr,
		      struct delivery *delivery)
{
	if (!outbound->index)
		return;
	table_del(outbound->index, &delivery->by_id);
	if (nr < INDEX_MIN / 4)
		index_free(outbound);
}

/* @seq: 0: whatever its place is. */
static bool is_at(const struct delivery *delivery, u16 id, u64 seq)
{
	return packet_id(delivery->seq) == id && (!seq || delivery->seq == seq);
}

static struct delivery *find(const struct outbound *outbound,
			     const struct deliveries *list, u16 id, u64 seq)
{
	struct delivery *delivery;
	struct table_node *entry;

	if (!outbound->index) {
		TAILQ_FOREACH(delivery, list, link)
			if (is_at(delivery, id, seq))
				return delivery;
		return NULL;
	}
	for (entry = table_chain(outbound->index, table_hash_u32(id)); entry;
	     entry = entry->next) {
		delivery = container_of(entry, struct delivery, by_id);
		if (is_at(delivery, id, seq))
			return delivery;
	}
	return NULL;
}

static struct delivery *find_inflight(const struct outbound *outbound, u16 id)
{
	return find(outbound, &outbound->inflight, id, 0);
}

/* Whether the identifier that goes with @seq is in use. */
static bool in_flight(const struct outbound *outbound, u64 seq)
{
	const struct delivery *first = TAILQ_FIRST(&outbound->inflight);

	/*
	 * Only when they have gone round since the oldest. That is the first, but
	 * for those whose PUBREL was sent again, which did not wait for others.
	 */
	return first && seq > PACKET_IDS &&
	       (first->state == STORE_RELEASED ||
		seq - first->seq >= PACKET_IDS) &&
	       find_inflight(outbound, packet_id(seq));
}

/* The next delivery comes after @seq. */
static void skip_to(struct outbound *outbound, u64 seq)
{
	if (outbound->next_seq <= seq)
		outbound->next_seq = seq + 1;
}

/* One whose identifier is free, if there is one: else it holds up those behind it. */
static u64 take_seq(struct outbound *outbound)
{
	u32 i;

	for (i = 0; i < SKIP_MAX && in_flight(outbound, outbound->next_seq); i++)
		outbound->next_seq++;
	return outbound->next_seq++;
}

/* Counting */

static bool is_retained(const struct delivery *delivery)
{
	return delivery->flags & STORE_RETAINED;
}

static u64 least(u64 a, u64 b)
{
	return a < b ? a : b;
}

static void count_queued(struct outbound *outbound,
			 const struct delivery *delivery)
{
	u64 size = delivery->message ? message_bytes(delivery->message) : 0;

	outbound->queued++;
	outbound->queued_bytes += size;
	if (!is_retained(delivery))
		return;
	outbound->exempt++;
	outbound->exempt_bytes += size;
}

/* Its message is not kept any longer. */
static void uncount_bytes(struct outbound *outbound,
			  const struct delivery *delivery)
{
	u64 size = delivery->message ? message_bytes(delivery->message) : 0;

	outbound->queued_bytes -= size;
	if (is_retained(delivery))
		outbound->exempt_bytes -= least(outbound->exempt_bytes, size);
}

static void uncount_queued(struct outbound *outbound,
			   const struct delivery *delivery)
{
	outbound->queued--;
	outbound->exempt -= is_retained(delivery) && outbound->exempt;
	uncount_bytes(outbound, delivery);
}

/*
 * Retained messages count for nothing, but only once: a client may ask for all
 * of them over and over.
 */
static u32 counted(const struct outbound *outbound)
{
	return outbound->queued - least(outbound->exempt, retained_count());
}

static u64 counted_bytes(const struct outbound *outbound)
{
	return outbound->queued_bytes -
	       least(outbound->exempt_bytes, retained_bytes());
}

/* Limits are of what waits; 0 is none, as in mosquitto. */
static bool full(const struct outbound *outbound, const struct message *message)
{
	u32 max_messages = settings->max_queued_messages;
	u64 max_bytes = settings->max_queued_bytes;

	return memory_over() ||
	       (max_messages && counted(outbound) >= max_messages) ||
	       (max_bytes &&
		counted_bytes(outbound) + message_bytes(message) > max_bytes);
}

static void log_dropping(struct session *session)
{
	char text[LOG_ESCAPED(LOG_TEXT_MAX)];

	if (session->outbound.dropping)
		return;
	session->outbound.dropping = true;
	log_print(LOG_TYPE_NOTICE,
		  "Outgoing messages are being dropped for client %s.",
		  log_escape(text, session->id, session->id_len));
}

/* Deliveries */

static void delivery_free(struct delivery *delivery)
{
	if (delivery->message)
		message_put(delivery->message);
	free(delivery->origin);
	free(delivery);
}

/* Of those that wait, NULL: there is none. */
static struct delivery *first_unreleased(const struct outbound *outbound)
{
	struct delivery *delivery;

	TAILQ_FOREACH(delivery, &outbound->waiting, link)
		if (delivery->state != STORE_RELEASED)
			break;
	return delivery;
}

/* @behind: it comes before that one, NULL: it is the last. */
static void insert_waiting(struct outbound *outbound, struct delivery *delivery,
			   struct delivery *behind)
{
	if (behind)
		TAILQ_INSERT_BEFORE(behind, delivery, link);
	else
		TAILQ_INSERT_TAIL(&outbound->waiting, delivery, link);
	outbound->waiting_count++;
}

static void to_waiting(struct outbound *outbound, struct delivery *delivery)
{
	if (!delivery->qos) {
		TAILQ_INSERT_TAIL(&outbound->passing, delivery, link);
		return;
	}
	if (outbound->last_seq < delivery->seq)
		outbound->last_seq = delivery->seq;
	insert_waiting(outbound, delivery,
		       delivery->state == STORE_RELEASED ?
		       first_unreleased(outbound) : NULL);
}

static void from_waiting(struct outbound *outbound, struct delivery *delivery)
{
	if (delivery->qos) {
		TAILQ_REMOVE(&outbound->waiting, delivery, link);
		outbound->waiting_count--;
	} else {
		TAILQ_REMOVE(&outbound->passing, delivery, link);
	}
	uncount_queued(outbound, delivery);
}

static void to_inflight(struct outbound *outbound, struct delivery *delivery)
{
	TAILQ_INSERT_TAIL(&outbound->inflight, delivery, link);
	outbound->inflight_count++;
	index_add(outbound, &outbound->inflight, outbound->inflight_count,
		  delivery);
}

static void from_inflight(struct outbound *outbound, struct delivery *delivery)
{
	TAILQ_REMOVE(&outbound->inflight, delivery, link);
	outbound->inflight_count--;
	index_del(outbound, outbound->inflight_count, delivery);
}

/*
 * Whether a delivery that is in the store may be left there: there are others
 * before it, or nobody to send it to.
 */
static bool leave_in_store(const struct session *session)
{
	const struct outbound *outbound = &session->outbound;

	return !session->client || outbound->beyond || outbound->reading ||
	       outbound->waiting_count >= PAGE;
}

/* One like @stored, whose references it does not take. */
static struct delivery stored_delivery(const struct store_delivery *stored)
{
	return (struct delivery){
		.message = stored->message,
		.origin = stored->origin,
		.seq = stored->seq,
		.qos = stored->qos,
		.flags = stored->flags,
		.state = stored->state,
	};
}

/* @delivery with references of its own, among those that wait. */
static bool keep(struct session *session, const struct delivery *like)
{
	struct outbound *outbound = &session->outbound;
	struct delivery *delivery = malloc(sizeof(*delivery));
	struct origin *origin = origin_copy(like->origin);

	if (!delivery || (like->origin && !origin)) {
		free(delivery);
		free(origin);
		return false;
	}
	*delivery = *like;
	delivery->origin = origin;
	message_hold(delivery->message);
	count_queued(outbound, delivery);
	to_waiting(outbound, delivery);
	return true;
}

bool outbound_add(struct session *session, const struct store_delivery *wanted)
{
	struct outbound *outbound = &session->outbound;
	struct store_delivery stored = *wanted;
	struct delivery added;

	if ((!(wanted->flags & STORE_RETAINED) ||
	     outbound->exempt >= retained_count()) &&
	    full(outbound, wanted->message)) {
		log_dropping(session);
		return false;
	}
	stored.state = STORE_QUEUED;
	stored.seq = wanted->qos ? take_seq(outbound) : 0;
	added = stored_delivery(&stored);
	if (is_stored(session, &added)) {
		added.change = store_delivery_add(session->sid, &stored);
		if (session_on_disk(session) && leave_in_store(session)) {
			outbound->beyond++;
			count_queued(outbound, &added);
			return true;
		}
	}
	if (keep(session, &added))
		return true;
	log_dropping(session);
	return false;
}

static void set_sent(const struct session *session, struct delivery *delivery)
{
	if (delivery->state != STORE_QUEUED)
		return;
	delivery->state = STORE_SENT;
	if (is_stored(session, delivery))
		store_delivery_state(session->sid, delivery->seq, STORE_SENT);
}

/* It has left on the connection that there is. */
static void adopt(struct session *session, struct delivery *delivery)
{
	from_waiting(&session->outbound, delivery);
	set_sent(session, delivery);
	to_inflight(&session->outbound, delivery);
}

void outbound_adopt(struct session *session, u64 seq)
{
	struct outbound *outbound = &session->outbound;
	struct delivery *delivery, *next;

	outbound->adopted = seq;
	skip_to(outbound, seq);
	for (delivery = TAILQ_FIRST(&outbound->waiting); delivery;
	     delivery = next) {
		next = TAILQ_NEXT(delivery, link);
		if (delivery->seq && delivery->seq <= seq)
			adopt(session, delivery);
	}
	outbound->recalling = outbound->beyond && seq;
}

/* Those of earlier connections are the first that wait; the released are known. */
static void set_all_sent(struct session *session)
{
	struct outbound *outbound = &session->outbound;
	struct delivery *delivery;

	TAILQ_FOREACH(delivery, &outbound->waiting, link) {
		if (delivery->state == STORE_RELEASED)
			continue;
		if (delivery->seq > outbound->sent)
			break;
		set_sent(session, delivery);
	}
}

static void journal_sent(const struct session *session)
{
	if (session->sid)
		journal_append(JOURNAL_SESSION_SENT, session->sid,
			       session->outbound.sent, 0, 0);
}

void outbound_lost(struct session *session, u64 seq)
{
	struct outbound *outbound = &session->outbound;

	if (seq <= outbound->sent)
		return;
	outbound->sent = seq;
	skip_to(outbound, seq);
	journal_sent(session);
	set_all_sent(session);
	if (session_on_disk(session))
		outbound->sent_change = store_queued();
}

/* Reading of those beyond */

static void take(struct session *session, const struct reading *reading,
		 struct store_delivery *stored)
{
	struct outbound *outbound = &session->outbound;
	struct delivery *delivery = malloc(sizeof(*delivery));

	if (!delivery) {
		/* What was in the store stays there, for the next connection. */
		log_dropping(session);
		store_delivery_free(stored);
		return;
	}
	*delivery = stored_delivery(stored);
	delivery->change = reading->change;
	to_waiting(outbound, delivery);
	if (delivery->seq && delivery->seq <= outbound->adopted)
		adopt(session, delivery);
	else if (delivery->seq && delivery->seq <= outbound->sent)
		set_sent(session, delivery);
}

/* All that the client may acknowledge is known once @last has been read. */
static void end_recall(struct session *session, u64 last)
{
	struct outbound *outbound = &session->outbound;

	if (!outbound->recalling ||
	    (outbound->beyond && last <= outbound->adopted))
		return;
	outbound->recalling = false;
	if (session->client)
		client_pump(session->client);
}

static void read_done(struct store_read *read, struct store_delivery *deliveries,
		      u32 nr)
{
	struct reading *reading = container_of(read, struct reading, read);
	struct session *session = reading->session;
	u64 last = nr ? deliveries[nr - 1].seq : 0;
	struct outbound *outbound;
	u32 i;

	for (i = 0; i < nr; i++) {
		if (session)
			take(session, reading, &deliveries[i]);
		else
			store_delivery_free(&deliveries[i]);
	}
	if (session) {
		outbound = &session->outbound;
		outbound->reading = NULL;
		/* With fewer than were asked for, there are no more. */
		outbound->beyond -= nr < reading->read.max ?
				    reading->expected : nr;
		outbound_pump(session);
		end_recall(session, last);
	}
	free(reading);
}

static void read_more(struct session *session)
{
	struct outbound *outbound = &session->outbound;
	struct reading *reading;

	if (!outbound->beyond || outbound->reading ||
	    outbound->waiting_count > PAGE / 2)
		return;
	reading = calloc(1, sizeof(*reading));
	if (!reading) {
		/* The next acknowledgment tries again. */
		outbound->recalling = false;
		return;
	}
	reading->session = session;
	reading->expected = outbound->beyond;
	reading->change = store_queued();
	reading->read.sid = session->sid;
	reading->read.from = outbound->last_seq + 1;
	reading->read.max = PAGE;
	reading->read.done = read_done;
	outbound->reading = reading;
	store_read(&reading->read);
}

/* Sending */

/*
 * No more than max_inflight at once, and than the client's receive maximum
 * [MQTT5: MQTT-3.3.4-9], each with an identifier of its own [MQTT-2.3.1-4].
 */
static bool window_open(const struct session *session,
			const struct delivery *delivery)
{
	const struct outbound *outbound = &session->outbound;

	return outbound->inflight_count < settings->max_inflight &&
	       outbound->inflight_count < session->client->receive_max &&
	       !in_flight(outbound, delivery->seq);
}

/*
 * A QoS 2 message must be on disk before its client sees it: were it forgotten,
 * the next with its identifier would pass for the same one.
 */
static bool wait_for_disk(struct session *session,
			  const struct delivery *delivery)
{
	if (delivery->qos < 2 || !is_stored(session, delivery) ||
	    delivery->change <= store_committed())
		return false;
	if (!session->committing) {
		session->committing = true;
		TAILQ_INSERT_TAIL(&committing, session, commit);
	}
	return true;
}

/*
 * Returns false if it is larger than the client accepts: then it is as if it had
 * been sent, and acknowledged [MQTT5: MQTT-3.1.2-25].
 */
static bool send_publish(struct session *session, struct delivery *delivery)
{
	u8 flags = delivery->qos << 1;

	if (delivery->flags)
		flags |= KMQTT_FLAG_RETAIN;
	if (delivery->state == STORE_SENT)
		flags |= KMQTT_FLAG_DUP;
	if (!client_publish(session->client, delivery->message,
			    delivery->origin, flags,
			    delivery->qos ? packet_id(delivery->seq) : 0))
		return false;
	set_sent(session, delivery);
	if (delivery->seq)
		session->client->published = delivery->seq;
	return true;
}

/* PUBREL forbids ever to send PUBLISH again [MQTT-4.3.3-1]: the disk first. */
static void send_pubrel(struct session *session,
			const struct delivery *delivery, u64 change)
{
	commit_acknowledge(session->client, KMQTT_PUBREL, packet_id(delivery->seq),
			   REASON_SUCCESS,
			   session_change(session, change));
}

/*
 * What has not been sent yet is judged by today's rules, and may have expired
 * [MQTT5: MQTT-3.3.2-5]; what has been is finished [MQTT5: MQTT-4.3.3-7].
 */
static bool is_denied(const struct session *session,
		      const struct delivery *delivery)
{
	const struct message *message = delivery->message;

	return delivery->state == STORE_QUEUED &&
	       (!session_may(session, message->data, message->topic_len,
			     KMQTT_ACCESS_READ) ||
		(message->expires && message_expired(message, message_now())));
}

static void drop(struct session *session, struct delivery *delivery)
{
	if (is_stored(session, delivery))
		store_delivery_del(session->sid, delivery->seq);
	delivery_free(delivery);
}

static void send_next(struct session *session, struct delivery *delivery)
{
	struct outbound *outbound = &session->outbound;

	from_waiting(outbound, delivery);
	if (delivery->state == STORE_RELEASED) {
		send_pubrel(session, delivery, delivery->change);
	} else if (is_denied(session, delivery) ||
		   !send_publish(session, delivery)) {
		drop(session, delivery);
		return;
	}
	if (delivery->qos)
		to_inflight(outbound, delivery);
	else
		delivery_free(delivery);
}

/*
 * The next one that may be sent, or NULL. A PUBREL that is to be sent again does
 * not wait for the window [MQTT5: MQTT-3.3.4-10].
 */
static struct delivery *next_to_send(struct session *session)
{
	struct outbound *outbound = &session->outbound;
	struct delivery *delivery = TAILQ_FIRST(&outbound->passing);

	if (delivery)
		return delivery;
	delivery = TAILQ_FIRST(&outbound->waiting);
	if (!delivery || (delivery->state != STORE_RELEASED &&
			  !window_open(session, delivery)))
		return NULL;
	return wait_for_disk(session, delivery) ? NULL : delivery;
}

void outbound_pump(struct session *session)
{
	struct outbound *outbound = &session->outbound;
	struct delivery *delivery;

	while (session->client && client_writable(session->client)) {
		delivery = next_to_send(session);
		if (!delivery)
			break;
		send_next(session, delivery);
	}
	if (!outbound->waiting_count && !outbound_passes(outbound))
		outbound->dropping = false;
	if (session->client)
		read_more(session);
}

void outbound_resume(struct session *session)
{
	outbound_pump(session);
}

/* Those in flight become the first of those that wait, in order. */
static void requeue(struct outbound *outbound)
{
	struct delivery *others = first_unreleased(outbound);
	struct delivery *delivery;

	while ((delivery = TAILQ_LAST(&outbound->inflight, deliveries))) {
		from_inflight(outbound, delivery);
		if (delivery->state == STORE_RELEASED) {
			insert_waiting(outbound, delivery,
				       TAILQ_FIRST(&outbound->waiting));
		} else {
			insert_waiting(outbound, delivery, others);
			others = delivery;
		}
		count_queued(outbound, delivery);
	}
}

static void stop_reading(struct outbound *outbound)
{
	if (outbound->reading)
		outbound->reading->session = NULL;
	outbound->reading = NULL;
}

/* The answers to a SUBSCRIBE of this connection that are not acknowledged. */
static void forget_fleeting(struct outbound *outbound)
{
	struct delivery *delivery, *next;

	for (delivery = TAILQ_FIRST(&outbound->passing); delivery;
	     delivery = next) {
		next = TAILQ_NEXT(delivery, link);
		if (!is_retained(delivery))
			continue;
		from_waiting(outbound, delivery);
		delivery_free(delivery);
	}
}

void outbound_suspend(struct session *session)
{
	struct outbound *outbound = &session->outbound;
	struct delivery *delivery;

	stop_reading(outbound);
	outbound->adopted = 0;
	outbound->recalling = false;
	requeue(outbound);
	forget_fleeting(outbound);
	while (session_on_disk(session) &&
	       (delivery = TAILQ_FIRST(&outbound->waiting))) {
		TAILQ_REMOVE(&outbound->waiting, delivery, link);
		outbound->waiting_count--;
		outbound->beyond++;
		delivery_free(delivery);
	}
	if (session_on_disk(session))
		outbound->last_seq = 0;
}

/* Acknowledgments */

static void finish(struct session *session, struct delivery *delivery)
{
	if (is_stored(session, delivery))
		store_delivery_del(session->sid, delivery->seq);
	from_inflight(&session->outbound, delivery);
	delivery_free(delivery);
	outbound_pump(session);
}

void outbound_puback(struct session *session, u16 id)
{
	struct delivery *delivery = find_inflight(&session->outbound, id);

	if (delivery && delivery->qos == 1)
		finish(session, delivery);
}

void outbound_pubrec(struct session *session, u16 id)
{
	struct delivery *delivery = find_inflight(&session->outbound, id);
	u64 change = 0;

	if (!delivery) {
		/* It has been forgotten here; let it end there, too. */
		commit_acknowledge(session->client, KMQTT_PUBREL, id,
				   REASON_ID_NOT_FOUND, 0);
		return;
	}
	if (delivery->qos != 2)
		return;
	if (delivery->state == STORE_SENT) {
		if (session->sid)
			change = store_delivery_state(session->sid,
						      delivery->seq,
						      STORE_RELEASED);
		delivery->state = STORE_RELEASED;
		delivery->change = change;
		message_put(delivery->message);
		delivery->message = NULL;
	}
	send_pubrel(session, delivery, delivery->change);
}

void outbound_pubcomp(struct session *session, u16 id)
{
	struct delivery *delivery = find_inflight(&session->outbound, id);

	if (delivery && delivery->state == STORE_RELEASED)
		finish(session, delivery);
}

void outbound_refused(struct session *session, u16 id)
{
	struct delivery *delivery = find_inflight(&session->outbound, id);

	if (delivery && delivery->qos == 2 && delivery->state == STORE_SENT)
		finish(session, delivery);
}

void outbound_committed(void)
{
	struct sessions waited = TAILQ_HEAD_INITIALIZER(waited);
	struct session *session;

	TAILQ_CONCAT(&waited, &committing, commit);
	while ((session = TAILQ_FIRST(&waited))) {
		TAILQ_REMOVE(&waited, session, commit);
		session->committing = false;
		outbound_pump(session);
	}
}

/* The end, and the beginning */

static void forget(struct deliveries *deliveries)
{
	struct delivery *delivery;

	while ((delivery = TAILQ_FIRST(deliveries))) {
		TAILQ_REMOVE(deliveries, delivery, link);
		delivery_free(delivery);
	}
}

static struct store_delivery as_stored(const struct delivery *delivery)
{
	return (struct store_delivery){
		.seq = delivery->seq,
		.message = delivery->message,
		.origin = delivery->origin,
		.qos = delivery->qos,
		.flags = delivery->flags,
		.state = delivery->state,
	};
}

void outbound_pass_on(struct session *session,
		      bool (*pass_on)(u64 sid,
				      const struct store_delivery *delivery))
{
	struct store_delivery stored;
	struct delivery *delivery;

	TAILQ_FOREACH(delivery, &session->outbound.inflight, link) {
		stored = as_stored(delivery);
		pass_on(session->sid, &stored);
	}
	TAILQ_FOREACH(delivery, &session->outbound.passing, link) {
		stored = as_stored(delivery);
		pass_on(session->sid, &stored);
	}
	TAILQ_FOREACH(delivery, &session->outbound.waiting, link) {
		/* Sent on an earlier connection, it is not forgotten there. */
		stored = as_stored(delivery);
		pass_on(session->sid, &stored);
	}
}

void outbound_clear(struct session *session)
{
	struct outbound *outbound = &session->outbound;

	stop_reading(outbound);
	forget(&outbound->passing);
	forget(&outbound->waiting);
	forget(&outbound->inflight);
	index_free(outbound);
	if (session->committing)
		TAILQ_REMOVE(&committing, session, commit);
	session->committing = false;
	*outbound = (struct outbound){ 0 };
	outbound_init(outbound);
}

void outbound_load(struct outbound *outbound, const struct store_session *stored)
{
	outbound->beyond = stored->queued;
	outbound->queued = stored->queued;
	outbound->exempt = stored->retained;
	outbound->queued_bytes = stored->queued_bytes;
	outbound->exempt_bytes = stored->retained_bytes;
	outbound->next_seq = stored->next_seq;
}

/* The journal */

static struct delivery *find_waiting(const struct outbound *outbound, u64 seq)
{
	return find(outbound, &outbound->waiting, packet_id(seq), seq);
}

int outbound_journaled(struct session *session,
		       const struct store_delivery *journaled)
{
	struct outbound *outbound = &session->outbound;
	struct delivery delivery = stored_delivery(journaled);

	if (!keep(session, &delivery))
		return -ENOMEM;
	if (delivery.qos)
		index_add(outbound, &outbound->waiting, outbound->waiting_count,
			  TAILQ_LAST(&outbound->waiting, deliveries));
	skip_to(outbound, journaled->seq);
	return 0;
}

void outbound_journaled_released(struct outbound *outbound, u64 seq)
{
	struct delivery *delivery = find_waiting(outbound, seq);

	if (!delivery || !delivery->message)
		return;
	uncount_bytes(outbound, delivery);
	message_put(delivery->message);
	delivery->message = NULL;
	delivery->state = STORE_RELEASED;
}

void outbound_journaled_del(struct outbound *outbound, u64 seq)
{
	struct delivery *delivery = find_waiting(outbound, seq);

	if (!delivery)
		return;
	from_waiting(outbound, delivery);
	index_del(outbound, outbound->waiting_count, delivery);
	delivery_free(delivery);
}

void outbound_journaled_sent(struct outbound *outbound, u64 seq)
{
	if (outbound->sent < seq)
		outbound->sent = seq;
	skip_to(outbound, seq);
}

/* Those that were released are the first. */
static void sort(struct outbound *outbound)
{
	struct delivery *others = TAILQ_FIRST(&outbound->waiting);
	struct delivery *delivery, *next;

	for (delivery = others; delivery; delivery = next) {
		next = TAILQ_NEXT(delivery, link);
		if (delivery->state != STORE_RELEASED)
			continue;
		if (delivery == others) {
			others = next;
			continue;
		}
		TAILQ_REMOVE(&outbound->waiting, delivery, link);
		TAILQ_INSERT_BEFORE(others, delivery, link);
	}
}

void outbound_journaled_all(struct session *session)
{
	index_free(&session->outbound);
	sort(&session->outbound);
	set_all_sent(session);
}

/*
 * The message of one that was released is gone: it was sent, and its place in the
 * order is what matters.
 */
static void rewrite(const struct session *session,
		    const struct delivery *delivery)
{
	static struct message *none;
	const struct store_delivery stored = {
		.seq = delivery->seq,
		.message = delivery->message ? delivery->message : none,
		.origin = delivery->origin,
		.qos = delivery->qos,
		.flags = delivery->flags,
	};

	if (!none)
		none = message_new("-", 1, NULL, 0, 2);
	if (!delivery->qos || !stored.message)
		return;
	journal_delivery(session->sid, &stored);
	if (!delivery->message)
		journal_append(JOURNAL_DELIVERY_RELEASED, session->sid,
			       delivery->seq, 0, 0);
}

void outbound_rewrite(const struct session *session)
{
	const struct outbound *outbound = &session->outbound;
	const struct delivery *delivery;

	/* Of what is done with, too, as long as the database does not know. */
	if (outbound->sent &&
	    (outbound->queued || outbound->inflight_count ||
	     outbound->sent_change > store_committed()))
		journal_sent(session);
	if (session_on_disk(session))
		return;
	TAILQ_FOREACH(delivery, &outbound->inflight, link)
		rewrite(session, delivery);
	TAILQ_FOREACH(delivery, &outbound->waiting, link)
		rewrite(session, delivery);
}
