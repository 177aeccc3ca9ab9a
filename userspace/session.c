// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "deadline.h"
#include "former.h"
#include "inject.h"
#include "log.h"
#include "parting.h"
#include "publish.h"
#include "retained.h"
#include "sink.h"
#include "store.h"
#include "user.h"

/**
 * struct away - what is to become of a session whose client is gone
 * @deadline: when something is to be done
 * @session: whose it is
 * @ends: milliseconds since 1970, when the session ends; 0: never
 * @will: to be published, or NULL; a reference
 * @due: when, likewise
 * @retain: retained
 * @half: all but the database have had the will from the daemon before
 */
struct away {
	struct deadline deadline;
	struct session *session;
	s64 ends;
	struct message *will;
	s64 due;
	bool retain;
	bool half;
};

static const struct config *settings;
static TAILQ_HEAD(, session) all = TAILQ_HEAD_INITIALIZER(all);
static struct table by_id;
static struct table by_sid;	/* while they are loaded */
static struct table messages;	/* likewise */
static u64 next_journal_sid = JOURNAL_SID + 1;

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
	struct session *session = calloc(1, sizeof(*session) + len);

	if (!session)
		return NULL;
	if (table_add(&by_id, &session->node, hash)) {
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

static void write_subscription(const struct session *session,
			       const struct subscription *subscription)
{
	static u8 filter[UINT16_MAX];
	const struct store_subscription stored = {
		.filter = filter,
		.len = filters_text(subscription, filter),
		.qos = subscription->qos,
		.options = subscription->options,
		.identifier = subscription->identifier,
	};

	store_subscription_set(session->sid, &stored);
}

static void journal_session(const struct session *session)
{
	journal_append2(JOURNAL_SESSION, session->sid, session->expiry,
			session->outbound.next_seq,
			session->client ? 0 : session->seen, session->id,
			session->id_len, NULL, 0);
}

/* Of who has not come back since the daemon was started, the will knows who. */
static bool may_publish(const struct session *session,
			const struct message *will)
{
	if (!session->subject.known && will->source)
		return acl_source_may(will->source, will->data,
				      will->topic_len);
	return session_may(session, will->data, will->topic_len,
			   KMQTT_ACCESS_WRITE);
}

static void publish_the_will(struct session *session, struct message *will,
			     bool retain, bool half)
{
	char text[LOG_ESCAPED(LOG_TEXT_MAX)];

	if (!may_publish(session, will) ||
	    publish_will(will, retain, session, half))
		return;
	log_print(LOG_TYPE_ERROR,
		  "Error: The will of client %s could not be published.",
		  log_escape(text, session->id, session->id_len));
}

/*
 * The will of a session in the database has been published. As long as that does
 * not know, it would be again, to those too that have had it.
 */
static void journal_will_end(u64 sid)
{
	u64 mark = store_mark();

	journal_append(JOURNAL_WILL_DEL, sid, 0, mark, 0);
	journal_keep(mark);
}

/* Its will is published [MQTT5: MQTT-3.1.2-8], or not. */
static void end_will(struct session *session, bool publish)
{
	struct away *away = session->away;

	if (!away || !away->will)
		return;
	if (publish)
		publish_the_will(session, away->will, away->retain,
				 away->half);
	message_put(away->will);
	away->will = NULL;
	away->due = 0;
	if (session->sid)
		store_will_del(session->sid);
	if (session_on_disk(session) && (publish || away->half))
		journal_will_end(session->sid);
	away->half = false;
}

/* Nothing is to become of it any more. */
static void forget_away(struct session *session)
{
	if (!session->away)
		return;
	deadline_cancel(&session->away->deadline);
	free(session->away);
	session->away = NULL;
}

static bool has_shares(const struct session *session)
{
	const struct subscription *subscription;

	TAILQ_FOREACH(subscription, &session->subscriptions, own)
		if (subscription->shared)
			return true;
	return false;
}

/*
 * QoS 0 messages that are to wait while it is away come by the sink: with
 * queue_qos0_messages all but those of shared subscriptions, which another member
 * gets; with upgrade_outgoing_qos those that it would get above QoS 0.
 */
static bool is_watched(const struct subscription *subscription)
{
	return (settings->upgrade_qos && subscription->qos) ||
	       (settings->queue_qos0 && !subscription->shared);
}

static void watch(struct session *session)
{
	const struct subscription *subscription;

	if (session->watched)
		return;
	session->watched = true;
	TAILQ_FOREACH(subscription, &session->subscriptions, own)
		if (is_watched(subscription))
			sink_subscribe(subscription);
}

static void unwatch(struct session *session)
{
	const struct subscription *subscription;

	if (!session->watched)
		return;
	session->watched = false;
	TAILQ_FOREACH(subscription, &session->subscriptions, own)
		if (is_watched(subscription))
			sink_unsubscribe(subscription);
}

/* But what the module has delivered at QoS 0 must not be queued besides. */
void session_leaving(struct session *session)
{
	if (session->expiry && settings->upgrade_qos && !settings->queue_qos0)
		watch(session);
}

void session_restored(struct session *session)
{
	unwatch(session);
}

/*
 * The session has ended. Of one in the database, the journal says so as long as the
 * database does not know, or it would be there again beside the next one of that
 * name. One in the journal is still needed until @mark: for what others get of it.
 */
static void journal_end(const struct session *session, u64 mark)
{
	journal_append(JOURNAL_SESSION_DEL, session->sid, 0, mark, 0);
	journal_keep(session_on_disk(session) ? store_queued() : mark);
}

/* Discards all state: what begins is a new session. */
static void reset(struct session *session)
{
	struct subscription *subscription;
	bool parts = session_on_disk(session) && has_shares(session) &&
		     session->outbound.queued + session->outbound.inflight_count;
	u64 sent = session->outbound.sent;
	u64 mark = 0;

	end_will(session, true);
	forget_away(session);
	unwatch(session);
	while ((subscription = TAILQ_FIRST(&session->subscriptions)))
		filters_unsubscribe(subscription);
	inbound_free(&session->inbound);
	inbound_free(&session->halves);
	if (!parts)
		mark = parting_pass_on(session);
	outbound_clear(session);
	if (parts)
		parting_begin(session->sid, sent);
	else if (session_on_disk(session))
		store_session_del(session->sid);
	if (session->sid)
		journal_end(session, mark);
	session->sid = 0;
	session->expiry = 0;
}

static void destroy(struct session *session)
{
	former_session_ended(session);
	reset(session);
	table_del(&by_id, &session->node);
	TAILQ_REMOVE(&all, session, link);
	acl_subject_free(session);
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

/* Puts it where it is safe from as much as it has to be. */
static void store(struct session *session, u32 former_expiry)
{
	if (session->sid) {
		store_session_seen(session->sid, 0);
		if (session->expiry != former_expiry)
			store_session_expiry(session->sid, session->expiry);
	} else if (session->expiry && store_enabled()) {
		session->sid = store_new_sid();
		store_session_add(session->sid, session->id, session->id_len,
				  session->expiry);
	} else if (journal_enabled()) {
		session->sid = next_journal_sid++;
		journal_session(session);
	}
}

/* Its time has passed, though nobody has ended it yet. */
static bool is_over(const struct session *session)
{
	const struct away *away = session->away;

	return away && away->ends && away->ends <= message_now();
}

bool session_begin(struct session *session, struct client *client, bool clean,
		   u32 expiry)
{
	bool present = session->expiry && !clean && !is_over(session);
	u32 former_expiry;

	session->client = client;
	if (!present)
		reset(session);
	/* [MQTT5: MQTT-3.1.3-9] */
	end_will(session, false);
	forget_away(session);
	former_expiry = session->expiry;
	session->expiry = expiry;
	store(session, former_expiry);
	return present;
}

/* When what is next is to be done. */
static void schedule(struct away *away)
{
	s64 when = away->ends;

	if (away->will && (!when || away->due < when))
		when = away->due;
	if (!when)
		forget_away(away->session);
	else if (deadline_set(&away->deadline, when))
		log_print(LOG_TYPE_ERROR, "Error: Out of memory.");
}

static void end(struct session *session)
{
	char text[LOG_ESCAPED(LOG_TEXT_MAX)];

	log_print(LOG_TYPE_NOTICE, "Expiring client %s due to timeout.",
		  log_escape(text, session->id, session->id_len));
	destroy(session);
}

static void away_due(struct deadline *deadline)
{
	struct away *away = container_of(deadline, struct away, deadline);
	struct session *session = away->session;
	s64 at = message_now();

	if (away->will && away->due <= at)
		end_will(session, true);
	if (!away->ends || away->ends > at)
		schedule(away);
	else if (session->claims)
		deadline_set(deadline, at + 1000);	/* somebody comes */
	else
		end(session);
}

/* What is to become of it, NULL without memory. */
static struct away *make_away(struct session *session)
{
	struct away *away = session->away;

	if (!away)
		away = calloc(1, sizeof(*away));
	if (!away)
		return NULL;
	session->away = away;
	away->session = session;
	away->deadline.due = away_due;
	return away;
}

/*
 * It ends when its session expiry interval has passed since then, milliseconds
 * since 1970 [MQTT5: MQTT-4.1.0-2].
 */
static void await_end(struct session *session, s64 since)
{
	struct away *away = session->away;

	if (session->expiry != STORE_FOREVER)
		away = make_away(session);
	if (!away)
		return;
	if (session->expiry != STORE_FOREVER)
		away->ends = since + session->expiry * 1000LL;
	schedule(away);
}

static s64 due_after(const struct session *session, u32 delay)
{
	return message_now() + 1000LL * (delay < session->expiry ?
					 delay : session->expiry);
}

bool session_leave_will(struct session *session, struct message *will,
			bool retain, u32 delay, bool half)
{
	struct away *away = NULL;
	struct store_will stored;

	if (delay && session->expiry)
		away = make_away(session);
	if (!away) {
		publish_the_will(session, will, retain, false);
		message_put(will);
		return false;
	}
	/* The database has it after all, or somebody has come back. */
	if (half && (away->will || session->client)) {
		message_put(will);
		return away->will;
	}
	end_will(session, false);
	away->will = will;
	away->retain = retain;
	away->due = due_after(session, delay);
	/* Without memory for it, it is judged only as long as this daemon lives. */
	publish_note_source(will, session);
	stored = (struct store_will){ away->due, will, retain };
	if (session->sid)
		store_will_set(session->sid, &stored);
	return true;
}

void session_set_expiry(struct session *session, u32 expiry)
{
	if (session->expiry == expiry)
		return;
	session->expiry = expiry;
	if (session->sid)
		store_session_expiry(session->sid, expiry);
}

void session_release(struct session *session, struct client *client)
{
	if (session->claimant == client)
		session->claimant = NULL;
	session->claims--;
	if (session->client == client) {
		session->client = NULL;
		session->seen = now();
		if (session->expiry) {
			outbound_suspend(session);
			watch(session);
			await_end(session, message_now());
		} else {
			reset(session);
		}
		if (session->sid)
			store_session_seen(session->sid, session->seen);
	}
	if (!session->claims && !session->expiry)
		destroy(session);
}

u64 session_change(const struct session *session, u64 change)
{
	return session_on_disk(session) ? change : 0;
}

void session_expire(void)
{
	struct session *session, *next;
	s64 limit = now() - settings->client_expiration;

	if (!settings->client_expiration)
		return;
	for (session = TAILQ_FIRST(&all); session; session = next) {
		next = TAILQ_NEXT(session, link);
		if (session->claims || session->seen > limit)
			continue;
		end(session);
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

	/* What is left of it goes to others, once all is loaded. */
	if (!stored->expiry && stored->seen)
		return parting_load(stored->sid, 0);
	session = make(stored->id, stored->id_len,
		       table_hash(stored->id, stored->id_len));
	if (!session || table_add(&by_sid, &session->loaded,
				  table_hash_u32(stored->sid)))
		return -ENOMEM;
	session->expiry = stored->expiry;
	session->sid = stored->sid;
	/* A crash ended its connection if it had one. */
	session->seen = stored->seen ? stored->seen : now();
	outbound_load(&session->outbound, stored);
	return 0;
}

static int load_subscription(u64 sid,
			     const struct store_subscription *subscription)
{
	struct session *session = find_sid(sid);

	if (session && !filters_subscribe(session, subscription))
		return -ENOMEM;
	return 0;
}

static int take_will(struct session *session, const struct store_will *will)
{
	struct away *away = session ? make_away(session) : NULL;

	if (!away || away->will) {
		message_put(will->message);
		return session && !away ? -ENOMEM : 0;
	}
	away->will = will->message;
	away->due = will->due;
	away->retain = will->retain;
	return 0;
}

static int load_will(u64 sid, const struct store_will *will)
{
	return take_will(find_sid(sid), will);
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

static void forget_retained(struct message *message)
{
	if (store_enabled())
		store_retained_del(message);
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
		.will = load_will,
		.inbound = load_inbound,
		.retained = load_retained,
		.done = user_restrict,
	};
	char *path;
	int err;

	settings = config;
	outbound_configure(config);
	retained_on_expiry(forget_retained);
	if (filters_open())
		return -ENOMEM;
	if (!config->persistence)
		return 0;
	path = store_path();
	err = path ? store_open(path, &loader, committed) : -ENOMEM;
	free(path);
	return err;
}

void session_each(void (*each)(struct session *session))
{
	struct session *session;

	TAILQ_FOREACH(session, &all, link)
		each(session);
}

/* A message of the journal, until that is read. */
struct journaled_message {
	struct table_node node;
	struct message *message;
};

static struct journaled_message *find_message(u64 id)
{
	struct journaled_message *found;
	struct table_node *node;

	for (node = table_chain(&messages, table_hash_u32(id)); node;
	     node = node->next) {
		found = container_of(node, struct journaled_message, node);
		if (found->message->id == id)
			return found;
	}
	return NULL;
}

static int journaled_message(const struct journal_record *record)
{
	struct journaled_message *made = calloc(1, sizeof(*made));
	struct message_parts parts;

	if (made && journal_parts(record, &parts))
		made->message = message_load(record->sid, record->c, &parts);
	if (!made || !made->message ||
	    table_add(&messages, &made->node, table_hash_u32(record->sid)))
		return -ENOMEM;
	made->message->journal = journal_generation();
	message_ids_from(record->sid + 1);
	return 0;
}

static void journaled_will_del(struct session *session)
{
	if (!session->away || !session->away->will)
		return;
	message_put(session->away->will);
	session->away->will = NULL;
}

static int journaled_session(const struct journal_record *record)
{
	struct session *session;

	session = make(record->bytes, record->len,
		       table_hash(record->bytes, record->len));
	if (!session || table_add(&by_sid, &session->loaded,
				  table_hash_u32(record->sid)))
		return -ENOMEM;
	session->sid = record->sid;
	session->expiry = record->a;
	session->seen = record->c ? (s64)record->c : now();
	session->outbound.next_seq = record->b;
	if (next_journal_sid <= record->sid)
		next_journal_sid = record->sid + 1;
	return 0;
}

/*
 * It has ended, and all has been done. The database may have that before it, and
 * what goes to others.
 */
static int forget(struct session *session)
{
	int err = session_on_disk(session) ?
		  parting_load(session->sid, session->outbound.sent) : 0;

	table_del(&by_sid, &session->loaded);
	session->sid = 0;
	journaled_will_del(session);
	outbound_clear(session);
	destroy(session);
	return err;
}

/*
 * It has ended, but those in the database do not have yet what they get of it:
 * session_watch_all() sees to it. Meanwhile there may be another of that name.
 */
static int lose_name(struct session *session)
{
	struct subscription *subscription;

	former_session_ended(session);
	journaled_will_del(session);
	while ((subscription = TAILQ_FIRST(&session->subscriptions)))
		filters_unsubscribe(subscription);
	session->expiry = 0;
	session->id_len = 0;
	table_del(&by_id, &session->node);
	return table_add(&by_id, &session->node,
			 table_hash(session->id, session->id_len));
}

static int journaled_delivery(struct session *session,
			      const struct journal_record *record)
{
	struct journaled_message *found = find_message(record->b);
	u64 identifiers_len = record->c >> 16;
	struct store_delivery delivery = {
		.seq = record->a,
		.qos = record->c,
		.flags = record->c >> 8,
	};
	int err;

	if (!found || identifiers_len > record->len)
		return -EUCLEAN;
	delivery.message = found->message;
	delivery.origin = origin_new(record->bytes, identifiers_len,
				     record->bytes + identifiers_len,
				     record->len - identifiers_len);
	if (record->len && !delivery.origin)
		return -ENOMEM;
	err = outbound_journaled(session, &delivery);
	free(delivery.origin);
	return err;
}

static int journaled_will(struct session *session,
			  const struct journal_record *record)
{
	struct message_parts parts;
	struct store_will will = {
		.due = record->a,
		.retain = record->c & 0x100,
	};

	if (journal_parts(record, &parts))
		will.message = message_load(0, 0, &parts);
	return will.message ? take_will(session, &will) : -ENOMEM;
}

static int journaled_subscription(struct session *session,
				  const struct journal_record *record)
{
	const struct store_subscription subscription = {
		.filter = record->bytes,
		.len = record->len,
		.qos = record->a,
		.options = record->b,
		.identifier = record->c,
	};

	return filters_subscribe(session, &subscription) ? 0 : -ENOMEM;
}

/*
 * The last record of an identifier counts. The database has what is its own, if it
 * has been written, and not before: so it is believed about the identifiers of
 * its sessions.
 */
static int journaled_inbound(struct session *session,
			     const struct journal_record *record)
{
	if (!store_reached(record->b)) {
		if (!session_on_disk(session))
			inbound_del(&session->inbound, record->a);
		return inbound_add(&session->halves, record->a);
	}
	inbound_del(&session->halves, record->a);
	return session_on_disk(session) ? 0 : inbound_add(&session->inbound,
							  record->a);
}

static int journaled_injection(const struct journal_record *record)
{
	struct journaled_message *found = find_message(record->sid);

	if (!found)
		return -EUCLEAN;
	inject_journaled(record->a, found->message, record->b, record->c);
	return 0;
}

/* What is said of a session that there is. */
static int journaled_change(struct session *session,
			    const struct journal_record *record)
{
	struct subscription *subscription;

	switch (record->type) {
	case JOURNAL_SESSION_DEL:
		return store_reached(record->b) ? forget(session) :
						  lose_name(session);
	case JOURNAL_SESSION_SEEN:
		session->seen = record->a ? (s64)record->a : now();
		break;
	case JOURNAL_SESSION_EXPIRY:
		session->expiry = record->a;
		break;
	case JOURNAL_SUBSCRIPTION:
		return journaled_subscription(session, record);
	case JOURNAL_SUBSCRIPTION_DEL:
		subscription = filters_find(session, record->bytes,
					    record->len);
		if (subscription)
			filters_unsubscribe(subscription);
		break;
	case JOURNAL_WILL:
		return journaled_will(session, record);
	case JOURNAL_WILL_DEL:
		if (!session_on_disk(session))
			journaled_will_del(session);
		else if (session->away && session->away->will)
			session->away->half = !store_reached(record->b);
		break;
	case JOURNAL_DELIVERY:
		return journaled_delivery(session, record);
	case JOURNAL_DELIVERY_RELEASED:
		outbound_journaled_released(&session->outbound, record->a);
		break;
	case JOURNAL_DELIVERY_DEL:
		outbound_journaled_del(&session->outbound, record->a);
		break;
	case JOURNAL_SESSION_SENT:
		outbound_journaled_sent(&session->outbound, record->a);
		break;
	case JOURNAL_INBOUND:
		return journaled_inbound(session, record);
	case JOURNAL_INBOUND_DEL:
		inbound_del(&session->inbound, record->a);
		inbound_del(&session->halves, record->a);
		break;
	}
	return 0;
}

int session_journaled(const struct journal_record *record)
{
	struct session *session;

	if (record->type == JOURNAL_MESSAGE)
		return journaled_message(record);
	if (record->type == JOURNAL_SESSION)
		return journaled_session(record);
	if (record->type == JOURNAL_INJECTION)
		return journaled_injection(record);
	session = find_sid(record->sid);
	if (session)
		return journaled_change(session, record);
	if (record->sid & JOURNAL_SID)
		return 0;
	/* Another of that name would be taken for the one that there was. */
	store_sids_from(record->sid + 1);
	return record->type == JOURNAL_DELIVERY_DEL ?
	       parting_load_passed(record->sid, record->a) : 0;
}

/* Marks that have not been reached will be, by something else. */
static void journal_halves(const struct session *session)
{
	u32 i;

	for (i = 0; i < inbound_count(session->halves); i++)
		journal_append(JOURNAL_INBOUND, session->sid,
			       session->halves->ids[i], STORE_NEVER, 0);
	if (session->away && session->away->half)
		journal_append(JOURNAL_WILL_DEL, session->sid, 0, STORE_NEVER,
			       0);
}

void session_loaded(void)
{
	struct journaled_message *message;
	struct session *session;
	u32 i;

	TAILQ_FOREACH(session, &all, link) {
		journal_halves(session);
		outbound_journaled_all(session);
		session->match_stamp = 0;
	}
	for (i = 0; i < messages.size; i++) {
		while (messages.slots[i]) {
			message = container_of(messages.slots[i],
					       struct journaled_message, node);
			messages.slots[i] = message->node.next;
			message_put(message->message);
			free(message);
		}
	}
	table_free(&messages);
	table_free(&by_sid);
}

static void rewrite_will(const struct session *session)
{
	const struct away *away = session->away;

	if (away && away->will)
		journal_will(session->sid, &(const struct store_will){
			.due = away->due,
			.message = away->will,
			.retain = away->retain,
		});
}

/* What a session that is in the journal is, but for its deliveries. */
static void rewrite(const struct session *session)
{
	const struct subscription *subscription;
	u32 i;

	journal_session(session);
	rewrite_will(session);
	TAILQ_FOREACH(subscription, &session->subscriptions, own)
		write_subscription(session, subscription);
	for (i = 0; i < inbound_count(session->inbound); i++)
		journal_append(JOURNAL_INBOUND, session->sid,
			       session->inbound->ids[i], 0, 0);
}

void session_rewrite(void)
{
	const struct session *session;

	TAILQ_FOREACH(session, &all, link) {
		journal_halves(session);
		if (session->sid & JOURNAL_SID)
			rewrite(session);
		outbound_rewrite(session);
	}
	parting_rewrite();
}

struct session *session_find(const u8 *id, u16 len)
{
	return len ? find(id, len, table_hash(id, len)) : NULL;
}

void session_adopt(struct session *session, struct client *client)
{
	session->client = client;
	session->claimant = client;
	session->claims++;
	end_will(session, false);
	forget_away(session);
}

void session_abandon(struct session *session)
{
	if (session->claims || session->expiry)
		return;
	destroy(session);
}

void session_watch_all(void)
{
	struct session *session, *next;

	for (session = TAILQ_FIRST(&all); session; session = next) {
		next = TAILQ_NEXT(session, link);
		if (session_is_away(session)) {
			watch(session);
			/* To the second; rather too late than too early. */
			await_end(session, (session->seen + 1) * 1000);
		} else if (!session->claims) {
			destroy(session);
		}
	}
	deadline_tick(message_now());
	parting_begin_loaded();
}
