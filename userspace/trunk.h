/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module's trunk: what all clients have sent is read, and what is small is sent
 * to them, in one system call for many. What the module does not take at once, and
 * what is large, the ring sends.
 */
#ifndef _KMQTTD_TRUNK_H_
#define _KMQTTD_TRUNK_H_

#include "types.h"

struct client;

/* Opens it. 0, or -errno, which has been logged. */
int trunk_open(void);

/* Begins to read: client_arrived(). */
void trunk_start(void);

/* Reads on where the last turn of the ring left off. */
void trunk_read(void);

/*
 * Has @client->sent leave with the next trunk_flush(). False if it does not belong
 * there, being large for one: then the ring is to send it.
 */
bool trunk_add(struct client *client);

/*
 * Sends all that was added; the ring the rest, in its next turn, if a socket is
 * full. The journal must have it.
 */
void trunk_flush(void);

/*
 * client_sent() for all whose packets left with trunk_flush(), before its next
 * call. Returns whether there were any, who may have more to send now.
 */
bool trunk_settle(void);

/* Whether all has been read that had arrived when it was last said to be there. */
bool trunk_is_read(void);

/* Whether there is nothing to be read on, or to be settled. */
bool trunk_is_idle(void);

#endif /* _KMQTTD_TRUNK_H_ */
