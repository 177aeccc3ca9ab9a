// SPDX-License-Identifier: GPL-2.0
#include "sock.h"

#include <linux/file.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <net/inet_common.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <net/transp_v6.h>

#include "compat.h"
#include "conn.h"
#include "ns.h"
#include "trunk.h"
#include "worker.h"

#define KMQTT_ULP "kmqtt"

/**
 * struct sock_tables - what a socket of one address family is switched to
 * @base_prot: what it had
 * @base_ops: likewise
 * @prot: ours
 * @ops: ours
 */
struct sock_tables {
	struct proto *base_prot;
	const struct proto_ops *base_ops;
	struct proto prot;
	struct proto_ops ops;
};

/* IPv4 and IPv6; filled when first needed, since IPv6's proto_ops are exported
 * to modules in the newest kernels only. Constant from then on.
 */
static struct sock_tables tables[2];

static DEFINE_MUTEX(tables_lock);

static const struct sock_tables *tables_of(const struct sock *sk)
{
	return &tables[sk->sk_family == AF_INET6];
}

/* Under rcu_read_lock() or the socket lock; NULL after close. */
static struct kmqtt_conn *conn_of(const struct sock *sk)
{
	return rcu_dereference_check(inet_csk(sk)->icsk_ulp_data,
				     lockdep_sock_is_held(sk));
}

static void kmqtt_data_ready(struct sock *sk)
{
	struct kmqtt_conn *conn;

	rcu_read_lock();
	conn = conn_of(sk);
	if (conn && !READ_ONCE(conn->rx_stopped))
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
	rcu_read_unlock();
}

static void kmqtt_write_space(struct sock *sk)
{
	void (*write_space)(struct sock *sk) = NULL;
	struct kmqtt_conn *conn;

	rcu_read_lock();
	conn = conn_of(sk);
	if (conn) {
		write_space = conn->saved_write_space;
		if (conn->tx_wait && sk_stream_is_writeable(sk)) {
			WRITE_ONCE(conn->tx_wait, false);
			kmqtt_conn_kick(conn, KMQTT_CONN_KICK_TX);
		}
	}
	rcu_read_unlock();

	if (write_space)
		write_space(sk);
}

static void kmqtt_state_change(struct sock *sk)
{
	void (*state_change)(struct sock *sk) = NULL;
	struct kmqtt_conn *conn;

	rcu_read_lock();
	conn = conn_of(sk);
	if (conn) {
		state_change = conn->saved_state_change;
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
	}
	rcu_read_unlock();

	if (state_change)
		state_change(sk);
}

/* The owner of the socket lets go; its spinlock is held. */
static void kmqtt_release_cb(struct sock *sk)
{
	struct kmqtt_conn *conn = conn_of(sk);

	if (conn && conn->owned) {
		conn->owned = false;
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_TX);
	}
	tables_of(sk)->base_prot->release_cb(sk);
}

typedef bool (*ready_fn)(const struct sock *sk, const struct kmqtt_conn *conn);

/* Wait until @ready, under the socket lock. Return: 0 or an error. */
static int wait_for(struct sock *sk, const struct kmqtt_conn *conn, long *timeo,
		    ready_fn ready)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int err = 0;

	if (ready(sk, conn))
		return 0;

	add_wait_queue(sk_sleep(sk), &wait);
	while (!err && !ready(sk, conn)) {
		if (!*timeo)
			err = -EAGAIN;
		else if (signal_pending(current))
			err = sock_intr_errno(*timeo);
		else
			sk_wait_event(sk, timeo, ready(sk, conn), &wait);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	return err;
}

static bool recv_ready(const struct sock *sk, const struct kmqtt_conn *conn)
{
	return READ_ONCE(conn->upq.bytes) || READ_ONCE(conn->rx_eof);
}

/* io_uring asks once more after each receive: mostly in vain. */
static bool recv_would_wait(const struct sock *sk)
{
	const struct kmqtt_conn *conn;
	bool wait;

	rcu_read_lock();
	conn = conn_of(sk);
	wait = conn && !recv_ready(sk, conn);
	rcu_read_unlock();
	return wait;
}

/* Read from the user queue, as from a stream. */
static int recv_locked(struct sock *sk, struct kmqtt_conn *conn,
		       struct msghdr *msg, size_t len, int flags)
{
	size_t target = flags & MSG_WAITALL ? len : min_t(size_t, len, 1);
	long timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	struct kmqtt_upq *upq = &conn->upq;
	size_t done = 0;
	int ret = 0;

	while (!ret && done < target) {
		ret = wait_for(sk, conn, &timeo, recv_ready);
		if (ret)
			break;
		if (!upq->bytes) {
			ret = sock_error(sk);
			break;
		}
		ret = kmqtt_upq_read(upq, &msg->msg_iter, len - done,
				     flags & MSG_PEEK);
		if (ret < 0)
			break;
		done += ret;
		ret = 0;
		if (flags & MSG_PEEK)
			break;
	}

	if (msg->msg_get_inq)
		msg->msg_inq = upq->bytes;
	return done ?: ret;
}

static int kmqtt_recvmsg(struct sock *sk, struct msghdr *msg, size_t len,
			 KMQTT_RECVMSG_FLAGS)
{
	struct kmqtt_conn *conn;
	int ret = -ENOTCONN;

	if (flags & (MSG_ERRQUEUE | MSG_OOB | MSG_TRUNC))
		return -EOPNOTSUPP;
	if (flags & MSG_DONTWAIT && recv_would_wait(sk))
		return -EAGAIN;

	lock_sock(sk);
	conn = conn_of(sk);
	if (conn)
		ret = recv_locked(sk, conn, msg, len, flags);
	release_sock(sk);
	return ret;
}

/* After @rx_eof, the worker finishes nothing any more. */
static bool send_ready(const struct sock *sk, const struct kmqtt_conn *conn)
{
	return !READ_ONCE(conn->tx_partial) || READ_ONCE(conn->rx_eof) ||
	       READ_ONCE(sk->sk_err) ||
	       (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN);
}

/* Send for the daemon, whose turn it is: no message of the worker's is half sent.
 * What is taken in part only, or announces more, keeps the worker's messages back
 * until it is whole.
 */
static int send_turn(struct sock *sk, struct kmqtt_conn *conn,
		     struct msghdr *msg, size_t len)
{
	int ret;

	/* It may sleep, and let go of the lock, between two parts. */
	WRITE_ONCE(conn->user_busy, true);
	ret = kmqtt_tx_send(sk, msg, len, false);
	if (ret > 0)
		WRITE_ONCE(conn->accepted, conn->accepted + ret);
	if (ret == len && !(msg->msg_flags & MSG_MORE))
		WRITE_ONCE(conn->user_sent, 0);
	else if (ret > 0)
		WRITE_ONCE(conn->user_sent, conn->user_sent + ret);

	/* Room that comes is the daemon's first, or it never gets any. */
	WRITE_ONCE(conn->user_waiting, ret == -EAGAIN);
	if (!conn->user_sent) {
		WRITE_ONCE(conn->user_busy, false);
		/* The worker has seen it busy, or waiting, before. */
		if (READ_ONCE(conn->ring.nr))
			kmqtt_conn_kick(conn, KMQTT_CONN_KICK_TX);
	}
	return ret;
}

/* The daemon's sends begin and end between packets. One has to wait for a message
 * of the worker's that is not whole.
 */
static int send_locked(struct sock *sk, struct kmqtt_conn *conn,
		       struct msghdr *msg, size_t len)
{
	long timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	int ret;

	if (!conn->user_busy && !send_ready(sk, conn)) {
		WRITE_ONCE(conn->user_waiting, true);
		ret = wait_for(sk, conn, &timeo, send_ready);
		if (ret)
			return ret;
	}

	/* It ended inside a message of ours: nothing can follow that. */
	if (conn->tx_partial)
		return -EPIPE;
	return send_turn(sk, conn, msg, len);
}

static int kmqtt_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)
{
	struct kmqtt_conn *conn;
	int ret = -EPIPE;

	if (msg->msg_flags & (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN))
		return -EOPNOTSUPP;
	if (!len)
		return 0;

	lock_sock(sk);
	conn = conn_of(sk);
	if (conn)
		ret = send_locked(sk, conn, msg, len);
	release_sock(sk);
	return ret;
}

static __poll_t kmqtt_poll(struct file *file, struct socket *sock,
			   poll_table *wait)
{
	__poll_t mask = tcp_poll(file, sock, wait);
	struct sock *sk = sock->sk;
	struct kmqtt_conn *conn;

	rcu_read_lock();
	conn = conn_of(sk);
	if (conn) {
		/* What TCP has is not what recv() will see. */
		mask &= ~(EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLPRI);
		if (!READ_ONCE(conn->rx_eof))
			mask &= ~(EPOLLERR | EPOLLHUP);
		if (recv_ready(sk, conn))
			mask |= EPOLLIN | EPOLLRDNORM;
		if (!send_ready(sk, conn) && !READ_ONCE(conn->user_busy))
			mask &= ~(EPOLLOUT | EPOLLWRNORM);
	}
	rcu_read_unlock();
	return mask;
}

static int kmqtt_disconnect(struct sock *sk, int flags)
{
	return -EBUSY;
}

static int kmqtt_setsockopt(struct sock *sk, int level, int optname,
			    sockptr_t optval, unsigned int optlen)
{
	if (level == SOL_TCP && optname == TCP_ULP)
		return -EEXIST;
	if (level == SOL_TCP && optname == TCP_REPAIR)
		return -EBUSY;
	return tables_of(sk)->base_prot->setsockopt(sk, level, optname, optval,
						    optlen);
}

static int kmqtt_getsockopt(struct sock *sk, int level, int optname,
			    char __user *optval, int __user *optlen)
{
	if (level == SOL_TCP && optname == TCP_ZEROCOPY_RECEIVE)
		return -EOPNOTSUPP;
	return tables_of(sk)->base_prot->getsockopt(sk, level, optname, optval,
						    optlen);
}

/* A low-water mark would keep data_ready from being called. */
static int kmqtt_set_rcvlowat(struct sock *sk, int val)
{
	return -EOPNOTSUPP;
}

/* Reads the receive queue past recvmsg. */
static ssize_t kmqtt_splice_read(struct socket *sock, loff_t *ppos,
				 struct pipe_inode_info *pipe, size_t len,
				 unsigned int flags)
{
	return -EOPNOTSUPP;
}

#ifdef KMQTT_HAVE_SENDPAGE
static int kmqtt_sendpage(struct sock *sk, struct page *page, int offset,
			  size_t size, int flags)
{
	return -EOPNOTSUPP;
}
#endif

static void conn_put_rcu(struct rcu_head *rcu)
{
	kmqtt_conn_put(container_of(rcu, struct kmqtt_conn, rcu));
}

static int discard(read_descriptor_t *desc, struct sk_buff *skb,
		   unsigned int offset, size_t len)
{
	return len;
}

/* TCP sends RST instead of FIN where something was not read, and the client may
 * then never see the last packet, which says why.
 */
static void drain(struct sock *sk)
{
	read_descriptor_t desc = { .count = 1 };

	if (sk->sk_state != TCP_CLOSE)
		tcp_read_sock(sk, &desc, discard);
}

/* The kernel's file was the last one, or the daemon's: either way the worker
 * has dropped the connection.
 */
static void kmqtt_close(struct sock *sk, long timeout)
{
	const struct sock_tables *table = tables_of(sk);
	struct kmqtt_conn *conn;

	lock_sock(sk);
	conn = conn_of(sk);
	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, NULL);
	write_lock_bh(&sk->sk_callback_lock);
	WRITE_ONCE(sk->sk_prot, table->base_prot);
	WRITE_ONCE(sk->sk_socket->ops, table->base_ops);
	sk->sk_data_ready = conn->saved_data_ready;
	sk->sk_write_space = conn->saved_write_space;
	sk->sk_state_change = conn->saved_state_change;
	write_unlock_bh(&sk->sk_callback_lock);
	kmqtt_upq_purge(&conn->upq);
	drain(sk);
	release_sock(sk);

	/* The worker's file was the last: then this is the one thread that closes
	 * what kernel threads let go of, all over the machine. SO_LINGER is no
	 * reason for it to wait, as it is none for a process that exits.
	 */
	if (current->flags & PF_KTHREAD)
		timeout = 0;
	table->base_prot->close(sk, timeout);
	call_rcu(&conn->rcu, conn_put_rcu);
}

static void build_tables(struct sock_tables *table, const struct sock *sk)
{
	table->base_ops = sk->sk_socket->ops;
	table->ops = *table->base_ops;
	table->ops.poll = kmqtt_poll;
	table->ops.splice_read = kmqtt_splice_read;
	table->ops.set_rcvlowat = kmqtt_set_rcvlowat;
	table->ops.mmap = sock_no_mmap;

	table->prot = *sk->sk_prot;
	table->prot.close = kmqtt_close;
	table->prot.disconnect = kmqtt_disconnect;
	table->prot.getsockopt = kmqtt_getsockopt;
	table->prot.recvmsg = kmqtt_recvmsg;
	table->prot.release_cb = kmqtt_release_cb;
	table->prot.sendmsg = kmqtt_sendmsg;
	table->prot.setsockopt = kmqtt_setsockopt;
#ifdef KMQTT_HAVE_SENDPAGE
	table->prot.sendpage = kmqtt_sendpage;
#endif
	table->base_prot = sk->sk_prot;
}

static void remember_remote(struct kmqtt_conn *conn, const struct sock *sk)
{
	struct sockaddr_in6 *sin6 = &conn->remote;
	struct sockaddr_in *sin = (struct sockaddr_in *)sin6;

	if (sk->sk_family == AF_INET6) {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = inet_sk(sk)->inet_dport;
		sin6->sin6_addr = sk->sk_v6_daddr;
	} else {
		sin->sin_family = AF_INET;
		sin->sin_port = inet_sk(sk)->inet_dport;
		sin->sin_addr.s_addr = inet_sk(sk)->inet_daddr;
	}
}

/* Called by setsockopt() of kmqtt_sock_attach(), under the socket lock. */
static int kmqtt_ulp_init(struct sock *sk)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(sock_net(sk));
	struct sock_tables *table;
	struct kmqtt_conn *conn;

	/* Only through conn-add, since setsockopt(TCP_ULP) needs no
	 * capability; and then it is we who hold the lock.
	 */
	if (READ_ONCE(ns->attacher) != current)
		return -EPERM;
	conn = ns->attaching;
	if (conn->sk != sk)
		return -EPERM;
	/* A client that has said all and closed is still to be heard. */
	if (sk->sk_state != TCP_ESTABLISHED && sk->sk_state != TCP_CLOSE_WAIT)
		return -ENOTCONN;
	if (sk->sk_prot != &tcp_prot && sk->sk_prot != &tcpv6_prot)
		return -EOPNOTSUPP;
	if (sk->sk_user_data)
		return -EBUSY;

	table = &tables[sk->sk_family == AF_INET6];
	mutex_lock(&tables_lock);
	if (!table->base_prot)
		build_tables(table, sk);
	mutex_unlock(&tables_lock);
	if (sk->sk_prot != table->base_prot ||
	    sk->sk_socket->ops != table->base_ops)
		return -EOPNOTSUPP;

	remember_remote(conn, sk);
	/* Else data_ready() would not be called for every byte. */
	WRITE_ONCE(sk->sk_rcvlowat, 1);
	WRITE_ONCE(tcp_sk(sk)->notsent_lowat, conn->limits.unsent_bytes);
	/* One more reference: the socket's. */
	kmqtt_conn_hold(conn);

	write_lock_bh(&sk->sk_callback_lock);
	conn->saved_data_ready = sk->sk_data_ready;
	conn->saved_write_space = sk->sk_write_space;
	conn->saved_state_change = sk->sk_state_change;
	rcu_assign_pointer(inet_csk(sk)->icsk_ulp_data, conn);
	WRITE_ONCE(sk->sk_prot, &table->prot);
	WRITE_ONCE(sk->sk_socket->ops, &table->ops);
	sk->sk_data_ready = kmqtt_data_ready;
	sk->sk_write_space = kmqtt_write_space;
	sk->sk_state_change = kmqtt_state_change;
	write_unlock_bh(&sk->sk_callback_lock);
	return 0;
}

static struct tcp_ulp_ops kmqtt_ulp __read_mostly = {
	.name = KMQTT_ULP,
	.owner = THIS_MODULE,
	.init = kmqtt_ulp_init,
};

static int check_fit(const struct socket *sock, const struct net *net,
		     struct netlink_ext_ack *extack)
{
	const struct sock *sk;

	if (!sock) {
		NL_SET_ERR_MSG(extack, "not a socket");
		return -ENOTSOCK;
	}
	sk = sock->sk;
	if (sock->type != SOCK_STREAM || sk->sk_protocol != IPPROTO_TCP ||
	    (sk->sk_family != AF_INET && sk->sk_family != AF_INET6)) {
		NL_SET_ERR_MSG(extack, "not a TCP socket");
		return -EOPNOTSUPP;
	}
	if (!net_eq(sock_net(sk), net)) {
		NL_SET_ERR_MSG(extack, "socket of another network namespace");
		return -EOPNOTSUPP;
	}
	return 0;
}

/**
 * kmqtt_sock_attach() - switch a socket over to kmqtt
 * @conn: the connection, with the file
 * @extack: says what is wrong
 *
 * Under kmqtt_ns.lock; may sleep.
 *
 * Return: 0 or an error of KMQTT_CMD_CONN_ADD.
 */
int kmqtt_sock_attach(struct kmqtt_conn *conn, struct netlink_ext_ack *extack)
{
	struct socket *sock = sock_from_file(conn->file);
	struct kmqtt_ns *ns = conn->ns;
	int err;

	err = check_fit(sock, ns->net, extack);
	if (err)
		return err;
	conn->sk = sock->sk;

	/* One gathered send is all there is to send: waiting for an ACK gains
	 * nothing.
	 */
	tcp_sock_set_nodelay(sock->sk);

	ns->attaching = conn;
	WRITE_ONCE(ns->attacher, current);
	err = sock->ops->setsockopt(sock, SOL_TCP, TCP_ULP,
				    KERNEL_SOCKPTR(KMQTT_ULP),
				    strlen(KMQTT_ULP));
	WRITE_ONCE(ns->attacher, NULL);
	ns->attaching = NULL;

	if (err == -EEXIST)
		NL_SET_ERR_MSG(extack, "socket has an upper layer protocol already");
	else if (err == -ENOTCONN)
		NL_SET_ERR_MSG(extack, "socket is not connected");
	else if (err)
		NL_SET_ERR_MSG(extack, "socket cannot be taken over");
	return err;
}

/* Fill in a record with up to @most bytes of what can be read. Return: bytes of the
 * record; 0: there is nothing.
 */
static u32 read_record(struct kmqtt_conn *conn,
		       struct kmqtt_trunk_arrival *record, u32 most)
{
	u8 *data = (u8 *)(record + 1);
	u32 len, whole;
	const u8 *from;

	len = min(kmqtt_upq_next(&conn->upq, &from), most);
	if (!len) {
		/* Who was read before set_eof() was through arrives again. */
		if (conn->over_read || !READ_ONCE(conn->rx_eof))
			return 0;
		conn->over_read = true;
	}
	record->cookie = conn->cookie;
	record->conn_id = conn->id;
	record->len = len;
	if (len) {
		memcpy(data, from, len);
		kmqtt_upq_was_read(&conn->upq, len);
	}
	whole = ALIGN(len, KMQTT_TRUNK_ALIGN);
	memset(data + len, 0, whole - len);
	return sizeof(*record) + whole;
}

/**
 * kmqtt_sock_read() - read for the daemon, as a record of the trunk
 * @conn: the connection
 * @to: where to
 * @room: bytes there, KMQTT_TRUNK_LEAST or more, a multiple of KMQTT_TRUNK_ALIGN
 *
 * If there is more to come, the connection arrives again. Under kmqtt_ns.lock; may
 * sleep.
 *
 * Return: bytes of the record; 0: there is nothing to be read.
 */
u32 kmqtt_sock_read(struct kmqtt_conn *conn, void *to, u32 room)
{
	struct kmqtt_trunk_arrival *record = to;
	struct sock *sk = conn->sk;
	bool slow = lock_sock_fast(sk);
	u32 size = 0;

	if (!conn->adopted)
		size = read_record(conn, record,
				   min_t(u32, room - sizeof(*record),
					 KMQTT_TRUNK_MAX));
	/* The end comes in a record of its own. */
	if (size && record->len && recv_ready(sk, conn))
		kmqtt_trunk_arrived(conn);
	unlock_sock_fast(sk, slow);
	return size;
}

/* Whether a packet of the daemon's can begin now, and who sends it need not hear
 * of an error. Under the spinlock of the socket.
 */
static bool may_begin(const struct sock *sk, const struct kmqtt_conn *conn)
{
	return !sock_owned_by_user(sk) && !conn->user_busy &&
	       !conn->tx_partial && !sk->sk_err &&
	       !(sk->sk_shutdown & SEND_SHUTDOWN);
}

/* send_turn(), under the spinlock of the socket. */
static int send_atomic(struct sock *sk, struct kmqtt_conn *conn,
		       struct msghdr *msg, size_t len)
{
	gfp_t gfp = sk->sk_allocation;
	bool lend;
	int ret;

	sk->sk_allocation = GFP_ATOMIC;
	/* Where a socket that allocates so has a page fragment of its own, of 32
	 * KiB, it would keep that as long as it lasts: it gets the caller's.
	 */
	lend = sk_page_frag(sk) == &sk->sk_frag;
	if (lend)
		swap(sk->sk_frag, current->task_frag);
	ret = send_turn(sk, conn, msg, len);
	if (lend)
		swap(sk->sk_frag, current->task_frag);
	sk->sk_allocation = gfp;
	return ret;
}

/**
 * kmqtt_sock_send() - send for the daemon, if that can be begun at once
 * @conn: the connection
 * @data: whole packets
 * @len: bytes
 *
 * Under kmqtt_ns.lock, with bottom halves disabled.
 *
 * Return: bytes that TCP has taken, from where send() is to go on; 0 also for
 *	what send() would wait for, or fail with.
 */
u32 kmqtt_sock_send(struct kmqtt_conn *conn, void *data, u32 len)
{
	struct kvec kv = { .iov_base = data, .iov_len = len };
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct sock *sk = conn->sk;
	int ret = 0;

	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &kv, 1, len);
	bh_lock_sock(sk);
	if (may_begin(sk, conn))
		ret = send_atomic(sk, conn, &msg, len);
	bh_unlock_sock(sk);
	return max(ret, 0);
}

/* Whether there are @done bytes of the user queue, and no more are done. That
 * will not change before the next kmqtt_sock_done(). Under kmqtt_ns.lock; may
 * sleep.
 */
bool kmqtt_sock_was_read(struct kmqtt_conn *conn, u64 done)
{
	struct sock *sk = conn->sk;
	bool read;

	lock_sock(sk);
	read = done - conn->done <= kmqtt_upq_used(&conn->upq);
	release_sock(sk);
	return read;
}

/**
 * kmqtt_sock_done() - the daemon will not read some of the user queue again
 * @conn: the connection
 * @done: bytes since the first, good for kmqtt_sock_was_read()
 *
 * Under kmqtt_ns.lock; may sleep.
 */
void kmqtt_sock_done(struct kmqtt_conn *conn, u64 done)
{
	struct sock *sk = conn->sk;

	lock_sock(sk);
	kmqtt_upq_done(&conn->upq, done - conn->done);
	conn->done = done;
	if (conn->adopted) {
		conn->adopted = false;
		if (recv_ready(sk, conn))
			kmqtt_trunk_arrived(conn);
	}
	if (READ_ONCE(conn->rx_stopped) &&
	    kmqtt_upq_used(&conn->upq) <= conn->limits.user_bytes / 2)
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
	release_sock(sk);
}

/* Another daemon reads what is not done; from the trunk, once it has said what is.
 * Under kmqtt_ns.lock; may sleep.
 */
void kmqtt_sock_rewind(struct kmqtt_conn *conn)
{
	struct sock *sk = conn->sk;

	lock_sock(sk);
	kmqtt_upq_rewind(&conn->upq);
	conn->adopted = true;
	conn->over_read = false;
	release_sock(sk);
}

int __init kmqtt_sock_init(void)
{
	return tcp_register_ulp(&kmqtt_ulp);
}

void kmqtt_sock_exit(void)
{
	tcp_unregister_ulp(&kmqtt_ulp);
}
