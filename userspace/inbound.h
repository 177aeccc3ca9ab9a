/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Packet identifiers of the QoS 2 messages that a client has published and not
 * released: while one is there, a PUBLISH that has it is the same message again
 * (section 4.3.3). All zeroes is a valid empty set; an empty one holds no memory.
 */
#ifndef _KMQTTD_INBOUND_H_
#define _KMQTTD_INBOUND_H_

#include "types.h"

/**
 * struct inbound - a set of packet identifiers
 * @ids: @count of them, rising, in room for @size; owned
 */
struct inbound {
	u16 *ids;
	u32 count;
	u32 size;
};

bool inbound_has(const struct inbound *inbound, u16 packet_id);

/* Adds it; once there, it is there. 0 or -ENOMEM. */
int inbound_add(struct inbound *inbound, u16 packet_id);

/* Removes it. False when it is not there. */
bool inbound_del(struct inbound *inbound, u16 packet_id);

void inbound_free(struct inbound *inbound);

#endif /* _KMQTTD_INBOUND_H_ */
