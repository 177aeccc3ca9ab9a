/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The socket layer: kmqtt as an upper layer protocol (ULP) of TCP, which makes
 * it exclusive on a socket and pins the module, and what it replaces there.
 */
#ifndef _KMQTT_SOCK_H_
#define _KMQTT_SOCK_H_

#include <linux/types.h>

struct kmqtt_conn;
struct netlink_ext_ack;

int kmqtt_sock_attach(struct kmqtt_conn *conn, struct netlink_ext_ack *extack);
u32 kmqtt_sock_read(struct kmqtt_conn *conn, void *to, u32 room);
u32 kmqtt_sock_send(struct kmqtt_conn *conn, void *data, u32 len);
bool kmqtt_sock_was_read(struct kmqtt_conn *conn, u64 done);
void kmqtt_sock_done(struct kmqtt_conn *conn, u64 done);
void kmqtt_sock_rewind(struct kmqtt_conn *conn);

int kmqtt_sock_init(void);
void kmqtt_sock_exit(void);

#endif /* _KMQTT_SOCK_H_ */
