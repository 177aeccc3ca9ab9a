// SPDX-License-Identifier: GPL-2.0
#include "conn.h"

#include <linux/file.h>
#include <linux/net.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <net/tcp.h>

#include "access.h"
#include "alias.h"
#include "compat.h"
#include "hold.h"
#include "netlink.h"
#include "ns.h"
#include "sock.h"
#include "sub.h"
#include "trunk.h"
#include "worker.h"

/* Packet time-outs that a packet may take in all, and a second for each KiB. */
enum { PACKET_WHOLE = 10 };

/* kmalloc() would round a connection up by more than a third. */
static struct kmem_cache *conn_cache __ro_after_init;

static void conn_timer(struct timer_list *timer)
{
	struct kmqtt_conn *conn = timer_container_of(conn, timer, timer);

	kmqtt_conn_kick(conn, KMQTT_CONN_KICK_TIMER);
}

static struct kmqtt_conn *conn_new(struct kmqtt_ns *ns, struct file *file,
				   const struct kmqtt_limits *limits)
{
	struct kmqtt_conn *conn = kmem_cache_zalloc(conn_cache, GFP_KERNEL);

	if (!conn)
		return NULL;

	refcount_set(&conn->refs, 1);
	conn->ns = ns;
	conn->file = get_file(file);
	conn->worker = kmqtt_worker_home();
	conn->limits = *limits;
	conn->ring.entries = conn->ring.first;
	conn->ring.room = KMQTT_RING_INLINE;
	conn->drop.type = KMQTT_TICKET_DROP;
	INIT_LIST_HEAD(&conn->sink_wait);
	INIT_LIST_HEAD(&conn->arrived);
	timer_setup(&conn->timer, conn_timer, 0);
	return conn;
}

void kmqtt_conn_free(struct kmqtt_conn *conn)
{
	kmqtt_access_free(conn);
	kfree(conn->user_name);
	kfree(conn->client_id);
	kmem_cache_free(conn_cache, conn);
}

/**
 * kmqtt_conn_add() - take over a socket
 * @ns: the namespace, locked
 * @file: the socket's file; a reference is taken
 * @limits: bounds
 * @max_packet: bytes, until conn-set
 * @extack: says what is wrong
 *
 * Return: the connection, which is ns's, or an error of KMQTT_CMD_CONN_ADD.
 */
struct kmqtt_conn *kmqtt_conn_add(struct kmqtt_ns *ns, struct file *file,
				  const struct kmqtt_limits *limits,
				  u32 max_packet,
				  struct netlink_ext_ack *extack)
{
	struct kmqtt_conn *conn = conn_new(ns, file, limits);
	int err;

	if (!conn)
		return ERR_PTR(-ENOMEM);
	conn->max_packet = max_packet;
	conn->max_send = KMQTT_PACKET_MAX;

	err = xa_alloc_cyclic(&ns->conns, &conn->id, NULL, xa_limit_32b,
			      &ns->next_id, GFP_KERNEL_ACCOUNT);
	if (err < 0)
		goto free_conn;

	err = kmqtt_sock_attach(conn, extack);
	if (err)
		goto release_id;

	xa_store(&ns->conns, conn->id, conn, GFP_KERNEL_ACCOUNT);
	ns->nr_conns++;
	/* Data may have come before the callbacks were ours. */
	kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
	return conn;

release_id:
	xa_release(&ns->conns, conn->id);
free_conn:
	atomic_dec(&conn->worker->nr_conns);
	fput(conn->file);
	kmqtt_conn_put(conn);
	return ERR_PTR(err);
}

/* Continue reading, in a new state. Return: 0, -ENOTCONN if it has ended, or
 * -EBUSY if its first packet has not been passed up yet.
 */
static int conn_resume(struct kmqtt_conn *conn, u8 state)
{
	u8 old = cmpxchg(&conn->state, KMQTT_CONN_WAITING, state);

	if (old == KMQTT_CONN_ENDED)
		return -ENOTCONN;
	if (old == KMQTT_CONN_CONNECTING)
		return -EBUSY;
	kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
	return 0;
}

/**
 * kmqtt_conn_activate() - handle QoS 0 here from now on
 * @conn: the connection; level, keep alive and size have been set
 *
 * Return: as conn_resume(); 0 also if it is active already.
 */
int kmqtt_conn_activate(struct kmqtt_conn *conn)
{
	int err;

	/* Since when the client has been allowed to be silent. */
	WRITE_ONCE(conn->last_packet, jiffies);
	err = conn_resume(conn, KMQTT_CONN_ACTIVE);
	if (!err && conn->keepalive)
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_TIMER);
	return err;
}

/* Pass one more packet up. Return: as conn_resume(). */
int kmqtt_conn_next(struct kmqtt_conn *conn)
{
	return conn_resume(conn, KMQTT_CONN_CONNECTING);
}

/* Return: whether it had not ended before. */
static bool set_end(struct kmqtt_conn *conn, enum kmqtt_end end)
{
	bool first = cmpxchg(&conn->end, KMQTT_END_NONE, end) == KMQTT_END_NONE;

	if (first)
		atomic64_inc(&conn->ns->ended[end]);
	WRITE_ONCE(conn->state, KMQTT_CONN_ENDED);
	return first;
}

/* Deliver and read no more: the daemon has the last word. */
void kmqtt_conn_last(struct kmqtt_conn *conn)
{
	conn->last = true;
	set_end(conn, KMQTT_END_DELETED);
	/* What is begun is finished. */
	kmqtt_conn_kick(conn, KMQTT_CONN_KICK_TX);
	/* It may be over already, without the worker knowing. */
	kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
}

/**
 * kmqtt_conn_del() - end a connection and forget it
 * @conn: the connection; not to be used afterwards without a reference
 * @abort: send RST instead of FIN
 * @end: why
 */
void kmqtt_conn_del(struct kmqtt_conn *conn, bool abort, enum kmqtt_end end)
{
	struct file *file = get_file(conn->file);
	struct socket *sock = sock_from_file(file);
	struct kmqtt_ns *ns = conn->ns;

	/* The daemon may have seen the reset before the worker. */
	if (end == KMQTT_END_DELETED && sock->sk->sk_state == TCP_CLOSE)
		end = KMQTT_END_RESET;
	set_end(conn, end);
	/* FIN may not follow half a packet. The worker, which may be sending,
	 * begins none once it has seen the end.
	 */
	lock_sock(sock->sk);
	abort |= conn->tx_partial || conn->user_sent;
	release_sock(sock->sk);
	xa_erase(&ns->conns, conn->id);
	ns->nr_conns--;
	kmqtt_trunk_leave(conn);
	kmqtt_subs_detach(conn);
	kmqtt_access_leave(conn);

	if (abort)
		tcp_abort(sock->sk, ECONNABORTED);
	else
		/* Its other half is open until the close, which has to tell a
		 * client that waits for room that there is some, for RST to
		 * follow: TCP tells nobody once it receives no more.
		 */
		kernel_sock_shutdown(sock, SHUT_WR);

	/* Not the last one, while the worker has its own: who calls does not
	 * wait for the socket to be closed.
	 */
	fput(file);
	kmqtt_worker_post(conn->worker, &conn->drop);
}

/* Those of a namespace. */
void kmqtt_conn_del_all(struct kmqtt_ns *ns, bool abort, enum kmqtt_end end)
{
	struct kmqtt_conn *conn;
	unsigned long id;

	xa_for_each(&ns->conns, id, conn) {
		kmqtt_conn_del(conn, abort, end);
		cond_resched();
	}
}

/* Nothing more comes from the worker: whoever waits in recv(), send() or poll(),
 * for whatever it may be, is to look again. saved_data_ready() alone would pass
 * over those who poll for room.
 */
static void set_eof(struct kmqtt_conn *conn)
{
	WRITE_ONCE(conn->rx_eof, true);
	conn->saved_state_change(conn->sk);
	conn->saved_data_ready(conn->sk);
	kmqtt_trunk_arrived(conn);
}

/**
 * kmqtt_conn_over() - look whether a connection that has ended is over for TCP
 * @conn: the connection
 *
 * One that the daemon ended (kmqtt_conn_last()) is read no more, but has come to
 * its end only when nothing can be sent any more either. Its worker's.
 */
void kmqtt_conn_over(struct kmqtt_conn *conn)
{
	const struct sock *sk = conn->sk;

	if (!conn->rx_eof && (READ_ONCE(sk->sk_err) ||
			      inet_sk_state_load(sk) == TCP_CLOSE))
		set_eof(conn);
}

/**
 * kmqtt_conn_end() - the kernel is through with a connection
 * @worker: its worker
 * @conn: the connection
 * @end: why
 *
 * The socket stays as it is, for the daemon to say a last word; the record
 * stays until conn-del.
 */
void kmqtt_conn_end(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		    enum kmqtt_end end)
{
	/* The daemon may have said so meanwhile: what is begun is finished. */
	if (!set_end(conn, end))
		return;
	kmqtt_rx_abandon(conn);
	kmqtt_tx_purge(worker, conn);
	WRITE_ONCE(conn->held, false);
	set_eof(conn);
	kmqtt_conn_event(conn, KMQTT_EVENT_ENDED);
}

/* The last thing a worker does for a connection: forget it. */
void kmqtt_conn_drop(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	if (conn->dirty)
		kmqtt_tx_flush(worker);

	conn->gone = true;
	timer_delete_sync(&conn->timer);
	kmqtt_subs_free(conn);
	kmqtt_tx_purge(worker, conn);
	kmqtt_rx_abandon(conn);
	/* While the namespace, in whose memory they are, is there for sure. */
	kmqtt_aliases_free(conn);
	set_eof(conn);
	/* Messages may outlive it; there is nothing left to resume. */
	clear_bit(KMQTT_CONN_NO_CREDIT, &conn->flags);
	atomic_dec(&worker->nr_conns);
	fput(conn->file);
	kmqtt_conn_put(conn);
}

/* Have the timer expire in @ms at the latest; 0: not for this reason. */
void kmqtt_conn_arm(struct kmqtt_conn *conn, u32 ms)
{
	unsigned long expires = jiffies + msecs_to_jiffies(ms);

	if (ms && (!timer_pending(&conn->timer) ||
		   time_before(expires, conn->timer.expires)))
		mod_timer(&conn->timer, expires);
}

/* Milliseconds of @limit that are left since @since; 0: none. */
static u32 left(unsigned long since, u32 limit)
{
	u32 gone = jiffies_to_msecs(jiffies - since);

	return gone < limit ? limit - gone : 0;
}

/* Milliseconds that are left for the packet being received, 0 if none, or if
 * that does not matter: time for more of it to come, and for all of it, since
 * it may keep a whole message's memory waiting.
 */
u32 kmqtt_conn_packet_left(const struct kmqtt_conn *conn)
{
	u32 timeout = conn->limits.packet_timeout;
	u32 whole = PACKET_WHOLE * timeout +
		    conn->rx.frame.remaining / 1024 * MSEC_PER_SEC;

	return min(left(conn->last_rx, timeout), left(conn->rx.since, whole));
}

static void check_silence(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	u32 keepalive = READ_ONCE(conn->keepalive) * 1500U;
	u32 ms;

	if (keepalive && READ_ONCE(conn->state) == KMQTT_CONN_ACTIVE) {
		ms = left(READ_ONCE(conn->last_packet), keepalive);
		if (!ms) {
			kmqtt_conn_end(worker, conn, KMQTT_END_KEEPALIVE);
			return;
		}
		kmqtt_conn_arm(conn, ms);
	}
	if (conn->limits.packet_timeout && kmqtt_conn_mid_packet(conn)) {
		ms = kmqtt_conn_packet_left(conn);
		if (!ms) {
			kmqtt_conn_end(worker, conn, KMQTT_END_PACKET_TIMEOUT);
			return;
		}
		kmqtt_conn_arm(conn, ms);
	}
}

/* Its daemon may be gone. */
static void check_hold(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	u32 ms = left(conn->held_since, KMQTT_HOLD_MAX * MSEC_PER_SEC);

	if (ms)
		kmqtt_conn_arm(conn, ms);
	else
		kmqtt_hold_end(worker, conn);
}

/* The daemon has had its turn, if it has heard of it: poll() and io_uring say that
 * there is room only once half of what may be unsent has left, while we would go
 * on before that, and keep it from ever being so.
 */
static void check_turn(struct kmqtt_conn *conn)
{
	if (!READ_ONCE(conn->tx_partial) && __sk_stream_is_writeable(conn->sk, 1))
		WRITE_ONCE(conn->user_waiting, false);
}

/**
 * kmqtt_conn_timer() - a connection's timer has expired
 * @worker: its worker
 * @conn: the connection
 */
void kmqtt_conn_timer(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	/* A send or an allocation that failed is tried again. Also after the
	 * end: what is begun is finished.
	 */
	if (conn->ring.nr) {
		WRITE_ONCE(conn->tx_wait, false);
		check_turn(conn);
		kmqtt_tx_mark(worker, conn);
	}
	if (kmqtt_conn_ended(conn))
		return;

	if (conn->held)
		check_hold(worker, conn);
	if (READ_ONCE(conn->rx_stopped) || READ_ONCE(conn->owned)) {
		/* It is we who do not read: the client is not silent. */
		WRITE_ONCE(conn->last_packet, jiffies);
		conn->last_rx = jiffies;
		conn->rx.since = jiffies;
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
	}
	check_silence(worker, conn);
}

/* Have the worker attend to a connection. */
void kmqtt_conn_kick(struct kmqtt_conn *conn, int bit)
{
	/* What is to be seen must be there before the bit is. */
	smp_mb__before_atomic();
	set_bit(bit, &conn->flags);
	if (test_and_set_bit(KMQTT_CONN_QUEUED, &conn->flags))
		return;
	kmqtt_conn_hold(conn);
	kmqtt_worker_ready(conn->worker, &conn->ready);
}

/* Workers have taken messages: go on reading when half of the credit is back. */
void kmqtt_conn_credit_return(struct kmqtt_conn *conn, u32 bytes)
{
	/* Fully ordered: pairs with have_credit(). */
	if (atomic_sub_return(bytes, &conn->credit) < KMQTT_CREDIT / 2 &&
	    test_bit(KMQTT_CONN_NO_CREDIT, &conn->flags) &&
	    test_and_clear_bit(KMQTT_CONN_NO_CREDIT, &conn->flags))
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
}

/**
 * kmqtt_conn_event() - something happened that the daemon should know
 * @conn: the connection
 * @bits: KMQTT_EVENT_*
 *
 * Process context, may sleep.
 */
void kmqtt_conn_event(struct kmqtt_conn *conn, u32 bits)
{
	struct kmqtt_ns *ns = conn->ns;

	/* Unless the daemon may acknowledge the one before. */
	if ((READ_ONCE(conn->events) & bits) == bits &&
	    !READ_ONCE(conn->events_read))
		return;

	xa_lock(&ns->conns);
	WRITE_ONCE(conn->events_read, false);
	WRITE_ONCE(conn->events, conn->events | bits);
	/* Pairs with fill_conn(). */
	smp_store_release(&conn->event_seq, conn->event_seq + 1);
	__xa_set_mark(&ns->conns, conn->id, KMQTT_MARK_EVENT);
	xa_unlock(&ns->conns);

	if (xchg(&ns->event_armed, 0))
		kmqtt_nl_event(ns, conn->event_seq);
}

int __init kmqtt_conn_init(void)
{
	conn_cache = KMEM_CACHE(kmqtt_conn, SLAB_ACCOUNT);
	return conn_cache ? 0 : -ENOMEM;
}

/* After rcu_barrier(): nobody is left. */
void kmqtt_conn_exit(void)
{
	kmem_cache_destroy(conn_cache);
}
