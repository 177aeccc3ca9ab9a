// SPDX-License-Identifier: GPL-2.0
#include "upq.h"

#include <linux/slab.h>
#include <linux/uio.h>

/**
 * struct kmqtt_upq_buf - a piece of the queue
 * @next: the next newer
 * @start: the first byte not done
 * @read: the first byte not read
 * @end: the first byte not written
 * @size: bytes of @data
 * @data: the bytes
 */
struct kmqtt_upq_buf {
	struct kmqtt_upq_buf *next;
	u32 start;
	u32 read;
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
	buf->read = 0;
	buf->end = 0;
	buf->size = size - sizeof(*buf);
	if (upq->tail)
		upq->tail->next = buf;
	else
		upq->head = buf;
	upq->tail = buf;
	if (!upq->reading)
		upq->reading = buf;
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

/**
 * kmqtt_upq_read() - copy the oldest bytes that were not read to user space
 * @upq: the queue
 * @to: where to
 * @len: how many at the most
 * @peek: read them again the next time
 *
 * Return: how many were copied, or -EFAULT if none could be.
 */
int kmqtt_upq_read(struct kmqtt_upq *upq, struct iov_iter *to, size_t len,
		   bool peek)
{
	struct kmqtt_upq_buf *buf = upq->reading;
	int done = 0;

	while (buf && done < len) {
		size_t want = min_t(size_t, len - done, buf->end - buf->read);
		size_t n = copy_to_iter(buf->data + buf->read, want, to);

		done += n;
		if (!peek) {
			buf->read += n;
			upq->bytes -= n;
			upq->kept += n;
			if (buf->read == buf->end && buf->next)
				upq->reading = buf->next;
		}
		if (n < want)
			return done ?: -EFAULT;
		buf = buf->next;
	}
	return done;
}

/**
 * kmqtt_upq_next() - the oldest bytes that were not read, as far as they lie
 *	together
 * @upq: the queue
 * @data: where they are
 *
 * Return: how many; 0: there are none.
 */
u32 kmqtt_upq_next(const struct kmqtt_upq *upq, const u8 **data)
{
	const struct kmqtt_upq_buf *buf = upq->reading;

	*data = NULL;
	if (!upq->bytes)
		return 0;
	/* It may be another's turn, but none is empty. */
	if (buf->read == buf->end)
		buf = buf->next;
	*data = buf->data + buf->read;
	return buf->end - buf->read;
}

/**
 * kmqtt_upq_was_read() - bytes that kmqtt_upq_next() gave were read
 * @upq: the queue
 * @len: how many of them
 */
void kmqtt_upq_was_read(struct kmqtt_upq *upq, u32 len)
{
	struct kmqtt_upq_buf *buf = upq->reading;

	if (!len)
		return;
	if (buf->read == buf->end)
		buf = buf->next;
	buf->read += len;
	upq->reading = buf;
	upq->bytes -= len;
	upq->kept += len;
	if (buf->read == buf->end && buf->next)
		upq->reading = buf->next;
}

static void buf_remove(struct kmqtt_upq *upq)
{
	struct kmqtt_upq_buf *buf = upq->head;

	upq->head = buf->next;
	if (!upq->head)
		upq->tail = NULL;
	if (upq->reading == buf)
		upq->reading = upq->head;
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
	buf->read = 0;
	buf->end = 0;
}

/**
 * kmqtt_upq_done() - forget the oldest bytes, which nobody is to read again
 * @upq: the queue
 * @len: how many; at most kmqtt_upq_used()
 */
void kmqtt_upq_done(struct kmqtt_upq *upq, u32 len)
{
	u32 kept = min(len, upq->kept);

	upq->kept -= kept;
	upq->bytes -= len - kept;
	while (len) {
		struct kmqtt_upq_buf *buf = upq->head;
		u32 n = min(len, buf->end - buf->start);

		buf->start += n;
		buf->read = max(buf->read, buf->start);
		len -= n;
		if (buf->start == buf->end)
			buf_done(upq);
	}
}

/* Have all that is not done read again. */
void kmqtt_upq_rewind(struct kmqtt_upq *upq)
{
	struct kmqtt_upq_buf *buf;

	for (buf = upq->head; buf; buf = buf->next)
		buf->read = buf->start;
	upq->reading = upq->head;
	upq->bytes += upq->kept;
	upq->kept = 0;
}

void kmqtt_upq_purge(struct kmqtt_upq *upq)
{
	while (upq->head)
		buf_remove(upq);
	upq->bytes = 0;
	upq->kept = 0;
}
