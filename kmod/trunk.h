/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trunk: the one descriptor through which the daemon gets what connections have
 * for it, and sends to them, many with a system call. A packet that is handed over
 * so costs a fraction of what recv() and send() of each connection do.
 */
#ifndef _KMQTT_TRUNK_H_
#define _KMQTT_TRUNK_H_

#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/wait.h>

struct file;
struct kmqtt_conn;
struct kmqtt_ns;

/**
 * struct kmqtt_trunk - a namespace's trunk
 * @arrived: connections that have something to be read, each with a reference;
 *	anybody adds
 * @reading: those taken from there, the oldest first; under @read_lock
 * @scratch: records being read; likewise. NULL before the first trunk-open
 * @wait: who waits for one
 * @read_lock: one reader at a time; taken before kmqtt_ns.lock
 * @users: descriptors; kmqtt_ns.lock. Without, nothing is added.
 */
struct kmqtt_trunk {
	struct llist_head arrived;
	struct llist_node *reading;
	u8 *scratch;
	wait_queue_head_t wait;
	struct mutex read_lock; /* one reader at a time */
	u32 users;
};

/* Any context: a connection has something to be read, or has come to its end. */
void kmqtt_trunk_arrived(struct kmqtt_conn *conn);

/* Process context, may sleep. */
struct file *kmqtt_trunk_open(struct kmqtt_ns *ns);

void kmqtt_trunk_init(struct kmqtt_trunk *trunk);
void kmqtt_trunk_exit(struct kmqtt_trunk *trunk);

#endif /* _KMQTT_TRUNK_H_ */
