// SPDX-License-Identifier: GPL-2.0
#include "kmod.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "log.h"
#include "ring.h"

/* Messages to send at once, and the longest of them. */
#define SEND_SIZE	(256 * 1024)
/* Larger than any message that the kernel makes. */
#define RECEIVE_SIZE	(128 * 1024)
/*
 * Requests in flight. The largest answer holds a client identifier of 64 KiB,
 * which the kernel accounts as up to twice that.
 */
#define WINDOW		64
#define SOCKET_RECEIVE	(WINDOW * 2 * 64 * 1024)

STAILQ_HEAD(request_queue, kmod_request);

static struct {
	int fd;
	u16 family;
	u32 group;
	u32 seq;

	struct ring_op send;
	size_t send_len;	/* of the messages being sent, 0 for none */
	bool sending;		/* else they wait for the next second */
	struct request_queue waiting;
	struct request_queue in_flight;
	unsigned int in_flight_count;

	struct ring_op receive;
	bool receiving;

	/* The dump of connections with events; apart from the window. */
	void (*record)(const struct kmod_reply *reply);
	bool watching;		/* else what is dumped is not this daemon's yet */
	u32 dump_seq;
	bool dump_wanted;
	bool dump_running;
	bool dump_all;		/* until the one of all, this one, has ended: */
	u32 dump_all_seq;
	bool event_seen;	/* in the current second */
	bool gone;		/* the module is */
	/*
	 * Answers were lost: to requests before this number, as far as they are
	 * not here when a dump that began later is complete.
	 */
	bool lost;
	u32 lost_before;

	u8 send_data[SEND_SIZE];
	u8 receive_data[RECEIVE_SIZE];
} kmod = {
	.fd = -1,
	.family = GENL_ID_CTRL,
	.waiting = STAILQ_HEAD_INITIALIZER(kmod.waiting),
	.in_flight = STAILQ_HEAD_INITIALIZER(kmod.in_flight),
};

u32 kmod_u32(const struct kmod_reply *reply, int type)
{
	const struct nlattr *attr = reply->attr[type];

	return attr && mnl_attr_get_payload_len(attr) == sizeof(u32) ?
	       mnl_attr_get_u32(attr) : 0;
}

u64 kmod_u64(const struct kmod_reply *reply, int type)
{
	const struct nlattr *attr = reply->attr[type];

	return attr && mnl_attr_get_payload_len(attr) == sizeof(u64) ?
	       mnl_attr_get_u64(attr) : 0;
}

u8 kmod_u8(const struct kmod_reply *reply, int type)
{
	const struct nlattr *attr = reply->attr[type];

	return attr && mnl_attr_get_payload_len(attr) == sizeof(u8) ?
	       mnl_attr_get_u8(attr) : 0;
}

/* Sending */

static struct nlmsghdr *put_header(u8 *at, u8 cmd, u16 flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(at);
	struct genlmsghdr *header;

	message->nlmsg_type = kmod.family;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = ++kmod.seq;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->cmd = cmd;
	header->version = KMQTT_GENL_VERSION;
	return message;
}

static size_t put_dump(u8 *at)
{
	struct nlmsghdr *message;

	message = put_header(at, KMQTT_CMD_CONN_GET, NLM_F_DUMP);
	/*
	 * All connections after answers were lost: there may be one that was
	 * added, and that we do not know.
	 */
	if (!kmod.lost && !kmod.dump_all)
		mnl_attr_put(message, KMQTT_A_CONN_PENDING, 0, NULL);
	kmod.dump_seq = message->nlmsg_seq;
	if (kmod.dump_all)
		kmod.dump_all_seq = message->nlmsg_seq;
	kmod.dump_wanted = false;
	kmod.dump_running = true;
	return MNL_ALIGN(message->nlmsg_len);
}

static size_t put_request(u8 *at, size_t room)
{
	struct kmod_request *request = STAILQ_FIRST(&kmod.waiting);
	const struct kmod_command *command = request->command;
	struct nlmsghdr *message;

	message = put_header(at, command->cmd, command->flags);
	request->seq = message->nlmsg_seq;
	command->build(request, message, room - message->nlmsg_len);

	STAILQ_REMOVE_HEAD(&kmod.waiting, link);
	STAILQ_INSERT_TAIL(&kmod.in_flight, request, link);
	kmod.in_flight_count++;
	return MNL_ALIGN(message->nlmsg_len);
}

static void send_again(void)
{
	kmod.sending = true;
	ring_send(&kmod.send, kmod.fd, kmod.send_data, kmod.send_len);
}

/* All that may be in flight and fits goes in one send. */
static void send_more(void)
{
	const size_t room = MNL_NLMSG_HDRLEN + GENL_HDRLEN + KMOD_ROOM_MIN;
	size_t len = 0;

	if (kmod.send_len)
		return;
	if (kmod.dump_wanted && !kmod.dump_running)
		len += put_dump(kmod.send_data);
	while (!STAILQ_EMPTY(&kmod.waiting) && kmod.in_flight_count < WINDOW &&
	       SEND_SIZE - len >= room)
		len += put_request(kmod.send_data + len, SEND_SIZE - len);
	kmod.send_len = len;
	if (len)
		send_again();
}

static void send_done(struct ring_op *op, const struct ring_result *result)
{
	(void)op;
	kmod.sending = false;
	/* Nothing of it has been seen by the module: kmod_poll() repeats it. */
	if (result->res < 0) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to send to the kernel module: %s.",
			  strerror(-result->res));
		return;
	}
	kmod.send_len = 0;
	send_more();
}

void kmod_submit(struct kmod_request *request,
		 const struct kmod_command *command)
{
	request->command = command;
	STAILQ_INSERT_TAIL(&kmod.waiting, request, link);
	send_more();
}

bool kmod_has_room(void)
{
	return kmod.in_flight_count < WINDOW;
}

void kmod_submit_now(struct kmod_request *request,
		     const struct kmod_command *command)
{
	u8 data[MNL_NLMSG_HDRLEN + GENL_HDRLEN + KMOD_ROOM_NOW]
		__attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *message;

	message = put_header(data, command->cmd, command->flags);
	command->build(request, message, KMOD_ROOM_NOW);
	if (send(kmod.fd, data, message->nlmsg_len, MSG_DONTWAIT) < 0) {
		kmod_submit(request, command);
		return;
	}
	request->command = command;
	request->seq = message->nlmsg_seq;
	STAILQ_INSERT_TAIL(&kmod.in_flight, request, link);
	kmod.in_flight_count++;
}

/* Receiving */

static void receive(void)
{
	kmod.receiving = true;
	ring_recv(&kmod.receive, kmod.fd, kmod.receive_data, RECEIVE_SIZE,
		  MSG_TRUNC);
}

static void request_done(struct kmod_request *request,
			 const struct kmod_reply *reply)
{
	STAILQ_REMOVE(&kmod.in_flight, request, kmod_request, link);
	kmod.in_flight_count--;
	if (request->command->done)
		request->command->done(request, reply);
}

/* Answers come in order: it is most often the first one that is looked at. */
static void answered(u32 seq, const struct kmod_reply *reply)
{
	struct kmod_request *request;

	STAILQ_FOREACH(request, &kmod.in_flight, link) {
		if (request->seq == seq) {
			request_done(request, reply);
			return;
		}
	}
}

static void give_up_before(u32 seq)
{
	const struct kmod_reply reply = { .err = -ENOBUFS, .text = "" };
	struct kmod_request *request, *next;

	for (request = STAILQ_FIRST(&kmod.in_flight); request; request = next) {
		next = STAILQ_NEXT(request, link);
		if ((int32_t)(request->seq - seq) < 0)
			request_done(request, &reply);
	}
}

/*
 * The kernel had no room for an answer. It works requests off in order, and a
 * dump cannot be lost: when one that is asked for now has ended, every answer
 * that there is to earlier requests is here.
 */
static void answers_lost(void)
{
	log_print(LOG_TYPE_WARNING,
		  "Warning: Answers of the kernel module were lost.");
	kmod.lost = true;
	kmod.lost_before = kmod.seq + 1;
	kmod.dump_wanted = true;
}

static void dump_done(u32 seq, int err)
{
	kmod.dump_running = false;
	kmod.gone = err == -ENOENT;
	if (err)
		kmod.dump_wanted |= kmod.dump_all;
	else if (seq == kmod.dump_all_seq)
		kmod.dump_all = false;
	if (err || !kmod.lost || (int32_t)(seq - kmod.lost_before) < 0)
		return;
	kmod.lost = false;
	give_up_before(kmod.lost_before);
}

/* Only a wake-up. One dump for it, then those of each second must do. */
static void event(void)
{
	if (!kmod.event_seen)
		kmod.dump_wanted = true;
	kmod.event_seen = true;
}

static void parse_attributes(const struct nlmsghdr *message,
			     struct kmod_reply *reply)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, GENL_HDRLEN) {
		u16 type = mnl_attr_get_type(attr);

		if (type < ARRAY_SIZE(reply->attr))
			reply->attr[type] = attr;
	}
}

static const char *error_text(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	size_t skip = sizeof(*error);

	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS))
		return "";
	if (!(message->nlmsg_flags & NLM_F_CAPPED))
		skip += mnl_nlmsg_get_payload_len(&error->msg);
	mnl_attr_for_each(attr, message, skip)
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
			return mnl_attr_get_str(attr);
	return "";
}

static void handle_error(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);
	struct kmod_reply reply = {
		.err = error->error,
		.text = error_text(message),
	};

	if (kmod.dump_running && message->nlmsg_seq == kmod.dump_seq)
		dump_done(message->nlmsg_seq, error->error);
	else
		answered(message->nlmsg_seq, &reply);
}

static void handle_message(const struct nlmsghdr *message)
{
	const struct genlmsghdr *header = mnl_nlmsg_get_payload(message);
	struct kmod_reply reply = { .text = "" };

	if (message->nlmsg_type == NLMSG_ERROR) {
		handle_error(message);
		return;
	}
	if (message->nlmsg_type == NLMSG_DONE) {
		dump_done(message->nlmsg_seq, 0);
		return;
	}
	if (message->nlmsg_type != kmod.family)
		return;

	parse_attributes(message, &reply);
	if (message->nlmsg_flags & NLM_F_MULTI) {
		if (kmod.watching)
			kmod.record(&reply);
	} else if (header->cmd == KMQTT_CMD_EVENT && !message->nlmsg_seq) {
		event();
	} else {
		answered(message->nlmsg_seq, &reply);
	}
}

static void receive_done(struct ring_op *op, const struct ring_result *result)
{
	const struct nlmsghdr *message = (void *)kmod.receive_data;
	int len = result->res;

	(void)op;
	kmod.receiving = false;
	if (len == -ENOBUFS || len > RECEIVE_SIZE) {
		answers_lost();
	} else if (len < 0 && len != -EINTR && len != -EAGAIN) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to receive from the kernel module: %s.",
			  strerror(-len));
		return;		/* kmod_poll() tries again */
	}
	if (len > RECEIVE_SIZE)
		len = 0;
	for (; mnl_nlmsg_ok(message, len);
	     message = mnl_nlmsg_next(message, &len))
		handle_message(message);
	receive();
	send_more();
}

int kmod_poll(void)
{
	if (kmod.gone) {
		log_print(LOG_TYPE_ERROR,
			  "Error: the kernel module kmqtt has been unloaded.");
		return -ENOENT;
	}
	if (kmod.send_len && !kmod.sending)
		send_again();
	if (!kmod.receiving)
		receive();
	/*
	 * A dump in whose way the next one has been for a second may have been
	 * forgotten by the kernel, for want of memory. Asking again gets it on
	 * its way, or does no harm (-EBUSY).
	 */
	if (kmod.dump_wanted)
		kmod.dump_running = false;
	kmod.dump_wanted = true;
	kmod.event_seen = false;
	send_more();
	return 0;
}

/* Starting */

/**
 * struct start - a request that is waited for
 * @request: the request
 * @wanted: the number in the answer that is of interest
 * @value: that
 * @done: the answer is there
 * @err: what it says
 */
struct start {
	struct kmod_request request;
	int wanted;
	u32 value;
	bool done;
	int err;
};

static void build_get_family(struct kmod_request *request,
			     struct nlmsghdr *message, size_t room)
{
	(void)request;
	(void)room;
	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, KMQTT_GENL_NAME);
}

static u32 find_group(const struct nlattr *groups)
{
	const struct nlattr *group, *attr, *name, *id;

	mnl_attr_for_each_nested(group, groups) {
		name = NULL;
		id = NULL;
		mnl_attr_for_each_nested(attr, group) {
			if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GRP_NAME)
				name = attr;
			if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GRP_ID)
				id = attr;
		}
		if (name && id &&
		    !strcmp(mnl_attr_get_str(name), KMQTT_MCGRP_EVENTS))
			return mnl_attr_get_u32(id);
	}
	return 0;
}

static u32 wanted_version(void)
{
#ifdef KMQTTD_TEST
	const char *version = getenv("KMQTTD_TEST_VERSION");

	if (version)
		return atoi(version);
#endif
	return KMQTT_GENL_VERSION;
}

static void get_family_done(struct kmod_request *request,
			    const struct kmod_reply *reply)
{
	struct start *start = container_of(request, struct start, request);
	const struct nlattr *family = reply->attr[CTRL_ATTR_FAMILY_ID];
	const struct nlattr *groups = reply->attr[CTRL_ATTR_MCAST_GROUPS];
	u32 version = kmod_u32(reply, CTRL_ATTR_VERSION);
	u32 wanted = wanted_version();

	start->done = true;
	start->err = reply->err;
	if (start->err)
		return;
	if (version != wanted || !family || !groups) {
		log_print(LOG_TYPE_ERROR,
			  "Error: the kernel module kmqtt is too %s for this kmqttd: it speaks version %u of its protocol, kmqttd needs %u.",
			  version < wanted ? "old" : "new", version, wanted);
		start->err = -EPROTO;
		return;
	}
	kmod.family = mnl_attr_get_u16(family);
	kmod.group = find_group(groups);
}

static void build_nothing(struct kmod_request *request,
			  struct nlmsghdr *message, size_t room)
{
	(void)request;
	(void)message;
	(void)room;
}

static void start_done(struct kmod_request *request,
		       const struct kmod_reply *reply)
{
	struct start *start = container_of(request, struct start, request);

	start->done = true;
	start->err = reply->err;
	start->value = kmod_u32(reply, start->wanted);
}

static int talk(struct start *start, const struct kmod_command *command)
{
	int err = 0;

	start->done = false;
	kmod_submit(&start->request, command);
	while (!err && !start->done)
		err = ring_turn(true);
	return err ? err : start->err;
}

static int open_socket(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	int receive_size = SOCKET_RECEIVE;
	int send_size = SEND_SIZE;	/* the kernel doubles it */
	int one = 1;

	kmod.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (kmod.fd < 0 ||
	    bind(kmod.fd, (struct sockaddr *)&address, sizeof(address)))
		return -errno;

	/* Without leave to exceed the system's limits, up to these. */
	if (setsockopt(kmod.fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive_size,
		       sizeof(receive_size)))
		setsockopt(kmod.fd, SOL_SOCKET, SO_RCVBUF, &receive_size,
			   sizeof(receive_size));
	if (setsockopt(kmod.fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_size,
		       sizeof(send_size)))
		setsockopt(kmod.fd, SOL_SOCKET, SO_SNDBUF, &send_size,
			   sizeof(send_size));
	/* Errors with a text, and without the request in them. */
	setsockopt(kmod.fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	setsockopt(kmod.fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	return 0;
}

static int connect_module(void)
{
	static const struct kmod_command get_family = {
		.cmd = CTRL_CMD_GETFAMILY,
		.build = build_get_family,
		.done = get_family_done,
	};
	struct start start = { 0 };
	int err;

	err = open_socket();
	if (err)
		return err;
	receive();
	return talk(&start, &get_family);
}

static int explain(int err)
{
	if (err == -ENOENT)
		log_print(LOG_TYPE_ERROR,
			  "Error: the kernel module kmqtt is not loaded (no netlink family \"%s\"). Load it as root: insmod kmod/kmqtt.ko in the source tree, or modprobe kmqtt where it is installed.",
			  KMQTT_GENL_NAME);
	else if (err == -EPERM)
		log_print(LOG_TYPE_ERROR,
			  "Error: the kernel module kmqtt refused: kmqttd needs CAP_NET_ADMIN. Start it as root or with that capability.");
	else if (err == -EBUSY)
		log_print(LOG_TYPE_ERROR,
			  "Error: Another kmqttd serves this network namespace.");
	else if (err && err != -EPROTO)	/* that has been explained */
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to talk to the kernel module kmqtt: %s.",
			  strerror(-err));
	return err;
}

int kmod_open(void (*record)(const struct kmod_reply *reply))
{
	kmod.record = record;
	kmod.send.done = send_done;
	kmod.receive.done = receive_done;
	return explain(connect_module());
}

/*
 * Not before the connections that there are have become this daemon's: whoever
 * does not know them would end them, and may be the second daemon.
 */
static int watch(void)
{
	if (setsockopt(kmod.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
		       &kmod.group, sizeof(kmod.group)))
		return -errno;
	kmod.watching = true;
	return 0;
}

int kmod_flush(void)
{
	static const struct kmod_command flush = {
		.cmd = KMQTT_CMD_FLUSH,
		.build = build_nothing,
		.done = start_done,
	};
	struct start start = { .wanted = KMQTT_A_STATS_CONNS };
	int err = talk(&start, &flush);

	if (!err && start.value)
		log_print(LOG_TYPE_NOTICE,
			  "Closed %u connections that an earlier kmqttd left.",
			  start.value);
	return explain(err ? err : watch());
}

struct sink_start {
	struct start start;
	u32 orphan_timeout;
	struct kmod_sink *sink;
};

static void build_sink_open(struct kmod_request *request,
			    struct nlmsghdr *message, size_t room)
{
	const struct sink_start *sink =
		container_of(request, struct sink_start, start.request);

	(void)room;
	mnl_attr_put_u32(message, KMQTT_A_SINK_ORPHAN_TIMEOUT,
			 sink->orphan_timeout);
	mnl_attr_put(message, KMQTT_A_SINK_KEEP, 0, NULL);
}

static void sink_stats_done(struct kmod_request *request,
			    const struct kmod_reply *reply)
{
	struct sink_start *start =
		container_of(request, struct sink_start, start.request);
	struct kmod_sink *sink = start->sink;

	start->start.done = true;
	start->start.err = reply->err;
	sink->newest = kmod_u64(reply, KMQTT_A_STATS_SINK_SEQ);
	sink->seq = sink->newest - kmod_u32(reply, KMQTT_A_STATS_SINK_RECORDS);
	sink->injected = kmod_u64(reply, KMQTT_A_STATS_INJECTED);
}

/* What a daemon that was killed has begun takes a moment to be undone. */
static int open_sink(struct sink_start *sink)
{
	static const struct kmod_command sink_open = {
		.cmd = KMQTT_CMD_SINK_OPEN,
		.build = build_sink_open,
		.done = start_done,
	};
	const struct timespec moment = { .tv_nsec = 10000000 };
	unsigned int tries = 300;
	int err;

	do {
		err = talk(&sink->start, &sink_open);
	} while (err == -EBUSY && --tries && !nanosleep(&moment, NULL));
	return err;
}

int kmod_dump(void)
{
	int err = explain(watch());

	if (err)
		return err;
	kmod.dump_all = true;
	kmod.dump_wanted = true;
	send_more();
	return 0;
}

bool kmod_dumping(void)
{
	return kmod.dump_all;
}

int kmod_sink_open(struct kmod_sink *sink, u32 orphan_timeout)
{
	static const struct kmod_command stats_get = {
		.cmd = KMQTT_CMD_STATS_GET,
		.build = build_nothing,
		.done = sink_stats_done,
	};
	struct sink_start start = {
		.start.wanted = KMQTT_A_SINK_FD,
		.orphan_timeout = orphan_timeout,
		.sink = sink,
	};
	int err = open_sink(&start);

	sink->fd = start.start.value;
	if (!err)
		err = talk(&start.start, &stats_get);
	return explain(err);
}

int kmod_trunk_open(int *fd)
{
	static const struct kmod_command trunk_open = {
		.cmd = KMQTT_CMD_TRUNK_OPEN,
		.build = build_nothing,
		.done = start_done,
	};
	struct start start = { .wanted = KMQTT_A_TRUNK_FD };
	int err = talk(&start, &trunk_open);

	*fd = start.value;
	return explain(err);
}
