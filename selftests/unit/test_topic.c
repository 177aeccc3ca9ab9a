// SPDX-License-Identifier: GPL-2.0
/* Topic names, topic filters and UTF-8. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ktap.h"
#include "topic.h"

#include <linux/kmqtt.h>

/* RFC 3629, written down independently: decode, then compare. */
static bool reference_utf8(const u8 *s, size_t len)
{
	size_t i = 0, k;

	while (i < len) {
		static const u32 least[] = { 0, 1, 0x80, 0x800, 0x10000 };
		size_t n = s[i] < 0x80 ? 1 : s[i] < 0xc0 ? 0 :
			   s[i] < 0xe0 ? 2 : s[i] < 0xf0 ? 3 :
			   s[i] < 0xf8 ? 4 : 0;
		u32 c;

		if (!n || i + n > len)
			return false;
		c = n == 1 ? s[i] : s[i] & (0x7f >> n);
		for (k = 1; k < n; k++) {
			if (s[i + k] >> 6 != 2)
				return false;
			c = c * 64 + (s[i + k] & 63);
		}
		if (c < least[n] || c > 0x10ffff || (c >> 11) == 0x1b)
			return false;
		i += n;
	}
	return true;
}

static bool utf8_short(void)
{
	u32 value;

	/* Every sequence of one, two and three bytes. */
	for (value = 0; value < 1 << 24; value++) {
		u8 s[3] = { value, value >> 8, value >> 16 };
		size_t len = value < 1 << 8 ? 1 : value < 1 << 16 ? 2 : 3;

		CHECK(!kmqtt_utf8_check(s, len) == reference_utf8(s, len));
	}
	return true;
}

static bool utf8_long(void)
{
	u32 value;

	/* Every four-byte lead with boundary and random continuations. */
	srandom(1);
	for (value = 0; value < 1 << 20; value++) {
		u8 s[4] = { 0xf0 | (value & 15), value >> 4, 0x80, random() };

		s[2] = random() & 1 ? 0xbf : random();
		CHECK(!kmqtt_utf8_check(s, 4) == reference_utf8(s, 4));
	}
	return true;
}

static bool reference_name(const u8 *s, size_t len)
{
	return len && !memchr(s, 0, len) && !memchr(s, '#', len) &&
	       !memchr(s, '+', len) && reference_utf8(s, len);
}

/* Each byte in each place, between bytes that differ from a bad one by little. */
static bool names_by_byte(void)
{
	static const u8 others[] = { 'x', 1, '*', ',', '"', '$', 0x7f, 0x80 };
	size_t len, at, value, i;
	u8 s[33];

	for (len = 1; len <= sizeof(s); len++)
		for (i = 0; i < sizeof(others); i++)
			for (at = 0; at < len; at++)
				for (value = 0; value < 256; value++) {
					memset(s, others[i], len);
					s[at] = value;
					CHECK(!kmqtt_topic_name_check(s, len) ==
					      reference_name(s, len));
				}
	return true;
}

static bool names(void)
{
	static const struct {
		const char *topic;
		bool ok;
	} cases[] = {
		{ "", false }, { "a", true }, { "/", true }, { "a//b", true },
		{ "a b", true }, { "+", false }, { "a/#", false },
		{ "a+b", false }, { "$SYS/x", true }, { "\xef\xbb\xbf", true },
		{ "\xc3\xa9", true }, { "\xc3", false }, { "\xed\xa0\x80", false },
		{ "\x7f", true }, { "\x01", true },
	};
	char many[2 * KMQTT_LEVELS_MAX + 1];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK(!kmqtt_topic_name_check((const u8 *)cases[i].topic,
					      strlen(cases[i].topic)) ==
		      cases[i].ok);
	CHECK(kmqtt_topic_name_check((const u8 *)"a\0b", 3));

	memset(many, '/', sizeof(many));
	CHECK(!kmqtt_topic_name_check((u8 *)many, KMQTT_LEVELS_MAX - 1));
	CHECK(kmqtt_topic_name_check((u8 *)many, KMQTT_LEVELS_MAX));
	return true;
}

static bool filters(void)
{
	static const struct {
		const char *filter;
		bool ok;
	} cases[] = {
		{ "", false }, { "#", true }, { "+", true }, { "/", true },
		{ "a/#", true }, { "a#", false }, { "#/a", false },
		{ "a/#/b", false }, { "+/a/+", true }, { "a+", false },
		{ "a/+b", false }, { "+/+", true }, { "/+", true },
		{ "a/##", false }, { "++", false }, { "$share/g/t", true },
		{ "a/\xff", false },
	};
	static u8 longest[KMQTT_FILTER_MAX + 1];
	char many[KMQTT_LEVELS_MAX + 1];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK(kmqtt_topic_filter_check((const u8 *)cases[i].filter,
					       strlen(cases[i].filter)) ==
		      (cases[i].ok ? 0 : -EINVAL));

	memset(longest, 'x', sizeof(longest));
	CHECK(!kmqtt_topic_filter_check(longest, KMQTT_FILTER_MAX));
	CHECK(kmqtt_topic_filter_check(longest, KMQTT_FILTER_MAX + 1) ==
	      -E2BIG);
	memset(many, '/', sizeof(many));
	CHECK(!kmqtt_topic_filter_check((u8 *)many, KMQTT_LEVELS_MAX - 1));
	CHECK(kmqtt_topic_filter_check((u8 *)many, KMQTT_LEVELS_MAX) ==
	      -E2BIG);
	return true;
}

static const struct ktap_test tests[] = {
	{ "UTF-8 of one to three bytes, exhaustively", utf8_short },
	{ "UTF-8 of four bytes", utf8_long },
	{ "topic names", names },
	{ "topic names, each byte in each place", names_by_byte },
	{ "topic filters", filters },
};

int main(void)
{
	return ktap_run(tests, sizeof(tests) / sizeof(*tests));
}
