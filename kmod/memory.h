/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a namespace may hold for its clients, all together: messages and what
 * waits in rings are counted as they are made and freed, by allocation, so that
 * a delivery costs nothing more; sockets and user queues are looked at now and
 * then.
 */
#ifndef _KMQTT_MEMORY_H_
#define _KMQTT_MEMORY_H_

#include <linux/atomic.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct kmqtt_ns;

/**
 * struct kmqtt_memory - a namespace's
 * @limit: bytes, 0: any number
 * @used: bytes counted
 * @sampled: bytes found by the last look
 * @work: looks
 * @ns: the namespace; constant
 */
struct kmqtt_memory {
	u64 limit;
	atomic64_t used;
	u64 sampled;
	struct delayed_work work;
	struct kmqtt_ns *ns;
};

/* Milliseconds between two looks, after which a publisher tries again. */
enum { KMQTT_MEMORY_EVERY = 250 };

void kmqtt_memory_init(struct kmqtt_memory *memory, struct kmqtt_ns *ns);
void kmqtt_memory_exit(struct kmqtt_memory *memory);
void kmqtt_memory_set(struct kmqtt_memory *memory, u64 limit);

static inline u64 kmqtt_memory_used(const struct kmqtt_memory *memory)
{
	return atomic64_read(&memory->used) + READ_ONCE(memory->sampled);
}

/* Any context: nothing more may come. */
static inline bool kmqtt_memory_over(const struct kmqtt_memory *memory)
{
	u64 limit = READ_ONCE(memory->limit);

	return unlikely(limit) && kmqtt_memory_used(memory) > limit;
}

#endif /* _KMQTT_MEMORY_H_ */
