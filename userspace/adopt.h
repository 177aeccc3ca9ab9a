/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Adoption: connections of the daemon before become clients of this one. The
 * kernel says how far each stream is, the journal what that means; what neither
 * knows to be done is handled again.
 */
#ifndef _KMQTTD_ADOPT_H_
#define _KMQTTD_ADOPT_H_

#include "kmod.h"
#include "types.h"

/*
 * Takes the kernel's record of a connection that is no client. False if it
 * cannot go on: half a packet was on its way, or nobody knows it, or what it
 * has been sent.
 */
bool adopt(const struct kmod_reply *record);

/* Does one still have to be given back, or to get its rules? */
bool adopt_under_way(void);

/* How many have been. */
u32 adopt_count(void);

#endif /* _KMQTTD_ADOPT_H_ */
