/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sessions by client identifier (section 3.1.2.4): subscriptions, what is
 * queued, and QoS 2 messages half received. One of clean session 1, or of
 * session expiry interval 0, ends with its connection; others stay, and are in
 * the store when there is one.
 *
 * Several connections may claim a session at once: the one that has it, and
 * those that wait for it to be gone.
 */
#ifndef _KMQTTD_SESSION_H_
#define _KMQTTD_SESSION_H_

#include "acl.h"
#include "config.h"
#include "filters.h"
#include "inbound.h"
#include "journal.h"
#include "outbound.h"
#include "table.h"
#include "types.h"

struct away;
struct client;
struct former;

/**
 * struct session - a session
 * @link: among all sessions
 * @commit: among those whose next message waits for the disk
 * @node: in the map of identifiers
 * @loaded: in a map by @sid, while the store is loaded
 * @committing: it is one of them
 * @watched: the sink watches for it
 * @id_len: bytes of @id
 * @expiry: session expiry interval: seconds that it outlives its connection, or
 *	STORE_FOREVER
 * @client: the connection that has it, or NULL
 * @claimant: the last connection that came for it, or NULL
 * @claims: connections that have it or wait for it
 * @sid: its name in the store, or, with JOURNAL_SID, in the journal; 0: it is
 *	in neither
 * @seen: seconds since 1970, when its connection ended
 * @away: what is to become of it meanwhile, or NULL
 * @subscriptions: its subscriptions
 * @subscription_count: how many
 * @inbound: QoS 2 messages of its client, half received; owned, as @halves
 * @halves: those that a daemon that died has handed to all but sessions in the
 *	database, and that the client will publish again
 * @outbound: messages for its client
 * @subject: what its client may do
 * @formers: its connections of before that have not been adopted
 * @match_stamp: of filters_match(), once sessions are loaded
 * @match_ids: likewise
 * @match_qos: likewise
 * @match_options: likewise
 * @next_match: likewise
 * @id: client identifier
 */
struct session {
	TAILQ_ENTRY(session) link;
	TAILQ_ENTRY(session) commit;
	struct table_node node;
	union {
		struct table_node loaded;
		struct {
			u64 match_stamp;
			struct session *next_match;
		};
	};
	bool committing;
	bool watched;
	u8 match_qos;
	u8 match_options;
	u16 id_len;
	u32 match_ids;
	u32 expiry;
	struct client *client;
	struct client *claimant;
	u64 sid;
	s64 seen;
	struct away *away;
	struct subscriptions subscriptions;
	u32 subscription_count;
	u32 claims;
	struct inbound *inbound;
	struct inbound *halves;
	struct outbound outbound;
	struct acl_subject subject;
	struct former *formers;
	u8 id[];
};

/*
 * @config: the settings, which must stay. With persistence, opens the store,
 * which calls @committed, and loads what it holds. 0 or -errno.
 */
int session_open(const struct config *config, void (*committed)(void));

/*
 * Once all is loaded, and the sink open: has it watch for the sessions that are
 * away, and ends those that have ended.
 */
void session_watch_all(void);

/*
 * @client comes for the session of the identifier @id, which is made if need
 * be; an empty one stands for a unique one that is made up and begins with
 * @prefix [MQTT-3.1.3-6].
 * *@former: the connection that came for it before and has not released it, or
 * NULL. The session, or NULL without memory.
 */
struct session *session_claim(struct client *client, const char *prefix,
			      const u8 *id, u16 len, struct client **former);

/*
 * @client, which nobody is before any more, has it now. @clean: it begins anew
 * [MQTT-3.1.2-6]. @expiry: its session expiry interval from now on. Returns
 * whether there was a session to go on with.
 */
bool session_begin(struct session *session, struct client *client, bool clean,
		   u32 expiry);

/*
 * Its session expiry interval is another from now on: DISCONNECT says so.
 */
void session_set_expiry(struct session *session, u32 expiry);

/*
 * Its client has gone and left a will, whose reference the session takes over.
 * It is published after @delay seconds, unless the client has come back, and at
 * once if there is none, or the session ends (section 3.1.3.2.2). @half: another
 * daemon has done so already, but the database may not have it. Returns whether the
 * session has it.
 */
bool session_leave_will(struct session *session, struct message *will,
			bool retain, u32 delay, bool half);

/*
 * @client is gone. The session stays if it is durable, or if somebody waits for
 * it.
 */
void session_release(struct session *session, struct client *client);

/*
 * Its client is going: messages that are to wait for it must not be missed. It has
 * all its subscriptions again: the module looks after it.
 */
void session_leaving(struct session *session);
void session_restored(struct session *session);

/* The number of the change after which this session's state is on disk. */
u64 session_change(const struct session *session, u64 change);

/*
 * Whether a client of this identifier may have a session: it has one, or there
 * are fewer than global_max_clients.
 */
bool session_has_room(const u8 *id, u16 len);
/* Calls @each with every session. */
void session_each(void (*each)(struct session *session));

/* To be called once a minute: ends sessions that have been away too long. */
void session_expire(void);

/* The journal: takes a record about a session; writes all of them anew. */
int session_journaled(const struct journal_record *record);
void session_rewrite(void);

/* That is done with. */
void session_loaded(void);

/* The session of this identifier, or NULL. */
struct session *session_find(const u8 *id, u16 len);

/* @client has it, as another daemon saw to. */
void session_adopt(struct session *session, struct client *client);

/* The connection that had it has gone while there was no daemon. */
void session_abandon(struct session *session);

/* Whether its client may: KMQTT_ACCESS_READ or KMQTT_ACCESS_WRITE. */
static inline bool session_may(const struct session *session, const void *topic,
			       u16 len, u8 access)
{
	return !session->subject.role ||
	       acl_judge(session, topic, len, access);
}

/* It survives the machine. */
static inline bool session_on_disk(const struct session *session)
{
	return session->sid && !(session->sid & JOURNAL_SID);
}

/* It outlives its connection, and has none. */
static inline bool session_is_away(const struct session *session)
{
	return session->expiry && !session->client;
}

#endif /* _KMQTTD_SESSION_H_ */
