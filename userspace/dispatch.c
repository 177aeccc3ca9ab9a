// SPDX-License-Identifier: GPL-2.0
/*
 * Packets: which ones may come, and who handles them.
 */
#include "client.h"
#include "frame.h"
#include "journal.h"
#include "outbound.h"
#include "packet.h"
#include "publish.h"
#include "session.h"
#include "store.h"

/* Before it is known who it is, there is a CONNACK instead of a DISCONNECT. */
static void fail_early(struct client *client, enum reason reason)
{
	if (client->state == CLIENT_EXCHANGING)
		connect_refuse(client, reason, NULL);
	else
		client_fail(client, reason, NULL);
}

/* Whether such a packet may come from it now. */
static bool expected_now(const struct client *client, unsigned int type)
{
	switch (client->state) {
	case CLIENT_CONNECTING:
		/* [MQTT-3.1.0-1] */
		return type == KMQTT_CONNECT;
	case CLIENT_EXCHANGING:
		/* [MQTT5: MQTT-3.1.2-30] */
		return type == KMQTT_AUTH || type == KMQTT_DISCONNECT;
	}
	switch (type) {
	case KMQTT_PUBLISH:
	case KMQTT_PUBACK:
	case KMQTT_PUBREC:
	case KMQTT_PUBREL:
	case KMQTT_PUBCOMP:
	case KMQTT_SUBSCRIBE:
	case KMQTT_UNSUBSCRIBE:
	case KMQTT_PINGREQ:
	case KMQTT_DISCONNECT:
		return true;
	case KMQTT_AUTH:
		/* [MQTT5: MQTT-4.12.0-7] */
		return client->enhanced;
	default:
		/* [MQTT-3.1.0-2]; only servers send the others. */
		return false;
	}
}

/* Ends the client when such a packet may not come from it, or not now. */
static bool expected(struct client *client, const struct kmqtt_frame *frame)
{
	unsigned int type = kmqtt_frame_type(frame);
	u32 max = client->state == CLIENT_ACTIVE ?
		  client->allowed.max_packet : connect_max();

	if (!expected_now(client, type)) {
		fail_early(client, REASON_PROTOCOL);
		return false;
	}
	if (kmqtt_frame_size(frame) > max) {
		fail_early(client, REASON_TOO_LARGE);
		return false;
	}
	return true;
}

static void handle_pingreq(struct client *client)
{
	u8 packet[PACKET_PINGRESP_SIZE];

	packet_build_pingresp(packet);
	client_send(client, packet, sizeof(packet));
}

static void handle_ack(struct client *client, unsigned int type,
		       const u8 *data, size_t len)
{
	struct session *session = client->session;
	struct packet_ack ack;
	enum reason reason;

	reason = packet_parse_ack(client->level, type, data, len, &ack);
	if (reason) {
		client_fail(client, reason, NULL);
		return;
	}
	switch (type) {
	case KMQTT_PUBACK:
		outbound_puback(session, ack.id);
		commit_silently(client, session_change(session, store_queued()));
		break;
	case KMQTT_PUBREC:
		if (!reason_is_error(ack.reason)) {
			outbound_pubrec(session, ack.id);
			break;
		}
		outbound_refused(session, ack.id);
		commit_silently(client, session_change(session, store_queued()));
		break;
	case KMQTT_PUBREL:
		publish_release(client, ack.id);
		break;
	default:
		outbound_pubcomp(session, ack.id);
		commit_silently(client, session_change(session, store_queued()));
	}
}

static void forget_will(struct client *client)
{
	if (client->will)
		message_put(client->will);
	client->will = NULL;
}

/* A DISCONNECT of MQTT 5 may say more. False when it was wrong. */
static bool heed(struct client *client, const u8 *data, size_t len,
		 struct packet_disconnect *disconnect)
{
	enum reason reason;

	reason = packet_parse_disconnect(data, len, disconnect);
	/* Section 3.14.2.2.2. */
	if (!reason && disconnect->has_expiry && disconnect->session_expiry &&
	    !client->session_expiry)
		reason = REASON_PROTOCOL;
	if (reason) {
		client_fail(client, reason, NULL);
		return false;
	}
	if (disconnect->has_expiry)
		connect_set_expiry(client, disconnect->session_expiry);
	return true;
}

static void handle_disconnect(struct client *client, const u8 *data, size_t len)
{
	struct packet_disconnect disconnect = { .reason = REASON_SUCCESS };
	const char *reason;

	if (client->level == PACKET_LEVEL_5 && client->session &&
	    !heed(client, data, len, &disconnect))
		return;
	/* [MQTT-3.14.4-3] */
	if (disconnect.reason == REASON_SUCCESS) {
		forget_will(client);
		journal_append(JOURNAL_CONN_DISCONNECTED, client->cookie, 0, 0,
			       0);
	}
	reason = reason_is_error(disconnect.reason) ?
		 reason_text(disconnect.reason) : "";
	/* What was before it is answered first. */
	if (client_is_sending(client))
		client_part(client, reason);
	else
		client_end(client, reason);
}

/* True when @packet has been done with. */
static bool handle(struct client *client, const struct kmqtt_frame *frame,
		   const u8 *packet)
{
	unsigned int type = kmqtt_frame_type(frame);
	const u8 *data = packet + frame->seen;

	switch (type) {
	case KMQTT_CONNECT:
		connect_handle(client, frame, data);
		return true;
	case KMQTT_PUBLISH:
		publish_handle(client, frame->first, data, frame->remaining);
		return true;
	case KMQTT_PUBACK:
	case KMQTT_PUBREC:
	case KMQTT_PUBREL:
	case KMQTT_PUBCOMP:
		handle_ack(client, type, data, frame->remaining);
		return true;
	case KMQTT_SUBSCRIBE:
	case KMQTT_UNSUBSCRIBE:
		return subscribe_handle(client, type == KMQTT_SUBSCRIBE,
					frame->seen, kmqtt_frame_size(frame));
	case KMQTT_DISCONNECT:
		handle_disconnect(client, data, frame->remaining);
		return true;
	case KMQTT_AUTH:
		connect_handle_auth(client, data, frame->remaining);
		return true;
	default:
		handle_pingreq(client);
		return true;
	}
}

bool dispatch_next(struct client *client)
{
	const u8 *packet = buffer_head(&client->in);
	size_t len = buffer_used(&client->in);
	struct kmqtt_frame frame = { 0 };
	enum kmqtt_end end;
	size_t header;

	if (!len)
		return false;
	end = kmqtt_frame_feed(&frame, packet, len, client->level, &header);
	if (end != KMQTT_END_NONE) {
		fail_early(client, reason_of_end(end));
		return false;
	}
	if (!frame.done || !expected(client, &frame) ||
	    len < kmqtt_frame_size(&frame))
		return false;
	if (!handle(client, &frame, packet))
		return false;
	client_consume(client, kmqtt_frame_size(&frame));
	return true;
}
