// SPDX-License-Identifier: GPL-2.0
#include "form.h"

#include <linux/string.h>

#include "compat.h"
#include "frame.h"
#include "msg.h"
#include "property.h"

static u32 payload_bytes(const struct kmqtt_msg *msg)
{
	return msg->len - msg->payload;
}

/* Bytes of the properties, without their length. */
static u32 properties(const struct kmqtt_msg *msg, u32 ids)
{
	return msg->property_bytes + ids;
}

static u32 remaining(const struct kmqtt_msg *msg, u8 form, u32 ids)
{
	u32 n = 2 + msg->topic_len + payload_bytes(msg);

	if (form & KMQTT_FORM_5)
		n += kmqtt_varint_size(properties(msg, ids)) +
		     properties(msg, ids);
	return n;
}

/**
 * kmqtt_form_size() - bytes of a message in a form
 * @msg: the message
 * @form: the form
 * @ids: bytes of subscription identifiers, as properties
 *
 * Return: the bytes, or 0: no packet can be as large.
 */
u32 kmqtt_form_size(const struct kmqtt_msg *msg, u8 form, u32 ids)
{
	u32 n = remaining(msg, form, ids);

	if (n > KMQTT_PACKET_MAX - KMQTT_HEADER_MAX)
		return 0;
	return 1 + kmqtt_varint_size(n) + n;
}

static u8 *put(u8 *to, const void *data, u32 len)
{
	memcpy(to, data, len);
	return to + len;
}

/**
 * kmqtt_form_write() - write a message in a form
 * @msg: the message
 * @form: the form
 * @ids: subscription identifiers
 * @to: room for kmqtt_form_size()
 * @id: set to where the value of the first identifier is, from @to; 0: none
 * @expiry: likewise of the message expiry interval
 *
 * Properties stay in their order [MQTT-3.3.2-17] [MQTT-3.3.2-18].
 *
 * Return: the bytes written.
 */
u32 kmqtt_form_write(const struct kmqtt_msg *msg, u8 form,
		     const struct kmqtt_ids *ids, u8 *to, u32 *id, u32 *expiry)
{
	u8 first = KMQTT_PUBLISH << 4, *pos = to;

	*id = 0;
	*expiry = 0;
	if (form & KMQTT_FORM_RETAIN && msg->sink & KMQTT_SINK_RETAIN)
		first |= KMQTT_FLAG_RETAIN;
	pos += kmqtt_frame_build(pos, first, remaining(msg, form, ids->len));
	put_unaligned_be16(msg->topic_len, pos);
	pos = put(pos + 2, msg->data + msg->topic_off, msg->topic_len);
	if (form & KMQTT_FORM_5) {
		u32 from = msg->payload - msg->property_bytes;

		pos += kmqtt_varint_write(pos, properties(msg, ids->len));
		if (ids->len)
			*id = pos + 1 - to;
		pos = put(pos, ids->data, ids->len);
		if (msg->expiry)
			*expiry = pos + (msg->expiry - from) - to;
		pos = put(pos, msg->data + from, msg->property_bytes);
	}
	pos = put(pos, msg->data + msg->payload, payload_bytes(msg));
	return pos - to;
}
