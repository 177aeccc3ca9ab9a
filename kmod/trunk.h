/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trunk: the one descriptor through which the daemon gets what connections have
 * for it, and sends to them, many with a system call. A packet that is handed over
 * so costs a fraction of what recv() and send() of each connection do.
 */
#ifndef _KMQTT_TRUNK_H_
#define _KMQTT_TRUNK_H_

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

struct file;
struct kmqtt_conn;
struct kmqtt_ns;

/**
 * struct kmqtt_trunk - a namespace's trunk
 * @arrived: connections of the namespace that have something to be read, the first
 *	first; @lock. They are taken off under kmqtt_ns.lock as well, which keeps
 *	them.
 * @lock: taken inside the sockets' spinlocks
 * @users: descriptors; kmqtt_ns.lock and @lock. Without, nothing is added.
 * @wait: who waits for one
 * @read_lock: one reader at a time; taken before kmqtt_ns.lock
 * @scratch: records being read; @read_lock. Made under kmqtt_ns.lock by the first
 *	trunk-open
 */
struct kmqtt_trunk {
	struct list_head arrived;
	spinlock_t lock; /* of the list */
	u32 users;
	wait_queue_head_t wait;
	struct mutex read_lock; /* one reader at a time */
	u8 *scratch;
};

/* Any context: a connection has something to be read, or has come to its end. */
void kmqtt_trunk_arrived(struct kmqtt_conn *conn);

/* Under kmqtt_ns.lock: it is forgotten; nothing is read of it any more. */
void kmqtt_trunk_leave(struct kmqtt_conn *conn);

/* Process context, may sleep. */
struct file *kmqtt_trunk_open(struct kmqtt_ns *ns);

void kmqtt_trunk_init(struct kmqtt_trunk *trunk);
void kmqtt_trunk_exit(struct kmqtt_trunk *trunk);

#endif /* _KMQTT_TRUNK_H_ */
