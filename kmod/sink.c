// SPDX-License-Identifier: GPL-2.0
#include "sink.h"

#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

#include "conn.h"
#include "ns.h"
#include "sub.h"
#include "worker.h"

/* Before the first descriptor, which says how much. */
enum { SINK_LIMIT = 65536 };

/* Seconds that connections last before the first daemon comes. */
enum { ORPHAN_TIMEOUT = 60 };

/* Bytes that a record holds after its head: topic name, properties, payload. */
static u32 record_body(const struct kmqtt_msg *msg)
{
	return msg->topic_len + msg->property_bytes + msg->len - msg->payload;
}

static u32 record_size(const struct kmqtt_msg *msg)
{
	return ALIGN(sizeof(struct kmqtt_sink_record) + record_body(msg),
		     KMQTT_SINK_ALIGN);
}

/* The memory that a record pins. */
static u64 record_charge(const struct kmqtt_msg *msg)
{
	return msg->page ? page_size(msg->page) : kmqtt_sink_charge(msg->len);
}

/* A small message in a chunk would pin much more than itself. */
static struct kmqtt_msg *record_of(struct kmqtt_msg *msg)
{
	struct kmqtt_msg *copy = NULL;

	if (!kmqtt_msg_fills(msg))
		copy = kmqtt_msg_copy(msg, GFP_KERNEL);
	if (copy)
		return copy;
	kmqtt_msg_hold(msg);
	return msg;
}

static void charge(struct kmqtt_sink *sink, s64 bytes)
{
	WRITE_ONCE(sink->bytes, sink->bytes + bytes);
}

static u64 *sinking(struct kmqtt_sink *sink, const struct kmqtt_worker *worker)
{
	return &sink->ns->counters[worker->index].sinking;
}

/**
 * kmqtt_sink_push() - queue a message for the daemon
 * @sink: the sink
 * @worker: the worker that received it
 * @msg: the message, which nobody else has seen; gets its sequence
 *
 * To be followed by kmqtt_sink_sent().
 *
 * Return: the record, with a reference; nobody reads it before.
 */
struct kmqtt_msg *kmqtt_sink_push(struct kmqtt_sink *sink,
				  struct kmqtt_worker *worker,
				  struct kmqtt_msg *msg)
{
	struct kmqtt_msg *record = record_of(msg);
	u64 *oldest = sinking(sink, worker);

	record->next = NULL;
	kmqtt_msg_hold(record);

	spin_lock(&sink->lock);
	record->seq = ++sink->seq;
	msg->seq = record->seq;
	if (!*oldest)
		WRITE_ONCE(*oldest, record->seq);
	*sink->last = record;
	sink->last = &record->next;
	if (!sink->next)
		sink->next = record;
	sink->nr++;
	charge(sink, record_charge(record));
	spin_unlock(&sink->lock);
	return record;
}

/* The messages that a worker has queued are on their way: let them be read. */
void kmqtt_sink_sent(struct kmqtt_sink *sink, struct kmqtt_worker *worker)
{
	/* Pairs with next_readable(). */
	smp_store_release(sinking(sink, worker), 0);
	wake_up_interruptible_poll(&sink->wait, EPOLLIN | EPOLLRDNORM);
}

/* A publisher's message went in. Return: whether it has to wait for room. */
bool kmqtt_sink_wait(struct kmqtt_conn *conn)
{
	struct kmqtt_sink *sink = &conn->ns->sink;
	bool full;

	spin_lock(&sink->lock);
	full = kmqtt_sink_full(sink, 0);
	if (full && !test_and_set_bit(KMQTT_CONN_NO_SINK, &conn->flags)) {
		kmqtt_conn_hold(conn);
		list_add_tail(&conn->sink_wait, &sink->waiting);
		sink->nr_waiting++;
		sink->waits++;
	}
	spin_unlock(&sink->lock);
	return full;
}

static void waiting_del(struct kmqtt_sink *sink, struct kmqtt_conn *conn)
{
	list_del(&conn->sink_wait);
	sink->nr_waiting--;
	clear_bit(KMQTT_CONN_NO_SINK, &conn->flags);
}

/* A publisher does not wait any more. */
void kmqtt_sink_leave(struct kmqtt_conn *conn)
{
	struct kmqtt_sink *sink = &conn->ns->sink;
	bool waited;

	spin_lock(&sink->lock);
	waited = test_bit(KMQTT_CONN_NO_SINK, &conn->flags);
	if (waited)
		waiting_del(sink, conn);
	spin_unlock(&sink->lock);
	if (waited)
		kmqtt_conn_put(conn);
}

/* With half of the room free, those who wait go on. */
static void resume(struct kmqtt_sink *sink)
{
	struct kmqtt_conn *conn;

	do {
		conn = NULL;
		spin_lock(&sink->lock);
		if (sink->bytes <= sink->limit / 2)
			conn = list_first_entry_or_null(&sink->waiting,
							struct kmqtt_conn,
							sink_wait);
		if (conn)
			waiting_del(sink, conn);
		spin_unlock(&sink->lock);
		if (conn) {
			kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
			kmqtt_conn_put(conn);
		}
	} while (conn);
}

/* Whether there is a record to read, and its message is on its way to all
 * workers; under @sink->lock.
 */
static bool next_readable(struct kmqtt_sink *sink)
{
	u64 first = sink->seq + 1;
	u32 i;

	if (!sink->next)
		return false;
	if (sink->next->seq <= sink->readable)
		return true;

	for (i = 0; i < kmqtt_nr_workers; i++) {
		/* Pairs with kmqtt_sink_sent(). */
		u64 seq = smp_load_acquire(&sink->ns->counters[i].sinking);

		if (seq && seq < first)
			first = seq;
	}
	sink->readable = first - 1;
	return sink->next->seq <= sink->readable;
}

static bool sink_readable(struct kmqtt_sink *sink)
{
	bool readable;

	spin_lock(&sink->lock);
	readable = next_readable(sink);
	spin_unlock(&sink->lock);
	return readable;
}

static struct kmqtt_msg *read_begin(struct kmqtt_sink *sink)
{
	struct kmqtt_msg *msg = NULL;

	spin_lock(&sink->lock);
	if (next_readable(sink)) {
		msg = sink->next;
		sink->reading = true;
	}
	spin_unlock(&sink->lock);
	return msg;
}

/* Take the oldest record out; under @sink->lock. */
static void head_remove(struct kmqtt_sink *sink)
{
	struct kmqtt_msg *msg = sink->head;

	sink->head = msg->next;
	if (!sink->head)
		sink->last = &sink->head;
	sink->nr--;
	charge(sink, -record_charge(msg));
}

/* @n more bytes of a record were read. Return: whether all of it was. */
static bool read_end(struct kmqtt_sink *sink, struct kmqtt_msg *msg, u32 n)
{
	bool whole, done;

	spin_lock(&sink->lock);
	sink->reading = false;
	sink->off += n;
	whole = sink->off == record_size(msg);
	done = whole && !sink->keep;
	if (whole) {
		sink->next = msg->next;
		sink->off = 0;
	}
	if (done)
		head_remove(sink);
	spin_unlock(&sink->lock);

	if (done)
		kmqtt_msg_put(msg);
	return whole;
}

/* The oldest record, taken out, if it is done with number @seq; or NULL. */
static struct kmqtt_msg *done_remove(struct kmqtt_sink *sink, u64 seq)
{
	struct kmqtt_msg *msg;

	spin_lock(&sink->lock);
	msg = sink->head;
	if (msg && msg != sink->next && msg->seq <= seq)
		head_remove(sink);
	else
		msg = NULL;
	spin_unlock(&sink->lock);
	return msg;
}

/**
 * kmqtt_sink_done() - forget records that were kept
 * @sink: the sink
 * @seq: the last that the daemon is through with
 *
 * Return: 0, or -EINVAL: that one has not been read.
 */
int kmqtt_sink_done(struct kmqtt_sink *sink, u64 seq)
{
	struct kmqtt_msg *msg;
	bool read;

	spin_lock(&sink->lock);
	read = seq <= sink->seq && (!sink->next || seq < sink->next->seq);
	spin_unlock(&sink->lock);
	if (!read)
		return -EINVAL;
	while ((msg = done_remove(sink, seq))) {
		kmqtt_msg_put(msg);
		cond_resched();
	}
	resume(sink);
	return 0;
}

/* Copy a record to user space, from byte @off on. Return: bytes copied. */
static u32 record_copy(const struct kmqtt_msg *msg, u32 off,
		       struct iov_iter *to)
{
	static const u8 padding[KMQTT_SINK_ALIGN];
	u32 body = record_body(msg), size = record_size(msg);
	struct kmqtt_sink_record record = {
		.seq = msg->seq,
		.size = size,
		.conn_id = msg->conn_id,
		.payload_len = msg->len - msg->payload,
		.topic_len = msg->topic_len,
		.qos = msg->qos,
		.flags = msg->sink,
		.properties_len = msg->property_bytes,
	};
	const struct kvec parts[] = {
		{ &record, sizeof(record) },
		{ msg->data + msg->topic_off, msg->topic_len },
		{ msg->data + msg->payload - msg->property_bytes,
		  body - msg->topic_len },
		{ (void *)padding, size - sizeof(record) - body },
	};
	u32 done = 0, i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		u32 skip = min_t(u32, off, parts[i].iov_len), n;

		off -= skip;
		n = copy_to_iter(parts[i].iov_base + skip,
				 parts[i].iov_len - skip, to);
		done += n;
		if (n < parts[i].iov_len - skip)
			break;
	}
	return done;
}

/* Return: bytes read; 0: there are none; -EFAULT. */
static ssize_t sink_read(struct kmqtt_sink *sink, struct iov_iter *to)
{
	struct kmqtt_msg *msg;
	ssize_t done = 0;

	while (iov_iter_count(to)) {
		u32 n;

		msg = read_begin(sink);
		if (!msg)
			break;
		n = record_copy(msg, sink->off, to);
		done += n;
		if (!read_end(sink, msg, n) && iov_iter_count(to)) {
			done = done ?: -EFAULT;
			break;
		}
		cond_resched();
	}
	resume(sink);
	return done;
}

static ssize_t sink_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct kmqtt_sink *sink = iocb->ki_filp->private_data;
	bool nowait = iocb->ki_flags & IOCB_NOWAIT ||
		      iocb->ki_filp->f_flags & O_NONBLOCK;
	ssize_t ret;

	if (!iov_iter_count(to))
		return 0;
	for (;;) {
		if (!nowait)
			ret = mutex_lock_interruptible(&sink->read_lock);
		else
			ret = mutex_trylock(&sink->read_lock) ? 0 : -EAGAIN;
		if (ret)
			return ret;
		ret = sink_read(sink, to);
		mutex_unlock(&sink->read_lock);
		if (ret)
			return ret;
		if (nowait)
			return -EAGAIN;
		ret = wait_event_interruptible(sink->wait, sink_readable(sink));
		if (ret)
			return ret;
	}
}

static __poll_t sink_poll(struct file *file, poll_table *wait)
{
	struct kmqtt_sink *sink = file->private_data;

	poll_wait(file, &sink->wait, wait);
	return sink_readable(sink) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* The daemon has been gone for too long. */
static void orphan(struct work_struct *work)
{
	struct kmqtt_sink *sink = container_of(to_delayed_work(work),
					       struct kmqtt_sink, orphan);
	struct kmqtt_ns *ns = sink->ns;

	mutex_lock(&ns->lock);
	if (!READ_ONCE(sink->owner))
		kmqtt_conn_del_all(ns, false, KMQTT_END_ORPHANED);
	mutex_unlock(&ns->lock);
}

/* Not on the system's ordinary workqueue: it waits for sockets, whose owners may
 * be waiting for memory, and for as many as there are.
 */
static void orphan_later(struct kmqtt_sink *sink)
{
	queue_delayed_work(system_long_wq, &sink->orphan,
			   sink->orphan_timeout * HZ);
}

/* What was read in part only, or is not done, the next reader reads again. */
static int sink_release(struct inode *inode, struct file *file)
{
	struct kmqtt_sink *sink = file->private_data;
	struct pid *owner;

	spin_lock(&sink->lock);
	sink->off = 0;
	sink->next = sink->head;
	owner = sink->owner;
	WRITE_ONCE(sink->owner, NULL);
	orphan_later(sink);
	spin_unlock(&sink->lock);
	put_pid(owner);
	put_net(sink->ns->net);
	return 0;
}

static const struct file_operations sink_fops = {
	.owner = THIS_MODULE,
	.read_iter = sink_read_iter,
	.poll = sink_poll,
	.release = sink_release,
};

/**
 * kmqtt_sink_guard() - a connection came
 * @sink: the sink
 *
 * Without a daemon it does not stay for ever either: nobody else may find it.
 * Process context.
 */
void kmqtt_sink_guard(struct kmqtt_sink *sink)
{
	spin_lock(&sink->lock);
	/* Of no effect if it is pending. */
	if (!sink->owner)
		orphan_later(sink);
	spin_unlock(&sink->lock);
}

/**
 * kmqtt_sink_open() - make the file that the sink is read through
 * @sink: the sink
 * @limit: bytes that make it full
 * @orphan_timeout: seconds that connections outlive the file
 * @keep: what is read stays, until kmqtt_sink_done()
 *
 * Return: the file, or -EBUSY: there is one already, or another error.
 */
struct file *kmqtt_sink_open(struct kmqtt_sink *sink, u32 limit,
			     u32 orphan_timeout, bool keep)
{
	struct file *file;
	bool busy;

	spin_lock(&sink->lock);
	busy = sink->owner;
	if (!busy)
		WRITE_ONCE(sink->owner, get_pid(task_tgid(current)));
	spin_unlock(&sink->lock);
	if (busy)
		return ERR_PTR(-EBUSY);

	file = anon_inode_getfile("[kmqtt-sink]", &sink_fops, sink, O_RDONLY);
	if (IS_ERR(file)) {
		spin_lock(&sink->lock);
		put_pid(sink->owner);
		WRITE_ONCE(sink->owner, NULL);
		spin_unlock(&sink->lock);
		kmqtt_sink_guard(sink);
		return file;
	}

	spin_lock(&sink->lock);
	WRITE_ONCE(sink->limit, limit);
	WRITE_ONCE(sink->opened, true);
	sink->keep = keep;
	sink->orphan_timeout = orphan_timeout;
	spin_unlock(&sink->lock);
	cancel_delayed_work_sync(&sink->orphan);
	get_net(sink->ns->net);
	stream_open(file_inode(file), file);
	file->f_mode |= FMODE_NOWAIT;
	resume(sink);
	return file;
}

/**
 * kmqtt_sink_seq() - the sequence of the newest record
 * @sink: the sink
 *
 * Subscriptions made before get every message whose record comes later: by the
 * lock, it is matched after they became visible.
 */
u64 kmqtt_sink_seq(struct kmqtt_sink *sink)
{
	u64 seq;

	spin_lock(&sink->lock);
	seq = sink->seq;
	spin_unlock(&sink->lock);
	return seq;
}

static void put_until(struct kmqtt_msg *msg, const struct kmqtt_msg *end)
{
	while (msg != end) {
		struct kmqtt_msg *next = msg->next;

		kmqtt_msg_put(msg);
		msg = next;
		cond_resched();
	}
}

/* Forget all records, but for one that is being read: the stream goes on. */
void kmqtt_sink_flush(struct kmqtt_sink *sink)
{
	struct kmqtt_msg *first = NULL, *rest = NULL, *msg;

	spin_lock(&sink->lock);
	if (sink->off || sink->reading)
		first = sink->next;
	if (first)
		rest = first->next;
	msg = sink->head;
	sink->head = first;
	sink->next = first;
	sink->last = first ? &first->next : &sink->head;
	sink->nr = !!first;
	charge(sink, (first ? record_charge(first) : 0) - sink->bytes);
	if (first)
		first->next = NULL;
	spin_unlock(&sink->lock);

	put_until(msg, first);
	put_until(rest, NULL);
	resume(sink);
}

int kmqtt_sink_init(struct kmqtt_sink *sink, struct kmqtt_ns *ns)
{
	spin_lock_init(&sink->lock);
	mutex_init(&sink->read_lock);
	init_waitqueue_head(&sink->wait);
	INIT_LIST_HEAD(&sink->waiting);
	INIT_DELAYED_WORK(&sink->orphan, orphan);
	sink->last = &sink->head;
	sink->limit = SINK_LIMIT;
	sink->orphan_timeout = ORPHAN_TIMEOUT;
	sink->ns = ns;

	sink->conn = kzalloc(sizeof(*sink->conn), GFP_KERNEL_ACCOUNT);
	if (!sink->conn)
		return -ENOMEM;
	sink->conn->ns = ns;
	sink->conn->id = KMQTT_SINK_ID;
	return 0;
}

void kmqtt_sink_exit(struct kmqtt_sink *sink)
{
	cancel_delayed_work_sync(&sink->orphan);
	mutex_lock(&sink->ns->lock);
	kmqtt_subs_detach(sink->conn);
	kmqtt_subs_free(sink->conn);
	mutex_unlock(&sink->ns->lock);
	kmqtt_sink_flush(sink);
	mutex_destroy(&sink->read_lock);
	kfree(sink->conn);
}
