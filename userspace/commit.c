// SPDX-License-Identifier: GPL-2.0
/*
 * What waits for the disk: acknowledgments of what a client has sent, in their
 * order, and whatever else must not go on before a change is committed.
 */
#include <stdlib.h>

#include "client.h"
#include "frame.h"
#include "journal.h"
#include "outbound.h"
#include "packet.h"
#include "reason.h"
#include "session.h"
#include "sink.h"
#include "store.h"

/* What an acknowledgment that waits weighs besides its message. */
#define HELD_EACH	64

/**
 * struct late_ack - an acknowledgment that waits for the disk
 * @link: in the client's
 * @change: that it waits for
 * @from: bytes that were handled before what it acknowledges
 * @inbound: packet identifier of a QoS 2 message, whose mark @change is, or 0
 * @type: of the packet to be sent then, 0: only the kernel will be told
 * @reason: its reason code
 * @id: its packet identifier
 */
struct late_ack {
	STAILQ_ENTRY(late_ack) link;
	u64 change;
	u64 from;
	u16 inbound;
	u16 id;
	u8 type;
	u8 reason;
};

static struct clients committing = TAILQ_HEAD_INITIALIZER(committing);

u64 commit_handled(const struct client *client)
{
	return STAILQ_EMPTY(&client->held) ?
	       client->handled : STAILQ_FIRST(&client->held)->from;
}

u64 commit_change(const struct client *client)
{
	const struct late_ack *ack;
	u64 change = 0;

	STAILQ_FOREACH(ack, &client->held, link)
		if (change < ack->change)
			change = ack->change;
	return change;
}

void commit_forget(struct client *client)
{
	struct late_ack *ack;

	while ((ack = STAILQ_FIRST(&client->held))) {
		STAILQ_REMOVE_HEAD(&client->held, link);
		/* Once it is gone, commit_journal() cannot say with which mark. */
		if (ack->inbound)
			journal_keep(ack->change);
		free(ack);
	}
	if (client->committing)
		TAILQ_REMOVE(&committing, client, commit);
	client->committing = false;
	client->awaited = 0;
}

static void wait_for_commit(struct client *client)
{
	if (client->committing)
		return;
	client->committing = true;
	TAILQ_INSERT_TAIL(&committing, client, commit);
}

static void acknowledge_late(struct client *client, u8 type, u16 id,
			     enum reason reason, u64 change, u16 inbound)
{
	struct late_ack *ack = malloc(sizeof(*ack));

	if (!ack) {
		client_end(client, "out of memory");
		return;
	}
	*ack = (struct late_ack){
		.change = change,
		.from = client->handled,
		.inbound = inbound,
		.id = id,
		.type = type,
		.reason = reason,
	};
	STAILQ_INSERT_TAIL(&client->held, ack, link);
	client->held_weight += HELD_EACH;
	wait_for_commit(client);
}

static void send_ack(struct client *client, u8 type, u16 id, enum reason reason)
{
	/* [MQTT5: MQTT-3.1.2-29] */
	const char *text = reason_is_error(reason) && client->explain ?
			   reason_text(reason) : NULL;
	size_t size;
	u8 *to;

	/* The quota of section 4.9 [MQTT5: MQTT-3.3.4-7]. */
	if (client->unacknowledged &&
	    (type == KMQTT_PUBACK ||
	     (type == KMQTT_PUBCOMP && reason == REASON_SUCCESS) ||
	     (type == KMQTT_PUBREC && reason_is_error(reason))))
		client->unacknowledged--;
	size = packet_build_ack(NULL, client->level, client->max_send, type, id,
				reason, text);
	to = size ? client_reserve(client, size) : NULL;
	if (to)
		packet_build_ack(to, client->level, client->max_send, type, id,
				 reason, text);
}

static void acknowledge(struct client *client, u8 type, u16 id,
			enum reason reason, u64 change, u16 inbound)
{
	if (change <= store_committed() && STAILQ_EMPTY(&client->held))
		send_ack(client, type, id, reason);
	else
		acknowledge_late(client, type, id, reason, change, inbound);
}

void commit_acknowledge(struct client *client, u8 type, u16 id,
			enum reason reason, u64 change)
{
	acknowledge(client, type, id, reason, change, 0);
}

void commit_received(struct client *client, u16 id, enum reason reason,
		     u64 mark)
{
	acknowledge(client, KMQTT_PUBREC, id, reason, mark, id);
}

/* What has been handled asks for no answer, but is not on disk. */
void commit_silently(struct client *client, u64 change)
{
	if (!client_is_leaving(client) && change > store_committed())
		acknowledge_late(client, 0, 0, REASON_SUCCESS, change, 0);
}

void commit_unsettled(struct client *client)
{
	if (!client_is_leaving(client))
		acknowledge_late(client, 0, 0, REASON_SUCCESS, STORE_NEVER, 0);
}

static void release_held(struct client *client)
{
	u64 committed = store_committed();
	struct late_ack *ack;

	while ((ack = STAILQ_FIRST(&client->held)) &&
	       ack->change <= committed) {
		STAILQ_REMOVE_HEAD(&client->held, link);
		if (ack->type)
			send_ack(client, ack->type, ack->id, ack->reason);
		free(ack);
	}
	if (STAILQ_EMPTY(&client->held))
		client->held_weight = 0;
}

void commit_settled(struct client *client, u64 change)
{
	struct late_ack *ack;

	STAILQ_FOREACH(ack, &client->held, link)
		if (ack->change == STORE_NEVER)
			ack->change = change;
	release_held(client);
}

void commit_await(struct client *client, u64 change,
		  void (*then)(struct client *client))
{
	if (change <= store_committed()) {
		then(client);
		return;
	}
	client->awaited = change;
	client->then = then;
	wait_for_commit(client);
}

/* A QoS 2 message is half received once it is where it is to be. */
void commit_journal(const struct client *client)
{
	const struct late_ack *ack;

	STAILQ_FOREACH(ack, &client->held, link)
		if (ack->inbound && ack->change > store_committed())
			journal_append(JOURNAL_INBOUND, client->session->sid,
				       ack->inbound, ack->change, 0);
}

static void commit_client(struct client *client)
{
	if (client_is_leaving(client))
		return;
	release_held(client);
	if (client->awaited && client->awaited <= store_committed()) {
		client->awaited = 0;
		client->then(client);
	}
	if (client_is_leaving(client))
		return;
	if (client->awaited || !STAILQ_EMPTY(&client->held))
		wait_for_commit(client);
	client_pump(client);
}

void commit_done(void)
{
	struct clients waited = TAILQ_HEAD_INITIALIZER(waited);
	struct client *client;

	TAILQ_CONCAT(&waited, &committing, commit);
	while ((client = TAILQ_FIRST(&waited))) {
		TAILQ_REMOVE(&waited, client, commit);
		client->committing = false;
		commit_client(client);
	}
	outbound_committed();
	sink_committed();
	client_sink_read();
}
