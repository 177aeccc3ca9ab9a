/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who subscribes to what: the topic filters of all sessions, in the module's
 * trie (kmod/trie.h), so that both sides match alike.
 */
#ifndef _KMQTTD_FILTERS_H_
#define _KMQTTD_FILTERS_H_

#include <sys/queue.h>

#include "store.h"
#include "table.h"
#include "types.h"

struct kmqtt_node;
struct message;
struct session;
struct share;

/**
 * struct subscription - a session's subscription to one filter
 * @own: among those of the session
 * @link: among those of the filter, or of the share
 * @pair: by session and filter: either may have very many
 * @session: who
 * @node: the filter
 * @share: of a shared one, instead
 * @identifier: subscription identifier of MQTT 5, 0: it has none
 * @qos: granted
 * @options: mask of STORE_NO_LOCAL and STORE_RETAIN_AS_PUBLISHED
 * @shared: it is a shared one
 */
struct subscription {
	TAILQ_ENTRY(subscription) own;
	LIST_ENTRY(subscription) link;
	struct table_node pair;
	struct session *session;
	union {
		struct kmqtt_node *node;
		struct share *share;
	};
	u32 identifier;
	u8 qos;
	u8 options;
	bool shared;
};

TAILQ_HEAD(subscriptions, subscription);

/**
 * struct filters_parts - a filter as it is subscribed to
 * @name: share name, NULL: it is not a shared one
 * @name_len: bytes of it
 * @topic: the filter itself
 * @topic_len: bytes of it
 */
struct filters_parts {
	const u8 *name;
	u16 name_len;
	const u8 *topic;
	u16 topic_len;
};

/* 0 or -ENOMEM. */
int filters_open(void);

/* The parts of a valid filter. */
struct filters_parts filters_split(const u8 *filter, u16 len);

/*
 * Subscribes @session as @wanted, of which the filter is a valid one; of a
 * subscription that it has to this filter only the rest changes
 * [MQTT-3.8.4-3]. NULL without memory.
 */
struct subscription *
filters_subscribe(struct session *session,
		  const struct store_subscription *wanted);

/* The session's subscription to exactly this filter, or NULL. */
struct subscription *filters_find(const struct session *session,
				  const u8 *filter, u16 len);

/* Ends a subscription. */
void filters_unsubscribe(struct subscription *subscription);

/* The filter of a subscription, written to @filter: 65535 bytes. Its length. */
u16 filters_text(const struct subscription *subscription, u8 *filter);

/*
 * Counts a subscription among those whose session is away, or no longer. True
 * when it is the first of its filter, or was the last.
 */
bool filters_away(const struct subscription *subscription, bool away);

/**
 * struct filters_found - whom a topic matches
 * @sessions: those with a filter that matches, each once, chained by
 *	session->next_match. session->match_qos is the highest QoS granted by a
 *	filter that matches (section 3.3.5), session->match_options what one of
 *	them has
 * @shares: shared subscriptions that match, chained; see filters_choose(). There
 *	are 8,192 at most, the others are left out, which is logged
 */
struct filters_found {
	struct session *sessions;
	struct share *shares;
};

/*
 * Finds whom @topic matches, when @publisher, or NULL, publishes it: filters of
 * its own with no-local do not count [MQTT5: MQTT-3.8.3-3]. It lasts until the
 * next call. 0, -E2BIG: the match would visit too many levels, or -ENOMEM.
 */
int filters_match(const u8 *topic, u16 len, const struct session *publisher,
		  struct filters_found *found);

/*
 * Where a delivery to @session, which was found, comes from: its subscription
 * identifiers. Lasts until the next call; NULL: there are none.
 */
const struct origin *filters_origin(const struct session *session);

/* The same of one that was chosen. NULL without memory. */
const struct origin *
filters_share_origin(const struct subscription *subscription);

/* The share after this one among those found. */
struct share *filters_next_share(const struct share *share);

/* The share of a shared subscription's filter, "$share/" and all, or NULL. */
struct share *filters_share(const u8 *filter, u16 len);

/*
 * The subscription of @share that is to get @message, if the daemon chooses, in
 * turn: one whose client is there if there is one, else one whose session is
 * away and keeps it; and who may read it. NULL: nobody.
 */
struct subscription *filters_choose(struct share *share,
				    const struct message *message);

#endif /* _KMQTTD_FILTERS_H_ */
