/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The configuration: a file in the syntax of mosquitto.conf. What mosquitto
 * knows and kmqttd does not is an error, never ignored.
 */
#ifndef _KMQTTD_CONFIG_H_
#define _KMQTTD_CONFIG_H_

#include <stdio.h>

#include "types.h"

/**
 * struct config_listener - where to listen
 * @host: address or host name, NULL for all addresses; owned
 * @port: 1 to 65535
 * @local_only: only the loopback addresses, of which one is enough; @host NULL
 * @max_connections: most clients at once, 0 for any number
 */
struct config_listener {
	char *host;
	u16 port;
	bool local_only;
	u32 max_connections;
};

/**
 * struct config - all settings, with mosquitto's defaults
 * @listeners: at least one once read; owned
 * @listener_count: how many
 * @allow_anonymous: let clients without a user name in
 * @max_keepalive: seconds; a client that asks for more, or for none, is
 *	refused; 0 lets any in
 * @max_packet_size: bytes of the largest packet that a client may send
 * @connect_timeout: seconds that a client has for its CONNECT
 * @log_dests: mask of enum log_dest
 * @log_types: mask of enum log_type
 * @log_timestamp: begin lines with the time
 * @log_path: file of LOG_DEST_FILE, or NULL; owned
 * @pid_file: where to write the process id, or NULL; owned
 * @user: the user to become when started as root, or NULL to stay; owned
 */
struct config {
	struct config_listener *listeners;
	size_t listener_count;
	bool allow_anonymous;
	u16 max_keepalive;
	u32 max_packet_size;
	u32 connect_timeout;
	unsigned int log_dests;
	unsigned int log_types;
	bool log_timestamp;
	char *log_path;
	char *pid_file;
	char *user;
};

/*
 * Reads a configuration from @file, named @name in messages, or the defaults
 * when @file is NULL. @port is that of the loopback listener which there is
 * when none is configured.
 *
 * 0, or -EINVAL or -ENOMEM, which has been logged as mosquitto does it. Either
 * way @config is the caller's to free.
 */
int config_read(struct config *config, FILE *file, const char *name, u16 port);

/* The same from the file at @path; also -errno when it cannot be opened. */
int config_load(struct config *config, const char *path, u16 port);

void config_free(struct config *config);

#endif /* _KMQTTD_CONFIG_H_ */
