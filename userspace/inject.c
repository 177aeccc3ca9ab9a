// SPDX-License-Identifier: GPL-2.0
#include "inject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#include "client.h"
#include "journal.h"
#include "kmod.h"
#include "log.h"

/* Messages, and bytes of them, that may wait before their publishers do. */
#define INJECT_MAX		1024
#define INJECT_BYTES_MAX	(16 << 20)

/**
 * struct injection - a message on its way to the module
 * @mark: its turn
 * @request: to the module
 * @message: with a reference
 * @number: its serial, which tells the next daemon whether the module has it
 * @conn_id: the connection that published it, 0: none
 * @fd: a memfd of its properties and payload, or -1
 * @retain: it was published retained
 */
struct injection {
	struct inject_mark mark;
	struct kmod_request request;
	struct message *message;
	u64 number;
	u32 conn_id;
	int fd;
	bool retain;
};

/*
 * One is on its way at a time: one that the module has no room for must not be
 * overtaken when it is tried again.
 */
static STAILQ_HEAD(, inject_mark) waiting = STAILQ_HEAD_INITIALIZER(waiting);
static struct injection *under_way;
static u64 last_number;
static size_t bytes;
static u32 count;

/* What the module gets as payload: the properties, then the payload. */
static size_t body_len(const struct message *message)
{
	return (size_t)message->properties_len + message->payload_len;
}

/* The message expiry interval counts anew from when the module has it. */
static void write_body(const struct message *message, u8 *to)
{
	message_write_properties(message, to, message_now());
	memcpy(to + message->properties_len, message_payload(message),
	       message->payload_len);
}

/* An attribute of @len bytes, which are for the caller to write. */
static u8 *mnl_attr_put_room(struct nlmsghdr *message, u16 type, size_t len)
{
	struct nlattr *attr = mnl_nlmsg_get_payload_tail(message);
	u8 *to = mnl_attr_get_payload(attr);
	u16 size = MNL_ATTR_HDRLEN + len;

	attr->nla_type = type;
	attr->nla_len = size;
	memset((u8 *)attr + size, 0, MNL_ALIGN(size) - size);
	message->nlmsg_len += MNL_ALIGN(size);
	return to;
}

/* Who is granted more than QoS 0 has it already, if messages are upgraded. */
static u8 published_qos(const struct message *message)
{
	return client_config->upgrade_qos && !message->qos ? 1 : message->qos;
}

static void build(struct kmod_request *request, struct nlmsghdr *message,
		  size_t room)
{
	const struct injection *injection =
		container_of(request, struct injection, request);
	const struct message *content = injection->message;

	size_t len = body_len(content);

	(void)room;
	mnl_attr_put(message, KMQTT_A_MSG_TOPIC, content->topic_len,
		     content->data);
	mnl_attr_put_u8(message, KMQTT_A_MSG_QOS, published_qos(content));
	mnl_attr_put_u64(message, KMQTT_A_MSG_SERIAL, injection->number);
	if (injection->retain)
		mnl_attr_put(message, KMQTT_A_MSG_RETAIN, 0, NULL);
	if (content->properties_len)
		mnl_attr_put_u32(message, KMQTT_A_MSG_PROPERTIES,
				 content->properties_len);
	if (injection->conn_id)
		mnl_attr_put_u32(message, KMQTT_A_MSG_CONN_ID,
				 injection->conn_id);
	if (injection->fd >= 0)
		mnl_attr_put_u32(message, KMQTT_A_MSG_PAYLOAD_FD,
				 injection->fd);
	else
		write_body(content, mnl_attr_put_room(message,
						      KMQTT_A_MSG_PAYLOAD,
						      len));
}

static void submit_next(void);

static void finish(struct injection *injection)
{
	if (injection->fd >= 0)
		close(injection->fd);
	bytes -= body_len(injection->message);
	message_put(injection->message);
	free(injection);
	count--;
}

static void done(struct kmod_request *request, const struct kmod_reply *reply)
{
	struct injection *injection =
		container_of(request, struct injection, request);

	under_way = NULL;
	if (reply->err == -EAGAIN) {
		STAILQ_INSERT_HEAD(&waiting, &injection->mark, link);
	} else {
		if (reply->err)
			log_print(LOG_TYPE_WARNING,
				  "Warning: The kernel module did not deliver a message: %s %s",
				  strerror(-reply->err), reply->text);
		finish(injection);
	}
	submit_next();
	if (!inject_busy())
		client_resume_publishers();
}

static void reached(struct inject_mark *mark)
{
	static const struct kmod_command publish = {
		.cmd = KMQTT_CMD_PUBLISH,
		.flags = NLM_F_ACK,
		.build = build,
		.done = done,
	};
	struct injection *injection =
		container_of(mark, struct injection, mark);

	under_way = injection;
	kmod_submit(&injection->request, &publish);
}

static void submit_next(void)
{
	struct inject_mark *mark;

	while (!under_way && (mark = STAILQ_FIRST(&waiting))) {
		STAILQ_REMOVE_HEAD(&waiting, link);
		mark->reached(mark);
	}
}

void inject_mark(struct inject_mark *mark)
{
	STAILQ_INSERT_TAIL(&waiting, mark, link);
	submit_next();
}

/* What does not fit an attribute, or a message, travels in a file of memory. */
static bool needs_file(const struct message *message)
{
	return body_len(message) > KMQTT_PAYLOAD_INLINE ||
	       body_len(message) + message->topic_len > KMOD_ROOM_MIN / 2;
}

static int write_all(int fd, const u8 *data, size_t left)
{
	ssize_t n;

	for (; left; data += n, left -= n) {
		n = write(fd, data, left);
		if (n <= 0)
			return -ENOMEM;
	}
	return 0;
}

static int write_file(int fd, const struct message *message)
{
	u8 *properties = malloc(message->properties_len + 1);
	int err = properties ? 0 : -ENOMEM;

	if (!err) {
		message_write_properties(message, properties, message_now());
		err = write_all(fd, properties, message->properties_len);
	}
	free(properties);
	return err ? err : write_all(fd, message_payload(message),
				     message->payload_len);
}

static int make_file(const struct message *message)
{
	int fd = memfd_create("kmqtt-payload", MFD_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = write_file(fd, message);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static void log_failed(int err)
{
	log_print(LOG_TYPE_ERROR,
		  "Error: A message cannot be given to the kernel module: %s.",
		  strerror(-err));
}

static void add(u64 number, struct message *message, bool retain, u32 conn_id)
{
	struct injection *injection = calloc(1, sizeof(*injection));
	int fd = -1;

	if (!injection) {
		log_failed(-ENOMEM);
		return;
	}
	if (needs_file(message)) {
		fd = make_file(message);
		if (fd < 0) {
			log_failed(fd);
			free(injection);
			return;
		}
	}
	injection->message = message_hold(message);
	injection->number = number;
	injection->conn_id = conn_id;
	injection->fd = fd;
	injection->retain = retain;
	injection->mark.reached = reached;
	bytes += body_len(message);
	count++;
	inject_mark(&injection->mark);
}

void inject(struct message *message, bool retain, u32 conn_id)
{
	journal_injection(++last_number, message, retain, conn_id);
	add(last_number, message, retain, conn_id);
}

void inject_begin(u64 number)
{
	last_number = number;
}

void inject_journaled(u64 number, struct message *message, bool retain,
		      u32 conn_id)
{
	if (number <= last_number)
		return;
	last_number = number;
	add(number, message, retain, conn_id);
}

void inject_rewrite(void)
{
	const struct injection *injection = under_way;
	struct inject_mark *mark;

	if (injection)
		journal_injection(injection->number, injection->message,
				  injection->retain, injection->conn_id);
	STAILQ_FOREACH(mark, &waiting, link) {
		if (mark->reached != reached)
			continue;
		injection = container_of(mark, struct injection, mark);
		journal_injection(injection->number, injection->message,
				  injection->retain, injection->conn_id);
	}
}

bool inject_busy(void)
{
	return count >= INJECT_MAX || bytes >= INJECT_BYTES_MAX;
}
