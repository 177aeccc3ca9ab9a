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
/* What the manager is to call the sockets. */
#define STORE_NAME	"listen"

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

/* The sockets that this process was started with; -1: taken over, or closed. */
static struct {
	int *fds;
	int count;
} inherited;

static int inherit_all(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *fds = getenv("LISTEN_FDS");
	int i;

	if (!pid || !fds || atoi(pid) != getpid() || atoi(fds) <= 0)
		return 0;
	inherited.fds = calloc(atoi(fds), sizeof(*inherited.fds));
	if (!inherited.fds)
		return -ENOMEM;
	inherited.count = atoi(fds);
	for (i = 0; i < inherited.count; i++)
		inherited.fds[i] = INHERITED + i;
	return 0;
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
	int i, fd;

	for (i = 0; i < inherited.count; i++) {
		fd = inherited.fds[i];
		if (fd < 0 || !listens_at(fd, address))
			continue;
		inherited.fds[i] = -1;
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		/* Whom it is shared with is another kmqttd, or only keeps it. */
		fcntl(fd, F_SETFL, O_NONBLOCK);
		return fd;
	}
	return -1;
}

static struct listen_socket *add_socket(struct listener *listener, int fd)
{
	struct listen_socket *socket = malloc(sizeof(*socket));

	if (!socket)
		return NULL;
	*socket = (struct listen_socket){
		.op.done = poll_done,
		.listener = listener,
		.fd = fd,
	};
	SLIST_INSERT_HEAD(&sockets, socket, link);
	return socket;
}

static int take_over(struct listener *listener)
{
	const struct addrinfo *address;
	int fd;

	for (address = listener->addresses; address;
	     address = address->ai_next) {
		fd = inherit(address);
		if (fd >= 0 && !add_socket(listener, fd))
			return -ENOMEM;
	}
	return 0;
}

static struct listen_socket *find_socket(const struct listener *listener,
					 const struct addrinfo *address)
{
	struct listen_socket *socket;

	SLIST_FOREACH(socket, &sockets, link)
		if (socket->listener == listener &&
		    listens_at(socket->fd, address))
			return socket;
	return NULL;
}

static u64 identity(int fd)
{
	socklen_t len = sizeof(u64);
	u64 cookie = 0;

	getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
	return cookie;
}

/* The manager may have given one that it keeps, and its own. */
static bool is_taken_over(int fd)
{
	struct listen_socket *socket;

	SLIST_FOREACH(socket, &sockets, link)
		if (identity(socket->fd) == identity(fd))
			return true;
	return false;
}

/*
 * Nobody would accept there, and the address may be in the way of another. The
 * manager forgets all that it keeps, and is given again what is still used.
 */
static void close_inherited(void)
{
	bool forget = false;
	int i, fd;

	for (i = 0; i < inherited.count; i++) {
		fd = inherited.fds[i];
		if (fd < 0)
			continue;
		forget |= !is_taken_over(fd);
		close(fd);
	}
	if (!forget)
		return;
	log_print(LOG_TYPE_NOTICE,
		  "Closed listen sockets that the configuration does not name any more.");
	notify("FDSTOREREMOVE=1\nFDNAME=" STORE_NAME);
}

/*
 * A daemon that was just killed lets go of the address a moment later; one that
 * has handed over, and the manager, of another one that is in the way, too.
 */
static int bind_patiently(int fd, const struct addrinfo *address)
{
	const struct timespec moment = { .tv_nsec = 10000000 };
	unsigned int tries = inherited.count ? 1000 : 100;
	int ret;

	do {
		ret = bind(fd, address->ai_addr, address->ai_addrlen);
	} while (ret && errno == EADDRINUSE && --tries &&
		 !nanosleep(&moment, NULL));
	return ret;
}

static int make_socket(const struct addrinfo *address)
{
	const struct sockaddr_in6 *ipv6 = (void *)address->ai_addr;
	int one = 1, v6only;
	int fd;

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
	return fd;
}

static int listen_at(const struct addrinfo *address)
{
	int fd = make_socket(address);
	int err;

	if (fd < 0)
		return fd;
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
	struct listen_socket *socket = find_socket(listener, address);
	int fd;

	log_print(LOG_TYPE_INFORMATION,
		  "Opening %s listen socket on port %u.",
		  address->ai_family == AF_INET ? "ipv4" : "ipv6",
		  listener->config->port);
	if (!socket) {
		fd = listen_at(address);
		if (fd < 0)
			return fd;
		socket = add_socket(listener, fd);
		if (!socket) {
			close(fd);
			return -ENOMEM;
		}
	}
	notify_descriptor("FDSTORE=1\nFDNAME=" STORE_NAME, socket->fd);
	return 0;
}

/*
 * Whether what is in use there will be closed: by whoever this process is a test
 * for. If that is unknown, whoever it is.
 */
static bool will_be_free(const struct addrinfo *address)
{
	const struct sockaddr_in *wanted = (void *)address->ai_addr;
	struct sockaddr_in6 own;
	socklen_t len;
	int i;

	for (i = 0; i < inherited.count; i++) {
		len = sizeof(own);
		/* Both families have the port in the same place. */
		if (inherited.fds[i] >= 0 &&
		    !getsockname(inherited.fds[i], (struct sockaddr *)&own,
				 &len) &&
		    own.sin6_port == wanted->sin_port)
			return true;
	}
	return !inherited.count;
}

static int try_address(struct listener *listener,
		       const struct addrinfo *address)
{
	int fd, err = 0;

	if (find_socket(listener, address))
		return 0;
	fd = make_socket(address);
	if (fd < 0)
		return fd;
	if (bind(fd, address->ai_addr, address->ai_addrlen))
		err = -errno;
	close(fd);
	return err == -EADDRINUSE && will_be_free(address) ? 0 : err;
}

/*
 * Without a host, the resolver answers with the addresses for all interfaces,
 * or for the loopback one, of IPv4 and of IPv6.
 */
static int resolve(struct listener *listener)
{
	const struct config_listener *config = listener->config;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	char port[8];
	int err;

	if (!config->local_only)
		hints.ai_flags = AI_PASSIVE;
	snprintf(port, sizeof(port), "%u", config->port);
	err = getaddrinfo(config->host, port, &hints, &listener->addresses);
	if (!err)
		return 0;
	log_print(LOG_TYPE_ERROR,
		  "Error: Unable to resolve listener address %s: %s.",
		  config->host ? config->host : "", gai_strerror(err));
	listener->addresses = NULL;
	return -EADDRNOTAVAIL;
}

typedef int (*address_function)(struct listener *listener,
				const struct addrinfo *address);

/* Calls @function with the addresses that a listener is to have. */
static int each_address(struct listener *listener, address_function function)
{
	bool local_only = listener->config->local_only;
	const struct addrinfo *address;
	unsigned int opened = 0;
	int err = 0;

	for (address = listener->addresses; address;
	     address = address->ai_next) {
		err = function(listener, address);
		if (!err) {
			opened++;
			continue;
		}
		log_print(LOG_TYPE_ERROR, "Error: %s", strerror(-err));
		/* A machine without IPv6 is not an error. */
		if (!local_only && err != -EAFNOSUPPORT)
			break;
		if (opened || address->ai_next)
			err = 0;
	}
	return err;
}

/* All that there are of @config, with the sockets that are there already. */
static int make_listeners(const struct config *config,
			  struct listener **listeners)
{
	int err = inherit_all();
	size_t i;

	*listeners = calloc(config->listener_count, sizeof(**listeners));
	if (!*listeners)
		return -ENOMEM;
	for (i = 0; !err && i < config->listener_count; i++) {
		(*listeners)[i].number = i;
		(*listeners)[i].config = &config->listeners[i];
		err = resolve(&(*listeners)[i]);
		if (!err)
			err = take_over(&(*listeners)[i]);
	}
	return err;
}

static int open_each(const struct config *config, struct listener *listeners,
		     address_function function)
{
	int err = 0;
	size_t i;

	for (i = 0; !err && i < config->listener_count; i++)
		err = each_address(&listeners[i], function);
	for (i = 0; i < config->listener_count; i++) {
		if (listeners[i].addresses)
			freeaddrinfo(listeners[i].addresses);
		listeners[i].addresses = NULL;
	}
	return err;
}

int listener_open_all(const struct config *config)
{
	struct listener *listeners;
	int err = make_listeners(config, &listeners);

	left = config->max_connection_rate;
	if (!err) {
		close_inherited();
		err = open_each(config, listeners, open_address);
	}
	take_reserve();
	return err;
}

int listener_try_all(const struct config *config)
{
	struct listener *listeners;
	int err = make_listeners(config, &listeners);

	return err ? err : open_each(config, listeners, try_address);
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

void listener_hand_on(void)
{
	char pid[12];

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
}

int listener_bequeath(void)
{
	struct listen_socket *socket;
	char count[12];
	int fd = INHERITED;

	/* They may have each other's numbers: up first, then down. */
	SLIST_FOREACH(socket, &sockets, link)
		socket->fd = fcntl(socket->fd, F_DUPFD_CLOEXEC,
				   INHERITED + listener_sockets());
	SLIST_FOREACH(socket, &sockets, link)
		if (socket->fd >= 0 && dup2(socket->fd, fd) == fd)
			fd++;
	snprintf(count, sizeof(count), "%d", fd - INHERITED);
	setenv("LISTEN_FDS", count, 1);
	listener_hand_on();
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
