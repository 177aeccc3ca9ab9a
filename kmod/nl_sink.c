// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include <linux/err.h>

#include "access.h"
#include "sink.h"

enum {
	SINK_BYTES_DEFAULT = 16 << 20,
	ORPHAN_TIMEOUT_DEFAULT = 60,
};

int kmqtt_nl_sink_open_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct nlattr **attrs = info->attrs;
	struct kmqtt_nl_file answer;
	struct file *file;
	int err;

	err = kmqtt_nl_file_begin(&answer, info, KMQTT_CMD_SINK_OPEN);
	if (err)
		return err;
	file = kmqtt_sink_open(&ns->sink,
			       kmqtt_nl_u32(attrs, KMQTT_A_SINK_BYTES,
					    SINK_BYTES_DEFAULT),
			       kmqtt_nl_u32(attrs, KMQTT_A_SINK_ORPHAN_TIMEOUT,
					    ORPHAN_TIMEOUT_DEFAULT),
			       nla_get_flag(attrs[KMQTT_A_SINK_KEEP]));
	if (!IS_ERR(file)) {
		mutex_lock(&ns->lock);
		kmqtt_ruleset_del_all(ns);
		mutex_unlock(&ns->lock);
	}
	err = kmqtt_nl_file_end(&answer, info, KMQTT_A_SINK_FD, file);
	if (err == -EBUSY)
		NL_SET_ERR_MSG(info->extack,
			       "sink is open already: there is a daemon");
	return err;
}

int kmqtt_nl_sink_done_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	int err;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_SINK_DONE)) {
		NL_SET_ERR_MSG(info->extack, "done missing");
		return -EINVAL;
	}
	err = kmqtt_sink_done(&ns->sink,
			      nla_get_u64(info->attrs[KMQTT_A_SINK_DONE]));
	if (err)
		NL_SET_ERR_MSG(info->extack, "done has not been read");
	return err;
}
