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
struct session;

/**
 * struct subscription - a session's subscription to one filter
 * @own: among those of the session
 * @link: among those of the filter
 * @pair: by session and filter: either may have very many
 * @session: who
 * @node: the filter
 * @identifier: subscription identifier of MQTT 5, 0: it has none
 * @qos: granted
 * @options: mask of STORE_NO_LOCAL and STORE_RETAIN_AS_PUBLISHED
 */
struct subscription {
	TAILQ_ENTRY(subscription) own;
	LIST_ENTRY(subscription) link;
	struct table_node pair;
	struct session *session;
	struct kmqtt_node *node;
	u32 identifier;
	u8 qos;
	u8 options;
};

TAILQ_HEAD(subscriptions, subscription);

/* 0 or -ENOMEM. */
int filters_open(void);

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

/*
 * Finds the sessions with a filter that matches @topic, each once. They are
 * chained by session->next_match, and session->match_qos is the highest QoS
 * granted by a filter that matches (section 3.3.5). *@sessions is NULL when
 * there is none. The chain lasts until the next call. 0, or -E2BIG: the match
 * would visit too many levels.
 */
int filters_match(const u8 *topic, u16 len, struct session **sessions);

#endif /* _KMQTTD_FILTERS_H_ */
