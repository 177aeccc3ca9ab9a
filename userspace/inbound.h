/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Packet identifiers of the QoS 2 messages that a client has published and not
 * released: while one is there, a PUBLISH that has it is the same message again
 * (section 4.3.3). NULL is a valid empty set, and an empty one is NULL.
 */
#ifndef _KMQTTD_INBOUND_H_
#define _KMQTTD_INBOUND_H_

#include "types.h"

/**
 * struct inbound - a set of packet identifiers
 * @count: of @ids
 * @size: those that there is room for
 * @ids: rising
 */
struct inbound {
	u32 count;
	u32 size;
	u16 ids[];
};

bool inbound_has(const struct inbound *inbound, u16 packet_id);

/* Adds it; once there, it is there. 0 or -ENOMEM. */
int inbound_add(struct inbound **inbound, u16 packet_id);

/* Removes it. False when it is not there. */
bool inbound_del(struct inbound **inbound, u16 packet_id);

static inline u32 inbound_count(const struct inbound *inbound)
{
	return inbound ? inbound->count : 0;
}

void inbound_free(struct inbound **inbound);

#endif /* _KMQTTD_INBOUND_H_ */
