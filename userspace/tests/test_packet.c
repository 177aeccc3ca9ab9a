// SPDX-License-Identifier: GPL-2.0
/*
 * The packet codec: every combination of connect flags, every truncation, and
 * each way to be malformed. Packets are parsed from memory of exactly their
 * size, so that a sanitizer sees a byte read beyond it.
 */
#include <errno.h>
#include <string.h>

#include "frame.h"
#include "ktap.h"
#include "packet.h"

/* A packet being written. */
struct writer {
	u8 data[70000];
	size_t len;
};

static void put_u8(struct writer *writer, u8 value)
{
	writer->data[writer->len++] = value;
}

static void put_u16(struct writer *writer, u16 value)
{
	put_u8(writer, value >> 8);
	put_u8(writer, value & 0xff);
}

static void put_bytes(struct writer *writer, const char *bytes, u16 len)
{
	put_u16(writer, len);
	memcpy(writer->data + writer->len, bytes, len);
	writer->len += len;
}

static void put_string(struct writer *writer, const char *string)
{
	put_bytes(writer, string, strlen(string));
}

static bool is(const struct packet_bytes *bytes, const char *string)
{
	return bytes->data && bytes->len == strlen(string) &&
	       !memcmp(bytes->data, string, bytes->len);
}

/* The results point into @*copy, which is the caller's to free. */
static int parse_connect(const struct writer *writer, size_t len,
			 struct packet_connect *connect, u8 **copy)
{
	*copy = malloc(len ? len : 1);
	memcpy(*copy, writer->data, len);
	return packet_parse_connect(*copy, len, connect);
}

static int connect_result(const struct writer *writer, size_t len)
{
	struct packet_connect connect;
	u8 *copy;
	int err = parse_connect(writer, len, &connect, &copy);

	free(copy);
	return err;
}

static int filters_result(const struct writer *writer, size_t len,
			  bool subscribe, struct packet_filters *filters)
{
	u8 *copy = malloc(len ? len : 1);
	int err;

	memcpy(copy, writer->data, len);
	err = packet_parse_filters(copy, len, subscribe, filters);
	free(copy);
	return err;
}

static void put_protocol(struct writer *writer, u8 level)
{
	*writer = (struct writer){ .len = 0 };
	put_string(writer, level == 3 ? "MQIsdp" : "MQTT");
	put_u8(writer, level);
}

/* The CONNECT with everything that @flags announce. */
static void put_connect(struct writer *writer, u8 level, u8 flags)
{
	put_protocol(writer, level);
	put_u8(writer, flags);
	put_u16(writer, 0x1234);
	put_string(writer, "client");
	if (flags & 0x04) {
		put_string(writer, "will/topic");
		put_bytes(writer, "\xff\0\xfe", 3);
	}
	if (flags & 0x80)
		put_string(writer, "user");
	if (flags & 0x40)
		put_bytes(writer, "\xff\0pw", 4);
}

/* What section 3.1.2.3 says, and MQTT 3.1 does not. */
static bool flags_valid(u8 level, u8 flags)
{
	bool reserved = flags & 1, will = flags >> 2 & 1;
	unsigned int will_qos = flags >> 3 & 3;
	bool will_retain = flags >> 5 & 1;
	bool password = flags >> 6 & 1, username = flags >> 7 & 1;

	if (will_qos == 3 || (password && !username))
		return false;
	if (level == 3)
		return true;
	return !reserved && (will || (!will_qos && !will_retain));
}

static void expect_fields(const struct packet_connect *connect, u8 level,
			  unsigned int flags)
{
	EXPECT(connect->level == level, "flags %02x", flags);
	EXPECT(connect->clean == (flags >> 1 & 1), "flags %02x", flags);
	EXPECT(connect->keepalive == 0x1234, "flags %02x", flags);
	EXPECT(is(&connect->id, "client"), "flags %02x", flags);
	EXPECT(!connect->username.data == !(flags & 0x80), "flags %02x", flags);
	EXPECT(!connect->password.data == !(flags & 0x40), "flags %02x", flags);
	EXPECT(!connect->will_topic.data == !(flags & 0x04), "flags %02x",
	       flags);
	if (flags & 0x80)
		EXPECT(is(&connect->username, "user"), "flags %02x", flags);
	if (flags & 0x40)
		EXPECT(connect->password.len == 4 &&
		       !memcmp(connect->password.data, "\xff\0pw", 4),
		       "flags %02x", flags);
	if (!(flags & 0x04))
		return;
	EXPECT(is(&connect->will_topic, "will/topic"), "flags %02x", flags);
	EXPECT(connect->will_message.len == 3 &&
	       !memcmp(connect->will_message.data, "\xff\0\xfe", 3),
	       "flags %02x", flags);
	EXPECT(connect->will_qos == (flags >> 3 & 3), "flags %02x", flags);
	EXPECT(connect->will_retain == (flags >> 5 & 1), "flags %02x", flags);
}

static void test_connect_flags(void)
{
	static struct writer writer;
	struct packet_connect connect;
	unsigned int flags;
	int err, expected;
	u8 level, *copy;

	for (level = 3; level <= 4; level++) {
		for (flags = 0; flags < 256; flags++) {
			put_connect(&writer, level, flags);
			expected = flags_valid(level, flags) ? 0 : -EBADMSG;
			err = parse_connect(&writer, writer.len, &connect,
					    &copy);
			EXPECT(err == expected, "level %u flags %02x: %d",
			       level, flags, err);
			if (!err)
				expect_fields(&connect, level, flags);
			free(copy);
		}
	}
}

/* MQTT 3.1 lets a user name or password be missing that is announced. */
static bool may_end_at(const struct writer *writer, u8 flags, size_t len)
{
	size_t password = flags & 0x40 ? writer->len - 6 : writer->len;
	size_t username = flags & 0x80 ? password - 6 : password;

	return len == password || len == username;
}

static void test_connect_truncated(void)
{
	static struct writer writer;
	unsigned int flags;
	int err, expected;
	size_t len;
	u8 level;

	for (level = 3; level <= 4; level++) {
		for (flags = 0; flags < 256; flags++) {
			put_connect(&writer, level, flags);
			if (!flags_valid(level, flags))
				continue;
			for (len = 0; len < writer.len; len++) {
				expected = -EBADMSG;
				if (level == 3 &&
				    may_end_at(&writer, flags, len))
					expected = 0;
				err = connect_result(&writer, len);
				EXPECT(err == expected,
				       "level %u flags %02x length %zu: %d",
				       level, flags, len, err);
			}
		}
	}
}

static void test_connect_trailing(void)
{
	static struct writer writer;
	unsigned int flags;
	u8 level;

	for (level = 3; level <= 4; level++) {
		for (flags = 0; flags < 256; flags++) {
			put_connect(&writer, level, flags);
			put_u8(&writer, 0);
			EXPECT(connect_result(&writer, writer.len) == -EBADMSG,
			       "level %u flags %02x", level, flags);
		}
	}
}

static int protocol_result(const char *name, u16 len, u8 level, u8 *reported)
{
	static struct writer writer;
	struct packet_connect connect;
	u8 *copy;
	int err;

	writer.len = 0;
	put_bytes(&writer, name, len);
	put_u8(&writer, level);
	put_u8(&writer, 0x02);
	put_u16(&writer, 60);
	put_string(&writer, "c");
	err = parse_connect(&writer, writer.len, &connect, &copy);
	free(copy);
	*reported = connect.level;
	return err;
}

static void test_connect_protocol(void)
{
	static const struct {
		const char *name;
		u16 len;
	} bad[] = {
		{ "", 0 }, { "mqtt", 4 }, { "MQT", 3 }, { "MQTTT", 5 },
		{ "MQIsd", 5 }, { "MQIsdp2", 7 }, { "mqisdp", 6 },
		{ "MQT\0", 4 }, { "MQT\xff", 4 }, { "HTTP", 4 },
	};
	unsigned int level;
	size_t i;
	u8 got;
	int err;

	for (level = 0; level < 256; level++) {
		err = protocol_result("MQTT", 4, level, &got);
		EXPECT(err == (level == 4 ? 0 : -EPROTONOSUPPORT),
		       "MQTT level %u: %d", level, err);
		EXPECT(got == level, "MQTT level %u: %u", level, got);
		err = protocol_result("MQIsdp", 6, level, &got);
		EXPECT(err == (level == 3 ? 0 : -EPROTONOSUPPORT),
		       "MQIsdp level %u: %d", level, err);
		EXPECT(got == level, "MQIsdp level %u: %u", level, got);
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			EXPECT(protocol_result(bad[i].name, bad[i].len, level,
					       &got) == -EBADMSG,
			       "name %zu level %u", i, level);
	}
}

/* Another version may continue however it likes. */
static void test_connect_other_level(void)
{
	static struct writer writer;
	struct packet_connect connect;
	u8 *copy;

	put_protocol(&writer, 5);
	EXPECT(parse_connect(&writer, writer.len, &connect, &copy) ==
	       -EPROTONOSUPPORT, "nothing after the level");
	EXPECT(connect.level == 5, "%u", connect.level);
	free(copy);
	put_u8(&writer, 0xff);
	EXPECT(connect_result(&writer, writer.len) == -EPROTONOSUPPORT,
	       "flags that MQTT 3.1.1 forbids");
}

/* Strings that are none (section 1.5.3). */
static const struct {
	const char *bytes;
	u16 len;
} bad_strings[] = {
	{ "\0", 1 }, { "a\0b", 3 },			/* U+0000 */
	{ "\x80", 1 }, { "\xff", 1 }, { "\xc3", 1 },	/* stray, cut off */
	{ "\xc0\x80", 2 }, { "\xc1\xbf", 2 },		/* overlong */
	{ "\xe0\x9f\xbf", 3 }, { "\xf0\x8f\xbf\xbf", 4 },
	{ "\xed\xa0\x80", 3 }, { "\xed\xbf\xbf", 3 },	/* surrogates */
	{ "\xf4\x90\x80\x80", 4 }, { "\xf5\x80\x80\x80", 4 },
	{ "\xe2\x82", 2 }, { "\xf0\x9f\x98", 3 },
};

/* And some that are, for all that. */
static const char *const good_strings[] = {
	"a", "\x01", "\x7f", "\xc2\x80", "\xef\xbb\xbf" "bom", "\xef\xbf\xbf",
	"\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
};

/* @which: 0 the identifier, 1 the will topic, 2 the user name. */
static int string_result(unsigned int which, const char *bytes, u16 len)
{
	static struct writer writer;

	put_protocol(&writer, 4);
	put_u8(&writer, 0x86);
	put_u16(&writer, 0);
	if (which == 0)
		put_bytes(&writer, bytes, len);
	else
		put_string(&writer, "id");
	if (which == 1)
		put_bytes(&writer, bytes, len);
	else
		put_string(&writer, "topic");
	put_string(&writer, "");
	if (which == 2)
		put_bytes(&writer, bytes, len);
	else
		put_string(&writer, "user");
	return connect_result(&writer, writer.len);
}

static void test_connect_strings(void)
{
	unsigned int which;
	size_t i;

	for (which = 0; which < 3; which++) {
		for (i = 0; i < ARRAY_SIZE(bad_strings); i++)
			EXPECT(string_result(which, bad_strings[i].bytes,
					     bad_strings[i].len) == -EBADMSG,
			       "field %u string %zu", which, i);
		for (i = 0; i < ARRAY_SIZE(good_strings); i++)
			EXPECT(!string_result(which, good_strings[i],
					      strlen(good_strings[i])),
			       "field %u string %zu", which, i);
	}
	EXPECT(!string_result(0, "", 0), "an empty identifier");
	EXPECT(!string_result(2, "", 0), "an empty user name");
}

static void test_connect_will_topic(void)
{
	static const char *const bad[] = {
		"", "#", "+", "a/#", "a/+/b", "a+", "#b",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT(string_result(1, bad[i], strlen(bad[i])) == -EBADMSG,
		       "%s", bad[i]);
	EXPECT(!string_result(1, "/", 1), "two empty levels");
	EXPECT(!string_result(1, "$a/b", 4), "$");
}

static void test_connect_longest(void)
{
	static struct writer writer;
	static char longest[65535];
	struct packet_connect connect;
	u8 *copy;

	memset(longest, 'x', sizeof(longest));
	put_protocol(&writer, 4);
	put_u8(&writer, 0x02);
	put_u16(&writer, 0xffff);
	put_bytes(&writer, longest, sizeof(longest));
	EXPECT(!parse_connect(&writer, writer.len, &connect, &copy), "65535");
	EXPECT(connect.id.len == 65535, "%u", connect.id.len);
	EXPECT(connect.keepalive == 65535, "%u", connect.keepalive);
	free(copy);
}

static void test_subscribe(void)
{
	static struct writer writer;
	struct packet_filters filters;
	struct packet_bytes filter;
	size_t at, len;
	u8 qos;

	writer.len = 0;
	put_u16(&writer, 0x0102);
	put_string(&writer, "a/+");
	put_u8(&writer, 0);
	put_string(&writer, "");
	put_u8(&writer, 2);
	put_string(&writer, "not#valid");
	put_u8(&writer, 1);
	EXPECT(!filters_result(&writer, writer.len, true, &filters), "three");
	EXPECT(filters.id == 0x0102 && filters.count == 3, "id %u count %u",
	       filters.id, filters.count);

	at = packet_next_filter(writer.data, PACKET_FILTERS_AT, true, &filter,
				&qos);
	EXPECT(is(&filter, "a/+") && qos == 0, "first");
	at = packet_next_filter(writer.data, at, true, &filter, &qos);
	EXPECT(is(&filter, "") && qos == 2, "second");
	at = packet_next_filter(writer.data, at, true, &filter, &qos);
	EXPECT(is(&filter, "not#valid") && qos == 1, "third");
	EXPECT(at == writer.len, "%zu", at);

	/* Cut after a filter, it is a shorter list; elsewhere it is broken. */
	for (len = 0; len < writer.len; len++)
		EXPECT(filters_result(&writer, len, true, &filters) ==
		       (len == 8 || len == 11 ? 0 : -EBADMSG), "%zu", len);
}

static void test_subscribe_qos(void)
{
	static struct writer writer;
	struct packet_filters filters;
	unsigned int qos;

	for (qos = 0; qos < 256; qos++) {
		writer.len = 0;
		put_u16(&writer, 1);
		put_string(&writer, "a");
		put_u8(&writer, qos);
		EXPECT(filters_result(&writer, writer.len, true, &filters) ==
		       (qos <= 2 ? 0 : -EBADMSG), "%u", qos);
	}
}

static void test_unsubscribe(void)
{
	static struct writer writer;
	struct packet_filters filters;
	struct packet_bytes filter;
	size_t at, len;
	u8 qos;

	writer.len = 0;
	put_u16(&writer, 0xffff);
	put_string(&writer, "a/+");
	put_string(&writer, "b");
	EXPECT(!filters_result(&writer, writer.len, false, &filters), "two");
	EXPECT(filters.id == 0xffff && filters.count == 2, "id %u count %u",
	       filters.id, filters.count);
	at = packet_next_filter(writer.data, PACKET_FILTERS_AT, false, &filter,
				&qos);
	EXPECT(is(&filter, "a/+") && qos == 0, "first");
	at = packet_next_filter(writer.data, at, false, &filter, &qos);
	EXPECT(is(&filter, "b") && at == writer.len, "second");
	for (len = 0; len < writer.len; len++)
		EXPECT(filters_result(&writer, len, false, &filters) ==
		       (len == 7 ? 0 : -EBADMSG), "%zu", len);
}

static void test_filters_malformed(void)
{
	static struct writer writer;
	struct packet_filters filters;
	bool subscribe;
	size_t i;

	for (subscribe = false;; subscribe = true) {
		/* [MQTT-2.3.1-1] */
		writer.len = 0;
		put_u16(&writer, 0);
		put_string(&writer, "a");
		if (subscribe)
			put_u8(&writer, 0);
		EXPECT(filters_result(&writer, writer.len, subscribe,
				      &filters) == -EBADMSG, "identifier 0");
		/* [MQTT-3.8.3-3], [MQTT-3.10.3-2] */
		writer.len = 0;
		put_u16(&writer, 1);
		EXPECT(filters_result(&writer, writer.len, subscribe,
				      &filters) == -EBADMSG, "no filter");
		/* [MQTT-1.5.3-1] */
		for (i = 0; i < ARRAY_SIZE(bad_strings); i++) {
			writer.len = 0;
			put_u16(&writer, 1);
			put_bytes(&writer, bad_strings[i].bytes,
				  bad_strings[i].len);
			if (subscribe)
				put_u8(&writer, 0);
			EXPECT(filters_result(&writer, writer.len, subscribe,
					      &filters) == -EBADMSG,
			       "string %zu", i);
		}
		if (subscribe)
			return;
	}
}

/* The PUBLISH that @first announces, after the fixed header. */
static void put_publish(struct writer *writer, u8 first, const char *topic,
			u16 topic_len)
{
	writer->len = 0;
	put_bytes(writer, topic, topic_len);
	if (first & KMQTT_FLAG_QOS)
		put_u16(writer, 0x1234);
	put_u8(writer, 0xff);
	put_u8(writer, 0);
}

static int publish_result(const struct writer *writer, size_t len, u8 first)
{
	u8 *copy = malloc(len ? len : 1);
	struct packet_publish publish;
	int err;

	memcpy(copy, writer->data, len);
	err = packet_parse_publish(first, copy, len, &publish);
	free(copy);
	return err;
}

static void test_publish_flags(void)
{
	static struct writer writer;
	struct packet_publish publish;
	unsigned int flags, qos;
	int err, expected;

	for (flags = 0; flags < 16; flags++) {
		qos = flags >> 1 & 3;
		expected = qos == 3 || flags >> 1 == 4 ? -EBADMSG : 0;
		put_publish(&writer, 0x30 | flags, "a/b", 3);
		err = packet_parse_publish(0x30 | flags, writer.data,
					   writer.len, &publish);
		EXPECT(err == expected, "flags %x: %d", flags, err);
		if (err)
			continue;
		EXPECT(publish.qos == qos, "flags %x", flags);
		EXPECT(publish.dup == (flags >> 3 & 1), "flags %x", flags);
		EXPECT(publish.retain == (flags & 1), "flags %x", flags);
		EXPECT(publish.id == (qos ? 0x1234 : 0), "flags %x", flags);
		EXPECT(is(&publish.topic, "a/b"), "flags %x", flags);
		EXPECT(publish.payload_len == 2 &&
		       !memcmp(publish.payload, "\xff\0", 2), "flags %x",
		       flags);
	}
}

/* Cut in the payload, it has a shorter one; before, it is broken. */
static void test_publish_truncated(void)
{
	static struct writer writer;
	size_t len, head;
	u8 first;
	int err;

	for (first = 0x30; first <= 0x34; first += 2) {
		put_publish(&writer, first, "a/b", 3);
		head = first == 0x30 ? 5 : 7;
		for (len = 0; len <= writer.len; len++) {
			err = publish_result(&writer, len, first);
			EXPECT(err == (len < head ? -EBADMSG : 0),
			       "first %02x length %zu: %d", first, len, err);
		}
	}
}

static void test_publish_malformed(void)
{
	static const char *const bad[] = {
		"", "#", "+", "a/#", "a/+/b", "a+", "#b",
	};
	static struct writer writer;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put_publish(&writer, 0x30, bad[i], strlen(bad[i]));
		EXPECT(publish_result(&writer, writer.len, 0x30) == -EBADMSG,
		       "topic \"%s\"", bad[i]);
	}
	for (i = 0; i < ARRAY_SIZE(bad_strings); i++) {
		put_publish(&writer, 0x32, bad_strings[i].bytes,
			    bad_strings[i].len);
		EXPECT(publish_result(&writer, writer.len, 0x32) == -EBADMSG,
		       "string %zu", i);
	}
	for (i = 0; i < ARRAY_SIZE(good_strings); i++) {
		put_publish(&writer, 0x32, good_strings[i],
			    strlen(good_strings[i]));
		EXPECT(!publish_result(&writer, writer.len, 0x32), "string %zu",
		       i);
	}
	/* [MQTT-2.3.1-1] */
	put_publish(&writer, 0x32, "a", 1);
	writer.data[3] = 0;
	EXPECT(!publish_result(&writer, writer.len, 0x32), "0x0034");
	writer.data[4] = 0;
	EXPECT(publish_result(&writer, writer.len, 0x32) == -EBADMSG,
	       "identifier 0");
}

/* What is built parses back, wherever the fixed header grows by a byte. */
static void test_publish_built(void)
{
	static const u32 remainings[] = {
		10, 127, 128, 16383, 16384, 2097151, 2097152, 268435455,
	};
	u8 head[PACKET_PUBLISH_HEAD_MAX(3)];
	struct packet_publish publish;
	struct kmqtt_frame frame;
	size_t i, size, used;
	u32 payload_len;
	u8 flags, qos;

	for (flags = 0; flags < 16; flags++) {
		qos = flags >> 1 & 3;
		if (qos == 3 || flags >> 1 == 4)
			continue;
		for (i = 0; i < ARRAY_SIZE(remainings); i++) {
			payload_len = remainings[i] - 5 - (qos ? 2 : 0);
			memset(head, 0xee, sizeof(head));
			size = packet_build_publish_head(head, flags,
							 (const u8 *)"a/b", 3,
							 0xfffe, payload_len);
			EXPECT(size <= sizeof(head), "%zu", size);
			EXPECT(size + payload_len ==
			       packet_publish_size(3, qos, payload_len),
			       "flags %x length %u", flags, remainings[i]);

			frame = (struct kmqtt_frame){ 0 };
			EXPECT(!kmqtt_frame_feed(&frame, head, size, 4, &used),
			       "flags %x length %u", flags, remainings[i]);
			EXPECT(frame.done && frame.remaining == remainings[i],
			       "flags %x length %u", flags, frame.remaining);
			EXPECT(frame.first == (0x30 | flags), "%02x",
			       frame.first);
			EXPECT(!packet_parse_publish(frame.first, head + used,
						     size - used, &publish),
			       "flags %x length %u", flags, remainings[i]);
			EXPECT(!publish.payload_len, "%u", publish.payload_len);
			EXPECT(is(&publish.topic, "a/b"), "flags %x", flags);
			EXPECT(publish.id == (qos ? 0xfffe : 0), "flags %x",
			       flags);
		}
	}
}

static void test_publish_longest_topic(void)
{
	static u8 topic[65535], head[PACKET_PUBLISH_HEAD_MAX(65535)];
	struct packet_publish publish;
	size_t size;

	memset(topic, 'x', sizeof(topic));
	size = packet_build_publish_head(head, 0x02, topic, sizeof(topic), 1,
					 0);
	EXPECT(size == 4 + 2 + 65535 + 2, "%zu", size);
	EXPECT(size == packet_publish_size(65535, 1, 0), "%zu", size);
	EXPECT(!packet_parse_publish(0x32, head + 4, size - 4, &publish),
	       "parses");
	EXPECT(publish.topic.len == 65535, "%u", publish.topic.len);
}

static void test_acks(void)
{
	static const struct {
		u8 type;
		u8 first;
	} cases[] = {
		{ KMQTT_PUBACK, 0x40 }, { KMQTT_PUBREC, 0x50 },
		{ KMQTT_PUBREL, 0x62 }, { KMQTT_PUBCOMP, 0x70 },
	};
	static const u16 ids[] = { 1, 0xff, 0x100, 0x1234, 0xffff };
	u8 packet[PACKET_ACK_SIZE + 1] = { 0 };
	size_t i, j, len;
	u16 id;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (j = 0; j < ARRAY_SIZE(ids); j++) {
			packet_build_ack(packet, cases[i].type, ids[j]);
			EXPECT(packet[0] == cases[i].first, "%02x", packet[0]);
			EXPECT(packet[1] == 2, "%02x", packet[1]);
			EXPECT(!packet_parse_ack(packet + 2, 2, &id), "%zu", i);
			EXPECT(id == ids[j], "%u", id);
			for (len = 0; len <= 3; len++)
				EXPECT(packet_parse_ack(packet + 2, len, &id) ==
				       (len == 2 ? 0 : -EBADMSG), "%zu", len);
		}
	}
	packet_build_ack(packet, KMQTT_PUBACK, 0);
	EXPECT(packet_parse_ack(packet + 2, 2, &id) == -EBADMSG, "0");
}

static void test_connack(void)
{
	u8 packet[PACKET_CONNACK_MAX];
	int code, present;
	size_t len;
	u8 level;

	for (code = 0; code <= 5; code++) {
		for (present = 0; present <= 1; present++) {
			for (level = 3; level <= 4; level++) {
				/* [MQTT-3.2.2-4]; nothing of it in 3.1 */
				const u8 expected[] = {
					0x20, 2,
					present && !code && level == 4, code
				};

				len = packet_build_connack(packet, level, code,
							   present);
				EXPECT(len == 4 && !memcmp(packet, expected, 4),
				       "level %u code %d present %d", level,
				       code, present);
			}
		}
	}
	len = packet_build_connack(packet, 5, PACKET_CONNACK_BAD_LEVEL, false);
	EXPECT(len == 5 && !memcmp(packet, "\x20\x03\x00\x84\x00", 5), "5");
}

static void test_suback(void)
{
	static const struct {
		u32 count;
		size_t header;
	} cases[] = {
		{ 1, 2 }, { 125, 2 }, { 126, 3 }, { 16381, 3 }, { 16382, 4 },
		{ 2097149, 4 }, { 2097150, 5 },
	};
	size_t i, size, j;
	u8 *packet, *codes;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		size = packet_suback_size(cases[i].count);
		EXPECT(size == cases[i].header + 2 + cases[i].count,
		       "%u: %zu", cases[i].count, size);
		packet = malloc(size);
		memset(packet, 0xee, size);
		codes = packet_build_suback(packet, 0x1234, cases[i].count);
		EXPECT(packet[0] == 0x90, "%u", cases[i].count);
		EXPECT(codes == packet + cases[i].header + 2, "%u",
		       cases[i].count);
		EXPECT(codes[-2] == 0x12 && codes[-1] == 0x34, "%u",
		       cases[i].count);
		for (j = 0; j < cases[i].count; j++)
			if (codes[j])
				break;
		EXPECT(j == cases[i].count, "%u", cases[i].count);
		free(packet);
	}
}

static void test_other_answers(void)
{
	u8 packet[PACKET_UNSUBACK_SIZE];

	packet_build_unsuback(packet, 0xfedc);
	EXPECT(!memcmp(packet, "\xb0\x02\xfe\xdc", 4), "UNSUBACK");
	packet_build_pingresp(packet);
	EXPECT(!memcmp(packet, "\xd0\x00", 2), "PINGRESP");
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "connect_flags", test_connect_flags },
		{ "connect_truncated", test_connect_truncated },
		{ "connect_trailing", test_connect_trailing },
		{ "connect_protocol", test_connect_protocol },
		{ "connect_other_level", test_connect_other_level },
		{ "connect_strings", test_connect_strings },
		{ "connect_will_topic", test_connect_will_topic },
		{ "connect_longest", test_connect_longest },
		{ "subscribe", test_subscribe },
		{ "subscribe_qos", test_subscribe_qos },
		{ "unsubscribe", test_unsubscribe },
		{ "filters_malformed", test_filters_malformed },
		{ "publish_flags", test_publish_flags },
		{ "publish_truncated", test_publish_truncated },
		{ "publish_malformed", test_publish_malformed },
		{ "publish_built", test_publish_built },
		{ "publish_longest_topic", test_publish_longest_topic },
		{ "acks", test_acks },
		{ "connack", test_connack },
		{ "suback", test_suback },
		{ "other_answers", test_other_answers },
	};

	return ktap_run(tests, ARRAY_SIZE(tests));
}
