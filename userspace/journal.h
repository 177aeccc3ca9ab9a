/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The journal: what must survive the daemon, but not the machine. Connections,
 * how far each has come, and the sessions that are not in the database. It is
 * files on a tmpfs, mapped, to which records are appended: the kernel keeps what
 * is written there whatever becomes of the process. An append costs a copy, no
 * system call, and nobody waits for it.
 *
 * Records count once journal_commit() has been called: those between two calls
 * do together, or none of them does. It is called before each turn of the ring,
 * that is, before anything that the records are about leaves the process.
 *
 * When a file has grown, what is still true is written to the other one, and the
 * rest forgotten. So their pages are used again and again.
 */
#ifndef _KMQTTD_JOURNAL_H_
#define _KMQTTD_JOURNAL_H_

#include "message.h"
#include "packet.h"
#include "types.h"

/* The bit of a session's name in the store that says that it is in here. */
#define JOURNAL_SID (1ULL << 62)

/**
 * enum journal_type - what a record says
 * @JOURNAL_SESSION: there is a session @sid: @a its session expiry interval,
 *	seconds, 0: it ends with its connection; @b its next place in the order;
 *	@c as JOURNAL_SESSION_SEEN; the bytes are its client identifier
 * @JOURNAL_SESSION_SEEN: @a: seconds since 1970, when its connection ended; 0: it
 *	has one
 * @JOURNAL_SESSION_EXPIRY: @a: session expiry interval
 * @JOURNAL_SESSION_DEL: there is not, nor anything of it; but if the store has not
 *	reached mark @b, its deliveries are to be passed on; of a session in the
 *	database: it has ended
 * @JOURNAL_SUBSCRIPTION: it has a subscription: QoS @a, @b its options, @c its
 *	identifier, the bytes its filter
 * @JOURNAL_SUBSCRIPTION_DEL: it has not
 * @JOURNAL_WILL: it has a will, in milliseconds since 1970 due at @a; @b is as
 *	@b of JOURNAL_MESSAGE, @c the QoS and 0x100 for retain; the bytes are
 *	likewise
 * @JOURNAL_WILL_DEL: it has not; of a session in the database: those in the
 *	journal have had its will, and it has none if the store has reached mark @b
 * @JOURNAL_MESSAGE: contents of message @sid: QoS @a; @b: bytes of topic name,
 *	and from bit 16 on of properties, the rest is payload; @c: when it
 *	expires, milliseconds since 1970, or 0
 * @JOURNAL_DELIVERY: the session has a delivery: place @a, message @b, @c QoS,
 *	from bit 8 on flags, and from bit 16 on bytes of identifiers; the bytes
 *	are a struct origin's
 * @JOURNAL_DELIVERY_RELEASED: its place is @a, PUBREC has come
 * @JOURNAL_DELIVERY_DEL: its place is @a, it has been acknowledged, or somebody else
 *	has it since the session has ended
 * @JOURNAL_INBOUND: the client has published QoS 2 message @a, and those in the
 *	database that it is for have it if the store has reached mark @b
 * @JOURNAL_INBOUND_DEL: and released it
 * @JOURNAL_CONN: there is a connection, for the kernel cookie @sid, whose bytes
 *	are a struct journal_conn, and what belongs to it
 * @JOURNAL_CONN_SENT: a send of it begins: when the kernel has accepted @a
 *	bytes, @b bytes from the client have been answered, and deliveries up to
 *	place @c have been sent
 * @JOURNAL_CONN_DISCONNECTED: DISCONNECT has come: there is no will
 * @JOURNAL_CONN_REST: this is what a daemon that hands over was sending to it: the
 *	bytes begin at byte @a of those to the client, and end with the last
 *	JOURNAL_CONN_SENT
 * @JOURNAL_CONN_HEAD: this is the beginning of a packet from it, which the kernel
 *	is about to forget, from byte @a on; or more of that, which takes the place
 *	of what is there from byte @a on
 * @JOURNAL_CONN_DEL: it is no more, and its will, if any, published, or left to its
 *	session, if the store has reached mark @b
 * @JOURNAL_SINK: what the sink had up to record @a has been handled, if the store
 *	has reached mark @b; otherwise, what is in the journal has come of it, and
 *	the rest has not. @c is 1 if subscriptions have KMQTT_SUB_UPGRADE
 * @JOURNAL_INJECTION: message @sid is to be injected, as number @a; @b is 1 if it
 *	was published with the retain flag, @c the connection that published it
 * @JOURNAL_SESSION_SENT: deliveries up to place @a were sent on a connection that
 *	has ended
 */
enum journal_type {
	JOURNAL_SESSION,
	JOURNAL_SESSION_SEEN,
	JOURNAL_SESSION_EXPIRY,
	JOURNAL_SESSION_DEL,
	JOURNAL_SUBSCRIPTION,
	JOURNAL_SUBSCRIPTION_DEL,
	JOURNAL_WILL,
	JOURNAL_WILL_DEL,
	JOURNAL_MESSAGE,
	JOURNAL_DELIVERY,
	JOURNAL_DELIVERY_RELEASED,
	JOURNAL_DELIVERY_DEL,
	JOURNAL_INBOUND,
	JOURNAL_INBOUND_DEL,
	JOURNAL_CONN,
	JOURNAL_CONN_SENT,
	JOURNAL_CONN_DISCONNECTED,
	JOURNAL_CONN_REST,
	JOURNAL_CONN_HEAD,
	JOURNAL_CONN_DEL,
	JOURNAL_SINK,
	JOURNAL_INJECTION,
	JOURNAL_SESSION_SENT,
};

/**
 * struct journal_record - a record
 * @size: bytes of it, a multiple of 8
 * @type: enum journal_type
 * @len: bytes of @bytes
 * @sid: whom it is about
 * @a: see enum journal_type
 * @b: likewise
 * @c: likewise
 * @bytes: likewise
 */
struct journal_record {
	u32 size;
	u32 type;
	u64 len;
	u64 sid;
	u64 a;
	u64 b;
	u64 c;
	u8 bytes[];
};

/**
 * struct journal_conn - a connection that was accepted
 * @keepalive: seconds
 * @level: protocol level
 * @clean: it asked for a clean session
 * @has_will: it has a will
 * @will_retain: to be published retained
 * @will_qos: at this QoS
 * @explain: as in struct client
 * @enhanced: likewise
 * @receive_max: likewise
 * @max_send: likewise
 * @allowed: likewise
 * @will_delay: seconds
 * @properties_len: bytes of the will's properties, which follow its topic name
 * @id_len: bytes of client identifier, which follows
 * @topic_len: bytes of the will's topic name, which follow; its payload is last
 */
struct journal_conn {
	u16 keepalive;
	u8 level;
	u8 clean;
	u8 has_will;
	u8 will_retain;
	u8 will_qos;
	u8 explain;
	u8 enhanced;
	u16 receive_max;
	u32 max_send;
	struct packet_allowance allowed;
	u32 will_delay;
	u32 properties_len;
	u16 id_len;
	u16 topic_len;
};

/*
 * Opens, or makes, the journal of this network namespace in @directory. Failures
 * are logged: then there is no journal, and clients do not outlive the daemon.
 */
void journal_open(const char *directory);

/*
 * Hands all that is in it to @load, whose error ends it: then the journal is
 * empty, and it is returned. @rewrite has to write all that is still true.
 */
int journal_load(int (*load)(const struct journal_record *record),
		 void (*rewrite)(void));

bool journal_enabled(void);

/* Whether a record with @len bytes finds room; one that does not ends the journal. */
bool journal_has_room(size_t len);

/* Changes whenever the journal is written anew. */
u32 journal_generation(void);

/* Appends a record, of @len bytes at @bytes, and @more_len at @more. */
void journal_append2(enum journal_type type, u64 sid, u64 a, u64 b, u64 c,
		     const void *bytes, size_t len, const void *more,
		     size_t more_len);

static inline void journal_append(enum journal_type type, u64 sid, u64 a, u64 b,
				  u64 c)
{
	journal_append2(type, sid, a, b, c, NULL, 0, NULL, 0);
}

struct store_delivery;
struct store_will;

/* A delivery, with its message if that is not here already. */
void journal_delivery(u64 sid, const struct store_delivery *delivery);

/* A will. */
void journal_will(u64 sid, const struct store_will *will);

/*
 * The message in a record, of JOURNAL_MESSAGE or JOURNAL_WILL: as message_load()
 * is given it. False if there is none.
 */
struct message_parts;
bool journal_parts(const struct journal_record *record,
		   struct message_parts *parts);

/* A message to be injected, likewise. */
void journal_injection(u64 number, struct message *message, bool retain,
		       u32 conn_id);

/* What was appended holds from now on. */
void journal_commit(void);

/*
 * What has been appended must not be forgotten, though it is not true any more,
 * before this change is on disk, nor those asked for earlier; unless the disk
 * takes too long. 0: it may be.
 */
void journal_keep(u64 change);

/* The daemon ends in order: nothing of it is to be taken over. */
void journal_forget(void);

#endif /* _KMQTTD_JOURNAL_H_ */
