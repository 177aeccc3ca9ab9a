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
 * struct message_source - who published a message, for check_retain_source
 * @listener: number of the listener that the client came from
 * @id_len: bytes of its identifier
 * @user_len: bytes of its user name, 0: it had none
 * @data: the identifier, then the user name
 */
struct message_source {
	u32 listener;
	u16 id_len;
	u16 user_len;
	u8 data[];
};

/**
 * struct message_parts - what a message is made of; copied
 * @topic: topic name
 * @topic_len: bytes of it
 * @qos: QoS that it is published at
 * @payload_len: bytes of @payload
 * @payload: application message
 * @properties: those of MQTT 5, valid ones, as they came: without property
 *	length, topic alias and will delay
 * @properties_len: bytes of them, 0: there are none
 */
struct message_parts {
	const void *topic;
	u16 topic_len;
	u8 qos;
	u32 payload_len;
	const void *payload;
	const void *properties;
	u32 properties_len;
};

/**
 * struct message - a message
 * @id: the store's name for it, unique in the store's lifetime
 * @expires: milliseconds since 1970, when its message expiry interval ends
 *	(section 3.3.2.3.3); 0: never
 * @source: who published it, or NULL; owned
 * @refs: references
 * @journal: the journal_generation() that has it
 * @payload_len: bytes of payload
 * @properties_len: bytes of properties
 * @expiry_at: where in the properties the value of the message expiry interval
 *	is, 0: there is none
 * @topic_len: bytes of the topic name
 * @qos: QoS that it was published at
 * @data: the topic name, then the properties, then the payload
 */
struct message {
	u64 id;
	s64 expires;
	struct message_source *source;
	u32 refs;
	u32 journal;
	u32 payload_len;
	u32 properties_len;
	u32 expiry_at;
	u16 topic_len;
	u8 qos;
	u8 data[];
};

/*
 * With one reference, or NULL without memory. Its message expiry interval, if it
 * has one, begins now.
 */
struct message *message_make(const struct message_parts *parts);

/* The same without properties. */
struct message *message_new(const void *topic, u16 topic_len,
			    const void *payload, u32 payload_len, u8 qos);

/*
 * The same with the id that it has in the store, and the time when it expires.
 * Any thread's.
 */
struct message *message_load(u64 id, s64 expires,
			     const struct message_parts *parts);

/* Notes who publishes it; before anybody else has it. 0 or -ENOMEM. */
int message_set_source(struct message *message, u32 listener, const void *id,
		       u16 id_len, const void *user, u16 user_len);

/*
 * It is published: its message expiry interval begins now, not when it was made,
 * and it has an identifier from now on, if it was loaded without: a will is
 * stored with its session. Only while nobody else has it.
 */
void message_begin(struct message *message);

/* Lowest number that message_new() may give: those in the store are taken. */
void message_ids_from(u64 id);

static inline struct message *message_hold(struct message *message)
{
	message->refs++;
	return message;
}

void message_put(struct message *message);

static inline const u8 *message_properties(const struct message *message)
{
	return message->data + message->topic_len;
}

static inline const u8 *message_payload(const struct message *message)
{
	return message->data + message->topic_len + message->properties_len;
}

/* Milliseconds since 1970. */
s64 message_now(void);

/* Whether nobody is to get it any more [MQTT-3.3.2-5]. */
bool message_expired(const struct message *message, s64 now);

/* Seconds of its message expiry interval that are left at @now. */
u32 message_left(const struct message *message, s64 now);

/*
 * Writes its properties to @to, @properties_len bytes, with the message expiry
 * interval that is left at @now [MQTT-3.3.2-6].
 */
void message_write_properties(const struct message *message, u8 *to, s64 now);

/* What it counts for in max_queued_bytes, as in mosquitto: its payload. */
static inline size_t message_bytes(const struct message *message)
{
	return message->payload_len;
}

#endif /* _KMQTTD_MESSAGE_H_ */
