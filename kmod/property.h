/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Properties of MQTT 5 control packets (section 2.2.2), as a peer sends them.
 *
 * Pure: no socket, no lock, no allocation. Any context. Values point into the
 * packet. The time taken is linear in the bytes.
 */
#ifndef _KMQTT_PROPERTY_H_
#define _KMQTT_PROPERTY_H_

#include <linux/types.h>
#include <linux/kmqtt.h>

/* Property identifiers (table 2-4). */
enum {
	KMQTT_PROP_PAYLOAD_FORMAT = 0x01,
	KMQTT_PROP_MESSAGE_EXPIRY = 0x02,
	KMQTT_PROP_CONTENT_TYPE = 0x03,
	KMQTT_PROP_RESPONSE_TOPIC = 0x08,
	KMQTT_PROP_CORRELATION_DATA = 0x09,
	KMQTT_PROP_SUBSCRIPTION_ID = 0x0b,
	KMQTT_PROP_SESSION_EXPIRY = 0x11,
	KMQTT_PROP_ASSIGNED_CLIENT_ID = 0x12,
	KMQTT_PROP_SERVER_KEEP_ALIVE = 0x13,
	KMQTT_PROP_AUTH_METHOD = 0x15,
	KMQTT_PROP_AUTH_DATA = 0x16,
	KMQTT_PROP_REQUEST_PROBLEM_INFO = 0x17,
	KMQTT_PROP_WILL_DELAY = 0x18,
	KMQTT_PROP_REQUEST_RESPONSE_INFO = 0x19,
	KMQTT_PROP_RESPONSE_INFO = 0x1a,
	KMQTT_PROP_SERVER_REFERENCE = 0x1c,
	KMQTT_PROP_REASON_STRING = 0x1f,
	KMQTT_PROP_RECEIVE_MAXIMUM = 0x21,
	KMQTT_PROP_TOPIC_ALIAS_MAXIMUM = 0x22,
	KMQTT_PROP_TOPIC_ALIAS = 0x23,
	KMQTT_PROP_MAXIMUM_QOS = 0x24,
	KMQTT_PROP_RETAIN_AVAILABLE = 0x25,
	KMQTT_PROP_USER_PROPERTY = 0x26,
	KMQTT_PROP_MAXIMUM_PACKET_SIZE = 0x27,
	KMQTT_PROP_WILDCARD_AVAILABLE = 0x28,
	KMQTT_PROP_SUBSCRIPTION_ID_AVAILABLE = 0x29,
	KMQTT_PROP_SHARED_AVAILABLE = 0x2a,

	KMQTT_PROP_MAX = 0x2a
};

/* Where properties stand: a control packet's type, or the will's, in CONNECT. */
enum { KMQTT_PROPS_WILL = 0 };

/* Bytes of the longest variable byte integer (section 1.5.5), and its value. */
enum { KMQTT_VARINT_BYTES = 4, KMQTT_VARINT_MAX = 268435455 };

/**
 * struct kmqtt_property - one property
 * @id: KMQTT_PROP_*
 * @number: its value, if that is an integer of any kind
 * @data: its value, if that is a string or binary data; the name of a user
 *	property
 * @value: the value of a user property
 * @len: bytes at @data
 * @value_len: bytes at @value
 * @begin: the first byte of it, the identifier
 * @size: its bytes, the identifier included
 */
struct kmqtt_property {
	u8 id;
	u16 len;
	u16 value_len;
	u32 number;
	u32 size;
	const u8 *data;
	const u8 *value;
	const u8 *begin;
};

/**
 * struct kmqtt_properties - properties that are being read
 * @pos: the next one
 * @end: where they end
 * @seen: bit n: the one with identifier n has occurred
 * @where: a packet type, or KMQTT_PROPS_WILL
 * @error: why no more can be read: KMQTT_END_MALFORMED (reason code 0x81) or
 *	KMQTT_END_PROTOCOL (0x82), or KMQTT_END_TOPIC_ALIAS (0x94); or
 *	KMQTT_END_NONE
 */
struct kmqtt_properties {
	const u8 *pos;
	const u8 *end;
	u64 seen;
	u8 where;
	u8 error;
};

unsigned int kmqtt_varint_read(const u8 *data, size_t len, u32 *value);
unsigned int kmqtt_varint_write(u8 *data, u32 value);
unsigned int kmqtt_varint_size(u32 value);

const u8 *kmqtt_properties_begin(struct kmqtt_properties *properties,
				 const u8 *data, size_t len, u8 where);
bool kmqtt_property_next(struct kmqtt_properties *properties,
			 struct kmqtt_property *property);

#endif /* _KMQTT_PROPERTY_H_ */
