// SPDX-License-Identifier: GPL-2.0
#include "worker.h"

#include <linux/error-injection.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/socket.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "compat.h"
#include "conn.h"
#include "ns.h"

/* Sends between two openings of bottom halves: each opening costs, but what
 * they leave on the loopback backlog must stay under netdev_max_backlog.
 */
enum { TX_BH_BATCH = 16 };

/* Such batches, after which somebody else may run. */
enum { TX_BATCHES = 64 };

/* PINGRESPs let into a ring that is full. */
enum { TX_PINGS_MORE = 16 };

static struct kmqtt_entry *ring_at(struct kmqtt_ring *ring, u32 i)
{
	return &ring->entries[(ring->head + i) & (ring->room - 1)];
}

static int ring_grow(struct kmqtt_ring *ring)
{
	struct kmqtt_entry *entries;
	u32 i;

	entries = kvmalloc_array(ring->room * 2, sizeof(*entries),
				 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!entries)
		return -ENOMEM;
	for (i = 0; i < ring->nr; i++)
		entries[i] = *ring_at(ring, i);

	if (ring->entries != ring->first)
		kvfree(ring->entries);
	ring->entries = entries;
	ring->head = 0;
	ring->room *= 2;
	return 0;
}

static void ring_pop(struct kmqtt_worker *worker, struct kmqtt_ring *ring)
{
	struct kmqtt_entry *entry = ring_at(ring, 0);

	ring->messages -= entry->run->nr;
	ring->head = (ring->head + 1) & (ring->room - 1);
	ring->nr--;
	if (unlikely(entry->run == worker->pingresp))
		ring->pings--;
	kmqtt_run_put(&worker->pool, entry->run);
}

static void count_dropped(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
			  enum kmqtt_drop why, u32 nr)
{
	static const u8 counters[KMQTT_DROPS] = {
		[KMQTT_DROP_MESSAGES] = KMQTT_A_COUNTER_DROPPED_MESSAGES,
		[KMQTT_DROP_BYTES] = KMQTT_A_COUNTER_DROPPED_BYTES,
		[KMQTT_DROP_NOMEM] = KMQTT_A_COUNTER_DROPPED_NOMEM,
		[KMQTT_DROP_TOO_LARGE] = KMQTT_A_COUNTER_DROPPED_TOO_LARGE,
		[KMQTT_DROP_EXPIRED] = KMQTT_A_COUNTER_DROPPED_EXPIRED,
	};

	WRITE_ONCE(conn->dropped[why], conn->dropped[why] + nr);
	kmqtt_count(worker, conn->ns, counters[why], nr);
}

/**
 * kmqtt_tx_drop() - count messages that a connection does not get
 * @worker: the worker
 * @conn: a connection of its
 * @why: enum kmqtt_drop
 * @nr: how many
 *
 * Process context, may sleep.
 */
void kmqtt_tx_drop(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		   enum kmqtt_drop why, u32 nr)
{
	count_dropped(worker, conn, why, nr);
	kmqtt_conn_event(conn, KMQTT_EVENT_DROPPED);
}

/* Messages of @run that fit both bounds. Of messages larger than the bound, one
 * is let into an empty ring.
 */
static u32 admit(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		 struct kmqtt_run *run)
{
	const struct kmqtt_limits *limits = &conn->limits;
	struct kmqtt_ring *ring = &conn->ring;
	u32 nr = run->nr, fit, room;

	/* A client that is behind is still answered, within reason. */
	if (unlikely(run == worker->pingresp &&
		     ring->messages < limits->ring_messages + TX_PINGS_MORE))
		return 1;

	room = limits->ring_messages - min(limits->ring_messages,
					   ring->messages);
	if (unlikely(nr > room)) {
		kmqtt_tx_drop(worker, conn, KMQTT_DROP_MESSAGES, nr - room);
		nr = room;
	}

	room = limits->ring_bytes - min(limits->ring_bytes, ring->bytes);
	if (likely(!nr || kmqtt_run_bytes(run, nr) <= room))
		return nr;

	for (fit = nr; fit && kmqtt_run_bytes(run, fit) > room; fit--)
		;
	if (!fit && !ring->nr)
		fit = 1;
	if (fit < nr)
		kmqtt_tx_drop(worker, conn, KMQTT_DROP_BYTES, nr - fit);
	return fit;
}

/**
 * kmqtt_tx_append() - let a run wait for a connection's socket
 * @worker: the worker
 * @conn: a connection of its
 * @run: the run; messages beyond the connection's bounds are dropped for it
 * @id: the subscriber's kmqtt_sub.id, if the run's form has one
 * @tag: of its only message, for kmqtt_tx_trim() to find it; or 0
 */
void kmqtt_tx_append(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		     struct kmqtt_run *run, const u32 *id, u64 tag)
{
	struct kmqtt_ring *ring = &conn->ring;
	struct kmqtt_entry *entry;
	u32 nr;

	if (unlikely(kmqtt_conn_ended(conn)))
		return;
	if (unlikely(run->largest > READ_ONCE(conn->max_send))) {
		kmqtt_tx_drop(worker, conn, KMQTT_DROP_TOO_LARGE, run->nr);
		return;
	}
	nr = admit(worker, conn, run);
	if (unlikely(!nr))
		return;
	if (unlikely(ring->nr == ring->room) && ring_grow(ring))
		goto no_memory;
	if (likely(nr == run->nr))
		run->refs++;
	else
		run = kmqtt_run_prefix(&worker->pool, run, nr);
	if (unlikely(!run))
		goto no_memory;

	entry = ring_at(ring, ring->nr++);
	entry->run = run;
	entry->tag = tag;
	entry->sent = 0;
	if (unlikely(id))
		entry->id = *id;
	ring->messages += nr;
	ring->bytes += run->bytes;
	kmqtt_tx_mark(worker, conn);
	return;

no_memory:
	kmqtt_tx_drop(worker, conn, KMQTT_DROP_NOMEM, nr);
}

/**
 * kmqtt_tx_ping() - answer a PINGREQ
 * @worker: the worker
 * @conn: a connection of its
 */
void kmqtt_tx_ping(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	struct kmqtt_ring *ring = &conn->ring;
	u32 nr = ring->nr;

	kmqtt_tx_append(worker, conn, worker->pingresp, NULL, 0);
	ring->pings += ring->nr - nr;
}

/**
 * kmqtt_tx_trim() - leave out messages that a snapshot stands for
 * @worker: the worker
 * @conn: a connection of its
 * @limit: those tagged up to it; 0: none
 *
 * The others lose their tags: they will be sent.
 */
void kmqtt_tx_trim(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		   u64 limit)
{
	struct kmqtt_ring *ring = &conn->ring;
	u32 i, kept = 0;

	for (i = 0; i < ring->nr; i++) {
		struct kmqtt_entry entry = *ring_at(ring, i);

		if (entry.tag && entry.tag <= limit) {
			ring->messages -= entry.run->nr;
			ring->bytes -= entry.run->bytes;
			kmqtt_run_put(&worker->pool, entry.run);
			continue;
		}
		entry.tag = 0;
		*ring_at(ring, kept++) = entry;
	}
	ring->nr = kept;
}

/**
 * kmqtt_tx_shed() - drop what waits, for want of memory
 * @worker: the worker
 * @conn: a connection of its
 *
 * But for answers, and for a run that was sent in part.
 */
void kmqtt_tx_shed(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	struct kmqtt_ring *ring = &conn->ring;
	u32 i, kept = 0, dropped = 0;

	if (kmqtt_conn_ended(conn) || !ring->nr)
		return;
	for (i = 0; i < ring->nr; i++) {
		struct kmqtt_entry entry = *ring_at(ring, i);

		if (entry.sent || entry.run == worker->pingresp) {
			*ring_at(ring, kept++) = entry;
			continue;
		}
		dropped += entry.run->nr;
		ring->messages -= entry.run->nr;
		ring->bytes -= entry.run->bytes;
		kmqtt_run_put(&worker->pool, entry.run);
	}
	ring->nr = kept;
	if (dropped)
		kmqtt_tx_drop(worker, conn, KMQTT_DROP_NOMEM, dropped);
}

/* Have kmqtt_tx_flush() look at a connection. */
void kmqtt_tx_mark(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	if (conn->dirty || READ_ONCE(conn->tx_wait))
		return;
	conn->dirty = true;
	conn->next_dirty = NULL;
	*worker->dirty_tail = conn;
	worker->dirty_tail = &conn->next_dirty;
}

/* Whether a run has expired, which does not change while one connection is sent
 * for.
 */
static bool expired(const struct kmqtt_worker *worker,
		    const struct kmqtt_run *run)
{
	return kmqtt_run_expired(run, worker->now);
}

/* Point @iter at what comes next of a run with something to splice: that alone,
 * or what is to be copied before it.
 */
static u32 gather_part(const struct kmqtt_run *run, u32 sent,
		       struct iov_iter *iter, bool *splice)
{
	const struct kvec *kv = run->kv, *end = kv + run->nr_kv;
	u32 bytes, nr = 1;

	for (; sent >= kv->iov_len; kv++)
		sent -= kv->iov_len;
	bytes = kv->iov_len;
	*splice = kmqtt_run_splice(kv);
	if (!*splice)
		for (; kv + nr < end && !kmqtt_run_splice(kv + nr); nr++)
			bytes += kv[nr].iov_len;

	iov_iter_kvec(iter, ITER_SOURCE, kv, nr, bytes);
	iov_iter_advance(iter, sent);
	return bytes - sent;
}

/* Point @iter at what one call can send of what waits: everything, mostly. */
static u32 gather(struct kmqtt_worker *worker, struct kmqtt_ring *ring,
		  struct iov_iter *iter, bool *splice)
{
	struct kmqtt_entry *entry = ring_at(ring, 0);
	struct kvec *kv = worker->kv;
	u32 sent = entry->sent, bytes, nr_kv, i;

	if (entry->run->splice)
		return gather_part(entry->run, sent, iter, splice);

	*splice = false;
	if (ring->nr == 1) {
		/* The run as it is, shared with all its subscribers. */
		kmqtt_run_write(entry->run, &entry->id);
		kv = entry->run->kv;
		nr_kv = entry->run->nr_kv;
		bytes = entry->run->bytes;
	} else {
		nr_kv = 0;
		bytes = 0;
		for (i = 0; i < ring->nr; i++) {
			struct kmqtt_run *run;

			entry = ring_at(ring, i);
			run = entry->run;
			if (run->splice ||
			    (i && (entry->sent || expired(worker, run))) ||
			    nr_kv + run->nr_kv > KMQTT_SEND_KVECS)
				break;
			kmqtt_run_write(run, &entry->id);
			memcpy(kv + nr_kv, run->kv, run->nr_kv * sizeof(*kv));
			nr_kv += run->nr_kv;
			bytes += run->bytes;
		}
	}

	iov_iter_kvec(iter, ITER_SOURCE, kv, nr_kv, bytes);
	if (sent)
		iov_iter_advance(iter, sent);
	return bytes - sent;
}

/* Bytes that TCP has not got of a message of which it has the first ones. */
static u32 begun(struct kmqtt_ring *ring)
{
	const struct kmqtt_entry *entry = ring_at(ring, 0);
	const struct kmqtt_run *run = entry->run;
	u32 i;

	if (!ring->nr || !entry->sent)
		return 0;
	for (i = 0; run->end[i] < entry->sent; i++)
		;
	return run->end[i] - entry->sent;
}

/* Have PINGRESPs overtake what is held, of which nothing is begun. */
static void pings_first(struct kmqtt_worker *worker, struct kmqtt_ring *ring)
{
	u32 to = ring->nr, i;

	for (i = ring->nr; i--;)
		if (ring_at(ring, i)->run != worker->pingresp)
			*ring_at(ring, --to) = *ring_at(ring, i);
	while (to--)
		*ring_at(ring, to) = (struct kmqtt_entry) {
			.run = worker->pingresp,
		};
}

/* Bytes that may leave: everything, mostly. If the daemon has its turn, or the
 * last word, what is begun; if messages are held, PINGRESPs too: the daemon may
 * be gone.
 */
static u32 allowed(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	bool daemons = conn->user_waiting || kmqtt_conn_ended(conn);
	struct kmqtt_ring *ring = &conn->ring;
	u32 bytes;

	if (likely(!daemons && !conn->held &&
		   !expired(worker, ring_at(ring, 0)->run)))
		return ring->bytes;
	bytes = begun(ring);
	if (bytes)
		return bytes;
	if (daemons || !ring->pings)
		return 0;
	pings_first(worker, ring);
	return ring->pings * worker->pingresp->bytes;
}

/* Messages of a run that end within its first @bytes. */
static u32 whole(const struct kmqtt_run *run, u32 bytes)
{
	u32 nr = 0;

	while (nr < run->nr && run->end[nr] <= bytes)
		nr++;
	return nr;
}

/* Drop what has expired before TCP got the first byte of it [MQTT-3.3.2-5]. The
 * daemon is told later: the socket is locked.
 */
static void expire(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	struct kmqtt_ring *ring = &conn->ring;

	while (ring->nr && expired(worker, ring_at(ring, 0)->run) &&
	       !begun(ring)) {
		struct kmqtt_run *run = ring_at(ring, 0)->run;
		u32 done = ring_at(ring, 0)->sent;
		u32 sent = whole(run, done);

		conn->tx_messages += sent;
		kmqtt_count(worker, conn->ns, KMQTT_A_COUNTER_DELIVERIES, sent);
		count_dropped(worker, conn, KMQTT_DROP_EXPIRED, run->nr - sent);
		kmqtt_conn_kick(conn, KMQTT_CONN_EXPIRED);
		ring->bytes -= run->bytes - done;
		ring_pop(worker, ring);
	}
}

static void consume(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		    u32 bytes)
{
	struct kmqtt_ring *ring = &conn->ring;

	conn->tx_bytes += bytes;
	ring->bytes -= bytes;
	while (bytes) {
		struct kmqtt_entry *entry = ring_at(ring, 0);
		u32 left = entry->run->bytes - entry->sent;

		if (bytes < left) {
			entry->sent += bytes;
			break;
		}
		bytes -= left;
		conn->tx_messages += entry->run->nr;
		if (entry->run != worker->pingresp)
			kmqtt_count(worker, conn->ns,
				    KMQTT_A_COUNTER_DELIVERIES,
				    entry->run->nr);
		ring_pop(worker, ring);
	}
}

/* Send by reference what @msg points at: it lies together, in pages. */
static int splice_locked(struct sock *sk, const struct msghdr *msg, u32 bytes)
{
	const struct iov_iter *iter = &msg->msg_iter;
	const void *data = iter->kvec->iov_base + iter->iov_offset;
	struct page *page = virt_to_head_page(data);

	return kmqtt_splice_locked(sk, page, data - page_address(page), bytes,
				   msg->msg_flags);
}

/**
 * kmqtt_tx_send() - hand bytes to TCP
 * @sk: the socket, locked
 * @msg: the bytes
 * @bytes: how many
 * @splice: by reference, if the socket can
 *
 * The one way for the worker's bytes and the daemon's, so that tests can make it
 * fail.
 *
 * Return: bytes taken, or an error.
 */
noinline int kmqtt_tx_send(struct sock *sk, struct msghdr *msg, size_t bytes,
			   bool splice)
{
	/* Without scatter-gather sendpage copies, by kmap(), which may sleep. */
	if (splice && sk->sk_route_caps & NETIF_F_SG)
		return splice_locked(sk, msg, bytes);
	return tcp_sendmsg_locked(sk, msg, bytes);
}

ALLOW_ERROR_INJECTION(kmqtt_tx_send, ERRNO);

/* Whether anything is sent behind the next @bytes of what waits, which are not
 * all: else TCP must not wait for it.
 */
static bool followed(const struct kmqtt_worker *worker, struct kmqtt_ring *ring,
		     u32 bytes)
{
	const struct kmqtt_entry *entry = ring_at(ring, 0);
	u32 i = 0;

	while (bytes >= entry->run->bytes - entry->sent) {
		bytes -= entry->run->bytes - entry->sent;
		entry = ring_at(ring, ++i);
	}
	return !expired(worker, entry->run);
}

/* Send once, @most bytes, under the socket lock. Return: bytes, or an error. */
static int send_locked(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		       u32 most)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct sock *sk = conn->sk;
	gfp_t gfp = sk->sk_allocation;
	bool splice;
	u32 bytes;
	int ret;

	bytes = gather(worker, &conn->ring, &msg.msg_iter, &splice);
	if (unlikely(bytes > most)) {
		bytes = most;
		iov_iter_truncate(&msg.msg_iter, bytes);
	} else if (bytes < most && followed(worker, &conn->ring, bytes)) {
		msg.msg_flags |= MSG_MORE;
	}
	/* Around our own sends only: a socket that allocates so for good has a
	 * page fragment of its own for the daemon's sends too.
	 */
	sk->sk_allocation = GFP_ATOMIC;
	ret = kmqtt_tx_send(sk, &msg, bytes, splice);
	sk->sk_allocation = gfp;

	if (ret > 0)
		consume(worker, conn, ret);
	if (ret == bytes)
		return ret;

	/* kmqtt_write_space() comes when there is room, but not if the failure
	 * was memory with nothing in flight: then the timer tries again.
	 */
	WRITE_ONCE(conn->tx_wait, true);
	if (tcp_rtx_and_write_queues_empty(sk))
		mod_timer(&conn->timer, jiffies + KMQTT_RETRY);
	return ret;
}

/* Bytes that it is our turn to send, under the socket lock. */
static u32 may_send(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	u32 bytes;

	if (conn->ring.nr && unlikely(ring_at(&conn->ring, 0)->run->expiring))
		expire(worker, conn);
	if (!conn->ring.nr || conn->user_busy || conn->tx_wait)
		return 0;
	bytes = allowed(worker, conn);
	/* Wait for the daemon, though not for ever: it may be gone. */
	if (unlikely(!bytes && conn->user_waiting))
		kmqtt_conn_arm(conn, jiffies_to_msecs(KMQTT_TURN));
	return bytes;
}

static void tx_conn(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	struct sock *sk = conn->sk;
	bool partial;
	int ret = 0;
	u32 most;

	bh_lock_sock(sk);
	if (sock_owned_by_user(sk)) {
		/* Sleeping for it would hold up everybody else. */
		conn->owned = true;
		bh_unlock_sock(sk);
		return;
	}
	worker->now = jiffies;
	while ((most = may_send(worker, conn))) {
		ret = send_locked(worker, conn, most);
		if (ret < 0)
			break;
		kmqtt_count(worker, conn->ns, KMQTT_A_COUNTER_TX_BYTES, ret);
		kmqtt_count(worker, conn->ns, KMQTT_A_COUNTER_TX_CALLS, 1);
	}
	partial = begun(&conn->ring);
	if (unlikely(partial != conn->tx_partial)) {
		WRITE_ONCE(conn->tx_partial, partial);
		/* poll() looks without the lock: not before it can see that. */
		if (!partial)
			wake_up_interruptible_all(sk_sleep(sk));
	}
	bh_unlock_sock(sk);

	/* The receiving side looks at what has become of the socket. */
	if (unlikely(ret < 0 && ret != -EAGAIN)) {
		conn->failed = true;
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
	}
}

/* Send for every marked connection: one gathered send each. */
void kmqtt_tx_flush(struct kmqtt_worker *worker)
{
	struct kmqtt_conn *conn = worker->dirty;
	unsigned int batches = 0;

	worker->dirty = NULL;
	worker->dirty_tail = &worker->dirty;

	while (conn) {
		unsigned int i;

		local_bh_disable();
		for (i = 0; conn && i < TX_BH_BATCH; i++) {
			struct kmqtt_conn *next = conn->next_dirty;

			conn->dirty = false;
			if (conn->ring.nr)
				tx_conn(worker, conn);
			conn = next;
		}
		local_bh_enable();
		if (!(++batches % TX_BATCHES))
			cond_resched();
	}
}

/* Forget everything that waits. */
void kmqtt_tx_purge(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	struct kmqtt_ring *ring = &conn->ring;

	while (ring->nr)
		ring_pop(worker, ring);
	ring->bytes = 0;
	if (ring->entries != ring->first)
		kvfree(ring->entries);
	ring->entries = ring->first;
	ring->room = KMQTT_RING_INLINE;
	ring->head = 0;
}
