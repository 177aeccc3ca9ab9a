// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer target: everything that parses what follows a fixed header. What
 * is parsed must lie within the packet, a list that was found good must be
 * walked to its very end, and what can be built again must be the same.
 */
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "packet.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t len);

static void check(bool fine)
{
	if (!fine)
		abort();
}

static void check_inside(const struct packet_bytes *bytes, const u8 *data,
			 size_t len)
{
	if (bytes->data)
		check(bytes->data >= data &&
		      bytes->data + bytes->len <= data + len);
	else
		check(!bytes->len);
}

/* The will's properties, as they will be published, are good ones. */
static void check_will(const struct packet_connect *connect)
{
	struct packet_properties properties;
	struct packet_publish publish;
	struct packet_out out = {
		.level = PACKET_LEVEL_5, .flags = 0x02, .id = 1, .topic_len = 1,
		.topic = (const u8 *)"t",
	};
	u8 *to = malloc(connect->will_properties.len + 1);
	size_t size, used;
	struct kmqtt_frame frame = { 0 };
	u8 *packet;

	check(to);
	packet_will_properties(connect, to, &properties);
	out.properties = properties;
	out.expiry = properties.expiry;
	size = packet_publish_size(&out);
	packet = malloc(size);
	check(packet && packet_build_publish_head(packet, &out) == size);
	check(!kmqtt_frame_feed(&frame, packet, size, PACKET_LEVEL_5, &used));
	check(!packet_parse_publish(PACKET_LEVEL_5, packet[0], packet + used,
				    size - used, &publish));
	check(publish.properties.expiry_at == properties.expiry_at &&
	      publish.properties.expiry == properties.expiry &&
	      publish.properties.utf8 == properties.utf8);
	free(packet);
	free(to);
}

static void fuzz_connect(const u8 *data, size_t len)
{
	struct packet_connect connect;

	if (packet_parse_connect(data, len, &connect))
		return;
	check(connect.level >= PACKET_LEVEL_3_1 &&
	      connect.level <= PACKET_LEVEL_5);
	check(connect.will_qos <= 2);
	check(connect.id.data);
	check(!connect.will_topic.data == !connect.will_message.data);
	check(connect.username.data || !connect.password.data ||
	      connect.level == PACKET_LEVEL_5);
	check(connect.receive_max && connect.max_packet &&
	      connect.max_packet <= KMQTT_PACKET_MAX);
	check(connect.auth_method.data || !connect.auth_data.data);
	check_inside(&connect.id, data, len);
	check_inside(&connect.will_topic, data, len);
	check_inside(&connect.will_message, data, len);
	check_inside(&connect.username, data, len);
	check_inside(&connect.password, data, len);
	check_inside(&connect.auth_method, data, len);
	check_inside(&connect.auth_data, data, len);
	if (connect.will_properties.data)
		check_will(&connect);
}

/* @data with the fixed header that it must have had, but for the payload. */
static void check_built(const struct packet_publish *publish, u8 level, u8 first,
			const u8 *data, size_t len)
{
	const struct packet_out out = {
		.level = level,
		.flags = first & 0x0f,
		.id = publish->id,
		.topic_len = publish->topic.len,
		.topic = publish->topic.data,
		.properties = publish->properties,
		.expiry = publish->properties.expiry,
		.payload_len = publish->payload_len,
	};
	size_t size = packet_publish_head_size(&out), n;
	u8 header[KMQTT_HEADER_MAX];
	u8 *head = malloc(size);

	check(head);
	n = kmqtt_frame_build(header, first, len);
	check(packet_build_publish_head(head, &out) == size);
	check(size + publish->payload_len == n + len);
	check(!memcmp(head, header, n));
	check(!memcmp(head + n, data, size - n));
	free(head);
}

static void fuzz_publish(u8 level, u8 first, const u8 *data, size_t len)
{
	struct packet_publish publish;

	if (packet_parse_publish(level, first, data, len, &publish))
		return;
	check(publish.qos <= 2);
	check(!publish.id == !publish.qos);
	check_inside(&publish.topic, data, len);
	check(publish.payload + publish.payload_len == data + len);
	check(!publish.properties.data == (level != PACKET_LEVEL_5));
	check(publish.properties.expiry_at ?
	      publish.properties.expiry_at + 4 <= publish.properties.len :
	      !publish.properties.expiry);
	check_built(&publish, level, first, data, len);
}

static void fuzz_ack(u8 level, u8 type, const u8 *data, size_t len)
{
	u8 packet[16];
	struct packet_ack ack;

	if (packet_parse_ack(level, type, data, len, &ack))
		return;
	check(ack.id && (len == 2 || level == PACKET_LEVEL_5));
	check(packet_build_ack(packet, level, sizeof(packet), type, ack.id,
			       ack.reason, NULL));
	check(!memcmp(packet + 2, data, 2));
	check(packet[1] == 2 || packet[4] == ack.reason);
}

static void fuzz_filters(u8 level, const u8 *data, size_t len, bool subscribe)
{
	struct packet_filters filters;
	struct packet_filter filter;
	size_t at;
	u32 i;

	if (packet_parse_filters(level, data, len, subscribe, &filters))
		return;
	check(filters.id && filters.count);
	check(filters.sub_id <= KMQTT_SUB_ID_MAX);
	at = filters.at;
	for (i = 0; i < filters.count; i++) {
		at = packet_next_filter(data, at, subscribe, &filter);
		check_inside(&filter.whole, data, len);
		check_inside(&filter.topic, data, len);
		check_inside(&filter.group, data, len);
		check(filter.qos <= 2 && filter.retain_handling <= 2);
		check(!filter.group.data || !filter.no_local ||
		      level != PACKET_LEVEL_5);
	}
	check(at == len);
}

static void fuzz_disconnect(const u8 *data, size_t len)
{
	struct packet_disconnect disconnect;
	u8 packet[16];

	if (packet_parse_disconnect(data, len, &disconnect))
		return;
	check(disconnect.has_expiry || !disconnect.session_expiry);
	check(packet_build_disconnect(packet, sizeof(packet),
				      disconnect.reason, NULL, NULL) == 4);
}

static void fuzz_auth(const u8 *data, size_t len)
{
	struct packet_auth auth, again;
	size_t size;
	u8 *packet;

	if (packet_parse_auth(data, len, &auth))
		return;
	check_inside(&auth.method, data, len);
	check_inside(&auth.data, data, len);
	size = packet_build_auth(NULL, KMQTT_PACKET_MAX, auth.reason,
				 &auth.method, &auth.data);
	packet = malloc(size);
	check(packet);
	check(packet_build_auth(packet, size, auth.reason, &auth.method,
				&auth.data) == size);
	len = 2;
	while (packet[len - 1] & 0x80)
		len++;
	check(!packet_parse_auth(packet + len, size - len, &again));
	check(again.data.len == auth.data.len &&
	      again.method.len == auth.method.len);
	free(packet);
}

/* What a client may send, as the daemon takes it apart. */
static void fuzz_packet(const struct kmqtt_frame *frame, u8 level,
			const u8 *data)
{
	size_t len = frame->remaining;

	switch (kmqtt_frame_type(frame)) {
	case KMQTT_CONNECT:
		fuzz_connect(data, len);
		break;
	case KMQTT_PUBLISH:
		fuzz_publish(level, frame->first, data, len);
		break;
	case KMQTT_PUBACK:
	case KMQTT_PUBREC:
	case KMQTT_PUBREL:
	case KMQTT_PUBCOMP:
		fuzz_ack(level, kmqtt_frame_type(frame), data, len);
		break;
	case KMQTT_SUBSCRIBE:
		fuzz_filters(level, data, len, true);
		break;
	case KMQTT_UNSUBSCRIBE:
		fuzz_filters(level, data, len, false);
		break;
	case KMQTT_DISCONNECT:
		if (level == PACKET_LEVEL_5)
			fuzz_disconnect(data, len);
		break;
	case KMQTT_AUTH:
		fuzz_auth(data, len);
		break;
	}
}

/* A stream of packets: each in memory of its own, so that reading beyond it is
 * seen.
 */
static void fuzz_stream(u8 level, const u8 *data, size_t len)
{
	struct kmqtt_frame frame;
	size_t used;
	u8 *copy;

	while (len) {
		frame = (struct kmqtt_frame){ 0 };
		if (kmqtt_frame_feed(&frame, data, len, level, &used) ||
		    !frame.done || frame.remaining > len - used)
			return;
		copy = malloc(frame.remaining);
		check(copy);
		memcpy(copy, data + used, frame.remaining);
		fuzz_packet(&frame, level, copy);
		free(copy);
		data += used + frame.remaining;
		len -= used + frame.remaining;
	}
}

static void fuzz_level(u8 level, const u8 *data, size_t len)
{
	u8 type;

	if (len)
		fuzz_publish(level, KMQTT_PUBLISH << 4 | (data[0] & 0x0f),
			     data + 1, len - 1);
	for (type = KMQTT_PUBACK; type <= KMQTT_PUBCOMP; type++)
		fuzz_ack(level, type, data, len);
	fuzz_filters(level, data, len, true);
	fuzz_filters(level, data, len, false);
	fuzz_stream(level, data, len);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	fuzz_connect(data, len);
	fuzz_disconnect(data, len);
	fuzz_auth(data, len);
	fuzz_level(PACKET_LEVEL_3_1_1, data, len);
	fuzz_level(PACKET_LEVEL_5, data, len);
	return 0;
}
