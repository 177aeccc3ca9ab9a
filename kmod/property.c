// SPDX-License-Identifier: GPL-2.0
#include "property.h"

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/string.h>

#include "frame.h"
#include "topic.h"

/* Data types of properties (section 2.2.2.2). */
enum type { NONE, BYTE, TWO, FOUR, VARINT, STRING, BINARY, PAIR };

#define IN(packet)	BIT(KMQTT_##packet)
#define WILL		BIT(KMQTT_PROPS_WILL)
#define ACKS		(IN(PUBACK) | IN(PUBREC) | IN(PUBREL) | IN(PUBCOMP))

/**
 * struct kind - what table 2-4 says of a property
 * @type: of its value
 * @least: the least value
 * @most: the greatest value of a byte
 * @where: bit n: packets of type n may have it
 */
struct kind {
	u8 type;
	u8 least;
	u8 most;
	u16 where;
};

static const struct kind kinds[KMQTT_PROP_MAX + 1] = {
	[KMQTT_PROP_PAYLOAD_FORMAT] = { BYTE, 0, 1, IN(PUBLISH) | WILL },
	[KMQTT_PROP_MESSAGE_EXPIRY] = { FOUR, 0, 0, IN(PUBLISH) | WILL },
	[KMQTT_PROP_CONTENT_TYPE] = { STRING, 0, 0, IN(PUBLISH) | WILL },
	[KMQTT_PROP_RESPONSE_TOPIC] = { STRING, 0, 0, IN(PUBLISH) | WILL },
	[KMQTT_PROP_CORRELATION_DATA] = { BINARY, 0, 0, IN(PUBLISH) | WILL },
	[KMQTT_PROP_SUBSCRIPTION_ID] = {
		VARINT, 1, 0, IN(PUBLISH) | IN(SUBSCRIBE) },
	[KMQTT_PROP_SESSION_EXPIRY] = {
		FOUR, 0, 0, IN(CONNECT) | IN(CONNACK) | IN(DISCONNECT) },
	[KMQTT_PROP_ASSIGNED_CLIENT_ID] = { STRING, 0, 0, IN(CONNACK) },
	[KMQTT_PROP_SERVER_KEEP_ALIVE] = { TWO, 0, 0, IN(CONNACK) },
	[KMQTT_PROP_AUTH_METHOD] = {
		STRING, 0, 0, IN(CONNECT) | IN(CONNACK) | IN(AUTH) },
	[KMQTT_PROP_AUTH_DATA] = {
		BINARY, 0, 0, IN(CONNECT) | IN(CONNACK) | IN(AUTH) },
	[KMQTT_PROP_REQUEST_PROBLEM_INFO] = { BYTE, 0, 1, IN(CONNECT) },
	[KMQTT_PROP_WILL_DELAY] = { FOUR, 0, 0, WILL },
	[KMQTT_PROP_REQUEST_RESPONSE_INFO] = { BYTE, 0, 1, IN(CONNECT) },
	[KMQTT_PROP_RESPONSE_INFO] = { STRING, 0, 0, IN(CONNACK) },
	[KMQTT_PROP_SERVER_REFERENCE] = {
		STRING, 0, 0, IN(CONNACK) | IN(DISCONNECT) },
	[KMQTT_PROP_REASON_STRING] = {
		STRING, 0, 0, IN(CONNACK) | ACKS | IN(SUBACK) | IN(UNSUBACK) |
			      IN(DISCONNECT) | IN(AUTH) },
	[KMQTT_PROP_RECEIVE_MAXIMUM] = {
		TWO, 1, 0, IN(CONNECT) | IN(CONNACK) },
	[KMQTT_PROP_TOPIC_ALIAS_MAXIMUM] = {
		TWO, 0, 0, IN(CONNECT) | IN(CONNACK) },
	[KMQTT_PROP_TOPIC_ALIAS] = { TWO, 1, 0, IN(PUBLISH) },
	[KMQTT_PROP_MAXIMUM_QOS] = { BYTE, 0, 1, IN(CONNACK) },
	[KMQTT_PROP_RETAIN_AVAILABLE] = { BYTE, 0, 1, IN(CONNACK) },
	[KMQTT_PROP_USER_PROPERTY] = {
		PAIR, 0, 0, IN(CONNECT) | WILL | IN(CONNACK) | IN(PUBLISH) |
			    ACKS | IN(SUBSCRIBE) | IN(SUBACK) |
			    IN(UNSUBSCRIBE) | IN(UNSUBACK) | IN(DISCONNECT) |
			    IN(AUTH) },
	[KMQTT_PROP_MAXIMUM_PACKET_SIZE] = {
		FOUR, 1, 0, IN(CONNECT) | IN(CONNACK) },
	[KMQTT_PROP_WILDCARD_AVAILABLE] = { BYTE, 0, 1, IN(CONNACK) },
	[KMQTT_PROP_SUBSCRIPTION_ID_AVAILABLE] = { BYTE, 0, 1, IN(CONNACK) },
	[KMQTT_PROP_SHARED_AVAILABLE] = { BYTE, 0, 1, IN(CONNACK) },
};

/**
 * kmqtt_varint_read() - read a variable byte integer
 * @data: its bytes
 * @len: how many there are
 * @value: set to the value
 *
 * Return: the bytes that it takes, or 0: it does not end within @len or four
 * bytes, or is not in its shortest form [MQTT-1.5.5-1].
 */
unsigned int kmqtt_varint_read(const u8 *data, size_t len, u32 *value)
{
	unsigned int n = 0;

	*value = 0;
	while (n < len && n < KMQTT_VARINT_BYTES) {
		u8 byte = data[n];

		*value |= (u32)(byte & 0x7f) << (7 * n);
		n++;
		if (!(byte & 0x80))
			return byte || n == 1 ? n : 0;
	}
	return 0;
}

/**
 * kmqtt_varint_write() - write a variable byte integer in its shortest form
 * @data: room for KMQTT_VARINT_BYTES
 * @value: at most KMQTT_VARINT_MAX
 *
 * Return: the bytes written, kmqtt_varint_size().
 */
unsigned int kmqtt_varint_write(u8 *data, u32 value)
{
	unsigned int n = 0;

	do {
		u8 byte = value & 0x7f;

		value >>= 7;
		data[n++] = value ? byte | 0x80 : byte;
	} while (value);
	return n;
}

unsigned int kmqtt_varint_size(u32 value)
{
	unsigned int n = 1;

	while (value >>= 7)
		n++;
	return n;
}

/**
 * kmqtt_properties_begin() - get ready to read a packet's properties
 * @properties: to be given to kmqtt_property_next()
 * @data: the property length, and what follows
 * @len: bytes there are
 * @where: type of the packet, or KMQTT_PROPS_WILL
 *
 * Return: where what follows the properties begins, or NULL: malformed, and
 * there is no property to read.
 */
const u8 *kmqtt_properties_begin(struct kmqtt_properties *properties,
				 const u8 *data, size_t len, u8 where)
{
	unsigned int n;
	u32 size;

	properties->pos = data;
	properties->end = data;
	properties->seen = 0;
	properties->where = where;
	properties->error = KMQTT_END_NONE;

	n = kmqtt_varint_read(data, len, &size);
	if (!n || size > len - n) {
		properties->error = KMQTT_END_MALFORMED;
		return NULL;
	}
	properties->pos = data + n;
	properties->end = properties->pos + size;
	return properties->end;
}

static bool fail(struct kmqtt_properties *properties, enum kmqtt_end error)
{
	properties->error = error;
	properties->pos = properties->end;
	return false;
}

/* A big-endian integer of @bytes bytes. Return: false if there are not as many. */
static bool read_number(const u8 **pos, const u8 *end, unsigned int bytes,
			u32 *number)
{
	if (end - *pos < bytes)
		return false;
	*number = 0;
	while (bytes--)
		*number = *number << 8 | *(*pos)++;
	return true;
}

static bool read_bytes(const u8 **pos, const u8 *end, const u8 **data, u16 *len)
{
	u32 n;

	if (!read_number(pos, end, 2, &n) || n > end - *pos)
		return false;
	*data = *pos;
	*len = n;
	*pos += n;
	return true;
}

static bool read_string(const u8 **pos, const u8 *end, const u8 **data,
			u16 *len)
{
	return read_bytes(pos, end, data, len) &&
	       !kmqtt_utf8_check(*data, *len);
}

static bool read_varint(const u8 **pos, const u8 *end, u32 *number)
{
	unsigned int n = kmqtt_varint_read(*pos, end - *pos, number);

	*pos += n;
	return n;
}

static bool read_value(const u8 **pos, const u8 *end, u8 type,
		       struct kmqtt_property *property)
{
	switch (type) {
	case BYTE:
		return read_number(pos, end, 1, &property->number);
	case TWO:
		return read_number(pos, end, 2, &property->number);
	case FOUR:
		return read_number(pos, end, 4, &property->number);
	case VARINT:
		return read_varint(pos, end, &property->number);
	case STRING:
		return read_string(pos, end, &property->data, &property->len);
	case BINARY:
		return read_bytes(pos, end, &property->data, &property->len);
	case PAIR:
		return read_string(pos, end, &property->data,
				   &property->len) &&
		       read_string(pos, end, &property->value,
				   &property->value_len);
	default:
		return false;
	}
}

/* Whether one identifier may occur again: a user property, and in PUBLISH a
 * subscription identifier (section 3.3.2.3.8).
 */
static bool may_repeat(const struct kmqtt_properties *properties, u8 id)
{
	return id == KMQTT_PROP_USER_PROPERTY ||
	       (id == KMQTT_PROP_SUBSCRIPTION_ID &&
		properties->where == KMQTT_PUBLISH);
}

/**
 * kmqtt_property_next() - read one property
 * @properties: from kmqtt_properties_begin()
 * @property: set to it
 *
 * An identifier that may not be there, and what is not of its data type, is
 * malformed; one that occurs twice, and a value that it cannot have, is a
 * protocol error (section 2.2.2.2, and where each is described).
 *
 * Return: whether there was one; else properties->error says if all were right.
 */
bool kmqtt_property_next(struct kmqtt_properties *properties,
			 struct kmqtt_property *property)
{
	const u8 *pos = properties->pos;
	const struct kind *kind;

	if (pos == properties->end)
		return false;

	/* The identifier is a variable byte integer; those there are take one
	 * byte.
	 */
	property->begin = pos;
	property->id = *pos++;
	if (property->id > KMQTT_PROP_MAX)
		return fail(properties, KMQTT_END_MALFORMED);
	kind = &kinds[property->id];
	if (!(kind->where & BIT(properties->where)) ||
	    !read_value(&pos, properties->end, kind->type, property))
		return fail(properties, KMQTT_END_MALFORMED);

	if (properties->seen & BIT_ULL(property->id) &&
	    !may_repeat(properties, property->id))
		return fail(properties, KMQTT_END_PROTOCOL);
	if ((kind->type == BYTE && property->number > kind->most) ||
	    (kind->least && property->number < kind->least))
		return fail(properties,
			    property->id == KMQTT_PROP_TOPIC_ALIAS ?
			    KMQTT_END_TOPIC_ALIAS : KMQTT_END_PROTOCOL);

	properties->seen |= BIT_ULL(property->id);
	property->size = pos - property->begin;
	properties->pos = pos;
	return true;
}
