/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A growing run of bytes, appended to at its tail and consumed from its head.
 * All zeroes is a valid empty buffer, which holds no memory.
 */
#ifndef _KMQTTD_BUFFER_H_
#define _KMQTTD_BUFFER_H_

#include "types.h"

/**
 * struct buffer - bytes @head up to @tail of @size at @data are in use
 */
struct buffer {
	u8 *data;
	u32 head;
	u32 tail;
	u32 size;
};

/* The bytes in use; valid until the next append or reserve. */
static inline u8 *buffer_head(const struct buffer *buffer)
{
	return buffer->data + buffer->head;
}

static inline size_t buffer_used(const struct buffer *buffer)
{
	return buffer->tail - buffer->head;
}

/*
 * Room for @len more bytes: where to write them. They count once @tail is
 * advanced. NULL without memory, and then nothing has changed.
 */
u8 *buffer_reserve(struct buffer *buffer, size_t len);

/* Copies @len bytes to the tail. 0, or -ENOMEM and nothing has changed. */
int buffer_append(struct buffer *buffer, const void *data, size_t len);

/* Drops @len bytes, at most those in use. Empty, it gives its memory back. */
void buffer_consume(struct buffer *buffer, size_t len);

/* Drops everything, and gives the memory back. */
void buffer_free(struct buffer *buffer);

#endif /* _KMQTTD_BUFFER_H_ */
