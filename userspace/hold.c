// SPDX-License-Identifier: GPL-2.0
/*
 * Retained messages and live ones in the right order. The module holds live
 * messages of a new subscription back (KMQTT_A_SUB_HOLD). The daemon reads the
 * sink as far as it had got when the subscription became visible: then it knows
 * all that was retained before. What it queues for the client now is a
 * snapshot; the module leaves out what that stands for, and lets the rest go
 * when the snapshot has been sent.
 */
#include <string.h>

#include "client.h"
#include "session.h"
#include "sink.h"

static TAILQ_HEAD(, client) waiting = TAILQ_HEAD_INITIALIZER(waiting);

void hold_await_sink(struct client *client,
		     void (*then)(struct client *client))
{
	if (client->sink_seq <= sink_seq() || sink_stalled()) {
		then(client);
		return;
	}
	client->then = then;
	client->in_sink_wait = true;
	TAILQ_INSERT_TAIL(&waiting, client, sink_wait);
}

void client_sink_read(void)
{
	struct client *client, *next;

	for (client = TAILQ_FIRST(&waiting); client; client = next) {
		next = TAILQ_NEXT(client, sink_wait);
		if (client->sink_seq > sink_seq() && !sink_stalled())
			continue;
		TAILQ_REMOVE(&waiting, client, sink_wait);
		client->in_sink_wait = false;
		if (!client_is_leaving(client))
			client->then(client);
	}
}

static void build_trim(struct kmod_request *request, struct nlmsghdr *message,
		       size_t room)
{
	const struct client *client =
		container_of(request, struct client, trim);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, client->conn_id);
	mnl_attr_put_u64(message, KMQTT_A_CONN_HOLD_SEQ, client->sink_seq);
	mnl_attr_put(message, KMQTT_A_CONN_TRIM, 0, NULL);
}

static void build_release(struct kmod_request *request,
			  struct nlmsghdr *message, size_t room)
{
	const struct client *client =
		container_of(request, struct client, release);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, client->conn_id);
	mnl_attr_put(message, KMQTT_A_CONN_RELEASE, 0, NULL);
}

static void release_done(struct kmod_request *request,
			 const struct kmod_reply *reply)
{
	struct client *client = container_of(request, struct client, release);

	(void)reply;	/* the connection has ended, or the module lets go */
	client->releasing = false;
	client_operation_done(client);
}

/*
 * Not while there is another SUBSCRIBE, which holds again: what it needs would
 * be let go.
 */
void hold_sent(struct client *client)
{
	static const struct kmod_command release = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_release,
		.done = release_done,
	};

	if (client->state != CLIENT_ACTIVE || !client->held_up ||
	    client->trimming || client->releasing ||
	    client->subscribing || client->sending ||
	    client->session->outbound.exempt || buffer_used(&client->out))
		return;
	client->held_up = false;
	client->releasing = true;
	client->ops++;
	kmod_submit(&client->release, &release);
}

static void trim_done(struct kmod_request *request,
		      const struct kmod_reply *reply)
{
	struct client *client = container_of(request, struct client, trim);

	(void)reply;
	client->trimming = false;
	if (!client_is_leaving(client)) {
		if (client->subscribing)
			subscribe_go_on(client);
		hold_sent(client);
		client_pump(client);
	}
	client_operation_done(client);
}

/* Injected messages that the snapshot has are on their way, others are not. */
static void reached(struct inject_mark *mark)
{
	static const struct kmod_command trim = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_trim,
		.done = trim_done,
	};
	struct client *client = container_of(mark, struct client, snapshot);

	kmod_submit(&client->trim, &trim);
}

void hold_snapshot(struct client *client)
{
	client->sink_seq = sink_seq();
	client->trimming = true;
	client->ops++;
	client->snapshot.reached = reached;
	inject_mark(&client->snapshot);
}

void hold_forget(struct client *client)
{
	if (client->in_sink_wait)
		TAILQ_REMOVE(&waiting, client, sink_wait);
	client->in_sink_wait = false;
}
