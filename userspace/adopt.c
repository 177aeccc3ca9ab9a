// SPDX-License-Identifier: GPL-2.0
#include "adopt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "acl.h"
#include "client.h"
#include "former.h"
#include "journal.h"
#include "log.h"
#include "session.h"
#include "sink.h"

static u32 adopted;
static u32 under_way;

u32 adopt_count(void)
{
	return adopted;
}

bool adopt_under_way(void)
{
	return under_way;
}

/* Where the daemon before was. */
static void go_on(struct client *client)
{
	if (client->dismissed) {
		/* Nothing follows DISCONNECT [MQTT-3.14.4-1]. */
		client_part(client, NULL);
		if (buffer_used(&client->sent))
			client_send_rest(client);
		else
			client_end(client, NULL);
	} else if (!client->session) {
		client->state = CLIENT_CONNECTING;
		client_pump(client);
	} else if (client->kernel_state == KMQTT_CONN_WAITING) {
		client->state = CLIENT_GREETING;
		if (buffer_used(&client->sent))
			client_send_rest(client);
		else
			connect_activate(client);
	} else {
		client->state = CLIENT_ACTIVE;
		client_greeted(client);
		if (buffer_used(&client->sent))
			client_send_rest(client);
		outbound_adopt(client->session, client->now.seq);
		outbound_resume(client->session);
		hold_sent(client);
		client_pump(client);
	}
}

static void settle_done(struct client *client);

static void build_done(struct kmod_request *request, struct nlmsghdr *message,
		       size_t room)
{
	const struct client *client = client_of_request(request);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, client->conn_id);
	mnl_attr_put_u64(message, KMQTT_A_CONN_DONE, client->told);
}

static void done_done(struct kmod_request *request,
		      const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);

	if (!client_answered(client)) {
		under_way--;
		return;
	}
	/* Until it has heard of it, the kernel has nothing to be read. */
	if (reply->err == -ENOBUFS || reply->err == -ENOMEM) {
		settle_done(client);
		return;
	}
	under_way--;
	if (reply->err) {
		client_end(client, NULL);
		return;
	}
	/* It has all its subscriptions, but they are marked differently now. */
	if (client->session && !client->dismissed &&
	    client->kernel_state != KMQTT_CONN_WAITING &&
	    sink_was_upgraded() != client_config->upgrade_qos)
		subscribe_restore(client, go_on);
	else
		go_on(client);
}

/* What has been handled is not to be read again, and what has not been is. */
static void settle_done(struct client *client)
{
	static const struct kmod_command done = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_done,
		.done = done_done,
	};

	client->arriving = true;
	client_request(client, &done);
}

static void build_rules(struct kmod_request *request, struct nlmsghdr *message,
			size_t room)
{
	const struct client *client = client_of_request(request);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, client->conn_id);
	acl_put_anew(message, client->session);
}

static void set_rules(struct client *client);

static void rules_done(struct kmod_request *request,
		       const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);

	if (!client_answered(client)) {
		under_way--;
		return;
	}
	if (reply->err == -ENOBUFS || reply->err == -ENOMEM) {
		set_rules(client);
		return;
	}
	/* Of one that has ended there is still something to be read, at the most. */
	if (!reply->err || reply->err == -ENOTCONN) {
		settle_done(client);
		return;
	}
	under_way--;
	client_end(client, NULL);
}

/* Not those of the daemon before. */
static void set_rules(struct client *client)
{
	static const struct kmod_command rules = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_rules,
		.done = rules_done,
	};

	client_request(client, &rules);
}

/*
 * It is who the daemon before has found it to be, if that may still be here; a
 * password that has been changed meanwhile is not asked for again.
 */
static bool identify(struct client *client)
{
	struct users *users = client->listener->config->access.users;
	struct user *user = NULL;

	if (!client->session)
		return true;
	if (users && client->username)
		user = users_find(users, client->username,
				  client->username_len);
	if (user)
		client->user = user_get(user);
	return connect_permits(client) &&
	       !acl_subject_set(client->session, client->listener->number,
				client->username, client->username_len);
}

static void conn_adopt_done(struct kmod_request *request,
			    const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);

	if (!reply->err) {
		client->fd = kmod_u32(reply, KMQTT_A_CONN_FD);
		client->listener = listener_of(client->fd);
		if (client->listener)
			client->listener->clients++;
	}
	under_way--;
	if (!client_answered(client))
		return;
	if (reply->err) {
		log_print(LOG_TYPE_ERROR,
			  "Error: The kernel module did not give connection %u back: %s %s",
			  client->conn_id, strerror(-reply->err), reply->text);
		client_end(client, "administrative action");
		return;
	}
	if (!client->listener || !identify(client)) {
		client_end(client, "not authorised");
		return;
	}
	adopted++;
	if (client->told < client->handled)
		client->told = client->handled;
	client->judged = client->session;
	under_way++;
	if (client->session)
		set_rules(client);
	else
		settle_done(client);
}

static void build_adopt(struct kmod_request *request, struct nlmsghdr *message,
			size_t room)
{
	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID,
			 client_of_request(request)->conn_id);
}

static bool rest_follows(const struct former *former)
{
	return buffer_used(&former->rest.bytes);
}

/*
 * Whether the client's stream goes on where the kernel has it, @done bytes on. It
 * may not have been told of all that is here: that is read again.
 */
static bool trim_head(struct former *former, const struct progress *progress,
		      u64 done)
{
	return half_cut(&former->head, progress->done, done) ||
	       progress->done >= done;
}

/* What the journal says of it becomes the client's. */
static void inherit(struct client *client, struct former *former,
		    const struct progress *progress)
{
	client->before = rest_follows(former) ? former->before : *progress;
	client->now = *progress;
	client->sent = former->rest.bytes;
	client->resumes = rest_follows(former);
	half_inherit(client, &former->head);
	client->in = former->head.bytes;
	former->rest.bytes = (struct buffer){ 0 };
	former->head.bytes = (struct buffer){ 0 };
	client->handled = progress->done;
	client->published = progress->seq;
	client->level = former->level;
	client->keepalive = former->keepalive;
	client->clean = former->clean;
	client->will_retain = former->will_retain;
	client->will_delay = former->will_delay;
	client->receive_max = former->receive_max;
	client->max_send = former->max_send;
	client->allowed = former->allowed;
	client->explain = former->explain;
	client->enhanced = former->enhanced;
	client->session_expiry = former->session->expiry;
	client->will = former->will;
	client->session = former->session;
	former->will = NULL;
	session_adopt(client->session, client);
	former_free(former);
}

/* CONNACK has not left: as if CONNECT had not been handled. */
static void start_again(struct former *former)
{
	if (former->session)
		session_abandon(former->session);
	journal_append(JOURNAL_CONN_DEL, former->cookie, 0, 0, 0);
	former_free(former);
}

static void set_peer(struct client *client, const struct nlattr *remote)
{
	size_t len = remote ? mnl_attr_get_payload_len(remote) : 0;

	if (len && len <= sizeof(client->peer))
		memcpy(&client->peer, mnl_attr_get_payload(remote), len);
}

static bool set_username(struct client *client, const struct nlattr *name)
{
	if (!name)
		return true;
	client->username_len = mnl_attr_get_payload_len(name);
	client->username = malloc(client->username_len);
	if (client->username)
		memcpy(client->username, mnl_attr_get_payload(name),
		       client->username_len);
	return client->username;
}

bool adopt(const struct kmod_reply *record)
{
	static const struct kmod_command conn_adopt = {
		.cmd = KMQTT_CMD_CONN_ADOPT,
		.build = build_adopt,
		.done = conn_adopt_done,
	};
	u64 accepted = kmod_u64(record, KMQTT_A_CONN_ACCEPTED);
	u64 cookie = kmod_u64(record, KMQTT_A_CONN_COOKIE);
	struct former *former = former_find(cookie);
	u64 done = kmod_u64(record, KMQTT_A_CONN_DONE);
	struct progress progress = { 0 };
	struct client *client;

	if (former && !accepted) {
		start_again(former);
		former = NULL;
	}
	/*
	 * A send that was not accepted is as if it had never begun; unless there
	 * is the rest of it.
	 */
	if (former) {
		half_cut(&former->rest, accepted, former->now.sent);
		progress = accepted >= former->now.sent ||
			   rest_follows(former) ? former->now : former->before;
	}
	if (kmod_u8(record, KMQTT_A_CONN_PARTIAL) &&
	    !(former && rest_follows(former)))
		return false;
	/* It has sent what nobody knows of: none of it may come again there. */
	if (former && accepted > former->now.sent)
		return false;
	/* Nor does anybody know what it was to be sent next. */
	if (accepted < progress.sent && !rest_follows(former))
		return false;
	if ((accepted && (!former || !former->session)) ||
	    (former ? !trim_head(former, &progress, done) : done))
		return false;

	client = client_new(cookie);
	if (!client)
		return false;
	if (!set_username(client, record->attr[KMQTT_A_CONN_USER_NAME]) ||
	    (kmod_u8(record, KMQTT_A_CONN_HELD) && hold_begin(client, 0))) {
		free(client->username);
		free(client);
		return false;
	}
	if (former)
		inherit(client, former, &progress);
	client->told = done;
	client->kernel_state = kmod_u8(record, KMQTT_A_CONN_STATE);
	client->dismissed = record->attr[KMQTT_A_CONN_LAST];
	if (client->hold)
		client->hold->from = client->handled;
	set_peer(client, record->attr[KMQTT_A_CONN_REMOTE]);
	client_list(client);
	client_attach(client, kmod_u32(record, KMQTT_A_CONN_ID));
	client_request(client, &conn_adopt);
	under_way++;
	return true;
}
