// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include <linux/slab.h>

#include "compat.h"
#include "conn.h"
#include "form.h"
#include "hold.h"
#include "property.h"
#include "sub.h"
#include "topic.h"
#include "worker.h"

/* As kmqtt_nl_find(), for subscriptions: the sink has some too. */
static struct kmqtt_conn *find_subscriber(struct kmqtt_ns *ns,
					  struct genl_info *info)
{
	struct nlattr *id = info->attrs[KMQTT_A_SUB_CONN_ID];

	if (id && nla_get_u32(id) == KMQTT_SINK_ID)
		return ns->sink.conn;
	return kmqtt_nl_find(ns, info, KMQTT_A_SUB_CONN_ID);
}

/* What a filter nest says, checked. */
struct filter {
	struct kmqtt_filter filter;
	u8 flags;
	u32 sub_id;
	struct kmqtt_sub_options options;
};

/* What a subscription asks for, in the terms of delivery. */
static void filter_options(struct filter *filter, const struct kmqtt_conn *conn)
{
	struct kmqtt_sub_options *options = &filter->options;

	if (filter->flags & KMQTT_SUB_UPGRADE)
		options->qos |= KMQTT_QOS_UPGRADE;
	if (conn->level < 5)
		return;
	options->form = KMQTT_FORM_5;
	if (filter->flags & KMQTT_SUB_NO_LOCAL)
		options->form |= KMQTT_FORM_NO_LOCAL;
	if (filter->flags & KMQTT_SUB_RETAIN_AS_PUBLISHED)
		options->form |= KMQTT_FORM_RETAIN;
	if (filter->sub_id)
		options->form |= KMQTT_FORM_ID *
			kmqtt_varint_write((u8 *)&options->id, filter->sub_id);
}

/* The share name of a filter, if it has one. */
static int parse_group(const struct nlattr *attr, struct filter *filter,
		       struct netlink_ext_ack *extack)
{
	if (!attr)
		return 0;
	filter->filter.group = nla_data(attr);
	filter->filter.group_len = nla_len(attr);
	if (filter->filter.group_len + filter->filter.len > KMQTT_FILTER_MAX) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "filter too long");
		return -EINVAL;
	}
	if (filter->flags & KMQTT_SUB_NO_LOCAL) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "no-local with a share name");
		return -EINVAL;
	}
	return 0;
}

static int parse_filter(const struct nlattr *nest, struct filter *filter,
			struct netlink_ext_ack *extack)
{
	struct nlattr *attrs[KMQTT_A_FILTER_MAX + 1];
	int err;

	err = nla_parse_nested(attrs, KMQTT_A_FILTER_MAX, nest,
			       kmqtt_filter_policy, extack);
	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(extack, nest, attrs, KMQTT_A_FILTER_TOPIC)) {
		NL_SET_ERR_MSG(extack, "topic filter missing");
		return -EINVAL;
	}
	memset(filter, 0, sizeof(*filter));
	filter->filter.topic = nla_data(attrs[KMQTT_A_FILTER_TOPIC]);
	filter->filter.len = nla_len(attrs[KMQTT_A_FILTER_TOPIC]);
	filter->options.qos = attrs[KMQTT_A_FILTER_QOS] ?
			      nla_get_u8(attrs[KMQTT_A_FILTER_QOS]) : 0;
	filter->flags = attrs[KMQTT_A_FILTER_FLAGS] ?
			nla_get_u8(attrs[KMQTT_A_FILTER_FLAGS]) : 0;
	filter->sub_id = kmqtt_nl_u32(attrs, KMQTT_A_FILTER_SUB_ID, 0);
	if (kmqtt_topic_filter_check(filter->filter.topic,
				     filter->filter.len)) {
		NL_SET_ERR_MSG_ATTR(extack, attrs[KMQTT_A_FILTER_TOPIC],
				    "not a topic filter");
		return -EINVAL;
	}
	if (filter->flags & KMQTT_SUB_UPGRADE && !filter->options.qos) {
		NL_SET_ERR_MSG_ATTR(extack, attrs[KMQTT_A_FILTER_FLAGS],
				    "upgrade wants a QoS");
		return -EINVAL;
	}
	return parse_group(attrs[KMQTT_A_FILTER_GROUP], filter, extack);
}

/* Check all filters of a message. Return: how many, or an error. */
static int check_filters(struct genl_info *info)
{
	struct filter filter;
	struct nlattr *attr;
	int rem, err, nr = 0;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != KMQTT_A_SUB_FILTER)
			continue;
		err = parse_filter(attr, &filter, info->extack);
		if (err)
			return err;
		nr++;
	}
	if (!nr) {
		NL_SET_ERR_MSG(info->extack, "filter missing");
		return -EINVAL;
	}
	return nr;
}

static int change_subs(struct kmqtt_conn *conn, struct genl_info *info,
		       struct kmqtt_changes *changes)
{
	bool add = info->genlhdr->cmd == KMQTT_CMD_SUB_ADD;
	struct filter filter;
	struct nlattr *attr;
	int rem, err;

	if (add && kmqtt_conn_ended(conn)) {
		NL_SET_ERR_MSG(info->extack, "connection has ended");
		return -ENOTCONN;
	}
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != KMQTT_A_SUB_FILTER)
			continue;
		err = parse_filter(attr, &filter, info->extack);
		if (!err && add) {
			filter_options(&filter, conn);
			err = kmqtt_sub_add(conn, &filter.filter,
					    &filter.options, changes);
			if (err == -E2BIG)
				NL_SET_ERR_MSG(info->extack,
					       "too many share names");
		}
		if (err)
			return err;
		if (!add)
			kmqtt_sub_del(conn, &filter.filter, changes);
		cond_resched();
		/* Rules take their time. What is deleted cannot be undone. */
		if (add && fatal_signal_pending(current)) {
			NL_SET_ERR_MSG(info->extack, "killed meanwhile");
			return -EINTR;
		}
	}
	return 0;
}

/* sub-add and sub-del. */
static int sub_change(struct kmqtt_ns *ns, struct genl_info *info)
{
	bool hold = nla_get_flag(info->attrs[KMQTT_A_SUB_HOLD]);
	struct kmqtt_changes *changes;
	struct kmqtt_conn *conn;
	int nr, err;

	nr = check_filters(info);
	if (nr < 0)
		return nr;
	changes = kmqtt_changes_alloc(nr);
	if (!changes)
		return -ENOMEM;

	mutex_lock(&ns->lock);
	conn = find_subscriber(ns, info);
	if (IS_ERR(conn)) {
		err = PTR_ERR(conn);
		kvfree(changes);
		goto unlock;
	}
	if (hold && conn == ns->sink.conn) {
		NL_SET_ERR_MSG(info->extack, "the sink cannot be held");
		err = -EINVAL;
	} else if (info->genlhdr->cmd == KMQTT_CMD_SUB_ADD &&
		   conn != ns->sink.conn && kmqtt_memory_over(&ns->memory)) {
		NL_SET_ERR_MSG(info->extack, "more memory than the limit");
		err = -EDQUOT;
	} else {
		err = change_subs(conn, info, changes);
	}
	if (err) {
		kmqtt_changes_undo(conn, changes);
		goto unlock;
	}
	if (hold)
		changes->hold = conn;
	kmqtt_changes_commit(conn, changes);
unlock:
	mutex_unlock(&ns->lock);
	return err;
}

int kmqtt_nl_sub_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply;
	void *hdr;
	int err;

	reply = kmqtt_nl_reply(info, nla_total_size_64bit(sizeof(u64)),
			       KMQTT_CMD_SUB_ADD, &hdr);
	if (!reply)
		return -ENOMEM;
	err = sub_change(ns, info);
	if (err) {
		nlmsg_free(reply);
		return err;
	}
	/* Not before the changes are in the worker's inbox. */
	nla_put_u64_64bit(reply, KMQTT_A_SUB_SINK_SEQ,
			  kmqtt_sink_seq(&ns->sink), KMQTT_A_SUB_PAD);
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

int kmqtt_nl_sub_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	return sub_change(kmqtt_ns_of(genl_info_net(info)), info);
}

static int fill_options(struct sk_buff *skb, const struct kmqtt_sub *sub)
{
	const struct kmqtt_group *group = sub->leaf->group;
	u8 form = READ_ONCE(sub->form), qos = READ_ONCE(sub->qos), flags = 0;
	u32 id = READ_ONCE(sub->id), sub_id = 0;

	if (form & KMQTT_FORM_NO_LOCAL)
		flags |= KMQTT_SUB_NO_LOCAL;
	if (form & KMQTT_FORM_RETAIN)
		flags |= KMQTT_SUB_RETAIN_AS_PUBLISHED;
	if (qos & KMQTT_QOS_UPGRADE)
		flags |= KMQTT_SUB_UPGRADE;
	if (kmqtt_form_id(form))
		kmqtt_varint_read((u8 *)&id, sizeof(id), &sub_id);
	return nla_put_u8(skb, KMQTT_A_FILTER_QOS, qos & ~KMQTT_QOS_UPGRADE) ||
	       nla_put_u8(skb, KMQTT_A_FILTER_FLAGS, flags) ||
	       (sub_id && nla_put_u32(skb, KMQTT_A_FILTER_SUB_ID, sub_id)) ||
	       (group && nla_put(skb, KMQTT_A_FILTER_GROUP, group->len,
				 group->name));
}

static int fill_sub(struct sk_buff *skb, const struct kmqtt_sub *sub)
{
	const struct kmqtt_node *node = sub->leaf->node;
	size_t len = kmqtt_trie_filter_len(node);
	struct nlattr *nest, *topic;

	if (nla_put_u32(skb, KMQTT_A_SUB_CONN_ID, sub->conn->id))
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KMQTT_A_SUB_FILTER);
	if (!nest)
		return -EMSGSIZE;
	topic = nla_reserve(skb, KMQTT_A_FILTER_TOPIC, len);
	if (!topic || fill_options(skb, sub))
		return -EMSGSIZE;
	kmqtt_trie_filter(node, nla_data(topic), len);
	nla_nest_end(skb, nest);
	return 0;
}

static int dump_sub(struct sk_buff *skb, struct netlink_callback *cb,
		    const struct kmqtt_sub *sub)
{
	void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				cb->nlh->nlmsg_seq, &kmqtt_family, NLM_F_MULTI,
				KMQTT_CMD_SUB_GET);

	if (!hdr)
		return -EMSGSIZE;
	if (fill_sub(skb, sub)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/* One connection's, after the one with key cb->args[1]; notes how far it came. */
static int dump_subs(struct sk_buff *skb, struct netlink_callback *cb,
		     const struct kmqtt_conn *conn)
{
	const struct kmqtt_sub *sub = kmqtt_sub_after(conn, cb->args[1]);

	for (; sub; sub = kmqtt_sub_next(sub)) {
		if (dump_sub(skb, cb, sub))
			return -EMSGSIZE;
		cb->args[1] = (unsigned long)sub->leaf;
	}
	cb->args[1] = 0;
	return 0;
}

/* cb->args[0] is the connection to go on from; the sink's come first. */
int kmqtt_nl_sub_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(sock_net(skb->sk));
	struct nlattr *only = kmqtt_dump_attrs(cb)[KMQTT_A_SUB_CONN_ID];
	unsigned long id = cb->args[0], max = ULONG_MAX;
	struct kmqtt_conn *conn;

	if (only) {
		max = nla_get_u32(only);
		id = max(id, max);
	}

	mutex_lock(&ns->lock);
	if (id == KMQTT_SINK_ID && dump_subs(skb, cb, ns->sink.conn)) {
		mutex_unlock(&ns->lock);
		return skb->len ?: -EMSGSIZE;
	}
	for (conn = xa_find(&ns->conns, &id, max, XA_PRESENT); conn;
	     conn = xa_find_after(&ns->conns, &id, max, XA_PRESENT)) {
		/* The key belongs to the connection that may be gone. */
		if (id != cb->args[0])
			cb->args[1] = 0;
		cb->args[0] = id;
		if (dump_subs(skb, cb, conn))
			break;
	}
	mutex_unlock(&ns->lock);

	if (conn && !skb->len)
		return -EMSGSIZE;
	if (!conn)
		cb->args[0] = ULONG_MAX;
	return skb->len;
}
