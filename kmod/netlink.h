/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The generic netlink family: see uapi/linux/kmqtt.h for the contract.
 */
#ifndef _KMQTT_NETLINK_H_
#define _KMQTT_NETLINK_H_

#include <linux/types.h>

struct kmqtt_ns;

/* Tell whoever listens that a connection has an event; may sleep. */
void kmqtt_nl_event(struct kmqtt_ns *ns, u32 seq);

int kmqtt_netlink_init(void);
void kmqtt_netlink_exit(void);

#endif /* _KMQTT_NETLINK_H_ */
