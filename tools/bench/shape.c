// SPDX-License-Identifier: GPL-2.0
/*
 * The packets of one run are alike but for identifier, stamp and, in pairs, the
 * number that ends the topic; so both are made once, and compared with
 * afterwards.
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

static int make_heads(struct shape *s, const struct options *opt)
{
	uint32_t id_len = opt->qos ? MQTT_ID_LEN : 0;
	uint32_t rest = id_len + opt->payload;
	char topic[TOPIC_MAX];
	unsigned char *head;
	unsigned int i;

	shape_topic(s, 0, topic);
	s->head_len = (uint32_t)mqtt_publish_head_len(topic, rest);
	s->stamp_at = s->head_len + id_len;
	s->body_at = s->stamp_at + s->stamp_len;
	s->packet_len = s->head_len + rest;
	s->heads = malloc((size_t)s->topics * s->head_len);
	if (!s->heads)
		return -ENOMEM;
	for (i = 0; i < s->topics; i++) {
		shape_topic(s, i, topic);
		head = s->heads + (size_t)i * s->head_len;
		mqtt_publish_head(head, topic, rest);
		head[0] |= (unsigned char)(opt->qos << 1);
	}
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
	unsigned char *p;
	uint32_t n = TRAIN_BYTES / s->packet_len;
	uint32_t i;

	if (n > window)
		n = window;
	s->train_packets = n ? n : 1;
	s->train = calloc(s->train_packets, s->packet_len);
	if (!s->train)
		return -ENOMEM;
	for (i = 0; i < s->train_packets; i++) {
		p = s->train + (size_t)i * s->packet_len;
		memcpy(p, s->heads, s->head_len);
		memcpy(p + s->body_at, s->body, s->body_len);
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
	err = make_heads(s, opt);
	if (!err)
		err = make_body(s);
	if (!err)
		err = make_train(s, opt->window);
	return err;
}

void shape_free(struct shape *s)
{
	free(s->heads);
	free(s->body);
	free(s->train);
}
