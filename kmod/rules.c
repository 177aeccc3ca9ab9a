// SPDX-License-Identifier: GPL-2.0
#include "rules.h"

#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "topic.h"

/* What a set begins with room for. */
enum { RULES_ROOM = 8, TEXT_ROOM = 256 };

static bool has_wildcard(const u8 *s, size_t len)
{
	return len && (memchr(s, '+', len) || memchr(s, '#', len));
}

/**
 * kmqtt_who_init() - describe who asks
 * @who: the description, which points to the others
 * @client_id: the client identifier
 * @client_id_len: its bytes
 * @user: the user name; NULL: none
 * @user_len: its bytes; an empty one is none either, as in mosquitto
 *
 * A name with '+' or '#' would widen the patterns that it is put into, so
 * everything is denied to who has one where there are patterns.
 */
void kmqtt_who_init(struct kmqtt_who *who, const u8 *client_id,
		    size_t client_id_len, const u8 *user, size_t user_len)
{
	who->client_id = client_id;
	who->client_id_len = client_id_len;
	who->user = user_len ? user : NULL;
	who->user_len = user ? user_len : 0;
	who->wild = has_wildcard(client_id, client_id_len) ||
		    has_wildcard(who->user, who->user_len);
}

struct kmqtt_rules *kmqtt_rules_alloc(void)
{
	return kzalloc(sizeof(struct kmqtt_rules), GFP_KERNEL_ACCOUNT);
}

void kmqtt_rules_free(struct kmqtt_rules *rules)
{
	kvfree(rules->rules);
	kvfree(rules->text);
	kfree(rules);
}

/* Move to twice the room, so that it is for @need at least. */
static void *grow(void *old, size_t used, u32 *room, size_t need, size_t size)
{
	size_t more = *room;
	void *new;

	while (more < need)
		more *= 2;
	new = kvmalloc(more * size, GFP_KERNEL_ACCOUNT);
	if (!new)
		return NULL;
	if (old)
		memcpy(new, old, used * size);
	kvfree(old);
	*room = more;
	return new;
}

static int reserve(struct kmqtt_rules *rules, size_t len)
{
	u32 room = rules->room ?: RULES_ROOM;
	u32 text_room = rules->text_room ?: TEXT_ROOM;
	void *more;

	if (rules->nr == rules->room) {
		more = grow(rules->rules, rules->nr, &room, rules->nr + 1,
			    sizeof(*rules->rules));
		if (!more)
			return -ENOMEM;
		rules->rules = more;
		rules->room = room;
	}
	if (rules->text_room - rules->bytes < len) {
		more = grow(rules->text, rules->bytes, &text_room,
			    rules->bytes + len, 1);
		if (!more)
			return -ENOMEM;
		rules->text = more;
		rules->text_room = text_room;
	}
	return 0;
}

static bool is_placeholder(const u8 *s, size_t len)
{
	return len > 1 && s[0] == '%' && (s[1] == 'c' || s[1] == 'u');
}

/* Bytes before what is not literal. "a/#" matches "a", too. */
static u16 prefix_of(const u8 *filter, size_t len, bool pattern)
{
	size_t i = 0;

	while (i < len && filter[i] != '+' && filter[i] != '#' &&
	       !(pattern && is_placeholder(filter + i, len - i)))
		i++;
	if (i && i < len && filter[i] == '#')
		i--;
	return i;
}

/**
 * kmqtt_rules_add() - add a rule, after the others
 * @rules: the set, which is not in use yet
 * @filter: its topic filter
 * @len: bytes of it
 * @access: KMQTT_ACCESS_*
 * @flags: KMQTT_RULE_*
 *
 * Return: 0; -EINVAL: not a topic filter, or after a pattern and none; -E2BIG:
 * the set is full; -ENOMEM. Then nothing has changed.
 */
int kmqtt_rules_add(struct kmqtt_rules *rules, const u8 *filter, size_t len,
		    u8 access, u8 flags)
{
	bool pattern = flags & KMQTT_RULE_PATTERN;
	struct kmqtt_rule *rule;

	if (kmqtt_topic_filter_check(filter, len) ||
	    (!pattern && rules->nr_plain < rules->nr))
		return -EINVAL;
	if (rules->nr >= KMQTT_RULES_MAX ||
	    rules->bytes + len > KMQTT_RULES_BYTES)
		return -E2BIG;
	if (reserve(rules, len))
		return -ENOMEM;

	rule = &rules->rules[rules->nr++];
	rule->off = rules->bytes;
	rule->len = len;
	rule->prefix = prefix_of(filter, len, pattern);
	rule->access = access;
	rule->deny = flags & KMQTT_RULE_DENY;
	memcpy(rules->text + rules->bytes, filter, len);
	rules->bytes += len;
	rules->nr_plain += !pattern;
	return 0;
}

/**
 * struct cursor - a place in a rule's filter, its placeholders filled in
 * @who: with what; NULL: it has none
 * @pos: in the filter
 * @end: of the filter
 * @name: in a name that stands for a placeholder
 * @name_end: of the name
 *
 * Names have no wildcards where it matters, so those seen are the filter's.
 */
struct cursor {
	const struct kmqtt_who *who;
	const u8 *pos;
	const u8 *end;
	const u8 *name;
	const u8 *name_end;
};

/* What peek() returns at the end. */
#define NOTHING (-1)

static void cursor_init(struct cursor *cursor, const struct kmqtt_rules *rules,
			const struct kmqtt_rule *rule,
			const struct kmqtt_who *who, size_t skip)
{
	const u8 *filter = rules->text + rule->off;

	cursor->who = rule - rules->rules < rules->nr_plain ? NULL : who;
	cursor->pos = filter + skip;
	cursor->end = filter + rule->len;
	cursor->name = NULL;
	cursor->name_end = NULL;
}

static void begin_name(struct cursor *cursor)
{
	const struct kmqtt_who *who = cursor->who;

	if (cursor->pos[1] == 'c') {
		cursor->name = who->client_id;
		cursor->name_end = who->client_id + who->client_id_len;
	} else {
		cursor->name = who->user;
		cursor->name_end = who->user + who->user_len;
	}
	cursor->pos += 2;
}

/* The next character, or NOTHING. */
static int peek(struct cursor *cursor)
{
	while (cursor->name == cursor->name_end) {
		if (cursor->pos == cursor->end)
			return NOTHING;
		if (!cursor->who ||
		    !is_placeholder(cursor->pos, cursor->end - cursor->pos))
			return *cursor->pos;
		begin_name(cursor);
	}
	return *cursor->name;
}

/* Past the character that peek() has returned. */
static void step(struct cursor *cursor)
{
	if (cursor->name != cursor->name_end)
		cursor->name++;
	else
		cursor->pos++;
}

static void skip_level(struct cursor *cursor)
{
	int c;

	while ((c = peek(cursor)) != NOTHING && c != '/')
		step(cursor);
}

/* Whether what is left is "/#", which the level before it matches as well. */
static bool only_multi(struct cursor *cursor)
{
	if (peek(cursor) != '/')
		return false;
	step(cursor);
	return peek(cursor) == '#';
}

/*
 * Whether the rest of a rule's filter matches the rest of a topic name, or all
 * that the rest of another filter does: that one's wildcards are like any other
 * character, but for '#', which is more than one level.
 */
static bool covers(struct cursor *rule, const u8 *s, const u8 *end)
{
	for (;;) {
		int c = peek(rule);

		if (c == '#')
			return true;
		if (c == '+') {
			if (s < end && *s == '#')
				return false;
			while (s < end && *s != '/')
				s++;
			step(rule);
			continue;
		}
		if (s == end)
			return c == NOTHING || only_multi(rule);
		if (c != *s)
			return false;
		step(rule);
		s++;
	}
}

/* Whether some topic name matches both filters. */
static bool intersects(struct cursor *a, struct cursor *b)
{
	for (;;) {
		int x = peek(a), y = peek(b);

		if (x == '#' || y == '#')
			return true;
		if (x == '+' || y == '+') {
			skip_level(a);
			skip_level(b);
			continue;
		}
		if (x != y)
			return (x == NOTHING && only_multi(b)) ||
			       (y == NOTHING && only_multi(a));
		if (x == NOTHING)
			return true;
		step(a);
		step(b);
	}
}

/*
 * The next rule about @access from @i on, or NULL. Where the patterns begin,
 * nothing more matches for those whose names could widen them, and patterns with
 * a user name match nobody without one.
 */
static const struct kmqtt_rule *next_rule(const struct kmqtt_rules *rules,
					  const struct kmqtt_who *who,
					  u8 access, u32 *i)
{
	u32 nr = who->wild ? rules->nr_plain : rules->nr;

	while (*i < nr) {
		const struct kmqtt_rule *rule = &rules->rules[(*i)++];

		if (rule->access & access)
			return rule;
	}
	return NULL;
}

static bool needs_user(const struct kmqtt_rules *rules,
		       const struct kmqtt_rule *rule)
{
	const u8 *s = rules->text + rule->off;
	const u8 *end = s + rule->len;

	while ((s = memchr(s, '%', end - s))) {
		if (++s < end && *s == 'u')
			return true;
	}
	return false;
}

/* Whether @rule is about @who at all. */
static bool applies(const struct kmqtt_rules *rules,
		    const struct kmqtt_rule *rule, const struct kmqtt_who *who)
{
	return who->user || rule - rules->rules < rules->nr_plain ||
	       !needs_user(rules, rule);
}

/* Whether a rule is about topics that begin with '$', or about the others: its
 * wildcards stand for none that does [MQTT-4.7.2-1].
 */
static bool same_dollar(struct cursor *rule, const u8 *s, size_t len)
{
	return (peek(rule) == '$') == (len && s[0] == '$');
}

static bool rule_matches(const struct kmqtt_rules *rules,
			 const struct kmqtt_rule *rule,
			 const struct kmqtt_who *who, const u8 *s, size_t len)
{
	struct cursor cursor;

	if (len < rule->prefix ||
	    memcmp(s, rules->text + rule->off, rule->prefix) ||
	    !applies(rules, rule, who))
		return false;
	cursor_init(&cursor, rules, rule, who, rule->prefix);
	if (!rule->prefix && !same_dollar(&cursor, s, len))
		return false;
	return covers(&cursor, s + rule->prefix, s + len);
}

/* Bytes of a topic name (section 1.5.3). */
enum { TOPIC_MAX = 65535 };

/* Longer than any topic name, whatever its wildcards stand for: a filter that is
 * nothing but placeholders can be very long, and takes its time.
 */
static bool too_long(const struct cursor *rule)
{
	const u8 *s = rule->pos;
	u64 len = 0;

	while (s < rule->end) {
		if (!rule->who || !is_placeholder(s, rule->end - s)) {
			len++;
			s++;
			continue;
		}
		len += s[1] == 'c' ? rule->who->client_id_len
				   : rule->who->user_len;
		s += 2;
	}
	return len > TOPIC_MAX + 2 * KMQTT_LEVELS_MAX;
}

static bool rule_intersects(const struct kmqtt_rules *rules,
			    const struct kmqtt_rule *rule,
			    const struct kmqtt_who *who, const u8 *s,
			    size_t len)
{
	struct cursor a, b = { .pos = s, .end = s + len };

	if (!applies(rules, rule, who))
		return false;
	cursor_init(&a, rules, rule, who, 0);
	return !too_long(&a) && same_dollar(&a, s, len) && intersects(&a, &b);
}

/**
 * kmqtt_rules_may() - may somebody do something with a topic?
 * @rules: the set
 * @who: who
 * @topic: a valid topic name
 * @len: its bytes
 * @access: KMQTT_ACCESS_READ or KMQTT_ACCESS_WRITE
 */
bool kmqtt_rules_may(const struct kmqtt_rules *rules,
		     const struct kmqtt_who *who, const u8 *topic, size_t len,
		     u8 access)
{
	const struct kmqtt_rule *rule;
	u32 i = 0;

	while ((rule = next_rule(rules, who, access, &i)))
		if (rule_matches(rules, rule, who, topic, len))
			return !rule->deny;
	return false;
}

/**
 * kmqtt_rules_cover() - may somebody read all that a topic filter matches?
 * @rules: the set
 * @who: who
 * @filter: a valid topic filter
 * @len: its bytes
 *
 * Return: true only if kmqtt_rules_may() is for each of these topics. It is
 * false also where only several rules together allow them all.
 */
bool kmqtt_rules_cover(const struct kmqtt_rules *rules,
		       const struct kmqtt_who *who, const u8 *filter,
		       size_t len)
{
	const struct kmqtt_rule *rule;
	u32 i = 0;

	while ((rule = next_rule(rules, who, KMQTT_ACCESS_READ, &i))) {
		if (!rule->deny && rule_matches(rules, rule, who, filter, len))
			return true;
		if (rule->deny &&
		    rule_intersects(rules, rule, who, filter, len))
			return false;
	}
	return false;
}
