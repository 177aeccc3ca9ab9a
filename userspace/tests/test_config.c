// SPDX-License-Identifier: GPL-2.0
/*
 * The configuration parser: what each variable takes, what it refuses and how
 * that is reported, and the defaults. log_print() is this file's, to see it.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "config.h"
#include "ktap.h"
#include "log.h"

static char logged[4096];

void log_print(enum log_type type, const char *format, ...)
{
	size_t len = strlen(logged);
	va_list args;

	(void)type;
	va_start(args, format);
	vsnprintf(logged + len, sizeof(logged) - len, format, args);
	va_end(args);
	strncat(logged, "\n", sizeof(logged) - strlen(logged) - 1);
}

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
	EXPECT(config.allow_anonymous, "anonymous");
	EXPECT(config.max_keepalive == 0, "%u", config.max_keepalive);
	EXPECT(config.max_packet_size == 2000000, "%u",
	       config.max_packet_size);
	EXPECT(config.connect_timeout == 10, "%u", config.connect_timeout);
	EXPECT(config.log_dests == LOG_DEST_STDERR, "%x", config.log_dests);
	EXPECT(config.log_types == LOG_TYPES_DEFAULT, "%x", config.log_types);
	EXPECT(config.log_timestamp, "timestamp");
	EXPECT(!config.log_path && !config.pid_file && !config.user, "paths");
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
	expect_error("persistence true\n",
		     "Error: Configuration variable persistence is not supported by kmqttd.\n"
		     "Error found at x.conf:1.\n");
	expect_error("plugin_opt_db x\n",
		     "Error: Configuration variable plugin_opt_db is not supported by kmqttd.\n"
		     "Error found at x.conf:1.\n");
}

static void test_empty(void)
{
	static const char *const names[] = {
		"allow_anonymous", "bind_address", "connect_timeout",
		"listener", "log_dest", "log_timestamp", "log_type",
		"max_connections", "max_keepalive", "max_packet_size",
		"pid_file", "port", "user",
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
	EXPECT(!config.log_timestamp && !config.allow_anonymous, "false");
	config_free(&config);
	expect_silence(&config, "log_timestamp 1\nallow_anonymous true\n");
	EXPECT(config.log_timestamp && config.allow_anonymous, "true");
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
	EXPECT(!config.allow_anonymous, "closed unless told otherwise");
	config_free(&config);

	expect_silence(&config, "bind_address 10.0.0.1\nallow_anonymous true");
	EXPECT(config.listener_count == 1, "%zu", config.listener_count);
	expect_listener(&config, 0, "10.0.0.1", 1883, 0);
	EXPECT(config.allow_anonymous, "told otherwise");
	config_free(&config);

	/* Not a listener: who wants only a limit does not open the broker. */
	expect_silence(&config, "max_connections 3\n");
	EXPECT(config.listener_count == 1 && config.listeners[0].local_only &&
	       config.listeners[0].max_connections == 3, "limit");
	EXPECT(config.allow_anonymous, "still local only");
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

static void test_files(void)
{
	struct config config;

	logged[0] = '\0';
	EXPECT(config_load(&config, "/nonexistent", 0) == -ENOENT, "absent");
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
		{ "empty", test_empty },
		{ "numbers", test_numbers },
		{ "bools", test_bools },
		{ "listeners", test_listeners },
		{ "log_dest", test_log_dest },
		{ "log_type", test_log_type },
		{ "files", test_files },
	};

	return ktap_run(tests, ARRAY_SIZE(tests));
}
