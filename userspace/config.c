// SPDX-License-Identifier: GPL-2.0
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <linux/kmqtt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "log.h"

#define DEFAULT_PORT 1883
#define CONNECT_TIMEOUT 10
/* mosquitto 2.1's default. A packet's header reserves memory for all of it. */
#define PACKET_SIZE_DEFAULT	2000000
#define MIN_PACKET_SIZE 20	/* mosquitto's: no CONNECT fits in less */

/**
 * struct parser - what is known while the file is read
 * @config: where the settings go
 * @base: the default listener, of port and bind_address; settings of a listener
 *	that come before the first one are its, too
 * @base_used: port or bind_address was there
 * @anonymous: allow_anonymous, -1 while not given
 * @dest_given: log_dest was there, the default does not apply
 * @type_given: log_type was there, the default does not apply
 */
struct parser {
	struct config *config;
	struct config_listener base;
	bool base_used;
	int anonymous;
	bool dest_given;
	bool type_given;
};

/**
 * struct option - a variable of the configuration file
 * @name: as in the file
 * @parse: takes its value, not empty. 0 or -errno, which has been logged.
 */
struct option {
	const char *name;
	int (*parse)(struct parser *parser, const struct option *option,
		     char *value);
};

static int invalid(const char *name, const char *value)
{
	log_print(LOG_TYPE_ERROR, "Error: Invalid %s value (%s).", name, value);
	return -EINVAL;
}

static int not_supported(const char *name, const char *value)
{
	log_print(LOG_TYPE_ERROR, "Error: %s %s is not supported by kmqttd.",
		  name, value);
	return -EINVAL;
}

static int no_memory(void)
{
	log_print(LOG_TYPE_ERROR, "Error: Out of memory.");
	return -ENOMEM;
}

static int parse_number(const char *name, const char *value, long min, long max,
			long *number)
{
	char *end;

	errno = 0;
	*number = strtol(value, &end, 10);
	if (errno || end == value || *end || *number < min || *number > max)
		return invalid(name, value);
	return 0;
}

static int parse_bool(const char *name, const char *value, bool *yes)
{
	*yes = !strcmp(value, "true") || !strcmp(value, "1");
	if (*yes || !strcmp(value, "false") || !strcmp(value, "0"))
		return 0;
	return invalid(name, value);
}

static int parse_string(const char *name, const char *value, char **string)
{
	if (*string) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Duplicate %s value in configuration.", name);
		return -EINVAL;
	}
	*string = strdup(value);
	return *string ? 0 : no_memory();
}

/* The listener that settings of a listener belong to at this line. */
static struct config_listener *current(struct parser *parser)
{
	struct config *config = parser->config;

	if (!config->listener_count)
		return &parser->base;
	return &config->listeners[config->listener_count - 1];
}

static int add_listener(struct config *config,
			const struct config_listener *listener)
{
	struct config_listener *grown;

	grown = reallocarray(config->listeners, config->listener_count + 1,
			     sizeof(*grown));
	if (!grown)
		return no_memory();
	grown[config->listener_count++] = *listener;
	config->listeners = grown;
	return 0;
}

static int parse_listener(struct parser *parser, const struct option *option,
			  char *value)
{
	struct config_listener listener = { 0 };
	char *save, *port, *host;
	long number;
	int err;

	port = strtok_r(value, " ", &save);
	host = strtok_r(NULL, " ", &save);
	if (strtok_r(NULL, " ", &save))
		return invalid(option->name, "more than a port and an address");

	err = parse_number("port", port, 1, USHRT_MAX, &number);
	if (err)
		return err;
	listener.port = number;
	if (host) {
		listener.host = strdup(host);
		if (!listener.host)
			return no_memory();
	}
	err = add_listener(parser->config, &listener);
	if (err)
		free(listener.host);
	return err;
}

static int parse_port(struct parser *parser, const struct option *option,
		      char *value)
{
	long number;
	int err = parse_number(option->name, value, 1, USHRT_MAX, &number);

	if (err)
		return err;
	if (parser->base.port)
		log_print(LOG_TYPE_WARNING,
			  "Warning: Default listener port specified multiple times. Only the latest will be used.");
	parser->base.port = number;
	parser->base_used = true;
	return 0;
}

static int parse_bind_address(struct parser *parser,
			      const struct option *option, char *value)
{
	parser->base_used = true;
	return parse_string(option->name, value, &parser->base.host);
}

static int parse_max_connections(struct parser *parser,
				 const struct option *option, char *value)
{
	long number;
	int err = parse_number(option->name, value, -1, INT_MAX, &number);

	if (!err)
		current(parser)->max_connections = number < 0 ? 0 : number;
	return err;
}

static int parse_allow_anonymous(struct parser *parser,
				 const struct option *option, char *value)
{
	bool yes;
	int err = parse_bool(option->name, value, &yes);

	if (!err)
		parser->anonymous = yes;
	return err;
}

static int parse_max_keepalive(struct parser *parser,
			       const struct option *option, char *value)
{
	long number;
	int err = parse_number(option->name, value, 0, USHRT_MAX, &number);

	if (!err)
		parser->config->max_keepalive = number;
	return err;
}

static int parse_max_packet_size(struct parser *parser,
				 const struct option *option, char *value)
{
	long number;
	int err = parse_number(option->name, value, MIN_PACKET_SIZE,
			       KMQTT_PACKET_MAX, &number);

	if (!err)
		parser->config->max_packet_size = number;
	return err;
}

static int parse_connect_timeout(struct parser *parser,
				 const struct option *option, char *value)
{
	long number;
	int err = parse_number(option->name, value, 1, USHRT_MAX, &number);

	if (!err)
		parser->config->connect_timeout = number;
	return err;
}

static int parse_log_file(struct config *config, const char *path)
{
	path += strspn(path, " ");
	if (!*path) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Empty \"log_dest file\" value in configuration.");
		return -EINVAL;
	}
	config->log_dests |= LOG_DEST_FILE;
	return parse_string("\"log_dest file\"", path, &config->log_path);
}

static int parse_log_dest(struct parser *parser, const struct option *option,
			  char *value)
{
	struct config *config = parser->config;

	if (!parser->dest_given)
		config->log_dests = 0;
	parser->dest_given = true;

	if (!strcmp(value, "none"))
		config->log_dests = 0;
	else if (!strcmp(value, "stdout"))
		config->log_dests |= LOG_DEST_STDOUT;
	else if (!strcmp(value, "stderr"))
		config->log_dests |= LOG_DEST_STDERR;
	else if (!strcmp(value, "syslog"))
		config->log_dests |= LOG_DEST_SYSLOG;
	else if (!strcmp(value, "file") || !strncmp(value, "file ", 5))
		return parse_log_file(config, value + 4);
	else if (!strcmp(value, "topic") || !strcmp(value, "dlt"))
		return not_supported("log_dest", value);
	else
		return invalid(option->name, value);
	return 0;
}

static int parse_log_type(struct parser *parser, const struct option *option,
			  char *value)
{
	static const struct {
		const char *name;
		unsigned int mask;
	} types[] = {
		{ "error", LOG_TYPE_ERROR },
		{ "warning", LOG_TYPE_WARNING },
		{ "notice", LOG_TYPE_NOTICE },
		{ "information", LOG_TYPE_INFORMATION },
		{ "debug", LOG_TYPE_DEBUG },
		{ "subscribe", LOG_TYPE_SUBSCRIBE },
		{ "unsubscribe", LOG_TYPE_UNSUBSCRIBE },
		{ "websockets", 0 },	/* kmqttd has no lines of these two */
		{ "internal", 0 },
		{ "all", LOG_TYPES_ALL },
	};
	struct config *config = parser->config;
	size_t i;

	if (!parser->type_given || !strcmp(value, "none"))
		config->log_types = 0;
	parser->type_given = true;
	if (!strcmp(value, "none"))
		return 0;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		if (!strcmp(value, types[i].name)) {
			config->log_types |= types[i].mask;
			return 0;
		}
	}
	return invalid(option->name, value);
}

static int parse_log_timestamp(struct parser *parser,
			       const struct option *option, char *value)
{
	return parse_bool(option->name, value, &parser->config->log_timestamp);
}

static int parse_pid_file(struct parser *parser, const struct option *option,
			  char *value)
{
	return parse_string(option->name, value, &parser->config->pid_file);
}

static int parse_user(struct parser *parser, const struct option *option,
		      char *value)
{
	return parse_string(option->name, value, &parser->config->user);
}

static const struct option options[] = {
	{ "allow_anonymous", parse_allow_anonymous },
	{ "bind_address", parse_bind_address },
	{ "connect_timeout", parse_connect_timeout },
	{ "listener", parse_listener },
	{ "log_dest", parse_log_dest },
	{ "log_timestamp", parse_log_timestamp },
	{ "log_type", parse_log_type },
	{ "max_connections", parse_max_connections },
	{ "max_keepalive", parse_max_keepalive },
	{ "max_packet_size", parse_max_packet_size },
	{ "pid_file", parse_pid_file },
	{ "port", parse_port },
	{ "user", parse_user },
};

/* What mosquitto 2.1 knows besides, so that it can be told from a typo. */
static const char *const unsupported[] = {
	"accept_protocol_versions", "acl_file", "address", "addresses",
	"allow_duplicate_messages", "allow_zero_length_clientid",
	"auth_plugin", "auth_plugin_deny_special_chars", "auto_id_prefix",
	"autosave_interval", "autosave_on_changes", "bind_interface",
	"bridge_alpn", "bridge_attempt_unsubscribe", "bridge_bind_address",
	"bridge_cafile", "bridge_capath", "bridge_certfile", "bridge_identity",
	"bridge_insecure", "bridge_keyfile", "bridge_max_packet_size",
	"bridge_max_topic_alias", "bridge_outgoing_retain",
	"bridge_protocol_version", "bridge_psk", "bridge_receive_maximum",
	"bridge_reload_type", "bridge_require_ocsp", "bridge_session_expiry_interval",
	"bridge_tcp_keepalive", "bridge_tcp_user_timeout", "bridge_tls_version",
	"cafile", "capath", "certfile", "check_retain_source", "ciphers",
	"ciphers_tls1.3", "cleansession", "clientid", "clientid_prefixes",
	"connection", "connection_messages", "crlfile", "dhparamfile",
	"disable_client_cert_date_checks", "enable_control_api",
	"enable_proxy_protocol", "global_max_clients", "global_max_connections",
	"global_plugin", "http_dir", "idle_timeout", "include_dir",
	"keepalive_interval", "keyfile", "listener_allow_anonymous",
	"listener_auto_id_prefix", "local_cleansession", "local_clientid",
	"local_password", "local_username", "log_facility",
	"log_timestamp_format", "max_inflight_bytes", "max_inflight_messages",
	"max_log_entries", "max_qos", "max_queued_bytes",
	"max_queued_messages", "max_topic_alias", "max_topic_alias_broker",
	"memory_limit", "message_size_limit", "mount_point", "notification_topic",
	"notifications", "notifications_local_only", "packet_buffer_size",
	"packet_max_auth", "packet_max_connect", "packet_max_simple",
	"packet_max_sub", "packet_max_un", "password", "password_file",
	"per_listener_settings", "persistence", "persistence_file",
	"persistence_location", "persistent_client_expiration", "plugin",
	"plugin_load", "plugin_use", "protocol",
	"proxy_protocol_v2_require_tls", "psk_file", "psk_hint",
	"queue_qos0_messages", "remote_clientid", "remote_password",
	"remote_username", "require_certificate", "restart_timeout",
	"retain_available", "retain_expiry_interval", "retry_interval",
	"round_robin", "set_tcp_nodelay", "socket_domain", "start_type",
	"store_clean_interval", "sys_interval", "threshold", "tls_engine",
	"tls_engine_kpass_sha1", "tls_keyform", "tls_version", "topic",
	"trace_level", "try_private", "upgrade_outgoing_qos",
	"use_identity_as_username", "use_subject_as_username",
	"use_username_as_clientid", "username", "websockets_headers_size",
	"websockets_log_level", "websockets_origin",
};

static bool is_unsupported(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (!strcmp(name, unsupported[i]))
			return true;
	/* plugin_opt_NAME and its older spelling are names of their own. */
	return !strncmp(name, "plugin_opt_", 11) ||
	       !strncmp(name, "auth_opt_", 9);
}

static int parse_variable(struct parser *parser, char *name, char *value)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		if (strcmp(name, options[i].name))
			continue;
		if (*value)
			return options[i].parse(parser, &options[i], value);
		log_print(LOG_TYPE_ERROR,
			  "Error: Empty %s value in configuration.", name);
		return -EINVAL;
	}

	if (is_unsupported(name))
		return not_supported("Configuration variable", name);
	log_print(LOG_TYPE_ERROR,
		  "Error: Unknown configuration variable \"%s\".", name);
	return -EINVAL;
}

/* "name value", the value up to the end of the line, spaces around dropped. */
static int parse_line(struct parser *parser, char *line, size_t len)
{
	char *name, *value;

	if (line[0] == '#')
		return 0;
	if (memchr(line, '\0', len)) {
		log_print(LOG_TYPE_ERROR,
			  "Error: NUL character in configuration.");
		return -EINVAL;
	}
	while (len && strchr("\r\n ", line[len - 1]))
		line[--len] = '\0';
	name = line + strspn(line, " ");
	if (!*name)
		return 0;

	value = name + strcspn(name, " ");
	if (*value) {
		*value++ = '\0';
		value += strspn(value, " ");
	}
	return parse_variable(parser, name, value);
}

static int parse_file(struct parser *parser, FILE *file, const char *name)
{
	unsigned int number = 0;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	while (!err && (len = getline(&line, &size, file)) >= 0) {
		number++;
		err = parse_line(parser, line, len);
		if (err)
			log_print(LOG_TYPE_ERROR, "Error found at %s:%u.",
				  name, number);
	}
	if (!err && ferror(file)) {
		log_print(LOG_TYPE_ERROR, "Error: Unable to read %s.", name);
		err = -EIO;
	}
	free(line);
	return err;
}

/* What depends on the whole file. */
static int finish(struct parser *parser, u16 port)
{
	struct config *config = parser->config;
	bool local_only = !parser->base_used && !config->listener_count;
	int err = 0;

	if (local_only) {
		parser->base.local_only = true;
		parser->base.port = port;
	}
	if (local_only || parser->base_used) {
		if (!parser->base.port)
			parser->base.port = DEFAULT_PORT;
		err = add_listener(config, &parser->base);
		if (!err)
			parser->base.host = NULL;
	}

	/* As in mosquitto since 2.0: only a broker that nobody else reaches is
	 * open unless told otherwise.
	 */
	config->allow_anonymous = parser->anonymous < 0 ? local_only
							: parser->anonymous;
	return err;
}

int config_read(struct config *config, FILE *file, const char *name, u16 port)
{
	struct parser parser = { .config = config, .anonymous = -1 };
	int err = 0;

	*config = (struct config){
		.max_packet_size = PACKET_SIZE_DEFAULT,
		.connect_timeout = CONNECT_TIMEOUT,
		.log_dests = LOG_DEST_STDERR,
		.log_types = LOG_TYPES_DEFAULT,
		.log_timestamp = true,
	};
	if (file)
		err = parse_file(&parser, file, name);
	if (!err)
		err = finish(&parser, port);
	free(parser.base.host);
	return err;
}

int config_load(struct config *config, const char *path, u16 port)
{
	FILE *file = fopen(path, "re");
	int err;

	if (!file) {
		err = -errno;
		*config = (struct config){ 0 };
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to open config file %s: %s.", path,
			  strerror(-err));
		return err;
	}
	err = config_read(config, file, path, port);
	fclose(file);
	return err;
}

void config_free(struct config *config)
{
	size_t i;

	for (i = 0; i < config->listener_count; i++)
		free(config->listeners[i].host);
	free(config->listeners);
	free(config->log_path);
	free(config->pid_file);
	free(config->user);
	*config = (struct config){ 0 };
}
