// SPDX-License-Identifier: GPL-2.0
/*
 * kmqtt: an MQTT broker whose telemetry path stays in the kernel.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <net/genetlink.h>
#include <net/tcp.h>

#include "conn.h"
#include "msg.h"
#include "netlink.h"
#include "ns.h"
#include "sock.h"
#include "sub.h"
#include "worker.h"

static int __init kmqtt_init(void)
{
	int err;

	err = kmqtt_msg_init();
	if (err)
		return err;
	err = kmqtt_conn_init();
	if (err)
		goto exit_msg;
	err = kmqtt_sub_init();
	if (err)
		goto exit_conn;
	err = kmqtt_workers_init();
	if (err)
		goto exit_sub;
	err = kmqtt_ns_init();
	if (err)
		goto exit_workers;
	err = kmqtt_sock_init();
	if (err)
		goto exit_ns;
	err = kmqtt_netlink_init();
	if (err)
		goto exit_sock;
	return 0;

exit_sock:
	kmqtt_sock_exit();
exit_ns:
	kmqtt_ns_exit();
exit_workers:
	kmqtt_workers_exit();
exit_sub:
	kmqtt_sub_exit();
exit_conn:
	kmqtt_conn_exit();
exit_msg:
	kmqtt_msg_exit();
	return err;
}

static void __exit kmqtt_exit(void)
{
	kmqtt_netlink_exit();
	kmqtt_sock_exit();
	/* The last socket put its reference to the module while still in
	 * kmqtt_close(): wait until nobody can be there any more, preempted or
	 * not.
	 */
	synchronize_rcu_tasks();
	kmqtt_ns_exit();
	kmqtt_workers_exit();
	rcu_barrier();
	kmqtt_sub_exit();
	kmqtt_conn_exit();
	kmqtt_msg_exit();
}

module_init(kmqtt_init);
module_exit(kmqtt_exit);

MODULE_DESCRIPTION("MQTT broker: framing, topic matching and QoS 0 fan-out");
MODULE_AUTHOR("The kmqtt authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
MODULE_ALIAS_GENL_FAMILY("kmqtt");
MODULE_ALIAS_TCP_ULP("kmqtt");
