// SPDX-License-Identifier: GPL-2.0
#include "frame.h"

#include <linux/string.h>

/* PUBLISH has flags of its own; the others fixed ones [MQTT-2.2.2-2]. */
static enum kmqtt_end check_first(u8 first, u8 level)
{
	u8 flags = first & 0x0f;

	switch (first >> 4) {
	case KMQTT_PUBLISH:
		/* [MQTT-3.3.1-4], [MQTT-3.3.1-2] */
		if ((flags & KMQTT_FLAG_QOS) == KMQTT_FLAG_QOS)
			return KMQTT_END_MALFORMED;
		if ((flags & (KMQTT_FLAG_QOS | KMQTT_FLAG_DUP)) ==
		    KMQTT_FLAG_DUP)
			return KMQTT_END_MALFORMED;
		return KMQTT_END_NONE;
	case KMQTT_PUBREL:
	case KMQTT_SUBSCRIBE:
	case KMQTT_UNSUBSCRIBE:
		/* MQTT 3.1 repeats these with DUP (section 2.1 there). */
		if (level == 3)
			flags &= ~KMQTT_FLAG_DUP;
		return flags == 2 ? KMQTT_END_NONE : KMQTT_END_MALFORMED;
	case KMQTT_CONNECT:
	case KMQTT_PUBACK:
	case KMQTT_PUBREC:
	case KMQTT_PUBCOMP:
	case KMQTT_PINGREQ:
	case KMQTT_DISCONNECT:
		return flags ? KMQTT_END_MALFORMED : KMQTT_END_NONE;
	case KMQTT_AUTH:
		if (level < 5)
			return KMQTT_END_MALFORMED;
		return flags ? KMQTT_END_MALFORMED : KMQTT_END_NONE;
	case KMQTT_CONNACK:
	case KMQTT_SUBACK:
	case KMQTT_UNSUBACK:
	case KMQTT_PINGRESP:
		return flags ? KMQTT_END_MALFORMED : KMQTT_END_PROTOCOL;
	default:
		return KMQTT_END_MALFORMED;
	}
}

/* Lengths that a packet of its type cannot have. */
static enum kmqtt_end check_length(const struct kmqtt_frame *frame, u8 level)
{
	bool ok = true;

	switch (kmqtt_frame_type(frame)) {
	case KMQTT_PUBLISH:
		/* The topic's length, and above QoS 0 a packet identifier. */
		ok = frame->remaining >= (kmqtt_frame_qos(frame) ? 4 : 2);
		break;
	case KMQTT_PUBACK:
	case KMQTT_PUBREC:
	case KMQTT_PUBREL:
	case KMQTT_PUBCOMP:
		ok = level < 5 ? frame->remaining == 2 : frame->remaining >= 2;
		break;
	case KMQTT_PINGREQ:
		ok = frame->remaining == 0;
		break;
	case KMQTT_DISCONNECT:
		ok = level >= 5 || frame->remaining == 0;
		break;
	}

	/* Only the shortest encoding is valid [MQTT5: MQTT-1.5.5-1]; 3.1.1 does
	 * not say so. Of a CONNECT the level is not known yet.
	 */
	if (level >= 5 && !kmqtt_frame_is_shortest(frame))
		ok = false;

	return ok ? KMQTT_END_NONE : KMQTT_END_MALFORMED;
}

/**
 * kmqtt_frame_feed() - continue a fixed header
 * @frame: the header so far; zeroed before its first byte
 * @data: the next bytes of the stream
 * @len: how many there are, at least 1
 * @level: protocol level of the connection, 0 while not known
 * @used: set to the bytes that belong to the header
 *
 * Return: KMQTT_END_NONE, with @frame->done set when the header is complete, or
 * why the connection must end.
 */
enum kmqtt_end kmqtt_frame_feed(struct kmqtt_frame *frame, const u8 *data,
				size_t len, u8 level, size_t *used)
{
	enum kmqtt_end end;
	size_t i = 0;

	if (!frame->seen) {
		frame->first = data[i++];
		frame->seen = 1;
		end = check_first(frame->first, level);
		if (end) {
			*used = i;
			return end;
		}
	}

	while (i < len && !frame->done) {
		u8 byte = data[i++];

		frame->remaining |= (u32)(byte & 0x7f) << (7 * frame->seen - 7);
		frame->seen++;
		if (!(byte & 0x80))
			frame->done = true;
		else if (frame->seen == KMQTT_HEADER_MAX)
			break;
	}
	*used = i;

	if (frame->done)
		return check_length(frame, level);
	return frame->seen == KMQTT_HEADER_MAX ? KMQTT_END_MALFORMED
					       : KMQTT_END_NONE;
}

/**
 * kmqtt_frame_repeat() - write a fixed header as it came
 * @header: room for KMQTT_HEADER_MAX bytes
 * @frame: it is done
 *
 * Return: the bytes written, @frame->seen.
 */
unsigned int kmqtt_frame_repeat(u8 *header, const struct kmqtt_frame *frame)
{
	unsigned int n;

	header[0] = frame->first;
	for (n = 1; n < frame->seen; n++)
		header[n] = (frame->remaining >> (7 * n - 7) & 0x7f) | 0x80;
	header[n - 1] &= 0x7f;
	return n;
}

/**
 * kmqtt_frame_build() - write a fixed header in its shortest encoding
 * @header: room for KMQTT_HEADER_MAX bytes
 * @first: type and flags
 * @remaining: remaining length, at most 2^28 - 1
 *
 * Return: the bytes written, 2 to KMQTT_HEADER_MAX.
 */
unsigned int kmqtt_frame_build(u8 *header, u8 first, u32 remaining)
{
	unsigned int n = 0;

	header[n++] = first;
	do {
		u8 byte = remaining & 0x7f;

		remaining >>= 7;
		header[n++] = remaining ? byte | 0x80 : byte;
	} while (remaining);

	return n;
}
