// SPDX-License-Identifier: GPL-2.0
#include "worker.h"

#include <linux/mm.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "access.h"
#include "alias.h"
#include "compat.h"
#include "conn.h"
#include "head.h"
#include "ns.h"
#include "topic.h"

/* What one connection may take of a pass before the others have their turn. */
enum { RX_BUDGET_PACKETS = 64, RX_BUDGET_BYTES = 64 * 1024 };

/* Packets are received into chunks of this order, and where less than
 * RX_CHUNK_LOW is left, into a new one. A message that does not fit is
 * collected in memory of its own.
 */
enum { RX_CHUNK_ORDER = 3, RX_CHUNK_LOW = 4096 };

/* A message up to this size may be allocated under the socket lock. */
enum { RX_ATOMIC_MAX = 2048 };

/* Bytes of a packet still to come, above which what comes of it counts for keep
 * alive, as in mosquitto: else a slow upload ends a connection.
 */
enum { RX_LIFE_LEFT = 1000 };

/* What is copied at a time in the turn after RX_FLUSH or RX_HEAD: a client whose
 * packets end a turn each must not have much copied in vain.
 */
enum { RX_AFTER_FLUSH = 2048 };

/* Of a PUBLISH for user space that may have a topic alias, bytes of variable
 * header that there is room for at first, and at the most: topic name,
 * properties of 64 KiB, and some.
 */
enum { RX_HEAD_FIRST = 256, RX_HEAD_MAX = 192 * 1024 };

/* Bytes of large messages being collected, all connections together, and the
 * part of memory that they may take: a few bytes of header reserve a whole
 * message. Of small ones each connection has its one: else those who announce
 * large ones would keep everybody from being read.
 */
static atomic_long_t collecting;
enum { RX_COLLECT_SHARE = 16 };

/**
 * enum rx_stop - why reading stopped before the socket was empty
 * @RX_GO: it did not
 * @RX_FLUSH: messages received must be on their way first
 * @RX_ALLOC: memory for rx.msg is needed
 * @RX_HEAD: the variable header in rx.msg is to be resolved
 * @RX_REFILL: the chunk is full
 * @RX_BUDGET: the others have their turn
 * @RX_PAUSE: somebody else will kick the connection
 * @RX_END: the connection must end
 */
enum rx_stop {
	RX_GO,
	RX_FLUSH,
	RX_ALLOC,
	RX_HEAD,
	RX_REFILL,
	RX_BUDGET,
	RX_PAUSE,
	RX_END,
};

/**
 * struct rx_batch - one reading of a connection's socket
 * @worker: the worker
 * @conn: the connection
 * @stop: enum rx_stop
 * @end: with RX_END: why
 * @first: messages received
 * @last: link of the last
 * @nr: messages, pings and heads, in all readings of the pass
 * @bytes: bytes read, in all readings of the pass
 * @user: bytes were added to the user queue
 * @most: bytes to copy at a time
 * @cut: less was copied than the socket has
 * @keep: end of the last message that stays in the chunk
 * @pings: PINGREQs to answer
 * @retained: what the messages received add to the sink
 */
struct rx_batch {
	struct kmqtt_worker *worker;
	struct kmqtt_conn *conn;
	enum rx_stop stop;
	enum kmqtt_end end;
	struct kmqtt_msg *first;
	struct kmqtt_msg **last;
	u32 nr;
	u32 bytes;
	bool user;
	u32 most;
	bool cut;
	const u8 *keep;
	u32 pings;
	u32 retained;
};

static void rx_end(struct rx_batch *batch, enum kmqtt_end end)
{
	batch->stop = RX_END;
	batch->end = end;
}

/* Nothing to do until somebody kicks the connection. */
static void rx_pause(struct rx_batch *batch)
{
	batch->stop = RX_PAUSE;
	WRITE_ONCE(batch->conn->rx_stopped, true);
}

/* As rx_pause(), where the somebody is the timer: no memory. */
static void rx_retry(struct rx_batch *batch)
{
	rx_pause(batch);
	mod_timer(&batch->conn->timer, jiffies + KMQTT_RETRY);
}

/* Whether the publisher may put one more message on its way. */
static bool have_credit(struct kmqtt_conn *conn)
{
	if (likely(atomic_read(&conn->credit) < KMQTT_CREDIT))
		return true;

	set_bit(KMQTT_CONN_NO_CREDIT, &conn->flags);
	/* Pairs with kmqtt_conn_credit_return(). */
	smp_mb__after_atomic();
	if (atomic_read(&conn->credit) >= KMQTT_CREDIT)
		return false;
	clear_bit(KMQTT_CONN_NO_CREDIT, &conn->flags);
	return true;
}

/* Whether the publish rate allows one more message; else when it will. A second
 * without messages saves up for a second with twice as many, no more.
 */
static bool have_token(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;
	u32 rate = READ_ONCE(conn->publish_rate);
	unsigned long now = jiffies;

	if (likely(!rate))
		return true;
	conn->tokens = min(conn->tokens + (now - conn->tokens_at) * (u64)rate,
			   (u64)rate * HZ);
	conn->tokens_at = now;
	if (conn->tokens >= HZ)
		return true;
	rx_pause(batch);
	kmqtt_conn_arm(conn, jiffies_to_msecs(DIV_ROUND_UP(HZ - conn->tokens,
							   rate)));
	return false;
}

static void take_token(struct kmqtt_conn *conn)
{
	if (unlikely(READ_ONCE(conn->publish_rate)))
		conn->tokens -= min_t(u64, conn->tokens, HZ);
}

/* Whether there is memory for one more message, and the publish rate allows it;
 * else reading pauses.
 */
static bool may_take(struct rx_batch *batch)
{
	if (unlikely(kmqtt_memory_over(&batch->conn->ns->memory))) {
		rx_pause(batch);
		kmqtt_conn_arm(batch->conn, KMQTT_MEMORY_EVERY);
		return false;
	}
	return have_token(batch);
}

/* The same for one that is published here. */
static bool may_publish(struct rx_batch *batch)
{
	if (!have_credit(batch->conn)) {
		rx_pause(batch);
		return false;
	}
	return may_take(batch);
}

/* Whether a packet with this first byte is a PUBLISH that is fanned out here. */
static bool publish_here(const struct kmqtt_conn *conn, u8 first)
{
	return first == KMQTT_PUBLISH << 4 ||
	       (first == (KMQTT_PUBLISH << 4 | KMQTT_FLAG_RETAIN) &&
		READ_ONCE(conn->ns->sink.opened));
}

/* A message is to be retained, which its subscribers are not told
 * [MQTT-3.3.1-9]. If it fills the sink, it is the last until there is room.
 */
static void msg_retained(struct rx_batch *batch, struct kmqtt_msg *msg)
{
	msg->data[0] &= ~KMQTT_FLAG_RETAIN;
	msg->sink = KMQTT_SINK_RETAIN;
	batch->retained += kmqtt_sink_charge(msg->len);
	if (kmqtt_sink_full(&batch->conn->ns->sink, batch->retained))
		batch->stop = RX_FLUSH;
}

/* A message is whole: append it to the batch. It is checked when the socket is
 * not locked any more: its properties may be long.
 */
static void msg_received(struct rx_batch *batch, struct kmqtt_msg *msg,
			 u32 header_len)
{
	struct kmqtt_conn *conn = batch->conn;

	msg->topic_off = header_len + 2;
	msg->conn_id = conn->id;
	if (unlikely(msg->data[0] & KMQTT_FLAG_RETAIN))
		msg_retained(batch, msg);
	kmqtt_conn_hold(conn);
	msg->publisher = conn;
	*batch->last = msg;
	batch->last = &msg->next;
	atomic_add(kmqtt_msg_charge(msg), &conn->credit);
	take_token(conn);
	conn->rx_publishes++;
	if (++batch->nr >= RX_BUDGET_PACKETS)
		batch->stop = RX_BUDGET;
}

static void packet_done(struct kmqtt_conn *conn)
{
	conn->rx_packets++;
	memset(&conn->rx.frame, 0, sizeof(conn->rx.frame));
	conn->rx.mode = KMQTT_RX_HEADER;
}

/* What a connection that is not active yet may send. */
static enum kmqtt_end check_first(const struct kmqtt_conn *conn, u8 type)
{
	u8 first = conn->level ? KMQTT_AUTH : KMQTT_CONNECT;

	return type == first ? KMQTT_END_NONE : KMQTT_END_PROTOCOL;
}

/* A fixed header is complete: decide where the packet goes. */
static void packet_begin(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;
	struct kmqtt_rx *rx = &conn->rx;
	u8 type = kmqtt_frame_type(&rx->frame);
	enum kmqtt_end end = KMQTT_END_NONE;

	if (READ_ONCE(conn->state) != KMQTT_CONN_ACTIVE)
		end = check_first(conn, type);
	else if (type == KMQTT_CONNECT)
		end = KMQTT_END_PROTOCOL;	/* [MQTT-3.1.0-2] */
	if (!end && kmqtt_frame_size(&rx->frame) > READ_ONCE(conn->max_packet))
		end = KMQTT_END_TOO_LARGE;
	if (end) {
		rx_end(batch, end);
		return;
	}

	if (type == KMQTT_PINGREQ) {
		packet_done(conn);
		batch->pings++;
		if (++batch->nr >= RX_BUDGET_PACKETS)
			batch->stop = RX_BUDGET;
		return;
	}
	rx->left = rx->frame.remaining;
	rx->have = 0;
	if (publish_here(conn, rx->frame.first))
		rx->mode = KMQTT_RX_PUBLISH;
	else if (type == KMQTT_PUBLISH && READ_ONCE(conn->max_topic_alias))
		rx->mode = KMQTT_RX_HEAD;
	else
		rx->mode = KMQTT_RX_USER_BEGIN;
}

static void parse_header(struct rx_batch *batch, const u8 **pos, const u8 *end)
{
	struct kmqtt_conn *conn = batch->conn;
	enum kmqtt_end why;
	size_t used;

	if (!conn->rx.frame.seen)
		conn->rx.since = jiffies;
	why = kmqtt_frame_feed(&conn->rx.frame, *pos, end - *pos, conn->level,
			       &used);
	*pos += used;
	if (why)
		rx_end(batch, why);
	else if (conn->rx.frame.done)
		packet_begin(batch);
}

/* The usual case: a whole PUBLISH lies in the chunk, and stays there.
 *
 * Return: whether it was that, or reading must stop.
 */
static bool parse_in_place(struct rx_batch *batch, u8 **pos, u8 *end)
{
	struct kmqtt_conn *conn = batch->conn;
	struct kmqtt_chunk *chunk = &batch->worker->chunk;
	struct kmqtt_frame frame = {};
	struct kmqtt_msg *msg;
	size_t used;
	u32 size;

	if (kmqtt_frame_feed(&frame, *pos, end - *pos, conn->level, &used) ||
	    !frame.done)
		return false;
	size = kmqtt_frame_size(&frame);
	if (size > READ_ONCE(conn->max_packet) ||
	    !kmqtt_frame_is_shortest(&frame))
		return false;
	if (size > end - *pos) {
		/* Cut by the end of the chunk, or by that of the data? */
		if (!batch->cut || size > chunk->size)
			return false;
		batch->stop = RX_REFILL;
		return true;
	}
	if (!may_publish(batch))
		return true;

	msg = kmqtt_msg_in_chunk(conn->ns, chunk->page, *pos, size,
				 GFP_ATOMIC | __GFP_NOWARN);
	if (!msg) {
		rx_retry(batch);
		return true;
	}
	*pos += size;
	batch->keep = *pos;
	conn->rx_packets++;
	msg_received(batch, msg, frame.seen);
	return true;
}

/* What a message, or its beginning, counts as while it is collected. */
static u32 collect_charge(u32 len)
{
	return len > RX_ATOMIC_MAX + KMQTT_HEADER_MAX ? len : 0;
}

/* Whether one more message may be collected; a large one alone always. */
static bool collect_begin(u32 len)
{
	unsigned long most = totalram_pages() / RX_COLLECT_SHARE * PAGE_SIZE;
	u32 charge = collect_charge(len);
	unsigned long now;

	if (likely(!charge))
		return true;
	now = atomic_long_add_return(charge, &collecting);
	if (likely(now <= most || now == charge))
		return true;
	atomic_long_sub(charge, &collecting);
	return false;
}

/* The message being collected has another length. */
static void collect_change(u32 from, u32 to)
{
	atomic_long_add((long)collect_charge(to) - collect_charge(from),
			&collecting);
}

static struct kmqtt_msg *collect_end(struct kmqtt_rx *rx)
{
	struct kmqtt_msg *msg = rx->msg;

	rx->msg = NULL;
	if (unlikely(collect_charge(msg->len)))
		collect_change(msg->len, 0);
	return msg;
}

/* Give up what a connection is in the middle of. The worker, or nobody else. */
void kmqtt_rx_abandon(struct kmqtt_conn *conn)
{
	if (conn->rx.msg)
		kmqtt_msg_put(collect_end(&conn->rx));
	kmqtt_sink_leave(conn);
}

/* Memory for the PUBLISH being collected, which begins with its header. */
static bool msg_alloc(struct kmqtt_conn *conn, gfp_t gfp)
{
	struct kmqtt_rx *rx = &conn->rx;
	u8 header[KMQTT_HEADER_MAX];
	u32 len, size;

	len = kmqtt_frame_build(header, rx->frame.first, rx->frame.remaining);
	size = len + rx->frame.remaining;
	if (!collect_begin(size))
		return false;
	rx->msg = kmqtt_msg_alloc(conn->ns, size, gfp);
	if (!rx->msg) {
		collect_change(size, 0);
		return false;
	}
	memcpy(rx->msg->data, header, len);
	rx->header_len = len;
	rx->have = len;
	return true;
}

/* A PUBLISH that is to be collected needs credit and memory, once. */
static bool publish_ready(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;
	struct kmqtt_rx *rx = &conn->rx;

	if (rx->msg)
		return true;
	if (!may_publish(batch))
		return false;
	if (rx->frame.remaining > RX_ATOMIC_MAX || !msg_alloc(conn, GFP_ATOMIC)) {
		batch->stop = RX_ALLOC;
		return false;
	}
	return true;
}

/* @n more bytes of the PUBLISH being collected have come. */
static void publish_advance(struct rx_batch *batch, u32 n)
{
	struct kmqtt_rx *rx = &batch->conn->rx;

	rx->have += n;
	rx->left -= n;
	if (rx->left)
		return;
	packet_done(batch->conn);
	msg_received(batch, collect_end(rx), rx->header_len);
}

static void parse_publish(struct rx_batch *batch, const u8 **pos, const u8 *end)
{
	struct kmqtt_rx *rx = &batch->conn->rx;
	u32 n;

	if (!publish_ready(batch))
		return;
	n = min_t(size_t, rx->left, end - *pos);
	memcpy(rx->msg->data + rx->have, *pos, n);
	*pos += n;
	publish_advance(batch, n);
}

static u32 user_push(struct rx_batch *batch, const u8 *data, u32 len)
{
	u32 n = kmqtt_upq_push(&batch->conn->upq, data, len);

	if (n)
		batch->user = true;
	if (n < len)
		rx_retry(batch);
	return n;
}

static void user_done(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;

	packet_done(conn);
	kmqtt_count(batch->worker, conn->ns, KMQTT_A_COUNTER_RX_USER_PACKETS,
		    1);
	/* Nothing behind CONNECT may overtake its handling. */
	if (cmpxchg(&conn->state, KMQTT_CONN_CONNECTING, KMQTT_CONN_WAITING) ==
	    KMQTT_CONN_CONNECTING)
		rx_pause(batch);
}

/* A packet for user space begins with its header. Messages before it are sent
 * first, so that what user space does because of it comes after them.
 */
static void parse_user_begin(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;
	struct kmqtt_rx *rx = &conn->rx;
	bool publish = kmqtt_frame_type(&rx->frame) == KMQTT_PUBLISH;
	u8 header[KMQTT_HEADER_MAX];
	const u8 *data = header;
	u32 len;

	if (batch->first) {
		batch->stop = RX_FLUSH;
		return;
	}
	if (publish && !rx->have && !may_take(batch))
		return;
	if (kmqtt_upq_used(&conn->upq) >= conn->limits.user_bytes) {
		rx_pause(batch);
		return;
	}

	if (rx->msg) {
		data = rx->msg->data;
		len = rx->msg->len;
	} else {
		/* Of a CONNECT user space finds out what is valid. */
		len = kmqtt_frame_repeat(header, &rx->frame);
	}
	rx->have += user_push(batch, data + rx->have, len - rx->have);
	if (rx->have < len)
		return;
	if (rx->msg)
		kmqtt_msg_put(collect_end(rx));
	if (publish)
		take_token(conn);
	rx->mode = KMQTT_RX_USER;
	if (!rx->left)
		user_done(batch);
}

static void parse_user(struct rx_batch *batch, const u8 **pos, const u8 *end)
{
	struct kmqtt_conn *conn = batch->conn;
	struct kmqtt_rx *rx = &conn->rx;
	u32 room = conn->limits.user_bytes -
		   min(conn->limits.user_bytes, kmqtt_upq_used(&conn->upq));
	u32 n = min_t(size_t, rx->left, end - *pos);

	if (!room) {
		rx_pause(batch);
		return;
	}
	n = user_push(batch, *pos, min(n, room));
	*pos += n;
	rx->left -= n;
	if (!rx->left)
		user_done(batch);
}

/* Memory for the first @len bytes of the variable header of a PUBLISH for user
 * space, behind its fixed header. What has come of it stays.
 */
static bool head_alloc(struct kmqtt_conn *conn, u32 len, gfp_t gfp)
{
	struct kmqtt_rx *rx = &conn->rx;
	u8 header[KMQTT_HEADER_MAX];
	struct kmqtt_msg *msg;
	u32 size;

	rx->header_len = kmqtt_frame_build(header, rx->frame.first,
					   rx->frame.remaining);
	size = rx->header_len + len;
	if (!collect_begin(size))
		return false;
	msg = kmqtt_msg_alloc(conn->ns, size, gfp);
	if (!msg) {
		collect_change(size, 0);
		return false;
	}
	memcpy(msg->data, header, rx->header_len);
	if (rx->msg) {
		memcpy(msg->data, rx->msg->data, rx->header_len + rx->have);
		kmqtt_msg_put(collect_end(rx));
	}
	rx->msg = msg;
	return true;
}

/* Bytes of the variable header that are wanted next, as far as is known. */
static u32 head_want(const struct kmqtt_rx *rx)
{
	if (!rx->msg)
		return 2;
	return kmqtt_head_want(rx->msg->data + rx->header_len, rx->have,
			       kmqtt_frame_qos(&rx->frame));
}

/* Room for it, if that can be had under the socket lock. */
static bool head_ready(struct rx_batch *batch, u32 want)
{
	struct kmqtt_conn *conn = batch->conn;
	struct kmqtt_rx *rx = &conn->rx;

	if (rx->msg && rx->header_len + want <= rx->msg->len)
		return true;
	if (!rx->msg)
		want = max(want, min_t(u32, rx->frame.remaining, RX_HEAD_FIRST));
	if (want <= RX_ATOMIC_MAX && head_alloc(conn, want, GFP_ATOMIC))
		return true;
	batch->stop = RX_ALLOC;
	return false;
}

/* The variable header of a PUBLISH for user space, which may have a topic alias.
 * It is collected in steps, since it says itself how long it is.
 */
static void parse_head(struct rx_batch *batch, const u8 **pos, const u8 *end)
{
	struct kmqtt_rx *rx = &batch->conn->rx;
	u32 want = head_want(rx), n;

	if (!rx->msg && !may_take(batch))
		return;
	if (want > rx->frame.remaining) {
		rx_end(batch, KMQTT_END_MALFORMED);
		return;
	}
	if (want > RX_HEAD_MAX) {
		rx_end(batch, KMQTT_END_TOO_LARGE);
		return;
	}
	if (!head_ready(batch, want))
		return;
	n = min_t(size_t, want - rx->have, end - *pos);
	memcpy(rx->msg->data + rx->header_len + rx->have, *pos, n);
	*pos += n;
	rx->have += n;
	rx->left -= n;
	if (head_want(rx) == rx->have)
		batch->stop = RX_HEAD;
}

/* Such a variable header is there: have what is passed on begin with it, the
 * topic alias resolved. Process context.
 */
static void head_resolve(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;
	const struct kmqtt_alias *alias;
	struct kmqtt_rx *rx = &conn->rx;
	struct kmqtt_msg *msg = rx->msg;
	struct kmqtt_head head;
	enum kmqtt_end end;

	/* The room may have been larger. */
	collect_change(msg->len, rx->header_len + rx->have);
	kmqtt_msg_shrink(msg, rx->header_len + rx->have);

	end = kmqtt_head_parse(&head, msg->data, rx->header_len, msg->len,
			       conn->level);
	if (!end && head.topic_alias) {
		end = kmqtt_alias_resolve(conn, msg->data, &head, &alias);
		if (!end)
			msg = kmqtt_alias_replace(msg, &head, alias, rx->left);
	}
	if (msg == ERR_PTR(-EMSGSIZE))
		end = KMQTT_END_TOO_LARGE;
	if (end) {
		rx_end(batch, end);
	} else if (IS_ERR(msg)) {
		rx_retry(batch);
	} else {
		if (msg != rx->msg) {
			collect_change(0, msg->len);
			kmqtt_msg_put(collect_end(rx));
			rx->msg = msg;
		}
		rx->have = 0;
		rx->mode = KMQTT_RX_USER_BEGIN;
	}
}

/* Whether there is something to do without more bytes. */
static bool needs_no_bytes(const struct kmqtt_rx *rx)
{
	return rx->mode == KMQTT_RX_USER_BEGIN ||
	       (rx->mode == KMQTT_RX_HEAD && rx->msg &&
		head_want(rx) == rx->have);
}

/* Parse what has come.
 *
 * Return: how many bytes are dealt with.
 */
static u32 parse(struct rx_batch *batch, u8 *data, u32 len)
{
	struct kmqtt_conn *conn = batch->conn;
	struct kmqtt_rx *rx = &conn->rx;
	u8 *pos = data, *end = data + len;

	while (batch->stop == RX_GO && (pos < end || needs_no_bytes(rx))) {
		switch (rx->mode) {
		case KMQTT_RX_HEADER:
			if (!rx->frame.seen && publish_here(conn, *pos) &&
			    READ_ONCE(conn->state) == KMQTT_CONN_ACTIVE &&
			    parse_in_place(batch, &pos, end))
				break;
			parse_header(batch, (const u8 **)&pos, end);
			break;
		case KMQTT_RX_PUBLISH:
			parse_publish(batch, (const u8 **)&pos, end);
			break;
		case KMQTT_RX_HEAD:
			parse_head(batch, (const u8 **)&pos, end);
			break;
		case KMQTT_RX_USER_BEGIN:
			parse_user_begin(batch);
			break;
		case KMQTT_RX_USER:
			parse_user(batch, (const u8 **)&pos, end);
			break;
		}
	}
	return pos - data;
}

/* Collect a large PUBLISH straight from the socket. */
static int actor_collect(struct rx_batch *batch, struct sk_buff *skb,
			 unsigned int offset, size_t len)
{
	struct kmqtt_rx *rx = &batch->conn->rx;
	u32 n;

	if (!publish_ready(batch))
		return 0;
	n = min_t(size_t, rx->left, len);
	if (skb_copy_bits(skb, offset, rx->msg->data + rx->have, n)) {
		rx_end(batch, KMQTT_END_RESET);
		return 0;
	}
	publish_advance(batch, n);
	return n;
}

/* Copy what an skb holds into the chunk, once, and parse it there. */
static int actor_parse(struct rx_batch *batch, struct sk_buff *skb,
		       unsigned int offset, size_t len)
{
	struct kmqtt_chunk *chunk = &batch->worker->chunk;
	u8 *data = page_address(chunk->page) + chunk->off;
	u32 n = min3((u32)len, chunk->size - chunk->off, batch->most);
	u32 used;

	if (!n) {
		batch->stop = RX_REFILL;
		return 0;
	}
	if (skb_copy_bits(skb, offset, data, n)) {
		rx_end(batch, KMQTT_END_RESET);
		return 0;
	}
	batch->cut = n < len;
	batch->keep = data;
	used = parse(batch, data, n);
	chunk->off += batch->keep - data;
	return used;
}

static int rx_actor(read_descriptor_t *desc, struct sk_buff *skb,
		    unsigned int offset, size_t len)
{
	struct rx_batch *batch = desc->arg.data;
	int used;

	if (batch->stop != RX_GO)
		return 0;
	if (batch->conn->rx.mode == KMQTT_RX_PUBLISH)
		used = actor_collect(batch, skb, offset, len);
	else
		used = actor_parse(batch, skb, offset, len);

	batch->bytes += used;
	if (batch->stop == RX_GO && batch->bytes >= RX_BUDGET_BYTES)
		batch->stop = RX_BUDGET;
	return used;
}

/* Make sure that the chunk has room. One that nobody else refers to any more is
 * used again.
 */
static bool chunk_prepare(struct kmqtt_chunk *chunk)
{
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_COMP | __GFP_NOWARN;
	unsigned int order = RX_CHUNK_ORDER;

	if (chunk->page && page_ref_count(chunk->page) == 1)
		chunk->off = 0;
	if (chunk->page && chunk->size - chunk->off >= RX_CHUNK_LOW)
		return true;

	if (chunk->page)
		put_page(chunk->page);
	chunk->page = alloc_pages(gfp | __GFP_NORETRY, order);
	if (!chunk->page) {
		order = 0;
		chunk->page = alloc_pages(gfp, order);
	}
	chunk->off = 0;
	chunk->size = PAGE_SIZE << order;
	return chunk->page;
}

/* Whether all has been read that a socket has. Once it is dead, that is what came
 * before the reset: a DISCONNECT, perhaps.
 */
static bool rx_is_through(const struct rx_batch *batch)
{
	const struct kmqtt_conn *conn = batch->conn;

	return batch->stop == RX_GO ||
	       (batch->stop == RX_PAUSE && !kmqtt_conn_mid_packet(conn) &&
		skb_queue_empty(&conn->sk->sk_receive_queue));
}

/* The socket, after reading: does anything else have to be said? */
static void rx_check(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;
	struct sock *sk = conn->sk;
	bool dead = sk->sk_err || sk->sk_state == TCP_CLOSE;

	if (batch->stop == RX_END)
		return;
	if (dead ? rx_is_through(batch) : conn->failed)
		rx_end(batch, KMQTT_END_RESET);
	else if (unlikely(tcp_sk(sk)->urg_data))
		rx_end(batch, KMQTT_END_URGENT);
	else if (batch->stop == RX_GO && (sk->sk_shutdown & RCV_SHUTDOWN) &&
		 skb_queue_empty(&sk->sk_receive_queue))
		/* Without FIN, it was the daemon that shut it down. */
		rx_end(batch, sk->sk_state == TCP_ESTABLISHED ?
		       KMQTT_END_DELETED : KMQTT_END_CLOSED);
}

/* Read under the socket lock: parse and set aside, nothing else. */
static void rx_locked(struct rx_batch *batch)
{
	read_descriptor_t desc = { .arg.data = batch, .count = 1 };
	struct kmqtt_conn *conn = batch->conn;
	u64 packets = conn->rx_packets;
	u32 before = batch->bytes;

	WRITE_ONCE(conn->rx_stopped, false);
	if (READ_ONCE(conn->state) == KMQTT_CONN_WAITING ||
	    test_bit(KMQTT_CONN_NO_SINK, &conn->flags))
		rx_pause(batch);
	parse(batch, NULL, 0);
	if (batch->stop == RX_GO)
		tcp_read_sock(conn->sk, &desc, rx_actor);
	rx_check(batch);

	if (batch->bytes != before) {
		conn->last_rx = jiffies;
		conn->rx_bytes += batch->bytes - before;
		if (packets != conn->rx_packets || conn->rx.left > RX_LIFE_LEFT)
			WRITE_ONCE(conn->last_packet, jiffies);
		if (kmqtt_conn_mid_packet(conn))
			kmqtt_conn_arm(conn, kmqtt_conn_packet_left(conn));
	}
	if (batch->user) {
		conn->saved_data_ready(conn->sk);
		kmqtt_trunk_arrived(conn);
	}
	batch->user = false;
}

/* Messages went into the sink, and are on their way: a publisher who finds it
 * full is not read any further.
 */
static void rx_sunk(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;

	kmqtt_sink_sent(&conn->ns->sink, batch->worker);
	if (batch->stop != RX_END && kmqtt_sink_wait(conn))
		rx_pause(batch);
}

/* The publisher's rules deny it the topic: nobody is told, as in mosquitto. */
static void rx_deny(struct rx_batch *batch, struct kmqtt_msg *msg)
{
	struct kmqtt_conn *conn = batch->conn;

	WRITE_ONCE(conn->denied_publishes, conn->denied_publishes + 1);
	kmqtt_count(batch->worker, conn->ns, KMQTT_A_COUNTER_DENIED_PUBLISHES,
		    1);
	kmqtt_publish_drop(msg);
}

/* There was no memory for a message. */
static void rx_forget(struct rx_batch *batch, struct kmqtt_msg *msg)
{
	kmqtt_count(batch->worker, batch->conn->ns,
		    KMQTT_A_COUNTER_DROPPED_NOMEM, 1);
	kmqtt_publish_drop(msg);
}

/* Replace the topic alias of a message; its credit changes with its size. */
static enum kmqtt_end msg_unalias(struct kmqtt_conn *conn,
				  struct kmqtt_msg **msg,
				  struct kmqtt_head *head)
{
	const struct kmqtt_alias *alias;
	struct kmqtt_msg *copy;
	enum kmqtt_end end;

	end = kmqtt_alias_resolve(conn, (*msg)->data, head, &alias);
	if (end)
		return end;
	copy = kmqtt_alias_replace(*msg, head, alias, 0);
	if (copy == ERR_PTR(-EMSGSIZE))
		return KMQTT_END_TOO_LARGE;
	if (IS_ERR(copy)) {
		/* To be dropped, for its topic name that is not there. */
		head->topic_len = 0;
		return KMQTT_END_NONE;
	}
	copy->sink = (*msg)->sink;
	copy->conn_id = conn->id;
	copy->next = (*msg)->next;
	copy->publisher = (*msg)->publisher;
	(*msg)->publisher = NULL;
	atomic_add(kmqtt_msg_charge(copy) - kmqtt_msg_charge(*msg),
		   &conn->credit);
	kmqtt_msg_put(*msg);
	*msg = copy;
	return kmqtt_head_parse(head, copy->data, copy->topic_off - 2,
				copy->len, conn->level);
}

/* Check a message of MQTT 3.x, and note where its parts are. */
static enum kmqtt_end msg_check_3(struct kmqtt_msg *msg)
{
	const u8 *topic = msg->data + msg->topic_off;
	u32 len = get_unaligned_be16(topic - 2);

	if (len > msg->len - msg->topic_off ||
	    kmqtt_topic_name_check(topic, len))
		return KMQTT_END_TOPIC;
	msg->topic_len = len;
	msg->payload = msg->topic_off + len;
	msg->property_bytes = 0;
	return KMQTT_END_NONE;
}

/* The same of MQTT 5, whose topic alias is resolved. */
static enum kmqtt_end msg_check_5(struct kmqtt_conn *conn,
				  struct kmqtt_msg **msg)
{
	u8 level = conn->level;
	struct kmqtt_head head;
	enum kmqtt_end end;

	end = kmqtt_head_parse(&head, (*msg)->data, (*msg)->topic_off - 2,
			       (*msg)->len, level);
	if (unlikely(!end && head.topic_alias))
		end = msg_unalias(conn, msg, &head);
	if (unlikely(!end && head.payload_format && READ_ONCE(conn->check_format)) &&
	    kmqtt_text_check((*msg)->data + head.payload,
			     (*msg)->len - head.payload))
		end = KMQTT_END_PAYLOAD_FORMAT;
	if (!end)
		kmqtt_msg_parts(*msg, &head, level);
	return end;
}

/* Send the messages of a batch on their way. */
static void rx_flush(struct rx_batch *batch)
{
	struct kmqtt_worker *worker = batch->worker;
	struct kmqtt_ns *ns = batch->conn->ns;
	struct kmqtt_msg *msg = batch->first;
	enum kmqtt_end wrong = KMQTT_END_NONE;
	u32 nr = 0, bytes = 0;
	bool sunk = false;

	while (msg) {
		struct kmqtt_msg *next = msg->next;

		if (likely(!wrong))
			wrong = batch->conn->level < 5 ?
				msg_check_3(msg) :
				msg_check_5(batch->conn, &msg);
		if (unlikely(wrong)) {
			/* Nor does anything behind it count. */
			kmqtt_publish_drop(msg);
			msg = next;
			continue;
		}
		nr++;
		bytes += msg->len;
		/* A long topic is judged anew for each. */
		if (unlikely(msg->topic_len > KMQTT_VERDICT_TOPIC))
			cond_resched();
		if (unlikely(!msg->topic_len))
			rx_forget(batch, msg);
		else if (kmqtt_may_publish(batch->conn,
					   msg->data + msg->topic_off,
					   msg->topic_len))
			sunk |= kmqtt_publish_chain(worker, ns, msg);
		else
			rx_deny(batch, msg);
		msg = next;
	}
	batch->first = NULL;
	batch->last = &batch->first;
	batch->retained = 0;
	if (unlikely(wrong))
		rx_end(batch, wrong);
	if (!nr)
		return;
	kmqtt_publish_flush(worker);
	kmqtt_count(worker, ns, KMQTT_A_COUNTER_RX_PUBLISHES, nr);
	kmqtt_count(worker, ns, KMQTT_A_COUNTER_RX_BYTES, bytes);
	if (unlikely(sunk))
		rx_sunk(batch);
}

static void rx_pings(struct rx_batch *batch)
{
	struct kmqtt_worker *worker = batch->worker;

	if (!batch->pings)
		return;
	kmqtt_count(worker, batch->conn->ns, KMQTT_A_COUNTER_RX_PINGS,
		    batch->pings);
	while (batch->pings) {
		batch->pings--;
		kmqtt_tx_ping(worker, batch->conn);
	}
}

/* Memory for what is being collected. */
static bool collect_alloc(struct kmqtt_conn *conn)
{
	if (conn->rx.mode == KMQTT_RX_HEAD)
		return head_alloc(conn, head_want(&conn->rx), GFP_KERNEL);
	return msg_alloc(conn, GFP_KERNEL);
}

/* A packet that goes to user space was a turn of its own: whether another one may
 * follow.
 */
static bool rx_goes_on(struct rx_batch *batch)
{
	if (batch->stop == RX_HEAD && (++batch->nr >= RX_BUDGET_PACKETS ||
				       batch->bytes >= RX_BUDGET_BYTES))
		batch->stop = RX_BUDGET;
	return batch->stop == RX_HEAD;
}

/* One turn: read, then do what cannot be done under the socket lock.
 *
 * Return: whether there is reason for another turn.
 */
static bool rx_turn(struct rx_batch *batch)
{
	struct kmqtt_conn *conn = batch->conn;
	struct sock *sk = conn->sk;

	batch->stop = RX_GO;
	if (!chunk_prepare(&batch->worker->chunk)) {
		rx_retry(batch);
		return false;
	}

	local_bh_disable();
	bh_lock_sock(sk);
	if (sock_owned_by_user(sk)) {
		/* Sleeping for it would hold up everybody else. */
		conn->owned = true;
		batch->stop = RX_PAUSE;
	} else {
		rx_locked(batch);
	}
	bh_unlock_sock(sk);
	local_bh_enable();

	rx_flush(batch);
	rx_pings(batch);
	batch->most = batch->stop == RX_FLUSH || batch->stop == RX_HEAD ?
		      RX_AFTER_FLUSH : U32_MAX;
	switch (batch->stop) {
	case RX_FLUSH:
		return true;
	case RX_REFILL:
		batch->worker->chunk.off = batch->worker->chunk.size;
		return true;
	case RX_ALLOC:
		if (collect_alloc(conn))
			return true;
		rx_retry(batch);
		return false;
	case RX_HEAD:
		head_resolve(batch);
		return rx_goes_on(batch);
	default:
		return false;
	}
}

/**
 * kmqtt_rx() - read a connection's socket
 * @worker: its worker
 * @conn: the connection
 *
 * Return: whether it was not read to the end, for the others' sake.
 */
bool kmqtt_rx(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	struct rx_batch batch = {
		.worker = worker,
		.conn = conn,
		.last = &batch.first,
		.most = U32_MAX,
	};

	if (kmqtt_conn_ended(conn)) {
		kmqtt_conn_over(conn);
		return false;
	}
	while (rx_turn(&batch))
		;
	if (batch.stop == RX_END)
		kmqtt_conn_end(worker, conn, batch.end);
	return batch.stop == RX_BUDGET;
}
