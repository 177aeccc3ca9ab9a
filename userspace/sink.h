/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module's sink: QoS 0 messages that the module delivers by itself and that
 * the daemon has to know of, because they are retained, or are to be queued for
 * sessions that are away.
 */
#ifndef _KMQTTD_SINK_H_
#define _KMQTTD_SINK_H_

#include "types.h"

struct journal_record;
struct subscription;

/*
 * Opens it, which makes this daemon the network namespace's. 0, or -errno, which
 * has been logged.
 */
int sink_open(void);

/* What the journal says of it, while that is read. */
void sink_journaled(const struct journal_record *record);

/*
 * Writes to the journal how far it has been handled: when that is written anew,
 * and once it has been read, since marks are used again.
 */
void sink_rewrite(void);

/* Begins to read. */
void sink_start(void);

/* To be called once a second: what has been handled, the module may forget. */
void sink_tick(void);

/*
 * Whether the module has forgotten all that was read, which it is told as soon
 * as that is on disk: else the next daemon would handle it again.
 */
bool sink_settled(void);

/* Whether it is there. */
bool sink_enabled(void);

/* Whether the subscriptions of those whom another daemon served are upgraded. */
bool sink_was_upgraded(void);

/* The last record that has been read, and taken over. */
u64 sink_seq(void);

/*
 * Takes over what is in it now: messages that the module had before it passed
 * on what the daemon is handling come first.
 */
void sink_drain(void);

/* Whether it is not read, because the disk takes nothing. */
bool sink_stalled(void);

/* Reading goes on after it has waited for the disk. */
void sink_committed(void);

/* QoS 0 messages for this subscription shall come, or no longer. */
void sink_subscribe(const struct subscription *subscription);
void sink_unsubscribe(const struct subscription *subscription);

#endif /* _KMQTTD_SINK_H_ */
