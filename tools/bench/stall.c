// SPDX-License-Identifier: GPL-2.0
/*
 * A subscriber that stops reading is a burden once everything on the way to
 * it is full. To fill that with the load itself would take long, as the
 * others get it too; so there is a topic of the stalled alone. Large messages
 * fill the sockets, small ones what is left of the broker's queue. What is
 * published afterwards is behind them: the warm-up waits for it all.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "meminfo.h"
#include "mqtt.h"
#include "run.h"
#include "stall.h"

#define STALL_RCVBUF	4096

/* The largest send buffer that the kernel gives by itself is 4 MiB. */
#define LARGE_BYTES	(32u << 10)
#define LARGE_COUNT	256u
#define SMALL_BYTES	16u
/* Brokers queue 1,000 messages by default. */
#define SMALL_COUNT	2048u

void stall_shrink(int fd)
{
	int size = STALL_RCVBUF;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

void stall_topic(const struct run *run, char *buf, size_t size)
{
	snprintf(buf, size, "%sfill", run->opt->prefix);
}

void stall_begin(struct run *run, struct conn *c)
{
	struct epoll_event ev = {
		.events = EPOLLRDHUP | EPOLLET,
		.data.ptr = c,
	};

	if (epoll_ctl(run->epoll, EPOLL_CTL_MOD, c->fd, &ev))
		run_fail(run, "epoll_ctl: %s", strerror(errno));
}

/* The broker may read slowly, as it has much to do with each. */
static bool send_patiently(struct run *run, int fd, const unsigned char *p,
			   size_t n)
{
	struct pollfd poller = { .fd = fd, .events = POLLOUT };
	ssize_t sent;

	while (n && !run_over(run)) {
		sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EAGAIN)
			sent = poll(&poller, 1, (int)run->opt->timeout_s *
				    1000) > 0 ? 0 : -1;
		if (sent < 0) {
			run_fail(run, "cannot fill those who stall: %s",
				 strerror(errno));
			return false;
		}
		p += sent;
		n -= (size_t)sent;
	}
	return !n;
}

static void send_many(struct run *run, uint32_t payload, unsigned int count)
{
	unsigned char *buf = calloc(1, HEAD_MAX + payload);
	int fd = run_publisher(run, 0)->fd;
	char topic[TOPIC_MAX];
	size_t len;

	if (!buf) {
		run_fail(run, "out of memory");
		return;
	}
	stall_topic(run, topic, sizeof(topic));
	len = mqtt_publish_head(buf, topic, payload) + payload;
	while (count-- && send_patiently(run, fd, buf, len))
		;
	free(buf);
}

static uint64_t kernel_bytes(void)
{
	struct meminfo m;

	return meminfo_read(&m, 0) ? 0 : m.bytes[MEM_KERNEL];
}

void stall_watch(struct run *run)
{
	uint64_t bytes = kernel_bytes();

	if (bytes > run->stall.peak)
		run->stall.peak = bytes;
}

void stall_fill(struct run *run)
{
	run->stall.before = kernel_bytes();
	send_many(run, LARGE_BYTES, LARGE_COUNT);
	send_many(run, SMALL_BYTES, SMALL_COUNT);
	stall_watch(run);
}
