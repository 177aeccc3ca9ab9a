// SPDX-License-Identifier: GPL-2.0
/*
 * Parsing in place. All connections read into one buffer. The usual packet
 * is whole and exactly what was expected: three comparisons. Of a packet
 * that is cut, the head and the stamp are carried over to the next read; its
 * body is compared as it comes, so that large packets are never copied.
 */
#include <string.h>

#include "match.h"
#include "mqtt.h"
#include "receive.h"
#include "run.h"

struct input {
	struct run *run;
	struct conn *c;
	const unsigned char *p;
	const unsigned char *end;
	uint64_t now;
};

static size_t available(const struct input *in)
{
	return (size_t)(in->end - in->p);
}

static inline void get_stamp(const struct input *in, const unsigned char *p,
			     struct stamp *st)
{
	if (likely(in->run->load.stamped))
		memcpy(st, p, sizeof(*st));
	else
		load_guess(&in->run->load, &in->c->view, st);
}

/* Even a delivery that is wrong: or the broker would wait for it. */
static inline void acknowledge(struct run *run, uint16_t id)
{
	if (!run->opt->qos)
		return;
	/* [MQTT-2.3.1-1] */
	if (!id)
		run->load.tally.corrupted++;
	run->acks_len += mqtt_puback(run->acks + run->acks_len, id);
}

/* Is it as expected, whatever its packet identifier is? */
static inline bool lead_matches(const struct form *f, const unsigned char *p,
				const unsigned char *lead)
{
	const size_t id_at = f->id_at, behind = f->properties_at;

	if (id_at == behind)
		return !memcmp(p, lead, f->stamp_at);
	return !memcmp(p, lead, id_at) &&
	       !memcmp(p + behind, lead + behind, f->stamp_at - behind);
}

/*
 * Takes packets as long as they are what was expected. This is what the load
 * generator does most: everything constant is in a local variable, as the
 * compiler must assume that the counters alias it.
 */
static void take_expected(struct input *in)
{
	struct load *const l = &in->run->load;
	const struct shape *s = &in->run->shape;
	const struct form f = s->in;
	const unsigned char *const lead = in->c->lead, *const body = s->body;
	const size_t stamp_at = f.stamp_at, body_at = f.body_at;
	const size_t body_len = s->body_len, len = f.packet_len;
	const struct view view = in->c->view;
	const uint64_t now = in->now;
	const unsigned char *p = in->p;
	struct stamp st;

	while ((size_t)(in->end - p) >= len && lead_matches(&f, p, lead) &&
	       !memcmp(p + body_at, body, body_len)) {
		get_stamp(in, p + stamp_at, &st);
		if (!load_in_order(l, &view, &st, now))
			break;
		acknowledge(in->run, mqtt_id(p + f.id_at));
		p += len;
	}
	in->p = p;
}

static void take_body(struct input *in)
{
	const struct shape *s = &in->run->shape;
	struct conn *c = in->c;
	size_t n = available(in);

	if (n > c->body_left)
		n = c->body_left;
	if (memcmp(in->p, s->body + s->body_len - c->body_left, n))
		c->body_bad = true;
	in->p += n;
	c->body_left -= (uint32_t)n;
	if (c->body_left)
		return;
	acknowledge(in->run, c->id);
	if (c->body_bad ||
	    !load_in_order(&in->run->load, &c->view, &c->stamp, in->now))
		load_odd(&in->run->load, &c->view, &c->stamp, !c->body_bad,
			 in->now);
}

static void skip(struct input *in)
{
	size_t n = available(in);

	if (n > in->c->skip)
		n = in->c->skip;
	in->p += n;
	in->c->skip -= (uint32_t)n;
}

/* A PUBLISH of another length. Without stamps it still counts as one. */
static void refuse(struct input *in, uint32_t total)
{
	struct load *l = &in->run->load;
	struct stamp st;

	in->c->skip = total;
	if (l->stamped || in->c->role != ROLE_SUBSCRIBER) {
		l->tally.corrupted++;
		return;
	}
	load_guess(l, &in->c->view, &st);
	load_odd(l, &in->c->view, &st, false, in->now);
}

static bool take_match(struct input *in, const struct mqtt_header *h)
{
	if (h->total > HEAD_MAX) {
		conn_nonsense(in->run, in->c, h->type, h->total);
		return false;
	}
	if (available(in) < h->total)
		return false;
	match_delivery(in->run, in->c, in->p, h->total, in->now);
	in->p += h->total;
	return !in->run->failed;
}

/* Begins a PUBLISH that is cut or not what was expected. */
static bool begin_publish(struct input *in, const struct mqtt_header *h)
{
	const struct shape *s = &in->run->shape;
	const struct form *f = &s->in;
	struct conn *c = in->c;

	if (c->role != ROLE_SUBSCRIBER || h->total != f->packet_len) {
		refuse(in, h->total);
		return true;
	}
	if (available(in) < f->body_at)
		return false;
	c->body_bad = !lead_matches(f, in->p, c->lead);
	if (in->run->opt->qos)
		c->id = mqtt_id(in->p + f->id_at);
	get_stamp(in, in->p + f->stamp_at, &c->stamp);
	c->body_left = s->body_len;
	in->p += f->body_at;
	take_body(in);
	return true;
}

/* In MQTT 5 with a reason, if that is not success. */
static bool puback_good(const struct input *in, const struct mqtt_header *h)
{
	const unsigned char *p = in->p + h->len;
	const struct conn *c = in->c;

	if (h->total < MQTT_PUBACK_LEN || c->acked == c->published ||
	    mqtt_id(p) != conn_packet_id(c->acked))
		return false;
	return h->total == MQTT_PUBACK_LEN ||
	       (conn_version(in->run->opt, c) == MQTT_V5 &&
		p[MQTT_ID_LEN] < MQTT_FAILURE);
}

/* They come in the order of the messages [MQTT-4.6.0-2]. */
static bool take_puback(struct input *in, const struct mqtt_header *h)
{
	if (h->total <= HEAD_MAX && available(in) < h->total)
		return false;
	if (h->total > HEAD_MAX || !puback_good(in, h)) {
		conn_nonsense(in->run, in->c, h->type, h->total);
		return false;
	}
	in->c->acked++;
	in->run->unacked--;
	in->p += h->total;
	return true;
}

static bool take_control(struct input *in, const struct mqtt_header *h)
{
	if (h->total > HEAD_MAX || !conn_expects(in->c, h->type)) {
		conn_nonsense(in->run, in->c, h->type, h->total);
		return false;
	}
	if (available(in) < h->total)
		return false;
	conn_control(in->run, in->c, in->p, h->total);
	in->p += h->total;
	return true;
}

/* False: more bytes are needed, or the run is over. */
static bool take_odd(struct input *in)
{
	struct mqtt_header h;
	int ret = mqtt_header(&h, in->p, available(in));

	if (ret < 0)
		conn_nonsense(in->run, in->c, in->p[0], 0);
	if (ret <= 0)
		return false;
	if (MQTT_TYPE(h.type) == MQTT_PUBLISH && in->run->match)
		return take_match(in, &h);
	if (MQTT_TYPE(h.type) == MQTT_PUBLISH)
		return begin_publish(in, &h);
	if (h.type == MQTT_PUBACK && in->run->opt->qos)
		return take_puback(in, &h);
	return take_control(in, &h);
}

/* False: more bytes are needed, or the run is over. */
static bool take_next(struct input *in)
{
	if (in->c->body_left) {
		take_body(in);
		return true;
	}
	if (in->c->skip) {
		skip(in);
		return true;
	}
	if (in->c->role == ROLE_SUBSCRIBER)
		take_expected(in);
	return in->p < in->end && take_odd(in);
}

static void carry_over(const struct input *in)
{
	in->c->carried = (uint32_t)available(in);
	memcpy(in->c->carry, in->p, in->c->carried);
}

void receive(struct run *run, struct conn *c, unsigned char *buf, size_t n,
	     uint64_t now)
{
	struct input in = {
		.run = run,
		.c = c,
		.p = buf - c->carried,
		.end = buf + n,
		.now = now,
	};

	if (c->carried) {
		memcpy(buf - c->carried, c->carry, c->carried);
		c->carried = 0;
	}
	while (in.p < in.end && take_next(&in))
		;
	if (in.p < in.end && !run->failed)
		carry_over(&in);
	if (run->acks_len)
		conn_send_acks(run, c, run->acks, run->acks_len);
	run->acks_len = 0;
}
