/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The conversation with kmqtt.ko (kmod/uapi/linux/kmqtt.h), over generic
 * netlink on the ring.
 *
 * Requests are queued as objects, not as messages: a message is written when it
 * can be sent. So a queue of any length holds no memory of its own, and what is
 * in flight is bounded, so that the answers always fit the socket's buffer.
 * Requests reach the kernel in the order they were submitted in.
 */
#ifndef _KMQTTD_KMOD_H_
#define _KMQTTD_KMOD_H_

#include <libmnl/libmnl.h>
#include <linux/kmqtt.h>
#include <sys/queue.h>

#include "types.h"

/* Bytes of attributes that build() can always add. */
#define KMOD_ROOM_MIN	(132 * 1024)
/* The same where a request does not wait for its turn. */
#define KMOD_ROOM_NOW	256

/**
 * struct kmod_reply - the answer to a request, or a record of a dump
 * @err: 0 or -errno; -ENOBUFS: the answer was lost, the request may have worked
 * @text: what the kernel says about @err, "" for nothing
 * @attr: the attributes by type, of the enum that belongs to the command; NULL
 *	for those that are not there
 *
 * Valid until the function that it is given to returns.
 */
struct kmod_reply {
	int err;
	const char *text;
	const struct nlattr *attr[KMQTT_A_CONN_MAX + 1];
};

struct kmod_request;

/**
 * struct kmod_command - a kind of request
 * @cmd: enum kmqtt_cmd
 * @flags: NLM_F_ACK for a command that answers nothing by itself
 * @build: adds the attributes, at most @room bytes of them
 * @done: takes the answer; the request is the owner's again. NULL: nobody cares
 */
struct kmod_command {
	u8 cmd;
	u16 flags;
	void (*build)(struct kmod_request *request, struct nlmsghdr *message,
		      size_t room);
	void (*done)(struct kmod_request *request,
		     const struct kmod_reply *reply);
};

/**
 * struct kmod_request - one request, embedded in what it is about
 * @link: in the queue, or among those in flight
 * @command: what kind
 * @seq: number of its message
 */
struct kmod_request {
	STAILQ_ENTRY(kmod_request) link;
	const struct kmod_command *command;
	u32 seq;
};

/*
 * Connects to the module; turns the ring until that is done. Once kmod_flush()
 * or kmod_dump() was called, @record is with each connection that has event
 * bits, at least once a second while kmod_poll() is, and sooner after an event.
 * 0, or -errno, which has been logged together with what to do about it.
 */
int kmod_open(void (*record)(const struct kmod_reply *reply));

/*
 * Aborts the connections that an earlier daemon left, likewise; only once it is
 * sure that this daemon is going to run.
 */
int kmod_flush(void);

/**
 * struct kmod_sink - what the module says when its sink is opened
 * @fd: to read from; the caller's
 * @seq: of the record before the first that will be read
 * @newest: of the last record
 * @injected: serial of the last publish that a daemon before has injected
 */
struct kmod_sink {
	int fd;
	u64 seq;
	u64 newest;
	u64 injected;
};

/*
 * Opens the module's sink (KMQTT_CMD_SINK_OPEN), likewise. A daemon that has
 * just died is given some seconds to let go of it.
 */
int kmod_sink_open(struct kmod_sink *sink, u32 orphan_timeout);

/* Opens the trunk, as @fd. 0, or -errno, which has been logged. */
int kmod_trunk_open(int *fd);

/*
 * Has @record called with all connections, whether they have event bits or not,
 * until kmod_dumping() is false. 0, or -errno, which has been logged.
 */
int kmod_dump(void);
bool kmod_dumping(void);

/*
 * Submits @request, which must stay until @command->done() is called, and that
 * will be: from ring_turn(), never from here.
 */
void kmod_submit(struct kmod_request *request,
		 const struct kmod_command *command);

/*
 * The same at once: the kernel has done it on return. It overtakes what has been
 * submitted. Only while kmod_has_room(), and for a command that adds no more
 * than KMOD_ROOM_NOW bytes.
 */
void kmod_submit_now(struct kmod_request *request,
		     const struct kmod_command *command);
bool kmod_has_room(void);

/*
 * Looks for connections with event bits. To be called once a second. 0, or
 * -ENOENT once the module has been unloaded, which has been logged: there are
 * no connections any more, and another module will need another kmod_open().
 */
int kmod_poll(void);

/* An attribute of a reply; 0 when it is not there or of another size. */
u64 kmod_u64(const struct kmod_reply *reply, int type);
u32 kmod_u32(const struct kmod_reply *reply, int type);
u8 kmod_u8(const struct kmod_reply *reply, int type);

#endif /* _KMQTTD_KMOD_H_ */
