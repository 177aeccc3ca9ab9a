/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A message as the daemon holds it: the contents of one PUBLISH, shared by all
 * that it is queued for, retained in, or being written by. It never changes
 * once made.
 *
 * References are the main thread's; the store's thread only reads, and makes
 * what it loads.
 */
#ifndef _KMQTTD_MESSAGE_H_
#define _KMQTTD_MESSAGE_H_

#include "types.h"

/**
 * struct message - a message
 * @refs: references
 * @id: the store's name for it, unique in the store's lifetime
 * @journal: the journal_generation() that has it
 * @payload_len: bytes of payload
 * @topic_len: bytes of the topic name
 * @qos: QoS that it was published at
 * @data: the topic name, then the payload
 */
struct message {
	u32 refs;
	u64 id;
	u32 journal;
	u32 payload_len;
	u16 topic_len;
	u8 qos;
	u8 data[];
};

/* With one reference, or NULL without memory. */
struct message *message_new(const void *topic, u16 topic_len,
			    const void *payload, u32 payload_len, u8 qos);

/* The same with the id that it has in the store. Any thread's. */
struct message *message_load(u64 id, const void *topic, u16 topic_len,
			     const void *payload, u32 payload_len, u8 qos);

/* Lowest number that message_new() may give: those in the store are taken. */
void message_ids_from(u64 id);

static inline struct message *message_hold(struct message *message)
{
	message->refs++;
	return message;
}

void message_put(struct message *message);

static inline const u8 *message_payload(const struct message *message)
{
	return message->data + message->topic_len;
}

/* What it counts for in max_queued_bytes, as in mosquitto: its payload. */
static inline size_t message_bytes(const struct message *message)
{
	return message->payload_len;
}

#endif /* _KMQTTD_MESSAGE_H_ */
