/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The sink: messages of one namespace that the daemon is to have, in order, and
 * all of them. It reads them as a stream of records through a descriptor, see
 * KMQTT_CMD_SINK_OPEN. Who publishes them is not read while the queue is full.
 *
 * A record can be read once the tickets of its message are in the inboxes of
 * all workers: whatever the daemon does because of it comes after.
 */
#ifndef _KMQTT_SINK_H_
#define _KMQTT_SINK_H_

#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "msg.h"

struct file;
struct kmqtt_conn;
struct kmqtt_ns;
struct kmqtt_worker;
struct pid;

/**
 * struct kmqtt_sink - the sink of a namespace
 * @lock: protects all that follows but what says otherwise
 * @head: the oldest record: a message, linked by kmqtt_msg.next
 * @last: link of the newest
 * @next: the oldest that was not read whole; those before it are not done
 * @keep: they are kept until the daemon says that they are
 * @nr: records
 * @bytes: memory that they pin
 * @limit: of @bytes: at it, it is full
 * @opened: it was opened once; no lock to read
 * @owner: who opened the descriptor that there is, the daemon, or NULL
 * @orphan_timeout: seconds that connections outlive it
 * @reading: a reader copies from @next
 * @off: bytes of @next that were read
 * @seq: of the newest record ever; the first is 1
 * @readable: records up to this one can be read
 * @waiting: publishers that wait for room, by kmqtt_conn.sink_wait
 * @nr_waiting: how many
 * @waits: how many ever
 * @read_lock: one reader at a time
 * @wait: readers wait here
 * @ns: the namespace
 * @orphan: ends the namespace's connections, when there was no daemon for long
 * @conn: whom its filters belong to, for sub.c: has neither socket nor worker
 */
struct kmqtt_sink {
	spinlock_t lock; /* protects what follows, with exceptions */
	struct kmqtt_msg *head;
	struct kmqtt_msg **last;
	struct kmqtt_msg *next;
	bool keep;
	u32 nr;
	u64 bytes;
	u32 limit;
	bool opened;
	struct pid *owner;
	u32 orphan_timeout;
	bool reading;
	u32 off;
	u64 seq;
	u64 readable;
	struct list_head waiting;
	u32 nr_waiting;
	u64 waits;
	struct mutex read_lock; /* one reader at a time */
	wait_queue_head_t wait;
	struct kmqtt_ns *ns;
	struct delayed_work orphan;
	struct kmqtt_conn *conn;
};

/* The memory that a message of @len bytes pins, in its own allocation. */
static inline u32 kmqtt_sink_charge(u32 len)
{
	return sizeof(struct kmqtt_msg) + roundup_pow_of_two(len);
}

/* Whether it is full, or will be with @more bytes; no lock. */
static inline bool kmqtt_sink_full(const struct kmqtt_sink *sink, u32 more)
{
	return READ_ONCE(sink->bytes) + more >= READ_ONCE(sink->limit);
}

/* The worker. */
struct kmqtt_msg *kmqtt_sink_push(struct kmqtt_sink *sink,
				  struct kmqtt_worker *worker,
				  struct kmqtt_msg *msg);
void kmqtt_sink_sent(struct kmqtt_sink *sink, struct kmqtt_worker *worker);
bool kmqtt_sink_wait(struct kmqtt_conn *conn);
void kmqtt_sink_leave(struct kmqtt_conn *conn);

/* Process context, may sleep. */
void kmqtt_sink_guard(struct kmqtt_sink *sink);
struct file *kmqtt_sink_open(struct kmqtt_sink *sink, u32 limit,
			     u32 orphan_timeout, bool keep);
int kmqtt_sink_done(struct kmqtt_sink *sink, u64 seq);
u64 kmqtt_sink_seq(struct kmqtt_sink *sink);
void kmqtt_sink_flush(struct kmqtt_sink *sink);

int kmqtt_sink_init(struct kmqtt_sink *sink, struct kmqtt_ns *ns);
void kmqtt_sink_exit(struct kmqtt_sink *sink);

#endif /* _KMQTT_SINK_H_ */
