// SPDX-License-Identifier: GPL-2.0
#include "upq.h"

#include <linux/slab.h>
#include <linux/uio.h>

/**
 * struct kmqtt_upq_buf - a piece of the queue
 * @next: the next newer
 * @start: the first byte not read
 * @end: the first byte not written
 * @size: bytes of @data
 * @data: the bytes
 */
struct kmqtt_upq_buf {
	struct kmqtt_upq_buf *next;
	u32 start;
	u32 end;
	u32 size;
	u8 data[];
};

/* Slab sizes, header included: for control packets, and for streams. */
enum { UPQ_BUF_SMALL = 256, UPQ_BUF_LARGE = 4096 };

static struct kmqtt_upq_buf *buf_add(struct kmqtt_upq *upq, u32 len)
{
	u32 size = len + sizeof(struct kmqtt_upq_buf) <= UPQ_BUF_SMALL ?
		   UPQ_BUF_SMALL : UPQ_BUF_LARGE;
	struct kmqtt_upq_buf *buf;

	buf = kmalloc(size, GFP_ATOMIC | __GFP_NOWARN | __GFP_ACCOUNT);
	if (!buf)
		return NULL;

	buf->next = NULL;
	buf->start = 0;
	buf->end = 0;
	buf->size = size - sizeof(*buf);
	if (upq->tail)
		upq->tail->next = buf;
	else
		upq->head = buf;
	upq->tail = buf;
	return buf;
}

/**
 * kmqtt_upq_push() - append bytes
 * @upq: the queue
 * @data: the bytes
 * @len: how many
 *
 * Return: how many were appended: fewer than @len without memory.
 */
u32 kmqtt_upq_push(struct kmqtt_upq *upq, const u8 *data, u32 len)
{
	u32 done = 0;

	while (done < len) {
		struct kmqtt_upq_buf *buf = upq->tail;
		u32 n;

		if (!buf || buf->end == buf->size)
			buf = buf_add(upq, len - done);
		if (!buf)
			break;
		n = min(len - done, buf->size - buf->end);
		memcpy(buf->data + buf->end, data + done, n);
		buf->end += n;
		done += n;
	}
	upq->bytes += done;
	return done;
}

static void buf_remove(struct kmqtt_upq *upq)
{
	struct kmqtt_upq_buf *buf = upq->head;

	upq->head = buf->next;
	if (!upq->head)
		upq->tail = NULL;
	kfree(buf);
}

/* A client that sends acknowledgments empties its queue with each of them: the
 * last buffer stays, if it is a small one.
 */
static void buf_done(struct kmqtt_upq *upq)
{
	struct kmqtt_upq_buf *buf = upq->head;

	if (buf->next || buf->size > UPQ_BUF_SMALL) {
		buf_remove(upq);
		return;
	}
	buf->start = 0;
	buf->end = 0;
}

/**
 * kmqtt_upq_read() - copy the oldest bytes to user space
 * @upq: the queue
 * @to: where to
 * @len: how many at the most
 * @peek: leave them in the queue
 *
 * Return: how many were copied, or -EFAULT if none could be.
 */
int kmqtt_upq_read(struct kmqtt_upq *upq, struct iov_iter *to, size_t len,
		   bool peek)
{
	struct kmqtt_upq_buf *buf = upq->head;
	int done = 0;

	while (buf && done < len) {
		struct kmqtt_upq_buf *next = buf->next;
		size_t want = min_t(size_t, len - done, buf->end - buf->start);
		size_t n = copy_to_iter(buf->data + buf->start, want, to);

		done += n;
		if (!peek) {
			buf->start += n;
			upq->bytes -= n;
			if (buf->start == buf->end)
				buf_done(upq);
		}
		if (n < want)
			return done ?: -EFAULT;
		buf = next;
	}
	return done;
}

void kmqtt_upq_purge(struct kmqtt_upq *upq)
{
	while (upq->head)
		buf_remove(upq);
	upq->bytes = 0;
}
