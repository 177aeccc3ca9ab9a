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
 * struct config_access - who may connect, and as whom: what
 *	per_listener_settings makes a matter of each listener
 * @allow_anonymous: let clients without a user name in
 * @anonymous_given: allow_anonymous was there
 * @allow_zero_length_clientid: let clients without an identifier in, under one
 *	that is made up
 * @auto_id_prefix: what such an identifier begins with; owned
 */
struct config_access {
	bool allow_anonymous;
	bool anonymous_given;
	bool allow_zero_length_clientid;
	char *auto_id_prefix;
};

/**
 * struct config_listener - where to listen
 * @host: address or host name, NULL for all addresses; owned
 * @port: 1 to 65535
 * @local_only: only the loopback addresses, of which one is enough; @host NULL
 * @max_connections: most clients at once, 0 for any number
 * @access: who may connect here
 */
struct config_listener {
	char *host;
	u16 port;
	bool local_only;
	u32 max_connections;
	struct config_access access;
};

/**
 * struct config - all settings, with mosquitto's defaults
 * @listeners: at least one once read; owned
 * @listener_count: how many
 * @max_keepalive: seconds; a client that asks for more, or for none, is
 *	refused; 0 lets any in
 * @max_packet_size: bytes of the largest packet that a client may send
 * @connect_timeout: seconds that a client has for its CONNECT
 * @max_inflight: most messages above QoS 0 that a client has been sent and has
 *	not acknowledged, 1 to 65535
 * @max_queued_messages: most messages that wait for a client beyond those, 0
 *	for any number
 * @max_queued_bytes: of their payloads, likewise
 * @queue_qos0: QoS 0 messages wait for a client that is not connected, too
 * @client_expiration: seconds that a session lasts without a connection, 0 for
 *	ever
 * @retain_available: clients may publish retained messages
 * @persistence: what must survive is kept on disk
 * @persistence_location: in this directory; owned
 * @persistence_file: under this name; owned
 * @log_dests: mask of enum log_dest
 * @log_types: mask of enum log_type
 * @log_facility: syslog's
 * @log_timestamp: begin lines with the time
 * @log_timestamp_format: strftime()'s, or NULL for seconds since 1970; owned
 * @log_path: file of LOG_DEST_FILE, or NULL; owned
 * @connection_messages: log who connects and disconnects
 * @pid_file: where to write the process id, or NULL; owned
 * @orphan_timeout: seconds that clients outlive a daemon that died
 * @runtime_directory: where the journal is; owned
 * @user: the user to become when started as root, or NULL to stay; owned
 */
struct config {
	struct config_listener *listeners;
	size_t listener_count;
	u32 max_keepalive;
	u32 max_packet_size;
	u32 connect_timeout;
	u32 max_inflight;
	u32 max_queued_messages;
	u64 max_queued_bytes;
	bool queue_qos0;
	s64 client_expiration;
	bool retain_available;
	bool persistence;
	char *persistence_location;
	char *persistence_file;
	unsigned int log_dests;
	unsigned int log_types;
	int log_facility;
	bool log_timestamp;
	char *log_timestamp_format;
	char *log_path;
	bool connection_messages;
	char *pid_file;
	u32 orphan_timeout;
	char *runtime_directory;
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

/* The same from the file at @path. */
int config_load(struct config *config, const char *path, u16 port);

void config_free(struct config *config);

#endif /* _KMQTTD_CONFIG_H_ */
