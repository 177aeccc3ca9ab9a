// SPDX-License-Identifier: GPL-2.0
#include "ring.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define SQ_ENTRIES 1024
/* Room for one completion of each of many connections between two turns. */
#define CQ_ENTRIES 16384

static struct io_uring ring;

/* What was asked for when the queue was full, in order; @room is for so many. */
static struct {
	struct io_uring_sqe *entries;
	size_t count;
	size_t room;
} overflow;

/*
 * What the functions below start, and nothing else: operations pass a filter of
 * system calls unseen. Nor can anything be registered any more.
 */
static int restrict_operations(void)
{
	static const u8 operations[] = {
		IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD, IORING_OP_RECV,
		IORING_OP_SEND, IORING_OP_TIMEOUT,
	};
	struct io_uring_restriction allowed[ARRAY_SIZE(operations)] = { 0 };
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(operations); i++) {
		allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
		allowed[i].sqe_op = operations[i];
	}
	/* liburing 2.3 declares functions for both, and does not export them. */
	err = io_uring_register(ring.ring_fd, IORING_REGISTER_RESTRICTIONS,
				allowed, ARRAY_SIZE(allowed));
	return err ? err : io_uring_register(ring.ring_fd,
					     IORING_REGISTER_ENABLE_RINGS,
					     NULL, 0);
}

static int queues_open(unsigned int flags)
{
	struct io_uring_params params = {
		.flags = flags | IORING_SETUP_CQSIZE |
			 IORING_SETUP_R_DISABLED,
		.cq_entries = CQ_ENTRIES,
	};

	return io_uring_queue_init_params(SQ_ENTRIES, &ring, &params);
}

int ring_open(void)
{
	int err;

	/*
	 * Completions are worked on only when we wait for them, instead of
	 * interrupting: fewer switches, larger batches. Since Linux 6.1.
	 */
	err = queues_open(IORING_SETUP_SINGLE_ISSUER |
			  IORING_SETUP_COOP_TASKRUN |
			  IORING_SETUP_DEFER_TASKRUN);
	if (err == -EINVAL)
		err = queues_open(0);
	if (!err)
		err = restrict_operations();
	if (err)
		log_print(LOG_TYPE_ERROR, "Error: Unable to use io_uring: %s.",
			  strerror(-err));
	return err;
}

static void dispatch(const struct io_uring_cqe *cqe)
{
	struct ring_op *op = io_uring_cqe_get_data(cqe);
	const struct ring_result result = {
		.res = cqe->res,
		.more = cqe->flags & IORING_CQE_F_MORE,
	};

	op->done(op, &result);
}

/* As many of them as there is room for in the queue. */
static size_t queue_overflow(void)
{
	struct io_uring_sqe *sqe;
	size_t n = 0;

	while (n < overflow.count && (sqe = io_uring_get_sqe(&ring)))
		*sqe = overflow.entries[n++];
	overflow.count -= n;
	memmove(overflow.entries, overflow.entries + n,
		overflow.count * sizeof(*overflow.entries));
	return n;
}

/* All but what there is room for in the queue. 0, or -errno: some is left. */
static int submit_overflow(void)
{
	int ret;

	while (overflow.count) {
		ret = io_uring_submit(&ring);
		if (ret < 0 || !queue_overflow())
			return ret < 0 ? ret : -EAGAIN;
	}
	return 0;
}

void ring_submit(void)
{
	if (!submit_overflow() && io_uring_sq_ready(&ring))
		io_uring_submit(&ring);
}

static int submit_and_wait(bool wait)
{
	int ret = submit_overflow();

	if (ret)
		return ret;
	return wait ? io_uring_submit_and_wait(&ring, 1)
		    : io_uring_submit_and_get_events(&ring);
}

int ring_turn(bool wait)
{
	struct io_uring_cqe *cqe, copy;
	int ret;

	ret = submit_and_wait(wait);
	/*
	 * -EBUSY and -EAGAIN: the kernel holds completions back (the queue was
	 * full) or is short of memory; consuming what there is helps.
	 */
	if (ret < 0 && ret != -EINTR && ret != -EBUSY && ret != -EAGAIN) {
		log_print(LOG_TYPE_ERROR, "Error: io_uring failed: %s.",
			  strerror(-ret));
		return ret;
	}

	/*
	 * The entry is given back before done() runs: done() may submit, and
	 * what completes then needs a free entry.
	 */
	while (!io_uring_peek_cqe(&ring, &cqe)) {
		copy = *cqe;
		io_uring_cqe_seen(&ring, cqe);
		dispatch(&copy);
	}
	return 0;
}

static bool overflow_grow(void)
{
	size_t room = overflow.room ? 2 * overflow.room : SQ_ENTRIES;
	struct io_uring_sqe *more;

	more = reallocarray(overflow.entries, room, sizeof(*more));
	if (!more)
		return false;
	overflow.entries = more;
	overflow.room = room;
	return true;
}

/*
 * A full queue is not submitted before its time: a send would leave before the
 * journal has it. Nor may what is asked for now overtake what waits. Without
 * memory there is no other way.
 */
static struct io_uring_sqe *get_sqe(void)
{
	struct io_uring_sqe *sqe = NULL;

	if (!overflow.count)
		sqe = io_uring_get_sqe(&ring);
	while (!sqe) {
		if (overflow.count < overflow.room || overflow_grow())
			return &overflow.entries[overflow.count++];
		io_uring_submit(&ring);
		queue_overflow();
		if (!overflow.count)
			sqe = io_uring_get_sqe(&ring);
	}
	return sqe;
}

void ring_recv(struct ring_op *op, int fd, void *data, size_t len, int flags)
{
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_recv(sqe, fd, data, len, flags);
	io_uring_sqe_set_data(sqe, op);
}

void ring_send(struct ring_op *op, int fd, const void *data, size_t len)
{
	struct io_uring_sqe *sqe = get_sqe();

	/* With MSG_WAITALL, io_uring itself goes on after a short send. */
	io_uring_prep_send(sqe, fd, data, len, MSG_WAITALL | MSG_NOSIGNAL);
	io_uring_sqe_set_data(sqe, op);
}

void ring_poll_in(struct ring_op *op, int fd)
{
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_poll_add(sqe, fd, POLLIN);
	io_uring_sqe_set_data(sqe, op);
}

void ring_poll_in_multishot(struct ring_op *op, int fd)
{
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	io_uring_sqe_set_data(sqe, op);
}

void ring_tick(struct ring_op *op)
{
	static struct __kernel_timespec second = { .tv_sec = 1 };
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_timeout(sqe, &second, 0, 0);
	io_uring_sqe_set_data(sqe, op);
}

void ring_soon(struct ring_op *op)
{
	static struct __kernel_timespec none;
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_timeout(sqe, &none, 0, 0);
	io_uring_sqe_set_data(sqe, op);
}

void ring_cancel(struct ring_op *op, struct ring_op *target)
{
	struct io_uring_sqe *sqe = get_sqe();

	io_uring_prep_cancel(sqe, target, 0);
	io_uring_sqe_set_data(sqe, op);
}
