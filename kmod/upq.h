/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The user queue: bytes of packets that the daemon is to handle, in order.
 * Nothing is ever dropped from it; who fills it asks for room first. What was
 * read stays until the daemon says that it is done with it: the next daemon
 * reads it again.
 *
 * Under the socket lock.
 */
#ifndef _KMQTT_UPQ_H_
#define _KMQTT_UPQ_H_

#include <linux/types.h>

struct iov_iter;
struct kmqtt_upq_buf;

/**
 * struct kmqtt_upq - a queue of bytes
 * @head: the oldest buffer
 * @tail: the newest
 * @reading: the one to be read next
 * @bytes: not read yet
 * @kept: read, not done
 */
struct kmqtt_upq {
	struct kmqtt_upq_buf *head;
	struct kmqtt_upq_buf *tail;
	struct kmqtt_upq_buf *reading;
	u32 bytes;
	u32 kept;
};

static inline u32 kmqtt_upq_used(const struct kmqtt_upq *upq)
{
	return upq->bytes + upq->kept;
}

u32 kmqtt_upq_push(struct kmqtt_upq *upq, const u8 *data, u32 len);
int kmqtt_upq_read(struct kmqtt_upq *upq, struct iov_iter *to, size_t len,
		   bool peek);
u32 kmqtt_upq_next(const struct kmqtt_upq *upq, const u8 **data);
void kmqtt_upq_was_read(struct kmqtt_upq *upq, u32 len);
void kmqtt_upq_done(struct kmqtt_upq *upq, u32 len);
void kmqtt_upq_rewind(struct kmqtt_upq *upq);
void kmqtt_upq_purge(struct kmqtt_upq *upq);

#endif /* _KMQTT_UPQ_H_ */
