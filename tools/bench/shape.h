/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a packet looks like, as it is published and as it is delivered: a lead
 * (fixed header and topic, at QoS 1 a packet identifier, in MQTT 5 the
 * properties), the stamp, a body that is the same in every packet.
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

/* User properties of a PUBLISH; each takes 16 bytes. */
#define PROPERTIES_MAX	200
#define PROPERTY_LEN	16u
/* So do properties, and a subscription identifier. */
#define LEAD_MAX	(HEAD_MAX + 16 + PROPERTIES_MAX * PROPERTY_LEN)

/* First in every payload that has room for it; in this machine's order. */
struct stamp {
	uint32_t publisher;
	uint32_t seq;
	uint64_t ns;
};

/* The packets of one direction; all are of one length. */
struct form {
	uint32_t id_at;		/* where the head ends */
	uint32_t properties_at;	/* behind the packet identifier, if any */
	uint32_t stamp_at;	/* where the lead ends */
	uint32_t body_at;
	uint32_t packet_len;
	uint32_t count;		/* of leads: one for all, or one for each */
	unsigned char *leads;	/* with 0 as packet identifier */
};

struct shape {
	struct form out;	/* published */
	struct form in;		/* delivered */
	uint32_t id_len;	/* MQTT_ID_LEN or 0 */
	uint32_t stamp_len;	/* STAMP_LEN or 0 */
	uint32_t body_len;
	unsigned int topics;
	unsigned int digits;	/* of the number that ends a topic */
	const char *prefix;
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

/*
 * The identifier of a subscriber's subscription, or 0. All take as many bytes
 * on the wire.
 */
uint32_t shape_identifier(const struct options *opt, unsigned int subscriber);

/* Of the publisher or subscriber with that number. */
static inline const unsigned char *form_lead(const struct form *f,
					     unsigned int index)
{
	return f->leads + (f->count > 1 ? (size_t)index * f->stamp_at : 0);
}

#endif
