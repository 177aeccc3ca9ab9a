// SPDX-License-Identifier: GPL-2.0
/*
 * The configuration parser: what each variable takes, what it refuses and how
 * that is reported, and the defaults. log_print() is this file's, to see it.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "config.h"
#include "ktap.h"
#include "logged.h"
#include "users.h"

static int read_bytes(struct config *config, const char *text, size_t len)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, len, "r");
	int err;

	logged[0] = '\0';
	err = config_read(config, file, "x.conf", 0);
	fclose(file);
	return err;
}

static int read_text(struct config *config, const char *text)
{
	return read_bytes(config, text, strlen(text));
}

static void expect_error(const char *text, const char *message)
{
	struct config config;
	int err = read_text(&config, text);

	EXPECT(err == -EINVAL, "\"%s\": %d", text, err);
	EXPECT(!strcmp(logged, message), "\"%s\" said \"%s\"", text, logged);
	config_free(&config);
}

static void expect_silence(struct config *config, const char *text)
{
	int err = read_text(config, text);

	EXPECT(!err && !logged[0], "\"%s\": %d %s", text, err, logged);
}

static void test_defaults(void)
{
	struct config config;

	logged[0] = '\0';
	EXPECT(!config_read(&config, NULL, NULL, 0), "no file");
	EXPECT(config.listener_count == 1, "%zu", config.listener_count);
	EXPECT(config.listeners[0].local_only, "local only");
	EXPECT(!config.listeners[0].host, "host");
	EXPECT(config.listeners[0].port == 1883, "port");
	EXPECT(!config.listeners[0].max_connections, "connections");
	EXPECT(config.listeners[0].access.allow_anonymous, "anonymous");
	EXPECT(config.max_keepalive == 0, "%u", config.max_keepalive);
	EXPECT(config.max_packet_size == 2000000, "%u",
	       config.max_packet_size);
	EXPECT(config.connect_timeout == 10, "%u", config.connect_timeout);
	EXPECT(config.log_dests == LOG_DEST_STDERR, "%x", config.log_dests);
	EXPECT(config.log_types == LOG_TYPES_DEFAULT, "%x", config.log_types);
	EXPECT(config.log_timestamp, "timestamp");
	EXPECT(config.log_facility == LOG_DAEMON, "%d", config.log_facility);
	EXPECT(!config.log_timestamp_format, "%s", config.log_timestamp_format);
	EXPECT(config.connection_messages, "connection messages");
	EXPECT(!config.log_path && !config.pid_file && !config.user, "paths");
	EXPECT(config.max_inflight == 20, "%u", config.max_inflight);
	EXPECT(config.max_queued_messages == 1000, "%u",
	       config.max_queued_messages);
	EXPECT(!config.max_queued_bytes && !config.queue_qos0 &&
	       !config.upgrade_qos, "queue");
	EXPECT(!config.client_expiration, "expiration");
	EXPECT(config.retain_available, "retain");
	EXPECT(!config.persistence, "persistence");
	EXPECT(!strcmp(config.persistence_location, "."), "%s",
	       config.persistence_location);
	EXPECT(!strcmp(config.persistence_file, "kmqtt.db"), "%s",
	       config.persistence_file);
	EXPECT(config.listeners[0].access.allow_zero_length_clientid, "id");
	EXPECT(!strcmp(config.listeners[0].access.auto_id_prefix, "auto-"),
	       "%s", config.listeners[0].access.auto_id_prefix);
	EXPECT(!logged[0], "%s", logged);
	config_free(&config);

	EXPECT(!config_read(&config, NULL, NULL, 1234), "with a port");
	EXPECT(config.listeners[0].port == 1234, "port");
	EXPECT(config.listeners[0].local_only, "local only");
	config_free(&config);
}

static void test_syntax(void)
{
	static const char nul[] = "user a\0b\n";
	struct config config;

	expect_silence(&config, "# comment\n\n\r\n   \n#port 1\nuser  a  b \r\n");
	EXPECT(!strcmp(config.user, "a  b"), "%s", config.user);
	config_free(&config);

	expect_silence(&config, "   user x");
	EXPECT(!strcmp(config.user, "x"), "%s", config.user);
	config_free(&config);

	expect_silence(&config, "pid_file /a # b");
	EXPECT(!strcmp(config.pid_file, "/a # b"), "%s", config.pid_file);
	config_free(&config);

	expect_error("user a\n\n  # comment\n",
		     "Error: Unknown configuration variable \"#\".\n"
		     "Error found at x.conf:3.\n");
	expect_error("user\tx\n",
		     "Error: Unknown configuration variable \"user\tx\".\n"
		     "Error found at x.conf:1.\n");
	EXPECT(read_bytes(&config, nul, sizeof(nul) - 1) == -EINVAL, "NUL");
	EXPECT(!strcmp(logged, "Error: NUL character in configuration.\n"
			       "Error found at x.conf:1.\n"), "%s", logged);
	config_free(&config);
}

static void test_unknown(void)
{
	expect_error("\nfoo bar\nport x\n",
		     "Error: Unknown configuration variable \"foo\".\n"
		     "Error found at x.conf:2.\n");
	expect_error("Port 1883\n",
		     "Error: Unknown configuration variable \"Port\".\n"
		     "Error found at x.conf:1.\n");
	expect_error("mount_point x\n",
		     "Error: Configuration variable mount_point is not supported by kmqttd.\n"
		     "Error found at x.conf:1.\n");
}

/* What is still to come is named, so that nobody looks for a typo. */
static void test_unsupported(void)
{
	static const struct {
		const char *name;
		const char *what;
	} cases[] = {
		{ "cafile", "TLS" }, { "tls_version", "TLS" },
		{ "psk_file", "TLS" }, { "connection", "bridges" },
		{ "address", "bridges" }, { "topic", "bridges" },
		{ "bridge_cafile", "bridges" }, { "plugin", "plugins" },
		{ "plugin_opt_db", "plugins" }, { "auth_opt_x", "plugins" },
		{ "auth_plugin", "plugins" },
		{ "websockets_log_level", "websockets" },
		{ "http_dir", "websockets" },
	};
	char text[64], message[160];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), "#\n%s x\n", cases[i].name);
		snprintf(message, sizeof(message),
			 "Error: Configuration variable %s is not supported by kmqttd: it has no %s yet.\n"
			 "Error found at x.conf:2.\n", cases[i].name,
			 cases[i].what);
		expect_error(text, message);
	}
}

static bool is_acl(const struct config *config, size_t i, const char *path)
{
	const char *is = config->listeners[i].access.acl_file;

	return path ? is && !strcmp(is, path) : !is;
}

static void test_acl_file(void)
{
	struct config config;

	expect_silence(&config,
		       "acl_file /a b\nlistener 1883\nlistener 1884\n");
	EXPECT(is_acl(&config, 0, "/a b") && is_acl(&config, 1, "/a b"),
	       "one for all");
	config_free(&config);
	expect_silence(&config,
		       "per_listener_settings true\nlistener 1883\n"
		       "listener 1884\nacl_file /a\n");
	EXPECT(is_acl(&config, 0, NULL) && is_acl(&config, 1, "/a"),
	       "each its own");
	config_free(&config);
	expect_error("acl_file a\nacl_file b\n",
		     "Error: Duplicate acl_file value in configuration.\n"
		     "Error found at x.conf:2.\n");
}

/* What can only be said as it is. */
static void test_fixed(void)
{
	struct config config;

	expect_silence(&config,
		       "allow_duplicate_messages false\nmax_inflight_bytes 0\n"
		       "message_size_limit 0\nprotocol mqtt\n"
		       "set_tcp_nodelay true\nset_tcp_nodelay 1\n"
		       "sys_interval 0\n"
		       "check_retain_source false\n");
	config_free(&config);
	expect_error("listener 1883\nprotocol websockets\n",
		     "Error: protocol websockets is not supported by kmqttd: there is only MQTT over TCP.\n"
		     "Error found at x.conf:2.\n");
	expect_error("sys_interval 10\n",
		     "Error: sys_interval 10 is not supported by kmqttd: there is no $SYS tree.\n"
		     "Error found at x.conf:1.\n");
	expect_error("set_tcp_nodelay false\n",
		     "Error: set_tcp_nodelay false is not supported by kmqttd: TCP_NODELAY is always set.\n"
		     "Error found at x.conf:1.\n");
	expect_error("message_size_limit 1000\n",
		     "Error: message_size_limit 1000 is not supported by kmqttd: max_packet_size bounds the whole packet.\n"
		     "Error found at x.conf:1.\n");
}

/* Accepted, but not without a word. */
static void test_without_effect(void)
{
	static const char said[] =
		"Warning: autosave_interval has no effect: what kmqttd has acknowledged is on disk already.\n"
		"Warning: autosave_on_changes has no effect: what kmqttd has acknowledged is on disk already.\n"
		"Warning: retain_expiry_interval has no effect: kmqttd removes a retained message when it expires.\n"
		"Warning: The retry_interval option is no longer available.\n"
		"Warning: Settings of a listener before the first one have no effect without a port.\n";
	struct config config;
	int err;

	err = read_text(&config, "autosave_interval 60\n"
				 "autosave_on_changes true\n"
				 "retain_expiry_interval 5\n"
				 "retry_interval 20\n"
				 "max_connections 5\nlistener 1\n");
	EXPECT(!err && !strcmp(logged, said), "%d %s", err, logged);
	config_free(&config);
}

static void test_empty(void)
{
	static const char *const names[] = {
		"allow_anonymous", "allow_zero_length_clientid",
		"auto_id_prefix", "autosave_interval", "autosave_on_changes",
		"bind_address", "connect_timeout", "connection_messages",
		"include_dir", "listener", "log_dest", "log_facility",
		"log_timestamp", "log_timestamp_format", "log_type",
		"max_connections", "max_inflight_messages", "max_keepalive",
		"max_packet_size", "max_queued_bytes", "max_queued_messages",
		"per_listener_settings", "persistence", "persistence_file",
		"persistence_location", "persistent_client_expiration",
		"pid_file", "port", "protocol", "queue_qos0_messages",
		"retain_available", "retry_interval", "sys_interval", "user",
	};
	char text[64], message[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(text, sizeof(text), "%s \n", names[i]);
		snprintf(message, sizeof(message),
			 "Error: Empty %s value in configuration.\n"
			 "Error found at x.conf:1.\n", names[i]);
		expect_error(text, message);
	}
}

/* Of MQTT 5, and what has a meaning for the others, too. */
static void test_version_5(void)
{
	static const char *const wrong[] = {
		"accept_protocol_versions 2\n", "accept_protocol_versions 6\n",
		"accept_protocol_versions 4 5 x\n",
		"accept_protocol_versions ,\n", "max_qos 3\n", "max_qos -1\n",
		"max_topic_alias 65536\n", "max_topic_alias -1\n",
		"max_topic_alias_broker 1\n", "retain_expiry_interval -1\n",
		"use_another_server \xff\n", "check_payload_format yes\n",
	};
	struct config config;
	size_t i;

	expect_silence(&config, "");
	EXPECT(config.listeners[0].levels == 0x38 &&
	       config.listeners[0].max_qos == 2 &&
	       config.listeners[0].max_topic_alias == 10, "a listener's");
	EXPECT(!config.check_payload_format &&
	       !config.response_information && !config.other_server &&
	       !config.moved_server, "the others'");
	config_free(&config);

	expect_silence(&config, "listener 1\nlistener 2\nmax_qos 0\n"
		       "max_topic_alias 65535\naccept_protocol_versions 3, 5\n"
		       "listener 3\naccept_protocol_versions 4\n"
		       "check_payload_format true\n"
		       "response_information r/s\nuse_another_server a:1 b\n"
		       "server_moved c\nmax_topic_alias_broker 0\n");
	EXPECT(config.listeners[0].levels == 0x38 &&
	       config.listeners[1].levels == 0x28 &&
	       config.listeners[2].levels == 0x10, "levels");
	EXPECT(config.listeners[1].max_qos == 0 &&
	       config.listeners[1].max_topic_alias == 65535 &&
	       config.listeners[2].max_qos == 2, "the second one's");
	EXPECT(config.check_payload_format &&
	       !strcmp(config.response_information, "r/s") &&
	       !strcmp(config.other_server, "a:1 b") &&
	       !strcmp(config.moved_server, "c"), "of all");
	config_free(&config);

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT(read_text(&config, wrong[i]) == -EINVAL, "%s", wrong[i]);
		config_free(&config);
	}
}

static void test_numbers(void)
{
	static const struct {
		const char *name;
		const char *bad[6];
		const char *good[2];
	} cases[] = {
		{ "port", { "0", "65536", "-1", "x", "18x", "1 2" },
		  { "1", "65535" } },
		{ "max_connections", { "-2", "2147483648", "x", "1.5" },
		  { "-1", "2147483647" } },
		{ "max_keepalive", { "-1", "65536", "x" }, { "0", "65535" } },
		{ "max_packet_size", { "19", "268435461", "0", "-1", "x",
				       "99999999999999999999" },
		  { "20", "268435460" } },
		{ "connect_timeout", { "0", "65536", "x" }, { "1", "65535" } },
		{ "max_inflight_messages", { "65536", "x", "2x" },
		  { "-1", "65535" } },
		{ "max_queued_messages", { "2147483648", "x" },
		  { "-1", "2147483647" } },
		{ "max_queued_bytes", { "9223372036854775808", "1k" },
		  { "-1", "9223372036854775807" } },
		{ "log_facility", { "-1", "8", "x" }, { "0", "7" } },
	};
	char text[64], message[128];
	struct config config;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (j = 0; j < 6 && cases[i].bad[j]; j++) {
			snprintf(text, sizeof(text), "%s %s\n", cases[i].name,
				 cases[i].bad[j]);
			snprintf(message, sizeof(message),
				 "Error: Invalid %s value (%s).\n"
				 "Error found at x.conf:1.\n", cases[i].name,
				 cases[i].bad[j]);
			expect_error(text, message);
		}
		for (j = 0; j < 2; j++) {
			snprintf(text, sizeof(text), "%s %s\n", cases[i].name,
				 cases[i].good[j]);
			expect_silence(&config, text);
			config_free(&config);
		}
	}

	expect_silence(&config, "max_keepalive 7\nmax_packet_size 20\n"
				"connect_timeout 3\n");
	EXPECT(config.max_keepalive == 7, "%u", config.max_keepalive);
	EXPECT(config.max_packet_size == 20, "%u", config.max_packet_size);
	EXPECT(config.connect_timeout == 3, "%u", config.connect_timeout);
	config_free(&config);
}

static void test_bools(void)
{
	struct config config;

	expect_silence(&config, "log_timestamp false\nallow_anonymous 0\n");
	EXPECT(!config.log_timestamp &&
	       !config.listeners[0].access.allow_anonymous, "false");
	config_free(&config);
	expect_silence(&config, "log_timestamp 1\nallow_anonymous true\n");
	EXPECT(config.log_timestamp &&
	       config.listeners[0].access.allow_anonymous, "true");
	config_free(&config);
	expect_error("allow_anonymous maybe\n",
		     "Error: Invalid allow_anonymous value (maybe).\n"
		     "Error found at x.conf:1.\n");
	expect_error("log_timestamp TRUE\n",
		     "Error: Invalid log_timestamp value (TRUE).\n"
		     "Error found at x.conf:1.\n");
}

static void expect_listener(const struct config *config, size_t i,
			    const char *host, u16 port, u32 max_connections)
{
	const struct config_listener *listener = &config->listeners[i];

	EXPECT(i < config->listener_count, "%zu", config->listener_count);
	if (i >= config->listener_count)
		return;
	EXPECT(!host == !listener->host &&
	       (!host || !strcmp(host, listener->host)), "%zu", i);
	EXPECT(listener->port == port, "%zu: %u", i, listener->port);
	EXPECT(listener->max_connections == max_connections, "%zu: %u", i,
	       listener->max_connections);
	EXPECT(!listener->local_only, "%zu", i);
}

static void test_listeners(void)
{
	struct config config;

	/* Settings of a listener belong to the one before them. */
	expect_silence(&config,
		       "max_connections 9\nport 1884\nbind_address ::1\n"
		       "listener 1\nmax_connections 5\n"
		       "listener 2 127.0.0.1\nmax_connections -1\n"
		       "listener 3   example.org\n");
	EXPECT(config.listener_count == 4, "%zu", config.listener_count);
	expect_listener(&config, 0, NULL, 1, 5);
	expect_listener(&config, 1, "127.0.0.1", 2, 0);
	expect_listener(&config, 2, "example.org", 3, 0);
	expect_listener(&config, 3, "::1", 1884, 9);
	EXPECT(!config.listeners[0].access.allow_anonymous,
	       "closed unless told otherwise");
	config_free(&config);

	expect_silence(&config, "bind_address 10.0.0.1\nallow_anonymous true");
	EXPECT(config.listener_count == 1, "%zu", config.listener_count);
	expect_listener(&config, 0, "10.0.0.1", 1883, 0);
	EXPECT(config.listeners[0].access.allow_anonymous, "told otherwise");
	config_free(&config);

	/* Not a listener: who wants only a limit does not open the broker. */
	expect_silence(&config, "max_connections 3\n");
	EXPECT(config.listener_count == 1 && config.listeners[0].local_only &&
	       config.listeners[0].max_connections == 3, "limit");
	EXPECT(config.listeners[0].access.allow_anonymous, "still local only");
	config_free(&config);

	EXPECT(!read_text(&config, "port 1\nport 2\n"), "twice");
	EXPECT(strstr(logged, "Warning: Default listener port"), "%s", logged);
	expect_listener(&config, 0, NULL, 2, 0);
	config_free(&config);

	expect_error("listener 70000\n", "Error: Invalid port value (70000).\n"
		     "Error found at x.conf:1.\n");
	expect_error("listener 0 /run/mqtt.sock\n",
		     "Error: Invalid port value (0).\n"
		     "Error found at x.conf:1.\n");
	expect_error("listener 1 a b\n",
		     "Error: Invalid listener value (more than a port and an address).\n"
		     "Error found at x.conf:1.\n");
	expect_error("bind_address a\nbind_address b\n",
		     "Error: Duplicate bind_address value in configuration.\n"
		     "Error found at x.conf:2.\n");
}

static void test_log_dest(void)
{
	struct config config;

	expect_silence(&config, "log_dest stdout\nlog_dest syslog\n"
				"log_dest file   /tmp/a b\n");
	EXPECT(config.log_dests == (LOG_DEST_STDOUT | LOG_DEST_SYSLOG |
				    LOG_DEST_FILE), "%x", config.log_dests);
	EXPECT(!strcmp(config.log_path, "/tmp/a b"), "%s", config.log_path);
	config_free(&config);

	expect_silence(&config, "log_dest none\n");
	EXPECT(!config.log_dests, "%x", config.log_dests);
	config_free(&config);

	expect_silence(&config, "log_dest stderr\n");
	EXPECT(config.log_dests == LOG_DEST_STDERR, "%x", config.log_dests);
	config_free(&config);

	expect_error("log_dest x\n", "Error: Invalid log_dest value (x).\n"
		     "Error found at x.conf:1.\n");
	expect_error("log_dest topic\n",
		     "Error: log_dest topic is not supported by kmqttd.\n"
		     "Error found at x.conf:1.\n");
	expect_error("log_dest file\n",
		     "Error: Empty \"log_dest file\" value in configuration.\n"
		     "Error found at x.conf:1.\n");
	expect_error("log_dest file /a\nlog_dest file /b\n",
		     "Error: Duplicate \"log_dest file\" value in configuration.\n"
		     "Error found at x.conf:2.\n");
}

static void test_log_type(void)
{
	struct config config;

	expect_silence(&config, "log_type error\nlog_type debug\n");
	EXPECT(config.log_types == (LOG_TYPE_ERROR | LOG_TYPE_DEBUG), "%x",
	       config.log_types);
	config_free(&config);

	expect_silence(&config, "log_type all\n");
	EXPECT(config.log_types == LOG_TYPES_ALL, "%x", config.log_types);
	config_free(&config);

	expect_silence(&config, "log_type none\n");
	EXPECT(!config.log_types, "%x", config.log_types);
	config_free(&config);

	expect_silence(&config, "log_type websockets\nlog_type notice\n"
				"log_type warning\nlog_type information\n"
				"log_type subscribe\nlog_type unsubscribe\n");
	EXPECT(config.log_types == (LOG_TYPE_NOTICE | LOG_TYPE_WARNING |
				    LOG_TYPE_INFORMATION | LOG_TYPE_SUBSCRIBE |
				    LOG_TYPE_UNSUBSCRIBE), "%x",
	       config.log_types);
	config_free(&config);

	expect_error("log_type x\n", "Error: Invalid log_type value (x).\n"
		     "Error found at x.conf:1.\n");
}

static void test_log_lines(void)
{
	struct config config;

	expect_silence(&config, "log_facility 3\nconnection_messages false\n"
				"log_timestamp_format %Y-%m-%dT%H:%M:%S %Z\n");
	EXPECT(config.log_facility == LOG_LOCAL3, "%d", config.log_facility);
	EXPECT(!config.connection_messages, "connection messages");
	EXPECT(!strcmp(config.log_timestamp_format, "%Y-%m-%dT%H:%M:%S %Z"),
	       "%s", config.log_timestamp_format);
	config_free(&config);
}

/* Limits of queues: 0 and less are for any number, as in mosquitto. */
static void test_queues(void)
{
	struct config config;

	expect_silence(&config, "max_inflight_messages 7\n"
				"max_queued_messages 8\nmax_queued_bytes 9\n"
				"queue_qos0_messages true\n"
				"upgrade_outgoing_qos true\n"
				"retain_available false\n");
	EXPECT(config.max_inflight == 7, "%u", config.max_inflight);
	EXPECT(config.max_queued_messages == 8, "%u",
	       config.max_queued_messages);
	EXPECT(config.max_queued_bytes == 9, "%llu", config.max_queued_bytes);
	EXPECT(config.queue_qos0 && config.upgrade_qos &&
	       !config.retain_available, "bools");
	config_free(&config);

	expect_silence(&config, "max_inflight_messages 0\n"
				"max_queued_messages 0\nmax_queued_bytes 0\n");
	EXPECT(config.max_inflight == 65535, "%u", config.max_inflight);
	EXPECT(!config.max_queued_messages && !config.max_queued_bytes, "0");
	config_free(&config);

	expect_silence(&config, "max_inflight_messages -5\n"
				"max_queued_messages -5\nmax_queued_bytes -5\n");
	EXPECT(config.max_inflight == 65535, "%u", config.max_inflight);
	EXPECT(!config.max_queued_messages && !config.max_queued_bytes, "-5");
	config_free(&config);
}

static void test_expiration(void)
{
	static const struct {
		const char *value;
		s64 seconds;
	} good[] = {
		{ "1h", 3600 }, { "2d", 172800 }, { "1w", 604800 },
		{ "1m", 2592000 }, { "14y", 441504000 },
		{ "2147483647y", 2147483647LL * 31536000 },
	};
	static const char *const bad[] = { "1", "1s", "1H", "h", "0d", "-1d",
					   "1.5d", "1 d" };
	struct config config;
	char text[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), "persistent_client_expiration %s",
			 good[i].value);
		expect_silence(&config, text);
		EXPECT(config.client_expiration == good[i].seconds, "%s: %lld",
		       good[i].value, config.client_expiration);
		config_free(&config);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "persistent_client_expiration %s",
			 bad[i]);
		EXPECT(read_text(&config, text) == -EINVAL, "%s", bad[i]);
		config_free(&config);
	}
}

static void expect_access(const struct config *config, size_t i, bool anonymous,
			  bool nameless, const char *prefix)
{
	const struct config_access *access = &config->listeners[i].access;

	EXPECT(access->allow_anonymous == anonymous, "%zu", i);
	EXPECT(access->allow_zero_length_clientid == nameless, "%zu", i);
	EXPECT(!strcmp(access->auto_id_prefix, prefix), "%zu: %s", i,
	       access->auto_id_prefix);
}

static void test_access(void)
{
	struct config config;

	/* Wherever they stand, they are every listener's. */
	expect_silence(&config, "listener 1\nallow_anonymous true\nlistener 2\n"
				"allow_zero_length_clientid false\n"
				"auto_id_prefix x y\nper_listener_settings 0\n");
	expect_access(&config, 0, true, false, "x y");
	expect_access(&config, 1, true, false, "x y");
	config_free(&config);

	expect_silence(&config, "per_listener_settings true\nport 9\n"
				"auto_id_prefix nine-\n"
				"listener 1\nallow_anonymous true\n"
				"listener 2\nallow_zero_length_clientid false\n"
				"per_listener_settings false\n"
				"auto_id_prefix two-\nallow_anonymous false\n");
	expect_access(&config, 0, true, true, "auto-");
	expect_access(&config, 1, false, false, "two-");
	EXPECT(config.listeners[2].port == 9, "%u", config.listeners[2].port);
	expect_access(&config, 2, false, true, "nine-");
	config_free(&config);

	expect_silence(&config, "per_listener_settings true\n");
	expect_access(&config, 0, true, true, "auto-");
	config_free(&config);

	expect_error("allow_anonymous true\nper_listener_settings true\n",
		     "Error: per_listener_settings must be set before any other security settings.\n"
		     "Error found at x.conf:2.\n");
	expect_error("auto_id_prefix a\nauto_id_prefix b\n",
		     "Error: Duplicate auto_id_prefix value in configuration.\n"
		     "Error found at x.conf:2.\n");
	expect_error("auto_id_prefix \xff\n",
		     "Error: Invalid auto_id_prefix value (\xff).\n"
		     "Error found at x.conf:1.\n");
}

/* A directory of its own for what needs files. */
static char directory[] = "/tmp/test_config.XXXXXX";

static const char *in_directory(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void write_file(const char *name, const char *bytes, size_t len)
{
	FILE *file = fopen(in_directory(name), "w");

	if (!file || fwrite(bytes, 1, len, file) != len || fclose(file))
		EXPECT(false, "%s: %s", name, strerror(errno));
}

static void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

/* Two password files, "a" and "b", each with one user of its name. */
static void write_password_files(void)
{
	const char *hash = "$7$101$swgoet6bHUE+kB7g$F7nEWFVmPqzE6Adsr4X91Q3Z7iK1vC6wbaexyGExkifiahTyWsT5nvAGvMRau2Pq26AylibmI31W3ANubURFJg==";
	char text[256];

	snprintf(text, sizeof(text), "a:%s\n", hash);
	write_text("a", text);
	text[0] = 'b';
	write_text("b", text);
}

static void remove_password_files(void)
{
	remove(in_directory("a"));
	remove(in_directory("b"));
}

static void expect_user(const struct config *config, size_t i, const char *name)
{
	const struct users *users = config->listeners[i].access.users;

	if (name)
		EXPECT(users && users_find(users, (const u8 *)name, 1),
		       "listener %zu: %s", i, name);
	else
		EXPECT(!users, "listener %zu", i);
}

static void test_password_files(void)
{
	struct config config;
	char text[1024];

	write_password_files();
	snprintf(text, sizeof(text),
		 "listener 1\nlistener 2\npassword_file %s/a\n", directory);
	expect_silence(&config, text);
	expect_user(&config, 0, "a");
	expect_user(&config, 1, "a");
	EXPECT(!config.listeners[0].access.allow_anonymous, "anonymous");
	config_free(&config);

	snprintf(text, sizeof(text),
		 "per_listener_settings true\nlistener 1\npassword_file %s/a\n"
		 "listener 2\nlistener 3\npassword_file %s/b\n",
		 directory, directory);
	expect_silence(&config, text);
	expect_user(&config, 0, "a");
	expect_user(&config, 1, NULL);
	expect_user(&config, 2, "b");
	config_free(&config);

	/* As in mosquitto, it makes no difference to the default. */
	snprintf(text, sizeof(text), "password_file %s/b\n", directory);
	expect_silence(&config, text);
	expect_user(&config, 0, "b");
	EXPECT(config.listeners[0].access.allow_anonymous, "anonymous");
	config_free(&config);

	write_text("b", "#\nb:nonsense\n");
	EXPECT(read_text(&config, text) == -EINVAL, "a bad file");
	EXPECT(strstr(logged, "Invalid password hash") &&
	       strstr(logged, in_directory("b:2.")), "%s", logged);
	config_free(&config);
	remove_password_files();
	EXPECT(read_text(&config, text) == -ENOENT, "no file");
	config_free(&config);
}

static void test_identifiers(void)
{
	struct config config;

	expect_silence(&config, "clientid_prefixes a b\nlistener 1\n"
				"use_username_as_clientid true\nlistener 2\n");
	EXPECT(!strcmp(config.id_prefix, "a b"), "%s", config.id_prefix);
	EXPECT(config.listeners[0].username_as_id, "the first");
	EXPECT(!config.listeners[1].username_as_id, "the second");
	config_free(&config);
}

/* What a running broker takes of a file that it reads again. */
static void test_renew(void)
{
	struct config config, fresh;
	const struct config_listener *listeners;
	char text[1024];

	write_password_files();
	snprintf(text, sizeof(text),
		 "listener 1\nlistener 2 ::1\nuser x\nmax_keepalive 7\n"
		 "password_file %s/a\nlog_dest file /l\nqueue_qos0_messages true\n",
		 directory);
	expect_silence(&config, text);
	listeners = config.listeners;
	snprintf(text, sizeof(text),
		 "listener 2 ::1\nmax_connections 5\nlistener 1\nuser x\n"
		 "allow_anonymous true\npassword_file %s/b\nclientid_prefixes c\n"
		 "max_queued_messages 8\nqueue_qos0_messages true\n", directory);
	expect_silence(&fresh, text);
	config_renew(&config, &fresh);
	EXPECT(!logged[0], "%s", logged);
	EXPECT(config.listeners == listeners, "in place");
	EXPECT(config.listeners[0].port == 1 && !config.listeners[0].host,
	       "the first stays the first");
	EXPECT(config.listeners[1].max_connections == 5, "the second");
	EXPECT(config.listeners[0].access.allow_anonymous, "anonymous");
	expect_user(&config, 0, "b");
	expect_user(&config, 1, "b");
	EXPECT(!config.max_keepalive && config.max_queued_messages == 8,
	       "limits");
	EXPECT(!strcmp(config.id_prefix, "c"), "prefix");
	EXPECT(config.log_dests == LOG_DEST_STDERR && !config.log_path, "log");

	/* What is open stays, and that is said. */
	expect_silence(&fresh, "listener 1\nlistener 3\nuser y\n");
	config_renew(&config, &fresh);
	EXPECT(strstr(logged, "Listeners are not opened"), "%s", logged);
	EXPECT(strstr(logged, "user have no effect"), "%s", logged);
	EXPECT(config.listener_count == 2 && config.listeners[1].port == 2,
	       "the listeners");
	expect_user(&config, 0, NULL);
	expect_user(&config, 1, "b");
	EXPECT(!strcmp(config.user, "x") && config.queue_qos0, "others");
	config_free(&config);
	remove_password_files();
}

static void expect_order(const char *order)
{
	const char *at = logged;
	char name;

	for (; *order; order++) {
		at = strstr(at, "Loading config file ");
		name = at ? strstr(at, ".conf")[-1] : '-';
		EXPECT(name == *order, "%c instead of %c", name, *order);
		if (!at)
			return;
		at++;
	}
	EXPECT(!strstr(at, "Loading config file "), "%s", at);
}

static void test_include_dir(void)
{
	static const char *const names[] = { "b", "a", "B", "A", "0", "." };
	struct config config;
	char text[300], name[16];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%s.conf", names[i]);
		write_text(name, "log_type all\n");
	}
	write_text("x.conf.bak", "not read\n");
	write_text("xconf", "not read\n");
	write_text(".conf", "not read\n");
	write_text("b.conf", "max_connections 3\nlistener 7\n"
			     "max_connections 7\ninclude_dir /nonexistent\n");

	/* The listener of an included file ends with it, and the outer goes on. */
	snprintf(text, sizeof(text), "port 1\nlistener 2\ninclude_dir %s\n"
		 "max_connections 2\n", directory);
	EXPECT(!read_text(&config, text), "%s", logged);
	expect_order(".0AaBb");
	EXPECT(strstr(logged, "Warning: include_dir in an included file has no effect.\n"),
	       "%s", logged);
	EXPECT(config.listener_count == 3, "%zu", config.listener_count);
	expect_listener(&config, 0, NULL, 2, 2);
	expect_listener(&config, 1, NULL, 7, 7);
	expect_listener(&config, 2, NULL, 1, 3);
	config_free(&config);

	/* Both the line that is wrong and the one that included it. */
	write_text("B.conf", "\nuser x\nfoo\n");
	EXPECT(read_text(&config, text) == -EINVAL, "foo");
	expect_order(".0AaB");
	snprintf(text, sizeof(text),
		 "Error: Unknown configuration variable \"foo\".\n"
		 "Error found at %s/B.conf:3.\n"
		 "Error found at x.conf:3.\n", directory);
	EXPECT(strstr(logged, text), "%s", logged);
	config_free(&config);

	expect_error("include_dir /nonexistent\n",
		     "Error: Unable to open include_dir '/nonexistent': No such file or directory.\n"
		     "Error found at x.conf:1.\n");
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%s.conf", names[i]);
		unlink(in_directory(name));
	}
	unlink(in_directory("x.conf.bak"));
	unlink(in_directory("xconf"));
	unlink(in_directory(".conf"));
}

/* Who moves here is told that mosquitto's database stays behind. */
static void test_foreign_database(void)
{
	static const char foreign[] = "\0\xb5\0mosquitto db";
	struct config config;
	char text[400];

	snprintf(text, sizeof(text), "persistence true\n"
		 "persistence_location %s\npersistence_file mosquitto.db\n",
		 directory);
	expect_silence(&config, text);
	EXPECT(config.persistence, "true");
	EXPECT(!strcmp(config.persistence_location, directory), "%s",
	       config.persistence_location);
	EXPECT(!strcmp(config.persistence_file, "mosquitto.db"), "%s",
	       config.persistence_file);
	config_free(&config);

	write_file("mosquitto.db", foreign, sizeof(foreign) - 2);
	expect_silence(&config, text);
	config_free(&config);
	write_file("mosquitto.db", foreign, sizeof(foreign));
	EXPECT(read_text(&config, text) == -EINVAL, "mosquitto's");
	EXPECT(strstr(logged, "is a database of mosquitto"), "%s", logged);
	config_free(&config);

	/* Under the default name there is ours. */
	*strstr(text, "persistence_file") = '\0';
	expect_silence(&config, text);
	config_free(&config);
	unlink(in_directory("mosquitto.db"));
}

/* Debian's /etc/mosquitto/mosquitto.conf, but for where it includes from. */
static void test_debian(void)
{
	static const char stock[] =
		"# Place your local configuration in /etc/mosquitto/conf.d/\n"
		"#\n"
		"# A full description of the configuration file is at\n"
		"# /usr/share/doc/mosquitto/examples/mosquitto.conf.example\n"
		"\n"
		"pid_file /run/mosquitto/mosquitto.pid\n"
		"\n"
		"persistence true\n"
		"persistence_location /var/lib/mosquitto/\n"
		"\n"
		"log_dest file /var/log/mosquitto/mosquitto.log\n"
		"\n";
	struct config config;
	char text[1000];

	snprintf(text, sizeof(text), "%sinclude_dir %s\n", stock, directory);
	expect_silence(&config, text);
	EXPECT(config.listeners[0].local_only, "listener");
	EXPECT(config.listeners[0].access.allow_anonymous, "anonymous");
	EXPECT(config.persistence, "persistence");
	EXPECT(!strcmp(config.persistence_location, "/var/lib/mosquitto/"),
	       "%s", config.persistence_location);
	EXPECT(!strcmp(config.persistence_file, "kmqtt.db"), "%s",
	       config.persistence_file);
	EXPECT(!strcmp(config.pid_file, "/run/mosquitto/mosquitto.pid"), "%s",
	       config.pid_file);
	EXPECT(config.log_dests == LOG_DEST_FILE, "%x", config.log_dests);
	EXPECT(!strcmp(config.log_path, "/var/log/mosquitto/mosquitto.log"),
	       "%s", config.log_path);
	config_free(&config);
}

static void test_files(void)
{
	struct config config;

	logged[0] = '\0';
	EXPECT(config_load(&config, "/nonexistent", 0) == -EINVAL, "absent");
	EXPECT(strstr(logged, "Error: Unable to open config file /nonexistent"),
	       "%s", logged);
	config_free(&config);
	logged[0] = '\0';
	EXPECT(config_load(&config, "/", 0) == -EIO, "a directory");
	EXPECT(strstr(logged, "Error: Unable to read /."), "%s", logged);
	config_free(&config);
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "defaults", test_defaults },
		{ "syntax", test_syntax },
		{ "unknown", test_unknown },
		{ "unsupported", test_unsupported },
		{ "acl_file", test_acl_file },
		{ "fixed", test_fixed },
		{ "without_effect", test_without_effect },
		{ "empty", test_empty },
		{ "version_5", test_version_5 },
		{ "numbers", test_numbers },
		{ "bools", test_bools },
		{ "listeners", test_listeners },
		{ "log_dest", test_log_dest },
		{ "log_type", test_log_type },
		{ "log_lines", test_log_lines },
		{ "queues", test_queues },
		{ "expiration", test_expiration },
		{ "access", test_access },
		{ "password_files", test_password_files },
		{ "identifiers", test_identifiers },
		{ "renew", test_renew },
		{ "include_dir", test_include_dir },
		{ "foreign_database", test_foreign_database },
		{ "debian", test_debian },
		{ "files", test_files },
	};
	int status;

	if (!mkdtemp(directory)) {
		perror(directory);
		return EXIT_FAILURE;
	}
	status = ktap_run(tests, ARRAY_SIZE(tests));
	rmdir(directory);
	return status;
}
