/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the broker is, and sockets to it.
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * A source address has some 28,000 ports. The kernel hands out every second
 * one first, at random, and searches the longer the more of them are taken:
 * so few that the last connection is as cheap as the first.
 */
#define NET_PORTS_PER_ADDRESS	1000

struct net {
	struct addrinfo *list;
	const struct addrinfo *addr;	/* the one in use */
	bool nodelay;
	bool many;	/* more connections than one source address is for */
	char name[80];	/* of the one in use, for people */
};

/* Returns 0 or an error of getaddrinfo(). */
int net_resolve(struct net *net, const char *host, unsigned int port);
void net_free(struct net *net);

/* Goes on to the host's next address; false if that was the last. */
bool net_next(struct net *net);

/* True if the address in use is one of this machine's (and namespace's). */
bool net_is_local(const struct net *net);

/*
 * Starts connecting the @index-th socket. Returns a non-blocking descriptor
 * or a negative error.
 */
int net_connect(const struct net *net, unsigned int index);

void net_set_nodelay(int fd);

/* Sends all of it on a blocking socket; 0 or a negative error. */
int net_send_all(int fd, const unsigned char *buf, size_t n);

/* Makes room for @n descriptors; 0 or a negative error. */
int net_raise_limit(unsigned int n);

#endif
