/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The configuration: a file in the syntax of mosquitto.conf. What mosquitto
 * knows and kmqttd does not is an error, never ignored.
 */
#ifndef _KMQTTD_CONFIG_H_
#define _KMQTTD_CONFIG_H_

#include <stdio.h>

#include "types.h"

struct users;

/**
 * struct config_access - who may connect, and as whom: what
 *	per_listener_settings makes a matter of each listener
 * @allow_anonymous: let clients without a user name in
 * @anonymous_given: allow_anonymous was there
 * @allow_zero_length_clientid: let clients without an identifier in, under one
 *	that is made up
 * @auto_id_prefix: what such an identifier begins with; owned
 * @password_file: path of the users' passwords, or NULL: then no user name is
 *	checked; owned
 * @users: what is in it, or NULL; a reference
 * @acl_file: who may read and write what, or NULL; owned
 */
struct config_access {
	bool allow_anonymous;
	bool anonymous_given;
	bool allow_zero_length_clientid;
	char *auto_id_prefix;
	char *password_file;
	struct users *users;
	char *acl_file;
};

/**
 * struct config_listener - where to listen
 * @host: address or host name, NULL for all addresses; owned
 * @port: 1 to 65535
 * @local_only: only the loopback addresses, of which one is enough; @host NULL
 * @max_connections: most clients at once, 0 for any number
 * @username_as_id: a client's user name is its identifier
 * @levels: mask: bit n: clients of protocol level n may connect, 3 to 5
 * @max_qos: highest QoS that clients may publish at, and are granted, 0 to 2
 * @max_topic_alias: topic aliases that a client of MQTT 5 may use, 0: none
 * @access: who may connect here
 */
struct config_listener {
	char *host;
	u16 port;
	bool local_only;
	u32 max_connections;
	bool username_as_id;
	u8 levels;
	u8 max_qos;
	u16 max_topic_alias;
	struct config_access access;
};

/**
 * struct config - all settings, with mosquitto's defaults
 * @listeners: at least one once read; owned
 * @listener_count: how many
 * @id_prefix: client identifiers must begin so, or NULL; owned
 * @max_connections: most connections of all listeners, 0 for any number
 * @max_clients: most sessions, those of clients that are away included, likewise
 * @max_connection_rate: most connections accepted a second, likewise
 * @max_publish_rate: most messages a second of one client, likewise
 * @max_connect: most bytes of a CONNECT after its fixed header
 * @max_subscriptions: most subscriptions of one session, 0 for any number
 * @max_filters: most topic filters in one SUBSCRIBE or UNSUBSCRIBE, likewise
 * @memory_limit: bytes that heap and module may hold, 0 for any number
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
 * @upgrade_qos: messages are delivered at the QoS of the subscription, even if they
 *	were published below
 * @client_expiration: seconds that a session lasts without a connection, 0 for
 *	ever
 * @check_retain_source: retained messages are not delivered once who published
 *	them may not any more
 * @retain_available: clients may publish retained messages
 * @check_payload_format: a payload that says that it is UTF-8 must be
 * @response_information: what clients are told who ask for it (MQTT 5, section
 *	3.2.2.3.15), or NULL; owned
 * @other_server: clients are to use another server for now, this one, or NULL;
 *	owned
 * @moved_server: for good, likewise
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
	char *id_prefix;
	u32 max_connections;
	u32 max_clients;
	u32 max_connection_rate;
	u32 max_publish_rate;
	u32 max_connect;
	u32 max_subscriptions;
	u32 max_filters;
	u64 memory_limit;
	u32 max_keepalive;
	u32 max_packet_size;
	u32 connect_timeout;
	u32 max_inflight;
	u32 max_queued_messages;
	u64 max_queued_bytes;
	bool queue_qos0;
	bool upgrade_qos;
	s64 client_expiration;
	bool check_retain_source;
	bool retain_available;
	bool check_payload_format;
	char *response_information;
	char *other_server;
	char *moved_server;
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
 * 0, or -errno, which has been logged as mosquitto does it. Either way @config
 * is the caller's to free.
 */
int config_read(struct config *config, FILE *file, const char *name, u16 port);

/* The same from the file at @path. */
int config_load(struct config *config, const char *path, u16 port);

/*
 * Whose settings @listener is to have when @fresh counts: of the listener in the
 * same place, or its own if there is none.
 */
struct config_listener *config_renewed(struct config_listener *listener,
				       struct config *fresh);

/*
 * Makes @config, in place, what @fresh says, as far as a broker can change that
 * runs; logs what stays as it was. @fresh is freed.
 */
void config_renew(struct config *config, struct config *fresh);

void config_free(struct config *config);

#endif /* _KMQTTD_CONFIG_H_ */
