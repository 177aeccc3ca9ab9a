/* SPDX-License-Identifier: GPL-2.0 */
/*
 * memory_limit: what the daemon's heap and the module hold, together. The heap
 * may be three quarters of it, and the module all that the heap is not, so that
 * what is queued for clients that are away never stops publishers.
 */
#ifndef _KMQTTD_MEMORY_H_
#define _KMQTTD_MEMORY_H_

#include "config.h"

/*
 * Tells the module the limit of @config, or that there is none. From then on
 * the module has publishers wait, and lets nobody in, when there is more. @config
 * stays the caller's, and may change.
 */
void memory_open(const struct config *config);

/* To be called once a second: looks, and tells the module what it may hold now. */
void memory_tick(void);

/* So many bytes more are in the heap than at the last tick. */
void memory_add(size_t bytes);

/* Whether so many bytes more than at the last tick would make it too large. */
bool memory_is_short_of(u64 bytes);

/*
 * The heap is too large, or was, and is not an eighth smaller yet: sessions and
 * subscriptions are refused, and nothing more is queued.
 */
bool memory_over(void);

#endif /* _KMQTTD_MEMORY_H_ */
