// SPDX-License-Identifier: GPL-2.0
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "client.h"
#include "inject.h"
#include "journal.h"
#include "kmod.h"
#include "log.h"
#include "message.h"
#include "publish.h"
#include "ring.h"
#include "store.h"

/* Bytes read at once. */
#define READ_SIZE	(256 * 1024)
/* Reads that are enough for all that was in it: the module's default bound. */
#define DRAIN_READS	((16 << 20) / READ_SIZE)
/* Bytes that have been read, of which the module is told at once that they are
 * done with: it pins some times as much for small messages, of 16 MiB.
 */
#define TELL_SIZE	(1 << 20)
/* Changes that the disk may be behind before reading waits for it. */
#define LAG_MAX		16384

/**
 * struct place - how far reading had come
 * @seq: the last record that was handled
 * @mark: of the store, with which its effects are on disk
 */
struct place {
	u64 seq;
	u64 mark;
};

/**
 * struct sink - the sink
 * @fd: its descriptor
 * @enabled: it is open
 * @waiting: reading waits for the disk
 * @op: waits until there is something to read
 * @in: bytes that have been read, from the beginning of a record
 * @seq: of the last record that was handled
 * @half: of the last one that a daemon before has handled, but for what it has
 *	lost with the database
 * @unsettled: struct place of each read whose effects are not known to be on
 *	disk, the oldest first
 * @done: of the last record whose effects are on disk
 * @told: of the last one that the module knows is done
 * @untold: bytes read since
 * @newest: of the newest record when the sink was opened
 * @upgraded: the daemon before has upgraded messages
 */
static struct {
	int fd;
	bool enabled;
	bool waiting;
	struct ring_op op;
	struct buffer in;
	u64 seq;
	u64 half;
	struct buffer unsettled;
	u64 done;
	u64 told;
	size_t untold;
	u64 newest;
	bool upgraded;
} sink;

bool sink_enabled(void)
{
	return sink.enabled;
}

bool sink_was_upgraded(void)
{
	return sink.upgraded;
}

u64 sink_seq(void)
{
	return sink.seq;
}

static void handle(const struct kmqtt_sink_record *record, const u8 *data)
{
	bool retain = record->flags & KMQTT_SINK_RETAIN;
	const struct message_parts parts = {
		.topic = data,
		.topic_len = record->topic_len,
		.qos = record->qos,
		.properties = data + record->topic_len,
		.properties_len = record->properties_len,
		.payload = data + record->topic_len + record->properties_len,
		.payload_len = record->payload_len,
	};
	struct message *message;

	/* The daemon before has done it. */
	if (record->seq <= sink.seq)
		return;
	message = message_make(&parts);
	if (!message ||
	    publish_from_sink(message, record->conn_id, record->flags,
			      record->seq <= sink.half))
		log_print(LOG_TYPE_ERROR,
			  "Error: A QoS 0 message could not be kept: out of memory.");
	if (message)
		message_put(message);
	if (retain && !client_config->retain_available)
		client_fail_conn(record->conn_id,
				 REASON_RETAIN_NOT_SUPPORTED, NULL);
	sink.seq = record->seq;
}

static void handle_all(void)
{
	struct kmqtt_sink_record record;

	while (buffer_used(&sink.in) >= sizeof(record)) {
		memcpy(&record, buffer_head(&sink.in), sizeof(record));
		if (buffer_used(&sink.in) < record.size)
			break;
		handle(&record, buffer_head(&sink.in) + sizeof(record));
		buffer_consume(&sink.in, record.size);
	}
}

/*
 * The module keeps a record until what it has led to is on disk: else a value
 * that all have seen would be replaced by the one before when the daemon dies.
 * The journal knows how far that is, since what is told may be lost; and what is
 * older than what came after it must not be read again. Of what is read again, the
 * journal has what was delivered to its own sessions.
 */

static void note(u64 seq, u64 mark)
{
	journal_append(JOURNAL_SINK, 0, seq, mark, client_config->upgrade_qos);
}

static size_t unsettled(void)
{
	return buffer_used(&sink.unsettled) / sizeof(struct place);
}

/* The places that wait, the oldest first. */
static struct place *places(void)
{
	return (struct place *)buffer_head(&sink.unsettled);
}

static void settle(void)
{
	while (unsettled() && places()->mark <= store_committed()) {
		sink.done = places()->seq;
		buffer_consume(&sink.unsettled, sizeof(struct place));
	}
}

/* What has been read is waited for, and written down. */
static void keep_place(void)
{
	const struct place place = { sink.seq, store_mark() };
	size_t count;

	note(place.seq, place.mark);
	settle();
	/* Without memory for it, it waits with the one before. */
	if (buffer_append(&sink.unsettled, &place, sizeof(place))) {
		count = unsettled();
		if (count)
			places()[count - 1] = place;
	}
}

static void build_done(struct kmod_request *request, struct nlmsghdr *message,
		       size_t room)
{
	(void)request;
	(void)room;
	mnl_attr_put_u64(message, KMQTT_A_SINK_DONE, sink.done);
	sink.told = sink.done;
}

static bool telling;

static void told(struct kmod_request *request, const struct kmod_reply *reply)
{
	(void)request;
	telling = false;
	if (reply->err)
		sink.told = 0;	/* again */
}

static void tell(void)
{
	static const struct kmod_command sink_done = {
		.cmd = KMQTT_CMD_SINK_DONE,
		.flags = NLM_F_ACK,
		.build = build_done,
		.done = told,
	};
	static struct kmod_request request;

	settle();
	if (telling || sink.done == sink.told)
		return;
	telling = true;
	sink.untold = 0;
	kmod_submit(&request, &sink_done);
}

void sink_tick(void)
{
	if (sink.enabled)
		tell();
}

bool sink_settled(void)
{
	if (!sink.enabled)
		return true;
	tell();
	return sink.told == sink.seq && !telling;
}

void sink_rewrite(void)
{
	size_t i;

	settle();
	note(sink.done, 0);
	if (sink.half > sink.seq)
		note(sink.half, STORE_NEVER);
	for (i = 0; i < unsettled(); i++)
		note(places()[i].seq, places()[i].mark);
}

/*
 * While the disk does not take what is retained, it stays in the module, where
 * its publishers wait.
 */
static bool must_wait(void)
{
	return store_enabled() &&
	       (!store_healthy() ||
		store_queued() - store_committed() > LAG_MAX);
}

static void poll_again(void)
{
	sink.waiting = must_wait();
	if (!sink.waiting)
		ring_poll_in(&sink.op, sink.fd);
}

void sink_committed(void)
{
	if (sink.untold >= TELL_SIZE)
		tell();
	if (sink.waiting)
		poll_again();
}

/* Whether there was something. */
static bool read_once(void)
{
	u8 *to = buffer_reserve(&sink.in, READ_SIZE);
	ssize_t n = to ? read(sink.fd, to, READ_SIZE) : -1;

	if (n <= 0)
		return false;
	sink.in.tail += n;
	handle_all();
	keep_place();
	sink.untold += n;
	if (sink.untold >= TELL_SIZE)
		tell();
	return true;
}

bool sink_stalled(void)
{
	return sink.waiting && !store_healthy();
}

void sink_drain(void)
{
	unsigned int i;

	if (!sink.enabled || sink_stalled())
		return;
	for (i = 0; i < DRAIN_READS && read_once(); i++)
		;
}

/* Once a turn, so that others have theirs. */
static void readable(struct ring_op *op, const struct ring_result *result)
{
	(void)op;
	(void)result;
	read_once();
	poll_again();
}

static void be_at(u64 seq)
{
	sink.seq = seq;
	sink.done = seq;
}

/* The last one counts, but one of another module's is of no interest. */
void sink_journaled(const struct journal_record *record)
{
	sink.upgraded = record->c;
	if (record->a > sink.newest)
		return;
	if (store_reached(record->b))
		be_at(record->a > sink.told ? record->a : sink.told);
	else if (sink.half < record->a)
		sink.half = record->a;
}

int sink_open(void)
{
	struct kmod_sink opened;
	int err;

	err = kmod_sink_open(&opened, client_config->orphan_timeout);
	if (err)
		return err;
	sink.fd = opened.fd;
	sink.told = opened.seq;
	sink.newest = opened.newest;
	be_at(opened.seq);
	inject_begin(opened.injected);
	fcntl(sink.fd, F_SETFL, O_NONBLOCK);
	sink.enabled = true;
	return 0;
}

void sink_start(void)
{
	sink.op.done = readable;
	ring_poll_in(&sink.op, sink.fd);
}

/* Filters */

/**
 * struct errand - a change of the sink's filters
 * @request: to the module
 * @len: bytes of the filter
 * @filter: the filter
 */
struct errand {
	struct kmod_request request;
	u16 len;
	u8 filter[];
};

static void build(struct kmod_request *request, struct nlmsghdr *message,
		  size_t room)
{
	const struct errand *errand =
		container_of(request, struct errand, request);
	struct filters_parts parts = filters_split(errand->filter, errand->len);
	struct nlattr *nest;

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_SUB_CONN_ID, KMQTT_SINK_ID);
	nest = mnl_attr_nest_start(message, KMQTT_A_SUB_FILTER);
	mnl_attr_put(message, KMQTT_A_FILTER_TOPIC, parts.topic_len,
		     parts.topic);
	if (parts.name)
		mnl_attr_put(message, KMQTT_A_FILTER_GROUP, parts.name_len,
			     parts.name);
	mnl_attr_nest_end(message, nest);
}

static void done(struct kmod_request *request, const struct kmod_reply *reply)
{
	if (reply->err)
		log_print(LOG_TYPE_ERROR,
			  "Error: The kernel module refused a filter of the sink: %s %s",
			  strerror(-reply->err), reply->text);
	free(container_of(request, struct errand, request));
}

static void run_errand(const struct kmod_command *command,
		       const struct subscription *subscription)
{
	static u8 filter[UINT16_MAX];
	u16 len = filters_text(subscription, filter);
	struct errand *errand = malloc(sizeof(*errand) + len);

	if (!errand) {
		log_print(LOG_TYPE_ERROR, "Error: Out of memory.");
		return;
	}
	errand->len = len;
	memcpy(errand->filter, filter, len);
	kmod_submit(&errand->request, command);
}

void sink_subscribe(const struct subscription *subscription)
{
	static const struct kmod_command sub_add = {
		.cmd = KMQTT_CMD_SUB_ADD,
		.flags = NLM_F_ACK,
		.build = build,
		.done = done,
	};

	if (filters_away(subscription, true))
		run_errand(&sub_add, subscription);
}

void sink_unsubscribe(const struct subscription *subscription)
{
	static const struct kmod_command sub_del = {
		.cmd = KMQTT_CMD_SUB_DEL,
		.flags = NLM_F_ACK,
		.build = build,
		.done = done,
	};

	if (filters_away(subscription, false))
		run_errand(&sub_del, subscription);
}
