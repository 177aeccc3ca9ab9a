// SPDX-License-Identifier: GPL-2.0
#include "message.h"

#include <stdlib.h>
#include <string.h>

static u64 next_id = 1;

void message_ids_from(u64 id)
{
	if (next_id < id)
		next_id = id;
}

struct message *message_load(u64 id, const void *topic, u16 topic_len,
			     const void *payload, u32 payload_len, u8 qos)
{
	struct message *message;

	message = malloc(sizeof(*message) + topic_len + payload_len);
	if (!message)
		return NULL;
	*message = (struct message){
		.refs = 1,
		.id = id,
		.payload_len = payload_len,
		.topic_len = topic_len,
		.qos = qos,
	};
	memcpy(message->data, topic, topic_len);
	/* Without a payload there may be no pointer to it either. */
	if (payload_len)
		memcpy(message->data + topic_len, payload, payload_len);
	return message;
}

struct message *message_new(const void *topic, u16 topic_len,
			    const void *payload, u32 payload_len, u8 qos)
{
	return message_load(next_id++, topic, topic_len, payload, payload_len,
			    qos);
}

void message_put(struct message *message)
{
	if (!--message->refs)
		free(message);
}
