// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "log.h"
#include "retained.h"
#include "sink.h"
#include "store.h"

static const struct config *settings;
static TAILQ_HEAD(, session) all = TAILQ_HEAD_INITIALIZER(all);
static struct table by_id;
static struct table by_sid;	/* while the store is loaded */

static s64 now(void)
{
	return time(NULL);
}

static struct session *find(const u8 *id, u16 len, u32 hash)
{
	struct table_node *node;
	struct session *session;

	for (node = table_chain(&by_id, hash); node; node = node->next) {
		session = container_of(node, struct session, node);
		if (node->hash == hash && session->id_len == len &&
		    !memcmp(session->id, id, len))
			return session;
	}
	return NULL;
}

static struct session *make(const u8 *id, u16 len, u32 hash)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->id = malloc(len);
	if (!session->id || table_add(&by_id, &session->node, hash)) {
		free(session->id);
		free(session);
		return NULL;
	}
	memcpy(session->id, id, len);
	session->id_len = len;
	TAILQ_INIT(&session->subscriptions);
	outbound_init(&session->outbound);
	TAILQ_INSERT_TAIL(&all, session, link);
	return session;
}

/* Discards all state: what begins is a new session. */
static void reset(struct session *session)
{
	struct subscription *subscription;

	while ((subscription = TAILQ_FIRST(&session->subscriptions)))
		filters_unsubscribe(subscription);
	inbound_free(&session->inbound);
	outbound_clear(session);
	if (session->sid)
		store_session_del(session->sid);
	session->sid = 0;
	session->durable = false;
}

static void destroy(struct session *session)
{
	reset(session);
	table_del(&by_id, &session->node);
	TAILQ_REMOVE(&all, session, link);
	acl_subject_free(session);
	free(session->id);
	free(session);
}

/* Writes an identifier that nobody has to @id; its length, or negative. */
static int make_up(const char *prefix, char **id)
{
	u8 r[16];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		return -EIO;
	r[6] = (r[6] & 0x0f) | 0x40;	/* a random one (RFC 4122) */
	r[8] = (r[8] & 0x3f) | 0x80;
	return asprintf(id,
			"%s%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X",
			prefix, r[0], r[1], r[2], r[3], r[4],
			r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12],
			r[13], r[14], r[15]);
}

static struct session *find_or_make(const u8 *id, u16 len)
{
	u32 hash = table_hash(id, len);
	struct session *session = find(id, len, hash);

	return session ? session : make(id, len, hash);
}

bool session_has_room(const u8 *id, u16 len)
{
	return !settings->max_clients || by_id.count < settings->max_clients ||
	       (len && find(id, len, table_hash(id, len)));
}

struct session *session_claim(struct client *client, const char *prefix,
			      const u8 *id, u16 len, struct client **former)
{
	struct session *session;
	char *made_up = NULL;
	int n;

	if (!len) {
		n = make_up(prefix, &made_up);
		if (n < 0 || n > UINT16_MAX) {
			free(n < 0 ? NULL : made_up);
			return NULL;
		}
		id = (const u8 *)made_up;
		len = n;
	}
	session = find_or_make(id, len);
	free(made_up);
	if (!session)
		return NULL;
	*former = session->claimant;
	session->claimant = client;
	session->claims++;
	return session;
}

/* With queue_qos0_messages, QoS 0 messages come by the sink while it is away. */
static void watch(const struct session *session)
{
	const struct subscription *subscription;

	if (settings->queue_qos0)
		TAILQ_FOREACH(subscription, &session->subscriptions, own)
			sink_subscribe(subscription);
}

static void unwatch(const struct session *session)
{
	const struct subscription *subscription;

	if (settings->queue_qos0)
		TAILQ_FOREACH(subscription, &session->subscriptions, own)
			sink_unsubscribe(subscription);
}

bool session_begin(struct session *session, struct client *client, bool clean)
{
	bool present = session->durable && !clean;

	if (session_is_away(session))
		unwatch(session);
	session->client = client;
	if (!present)
		reset(session);
	session->durable = !clean;
	if (!session->durable || !store_enabled())
		return present;

	if (!session->sid) {
		session->sid = store_new_sid();
		store_session_add(session->sid, session->id, session->id_len);
	} else {
		store_session_seen(session->sid, 0);
	}
	return present;
}

void session_release(struct session *session, struct client *client)
{
	if (session->claimant == client)
		session->claimant = NULL;
	session->claims--;
	if (session->client == client) {
		session->client = NULL;
		session->seen = now();
		if (session->durable) {
			outbound_suspend(session);
			watch(session);
		} else {
			reset(session);
		}
		if (session->sid)
			store_session_seen(session->sid, session->seen);
	}
	if (!session->claims && !session->durable)
		destroy(session);
}

u64 session_change(const struct session *session, u64 change)
{
	return session->sid ? change : 0;
}

void session_expire(void)
{
	struct session *session, *next;
	char text[LOG_ESCAPED(LOG_TEXT_MAX)];
	s64 limit = now() - settings->client_expiration;

	if (!settings->client_expiration)
		return;
	for (session = TAILQ_FIRST(&all); session; session = next) {
		next = TAILQ_NEXT(session, link);
		if (session->claims || session->seen > limit)
			continue;
		log_print(LOG_TYPE_NOTICE,
			  "Expiring client %s due to timeout.",
			  log_escape(text, session->id, session->id_len));
		unwatch(session);
		destroy(session);
	}
}

/* Loading */

static struct session *find_sid(u64 sid)
{
	struct table_node *node;
	struct session *session;

	for (node = table_chain(&by_sid, table_hash_u32(sid)); node;
	     node = node->next) {
		session = container_of(node, struct session, loaded);
		if (session->sid == sid)
			return session;
	}
	return NULL;
}

static int load_session(const struct store_session *stored)
{
	struct session *session;

	session = make(stored->id, stored->id_len,
		       table_hash(stored->id, stored->id_len));
	if (!session || table_add(&by_sid, &session->loaded,
				  table_hash_u32(stored->sid)))
		return -ENOMEM;
	session->durable = true;
	session->sid = stored->sid;
	/* A crash ended its connection if it had one. */
	session->seen = stored->seen ? stored->seen : now();
	outbound_load(&session->outbound, stored);
	return 0;
}

static int load_subscription(u64 sid, const u8 *filter, u16 len, u8 qos)
{
	struct session *session = find_sid(sid);

	if (session && !filters_subscribe(session, filter, len, qos))
		return -ENOMEM;
	return 0;
}

static int load_inbound(u64 sid, u16 packet_id)
{
	struct session *session = find_sid(sid);

	return session ? inbound_add(&session->inbound, packet_id) : 0;
}

static int load_retained(struct message *message)
{
	int err = retained_set(message);

	message_put(message);
	return err;
}

/* Owned by the caller; NULL without memory. */
static char *store_path(void)
{
	char *path;

	return asprintf(&path, "%s/%s", settings->persistence_location,
			settings->persistence_file) < 0 ? NULL : path;
}

int session_open(const struct config *config, void (*committed)(void))
{
	static const struct store_loader loader = {
		.session = load_session,
		.subscription = load_subscription,
		.inbound = load_inbound,
		.retained = load_retained,
	};
	char *path;
	int err;

	settings = config;
	outbound_configure(config);
	if (filters_open())
		return -ENOMEM;
	if (!config->persistence)
		return 0;
	path = store_path();
	err = path ? store_open(path, &loader, committed) : -ENOMEM;
	free(path);
	table_free(&by_sid);
	return err;
}

void session_each(void (*each)(struct session *session))
{
	struct session *session;

	TAILQ_FOREACH(session, &all, link)
		each(session);
}

void session_watch_all(void)
{
	struct session *session;

	TAILQ_FOREACH(session, &all, link)
		watch(session);
}
