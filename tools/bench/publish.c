// SPDX-License-Identifier: GPL-2.0
/*
 * Publishing. All that a publisher may send when an epoll round is over
 * leaves in one write, stamped with one time. The packets are made in a
 * buffer that all publishers share; if the socket takes only part of them,
 * the publisher remembers which, and the rest is made again later.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "mqtt.h"
#include "publish.h"
#include "run.h"

static void make_packets(const struct run *run, const struct conn *c)
{
	const struct shape *s = &run->shape;
	const struct form *f = &s->out;
	struct stamp stamp = { c->index, c->unsent.seq, c->unsent.ns };
	unsigned char *p = s->train;
	uint32_t number = c->unsent.number;
	uint32_t i;

	for (i = 0; i < c->unsent.packets; i++, p += f->packet_len) {
		if (s->topics > 1)
			memcpy(p, c->lead, f->stamp_at);
		if (run->opt->qos)
			mqtt_put_id(p + f->id_at, conn_packet_id(number++));
		if (s->stamp_len)
			memcpy(p + f->stamp_at, &stamp, sizeof(stamp));
		stamp.seq++;
	}
}

static void send_failed(struct run *run, const struct conn *c, int err)
{
	char id[CLIENT_ID_MAX];

	conn_client_id(c, id);
	run_fail(run, "client %s: sending failed: %s", id, strerror(err));
}

/* Sends until all is sent or the socket is full, so that epoll will tell. */
static void send_packets(struct run *run, struct conn *c)
{
	struct unsent *u = &c->unsent;
	uint64_t len = (uint64_t)u->packets * run->shape.out.packet_len;
	ssize_t n;

	while (u->done < len) {
		n = send(c->fd, run->shape.train + u->done, len - u->done,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			send_failed(run, c, errno);
		if (n < 0)
			return;
		u->done += (uint64_t)n;
		run->bytes += (uint64_t)n;
	}
	u->packets = 0;
}

static void publish_some(struct run *run, struct conn *c)
{
	struct unsent *u = &c->unsent;

	while (!u->packets && !run->failed) {
		u->ns = now_ns();
		u->done = 0;
		u->packets = load_take(&run->load, c->index,
				       run->shape.train_packets, u->ns,
				       &u->seq);
		if (!u->packets)
			return;
		u->number = c->published;
		c->published += u->packets;
		if (run->opt->qos)
			run->unacked += u->packets;
		make_packets(run, c);
		send_packets(run, c);
		/* Asking for more costs a clock reading; mostly in vain. */
		if (!run->load.shares[c->index].due)
			return;
	}
}

void publish_due(struct run *run)
{
	struct load *l = &run->load;
	uint32_t publisher;

	while (l->nlisted) {
		publisher = l->listed[--l->nlisted];
		l->shares[publisher].listed = false;
		publish_some(run, run_publisher(run, publisher));
	}
}

void publish_resume(struct run *run, struct conn *c)
{
	if (!c->unsent.packets)
		return;
	make_packets(run, c);
	send_packets(run, c);
	if (!c->unsent.packets)
		load_list(&run->load, c->index);
}
