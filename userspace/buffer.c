// SPDX-License-Identifier: GPL-2.0
#include "buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_MIN 128
/* More than any packet has, and what others may be there before it. */
#define BUFFER_MAX (1UL << 31)

/*
 * Most buffers are small, and gone in the same turn of the ring: the last ones
 * freed are the next ones used.
 */
#define SPARE_MAX 256

static u8 *spare[SPARE_MAX];
static u32 spares;

static u8 *block_new(size_t size)
{
	if (size == BUFFER_MIN && spares)
		return spare[--spares];
	return malloc(size);
}

static void block_free(u8 *data, size_t size)
{
	if (size == BUFFER_MIN && spares < SPARE_MAX)
		spare[spares++] = data;
	else
		free(data);
}

u8 *buffer_reserve(struct buffer *buffer, size_t len)
{
	size_t used = buffer_used(buffer);
	size_t size = buffer->size ? buffer->size : BUFFER_MIN;
	u8 *data;

	if (len <= buffer->size - buffer->tail)
		return buffer->data + buffer->tail;

	/*
	 * Move to the front only when as much has been consumed as is moved:
	 * then a byte moves once for each byte consumed, whatever the pattern.
	 */
	if (buffer->head >= used && len <= buffer->size - used) {
		memmove(buffer->data, buffer_head(buffer), used);
	} else {
		if (len > BUFFER_MAX - used)
			return NULL;
		while (size - used < len)
			size *= 2;
		data = block_new(size);
		if (!data)
			return NULL;
		if (used)
			memcpy(data, buffer_head(buffer), used);
		block_free(buffer->data, buffer->size);
		buffer->data = data;
		buffer->size = size;
	}
	buffer->head = 0;
	buffer->tail = used;
	return buffer->data + used;
}

int buffer_append(struct buffer *buffer, const void *data, size_t len)
{
	u8 *room = buffer_reserve(buffer, len);

	if (!room)
		return -ENOMEM;
	memcpy(room, data, len);
	buffer->tail += len;
	return 0;
}

void buffer_consume(struct buffer *buffer, size_t len)
{
	buffer->head += len;
	if (buffer->head == buffer->tail)
		buffer_free(buffer);
}

void buffer_free(struct buffer *buffer)
{
	block_free(buffer->data, buffer->size);
	*buffer = (struct buffer){ 0 };
}
