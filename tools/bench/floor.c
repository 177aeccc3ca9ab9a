// SPDX-License-Identifier: GPL-2.0
/*
 * The lower limit. A child process takes the place of the broker and does
 * the least that gets the bytes to where they belong: whatever one read of a
 * publisher's socket returned leaves in one send() to each subscriber. It
 * matches no topic and looks into no packet; it knows the packets' length,
 * and holds back a packet that is cut until the rest has come.
 *
 * One thread, epoll, blocking sends, TCP_NODELAY.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "conn.h"
#include "fault.h"
#include "floor.h"
#include "mqtt.h"
#include "net.h"

#define FLOOR_EVENTS	1024
#define FLOOR_READ	(256u << 10)
/* Nobody has overtaken a packet held back, and perhaps nobody will. */
#define FLOOR_HOLD_MS	100

struct peer {
	int fd;
	char role;		/* an enum conn_role, 0 at first */
	uint32_t index;
	unsigned char *part;	/* a buffer of its own, once a packet was cut */
	uint32_t have;		/* bytes of that packet */
};

struct server {
	const struct options *opt;
	uint32_t packet_len;
	size_t buf_size;
	unsigned char *buf;
	struct fault fault;
	int epoll;
	int listener;
	int *subscribers;
	uint32_t clients;	/* connected now */
};

static void floor_die(const char *what, int err) __attribute__((noreturn));

static void floor_die(const char *what, int err)
{
	fprintf(stderr, "kmqtt-bench: the built-in broker: %s: %s\n", what,
		strerror(err));
	_exit(BENCH_FAILED);
}

static void check_sent(int err)
{
	/* The load generator ended early; it says why. */
	if (err == -EPIPE || err == -ECONNRESET)
		_exit(BENCH_OK);
	if (err)
		floor_die("send", -err);
}

static void must_send(struct server *s, int fd, const unsigned char *buf,
		      size_t n)
{
	if (s->fault.kind != FAULT_NONE)
		check_sent(fault_send(&s->fault, fd, buf, n));
	else
		check_sent(net_send_all(fd, buf, n));
}

static void forward(struct server *s, const struct peer *p,
		    const unsigned char *buf, size_t n)
{
	uint32_t i;

	if (options_pairs(s->opt)) {
		must_send(s, s->subscribers[p->index], buf, n);
		return;
	}
	for (i = 0; i < s->opt->subscribers; i++)
		must_send(s, s->subscribers[i], buf, n);
}

static void peer_add(struct server *s, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	struct peer *p = calloc(1, sizeof(*p));

	if (!p)
		floor_die("accept", ENOMEM);
	p->fd = fd;
	ev.data.ptr = p;
	net_set_nodelay(fd);
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev))
		floor_die("epoll", errno);
	s->clients++;
}

static void accept_all(struct server *s)
{
	int fd;

	for (;;) {
		fd = accept(s->listener, NULL, NULL);
		if (fd >= 0)
			peer_add(s, fd);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR && errno != ECONNABORTED)
			floor_die("accept", errno);
	}
}

static void peer_end(struct server *s, struct peer *p)
{
	close(p->fd);
	free(p->part);
	free(p);
	if (!--s->clients)
		_exit(BENCH_OK);
}

/* "kb", a process id, the role, a number; see conn_client_id(). */
static void peer_introduce(struct server *s, struct peer *p,
			   const unsigned char *buf, size_t n)
{
	static const unsigned char connack[] = { MQTT_CONNACK, 2, 0, 0 };
	const size_t id = 2 + 10 + 2;
	unsigned int index;
	char text[64];

	if (n <= id || n - id >= sizeof(text))
		floor_die("CONNECT", EPROTO);
	memcpy(text, buf + id, n - id);
	text[n - id] = 0;
	if (sscanf(text, "kb%*u%c%u", &p->role, &index) != 2)
		floor_die("CONNECT", EPROTO);
	p->index = index;
	if (p->role == ROLE_SUBSCRIBER)
		s->subscribers[index] = p->fd;
	net_send_all(p->fd, connack, sizeof(connack));
	/* Only sockets are to be weighed. */
	if (s->opt->scenario == SCENARIO_MEMORY &&
	    epoll_ctl(s->epoll, EPOLL_CTL_DEL, p->fd, NULL))
		floor_die("epoll", errno);
}

/* A client waits for each answer: what it sends is one packet. */
static void peer_asked(const struct peer *p, const unsigned char *buf,
		       size_t n)
{
	unsigned char suback[5] = { MQTT_SUBACK, 3 };
	unsigned char unsuback[4] = { MQTT_UNSUBACK, 2 };
	static const unsigned char pingresp[2] = { MQTT_PINGRESP };
	struct mqtt_header h;

	if (mqtt_header(&h, buf, n) != 1 || n != h.total)
		floor_die("request", EPROTO);
	switch (MQTT_TYPE(h.type)) {
	case MQTT_SUBSCRIBE:
		memcpy(suback + 2, buf + h.len, 2);
		net_send_all(p->fd, suback, sizeof(suback));
		break;
	case MQTT_UNSUBSCRIBE:
		memcpy(unsuback + 2, buf + h.len, 2);
		net_send_all(p->fd, unsuback, sizeof(unsuback));
		break;
	case MQTT_PINGREQ:
		net_send_all(p->fd, pingresp, sizeof(pingresp));
		break;
	default: /* DISCONNECT: epoll reports the end. */
		shutdown(p->fd, SHUT_RDWR);
	}
}

/* A packet was cut: from now on this publisher reads into its own buffer. */
static void keep_part(struct server *s, struct peer *p,
		      const unsigned char *from, size_t n)
{
	if (n && !p->part)
		p->part = malloc(s->buf_size);
	if (n && !p->part)
		floor_die("read", ENOMEM);
	if (n)
		memmove(p->part, from, n);
	p->have = (uint32_t)n;
}

static void peer_published(struct server *s, struct peer *p,
			   const unsigned char *buf, size_t n)
{
	size_t whole = n - n % s->packet_len;

	if (whole)
		forward(s, p, buf, whole);
	keep_part(s, p, buf + whole, n - whole);
}

static void peer_data(struct server *s, struct peer *p,
		      const unsigned char *buf, size_t n)
{
	if (p->role == ROLE_PUBLISHER)
		peer_published(s, p, buf, n);
	else if (p->role)
		peer_asked(p, buf, n);
	else
		peer_introduce(s, p, buf, n);
}

/* False: drained, or gone. */
static bool peer_read_once(struct server *s, struct peer *p)
{
	unsigned char *buf = p->have ? p->part : s->buf;
	size_t room = s->buf_size - p->have;
	ssize_t n = recv(p->fd, buf + p->have, room, MSG_DONTWAIT);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		peer_end(s, p);
		return false;
	}
	peer_data(s, p, buf, p->have + (size_t)n);
	return (size_t)n == room;
}

static void peer_read(struct server *s, struct peer *p, uint32_t events)
{
	/* See conn_read(): after a short read only the end can follow. */
	if (events & (EPOLLHUP | EPOLLERR)) {
		peer_end(s, p);
		return;
	}
	while (peer_read_once(s, p))
		;
}

static void serve(struct server *s)
{
	struct epoll_event events[FLOOR_EVENTS];
	int i, n, wait;

	for (;;) {
		wait = s->fault.held >= 0 ? FLOOR_HOLD_MS : -1;
		n = epoll_wait(s->epoll, events, FLOOR_EVENTS, wait);
		if (n < 0 && errno != EINTR)
			floor_die("epoll", errno);
		if (!n)
			check_sent(fault_flush(&s->fault));
		for (i = 0; i < n; i++) {
			if (events[i].data.ptr)
				peer_read(s, events[i].data.ptr,
					  events[i].events);
			else
				accept_all(s);
		}
	}
}

static void server_init(struct server *s)
{
	struct epoll_event ev = { .events = EPOLLIN };

	s->buf_size = FLOOR_READ > 2 * s->packet_len ? FLOOR_READ :
		      2 * (size_t)s->packet_len;
	s->buf = malloc(s->buf_size);
	s->subscribers = calloc(s->opt->subscribers, sizeof(int));
	if (!s->buf || !s->subscribers ||
	    fault_init(&s->fault, s->opt, s->packet_len))
		floor_die("start", ENOMEM);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->listener, &ev))
		floor_die("epoll", errno);
}

static int make_listener(unsigned int *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    listen(fd, 1024) ||
	    getsockname(fd, (struct sockaddr *)&sin, &len)) {
		close(fd);
		return -errno;
	}
	*port = ntohs(sin.sin_port);
	return fd;
}

/* An interrupt of the terminal's is for the load generator to handle. */
static void child(struct server *s, pid_t parent)
{
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(BENCH_FAILED);
	server_init(s);
	serve(s);
}

int floor_start(struct floor *floor, const struct options *opt,
		uint32_t packet_len)
{
	struct server s = { .opt = opt, .packet_len = packet_len };
	pid_t parent = getpid();
	int err;

	s.listener = make_listener(&floor->port);
	if (s.listener < 0)
		return s.listener;
	fflush(NULL);
	floor->pid = fork();
	if (!floor->pid)
		child(&s, parent);
	err = floor->pid < 0 ? -errno : 0;
	close(s.listener);
	return err;
}

void floor_stop(struct floor *floor)
{
	if (floor->pid <= 0)
		return;
	kill(floor->pid, SIGKILL);
	waitpid(floor->pid, NULL, 0);
	floor->pid = 0;
}
