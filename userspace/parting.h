/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The deliveries that a session leaves when it ends: those of shared
 * subscriptions which were not acknowledged go to other members (section 4.8.2).
 * Those of sessions in the database are read there, page by page.
 *
 * A daemon that is killed meanwhile leaves each with the one or with the other:
 * the journal has JOURNAL_DELIVERY_DEL for those that went to a session in the
 * journal; and those that went to one in the database are still the session's
 * that has ended, as long as the database does not know.
 */
#ifndef _KMQTTD_PARTING_H_
#define _KMQTTD_PARTING_H_

#include "types.h"

struct session;

/*
 * Passes on what a session has in memory. Returns the mark of the store with which
 * that is safe, see store_mark().
 */
u64 parting_pass_on(struct session *session);

/*
 * Passes on what the session @sid has in the database, and then deletes it there;
 * deliveries up to place @sent had been sent.
 */
void parting_begin(u64 sid, u64 sent);

/* The same when all has been loaded, parting_begin_loaded(). 0 or -ENOMEM. */
int parting_load(u64 sid, u64 sent);

/* Of that one, the delivery at place @seq has gone to another. Likewise. */
int parting_load_passed(u64 sid, u64 seq);

void parting_begin_loaded(void);

/* Writes to the journal anew what has been loaded, and not begun. */
void parting_rewrite(void);

#endif /* _KMQTTD_PARTING_H_ */
