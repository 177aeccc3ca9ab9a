// SPDX-License-Identifier: GPL-2.0
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "client.h"
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
/* Changes that the disk may be behind before reading waits for it. */
#define LAG_MAX		16384

/**
 * struct sink - the sink
 * @fd: its descriptor
 * @enabled: it is open
 * @waiting: reading waits for the disk
 * @op: waits until there is something to read
 * @in: bytes that have been read, from the beginning of a record
 * @seq: of the last record that was handled
 */
static struct {
	int fd;
	bool enabled;
	bool waiting;
	struct ring_op op;
	struct buffer in;
	u64 seq;
} sink;

bool sink_enabled(void)
{
	return sink.enabled;
}

u64 sink_seq(void)
{
	return sink.seq;
}

static void handle(const struct kmqtt_sink_record *record, const u8 *data)
{
	bool retain = record->flags & KMQTT_SINK_RETAIN;
	struct message *message;

	message = message_new(data, record->topic_len,
			      data + record->topic_len + record->properties_len,
			      record->payload_len, record->qos);
	if (!message ||
	    publish_from_sink(message, retain, record->flags &
						       KMQTT_SINK_FILTER))
		log_print(LOG_TYPE_ERROR,
			  "Error: A QoS 0 message could not be kept: out of memory.");
	if (message)
		message_put(message);
	if (retain && !client_config->retain_available)
		client_end_conn(record->conn_id, "retain not supported");
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

int sink_open(void)
{
	int err;

	err = kmod_sink_open(&sink.fd, &sink.seq,
			     client_config->orphan_timeout);
	if (err)
		return err;
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
	struct nlattr *nest;

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_SUB_CONN_ID, KMQTT_SINK_ID);
	nest = mnl_attr_nest_start(message, KMQTT_A_SUB_FILTER);
	mnl_attr_put(message, KMQTT_A_FILTER_TOPIC, errand->len,
		     errand->filter);
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
