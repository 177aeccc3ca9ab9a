/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rule sets: who may read and write which topics. A set serves a role; who is
 * asking fills in the "%c" (client identifier) and "%u" (user name) of its
 * patterns. The semantics are those of mosquitto's acl_file: rules in order, the
 * first that matches decides, and what none matches is denied.
 *
 * Pure: no socket, no lock. A set does not change once it is in use.
 */
#ifndef _KMQTT_RULES_H_
#define _KMQTT_RULES_H_

#include <linux/rcupdate.h>
#include <linux/types.h>
#include <linux/kmqtt.h>

/**
 * struct kmqtt_rule - one rule
 * @off: where in the set's text its filter is
 * @len: bytes of the filter
 * @prefix: bytes of it that a topic must begin with, as they are
 * @access: KMQTT_ACCESS_*: what it is about
 * @deny: it denies
 */
struct kmqtt_rule {
	u32 off;
	u16 len;
	u16 prefix;
	u8 access;
	bool deny;
};

/**
 * struct kmqtt_rules - a rule set's contents
 * @generation: the owner's
 * @nr: rules
 * @room: for how many
 * @nr_plain: those before the first pattern
 * @bytes: of @text
 * @text_room: for how many
 * @rules: the rules, patterns last
 * @text: their filters
 * @rcu: deferred freeing; the owner's
 */
struct kmqtt_rules {
	u64 generation;
	u32 nr;
	u32 room;
	u32 nr_plain;
	u32 bytes;
	u32 text_room;
	struct kmqtt_rule *rules;
	u8 *text;
	struct rcu_head rcu;
};

/**
 * struct kmqtt_who - who asks
 * @client_id: the client identifier
 * @user: the user name; NULL: none
 * @client_id_len: bytes
 * @user_len: bytes
 * @wild: one of them has a wildcard in it: see kmqtt_who_init()
 */
struct kmqtt_who {
	const u8 *client_id;
	const u8 *user;
	u16 client_id_len;
	u16 user_len;
	bool wild;
};

void kmqtt_who_init(struct kmqtt_who *who, const u8 *client_id,
		    size_t client_id_len, const u8 *user, size_t user_len);

/* A set without rules, which denies everything, or NULL without memory. */
struct kmqtt_rules *kmqtt_rules_alloc(void);
void kmqtt_rules_free(struct kmqtt_rules *rules);

/**
 * struct kmqtt_rules_mark - a size of a set, to go back to
 * @nr: rules
 * @nr_plain: those before the first pattern
 * @bytes: of their filters
 */
struct kmqtt_rules_mark {
	u32 nr;
	u32 nr_plain;
	u32 bytes;
};

static inline struct kmqtt_rules_mark
kmqtt_rules_mark(const struct kmqtt_rules *rules)
{
	return (struct kmqtt_rules_mark){ rules->nr, rules->nr_plain,
					  rules->bytes };
}

/* Forget the rules that were added since. */
static inline void kmqtt_rules_cut(struct kmqtt_rules *rules,
				   const struct kmqtt_rules_mark *mark)
{
	rules->nr = mark->nr;
	rules->nr_plain = mark->nr_plain;
	rules->bytes = mark->bytes;
}

int kmqtt_rules_add(struct kmqtt_rules *rules, const u8 *filter, size_t len,
		    u8 access, u8 flags);

bool kmqtt_rules_may(const struct kmqtt_rules *rules,
		     const struct kmqtt_who *who, const u8 *topic, size_t len,
		     u8 access);
bool kmqtt_rules_cover(const struct kmqtt_rules *rules,
		       const struct kmqtt_who *who, const u8 *filter,
		       size_t len);

#endif /* _KMQTT_RULES_H_ */
