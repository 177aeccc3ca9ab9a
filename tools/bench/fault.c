// SPDX-License-Identifier: GPL-2.0
/*
 * A check that cannot fail proves nothing: with --fault the built-in broker
 * does every so often what a broker must never do, and the load generator
 * has to notice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fault.h"
#include "mqtt.h"
#include "net.h"

static const char *const names[] = {
	[FAULT_LOSS] = "loss",
	[FAULT_DUPLICATE] = "duplicate",
	[FAULT_REORDER] = "reorder",
	[FAULT_CORRUPT] = "corrupt",
	[FAULT_TOPIC] = "topic",
	[FAULT_SHORT] = "short",
	[FAULT_CLOSE] = "close",
};

enum fault_kind fault_kind_of(const char *name, size_t len)
{
	unsigned int i;

	for (i = 1; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && !strncmp(names[i], name, len))
			return (enum fault_kind)i;
	return FAULT_NONE;
}

int fault_init(struct fault *f, const struct options *opt, uint32_t packet_len)
{
	f->kind = opt->fault;
	f->every = opt->fault_every;
	f->count = 0;
	f->packet_len = packet_len;
	f->stamp_at = options_stamped(opt) ? packet_len - opt->payload : 0;
	f->held = -1;
	f->copy = malloc(packet_len);
	return f->copy ? 0 : -ENOMEM;
}

/* Sent once the publisher's next packet to this socket has overtaken it. */
static void hold(struct fault *f, int fd, const unsigned char *p)
{
	memcpy(f->copy, p, f->packet_len);
	f->held = fd;
}

static bool overtakes(const struct fault *f, int fd, const unsigned char *p)
{
	const uint32_t at = f->stamp_at;

	if (f->held != fd)
		return false;
	/* The publisher's index comes first in a stamp. */
	return !at || !memcmp(p + at, f->copy + at, sizeof(uint32_t));
}

int fault_flush(struct fault *f)
{
	int fd = f->held;

	if (fd < 0)
		return 0;
	f->held = -1;
	return net_send_all(fd, f->copy, f->packet_len);
}

static int send_flipped(struct fault *f, int fd, const unsigned char *p,
			uint32_t at)
{
	memcpy(f->copy, p, f->packet_len);
	f->copy[at] ^= 0x01;
	return net_send_all(fd, f->copy, f->packet_len);
}

/* The topic's last byte. */
static uint32_t topic_end(const unsigned char *p, uint32_t len)
{
	struct mqtt_header h;

	if (mqtt_header(&h, p, len) != 1)
		return 0;
	return h.len + 1 + p[h.len] * 256u + p[h.len + 1];
}

/* Well-formed, one byte of payload less (of the topic, if there is none). */
static int send_short(struct fault *f, int fd, const unsigned char *p)
{
	uint32_t left, len = 1;
	struct mqtt_header h;

	if (mqtt_header(&h, p, f->packet_len) != 1)
		return -EINVAL;
	left = h.total - h.len - 1;
	f->copy[0] = p[0];
	do {
		f->copy[len++] = (unsigned char)((left & 0x7f) |
						 (left > 0x7f ? 0x80 : 0));
	} while (left >>= 7);
	left = h.total - h.len - 1;
	memcpy(f->copy + len, p + h.len, left);
	return net_send_all(fd, f->copy, len + left);
}

static int send_wrong(struct fault *f, int fd, const unsigned char *p)
{
	const uint32_t len = f->packet_len;

	switch (f->kind) {
	case FAULT_LOSS:
		return 0;
	case FAULT_DUPLICATE:
		return net_send_all(fd, p, len) ?:
		       net_send_all(fd, p, len);
	case FAULT_REORDER:
		hold(f, fd, p);
		return 0;
	case FAULT_CORRUPT:
		return send_flipped(f, fd, p, len - 1);
	case FAULT_TOPIC:
		return send_flipped(f, fd, p, topic_end(p, len));
	case FAULT_SHORT:
		return send_short(f, fd, p);
	default:
		return shutdown(fd, SHUT_RDWR) ? -errno : 0;
	}
}

static int send_packet(struct fault *f, int fd, const unsigned char *p)
{
	int err;

	/* One packet at a time can be held back. */
	if (++f->count % f->every == 0 && f->held < 0)
		return send_wrong(f, fd, p);
	err = net_send_all(fd, p, f->packet_len);
	return !err && overtakes(f, fd, p) ? fault_flush(f) : err;
}

int fault_send(struct fault *f, int fd, const unsigned char *buf, size_t n)
{
	int err = 0;

	for (; n && !err; n -= f->packet_len, buf += f->packet_len)
		err = send_packet(f, fd, buf);
	return err;
}
