// SPDX-License-Identifier: GPL-2.0
/*
 * MQTT packets: encoding ours, decoding fixed headers.
 */
#include <string.h>

#include "mqtt.h"

static const char *const connack_texts[] = {
	"accepted",
	"unacceptable protocol version",
	"client identifier rejected",
	"server unavailable",
	"bad user name or password",
	"not authorised",
};

const char *mqtt_connack_text(unsigned int code)
{
	if (code >= sizeof(connack_texts) / sizeof(connack_texts[0]))
		return "see the specification";
	return connack_texts[code];
}

int mqtt_varint(uint32_t *value, const unsigned char *p, size_t n)
{
	uint32_t v = 0;
	unsigned int i;

	for (i = 0; i < MQTT_HEADER_MAX - 1; i++) {
		if (i >= n)
			return 0;
		v |= (uint32_t)(p[i] & 0x7f) << (7 * i);
		if (p[i] & 0x80)
			continue;
		*value = v;
		return (int)i + 1;
	}
	return -1;
}

unsigned int mqtt_varint_len(uint32_t value)
{
	unsigned int n = 1;

	while (value >>= 7)
		n++;
	return n;
}

unsigned char *mqtt_put_varint(unsigned char *p, uint32_t value)
{
	do {
		*p++ = (unsigned char)((value & 0x7f) |
				       (value > 0x7f ? 0x80 : 0));
	} while (value >>= 7);
	return p;
}

int mqtt_header(struct mqtt_header *h, const unsigned char *p, size_t n)
{
	uint32_t length;
	int n_length;

	if (n < 2)
		return 0;
	n_length = mqtt_varint(&length, p + 1, n - 1);
	if (n_length <= 0)
		return n_length;
	h->type = p[0];
	h->len = 1 + (unsigned int)n_length;
	h->total = h->len + length;
	return 1;
}

static unsigned char *put_header(unsigned char *p, unsigned char type,
				 uint32_t length)
{
	*p++ = type;
	return mqtt_put_varint(p, length);
}

static unsigned char *put_u16(unsigned char *p, unsigned int v)
{
	*p++ = (unsigned char)(v >> 8);
	*p++ = (unsigned char)v;
	return p;
}

unsigned char *mqtt_put_string(unsigned char *p, const char *s)
{
	size_t n = strlen(s);

	p = put_u16(p, (unsigned int)n);
	memcpy(p, s, n);
	return p + n;
}

static unsigned char *put_connect_properties(unsigned char *p, bool clean)
{
	if (clean)
		return mqtt_put_varint(p, 0);
	p = mqtt_put_varint(p, 5);
	*p++ = MQTT_SESSION_EXPIRY;
	memset(p, 0xff, 4);
	return p + 4;
}

/* No keepalive: nobody has to send PINGREQ. */
size_t mqtt_connect(unsigned char *buf, unsigned int version,
		    const char *client_id, bool clean)
{
	unsigned char properties[8];
	size_t n = version == MQTT_V5 ?
		   (size_t)(put_connect_properties(properties, clean) -
			    properties) : 0;
	size_t length = 10 + n + 2 + strlen(client_id);
	unsigned char *p = put_header(buf, MQTT_CONNECT, (uint32_t)length);

	p = mqtt_put_string(p, "MQTT");
	*p++ = (unsigned char)version;
	*p++ = clean ? 0x02 : 0;
	p = put_u16(p, 0);
	memcpy(p, properties, n);
	p = mqtt_put_string(p + n, client_id);
	return (size_t)(p - buf);
}

void mqtt_add_filter(struct mqtt_filters *f, unsigned char type,
		     const char *filter, unsigned int qos)
{
	unsigned char *p = mqtt_put_string(f->buf + f->len, filter);

	f->type = type;
	if (type == MQTT_SUBSCRIBE)
		*p++ = (unsigned char)qos;
	f->count++;
	f->len = (uint32_t)(p - f->buf);
}

size_t mqtt_filters(unsigned char *buf, unsigned int version, uint16_t id,
		    const struct mqtt_filters *f, uint32_t identifier)
{
	uint32_t n = identifier ? 1 + mqtt_varint_len(identifier) : 0;
	uint32_t length = 2 + (version == MQTT_V5 ? 1 + n : 0) + f->len;
	unsigned char *p = put_header(buf, f->type | 0x02, length);

	p = put_u16(p, id);
	if (version == MQTT_V5)
		p = mqtt_put_varint(p, n);
	if (version == MQTT_V5 && identifier) {
		*p++ = MQTT_SUBSCRIPTION_ID;
		p = mqtt_put_varint(p, identifier);
	}
	memcpy(p, f->buf, f->len);
	return (size_t)(p - buf) + f->len;
}

size_t mqtt_pingreq(unsigned char *buf)
{
	return (size_t)(put_header(buf, MQTT_PINGREQ, 0) - buf);
}

size_t mqtt_disconnect(unsigned char *buf)
{
	return (size_t)(put_header(buf, MQTT_DISCONNECT, 0) - buf);
}

size_t mqtt_puback(unsigned char *buf, uint16_t id)
{
	return (size_t)(put_u16(put_header(buf, MQTT_PUBACK, 2), id) - buf);
}

size_t mqtt_publish_head_len(const char *topic, uint32_t rest)
{
	uint32_t length = 2 + (uint32_t)strlen(topic);

	return 1 + mqtt_varint_len(length + rest) + length;
}

size_t mqtt_publish_head(unsigned char *buf, const char *topic, uint32_t rest)
{
	uint32_t length = 2 + (uint32_t)strlen(topic) + rest;
	unsigned char *p = put_header(buf, MQTT_PUBLISH, length);

	p = mqtt_put_string(p, topic);
	return (size_t)(p - buf);
}
