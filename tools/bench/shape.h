/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a published packet looks like: a head (fixed header and topic), at
 * QoS 1 a packet identifier, the stamp, a body that is the same in every packet.
 */
#ifndef BENCH_SHAPE_H
#define BENCH_SHAPE_H

#include <stddef.h>
#include <stdint.h>

#include "bench.h"

#define PREFIX_MAX	200
#define TOPIC_MAX	(PREFIX_MAX + 8)
/* A head, an identifier and a stamp always fit. */
#define HEAD_MAX	256

/* First in every payload that has room for it; in this machine's order. */
struct stamp {
	uint32_t publisher;
	uint32_t seq;
	uint64_t ns;
};

struct shape {
	uint32_t head_len;
	uint32_t stamp_at;
	uint32_t stamp_len;	/* STAMP_LEN or 0 */
	uint32_t body_at;
	uint32_t body_len;
	uint32_t packet_len;
	unsigned int topics;
	unsigned int digits;	/* of the number that ends a topic */
	const char *prefix;
	unsigned char *heads;	/* one a topic, all of one length */
	unsigned char *body;
	/*
	 * Packets to be sent in one write. All publishers share it: what a
	 * publisher could not send yet is made anew when its turn comes.
	 */
	unsigned char *train;
	uint32_t train_packets;
};

int shape_init(struct shape *s, const struct options *opt);
void shape_free(struct shape *s);

/* @buf has TOPIC_MAX bytes. */
void shape_topic(const struct shape *s, unsigned int topic, char *buf);

static inline const unsigned char *shape_head(const struct shape *s,
					      unsigned int topic)
{
	return s->heads + (size_t)topic * s->head_len;
}

#endif
