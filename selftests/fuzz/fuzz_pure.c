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
#include "topic.h"
#include "trie.h"

enum { FILTERS = 16, TEXT = 64 };

static struct {
	char text[TEXT + 1];
	struct kmqtt_node *node;
	long hits;
} filters[FILTERS];

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
		kmqtt_utf8_check(data, n);
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
