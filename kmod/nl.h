/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the netlink family share: netlink.c has its policies and
 * operations, nl_*.c what the operations do, by the noun in their names.
 *
 * Requests may run at the same time. All of them are in process context, with
 * attributes that their policy has checked, and take ns->lock themselves. An
 * error has text in info->extack, but for -ENOMEM.
 */
#ifndef _KMQTT_NL_H_
#define _KMQTT_NL_H_

#include <net/genetlink.h>

#include "ns.h"

struct kmqtt_conn;

/* Versions of MQTT, as in CONNECT (3.1.2.2): 3.1, 3.1.1, 5.0. */
enum {
	KMQTT_LEVEL_MIN = 3,
	KMQTT_LEVEL_MAX = 5,
};

/* Bytes of a record, less the text in it. */
enum { KMQTT_NL_RECORD = 1024 };

extern struct genl_family kmqtt_family;
extern const struct nla_policy kmqtt_filter_policy[KMQTT_A_FILTER_MAX + 1];
extern const struct nla_policy kmqtt_rule_policy[KMQTT_A_RULE_MAX + 1];

/* The value of attribute @type, or @otherwise if it is not there. */
static inline u32 kmqtt_nl_u32(struct nlattr **attrs, int type, u32 otherwise)
{
	return attrs[type] ? nla_get_u32(attrs[type]) : otherwise;
}

/* The connection that attribute @type names; ns->lock is held. Return: it, or
 * -EINVAL, -ENOENT as a pointer.
 */
struct kmqtt_conn *kmqtt_nl_find(struct kmqtt_ns *ns, struct genl_info *info,
				 int type);

/* Begin an answer with room for @size bytes of attributes. Return: it, with
 * what genlmsg_end() wants in @hdr; NULL: no memory.
 */
struct sk_buff *kmqtt_nl_reply(struct genl_info *info, size_t size, u8 cmd,
			       void **hdr);

/**
 * struct kmqtt_nl_file - an answer with a descriptor of the caller's
 * @reply: the answer
 * @hdr: what genlmsg_end() wants
 * @fd: the descriptor, reserved
 */
struct kmqtt_nl_file {
	struct sk_buff *reply;
	void *hdr;
	int fd;
};

/* Get ready all that can fail, before the file is made. Return: 0 or an error;
 * then there is nothing to end.
 */
int kmqtt_nl_file_begin(struct kmqtt_nl_file *answer, struct genl_info *info,
			u8 cmd);

/* Answer with the descriptor of @file as attribute @type, or undo what has begun
 * if it is an error. Return: 0 or an error, and then the file is closed.
 */
int kmqtt_nl_file_end(struct kmqtt_nl_file *answer, struct genl_info *info,
		      int type, struct file *file);

int kmqtt_nl_dump_start(struct netlink_callback *cb);

int kmqtt_nl_conn_add_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_conn_set_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_conn_del_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_conn_get_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_conn_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int kmqtt_nl_conn_adopt_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_flush_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_sub_add_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_sub_del_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_sub_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int kmqtt_nl_publish_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_memory_set_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_sink_open_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_sink_done_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_trunk_open_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_rules_begin_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_rules_add_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_rules_commit_doit(struct sk_buff *skb, struct genl_info *info);
int kmqtt_nl_rules_del_doit(struct sk_buff *skb, struct genl_info *info);

#endif /* _KMQTT_NL_H_ */
