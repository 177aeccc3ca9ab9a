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

/* What a session gets: the lower of the two (section 4.3). */
static u8 delivered_qos(const struct session *session,
			const struct message *message)
{
	return session->match_qos < message->qos ? session->match_qos
						 : message->qos;
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
static bool can_be_kept(const struct session *matched,
			const struct message *message, bool retain)
{
	if (!store_enabled() || store_healthy())
		return true;
	if (retain)
		return false;
	for (; matched; matched = matched->next_match)
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
		if (!acl_may(&matched->subject, message->data,
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

/* [MQTT-3.3.1-5] to [MQTT-3.3.1-11] */
static int keep(struct message *message)
{
	int err = retained_set(message);

	if (!err && store_enabled())
		store_retained_set(message);
	return err;
}

/* Whoever is owed a copy by the daemon gets it; the module serves the rest. */
static void deliver(struct session *matched, struct message *message,
		    bool retain)
{
	struct store_delivery delivery = { .message = message };
	bool others = !message->qos;

	for (; matched; matched = matched->next_match) {
		if (is_queued(matched, message)) {
			delivery.qos = delivered_qos(matched, message);
			outbound_add(matched, &delivery);
			outbound_pump(matched);
		} else if (matched->client) {
			others = true;
		}
	}
	if (others)
		inject(message, retain);
}

/*
 * Hands out a message. @must: whatever the state of the disk. @half: all but the
 * database have it from the daemon before. 0 or -errno, and then nothing has
 * happened.
 */
static int distribute(struct message *message, bool retain, bool must,
		      bool half)
{
	struct session *matched;
	int err;

	/*
	 * Its publisher's earlier ones, at QoS 0, are in the sink. Before the
	 * match: they are matched, too, and there is one result.
	 */
	if (retain)
		sink_drain();
	err = filters_match(message->data, message->topic_len, &matched);
	if (err)
		return err;
	matched = readable(matched, message);
	if (half)
		matched = on_disk(matched, message);
	if (!must && !can_be_kept(matched, message, retain))
		return -EIO;
	if (retain) {
		err = keep(message);
		if (err)
			return err;
	}
	deliver(matched, message, retain);
	return 0;
}

int publish_from_sink(struct message *message, bool retain, bool queue)
{
	const struct store_delivery delivery = { .message = message };
	struct session *matched = NULL;
	int err = 0;

	if (retain && client_config->retain_available)
		err = keep(message);
	if (queue && filters_match(message->data, message->topic_len, &matched))
		matched = NULL;
	matched = readable(matched, message);
	for (; matched; matched = matched->next_match)
		if (session_is_away(matched))
			outbound_add(matched, &delivery);
	return err;
}

bool publish_will(struct message *message, bool retain)
{
	/* There is one a client: what waits for the disk stays bounded. */
	return !distribute(message, retain, true, false);
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

/*
 * Takes a message over. One that its client may not publish goes nowhere, and is
 * acknowledged as any other: MQTT 3.1.1 cannot tell (section 3.3.5).
 *
 * Returns the change that has to be on disk before it is acknowledged, 0 for
 * none; or ends the client: then *@err is not 0.
 */
static u64 take(struct client *client, const struct packet_publish *publish,
		bool half, int *err)
{
	u64 before = store_queued();
	struct message *message;

	if (!acl_may(&client->session->subject, publish->topic.data,
		     publish->topic.len, KMQTT_ACCESS_WRITE)) {
		log_publish(client, "Denied", publish);
		*err = 0;
		return 0;
	}
	message = message_new(publish->topic.data, publish->topic.len,
			      publish->payload, publish->payload_len,
			      publish->qos);
	memory_add(publish->payload_len);
	*err = message ? distribute(message, publish->retain, false, half)
		       : -ENOMEM;
	if (message)
		message_put(message);
	if (*err) {
		refuse(client, *err);
		return 0;
	}
	if (store_queued() == before)
		return 0;
	client->held_weight += publish->payload_len;
	return store_queued();
}

static void handle_qos1(struct client *client,
			const struct packet_publish *publish)
{
	int err;
	u64 change = take(client, publish, false, &err);

	if (!err)
		client_acknowledge(client, KMQTT_PUBACK, publish->id,
				   REASON_SUCCESS, change);
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
	u64 change = 0;
	bool half;
	int err = 0;

	if (session_on_disk(session) && !store_healthy()) {
		refuse(client, -EIO);
		return;
	}
	if (inbound_has(&session->inbound, publish->id)) {
		/* PUBREC is sent again, after the first. */
		client_acknowledge(client, KMQTT_PUBREC, publish->id,
				   REASON_SUCCESS,
				   session_change(session, store_queued()));
		return;
	}
	if (inbound_add(&session->inbound, publish->id)) {
		client_end(client, "out of memory");
		return;
	}
	half = inbound_del(&session->halves, publish->id);
	change = take(client, publish, half, &err);
	if (err) {
		inbound_del(&session->inbound, publish->id);
		return;
	}
	if (session->sid)
		store_inbound_add(session->sid, publish->id);
	/* The mark is the last change. */
	if (change || session_on_disk(session))
		change = store_queued();
	client_received(client, publish->id, REASON_SUCCESS, change);
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
	else if (publish.qos > client->listener->config->max_qos)
		client_fail(client, REASON_QOS_NOT_SUPPORTED, NULL);
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
	u64 change = 0;

	if (inbound_del(&session->inbound, packet_id) && session->sid)
		change = store_inbound_del(session->sid, packet_id);
	client_acknowledge(client, KMQTT_PUBCOMP, packet_id, REASON_SUCCESS,
			   change);
}
