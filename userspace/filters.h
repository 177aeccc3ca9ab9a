/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who subscribes to what: the topic filters of all sessions, in the module's
 * trie (kmod/trie.h), so that both sides match alike.
 */
#ifndef _KMQTTD_FILTERS_H_
#define _KMQTTD_FILTERS_H_

#include <sys/queue.h>

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
 * @qos: granted
 */
struct subscription {
	TAILQ_ENTRY(subscription) own;
	LIST_ENTRY(subscription) link;
	struct table_node pair;
	struct session *session;
	struct kmqtt_node *node;
	u8 qos;
};

TAILQ_HEAD(subscriptions, subscription);

/* 0 or -ENOMEM. */
int filters_open(void);

/*
 * Subscribes @session to @filter, a valid one, at @qos; a subscription that it
 * has to this filter only changes its QoS [MQTT-3.8.4-3]. NULL without memory.
 */
struct subscription *filters_subscribe(struct session *session,
				       const u8 *filter, u16 len, u8 qos);

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
