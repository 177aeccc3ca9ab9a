/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The store: what must survive the daemon and the machine, in an SQLite
 * database (WAL, synchronous=FULL) with one thread that writes it.
 *
 * The main thread queues changes, which costs no disk access and cannot fail,
 * and gets a number for each. The thread commits all that are there in one
 * transaction, with one fsync, and the main thread hears of it on the ring:
 * numbers up to store_committed() are on disk. Changes take effect in the order
 * they were queued in, reads among them.
 *
 * While the disk does not take writes (full, or failing), store_healthy() is
 * false: the queue is kept and tried again every second, and whoever is about
 * to accept work that must be durable refuses it instead. Nothing is lost that
 * was queued, as long as the daemon runs.
 *
 * A session that need not survive the machine has a @sid with JOURNAL_SID in it:
 * its changes go to the journal (journal.h), and are as good as on disk: 0.
 *
 * All functions are the main thread's. Without store_open(), with persistence
 * off, only store_enabled() may be called, and changes of such sessions made.
 */
#ifndef _KMQTTD_STORE_H_
#define _KMQTTD_STORE_H_

#include "message.h"
#include "origin.h"
#include "types.h"

/**
 * enum store_state - how far a delivery has come
 * @STORE_QUEUED: it has not been sent
 * @STORE_SENT: PUBLISH was sent, PUBACK or PUBREC is awaited
 * @STORE_RELEASED: PUBREC has come: PUBREL is to be (or was) sent, PUBCOMP
 *	awaited; the message's contents are no longer needed
 */
enum store_state {
	STORE_QUEUED,
	STORE_SENT,
	STORE_RELEASED,
};

/* Options of a subscription (MQTT 5, section 3.8.3.1). */
#define STORE_NO_LOCAL		0x1
#define STORE_RETAIN_AS_PUBLISHED	0x2

/* How a delivery is sent. */
#define STORE_RETAINED	0x1	/* it was retained: RETAIN, because of SUBSCRIBE */
#define STORE_RETAIN	0x2	/* RETAIN, as it was published */

/* A session expiry interval that never ends (MQTT 5, section 3.1.2.11.2). */
#define STORE_FOREVER	0xffffffff

/**
 * struct store_session - a session as loaded
 * @sid: the store's name for it, from 1
 * @id: client identifier
 * @id_len: bytes of it
 * @next_seq: higher than any that a delivery of it ever had; with a gap, since
 *	the store counts ahead, once for all sessions
 * @queued: deliveries that it has
 * @retained: those of them that are STORE_RETAINED
 * @queued_bytes: message_bytes() of @queued
 * @retained_bytes: of @retained
 * @seen: seconds since 1970, when its connection ended, 0 if it had one when
 *	the store was written last
 * @expiry: session expiry interval, seconds, or STORE_FOREVER; 0: it has ended,
 *	and only what goes to other sessions is left of it
 */
struct store_session {
	u64 sid;
	const u8 *id;
	u16 id_len;
	u64 next_seq;
	u32 queued;
	u32 retained;
	u64 queued_bytes;
	u64 retained_bytes;
	s64 seen;
	u32 expiry;
};

/**
 * struct store_subscription - a subscription
 * @filter: topic filter; of a shared one with "$share/" and its name
 * @len: bytes of it
 * @qos: granted, 0 to 2
 * @options: mask of STORE_NO_LOCAL and STORE_RETAIN_AS_PUBLISHED
 * @identifier: subscription identifier, 0: it has none
 */
struct store_subscription {
	const u8 *filter;
	u16 len;
	u8 qos;
	u8 options;
	u32 identifier;
};

/**
 * struct store_will - a will that waits for its delay to pass
 * @due: milliseconds since 1970, when it is to be published
 * @message: it; its message expiry interval has not begun
 * @retain: published retained
 */
struct store_will {
	s64 due;
	struct message *message;
	bool retain;
};

/**
 * struct store_delivery - a message for a session
 * @seq: its place in the session's order, from 1
 * @message: contents, with a reference for the receiver; NULL once released
 * @origin: where it comes from; owned by the receiver
 * @qos: that it is delivered at, 0 to 2
 * @flags: mask of STORE_RETAINED and STORE_RETAIN
 * @state: enum store_state
 */
struct store_delivery {
	u64 seq;
	struct message *message;
	struct origin *origin;
	u8 qos;
	u8 flags;
	u8 state;
};

/**
 * struct store_loader - takes what is in the store while store_open() runs
 * @session: a session
 * @subscription: one of a session's, which was given before
 * @will: that of a session, likewise; the reference is the callee's
 * @inbound: a packet identifier of a QoS 2 message that the session's client
 *	published and has not released
 * @retained: a retained message; the reference is the callee's
 * @done: all is open and has been read; the thread comes next
 *
 * What they return, if not 0, ends store_open().
 */
struct store_loader {
	int (*session)(const struct store_session *session);
	int (*subscription)(u64 sid,
			    const struct store_subscription *subscription);
	int (*will)(u64 sid, const struct store_will *will);
	int (*inbound)(u64 sid, u16 packet_id);
	int (*retained)(struct message *message);
	int (*done)(void);
};

/**
 * struct store_read - a page of a session's queue, asked for
 * @sid: whose
 * @from: the first @seq wanted
 * @max: most deliveries wanted
 * @done: called from ring_turn() with @nr of them, in order: fewer than @max
 *	when there are no more. The references of messages are the callee's.
 *	Always called, unless the store is closed before.
 *	It waits while store_healthy() is false.
 */
struct store_read {
	u64 sid;
	u64 from;
	u32 max;
	void (*done)(struct store_read *read, struct store_delivery *deliveries,
		     u32 nr);
};

/* The receiver's share of a delivery that nobody wants. */
void store_delivery_free(struct store_delivery *delivery);

/*
 * Opens, or makes with mode 0600, the database at @path, hands its contents to
 * @loader, and starts the thread. A database that is damaged, or not one, is
 * moved aside to a free name beside it, loudly, together with its -wal and
 * -shm, and an empty one is made. One of an older schema is brought up to date;
 * one of a newer is left alone: -EPROTO. 0, or -errno, which has been logged.
 * @committed is called from ring_turn() whenever store_committed() has grown,
 * and when store_healthy() has changed.
 */
int store_open(const char *path, const struct store_loader *loader,
	       void (*committed)(void));

/* Commits everything, stops the thread, and closes the database. 0 or -EIO. */
int store_close(void);

bool store_enabled(void);
bool store_healthy(void);
u64 store_committed(void);

/*
 * Gives the thread what has been queued. To be called before each turn of the
 * ring: changes between two calls are committed together, or none of them is.
 */
void store_flush(void);

/*
 * The number of the change queued last. Numbers go on where the last mark in the
 * database was: 0 in a new one.
 */
u64 store_queued(void);

/*
 * What the journal says of something that is in the database as well is true if
 * that is on disk, and must not be believed if it is not. So it says with which
 * mark: store_mark() makes one for all changes before it, or is 0 if they are on
 * disk; when the journal is read, store_reached() tells. STORE_NEVER never is.
 */
#define STORE_NEVER (~0ULL)
u64 store_mark(void);
bool store_reached(u64 mark);

/*
 * Changes; each returns its number. Bytes given are copied, messages held. A
 * session that is made has the next free @sid, a name never used again.
 */
u64 store_new_sid(void);
void store_sids_from(u64 sid);	/* those before @sid have been used */
u64 store_session_add(u64 sid, const u8 *id, u16 id_len, u32 expiry);
u64 store_session_expiry(u64 sid, u32 expiry);
u64 store_session_seen(u64 sid, s64 seen);
/* One in the database, with everything that is its own. */
u64 store_session_del(u64 sid);
u64 store_subscription_set(u64 sid,
			   const struct store_subscription *subscription);
u64 store_subscription_del(u64 sid, const u8 *filter, u16 len);
u64 store_delivery_add(u64 sid, const struct store_delivery *delivery);
u64 store_delivery_state(u64 sid, u64 seq, enum store_state state);
u64 store_delivery_del(u64 sid, u64 seq);
u64 store_will_set(u64 sid, const struct store_will *will);
u64 store_will_del(u64 sid);
/* @owed: changes queued just now are of the same message. */
u64 store_inbound_add(u64 sid, u16 packet_id, bool owed);
u64 store_inbound_del(u64 sid, u16 packet_id);
u64 store_retained_set(struct message *message);	/* empty: removes it */
u64 store_retained_del(struct message *message);	/* its topic's */

/* Reads; sees all changes queued before. */
void store_read(struct store_read *read);

/* Counters since the store was opened. */
struct store_stats {
	u64 changes;
	u64 commits;	/* one fsync of the WAL each */
};

void store_stats(struct store_stats *stats);

#endif /* _KMQTTD_STORE_H_ */
