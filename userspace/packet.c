// SPDX-License-Identifier: GPL-2.0
#include "packet.h"

#include <errno.h>
#include <string.h>

#include "frame.h"
#include "topic.h"

/* Connect flags (section 3.1.2.3). */
#define FLAG_RESERVED		0x01
#define FLAG_CLEAN		0x02
#define FLAG_WILL		0x04
#define FLAG_WILL_QOS		0x18
#define FLAG_WILL_RETAIN	0x20
#define FLAG_PASSWORD		0x40
#define FLAG_USERNAME		0x80

/* Connect acknowledge flags (section 3.2.2.1). */
#define FLAG_PRESENT		0x01

#define WILL_QOS(flags)		(((flags) & FLAG_WILL_QOS) >> 3)

/* MQTT 5's CONNACK reason code "Unsupported Protocol Version". */
#define REASON_BAD_LEVEL	0x84

/**
 * struct reader - the rest of a packet
 * @data: the next byte
 * @len: how many there are
 * @bad: more was read than there is, or not what must be there
 */
struct reader {
	const u8 *data;
	size_t len;
	bool bad;
};

static const u8 *read_bytes(struct reader *reader, size_t len)
{
	const u8 *data = reader->data;

	if (reader->bad || len > reader->len) {
		reader->bad = true;
		return NULL;
	}
	reader->data += len;
	reader->len -= len;
	return data;
}

static u8 read_u8(struct reader *reader)
{
	const u8 *data = read_bytes(reader, 1);

	return data ? data[0] : 0;
}

static u16 read_u16(struct reader *reader)
{
	const u8 *data = read_bytes(reader, 2);

	return data ? data[0] << 8 | data[1] : 0;
}

static struct packet_bytes read_binary(struct reader *reader)
{
	struct packet_bytes bytes = { .len = read_u16(reader) };

	bytes.data = read_bytes(reader, bytes.len);
	return bytes;
}

/* [MQTT-1.5.3-1], [MQTT-1.5.3-2]: close for anything but good UTF-8. */
static struct packet_bytes read_string(struct reader *reader)
{
	struct packet_bytes bytes = read_binary(reader);

	if (bytes.data && kmqtt_utf8_check(bytes.data, bytes.len))
		reader->bad = true;
	return bytes;
}

static bool is(const struct packet_bytes *bytes, const char *text)
{
	return bytes->len == strlen(text) &&
	       !memcmp(bytes->data, text, bytes->len);
}

/* Name and level (sections 3.1.2.1 and 3.1.2.2). */
static int read_protocol(struct reader *reader, u8 *level)
{
	struct packet_bytes name = read_string(reader);
	bool v31;

	*level = read_u8(reader);
	if (reader->bad)
		return -EBADMSG;

	/*
	 * Another name is not MQTT: no answer [MQTT-3.1.2-1]. Another level is
	 * a version to come, or a bridge's private mark: CONNACK 1
	 * [MQTT-3.1.2-2].
	 */
	v31 = is(&name, "MQIsdp");
	if (!v31 && !is(&name, "MQTT"))
		return -EBADMSG;
	if (*level != (v31 ? PACKET_LEVEL_3_1 : PACKET_LEVEL_3_1_1))
		return -EPROTONOSUPPORT;
	return 0;
}

static bool flags_valid(u8 flags, u8 level)
{
	/* [MQTT-3.1.2-14] */
	if (WILL_QOS(flags) == 3)
		return false;
	/* [MQTT-3.1.2-22]; MQTT 3.1 says so too. */
	if ((flags & FLAG_PASSWORD) && !(flags & FLAG_USERNAME))
		return false;
	/* MQTT 3.1 gives no meaning to these, nor a value. */
	if (level == PACKET_LEVEL_3_1)
		return true;
	/* [MQTT-3.1.2-3] */
	if (flags & FLAG_RESERVED)
		return false;
	/* [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15] */
	return (flags & FLAG_WILL) ||
	       !(flags & (FLAG_WILL_QOS | FLAG_WILL_RETAIN));
}

static void read_will(struct reader *reader, u8 flags,
		      struct packet_connect *connect)
{
	connect->will_qos = WILL_QOS(flags);
	connect->will_retain = flags & FLAG_WILL_RETAIN;
	connect->will_topic = read_string(reader);
	connect->will_message = read_binary(reader);
	/* It is going to be published: section 4.7.3, [MQTT-3.3.2-2]. */
	if (!reader->bad && kmqtt_topic_name_check(connect->will_topic.data,
						   connect->will_topic.len))
		reader->bad = true;
}

/*
 * Is the field there that a flag announces? In MQTT 3.1 the remaining length
 * takes precedence over the user name and password flags: "servers must allow
 * for the possibility that the flag is set, but the string is missing".
 */
static bool announced(const struct reader *reader, bool flag, u8 level)
{
	return flag && (reader->len || level != PACKET_LEVEL_3_1);
}

int packet_parse_connect(const u8 *data, size_t len,
			 struct packet_connect *connect)
{
	struct reader reader = { .data = data, .len = len };
	u8 level, flags;
	int err;

	*connect = (struct packet_connect){ 0 };
	err = read_protocol(&reader, &level);
	connect->level = level;
	if (err)
		return err;

	flags = read_u8(&reader);
	if (!flags_valid(flags, level))
		return -EBADMSG;
	connect->clean = flags & FLAG_CLEAN;
	connect->keepalive = read_u16(&reader);

	/* The payload, in this order [MQTT-3.1.3-1]. */
	connect->id = read_string(&reader);
	if (flags & FLAG_WILL)
		read_will(&reader, flags, connect);
	if (announced(&reader, flags & FLAG_USERNAME, level))
		connect->username = read_string(&reader);
	if (announced(&reader, flags & FLAG_PASSWORD, level))
		connect->password = read_binary(&reader);

	return reader.bad || reader.len ? -EBADMSG : 0;
}

int packet_parse_publish(u8 first, const u8 *data, size_t len,
			 struct packet_publish *publish)
{
	struct reader reader = { .data = data, .len = len };
	u8 qos = (first & KMQTT_FLAG_QOS) >> 1;

	*publish = (struct packet_publish){
		.qos = qos,
		.dup = first & KMQTT_FLAG_DUP,
		.retain = first & KMQTT_FLAG_RETAIN,
		.topic = read_binary(&reader),
	};
	if (qos)
		publish->id = read_u16(&reader);
	publish->payload = reader.data;
	publish->payload_len = reader.len;

	/* [MQTT-3.3.1-4], [MQTT-3.3.1-2], [MQTT-2.3.1-1] */
	if (reader.bad || qos == 3 || (publish->dup && !qos) ||
	    (qos && !publish->id))
		return -EBADMSG;
	/* [MQTT-3.3.2-1], [MQTT-3.3.2-2] */
	return kmqtt_topic_name_check(publish->topic.data, publish->topic.len) ?
	       -EBADMSG : 0;
}

int packet_parse_ack(const u8 *data, size_t len, u16 *id)
{
	struct reader reader = { .data = data, .len = len };

	*id = read_u16(&reader);
	/* [MQTT-2.3.1-1] */
	return reader.bad || reader.len || !*id ? -EBADMSG : 0;
}

int packet_parse_filters(const u8 *data, size_t len, bool subscribe,
			 struct packet_filters *filters)
{
	struct reader reader = { .data = data, .len = len };

	*filters = (struct packet_filters){ .id = read_u16(&reader) };
	while (reader.len && !reader.bad) {
		read_string(&reader);
		/* Reserved bits and QoS 3 [MQTT-3.8.3-4]. */
		if (subscribe && read_u8(&reader) > 2)
			reader.bad = true;
		filters->count++;
	}
	/* [MQTT-2.3.1-1]; [MQTT-3.8.3-3], [MQTT-3.10.3-2] */
	if (reader.bad || !filters->id || !filters->count)
		return -EBADMSG;
	return 0;
}

size_t packet_next_filter(const u8 *data, size_t at, bool subscribe,
			  struct packet_bytes *filter, u8 *qos)
{
	filter->len = data[at] << 8 | data[at + 1];
	filter->data = data + at + 2;
	at += 2 + filter->len;
	*qos = subscribe ? data[at++] : 0;
	return at;
}

size_t packet_build_connack(u8 *packet, u8 level, enum packet_connack code,
			    bool present)
{
	packet[0] = KMQTT_CONNACK << 4;
	packet[2] = 0;
	if (level != PACKET_LEVEL_5) {
		packet[1] = 2;
		packet[3] = code;
		/* [MQTT-3.2.2-1] to [MQTT-3.2.2-4]; MQTT 3.1 reserves it. */
		if (present && code == PACKET_CONNACK_ACCEPTED &&
		    level != PACKET_LEVEL_3_1)
			packet[2] = FLAG_PRESENT;
		return 4;
	}
	/* Who speaks MQTT 5 is only ever told that we do not. */
	packet[1] = 3;
	packet[3] = REASON_BAD_LEVEL;
	packet[4] = 0;		/* no properties */
	return 5;
}

static u8 *put_u16(u8 *at, u16 value)
{
	*at++ = value >> 8;
	*at++ = value & 0xff;
	return at;
}

/* What follows the fixed header (sections 3.3.2 and 3.3.3). */
static size_t publish_remaining(u16 topic_len, u8 qos, u32 payload_len)
{
	return 2 + topic_len + (qos ? 2 : 0) + (size_t)payload_len;
}

size_t packet_publish_size(u16 topic_len, u8 qos, u32 payload_len)
{
	size_t remaining = publish_remaining(topic_len, qos, payload_len);
	u8 header[KMQTT_HEADER_MAX];

	return kmqtt_frame_build(header, 0, remaining) + remaining;
}

size_t packet_build_publish_head(u8 *head, u8 flags, const u8 *topic,
				 u16 topic_len, u16 id, u32 payload_len)
{
	u8 qos = (flags & KMQTT_FLAG_QOS) >> 1;
	u8 *at = head;

	at += kmqtt_frame_build(at, KMQTT_PUBLISH << 4 | flags,
				publish_remaining(topic_len, qos, payload_len));
	at = put_u16(at, topic_len);
	memcpy(at, topic, topic_len);
	at += topic_len;
	if (qos)
		at = put_u16(at, id);
	return at - head;
}

void packet_build_ack(u8 *packet, u8 type, u16 id)
{
	/* [MQTT-3.6.1-1]; the others have no flags. */
	packet[0] = type << 4 | (type == KMQTT_PUBREL ? 0x02 : 0);
	packet[1] = 2;
	put_u16(packet + 2, id);
}

size_t packet_suback_size(u32 count)
{
	u8 header[KMQTT_HEADER_MAX];

	return kmqtt_frame_build(header, 0, 2 + count) + 2 + count;
}

u8 *packet_build_suback(u8 *packet, u16 id, u32 count)
{
	unsigned int header;
	u8 *codes;

	header = kmqtt_frame_build(packet, KMQTT_SUBACK << 4, 2 + count);
	codes = put_u16(packet + header, id);
	memset(codes, 0, count);
	return codes;
}

void packet_build_unsuback(u8 *packet, u16 id)
{
	packet[0] = KMQTT_UNSUBACK << 4;
	packet[1] = 2;
	put_u16(packet + 2, id);
}

void packet_build_pingresp(u8 *packet)
{
	packet[0] = KMQTT_PINGRESP << 4;
	packet[1] = 0;
}
