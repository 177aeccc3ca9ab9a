/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Topic aliases of a client (MQTT 5, section 3.3.2.3.4): numbers that stand for
 * topic names on its connection. They go no further: what is passed on has the
 * topic name, and no alias.
 *
 * The worker's; process context, may sleep.
 */
#ifndef _KMQTT_ALIAS_H_
#define _KMQTT_ALIAS_H_

#include <linux/types.h>
#include <linux/kmqtt.h>

struct kmqtt_conn;
struct kmqtt_head;
struct kmqtt_msg;

/**
 * struct kmqtt_alias - a topic name that has an alias
 * @len: bytes of it
 * @topic: the topic name
 */
struct kmqtt_alias {
	u16 len;
	u8 topic[];
};

/**
 * struct kmqtt_aliases - those of a connection
 * @max: the highest there can be
 * @topics: by alias less 1, NULL where there is none
 */
struct kmqtt_aliases {
	u16 max;
	struct kmqtt_alias *topics[];
};

enum kmqtt_end kmqtt_alias_resolve(struct kmqtt_conn *conn, const u8 *packet,
				   const struct kmqtt_head *head,
				   const struct kmqtt_alias **alias);
struct kmqtt_msg *kmqtt_alias_replace(const struct kmqtt_msg *msg,
				      const struct kmqtt_head *head,
				      const struct kmqtt_alias *alias,
				      u32 more);
void kmqtt_aliases_free(struct kmqtt_conn *conn);

#endif /* _KMQTT_ALIAS_H_ */
