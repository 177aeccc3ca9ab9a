/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The netlink contract between kmqtt.ko and its daemon.
 *
 * One generic netlink family, KMQTT_GENL_NAME, one instance a network
 * namespace. Every command needs CAP_NET_ADMIN in the user namespace that owns
 * the network namespace, reads included: client identifiers and topics are
 * private. A failed request is answered with an errno and an extack text, and
 * has changed nothing; but of KMQTT_CMD_PUBLISH with ENOMEM, which some may have
 * got, and of KMQTT_CMD_CONN_ADOPT, whose descriptors so far stay. kmqtt.yaml
 * describes the same in YNL's form.
 *
 * The daemon is who has the sink open (sink-open): one at a time. When it dies,
 * connections stay, and go on, for orphan-timeout; then the kernel ends them.
 * Two counters of each connection, both of bytes since conn-add, tell the next
 * daemon where the dead one was:
 *
 * done: what recv() gave stays in the kernel until conn-set says that the
 *	daemon is through with it: its effects are where they survive the
 *	daemon, and its answers are accepted; or the bytes themselves are, the
 *	beginning of a packet that is larger than user-bytes. What is not done,
 *	recv() gives again after conn-adopt. The kernel forgets at conn-set with
 *	done, never before, and reads no more from the client while user-bytes
 *	are not done.
 * accepted: what TCP has taken of the daemon's sends, which leaves whatever
 *	becomes of the daemon. The daemon notes, before it sends, how far the
 *	stream to the client will be, how much of the stream from it that
 *	answers, and forgets that when the next send has begun. So whatever
 *	accepted says, the next daemon knows what has left, and resends nothing;
 *	and what it need not handle of what it reads again. A connection whose
 *	partial is set has half a packet: nothing can follow that but RST.
 *
 * Errors common to all commands: EPERM (no CAP_NET_ADMIN), EINVAL (an
 * attribute missing or wrong), ERANGE (out of range), ENOMEM, ENOENT (no such
 * connection).
 */
#ifndef _UAPI_LINUX_KMQTT_H
#define _UAPI_LINUX_KMQTT_H

#include <linux/types.h>

#define KMQTT_GENL_NAME		"kmqtt"
#define KMQTT_GENL_VERSION	4

/* Multicast group of KMQTT_CMD_EVENT; joining it needs CAP_NET_ADMIN. */
#define KMQTT_MCGRP_EVENTS	"events"

/* Bytes in a topic name or filter. MQTT allows 65535, a netlink attribute not. */
#define KMQTT_FILTER_MAX	65000
/* Share names that one filter may have: at least so many. */
#define KMQTT_GROUPS_MAX	1000
/* The largest subscription identifier of MQTT 5 (section 3.8.2.1.2). */
#define KMQTT_SUB_ID_MAX	268435455
/* Levels in a topic name or filter (mosquitto's limit, CVE-2019-11779). */
#define KMQTT_LEVELS_MAX	200
/* Bytes in a client identifier, for the same reason as KMQTT_FILTER_MAX. */
#define KMQTT_CLIENT_ID_MAX	65000
/* Bytes in a user name, likewise. */
#define KMQTT_USER_NAME_MAX	65000
/* Rules in a rule set, and bytes of their filters. */
#define KMQTT_RULES_MAX		4096
#define KMQTT_RULES_BYTES	1048576
/*
 * Rule sets in a namespace; together they take at most 64 MiB, and 128 MiB with
 * those that were forgotten (sink-open) and that connections still have.
 */
#define KMQTT_RULESETS_MAX	65536
/* Bytes of payload that fit KMQTT_A_MSG_PAYLOAD; more comes in a memfd. */
#define KMQTT_PAYLOAD_INLINE	32768
/* The largest MQTT packet: five header bytes and 2^28 - 1 (section 2.2.3). */
#define KMQTT_PACKET_MAX	268435460
/* Messages a second that KMQTT_A_CONN_PUBLISH_RATE can allow. */
#define KMQTT_PUBLISH_RATE_MAX	1000000
/* Connections in one KMQTT_CMD_CONN_ADOPT. */
#define KMQTT_ADOPT_MAX		64
/* Seconds that a connection is held at the most, counted from its last hold. */
#define KMQTT_HOLD_MAX		60
/* What the sink is called where a connection is asked for. */
#define KMQTT_SINK_ID		0
/* Records of the sink are padded to a multiple of it. */
#define KMQTT_SINK_ALIGN	8
/* Records of the trunk begin at multiples of it. */
#define KMQTT_TRUNK_ALIGN	8
/* Bytes in one of them, less the head. */
#define KMQTT_TRUNK_MAX		4080
/* Bytes that read() of the trunk needs room for. */
#define KMQTT_TRUNK_LEAST	64

/**
 * enum kmqtt_cmd - commands; the attributes of each are in brackets
 * @KMQTT_CMD_UNSPEC: unused
 * @KMQTT_CMD_CONN_ADD: take over the connected TCP socket [fd; optional
 *	max-packet, ring-messages, ring-bytes, user-bytes, unsent-bytes,
 *	packet-timeout, cookie]. The kernel holds the file until conn-del, so close()
 *	alone sends no FIN. Passes the first packet, which must be CONNECT, up
 *	through recv() and reads no further. Must come before the first recv().
 *	Answers [id]. EBADF, ENOTSOCK, EOPNOTSUPP (not TCP, or already changed
 *	by another layer), ENOTCONN, EEXIST (attached already),
 *	EMFILE (the namespace has as many connections as the caller may have
 *	descriptors: the kernel's are not counted otherwise), EDQUOT (over the
 *	limit of memory-set). If there is no room for the answer, RST is sent,
 *	and it has failed.
 * @KMQTT_CMD_CONN_SET: change a connection [id; optional level, keepalive,
 *	client-id, max-packet, publish-rate, cookie, active, next, event-seq,
 *	hold-seq, trim, release, user-name, rules-id, done, max-send,
 *	max-topic-alias, check-format, last]. All given values take effect together.
 *	EBUSY for max-topic-alias when an alias has been used, for active or next
 *	before a packet was passed up, and for level, between 5 and another, when
 *	there are subscriptions. EINVAL also for active with next, for trim
 *	without hold-seq, and for done that has not come. ENOENT for
 *	rules-id also when there is no such rule set. ENOTCONN when it has ended
 *	and more than event-seq and done is given.
 * @KMQTT_CMD_CONN_DEL: end a connection and forget it [id; optional abort].
 *	Unsent data of the socket still leaves, then FIN; with abort, RST.
 *	Answers with the connection's final record, as conn-get.
 * @KMQTT_CMD_CONN_GET: one connection [id], or dump all; with pending in a
 *	dump, those with event bits, which also re-arms KMQTT_CMD_EVENT.
 * @KMQTT_CMD_CONN_ADOPT: descriptors of held connections [id, up to
 *	KMQTT_ADOPT_MAX times]. Answers one message a connection [id, fd],
 *	close-on-exec descriptors of the caller. What is not done will be read
 *	again, also of one that has ended. EMFILE as open().
 * @KMQTT_CMD_SUB_ADD: subscribe a connection [conn-id, filter nest, any
 *	number; optional hold]. All or none. Answers [sink-seq], before the
 *	acknowledgment if one is asked for. Once answered, every message
 *	published from then on is matched against it, and so is every one whose
 *	record in the sink is later than sink-seq. A filter that the connection
 *	has already is replaced. With conn-id KMQTT_SINK_ID, QoS 0 publishes that match go
 *	into the sink too. Filters of the sink stay until sub-del or flush.
 *	EINVAL also for hold with KMQTT_SINK_ID. ENOTCONN when the connection
 *	has ended, EDQUOT (over the limit of memory-set; not for the sink), E2BIG
 *	(too many share names), EINTR (the caller is being killed).
 * @KMQTT_CMD_SUB_DEL: unsubscribe [conn-id, filter nest, any number]. Filters
 *	not subscribed are skipped. Takes effect after messages published
 *	before it.
 * @KMQTT_CMD_SUB_GET: dump subscriptions [optional conn-id].
 * @KMQTT_CMD_PUBLISH: inject a message [topic, payload or payload-fd;
 *	optional qos, retain, properties, conn-id, serial]. With properties,
 *	they are checked as a client's are: EINVAL. EAGAIN when the workers are
 *	too far behind, E2BIG when the topic matches too much, EMSGSIZE for
 *	what is larger than a packet can be. Of payload-fd EBADF, EINVAL (no
 *	memfd, or not readable), EIO (it has become shorter meanwhile).
 * @KMQTT_CMD_STATS_GET: counters of the namespace []. Answers [conns, subs,
 *	filters, injected, memory, memory-limit, what the sink-* ones say of the
 *	sink, daemon, a worker nest for each, ended].
 * @KMQTT_CMD_FLUSH: abort (RST) and forget all connections of the namespace.
 *	Answers [conns], how many. Files are released shortly after; the
 *	module can unload once user space has closed its descriptors too.
 *	Also forgets the sink's filters and records, but for one that was read
 *	in part.
 * @KMQTT_CMD_EVENT: notification [event-seq]: a connection has event bits that
 *	no one has read. Only a wake-up: it is sent once, then not again until
 *	a dump with pending was started. Losing it loses nothing.
 * @KMQTT_CMD_SINK_OPEN: be the namespace's daemon, and read its sink [optional
 *	bytes, orphan-timeout, keep]. Answers [fd], a close-on-exec descriptor of the
 *	caller from which read() gets a stream of struct kmqtt_sink_record, and
 *	which poll() says is readable. It blocks unless fcntl() says
 *	O_NONBLOCK. Rule sets are forgotten; connections keep theirs until
 *	conn-set says otherwise. The queue is the namespace's:
 *	records not read, or with keep not done, stay when it is closed, and the
 *	next descriptor begins with the oldest, from its beginning. EBUSY while
 *	another is open, by which time nothing that its owner has begun is
 *	under way any more; EMFILE as open().
 *
 *	QoS 0 publishes with RETAIN go into the sink before they are matched,
 *	then to subscribers as any other, RETAIN cleared. Before the namespace's
 *	first sink-open they are passed up through recv() instead, to nobody
 *	else. Nothing is ever dropped: a publisher whose message goes into the
 *	full sink is not read until half of it is free. So it may hold more by
 *	a message of each publisher, and where it is for a filter, by what is
 *	read at a time: 64 messages or 64 KiB. Injected messages never go into
 *	it.
 * @KMQTT_CMD_MEMORY_SET: bound what the namespace holds for its clients
 *	[memory-limit]. Answers [memory, memory-limit]. Over it PUBLISH packets
 *	are not read, whatever their QoS, conn-add and sub-add are refused
 *	(EDQUOT; not the sink's), and what waits for sockets that take nothing is
 *	dropped, and counted as dropped for want of memory. Injected messages
 *	still pass. Messages are counted exactly, with what keeps track of them,
 *	sockets and user queues four times a second.
 * @KMQTT_CMD_RULES_BEGIN: begin to write the contents of a rule set [id]. The
 *	set itself does not change, and one that was begun before and not
 *	committed is forgotten: there is one at a time in a namespace.
 * @KMQTT_CMD_RULES_ADD: append rules to it [id, rule nest, any number], all or
 *	none. EINVAL also if @id is not what was begun, if a rule follows a
 *	pattern and is none, or for what is not a topic filter; E2BIG over
 *	KMQTT_RULES_MAX or KMQTT_RULES_BYTES.
 * @KMQTT_CMD_RULES_COMMIT: make it the contents of the set, which there may be
 *	already [id]. Live connections are then judged by it: once answered, no
 *	message published afterwards is taken, or put into a subscriber's ring,
 *	that it denies. Messages in rings already are sent. EINVAL if @id is not
 *	what was begun; E2BIG: too many sets, or too large together. On error
 *	what was begun is forgotten.
 * @KMQTT_CMD_RULES_DEL: forget a rule set [id]. EBUSY while connections have
 *	it, ENOENT if there is none.
 * @KMQTT_CMD_SINK_DONE: forget the records that keep has kept [done]. EINVAL if
 *	the last of them has not been read whole since sink-open.
 * @KMQTT_CMD_TRUNK_OPEN: read and send for all connections. Answers [fd], a
 *	close-on-exec descriptor of the caller from which read() gets struct
 *	kmqtt_trunk_arrival, of what comes while there is one, and to which write()
 *	gives struct kmqtt_trunk_record; poll() says when there is something to
 *	read, which blocks unless fcntl() says O_NONBLOCK. recv() and send() of
 *	each connection do as they did. EMFILE as open().
 */
enum kmqtt_cmd {
	KMQTT_CMD_UNSPEC,
	KMQTT_CMD_CONN_ADD,
	KMQTT_CMD_CONN_SET,
	KMQTT_CMD_CONN_DEL,
	KMQTT_CMD_CONN_GET,
	KMQTT_CMD_CONN_ADOPT,
	KMQTT_CMD_SUB_ADD,
	KMQTT_CMD_SUB_DEL,
	KMQTT_CMD_SUB_GET,
	KMQTT_CMD_PUBLISH,
	KMQTT_CMD_STATS_GET,
	KMQTT_CMD_FLUSH,
	KMQTT_CMD_EVENT,
	KMQTT_CMD_SINK_OPEN,
	KMQTT_CMD_MEMORY_SET,
	KMQTT_CMD_RULES_BEGIN,
	KMQTT_CMD_RULES_ADD,
	KMQTT_CMD_RULES_COMMIT,
	KMQTT_CMD_RULES_DEL,
	KMQTT_CMD_SINK_DONE,
	KMQTT_CMD_TRUNK_OPEN,

	__KMQTT_CMD_MAX,
	KMQTT_CMD_MAX = __KMQTT_CMD_MAX - 1
};

/**
 * enum kmqtt_conn_state - what the kernel does with a connection's packets
 * @KMQTT_CONN_CONNECTING: passes one packet up, then stops reading
 * @KMQTT_CONN_WAITING: one packet was passed up; not reading
 * @KMQTT_CONN_ACTIVE: QoS 0 PUBLISH and PINGREQ are handled here
 * @KMQTT_CONN_ENDED: not reading, not delivering; see end-reason
 */
enum kmqtt_conn_state {
	KMQTT_CONN_CONNECTING,
	KMQTT_CONN_WAITING,
	KMQTT_CONN_ACTIVE,
	KMQTT_CONN_ENDED,
};

/**
 * enum kmqtt_end - why the kernel ended a connection
 * @KMQTT_END_NONE: it has not
 * @KMQTT_END_CLOSED: the client closed (FIN)
 * @KMQTT_END_RESET: RST, time-out of TCP, or another socket error
 * @KMQTT_END_KEEPALIVE: one and a half keep alive without a packet (3.1.2.10)
 * @KMQTT_END_PACKET_TIMEOUT: a packet begun did not go on, or end, in time
 * @KMQTT_END_MALFORMED: a fixed header that cannot be (2.2): reserved type or
 *	flags, a fifth remaining length byte, a length its type cannot have
 * @KMQTT_END_PROTOCOL: a packet that may not come here or now: not CONNECT
 *	first, a second CONNECT, a server's packet
 * @KMQTT_END_TOO_LARGE: larger than max-packet
 * @KMQTT_END_TOPIC: a topic name that cannot be: empty, not UTF-8, U+0000,
 *	a wildcard, too many levels, or longer than the packet
 * @KMQTT_END_URGENT: TCP urgent data, which MQTT has no use for
 * @KMQTT_END_DELETED: conn-del, conn-set with last, or the daemon has called
 *	shutdown(SHUT_RD), and there is nothing left to be read
 * @KMQTT_END_FLUSHED: flush
 * @KMQTT_END_ORPHANED: the daemon was gone for orphan-timeout
 * @KMQTT_END_TOPIC_ALIAS: MQTT 5: a topic alias of 0, or above max-topic-alias
 * @KMQTT_END_PAYLOAD_FORMAT: MQTT 5: the payload is not UTF-8, as it says, and
 *	check-format is set
 *
 * Of a connection of protocol level 5, the daemon can still send a DISCONNECT
 * that says why. Its reason code (table 2-6) is 0x81 for MALFORMED, 0x82 for
 * PROTOCOL, 0x8d for KEEPALIVE, 0x90 for TOPIC (only too many levels, there),
 * 0x94 for TOPIC_ALIAS, 0x95 for TOO_LARGE, 0x99 for PAYLOAD_FORMAT.
 */
enum kmqtt_end {
	KMQTT_END_NONE,
	KMQTT_END_CLOSED,
	KMQTT_END_RESET,
	KMQTT_END_KEEPALIVE,
	KMQTT_END_PACKET_TIMEOUT,
	KMQTT_END_MALFORMED,
	KMQTT_END_PROTOCOL,
	KMQTT_END_TOO_LARGE,
	KMQTT_END_TOPIC,
	KMQTT_END_URGENT,
	KMQTT_END_DELETED,
	KMQTT_END_FLUSHED,
	KMQTT_END_ORPHANED,
	KMQTT_END_TOPIC_ALIAS,
	KMQTT_END_PAYLOAD_FORMAT,

	__KMQTT_END_MAX,
	KMQTT_END_MAX = __KMQTT_END_MAX - 1
};

/* Event bits of a connection (KMQTT_A_CONN_EVENTS). */
#define KMQTT_EVENT_ENDED	0x1	/* stays until conn-del */
#define KMQTT_EVENT_DROPPED	0x2	/* deliveries were dropped */

/* Options of a subscription (KMQTT_A_FILTER_FLAGS), the first two of MQTT 5. */
#define KMQTT_SUB_NO_LOCAL	0x1	/* not what the connection published */
#define KMQTT_SUB_RETAIN_AS_PUBLISHED	0x2	/* RETAIN stays as it came */
#define KMQTT_SUB_UPGRADE	0x4	/* QoS 0 publishes are the daemon's */

/* What a rule is about (KMQTT_A_RULE_ACCESS). */
#define KMQTT_ACCESS_READ	0x1	/* to be sent messages */
#define KMQTT_ACCESS_WRITE	0x2	/* to publish */

/* What a rule does (KMQTT_A_RULE_FLAGS). */
#define KMQTT_RULE_DENY		0x1	/* denies; else it allows */
#define KMQTT_RULE_PATTERN	0x2	/* "%c" and "%u" stand for names */

/* Why a message is in the sink (struct kmqtt_sink_record). */
#define KMQTT_SINK_RETAIN	0x1	/* published with RETAIN */
#define KMQTT_SINK_FILTER	0x2	/* a filter of the sink, or upgraded */
#define KMQTT_SINK_SHARES	0x4	/* members of shares are to be chosen */

/**
 * struct kmqtt_sink_record - what precedes each message in the sink
 * @seq: number of the record in the namespace; the first is 1
 * @size: bytes of the record: this, the topic name, the properties, the payload,
 *	and zeros up to a multiple of KMQTT_SINK_ALIGN
 * @conn_id: the publisher; its connection may have been deleted
 * @payload_len: bytes of the payload
 * @topic_len: bytes of the topic name
 * @qos: QoS it was published at: 0
 * @flags: KMQTT_SINK_*
 * @properties_len: bytes of the properties of MQTT 5, without topic alias, and
 *	without the property length in front
 * @reserved: 0
 *
 * A read() may end anywhere in a record; the next goes on there. Records can be
 * read once their messages are on their way to all subscribers.
 */
struct kmqtt_sink_record {
	__u64 seq;
	__u32 size;
	__u32 conn_id;
	__u32 payload_len;
	__u16 topic_len;
	__u8 qos;
	__u8 flags;
	__u32 properties_len;
	__u32 reserved;
};

/**
 * struct kmqtt_trunk_arrival - what precedes the bytes of a connection in the trunk
 * @cookie: the connection's
 * @conn_id: the connection
 * @len: bytes that follow, which recv() would give; 0: it would say that there
 *	will be none any more, which a daemon is told once. Then zeros up to a
 *	multiple of KMQTT_TRUNK_ALIGN
 *
 * read() on the descriptor of trunk-open gives whole records of connections that
 * have something to be read, in the order in which they got it, and at most
 * KMQTT_TRUNK_MAX bytes of each before it is another's turn. It needs room for
 * KMQTT_TRUNK_LEAST bytes (EINVAL). Who is given less than it has room for,
 * KMQTT_TRUNK_LEAST off, has read all that there is; a record may be behind its
 * connection's end. Of one that was adopted, nothing comes before done is set.
 * EFAULT: what was to be given then comes again after conn-adopt only. Of several
 * descriptors each record is given to one.
 */
struct kmqtt_trunk_arrival {
	__u64 cookie;
	__u32 conn_id;
	__u32 len;
};

/**
 * struct kmqtt_trunk_record - what precedes the packets for one connection
 * @conn_id: the connection
 * @len: bytes of whole packets that follow, 1 to KMQTT_TRUNK_MAX
 *
 * write() on the descriptor of trunk-open sends such records, each beginning at the
 * next multiple of KMQTT_TRUNK_ALIGN, as if each were given to send() with
 * MSG_DONTWAIT, in order. It returns the bytes that are done: as many as it was
 * given, or as end before, or within, the first record that send() would have to
 * wait or to fail for, or that is not one, or lies beyond 64 KiB. Of that one,
 * the bytes that are done after its head have been sent; send() is for the rest,
 * and says what is wrong. 0: the first has not been sent. EINVAL: the first is
 * not whole, or has no such length. ENOMEM: nothing has been sent.
 */
struct kmqtt_trunk_record {
	__u32 conn_id;
	__u32 len;
};

/**
 * enum kmqtt_a_conn - attributes of a connection
 * @KMQTT_A_CONN_UNSPEC: unused
 * @KMQTT_A_CONN_PAD: alignment of 64-bit attributes
 * @KMQTT_A_CONN_ID: u32, unique in the namespace while the connection lives
 * @KMQTT_A_CONN_FD: u32, a descriptor of the caller
 * @KMQTT_A_CONN_STATE: u8, enum kmqtt_conn_state
 * @KMQTT_A_CONN_LEVEL: u8, protocol level: 3 (3.1), 4 (3.1.1), 5
 * @KMQTT_A_CONN_KEEPALIVE: u16, seconds, 0 is none; enforced at 1.5 times, from
 *	the client's last packet on
 * @KMQTT_A_CONN_CLIENT_ID: binary, at most KMQTT_CLIENT_ID_MAX, UTF-8
 * @KMQTT_A_CONN_MAX_PACKET: u32, bytes of the largest packet accepted, header
 *	included, 16 to KMQTT_PACKET_MAX; default 131072 until it is set
 * @KMQTT_A_CONN_COOKIE: u64, the daemon's; returned as given
 * @KMQTT_A_CONN_ACTIVE: flag, make it active: after CONNACK has been sent
 * @KMQTT_A_CONN_NEXT: flag, pass one more packet up, not yet active (AUTH)
 * @KMQTT_A_CONN_RING_MESSAGES: u32, most messages waiting for the socket,
 *	1 to 1000000, default 1000; more are dropped and counted
 * @KMQTT_A_CONN_RING_BYTES: u32, most bytes waiting for the socket, 1024 to
 *	2^30, default 1 MiB; one larger message is let in alone
 * @KMQTT_A_CONN_USER_BYTES: u32, most bytes waiting for recv(), or not done,
 *	4096 to 2^24, default 65536; at it, the kernel stops reading
 * @KMQTT_A_CONN_UNSENT_BYTES: u32, TCP_NOTSENT_LOWAT, 4096 to 2^24, default
 *	131072
 * @KMQTT_A_CONN_PACKET_TIMEOUT: u32, ms, 0 is none, at most 3600000, default
 *	60000: a packet begun must go on within it, and be whole within ten
 *	times it and a second more for each KiB
 * @KMQTT_A_CONN_ABORT: flag, RST instead of FIN
 * @KMQTT_A_CONN_PENDING: flag, only connections with event bits
 * @KMQTT_A_CONN_EVENTS: u32, KMQTT_EVENT_*
 * @KMQTT_A_CONN_EVENT_SEQ: u32, changes with each event; given to conn-set, it
 *	clears the bits if none came since (KMQTT_EVENT_ENDED excepted)
 * @KMQTT_A_CONN_END: u8, enum kmqtt_end
 * @KMQTT_A_CONN_WORKER: u32, the worker that owns it
 * @KMQTT_A_CONN_REMOTE: binary, struct sockaddr_in or sockaddr_in6
 * @KMQTT_A_CONN_SUBS: u32, subscriptions
 * @KMQTT_A_CONN_RING_USED_MESSAGES: u32, messages waiting for the socket
 * @KMQTT_A_CONN_RING_USED_BYTES: u32, bytes of them
 * @KMQTT_A_CONN_USER_USED_BYTES: u32, bytes waiting for recv()
 * @KMQTT_A_CONN_RX_PACKETS: u64, whole packets received
 * @KMQTT_A_CONN_RX_PUBLISHES: u64, those of them fanned out here
 * @KMQTT_A_CONN_RX_BYTES: u64, bytes received
 * @KMQTT_A_CONN_TX_MESSAGES: u64, packets sent from here
 * @KMQTT_A_CONN_TX_BYTES: u64, bytes of them
 * @KMQTT_A_CONN_DROPPED_MESSAGES: u64, dropped at ring-messages
 * @KMQTT_A_CONN_DROPPED_BYTES: u64, messages dropped at ring-bytes
 * @KMQTT_A_CONN_DROPPED_NOMEM: u64, messages dropped without memory
 * @KMQTT_A_CONN_HELD: u8, 1 while it is held, see KMQTT_A_SUB_HOLD; else 0
 * @KMQTT_A_CONN_HOLD_SEQ: u64, with trim: the record of the sink up to which the
 *	daemon had read when it took its snapshot of the retained messages
 * @KMQTT_A_CONN_TRIM: flag, leave out of what is held the retained publishes
 *	that such a snapshot stands for: those of the sink up to hold-seq, and
 *	those injected before this command. But only where no subscription
 *	matches that is older than the hold, or was replaced in it: to those
 *	nothing is lost. One snapshot serves all subscriptions of the hold; what
 *	is subscribed later, with hold again, gets another. Of no effect if the
 *	connection is not held
 * @KMQTT_A_CONN_RELEASE: flag, after trim: hold it no longer
 * @KMQTT_A_CONN_PUBLISH_RATE: u32, PUBLISH packets a second, of any QoS, at most
 *	KMQTT_PUBLISH_RATE_MAX, 0 (the default) for any number; as many may come
 *	at once after a second without. Beyond, the connection is not read
 * @KMQTT_A_CONN_USER_NAME: binary, at most KMQTT_USER_NAME_MAX; empty: none.
 *	Shown only if there is one
 * @KMQTT_A_CONN_RULES_ID: u32, the rule set that it is judged by; 0: none, it
 *	may do everything. Shown only if there is one
 * @KMQTT_A_CONN_DENIED_PUBLISHES: u64, its publishes that its rules denied
 * @KMQTT_A_CONN_DENIED_DELIVERIES: u64, messages of its subscriptions likewise
 * @KMQTT_A_CONN_DONE: u64, bytes from recv() that will not be read again, see
 *	above; they may not have been read since conn-adopt
 * @KMQTT_A_CONN_ACCEPTED: u64, bytes of send() that TCP has taken
 * @KMQTT_A_CONN_PARTIAL: u8, 1 while TCP has part of a send(); else 0
 * @KMQTT_A_CONN_MAX_SEND: u32, bytes of the largest packet that the client
 *	accepts (MQTT 5, section 3.1.2.11.4), 1 to KMQTT_PACKET_MAX, the default.
 *	Larger messages are not delivered to it, and counted
 * @KMQTT_A_CONN_MAX_TOPIC_ALIAS: u16, the highest topic alias that the client may
 *	use (MQTT 5, section 3.2.2.3.8); default 0: none. Aliases are resolved,
 *	whatever the QoS: neither recv(), nor the sink, nor a subscriber sees one
 * @KMQTT_A_CONN_CHECK_FORMAT: u8, 1: the payload of a publish of QoS 0 that says
 *	that it is UTF-8 (MQTT 5, section 3.3.2.3.2) must be; default 0
 * @KMQTT_A_CONN_DROPPED_TOO_LARGE: u64, messages dropped at max-send
 * @KMQTT_A_CONN_DROPPED_EXPIRED: u64, messages dropped when their message expiry
 *	interval had passed
 * @KMQTT_A_CONN_LAST: flag, what send() gives from now on is the last that the
 *	client gets, DISCONNECT (MQTT 5, section 3.14): the connection has ended,
 *	as deleted, and is not read; a message begun is finished first. In a
 *	record: so it was
 */
enum kmqtt_a_conn {
	KMQTT_A_CONN_UNSPEC,
	KMQTT_A_CONN_PAD,
	KMQTT_A_CONN_ID,
	KMQTT_A_CONN_FD,
	KMQTT_A_CONN_STATE,
	KMQTT_A_CONN_LEVEL,
	KMQTT_A_CONN_KEEPALIVE,
	KMQTT_A_CONN_CLIENT_ID,
	KMQTT_A_CONN_MAX_PACKET,
	KMQTT_A_CONN_COOKIE,
	KMQTT_A_CONN_ACTIVE,
	KMQTT_A_CONN_NEXT,
	KMQTT_A_CONN_RING_MESSAGES,
	KMQTT_A_CONN_RING_BYTES,
	KMQTT_A_CONN_USER_BYTES,
	KMQTT_A_CONN_UNSENT_BYTES,
	KMQTT_A_CONN_PACKET_TIMEOUT,
	KMQTT_A_CONN_ABORT,
	KMQTT_A_CONN_PENDING,
	KMQTT_A_CONN_EVENTS,
	KMQTT_A_CONN_EVENT_SEQ,
	KMQTT_A_CONN_END,
	KMQTT_A_CONN_WORKER,
	KMQTT_A_CONN_REMOTE,
	KMQTT_A_CONN_SUBS,
	KMQTT_A_CONN_RING_USED_MESSAGES,
	KMQTT_A_CONN_RING_USED_BYTES,
	KMQTT_A_CONN_USER_USED_BYTES,
	KMQTT_A_CONN_RX_PACKETS,
	KMQTT_A_CONN_RX_PUBLISHES,
	KMQTT_A_CONN_RX_BYTES,
	KMQTT_A_CONN_TX_MESSAGES,
	KMQTT_A_CONN_TX_BYTES,
	KMQTT_A_CONN_DROPPED_MESSAGES,
	KMQTT_A_CONN_DROPPED_BYTES,
	KMQTT_A_CONN_DROPPED_NOMEM,
	KMQTT_A_CONN_HELD,
	KMQTT_A_CONN_HOLD_SEQ,
	KMQTT_A_CONN_TRIM,
	KMQTT_A_CONN_RELEASE,
	KMQTT_A_CONN_PUBLISH_RATE,
	KMQTT_A_CONN_USER_NAME,
	KMQTT_A_CONN_RULES_ID,
	KMQTT_A_CONN_DENIED_PUBLISHES,
	KMQTT_A_CONN_DENIED_DELIVERIES,
	KMQTT_A_CONN_DONE,
	KMQTT_A_CONN_ACCEPTED,
	KMQTT_A_CONN_PARTIAL,
	KMQTT_A_CONN_MAX_SEND,
	KMQTT_A_CONN_MAX_TOPIC_ALIAS,
	KMQTT_A_CONN_CHECK_FORMAT,
	KMQTT_A_CONN_DROPPED_TOO_LARGE,
	KMQTT_A_CONN_DROPPED_EXPIRED,
	KMQTT_A_CONN_LAST,

	__KMQTT_A_CONN_MAX,
	KMQTT_A_CONN_MAX = __KMQTT_A_CONN_MAX - 1
};

/**
 * enum kmqtt_a_sub - attributes of the sub commands
 * @KMQTT_A_SUB_UNSPEC: unused
 * @KMQTT_A_SUB_CONN_ID: u32, the connection, or KMQTT_SINK_ID
 * @KMQTT_A_SUB_FILTER: nest of enum kmqtt_a_filter, may be repeated
 * @KMQTT_A_SUB_PAD: alignment of 64-bit attributes
 * @KMQTT_A_SUB_HOLD: flag, send the connection no message from the first that
 *	these subscriptions match on, until conn-set with release, or
 *	KMQTT_HOLD_MAX seconds without another hold. What is begun is finished,
 *	and PINGREQ is answered. Messages wait within ring-messages and
 *	ring-bytes. send() works meanwhile. Not for the sink
 * @KMQTT_A_SUB_SINK_SEQ: u64, number of the sink's newest record ever, once the
 *	subscriptions were visible
 */
enum kmqtt_a_sub {
	KMQTT_A_SUB_UNSPEC,
	KMQTT_A_SUB_CONN_ID,
	KMQTT_A_SUB_FILTER,
	KMQTT_A_SUB_PAD,
	KMQTT_A_SUB_HOLD,
	KMQTT_A_SUB_SINK_SEQ,

	__KMQTT_A_SUB_MAX,
	KMQTT_A_SUB_MAX = __KMQTT_A_SUB_MAX - 1
};

/**
 * enum kmqtt_a_filter - one subscription
 * @KMQTT_A_FILTER_UNSPEC: unused
 * @KMQTT_A_FILTER_TOPIC: binary, the topic filter, 1 to KMQTT_FILTER_MAX bytes,
 *	UTF-8, wildcards as in section 4.7
 * @KMQTT_A_FILTER_QOS: u8, the QoS granted, 0 to 2; default 0
 * @KMQTT_A_FILTER_FLAGS: u8, mask of KMQTT_SUB_*, default 0. With upgrade, which
 *	wants a QoS above 0, publishes at QoS 0 that match go into the sink too,
 *	with KMQTT_SINK_FILTER. What is there for that reason, or for a filter of
 *	the sink, the daemon delivers to connections that one of their
 *	subscriptions with upgrade matches, and the module to all others
 * @KMQTT_A_FILTER_SUB_ID: u32, subscription identifier of MQTT 5, 1 to
 *	KMQTT_SUB_ID_MAX; none if it is not there. A message is delivered with
 *	those of all filters that match
 * @KMQTT_A_FILTER_GROUP: binary, the share name of a shared subscription (MQTT 5,
 *	section 4.8.2), "g" of "$share/g/filter", whose topic is "filter"; at
 *	least 1 byte, and with the topic at most KMQTT_FILTER_MAX. A filter with
 *	it is another than one without. Of the subscriptions with one share name
 *	and topic, one gets each message published at QoS 0; those above are the
 *	daemon's. Members take turns; who does not keep up is left out. E2BIG: the
 *	filter has KMQTT_GROUPS_MAX share names. Without no-local [MQTT-3.8.3-4].
 *	If the sink or a member with upgrade has such a filter, all share names
 *	that match are the daemon's: KMQTT_SINK_SHARES
 */
enum kmqtt_a_filter {
	KMQTT_A_FILTER_UNSPEC,
	KMQTT_A_FILTER_TOPIC,
	KMQTT_A_FILTER_QOS,
	KMQTT_A_FILTER_FLAGS,
	KMQTT_A_FILTER_SUB_ID,
	KMQTT_A_FILTER_GROUP,

	__KMQTT_A_FILTER_MAX,
	KMQTT_A_FILTER_MAX = __KMQTT_A_FILTER_MAX - 1
};

/**
 * enum kmqtt_a_msg - attributes of publish
 * @KMQTT_A_MSG_UNSPEC: unused
 * @KMQTT_A_MSG_TOPIC: binary, the topic name, 1 to KMQTT_FILTER_MAX bytes
 * @KMQTT_A_MSG_PAYLOAD: binary, at most KMQTT_PAYLOAD_INLINE bytes
 * @KMQTT_A_MSG_PAYLOAD_FD: u32, a memfd whose whole contents are the payload
 * @KMQTT_A_MSG_QOS: u8, the QoS it was published at, default 0. At 0 it goes
 *	to every match; above, to those whose highest granted QoS is 0
 * @KMQTT_A_MSG_RETAIN: flag, it was published with RETAIN, and the daemon's next
 *	snapshot has it: see KMQTT_A_CONN_TRIM
 * @KMQTT_A_MSG_PROPERTIES: u32, bytes of properties of MQTT 5 that precede the
 *	payload in payload or payload-fd, without topic alias and property
 *	length; default 0. A message expiry interval counts from now
 * @KMQTT_A_MSG_CONN_ID: u32, the connection that published it, for no-local
 * @KMQTT_A_MSG_SERIAL: u64, the daemon's, see KMQTT_A_STATS_INJECTED
 */
enum kmqtt_a_msg {
	KMQTT_A_MSG_UNSPEC,
	KMQTT_A_MSG_TOPIC,
	KMQTT_A_MSG_PAYLOAD,
	KMQTT_A_MSG_PAYLOAD_FD,
	KMQTT_A_MSG_QOS,
	KMQTT_A_MSG_RETAIN,
	KMQTT_A_MSG_PROPERTIES,
	KMQTT_A_MSG_CONN_ID,
	KMQTT_A_MSG_SERIAL,

	__KMQTT_A_MSG_MAX,
	KMQTT_A_MSG_MAX = __KMQTT_A_MSG_MAX - 1
};

/**
 * enum kmqtt_a_trunk - attributes of the trunk
 * @KMQTT_A_TRUNK_UNSPEC: unused
 * @KMQTT_A_TRUNK_FD: u32, a descriptor of the caller
 */
enum kmqtt_a_trunk {
	KMQTT_A_TRUNK_UNSPEC,
	KMQTT_A_TRUNK_FD,

	__KMQTT_A_TRUNK_MAX,
	KMQTT_A_TRUNK_MAX = __KMQTT_A_TRUNK_MAX - 1
};

/**
 * enum kmqtt_a_sink - attributes of sink-open and sink-done
 * @KMQTT_A_SINK_UNSPEC: unused
 * @KMQTT_A_SINK_FD: u32, a descriptor of the caller
 * @KMQTT_A_SINK_BYTES: u32, memory that records may pin until the sink is full,
 *	65536 to 2^30, default 16 MiB
 * @KMQTT_A_SINK_ORPHAN_TIMEOUT: u32, seconds after the descriptor's end, until
 *	which there must be another, or the namespace's connections are ended;
 *	at most 86400, default 60. It also counts from a conn-add meanwhile
 * @KMQTT_A_SINK_KEEP: flag, records that were read stay, and count as memory
 *	pinned, until sink-done; default: they go when they were read whole
 * @KMQTT_A_SINK_DONE: u64, number of the last record that the daemon is through
 *	with: its effects are where they survive the daemon
 */
enum kmqtt_a_sink {
	KMQTT_A_SINK_UNSPEC,
	KMQTT_A_SINK_FD,
	KMQTT_A_SINK_BYTES,
	KMQTT_A_SINK_ORPHAN_TIMEOUT,
	KMQTT_A_SINK_KEEP,
	KMQTT_A_SINK_DONE,

	__KMQTT_A_SINK_MAX,
	KMQTT_A_SINK_MAX = __KMQTT_A_SINK_MAX - 1
};

/**
 * enum kmqtt_a_rules - attributes of the rules commands
 * @KMQTT_A_RULES_UNSPEC: unused
 * @KMQTT_A_RULES_ID: u32, the rule set, from 1
 * @KMQTT_A_RULES_RULE: nest of enum kmqtt_a_rule, may be repeated. The first
 *	rule that matches decides; what none matches is denied
 */
enum kmqtt_a_rules {
	KMQTT_A_RULES_UNSPEC,
	KMQTT_A_RULES_ID,
	KMQTT_A_RULES_RULE,

	__KMQTT_A_RULES_MAX,
	KMQTT_A_RULES_MAX = __KMQTT_A_RULES_MAX - 1
};

/**
 * enum kmqtt_a_rule - one rule
 * @KMQTT_A_RULE_UNSPEC: unused
 * @KMQTT_A_RULE_FILTER: binary, the topic filter, 1 to KMQTT_FILTER_MAX bytes.
 *	In a pattern, "%c" stands for the client identifier and "%u" for the
 *	user name, anywhere; one with "%u" matches nobody without a user name,
 *	and who has '+' or '#' in one of them is denied all that no rule before
 *	the patterns allows
 * @KMQTT_A_RULE_ACCESS: u8, mask of KMQTT_ACCESS_*, not 0
 * @KMQTT_A_RULE_FLAGS: u8, mask of KMQTT_RULE_*, default 0
 */
enum kmqtt_a_rule {
	KMQTT_A_RULE_UNSPEC,
	KMQTT_A_RULE_FILTER,
	KMQTT_A_RULE_ACCESS,
	KMQTT_A_RULE_FLAGS,

	__KMQTT_A_RULE_MAX,
	KMQTT_A_RULE_MAX = __KMQTT_A_RULE_MAX - 1
};

/**
 * enum kmqtt_a_stats - attributes of stats-get, flush and memory-set
 * @KMQTT_A_STATS_UNSPEC: unused
 * @KMQTT_A_STATS_CONNS: u32, connections now, ended ones included
 * @KMQTT_A_STATS_SUBS: u32, subscriptions now
 * @KMQTT_A_STATS_FILTERS: u32, distinct nodes of the topic trie now
 * @KMQTT_A_STATS_WORKER: nest of enum kmqtt_a_counter, one a worker, in order
 * @KMQTT_A_STATS_ENDED: nest, one u64 for each enum kmqtt_end but NONE, its
 *	value the attribute's type: connections that ended so since the
 *	namespace began
 * @KMQTT_A_STATS_PAD: alignment of 64-bit attributes
 * @KMQTT_A_STATS_SINK_SEQ: u64, number of the sink's newest record ever
 * @KMQTT_A_STATS_SINK_RECORDS: u32, records in the sink now
 * @KMQTT_A_STATS_SINK_BYTES: u64, memory that they pin
 * @KMQTT_A_STATS_SINK_WAITING: u32, publishers not read now, for want of room
 * @KMQTT_A_STATS_SINK_WAITS: u64, times that a publisher was not read for that
 * @KMQTT_A_STATS_MEMORY: u64, bytes held for clients: messages, what waits for
 *	sockets, and with a limit what is in sockets and user queues, and
 *	connections and subscriptions themselves
 * @KMQTT_A_STATS_MEMORY_LIMIT: u64, bytes, 0 (the default) for any number
 * @KMQTT_A_STATS_DAEMON: u32, process that has opened the sink, as the caller's
 *	PID namespace calls it; 0: there is no daemon
 * @KMQTT_A_STATS_INJECTED: u64, serial of the last publish that had one, and was
 *	not answered with EAGAIN; 0 before the first. So the next daemon knows
 *	which of those that a dead one has begun are still to be injected
 */
enum kmqtt_a_stats {
	KMQTT_A_STATS_UNSPEC,
	KMQTT_A_STATS_CONNS,
	KMQTT_A_STATS_SUBS,
	KMQTT_A_STATS_FILTERS,
	KMQTT_A_STATS_WORKER,
	KMQTT_A_STATS_ENDED,
	KMQTT_A_STATS_PAD,
	KMQTT_A_STATS_SINK_SEQ,
	KMQTT_A_STATS_SINK_RECORDS,
	KMQTT_A_STATS_SINK_BYTES,
	KMQTT_A_STATS_SINK_WAITING,
	KMQTT_A_STATS_SINK_WAITS,
	KMQTT_A_STATS_MEMORY,
	KMQTT_A_STATS_MEMORY_LIMIT,
	KMQTT_A_STATS_DAEMON,
	KMQTT_A_STATS_INJECTED,

	__KMQTT_A_STATS_MAX,
	KMQTT_A_STATS_MAX = __KMQTT_A_STATS_MAX - 1
};

/**
 * enum kmqtt_a_counter - what one worker did in the namespace, all u64
 * @KMQTT_A_COUNTER_UNSPEC: unused
 * @KMQTT_A_COUNTER_PAD: alignment
 * @KMQTT_A_COUNTER_CONNS: connections homed here now, of all namespaces
 * @KMQTT_A_COUNTER_RX_PUBLISHES: QoS 0 publishes received
 * @KMQTT_A_COUNTER_RX_BYTES: bytes of them
 * @KMQTT_A_COUNTER_RX_PINGS: PINGREQs answered
 * @KMQTT_A_COUNTER_RX_USER_PACKETS: packets passed to user space
 * @KMQTT_A_COUNTER_NO_SUBSCRIBERS: publishes that matched nothing
 * @KMQTT_A_COUNTER_MATCH_CACHED: publishes matched by the exact-topic cache
 * @KMQTT_A_COUNTER_DELIVERIES: messages handed to TCP, whole, a subscriber each
 * @KMQTT_A_COUNTER_TX_BYTES: bytes handed to TCP
 * @KMQTT_A_COUNTER_TX_CALLS: sends made to hand them over
 * @KMQTT_A_COUNTER_DROPPED_MESSAGES: deliveries dropped at ring-messages
 * @KMQTT_A_COUNTER_DROPPED_BYTES: deliveries dropped at ring-bytes
 * @KMQTT_A_COUNTER_DROPPED_NOMEM: deliveries or publishes dropped for want of
 *	memory
 * @KMQTT_A_COUNTER_DROPPED_BUDGET: publishes dropped because their match
 *	visited too many nodes, or delivered to all but some of their shared
 *	subscriptions, of which there were too many
 * @KMQTT_A_COUNTER_DENIED_PUBLISHES: publishes that rules denied
 * @KMQTT_A_COUNTER_DENIED_DELIVERIES: deliveries that rules denied
 * @KMQTT_A_COUNTER_DROPPED_TOO_LARGE: deliveries dropped at max-send
 * @KMQTT_A_COUNTER_DROPPED_EXPIRED: deliveries dropped when their message expiry
 *	interval had passed
 */
enum kmqtt_a_counter {
	KMQTT_A_COUNTER_UNSPEC,
	KMQTT_A_COUNTER_PAD,
	KMQTT_A_COUNTER_CONNS,
	KMQTT_A_COUNTER_RX_PUBLISHES,
	KMQTT_A_COUNTER_RX_BYTES,
	KMQTT_A_COUNTER_RX_PINGS,
	KMQTT_A_COUNTER_RX_USER_PACKETS,
	KMQTT_A_COUNTER_NO_SUBSCRIBERS,
	KMQTT_A_COUNTER_MATCH_CACHED,
	KMQTT_A_COUNTER_DELIVERIES,
	KMQTT_A_COUNTER_TX_BYTES,
	KMQTT_A_COUNTER_TX_CALLS,
	KMQTT_A_COUNTER_DROPPED_MESSAGES,
	KMQTT_A_COUNTER_DROPPED_BYTES,
	KMQTT_A_COUNTER_DROPPED_NOMEM,
	KMQTT_A_COUNTER_DROPPED_BUDGET,
	KMQTT_A_COUNTER_DENIED_PUBLISHES,
	KMQTT_A_COUNTER_DENIED_DELIVERIES,
	KMQTT_A_COUNTER_DROPPED_TOO_LARGE,
	KMQTT_A_COUNTER_DROPPED_EXPIRED,

	__KMQTT_A_COUNTER_MAX,
	KMQTT_A_COUNTER_MAX = __KMQTT_A_COUNTER_MAX - 1
};

#endif /* _UAPI_LINUX_KMQTT_H */
