// SPDX-License-Identifier: GPL-2.0
/* Fixed headers: every first byte, every length, every segmentation. */
#include <string.h>

#include "frame.h"
#include "ktap.h"

/* Feed @len bytes in steps of @step. */
static enum kmqtt_end feed(struct kmqtt_frame *frame, const u8 *data,
			   size_t len, size_t step, u8 level, size_t *total)
{
	enum kmqtt_end end = KMQTT_END_NONE;

	memset(frame, 0, sizeof(*frame));
	*total = 0;
	while (*total < len && !frame->done && !end) {
		size_t n = len - *total < step ? len - *total : step;
		size_t used;

		end = kmqtt_frame_feed(frame, data + *total, n, level, &used);
		*total += used;
	}
	return end;
}

/* What the specification says of a first byte, written down independently:
 * table 2.2 for the flags, table 2.1 for who sends it.
 */
static enum kmqtt_end expected(u8 first, u8 level)
{
	static const signed char flags[16] = {
		-1, 0, 0, -2, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0
	};
	static const char server[16] = {
		[KMQTT_CONNACK] = 1, [KMQTT_SUBACK] = 1, [KMQTT_UNSUBACK] = 1,
		[KMQTT_PINGRESP] = 1,
	};
	int type = first >> 4, low = first & 15;

	if (flags[type] == -1 || (type == KMQTT_AUTH && level < 5))
		return KMQTT_END_MALFORMED;
	if (flags[type] == -2)
		return (low & 6) == 6 || (low & 14) == 8 ? KMQTT_END_MALFORMED
							 : KMQTT_END_NONE;
	/* MQTT 3.1: DUP when it is sent again. */
	if (level == 3 && flags[type] == 2 && low == 10)
		return KMQTT_END_NONE;
	if (low != flags[type])
		return KMQTT_END_MALFORMED;
	return server[type] ? KMQTT_END_PROTOCOL : KMQTT_END_NONE;
}

static bool first_bytes(void)
{
	unsigned int first;
	u8 level;

	for (level = 3; level <= 5; level++) {
		for (first = 0; first < 256; first++) {
			struct kmqtt_frame frame = {};
			u8 byte = first;
			size_t used;

			CHECK(kmqtt_frame_feed(&frame, &byte, 1, level, &used) ==
			      expected(first, level));
			CHECK(used == 1 && !frame.done);
		}
	}
	return true;
}

static bool lengths(void)
{
	/* Both sides of every boundary of table 2.4. */
	static const u32 values[] = {
		4, 5, 127, 128, 129, 16383, 16384, 16385, 2097151, 2097152,
		2097153, 268435454, 268435455
	};
	size_t i, step;

	for (i = 0; i < sizeof(values) / sizeof(*values); i++) {
		for (step = 1; step <= 5; step++) {
			struct kmqtt_frame frame;
			u8 header[KMQTT_HEADER_MAX + 1];
			unsigned int n;
			size_t total;

			n = kmqtt_frame_build(header, 0x32, values[i]);
			header[n] = 0xff;
			CHECK(!feed(&frame, header, n + 1, step, 4, &total));
			CHECK(frame.done && total == n && frame.seen == n);
			CHECK(frame.remaining == values[i]);
			CHECK(kmqtt_frame_size(&frame) == n + values[i]);
			CHECK(kmqtt_frame_type(&frame) == KMQTT_PUBLISH);
			CHECK(kmqtt_frame_qos(&frame) == 1);
		}
	}
	return true;
}

static bool fifth_byte(void)
{
	static const u8 bad[] = { 0x30, 0x80, 0x80, 0x80, 0x80, 0x01 };
	struct kmqtt_frame frame;
	size_t step, total;

	for (step = 1; step <= sizeof(bad); step++) {
		CHECK(feed(&frame, bad, sizeof(bad), step, 4, &total) ==
		      KMQTT_END_MALFORMED);
		CHECK(total == 5 && !frame.done);
	}
	return true;
}

static bool longer_than_needed(void)
{
	static const u8 packet[] = { 0x30, 0x85, 0x80, 0x00 };
	struct kmqtt_frame frame;
	size_t total;

	CHECK(!feed(&frame, packet, sizeof(packet), 4, 4, &total));
	CHECK(frame.done && frame.remaining == 5 && frame.seen == 4);
	CHECK(feed(&frame, packet, sizeof(packet), 4, 5, &total) ==
	      KMQTT_END_MALFORMED);
	return true;
}

/* Of a CONNECT the level is not known: who learns it sees what has come. */
static bool as_they_came(void)
{
	static const u8 headers[][KMQTT_HEADER_MAX] = {
		{ 0x10, 0x00 }, { 0x10, 0x7f }, { 0x10, 0x80, 0x01 },
		{ 0x10, 0x8e, 0x00 }, { 0x10, 0x8e, 0x80, 0x00 },
		{ 0x10, 0x8e, 0x80, 0x80, 0x00 }, { 0x10, 0xff, 0xff, 0x00 },
		{ 0x10, 0xff, 0xff, 0xff, 0x7f },
	};
	static const bool shortest[] = {
		true, true, true, false, false, false, false, true
	};
	u8 header[KMQTT_HEADER_MAX];
	size_t i, total;

	for (i = 0; i < sizeof(headers) / sizeof(*headers); i++) {
		struct kmqtt_frame frame;

		CHECK(!feed(&frame, headers[i], sizeof(*headers), 5, 0,
			    &total));
		CHECK(kmqtt_frame_repeat(header, &frame) == frame.seen);
		CHECK(!memcmp(header, headers[i], frame.seen));
		CHECK(kmqtt_frame_is_shortest(&frame) == shortest[i]);
	}
	return true;
}

static bool impossible_lengths(void)
{
	static const struct {
		u8 first;
		u8 remaining;
		u8 level;
		enum kmqtt_end end;
	} cases[] = {
		{ 0x30, 1, 4, KMQTT_END_MALFORMED },
		{ 0x30, 2, 4, KMQTT_END_NONE },
		{ 0x32, 3, 4, KMQTT_END_MALFORMED },
		{ 0x34, 4, 4, KMQTT_END_NONE },
		{ 0x40, 1, 4, KMQTT_END_MALFORMED },
		{ 0x40, 2, 4, KMQTT_END_NONE },
		{ 0x40, 3, 4, KMQTT_END_MALFORMED },
		{ 0x40, 3, 5, KMQTT_END_NONE },
		{ 0x62, 1, 5, KMQTT_END_MALFORMED },
		{ 0xc0, 0, 4, KMQTT_END_NONE },
		{ 0xc0, 1, 4, KMQTT_END_MALFORMED },
		{ 0xe0, 0, 4, KMQTT_END_NONE },
		{ 0xe0, 1, 4, KMQTT_END_MALFORMED },
		{ 0xe0, 1, 5, KMQTT_END_NONE },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		u8 header[] = { cases[i].first, cases[i].remaining };
		struct kmqtt_frame frame;
		size_t total;

		CHECK(feed(&frame, header, 2, 2, cases[i].level, &total) ==
		      cases[i].end);
	}
	return true;
}

static const struct ktap_test tests[] = {
	{ "every first byte, at every level", first_bytes },
	{ "remaining lengths, in every segmentation", lengths },
	{ "a fifth length byte is malformed", fifth_byte },
	{ "a length longer than needed: 3.1.1 yes, 5 no", longer_than_needed },
	{ "fixed headers as they came", as_they_came },
	{ "lengths that a type cannot have", impossible_lengths },
};

int main(void)
{
	return ktap_run(tests, sizeof(tests) / sizeof(*tests));
}
