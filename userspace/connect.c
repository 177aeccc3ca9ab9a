// SPDX-License-Identifier: GPL-2.0
/*
 * From CONNECT to an active connection (section 3.1.4): judge it, end the
 * connection that had the identifier, answer, and only then let the kernel
 * handle messages, so that nothing can come before CONNACK [MQTT-3.2.0-1].
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "login.h"
#include "memory.h"
#include "packet.h"
#include "session.h"
#include "store.h"

/* Bytes of the largest CONNACK that is sent. */
#define CONNACK_SIZE	5

static void send_connack(struct client *client, enum reason code,
			 bool present)
{
	const struct packet_connack connack = {
		.level = client->level,
		.reason = code,
		.present = present,
		.max = KMQTT_PACKET_MAX,
		.max_qos = 2,
	};
	u8 packet[CONNACK_SIZE];
	char name[CLIENT_NAME_SIZE];

	log_print(LOG_TYPE_DEBUG, "Sending CONNACK to %s (%d, %d)",
		  client_name(client, name), present, code);
	client_send(client, packet, packet_build_connack(packet, &connack));
}

/* clientid_prefixes: of an identifier that will be made up, its beginning. */
static bool prefix_matches(const struct config_access *access,
			   const struct packet_bytes *id)
{
	const char *prefix = client_config->id_prefix;
	const void *begin = id->len ? id->data :
			    (const void *)access->auto_id_prefix;
	size_t len = id->len ? id->len : strlen(access->auto_id_prefix);

	return !prefix || (strlen(prefix) <= len &&
			   !memcmp(begin, prefix, strlen(prefix)));
}

/*
 * Whether a password decides; if not, it is allow_anonymous that does, also for
 * whoever gives a user name where there is no password_file, as in mosquitto.
 */
static bool by_password(const struct config_access *access,
			const struct packet_connect *connect)
{
	return access->users && connect->username.data;
}

/*
 * Which CONNACK it deserves, but for a password, which is compared later;
 * *@reason is for the log. An identifier that is
 * empty must ask for a clean session [MQTT-3.1.3-8], and cannot in MQTT 3.1. A
 * keep alive that is too long has no code of its own; mosquitto takes this one.
 */
static enum reason judge(const struct config_listener *listener,
				 const struct packet_connect *connect,
				 const char **reason)
{
	const struct config_access *access = &listener->access;
	u32 max_keepalive = client_config->max_keepalive;

	if ((!connect->id.len &&
	     (connect->level == PACKET_LEVEL_3_1 || !connect->clean ||
	      !access->allow_zero_length_clientid)) ||
	    connect->id.len > KMQTT_CLIENT_ID_MAX ||
	    (listener->username_as_id &&
	     connect->username.len > KMQTT_CLIENT_ID_MAX)) {
		*reason = "client identifier not valid";
		return REASON_BAD_CLIENT_ID;
	}
	if (connect->username.len > KMQTT_USER_NAME_MAX) {
		*reason = "user name not valid";
		return REASON_NOT_AUTHORIZED;
	}
	if (max_keepalive &&
	    (!connect->keepalive || connect->keepalive > max_keepalive)) {
		*reason = "keep alive exceeds max_keepalive";
		return REASON_BAD_CLIENT_ID;
	}
	if (connect->will_topic.data && connect->will_retain &&
	    !client_config->retain_available) {
		*reason = "retain not supported";
		return REASON_NOT_AUTHORIZED;
	}
	/*
	 * That a name or a password is wrong is never said in other words
	 * either, as in mosquitto.
	 */
	if (!prefix_matches(access, &connect->id) ||
	    (listener->username_as_id && !connect->username.data) ||
	    (by_password(access, connect) ?
	     !connect->password.data || !users_decoy(access->users) :
	     !access->allow_anonymous)) {
		*reason = "not authorised";
		return REASON_NOT_AUTHORIZED;
	}
	return REASON_SUCCESS;
}

static void refuse(struct client *client, enum reason code,
		   const char *reason)
{
	client->state = CLIENT_REFUSING;
	client->reason = reason;
	send_connack(client, code, false);
}

static void log_connect(const struct client *client,
			const struct packet_connect *connect)
{
	char name[CLIENT_NAME_SIZE], address[CLIENT_ADDRESS_SIZE];
	char text[LOG_ESCAPED(LOG_TEXT_MAX)];
	char user[sizeof(text) + 8] = "";

	if (connect->username.data) {
		log_escape(text, connect->username.data, connect->username.len);
		snprintf(user, sizeof(user), ", u'%s'", text);
	}
	/* mosquitto's names of the levels are 1 and 2. */
	if (client_config->connection_messages)
		log_print(LOG_TYPE_NOTICE,
			  "New client connected from %s as %s (p%d, c%d, k%u%s).",
			  client_address(client, address),
			  client_name(client, name),
			  connect->level == PACKET_LEVEL_3_1 ? 1 : 2,
			  connect->clean, connect->keepalive, user);
	if (connect->will_topic.data)
		log_print(LOG_TYPE_DEBUG,
			  "Will message specified (%u bytes) (r%d, q%u): %s",
			  connect->will_message.len, connect->will_retain,
			  connect->will_qos,
			  log_escape(text, connect->will_topic.data,
				     connect->will_topic.len));
}

/* [MQTT-3.1.4-2]: whoever has the identifier must go. */
static void take_over(struct client *client, struct client *former)
{
	char name[CLIENT_NAME_SIZE];

	if (former->state != CLIENT_ENDING &&
	    client_config->connection_messages)
		log_print(LOG_TYPE_ERROR,
			  "Client %s already connected, closing old connection.",
			  client_name(client, name));
	client->state = CLIENT_TAKEOVER;
	client->has_predecessor = true;
	former->successor = client;
	client_end(former, "session taken over");
}

static int take_username(struct client *client,
			 const struct packet_connect *connect)
{
	const struct packet_bytes *name = &connect->username;

	if (!name->data)
		return 0;
	client->username = malloc(name->len);
	if (!client->username)
		return -ENOMEM;
	memcpy(client->username, name->data, name->len);
	client->username_len = name->len;
	return 0;
}

/* [MQTT-3.1.2-8] */
static int take_will(struct client *client,
		     const struct packet_connect *connect)
{
	if (!connect->will_topic.data)
		return 0;
	client->will_retain = connect->will_retain;
	client->will = message_new(connect->will_topic.data,
				   connect->will_topic.len,
				   connect->will_message.data,
				   connect->will_message.len,
				   connect->will_qos);
	return client->will ? 0 : -ENOMEM;
}

/* It may come in; a client that had its identifier must go first. */
static void let_in(struct client *client, const struct packet_connect *connect)
{
	const struct config_listener *listener = client->listener->config;
	const struct packet_bytes *id = listener->username_as_id ?
					&connect->username : &connect->id;
	struct client *former = NULL;

	if (memory_over()) {
		refuse(client, REASON_UNAVAILABLE,
		       "memory_limit exceeded");
		return;
	}
	if (!session_has_room(id->data, id->len)) {
		refuse(client, REASON_UNAVAILABLE,
		       "global_max_clients exceeded");
		return;
	}
	if (!take_will(client, connect))
		client->session =
			session_claim(client, listener->access.auto_id_prefix,
				      id->data, id->len, &former);
	if (!client->session) {
		refuse(client, REASON_UNAVAILABLE, "out of memory");
		return;
	}

	client->clean = connect->clean;
	client->keepalive = connect->keepalive;
	if (former)
		take_over(client, former);
	log_connect(client, connect);
	if (!former)
		connect_greet(client);
}

bool connect_permits(const struct client *client)
{
	const struct config_access *access = &client->listener->config->access;
	const struct user *user;

	if (!access->users || !client->username)
		return access->allow_anonymous;
	user = users_find(access->users, client->username,
			  client->username_len);
	return user && client->user &&
	       !strcmp(user->password.encoded, client->user->password.encoded);
}

static void authenticate(struct client *client, const u8 *data, size_t len)
{
	client->login = login_begin(client,
				    client->listener->config->access.users,
				    data, len);
	if (client->login)
		client->state = CLIENT_AUTHENTICATING;
	else
		refuse(client, REASON_UNAVAILABLE, "out of memory");
}

void connect_authenticated(struct client *client,
			   const struct packet_connect *connect,
			   struct user *user)
{
	const char *reason = "not authorised";
	enum reason code = REASON_NOT_AUTHORIZED;

	client->login = NULL;
	client->user = user;
	/* The settings may be others than when it began. */
	if (user && connect_permits(client))
		code = judge(client->listener->config, connect, &reason);
	if (code != REASON_SUCCESS)
		refuse(client, code, reason);
	else
		let_in(client, connect);
}

void connect_handle(struct client *client, const u8 *data, size_t len)
{
	const struct config_listener *listener = client->listener->config;
	struct packet_connect connect;
	enum reason code;
	const char *reason;

	code = packet_parse_connect(data, len, &connect);
	client->level = connect.level;
	/* Who speaks MQTT 5 is only ever told that we do not. */
	if (code == REASON_BAD_LEVEL || connect.level == PACKET_LEVEL_5) {
		refuse(client, REASON_BAD_LEVEL,
		       "unsupported protocol version");
		return;
	}
	if (code) {
		client_end(client, "malformed packet");
		return;
	}
	/* As in mosquitto: an empty name is none. */
	if (!connect.username.len)
		connect.username.data = NULL;
	code = judge(listener, &connect, &reason);
	if (code != REASON_SUCCESS)
		refuse(client, code, reason);
	else if (take_username(client, &connect))
		refuse(client, REASON_UNAVAILABLE, "out of memory");
	else if (by_password(&listener->access, &connect))
		authenticate(client, data, len);
	else
		let_in(client, &connect);
}

static void greet(struct client *client)
{
	send_connack(client, REASON_SUCCESS, client->present);
}

/* What CONNACK says of the session must hold after a crash, too. */
void connect_greet(struct client *client)
{
	u64 before = store_queued();

	/* There is a session in the store to be made, or to be forgotten. */
	if ((!client->clean || client->session->sid) && store_enabled() &&
	    !store_healthy()) {
		refuse(client, REASON_UNAVAILABLE,
		       "the store cannot be written");
		return;
	}
	if (acl_subject_set(client->session, client->listener->number,
			    client->username, client->username_len)) {
		refuse(client, REASON_UNAVAILABLE, "out of memory");
		return;
	}
	client->state = CLIENT_GREETING;
	client->present = session_begin(client->session, client, client->clean,
					client->clean ? 0 : STORE_FOREVER);
	client_journal(client);
	client_await(client, store_queued() == before ? 0 : store_queued(),
		     greet);
}

static void build_conn_set(struct kmod_request *request,
			   struct nlmsghdr *message, size_t room)
{
	const struct client *client = client_of_request(request);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, client->conn_id);
	mnl_attr_put_u8(message, KMQTT_A_CONN_LEVEL, client->level);
	mnl_attr_put_u16(message, KMQTT_A_CONN_KEEPALIVE, client->keepalive);
	mnl_attr_put_u32(message, KMQTT_A_CONN_MAX_PACKET,
			 client_config->max_packet_size);
	mnl_attr_put_u32(message, KMQTT_A_CONN_PUBLISH_RATE,
			 client_config->max_publish_rate);
	mnl_attr_put(message, KMQTT_A_CONN_CLIENT_ID, client->session->id_len,
		     client->session->id);
	/* The daemon that adopts it is told that. */
	if (client->username)
		mnl_attr_put(message, KMQTT_A_CONN_USER_NAME,
			     client->username_len, client->username);
	mnl_attr_put_u64(message, KMQTT_A_CONN_DONE, client->handled);
	mnl_attr_put(message, KMQTT_A_CONN_ACTIVE, 0, NULL);
}

static void conn_set_done(struct kmod_request *request,
			  const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);
	char name[CLIENT_NAME_SIZE];

	if (!client_answered(client))
		return;
	if (reply->err) {
		/* It ended by itself meanwhile: the kernel knows how. */
		if (reply->err != -ENOTCONN)
			log_print(LOG_TYPE_ERROR,
				  "Error: The kernel module cannot serve client %s: %s %s",
				  client_name(client, name),
				  strerror(-reply->err), reply->text);
		client_end(client, NULL);
		return;
	}
	client->told = client->handled;
	client->state = CLIENT_ACTIVE;
	client_greeted(client);
	outbound_resume(client->session);
	client_pump(client);
}

static void activate(struct client *client)
{
	static const struct kmod_command conn_set = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_conn_set,
		.done = conn_set_done,
	};

	client_request(client, &conn_set);
}

/* Then the session's subscriptions, before it takes any message. */
static void judge_done(struct kmod_request *request,
		       const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);
	char name[CLIENT_NAME_SIZE];

	if (!client_answered(client))
		return;
	if (!reply->err) {
		subscribe_restore(client, activate);
		return;
	}
	if (reply->err != -ENOTCONN)
		log_print(LOG_TYPE_ERROR,
			  "Error: The kernel module refused the access rules of client %s: %s %s",
			  client_name(client, name), strerror(-reply->err),
			  reply->text);
	client_end(client, NULL);
}

static void build_judge(struct kmod_request *request, struct nlmsghdr *message,
			size_t room)
{
	struct client *client = client_of_request(request);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, client->conn_id);
	acl_put(message, client->session);
	client->judged = true;
}

/* The module gets the client's rules before anything that they are about. */
void connect_activate(struct client *client)
{
	static const struct kmod_command conn_set = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_judge,
		.done = judge_done,
	};

	client->state = CLIENT_ACTIVATING;
	if (client->session->subject.role) {
		client_request(client, &conn_set);
		return;
	}
	client->judged = true;
	subscribe_restore(client, activate);
}
