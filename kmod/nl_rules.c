// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include "access.h"
#include "rules.h"

/* The rule set that a rules command is about; 0 if it does not say. */
static u32 rules_id(struct genl_info *info)
{
	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_RULES_ID)) {
		NL_SET_ERR_MSG(info->extack, "rule set missing");
		return 0;
	}
	return nla_get_u32(info->attrs[KMQTT_A_RULES_ID]);
}

/* Whether rules-begin was about this rule set; ns->lock is held. */
static bool is_draft(struct kmqtt_ns *ns, struct genl_info *info, u32 id)
{
	if (ns->draft && ns->draft_id == id)
		return true;
	NL_SET_ERR_MSG(info->extack, "not the rule set that was begun");
	return false;
}

static void draft_replace(struct kmqtt_ns *ns, u32 id,
			  struct kmqtt_rules *rules)
{
	if (ns->draft)
		kmqtt_rules_free(ns->draft);
	ns->draft = rules;
	ns->draft_id = id;
}

int kmqtt_nl_rules_begin_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_rules *rules;
	u32 id = rules_id(info);

	if (!id)
		return -EINVAL;
	rules = kmqtt_rules_alloc();
	if (!rules)
		return -ENOMEM;
	mutex_lock(&ns->lock);
	draft_replace(ns, id, rules);
	mutex_unlock(&ns->lock);
	return 0;
}

static int add_rule(struct kmqtt_rules *rules, const struct nlattr *nest,
		    struct netlink_ext_ack *extack)
{
	struct nlattr *attrs[KMQTT_A_RULE_MAX + 1];
	const struct nlattr *flags;
	int err;

	err = nla_parse_nested(attrs, KMQTT_A_RULE_MAX, nest, kmqtt_rule_policy,
			       extack);
	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(extack, nest, attrs, KMQTT_A_RULE_FILTER) ||
	    NL_REQ_ATTR_CHECK(extack, nest, attrs, KMQTT_A_RULE_ACCESS)) {
		NL_SET_ERR_MSG(extack, "filter or access missing");
		return -EINVAL;
	}
	flags = attrs[KMQTT_A_RULE_FLAGS];
	err = kmqtt_rules_add(rules, nla_data(attrs[KMQTT_A_RULE_FILTER]),
			      nla_len(attrs[KMQTT_A_RULE_FILTER]),
			      nla_get_u8(attrs[KMQTT_A_RULE_ACCESS]),
			      flags ? nla_get_u8(flags) : 0);
	if (err == -EINVAL)
		NL_SET_ERR_MSG_ATTR(extack, nest,
				    "not a topic filter, or after a pattern");
	else if (err == -E2BIG)
		NL_SET_ERR_MSG(extack, "rule set too large");
	return err;
}

static int add_rules(struct kmqtt_rules *rules, struct genl_info *info)
{
	struct kmqtt_rules_mark mark = kmqtt_rules_mark(rules);
	struct nlattr *attr;
	int rem, err = 0;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) == KMQTT_A_RULES_RULE)
			err = add_rule(rules, attr, info->extack);
		if (err)
			break;
	}
	if (err)
		kmqtt_rules_cut(rules, &mark);
	return err;
}

int kmqtt_nl_rules_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	u32 id = rules_id(info);
	int err = -EINVAL;

	if (!id)
		return -EINVAL;
	mutex_lock(&ns->lock);
	if (is_draft(ns, info, id))
		err = add_rules(ns->draft, info);
	mutex_unlock(&ns->lock);
	return err;
}

int kmqtt_nl_rules_commit_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	u32 id = rules_id(info);
	int err = -EINVAL;

	if (!id)
		return -EINVAL;
	mutex_lock(&ns->lock);
	if (is_draft(ns, info, id)) {
		err = kmqtt_ruleset_commit(ns, id, ns->draft);
		if (!err)
			ns->draft = NULL;
		draft_replace(ns, 0, NULL);
	}
	mutex_unlock(&ns->lock);
	if (err == -E2BIG)
		NL_SET_ERR_MSG(info->extack, "too many rule sets, or too large");
	return err;
}

int kmqtt_nl_rules_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_ruleset *set;
	u32 id = rules_id(info);
	int err = 0;

	if (!id)
		return -EINVAL;
	mutex_lock(&ns->lock);
	set = kmqtt_ruleset_find(ns, id);
	if (!set) {
		NL_SET_ERR_MSG(info->extack, "no such rule set");
		err = -ENOENT;
	} else if (set->users) {
		NL_SET_ERR_MSG(info->extack, "connections have it");
		err = -EBUSY;
	} else {
		kmqtt_ruleset_del(ns, set);
	}
	mutex_unlock(&ns->lock);
	return err;
}
