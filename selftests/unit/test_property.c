// SPDX-License-Identifier: GPL-2.0
/* Properties of MQTT 5, and the variable header of a PUBLISH. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "head.h"
#include "ktap.h"
#include "property.h"

static bool varint(void)
{
	static const struct {
		u8 bytes[5];
		u8 len;
		u32 value;
		u8 used;
	} cases[] = {
		{ { 0x00 }, 1, 0, 1 },
		{ { 0x7f }, 1, 127, 1 },
		{ { 0x80, 0x01 }, 2, 128, 2 },
		{ { 0xff, 0x7f }, 2, 16383, 2 },
		{ { 0x80, 0x80, 0x01 }, 3, 16384, 3 },
		{ { 0xff, 0xff, 0xff, 0x7f }, 4, 268435455, 4 },
		/* Not the shortest form, cut off, too long. */
		{ { 0x80, 0x00 }, 2, 0, 0 },
		{ { 0xff, 0x80, 0x00 }, 3, 0, 0 },
		{ { 0x80 }, 1, 0, 0 },
		{ { 0xff, 0xff, 0xff, 0xff, 0x7f }, 5, 0, 0 },
		{ { 0 }, 0, 0, 0 },
	};
	u8 bytes[KMQTT_VARINT_BYTES];
	size_t i;
	u32 value;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CHECK(kmqtt_varint_read(cases[i].bytes, cases[i].len, &value) ==
		      cases[i].used);
		if (!cases[i].used)
			continue;
		CHECK(value == cases[i].value);
		CHECK(kmqtt_varint_size(value) == cases[i].used);
		CHECK(kmqtt_varint_write(bytes, value) == cases[i].used);
		CHECK(!memcmp(bytes, cases[i].bytes, cases[i].used));
	}
	return true;
}

/* Table 2-4 of the specification, written down independently: identifier, an
 * example of the value, and the letters of the packets that may have it, 'w' for
 * the will, in the order of their types.
 */
static const struct {
	u8 id;
	u8 len;
	u8 value[8];
	u16 where;
} table[] = {
#define P(n) (1 << (n))
	{ 0x01, 1, { 1 }, P(0) | P(3) },
	{ 0x02, 4, { 0, 0, 0, 9 }, P(0) | P(3) },
	{ 0x03, 3, { 0, 1, 'a' }, P(0) | P(3) },
	{ 0x08, 3, { 0, 1, 'a' }, P(0) | P(3) },
	{ 0x09, 3, { 0, 1, 0xff }, P(0) | P(3) },
	{ 0x0b, 2, { 0x80, 1 }, P(3) | P(8) },
	{ 0x11, 4, { 0, 0, 0, 1 }, P(1) | P(2) | P(14) },
	{ 0x12, 3, { 0, 1, 'a' }, P(2) },
	{ 0x13, 2, { 0, 1 }, P(2) },
	{ 0x15, 3, { 0, 1, 'a' }, P(1) | P(2) | P(15) },
	{ 0x16, 3, { 0, 1, 0xff }, P(1) | P(2) | P(15) },
	{ 0x17, 1, { 1 }, P(1) },
	{ 0x18, 4, { 0, 0, 0, 1 }, P(0) },
	{ 0x19, 1, { 1 }, P(1) },
	{ 0x1a, 3, { 0, 1, 'a' }, P(2) },
	{ 0x1c, 3, { 0, 1, 'a' }, P(2) | P(14) },
	{ 0x1f, 3, { 0, 1, 'a' }, P(2) | P(4) | P(5) | P(6) | P(7) | P(9) |
				  P(11) | P(14) | P(15) },
	{ 0x21, 2, { 0, 1 }, P(1) | P(2) },
	{ 0x22, 2, { 0, 1 }, P(1) | P(2) },
	{ 0x23, 2, { 0, 1 }, P(3) },
	{ 0x24, 1, { 1 }, P(2) },
	{ 0x25, 1, { 1 }, P(2) },
	{ 0x26, 6, { 0, 1, 'a', 0, 1, 'b' }, P(0) | P(1) | P(2) | P(3) | P(4) |
		P(5) | P(6) | P(7) | P(8) | P(9) | P(10) | P(11) | P(14) |
		P(15) },
	{ 0x27, 4, { 0, 0, 0, 1 }, P(1) | P(2) },
	{ 0x28, 1, { 1 }, P(2) },
	{ 0x29, 1, { 1 }, P(2) },
	{ 0x2a, 1, { 1 }, P(2) },
#undef P
};

enum { ROWS = sizeof(table) / sizeof(*table) };

/* Read @times copies of a row's property, less @cut bytes. */
static enum kmqtt_end read_row(unsigned int row, u8 where, unsigned int times,
			       unsigned int cut)
{
	struct kmqtt_properties properties;
	struct kmqtt_property property;
	unsigned int n = 0, i, len = 1;
	u8 bytes[32];

	for (i = 0; i < times; i++) {
		bytes[len++] = table[row].id;
		memcpy(bytes + len, table[row].value, table[row].len);
		len += table[row].len;
	}
	len -= cut;
	bytes[0] = len - 1;
	if (kmqtt_properties_begin(&properties, bytes, len, where) !=
	    bytes + len)
		abort();
	while (kmqtt_property_next(&properties, &property)) {
		if (property.id != table[row].id ||
		    property.size != 1U + table[row].len)
			abort();
		n++;
	}
	if (!properties.error && n != times)
		abort();
	return properties.error;
}

static bool where(void)
{
	unsigned int row, packet;

	for (row = 0; row < ROWS; row++)
		for (packet = 0; packet < 16; packet++)
			CHECK(read_row(row, packet, 1, 0) ==
			      (table[row].where >> packet & 1 ?
			       KMQTT_END_NONE : KMQTT_END_MALFORMED));
	return true;
}

static bool twice(void)
{
	unsigned int row, packet;

	for (row = 0; row < ROWS; row++) {
		for (packet = 0; packet < 16; packet++) {
			bool may = table[row].id == 0x26 ||
				   (table[row].id == 0x0b && packet == 3);

			if (!(table[row].where >> packet & 1))
				continue;
			CHECK(read_row(row, packet, 2, 0) ==
			      (may ? KMQTT_END_NONE : KMQTT_END_PROTOCOL));
		}
	}
	return true;
}

static bool cut(void)
{
	unsigned int row, packet, n;

	for (row = 0; row < ROWS; row++) {
		for (packet = 0; !(table[row].where >> packet & 1);)
			packet++;
		for (n = 1; n <= table[row].len; n++)
			CHECK(read_row(row, packet, 1, n) ==
			      KMQTT_END_MALFORMED);
	}
	return true;
}

static bool unknown(void)
{
	unsigned int id, row;

	for (id = 0; id < 256; id++) {
		u8 bytes[] = { 5, id, 0, 1, 'a', 0 };
		struct kmqtt_properties properties;
		struct kmqtt_property property;

		for (row = 0; row < ROWS && table[row].id != id;)
			row++;
		if (row < ROWS)
			continue;
		kmqtt_properties_begin(&properties, bytes, sizeof(bytes),
				       KMQTT_PUBLISH);
		CHECK(!kmqtt_property_next(&properties, &property));
		CHECK(properties.error == KMQTT_END_MALFORMED);
	}
	return true;
}

/* Values that an integer of its size has, but not the property. */
static bool values(void)
{
	static const struct {
		u8 where;
		u8 len;
		u8 bytes[6];
		u8 error;
	} cases[] = {
		{ 3, 2, { 0x01, 2 }, KMQTT_END_PROTOCOL },
		{ 1, 2, { 0x17, 2 }, KMQTT_END_PROTOCOL },
		{ 1, 2, { 0x19, 2 }, KMQTT_END_PROTOCOL },
		{ 8, 2, { 0x0b, 0 }, KMQTT_END_PROTOCOL },
		{ 1, 3, { 0x21, 0, 0 }, KMQTT_END_PROTOCOL },
		{ 1, 5, { 0x27, 0, 0, 0, 0 }, KMQTT_END_PROTOCOL },
		{ 3, 3, { 0x23, 0, 0 }, KMQTT_END_TOPIC_ALIAS },
		{ 1, 3, { 0x22, 0, 0 }, KMQTT_END_NONE },
		{ 1, 5, { 0x11, 0, 0, 0, 0 }, KMQTT_END_NONE },
		{ 3, 4, { 0x03, 0, 1, 0 }, KMQTT_END_MALFORMED },
		{ 3, 4, { 0x03, 0, 1, 0xff }, KMQTT_END_MALFORMED },
		{ 3, 4, { 0x09, 0, 1, 0 }, KMQTT_END_NONE },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct kmqtt_properties properties;
		struct kmqtt_property property;
		u8 bytes[8] = { cases[i].len };

		memcpy(bytes + 1, cases[i].bytes, cases[i].len);
		kmqtt_properties_begin(&properties, bytes, 1 + cases[i].len,
				       cases[i].where);
		while (kmqtt_property_next(&properties, &property))
			;
		CHECK(properties.error == cases[i].error);
	}
	return true;
}

/* A PUBLISH of QoS 1: topic "ab", identifier 7, expiry 10, alias 3, user. */
static const u8 publish[] = {
	0x32, 0, 0, 2, 'a', 'b', 0, 7, 15,
	0x02, 0, 0, 0, 10, 0x23, 0, 3, 0x26, 0, 1, 'n', 0, 1, 'v',
	'p', 'a', 'y',
};

static bool head(void)
{
	struct kmqtt_head head;

	CHECK(!kmqtt_head_parse(&head, publish, 2, sizeof(publish), 5));
	CHECK(head.topic == 4 && head.topic_len == 2);
	CHECK(head.properties == 8 && head.property_bytes == 15);
	CHECK(head.payload == 24);
	CHECK(head.expiry == 10 && head.expiry_interval == 10);
	CHECK(head.alias == 14 && head.topic_alias == 3);
	CHECK(!head.payload_format);
	/* To MQTT 3.1.1 all that is payload. */
	CHECK(!kmqtt_head_parse(&head, publish, 2, sizeof(publish), 4));
	CHECK(head.payload == 8 && !head.property_bytes && !head.topic_alias);
	return true;
}

static bool head_cut(void)
{
	struct kmqtt_head head;
	u32 len;

	for (len = 2; len < 24; len++) {
		CHECK(kmqtt_head_parse(&head, publish, 2, len, 5) ==
		      KMQTT_END_MALFORMED);
		CHECK(kmqtt_head_want(publish + 2, len - 2, true) > len - 2);
	}
	CHECK(kmqtt_head_want(publish + 2, 22, true) == 22);
	CHECK(!kmqtt_head_parse(&head, publish, 2, 24, 5));
	return true;
}

static bool head_topic(void)
{
	static const struct {
		const char *packet;
		u8 len;
		u8 level;
		u8 end;
	} cases[] = {
		{ "\x30\0\0\0\0", 5, 5, KMQTT_END_PROTOCOL },
		{ "\x30\0\0\0\x03\x23\0\1", 8, 5, KMQTT_END_NONE },
		{ "\x30\0\0\1+\0", 6, 5, KMQTT_END_MALFORMED },
		{ "\x30\0\0\1+\0", 6, 4, KMQTT_END_TOPIC },
		{ "\x30\0\0\0", 4, 4, KMQTT_END_TOPIC },
		{ "\x30\0\0\1a\x06\x08\0\3a/#", 12, 5, KMQTT_END_PROTOCOL },
		{ "\x30\0\0\1a\x02\x0b\1", 8, 5, KMQTT_END_PROTOCOL },
	};
	struct kmqtt_head head;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK(kmqtt_head_parse(&head, (const u8 *)cases[i].packet, 2,
				       cases[i].len, cases[i].level) ==
		      cases[i].end);
	return true;
}

static const struct ktap_test tests[] = {
	{ "variable byte integers", varint },
	{ "which packet has which property (table 2-4)", where },
	{ "what may occur twice", twice },
	{ "cut short", cut },
	{ "identifiers that there are not", unknown },
	{ "values that a property cannot have", values },
	{ "the variable header of a PUBLISH", head },
	{ "the same, cut short", head_cut },
	{ "topic names", head_topic },
};

int main(void)
{
	return ktap_run(tests, sizeof(tests) / sizeof(*tests));
}
