// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include <linux/fdtable.h>
#include <linux/file.h>

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
	struct sk_buff *reply;
	struct file *file;
	int fd, err;
	void *hdr;

	reply = kmqtt_nl_reply(info, nla_total_size(sizeof(u32)),
			       KMQTT_CMD_SINK_OPEN, &hdr);
	if (!reply)
		return -ENOMEM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		NL_SET_ERR_MSG(info->extack, "no descriptor to be had");
		err = fd;
		goto free_reply;
	}
	file = kmqtt_sink_open(&ns->sink,
			       kmqtt_nl_u32(attrs, KMQTT_A_SINK_BYTES,
					    SINK_BYTES_DEFAULT),
			       kmqtt_nl_u32(attrs, KMQTT_A_SINK_ORPHAN_TIMEOUT,
					    ORPHAN_TIMEOUT_DEFAULT),
			       nla_get_flag(attrs[KMQTT_A_SINK_KEEP]));
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		if (err == -EBUSY)
			NL_SET_ERR_MSG(info->extack,
				       "sink is open already: there is a daemon");
		else if (err != -ENOMEM)
			NL_SET_ERR_MSG(info->extack, "no file to be had");
		goto put_fd;
	}
	mutex_lock(&ns->lock);
	kmqtt_ruleset_del_all(ns);
	mutex_unlock(&ns->lock);

	fd_install(fd, file);
	nla_put_u32(reply, KMQTT_A_SINK_FD, fd);
	genlmsg_end(reply, hdr);
	err = genlmsg_reply(reply, info);
	if (err)
		close_fd(fd);
	return err;

put_fd:
	put_unused_fd(fd);
free_reply:
	nlmsg_free(reply);
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
