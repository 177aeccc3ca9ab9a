// SPDX-License-Identifier: GPL-2.0
/*
 * Retained messages: against a plain list of topics that a plain matcher goes
 * through, and what it costs with many of them.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../../selftests/unit/match.h"
#include "ktap.h"
#include "message.h"
#include "retained.h"

#define TOPICS		400
#define TOPIC_MAX	64

/* What must be retained; "" for none. */
static struct {
	char topic[TOPIC_MAX];
	u32 payload;
	bool seen;
} model[TOPICS];

static u32 random_below(u32 limit)
{
	return (u32)rand() % limit;
}

/* Few different levels, so that topics share them; some are empty. */
static void random_text(char *text, bool filter)
{
	static const char *const levels[] = { "", "a", "b", "$", "$SYS", "ab" };
	u32 depth = 1 + random_below(5), i;

	*text = '\0';
	for (i = 0; i < depth; i++) {
		if (i)
			strcat(text, "/");
		if (filter && i == depth - 1 && !random_below(3))
			strcat(text, "#");
		else if (filter && !random_below(3))
			strcat(text, "+");
		else
			strcat(text, levels[random_below(ARRAY_SIZE(levels))]);
	}
	if (!*text)
		strcpy(text, "/");
}

static int set(const char *topic, const void *payload, u32 len)
{
	struct message *message;
	int err;

	message = message_new(topic, strlen(topic), payload, len, 0);
	err = retained_set(message);
	message_put(message);
	return err;
}

static u32 model_find(const char *topic)
{
	u32 i;

	for (i = 0; i < TOPICS; i++)
		if (!strcmp(model[i].topic, topic))
			break;
	return i;
}

static int check_found(struct message *message, void *arg)
{
	char topic[TOPIC_MAX];
	u32 i;

	(void)arg;
	memcpy(topic, message->data, message->topic_len);
	topic[message->topic_len] = '\0';
	i = model_find(topic);
	EXPECT(i < TOPICS, "%s is not retained", topic);
	if (i == TOPICS)
		return 0;
	EXPECT(!model[i].seen, "%s twice", topic);
	model[i].seen = true;
	EXPECT(message->payload_len == sizeof(model[i].payload) &&
	       !memcmp(message_payload(message), &model[i].payload,
		       sizeof(model[i].payload)), "%s: another payload", topic);
	return 0;
}

/* What a walk must find. */
static struct {
	const char *topic;
	u32 payload;
	bool seen;
} snapshot[TOPICS];

static int check_snapshot(struct message *message, void *arg)
{
	u32 i;

	(void)arg;
	for (i = 0; i < TOPICS; i++)
		if (strlen(snapshot[i].topic) == message->topic_len &&
		    !memcmp(snapshot[i].topic, message->data,
			    message->topic_len))
			break;
	EXPECT(i < TOPICS, "%.*s was not there", message->topic_len,
	       message->data);
	if (i == TOPICS)
		return 0;
	EXPECT(!snapshot[i].seen, "%s twice", snapshot[i].topic);
	snapshot[i].seen = true;
	EXPECT(!memcmp(message_payload(message), &snapshot[i].payload,
		       sizeof(u32)), "%s: another payload", snapshot[i].topic);
	return 0;
}

static void compare(const char *filter)
{
	bool expected;
	u32 i;

	for (i = 0; i < TOPICS; i++)
		model[i].seen = false;
	EXPECT(!retained_match(filter, strlen(filter), check_found, NULL), "%s",
	       filter);
	for (i = 0; i < TOPICS; i++) {
		expected = model[i].topic[0] &&
			   reference_match(filter, model[i].topic);
		EXPECT(model[i].seen == expected, "%s %s %s", filter,
		       expected ? "misses" : "finds", model[i].topic);
	}
}

static void change(u32 step)
{
	char topic[TOPIC_MAX];
	u32 i;

	random_text(topic, false);
	i = model_find(topic);
	if (i < TOPICS && random_below(2)) {
		EXPECT(!set(topic, NULL, 0), "%s", topic);
		model[i].topic[0] = '\0';
		return;
	}
	if (i == TOPICS)
		i = model_find("");
	if (i == TOPICS) {
		EXPECT(!set(topic, NULL, 0), "%s: there was none", topic);
		return;
	}
	strcpy(model[i].topic, topic);
	model[i].payload = step;
	EXPECT(!set(topic, &step, sizeof(step)), "%s", topic);
}

static void test_model(void)
{
	char filter[TOPIC_MAX];
	u32 step, i, count;

	srand(1);
	for (step = 0; step < 20000; step++) {
		change(step);
		for (i = 0, count = 0; i < TOPICS; i++)
			count += !!model[i].topic[0];
		EXPECT(retained_count() == count, "%u: %u, %u", step, count,
		       retained_count());
		EXPECT(retained_bytes() == count * sizeof(u32), "%u", step);
		random_text(filter, true);
		compare(filter);
	}
	EXPECT(count > 100, "only %u at the end", count);
	for (i = 0; i < TOPICS; i++)
		if (model[i].topic[0])
			set(model[i].topic, NULL, 0);
	memset(model, 0, sizeof(model));
	EXPECT(!retained_count() && !retained_bytes(), "%u", retained_count());
	compare("#");
}

/* A table of what section 4.7 itself says, in case the model is wrong, too. */
static void test_standard(void)
{
	static const struct {
		const char *topic;
		const char *filter;
		bool matches;
	} cases[] = {
		{ "sport", "sport/#", true }, { "sport/a/b", "sport/#", true },
		{ "sport", "sport/+", false }, { "sport/", "sport/+", true },
		{ "/finance", "+/+", true }, { "/finance", "/+", true },
		{ "/finance", "+", false }, { "$SYS/a", "#", false },
		{ "$SYS/a", "+/a", false }, { "$SYS/a", "$SYS/#", true },
		{ "$SYS/a", "$SYS/+", true }, { "a/$b", "a/+", true },
		{ "a/$b", "#", true }, { "$", "+", false }, { "$", "$", true },
		{ "a", "A", false }, { "/", "+/+", true }, { "/", "#", true },
		{ "a//b", "a/+/b", true }, { "a//b", "a//b", true },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		strcpy(model[0].topic, cases[i].topic);
		EXPECT(!set(cases[i].topic, &model[0].payload, sizeof(u32)),
		       "%zu", i);
		compare(cases[i].filter);
		EXPECT(model[0].seen == cases[i].matches, "%s and %s",
		       cases[i].topic, cases[i].filter);
		retained_clear();
		EXPECT(!retained_count() && !retained_bytes(), "cleared");
	}
	memset(model, 0, sizeof(model));
}

static int count_found(struct message *message, void *arg)
{
	u32 *left = arg;

	(void)message;
	return --*left ? 0 : -E2BIG;
}

static u32 found_of(const char *filter)
{
	u32 left = UINT32_MAX;

	EXPECT(!retained_match(filter, strlen(filter), count_found, &left),
	       "%s", filter);
	return UINT32_MAX - left;
}

static void test_stops(void)
{
	u32 left = 2;

	set("a", "x", 1);
	set("b", "x", 1);
	set("c/d", "x", 1);
	EXPECT(found_of("#") == 3, "all");
	EXPECT(retained_match("#", 1, count_found, &left) == -E2BIG, "two");
	EXPECT(!left, "%u", left);
	retained_clear();
}

/* References: what is retained holds one, and what it replaces loses it. */
static void test_references(void)
{
	struct message *one = message_new("t", 1, "1", 1, 1);
	struct message *two = message_new("t", 1, "22", 2, 1);

	retained_set(one);
	EXPECT(one->refs == 2, "%u", one->refs);
	EXPECT(retained_bytes() == 1, "%llu", retained_bytes());
	retained_set(one);
	EXPECT(one->refs == 2, "%u", one->refs);
	retained_set(two);
	EXPECT(one->refs == 1 && two->refs == 2, "%u %u", one->refs, two->refs);
	EXPECT(retained_bytes() == 2, "%llu", retained_bytes());
	retained_clear();
	EXPECT(two->refs == 1, "%u", two->refs);
	message_put(one);
	message_put(two);
}

static void test_deep(void)
{
	static char topic[2 * 200], filter[2 * 200];
	unsigned int i, depth;

	/* 200 levels, alone and beside 199 shorter ones. */
	for (depth = 200; depth; depth--) {
		for (i = 0; i < depth; i++)
			memcpy(topic + 2 * i, "x/", 2);
		topic[2 * depth - 1] = '\0';
		EXPECT(!set(topic, "p", 1), "%u", depth);
		EXPECT(found_of("#") == 201 - depth, "%u", depth);
		EXPECT(found_of(topic) == 1, "%u", depth);
	}
	for (i = 0; i < 200; i++)
		memcpy(filter + 2 * i, "+/", 2);
	filter[399] = '\0';
	EXPECT(found_of(filter) == 1, "200 wildcards");
	filter[398] = '#';
	EXPECT(found_of(filter) == 2, "199 wildcards and #");
	retained_clear();
}

static void test_longest_topic(void)
{
	static char topic[65536];

	memset(topic, 'x', 65535);
	EXPECT(!set(topic, "p", 1), "set");
	EXPECT(found_of(topic) == 1, "found");
	topic[65534] = '\0';
	EXPECT(!found_of(topic), "one less");
	retained_clear();
}

/* What is retained when a walk begins is what it finds, each once. */
static void expect_snapshot(const char *filter, u32 slice, u32 changes)
{
	static u32 step;
	char was[TOPICS][TOPIC_MAX];
	u32 i;

	for (i = 0; i < TOPICS; i++) {
		strcpy(was[i], model[i].topic);
		snapshot[i].payload = model[i].payload;
		snapshot[i].topic = was[i];
		snapshot[i].seen = false;
	}
	retained_walk_begin(filter, strlen(filter), check_snapshot, NULL);
	do {
		for (i = 0; i < changes; i++)
			change(step++);
	} while (retained_walk_go_on(slice));
	retained_walk_end();
	for (i = 0; i < TOPICS; i++)
		EXPECT(snapshot[i].seen ==
		       (was[i][0] && reference_match(filter, was[i])),
		       "%s: %s seen %u", filter, was[i], snapshot[i].seen);
}

static void test_walk(void)
{
	char filter[TOPIC_MAX];
	u32 left = UINT32_MAX, step, i;

	for (step = 0; step < 3 * TOPICS; step++)
		change(step);
	for (step = 0; step < 5000; step++) {
		random_text(filter, true);
		expect_snapshot(step % 3 ? filter : "#", 1 + random_below(40),
				random_below(20));
	}
	/* Of all that is removed meanwhile, nothing stays. */
	retained_walk_begin("#", 1, count_found, &left);
	EXPECT(retained_walk_go_on(20), "it has ended");
	for (i = 0; i < TOPICS; i++)
		if (model[i].topic[0])
			set(model[i].topic, NULL, 0);
	memset(model, 0, sizeof(model));
	retained_walk_end();
	EXPECT(!retained_count() && !retained_bytes(), "%u", retained_count());
	EXPECT(retained_cost("#", 1) == 1, "%u nodes are left",
	       retained_cost("#", 1) - 1);
	EXPECT(retained_reach("#", 1, 10) == 1, "the root");
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static void set_many(u32 count, const void *payload, u32 len)
{
	char topic[TOPIC_MAX];
	u32 i;

	for (i = 0; i < count; i++) {
		snprintf(topic, sizeof(topic), "site%u/device%u/temperature",
			 i % 100, i / 100);
		if (set(topic, payload, len))
			EXPECT(false, "%s", topic);
	}
}

/* Nanoseconds for one of @count topics, and for what two of them match. */
static void measure(u32 count, double *set_cost, double *match_cost)
{
	double begin = seconds();
	u32 i;

	set_many(count, "x", 1);
	set_many(count, "y", 1);
	*set_cost = (seconds() - begin) * 1e9 / (2.0 * count);
	EXPECT(retained_count() == count, "%u", retained_count());

	begin = seconds();
	for (i = 0; i < 100; i++)
		EXPECT(found_of("+/device7/temperature") == 100, "%u", i);
	*match_cost = (seconds() - begin) * 1e9 / (100 * 100);
	EXPECT(found_of("site99/#") == count / 100, "one site");
	EXPECT(found_of("#") == count, "all");

	set_many(count, NULL, 0);
	EXPECT(!retained_count(), "%u", retained_count());
}

/* 80 times as many must not cost much more each. */
static void test_many(void)
{
	double set_few, match_few, set_lots, match_lots;

	measure(12500, &set_few, &match_few);
	measure(1000000, &set_lots, &match_lots);
	printf("# set: %.0f ns of 12,500, %.0f ns of 1,000,000\n", set_few,
	       set_lots);
	printf("# match, each found: %.0f ns, %.0f ns\n", match_few,
	       match_lots);
	EXPECT(set_lots < 20 * set_few, "%.0f, %.0f", set_few, set_lots);
	EXPECT(match_lots < 20 * match_few, "%.0f, %.0f", match_few,
	       match_lots);
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "model", test_model },
		{ "standard", test_standard },
		{ "stops", test_stops },
		{ "references", test_references },
		{ "walk", test_walk },
		{ "deep", test_deep },
		{ "longest_topic", test_longest_topic },
		{ "many", test_many },
	};

	return ktap_run(tests, ARRAY_SIZE(tests));
}
