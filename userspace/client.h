/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Clients: one for each connection, from accept to the end.
 *
 * client.c has the connection's life and its bytes, connect.c what leads from
 * CONNECT to an active connection, dispatch.c the packets after it, subscribe.c
 * SUBSCRIBE and UNSUBSCRIBE, commit.c what waits for the disk, hold.c what the
 * module holds back, trunk.c and publish.c (with headers of their own) the way
 * to the module and back, and PUBLISH and PUBREL.
 */
#ifndef _KMQTTD_CLIENT_H_
#define _KMQTTD_CLIENT_H_

#include <netinet/in.h>
#include <sys/queue.h>

#include "buffer.h"
#include "config.h"
#include "former.h"
#include "inject.h"
#include "kmod.h"
#include "listener.h"
#include "log.h"
#include "message.h"
#include "packet.h"
#include "ring.h"
#include "session.h"
#include "table.h"
#include "types.h"
#include "users.h"

/**
 * enum client_state - where a connection is in its life
 * @CLIENT_ATTACHING: the kernel is asked to take it (conn-add), or, of one that
 *	the daemon before had, to give it back (conn-adopt)
 * @CLIENT_CONNECTING: its CONNECT is awaited
 * @CLIENT_AUTHENTICATING: its password is compared
 * @CLIENT_EXCHANGING: its next AUTH is awaited (MQTT 5, section 4.12)
 * @CLIENT_TAKEOVER: the connection that had its identifier must go first
 * @CLIENT_GREETING: CONNACK is being sent
 * @CLIENT_ACTIVATING: the kernel is asked to handle its messages (conn-set)
 * @CLIENT_ACTIVE: it is connected
 * @CLIENT_PARTING: the last packet is being sent: a CONNACK that refuses it, a
 *	DISCONNECT, or the answer to what came before its own DISCONNECT
 * @CLIENT_ENDING: the kernel is asked to end it, or did, and what is under way
 *	must come to its end; then the client is freed
 */
enum client_state {
	CLIENT_ATTACHING,
	CLIENT_CONNECTING,
	CLIENT_AUTHENTICATING,
	CLIENT_EXCHANGING,
	CLIENT_TAKEOVER,
	CLIENT_GREETING,
	CLIENT_ACTIVATING,
	CLIENT_ACTIVE,
	CLIENT_PARTING,
	CLIENT_ENDING,
};

struct auth;
struct login;
struct subscribing;

STAILQ_HEAD(late_acks, late_ack);
TAILQ_HEAD(clients, client);

/**
 * struct hold - messages that the module holds back, until a client has what is
 *	retained
 * @link: among those that wait for the sink to be read
 * @client: the client
 * @sink_seq: as far as it must be read
 * @from: bytes that have been taken from the client's packets: no more may be
 *	done while there are retained messages to be sent
 * @snapshot: the place of its snapshot among injected messages
 * @trim: tells the module of the snapshot
 * @release: tells it to hold nothing back any more
 * @up: it does
 * @waiting: it is in the list of @link
 * @trimming: @trim waits for its turn, or its answer
 * @releasing: @release is under way
 */
struct hold {
	TAILQ_ENTRY(hold) link;
	struct client *client;
	u64 sink_seq;
	u64 from;
	struct inject_mark snapshot;
	struct kmod_request trim;
	struct kmod_request release;
	bool up;
	bool waiting;
	bool trimming;
	bool releasing;
};

/**
 * struct client - one connection
 * @link: among all clients
 * @greeting: among those that are not active yet, the oldest first, or among
 *	those that are parting
 * @commit: among those that wait for the disk
 * @unsent: among those with packets to be sent
 * @paused: among those whose packets wait for the module
 * @node: by @conn_id; by @cookie before it is @attached
 * @session: from CONNECT on; NULL before
 * @listener: where it came from
 * @peer: the address at the other end
 * @login: while its password is compared, else NULL
 * @auth: while AUTH packets are exchanged, else NULL
 * @username: its user name, NULL without one; owned
 * @username_len: bytes of it
 * @user: whose password it has given, or NULL; a reference
 * @fd: its socket
 * @conn_id: the kernel's name for it
 * @since: when it was accepted, milliseconds
 * @dropped_at: when it was last logged that messages to it were dropped,
 *	likewise
 * @kernel_state: enum kmqtt_conn_state when it was adopted
 * @dismissed: the daemon before had told it DISCONNECT, or was about to
 * @keepalive: seconds
 * @receive_max: messages above QoS 0 that it takes at once, 1 to 65535
 * @max_send: bytes of the largest packet that it takes, at most KMQTT_PACKET_MAX
 * @allowed: what it was told when it connected
 * @session_expiry: seconds that its session outlives it, or PACKET_NO_EXPIRY
 * @asked_expiry: what it has asked for
 * @will_delay: seconds
 * @unacknowledged: messages above QoS 0 that it has published on this connection
 *	and that have not been acknowledged
 * @half: bytes of @in, when that was a packet in part last (half.h)
 * @half_since: since when it waits to be kept, milliseconds, or 0
 * @level: protocol level, 0 before CONNECT
 * @clean: it asked for a clean session
 * @assigned: its identifier was made up
 * @other_keepalive: @keepalive is not what it asked for
 * @wants_response: it asked for response information
 * @explain: it may be told reason strings in any packet
 * @enhanced: it named an authentication method
 * @broken: a send has failed: no packet can follow
 * @silencing: what is to be sent is the last: the kernel is asked to send nothing
 *	in between
 * @present: there was a session to go on with
 * @judged: the module has been told what it may do
 * @will_retain: publish @will retained
 * @will: to be published if it does not disconnect in order, or NULL
 * @state: enum client_state
 * @committing: it is in the list of @commit
 * @has_unsent: it is in the list of @unsent
 * @is_paused: it is in the list of @paused
 * @attached: the kernel has it, as @conn_id
 * @requesting: @request is under way
 * @arriving: what it sends is for this daemon
 * @sending: @sent is on its way
 * @resumes: @sent is the rest of what the daemon before was sending
 * @eof: the connection is broken: only what is in @in is still handled
 * @kernel_ended: the kernel said once that it has ended
 * @deleted: the kernel has forgotten it
 * @has_predecessor: another client's @successor is this one
 * @successor: waits for this one to be deleted
 * @reason: why it ends; "" when the client said so, NULL when the kernel knows
 * @request: to the kernel, one at a time
 * @send: sends what of @sent has not gone through the trunk
 * @cancel: cancels that
 * @ops: operations of the ring, and requests of @hold, under way
 * @subscribing: the SUBSCRIBE or UNSUBSCRIBE being worked on, or NULL
 * @cookie: its name in the journal
 * @handled: bytes that have been taken from @in
 * @told: bytes that the kernel knows are done, or in the journal (half.h)
 * @published: place of the last delivery in @out, or before
 * @before: progress with the last send but one
 * @now: with the last
 * @hold: the messages that the module holds back, or NULL
 * @restoring: the next subscription of the session for the module, or NULL
 * @awaited: what has to be on disk before @then is called; 0: nothing
 * @then: what goes on when it is
 * @held: acknowledgments that wait for the disk, in order
 * @held_weight: bytes of messages that they are about, and some for each
 * @head: the beginning of a packet that the kernel has forgotten, and the journal
 *	has, or NULL
 * @in: bytes received and not handled yet
 * @out: packets to be sent, whole ones
 * @sent: packets being sent
 */
struct client {
	TAILQ_ENTRY(client) link;
	TAILQ_ENTRY(client) greeting;
	TAILQ_ENTRY(client) commit;
	TAILQ_ENTRY(client) unsent;
	TAILQ_ENTRY(client) paused;
	struct table_node node;
	struct session *session;
	struct listener *listener;
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	} peer;
	int fd;
	struct login *login;
	struct auth *auth;
	u8 *username;
	struct user *user;
	u32 conn_id;
	u32 since;
	u32 dropped_at;
	u32 max_send;
	u32 session_expiry;
	u32 asked_expiry;
	u32 will_delay;
	u32 unacknowledged;
	u32 ops;
	u32 held_weight;
	u32 half;
	u32 half_since;
	struct packet_allowance allowed;
	u16 keepalive;
	u16 username_len;
	u16 receive_max;
	u8 level;
	u8 state;
	u8 kernel_state;
	bool clean : 1;
	bool assigned : 1;
	bool other_keepalive : 1;
	bool wants_response : 1;
	bool explain : 1;
	bool enhanced : 1;
	bool broken : 1;
	bool silencing : 1;
	bool present : 1;
	bool judged : 1;
	bool will_retain : 1;
	bool committing : 1;
	bool has_unsent : 1;
	bool is_paused : 1;
	bool attached : 1;
	bool requesting : 1;
	bool arriving : 1;
	bool sending : 1;
	bool resumes : 1;
	bool eof : 1;
	bool kernel_ended : 1;
	bool dismissed : 1;
	bool deleted : 1;
	bool has_predecessor : 1;
	struct client *successor;
	const char *reason;
	struct kmod_request request;
	struct ring_op send;
	struct ring_op cancel;
	struct message *will;
	struct subscribing *subscribing;
	u64 cookie;
	u64 handled;
	u64 told;
	u64 published;
	struct progress before;
	struct progress now;
	struct hold *hold;
	struct subscription *restoring;
	u64 awaited;
	void (*then)(struct client *client);
	struct late_acks held;
	struct half *head;
	struct buffer in;
	struct buffer out;
	struct buffer sent;
};

/* Bytes that client_name() needs. */
#define CLIENT_NAME_SIZE LOG_ESCAPED(LOG_TEXT_MAX)

/* Milliseconds, for differences: it wraps. */
u32 client_clock(void);

/* Whether another daemon will know of it. */
bool client_is_journaled(const struct client *client);

/* The settings that clients are treated by; they must stay. */
void client_configure(const struct config *config);

/* Takes over @fd, just accepted by @listener: closes it, or makes a client. */
void client_accept(struct listener *listener, int fd);

/* What the kernel says about a connection that has event bits, or about any. */
void client_record(const struct kmod_reply *record);

/*
 * Whether connections that it does not know are adopted, or forgotten. No CONNECT
 * is handled as long as they are.
 */
void client_adopting(bool adopting);

/* Writes all connections to the journal anew. */
void client_rewrite(void);

/* To be called once a second, for time-outs. */
void client_tick(void);

/*
 * To be called before each turn of the ring, and before trunk_flush(): sends
 * what there is to send.
 */
void client_flush(void);

/* More of the sink has been read. */
void client_sink_read(void);

/*
 * @len bytes have come from a connection, or with none, there will be none any
 * more. @cookie is its name as long as its number is not known.
 */
void client_arrived(u32 conn_id, u64 cookie, const u8 *data, size_t len);

/* client_fail() for the client of a connection, if there is one. */
void client_fail_conn(u32 conn_id, enum reason reason, const char *text);

/* The session of a connection, or NULL. */
struct session *client_session(u32 conn_id);

/* The module takes messages again. */
void client_resume_publishers(void);

/*
 * Another daemon is to take all clients over: handles no more packets, but for
 * those of which the kernel has forgotten the beginning. With !@on, goes on.
 */
void client_quiesce(bool on);

/* Whether no packet is half sent or half received any more. */
bool client_quiet(void);

/*
 * Whether what is half can be finished by another daemon; with @stuck, but for
 * clients in the middle of a large packet whose last ones are not done with, and
 * whose beginning is not in the journal.
 */
bool client_can_bequeath(bool stuck);

/* Writes what is half to the journal. Nothing may be done for clients then. */
void client_bequeath(void);

/* client_fail() for all clients. */
void client_fail_all(enum reason reason);

/* Ends those that the settings, which have changed, let in no more. */
void client_review(void);

/* How many clients there are. */
u32 client_count(void);

/* For connect.c and subscription.c: */

extern const struct config *client_config;

/* The identifier for the log, "<unknown>" without one, written to @name. */
const char *client_name(const struct client *client,
			char name[CLIENT_NAME_SIZE]);

/* IP:PORT for the log, written to @text. */
#define CLIENT_ADDRESS_SIZE (INET6_ADDRSTRLEN + sizeof(":65535"))
const char *client_address(const struct client *client,
			   char text[CLIENT_ADDRESS_SIZE]);

/* One that is to be attached; NULL without memory. */
struct client *client_new(u64 cookie);

/* It counts among the clients. */
void client_list(struct client *client);

/* The kernel has it, as @conn_id. */
void client_attach(struct client *client, u32 conn_id);

/*
 * Ends the connection, for @reason, a literal: a text for the log, "" when the
 * client disconnected, or NULL for what the kernel will say. It stays until the
 * kernel has let go of it; one that is not @attached may be gone at once.
 */
void client_end(struct client *client, const char *reason);

/*
 * Ends the connection, and tells a client of MQTT 5 why, in a DISCONNECT after
 * all that has been sent, if it has had its CONNACK. @text, a literal, is for the
 * log, and for the client; NULL: reason_text().
 */
void client_fail(struct client *client, enum reason reason, const char *text);

/*
 * Its identifier is its successor's now. If it was let in, what it has sent before
 * that is handled first: DISCONNECT, if it was that, means that there is no will.
 * The module, told to receive no more, says when that is all.
 */
void client_cede(struct client *client);

/*
 * The kernel has ended it, or there is nothing more to come: tells the client
 * why, likewise. Only while it is not @requesting.
 */
void client_ended(struct client *client);

/*
 * What has been sent last is the last packet: the connection ends once it has
 * left, or some seconds later. @reason as for client_end().
 */
void client_part(struct client *client, const char *reason);

/* Whether it is on its way out: no packet is handled or sent any more. */
static inline bool client_is_leaving(const struct client *client)
{
	return client->state >= CLIENT_PARTING;
}

/* Asks the kernel; only while the client is not @requesting. */
void client_request(struct client *client, const struct kmod_command *command);

/*
 * The first thing to call when the answer is there. False when the client is
 * ending: then the answer is of no interest any more.
 */
bool client_answered(struct client *client);

/* One of @client->ops is over: nothing of the client may be used after it. */
void client_operation_done(struct client *client);

static inline struct client *client_of_request(struct kmod_request *request)
{
	return container_of(request, struct client, request);
}

/*
 * Sends a whole packet, with the next client_flush(), or ends the client when
 * there is no memory for it.
 */
void client_send(struct client *client, const void *packet, size_t len);

/*
 * The same for a packet that the caller writes, at once, @len bytes to where it
 * returns; NULL when the client has ended.
 */
u8 *client_reserve(struct client *client, size_t len);

/* Whether something for it has not left, and can leave. */
bool client_is_sending(const struct client *client);

/* Whether messages may be sent to it now. */
bool client_writable(const struct client *client);

/*
 * Sends a PUBLISH: @flags of its first byte, @id for QoS 1 and 2. False, and
 * nothing is sent, if it is larger than the client accepts.
 */
bool client_publish(struct client *client, const struct message *message,
		    const struct origin *origin, u8 flags, u16 id);

/* It is active from here on, or its time is otherwise no longer limited. */
void client_greeted(struct client *client);

/* Whether the module judges its messages by rules, or would. */
static inline bool client_is_judged(const struct client *client)
{
	return client->judged && client->attached;
}

/* @len bytes of packets at the head of @client->in have been handled. */
void client_consume(struct client *client, size_t len);

/* Sends @client->sent, which another daemon has begun to. */
void client_send_rest(struct client *client);

/* Has the ring send what of @client->sent has not left yet. */
void client_ring_send(struct client *client);

/* @client->sent has left, or !@whole: it cannot, the connection is broken. */
void client_sent(struct client *client, bool whole);

/* Notes in the journal that it is there, before CONNACK says so. */
void client_journal(const struct client *client);

/* Handles the packets that have arrived, as far as that is possible now. */
void client_pump(struct client *client);

/* connect.c */

struct kmqtt_frame;

/* Bytes of the largest CONNECT, before which nobody is known. */
u32 connect_max(void);

/* Handles a CONNECT; @data: what follows its fixed header. */
void connect_handle(struct client *client, const struct kmqtt_frame *frame,
		    const u8 *data);

/* Refuses it with a CONNACK; @text as for client_fail(). */
void connect_refuse(struct client *client, enum reason reason,
		    const char *text);

/*
 * Goes on after CLIENT_AUTHENTICATING, which ended so (login_open()).
 */
void connect_authenticated(struct client *client,
			   const struct packet_connect *connect,
			   struct user *user);

/* Handles an AUTH, @len bytes after the fixed header. */
void connect_handle_auth(struct client *client, const u8 *data, size_t len);

/* The session expiry interval that it asks for, now, as far as it is granted. */
void connect_set_expiry(struct client *client, u32 expiry);

/* Why the settings, as they are now, do not let it in, or REASON_SUCCESS. */
enum reason connect_review(const struct client *client);

/* Where it is to go instead, for @reason, or NULL: a UTF-8 string. */
const char *connect_reference(enum reason reason);

/* Would the settings, as they are now, let it in as the user that it is? */
bool connect_permits(const struct client *client);

/* Goes on after CLIENT_TAKEOVER: the identifier is free. */
void connect_greet(struct client *client);

/* Goes on after CLIENT_GREETING: CONNACK has been sent. */
void connect_activate(struct client *client);

/* commit.c: what waits for the disk. */

/* Bytes of messages whose acknowledgments wait, beyond which others have to. */
#define COMMIT_MAX (1 << 20)

/*
 * Sends a PUBACK, PUBREC, PUBREL or PUBCOMP, as @type says, once @change is on
 * disk, and in the order of the calls. @reason is for clients of MQTT 5.
 */
void commit_acknowledge(struct client *client, u8 type, u16 id,
			enum reason reason, u64 change);

/* Sends the first PUBREC, likewise; the journal has @mark for this message. */
void commit_received(struct client *client, u16 id, enum reason reason,
		     u64 mark);

/*
 * Calls @then once @change is on disk, which may be at once. Until then no
 * packet of the client is handled.
 */
void commit_await(struct client *client, u64 change,
		  void (*then)(struct client *client));

/* What has been handled asks for no answer, but is not done before @change. */
void commit_silently(struct client *client, u64 change);

/*
 * What has been handled asks for no answer, and goes on: it has not been done with
 * before commit_settled() has said which change has to be on disk.
 */
void commit_unsettled(struct client *client);
void commit_settled(struct client *client, u64 change);

/* Whether more may be handled that will wait. */
static inline bool commit_has_room(const struct client *client)
{
	return client->held_weight < COMMIT_MAX;
}

/*
 * What all the acknowledgments that wait now wait for. An answer that overtook
 * them would leave once more if the daemon died: what is behind them is not done.
 */
u64 commit_change(const struct client *client);

/* Bytes that have been handled and wait for nothing. */
u64 commit_handled(const struct client *client);

/* Notes in the journal what of QoS 2 waits. */
void commit_journal(const struct client *client);

/* Nothing waits any more. */
void commit_forget(struct client *client);

/* More changes are on disk, or the store's health has changed. */
void commit_done(void);

/* dispatch.c */

/*
 * Handles the first packet of @client->in. False when there is none that can be:
 * it is not here wholly, has to wait, or ends the client.
 */
bool dispatch_next(struct client *client);

/* hold.c: messages held back while a new subscription gets what is retained. */

/*
 * The module holds messages back from now on; the sink must be read up to
 * @sink_seq before what is retained is queued. 0 or -ENOMEM.
 */
int hold_begin(struct client *client, u64 sink_seq);

/* Whether it does. */
static inline bool hold_is_up(const struct client *client)
{
	return client->hold && client->hold->up;
}

/* Whether packets have to wait for the sink, or for the module. */
static inline bool hold_delays(const struct client *client)
{
	return client->hold &&
	       (client->hold->waiting || client->hold->trimming);
}

/* Whether the sink has been read as far as it must be. */
bool hold_sink_is_read(const struct client *client);

/* Calls @then once it has been. */
void hold_await_sink(struct client *client,
		     void (*then)(struct client *client));

/*
 * What is retained has just been queued for the client: what the module holds
 * back of it is left out, and the rest let go when that has been sent.
 */
void hold_snapshot(struct client *client);

/* Something has been sent: lets go what is held back if that was the last. */
void hold_sent(struct client *client);

/* Nothing is waited for any more. */
void hold_forget(struct client *client);

/* The client has no operations under way any more. */
void hold_free(struct client *client);

/* subscribe.c */

/*
 * Handles a SUBSCRIBE, or with !@subscribe an UNSUBSCRIBE, which is at the head
 * of @client->in: @size bytes, @header of them the fixed header. True when that
 * is done; else the packet must stay where it is: it will be consumed, and the
 * client pumped, later.
 */
bool subscribe_handle(struct client *client, bool subscribe, size_t header,
		      size_t size);

/* The module has heard of the snapshot: more of the packet may follow. */
void subscribe_go_on(struct client *client);

/*
 * Tells the module the subscriptions of a session that goes on; then calls
 * @then.
 */
void subscribe_restore(struct client *client,
		       void (*then)(struct client *client));

/* Whether retained messages are being sent, so many that others have turns. */
bool subscribe_is_walking(const struct client *client);

/* Sends no more retained messages: the client leaves. */
void subscribe_forget(struct client *client);

/* Forgets the packet that is being worked on, if there is one. */
void subscribe_free(struct client *client);

#endif /* _KMQTTD_CLIENT_H_ */
