// SPDX-License-Identifier: GPL-2.0
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/kmqtt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <syslog.h>

#include "frame.h"
#include "log.h"
#include "topic.h"
#include "users.h"

#define DEFAULT_PORT		1883
#define CONNECT_TIMEOUT		10
#define ORPHAN_TIMEOUT		60
/* mosquitto 2.1's default. A packet's header reserves memory for all of it. */
#define PACKET_SIZE_DEFAULT	2000000
#define MIN_PACKET_SIZE		20	/* mosquitto's: no CONNECT fits in less */
#define CONNECT_SIZE_DEFAULT	100000	/* mosquitto 2.1's default, too */
#define INFLIGHT_DEFAULT	20
#define INFLIGHT_MAX		65535	/* there are no more packet identifiers */
#define QUEUED_DEFAULT		1000
#define TOPIC_ALIAS_DEFAULT	10
#define LEVELS_ALL		(1 << 3 | 1 << 4 | 1 << 5)
#define AUTO_ID_PREFIX		"auto-"
#define UUID_LEN		36	/* what follows the prefix */
/* Not mosquitto.db: that one is mosquitto's, whose format is another. */
#define PERSISTENCE_FILE	"kmqtt.db"
#define RUNTIME_DIRECTORY	"/run/kmqtt"

/* Bytes of what is said in a CONNACK, which clients' limits let through. */
#define STRING_MAX	1024

/* Seconds. */
#define HOUR	3600
#define DAY	(24 * HOUR)

/* Before the first listener: settings are the default listener's. */
#define NO_LISTENER	SIZE_MAX

/**
 * struct parser - what is known while the file is read
 * @config: where the settings go
 * @base: the default listener, of port and bind_address; settings of a listener
 *	that come before the first one are its, too
 * @base_used: port or bind_address was there
 * @base_set: a setting of a listener was there before the first one
 * @current: index of the listener that settings of a listener belong to, or
 *	NO_LISTENER for @base
 * @access: of all listeners, unless @per_listener
 * @access_used: one of its settings was there, whoever's
 * @per_listener: per_listener_settings is true
 * @included: it is a file of include_dir that is read
 * @dest_given: log_dest was there, the default does not apply
 * @type_given: log_type was there, the default does not apply
 */
struct parser {
	struct config *config;
	struct config_listener base;
	bool base_used;
	bool base_set;
	size_t current;
	struct config_access access;
	bool access_used;
	bool per_listener;
	bool included;
	bool dest_given;
	bool type_given;
};

/**
 * struct option - a variable of the configuration file
 * @name: as in the file
 * @parse: takes its value, not empty. 0 or -errno, which has been logged.
 * @offset: of the setting in struct config, where @parse is for many
 * @min: least value of a number
 * @max: largest
 */
struct option {
	const char *name;
	int (*parse)(struct parser *parser, const struct option *option,
		     char *value);
	size_t offset;
	long min;
	long max;
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

static int empty(const char *name)
{
	log_print(LOG_TYPE_ERROR, "Error: Empty %s value in configuration.",
		  name);
	return -EINVAL;
}

static int no_memory(void)
{
	log_print(LOG_TYPE_ERROR, "Error: Out of memory.");
	return -ENOMEM;
}

static int read_number(const char *name, const char *value, long min, long max,
		       long *number)
{
	char *end;

	errno = 0;
	*number = strtol(value, &end, 10);
	if (errno || end == value || *end || *number < min || *number > max)
		return invalid(name, value);
	return 0;
}

static int read_bool(const char *name, const char *value, bool *yes)
{
	*yes = !strcmp(value, "true") || !strcmp(value, "1");
	if (*yes || !strcmp(value, "false") || !strcmp(value, "0"))
		return 0;
	return invalid(name, value);
}

static int read_string(const char *name, const char *value, char **string)
{
	if (*string) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Duplicate %s value in configuration.", name);
		return -EINVAL;
	}
	*string = strdup(value);
	return *string ? 0 : no_memory();
}

/* What an option without a function of its own is about. */
static void *setting(struct parser *parser, const struct option *option)
{
	return (char *)parser->config + option->offset;
}

/* A u32. Where negative numbers are allowed, they mean 0, as in mosquitto. */
static int parse_number(struct parser *parser, const struct option *option,
			char *value)
{
	u32 *to = setting(parser, option);
	long number;
	int err;

	err = read_number(option->name, value, option->min, option->max,
			  &number);
	if (!err)
		*to = number < 0 ? 0 : number;
	return err;
}

static int parse_bool(struct parser *parser, const struct option *option,
		      char *value)
{
	return read_bool(option->name, value, setting(parser, option));
}

static int parse_string(struct parser *parser, const struct option *option,
			char *value)
{
	return read_string(option->name, value, setting(parser, option));
}

/* The listener that settings of a listener belong to at this line. */
static struct config_listener *current(struct parser *parser)
{
	if (parser->current != NO_LISTENER)
		return &parser->config->listeners[parser->current];
	parser->base_set = true;
	return &parser->base;
}

/* Where settings go that per_listener_settings is about. */
static struct config_access *access_of(struct parser *parser)
{
	parser->access_used = true;
	return parser->per_listener ? &current(parser)->access
				    : &parser->access;
}

#define LISTENER_DEFAULT {						\
	.levels = LEVELS_ALL,						\
	.max_qos = 2,							\
	.max_topic_alias = TOPIC_ALIAS_DEFAULT,				\
	.access.allow_zero_length_clientid = true,			\
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
	struct config_listener listener = LISTENER_DEFAULT;
	char *save, *port, *host;
	long number;
	int err;

	port = strtok_r(value, " ", &save);
	host = strtok_r(NULL, " ", &save);
	if (strtok_r(NULL, " ", &save))
		return invalid(option->name, "more than a port and an address");

	err = read_number("port", port, 1, USHRT_MAX, &number);
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
	else
		parser->current = parser->config->listener_count - 1;
	return err;
}

static int parse_port(struct parser *parser, const struct option *option,
		      char *value)
{
	long number;
	int err = read_number(option->name, value, 1, USHRT_MAX, &number);

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
	return read_string(option->name, value, &parser->base.host);
}

static int parse_max_connections(struct parser *parser,
				 const struct option *option, char *value)
{
	long number;
	int err = read_number(option->name, value, -1, INT_MAX, &number);

	if (!err)
		current(parser)->max_connections = number < 0 ? 0 : number;
	return err;
}

static int parse_max_qos(struct parser *parser, const struct option *option,
			 char *value)
{
	long number;
	int err = read_number(option->name, value, 0, 2, &number);

	if (!err)
		current(parser)->max_qos = number;
	return err;
}

static int parse_max_topic_alias(struct parser *parser,
				 const struct option *option, char *value)
{
	long number;
	int err = read_number(option->name, value, 0, USHRT_MAX, &number);

	if (!err)
		current(parser)->max_topic_alias = number;
	return err;
}

/* "3, 4, 5": which of them. */
static int parse_accept_protocol_versions(struct parser *parser,
					  const struct option *option,
					  char *value)
{
	char *save, *word;
	long number;
	u8 levels = 0;

	for (word = strtok_r(value, ", ", &save); word;
	     word = strtok_r(NULL, ", ", &save)) {
		if (read_number(option->name, word, 3, 5, &number))
			return -EINVAL;
		levels |= 1 << number;
	}
	if (!levels)
		return invalid(option->name, value);
	current(parser)->levels = levels;
	return 0;
}

/* What clients of MQTT 5 are told is a UTF-8 string, and fits. */
static int parse_utf8(struct parser *parser, const struct option *option,
		      char *value)
{
	size_t len = strlen(value);

	if (len > (size_t)option->max || kmqtt_utf8_check((const u8 *)value, len))
		return invalid(option->name, value);
	return read_string(option->name, value, setting(parser, option));
}

static int parse_per_listener_settings(struct parser *parser,
				       const struct option *option, char *value)
{
	bool yes;
	int err = read_bool(option->name, value, &yes);

	if (err || !yes)
		return err;
	if (parser->access_used && !parser->per_listener) {
		log_print(LOG_TYPE_ERROR,
			  "Error: per_listener_settings must be set before any other security settings.");
		return -EINVAL;
	}
	parser->per_listener = true;
	return 0;
}

static int parse_allow_anonymous(struct parser *parser,
				 const struct option *option, char *value)
{
	struct config_access *access = access_of(parser);

	access->anonymous_given = true;
	return read_bool(option->name, value, &access->allow_anonymous);
}

static int parse_allow_zero_length_clientid(struct parser *parser,
					    const struct option *option,
					    char *value)
{
	return read_bool(option->name, value,
			 &access_of(parser)->allow_zero_length_clientid);
}

static int parse_auto_id_prefix(struct parser *parser,
				const struct option *option, char *value)
{
	size_t len = strlen(value);

	if (len > KMQTT_CLIENT_ID_MAX - UUID_LEN ||
	    kmqtt_utf8_check((const u8 *)value, len))
		return invalid(option->name, value);
	return read_string(option->name, value,
			   &access_of(parser)->auto_id_prefix);
}

static int parse_password_file(struct parser *parser,
			       const struct option *option, char *value)
{
	return read_string(option->name, value,
			   &access_of(parser)->password_file);
}

static int parse_use_username_as_clientid(struct parser *parser,
					  const struct option *option,
					  char *value)
{
	return read_bool(option->name, value,
			 &current(parser)->username_as_id);
}

static int parse_acl_file(struct parser *parser, const struct option *option,
			  char *value)
{
	return read_string(option->name, value, &access_of(parser)->acl_file);
}

static int parse_max_inflight_messages(struct parser *parser,
				       const struct option *option, char *value)
{
	long number;
	int err = read_number(option->name, value, INT_MIN, INFLIGHT_MAX,
			      &number);

	if (!err)
		parser->config->max_inflight = number > 0 ? number
							  : INFLIGHT_MAX;
	return err;
}

static int parse_max_queued_bytes(struct parser *parser,
				  const struct option *option, char *value)
{
	long number;
	int err = read_number(option->name, value, LONG_MIN, LONG_MAX, &number);

	if (!err)
		parser->config->max_queued_bytes = number < 0 ? 0 : number;
	return err;
}

static int parse_memory_limit(struct parser *parser,
			      const struct option *option, char *value)
{
	long number;
	int err = read_number(option->name, value, 0, LONG_MAX, &number);

	if (!err)
		parser->config->memory_limit = number;
	return err;
}

static long unit_of_time(char unit)
{
	switch (unit) {
	case 'h':
		return HOUR;
	case 'd':
		return DAY;
	case 'w':
		return 7 * DAY;
	case 'm':
		return 30 * DAY;
	case 'y':
		return 365 * DAY;
	default:
		return 0;
	}
}

static int parse_persistent_client_expiration(struct parser *parser,
					      const struct option *option,
					      char *value)
{
	char *last = value + strlen(value) - 1;
	long unit = unit_of_time(*last);
	long number;
	int err;

	if (!unit)
		return invalid(option->name, value);
	*last = '\0';
	err = read_number(option->name, value, 1, INT_MAX, &number);
	if (!err)
		parser->config->client_expiration = (s64)number * unit;
	return err;
}

static void warn_no_effect(const struct option *option, const char *why)
{
	log_print(LOG_TYPE_WARNING, "Warning: %s has no effect: %s.",
		  option->name, why);
}

static const char is_on_disk[] =
	"what kmqttd has acknowledged is on disk already";

static int parse_autosave_interval(struct parser *parser,
				   const struct option *option, char *value)
{
	long number;

	(void)parser;
	warn_no_effect(option, is_on_disk);
	return read_number(option->name, value, INT_MIN, INT_MAX, &number);
}

static int parse_autosave_on_changes(struct parser *parser,
				     const struct option *option, char *value)
{
	bool yes;

	(void)parser;
	warn_no_effect(option, is_on_disk);
	return read_bool(option->name, value, &yes);
}

static int parse_retain_expiry_interval(struct parser *parser,
					const struct option *option,
					char *value)
{
	long number;

	(void)parser;
	warn_no_effect(option,
		       "kmqttd removes a retained message when it expires");
	return read_number(option->name, value, 0, INT_MAX / 60, &number);
}

/* Not in mosquitto either since 1.5, but still in many a file. */
static int parse_retry_interval(struct parser *parser,
				const struct option *option, char *value)
{
	(void)parser;
	(void)value;
	log_print(LOG_TYPE_WARNING,
		  "Warning: The %s option is no longer available.",
		  option->name);
	return 0;
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
	return read_string("\"log_dest file\"", path, &config->log_path);
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
		return not_supported(option->name, value);
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

static int parse_log_facility(struct parser *parser,
			      const struct option *option, char *value)
{
	static const int facilities[] = {
		LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3,
		LOG_LOCAL4, LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7,
	};
	long number;
	int err;

	err = read_number(option->name, value, 0, ARRAY_SIZE(facilities) - 1,
			  &number);
	if (!err)
		parser->config->log_facility = facilities[number];
	return err;
}

/* include_dir calls for the reader of files, which is below. */
static int parse_include_dir(struct parser *parser, const struct option *option,
			     char *value);

/* One with a function of its own, and the three kinds without. */
#define OPTION(variable) { .name = #variable, .parse = parse_##variable }
#define SETTING(variable, function, field)				\
	.name = #variable, .parse = function,				\
	.offset = offsetof(struct config, field)
#define BOOL(variable, field) { SETTING(variable, parse_bool, field) }
#define STRING(variable, field) { SETTING(variable, parse_string, field) }
#define UTF8(variable, field, most)					\
	{ SETTING(variable, parse_utf8, field), .max = most }
#define NUMBER(variable, field, least, most)				\
	{ SETTING(variable, parse_number, field), .min = least, .max = most }

static const struct option options[] = {
	OPTION(accept_protocol_versions),
	OPTION(acl_file),
	OPTION(allow_anonymous),
	OPTION(allow_zero_length_clientid),
	OPTION(auto_id_prefix),
	OPTION(autosave_interval),
	OPTION(autosave_on_changes),
	OPTION(bind_address),
	BOOL(check_payload_format, check_payload_format),
	STRING(clientid_prefixes, id_prefix),
	NUMBER(connect_timeout, connect_timeout, 1, USHRT_MAX),
	BOOL(connection_messages, connection_messages),
	NUMBER(global_max_clients, max_clients, -1, INT_MAX),
	NUMBER(global_max_connections, max_connections, -1, INT_MAX),
	OPTION(include_dir),
	OPTION(listener),
	OPTION(log_dest),
	OPTION(log_facility),
	BOOL(log_timestamp, log_timestamp),
	STRING(log_timestamp_format, log_timestamp_format),
	OPTION(log_type),
	NUMBER(max_connection_rate, max_connection_rate, 0, INT_MAX),
	OPTION(max_connections),
	NUMBER(max_filters, max_filters, 0, INT_MAX),
	OPTION(max_inflight_messages),
	NUMBER(max_keepalive, max_keepalive, 0, USHRT_MAX),
	NUMBER(max_packet_size, max_packet_size, MIN_PACKET_SIZE,
	       KMQTT_PACKET_MAX),
	NUMBER(max_publish_rate, max_publish_rate, 0, KMQTT_PUBLISH_RATE_MAX),
	OPTION(max_qos),
	OPTION(max_queued_bytes),
	NUMBER(max_queued_messages, max_queued_messages, INT_MIN, INT_MAX),
	NUMBER(max_subscriptions, max_subscriptions, 0, INT_MAX),
	OPTION(max_topic_alias),
	NUMBER(packet_max_connect, max_connect, MIN_PACKET_SIZE,
	       KMQTT_PACKET_MAX - KMQTT_HEADER_MAX),
	OPTION(memory_limit),
	OPTION(password_file),
	NUMBER(orphan_timeout, orphan_timeout, 0, 86400),
	OPTION(per_listener_settings),
	BOOL(persistence, persistence),
	STRING(persistence_file, persistence_file),
	STRING(persistence_location, persistence_location),
	OPTION(persistent_client_expiration),
	STRING(pid_file, pid_file),
	OPTION(port),
	BOOL(queue_qos0_messages, queue_qos0),
	BOOL(upgrade_outgoing_qos, upgrade_qos),
	UTF8(response_information, response_information, STRING_MAX),
	BOOL(check_retain_source, check_retain_source),
	BOOL(retain_available, retain_available),
	OPTION(retain_expiry_interval),
	OPTION(retry_interval),
	OPTION(use_username_as_clientid),
	STRING(runtime_directory, runtime_directory),
	UTF8(server_moved, moved_server, STRING_MAX),
	UTF8(use_another_server, other_server, STRING_MAX),
	STRING(user, user),
};

/**
 * struct fixed_option - a variable that can only say what kmqttd does anyway
 * @name: as in the file
 * @values: what is accepted; the second may be NULL
 * @why: another value is not
 */
struct fixed_option {
	const char *name;
	const char *values[2];
	const char *why;
};

static const struct fixed_option fixed_options[] = {
	{ "allow_duplicate_messages", { "false", "0" },
	  "a client gets one copy, however many of its subscriptions match" },
	{ "max_topic_alias_broker", { "0" },
	  "topics are sent to clients in full" },
	{ "max_inflight_bytes", { "0" },
	  "max_inflight_messages bounds what is in flight" },
	{ "message_size_limit", { "0" },
	  "max_packet_size bounds the whole packet" },
	{ "protocol", { "mqtt" }, "there is only MQTT over TCP" },
	{ "set_tcp_nodelay", { "true", "1" }, "TCP_NODELAY is always set" },
	{ "sys_interval", { "0" }, "there is no $SYS tree" },
};

/**
 * struct unsupported - what mosquitto 2.1 knows besides, so that it can be told
 *	from a typo
 * @what: a feature, NULL for one that its name says all of
 * @prefix: with which its variables begin, or NULL
 * @names: its variables, up to a NULL
 */
struct unsupported {
	const char *what;
	const char *prefix;
	const char *const *names;
};

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static const struct unsupported unsupported[] = {
	{ "TLS", "tls_",
	  NAMES("cafile", "capath", "certfile", "ciphers", "ciphers_tls1.3",
		"crlfile", "dhparamfile", "disable_client_cert_date_checks",
		"keyfile", "psk_file", "psk_hint", "require_certificate",
		"use_identity_as_username", "use_subject_as_username") },
	{ "bridges", "bridge_",
	  NAMES("address", "addresses", "cleansession", "clientid",
		"connection", "idle_timeout", "keepalive_interval",
		"local_cleansession", "local_clientid", "local_password",
		"local_username", "notification_topic", "notifications",
		"notifications_local_only", "password", "remote_clientid",
		"remote_password", "remote_username", "restart_timeout",
		"round_robin", "start_type", "threshold", "topic",
		"try_private", "username") },
	{ "plugins", "plugin_",
	  NAMES("auth_plugin", "auth_plugin_deny_special_chars",
		"global_plugin", "plugin") },
	{ "plugins", "auth_opt_", NAMES(NULL) },
	{ "websockets", "websockets_", NAMES("http_dir") },
	{ NULL, NULL,
	  NAMES("bind_interface",
		"enable_control_api", "enable_proxy_protocol",
		"listener_allow_anonymous", "listener_auto_id_prefix",
		"max_log_entries", "maximum_qos",
		"mount_point", "packet_buffer_size", "packet_max_auth",
		"packet_max_simple", "packet_max_sub", "packet_max_un",
		"proxy_protocol_v2_require_tls", "retained_persistence",
		"socket_domain", "store_clean_interval", "trace_level") },
};

static bool is_of(const struct unsupported *feature, const char *name)
{
	const char *const *known;

	if (feature->prefix &&
	    !strncmp(name, feature->prefix, strlen(feature->prefix)))
		return true;
	for (known = feature->names; *known; known++)
		if (!strcmp(name, *known))
			return true;
	return false;
}

/* A variable that is none of @options. */
static int refuse(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(unsupported); i++) {
		const struct unsupported *feature = &unsupported[i];

		if (!is_of(feature, name))
			continue;
		if (!feature->what)
			return not_supported("Configuration variable", name);
		log_print(LOG_TYPE_ERROR,
			  "Error: Configuration variable %s is not supported by kmqttd: it has no %s yet.",
			  name, feature->what);
		return -EINVAL;
	}
	log_print(LOG_TYPE_ERROR,
		  "Error: Unknown configuration variable \"%s\".", name);
	return -EINVAL;
}

static int check_fixed(const struct fixed_option *option, const char *value)
{
	if (!strcmp(value, option->values[0]) ||
	    (option->values[1] && !strcmp(value, option->values[1])))
		return 0;
	log_print(LOG_TYPE_ERROR,
		  "Error: %s %s is not supported by kmqttd: %s.",
		  option->name, value, option->why);
	return -EINVAL;
}

static int parse_variable(struct parser *parser, char *name, char *value)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		if (!strcmp(name, options[i].name))
			return *value ? options[i].parse(parser, &options[i],
							 value)
				      : empty(name);
	}
	for (i = 0; i < ARRAY_SIZE(fixed_options); i++) {
		if (!strcmp(name, fixed_options[i].name))
			return *value ? check_fixed(&fixed_options[i], value)
				      : empty(name);
	}
	return refuse(name);
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

static FILE *open_file(const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to open config file %s: %s.", path,
			  strerror(errno));
	return file;
}

/* Its lines are about listeners of its own, as in mosquitto. */
static int include(struct parser *parser, const char *path)
{
	size_t outer = parser->current;
	FILE *file;
	int err;

	log_print(LOG_TYPE_INFORMATION, "Loading config file %s", path);
	file = open_file(path);
	if (!file)
		return -EINVAL;
	parser->current = NO_LISTENER;
	parser->included = true;
	err = parse_file(parser, file, path);
	parser->included = false;
	parser->current = outer;
	fclose(file);
	return err;
}

static int is_conf(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && !strcmp(entry->d_name + len - 5, ".conf");
}

/* mosquitto's order: A a B b, whatever the locale. */
static int compare(const struct dirent **one, const struct dirent **two)
{
	const unsigned char *a = (const unsigned char *)(*one)->d_name;
	const unsigned char *b = (const unsigned char *)(*two)->d_name;

	while (*a && *a == *b) {
		a++;
		b++;
	}
	if (toupper(*a) != toupper(*b))
		return toupper(*a) - toupper(*b);
	return *a - *b;
}

static int parse_include_dir(struct parser *parser, const struct option *option,
			     char *value)
{
	struct dirent **entries;
	int i, count, err = 0;
	char *path;

	if (parser->included) {
		log_print(LOG_TYPE_WARNING,
			  "Warning: %s in an included file has no effect.",
			  option->name);
		return 0;
	}
	count = scandir(value, &entries, is_conf, compare);
	if (count < 0) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to open include_dir '%s': %s.", value,
			  strerror(errno));
		return -EINVAL;
	}
	for (i = 0; i < count; i++) {
		if (!err && asprintf(&path, "%s/%s", value,
				     entries[i]->d_name) < 0) {
			err = no_memory();
		} else if (!err) {
			err = include(parser, path);
			free(path);
		}
		free(entries[i]);
	}
	free(entries);
	return err;
}

static int set_default(char **string, const char *value)
{
	if (*string)
		return 0;
	*string = strdup(value);
	return *string ? 0 : no_memory();
}

/* Makes @access one of its own. */
static int copy_access(struct config_access *access,
		       const struct config_access *from)
{
	*access = *from;
	access->auto_id_prefix = NULL;
	access->password_file = NULL;
	access->acl_file = NULL;
	users_get(access->users);
	if (from->auto_id_prefix &&
	    set_default(&access->auto_id_prefix, from->auto_id_prefix))
		return -ENOMEM;
	if (from->acl_file && set_default(&access->acl_file, from->acl_file))
		return -ENOMEM;
	return from->password_file ?
	       set_default(&access->password_file, from->password_file) : 0;
}

static int load_users(struct config_access *access)
{
	return access->password_file && !access->users ?
	       users_load(access->password_file, &access->users) : 0;
}

/*
 * As in mosquitto since 2.0: only a broker that nobody else reaches is open
 * unless told otherwise.
 */
static int finish_listener(struct parser *parser,
			   struct config_listener *listener)
{
	struct config_access *access = &listener->access;
	int err;

	err = parser->per_listener ? load_users(access) :
				     copy_access(access, &parser->access);
	if (!access->anonymous_given)
		access->allow_anonymous = listener->local_only;
	return err ? err : set_default(&access->auto_id_prefix, AUTO_ID_PREFIX);
}

static int finish_listeners(struct parser *parser, u16 port)
{
	struct config *config = parser->config;
	bool local_only = !parser->base_used && !config->listener_count;
	size_t i;
	int err;

	if (parser->base_set && !parser->base_used && !local_only)
		log_print(LOG_TYPE_WARNING,
			  "Warning: Settings of a listener before the first one have no effect without a port.");
	if (local_only) {
		parser->base.local_only = true;
		parser->base.port = port;
	}
	err = load_users(&parser->access);
	if (!err && (local_only || parser->base_used)) {
		if (!parser->base.port)
			parser->base.port = DEFAULT_PORT;
		err = add_listener(config, &parser->base);
		if (!err)
			parser->base = (struct config_listener){ 0 };
	}
	for (i = 0; !err && i < config->listener_count; i++)
		err = finish_listener(parser, &config->listeners[i]);
	return err;
}

/* Who moves from mosquitto must not believe that its sessions came along. */
static int refuse_foreign_database(const struct config *config)
{
	static const char magic[] = "\0\xb5\0mosquitto db";
	char start[sizeof(magic) - 1];
	bool foreign = false;
	FILE *file;
	char *path;

	if (asprintf(&path, "%s/%s", config->persistence_location,
		     config->persistence_file) < 0)
		return no_memory();
	file = fopen(path, "re");
	if (file) {
		foreign = fread(start, sizeof(start), 1, file) == 1 &&
			  !memcmp(start, magic, sizeof(start));
		fclose(file);
	}
	if (foreign)
		log_print(LOG_TYPE_ERROR,
			  "Error: %s is a database of mosquitto, which kmqttd cannot read: give another persistence_file.",
			  path);
	free(path);
	return foreign ? -EINVAL : 0;
}

/* What depends on the whole file. */
static int finish(struct parser *parser, u16 port)
{
	struct config *config = parser->config;
	int err;

	err = finish_listeners(parser, port);
	if (!err)
		err = set_default(&config->persistence_location, ".");
	if (!err)
		err = set_default(&config->persistence_file, PERSISTENCE_FILE);
	if (!err)
		err = set_default(&config->runtime_directory,
				  RUNTIME_DIRECTORY);
	if (!err && config->persistence)
		err = refuse_foreign_database(config);
	return err;
}

static void free_access(struct config_access *access)
{
	free(access->auto_id_prefix);
	free(access->password_file);
	free(access->acl_file);
	users_put(access->users);
}

static void free_listener(struct config_listener *listener)
{
	free(listener->host);
	free_access(&listener->access);
}

int config_read(struct config *config, FILE *file, const char *name, u16 port)
{
	struct parser parser = {
		.config = config,
		.current = NO_LISTENER,
		.base = LISTENER_DEFAULT,
		.access.allow_zero_length_clientid = true,
	};
	int err = 0;

	*config = (struct config){
		.max_packet_size = PACKET_SIZE_DEFAULT,
		.max_connect = CONNECT_SIZE_DEFAULT,
		.connect_timeout = CONNECT_TIMEOUT,
		.orphan_timeout = ORPHAN_TIMEOUT,
		.max_inflight = INFLIGHT_DEFAULT,
		.max_queued_messages = QUEUED_DEFAULT,
		.check_retain_source = true,
		.retain_available = true,
		.log_dests = LOG_DEST_STDERR,
		.log_types = LOG_TYPES_DEFAULT,
		.log_facility = LOG_DAEMON,
		.log_timestamp = true,
		.connection_messages = true,
	};
	if (file)
		err = parse_file(&parser, file, name);
	if (!err)
		err = finish(&parser, port);
	free_listener(&parser.base);
	free_access(&parser.access);
	return err;
}

int config_load(struct config *config, const char *path, u16 port)
{
	FILE *file = open_file(path);
	int err;

	if (!file) {
		*config = (struct config){ 0 };
		return -EINVAL;
	}
	err = config_read(config, file, path, port);
	fclose(file);
	return err;
}

void config_free(struct config *config)
{
	size_t i;

	for (i = 0; i < config->listener_count; i++)
		free_listener(&config->listeners[i]);
	free(config->listeners);
	free(config->id_prefix);
	free(config->response_information);
	free(config->other_server);
	free(config->moved_server);
	free(config->persistence_location);
	free(config->persistence_file);
	free(config->log_timestamp_format);
	free(config->log_path);
	free(config->pid_file);
	free(config->runtime_directory);
	free(config->user);
	*config = (struct config){ 0 };
}

#define SWAP(a, b)							\
do {									\
	__typeof__(a) former = a;					\
									\
	a = b;								\
	b = former;							\
} while (0)

static bool differs(const char *one, const char *two)
{
	return one && two ? strcmp(one, two) : one != two;
}

static bool same_place(const struct config_listener *one,
		       const struct config_listener *two)
{
	return one->port == two->port && one->local_only == two->local_only &&
	       !differs(one->host, two->host);
}

struct config_listener *config_renewed(struct config_listener *listener,
				       struct config *fresh)
{
	size_t i;

	for (i = 0; i < fresh->listener_count; i++)
		if (same_place(listener, &fresh->listeners[i]))
			return &fresh->listeners[i];
	return listener;
}

/* Those that are open stay open, and take what is said of them now. */
static bool renew_listeners(struct config *config, struct config *fresh)
{
	bool changed = config->listener_count != fresh->listener_count;
	struct config_listener *renewed;
	size_t i;

	for (i = 0; i < config->listener_count; i++) {
		renewed = config_renewed(&config->listeners[i], fresh);
		if (renewed != &config->listeners[i])
			SWAP(config->listeners[i], *renewed);
		else
			changed = true;
	}
	/* Where they are in memory stays as it is, too. */
	SWAP(config->listeners, fresh->listeners);
	SWAP(config->listener_count, fresh->listener_count);
	return changed;
}

/* What is open, or has been done, for good; true if @fresh says otherwise. */
static bool keep(struct config *config, struct config *fresh)
{
	bool changed = config->persistence != fresh->persistence ||
		       config->queue_qos0 != fresh->queue_qos0 ||
		       config->upgrade_qos != fresh->upgrade_qos ||
		       config->retain_available != fresh->retain_available ||
		       config->orphan_timeout != fresh->orphan_timeout ||
		       differs(config->runtime_directory,
			       fresh->runtime_directory) ||
		       differs(config->persistence_location,
			       fresh->persistence_location) ||
		       differs(config->persistence_file,
			       fresh->persistence_file) ||
		       differs(config->pid_file, fresh->pid_file) ||
		       differs(config->user, fresh->user);

	SWAP(config->persistence, fresh->persistence);
	SWAP(config->queue_qos0, fresh->queue_qos0);
	SWAP(config->upgrade_qos, fresh->upgrade_qos);
	SWAP(config->retain_available, fresh->retain_available);
	SWAP(config->orphan_timeout, fresh->orphan_timeout);
	SWAP(config->runtime_directory, fresh->runtime_directory);
	SWAP(config->persistence_location, fresh->persistence_location);
	SWAP(config->persistence_file, fresh->persistence_file);
	SWAP(config->pid_file, fresh->pid_file);
	SWAP(config->user, fresh->user);
	return changed;
}

void config_renew(struct config *config, struct config *fresh)
{
	if (renew_listeners(config, fresh))
		log_print(LOG_TYPE_WARNING,
			  "Warning: Listeners are not opened or closed before kmqttd is restarted.");
	if (keep(config, fresh))
		log_print(LOG_TYPE_WARNING,
			  "Warning: Changes of orphan_timeout, persistence, pid_file, queue_qos0_messages, retain_available, runtime_directory, upgrade_outgoing_qos and user have no effect before kmqttd is restarted.");
	SWAP(*config, *fresh);
	config_free(fresh);
}
