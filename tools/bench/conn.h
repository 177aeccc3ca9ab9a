/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One connection to the broker, a subscriber's or a publisher's.
 */
#ifndef BENCH_CONN_H
#define BENCH_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "load.h"
#include "shape.h"

struct run;
struct mqtt_filters;

/* The letter that client ids have. */
enum conn_role {
	ROLE_SUBSCRIBER = 's',
	ROLE_PUBLISHER = 'p',
	ROLE_STALLED = 'z',	/* subscribes, then stops reading */
	ROLE_CLIENT = 'c',	/* neither: it is asked for requests */
};

enum conn_state {
	CONN_CLOSED,
	CONN_CONNECTING,
	CONN_WAIT_CONNACK,
	CONN_WAIT_SUBACK,
	CONN_WAIT_UNSUBACK,
	CONN_WAIT_PINGRESP,
	CONN_WAIT_END,
	CONN_READY,
};

/* Messages written as one, as far as they did not fit the socket. */
struct unsent {
	uint32_t seq;
	uint32_t packets;	/* 0: nothing is unsent */
	uint32_t number;	/* of the first, among the publisher's own */
	uint64_t ns;
	uint64_t done;		/* bytes */
};

struct conn {
	int fd;
	uint8_t state;
	uint8_t role;
	bool body_bad;		/* of the PUBLISH that is arriving */
	uint32_t index;		/* among those of its role */
	uint32_t asked;		/* filters that SUBACK is due for */
	uint64_t asked_ns;	/* when the request was made */
	uint32_t body_left;	/* bytes of its body still to come */
	uint32_t skip;		/* bytes of a refused packet still to come */
	uint32_t carried;
	uint32_t published;	/* messages */
	uint32_t acked;		/* of those, at QoS 1 */
	uint16_t id;		/* of the PUBLISH that is arriving */
	const unsigned char *lead;	/* of every packet */
	struct view view;
	struct stamp stamp;	/* of the PUBLISH that is arriving */
	struct unsent unsent;
	/* The beginning of a packet: at most a lead and a stamp. */
	unsigned char *carry;
};

/* Removes durable sessions: by connecting once more, with a clean one. */
void conn_forget_all(struct run *run);

/* Opens all connections, a bounded number at a time. False: it failed. */
bool conn_open_all(struct run *run);
void conn_close_all(struct run *run);

/* Requests. While a sweep runs, it is told when they have been answered. */
void conn_open(struct run *run, uint32_t i);
void conn_ping(struct run *run, struct conn *c);
void conn_ask(struct run *run, struct conn *c, const struct mqtt_filters *f);
void conn_disconnect(struct run *run, struct conn *c);

/* Handles what epoll reported. */
void conn_event(struct run *run, struct conn *c, uint32_t events);

/* May a packet that is not PUBLISH come now? */
bool conn_expects(const struct conn *c, unsigned char type);

/* It came, whole. */
void conn_control(struct run *run, struct conn *c, const unsigned char *p,
		  uint32_t len);

/* Something came that is no MQTT (@len 0), or has no business here. */
void conn_nonsense(struct run *run, const struct conn *c, unsigned char type,
		   uint32_t len);

/* Of a publisher's n-th message: one in use does not come round so soon. */
static inline uint16_t conn_packet_id(uint32_t n)
{
	return (uint16_t)(n % UINT16_MAX + 1);
}

/* Answers what one read has brought, in one write. */
void conn_send_acks(struct run *run, struct conn *c, const unsigned char *buf,
		    size_t len);

/* Of the protocol. */
static inline unsigned int conn_version(const struct options *opt,
					const struct conn *c)
{
	return c->role == ROLE_PUBLISHER ? opt->publisher_version :
					   opt->subscriber_version;
}

/* @buf has CLIENT_ID_MAX bytes. */
#define CLIENT_ID_MAX	24
void conn_client_id(const struct conn *c, char *buf);

#endif
