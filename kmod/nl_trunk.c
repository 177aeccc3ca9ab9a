// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include "trunk.h"

int kmqtt_nl_trunk_open_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_nl_file answer;
	int err;

	err = kmqtt_nl_file_begin(&answer, info, KMQTT_CMD_TRUNK_OPEN);
	if (err)
		return err;
	return kmqtt_nl_file_end(&answer, info, KMQTT_A_TRUNK_FD,
				 kmqtt_trunk_open(ns));
}
