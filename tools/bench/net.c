// SPDX-License-Identifier: GPL-2.0
/*
 * Sockets: addresses, options, limits.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

static void set_name(struct net *net)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	bool six = net->addr->ai_family == AF_INET6;

	if (getnameinfo(net->addr->ai_addr, net->addr->ai_addrlen,
			host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV)) {
		strcpy(net->name, "?");
		return;
	}
	snprintf(net->name, sizeof(net->name), six ? "[%.60s]:%.8s" :
		 "%.60s:%.8s", host, port);
}

int net_resolve(struct net *net, const char *host, unsigned int port)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV,
	};
	char service[16];
	int err;

	snprintf(service, sizeof(service), "%u", port);
	err = getaddrinfo(host, service, &hints, &net->list);
	if (err)
		return err;
	net->addr = net->list;
	set_name(net);
	return 0;
}

void net_free(struct net *net)
{
	if (net->list)
		freeaddrinfo(net->list);
	net->list = NULL;
}

bool net_next(struct net *net)
{
	if (!net->addr->ai_next)
		return false;
	net->addr = net->addr->ai_next;
	set_name(net);
	return true;
}

/* Only local addresses can be bound to. */
bool net_is_local(const struct net *net)
{
	struct sockaddr_storage ss;
	int fd, err;

	memcpy(&ss, net->addr->ai_addr, net->addr->ai_addrlen);
	/* The port is at the same place in both families. */
	((struct sockaddr_in *)&ss)->sin_port = 0;
	fd = socket(net->addr->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	err = bind(fd, (struct sockaddr *)&ss, net->addr->ai_addrlen);
	close(fd);
	return !err;
}

static bool is_loopback4(const struct net *net)
{
	const struct sockaddr_in *sin = (void *)net->addr->ai_addr;

	return net->addr->ai_family == AF_INET &&
	       ntohl(sin->sin_addr.s_addr) >> 24 == 127;
}

/* 127.0.0.1, 127.0.0.2...: each has ports of its own. */
static int bind_source(int fd, unsigned int index)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	uint32_t n = 1 + index / NET_PORTS_PER_ADDRESS;
	int one = 1;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + n);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&sin, sizeof(sin)) ? -errno : 0;
}

void net_set_nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static int start_connecting(const struct net *net, int fd, unsigned int index)
{
	int err = 0;

	if (net->nodelay)
		net_set_nodelay(fd);
	if (net->many && is_loopback4(net))
		err = bind_source(fd, index);
	if (err)
		return err;
	err = connect(fd, net->addr->ai_addr, net->addr->ai_addrlen);
	return err && errno != EINPROGRESS ? -errno : 0;
}

int net_connect(const struct net *net, unsigned int index)
{
	int fd = socket(net->addr->ai_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = start_connecting(net, fd, index);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int net_send_all(int fd, const unsigned char *buf, size_t n)
{
	ssize_t sent;

	while (n) {
		sent = send(fd, buf, n, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		buf += sent;
		n -= (size_t)sent;
	}
	return 0;
}

int net_raise_limit(unsigned int n)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return -errno;
	if (lim.rlim_cur >= n)
		return 0;
	lim.rlim_cur = n;
	/* Needs privilege; without it the error says what is missing. */
	if (lim.rlim_max < n)
		lim.rlim_max = n;
	return setrlimit(RLIMIT_NOFILE, &lim) ? -errno : 0;
}
