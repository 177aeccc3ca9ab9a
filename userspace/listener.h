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
 * @clients: connections that it has accepted and that still live
 */
struct listener {
	const struct config_listener *config;
	u32 clients;
};

/*
 * Opens all listening sockets of @config, which must stay; those that this
 * process was started with (sd_listen_fds(3)) are used, and the service manager
 * gets a copy, to keep them when the daemon dies. 0, or -errno, which has been
 * logged.
 */
int listener_open_all(const struct config *config);

/* Begins to accept. */
void listener_accept_all(void);

/* That of the port that a connection came to, or the first. */
struct listener *listener_of(int fd);

/* To be called once a second: tries again where accepting has failed. */
void listener_tick(void);

/*
 * Leaves the sockets to the program that this process becomes next, in the way
 * of sd_listen_fds(3); without cancelling anything.
 */
void listener_bequeath(void);

/* Stops to accept, for good. */
void listener_close_all(void);

#endif /* _KMQTTD_LISTENER_H_ */
