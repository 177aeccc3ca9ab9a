// SPDX-License-Identifier: GPL-2.0
#include "topic.h"

#include <linux/errno.h>
#include <linux/kmqtt.h>
#include <linux/string.h>

/* Bytes of the character at @s, or 0 when it is not well-formed UTF-8: shortest
 * form only, no surrogates [MQTT-1.5.3-1], nothing above U+10FFFF (RFC 3629).
 */
static size_t utf8_char(const u8 *s, size_t len)
{
	size_t n, i;
	u32 c;

	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		n = 2;
		c = s[0] & 0x1f;
	} else if ((s[0] & 0xf0) == 0xe0) {
		n = 3;
		c = s[0] & 0x0f;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		n = 4;
		c = s[0] & 0x07;
	} else {
		return 0;
	}
	if (n > len)
		return 0;

	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (n == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff)))
		return 0;
	if (n == 4 && (c < 0x10000 || c > 0x10ffff))
		return 0;
	return n;
}

/**
 * kmqtt_utf8_check() - is this an MQTT string?
 * @s: its bytes, without the length in front
 * @len: how many
 *
 * Well-formed UTF-8 without U+0000 [MQTT-1.5.3-1] [MQTT-1.5.3-2].
 */
int kmqtt_utf8_check(const u8 *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t n = s[i] - 1U < 0x7f ? 1 : utf8_char(s + i, len - i);

		if (!n)
			return -EINVAL;
		i += n;
	}
	return 0;
}

/**
 * kmqtt_text_check() - is this UTF-8, as a payload may say (MQTT 5, 3.3.2.3.2)?
 * @s: its bytes
 * @len: how many
 *
 * Unlike in a string, U+0000 may be in it.
 */
int kmqtt_text_check(const u8 *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t n = s[i] < 0x80 ? 1 : utf8_char(s + i, len - i);

		if (!n)
			return -EINVAL;
		i += n;
	}
	return 0;
}

#define EACH_BYTE(c)	((u64)(c) * 0x0101010101010101ULL)

/* Not 0 if one of the eight bytes of @word is. */
static u64 zero_bytes(u64 word)
{
	return (word - EACH_BYTE(1)) & ~word & EACH_BYTE(0x80);
}

/* Not 0 if one of them cannot be in a topic name: U+0000, '#' or '+', between
 * which is a single bit.
 */
static u64 bad_bytes(u64 word)
{
	return zero_bytes(word) |
	       zero_bytes((word | EACH_BYTE('#' ^ '+')) ^ EACH_BYTE('+'));
}

/* The last bytes of @s: eight, or what there is, beside some that are harmless. */
static u64 last_bytes(const u8 *s, size_t len)
{
	u64 word = EACH_BYTE('/');
	size_t i;

	if (len >= sizeof(word))
		memcpy(&word, s + len - sizeof(word), sizeof(word));
	else
		for (i = 0; i < len; i++)
			word = word << 8 | s[i];
	return word;
}

static unsigned int count_levels(const u8 *s, size_t len)
{
	unsigned int levels = 1;
	size_t i;

	for (i = 0; i < len; i++)
		levels += s[i] == '/';
	return levels;
}

/**
 * kmqtt_topic_name_check() - can a message be published to it?
 * @s: the topic name
 * @len: its bytes
 *
 * At least one character [MQTT-4.7.3-1], no wildcards [MQTT-3.3.2-2], at most
 * KMQTT_LEVELS_MAX levels and KMQTT_FILTER_MAX bytes (else -E2BIG). Every publish
 * pays for it: one look at eight bytes each, and what few names need afterwards.
 */
int kmqtt_topic_name_check(const u8 *s, size_t len)
{
	u64 word = last_bytes(s, len);
	u64 bad = bad_bytes(word);
	u64 seen = word;
	size_t i;

	for (i = 0; i + sizeof(word) < len; i += sizeof(word)) {
		memcpy(&word, s + i, sizeof(word));
		bad |= bad_bytes(word);
		seen |= word;
	}

	if (!len || bad)
		return -EINVAL;
	if (seen & EACH_BYTE(0x80) && kmqtt_utf8_check(s, len))
		return -EINVAL;
	if (len < KMQTT_LEVELS_MAX)
		return 0;
	if (len > KMQTT_FILTER_MAX || count_levels(s, len) > KMQTT_LEVELS_MAX)
		return -E2BIG;
	return 0;
}

size_t kmqtt_topic_level(const u8 *s, size_t len, size_t off)
{
	const u8 *slash = memchr(s + off, '/', len - off);

	return slash ? (size_t)(slash - s) - off : len - off;
}

/**
 * kmqtt_topic_filter_check() - can it be subscribed to?
 * @s: the topic filter
 * @len: its bytes
 *
 * As a name, and: '+' fills its level [MQTT-4.7.1-3], '#' fills the last one
 * [MQTT-4.7.1-2]; at most KMQTT_FILTER_MAX bytes.
 *
 * Return: 0; -E2BIG: more than that, or than KMQTT_LEVELS_MAX levels; -EINVAL:
 *	MQTT knows no such filter.
 */
int kmqtt_topic_filter_check(const u8 *s, size_t len)
{
	unsigned int levels = 0;
	size_t off = 0;

	if (len > KMQTT_FILTER_MAX)
		return -E2BIG;
	if (!len || kmqtt_utf8_check(s, len))
		return -EINVAL;

	while (off <= len) {
		size_t n = kmqtt_topic_level(s, len, off);

		if (++levels > KMQTT_LEVELS_MAX)
			return -E2BIG;
		if (memchr(s + off, '+', n) && n != 1)
			return -EINVAL;
		if (memchr(s + off, '#', n) && (n != 1 || off + n != len))
			return -EINVAL;
		off += n + 1;
	}
	return 0;
}
