// SPDX-License-Identifier: GPL-2.0
/* Rule sets, also against an implementation by other means. */
#include <stdlib.h>
#include <string.h>

#include <linux/errno.h>

#include "ktap.h"
#include "rules.h"

#include <linux/kmqtt.h>

enum { R = KMQTT_ACCESS_READ, W = KMQTT_ACCESS_WRITE, RW = R | W };
enum { DENY = KMQTT_RULE_DENY, PATTERN = KMQTT_RULE_PATTERN };

/* A rule as the tests write it, up to one without a filter. */
struct line {
	const char *filter;
	u8 access;
	u8 flags;
};

static struct kmqtt_rules *rules_of(const struct line *lines)
{
	struct kmqtt_rules *rules = kmqtt_rules_alloc();

	for (; lines->filter; lines++)
		if (kmqtt_rules_add(rules, (const u8 *)lines->filter,
				    strlen(lines->filter), lines->access,
				    lines->flags))
			abort();
	return rules;
}

static struct kmqtt_who who_of(const char *client_id, const char *user)
{
	struct kmqtt_who who;

	kmqtt_who_init(&who, (const u8 *)client_id, strlen(client_id),
		       (const u8 *)user, user ? strlen(user) : 0);
	return who;
}

static bool may(const struct line *lines, const char *client_id,
		const char *user, const char *topic, u8 access)
{
	struct kmqtt_rules *rules = rules_of(lines);
	struct kmqtt_who who = who_of(client_id, user);
	bool result;

	result = kmqtt_rules_may(rules, &who, (const u8 *)topic, strlen(topic),
				 access);
	kmqtt_rules_free(rules);
	return result;
}

static bool covers(const struct line *lines, const char *filter)
{
	struct kmqtt_rules *rules = rules_of(lines);
	struct kmqtt_who who = who_of("c", "u");
	bool result;

	result = kmqtt_rules_cover(rules, &who, (const u8 *)filter,
				   strlen(filter));
	kmqtt_rules_free(rules);
	return result;
}

static bool order(void)
{
	static const struct line lines[] = {
		{ "a/b/#", RW, DENY }, { "a/c", R, 0 }, { "a/#", W, 0 }, { 0 }
	};
	static const struct line none[] = { { 0 } };

	CHECK(may(lines, "c", NULL, "a/1", W));
	CHECK(!may(lines, "c", NULL, "a/1", R));
	CHECK(!may(lines, "c", NULL, "a/b", W));
	CHECK(!may(lines, "c", NULL, "a/b/c", W));
	CHECK(may(lines, "c", NULL, "a/c", R));
	CHECK(may(lines, "c", NULL, "a/c", W));
	CHECK(may(lines, "c", NULL, "a", W));
	CHECK(!may(lines, "c", NULL, "ab", W));
	CHECK(!may(none, "c", NULL, "a", R));
	return true;
}

/* As Debian's mosquitto 2.0.11 was seen to do it. */
static bool placeholders(void)
{
	static const struct line lines[] = {
		{ "literal/%c", RW, 0 }, { "dev-%c/#", RW, PATTERN },
		{ "%c", RW, PATTERN }, { "a/%u/b", RW, PATTERN },
		{ "w%uz/%c/%c", RW, PATTERN }, { 0 }
	};

	CHECK(may(lines, "x", NULL, "dev-x/1", W));
	CHECK(may(lines, "x", NULL, "dev-x", W));
	CHECK(!may(lines, "x", NULL, "dev-%c/1", W));
	CHECK(may(lines, "x", NULL, "x", W));
	CHECK(!may(lines, "x", NULL, "%c", W));
	CHECK(may(lines, "x", "u", "a/u/b", W));
	CHECK(!may(lines, "x", NULL, "a//b", W));
	CHECK(!may(lines, "x", "", "a//b", W));
	CHECK(!may(lines, "x", NULL, "a/%u/b", W));
	CHECK(may(lines, "x", "u", "wuz/x/x", W));
	CHECK(may(lines, "x/y", "u", "wuz/x/y/x/y", W));
	CHECK(may(lines, "$x", NULL, "$x", W));
	CHECK(!may(lines, "x", NULL, "literal/x", W));
	CHECK(may(lines, "x", NULL, "literal/%c", W));
	return true;
}

static bool dangerous_names(void)
{
	static const struct line lines[] = {
		{ "a/#", RW, 0 }, { "b/#", RW, PATTERN }, { 0 }
	};
	static const char * const names[] = { "+", "#", "x+", "#x", "a/#" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		CHECK(may(lines, names[i], NULL, "a/1", R));
		CHECK(!may(lines, names[i], NULL, "b/1", R));
		CHECK(!may(lines, "x", names[i], "b/1", R));
	}
	CHECK(may(lines, "x/y", "u/v", "b/1", R));
	return true;
}

static bool dollar(void)
{
	static const struct line lines[] = {
		{ "$q/#", RW, 0 }, { "#", RW, 0 }, { "+/x", RW, 0 }, { 0 }
	};

	CHECK(may(lines, "c", NULL, "$q/x", R));
	CHECK(!may(lines, "c", NULL, "$r/x", R));
	CHECK(may(lines, "c", NULL, "r/x", R));
	return true;
}

static bool whole_filters(void)
{
	static const struct line all[] = { { "#", R, 0 }, { 0 } };
	static const struct line some[] = {
		{ "d/+/e", R, DENY }, { "w", W, DENY }, { "a/#", R, 0 },
		{ "b/+/c", R, 0 }, { "d/#", R, 0 }, { "w", R, 0 },
		{ "p/%c/#", R, PATTERN }, { 0 }
	};

	CHECK(covers(all, "#"));
	CHECK(covers(all, "+/+"));
	CHECK(covers(all, "a"));
	CHECK(!covers(all, "$SYS/#"));
	CHECK(covers(some, "a"));
	CHECK(covers(some, "a/#"));
	CHECK(covers(some, "a/+/b"));
	CHECK(!covers(some, "+"));
	CHECK(!covers(some, "#"));
	CHECK(covers(some, "b/x/c"));
	CHECK(covers(some, "b/+/c"));
	CHECK(!covers(some, "b/#"));
	CHECK(!covers(some, "b/+/c/#"));
	CHECK(!covers(some, "d/#"));
	CHECK(!covers(some, "d/f/+"));
	CHECK(covers(some, "d/f/g"));
	CHECK(covers(some, "d/f/e/g"));
	CHECK(!covers(some, "d/f/e/#"));
	CHECK(covers(some, "w"));
	CHECK(covers(some, "p/c/#"));
	CHECK(covers(some, "p/c"));
	CHECK(!covers(some, "p/d"));
	return true;
}

static bool bounds(void)
{
	struct kmqtt_rules *rules = kmqtt_rules_alloc();
	static u8 large[KMQTT_FILTER_MAX];
	u32 i;

	CHECK(kmqtt_rules_add(rules, (const u8 *)"a/#/b", 5, RW, 0) == -EINVAL);
	CHECK(kmqtt_rules_add(rules, (const u8 *)"", 0, RW, 0) == -EINVAL);
	CHECK(!kmqtt_rules_add(rules, (const u8 *)"a", 1, RW, PATTERN));
	CHECK(kmqtt_rules_add(rules, (const u8 *)"a", 1, RW, 0) == -EINVAL);
	for (i = 1; i < KMQTT_RULES_MAX; i++)
		CHECK(!kmqtt_rules_add(rules, (const u8 *)"a", 1, RW, PATTERN));
	CHECK(kmqtt_rules_add(rules, (const u8 *)"a", 1, RW, PATTERN) ==
	      -E2BIG);
	kmqtt_rules_free(rules);

	rules = kmqtt_rules_alloc();
	memset(large, 'x', sizeof(large));
	for (i = 0; i < KMQTT_RULES_BYTES / sizeof(large); i++)
		CHECK(!kmqtt_rules_add(rules, large, sizeof(large), RW, 0));
	CHECK(kmqtt_rules_add(rules, large, sizeof(large), RW, 0) == -E2BIG);
	kmqtt_rules_free(rules);
	return true;
}

/*
 * The reference: write the filter out, cut it and the topic into levels, compare
 * level by level.
 */

enum { TEXT = 256, LEVELS = 64 };

static void expand(char *out, const struct line *line, const char *client_id,
		   const char *user)
{
	const char *s = line->filter;

	*out = '\0';
	for (; *s; s++) {
		if (line->flags & PATTERN && s[0] == '%' && s[1] == 'c')
			strcat(out, client_id), s++;
		else if (line->flags & PATTERN && s[0] == '%' && s[1] == 'u')
			strcat(out, user), s++;
		else
			strncat(out, s, 1);
	}
}

static int cut(char *text, char **levels)
{
	int nr = 0;

	while ((levels[nr++] = strsep(&text, "/")))
		;
	return nr - 1;
}

static bool reference_matches(const char *filter, const char *topic)
{
	char a[TEXT], b[TEXT], *f[LEVELS], *t[LEVELS];
	int nf, nt, i;

	if ((filter[0] == '$') != (topic[0] == '$'))
		return false;
	nf = cut(strcpy(a, filter), f);
	nt = cut(strcpy(b, topic), t);
	for (i = 0; i < nf; i++) {
		if (!strcmp(f[i], "#"))
			return true;
		if (i >= nt || (strcmp(f[i], "+") && strcmp(f[i], t[i])))
			return false;
	}
	return nf == nt;
}

static bool reference_may(const struct line *lines, const char *client_id,
			  const char *user, const char *topic, u8 access)
{
	char filter[TEXT];

	for (; lines->filter; lines++) {
		if (lines->flags & PATTERN) {
			if (strpbrk(client_id, "+#") ||
			    (user && strpbrk(user, "+#")))
				return false;
			if (strstr(lines->filter, "%u") && !user)
				continue;
		}
		expand(filter, lines, client_id, user ? user : "");
		if (lines->access & access && reference_matches(filter, topic))
			return !(lines->flags & DENY);
	}
	return false;
}

static const char *pick(const char * const *from)
{
	size_t nr = 0;

	while (from[nr])
		nr++;
	return from[random() % nr];
}

static void random_text(char *out, const char * const *levels)
{
	int nr = 1 + random() % 4;

	*out = '\0';
	while (nr--) {
		strcat(out, pick(levels));
		if (nr)
			strcat(out, "/");
	}
}

static const char * const topic_levels[] = { "a", "b", "$a", "", "c1", "u1",
					     "xc1", "%c", NULL };
static const char * const filter_levels[] = { "a", "b", "$a", "", "+", "+",
					      "%c", "%u", "x%c", "c1", NULL };

static void random_filter(char *out)
{
	do {
		random_text(out, filter_levels);
		if (random() % 3 == 0)
			strcat(*out ? strcat(out, "/") : out, "#");
	} while (!*out);
}

static void random_lines(struct line *lines, char text[][TEXT])
{
	int nr = random() % 9, plain = random() % (nr + 1), i;

	memset(lines, 0, 10 * sizeof(*lines));
	for (i = 0; i < nr; i++) {
		random_filter(text[i]);
		lines[i].filter = text[i];
		lines[i].access = 1 + random() % 3;
		lines[i].flags = (random() % 3 ? 0 : DENY) |
				 (i < plain ? 0 : PATTERN);
	}
}

static bool fuzz_may(void)
{
	static const char * const ids[] = { "c1", "a", "", "a/b", "$a", "x+",
					    NULL };
	static const char * const users[] = { "u1", "a", "b/a", "#", "$a",
					      NULL };
	char text[9][TEXT], topic[TEXT];
	struct line lines[10];
	u32 allowed = 0;
	int i;

	srandom(1);
	for (i = 0; i < 1000000; i++) {
		const char *id = pick(ids);
		const char *user = random() % 3 ? pick(users) : NULL;
		u8 access = random() % 2 ? R : W;

		random_lines(lines, text);
		do {
			random_text(topic, topic_levels);
		} while (!*topic);
		CHECK(may(lines, id, user, topic, access) ==
		      reference_may(lines, id, user, topic, access));
		allowed += may(lines, id, user, topic, access);
	}
	CHECK(allowed > 50000);
	return true;
}

/* What covers a filter allows each topic of it. */
static bool fuzz_cover(void)
{
	char text[9][TEXT], filter[TEXT], topic[TEXT];
	struct line lines[10];
	u32 covered = 0;
	int i, k;

	srandom(2);
	for (i = 0; i < 1000000; i++) {
		random_lines(lines, text);
		do {
			random_filter(filter);
		} while (strchr(filter, '%'));
		if (!covers(lines, filter))
			continue;
		for (k = 0; k < 50; k++) {
			do {
				random_text(topic, topic_levels);
			} while (!*topic);
			if (!reference_matches(filter, topic))
				continue;
			covered++;
			CHECK(reference_may(lines, "c", "u", topic, R));
		}
	}
	CHECK(covered > 10000);
	return true;
}

static const struct ktap_test tests[] = {
	{ "the first rule that matches decides, none denies", order },
	{ "%c and %u stand for names, in patterns", placeholders },
	{ "names with wildcards get nothing of patterns", dangerous_names },
	{ "wildcards do not stand for $", dollar },
	{ "filters that are wholly readable", whole_filters },
	{ "a set is bounded", bounds },
	{ "random rules and topics, as the reference says", fuzz_may },
	{ "what covers a filter allows all of its topics", fuzz_cover },
};

int main(void)
{
	return ktap_run(tests, sizeof(tests) / sizeof(*tests));
}
