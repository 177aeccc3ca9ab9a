// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer target: everything that parses what follows a fixed header. What
 * is parsed must lie within the packet, and a list that was found good must be
 * walked to its very end.
 */
#include <stdlib.h>

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

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	fuzz_connect(data, len);
	fuzz_filters(data, len, true);
	fuzz_filters(data, len, false);
	return 0;
}
