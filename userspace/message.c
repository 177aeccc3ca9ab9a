// SPDX-License-Identifier: GPL-2.0
#include "message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frame.h"
#include "property.h"

static u64 next_id = 1;

void message_ids_from(u64 id)
{
	if (next_id < id)
		next_id = id;
}

s64 message_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Where the value of its message expiry interval is, see struct message. */
static u32 find_expiry(const struct message *message)
{
	const u8 *begin = message_properties(message);
	struct kmqtt_properties properties = {
		.pos = begin,
		.end = begin + message->properties_len,
		.where = KMQTT_PUBLISH,
	};
	struct kmqtt_property property;

	while (kmqtt_property_next(&properties, &property))
		if (property.id == KMQTT_PROP_MESSAGE_EXPIRY)
			return property.begin + 1 - begin;
	return 0;
}

struct message *message_load(u64 id, s64 expires,
			     const struct message_parts *parts)
{
	struct message *message;
	u8 *to;

	message = malloc(sizeof(*message) + parts->topic_len +
			 parts->properties_len + parts->payload_len);
	if (!message)
		return NULL;
	*message = (struct message){
		.refs = 1,
		.id = id,
		.expires = expires,
		.payload_len = parts->payload_len,
		.properties_len = parts->properties_len,
		.topic_len = parts->topic_len,
		.qos = parts->qos,
	};
	to = message->data;
	memcpy(to, parts->topic, parts->topic_len);
	to += parts->topic_len;
	/* Of what is empty there may be no pointer either. */
	if (parts->properties_len)
		memcpy(to, parts->properties, parts->properties_len);
	to += parts->properties_len;
	if (parts->payload_len)
		memcpy(to, parts->payload, parts->payload_len);
	if (parts->properties_len)
		message->expiry_at = find_expiry(message);
	return message;
}

static u32 read_be32(const u8 *from)
{
	return (u32)from[0] << 24 | from[1] << 16 | from[2] << 8 | from[3];
}

static void write_be32(u8 *to, u32 value)
{
	to[0] = value >> 24;
	to[1] = value >> 16;
	to[2] = value >> 8;
	to[3] = value;
}

void message_begin(struct message *message)
{
	const u8 *expiry = message_properties(message) + message->expiry_at;

	if (message->expiry_at)
		message->expires = message_now() + read_be32(expiry) * 1000LL;
	if (!message->id)
		message->id = next_id++;
}

struct message *message_make(const struct message_parts *parts)
{
	struct message *message = message_load(0, 0, parts);

	if (message)
		message_begin(message);
	return message;
}

struct message *message_new(const void *topic, u16 topic_len,
			    const void *payload, u32 payload_len, u8 qos)
{
	const struct message_parts parts = {
		.topic = topic,
		.topic_len = topic_len,
		.qos = qos,
		.payload_len = payload_len,
		.payload = payload,
	};

	return message_make(&parts);
}

int message_set_source(struct message *message, u32 listener, const void *id,
		       u16 id_len, const void *user, u16 user_len)
{
	struct message_source *source;

	source = malloc(sizeof(*source) + id_len + user_len);
	if (!source)
		return -ENOMEM;
	*source = (struct message_source){
		.listener = listener,
		.id_len = id_len,
		.user_len = user_len,
	};
	memcpy(source->data, id, id_len);
	if (user_len)
		memcpy(source->data + id_len, user, user_len);
	free(message->source);
	message->source = source;
	return 0;
}

void message_put(struct message *message)
{
	if (--message->refs)
		return;
	free(message->source);
	free(message);
}

bool message_expired(const struct message *message, s64 now)
{
	return message->expires && now > message->expires;
}

u32 message_left(const struct message *message, s64 now)
{
	return now < message->expires ? (message->expires - now + 999) / 1000
				      : 0;
}

void message_write_properties(const struct message *message, u8 *to, s64 now)
{
	if (message->properties_len)
		memcpy(to, message_properties(message),
		       message->properties_len);
	if (message->expiry_at && message->expires)
		write_be32(to + message->expiry_at, message_left(message, now));
}
