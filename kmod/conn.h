/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A connection: a client's TCP socket that the kernel has taken over.
 *
 * Three kinds of context meet here. Netlink handlers hold kmqtt_ns.lock.
 * Socket code (the callbacks, recv() and send() of the daemon) holds the socket
 * lock. The connection's home worker is the only one to send messages and to
 * read the socket. Each field says whose it is.
 */
#ifndef _KMQTT_CONN_H_
#define _KMQTT_CONN_H_

#include <linux/atomic.h>
#include <linux/in6.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/timer.h>
#include <linux/kmqtt.h>

#include "frame.h"
#include "msg.h"
#include "upq.h"

struct file;
struct kmqtt_access;
struct kmqtt_aliases;
struct kmqtt_ns;
struct kmqtt_run;
struct kmqtt_worker;
struct netlink_ext_ack;
struct sock;

/* Bits of kmqtt_conn.flags. */
enum {
	KMQTT_CONN_QUEUED,	/* in its worker's ready list */
	KMQTT_CONN_KICK_RX,	/* data may have come, or may be read again */
	KMQTT_CONN_KICK_TX,	/* the socket may take more */
	KMQTT_CONN_KICK_TIMER,	/* the timer expired */
	KMQTT_CONN_NO_CREDIT,	/* waits for kmqtt_conn_credit_return() */
	KMQTT_CONN_NO_SINK,	/* waits for room in the sink */
	KMQTT_CONN_SHED,	/* must drop what waits for the socket */
	KMQTT_CONN_EXPIRED,	/* messages were dropped, which is to be told */
};

/**
 * enum kmqtt_rx_mode - what the next byte of the stream is
 * @KMQTT_RX_HEADER: of a fixed header
 * @KMQTT_RX_PUBLISH: of a PUBLISH collected in kmqtt_rx.msg
 * @KMQTT_RX_HEAD: of the variable header of a PUBLISH for the user queue, which
 *	may have a topic alias, collected in kmqtt_rx.msg
 * @KMQTT_RX_USER_BEGIN: of a packet for the user queue, which is still to get
 *	the header, or what is in kmqtt_rx.msg
 * @KMQTT_RX_USER: of a packet for the user queue
 */
enum kmqtt_rx_mode {
	KMQTT_RX_HEADER,
	KMQTT_RX_PUBLISH,
	KMQTT_RX_HEAD,
	KMQTT_RX_USER_BEGIN,
	KMQTT_RX_USER,
};

/**
 * struct kmqtt_rx - how far the stream of a connection has been parsed
 * @frame: header of the packet being received
 * @mode: enum kmqtt_rx_mode
 * @header_len: of the header that @msg begins with
 * @since: jiffies, when the packet began, or reading was resumed
 * @left: bytes of the packet still to come
 * @have: bytes of @msg that have come, or have been passed on
 * @msg: PUBLISH, or its beginning, being collected; NULL until there is memory
 *	for it
 */
struct kmqtt_rx {
	struct kmqtt_frame frame;
	u8 mode;
	u8 header_len;
	unsigned long since;
	u32 left;
	u32 have;
	struct kmqtt_msg *msg;
};

/**
 * struct kmqtt_entry - a run that waits for one subscriber's socket
 * @run: the run, with a reference
 * @tag: kmqtt_msg_tag() of its only message, which a snapshot may replace; 0:
 *	none may
 * @id: as kmqtt_sub.id, if the run's form has one
 * @sent: bytes that TCP has
 */
struct kmqtt_entry {
	struct kmqtt_run *run;
	u64 tag;
	u32 id;
	u32 sent;
};

enum { KMQTT_RING_INLINE = 4 };

/**
 * struct kmqtt_ring - what waits for a connection's socket; the worker's
 * @entries: @room of them, a power of two; @first until more are needed
 * @head: the oldest
 * @nr: how many are used
 * @room: how many there are
 * @pings: how many are PINGRESPs
 * @messages: messages in all entries
 * @bytes: bytes in all entries, less what TCP has
 * @first: room to begin with
 */
struct kmqtt_ring {
	struct kmqtt_entry *entries;
	u32 head;
	u32 nr;
	u32 room;
	u32 pings;
	u32 messages;
	u32 bytes;
	struct kmqtt_entry first[KMQTT_RING_INLINE];
};

/**
 * struct kmqtt_limits - bounds of a connection, see enum kmqtt_a_conn
 * @ring_messages: messages waiting for the socket
 * @ring_bytes: bytes waiting for the socket
 * @user_bytes: bytes waiting for recv()
 * @unsent_bytes: TCP_NOTSENT_LOWAT
 * @packet_timeout: ms
 */
struct kmqtt_limits {
	u32 ring_messages;
	u32 ring_bytes;
	u32 user_bytes;
	u32 unsent_bytes;
	u32 packet_timeout;
};

/**
 * enum kmqtt_drop - why messages for a connection are dropped
 * @KMQTT_DROP_MESSAGES: limits.ring_messages of them wait
 * @KMQTT_DROP_BYTES: limits.ring_bytes of them wait
 * @KMQTT_DROP_NOMEM: no memory
 * @KMQTT_DROP_TOO_LARGE: larger than max_send
 * @KMQTT_DROP_EXPIRED: they waited for longer than they are of use
 */
enum kmqtt_drop {
	KMQTT_DROP_MESSAGES,
	KMQTT_DROP_BYTES,
	KMQTT_DROP_NOMEM,
	KMQTT_DROP_TOO_LARGE,
	KMQTT_DROP_EXPIRED,

	KMQTT_DROPS
};

/* Bytes of messages of one publisher that workers have not taken: enough for
 * full batches, little enough that it is paused when they fall behind.
 */
enum { KMQTT_CREDIT = 256 * 1024 };

/* Jiffies after which something that failed for want of memory is tried again. */
#define KMQTT_RETRY	(HZ / 50)
/* Jiffies that messages wait for a daemon that has its turn to send. */
#define KMQTT_TURN	HZ

/**
 * struct kmqtt_conn - a connection
 * @worker: its home; constant
 * @sk: its socket; pinned by @file
 * @ring: messages waiting for the socket; the worker's
 * @stamp: fan-out that touched it last; the worker's
 * @next_touched: next connection of that fan-out; the worker's
 * @next_dirty: next connection to send for; the worker's
 * @touched_qos: kmqtt_sub.qos of the filters that matched, together; the worker's
 * @touched_form: form that they ask for, together; the worker's
 * @touched_ids: 1 and index of one of them with an identifier in
 *	kmqtt_worker.ids, or 0; the worker's
 * @touched_before: one of them is older than the hold; the worker's
 * @touched_readable: it may read all that one of them matches; the worker's
 * @dirty: linked by @next_dirty; the worker's
 * @gone: dropped, there is no socket any more; the worker's
 * @failed: a send failed for good; the worker's
 * @held: messages wait until the daemon says so; the worker's
 * @hold: which hold a snapshot is still to come for, 0: none; the worker's
 * @last_hold: the number of the last one; the worker's
 * @tx_wait: the socket is full; socket lock
 * @tx_partial: TCP has part of a message of ours; socket lock
 * @user_busy: the daemon has sent part of a packet; socket lock
 * @user_sent: bytes of it; socket lock
 * @accepted: bytes that TCP has taken of the daemon's sends; socket lock
 * @user_waiting: the daemon could not send: it has the next turn, once the
 *	message begun is whole; socket lock
 * @owned: the worker found the socket owned by the daemon; socket lock
 * @rx_stopped: nothing to do for the worker if data comes; socket lock
 * @rx_eof: FIN, or an end; recv() returns 0 after the queue; set by the worker
 * @adopted: its new daemon has not said yet from where on it reads: the trunk
 *	waits; socket lock
 * @over_read: the trunk has said that nothing more comes; socket lock
 * @left: the trunk takes it no more; kmqtt_trunk.lock
 * @state: enum kmqtt_conn_state; atomic
 * @level: protocol level; 0 until conn-set
 * @flags: KMQTT_CONN_*; atomic
 * @ready: link in the worker's ready list
 * @arrived: link in the trunk; kmqtt_trunk.lock
 * @refs: references
 * @credit: bytes of messages that workers have not taken; atomic
 * @sink_wait: link in kmqtt_sink.waiting; under the sink's lock
 * @rx: parser; the worker's
 * @aliases: its topic aliases, NULL until it uses one; the worker's
 * @access: what it may do; NULL: everything; readers need RCU
 * @max_packet: bytes; set by netlink
 * @max_send: bytes of the largest packet that the client accepts; likewise
 * @max_topic_alias: the highest topic alias that it may use; likewise
 * @check_format: payloads that say so must be UTF-8; likewise
 * @publish_rate: messages a second, 0: any number; set by netlink
 * @tokens: what it may publish now, in messages times HZ; the worker's
 * @tokens_at: jiffies, when that was so; the worker's
 * @keepalive: seconds; set by netlink
 * @last_rx: jiffies, when bytes came last or reading was resumed; the worker's
 * @last_packet: jiffies, when a whole packet had come last, or part of a large
 *	one; the worker's
 * @held_since: jiffies; the worker's
 * @timer: keep alive, packet time-out, end of a hold, retries
 * @limits: constant
 * @upq: the user queue; socket lock
 * @done: bytes that have left it for good; socket lock, and kmqtt_ns.lock
 * @saved_data_ready: the socket's own; constant
 * @saved_write_space: likewise
 * @saved_state_change: likewise
 * @ns: its namespace; constant
 * @id: in @ns; constant
 * @cookie: the daemon's; kmqtt_ns.lock
 * @client_id: kmqtt_ns.lock
 * @client_id_len: bytes
 * @user_name_len: bytes
 * @user_name: kmqtt_ns.lock
 * @file: keeps the socket; taken by the worker when it drops the connection
 * @subs: its subscriptions; kmqtt_ns.lock
 * @nr_subs: how many
 * @drop: ticket that tells the worker to drop it
 * @events: KMQTT_EVENT_*; under the lock of kmqtt_ns.conns
 * @event_seq: changes with each event; likewise
 * @events_read: conn-get has shown @events since the last event
 * @end: enum kmqtt_end; set once
 * @last: it was ended by conn-set; kmqtt_ns.lock
 * @remote: the client's address; constant
 * @rx_packets: whole packets received; the worker's, as all that follow
 * @rx_publishes: those fanned out
 * @rx_bytes: bytes received
 * @tx_messages: messages sent
 * @tx_bytes: bytes of them
 * @dropped: messages dropped, by enum kmqtt_drop
 * @denied_publishes: publishes denied by its rules
 * @denied_deliveries: deliveries likewise
 * @rcu: deferred freeing: socket callbacks find it under RCU
 */
struct kmqtt_conn {
	/* For every delivery. */
	struct kmqtt_worker *worker;
	struct sock *sk;
	struct kmqtt_ring ring;
	u64 stamp;
	u32 touched_ids;
	u32 max_send;
	struct kmqtt_conn *next_touched;
	struct kmqtt_conn *next_dirty;
	u8 touched_qos;
	u8 touched_form;
	bool touched_before;
	bool touched_readable;
	bool dirty;
	bool gone;
	bool failed;
	bool held;
	bool tx_wait;
	bool tx_partial;
	bool user_busy;
	bool user_waiting;
	bool owned;
	bool rx_stopped;
	bool rx_eof;
	bool adopted;
	bool over_read;
	bool left;
	u8 state;
	u8 level;
	u32 user_sent;
	u32 hold;
	u32 last_hold;
	u64 tx_messages;
	u64 tx_bytes;

	/* For every receive. */
	unsigned long flags;
	struct llist_node ready;
	struct list_head arrived;
	refcount_t refs;
	atomic_t credit;
	struct list_head sink_wait;
	struct kmqtt_rx rx;
	struct kmqtt_aliases *aliases;
	struct kmqtt_access __rcu *access;
	u32 max_packet;
	u32 publish_rate;
	u64 tokens;
	unsigned long tokens_at;
	u16 keepalive;
	u16 max_topic_alias;
	bool check_format;
	unsigned long last_rx;
	unsigned long last_packet;
	u64 rx_packets;
	u64 rx_publishes;
	u64 rx_bytes;
	unsigned long held_since;
	struct timer_list timer;
	struct kmqtt_limits limits;
	struct kmqtt_upq upq;
	u64 done;
	u64 accepted;
	void (*saved_data_ready)(struct sock *sk);
	void (*saved_write_space)(struct sock *sk);
	void (*saved_state_change)(struct sock *sk);

	/* For netlink. */
	struct kmqtt_ns *ns;
	u32 id;
	u32 client_id_len;
	u64 cookie;
	u8 *client_id;
	u8 *user_name;
	u32 user_name_len;
	struct file *file;
	struct rb_root subs;
	u32 nr_subs;
	struct kmqtt_ticket drop;
	u32 events;
	u32 event_seq;
	bool events_read;
	u8 end;
	bool last;
	struct sockaddr_in6 remote;
	u64 dropped[KMQTT_DROPS];
	u64 denied_publishes;
	u64 denied_deliveries;
	struct rcu_head rcu;
};

int kmqtt_conn_init(void);
void kmqtt_conn_exit(void);

/* Netlink handlers: under kmqtt_ns.lock, may sleep. */
struct kmqtt_conn *kmqtt_conn_add(struct kmqtt_ns *ns, struct file *file,
				  const struct kmqtt_limits *limits,
				  u32 max_packet,
				  struct netlink_ext_ack *extack);
int kmqtt_conn_activate(struct kmqtt_conn *conn);
int kmqtt_conn_next(struct kmqtt_conn *conn);
void kmqtt_conn_last(struct kmqtt_conn *conn);
void kmqtt_conn_del(struct kmqtt_conn *conn, bool abort, enum kmqtt_end end);
void kmqtt_conn_del_all(struct kmqtt_ns *ns, bool abort, enum kmqtt_end end);

/* The worker. */
void kmqtt_conn_end(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		    enum kmqtt_end end);
void kmqtt_conn_over(struct kmqtt_conn *conn);
void kmqtt_conn_drop(struct kmqtt_worker *worker, struct kmqtt_conn *conn);
void kmqtt_conn_timer(struct kmqtt_worker *worker, struct kmqtt_conn *conn);
void kmqtt_conn_arm(struct kmqtt_conn *conn, u32 ms);
u32 kmqtt_conn_packet_left(const struct kmqtt_conn *conn);

static inline bool kmqtt_conn_mid_packet(const struct kmqtt_conn *conn)
{
	return conn->rx.frame.seen;
}

/* Any context. */
void kmqtt_conn_kick(struct kmqtt_conn *conn, int bit);
void kmqtt_conn_credit_return(struct kmqtt_conn *conn, u32 bytes);
void kmqtt_conn_event(struct kmqtt_conn *conn, u32 bits);
void kmqtt_conn_free(struct kmqtt_conn *conn);

static inline void kmqtt_conn_hold(struct kmqtt_conn *conn)
{
	refcount_inc(&conn->refs);
}

static inline void kmqtt_conn_put(struct kmqtt_conn *conn)
{
	if (refcount_dec_and_test(&conn->refs))
		kmqtt_conn_free(conn);
}

static inline bool kmqtt_conn_ended(const struct kmqtt_conn *conn)
{
	return READ_ONCE(conn->state) == KMQTT_CONN_ENDED;
}

#endif /* _KMQTT_CONN_H_ */
