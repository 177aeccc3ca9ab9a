/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Listening sockets. What they accept becomes a client (client.h).
 */
#ifndef _KMQTTD_LISTENER_H_
#define _KMQTTD_LISTENER_H_

#include "config.h"
#include "types.h"

/**
 * struct listener - one of the configuration, whatever addresses it has
 * @config: its settings
 * @number: among the listeners of the configuration
 * @addresses: those that it is to have, until they are open
 * @clients: connections that it has accepted and that still live
 */
struct listener {
	const struct config_listener *config;
	size_t number;
	struct addrinfo *addresses;
	u32 clients;
};

/*
 * Opens all listening sockets of @config, which must stay; those that this
 * process was started with (sd_listen_fds(3)) are used, the others of them
 * closed, and the service manager gets a copy, to keep them when the daemon
 * dies. 0, or -errno, which has been logged.
 */
int listener_open_all(const struct config *config);

/*
 * Whether listener_open_all() would succeed in this place, once the process that
 * this one's sockets were bequeathed by has ended; without such sockets,
 * addresses in use are taken to be that one's. Nothing is changed. To be called
 * instead.
 */
int listener_try_all(const struct config *config);

/* Begins to look for connections. */
void listener_poll_all(void);

/* To be called before each turn of the ring: accepts what has come. */
void listener_accept(void);

/* With @on, connections stay in the backlog. */
void listener_pause(bool on);

/* That which a connection came in at, or NULL. */
struct listener *listener_of(int fd);

/* To be called once a second: tries again where accepting has failed. */
void listener_tick(void);

/*
 * Leaves the sockets to the program that this process becomes next, in the way
 * of sd_listen_fds(3); without cancelling anything. Returns the number after
 * that of the last; those up to it that were others' are closed.
 */
int listener_bequeath(void);

/* In a child, between that and its program: leaves it the same sockets. */
void listener_hand_on(void);

/* How many there are. */
int listener_sockets(void);

/* Stops to accept, for good. */
void listener_close_all(void);

#endif /* _KMQTTD_LISTENER_H_ */
