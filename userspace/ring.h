/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The io_uring loop. One ring, one thread: whoever starts an operation gives a
 * struct ring_op, embedded in what the operation belongs to; its done() is
 * called from ring_turn() with each completion. An op, and the memory given
 * with it, must stay until its last completion (!result->more). The same op may
 * be used again before that; completions then count.
 *
 * Starting an operation cannot fail: errors arrive as completions. None begins
 * before ring_submit() or ring_turn() is called, however many there are.
 */
#ifndef _KMQTTD_RING_H_
#define _KMQTTD_RING_H_

#include "types.h"

/**
 * struct ring_result - one completion
 * @res: as the system call would return it: a count, a descriptor, -errno
 * @more: the operation goes on, this was not its last completion
 */
struct ring_result {
	int res;
	bool more;
};

struct ring_op {
	void (*done)(struct ring_op *op, const struct ring_result *result);
};

/* Makes the ring. 0, or -errno, which has been logged. */
int ring_open(void);

/* Starts what was asked for, and calls nobody. */
void ring_submit(void);

/*
 * Starts what was asked for, with @wait waits for at least one completion, and
 * calls done() for all that are there. 0, or -errno when the ring does not work.
 */
int ring_turn(bool wait);

/* recv(), once. */
void ring_recv(struct ring_op *op, int fd, void *data, size_t len, int flags);

/*
 * send(), once. On a stream, @res is less than @len only when the connection
 * broke in the middle. MSG_NOSIGNAL is implied.
 */
void ring_send(struct ring_op *op, int fd, const void *data, size_t len);

/* Waits until @fd can be read, once. */
void ring_poll_in(struct ring_op *op, int fd);

/* Says whenever more can be read of @fd; not again while that stays so. */
void ring_poll_in_multishot(struct ring_op *op, int fd);

/* Completes after one second, with -ETIME. */
void ring_tick(struct ring_op *op);

/* Completes in the next turn, with -ETIME, after what is ready by then. */
void ring_soon(struct ring_op *op);

/*
 * Cancels what was started with @target. Both complete; @target with -ECANCELED,
 * or as it just did. (By descriptor instead, the kernel would look through all
 * that is under way.)
 */
void ring_cancel(struct ring_op *op, struct ring_op *target);

#endif /* _KMQTTD_RING_H_ */
