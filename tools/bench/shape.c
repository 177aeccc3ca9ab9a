// SPDX-License-Identifier: GPL-2.0
/*
 * The packets of one run are alike but for identifiers, stamp and, in pairs, the
 * number that ends the topic; so they are made once, and compared with
 * afterwards. Where a broker puts the subscription identifier among the
 * properties is up to it; it is expected first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mqtt.h"
#include "shape.h"

/* More than this in one write, no socket buffer takes anyway. */
#define TRAIN_BYTES	(4u << 20)

static unsigned int count_digits(unsigned int v)
{
	unsigned int n = 1;

	while (v /= 10)
		n++;
	return n;
}

void shape_topic(const struct shape *s, unsigned int topic, char *buf)
{
	snprintf(buf, TOPIC_MAX, "%s%0*u", s->prefix, (int)s->digits, topic);
}

uint32_t shape_identifier(const struct options *opt, unsigned int subscriber)
{
	/* From here on three bytes. */
	return opt->identifiers ? (1u << 14) + subscriber : 0;
}

static unsigned char *put_user_properties(unsigned char *p, unsigned int n)
{
	char name[8];
	unsigned int i;

	for (i = 0; i < n; i++) {
		*p++ = MQTT_USER_PROPERTY;
		snprintf(name, sizeof(name), "p%03u", i % 1000);
		p = mqtt_put_string(p, name);
		p = mqtt_put_string(p, "celsius");
	}
	return p;
}

/* The properties, their length included. Returns how many bytes. */
static uint32_t make_properties(unsigned char *buf, unsigned int version,
				unsigned int user, uint32_t identifier)
{
	uint32_t n = user * PROPERTY_LEN;
	unsigned char *p;

	if (version != MQTT_V5)
		return 0;
	if (identifier)
		n += 1 + mqtt_varint_len(identifier);
	p = mqtt_put_varint(buf, n);
	if (identifier) {
		*p++ = MQTT_SUBSCRIPTION_ID;
		p = mqtt_put_varint(p, identifier);
	}
	return (uint32_t)(put_user_properties(p, user) - buf);
}

static void make_lead(const struct shape *s, const struct options *opt,
		      struct form *f, unsigned int version, unsigned int index,
		      uint32_t identifier)
{
	unsigned char properties[LEAD_MAX];
	uint32_t n = make_properties(properties, version, opt->properties,
				     identifier);
	uint32_t rest = s->id_len + n + opt->payload;
	unsigned char *lead;
	char topic[TOPIC_MAX];

	shape_topic(s, options_pairs(opt) ? index : 0, topic);
	f->id_at = (uint32_t)mqtt_publish_head_len(topic, rest);
	f->properties_at = f->id_at + s->id_len;
	f->stamp_at = f->properties_at + n;
	f->body_at = f->stamp_at + s->stamp_len;
	f->packet_len = f->id_at + rest;
	if (!f->leads)
		return;
	lead = f->leads + (size_t)index * f->stamp_at;
	mqtt_publish_head(lead, topic, rest);
	lead[0] |= (unsigned char)(opt->qos << 1);
	memcpy(lead + f->properties_at, properties, n);
}

static int make_form(const struct shape *s, const struct options *opt,
		     struct form *f, bool delivered)
{
	unsigned int version = delivered ? opt->subscriber_version :
			       opt->publisher_version;
	unsigned int i;

	f->count = delivered && opt->identifiers ? opt->subscribers : s->topics;
	/* The first time for its lengths. */
	make_lead(s, opt, f, version, 0,
		  delivered ? shape_identifier(opt, 0) : 0);
	f->leads = calloc(f->count, f->stamp_at);
	if (!f->leads)
		return -ENOMEM;
	for (i = 0; i < f->count; i++)
		make_lead(s, opt, f, version, i,
			  delivered ? shape_identifier(opt, i) : 0);
	return 0;
}

/*
 * Bytes that do not repeat at any short distance, so that a shifted or
 * spliced body is noticed, and that differ between processes, so that
 * another run's message is noticed too.
 */
static int make_body(struct shape *s)
{
	uint32_t x = (uint32_t)getpid() * 2654435761u + 1;
	uint32_t i;

	s->body = malloc((size_t)s->body_len + 1);
	if (!s->body)
		return -ENOMEM;
	for (i = 0; i < s->body_len; i++) {
		x = x * 1664525u + 1013904223u;
		s->body[i] = (unsigned char)(x >> 24);
	}
	return 0;
}

static int make_train(struct shape *s, unsigned int window)
{
	const struct form *f = &s->out;
	unsigned char *p;
	uint32_t n = TRAIN_BYTES / f->packet_len;
	uint32_t i;

	if (n > window)
		n = window;
	s->train_packets = n ? n : 1;
	s->train = calloc(s->train_packets, f->packet_len);
	if (!s->train)
		return -ENOMEM;
	for (i = 0; i < s->train_packets; i++) {
		p = s->train + (size_t)i * f->packet_len;
		memcpy(p, f->leads, f->stamp_at);
		memcpy(p + f->body_at, s->body, s->body_len);
	}
	return 0;
}

int shape_init(struct shape *s, const struct options *opt)
{
	int err;

	s->prefix = opt->prefix;
	s->topics = options_pairs(opt) ? opt->publishers : 1;
	s->digits = count_digits(s->topics - 1);
	s->stamp_len = options_stamped(opt) ? STAMP_LEN : 0;
	s->body_len = opt->payload - s->stamp_len;
	s->id_len = opt->qos ? MQTT_ID_LEN : 0;
	err = make_form(s, opt, &s->out, false);
	if (!err)
		err = make_form(s, opt, &s->in, true);
	if (!err)
		err = make_body(s);
	if (!err)
		err = make_train(s, opt->window);
	return err;
}

void shape_free(struct shape *s)
{
	free(s->out.leads);
	free(s->in.leads);
	free(s->body);
	free(s->train);
}
