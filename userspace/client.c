// SPDX-License-Identifier: GPL-2.0
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "adopt.h"
#include "auth.h"
#include "inject.h"
#include "journal.h"
#include "login.h"
#include "memory.h"
#include "packet.h"
#include "session.h"
#include "sink.h"
#include "store.h"
#include "trunk.h"

/* Bytes to be sent, beyond which no more requests of the client are handled. */
#define OUT_MAX		65536
/* Milliseconds between two lines about dropped messages of one client. */
#define DROPPED_EVERY	10000
/*
 * Milliseconds that a client has to take its last packet, and to come to its end
 * when its successor is there.
 */
#define PARTING_TIME	2000
/* Milliseconds between two lines about connections that are not let in. */
#define DENIED_EVERY	1000
/* Bytes done that the kernel is told of at once, and those that are the beginning
 * of one packet: parts of what it keeps, 65536.
 */
#define TELL_MOST	16384
#define TELL_HALF	32768

const struct config *client_config;

static struct clients clients = TAILQ_HEAD_INITIALIZER(clients);
static struct clients greetings = TAILQ_HEAD_INITIALIZER(greetings);
static struct clients parting = TAILQ_HEAD_INITIALIZER(parting);
static struct clients unsent = TAILQ_HEAD_INITIALIZER(unsent);
static struct clients paused = TAILQ_HEAD_INITIALIZER(paused);
static struct table by_conn_id;
/* Those whose number the kernel has not said yet. */
static struct table by_cookie;
static u32 count;
static u64 next_cookie;
static bool adopting;
static bool quiescing;

static void flush(struct client *client);
static void silence(struct client *client);
static bool bequeathing;

u32 client_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void client_configure(const struct config *config)
{
	client_config = config;
}

u32 client_count(void)
{
	return count;
}

static struct client *find(u32 conn_id)
{
	u32 hash = table_hash_u32(conn_id);
	struct table_node *node;
	struct client *client;

	for (node = table_chain(&by_conn_id, hash); node; node = node->next) {
		client = container_of(node, struct client, node);
		if (client->conn_id == conn_id)
			return client;
	}
	return NULL;
}

static struct client *find_cookie(u64 cookie)
{
	u32 hash = table_hash_u32(cookie);
	struct table_node *node;
	struct client *client;

	for (node = table_chain(&by_cookie, hash); node; node = node->next) {
		client = container_of(node, struct client, node);
		if (client->cookie == cookie)
			return client;
	}
	return NULL;
}

static const char *peer_host(const struct client *client,
			     char text[INET6_ADDRSTRLEN])
{
	const void *address = client->peer.any.sa_family == AF_INET6 ?
			      (const void *)&client->peer.ipv6.sin6_addr :
			      (const void *)&client->peer.ipv4.sin_addr;

	if (!inet_ntop(client->peer.any.sa_family, address, text,
		       INET6_ADDRSTRLEN))
		strcpy(text, "?");
	return text;
}

const char *client_address(const struct client *client,
			   char text[CLIENT_ADDRESS_SIZE])
{
	size_t len = strlen(peer_host(client, text));

	/* Both families have the port in the same place. */
	sprintf(text + len, ":%u", ntohs(client->peer.ipv4.sin_port));
	return text;
}

const char *client_name(const struct client *client,
			char name[CLIENT_NAME_SIZE])
{
	if (!client->session)
		return strcpy(name, "<unknown>");
	return log_escape(name, client->session->id, client->session->id_len);
}

/* The end */

static const char *end_text(enum kmqtt_end end)
{
	switch (end) {
	case KMQTT_END_CLOSED:
		return "connection closed by client";
	case KMQTT_END_KEEPALIVE:
		return "exceeded timeout";
	case KMQTT_END_PACKET_TIMEOUT:
		return "exceeded timeout in the middle of a packet";
	case KMQTT_END_MALFORMED:
		return "malformed packet";
	case KMQTT_END_PROTOCOL:
		return "protocol error";
	case KMQTT_END_TOO_LARGE:
		return "oversize packet";
	case KMQTT_END_TOPIC:
		return "topic name invalid";
	case KMQTT_END_URGENT:
		return "protocol error (TCP urgent data)";
	case KMQTT_END_TOPIC_ALIAS:
		return "topic alias invalid";
	case KMQTT_END_PAYLOAD_FORMAT:
		return "payload format invalid";
	case KMQTT_END_FLUSHED:
		return "administrative action";
	default:
		return "connection lost";
	}
}

static void log_end(const struct client *client)
{
	char name[CLIENT_NAME_SIZE], address[CLIENT_ADDRESS_SIZE];

	if (!client_config->connection_messages)
		return;
	client_name(client, name);
	if (client->reason[0])
		log_print(LOG_TYPE_NOTICE, "Client %s [%s] disconnected: %s.",
			  name, client_address(client, address),
			  client->reason);
	else
		log_print(LOG_TYPE_NOTICE, "Client %s disconnected.", name);
}

/* What waits for the client to go on, goes no more. */
static void forget_waits(struct client *client)
{
	commit_forget(client);
	if (client->has_unsent)
		TAILQ_REMOVE(&unsent, client, unsent);
	if (client->is_paused)
		TAILQ_REMOVE(&paused, client, paused);
	hold_forget(client);
	subscribe_forget(client);
	client->has_unsent = false;
	client->is_paused = false;
}

static void client_free(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	if (client->will)
		message_put(client->will);
	subscribe_free(client);
	hold_free(client);
	free(client->username);
	user_put(client->user);
	half_free(client);
	buffer_free(&client->in);
	buffer_free(&client->out);
	buffer_free(&client->sent);
	if (client->listener)
		client->listener->clients--;
	TAILQ_REMOVE(&clients, client, link);
	count--;
	free(client);
}

/* Whether there is a will that may be published: as if its client did it now. */
static bool has_will(const struct client *client)
{
	return client->will &&
	       session_may(client->session, client->will->data,
			   client->will->topic_len, KMQTT_ACCESS_WRITE);
}

/*
 * [MQTT-3.1.2-8]: unless the client said DISCONNECT. It must have been accepted
 * to leave one. Returns whether it is left to a session in the database.
 */
static bool publish_the_will(struct client *client, bool accepted)
{
	bool left = false;

	if (accepted && has_will(client))
		left = session_leave_will(client->session, client->will,
					  client->will_retain,
					  client->will_delay, false);
	else if (client->will)
		message_put(client->will);
	client->will = NULL;
	return left && session_on_disk(client->session);
}

static void release_session(struct client *client)
{
	struct session *session = client->session;
	bool left;

	if (!session)
		return;
	left = publish_the_will(client, session->client == client);
	if (session->client == client) {
		outbound_lost(session, client->published);
		former_write_end(client->cookie, left);
	}
	session_release(session, client);
	client->session = NULL;
}

/*
 * Frees an ending client once nothing is left of it, and lets its successor go
 * on, who may be ending itself by now and have another successor. One that ends
 * before its predecessor does keeps its claim on the session until then: else
 * who comes next would think that nobody has it.
 */
static void settle(struct client *client)
{
	struct client *successor;

	while (client && client->deleted && !client->has_predecessor) {
		release_session(client);
		successor = client->successor;
		client->successor = NULL;
		if (!client->ops)
			client_free(client);
		if (!successor)
			return;
		successor->has_predecessor = false;
		if (successor->state == CLIENT_TAKEOVER) {
			connect_greet(successor);
			return;
		}
		client = successor;
	}
}

void client_operation_done(struct client *client)
{
	client->ops--;
	if (client->state == CLIENT_ENDING)
		settle(client);
}

static void deleted(struct client *client)
{
	log_end(client);
	client->deleted = true;
	forget_waits(client);
	if (client->sending) {
		client->ops++;
		ring_cancel(&client->cancel, &client->send);
	}
	settle(client);
}

static void delete(struct client *client);

static void build_conn_del(struct kmod_request *request,
			   struct nlmsghdr *message, size_t room)
{
	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID,
			 client_of_request(request)->conn_id);
}

static void conn_del_done(struct kmod_request *request,
			  const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);
	u8 end = kmod_u8(reply, KMQTT_A_CONN_END);

	client->requesting = false;
	/* -ENOENT now, if it had worked; without memory, it had not. */
	if (reply->err == -ENOBUFS || reply->err == -ENOMEM) {
		delete(client);
		return;
	}
	if (reply->err == -ENOENT)
		end = KMQTT_END_FLUSHED;
	else if (reply->err)
		log_print(LOG_TYPE_ERROR,
			  "Error: The kernel module cannot end connection %u: %s %s",
			  client->conn_id, strerror(-reply->err), reply->text);

	/* The sink knows who has published what by its number alone. */
	if (client->session && client->session->subject.role)
		sink_drain();
	client->attached = false;
	table_del(&by_conn_id, &client->node);
	if (!client->reason)
		client->reason = end_text(end);
	deleted(client);
}

/* Has the kernel end the connection: close() alone would send no FIN. */
static void delete(struct client *client)
{
	static const struct kmod_command conn_del = {
		.cmd = KMQTT_CMD_CONN_DEL,
		.build = build_conn_del,
		.done = conn_del_done,
	};

	if (client->session && client->session->client == client)
		session_leaving(client->session);
	if (client->attached)
		client_request(client, &conn_del);
	else
		deleted(client);
}

void client_greeted(struct client *client)
{
	TAILQ_REMOVE(&greetings, client, greeting);
}

/* It is no longer among those whose time is limited. */
static void forget_limit(struct client *client)
{
	if (client->state == CLIENT_PARTING)
		TAILQ_REMOVE(&parting, client, greeting);
	else if (client->state != CLIENT_ACTIVE)
		client_greeted(client);
}

static void forget_login(struct client *client)
{
	if (client->login)
		login_forget(client->login);
	client->login = NULL;
	auth_free(client->auth);
	client->auth = NULL;
}

void client_end(struct client *client, const char *reason)
{
	if (client->state == CLIENT_ENDING)
		return;
	forget_limit(client);
	forget_login(client);
	client->state = CLIENT_ENDING;
	client->reason = reason;
	/* Else client_answered() goes on. */
	if (!client->requesting)
		delete(client);
}

void client_part(struct client *client, const char *reason)
{
	if (client_is_leaving(client))
		return;
	forget_limit(client);
	forget_login(client);
	client->state = CLIENT_PARTING;
	client->reason = reason;
	client->since = client_clock();
	TAILQ_INSERT_TAIL(&parting, client, greeting);
}

/*
 * Whether a DISCONNECT may be sent: in MQTT 5 alone may a server, and only after
 * CONNACK [MQTT-3.14.0-1].
 */
static bool may_dismiss(const struct client *client)
{
	return client->level == PACKET_LEVEL_5 && client->attached &&
	       !client->broken &&
	       ((client->state == CLIENT_GREETING && !client->awaited) ||
		client->state == CLIENT_ACTIVATING ||
		client->state == CLIENT_ACTIVE);
}

/* Both are in the DISCONNECT, and in the log. */
static void dismiss(struct client *client, enum reason reason,
		    const char *text)
{
	const char *reference = connect_reference(reason);
	char name[CLIENT_NAME_SIZE];
	size_t size;
	u8 *to;

	size = packet_build_disconnect(NULL, client->max_send, reason, text,
				       reference);
	to = size ? client_reserve(client, size) : NULL;
	if (!to) {
		client_end(client, text);
		return;
	}
	packet_build_disconnect(to, client->max_send, reason, text, reference);
	log_print(LOG_TYPE_DEBUG, "Sending DISCONNECT to %s (%u)",
		  client_name(client, name), reason);
	silence(client);
	client_part(client, text);
}

void client_fail(struct client *client, enum reason reason, const char *text)
{
	if (!text)
		text = reason_text(reason);
	if (client_is_leaving(client))
		return;
	if (may_dismiss(client))
		dismiss(client, reason, text);
	else
		client_end(client, text);
}

void client_fail_all(enum reason reason)
{
	struct client *client, *next;

	for (client = TAILQ_FIRST(&clients); client; client = next) {
		next = TAILQ_NEXT(client, link);
		client_fail(client, reason, NULL);
	}
}

/* Who has not been let in yet will be asked by the new settings. */
void client_review(void)
{
	struct client *client, *next;
	enum reason reason;

	for (client = TAILQ_FIRST(&clients); client; client = next) {
		next = TAILQ_NEXT(client, link);
		reason = client->session && !client_is_leaving(client) ?
			 connect_review(client) : REASON_SUCCESS;
		if (reason)
			client_fail(client, reason, NULL);
	}
}

/* Requests */

void client_request(struct client *client, const struct kmod_command *command)
{
	client->requesting = true;
	kmod_submit(&client->request, command);
}

bool client_answered(struct client *client)
{
	client->requesting = false;
	if (client->state == CLIENT_ENDING)
		delete(client);
	return !client_is_leaving(client);
}

/* What was sent to it has to be read from the store. */
static bool is_recalling(const struct client *client)
{
	return client->session && client->session->outbound.recalling;
}

/* CONNECT may be for a session that is not where it belongs yet. */
static bool waits_for_adoption(const struct client *client)
{
	return adopting && client->state == CLIENT_CONNECTING;
}

/*
 * Retained messages of a SUBSCRIBE are still to be found, or to be sent at QoS 0:
 * until they have left, the SUBSCRIBE is not done, nor may be what is behind it.
 */
static bool sends_retained(const struct client *client)
{
	return subscribe_is_walking(client) ||
	       (hold_is_up(client) && !client->broken &&
		outbound_passes(&client->session->outbound));
}

/* The kernel has forgotten the beginning of a packet that is not here wholly. */
static bool has_head(const struct client *client)
{
	return client->told > client->handled;
}

/*
 * A client that does not take its answers has no more requests handled; unless
 * they are the last, a DISCONNECT for one.
 */
static bool may_answer(const struct client *client)
{
	return client->eof || client->kernel_ended ||
	       buffer_used(&client->out) < OUT_MAX;
}

/*
 * Until an answer is there, or the last ones have left, or what they are about
 * is on disk, the next packet waits.
 */
static bool may_handle(const struct client *client)
{
	return (client->state == CLIENT_CONNECTING ||
		client->state == CLIENT_EXCHANGING ||
		client->state == CLIENT_ACTIVE) &&
	       (!quiescing || has_head(client)) &&
	       !client->requesting && !client->awaited &&
	       !waits_for_adoption(client) &&
	       !hold_delays(client) && !sends_retained(client) &&
	       !is_recalling(client) && !client->is_paused &&
	       commit_has_room(client) && may_answer(client);
}

/* What the kernel need not keep (KMQTT_A_CONN_DONE) */

/*
 * A request about a connection whose answer is not awaited, by then the client
 * may be gone.
 */
struct errand {
	struct kmod_request request;
	u32 conn_id;
	u32 event_seq;
	u64 done;
	bool last;
};

static void build_errand(struct kmod_request *request, struct nlmsghdr *message,
			 size_t room)
{
	const struct errand *errand =
		container_of(request, struct errand, request);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, errand->conn_id);
	if (errand->event_seq)
		mnl_attr_put_u32(message, KMQTT_A_CONN_EVENT_SEQ,
				 errand->event_seq);
	if (errand->done)
		mnl_attr_put_u64(message, KMQTT_A_CONN_DONE, errand->done);
	if (errand->last)
		mnl_attr_put(message, KMQTT_A_CONN_LAST, 0, NULL);
}

/* The kernel sends the client nothing any more, if it is there. */
static void silenced(u32 conn_id)
{
	struct client *client = find(conn_id);

	if (!client || !client->silencing)
		return;
	client->silencing = false;
	flush(client);
}

static void errand_done(struct kmod_request *request,
			const struct kmod_reply *reply)
{
	struct errand *errand = container_of(request, struct errand, request);

	(void)reply;
	if (errand->last)
		silenced(errand->conn_id);
	free(errand);
}

/* Without memory for it, false: there will be another occasion. */
static bool run_errand(u8 cmd, const struct errand *what)
{
	static const struct kmod_command conn_set = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_errand,
		.done = errand_done,
	};
	static const struct kmod_command conn_del = {
		.cmd = KMQTT_CMD_CONN_DEL,
		.build = build_errand,
		.done = errand_done,
	};
	struct errand *errand = malloc(sizeof(*errand));

	if (!errand)
		return false;
	*errand = *what;
	kmod_submit(&errand->request,
		    cmd == KMQTT_CMD_CONN_SET ? &conn_set : &conn_del);
	return true;
}

/* What is sent next is the last [MQTT-3.14.4-1]. */
static void silence(struct client *client)
{
	const struct errand last = {
		.conn_id = client->conn_id,
		.last = true,
	};

	client->silencing = run_errand(KMQTT_CMD_CONN_SET, &last);
}

/* Bytes whose effects are safe, and whose answers are in @client->out. */
static u64 answered(const struct client *client)
{
	u64 done = commit_handled(client);

	/* Those above QoS 0 are in the store, and do not get away. */
	if (hold_is_up(client) && done > client->hold->from &&
	    sends_retained(client))
		done = client->hold->from;
	return done > client->now.done ? done : client->now.done;
}

static void note_progress(struct client *client, size_t len)
{
	client->now = (struct progress){
		client->now.sent + len, answered(client), client->published
	};
	journal_append(JOURNAL_CONN_SENT, client->cookie, client->now.sent,
		       client->now.done, client->now.seq);
}

static void tell_done(struct client *client, u64 done)
{
	const struct errand errand = {
		.conn_id = client->conn_id,
		.done = done,
	};

	if (run_errand(KMQTT_CMD_CONN_SET, &errand))
		client->told = done;
}

/* Tells the kernel what is done, if it is @least bytes. */
static void tell(struct client *client, size_t least)
{
	if (client->state != CLIENT_ACTIVE &&
	    client->state != CLIENT_CONNECTING)
		return;
	half_answered(client);
	if (!client->sending && !buffer_used(&client->out) &&
	    answered(client) != client->now.done)
		note_progress(client, 0);
	if (!client->sending && client->now.done >= client->told + least)
		tell_done(client, client->now.done);
}

/*
 * Of a packet that the kernel has no room for beside what it keeps, it need not
 * keep the beginning. To be called when that is the first one which is here. It
 * ends if there is no memory for it.
 */
static void tell_half(struct client *client)
{
	size_t in = buffer_used(&client->in);

	if (in < TELL_HALF || !may_handle(client) ||
	    client->handled + in < client->told + TELL_HALF)
		return;
	half_count(client);
	if (half_is_too_much(client)) {
		client_fail(client, REASON_QUOTA, NULL);
	} else if (!half_waits(client)) {
		half_keep(client);
		tell_done(client, client->handled + in);
	}
}

/* Sending */

void client_ring_send(struct client *client)
{
	ring_send(&client->send, client->fd, buffer_head(&client->sent),
		  buffer_used(&client->sent));
}

static void flush(struct client *client)
{
	size_t len = buffer_used(&client->out);

	if (client->sending || client->silencing || !len)
		return;
	if (client->broken) {
		buffer_free(&client->out);
		return;
	}
	/*
	 * One send at a time, of whole packets: the kernel puts its own ones
	 * between two sends.
	 */
	client->sent = client->out;
	client->out = (struct buffer){ 0 };
	client->before = client->now;
	note_progress(client, len);
	client->sending = true;
	client->ops++;
	if (!trunk_add(client))
		client_ring_send(client);
}

void client_flush(void)
{
	struct client *client;

	while ((client = TAILQ_FIRST(&unsent))) {
		TAILQ_REMOVE(&unsent, client, unsent);
		client->has_unsent = false;
		flush(client);
	}
}

/* All that a turn of the ring has for a client leaves in one send. */
static void flush_later(struct client *client)
{
	if (client->has_unsent || client->sending)
		return;
	client->has_unsent = true;
	TAILQ_INSERT_TAIL(&unsent, client, unsent);
}

void client_send(struct client *client, const void *packet, size_t len)
{
	/* Nothing follows the last packet [MQTT-3.14.4-1]. */
	if (client_is_leaving(client))
		return;
	if (buffer_append(&client->out, packet, len))
		client_end(client, "out of memory");
	else
		flush_later(client);
}

u8 *client_reserve(struct client *client, size_t len)
{
	u8 *to;

	if (client_is_leaving(client))
		return NULL;
	to = buffer_reserve(&client->out, len);
	if (!to) {
		client_end(client, "out of memory");
		return NULL;
	}
	client->out.tail += len;
	flush_later(client);
	return to;
}

bool client_is_sending(const struct client *client)
{
	return !client->broken &&
	       (client->sending || buffer_used(&client->out));
}

bool client_writable(const struct client *client)
{
	return client->state == CLIENT_ACTIVE && !quiescing &&
	       !client->broken && buffer_used(&client->out) < OUT_MAX;
}

bool client_publish(struct client *client, const struct message *message,
		    const struct origin *origin, u8 flags, u16 id)
{
	const struct packet_out out = {
		.level = client->level,
		.flags = flags,
		.id = id,
		.topic_len = message->topic_len,
		.topic = message->data,
		.properties = {
			.data = message_properties(message),
			.len = message->properties_len,
			.expiry_at = message->expiry_at,
		},
		.expiry = message->expires ?
			  message_left(message, message_now()) : 0,
		.sub_id_count = origin_identifiers_len(origin) / sizeof(u32),
		.sub_ids = origin ? origin->identifiers : NULL,
		.payload_len = message->payload_len,
	};
	size_t size = packet_publish_size(&out);
	u8 *to;

	if (size > client->max_send)
		return false;
	to = client_reserve(client, size);
	if (to)
		memcpy(to + packet_build_publish_head(to, &out),
		       message_payload(message), message->payload_len);
	return true;
}

/*
 * What came before the end may be a DISCONNECT, once the module has read it, also
 * of a client that does not wait for CONNACK (section 3.1.4). It says when that is
 * all.
 */
static void break_off(struct client *client)
{
	flush(client);	/* it has nowhere to go */
	if (client->state == CLIENT_GREETING || client->state == CLIENT_ACTIVE)
		shutdown(client->fd, SHUT_RD);
	else
		client->eof = true;
	if (client->state == CLIENT_GREETING)
		connect_activate(client);
	else
		client_pump(client);
}

void client_sent(struct client *client, bool whole)
{
	client->sending = false;
	client->resumes = false;
	client->ops--;
	buffer_free(&client->sent);

	client->broken |= !whole;
	if (client->state == CLIENT_ENDING) {
		settle(client);
	} else if (client->state == CLIENT_PARTING) {
		if (client->broken || !buffer_used(&client->out))
			client_end(client, client->reason);
		else
			flush(client);
	} else if (client->broken) {
		break_off(client);
	} else if (client->state == CLIENT_GREETING) {
		connect_activate(client);
	} else if (client->state == CLIENT_EXCHANGING) {
		client_pump(client);
	} else {
		outbound_pump(client->session);
		tell(client, TELL_MOST);
		flush(client);
		hold_sent(client);
		client_pump(client);
	}
}

static void send_done(struct ring_op *op, const struct ring_result *result)
{
	struct client *client = container_of(op, struct client, send);
	int len = buffer_used(&client->sent);

	client_sent(client, result->res == len);
}

/* Handling of packets */

/* Messages wait for the module: so do the packets that may be more of them. */
static bool pause_if_busy(struct client *client)
{
	if (!inject_busy() || client->state != CLIENT_ACTIVE)
		return false;
	client->is_paused = true;
	TAILQ_INSERT_TAIL(&paused, client, paused);
	return true;
}

void client_resume_publishers(void)
{
	struct clients resumed = TAILQ_HEAD_INITIALIZER(resumed);
	struct client *client;

	TAILQ_CONCAT(&resumed, &paused, paused);
	while ((client = TAILQ_FIRST(&resumed))) {
		TAILQ_REMOVE(&resumed, client, paused);
		client->is_paused = false;
		client_pump(client);
	}
}

void client_consume(struct client *client, size_t len)
{
	buffer_consume(&client->in, len);
	client->handled += len;
	if (client->half)
		half_forget(client);
}

/* Receiving */

/* What is before the packets that are here has not come to its end. */
static bool busy(const struct client *client)
{
	if (waits_for_adoption(client))
		return true;
	/* Who is handed over may have said DISCONNECT: the next daemon reads it. */
	if (quiescing && !has_head(client))
		return true;
	return (client->state == CLIENT_ACTIVE ||
		client->state == CLIENT_ACTIVATING) &&
	       (client->requesting || hold_delays(client) ||
		is_recalling(client) || sends_retained(client) ||
		client->is_paused ||
		(store_healthy() && (client->awaited ||
				     !commit_has_room(client))));
}

void client_cede(struct client *client)
{
	if (client->state < CLIENT_GREETING)
		client_fail(client, REASON_TAKEN_OVER, NULL);
	else if (!client_is_leaving(client))
		shutdown(client->fd, SHUT_RD);
}

/*
 * Why the kernel ended it, or that it has a successor, which the client is to hear
 * before it is closed.
 */
static void fail_for_end(struct client *client, enum kmqtt_end end)
{
	enum reason reason = reason_of_end(end);

	if (client->successor)
		client_fail(client, REASON_TAKEN_OVER, NULL);
	else if (reason)
		client_fail(client, reason, end_text(end));
	else
		client_end(client, NULL);
}

static void conn_get_done(struct kmod_request *request,
			  const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);

	if (client_answered(client))
		fail_for_end(client, kmod_u8(reply, KMQTT_A_CONN_END));
}

void client_ended(struct client *client)
{
	static const struct kmod_command conn_get = {
		.cmd = KMQTT_CMD_CONN_GET,
		.build = build_conn_del,
		.done = conn_get_done,
	};

	/* Before it is active there is nothing that it could be told of, and CONNACK
	 * may be under way, which goes on with a request of its own.
	 */
	if (!client->successor && may_dismiss(client) &&
	    client->state != CLIENT_GREETING)
		client_request(client, &conn_get);
	else
		fail_for_end(client, KMQTT_END_NONE);
}

void client_pump(struct client *client)
{
	while (buffer_used(&client->in) && may_handle(client) &&
	       !pause_if_busy(client) && dispatch_next(client))
		;
	if (client_is_leaving(client))
		return;
	tell(client, TELL_MOST);
	tell_half(client);
	if (client_is_leaving(client))
		return;
	/* Then there may be more behind it, a DISCONNECT for one. */
	if (client->eof && !busy(client))
		client_ended(client);
}

void client_arrived(u32 conn_id, u64 cookie, const u8 *data, size_t len)
{
	struct client *client = find(conn_id);

	if (!client)
		client = find_cookie(cookie);
	if (!client || !client->arriving || client_is_leaving(client))
		return;
	if (!len) {
		client->eof = true;
	} else if (buffer_append(&client->in, data, len)) {
		client_end(client, "out of memory");
		return;
	}
	if (client->state != CLIENT_ATTACHING)
		client_pump(client);
}

static void cancel_done(struct ring_op *op, const struct ring_result *result)
{
	struct client *client = container_of(op, struct client, cancel);

	(void)result;
	client_operation_done(client);
}

/* The beginning */

static void build_conn_add(struct kmod_request *request,
			   struct nlmsghdr *message, size_t room)
{
	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_FD,
			 client_of_request(request)->fd);
	mnl_attr_put_u32(message, KMQTT_A_CONN_MAX_PACKET, connect_max());
	mnl_attr_put_u64(message, KMQTT_A_CONN_COOKIE,
			 client_of_request(request)->cookie);
}

/* A flood of connections must not be one of lines in the log. */
static bool may_complain(void)
{
	static u32 last;
	u32 now = client_clock();

	if (last && now - last < DENIED_EVERY)
		return false;
	last = now;
	return true;
}

void client_attach(struct client *client, u32 conn_id)
{
	client->conn_id = conn_id;
	client->attached = !table_add(&by_conn_id, &client->node,
				      table_hash_u32(conn_id));
}

static void conn_add_done(struct kmod_request *request,
			  const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);
	char address[CLIENT_ADDRESS_SIZE];

	table_del(&by_cookie, &client->node);
	if (!reply->err)
		client_attach(client, kmod_u32(reply, KMQTT_A_CONN_ID));
	if (!client_answered(client))
		return;
	if (!client->attached) {
		if (may_complain())
			log_print(LOG_TYPE_ERROR,
				  "Error: The kernel module did not take the connection from %s: %s %s",
				  client_address(client, address),
				  strerror(-reply->err), reply->text);
		client_end(client, "connection refused by the kernel module");
		return;
	}
	client->state = CLIENT_CONNECTING;
	client_pump(client);
}

static bool admitted(const struct client *client)
{
	const struct listener *listener = client->listener;
	u32 all = client_config->max_connections;
	u32 own = listener->config->max_connections;
	char host[INET6_ADDRSTRLEN];

	if ((!own || listener->clients < own) && (!all || count < all))
		return true;
	if (may_complain())
		log_print(LOG_TYPE_NOTICE,
			  "Client connection from %s denied: max_connections exceeded.",
			  peer_host(client, host));
	return false;
}

/* Unique among those of all daemons: they count from somewhere at random. */
static u64 new_cookie(void)
{
	if (!next_cookie &&
	    getrandom(&next_cookie, sizeof(next_cookie), 0) !=
	    sizeof(next_cookie))
		next_cookie = (u64)time(NULL) << 32;
	return ++next_cookie;
}

struct client *client_new(u64 cookie)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->cookie = cookie;
	client->fd = -1;
	client->send.done = send_done;
	client->cancel.done = cancel_done;
	client->max_send = KMQTT_PACKET_MAX;
	client->receive_max = UINT16_MAX;
	client->explain = true;
	STAILQ_INIT(&client->held);
	return client;
}

void client_list(struct client *client)
{
	client->since = client_clock();
	TAILQ_INSERT_TAIL(&clients, client, link);
	TAILQ_INSERT_TAIL(&greetings, client, greeting);
	count++;
}

void client_accept(struct listener *listener, int fd)
{
	static const struct kmod_command conn_add = {
		.cmd = KMQTT_CMD_CONN_ADD,
		.build = build_conn_add,
		.done = conn_add_done,
	};
	struct client *client = client_new(new_cookie());
	socklen_t len = sizeof(client->peer);
	char address[CLIENT_ADDRESS_SIZE];

	if (!client) {
		close(fd);
		return;
	}
	client->listener = listener;
	client->fd = fd;
	/* It may be gone already. */
	if (getpeername(fd, &client->peer.any, &len) || !admitted(client) ||
	    table_add(&by_cookie, &client->node,
		      table_hash_u32(client->cookie))) {
		close(fd);
		free(client);
		return;
	}

	listener->clients++;
	client_list(client);
	client->arriving = true;
	/* A kill from here on does not end the connection any more. */
	client->requesting = true;
	kmod_submit_now(&client->request, &conn_add);
	if (client_config->connection_messages)
		log_print(LOG_TYPE_NOTICE, "New connection from %s on port %u.",
			  client_address(client, address),
			  listener->config->port);
}

void client_tick(void)
{
	u32 timeout = client_config->connect_timeout * 1000;
	struct client *client, *next;
	u32 now = client_clock();

	while ((client = TAILQ_FIRST(&greetings)) &&
	       now - client->since >= timeout)
		client_end(client, "exceeded timeout");
	while ((client = TAILQ_FIRST(&parting)) &&
	       now - client->since >= PARTING_TIME)
		client_end(client, client->reason);
	for (client = TAILQ_FIRST(&clients); client; client = next) {
		next = TAILQ_NEXT(client, link);
		/* Little is told late, but not never: it is the kernel's memory. */
		tell(client, 1);
		/* Or what is the beginning of a large packet. */
		if (client->half)
			client_pump(client);
		/* It has not come to its end, for what it sends, or does not take. */
		if (client->successor &&
		    now - client->successor->since >= PARTING_TIME)
			client_fail(client, REASON_TAKEN_OVER, NULL);
	}
	half_tick();
}

/* Events */

struct session *client_session(u32 conn_id)
{
	struct client *client = find(conn_id);

	return client ? client->session : NULL;
}

void client_fail_conn(u32 conn_id, enum reason reason, const char *text)
{
	struct client *client = find(conn_id);

	if (client)
		client_fail(client, reason, text);
}

static void log_dropped(struct client *client, u32 event_seq)
{
	const struct errand acknowledge = {
		.conn_id = client->conn_id,
		.event_seq = event_seq,
	};
	char name[CLIENT_NAME_SIZE];
	u32 now = client_clock();

	/* Not acknowledged, it does not wake us either. */
	if (client->dropped_at && now - client->dropped_at < DROPPED_EVERY)
		return;
	client->dropped_at = now;
	log_print(LOG_TYPE_NOTICE,
		  "Outgoing messages are being dropped for client %s.",
		  client_name(client, name));
	run_errand(KMQTT_CMD_CONN_SET, &acknowledge);
}

/*
 * The bytes before the end come first, through the trunk, which tells of the end,
 * too. Only when it has not by the next time is the record needed.
 */
static void kernel_ended(struct client *client, enum kmqtt_end end)
{
	if (client->kernel_ended && !client->requesting && !busy(client) &&
	    trunk_is_read()) {
		fail_for_end(client, end);
	} else {
		client->kernel_ended = true;
		if (!client->requesting)
			client_pump(client);
	}
}

/* Forgets one that is no client. */
static void forget(u32 conn_id)
{
	const struct errand errand = { .conn_id = conn_id };

	run_errand(KMQTT_CMD_CONN_DEL, &errand);
}

void client_record(const struct kmod_reply *record)
{
	u32 conn_id = kmod_u32(record, KMQTT_A_CONN_ID);
	u32 events = kmod_u32(record, KMQTT_A_CONN_EVENTS);
	struct client *client = find(conn_id);

	if (!client) {
		/* Or the answer about it was lost. */
		if (!adopting || !adopt(record))
			forget(conn_id);
		return;
	}
	if (client_is_leaving(client))
		return;
	if (events & KMQTT_EVENT_DROPPED)
		log_dropped(client, kmod_u32(record, KMQTT_A_CONN_EVENT_SEQ));
	if (events & KMQTT_EVENT_ENDED)
		kernel_ended(client, kmod_u8(record, KMQTT_A_CONN_END));
}

void client_quiesce(bool on)
{
	struct client *client, *next;

	quiescing = on;
	for (client = TAILQ_FIRST(&clients); client && !on; client = next) {
		next = TAILQ_NEXT(client, link);
		if (client->state != CLIENT_ACTIVE &&
		    client->state != CLIENT_CONNECTING)
			continue;
		if (client->session)
			outbound_pump(client->session);
		client_pump(client);
	}
}

/* The kernel has forgotten what nobody could go on with. */
static bool is_owing(const struct client *client)
{
	return !client_is_leaving(client) &&
	       (client->told > answered(client) ||
		(client->told && !client->now.sent));
}

bool client_quiet(void)
{
	const struct client *client;

	TAILQ_FOREACH(client, &clients, link)
		if (client->sending || buffer_used(&client->out) ||
		    client->requesting || subscribe_is_walking(client) ||
		    is_owing(client))
			return false;
	return true;
}

/* Not even with the beginning of the packet that is here in part. */
static bool is_stuck(const struct client *client)
{
	return is_owing(client) && !half_is_kept(client) &&
	       (!client->session || !client->now.sent ||
		answered(client) != client->handled);
}

bool client_can_bequeath(bool stuck)
{
	const struct client *client;

	TAILQ_FOREACH(client, &clients, link)
		if (client->requesting || (!stuck && is_stuck(client)))
			return false;
	return true;
}

/* What is being sent, and @more bytes of what waits, as one send that has begun. */
static void journal_rest(const struct client *client, size_t more)
{
	size_t begun = buffer_used(&client->sent);

	if (begun + more)
		journal_append2(JOURNAL_CONN_REST, client->cookie,
				client->now.sent - begun - more, 0, 0,
				buffer_head(&client->sent), begun,
				buffer_head(&client->out), more);
}

static void journal_halves(const struct client *client)
{
	journal_rest(client, buffer_used(&client->out));
	if (is_owing(client) && !is_stuck(client) && !half_is_kept(client))
		journal_append2(JOURNAL_CONN_HEAD, client->cookie,
				client->handled, 0, 0,
				buffer_head(&client->in),
				client->told - client->handled, NULL, 0);
}

bool client_is_journaled(const struct client *client)
{
	return client->session && client->session->client == client;
}

void client_bequeath(void)
{
	struct client *client;
	size_t more;

	bequeathing = true;
	TAILQ_FOREACH(client, &clients, link) {
		if (!client_is_journaled(client))
			continue;
		more = buffer_used(&client->out);
		if (more || answered(client) != client->now.done)
			note_progress(client, more);
		journal_halves(client);
	}
}

void client_send_rest(struct client *client)
{
	client->sending = true;
	client->ops++;
	client_ring_send(client);
}

void client_adopting(bool on)
{
	struct client *client, *next;

	adopting = on;
	for (client = TAILQ_FIRST(&greetings); client && !on; client = next) {
		next = TAILQ_NEXT(client, greeting);
		if (client->state == CLIENT_CONNECTING)
			client_pump(client);
	}
}

void client_journal(const struct client *client)
{
	const struct former former = {
		.cookie = client->cookie,
		.session = client->session,
		/* The next daemon does not know who it was. */
		.will = has_will(client) ? client->will : NULL,
		.before = client->before,
		.now = client->now,
		.keepalive = client->keepalive,
		.level = client->level,
		.clean = client->clean,
		.will_retain = client->will_retain,
		.will_delay = client->will_delay,
		.receive_max = client->receive_max,
		.max_send = client->max_send,
		.allowed = client->allowed,
		.explain = client->explain,
		.enhanced = client->enhanced,
	};

	former_write(&former);
}

void client_rewrite(void)
{
	struct client *client;

	TAILQ_FOREACH(client, &clients, link) {
		if (!client_is_journaled(client))
			continue;
		client_journal(client);
		half_rewrite(client);
		commit_journal(client);
		if (client->resumes && !bequeathing)
			journal_rest(client, 0);
		if (bequeathing)
			journal_halves(client);
	}
}
