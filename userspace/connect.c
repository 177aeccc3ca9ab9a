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

#include "auth.h"
#include "client.h"
#include "frame.h"
#include "login.h"
#include "memory.h"
#include "packet.h"
#include "session.h"
#include "store.h"
#include "topic.h"

u32 connect_max(void)
{
	u32 remaining = client_config->max_connect;
	u8 header[KMQTT_HEADER_MAX];
	u32 most;

	most = kmqtt_frame_build(header, KMQTT_CONNECT << 4, remaining) +
	       remaining;
	return most < client_config->max_packet_size ?
	       most : client_config->max_packet_size;
}

/* Where clients are to go instead, for this reason, or NULL. */
const char *connect_reference(enum reason reason)
{
	switch (reason) {
	case REASON_ANOTHER_SERVER:
		return client_config->other_server;
	case REASON_SERVER_MOVED:
		return client_config->moved_server;
	default:
		return NULL;
	}
}

/* Whether clients are to go elsewhere. */
static enum reason redirection(void)
{
	if (client_config->moved_server)
		return REASON_SERVER_MOVED;
	return client_config->other_server ? REASON_ANOTHER_SERVER
					   : REASON_SUCCESS;
}

/* False when it is larger than the client takes, and cannot be sent. */
static bool send_connack(struct client *client,
			 const struct packet_connack *connack)
{
	char name[CLIENT_NAME_SIZE];
	size_t size;
	u8 *to;

	log_print(LOG_TYPE_DEBUG, "Sending CONNACK to %s (%d, %d)",
		  client_name(client, name), connack->present,
		  client->level == PACKET_LEVEL_5 ?
		  (int)connack->reason : reason_return_code(connack->reason));
	size = packet_build_connack(NULL, connack);
	to = size ? client_reserve(client, size) : NULL;
	if (to)
		packet_build_connack(to, connack);
	return to;
}

void connect_refuse(struct client *client, enum reason reason, const char *text)
{
	struct packet_connack connack = {
		.level = client->level,
		.reason = reason,
		.max = client->max_send,
		.max_qos = 2,
		.server_reference = connect_reference(reason),
	};

	if (!text)
		text = reason_text(reason);
	/* Who speaks another version is not to be confused. */
	if (reason != REASON_BAD_LEVEL)
		connack.reason_string = text;
	if (send_connack(client, &connack))
		client_part(client, text);
	else
		client_end(client, text);
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

/* Whether it names an authentication method, which then decides. */
static bool is_enhanced(const struct packet_connect *connect)
{
	return connect->auth_method.data;
}

/*
 * An identifier that is empty must ask for a clean session [MQTT-3.1.3-8], but
 * not in MQTT 5, and cannot in MQTT 3.1.
 */
static bool is_id(const struct config_listener *listener,
		  const struct packet_connect *connect)
{
	if (connect->id.len > KMQTT_CLIENT_ID_MAX ||
	    (listener->username_as_id &&
	     connect->username.len > KMQTT_CLIENT_ID_MAX))
		return false;
	return connect->id.len ||
	       (listener->access.allow_zero_length_clientid &&
		(connect->level == PACKET_LEVEL_5 ||
		 (connect->level == PACKET_LEVEL_3_1_1 && connect->clean)));
}

/* Of MQTT 3.x; others are told a shorter one. */
static bool is_keepalive(const struct packet_connect *connect)
{
	u32 max = client_config->max_keepalive;

	return !max || connect->level == PACKET_LEVEL_5 ||
	       (connect->keepalive && connect->keepalive <= max);
}

/* Whether it may come in, but for what is compared, or exchanged, later. */
static bool is_welcome(const struct config_access *access,
		       const struct packet_connect *connect)
{
	if (is_enhanced(connect))
		return true;
	return by_password(access, connect) ?
	       connect->password.data && users_decoy(access->users) :
	       access->allow_anonymous;
}

/*
 * Which CONNACK it deserves, but for a password, which is compared later;
 * *@text is for the log, NULL: reason_text(). A keep alive that is too long has
 * no code of its own in MQTT 3.x; mosquitto takes this one.
 */
static enum reason judge(const struct config_listener *listener,
			 const struct packet_connect *connect,
			 const char **text)
{
	const struct config_access *access = &listener->access;
	enum reason reason = redirection();

	*text = NULL;
	if (reason)
		return reason;
	if (!is_id(listener, connect))
		return REASON_BAD_CLIENT_ID;
	if (connect->username.len > KMQTT_USER_NAME_MAX) {
		*text = "user name not valid";
		return REASON_NOT_AUTHORIZED;
	}
	if (!is_keepalive(connect)) {
		*text = "keep alive exceeds max_keepalive";
		return REASON_BAD_CLIENT_ID;
	}
	/* [MQTT5: MQTT-3.2.2-13], [MQTT5: MQTT-3.2.2-12] */
	if (connect->will_topic.data && connect->will_retain &&
	    !client_config->retain_available)
		return REASON_RETAIN_NOT_SUPPORTED;
	if (connect->will_qos > listener->max_qos)
		return REASON_QOS_NOT_SUPPORTED;
	if (connect->will_properties.utf8 &&
	    client_config->check_payload_format &&
	    kmqtt_text_check(connect->will_message.data,
			     connect->will_message.len))
		return REASON_PAYLOAD_FORMAT;
	/* [MQTT5: MQTT-4.12.0-1] */
	if (is_enhanced(connect) && (!access->users ||
				     !auth_is_method(&connect->auth_method)))
		return REASON_BAD_AUTH_METHOD;
	/*
	 * That a name or a password is wrong is never said in other words
	 * either, as in mosquitto.
	 */
	if (!prefix_matches(access, &connect->id) ||
	    (listener->username_as_id && !connect->username.data &&
	     !is_enhanced(connect)) ||
	    !is_welcome(access, connect))
		return REASON_NOT_AUTHORIZED;
	return REASON_SUCCESS;
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
	/* mosquitto's names of the levels are 1, 2 and 5. */
	if (client_config->connection_messages)
		log_print(LOG_TYPE_NOTICE,
			  "New client connected from %s as %s (p%d, c%d, k%u%s).",
			  client_address(client, address),
			  client_name(client, name),
			  connect->level == PACKET_LEVEL_5 ? 5 :
			  connect->level == PACKET_LEVEL_3_1 ? 1 : 2,
			  connect->clean, client->keepalive, user);
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

	if (!client_is_leaving(former) &&
	    client_config->connection_messages)
		log_print(LOG_TYPE_ERROR,
			  "Client %s already connected, closing old connection.",
			  client_name(client, name));
	client->state = CLIENT_TAKEOVER;
	client->has_predecessor = true;
	former->successor = client;
	client_cede(former);
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
	struct packet_properties properties;
	u8 *copy;

	if (!connect->will_topic.data)
		return 0;
	copy = malloc(connect->will_properties.len + 1);
	if (!copy)
		return -ENOMEM;
	packet_will_properties(connect, copy, &properties);
	client->will_retain = connect->will_retain;
	client->will = message_make(&(const struct message_parts){
		.topic = connect->will_topic.data,
		.topic_len = connect->will_topic.len,
		.qos = connect->will_qos,
		.properties = properties.data,
		.properties_len = properties.len,
		.payload = connect->will_message.data,
		.payload_len = connect->will_message.len,
	});
	free(copy);
	return client->will ? 0 : -ENOMEM;
}

/* [MQTT5: MQTT-3.1.2-21]: MQTT 3.x has been refused. */
static void take_keepalive(struct client *client, u16 keepalive)
{
	u32 max = client_config->max_keepalive;

	client->keepalive = keepalive;
	if (max && (!keepalive || keepalive > max)) {
		client->keepalive = max;
		client->other_keepalive = true;
	}
}

/* persistent_client_expiration is the longest. */
void connect_set_expiry(struct client *client, u32 expiry)
{
	s64 most = client_config->client_expiration;

	if (client->level == PACKET_LEVEL_5 && most && expiry > most)
		expiry = most;
	client->session_expiry = expiry;
	if (client->session && client->session->client == client)
		session_set_expiry(client->session, expiry);
}

/* It may come in; a client that had its identifier must go first. */
static void let_in(struct client *client, const struct packet_connect *connect)
{
	const struct config_listener *listener = client->listener->config;
	const struct packet_bytes *id = listener->username_as_id ?
					&connect->username : &connect->id;
	struct client *former = NULL;

	if (memory_over()) {
		connect_refuse(client, REASON_QUOTA,
			       "memory_limit exceeded");
		return;
	}
	if (!session_has_room(id->data, id->len)) {
		connect_refuse(client, REASON_QUOTA,
			       "global_max_clients exceeded");
		return;
	}
	if (!take_will(client, connect))
		client->session =
			session_claim(client, listener->access.auto_id_prefix,
				      id->data, id->len, &former);
	if (!client->session) {
		connect_refuse(client, REASON_QUOTA, "out of memory");
		return;
	}

	client->clean = connect->clean;
	client->assigned = !id->len;
	client->will_delay = connect->will_delay;
	take_keepalive(client, connect->keepalive);
	client->asked_expiry = connect->session_expiry;
	connect_set_expiry(client, connect->session_expiry);
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

enum reason connect_review(const struct client *client)
{
	enum reason reason = redirection();

	if (reason)
		return reason;
	return connect_permits(client) ? REASON_SUCCESS : REASON_NOT_AUTHORIZED;
}

/* Enhanced authentication (MQTT 5, section 4.12) */

static const struct packet_bytes method = {
	(const u8 *)AUTH_METHOD, sizeof(AUTH_METHOD) - 1
};

/* What the exchange has to say; not there without. */
static struct packet_bytes answer_of(const struct auth *auth)
{
	struct packet_bytes data = { 0 };

	if (auth && auth->answer_len) {
		data.data = (const u8 *)auth->answer;
		data.len = auth->answer_len;
	}
	return data;
}

static void build_next(struct kmod_request *request, struct nlmsghdr *message,
		       size_t room)
{
	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID,
			 client_of_request(request)->conn_id);
	mnl_attr_put_u8(message, KMQTT_A_CONN_LEVEL, PACKET_LEVEL_5);
	mnl_attr_put(message, KMQTT_A_CONN_NEXT, 0, NULL);
}

static void next_done(struct kmod_request *request,
		      const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);

	if (!client_answered(client))
		return;
	if (reply->err)
		client_end(client, NULL);
	else
		client_pump(client);
}

/* [MQTT-4.12.0-5] */
static bool send_auth(struct client *client, enum reason reason)
{
	struct packet_bytes data = answer_of(client->auth);
	size_t size;
	u8 *to;

	size = packet_build_auth(NULL, client->max_send, reason, &method,
				 &data);
	to = size ? client_reserve(client, size) : NULL;
	if (to)
		packet_build_auth(to, client->max_send, reason, &method, &data);
	return to;
}

/* Who logs in so is whom the exchange has found. */
static void admit(struct client *client)
{
	struct auth *auth = client->auth;
	struct packet_bytes *name = &auth->connect.username;

	name->data = (const u8 *)auth->user->name;
	name->len = auth->user->name_len;
	free(client->username);
	client->username = NULL;
	if (take_username(client, &auth->connect)) {
		connect_refuse(client, REASON_QUOTA, "out of memory");
		return;
	}
	connect_authenticated(client, &auth->connect, user_get(auth->user));
}

static void ask_again(struct client *client)
{
	static const struct kmod_command conn_set = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_next,
		.done = next_done,
	};

	client->state = CLIENT_EXCHANGING;
	if (send_auth(client, REASON_CONTINUE_AUTHENTICATION))
		client_request(client, &conn_set);
	else
		client_end(client, reason_text(REASON_TOO_LARGE));
}

/* One step of those that lead to a CONNACK. */
static void step(struct client *client, const struct packet_bytes *data)
{
	switch (auth_step(client->auth, data)) {
	case AUTH_MORE:
		ask_again(client);
		break;
	case AUTH_DONE:
		admit(client);
		break;
	default:
		connect_refuse(client, REASON_NOT_AUTHORIZED, NULL);
	}
}

/* One of a re-authentication; meanwhile the connection goes on. */
static void step_again(struct client *client, const struct packet_bytes *data)
{
	switch (auth_step(client->auth, data)) {
	case AUTH_MORE:
		send_auth(client, REASON_CONTINUE_AUTHENTICATION);
		return;
	case AUTH_DONE:
		/* It is the same user still. */
		if (client->user &&
		    client->auth->user->name_len == client->user->name_len &&
		    !strcmp(client->auth->user->name, client->user->name)) {
			user_put(client->user);
			client->user = user_get(client->auth->user);
			send_auth(client, REASON_SUCCESS);
			auth_free(client->auth);
			client->auth = NULL;
			return;
		}
		break;
	default:
		break;
	}
	/* [MQTT-4.12.1-2] */
	client_fail(client, REASON_NOT_AUTHORIZED, NULL);
}

static void exchange(struct client *client, const u8 *data, size_t len)
{
	const struct config_access *access = &client->listener->config->access;

	client->auth = auth_begin(access->users, data, len);
	if (client->auth)
		step(client, &client->auth->connect.auth_data);
	else
		connect_refuse(client, REASON_QUOTA, "out of memory");
}

static void reauthenticate(struct client *client,
			   const struct packet_auth *auth)
{
	const struct config_access *access = &client->listener->config->access;

	client->auth = access->users ? auth_begin(access->users, NULL, 0)
				     : NULL;
	if (client->auth)
		step_again(client, &auth->data);
	else
		client_fail(client, REASON_NOT_AUTHORIZED, NULL);
}

/* An AUTH that may not come now, or with another method [MQTT-4.12.1-1]. */
static enum reason check_auth(const struct client *client,
			      const struct packet_auth *auth)
{
	bool again = auth->reason == REASON_REAUTHENTICATE;

	if (!auth_is_method(&auth->method) || again == !!client->auth ||
	    (again && client->state != CLIENT_ACTIVE))
		return REASON_PROTOCOL;
	return REASON_SUCCESS;
}

void connect_handle_auth(struct client *client, const u8 *data, size_t len)
{
	struct packet_auth auth;
	enum reason reason;

	reason = packet_parse_auth(data, len, &auth);
	if (!reason)
		reason = check_auth(client, &auth);
	if (client->state == CLIENT_EXCHANGING) {
		if (reason)
			connect_refuse(client, reason, NULL);
		else
			step(client, &auth.data);
	} else if (reason) {
		client_fail(client, reason, NULL);
	} else if (client->auth) {
		step_again(client, &auth.data);
	} else {
		reauthenticate(client, &auth);
	}
}

static void authenticate(struct client *client, const u8 *data, size_t len)
{
	client->login = login_begin(client,
				    client->listener->config->access.users,
				    data, len);
	if (client->login)
		client->state = CLIENT_AUTHENTICATING;
	else
		connect_refuse(client, REASON_QUOTA, "out of memory");
}

void connect_authenticated(struct client *client,
			   const struct packet_connect *connect,
			   struct user *user)
{
	enum reason reason = REASON_NOT_AUTHORIZED;
	const char *text = NULL;

	client->login = NULL;
	client->user = user;
	/* The settings may be others than when it began. */
	if (user && connect_permits(client))
		reason = judge(client->listener->config, connect, &text);
	if (reason)
		connect_refuse(client, reason, text);
	else
		let_in(client, connect);
}

/* What has to be known to answer it. */
static void take_wishes(struct client *client,
			const struct packet_connect *connect)
{
	client->level = connect->level;
	client->allowed = (struct packet_allowance){
		.max_packet = client_config->max_packet_size,
		.receive_max = client_config->max_inflight,
		.max_qos = client->listener->config->max_qos,
	};
	if (connect->level != PACKET_LEVEL_5)
		return;
	client->receive_max = connect->receive_max;
	client->max_send = connect->max_packet;
	client->explain = connect->request_problem;
	client->wants_response = connect->request_response;
	client->enhanced = connect->auth_method.data;
}

/* Whether this level is one of those that are let in here. */
static bool is_level(const struct config_listener *listener, u8 level)
{
	return listener->levels & 1 << level;
}

void connect_handle(struct client *client, const struct kmqtt_frame *frame,
		    const u8 *data)
{
	const struct config_listener *listener = client->listener->config;
	size_t len = frame->remaining;
	struct packet_connect connect;
	enum reason reason;
	const char *text;

	reason = packet_parse_connect(data, len, &connect);
	if (reason == REASON_BAD_LEVEL ||
	    (connect.level && !is_level(listener, connect.level))) {
		client->level = connect.level;
		connect_refuse(client, REASON_BAD_LEVEL, NULL);
		return;
	}
	take_wishes(client, &connect);
	/* [MQTT5: MQTT-1.5.5-1] */
	if (client->level == PACKET_LEVEL_5 && !kmqtt_frame_is_shortest(frame))
		reason = REASON_MALFORMED;
	if (reason && client->level != PACKET_LEVEL_5) {
		client_end(client, reason_text(reason));
		return;
	}
	/* As in mosquitto: an empty name is none. */
	if (!connect.username.len)
		connect.username.data = NULL;
	if (!reason)
		reason = judge(listener, &connect, &text);
	else
		text = NULL;
	if (reason)
		connect_refuse(client, reason, text);
	else if (is_enhanced(&connect))
		exchange(client, data, len);
	else if (take_username(client, &connect))
		connect_refuse(client, REASON_QUOTA, "out of memory");
	else if (by_password(&listener->access, &connect))
		authenticate(client, data, len);
	else
		let_in(client, &connect);
}

/* Where the server does other than the client asked for, or expects. */
static void greet(struct client *client)
{
	const struct packet_allowance *allowed = &client->allowed;
	struct packet_connack connack = {
		.level = client->level,
		.present = client->present,
		.max = client->max_send,
		.has_expiry = client->session_expiry != client->asked_expiry,
		.session_expiry = client->session_expiry,
		.max_qos = allowed->max_qos,
		.no_retain = !client_config->retain_available,
		.topic_alias_max = client->listener->config->max_topic_alias,
		.has_keepalive = client->other_keepalive,
		.keepalive = client->keepalive,
	};

	if (allowed->receive_max < UINT16_MAX)
		connack.receive_max = allowed->receive_max;
	if (allowed->max_packet < KMQTT_PACKET_MAX)
		connack.max_packet = allowed->max_packet;
	if (client->assigned) {
		connack.assigned_id.data = client->session->id;
		connack.assigned_id.len = client->session->id_len;
	}
	if (client->wants_response)
		connack.response_info = client_config->response_information;
	if (client->enhanced) {
		connack.auth_method = method;
		connack.auth_data = answer_of(client->auth);
	}
	if (!send_connack(client, &connack))
		client_end(client, "CONNACK exceeds its maximum packet size");
	auth_free(client->auth);
	client->auth = NULL;
}

/* What CONNACK says of the session must hold after a crash, too. */
void connect_greet(struct client *client)
{
	u64 before = store_queued();

	/* There is a session in the store to be made, or to be forgotten. */
	if ((client->session_expiry || session_on_disk(client->session)) &&
	    store_enabled() && !store_healthy()) {
		connect_refuse(client, REASON_UNAVAILABLE,
			       "the store cannot be written");
		return;
	}
	if (acl_subject_set(client->session, client->listener->number,
			    client->username, client->username_len)) {
		connect_refuse(client, REASON_QUOTA, "out of memory");
		return;
	}
	client->state = CLIENT_GREETING;
	client->present = session_begin(client->session, client, client->clean,
					client->session_expiry);
	client_journal(client);
	commit_await(client, store_queued() == before ? 0 : store_queued(),
		     greet);
}

static void put_version_5(struct nlmsghdr *message, const struct client *client)
{
	mnl_attr_put_u32(message, KMQTT_A_CONN_MAX_SEND, client->max_send);
	mnl_attr_put_u16(message, KMQTT_A_CONN_MAX_TOPIC_ALIAS,
			 client->listener->config->max_topic_alias);
	mnl_attr_put_u8(message, KMQTT_A_CONN_CHECK_FORMAT,
			client_config->check_payload_format);
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
			 client->allowed.max_packet);
	mnl_attr_put_u32(message, KMQTT_A_CONN_PUBLISH_RATE,
			 client_config->max_publish_rate);
	if (client->level == PACKET_LEVEL_5)
		put_version_5(message, client);
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
		client_ended(client);
		return;
	}
	client->told = client->handled;
	client->state = CLIENT_ACTIVE;
	client_greeted(client);
	outbound_resume(client->session);
	hold_sent(client);
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
	client_ended(client);
}

static void build_judge(struct kmod_request *request, struct nlmsghdr *message,
			size_t room)
{
	struct client *client = client_of_request(request);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_CONN_ID, client->conn_id);
	mnl_attr_put_u8(message, KMQTT_A_CONN_LEVEL, client->level);
	acl_put(message, client->session);
	client->judged = true;
}

/*
 * The module gets the client's level before its subscriptions, and its rules
 * before anything that they are about.
 */
void connect_activate(struct client *client)
{
	static const struct kmod_command conn_set = {
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = NLM_F_ACK,
		.build = build_judge,
		.done = judge_done,
	};

	client->state = CLIENT_ACTIVATING;
	if (client->session->subject.role || client->level == PACKET_LEVEL_5) {
		client_request(client, &conn_set);
		return;
	}
	client->judged = true;
	subscribe_restore(client, activate);
}
