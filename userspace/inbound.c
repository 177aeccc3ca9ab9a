// SPDX-License-Identifier: GPL-2.0
#include "inbound.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INBOUND_MIN 8

/* Where @packet_id is, or belongs. */
static u32 position(const struct inbound *inbound, u16 packet_id)
{
	u32 low = 0, high = inbound->count, middle;

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
	return at < inbound->count && inbound->ids[at] == packet_id;
}

bool inbound_has(const struct inbound *inbound, u16 packet_id)
{
	return is_at(inbound, position(inbound, packet_id), packet_id);
}

static int grow(struct inbound *inbound)
{
	u32 size = inbound->size ? inbound->size * 2 : INBOUND_MIN;
	u16 *ids = reallocarray(inbound->ids, size, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	inbound->ids = ids;
	inbound->size = size;
	return 0;
}

int inbound_add(struct inbound *inbound, u16 packet_id)
{
	u32 at = position(inbound, packet_id);
	u16 *id;

	if (is_at(inbound, at, packet_id))
		return 0;
	if (inbound->count == inbound->size && grow(inbound))
		return -ENOMEM;
	/* Clients count upwards: mostly there is nothing to move. */
	id = inbound->ids + at;
	memmove(id + 1, id, (inbound->count - at) * sizeof(*id));
	*id = packet_id;
	inbound->count++;
	return 0;
}

bool inbound_del(struct inbound *inbound, u16 packet_id)
{
	u32 at = position(inbound, packet_id);
	u16 *id = inbound->ids + at;

	if (!is_at(inbound, at, packet_id))
		return false;
	if (--inbound->count)
		memmove(id, id + 1, (inbound->count - at) * sizeof(*id));
	else
		inbound_free(inbound);
	return true;
}

void inbound_free(struct inbound *inbound)
{
	free(inbound->ids);
	*inbound = (struct inbound){ 0 };
}
