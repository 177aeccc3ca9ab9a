/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The little of MQTT 3.1.1 and 5 that a load generator speaks.
 */
#ifndef BENCH_MQTT_H
#define BENCH_MQTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MQTT_CONNECT	0x10
#define MQTT_CONNACK	0x20
#define MQTT_PUBLISH	0x30
#define MQTT_PUBACK	0x40
#define MQTT_SUBSCRIBE	0x80	/* these two are sent with the flags 0x02 */
#define MQTT_UNSUBSCRIBE 0xa0
#define MQTT_SUBACK	0x90
#define MQTT_UNSUBACK	0xb0
#define MQTT_PINGREQ	0xc0
#define MQTT_PINGRESP	0xd0
#define MQTT_DISCONNECT	0xe0

#define MQTT_TYPE(byte)	((byte) & 0xf0)

/* Protocol versions, as they stand in CONNECT. */
#define MQTT_V311	4
#define MQTT_V5		5

/* Properties. */
#define MQTT_SUBSCRIPTION_ID	0x0b
#define MQTT_SESSION_EXPIRY	0x11
#define MQTT_USER_PROPERTY	0x26

#define MQTT_HEADER_MAX	5	/* type, and four bytes of length */
#define MQTT_PUBACK_LEN	4
/* Reason codes from here on. */
#define MQTT_FAILURE	0x80
#define MQTT_ID_LEN	2

struct mqtt_header {
	unsigned char type;	/* with the flags */
	unsigned int len;	/* of the header itself */
	uint32_t total;		/* of the packet, header included */
};

/*
 * Decodes a fixed header. Returns 1, 0 when more bytes are needed, or -1
 * when the length can never become valid.
 */
int mqtt_header(struct mqtt_header *h, const unsigned char *p, size_t n);

/*
 * Decodes a variable byte integer. Returns its bytes, or 0 when more are
 * needed, or -1 when it can never become valid.
 */
int mqtt_varint(uint32_t *value, const unsigned char *p, size_t n);
unsigned int mqtt_varint_len(uint32_t value);
unsigned char *mqtt_put_varint(unsigned char *p, uint32_t value);
unsigned char *mqtt_put_string(unsigned char *p, const char *s);

static inline uint16_t mqtt_id(const unsigned char *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void mqtt_put_id(unsigned char *p, uint16_t id)
{
	p[0] = (unsigned char)(id >> 8);
	p[1] = (unsigned char)id;
}

/* The filters of one SUBSCRIBE or UNSUBSCRIBE, as they stand in it. */
#define MQTT_FILTERS_MAX	(48u << 10)

struct mqtt_filters {
	unsigned char type;
	uint32_t count;
	uint32_t len;
	unsigned char buf[MQTT_FILTERS_MAX];
};

/* The type is that of the packet, the same for all. */
void mqtt_add_filter(struct mqtt_filters *f, unsigned char type,
		     const char *filter, unsigned int qos);

/*
 * Each writes a packet and returns its length; @buf must have room. A session
 * that is not clean never expires.
 */
size_t mqtt_connect(unsigned char *buf, unsigned int version,
		    const char *client_id, bool clean);
size_t mqtt_puback(unsigned char *buf, uint16_t id);
/* @identifier: of the subscriptions; 0: they have none. */
size_t mqtt_filters(unsigned char *buf, unsigned int version, uint16_t id,
		    const struct mqtt_filters *f, uint32_t identifier);
size_t mqtt_pingreq(unsigned char *buf);
size_t mqtt_disconnect(unsigned char *buf);

/*
 * The length of a PUBLISH at QoS 0 up to the end of its topic, where @rest
 * bytes follow, and those bytes.
 */
size_t mqtt_publish_head_len(const char *topic, uint32_t rest);
size_t mqtt_publish_head(unsigned char *buf, const char *topic, uint32_t rest);

const char *mqtt_connack_text(unsigned int code);

#endif
