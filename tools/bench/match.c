// SPDX-License-Identifier: GPL-2.0
/*
 * A tree of sites with a hundred devices each. A device has two sensors, and
 * four filters, each another client's:
 *
 *   site/S/device/D/sensor/0
 *   site/S/device/D/sensor/1
 *   site/S/device/D/sensor/+   (of every other device: site/+/device/...)
 *   site/S/device/D/#
 *
 * So a message of a sensor matches one exact filter, one with + and one with
 * #, however many devices there are. Numbers have leading zeroes: topics are
 * of one length, so that only the number of filters differs between runs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "match.h"
#include "mqtt.h"
#include "run.h"

#define FILTERS_PER_DEVICE	4
#define FILTERS_PER_PACKET	200
#define DEVICES_PER_SITE	100
#define SENSORS_MAX		10000000u
#define NAME_MAX_LEN		64

/* Prime, so that its multiples meet every topic before the first again. */
#define STRIDE			2654435761ull

/* Messages in flight, and those that overtook them. */
#define RING			65536u

#define MATCHES_MAX		3

struct message {
	uint64_t ns;
	uint32_t seq;
	uint32_t clients[MATCHES_MAX];
	unsigned int waiting;	/* a bit for each of them */
	unsigned char head[NAME_MAX_LEN + MQTT_HEADER_MAX + 2];
};

struct match {
	uint64_t filters;
	uint64_t devices;
	uint32_t clients;
	uint32_t head_len;
	uint32_t packet_len;
	uint32_t seq;		/* the next message's */
	uint32_t *seen;		/* the next number due, for each client */
	struct message ring[RING];
};

static void sensor_topic(char *buf, uint64_t device, uint64_t sensor)
{
	snprintf(buf, NAME_MAX_LEN, "site/%04u/device/%06u/sensor/%07u",
		 (unsigned int)(device / DEVICES_PER_SITE),
		 (unsigned int)device, (unsigned int)sensor);
}

static void filter_name(char *buf, uint64_t k)
{
	uint64_t device = k / FILTERS_PER_DEVICE;
	unsigned int site = (unsigned int)(device / DEVICES_PER_SITE);
	unsigned int d = (unsigned int)device;

	switch (k % FILTERS_PER_DEVICE) {
	case 2:
		if (d & 1)
			snprintf(buf, NAME_MAX_LEN,
				 "site/+/device/%06u/sensor/+", d);
		else
			snprintf(buf, NAME_MAX_LEN,
				 "site/%04u/device/%06u/sensor/+", site, d);
		break;
	case 3:
		snprintf(buf, NAME_MAX_LEN, "site/%04u/device/%06u/#", site, d);
		break;
	default:
		sensor_topic(buf, device, k % FILTERS_PER_DEVICE);
	}
}

/* Subscribing: client i % C has the filters k with the same remainder. */

static uint64_t packets(const struct match *m)
{
	uint64_t round = (uint64_t)m->clients * FILTERS_PER_PACKET;
	uint64_t left = m->filters % round;

	return m->filters / round * m->clients +
	       (left < m->clients ? left : m->clients);
}

static void begin_subscribe(struct run *run, uint64_t i)
{
	const struct match *m = run->match;
	uint64_t client = i % m->clients, round = i / m->clients;
	uint64_t k = round * m->clients * FILTERS_PER_PACKET + client;
	struct mqtt_filters filters = { 0 };
	char name[NAME_MAX_LEN];
	int n;

	for (n = 0; n < FILTERS_PER_PACKET && k < m->filters; n++) {
		filter_name(name, k);
		mqtt_add_filter(&filters, MQTT_SUBSCRIBE, name, 0);
		k += m->clients;
	}
	conn_ask(run, &run->conns[client], &filters);
}

/* Publishing */

static void send_message(struct run *run, struct message *msg)
{
	const struct match *m = run->match;
	struct stamp stamp = { .seq = msg->seq, .ns = msg->ns };
	unsigned char buf[HEAD_MAX];

	memcpy(buf, msg->head, m->head_len);
	memcpy(buf + m->head_len, &stamp, sizeof(stamp));
	memcpy(buf + m->head_len + STAMP_LEN, run->shape.body,
	       run->shape.body_len);
	/* The window is small: an idle socket takes it. */
	if (send(run_publisher(run, 0)->fd, buf, m->packet_len,
		 MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)m->packet_len)
		run->bytes += m->packet_len;
	else
		run_fail(run, "publishing failed: %s", strerror(errno));
}

static void publish_to(struct run *run, uint64_t device, uint64_t sensor)
{
	struct match *m = run->match;
	struct message *msg = &m->ring[m->seq % RING];
	uint64_t k = device * FILTERS_PER_DEVICE;
	char topic[NAME_MAX_LEN];

	if (msg->waiting) {
		run_fail(run, "message %u is lost: it has not reached all its "
			 "subscribers", msg->seq);
		return;
	}
	msg->seq = m->seq++;
	msg->ns = now_ns();
	sensor_topic(topic, device, sensor);
	mqtt_publish_head(msg->head, topic, run->opt->payload);
	msg->clients[0] = (uint32_t)((k + 2) % m->clients);
	msg->clients[1] = (uint32_t)((k + 3) % m->clients);
	msg->clients[2] = (uint32_t)((k + sensor) % m->clients);
	msg->waiting = sensor < 2 ? 7 : 3;
	send_message(run, msg);
}

/* Every topic that has all three kinds of filters. */
static void begin_spread(struct run *run, uint64_t i)
{
	uint64_t k = i * STRIDE % (2 * run->match->devices);

	publish_to(run, k / 2, k % 2);
}

static void begin_same(struct run *run, uint64_t i)
{
	(void)i;
	publish_to(run, 0, 0);
}

/* Topics never seen before: only the filters with wildcards match. */
static void begin_fresh(struct run *run, uint64_t i)
{
	publish_to(run, i * STRIDE % run->match->devices,
		   2 + i % (SENSORS_MAX - 2));
}

/* Deliveries */

static bool claim(struct message *msg, uint32_t client)
{
	int i;

	for (i = 0; i < MATCHES_MAX; i++) {
		if (!(msg->waiting & 1u << i) || msg->clients[i] != client)
			continue;
		msg->waiting &= ~(1u << i);
		return true;
	}
	return false;
}

static bool intact(const struct run *run, const struct message *msg,
		   const unsigned char *p, const struct stamp *stamp)
{
	const struct match *m = run->match;

	return !memcmp(p, msg->head, m->head_len) && stamp->ns == msg->ns &&
	       !memcmp(p + m->head_len + STAMP_LEN, run->shape.body,
		       run->shape.body_len);
}

static const char *wrong(const struct run *run, struct message *msg,
			 const struct conn *c, const unsigned char *p,
			 const struct stamp *stamp)
{
	if (stamp->seq != msg->seq || !intact(run, msg, p, stamp))
		return "is corrupted";
	if (!claim(msg, c->index))
		return "came twice, or to a client that has no filter for it";
	if ((int32_t)(stamp->seq - run->match->seen[c->index]) < 0)
		return "was overtaken by a later one";
	return NULL;
}

void match_delivery(struct run *run, struct conn *c, const unsigned char *p,
		    uint32_t len, uint64_t now)
{
	struct match *m = run->match;
	struct message *msg;
	struct stamp stamp;
	const char *why;

	if (len != m->packet_len || c->role != ROLE_CLIENT || !run->sweep) {
		run_fail(run, "a PUBLISH of %u bytes came unexpectedly", len);
		return;
	}
	memcpy(&stamp, p + m->head_len, sizeof(stamp));
	msg = &m->ring[stamp.seq % RING];
	why = wrong(run, msg, c, p, &stamp);
	if (why) {
		run_fail(run, "message %u %s", stamp.seq, why);
		return;
	}
	m->seen[c->index] = stamp.seq + 1;
	run->sweep->items++;
	hist_add(&run->sweep->hist, now - msg->ns);
	if (!msg->waiting)
		run->sweep->done++;
}

/* All of it */

static struct match *match_new(const struct options *opt)
{
	struct match *m = calloc(1, sizeof(*m));
	char topic[NAME_MAX_LEN];

	if (!m)
		return NULL;
	m->clients = opt->subscribers;
	m->devices = (opt->subscriptions + FILTERS_PER_DEVICE - 1) /
		     FILTERS_PER_DEVICE;
	m->filters = m->devices * FILTERS_PER_DEVICE;
	m->seen = calloc(m->clients, sizeof(*m->seen));
	sensor_topic(topic, 0, 0);
	m->head_len = (uint32_t)mqtt_publish_head_len(topic, opt->payload);
	m->packet_len = m->head_len + opt->payload;
	if (m->seen)
		return m;
	free(m);
	return NULL;
}

void match_free(struct match *m)
{
	if (m)
		free(m->seen);
	free(m);
}

static bool subscribe_all(struct run *run)
{
	struct sweep *s = sweep_new(run, "subscribe", packets(run->match),
				    begin_subscribe);

	/* A client has several packets, and waits for each answer. */
	s->window = 1;
	s->each = "packet";
	s->item = "subscription";
	s->items = run->match->filters;
	return sweep_run(run, s);
}

static bool publish_all(struct run *run, const char *name,
			void (*begin)(struct run *run, uint64_t i))
{
	struct sweep *s = sweep_new(run, name, run->opt->deliveries, begin);

	s->each = "publish";
	s->item = "delivery";
	return sweep_run(run, s);
}

void match_work(struct run *run)
{
	run->match = match_new(run->opt);
	if (!run->match) {
		run_fail(run, "out of memory");
		return;
	}
	if (!conn_open_all(run) || !subscribe_all(run))
		return;
	run_rest(run);
	if (publish_all(run, "spread", begin_spread) &&
	    publish_all(run, "same", begin_same))
		publish_all(run, "fresh", begin_fresh);
}
