/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Retained messages: the last of each topic that was published retained
 * (section 3.3.1.3), in a tree of topic levels.
 */
#ifndef _KMQTTD_RETAINED_H_
#define _KMQTTD_RETAINED_H_

#include "message.h"
#include "types.h"

/*
 * Makes @message, of which a reference is taken, the one of its topic; without
 * payload it removes the topic's [MQTT-3.3.1-10]. 0, or -ENOMEM and nothing
 * has changed.
 */
int retained_set(struct message *message);

/* What else is to be done when a message has expired; not called for others. */
void retained_on_expiry(void (*expired)(struct message *message));

/*
 * Calls @found with each retained message that @filter, a valid one, matches,
 * and that has not expired, in no particular order, until it returns non-zero,
 * which is returned; else 0. @found must not change what is retained. A filter that begins with a
 * wildcard matches no topic that begins with '$' [MQTT-4.7.2-1].
 *
 * Visits those levels of the tree that the filter's first levels match, and
 * nothing else: what it costs does not depend on how much else is retained.
 */
int retained_match(const void *filter, u16 len,
		   int (*found)(struct message *message, void *arg), void *arg);

/* Nodes that retained_match() may look at, at most: a quick guess. */
u32 retained_cost(const void *filter, u16 len);

/* Nodes that it looks at, counted up to @most. */
u32 retained_reach(const void *filter, u16 len, u32 most);

/*
 * The same in pieces, one at a time: what was retained when it began, whatever
 * is retained meanwhile. @found, which may be called from retained_set(), too,
 * for what is about to change, cannot end it. @filter must stay.
 */
void retained_walk_begin(const void *filter, u16 len,
			 int (*found)(struct message *message, void *arg),
			 void *arg);

/* Looks at so many nodes more. False when that was all. */
bool retained_walk_go_on(u32 nodes);

/* It goes on no more. */
void retained_walk_end(void);

/* How many there are, and their payloads' bytes. */
u32 retained_count(void);
u64 retained_bytes(void);

/* Forgets all. */
void retained_clear(void);

#endif /* _KMQTTD_RETAINED_H_ */
