// SPDX-License-Identifier: GPL-2.0
#include "publish.h"

#include <errno.h>

#include "client.h"
#include "filters.h"
#include "frame.h"
#include "inject.h"
#include "log.h"
#include "memory.h"
#include "packet.h"
#include "retained.h"
#include "session.h"
#include "sink.h"
#include "store.h"
#include "topic.h"

/* Members of a share that are tried when the first keeps no more messages. */
#define SHARE_TRIES 16

/* What is published, and by whom. */
struct publication {
	struct message *message;
	const struct session *publisher;	/* or NULL */
	u32 conn_id;				/* his, or 0 */
	bool retain;
	bool must;	/* whatever the state of the disk */
	bool half;	/* all but the database have it from the daemon before */
};

/* The lower of the two (section 4.3), unless upgrade_outgoing_qos says otherwise. */
u8 publish_qos(u8 granted, const struct message *message)
{
	return granted < message->qos || client_config->upgrade_qos ?
	       granted : message->qos;
}

static u8 delivered_qos(const struct session *session,
			const struct message *message)
{
	return publish_qos(session->match_qos, message);
}

/* Whether it is the daemon that hands out what is published below QoS 1, too. */
static bool is_ours(const struct message *message)
{
	return message->qos || client_config->upgrade_qos;
}

/* QoS 0 messages that the module delivers come from its sink besides. */
static bool is_queued(const struct session *session,
		      const struct message *message)
{
	return delivered_qos(session, message) ||
	       (message->qos && session_is_away(session) &&
		client_config->queue_qos0);
}

/* Work that must be durable is refused while the disk does not take it. */
static bool can_be_kept(const struct filters_found *found,
			const struct message *message, bool retain)
{
	const struct session *matched;

	if (!store_enabled() || store_healthy())
		return true;
	/* Of shares, any member may get it. */
	if (retain || (found->shares && is_ours(message)))
		return false;
	for (matched = found->sessions; matched; matched = matched->next_match)
		if (session_on_disk(matched) && delivered_qos(matched, message))
			return false;
	return true;
}

/* Those of @matched whose clients may read it. */
static struct session *readable(struct session *matched,
				const struct message *message)
{
	struct session *first = NULL, **last = &first;

	for (; matched; matched = matched->next_match) {
		if (!session_may(matched, message->data,
				 message->topic_len, KMQTT_ACCESS_READ))
			continue;
		*last = matched;
		last = &matched->next_match;
	}
	*last = NULL;
	return first;
}

/* Those of @matched that have what they get above QoS 0 in the database. */
static struct session *on_disk(struct session *matched,
			       const struct message *message)
{
	struct session *first = NULL, **last = &first;

	for (; matched; matched = matched->next_match) {
		if (!session_on_disk(matched) ||
		    !delivered_qos(matched, message))
			continue;
		*last = matched;
		last = &matched->next_match;
	}
	*last = NULL;
	return first;
}

/* Who it is that has published it, for check_retain_source. */
int publish_note_source(struct message *message,
			const struct session *publisher)
{
	const struct acl_subject *subject = &publisher->subject;

	if (message->source)
		return 0;
	return message_set_source(message, subject->listener, publisher->id,
				  publisher->id_len, subject->user,
				  subject->user_len);
}

/* [MQTT-3.3.1-5] to [MQTT-3.3.1-11] */
static int keep(struct message *message, const struct session *publisher)
{
	int err = 0;

	if (publisher && message->payload_len)
		err = publish_note_source(message, publisher);
	if (!err)
		err = retained_set(message);
	if (!err && store_enabled())
		store_retained_set(message);
	return err;
}

static bool queue_shared(struct subscription *chosen, struct message *message,
			 bool retain)
{
	const struct origin *origin = filters_share_origin(chosen);
	const struct store_delivery delivery = {
		.message = message,
		.origin = (struct origin *)origin,
		.qos = publish_qos(chosen->qos, message),
		.flags = retain &&
			 chosen->options & STORE_RETAIN_AS_PUBLISHED ?
			 STORE_RETAIN : 0,
	};

	if (!origin || !outbound_add(chosen->session, &delivery))
		return false;
	outbound_pump(chosen->session);
	return true;
}

bool publish_to_share(struct share *share, struct message *message, bool retain)
{
	struct subscription *chosen, *first = NULL;
	int i;

	/* One that keeps no more messages is passed over. */
	for (i = 0; i < SHARE_TRIES; i++) {
		chosen = filters_choose(share, message);
		if (!chosen || chosen == first)
			return false;
		if (queue_shared(chosen, message, retain))
			return true;
		first = first ? first : chosen;
	}
	return false;
}

static void deliver_to_shares(struct share *share, struct message *message,
			      bool retain)
{
	struct share *next;

	for (; share; share = next) {
		next = filters_next_share(share);
		publish_to_share(share, message, retain);
	}
}

static u8 retain_flag(const struct session *matched,
		      const struct publication *what)
{
	return what->retain &&
	       matched->match_options & STORE_RETAIN_AS_PUBLISHED ?
	       STORE_RETAIN : 0;
}

/*
 * Whoever is owed a copy by the daemon gets it; the module serves the rest, those
 * of shared subscriptions only if it was published at QoS 0, and is not upgraded.
 */
static void deliver(const struct filters_found *found,
		    const struct publication *what)
{
	struct store_delivery delivery = { .message = what->message };
	struct session *matched;
	bool others = !is_ours(what->message) && !what->half;

	for (matched = found->sessions; matched; matched = matched->next_match) {
		if (is_queued(matched, what->message)) {
			delivery.qos = delivered_qos(matched, what->message);
			delivery.flags = retain_flag(matched, what);
			delivery.origin =
				(struct origin *)filters_origin(matched);
			outbound_add(matched, &delivery);
			outbound_pump(matched);
		} else if (matched->client) {
			others = true;
		}
	}
	if (is_ours(what->message) && !what->half)
		deliver_to_shares(found->shares, what->message, what->retain);
	if (others)
		inject(what->message, what->retain, what->conn_id);
}

/*
 * Hands out a message. Returns to how many, as far as it is known here, or
 * -errno, and then nothing has happened.
 */
static int distribute(const struct publication *what)
{
	struct message *message = what->message;
	struct filters_found found;
	bool nobody;
	int err;

	/*
	 * Its publisher's earlier ones, at QoS 0, are in the sink. Before the
	 * match: they are matched, too, and there is one result.
	 */
	if (what->retain)
		sink_drain();
	err = filters_match(message->data, message->topic_len, what->publisher,
			    &found);
	if (err)
		return err;
	nobody = !found.sessions && !found.shares;
	found.sessions = readable(found.sessions, message);
	if (what->half)
		found.sessions = on_disk(found.sessions, message);
	if (!what->must && !can_be_kept(&found, message, what->retain))
		return -EIO;
	if (what->retain) {
		err = keep(message, what->publisher);
		if (err)
			return err;
	}
	deliver(&found, what);
	return !nobody;
}

/*
 * Of QoS 0: those that are away, and those that the module leaves to the daemon
 * since their subscription has KMQTT_SUB_UPGRADE.
 */
static bool is_for_sink(const struct session *session,
			const struct message *message)
{
	return delivered_qos(session, message) ||
	       (session_is_away(session) && client_config->queue_qos0);
}

int publish_from_sink(struct message *message, u32 conn_id, u8 flags, bool half)
{
	const struct session *publisher = client_session(conn_id);
	const struct publication what = {
		.message = message,
		.retain = flags & KMQTT_SINK_RETAIN,
	};
	struct store_delivery delivery = {
		.message = message,
	};
	struct filters_found found = { 0 };
	struct session *matched;
	int err = 0;

	if (what.retain && client_config->retain_available)
		err = keep(message, publisher);
	if (flags & KMQTT_SINK_FILTER &&
	    filters_match(message->data, message->topic_len, publisher, &found))
		found = (struct filters_found){ 0 };
	matched = readable(found.sessions, message);
	if (half)
		matched = on_disk(matched, message);
	for (; matched; matched = matched->next_match) {
		if (!is_for_sink(matched, message))
			continue;
		delivery.qos = delivered_qos(matched, message);
		delivery.flags = retain_flag(matched, &what);
		delivery.origin = (struct origin *)filters_origin(matched);
		outbound_add(matched, &delivery);
		outbound_pump(matched);
	}
	if (flags & KMQTT_SINK_SHARES && !half)
		deliver_to_shares(found.shares, message, what.retain);
	return err;
}

bool publish_will(struct message *message, bool retain,
		  const struct session *publisher, bool half)
{
	const struct publication what = {
		.message = message,
		.publisher = publisher,
		.retain = retain,
		/* There is one a client: what waits for the disk stays bounded. */
		.must = true,
		.half = half,
	};

	message_begin(message);
	return distribute(&what) >= 0;
}

static void refuse(struct client *client, int err)
{
	if (err == -E2BIG)
		client_fail(client, REASON_IMPLEMENTATION,
			    "topic matches too many filters");
	else if (err == -EIO)
		client_fail(client, REASON_UNSPECIFIED,
			    "server unavailable: the store cannot be written");
	else
		client_fail(client, REASON_QUOTA, "out of memory");
}

static void log_publish(const struct client *client, const char *what,
			const struct packet_publish *publish)
{
	char topic[LOG_ESCAPED(LOG_TEXT_MAX)];
	char name[CLIENT_NAME_SIZE];

	if (!log_enabled(LOG_TYPE_DEBUG))
		return;
	log_print(LOG_TYPE_DEBUG,
		  "%s PUBLISH from %s (d%d, q%d, r%d, m%u, '%s', ... (%u bytes))",
		  what, client_name(client, name), publish->dup, publish->qos,
		  publish->retain, publish->id,
		  log_escape(topic, publish->topic.data, publish->topic.len),
		  publish->payload_len);
}

/* Of a message that has been taken over, or denied. */
static enum reason reason_of(int recipients)
{
	return recipients ? REASON_SUCCESS : REASON_NO_MATCHING_SUBSCRIBERS;
}

/* Says that its payload is UTF-8, and it is not (MQTT 5, section 3.3.2.3.2). */
static bool format_is_wrong(const struct packet_publish *publish)
{
	return client_config->check_payload_format && publish->properties.utf8 &&
	       kmqtt_text_check(publish->payload, publish->payload_len);
}

/*
 * Takes a message over. One that its client may not publish goes nowhere, and is
 * acknowledged as any other: MQTT 3.1.1 cannot tell (section 3.3.5), MQTT 5 does
 * in *@reason.
 *
 * Returns the change that has to be on disk before it is acknowledged, 0 for
 * none; or ends the client: then *@err is not 0.
 */
static u64 take(struct client *client, const struct packet_publish *publish,
		bool half, enum reason *reason, int *err)
{
	const struct message_parts parts = {
		.topic = publish->topic.data,
		.topic_len = publish->topic.len,
		.qos = publish->qos,
		.properties = publish->properties.data,
		.properties_len = publish->properties.len,
		.payload = publish->payload,
		.payload_len = publish->payload_len,
	};
	struct publication what = {
		.publisher = client->session,
		.conn_id = client->conn_id,
		.retain = publish->retain,
		.half = half,
	};
	u64 before = store_queued();
	struct message *message;

	if (!session_may(client->session, publish->topic.data,
			 publish->topic.len, KMQTT_ACCESS_WRITE)) {
		log_publish(client, "Denied", publish);
		*reason = REASON_NOT_AUTHORIZED;
		*err = 0;
		return 0;
	}
	if (format_is_wrong(publish)) {
		*reason = REASON_PAYLOAD_FORMAT;
		*err = 0;
		return 0;
	}
	message = message_make(&parts);
	what.message = message;
	memory_add(publish->payload_len + publish->properties.len);
	*err = message ? distribute(&what) : -ENOMEM;
	if (message)
		message_put(message);
	if (*err < 0) {
		refuse(client, *err);
		return 0;
	}
	*reason = reason_of(*err);
	*err = 0;
	if (store_queued() == before)
		return 0;
	client->held_weight += publish->payload_len;
	return store_queued();
}

static void handle_qos1(struct client *client,
			const struct packet_publish *publish)
{
	enum reason reason;
	u64 change;
	int err;

	client->unacknowledged++;
	change = take(client, publish, false, &reason, &err);
	if (!err)
		commit_acknowledge(client, KMQTT_PUBACK, publish->id, reason,
				   change);
}

/*
 * It goes on its way at once; its identifier is kept until PUBREL, so that it
 * does so once (section 4.3.3, figure 4.3, method B). What goes to the database
 * and what goes to the journal are each safe at once, but not together: so the
 * journal says with which mark the database has it, too.
 */
static void handle_qos2(struct client *client,
			const struct packet_publish *publish)
{
	struct session *session = client->session;
	enum reason reason;
	u64 change = 0;
	bool half;
	int err = 0;

	if (session_on_disk(session) && !store_healthy()) {
		refuse(client, -EIO);
		return;
	}
	if (inbound_has(session->inbound, publish->id)) {
		/* PUBREC is sent again, after the first. */
		commit_acknowledge(client, KMQTT_PUBREC, publish->id,
				   REASON_SUCCESS,
				   session_change(session, store_queued()));
		return;
	}
	if (inbound_add(&session->inbound, publish->id)) {
		client_end(client, "out of memory");
		return;
	}
	client->unacknowledged++;
	half = inbound_del(&session->halves, publish->id);
	change = take(client, publish, half, &reason, &err);
	if (err) {
		inbound_del(&session->inbound, publish->id);
		if (half)
			inbound_add(&session->halves, publish->id);
		return;
	}
	/* [MQTT5: MQTT-4.3.3-9] */
	if (client->level == PACKET_LEVEL_5 && reason_is_error(reason)) {
		inbound_del(&session->inbound, publish->id);
		if (half && session->sid)
			store_inbound_del(session->sid, publish->id);
		commit_acknowledge(client, KMQTT_PUBREC, publish->id, reason, 0);
		return;
	}
	if (session->sid)
		store_inbound_add(session->sid, publish->id, change);
	/* The mark is the last change. */
	if (change || session_on_disk(session))
		change = store_queued();
	commit_received(client, publish->id, reason, change);
}

/*
 * Of those above QoS 0 that the client has published on this connection, as many
 * are not acknowledged as CONNACK said that there may be (section 4.9). One that
 * is published again counts once.
 */
static bool quota_exceeded(const struct client *client,
			   const struct packet_publish *publish)
{
	return client->level == PACKET_LEVEL_5 &&
	       client->unacknowledged >= client->allowed.receive_max &&
	       !(publish->qos == 2 &&
		 inbound_has(client->session->inbound, publish->id));
}

void publish_handle(struct client *client, u8 first, const u8 *data, size_t len)
{
	struct packet_publish publish;
	enum reason reason;

	reason = packet_parse_publish(client->level, first, data, len,
				      &publish);
	if (reason) {
		client_fail(client, reason, NULL);
		return;
	}
	log_publish(client, "Received", &publish);
	if (publish.retain && !client_config->retain_available)
		client_fail(client, REASON_RETAIN_NOT_SUPPORTED, NULL);
	else if (publish.qos > client->allowed.max_qos)
		client_fail(client, REASON_QOS_NOT_SUPPORTED, NULL);
	else if (publish.qos && quota_exceeded(client, &publish))
		client_fail(client, REASON_RECEIVE_MAXIMUM, NULL);
	else if (publish.qos == 2)
		handle_qos2(client, &publish);
	else if (publish.qos == 1)
		handle_qos1(client, &publish);
	else
		/* The module keeps the others. */
		client_fail(client, REASON_IMPLEMENTATION, NULL);
}

void publish_release(struct client *client, u16 packet_id)
{
	struct session *session = client->session;
	bool known = inbound_del(&session->inbound, packet_id);
	u64 change = 0;

	if (known && session->sid)
		change = store_inbound_del(session->sid, packet_id);
	commit_acknowledge(client, KMQTT_PUBCOMP, packet_id,
			   known ? REASON_SUCCESS : REASON_ID_NOT_FOUND,
			   change);
}
