// SPDX-License-Identifier: GPL-2.0
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "kmod.h"
#include "log.h"
#include "notify.h"
#include "ring.h"

/* The system's somaxconn bounds it. */
#define BACKLOG		4096
/* Seconds between two complaints about failing to accept. */
#define COMPLAIN_EVERY	10

/**
 * struct listen_socket - one address of a listener
 * @link: among all
 * @op: polls
 * @listener: whose address it is
 * @fd: the socket
 * @polling: @op is under way
 * @ready: there may be connections in its backlog
 */
struct listen_socket {
	SLIST_ENTRY(listen_socket) link;
	struct ring_op op;
	struct listener *listener;
	int fd;
	bool polling;
	bool ready;
};

static SLIST_HEAD(, listen_socket) sockets = SLIST_HEAD_INITIALIZER(sockets);
static bool closing, paused;
static u32 left;	/* connections that may still come in this second */
static unsigned int quiet;	/* seconds without a complaint left */

/*
 * A descriptor in hand for the time when there are none left: closing it makes
 * room for a connection, which is accepted to be closed. Otherwise it would
 * wait in the backlog, and its client would wait for an answer.
 */
static int reserve = -1;

static void take_reserve(void)
{
	reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void poll_socket(struct listen_socket *socket)
{
	socket->polling = true;
	ring_poll_in_multishot(&socket->op, socket->fd);
}

static void complain(int err)
{
	if (quiet)
		return;
	quiet = COMPLAIN_EVERY;
	if (err == -EMFILE || err == -ENFILE)
		log_print(LOG_TYPE_WARNING,
			  "Unable to accept new connection, system socket count has been exceeded. Try increasing \"ulimit -n\" or equivalent.");
	else
		log_print(LOG_TYPE_WARNING,
			  "Unable to accept new connection: %s.",
			  strerror(-err));
}

/* Is there any sense in trying again at once? */
static bool recover(int err)
{
	if (err == -ECONNABORTED || err == -EINTR)
		return true;
	complain(err);
	if ((err != -EMFILE && err != -ENFILE) || reserve < 0)
		return false;
	close(reserve);
	reserve = -1;
	return true;
}

static void admit(struct listener *listener, int fd)
{
	if (reserve < 0) {
		close(fd);
		take_reserve();
	} else {
		client_accept(listener, fd);
	}
}

/*
 * The ring could accept, too, but what it has accepted would be closed with it
 * if the daemon were killed before it has seen that. So, the next system call
 * makes it the module's, from which the next daemon takes it.
 */
static bool accept_one(struct listen_socket *socket)
{
	int fd = accept4(socket->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0) {
		if (left)
			left--;
		admit(socket->listener, fd);
		return true;
	}
	if (errno == EAGAIN || !recover(-errno))
		socket->ready = false;
	return socket->ready;
}

static void poll_done(struct ring_op *op, const struct ring_result *result)
{
	struct listen_socket *socket =
		container_of(op, struct listen_socket, op);

	socket->polling = result->more;
	if (result->res > 0)
		socket->ready = true;
	if (socket->polling)
		return;
	if (closing)
		close(socket->fd);
	else if (result->res > 0)
		poll_socket(socket);
}

/* Of sd_listen_fds(3): the first descriptor. */
#define INHERITED	3

/* How many sockets this process was started with. */
static int inherited_count(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *fds = getenv("LISTEN_FDS");

	if (!pid || !fds || atoi(pid) != getpid())
		return 0;
	return atoi(fds);
}

/* Does the socket listen there? Its backlog may hold clients already. */
static bool listens_at(int fd, const struct addrinfo *address)
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own), int_len = sizeof(int);
	int listening = 0;

	if (getsockname(fd, (struct sockaddr *)&own, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &int_len) ||
	    !listening || own.ss_family != address->ai_family)
		return false;
	if (own.ss_family == AF_INET) {
		const struct sockaddr_in *a = (void *)&own;
		const struct sockaddr_in *b = (void *)address->ai_addr;

		return a->sin_port == b->sin_port &&
		       a->sin_addr.s_addr == b->sin_addr.s_addr;
	} else {
		const struct sockaddr_in6 *a = (void *)&own;
		const struct sockaddr_in6 *b = (void *)address->ai_addr;

		return a->sin6_port == b->sin6_port &&
		       IN6_ARE_ADDR_EQUAL(&a->sin6_addr, &b->sin6_addr);
	}
}

/* A socket that this process was started with, or -1. */
static int inherit(const struct addrinfo *address)
{
	int fd, count = inherited_count();

	for (fd = INHERITED; fd < INHERITED + count; fd++) {
		if (!listens_at(fd, address))
			continue;
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		/* Whom it is shared with is another kmqttd, or only keeps it. */
		fcntl(fd, F_SETFL, O_NONBLOCK);
		return fd;
	}
	return -1;
}

/* A daemon that was just killed lets go of the address a moment later. */
static int bind_patiently(int fd, const struct addrinfo *address)
{
	const struct timespec moment = { .tv_nsec = 10000000 };
	unsigned int tries = 100;
	int ret;

	do {
		ret = bind(fd, address->ai_addr, address->ai_addrlen);
	} while (ret && errno == EADDRINUSE && --tries &&
		 !nanosleep(&moment, NULL));
	return ret;
}

static int listen_at(const struct addrinfo *address)
{
	const struct sockaddr_in6 *ipv6 = (void *)address->ai_addr;
	int one = 1, v6only;
	int fd, err;

	fd = socket(address->ai_family,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (address->ai_family == AF_INET6) {
		/* A mapped address is IPv4 after all. */
		v6only = !IN6_IS_ADDR_V4MAPPED(&ipv6->sin6_addr);
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only,
			   sizeof(v6only));
	}
	if (bind_patiently(fd, address) || listen(fd, BACKLOG)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int open_address(struct listener *listener,
			const struct addrinfo *address)
{
	struct listen_socket *socket;
	int fd;

	log_print(LOG_TYPE_INFORMATION,
		  "Opening %s listen socket on port %u.",
		  address->ai_family == AF_INET ? "ipv4" : "ipv6",
		  listener->config->port);
	socket = malloc(sizeof(*socket));
	fd = socket ? inherit(address) : -ENOMEM;
	if (fd == -1)
		fd = listen_at(address);
	if (fd < 0) {
		log_print(LOG_TYPE_ERROR, "Error: %s", strerror(-fd));
		free(socket);
		return fd;
	}
	*socket = (struct listen_socket){
		.op.done = poll_done,
		.listener = listener,
		.fd = fd,
	};
	SLIST_INSERT_HEAD(&sockets, socket, link);
	notify_descriptor("FDSTORE=1\nFDNAME=listen", fd);
	return 0;
}

/*
 * Without a host, the resolver answers with the addresses for all interfaces,
 * or for the loopback one, of IPv4 and of IPv6.
 */
static int open_listener(struct listener *listener)
{
	const struct config_listener *config = listener->config;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *addresses, *address;
	unsigned int opened = 0;
	char port[8];
	int err;

	if (!config->local_only)
		hints.ai_flags = AI_PASSIVE;
	snprintf(port, sizeof(port), "%u", config->port);
	err = getaddrinfo(config->host, port, &hints, &addresses);
	if (err) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to resolve listener address %s: %s.",
			  config->host ? config->host : "", gai_strerror(err));
		return -EADDRNOTAVAIL;
	}

	err = 0;
	for (address = addresses; address; address = address->ai_next) {
		err = open_address(listener, address);
		if (!err)
			opened++;
		/* A machine without IPv6 is not an error. */
		else if (!config->local_only && err != -EAFNOSUPPORT)
			break;
		else if (opened || address->ai_next)
			err = 0;
	}
	freeaddrinfo(addresses);
	return err;
}

int listener_open_all(const struct config *config)
{
	struct listener *listeners;
	size_t i;
	int err = 0;

	left = config->max_connection_rate;
	listeners = calloc(config->listener_count, sizeof(*listeners));
	if (!listeners)
		return -ENOMEM;
	for (i = 0; !err && i < config->listener_count; i++) {
		listeners[i].number = i;
		listeners[i].config = &config->listeners[i];
		err = open_listener(&listeners[i]);
	}
	take_reserve();
	return err;
}

/* Whether what came in at @own came in at the socket bound to @bound. */
static bool came_in(const struct sockaddr_in6 *own,
		    const struct sockaddr_in6 *bound)
{
	const struct sockaddr_in *own4 = (const void *)own;
	const struct sockaddr_in *bound4 = (const void *)bound;

	/* Both families have the port in the same place. */
	if (own->sin6_family != bound->sin6_family ||
	    own->sin6_port != bound->sin6_port)
		return false;
	if (own->sin6_family == AF_INET)
		return bound4->sin_addr.s_addr == INADDR_ANY ||
		       own4->sin_addr.s_addr == bound4->sin_addr.s_addr;
	return IN6_IS_ADDR_UNSPECIFIED(&bound->sin6_addr) ||
	       IN6_ARE_ADDR_EQUAL(&own->sin6_addr, &bound->sin6_addr);
}

struct listener *listener_of(int fd)
{
	struct sockaddr_in6 own = { 0 }, bound = { 0 };
	struct listen_socket *socket;
	socklen_t len = sizeof(own);

	if (getsockname(fd, (struct sockaddr *)&own, &len))
		return NULL;
	SLIST_FOREACH(socket, &sockets, link) {
		len = sizeof(bound);
		if (!getsockname(socket->fd, (struct sockaddr *)&bound, &len) &&
		    came_in(&own, &bound))
			return socket->listener;
	}
	return NULL;
}

void listener_poll_all(void)
{
	struct listen_socket *socket;

	SLIST_FOREACH(socket, &sockets, link)
		if (!socket->polling)
			poll_socket(socket);
}

/* What is too much for this second, or for the module, waits in the backlog. */
static bool may_accept(void)
{
	return !closing && !paused && kmod_has_room() &&
	       (left || !client_config->max_connection_rate);
}

void listener_accept(void)
{
	struct listen_socket *socket;

	SLIST_FOREACH(socket, &sockets, link)
		while (socket->ready && may_accept() && accept_one(socket))
			;
}

void listener_pause(bool on)
{
	paused = on;
}

void listener_tick(void)
{
	struct listen_socket *socket;

	if (quiet)
		quiet--;
	left = client_config->max_connection_rate;
	if (closing)
		return;
	if (reserve < 0)
		take_reserve();
	/* Where it has failed, too. */
	SLIST_FOREACH(socket, &sockets, link)
		socket->ready = true;
	listener_poll_all();
}

static void cancel_done(struct ring_op *op, const struct ring_result *result)
{
	(void)op;
	(void)result;
}

int listener_sockets(void)
{
	struct listen_socket *socket;
	int count = 0;

	SLIST_FOREACH(socket, &sockets, link)
		count++;
	return count;
}

int listener_bequeath(void)
{
	struct listen_socket *socket;
	char count[12], pid[12];
	int fd = INHERITED;

	/* They may have each other's numbers: up first, then down. */
	SLIST_FOREACH(socket, &sockets, link)
		socket->fd = fcntl(socket->fd, F_DUPFD_CLOEXEC,
				   INHERITED + listener_sockets());
	SLIST_FOREACH(socket, &sockets, link)
		if (socket->fd >= 0 && dup2(socket->fd, fd) == fd)
			fd++;
	snprintf(count, sizeof(count), "%d", fd - INHERITED);
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_FDS", count, 1);
	setenv("LISTEN_PID", pid, 1);
	return fd;
}

void listener_close_all(void)
{
	static struct ring_op cancel = { .done = cancel_done };
	struct listen_socket *socket;

	closing = true;
	SLIST_FOREACH(socket, &sockets, link) {
		if (socket->polling)
			ring_cancel(&cancel, &socket->op);
		else
			close(socket->fd);
	}
}
