// SPDX-License-Identifier: GPL-2.0
/*
 * MQTT 3.1.1 packets: encoding ours, decoding fixed headers.
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
		return "not a code of MQTT 3.1.1";
	return connack_texts[code];
}

int mqtt_header(struct mqtt_header *h, const unsigned char *p, size_t n)
{
	uint32_t length = 0;
	unsigned int i;

	for (i = 1; i < MQTT_HEADER_MAX; i++) {
		if (i >= n)
			return 0;
		length |= (uint32_t)(p[i] & 0x7f) << (7 * (i - 1));
		if (p[i] & 0x80)
			continue;
		h->type = p[0];
		h->len = i + 1;
		h->total = h->len + length;
		return 1;
	}
	return -1;
}

static unsigned int length_bytes(uint32_t length)
{
	unsigned int n = 1;

	while (length >>= 7)
		n++;
	return n;
}

static unsigned char *put_header(unsigned char *p, unsigned char type,
				 uint32_t length)
{
	*p++ = type;
	do {
		*p++ = (unsigned char)((length & 0x7f) |
				       (length > 0x7f ? 0x80 : 0));
	} while (length >>= 7);
	return p;
}

static unsigned char *put_u16(unsigned char *p, unsigned int v)
{
	*p++ = (unsigned char)(v >> 8);
	*p++ = (unsigned char)v;
	return p;
}

static unsigned char *put_string(unsigned char *p, const char *s)
{
	size_t n = strlen(s);

	p = put_u16(p, (unsigned int)n);
	memcpy(p, s, n);
	return p + n;
}

/* No keepalive: nobody has to send PINGREQ. */
size_t mqtt_connect(unsigned char *buf, const char *client_id, bool clean)
{
	uint32_t length = 10 + 2 + (uint32_t)strlen(client_id);
	unsigned char *p = put_header(buf, MQTT_CONNECT, length);

	p = put_string(p, "MQTT");
	*p++ = 4;
	*p++ = clean ? 0x02 : 0;
	p = put_u16(p, 0);
	p = put_string(p, client_id);
	return (size_t)(p - buf);
}

void mqtt_add_filter(struct mqtt_filters *f, unsigned char type,
		     const char *filter, unsigned int qos)
{
	unsigned char *p = put_string(f->buf + f->len, filter);

	f->type = type;
	if (type == MQTT_SUBSCRIBE)
		*p++ = (unsigned char)qos;
	f->count++;
	f->len = (uint32_t)(p - f->buf);
}

size_t mqtt_filters(unsigned char *buf, uint16_t id,
		    const struct mqtt_filters *f)
{
	unsigned char *p = put_header(buf, f->type | 0x02, 2 + f->len);

	p = put_u16(p, id);
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

	return 1 + length_bytes(length + rest) + length;
}

size_t mqtt_publish_head(unsigned char *buf, const char *topic, uint32_t rest)
{
	uint32_t length = 2 + (uint32_t)strlen(topic) + rest;
	unsigned char *p = put_header(buf, MQTT_PUBLISH, length);

	p = put_string(p, topic);
	return (size_t)(p - buf);
}
