// SPDX-License-Identifier: GPL-2.0
#include "netlink.h"

#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/file.h>

#include "nl.h"

enum {
	MAX_PACKET_MIN = 16,
	RING_MESSAGES_MAX = 1000000,
	RING_BYTES_MIN = 1024,
	RING_BYTES_MAX = 1 << 30,
	BUFFER_MIN = 4096,
	BUFFER_MAX = 1 << 24,
	PACKET_TIMEOUT_MAX = 3600000,
	SINK_BYTES_MIN = 65536,
	SINK_BYTES_MAX = 1 << 30,
	ORPHAN_TIMEOUT_MAX = 86400,
	QOS_MAX = 2,
	ACCESS_MAX = 3,
	RULE_FLAGS_MAX = 3,
	SUB_FLAGS_MAX = 7,
};

/* Not const: struct nla_policy points to them as variables before 6.8. */
static struct netlink_range_validation max_packet_range = {
	.min = MAX_PACKET_MIN,
	.max = KMQTT_PACKET_MAX,
};

static struct netlink_range_validation ring_messages_range = {
	.min = 1,
	.max = RING_MESSAGES_MAX,
};

static struct netlink_range_validation ring_bytes_range = {
	.min = RING_BYTES_MIN,
	.max = RING_BYTES_MAX,
};

static struct netlink_range_validation buffer_range = {
	.min = BUFFER_MIN,
	.max = BUFFER_MAX,
};

static struct netlink_range_validation packet_timeout_range = {
	.max = PACKET_TIMEOUT_MAX,
};

static struct netlink_range_validation publish_rate_range = {
	.max = KMQTT_PUBLISH_RATE_MAX,
};

static struct netlink_range_validation orphan_timeout_range = {
	.max = ORPHAN_TIMEOUT_MAX,
};

static struct netlink_range_validation max_send_range = {
	.min = 1,
	.max = KMQTT_PACKET_MAX,
};

static struct netlink_range_validation sub_id_range = {
	.min = 1,
	.max = KMQTT_SUB_ID_MAX,
};

static struct netlink_range_validation filter_topic_range = {
	.min = 1,
	.max = KMQTT_FILTER_MAX,
};

static struct netlink_range_validation client_id_range = {
	.max = KMQTT_CLIENT_ID_MAX,
};

static struct netlink_range_validation user_name_range = {
	.max = KMQTT_USER_NAME_MAX,
};

static const struct nla_policy conn_add_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_FD] = { .type = NLA_U32 },
	[KMQTT_A_CONN_MAX_PACKET] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &max_packet_range),
	[KMQTT_A_CONN_RING_MESSAGES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &ring_messages_range),
	[KMQTT_A_CONN_RING_BYTES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &ring_bytes_range),
	[KMQTT_A_CONN_USER_BYTES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &buffer_range),
	[KMQTT_A_CONN_UNSENT_BYTES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &buffer_range),
	[KMQTT_A_CONN_PACKET_TIMEOUT] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &packet_timeout_range),
	[KMQTT_A_CONN_COOKIE] = { .type = NLA_U64 },
};

static const struct nla_policy conn_set_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_CONN_LEVEL] =
		NLA_POLICY_RANGE(NLA_U8, KMQTT_LEVEL_MIN, KMQTT_LEVEL_MAX),
	[KMQTT_A_CONN_KEEPALIVE] = { .type = NLA_U16 },
	[KMQTT_A_CONN_CLIENT_ID] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &client_id_range),
	[KMQTT_A_CONN_MAX_PACKET] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &max_packet_range),
	[KMQTT_A_CONN_COOKIE] = { .type = NLA_U64 },
	[KMQTT_A_CONN_ACTIVE] = { .type = NLA_FLAG },
	[KMQTT_A_CONN_NEXT] = { .type = NLA_FLAG },
	[KMQTT_A_CONN_EVENT_SEQ] = { .type = NLA_U32 },
	[KMQTT_A_CONN_HOLD_SEQ] = { .type = NLA_U64 },
	[KMQTT_A_CONN_TRIM] = { .type = NLA_FLAG },
	[KMQTT_A_CONN_RELEASE] = { .type = NLA_FLAG },
	[KMQTT_A_CONN_PUBLISH_RATE] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &publish_rate_range),
	[KMQTT_A_CONN_USER_NAME] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &user_name_range),
	[KMQTT_A_CONN_RULES_ID] = { .type = NLA_U32 },
	[KMQTT_A_CONN_DONE] = { .type = NLA_U64 },
	[KMQTT_A_CONN_MAX_SEND] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &max_send_range),
	[KMQTT_A_CONN_MAX_TOPIC_ALIAS] = { .type = NLA_U16 },
	[KMQTT_A_CONN_CHECK_FORMAT] = NLA_POLICY_MAX(NLA_U8, 1),
	[KMQTT_A_CONN_LAST] = { .type = NLA_FLAG },
};

static const struct nla_policy conn_del_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_CONN_ABORT] = { .type = NLA_FLAG },
};

static const struct nla_policy conn_get_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_CONN_PENDING] = { .type = NLA_FLAG },
};

static const struct nla_policy conn_adopt_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_ID] = { .type = NLA_U32 },
};

const struct nla_policy kmqtt_filter_policy[KMQTT_A_FILTER_MAX + 1] = {
	[KMQTT_A_FILTER_TOPIC] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &filter_topic_range),
	[KMQTT_A_FILTER_QOS] = NLA_POLICY_MAX(NLA_U8, QOS_MAX),
	[KMQTT_A_FILTER_FLAGS] = NLA_POLICY_MAX(NLA_U8, SUB_FLAGS_MAX),
	[KMQTT_A_FILTER_SUB_ID] = NLA_POLICY_FULL_RANGE(NLA_U32, &sub_id_range),
	[KMQTT_A_FILTER_GROUP] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &filter_topic_range),
};

static const struct nla_policy sub_add_policy[KMQTT_A_SUB_MAX + 1] = {
	[KMQTT_A_SUB_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_SUB_FILTER] = NLA_POLICY_NESTED(kmqtt_filter_policy),
	[KMQTT_A_SUB_HOLD] = { .type = NLA_FLAG },
};

static const struct nla_policy sub_del_policy[KMQTT_A_SUB_MAX + 1] = {
	[KMQTT_A_SUB_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_SUB_FILTER] = NLA_POLICY_NESTED(kmqtt_filter_policy),
};

static const struct nla_policy sub_get_policy[KMQTT_A_SUB_MAX + 1] = {
	[KMQTT_A_SUB_CONN_ID] = { .type = NLA_U32 },
};

static struct netlink_range_validation payload_range = {
	.max = KMQTT_PAYLOAD_INLINE,
};

static const struct nla_policy publish_policy[KMQTT_A_MSG_MAX + 1] = {
	[KMQTT_A_MSG_TOPIC] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &filter_topic_range),
	[KMQTT_A_MSG_PAYLOAD] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &payload_range),
	[KMQTT_A_MSG_PAYLOAD_FD] = { .type = NLA_U32 },
	[KMQTT_A_MSG_QOS] = NLA_POLICY_MAX(NLA_U8, QOS_MAX),
	[KMQTT_A_MSG_RETAIN] = { .type = NLA_FLAG },
	[KMQTT_A_MSG_PROPERTIES] = { .type = NLA_U32 },
	[KMQTT_A_MSG_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_MSG_SERIAL] = { .type = NLA_U64 },
};

static struct netlink_range_validation sink_bytes_range = {
	.min = SINK_BYTES_MIN,
	.max = SINK_BYTES_MAX,
};

static const struct nla_policy sink_open_policy[KMQTT_A_SINK_MAX + 1] = {
	[KMQTT_A_SINK_BYTES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &sink_bytes_range),
	[KMQTT_A_SINK_ORPHAN_TIMEOUT] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &orphan_timeout_range),
	[KMQTT_A_SINK_KEEP] = { .type = NLA_FLAG },
};

static const struct nla_policy sink_done_policy[KMQTT_A_SINK_MAX + 1] = {
	[KMQTT_A_SINK_DONE] = { .type = NLA_U64 },
};

static const struct nla_policy memory_set_policy[KMQTT_A_STATS_MAX + 1] = {
	[KMQTT_A_STATS_MEMORY_LIMIT] = { .type = NLA_U64 },
};

const struct nla_policy kmqtt_rule_policy[KMQTT_A_RULE_MAX + 1] = {
	[KMQTT_A_RULE_FILTER] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &filter_topic_range),
	[KMQTT_A_RULE_ACCESS] =
		NLA_POLICY_RANGE(NLA_U8, 1, ACCESS_MAX),
	[KMQTT_A_RULE_FLAGS] =
		NLA_POLICY_MAX(NLA_U8, RULE_FLAGS_MAX),
};

static const struct nla_policy rules_id_policy[KMQTT_A_RULES_MAX + 1] = {
	[KMQTT_A_RULES_ID] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy rules_add_policy[KMQTT_A_RULES_MAX + 1] = {
	[KMQTT_A_RULES_ID] = NLA_POLICY_MIN(NLA_U32, 1),
	[KMQTT_A_RULES_RULE] = NLA_POLICY_NESTED(kmqtt_rule_policy),
};

struct sk_buff *kmqtt_nl_reply(struct genl_info *info, size_t size, u8 cmd,
			       void **hdr)
{
	struct sk_buff *skb = genlmsg_new(size, GFP_KERNEL);

	if (!skb)
		return NULL;
	*hdr = genlmsg_put_reply(skb, info, &kmqtt_family, 0, cmd);
	if (!*hdr) {
		nlmsg_free(skb);
		return NULL;
	}
	return skb;
}

int kmqtt_nl_file_begin(struct kmqtt_nl_file *answer, struct genl_info *info,
			u8 cmd)
{
	answer->reply = kmqtt_nl_reply(info, nla_total_size(sizeof(u32)), cmd,
				       &answer->hdr);
	if (!answer->reply)
		return -ENOMEM;
	answer->fd = get_unused_fd_flags(O_CLOEXEC);
	if (answer->fd < 0) {
		NL_SET_ERR_MSG(info->extack, "no descriptor to be had");
		nlmsg_free(answer->reply);
		return answer->fd;
	}
	return 0;
}

int kmqtt_nl_file_end(struct kmqtt_nl_file *answer, struct genl_info *info,
		      int type, struct file *file)
{
	int err;

	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		if (err != -ENOMEM)
			NL_SET_ERR_MSG(info->extack, "no file to be had");
		put_unused_fd(answer->fd);
		nlmsg_free(answer->reply);
		return err;
	}

	fd_install(answer->fd, file);
	nla_put_u32(answer->reply, type, answer->fd);
	genlmsg_end(answer->reply, answer->hdr);
	err = genlmsg_reply(answer->reply, info);
	if (err)
		close_fd(answer->fd);
	return err;
}

/* One record may be as large as the names of a connection, or a filter. */
int kmqtt_nl_dump_start(struct netlink_callback *cb)
{
	BUILD_BUG_ON(KMQTT_FILTER_MAX > KMQTT_CLIENT_ID_MAX);
	cb->min_dump_alloc = KMQTT_CLIENT_ID_MAX + KMQTT_USER_NAME_MAX +
			     KMQTT_NL_RECORD;
	return 0;
}

static const struct genl_multicast_group mcgrps[] = {
	{ .name = KMQTT_MCGRP_EVENTS, .flags = GENL_MCAST_CAP_NET_ADMIN },
};

/* Lost wake-ups lose nothing: the bits stay on the connection, and who listens
 * is told that he has lost something.
 */
void kmqtt_nl_event(struct kmqtt_ns *ns, u32 seq)
{
	struct sk_buff *skb;
	void *hdr;

	skb = genlmsg_new(nla_total_size(sizeof(u32)), GFP_KERNEL);
	if (!skb) {
		genl_set_err(&kmqtt_family, ns->net, 0, 0, -ENOBUFS);
		return;
	}
	hdr = genlmsg_put(skb, 0, 0, &kmqtt_family, 0, KMQTT_CMD_EVENT);
	if (!hdr || nla_put_u32(skb, KMQTT_A_CONN_EVENT_SEQ, seq)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, hdr);
	genlmsg_multicast_netns(&kmqtt_family, ns->net, skb, 0, 0, GFP_KERNEL);
}

static const struct genl_ops kmqtt_ops[] = {
	{
		.cmd = KMQTT_CMD_CONN_ADD,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_add_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_add_doit,
	},
	{
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_set_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_set_doit,
	},
	{
		.cmd = KMQTT_CMD_CONN_DEL,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_del_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_del_doit,
	},
	{
		.cmd = KMQTT_CMD_CONN_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_get_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_get_doit,
		.start = kmqtt_nl_dump_start,
		.dumpit = kmqtt_nl_conn_get_dumpit,
	},
	{
		.cmd = KMQTT_CMD_CONN_ADOPT,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_adopt_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_adopt_doit,
	},
	{
		.cmd = KMQTT_CMD_SUB_ADD,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sub_add_policy,
		.maxattr = KMQTT_A_SUB_MAX,
		.doit = kmqtt_nl_sub_add_doit,
	},
	{
		.cmd = KMQTT_CMD_SUB_DEL,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sub_del_policy,
		.maxattr = KMQTT_A_SUB_MAX,
		.doit = kmqtt_nl_sub_del_doit,
	},
	{
		.cmd = KMQTT_CMD_SUB_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sub_get_policy,
		.maxattr = KMQTT_A_SUB_MAX,
		.start = kmqtt_nl_dump_start,
		.dumpit = kmqtt_nl_sub_get_dumpit,
	},
	{
		.cmd = KMQTT_CMD_PUBLISH,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = publish_policy,
		.maxattr = KMQTT_A_MSG_MAX,
		.doit = kmqtt_nl_publish_doit,
	},
	{
		.cmd = KMQTT_CMD_STATS_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.doit = kmqtt_nl_stats_get_doit,
	},
	{
		.cmd = KMQTT_CMD_FLUSH,
		.flags = GENL_UNS_ADMIN_PERM,
		.doit = kmqtt_nl_flush_doit,
	},
	{
		.cmd = KMQTT_CMD_SINK_OPEN,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sink_open_policy,
		.maxattr = KMQTT_A_SINK_MAX,
		.doit = kmqtt_nl_sink_open_doit,
	},
	{
		.cmd = KMQTT_CMD_SINK_DONE,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sink_done_policy,
		.maxattr = KMQTT_A_SINK_MAX,
		.doit = kmqtt_nl_sink_done_doit,
	},
	{
		.cmd = KMQTT_CMD_TRUNK_OPEN,
		.flags = GENL_UNS_ADMIN_PERM,
		.doit = kmqtt_nl_trunk_open_doit,
	},
	{
		.cmd = KMQTT_CMD_MEMORY_SET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = memory_set_policy,
		.maxattr = KMQTT_A_STATS_MAX,
		.doit = kmqtt_nl_memory_set_doit,
	},
	{
		.cmd = KMQTT_CMD_RULES_BEGIN,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = rules_id_policy,
		.maxattr = KMQTT_A_RULES_MAX,
		.doit = kmqtt_nl_rules_begin_doit,
	},
	{
		.cmd = KMQTT_CMD_RULES_ADD,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = rules_add_policy,
		.maxattr = KMQTT_A_RULES_MAX,
		.doit = kmqtt_nl_rules_add_doit,
	},
	{
		.cmd = KMQTT_CMD_RULES_COMMIT,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = rules_id_policy,
		.maxattr = KMQTT_A_RULES_MAX,
		.doit = kmqtt_nl_rules_commit_doit,
	},
	{
		.cmd = KMQTT_CMD_RULES_DEL,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = rules_id_policy,
		.maxattr = KMQTT_A_RULES_MAX,
		.doit = kmqtt_nl_rules_del_doit,
	},
};

struct genl_family kmqtt_family __ro_after_init = {
	.name = KMQTT_GENL_NAME,
	.version = KMQTT_GENL_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = kmqtt_ops,
	.n_ops = ARRAY_SIZE(kmqtt_ops),
	.mcgrps = mcgrps,
	.n_mcgrps = ARRAY_SIZE(mcgrps),
};

int __init kmqtt_netlink_init(void)
{
	return genl_register_family(&kmqtt_family);
}

void kmqtt_netlink_exit(void)
{
	genl_unregister_family(&kmqtt_family);
}
