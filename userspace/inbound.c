// SPDX-License-Identifier: GPL-2.0
#include "inbound.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INBOUND_MIN 8

/* Where @packet_id is, or belongs. */
static u32 position(const struct inbound *inbound, u16 packet_id)
{
	u32 low = 0, high = inbound_count(inbound), middle;

	while (low < high) {
		middle = (low + high) / 2;
		if (inbound->ids[middle] < packet_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct inbound *inbound, u32 at, u16 packet_id)
{
	return at < inbound_count(inbound) && inbound->ids[at] == packet_id;
}

bool inbound_has(const struct inbound *inbound, u16 packet_id)
{
	return is_at(inbound, position(inbound, packet_id), packet_id);
}

/* Room for one more. */
static struct inbound *grow(struct inbound *inbound)
{
	u32 count = inbound_count(inbound);
	u32 size = inbound ? inbound->size : 0;

	if (count < size)
		return inbound;
	size = size ? size * 2 : INBOUND_MIN;
	inbound = realloc(inbound, sizeof(*inbound) + size * sizeof(u16));
	if (!inbound)
		return NULL;
	inbound->count = count;
	inbound->size = size;
	return inbound;
}

int inbound_add(struct inbound **inbound, u16 packet_id)
{
	u32 at = position(*inbound, packet_id);
	struct inbound *grown;
	u16 *id;

	if (is_at(*inbound, at, packet_id))
		return 0;
	grown = grow(*inbound);
	if (!grown)
		return -ENOMEM;
	*inbound = grown;
	/* Clients count upwards: mostly there is nothing to move. */
	id = grown->ids + at;
	memmove(id + 1, id, (grown->count - at) * sizeof(*id));
	*id = packet_id;
	grown->count++;
	return 0;
}

bool inbound_del(struct inbound **inbound, u16 packet_id)
{
	u32 at = position(*inbound, packet_id);
	u16 *id;

	if (!is_at(*inbound, at, packet_id))
		return false;
	id = (*inbound)->ids + at;
	if (--(*inbound)->count)
		memmove(id, id + 1, ((*inbound)->count - at) * sizeof(*id));
	else
		inbound_free(inbound);
	return true;
}

void inbound_free(struct inbound **inbound)
{
	free(*inbound);
	*inbound = NULL;
}
