// SPDX-License-Identifier: GPL-2.0
/*
 * Shapes: whatever filters there may be, no topic exceeds the budget of a match;
 * ordinary ones always may be; and nothing is left of those that have gone.
 */
#include <string.h>

#include "ktap.h"
#include "shape.h"
#include "topic.h"
#include "trie.h"

#define FILTERS		3000
#define TEXT_MAX	(2 * KMQTT_LEVELS_MAX + 4)

static struct kmqtt_trie trie;

/* Filters that may be, and those of a session that has taken all it could. */
static struct {
	char text[FILTERS][TEXT_MAX];
	struct kmqtt_node *node[FILTERS];
	u32 count;
} have;

/* @levels of "a", "b" and, of 8, @plus of "+". */
static void random_filter(char *text, u32 levels, u32 plus)
{
	u32 i;

	for (i = 0; i < levels; i++) {
		*text++ = (u32)rand() % 8 < plus ? '+' : "ab"[!(rand() % 8)];
		*text++ = '/';
	}
	strcpy(text - 1, rand() % 4 ? "" : "/#");
}

/* Subscribes if that may be, for a session of so many subscriptions. */
static bool take(const char *text, u32 subscriptions)
{
	size_t len = strlen(text);
	struct shape shape, again;

	shape_of(&shape, (const u8 *)text, len);
	if (have.count == FILTERS || !shape_may(&shape, subscriptions))
		return false;
	strcpy(have.text[have.count], text);
	have.node[have.count] = kmqtt_trie_get(&trie, (const u8 *)text, len);
	shape_of_node(&again, have.node[have.count]);
	if (again.deep != shape.deep || again.levels != shape.levels ||
	    memcmp(again.plus, shape.plus, shape.levels))
		return false;
	have.count++;
	return !shape_get(&shape);
}

static void drop_all(void)
{
	struct shape shape;

	while (have.count) {
		have.count--;
		shape_of_node(&shape, have.node[have.count]);
		shape_put(&shape);
		kmqtt_trie_put(&trie, have.node[have.count]);
	}
}

static int found(struct kmqtt_walk *walk, struct kmqtt_node *node)
{
	(void)walk;
	(void)node;
	return 0;
}

/* Nodes that a match of so many levels visits; over the budget: all of it. */
static u32 visits(u32 levels, bool random)
{
	static struct kmqtt_walk walk = { .found = found };
	char topic[TEXT_MAX];
	u32 i;

	for (i = 0; i < levels; i++) {
		topic[2 * i] = "ab"[random && !(rand() % 8)];
		topic[2 * i + 1] = '/';
	}
	if (kmqtt_trie_match(&trie, (const u8 *)topic, 2 * levels - 1, &walk))
		return KMQTT_TRIE_BUDGET;
	return KMQTT_TRIE_BUDGET - walk.budget;
}

/* By one session, or by any number of sessions with a filter each. */
static void bomb(u32 levels, bool many)
{
	u32 i, now, most = visits(levels, false);
	char text[TEXT_MAX];

	for (i = 0; i < FILTERS; i++) {
		random_filter(text, levels, 1 + rand() % 7);
		take(text, many ? 0 : have.count);
	}
	for (i = 0; i < 1000; i++) {
		now = visits(levels, i);
		most = now > most ? now : most;
	}
	printf("# %u levels, %s: %u filters, at most %u nodes\n", levels,
	       many ? "many sessions" : "one session", have.count, most);
	EXPECT(most < KMQTT_TRIE_BUDGET, "%u nodes", most);
	drop_all();
}

static void any_bomb(void)
{
	static const u32 depths[] = { 9, 10, 12, 16, 30, 200 };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(depths); i++) {
		bomb(depths[i], false);
		bomb(depths[i], true);
	}
}

/* All "+" and "a" of @levels, as far as they may be. */
static u32 take_permutations(u32 levels, bool many)
{
	char text[TEXT_MAX];
	u32 i, at, taken = 0;

	for (i = 0; i < 1U << levels; i++) {
		for (at = 0; at < levels; at++) {
			text[2 * at] = i >> at & 1 ? '+' : 'a';
			text[2 * at + 1] = '/';
		}
		text[2 * levels - 1] = '\0';
		taken += take(text, many ? 0 : have.count);
	}
	return taken;
}

static void permutations(void)
{
	u32 i, taken;

	for (i = 1; i <= SHAPE_SHALLOW; i++)
		EXPECT(take_permutations(i, false) == 1U << i, "%u filters", have.count);
	taken = take_permutations(12, true);
	EXPECT(taken && taken < 1 << 12, "%u filters", have.count);
	EXPECT(visits(12, false) < KMQTT_TRIE_BUDGET, "%u filters", have.count);
	drop_all();
}

/* With everything taken, what is ordinary, or of a shape that is there. */
static void others(void)
{
	char text[TEXT_MAX], shape[TEXT_MAX];
	u32 i;

	take_permutations(12, true);
	strcpy(shape, have.text[have.count - 1]);
	EXPECT(!take("+/x/x/x/x/x/x/x/+/x/x/+/+/x/x/x", 0), "%u filters", have.count);
	for (i = 0; i < 100; i++) {
		random_filter(text, 200, 0);
		EXPECT(take(text, 1000000), "%u filters", have.count);
		random_filter(text, SHAPE_SHALLOW, 4);
		EXPECT(take(text, 1000000), "%u filters", have.count);
	}
	for (i = 0; shape[i]; i++)
		if (shape[i] == 'a')
			shape[i] = 'c';
	EXPECT(take(shape, 1000000), "%u filters", have.count);
	drop_all();
}

/* A session that has taken much leaves some for those who have not. */
static void reserve(void)
{
	static const char other[] = "x/x/x/x/x/x/x/x/x/+/x/+/x/x/x/x/x";

	take_permutations(12, false);
	EXPECT(!take(other, SHAPE_FEW), "%u filters", have.count);
	EXPECT(take(other, SHAPE_FEW - 1), "%u filters", have.count);
	drop_all();
	EXPECT(take(other, 1000000), "%u filters", have.count);
	drop_all();
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "permutations", permutations },
		{ "any_bomb", any_bomb },
		{ "others", others },
		{ "reserve", reserve },
	};

	if (kmqtt_trie_init(&trie))
		return EXIT_FAILURE;
	return ktap_run(tests, ARRAY_SIZE(tests));
}
