// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer target for the module's pure files: the input is a program of
 * subscribe, unsubscribe, publish and frame steps, checked against a plain
 * model.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/match.h"
#include "frame.h"
#include "head.h"
#include "property.h"
#include "topic.h"
#include "trie.h"

enum { FILTERS = 16, TEXT = 64 };

static struct {
	char text[TEXT + 1];
	struct kmqtt_node *node;
	long hits;
} filters[FILTERS];

/* Table 3-7 of the Unicode standard: what may follow which first byte. */
static const struct {
	u8 first[2];
	u8 second[2];
	size_t len;
} well_formed[] = {
	{ { 0x01, 0x7f }, { 0 }, 1 },
	{ { 0xc2, 0xdf }, { 0x80, 0xbf }, 2 },
	{ { 0xe0, 0xe0 }, { 0xa0, 0xbf }, 3 },
	{ { 0xe1, 0xec }, { 0x80, 0xbf }, 3 },
	{ { 0xed, 0xed }, { 0x80, 0x9f }, 3 },
	{ { 0xee, 0xef }, { 0x80, 0xbf }, 3 },
	{ { 0xf0, 0xf0 }, { 0x90, 0xbf }, 4 },
	{ { 0xf1, 0xf3 }, { 0x80, 0xbf }, 4 },
	{ { 0xf4, 0xf4 }, { 0x80, 0x8f }, 4 },
};

static bool within(u8 byte, const u8 range[2])
{
	return byte >= range[0] && byte <= range[1];
}

static size_t reference_char(const u8 *s, size_t len)
{
	static const u8 others[2] = { 0x80, 0xbf };
	size_t i, row, rows = sizeof(well_formed) / sizeof(*well_formed);

	for (row = 0; row < rows; row++)
		if (within(s[0], well_formed[row].first))
			break;
	if (row == rows || well_formed[row].len > len)
		return 0;
	for (i = 1; i < well_formed[row].len; i++)
		if (!within(s[i], i == 1 ? well_formed[row].second : others))
			return 0;
	return i;
}

static void utf8(const u8 *s, size_t len)
{
	bool good = !kmqtt_utf8_check(s, len);
	size_t i = 0, n = 1;

	while (i < len && n) {
		n = reference_char(s + i, len - i);
		i += n;
	}
	if (good != (i == len && n))
		abort();
	/* What is published to, and subscribed to, is a string. */
	if (!good && (!kmqtt_topic_name_check(s, len) ||
		      !kmqtt_topic_filter_check(s, len)))
		abort();
}

static int found(struct kmqtt_walk *walk, struct kmqtt_node *node)
{
	int i;

	for (i = 0; i < FILTERS; i++)
		if (filters[i].node == node)
			filters[i].hits++;
	return 0;
}

static struct kmqtt_walk walk = { .found = found };

static void unsubscribe(struct kmqtt_trie *trie, int at)
{
	if (!filters[at].node)
		return;
	kmqtt_trie_put(trie, filters[at].node);
	filters[at].node = NULL;
}

static void subscribe(struct kmqtt_trie *trie, int at, const char *text)
{
	unsubscribe(trie, at);
	if (kmqtt_topic_filter_check((const u8 *)text, strlen(text)))
		return;
	strcpy(filters[at].text, text);
	filters[at].node = kmqtt_trie_get(trie, (const u8 *)text, strlen(text));
	if (!filters[at].node)
		abort();
	filters[at].node->leaves = (void *)16;
}

static void publish(struct kmqtt_trie *trie, const char *text)
{
	int i;

	if (kmqtt_topic_name_check((const u8 *)text, strlen(text)))
		return;
	for (i = 0; i < FILTERS; i++)
		filters[i].hits = 0;
	if (kmqtt_trie_match(trie, (const u8 *)text, strlen(text), &walk))
		abort();
	for (i = 0; i < FILTERS; i++)
		if (filters[i].node &&
		    filters[i].hits != reference_match(filters[i].text, text))
			abort();
}

/* A header gives the same result whole and byte by byte. */
static void frame(const u8 *data, size_t len, u8 level)
{
	struct kmqtt_frame whole = {}, bytes = {};
	enum kmqtt_end a, b = KMQTT_END_NONE;
	size_t used, i = 0;

	if (!len)
		return;
	a = kmqtt_frame_feed(&whole, data, len, level, &used);
	if (used > len || used > KMQTT_HEADER_MAX)
		abort();
	while (i < len && !b && !bytes.done) {
		size_t one;

		b = kmqtt_frame_feed(&bytes, data + i, 1, level, &one);
		i += one;
	}
	if (a != b || i != used || memcmp(&whole, &bytes, sizeof(whole)))
		abort();
}

/* The variable header of a PUBLISH lies within it, in order; and it is found by
 * steps as well.
 */
static void head(const u8 *data, size_t len, u8 level)
{
	u8 packet[1 + TEXT] = { KMQTT_PUBLISH << 4 };
	u32 want, have = 0;
	struct kmqtt_head head;

	if (!len)
		return;
	packet[0] |= data[0] & KMQTT_FLAG_QOS;
	memcpy(packet + 1, data + 1, len - 1);
	if (kmqtt_head_parse(&head, packet, 1, len, level))
		return;
	if (head.topic + head.topic_len > head.properties ||
	    head.properties + head.property_bytes > head.payload ||
	    head.payload > len || (level < 5 && head.property_bytes) ||
	    (head.expiry && head.expiry + 4 > head.payload) ||
	    (head.alias && head.alias + KMQTT_ALIAS_SIZE > head.payload))
		abort();
	if (level < 5)
		return;
	while ((want = kmqtt_head_want(packet + 1, have,
				       packet[0] & KMQTT_FLAG_QOS)) != have) {
		if (want < have || want > len - 1)
			abort();
		have = want;
	}
	if (have != head.payload - 1)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len);

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	struct kmqtt_trie trie;
	int i;

	if (kmqtt_trie_init(&trie))
		abort();
	while (len >= 2) {
		size_t n = data[1] % (TEXT + 1);
		char text[TEXT + 1];
		u8 op = data[0];

		data += 2;
		len -= 2;
		n = n < len ? n : len;
		memcpy(text, data, n);
		text[n] = 0;
		utf8(data, n);
		switch (op & 3) {
		case 0:
			subscribe(&trie, op >> 4, text);
			break;
		case 1:
			unsubscribe(&trie, op >> 4);
			break;
		case 2:
			publish(&trie, text);
			break;
		case 3:
			frame(data, n, 3 + (op >> 4) % 3);
			head(data, n, 3 + (op >> 4) % 3);
			break;
		}
		data += n;
		len -= n;
	}
	for (i = 0; i < FILTERS; i++)
		unsubscribe(&trie, i);
	if (trie.nodes)
		abort();
	kmqtt_trie_destroy(&trie);
	return 0;
}
