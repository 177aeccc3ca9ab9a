/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a session still has to get: messages that wait, and those sent and not
 * acknowledged yet (sections 4.3 and 4.4).
 *
 * Each delivery above QoS 0 has a place in the session's order, @seq, and the
 * packet identifier follows from it, so that both are the same after a restart
 * without a write in between.
 *
 * Of a session in the store, memory holds only the head of the queue, and
 * nothing while it is away; the rest is read when there is room.
 */
#ifndef _KMQTTD_OUTBOUND_H_
#define _KMQTTD_OUTBOUND_H_

#include <sys/queue.h>

#include "config.h"
#include "message.h"
#include "store.h"
#include "table.h"
#include "types.h"

struct reading;
struct session;
struct store_session;

/**
 * struct delivery - a message for one session
 * @link: in struct outbound
 * @by_id: likewise, where there is an index
 * @message: with a reference; NULL once released
 * @origin: where it comes from; owned
 * @seq: place in the session's order, from 1; 0 at QoS 0
 * @change: of the store, that has to be on disk before a QoS 2 PUBLISH leaves
 * @qos: delivered at
 * @flags: mask of STORE_RETAINED and STORE_RETAIN
 * @state: enum store_state; STORE_SENT and waiting: to be sent again, with DUP
 */
struct delivery {
	TAILQ_ENTRY(delivery) link;
	struct table_node by_id;
	struct message *message;
	struct origin *origin;
	u64 seq;
	u64 change;
	u8 qos;
	u8 flags;
	u8 state;
};

TAILQ_HEAD(deliveries, delivery);

/**
 * struct outbound - the queue of a session
 * @passing: at QoS 0, not sent, in order: no window keeps them waiting
 * @waiting: above, not sent on this connection, in order; but those of which PUBREC
 *	has come are the first
 * @inflight: sent, not acknowledged, in the order in which they were sent
 * @index: of @inflight by packet identifier, when there are many; while the journal
 *	is read, of @waiting
 * @waiting_count: of @waiting
 * @inflight_count: of @inflight
 * @beyond: deliveries that come after @waiting and are in the store only
 * @queued: all that are not in flight, those beyond included
 * @exempt: those of @queued that are retained messages: no limit counts them,
 *	up to as many as there are
 * @queued_bytes: message_bytes() of @queued
 * @exempt_bytes: of @exempt, up to the bytes that there are
 * @next_seq: of the next delivery
 * @last_seq: of the last one of @waiting and @inflight, as far as the store goes
 * @sent: those up to this place were sent on a connection that has ended
 * @sent_change: the last change to the database by then
 * @adopted: those up to this place were sent on the connection that there is, by
 *	the daemon before
 * @reading: a page of those beyond is being read
 * @dropping: the last delivery was dropped at a limit
 * @recalling: some of those up to @adopted have not been read yet
 */
struct outbound {
	struct deliveries passing;
	struct deliveries waiting;
	struct deliveries inflight;
	struct table *index;
	u32 waiting_count;
	u32 inflight_count;
	u32 beyond;
	u32 queued;
	u32 exempt;
	bool dropping;
	bool recalling;
	u64 queued_bytes;
	u64 exempt_bytes;
	u64 next_seq;
	u64 last_seq;
	u64 sent;
	u64 sent_change;
	u64 adopted;
	struct reading *reading;
};

/* The limits; they must stay. */
void outbound_configure(const struct config *config);

void outbound_init(struct outbound *outbound);

/*
 * Queues a message for @session; of @wanted, @seq and @state mean nothing, and
 * @origin, which is copied, may be NULL. It may be dropped at a limit, which is
 * logged: then it is false. It leaves at the next outbound_pump().
 */
bool outbound_add(struct session *session,
		  const struct store_delivery *wanted);

/* Whether messages at QoS 0 wait, which those that the module has come after. */
static inline bool outbound_passes(const struct outbound *outbound)
{
	return !TAILQ_EMPTY(&outbound->passing);
}

/* Sends what may be sent now. */
void outbound_pump(struct session *session);

/* The session is connected (and active), or its connection has ended. */
void outbound_resume(struct session *session);
void outbound_suspend(struct session *session);

/* What the client answered; unknown identifiers do no harm. */
void outbound_puback(struct session *session, u16 packet_id);
void outbound_pubrec(struct session *session, u16 packet_id);
void outbound_pubcomp(struct session *session, u16 packet_id);

/* A PUBREC that says that it does not want the message [MQTT5: MQTT-4.4.0-2]. */
void outbound_refused(struct session *session, u16 packet_id);

/* More changes are on disk. */
void outbound_committed(void);

/* Makes the queue of a session what it was in the store. */
void outbound_load(struct outbound *outbound,
		   const struct store_session *stored);

/*
 * The session's connection is one of the daemon before, which has sent it
 * deliveries up to @seq: they are in flight. Those that only the store has must be
 * read first: while @recalling, what the client acknowledges is not known, and its
 * packets have to wait. Then client_pump() is called.
 */
void outbound_adopt(struct session *session, u64 seq);

/*
 * A connection, which had sent deliveries up to @seq, ends: what of them is not
 * acknowledged is sent again, with DUP [MQTT-3.3.1-1].
 */
void outbound_lost(struct session *session, u64 seq);

/* What the journal says, while it is read. */
int outbound_journaled(struct session *session,
		       const struct store_delivery *journaled);
void outbound_journaled_released(struct outbound *outbound, u64 seq);
void outbound_journaled_del(struct outbound *outbound, u64 seq);
void outbound_journaled_sent(struct outbound *outbound, u64 seq);

/* All has been read. */
void outbound_journaled_all(struct session *session);

/* Writes what it has to say to the journal anew. */
void outbound_rewrite(const struct session *session);

/*
 * The session ends: calls @pass_on with what is in memory and not finished, once
 * the client is not to get it any more.
 */
void outbound_pass_on(struct session *session,
		      bool (*pass_on)(u64 sid,
				      const struct store_delivery *delivery));

/* Forgets everything, in memory only. */
void outbound_clear(struct session *session);

#endif /* _KMQTTD_OUTBOUND_H_ */
