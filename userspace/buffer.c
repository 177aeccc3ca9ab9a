// SPDX-License-Identifier: GPL-2.0
#include "buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_MIN 128

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
		while (size - used < len)
			size *= 2;
		data = malloc(size);
		if (!data)
			return NULL;
		if (used)
			memcpy(data, buffer_head(buffer), used);
		free(buffer->data);
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
	free(buffer->data);
	*buffer = (struct buffer){ 0 };
}
