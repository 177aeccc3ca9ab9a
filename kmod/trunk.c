// SPDX-License-Identifier: GPL-2.0
#include "trunk.h"

#include <linux/align.h>
#include <linux/anon_inodes.h>
#include <linux/bottom_half.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/kmqtt.h>
#include <net/net_namespace.h>

#include "conn.h"
#include "ns.h"
#include "sock.h"

/* Bytes of one write(), which a longer one is cut down to. */
enum { TRUNK_WRITE = 65536 };

/* Sends between two openings of bottom halves, as the worker's. */
enum { TRUNK_BH_BATCH = 16 };

/* Connections read before somebody else may run. */
enum { TRUNK_CONNS = 256 };

/* Bytes that are read between two copies to user space, each of which costs. */
enum { TRUNK_SCRATCH = 8192 };

/* Reading */

/**
 * kmqtt_trunk_arrived() - a connection has something to be read
 * @conn: the connection; that must be there already
 *
 * Any context.
 */
void kmqtt_trunk_arrived(struct kmqtt_conn *conn)
{
	struct kmqtt_trunk *trunk = &conn->ns->trunk;
	bool first = false;

	if (!READ_ONCE(trunk->users))
		return;
	spin_lock_bh(&trunk->lock);
	if (trunk->users && !conn->left && list_empty(&conn->arrived)) {
		first = list_empty(&trunk->arrived);
		list_add_tail(&conn->arrived, &trunk->arrived);
	}
	spin_unlock_bh(&trunk->lock);
	if (first)
		wake_up_interruptible_sync_poll(&trunk->wait,
						EPOLLIN | EPOLLRDNORM);
}

void kmqtt_trunk_leave(struct kmqtt_conn *conn)
{
	struct kmqtt_trunk *trunk = &conn->ns->trunk;

	spin_lock_bh(&trunk->lock);
	conn->left = true;
	list_del_init(&conn->arrived);
	spin_unlock_bh(&trunk->lock);
}

static bool readable(const struct kmqtt_trunk *trunk)
{
	return !list_empty(&trunk->arrived);
}

/* Take off the first; it may arrive again from now on. Under kmqtt_ns.lock. Return:
 * NULL if there is none.
 */
static struct kmqtt_conn *next_conn(struct kmqtt_trunk *trunk)
{
	struct kmqtt_conn *conn;

	spin_lock_bh(&trunk->lock);
	conn = list_first_entry_or_null(&trunk->arrived, struct kmqtt_conn,
					arrived);
	if (conn)
		list_del_init(&conn->arrived);
	spin_unlock_bh(&trunk->lock);
	return conn;
}

/* Fill the scratch with records of @room bytes at the most. Under @read_lock.
 * Return: bytes of them; 0: there are none.
 */
static u32 read_some(struct kmqtt_ns *ns, u32 room)
{
	struct kmqtt_trunk *trunk = &ns->trunk;
	struct kmqtt_conn *conn;
	u32 done = 0, nr;

	mutex_lock(&ns->lock);
	for (nr = 0; nr < TRUNK_CONNS && room - done >= KMQTT_TRUNK_LEAST; nr++) {
		conn = next_conn(trunk);
		if (!conn)
			break;
		done += kmqtt_sock_read(conn, trunk->scratch + done,
					room - done);
	}
	mutex_unlock(&ns->lock);
	return done;
}

/* Return: bytes read; 0: there are none; -EFAULT. */
static ssize_t trunk_read(struct kmqtt_ns *ns, struct iov_iter *to)
{
	ssize_t done = 0;
	size_t room;
	u32 n;

	do {
		room = min_t(size_t, iov_iter_count(to), TRUNK_SCRATCH);
		n = read_some(ns, round_down(room, KMQTT_TRUNK_ALIGN));
		if (copy_to_iter(ns->trunk.scratch, n, to) != n)
			return -EFAULT;
		done += n;
		cond_resched();
	} while (readable(&ns->trunk) &&
		 iov_iter_count(to) >= KMQTT_TRUNK_LEAST);
	return done;
}

static ssize_t trunk_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct kmqtt_ns *ns = iocb->ki_filp->private_data;
	struct kmqtt_trunk *trunk = &ns->trunk;
	ssize_t ret;

	if (iov_iter_count(to) < KMQTT_TRUNK_LEAST)
		return -EINVAL;
	for (;;) {
		/* Also with O_NONBLOCK: EAGAIN is to say that there is nothing,
		 * since poll() tells only of the first that arrives.
		 */
		ret = mutex_lock_interruptible(&trunk->read_lock);
		if (ret)
			return ret;
		ret = trunk_read(ns, to);
		mutex_unlock(&trunk->read_lock);
		if (ret)
			return ret;
		if (iocb->ki_filp->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(trunk->wait, readable(trunk));
		if (ret)
			return ret;
	}
}

static __poll_t trunk_poll(struct file *file, poll_table *wait)
{
	struct kmqtt_ns *ns = file->private_data;

	poll_wait(file, &ns->trunk.wait, wait);
	return EPOLLOUT | EPOLLWRNORM |
	       (readable(&ns->trunk) ? EPOLLIN | EPOLLRDNORM : 0);
}

/* Writing */

/* The record that @data begins with; NULL if it is none, or not whole. */
static struct kmqtt_trunk_record *record_at(u8 *data, u32 left)
{
	struct kmqtt_trunk_record *record = (void *)data;

	if (left < sizeof(*record) || !record->len ||
	    record->len > KMQTT_TRUNK_MAX ||
	    record->len > left - sizeof(*record))
		return NULL;
	return record;
}

/* Send some of the records in @data, under kmqtt_ns.lock, so that no connection
 * goes. Return: bytes that are done; with @stop, the next one cannot be sent now,
 * or the rest of the last.
 */
static u32 send_batch(struct kmqtt_ns *ns, u8 *data, u32 len, bool *stop)
{
	u32 done = 0, nr;

	mutex_lock(&ns->lock);
	local_bh_disable();
	for (nr = 0; nr < TRUNK_BH_BATCH && done < len; nr++) {
		struct kmqtt_trunk_record *record;
		struct kmqtt_conn *conn = NULL;
		u32 sent = 0;

		record = record_at(data + done, len - done);
		if (record)
			conn = xa_load(&ns->conns, record->conn_id);
		if (conn)
			sent = kmqtt_sock_send(conn, record + 1, record->len);
		if (sent)
			done += sizeof(*record) + sent;
		*stop = !sent || sent < record->len;
		if (*stop)
			break;
		done = min_t(u32, ALIGN(done, KMQTT_TRUNK_ALIGN), len);
	}
	local_bh_enable();
	mutex_unlock(&ns->lock);
	return done;
}

static u32 send_records(struct kmqtt_ns *ns, u8 *data, u32 len)
{
	bool stop = false;
	u32 done = 0;

	while (done < len && !stop) {
		done += send_batch(ns, data + done, len - done, &stop);
		cond_resched();
	}
	return done;
}

static ssize_t trunk_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	u32 len = min_t(size_t, iov_iter_count(from), TRUNK_WRITE);
	struct kmqtt_ns *ns = iocb->ki_filp->private_data;
	ssize_t ret;
	u8 *data;

	if (!len)
		return 0;
	data = kvmalloc(len, GFP_KERNEL | __GFP_NOWARN);
	if (!data)
		return -ENOMEM;

	if (!copy_from_iter_full(data, len, from))
		ret = -EFAULT;
	else if (!record_at(data, len))
		ret = -EINVAL;
	else
		ret = send_records(ns, data, len);
	kvfree(data);
	return ret;
}

/* Beginning and end */

/* Descriptors that there are more, or less. Under kmqtt_ns.lock. */
static void add_users(struct kmqtt_trunk *trunk, int nr)
{
	spin_lock_bh(&trunk->lock);
	WRITE_ONCE(trunk->users, trunk->users + nr);
	spin_unlock_bh(&trunk->lock);
}

static int trunk_release(struct inode *inode, struct file *file)
{
	struct kmqtt_ns *ns = file->private_data;
	struct kmqtt_trunk *trunk = &ns->trunk;

	mutex_lock(&ns->lock);
	add_users(trunk, -1);
	/* Nobody reads any more: forget who has arrived. */
	while (!trunk->users && next_conn(trunk))
		cond_resched();
	mutex_unlock(&ns->lock);
	put_net(ns->net);
	return 0;
}

static const struct file_operations trunk_fops = {
	.owner = THIS_MODULE,
	.read_iter = trunk_read_iter,
	.write_iter = trunk_write_iter,
	.poll = trunk_poll,
	.release = trunk_release,
};

/**
 * kmqtt_trunk_open() - make a file of the trunk
 * @ns: the namespace
 *
 * Return: the file, or an error.
 */
struct file *kmqtt_trunk_open(struct kmqtt_ns *ns)
{
	u8 *scratch = kmalloc(TRUNK_SCRATCH, GFP_KERNEL_ACCOUNT);
	struct file *file;

	if (!scratch)
		return ERR_PTR(-ENOMEM);
	file = anon_inode_getfile("[kmqtt-trunk]", &trunk_fops, ns, O_RDWR);
	if (IS_ERR(file)) {
		kfree(scratch);
		return file;
	}
	get_net(ns->net);
	stream_open(file_inode(file), file);

	mutex_lock(&ns->lock);
	if (!ns->trunk.scratch)
		swap(ns->trunk.scratch, scratch);
	add_users(&ns->trunk, 1);
	mutex_unlock(&ns->lock);
	kfree(scratch);
	return file;
}

void kmqtt_trunk_init(struct kmqtt_trunk *trunk)
{
	INIT_LIST_HEAD(&trunk->arrived);
	spin_lock_init(&trunk->lock);
	init_waitqueue_head(&trunk->wait);
	mutex_init(&trunk->read_lock);
}

void kmqtt_trunk_exit(struct kmqtt_trunk *trunk)
{
	kfree(trunk->scratch);
	mutex_destroy(&trunk->read_lock);
}
