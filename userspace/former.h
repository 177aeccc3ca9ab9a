/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections of the daemon before, as the journal has them, until they are
 * adopted, or it turns out that they are gone.
 */
#ifndef _KMQTTD_FORMER_H_
#define _KMQTTD_FORMER_H_

#include "half.h"
#include "journal.h"
#include "message.h"
#include "session.h"
#include "table.h"

/**
 * struct progress - how far a connection is once a send is accepted
 * @sent: bytes to the client, with that send
 * @done: bytes from the client that have been answered by then
 * @seq: place of the last delivery sent
 */
struct progress {
	u64 sent;
	u64 done;
	u64 seq;
};

/**
 * struct former - a connection
 * @node: by cookie
 * @cookie: its name in the journal and in the kernel
 * @session: what it had, or NULL
 * @same: the next that had the same
 * @will: or NULL
 * @before: the last send but one, which has been accepted if there was another
 * @now: the last
 * @rest: what it was being sent, from byte @rest.at of the stream on, up to
 *	@now.sent
 * @head: the beginning of a packet from it, likewise
 * @keepalive: seconds
 * @level: protocol level
 * @clean: it asked for a clean session
 * @half: it was gone already, and had left @will to its session
 * @will_retain: publish @will retained
 * @will_delay: after so many seconds
 * @receive_max: as in struct client
 * @max_send: likewise
 * @allowed: likewise
 * @explain: likewise
 * @enhanced: likewise
 */
struct former {
	struct table_node node;
	u64 cookie;
	struct session *session;
	struct former *same;
	struct message *will;
	struct progress before;
	struct progress now;
	struct half rest;
	struct half head;
	u16 keepalive;
	u8 level;
	bool clean;
	bool half;
	bool will_retain;
	u32 will_delay;
	u32 max_send;
	struct packet_allowance allowed;
	u16 receive_max;
	bool explain;
	bool enhanced;
};

/* Takes a record about a connection. 0 or -errno. */
int former_journaled(const struct journal_record *record);

/* The connection of this cookie, or NULL. */
struct former *former_find(u64 cookie);

/* It has been adopted, with its session and its will, or never was one. */
void former_free(struct former *former);

/* A session has ended: its connections of before have none any more. */
void former_session_ended(struct session *session);

/*
 * What is left has gone: publishes the wills [MQTT-3.1.2-8], and ends the
 * sessions that do not outlive their connections.
 */
void former_end_all(void);

/* Writes those left to the journal anew. */
void former_rewrite(void);

/*
 * Writes to the journal that a connection is gone; it counts once its will is in the
 * database, if that was left to a session @on_disk.
 */
void former_write_end(u64 cookie, bool on_disk);

/* Writes a connection to the journal. */
void former_write(const struct former *former);

#endif /* _KMQTTD_FORMER_H_ */
