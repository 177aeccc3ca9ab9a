// SPDX-License-Identifier: GPL-2.0
/* The topic trie against a plain list of filters. */
#include <stdlib.h>
#include <string.h>

#include "ktap.h"
#include "match.h"
#include "topic.h"
#include "trie.h"

/* A found node is counted in its own leaves pointer. */
static int count(struct kmqtt_walk *walk, struct kmqtt_node *node)
{
	node->leaves = (void *)((char *)node->leaves + 1);
	return 0;
}

static struct kmqtt_walk walk = { .found = count };

/* A node without leaves is passed over: mark it. */
static struct kmqtt_node *get(struct kmqtt_trie *trie, const char *filter)
{
	struct kmqtt_node *node;

	node = kmqtt_trie_get(trie, (const u8 *)filter, strlen(filter));
	if (node)
		node->leaves = (void *)16;
	return node;
}

static long hits(struct kmqtt_node *node)
{
	long n = (char *)node->leaves - (char *)16;

	node->leaves = (void *)16;
	return n;
}

static int match(struct kmqtt_trie *trie, const char *topic)
{
	return kmqtt_trie_match(trie, (const u8 *)topic, strlen(topic), &walk);
}

static bool specification(void)
{
	/* Sections 4.7.1 to 4.7.3, examples and what follows from them. */
	static const struct {
		const char *filter;
		const char *topic;
		bool matches;
	} cases[] = {
		{ "sport/tennis/player1/#", "sport/tennis/player1", true },
		{ "sport/tennis/player1/#", "sport/tennis/player1/ranking",
		  true },
		{ "sport/tennis/player1/#",
		  "sport/tennis/player1/score/wimbledon", true },
		{ "sport/#", "sport", true }, { "#", "sport", true },
		{ "#", "/", true }, { "#", "a/b/c", true },
		{ "sport/tennis/+", "sport/tennis/player1", true },
		{ "sport/tennis/+", "sport/tennis/player1/ranking", false },
		{ "sport/+", "sport", false }, { "sport/+", "sport/", true },
		{ "+", "sport", true }, { "+/tennis/#", "a/tennis/b/c", true },
		{ "+/tennis/#", "a/tennis", true },
		{ "+/+", "/finance", true }, { "/+", "/finance", true },
		{ "+", "/finance", false }, { "#", "$SYS/x", false },
		{ "+/monitor/Clients", "$SYS/monitor/Clients", false },
		{ "$SYS/#", "$SYS/", true }, { "$SYS/#", "$SYS", true },
		{ "$SYS/monitor/+", "$SYS/monitor/Clients", true },
		{ "ACCOUNTS", "Accounts", false }, { "a", "a/", false },
		{ "a/", "a", false }, { "/a", "a", false }, { "a//b", "a/b",
		  false }, { "a//b", "a//b", true }, { "a/+/b", "a//b", true },
		{ "+/$x", "a/$x", true }, { "a/#", "a/$x", true },
		{ "/#", "/", true }, { "/#", "a", false }, { "+/#", "a", true },
		{ "+/+/#", "a", false },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct kmqtt_trie trie;
		struct kmqtt_node *node;

		CHECK(reference_match(cases[i].filter, cases[i].topic) ==
		      cases[i].matches);
		CHECK(!kmqtt_trie_init(&trie));
		node = get(&trie, cases[i].filter);
		CHECK(node);
		CHECK(!match(&trie, cases[i].topic));
		CHECK(hits(node) == cases[i].matches);
		kmqtt_trie_put(&trie, node);
		CHECK(!trie.nodes);
		kmqtt_trie_destroy(&trie);
	}
	return true;
}

/* Few segments, so that filters share levels and topics match. */
static void random_levels(char *s, bool wildcards)
{
	static const char * const segs[] = { "a", "b", "", "ab", "$x", "+" };
	int levels = 1 + random() % 6, i;

	*s = 0;
	for (i = 0; i < levels; i++) {
		if (i)
			strcat(s, "/");
		if (wildcards && i == levels - 1 && !(random() % 4))
			strcat(s, "#");
		else
			strcat(s, segs[random() % (wildcards ? 6 : 5)]);
	}
	if (!*s)
		strcpy(s, "a");
}

static bool randomly(void)
{
	enum { NR = 300, ROUNDS = 20000 };
	static struct {
		char filter[32];
		struct kmqtt_node *node;
	} list[NR];
	struct kmqtt_trie trie;
	int round, i;

	srandom(2);
	CHECK(!kmqtt_trie_init(&trie));
	for (round = 0; round < ROUNDS; round++) {
		char topic[32];
		int at = random() % NR;

		if (list[at].node) {
			kmqtt_trie_put(&trie, list[at].node);
			list[at].node = NULL;
		} else {
			char text[32] = "";

			random_levels(list[at].filter, true);
			list[at].node = get(&trie, list[at].filter);
			CHECK(list[at].node);
			CHECK(kmqtt_trie_filter_len(list[at].node) ==
			      strlen(list[at].filter));
			kmqtt_trie_filter(list[at].node, (u8 *)text,
					  strlen(list[at].filter));
			CHECK(!strcmp(text, list[at].filter));
		}

		random_levels(topic, false);
		CHECK(!match(&trie, topic));
		for (i = 0; i < NR; i++) {
			long expect, n;

			if (!list[i].node)
				continue;
			expect = reference_match(list[i].filter, topic);
			n = (char *)list[i].node->leaves - (char *)16;
			if (n != expect) {
				printf("# '%s' on '%s': %ld, not %ld\n",
				       list[i].filter, topic, n, expect);
				return false;
			}
		}
		for (i = 0; i < NR; i++)
			if (list[i].node)
				hits(list[i].node);
	}
	for (i = 0; i < NR; i++)
		if (list[i].node)
			kmqtt_trie_put(&trie, list[i].node);
	CHECK(!trie.nodes);
	kmqtt_trie_destroy(&trie);
	return true;
}

/* {+,x}/{+,x}/...: every filter of 14 levels, 2^14 leaves for one topic. */
static bool bomb(void)
{
	enum { LEVELS = 14 };
	static struct kmqtt_node *nodes[1 << LEVELS];
	char filter[2 * LEVELS], topic[2 * LEVELS];
	struct kmqtt_trie trie;
	int i, level;

	CHECK(!kmqtt_trie_init(&trie));
	for (i = 0; i < 1 << LEVELS; i++) {
		for (level = 0; level < LEVELS; level++) {
			filter[2 * level] = i >> level & 1 ? '+' : 'x';
			filter[2 * level + 1] = '/';
			topic[2 * level] = 'x';
			topic[2 * level + 1] = '/';
		}
		filter[2 * LEVELS - 1] = 0;
		topic[2 * LEVELS - 1] = 0;
		nodes[i] = get(&trie, filter);
		CHECK(nodes[i]);
	}
	CHECK(match(&trie, topic) == -E2BIG);
	CHECK(!match(&trie, "x/y"));
	for (i = 0; i < 1 << LEVELS; i++) {
		hits(nodes[i]);
		kmqtt_trie_put(&trie, nodes[i]);
	}
	CHECK(!trie.nodes);
	kmqtt_trie_destroy(&trie);
	return true;
}

/* As deep as it may be, with a branch at every level. */
static bool deep(void)
{
	struct kmqtt_node *nodes[KMQTT_LEVELS_MAX];
	char filter[2 * KMQTT_LEVELS_MAX], topic[2 * KMQTT_LEVELS_MAX];
	struct kmqtt_trie trie;
	int i, level;

	CHECK(!kmqtt_trie_init(&trie));
	for (level = 0; level < KMQTT_LEVELS_MAX; level++) {
		topic[2 * level] = 'x';
		topic[2 * level + 1] = '/';
	}
	topic[2 * KMQTT_LEVELS_MAX - 1] = 0;
	for (i = 0; i < KMQTT_LEVELS_MAX; i++) {
		memcpy(filter, topic, sizeof(topic));
		filter[2 * i] = '+';
		nodes[i] = get(&trie, filter);
		CHECK(nodes[i]);
	}
	/* 200 branches of up to 200 nodes: over the budget. */
	CHECK(match(&trie, topic) == -E2BIG);
	for (i = 0; i < KMQTT_LEVELS_MAX; i++) {
		hits(nodes[i]);
		kmqtt_trie_put(&trie, nodes[i]);
	}
	kmqtt_trie_destroy(&trie);
	return true;
}

static bool a_million(void)
{
	enum { NR = 1000000 };
	static struct kmqtt_node *nodes[NR];
	struct kmqtt_trie trie;
	char filter[40];
	int i;

	CHECK(!kmqtt_trie_init(&trie));
	for (i = 0; i < NR; i++) {
		snprintf(filter, sizeof(filter), "fleet/%d/%s", i,
			 i % 3 ? i % 3 == 1 ? "+" : "#" : "state");
		nodes[i] = get(&trie, filter);
		CHECK(nodes[i]);
	}
	for (i = 0; i < NR; i += 997) {
		snprintf(filter, sizeof(filter), "fleet/%d/state", i);
		CHECK(!match(&trie, filter));
		CHECK(hits(nodes[i]) == 1);
	}
	for (i = 0; i < NR; i++)
		kmqtt_trie_put(&trie, nodes[i]);
	CHECK(!trie.nodes);
	kmqtt_trie_destroy(&trie);
	return true;
}

static const struct ktap_test tests[] = {
	{ "the examples of the specification", specification },
	{ "random filters and topics, against a list", randomly },
	{ "a wildcard bomb exceeds the budget", bomb },
	{ "200 levels", deep },
	{ "a million filters", a_million },
};

int main(void)
{
	return ktap_run(tests, sizeof(tests) / sizeof(*tests));
}
