// SPDX-License-Identifier: GPL-2.0
/*
 * Connections. Each is in epoll once and for all, edge-triggered: no call is
 * needed to change what is waited for, and the kernel does not look at a
 * drained socket again. A read that does not fill the buffer has drained it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mqtt.h"
#include "publish.h"
#include "receive.h"
#include "run.h"

/* Brokers listen with a backlog of 100 or so; refusals would cost seconds. */
#define OPENING_MAX	64

static const char *const state_texts[] = {
	[CONN_CLOSED] = "when it was closed already",
	[CONN_CONNECTING] = "while connecting",
	[CONN_WAIT_CONNACK] = "before its CONNACK",
	[CONN_WAIT_SUBACK] = "before its SUBACK",
	[CONN_WAIT_UNSUBACK] = "before its UNSUBACK",
	[CONN_WAIT_PINGRESP] = "before its PINGRESP",
	[CONN_WAIT_END] = "after its DISCONNECT",
	[CONN_READY] = "under load",
};

/* Letters and digits only, at most 23: every broker must take these. */
void conn_client_id(const struct conn *c, char *buf)
{
	snprintf(buf, CLIENT_ID_MAX, "kb%u%c%05u",
		 (unsigned int)getpid() % 10000000u, c->role,
		 c->index % 10000000u);
}

static void conn_fail(struct run *run, const struct conn *c, const char *what,
		      const char *why)
{
	char id[CLIENT_ID_MAX];

	conn_client_id(c, id);
	run_fail(run, "client %s, %s: %s%s%s", id, run->net.name, what,
		 why ? ": " : "", why ? why : "");
}

static void conn_lost(struct run *run, const struct conn *c, const char *why)
{
	char what[80];

	snprintf(what, sizeof(what), "the broker closed the connection %s",
		 state_texts[c->state]);
	conn_fail(run, c, what, why);
}

static void conn_send(struct run *run, struct conn *c,
		      const unsigned char *buf, size_t len)
{
	ssize_t n = send(c->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n == (ssize_t)len)
		return;
	/* A fresh socket takes a packet of this size, or none at all. */
	conn_fail(run, c, "sending failed",
		  n < 0 ? strerror(errno) : "the socket is full");
}

void conn_send_acks(struct run *run, struct conn *c, const unsigned char *buf,
		    size_t len)
{
	if (!run->failed)
		conn_send(run, c, buf, len);
}

static int conn_start(struct run *run, struct conn *c)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = c,
	};
	uint32_t index = (uint32_t)(c - run->conns);

	c->fd = net_connect(&run->net, index);
	if (c->fd < 0)
		return -c->fd;
	c->state = CONN_CONNECTING;
	if (c->role == ROLE_STALLED)
		stall_shrink(c->fd);
	if (!epoll_ctl(run->epoll, EPOLL_CTL_ADD, c->fd, &ev))
		return 0;
	return errno;
}

static void conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	close(c->fd);
	c->state = CONN_CLOSED;
}

/* A name may have addresses at which the broker does not listen. */
static void conn_refused(struct run *run, struct conn *c, int err)
{
	conn_close(c);
	while (!run->found && net_next(&run->net)) {
		err = conn_start(run, c);
		if (!err)
			return;
	}
	conn_fail(run, c, "cannot connect", strerror(err));
}

static void conn_connected(struct run *run, struct conn *c)
{
	unsigned char buf[64];
	char id[CLIENT_ID_MAX];
	socklen_t len = sizeof(int);
	bool clean;
	int err = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		conn_refused(run, c, err);
		return;
	}
	conn_client_id(c, id);
	c->state = CONN_WAIT_CONNACK;
	clean = run->forgetting || !run->opt->durable ||
		c->role != ROLE_SUBSCRIBER;
	conn_send(run, c, buf, mqtt_connect(buf, conn_version(run->opt, c), id,
					    clean));
}

static void conn_ready(struct run *run, struct conn *c)
{
	if (!run->sweep) {
		run->opening--;
		run->ready++;
	}
	c->state = CONN_READY;
	if (c->role == ROLE_STALLED)
		stall_begin(run, c);
	if (run->sweep)
		sweep_answered(run, c->asked_ns);
}

void conn_ask(struct run *run, struct conn *c, const struct mqtt_filters *f)
{
	unsigned char buf[MQTT_FILTERS_MAX + 16];
	uint32_t identifier = 0;

	c->state = f->type == MQTT_SUBSCRIBE ? CONN_WAIT_SUBACK :
					       CONN_WAIT_UNSUBACK;
	c->asked = f->count;
	c->asked_ns = now_ns();
	if (f->type == MQTT_SUBSCRIBE)
		identifier = shape_identifier(run->opt, c->index);
	conn_send(run, c, buf, mqtt_filters(buf, conn_version(run->opt, c), 1,
					    f, identifier));
}

static void conn_subscribe(struct run *run, struct conn *c)
{
	struct mqtt_filters filters = { 0 };
	char topic[TOPIC_MAX];

	shape_topic(&run->shape, options_pairs(run->opt) ? c->index : 0, topic);
	mqtt_add_filter(&filters, MQTT_SUBSCRIBE, topic, run->opt->qos);
	if (c->role == ROLE_STALLED) {
		stall_topic(run, topic, sizeof(topic));
		mqtt_add_filter(&filters, MQTT_SUBSCRIBE, topic, 0);
	}
	conn_ask(run, c, &filters);
}

void conn_ping(struct run *run, struct conn *c)
{
	unsigned char buf[8];

	c->state = CONN_WAIT_PINGRESP;
	c->asked_ns = now_ns();
	conn_send(run, c, buf, mqtt_pingreq(buf));
}

/* The broker has to close first: that ends the request. */
void conn_disconnect(struct run *run, struct conn *c)
{
	unsigned char buf[8];

	c->state = CONN_WAIT_END;
	c->asked_ns = now_ns();
	conn_send(run, c, buf, mqtt_disconnect(buf));
}

static void got_connack(struct run *run, struct conn *c,
			const unsigned char *p, uint32_t len)
{
	struct mqtt_header h;
	unsigned int code = 255;
	char why[80];

	/* It has come whole: the header is good. */
	mqtt_header(&h, p, len);
	if (conn_version(run->opt, c) == MQTT_V5 ? h.total > h.len + 2 :
						   h.total == h.len + 2)
		code = p[h.len + 1];
	if (!code) {
		run->found = true;
		if (!run->forgetting && (c->role == ROLE_SUBSCRIBER ||
					 c->role == ROLE_STALLED))
			conn_subscribe(run, c);
		else
			conn_ready(run, c);
		return;
	}
	snprintf(why, sizeof(why), "code %u, %s", code,
		 mqtt_connack_text(code));
	conn_fail(run, c, "CONNECT refused", why);
}

/* Where what follows the properties at @at begins; @len: there are none. */
static uint32_t behind_properties(const unsigned char *p, uint32_t at,
				  uint32_t len)
{
	uint32_t properties;
	int n = at < len ? mqtt_varint(&properties, p + at, len - at) : 0;

	if (n <= 0 || properties > len - at - (uint32_t)n)
		return len;
	return at + (uint32_t)n + properties;
}

static void got_suback(struct run *run, struct conn *c,
		       const unsigned char *p, uint32_t len)
{
	struct mqtt_header h;
	char why[40];
	uint32_t at;
	uint32_t i;

	/* It has come whole: the header is good. */
	mqtt_header(&h, p, len);
	at = h.len + MQTT_ID_LEN;
	if (conn_version(run->opt, c) == MQTT_V5)
		at = behind_properties(p, at, len);
	if (len != at + c->asked) {
		conn_fail(run, c, "SUBACK is for another number of filters",
			  NULL);
		return;
	}
	for (i = at; i < len; i++) {
		if (p[i] <= 2 && p[i] >= run->opt->qos)
			continue;
		snprintf(why, sizeof(why), "code 0x%02x", p[i]);
		conn_fail(run, c, "SUBSCRIBE refused", why);
		return;
	}
	conn_ready(run, c);
}

bool conn_expects(const struct conn *c, unsigned char type)
{
	static const unsigned char types[] = {
		[CONN_WAIT_CONNACK] = MQTT_CONNACK,
		[CONN_WAIT_SUBACK] = MQTT_SUBACK,
		[CONN_WAIT_UNSUBACK] = MQTT_UNSUBACK,
		[CONN_WAIT_PINGRESP] = MQTT_PINGRESP,
		[CONN_READY] = 0,
	};

	return type && type == types[c->state];
}

void conn_control(struct run *run, struct conn *c, const unsigned char *p,
		  uint32_t len)
{
	if (p[0] == MQTT_CONNACK)
		got_connack(run, c, p, len);
	else if (p[0] == MQTT_SUBACK)
		got_suback(run, c, p, len);
	else
		conn_ready(run, c);
}

void conn_nonsense(struct run *run, const struct conn *c, unsigned char type,
		   uint32_t len)
{
	char what[80];

	if (len)
		snprintf(what, sizeof(what), "the broker sent a packet of type "
			 "0x%02x and %u bytes %s", type, len,
			 state_texts[c->state]);
	else
		snprintf(what, sizeof(what), "the broker sent what is not MQTT "
			 "%s", state_texts[c->state]);
	conn_fail(run, c, what, NULL);
}

/* The end of the stream. */
static void conn_ended(struct run *run, struct conn *c)
{
	if (c->state != CONN_WAIT_END) {
		conn_lost(run, c, NULL);
		return;
	}
	conn_close(c);
	sweep_answered(run, c->asked_ns);
}

enum drained {
	READ_ALL,	/* until the next edge */
	READ_PART,	/* what there was; the end may follow */
	READ_FULL,	/* the buffer; there may be more */
};

static enum drained conn_read_once(struct run *run, struct conn *c)
{
	unsigned char *buf = run->buf + LEAD_MAX;
	ssize_t n = recv(c->fd, buf, RECEIVE_MAX, MSG_DONTWAIT);

	if (n > 0) {
		run->bytes += (uint64_t)n;
		receive(run, c, buf, (size_t)n, now_ns());
		return n == RECEIVE_MAX ? READ_FULL : READ_PART;
	}
	if (!n)
		conn_ended(run, c);
	else if (errno == EINTR)
		return READ_FULL;
	else if (errno != EAGAIN)
		conn_lost(run, c, strerror(errno));
	return READ_ALL;
}

static void conn_read(struct run *run, struct conn *c, uint32_t events)
{
	/* The end of the stream raises no second edge: read up to it. */
	const bool ends = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	enum drained drained;

	do {
		drained = conn_read_once(run, c);
	} while (!run->failed && (drained == READ_FULL ||
				  (ends && drained == READ_PART)));
}

void conn_event(struct run *run, struct conn *c, uint32_t events)
{
	if (unlikely(c->state == CONN_CONNECTING)) {
		conn_connected(run, c);
		return;
	}
	if (c->role == ROLE_STALLED && c->state == CONN_READY)
		conn_lost(run, c, NULL);
	else if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn_read(run, c, events);
	if (events & EPOLLOUT && c->unsent.packets)
		publish_resume(run, c);
}

/* One alone at first: it finds out which of the host's addresses answers. */
static uint32_t opening_max(const struct run *run)
{
	return run->found ? OPENING_MAX : 1;
}

static enum conn_role role_of(const struct options *opt, uint32_t i)
{
	if (i >= opt->subscribers + opt->publishers)
		return ROLE_STALLED;
	if (i >= opt->subscribers)
		return ROLE_PUBLISHER;
	return options_load(opt) ? ROLE_SUBSCRIBER : ROLE_CLIENT;
}

static void conn_init(struct run *run, uint32_t i)
{
	struct conn *c = &run->conns[i];
	uint32_t subscribers = run->opt->subscribers;

	c->role = role_of(run->opt, i);
	c->index = c->role == ROLE_PUBLISHER ? i - subscribers : i;
	c->lead = form_lead(c->role == ROLE_PUBLISHER ? &run->shape.out :
			    &run->shape.in, c->index);
	c->carry = run->carries + (size_t)i * run->carry_len;
	if (c->role == ROLE_SUBSCRIBER)
		load_view(&run->load, c->index, &c->view);
}

void conn_open(struct run *run, uint32_t i)
{
	struct conn *c = &run->conns[i];
	int err;

	conn_init(run, i);
	c->asked_ns = now_ns();
	run->opened = i + 1;
	err = conn_start(run, c);
	if (err)
		conn_refused(run, c, err);
}

static void open_more(struct run *run)
{
	while (run->opened < run->nconns &&
	       run->opening < opening_max(run) && !run->failed) {
		run->opening++;
		conn_open(run, run->opened);
	}
}

bool conn_open_all(struct run *run)
{
	while (run->ready < run->nconns && !run_over(run)) {
		open_more(run);
		run_round(run, -1);
	}
	return run->ready == run->nconns && !run_over(run);
}

void conn_close_all(struct run *run)
{
	unsigned char buf[8];
	size_t len = mqtt_disconnect(buf);
	uint32_t i;

	for (i = 0; i < run->opened; i++) {
		if (run->conns[i].state == CONN_READY)
			send(run->conns[i].fd, buf, len,
			     MSG_NOSIGNAL | MSG_DONTWAIT);
		conn_close(&run->conns[i]);
	}
}

void conn_forget_all(struct run *run)
{
	conn_close_all(run);
	run->nconns = run->opt->subscribers;
	memset(run->conns, 0, run->nconns * sizeof(*run->conns));
	run->opened = 0;
	run->ready = 0;
	run->forgetting = true;
	conn_open_all(run);
}
