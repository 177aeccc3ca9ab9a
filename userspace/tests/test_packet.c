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
#include "property.h"

/* What the connection's end is to a client of MQTT 3.x. */
static int outcome(enum reason reason)
{
	if (reason == REASON_BAD_LEVEL)
		return -EPROTONOSUPPORT;
	return reason ? -EBADMSG : 0;
}

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
	return outcome(packet_parse_connect(*copy, len, connect));
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
	err = outcome(packet_parse_filters(PACKET_LEVEL_3_1_1, copy, len,
					   subscribe, filters));
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
		/* Of MQTT 5, there would be properties. */
		EXPECT(err == (level == 4 ? 0 : level == 5 ? -EBADMSG :
			       -EPROTONOSUPPORT),
		       "MQTT level %u: %d", level, err);
		EXPECT(got == level, "MQTT level %u: %u", level, got);
		err = protocol_result("MQIsdp", 6, level, &got);
		EXPECT(err == (level == 3 ? 0 : -EPROTONOSUPPORT),
		       "MQIsdp level %u: %d", level, err);
		EXPECT(got == level, "MQIsdp level %u: %u", level, got);
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			EXPECT(protocol_result(bad[i].name, bad[i].len, level,
					       &got) == -EBADMSG && !got,
			       "name %zu level %u", i, level);
	}
}

/* Another version may continue however it likes. */
static void test_connect_other_level(void)
{
	static struct writer writer;
	struct packet_connect connect;
	u8 *copy;

	put_protocol(&writer, 6);
	EXPECT(parse_connect(&writer, writer.len, &connect, &copy) ==
	       -EPROTONOSUPPORT, "nothing after the level");
	EXPECT(connect.level == 6, "%u", connect.level);
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
	struct packet_filter filter;
	size_t at, len;

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

	EXPECT(filters.at == 2, "%zu", filters.at);
	at = packet_next_filter(writer.data, filters.at, true, &filter);
	EXPECT(is(&filter.topic, "a/+") && filter.qos == 0, "first");
	at = packet_next_filter(writer.data, at, true, &filter);
	EXPECT(is(&filter.topic, "") && filter.qos == 2, "second");
	at = packet_next_filter(writer.data, at, true, &filter);
	EXPECT(is(&filter.topic, "not#valid") && filter.qos == 1, "third");
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
	struct packet_filter filter;
	size_t at, len;

	writer.len = 0;
	put_u16(&writer, 0xffff);
	put_string(&writer, "a/+");
	put_string(&writer, "b");
	EXPECT(!filters_result(&writer, writer.len, false, &filters), "two");
	EXPECT(filters.id == 0xffff && filters.count == 2, "id %u count %u",
	       filters.id, filters.count);
	at = packet_next_filter(writer.data, filters.at, false, &filter);
	EXPECT(is(&filter.topic, "a/+") && filter.qos == 0, "first");
	at = packet_next_filter(writer.data, at, false, &filter);
	EXPECT(is(&filter.topic, "b") && at == writer.len, "second");
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
	err = outcome(packet_parse_publish(PACKET_LEVEL_3_1_1, first, copy, len,
					   &publish));
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
		err = outcome(packet_parse_publish(PACKET_LEVEL_3_1_1,
						   0x30 | flags, writer.data,
						   writer.len, &publish));
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
	struct packet_out out = {
		.level = PACKET_LEVEL_3_1_1, .id = 0xfffe,
		.topic = (const u8 *)"a/b", .topic_len = 3,
	};
	u8 head[5 + 2 + 3 + 2];
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
			out.flags = flags;
			out.payload_len = payload_len;
			size = packet_build_publish_head(head, &out);
			EXPECT(size <= sizeof(head), "%zu", size);
			EXPECT(size == packet_publish_head_size(&out) &&
			       size + payload_len == packet_publish_size(&out),
			       "flags %x length %u", flags, remainings[i]);

			frame = (struct kmqtt_frame){ 0 };
			EXPECT(!kmqtt_frame_feed(&frame, head, size, 4, &used),
			       "flags %x length %u", flags, remainings[i]);
			EXPECT(frame.done && frame.remaining == remainings[i],
			       "flags %x length %u", flags, frame.remaining);
			EXPECT(frame.first == (0x30 | flags), "%02x",
			       frame.first);
			EXPECT(!packet_parse_publish(PACKET_LEVEL_3_1_1,
						     frame.first, head + used,
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
	static u8 topic[KMQTT_FILTER_MAX + 1];
	static u8 head[5 + 2 + sizeof(topic) + 2];
	struct packet_out out = {
		.level = PACKET_LEVEL_3_1_1, .flags = 0x02, .id = 1,
		.topic = topic, .topic_len = KMQTT_FILTER_MAX,
	};
	struct packet_publish publish;
	size_t size;

	memset(topic, 'x', sizeof(topic));
	size = packet_build_publish_head(head, &out);
	EXPECT(size == 4 + 2 + KMQTT_FILTER_MAX + 2, "%zu", size);
	EXPECT(size == packet_publish_size(&out), "%zu", size);
	EXPECT(!packet_parse_publish(PACKET_LEVEL_3_1_1, 0x32, head + 4,
				     size - 4, &publish),
	       "parses");
	EXPECT(publish.topic.len == KMQTT_FILTER_MAX, "%u", publish.topic.len);

	out.topic_len++;
	size = packet_build_publish_head(head, &out);
	EXPECT(packet_parse_publish(PACKET_LEVEL_3_1_1, 0x32, head + 4,
				    size - 4, &publish) == REASON_TOPIC_INVALID,
	       "too long");
}

/* Of MQTT 3.1.1, it may be as large as a packet can be; of MQTT 5 it is larger. */
static void test_publish_too_large(void)
{
	struct packet_out out = {
		.level = PACKET_LEVEL_3_1_1,
		.topic = (const u8 *)"t", .topic_len = 1,
		.payload_len = KMQTT_VARINT_MAX - 2 - 1,
	};

	EXPECT(packet_publish_size(&out) == KMQTT_PACKET_MAX, "%zu",
	       packet_publish_size(&out));
	out.level = PACKET_LEVEL_5;
	EXPECT(packet_publish_size(&out) > KMQTT_PACKET_MAX, "%zu",
	       packet_publish_size(&out));
}

static int ack_result(const u8 *data, size_t len, u8 type,
		      struct packet_ack *ack)
{
	return outcome(packet_parse_ack(PACKET_LEVEL_3_1_1, type, data, len,
					ack));
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
	struct packet_ack ack;
	size_t i, j, len;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (j = 0; j < ARRAY_SIZE(ids); j++) {
			len = packet_build_ack(packet, PACKET_LEVEL_3_1_1, 0,
					       cases[i].type, ids[j],
					       REASON_QUOTA, "why");
			EXPECT(len == PACKET_ACK_SIZE, "%zu", len);
			EXPECT(packet[0] == cases[i].first, "%02x", packet[0]);
			EXPECT(packet[1] == 2, "%02x", packet[1]);
			EXPECT(!ack_result(packet + 2, 2, cases[i].type, &ack),
			       "%zu", i);
			EXPECT(ack.id == ids[j] && !ack.reason, "%u", ack.id);
			for (len = 0; len <= 3; len++)
				EXPECT(ack_result(packet + 2, len,
						  cases[i].type, &ack) ==
				       (len == 2 ? 0 : -EBADMSG), "%zu", len);
		}
	}
	EXPECT(ack_result((const u8 *)"\0", 2, KMQTT_PUBACK, &ack) == -EBADMSG,
	       "0");
}

static void test_connack(void)
{
	static const enum reason reasons[] = {
		REASON_SUCCESS, REASON_BAD_LEVEL, REASON_BAD_CLIENT_ID,
		REASON_UNAVAILABLE, REASON_BAD_LOGIN, REASON_NOT_AUTHORIZED,
	};
	struct packet_connack connack = { .max = 16, .max_qos = 2 };
	u8 packet[16];
	unsigned int code;
	size_t len;

	for (code = 0; code <= 5; code++) {
		connack.reason = reasons[code];
		for (len = 0; len < 4; len++) {
			/* [MQTT-3.2.2-4]; nothing of it in 3.1 */
			const u8 expected[] = {
				0x20, 2, len == 3 && !code, code
			};

			connack.level = len & 1 ? 4 : 3;
			connack.present = len & 2;
			EXPECT(packet_build_connack(packet, &connack) == 4 &&
			       !memcmp(packet, expected, 4),
			       "level %u code %u present %d", connack.level,
			       code, connack.present);
		}
	}
	connack.level = 5;
	connack.reason = REASON_BAD_LEVEL;
	len = packet_build_connack(packet, &connack);
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
	u8 *packet, *codes;
	size_t i, size;
	u32 count;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		count = cases[i].count;
		codes = calloc(1, count);
		codes[count - 1] = REASON_QUOTA;
		size = packet_build_filters_ack(NULL, 4, 0, KMQTT_SUBACK,
						0x1234, codes, count, NULL);
		EXPECT(size == cases[i].header + 2 + count, "%u: %zu", count,
		       size);
		packet = malloc(size);
		memset(packet, 0xee, size);
		EXPECT(packet_build_filters_ack(packet, 4, 0, KMQTT_SUBACK,
						0x1234, codes, count, NULL) ==
		       size, "%u", count);
		EXPECT(packet[0] == 0x90, "%u", count);
		EXPECT(!memcmp(packet + cases[i].header, "\x12\x34", 2), "%u",
		       count);
		EXPECT(!memcmp(packet + cases[i].header + 2, codes, count - 1),
		       "%u", count);
		EXPECT(packet[size - 1] == PACKET_SUBACK_FAILURE, "%u", count);
		free(packet);
		free(codes);
	}
}

static void test_other_answers(void)
{
	u8 packet[PACKET_ACK_SIZE];

	EXPECT(packet_build_filters_ack(packet, 4, 0, KMQTT_UNSUBACK, 0xfedc,
					(const u8 *)"\x11", 1, NULL) == 4 &&
	       !memcmp(packet, "\xb0\x02\xfe\xdc", 4), "UNSUBACK");
	packet_build_pingresp(packet);
	EXPECT(!memcmp(packet, "\xd0\x00", 2), "PINGRESP");
}

/* MQTT 5: packets as they are, or cut off anywhere. */

#define BYTES(...)							\
	(const u8[]){ __VA_ARGS__ }, sizeof((u8[]){ __VA_ARGS__ })

/* Parses from memory of exactly its size, as @type says. */
static enum reason parse5(u8 first, const u8 *data, size_t len)
{
	struct packet_disconnect disconnect;
	struct packet_connect connect;
	struct packet_filters filters;
	struct packet_publish publish;
	struct packet_auth auth;
	struct packet_ack ack;
	enum reason reason;
	u8 *copy = malloc(len ? len : 1);

	if (len)
		memcpy(copy, data, len);
	switch (first >> 4) {
	case KMQTT_CONNECT:
		reason = packet_parse_connect(copy, len, &connect);
		break;
	case KMQTT_PUBLISH:
		reason = packet_parse_publish(5, first, copy, len, &publish);
		break;
	case KMQTT_SUBSCRIBE:
	case KMQTT_UNSUBSCRIBE:
		reason = packet_parse_filters(5, copy, len, first >> 4 ==
					      KMQTT_SUBSCRIBE, &filters);
		break;
	case KMQTT_DISCONNECT:
		reason = packet_parse_disconnect(copy, len, &disconnect);
		break;
	case KMQTT_AUTH:
		reason = packet_parse_auth(copy, len, &auth);
		break;
	default:
		reason = packet_parse_ack(5, first >> 4, copy, len, &ack);
		break;
	}
	free(copy);
	return reason;
}

#define CONNECT5(flags, ...) \
	BYTES(0, 4, 'M', 'Q', 'T', 'T', 5, flags, 0, 60, __VA_ARGS__)

static void test_5_connect(void)
{
	static const u8 packet[] = {
		0, 4, 'M', 'Q', 'T', 'T', 5, 0xee, 0, 60,
		/* properties */
		42, 0x11, 0, 0, 1, 0, 0x21, 0, 7, 0x27, 0, 0, 2, 0,
		0x22, 0, 9, 0x19, 1, 0x17, 0, 0x15, 0, 1, 'm',
		0x16, 0, 2, 0xff, 0, 0x26, 0, 1, 'a', 0, 1, 'b',
		0x26, 0, 1, 'a', 0, 0, 0, 1, 'i',
	};
	static u8 whole[sizeof(packet) + 100];
	static const u8 rest[] = {
		/* will properties */
		24, 0x01, 1, 0x18, 0, 0, 0, 5, 0x02, 0, 0, 0, 9,
		0x08, 0, 1, 'r', 0x26, 0, 1, 'k', 0, 2, 'v', 'w',
		0, 1, 't', 0, 2, 0xff, 0, 0, 1, 'u', 0, 1, 'p',
	};
	static const u8 will[] = {
		0x01, 1, 0x02, 0, 0, 0, 9,
		0x08, 0, 1, 'r', 0x26, 0, 1, 'k', 0, 2, 'v', 'w',
	};
	struct packet_properties properties;
	struct packet_connect connect;
	size_t len, size = sizeof(packet) + sizeof(rest);
	u8 copy[64];

	memcpy(whole, packet, sizeof(packet));
	memcpy(whole + sizeof(packet), rest, sizeof(rest));
	EXPECT(!packet_parse_connect(whole, size, &connect), "it parses");
	EXPECT(connect.level == 5 && connect.clean && connect.will_qos == 1 &&
	       connect.will_retain && connect.keepalive == 60, "fields");
	EXPECT(connect.session_expiry == 256 && connect.receive_max == 7 &&
	       connect.max_packet == 512 && connect.topic_alias_max == 9 &&
	       connect.request_response && !connect.request_problem,
	       "properties");
	EXPECT(is(&connect.auth_method, "m") && connect.auth_data.len == 2,
	       "authentication");
	EXPECT(is(&connect.id, "i") && is(&connect.will_topic, "t") &&
	       is(&connect.username, "u") && is(&connect.password, "p"),
	       "payload");
	EXPECT(connect.will_delay == 5, "%u", connect.will_delay);
	packet_will_properties(&connect, copy, &properties);
	EXPECT(properties.len == sizeof(will) &&
	       !memcmp(copy, will, sizeof(will)), "will properties");
	EXPECT(properties.expiry == 9 && properties.expiry_at == 3 &&
	       properties.utf8, "expiry %u", properties.expiry_at);
	for (len = 0; len < size; len++)
		EXPECT(parse5(0x10, whole, len) == REASON_MALFORMED, "%zu",
		       len);

	EXPECT(!packet_parse_connect(CONNECT5(0, 0, 0, 0), &connect), "least");
	EXPECT(connect.receive_max == 65535 && !connect.session_expiry &&
	       connect.max_packet == KMQTT_PACKET_MAX &&
	       connect.request_problem && !connect.topic_alias_max, "defaults");
}

struct bad {
	const char *what;
	u8 first;
	enum reason reason;
	const u8 *data;
	size_t len;
};

static void expect_bad(const struct bad *bad, size_t count)
{
	enum reason reason;
	size_t i;

	for (i = 0; i < count; i++) {
		reason = parse5(bad[i].first, bad[i].data, bad[i].len);
		EXPECT(reason == bad[i].reason, "%s: %02x", bad[i].what,
		       reason);
	}
}

static void test_5_connect_bad(void)
{
	const struct bad bad[] = {
		{ "reserved flag", 0x10, 0x81, CONNECT5(0x01, 0, 0, 0) },
		{ "will QoS without will", 0x10, 0x81, CONNECT5(0x08, 0, 0, 0) },
		{ "password without user name is good", 0x10, 0,
		  CONNECT5(0x40, 0, 0, 0, 0, 1, 'p') },
		{ "property twice", 0x10, 0x82,
		  CONNECT5(0, 6, 0x21, 0, 1, 0x21, 0, 1, 0, 0) },
		{ "another packet's property", 0x10, 0x81,
		  CONNECT5(0, 3, 0x23, 0, 1, 0, 0) },
		{ "no such property", 0x10, 0x81, CONNECT5(0, 1, 0x7f, 0, 0) },
		{ "receive maximum 0", 0x10, 0x82,
		  CONNECT5(0, 3, 0x21, 0, 0, 0, 0) },
		{ "maximum packet size 0", 0x10, 0x82,
		  CONNECT5(0, 5, 0x27, 0, 0, 0, 0, 0, 0) },
		{ "request problem 2", 0x10, 0x82,
		  CONNECT5(0, 2, 0x17, 2, 0, 0) },
		{ "data without method", 0x10, 0x82,
		  CONNECT5(0, 4, 0x16, 0, 1, 0, 0, 0) },
		{ "length beyond the packet", 0x10, 0x81,
		  CONNECT5(0, 9, 0x21, 0, 1, 0, 0) },
		{ "length of 2 bytes for 0", 0x10, 0x81,
		  CONNECT5(0, 0x80, 0, 0, 0) },
		{ "will topic with wildcard", 0x10, 0x81,
		  CONNECT5(0x04, 0, 0, 0, 0, 0, 1, '#', 0, 0) },
		{ "response topic with wildcard", 0x10, 0x82,
		  CONNECT5(0x04, 0, 0, 0, 4, 0x08, 0, 1, '+', 0, 1, 't', 0,
			   0) },
		{ "alias in a will", 0x10, 0x81,
		  CONNECT5(0x04, 0, 0, 0, 3, 0x23, 0, 1, 0, 1, 't', 0, 0) },
		{ "something behind", 0x10, 0x81, CONNECT5(0, 0, 0, 0, 0) },
	};

	expect_bad(bad, ARRAY_SIZE(bad));
}

static void test_5_publish(void)
{
	static const u8 packet[] = {
		0, 1, 't', 0x12, 0x34, 15, 0x01, 1, 0x02, 0, 0, 1, 0,
		0x26, 0, 1, 'a', 0, 2, 'b', 'c', 'x', 'y', 'z',
	};
	struct packet_publish publish;
	size_t len;

	EXPECT(!packet_parse_publish(5, 0x32, packet, sizeof(packet),
				     &publish), "it parses");
	EXPECT(publish.id == 0x1234 && is(&publish.topic, "t"), "fields");
	EXPECT(publish.properties.len == 15 &&
	       publish.properties.data == packet + 6, "properties");
	EXPECT(publish.properties.expiry_at == 3 &&
	       publish.properties.expiry == 256 && publish.properties.utf8,
	       "expiry");
	EXPECT(publish.payload_len == 3 && publish.payload == packet + 21,
	       "payload");
	for (len = 0; len < 21; len++)
		EXPECT(parse5(0x32, packet, len) == REASON_MALFORMED, "%zu",
		       len);
}

static void test_5_publish_bad(void)
{
	const struct bad bad[] = {
		{ "good", 0x32, 0, BYTES(0, 1, 't', 0, 1, 0) },
		{ "identifier 0", 0x32, 0x82, BYTES(0, 1, 't', 0, 0, 0) },
		{ "QoS 3", 0x36, 0x81, BYTES(0, 1, 't', 0, 1, 0) },
		{ "no topic, no alias", 0x32, 0x82, BYTES(0, 0, 0, 1, 0) },
		{ "wildcard", 0x32, 0x81, BYTES(0, 1, '+', 0, 1, 0) },
		{ "topic not UTF-8", 0x32, 0x81, BYTES(0, 1, 0xff, 0, 1, 0) },
		{ "topic alias", 0x32, 0x94,
		  BYTES(0, 1, 't', 0, 1, 3, 0x23, 0, 1) },
		{ "subscription identifier", 0x32, 0x82,
		  BYTES(0, 1, 't', 0, 1, 2, 0x0b, 1) },
		{ "response topic", 0x32, 0x82,
		  BYTES(0, 1, 't', 0, 1, 4, 0x08, 0, 1, '#') },
		{ "format 2", 0x32, 0x82, BYTES(0, 1, 't', 0, 1, 2, 0x01, 2) },
		{ "user property not UTF-8", 0x32, 0x81,
		  BYTES(0, 1, 't', 0, 1, 6, 0x26, 0, 1, 0xff, 0, 0) },
	};

	expect_bad(bad, ARRAY_SIZE(bad));
}

static void test_5_acks(void)
{
	const struct bad cases[] = {
		{ "PUBACK", 0x40, 0, BYTES(0, 1) },
		{ "PUBACK with code", 0x40, 0, BYTES(0, 1, 0x10) },
		{ "PUBACK of length 0", 0x40, 0, BYTES(0, 1, 0x97, 0) },
		{ "PUBACK with string", 0x40, 0,
		  BYTES(0, 1, 0x80, 4, 0x1f, 0, 1, 'x') },
		{ "PUBREL not found", 0x62, 0, BYTES(0, 1, 0x92) },
		{ "PUBREC not found", 0x50, 0x82, BYTES(0, 1, 0x92) },
		{ "PUBCOMP quota", 0x70, 0x82, BYTES(0, 1, 0x97) },
		{ "identifier 0", 0x40, 0x82, BYTES(0, 0) },
		{ "strings twice", 0x40, 0x82,
		  BYTES(0, 1, 0, 6, 0x1f, 0, 0, 0x1f, 0, 0) },
		{ "something behind", 0x40, 0x81, BYTES(0, 1, 0, 0, 0) },
		{ "cut off", 0x40, 0x81, BYTES(0, 1, 0, 3, 0x1f, 0) },
		{ "another's property", 0x40, 0x81,
		  BYTES(0, 1, 0, 3, 0x21, 0, 1) },
	};
	struct packet_ack ack;
	u8 packet[16];

	expect_bad(cases, ARRAY_SIZE(cases));
	EXPECT(!packet_parse_ack(5, KMQTT_PUBACK, BYTES(1, 2, 0x97), &ack) &&
	       ack.id == 0x102 && ack.reason == REASON_QUOTA, "fields");
	EXPECT(packet_build_ack(packet, 5, 16, KMQTT_PUBREC, 0x102,
				REASON_SUCCESS, NULL) == 4 &&
	       !memcmp(packet, "\x50\x02\x01\x02", 4), "success");
	EXPECT(packet_build_ack(packet, 5, 16, KMQTT_PUBREC, 0x102,
				REASON_QUOTA, "xyz") == 12 &&
	       !memcmp(packet, "\x50\x0a\x01\x02\x97\x06\x1f\0\3xyz", 12),
	       "with string");
	EXPECT(packet_build_ack(packet, 5, 11, KMQTT_PUBREC, 0x102,
				REASON_QUOTA, "xyz") == 6 &&
	       !memcmp(packet, "\x50\x04\x01\x02\x97\x00", 6),
	       "string too long");
	EXPECT(!packet_build_ack(packet, 5, 5, KMQTT_PUBREC, 0x102,
				 REASON_QUOTA, "xyz"), "too large");
}

static void test_5_filters(void)
{
	static const u8 data[] = {
		0, 9, 9, 0x0b, 0x80, 1, 0x26, 0, 0, 0, 1, 'v',
		0, 3, 'a', '/', '#', 0x2e,
		0, 10, '$', 's', 'h', 'a', 'r', 'e', '/', 'g', '/', '+', 0x01,
		0, 8, '$', 's', 'h', 'a', 'r', 'e', '/', 'g', 0,
	};
	struct packet_filters filters;
	struct packet_filter filter;
	size_t at;

	EXPECT(!packet_parse_filters(5, data, sizeof(data), true, &filters),
	       "it parses");
	EXPECT(filters.id == 9 && filters.count == 3 && filters.sub_id == 128 &&
	       filters.at == 12, "fields");
	at = packet_next_filter(data, filters.at, true, &filter);
	EXPECT(is(&filter.topic, "a/#") && !filter.group.data &&
	       filter.qos == 2 && filter.no_local &&
	       filter.retain_as_published && filter.retain_handling == 2,
	       "options");
	at = packet_next_filter(data, at, true, &filter);
	EXPECT(is(&filter.topic, "+") && is(&filter.group, "g") &&
	       is(&filter.whole, "$share/g/+") && filter.qos == 1 &&
	       !filter.no_local && !filter.retain_handling, "shared");
	at = packet_next_filter(data, at, true, &filter);
	EXPECT(!filter.topic.len && is(&filter.group, "g") &&
	       at == sizeof(data), "no filter");
}

static void test_5_filters_bad(void)
{
	const struct bad bad[] = {
		{ "good", 0x82, 0, BYTES(0, 1, 0, 0, 1, 'a', 0) },
		{ "identifier 0", 0x82, 0x82, BYTES(0, 0, 0, 0, 1, 'a', 0) },
		{ "no filter", 0x82, 0x82, BYTES(0, 1, 0) },
		{ "no properties", 0x82, 0x81, BYTES(0, 1) },
		{ "QoS 3", 0x82, 0x82, BYTES(0, 1, 0, 0, 1, 'a', 3) },
		{ "handling 3", 0x82, 0x82, BYTES(0, 1, 0, 0, 1, 'a', 0x30) },
		{ "reserved", 0x82, 0x81, BYTES(0, 1, 0, 0, 1, 'a', 0x40) },
		{ "reserved", 0x82, 0x81, BYTES(0, 1, 0, 0, 1, 'a', 0x80) },
		{ "no-local, shared", 0x82, 0x82,
		  BYTES(0, 1, 0, 0, 10, '$', 's', 'h', 'a', 'r', 'e', '/', 'g',
			'/', 'a', 4) },
		{ "identifier 0 of a subscription", 0x82, 0x82,
		  BYTES(0, 1, 2, 0x0b, 0, 0, 1, 'a', 0) },
		{ "two of them", 0x82, 0x82,
		  BYTES(0, 1, 4, 0x0b, 1, 0x0b, 2, 0, 1, 'a', 0) },
		{ "too long a one", 0x82, 0x81,
		  BYTES(0, 1, 6, 0x0b, 0x80, 0x80, 0x80, 0x80, 1, 0, 1, 'a',
			0) },
		{ "not UTF-8", 0x82, 0x81, BYTES(0, 1, 0, 0, 1, 0xff, 0) },
		{ "UNSUBSCRIBE", 0xa2, 0, BYTES(0, 1, 0, 0, 1, 'a') },
		{ "with identifier", 0xa2, 0x81,
		  BYTES(0, 1, 2, 0x0b, 1, 0, 1, 'a') },
		{ "with nothing", 0xa2, 0x82, BYTES(0, 1, 0) },
	};
	u8 packet[16];

	expect_bad(bad, ARRAY_SIZE(bad));
	EXPECT(packet_build_filters_ack(packet, 5, 16, KMQTT_SUBACK, 0x102,
					(const u8 *)"\x02\x97", 2, "x") == 11 &&
	       !memcmp(packet, "\x90\x09\x01\x02\x04\x1f\0\1x\x02\x97", 11),
	       "SUBACK");
	EXPECT(packet_build_filters_ack(packet, 5, 10, KMQTT_UNSUBACK, 0x102,
					(const u8 *)"\x11\x00", 2, "x") == 7 &&
	       !memcmp(packet, "\xb0\x05\x01\x02\x00\x11\x00", 7), "UNSUBACK");
}

static void test_5_disconnect(void)
{
	const struct bad bad[] = {
		{ "empty", 0xe0, 0, NULL, 0 },
		{ "code", 0xe0, 0, BYTES(4) },
		{ "length 0", 0xe0, 0, BYTES(0x81, 0) },
		{ "a server's code", 0xe0, 0x82, BYTES(0x8b) },
		{ "no code", 0xe0, 0x82, BYTES(0x01) },
		{ "a server's property", 0xe0, 0x82,
		  BYTES(0, 4, 0x1c, 0, 1, 'x') },
		{ "something behind", 0xe0, 0x81, BYTES(0, 0, 0) },
		{ "expiry twice", 0xe0, 0x82,
		  BYTES(0, 10, 0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1) },
	};
	struct packet_disconnect disconnect;
	u8 packet[32];

	expect_bad(bad, ARRAY_SIZE(bad));
	EXPECT(!packet_parse_disconnect(BYTES(4, 5, 0x11, 0, 0, 1, 2),
					&disconnect) &&
	       disconnect.reason == REASON_DISCONNECT_WITH_WILL &&
	       disconnect.has_expiry && disconnect.session_expiry == 0x102,
	       "fields");
	EXPECT(packet_build_disconnect(packet, 32, REASON_SERVER_MOVED, "x",
				       "y:1") == 14 &&
	       !memcmp(packet, "\xe0\x0c\x9d\x0a\x1c\0\3y:1\x1f\0\1x", 14),
	       "built");
	EXPECT(packet_build_disconnect(packet, 12, REASON_SERVER_MOVED, "x",
				       "y:1") == 10, "without string");
}

static void test_5_auth(void)
{
	const struct bad bad[] = {
		{ "empty", 0xf0, 0x82, NULL, 0 },
		{ "success", 0xf0, 0x82, BYTES(0, 4, 0x15, 0, 1, 'm') },
		{ "no properties", 0xf0, 0x81, BYTES(0x18) },
		{ "no method", 0xf0, 0x82, BYTES(0x18, 0) },
		{ "good", 0xf0, 0, BYTES(0x19, 4, 0x15, 0, 1, 'm') },
	};
	const struct packet_bytes method = { (const u8 *)"m", 1 };
	const struct packet_bytes data = { (const u8 *)"\0", 1 };
	struct packet_auth auth;
	u8 packet[16];

	expect_bad(bad, ARRAY_SIZE(bad));
	EXPECT(!packet_parse_auth(BYTES(0x18, 8, 0x15, 0, 1, 'm', 0x16, 0, 1,
					0), &auth) &&
	       auth.reason == REASON_CONTINUE_AUTHENTICATION &&
	       is(&auth.method, "m") && auth.data.len == 1, "fields");
	EXPECT(packet_build_auth(packet, 16, REASON_CONTINUE_AUTHENTICATION,
				 &method, &data) == 12 &&
	       !memcmp(packet, "\xf0\x0a\x18\x08\x15\0\1m\x16\0\1\0", 12),
	       "built");
}

static void test_5_connack(void)
{
	struct packet_connack connack = {
		.level = 5, .present = true, .max = 100, .has_expiry = true,
		.session_expiry = 0x102, .receive_max = 20, .max_qos = 1,
		.no_retain = true, .max_packet = 2000000,
		.topic_alias_max = 10, .has_keepalive = true, .keepalive = 9,
		.assigned_id = { (const u8 *)"id", 2 },
		.auth_method = { (const u8 *)"m", 1 },
		.auth_data = { (const u8 *)"d", 1 },
		.reason_string = "why", .server_reference = "s",
		.response_info = "r",
	};
	static const u8 expected[] = {
		0x20, 60 - 3, 1, 0, 60 - 6,
		0x11, 0, 0, 1, 2, 0x21, 0, 20, 0x24, 1, 0x25, 0,
		0x27, 0, 0x1e, 0x84, 0x80, 0x12, 0, 2, 'i', 'd', 0x22, 0, 10,
		0x13, 0, 9, 0x1a, 0, 1, 'r', 0x1c, 0, 1, 's', 0x15, 0, 1, 'm',
		0x16, 0, 1, 'd', 0x1f, 0, 3, 'w', 'h', 'y',
	};
	u8 packet[100];
	size_t len = packet_build_connack(packet, &connack);

	EXPECT(len == sizeof(expected), "%zu", len);
	EXPECT(packet[0] == 0x20 && packet[1] == sizeof(expected) - 2 &&
	       packet[2] == 1 && packet[4] == sizeof(expected) - 5, "head");
	EXPECT(!memcmp(packet + 5, expected + 5, sizeof(expected) - 5),
	       "properties");
	EXPECT(packet_build_connack(NULL, &connack) == len, "measured");
	connack.max = len - 1;
	EXPECT(packet_build_connack(packet, &connack) == len - 6,
	       "without reason string");
	connack.max = len - 7;
	EXPECT(!packet_build_connack(packet, &connack), "too large");
	/* [MQTT-3.2.2-6] */
	connack = (struct packet_connack){
		.level = 5, .present = true, .max = 100, .max_qos = 2,
		.reason = REASON_BANNED,
	};
	EXPECT(packet_build_connack(packet, &connack) == 5 &&
	       !memcmp(packet, "\x20\x03\x00\x8a\x00", 5), "refused");
}

static void test_5_publish_built(void)
{
	static const u32 ids[] = { 1, 128, KMQTT_SUB_ID_MAX };
	static const u8 properties[] = {
		0x01, 1, 0x02, 0, 0, 1, 0, 0x26, 0, 0, 0, 0,
	};
	static const u8 expected[] = {
		0x3d, 0x1f, 0, 1, 't', 0, 7, 22,
		0x0b, 1, 0x0b, 0x80, 1, 0x0b, 0xff, 0xff, 0xff, 0x7f,
		0x01, 1, 0x02, 0, 0, 0, 5, 0x26, 0, 0, 0, 0,
	};
	struct packet_out out = {
		.level = 5, .flags = 0x0d, .id = 7, .topic_len = 1,
		.topic = (const u8 *)"t",
		.properties = { properties, sizeof(properties), 3, 256, true },
		.expiry = 5, .sub_id_count = 3, .sub_ids = ids,
		.payload_len = 3,
	};
	u8 head[64];
	size_t len = packet_build_publish_head(head, &out);

	EXPECT(len == sizeof(expected) && len == packet_publish_head_size(&out),
	       "%zu", len);
	EXPECT(!memcmp(head, expected, sizeof(expected)), "bytes");
	/* MQTT 3.x gets none of it. */
	out.level = 4;
	len = packet_build_publish_head(head, &out);
	EXPECT(len == 7 && !memcmp(head, "\x3d\x08\0\1t\0\7", 7), "%zu", len);
	out.level = 5;
	out.sub_id_count = 0;
	out.properties = (struct packet_properties){ 0 };
	len = packet_build_publish_head(head, &out);
	EXPECT(len == 8 && !memcmp(head, "\x3d\x09\0\1t\0\7\0", 8), "none");
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
		{ "publish_too_large", test_publish_too_large },
		{ "acks", test_acks },
		{ "connack", test_connack },
		{ "suback", test_suback },
		{ "other_answers", test_other_answers },
		{ "5_connect", test_5_connect },
		{ "5_connect_bad", test_5_connect_bad },
		{ "5_publish", test_5_publish },
		{ "5_publish_bad", test_5_publish_bad },
		{ "5_acks", test_5_acks },
		{ "5_filters", test_5_filters },
		{ "5_filters_bad", test_5_filters_bad },
		{ "5_disconnect", test_5_disconnect },
		{ "5_auth", test_5_auth },
		{ "5_connack", test_5_connack },
		{ "5_publish_built", test_5_publish_built },
	};

	return ktap_run(tests, ARRAY_SIZE(tests));
}
