/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Fixed headers of MQTT control packets (section 2.2), as a client sends them.
 *
 * Pure: no socket, no lock, no allocation. Any context.
 */
#ifndef _KMQTT_FRAME_H_
#define _KMQTT_FRAME_H_

#include <linux/types.h>
#include <linux/kmqtt.h>

/* Control packet types (table 2.1). */
enum {
	KMQTT_CONNECT = 1,
	KMQTT_CONNACK = 2,
	KMQTT_PUBLISH = 3,
	KMQTT_PUBACK = 4,
	KMQTT_PUBREC = 5,
	KMQTT_PUBREL = 6,
	KMQTT_PUBCOMP = 7,
	KMQTT_SUBSCRIBE = 8,
	KMQTT_SUBACK = 9,
	KMQTT_UNSUBSCRIBE = 10,
	KMQTT_UNSUBACK = 11,
	KMQTT_PINGREQ = 12,
	KMQTT_PINGRESP = 13,
	KMQTT_DISCONNECT = 14,
	KMQTT_AUTH = 15,		/* MQTT 5 */
};

/* Flags in the low half of a PUBLISH's first byte (section 3.3.1). */
#define KMQTT_FLAG_RETAIN	0x01
#define KMQTT_FLAG_QOS		0x06
#define KMQTT_FLAG_DUP		0x08

/* One type byte and at most four of remaining length. */
#define KMQTT_HEADER_MAX	5

/**
 * struct kmqtt_frame - a fixed header as it arrives, in any segmentation
 * @seen: header bytes seen, 0 to KMQTT_HEADER_MAX
 * @done: the header is complete
 * @first: type and flags
 * @remaining: remaining length, bytes; final once @done
 */
struct kmqtt_frame {
	u8 seen;
	bool done;
	u8 first;
	u32 remaining;
};

static inline unsigned int kmqtt_frame_type(const struct kmqtt_frame *frame)
{
	return frame->first >> 4;
}

static inline unsigned int kmqtt_frame_qos(const struct kmqtt_frame *frame)
{
	return (frame->first & KMQTT_FLAG_QOS) >> 1;
}

/* Bytes of the whole packet as it arrived, header included. */
static inline u32 kmqtt_frame_size(const struct kmqtt_frame *frame)
{
	return frame->seen + frame->remaining;
}

/* Is the remaining length, once @frame->done, in its shortest encoding? */
static inline bool kmqtt_frame_is_shortest(const struct kmqtt_frame *frame)
{
	return frame->seen <= 2 ||
	       frame->remaining >> (7 * (frame->seen - 2));
}

enum kmqtt_end kmqtt_frame_feed(struct kmqtt_frame *frame, const u8 *data,
				size_t len, u8 level, size_t *used);
unsigned int kmqtt_frame_repeat(u8 *header, const struct kmqtt_frame *frame);
unsigned int kmqtt_frame_build(u8 *header, u8 first, u32 remaining);

#endif /* _KMQTT_FRAME_H_ */
