// SPDX-License-Identifier: GPL-2.0
/*
 * Retained messages and live ones in the right order. The module holds live
 * messages of a new subscription back (KMQTT_A_SUB_HOLD). The daemon reads the
 * sink as far as it had got when the subscription became visible: then it knows
 * all that was retained before. What it queues for the client now is a
 * snapshot; the module leaves out what that stands for, and lets the rest go
 * when the snapshot has been sent.
 */
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "session.h"
#include "sink.h"

static TAILQ_HEAD(, hold) waiting = TAILQ_HEAD_INITIALIZER(waiting);

int hold_begin(struct client *client, u64 sink_seq)
{
	struct hold *hold = client->hold;

	if (!hold) {
		hold = calloc(1, sizeof(*hold));
		if (!hold)
			return -ENOMEM;
		hold->client = client;
		client->hold = hold;
	}
	if (!hold->up)
		hold->from = client->handled;
	hold->up = true;
	hold->sink_seq = sink_seq;
	return 0;
}

bool hold_sink_is_read(const struct client *client)
{
	return !client->hold || client->hold->sink_seq <= sink_seq();
}

void hold_await_sink(struct client *client,
		     void (*then)(struct client *client))
{
	if (hold_sink_is_read(client) || sink_stalled()) {
		then(client);
		return;
	}
	client->then = then;
	client->hold->waiting = true;
	TAILQ_INSERT_TAIL(&waiting, client->hold, link);
}

void client_sink_read(void)
{
	struct hold *hold, *next;

	for (hold = TAILQ_FIRST(&waiting); hold; hold = next) {
		struct client *client = hold->client;

		next = TAILQ_NEXT(hold, link);
		if (!hold_sink_is_read(client) && !sink_stalled())
			continue;
		hold_forget(client);
		if (!client_is_leaving(client))
			client->then(client);
	}
}

static void build_trim(struct kmod_request *request, struct nlmsghdr *message,
		       size_t room)
{
	const struct hold *hold = container_of(request, struct hold, trim);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, hold->client->conn_id);
	mnl_attr_put_u64(message, KMQTT_A_CONN_HOLD_SEQ, hold->sink_seq);
	mnl_attr_put(message, KMQTT_A_CONN_TRIM, 0, NULL);
}

static void build_release(struct kmod_request *request,
			  struct nlmsghdr *message, size_t room)
{
	const struct hold *hold = container_of(request, struct hold, release);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, hold->client->conn_id);
	mnl_attr_put(message, KMQTT_A_CONN_RELEASE, 0, NULL);
}

/* Unless another SUBSCRIBE has it held again, that is all there is to it. */
static void release_done(struct kmod_request *request,
			 const struct kmod_reply *reply)
{
	struct hold *hold = container_of(request, struct hold, release);
	struct client *client = hold->client;

	(void)reply;	/* the connection has ended, or the module lets go */
	hold->releasing = false;
	if (!hold->up && !hold_delays(client))
		hold_free(client);
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
	struct hold *hold = client->hold;

	if (client->state != CLIENT_ACTIVE || !hold_is_up(client) ||
	    hold->trimming || hold->releasing || client->subscribing ||
	    client->sending || client->session->outbound.exempt ||
	    outbound_passes(&client->session->outbound) ||
	    buffer_used(&client->out))
		return;
	hold->up = false;
	hold->releasing = true;
	client->ops++;
	kmod_submit(&hold->release, &release);
}

static void trim_done(struct kmod_request *request,
		      const struct kmod_reply *reply)
{
	struct hold *hold = container_of(request, struct hold, trim);
	struct client *client = hold->client;

	(void)reply;
	hold->trimming = false;
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
	struct hold *hold = container_of(mark, struct hold, snapshot);

	kmod_submit(&hold->trim, &trim);
}

void hold_snapshot(struct client *client)
{
	struct hold *hold = client->hold;

	hold->sink_seq = sink_seq();
	hold->trimming = true;
	client->ops++;
	hold->snapshot.reached = reached;
	inject_mark(&hold->snapshot);
}

void hold_forget(struct client *client)
{
	struct hold *hold = client->hold;

	if (!hold || !hold->waiting)
		return;
	TAILQ_REMOVE(&waiting, hold, link);
	hold->waiting = false;
}

void hold_free(struct client *client)
{
	free(client->hold);
	client->hold = NULL;
}
