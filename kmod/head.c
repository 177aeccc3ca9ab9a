// SPDX-License-Identifier: GPL-2.0
#include "head.h"

#include <linux/errno.h>
#include <linux/string.h>

#include "frame.h"
#include "property.h"
#include "topic.h"

/* What a topic name that cannot be means, which MQTT 3.x does not distinguish.
 * In MQTT 5 one that is empty, without an alias, is a protocol error (3.3.2.1),
 * and too many levels are this server's own limit (reason code 0x90).
 */
static enum kmqtt_end check_topic(const struct kmqtt_head *head,
				  const u8 *packet, u8 level)
{
	int err;

	if (level >= 5 && !head->topic_len)
		return head->topic_alias ? KMQTT_END_NONE : KMQTT_END_PROTOCOL;
	err = kmqtt_topic_name_check(packet + head->topic, head->topic_len);
	if (!err)
		return KMQTT_END_NONE;
	return level < 5 || err == -E2BIG ? KMQTT_END_TOPIC
					  : KMQTT_END_MALFORMED;
}

static enum kmqtt_end take(struct kmqtt_head *head, const u8 *packet,
			   const struct kmqtt_property *property)
{
	switch (property->id) {
	case KMQTT_PROP_PAYLOAD_FORMAT:
		head->payload_format = property->number;
		break;
	case KMQTT_PROP_MESSAGE_EXPIRY:
		head->expiry = property->begin + 1 - packet;
		head->expiry_interval = property->number;
		break;
	case KMQTT_PROP_TOPIC_ALIAS:
		head->alias = property->begin - packet;
		head->topic_alias = property->number;
		break;
	case KMQTT_PROP_RESPONSE_TOPIC:
		/* [MQTT-3.3.2-14] */
		if (kmqtt_topic_name_check(property->data, property->len))
			return KMQTT_END_PROTOCOL;
		break;
	case KMQTT_PROP_SUBSCRIPTION_ID:
		/* [MQTT-3.3.4-6] */
		return KMQTT_END_PROTOCOL;
	}
	return KMQTT_END_NONE;
}

/**
 * kmqtt_properties_parse() - find the properties of a PUBLISH, and check them
 * @head: gets all about the properties, and where the payload begins
 * @packet: the packet
 * @off: where the property length is
 * @len: bytes of the packet
 *
 * Return: KMQTT_END_NONE, or what is wrong.
 */
enum kmqtt_end kmqtt_properties_parse(struct kmqtt_head *head, const u8 *packet,
				      u32 off, u32 len)
{
	struct kmqtt_properties properties;
	struct kmqtt_property property;
	const u8 *payload;
	enum kmqtt_end end;

	head->properties = off;
	payload = kmqtt_properties_begin(&properties, packet + off, len - off,
					 KMQTT_PUBLISH);
	if (!payload)
		return properties.error;
	head->payload = payload - packet;
	head->property_bytes = payload - properties.pos;
	while (kmqtt_property_next(&properties, &property)) {
		end = take(head, packet, &property);
		if (end)
			return end;
	}
	return properties.error;
}

/**
 * kmqtt_head_parse() - find the parts of a PUBLISH, and check them
 * @head: set to where they are
 * @packet: the packet
 * @off: bytes of its fixed header
 * @len: bytes that there are, the whole packet's or those of the variable header
 * @level: protocol level
 *
 * Return: KMQTT_END_NONE, or why the connection must end. A topic name that is
 * not there is right if there is a topic alias, which must then be known.
 */
enum kmqtt_end kmqtt_head_parse(struct kmqtt_head *head, const u8 *packet,
				u32 off, u32 len, u8 level)
{
	bool id = packet[0] & KMQTT_FLAG_QOS;
	enum kmqtt_end end = KMQTT_END_NONE;

	memset(head, 0, sizeof(*head));
	if (len - off < 2)
		return level < 5 ? KMQTT_END_TOPIC : KMQTT_END_MALFORMED;
	head->topic = off + 2;
	head->topic_len = packet[off] << 8 | packet[off + 1];
	off += 2;
	if (head->topic_len + (id ? 2U : 0) > len - off)
		return level < 5 ? KMQTT_END_TOPIC : KMQTT_END_MALFORMED;
	off += head->topic_len + (id ? 2U : 0);

	head->properties = off;
	head->payload = off;
	if (level >= 5)
		end = kmqtt_properties_parse(head, packet, off, len);
	return end ?: check_topic(head, packet, level);
}

/**
 * kmqtt_head_want() - how much there is of a variable header of MQTT 5
 * @data: the first bytes of it
 * @have: how many
 * @id: there is a packet identifier
 *
 * Return: @have if it ends there, or if it is found to be malformed; else bytes
 * of it that tell more.
 */
u32 kmqtt_head_want(const u8 *data, u32 have, bool id)
{
	u32 off, size;
	unsigned int n;

	if (have < 2)
		return 2;
	off = 2 + (data[0] << 8 | data[1]) + (id ? 2 : 0);
	for (n = 0; n < KMQTT_VARINT_BYTES; n++) {
		if (have <= off + n)
			return off + n + 1;
		if (!(data[off + n] & 0x80))
			break;
	}
	n = kmqtt_varint_read(data + off, have - off, &size);
	return n ? off + n + size : have;
}
