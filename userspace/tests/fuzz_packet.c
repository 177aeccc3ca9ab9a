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

static void fuzz_connect(const u8 *data, size_t len)
{
	struct packet_connect connect;

	if (packet_parse_connect(data, len, &connect))
		return;
	check(connect.level == PACKET_LEVEL_3_1 ||
	      connect.level == PACKET_LEVEL_3_1_1);
	check(connect.will_qos <= 2);
	check(connect.id.data);
	check(!connect.will_topic.data == !connect.will_message.data);
	check(connect.username.data || !connect.password.data);
	check_inside(&connect.id, data, len);
	check_inside(&connect.will_topic, data, len);
	check_inside(&connect.will_message, data, len);
	check_inside(&connect.username, data, len);
	check_inside(&connect.password, data, len);
}

/* @data with the fixed header that it must have had, but for the payload. */
static void check_built(const struct packet_publish *publish, u8 first,
			const u8 *data, size_t len)
{
	static u8 head[PACKET_PUBLISH_HEAD_MAX(65535)];
	u8 header[KMQTT_HEADER_MAX];
	size_t size, n;

	n = kmqtt_frame_build(header, first, len);
	size = packet_build_publish_head(head, first & 0x0f,
					 publish->topic.data,
					 publish->topic.len, publish->id,
					 publish->payload_len);
	check(size + publish->payload_len == n + len);
	check(size + publish->payload_len ==
	      packet_publish_size(publish->topic.len, publish->qos,
				  publish->payload_len));
	check(!memcmp(head, header, n));
	check(!memcmp(head + n, data, size - n));
}

static void fuzz_publish(const u8 *data, size_t len)
{
	struct packet_publish publish;
	u8 first;

	if (!len)
		return;
	first = KMQTT_PUBLISH << 4 | (data[0] & 0x0f);
	data++;
	len--;
	if (packet_parse_publish(first, data, len, &publish))
		return;
	check(publish.qos <= 2);
	check(!publish.id == !publish.qos);
	check_inside(&publish.topic, data, len);
	check(publish.payload + publish.payload_len == data + len);
	check_built(&publish, first, data, len);
}

static void fuzz_ack(const u8 *data, size_t len)
{
	u8 packet[PACKET_ACK_SIZE];
	u16 id;

	if (packet_parse_ack(data, len, &id))
		return;
	check(id && len == 2);
	packet_build_ack(packet, KMQTT_PUBREC, id);
	check(!memcmp(packet + 2, data, 2));
}

static void fuzz_filters(const u8 *data, size_t len, bool subscribe)
{
	struct packet_filters filters;
	size_t at = PACKET_FILTERS_AT;
	struct packet_bytes filter;
	u32 i;
	u8 qos;

	if (packet_parse_filters(data, len, subscribe, &filters))
		return;
	check(filters.id && filters.count);
	for (i = 0; i < filters.count; i++) {
		at = packet_next_filter(data, at, subscribe, &filter, &qos);
		check_inside(&filter, data, len);
		check(qos <= 2);
	}
	check(at == len);
}

/* What a client may send, as the daemon takes it apart. */
static void fuzz_packet(const struct kmqtt_frame *frame, const u8 *data)
{
	size_t len = frame->remaining;
	struct packet_publish publish;

	switch (kmqtt_frame_type(frame)) {
	case KMQTT_CONNECT:
		fuzz_connect(data, len);
		break;
	case KMQTT_PUBLISH:
		if (!packet_parse_publish(frame->first, data, len, &publish))
			check_built(&publish, frame->first, data, len);
		break;
	case KMQTT_PUBACK:
	case KMQTT_PUBREC:
	case KMQTT_PUBREL:
	case KMQTT_PUBCOMP:
		fuzz_ack(data, len);
		break;
	case KMQTT_SUBSCRIBE:
		fuzz_filters(data, len, true);
		break;
	case KMQTT_UNSUBSCRIBE:
		fuzz_filters(data, len, false);
		break;
	}
}

/* A stream of packets: each in memory of its own, so that reading beyond it is
 * seen.
 */
static void fuzz_stream(const u8 *data, size_t len)
{
	struct kmqtt_frame frame;
	size_t used;
	u8 *copy;

	while (len) {
		frame = (struct kmqtt_frame){ 0 };
		if (kmqtt_frame_feed(&frame, data, len, PACKET_LEVEL_3_1_1,
				     &used) ||
		    !frame.done || frame.remaining > len - used)
			return;
		copy = malloc(frame.remaining);
		check(copy);
		memcpy(copy, data + used, frame.remaining);
		fuzz_packet(&frame, copy);
		free(copy);
		data += used + frame.remaining;
		len -= used + frame.remaining;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	fuzz_connect(data, len);
	fuzz_publish(data, len);
	fuzz_ack(data, len);
	fuzz_filters(data, len, true);
	fuzz_filters(data, len, false);
	fuzz_stream(data, len);
	return 0;
}
