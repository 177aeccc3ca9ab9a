// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include <linux/fdtable.h>
#include <linux/file.h>

#include "trunk.h"

int kmqtt_nl_trunk_open_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply;
	struct file *file;
	int fd, err;
	void *hdr;

	reply = kmqtt_nl_reply(info, nla_total_size(sizeof(u32)),
			       KMQTT_CMD_TRUNK_OPEN, &hdr);
	if (!reply)
		return -ENOMEM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		NL_SET_ERR_MSG(info->extack, "no descriptor to be had");
		err = fd;
		goto free_reply;
	}
	file = kmqtt_trunk_open(ns);
	if (IS_ERR(file)) {
		NL_SET_ERR_MSG(info->extack, "no file to be had");
		err = PTR_ERR(file);
		goto put_fd;
	}

	fd_install(fd, file);
	nla_put_u32(reply, KMQTT_A_TRUNK_FD, fd);
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
