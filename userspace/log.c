// SPDX-License-Identifier: GPL-2.0
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "topic.h"

#define LOG_LINE_MAX 4096

static struct {
	unsigned int dests;
	unsigned int types;
	bool timestamp;
	const char *timestamp_format;
	int file;
	bool opened;
} sink = {
	.dests = LOG_DEST_STDERR,
	.types = LOG_TYPES_DEFAULT,
	.timestamp = true,
	.file = -1,
};

/*
 * It is the user's who will have to open it again. Later, nobody becomes another
 * user any more, nor may what knows of users be loaded.
 */
static void give_away(int file, const struct config *config)
{
	const struct passwd *entry = NULL;

	if (config->user && !geteuid() && !sink.opened)
		entry = getpwnam(config->user);
	if (entry && fchown(file, entry->pw_uid, entry->pw_gid))
		log_print(LOG_TYPE_WARNING,
			  "Warning: Unable to give %s to user %s: %s.",
			  config->log_path, config->user, strerror(errno));
}

static int open_file(const struct config *config)
{
	int file = open(config->log_path,
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (file < 0) {
		file = -errno;
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to open log file %s for writing: %s.",
			  config->log_path, strerror(-file));
	} else {
		give_away(file, config);
	}
	return file;
}

int log_open(const struct config *config)
{
	int file = -1;

	if (config->log_dests & LOG_DEST_FILE) {
		file = open_file(config);
		if (file < 0)
			return file;
	}
	if (config->log_dests & LOG_DEST_SYSLOG)
		openlog("kmqttd", LOG_PID, config->log_facility);
	if (sink.file >= 0)
		close(sink.file);

	sink.dests = config->log_dests;
	sink.types = config->log_types;
	sink.timestamp = config->log_timestamp;
	sink.timestamp_format = config->log_timestamp_format;
	sink.file = file;
	sink.opened = true;
	return 0;
}

bool log_enabled(enum log_type type)
{
	return sink.dests && (sink.types & type);
}

static int syslog_level(enum log_type type)
{
	switch (type) {
	case LOG_TYPE_ERROR:
		return LOG_ERR;
	case LOG_TYPE_WARNING:
		return LOG_WARNING;
	case LOG_TYPE_DEBUG:
		return LOG_DEBUG;
	case LOG_TYPE_INFORMATION:
		return LOG_INFO;
	default:
		return LOG_NOTICE;
	}
}

/* A line that cannot be written is lost: there is nowhere to say so. */
static void write_line(int fd, const char *line, size_t len)
{
	ssize_t written = write(fd, line, len);

	(void)written;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the administrator's */

/* Returns the bytes written; a time that is too long is left out. */
static size_t put_time(char *line, size_t size)
{
	time_t now = time(NULL);
	size_t len;

	if (!sink.timestamp_format)
		return snprintf(line, size, "%lld: ", (long long)now);
	len = strftime(line, size - 2, sink.timestamp_format, localtime(&now));
	memcpy(line + len, ": ", 2);
	return len + 2;
}

#pragma GCC diagnostic pop

void log_print(enum log_type type, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	size_t text = 0, len;
	va_list args;

	if (!log_enabled(type))
		return;

	if (sink.timestamp)
		text = put_time(line, sizeof(line) / 2);
	va_start(args, format);
	vsnprintf(line + text, sizeof(line) - text, format, args);
	va_end(args);

	if (sink.dests & LOG_DEST_SYSLOG)
		syslog(syslog_level(type), "%s", line + text);

	/* Whole lines in one write, so that processes do not mix theirs. */
	len = strlen(line);
	if (len == sizeof(line) - 1)
		len--;
	line[len++] = '\n';
	if (sink.dests & LOG_DEST_STDOUT)
		write_line(STDOUT_FILENO, line, len);
	if (sink.dests & LOG_DEST_STDERR)
		write_line(STDERR_FILENO, line, len);
	if (sink.dests & LOG_DEST_FILE)
		write_line(sink.file, line, len);
}

void log_last(const char *line)
{
	size_t len = strlen(line);

	write_line(STDERR_FILENO, line, len);
	if (sink.dests & LOG_DEST_FILE)
		write_line(sink.file, line, len);
}

/* Bytes of the well-formed character at @text, 0 for none. */
static size_t character(const u8 *text, size_t len)
{
	size_t n;

	for (n = 1; n <= 4 && n <= len; n++)
		if (!kmqtt_utf8_check(text, n))
			return n;
	return 0;
}

/*
 * What would make a line look like another: characters that are not seen, and
 * those that begin a new line or reorder it (U+200B to U+200F, U+2028 to
 * U+202E, U+2060 to U+206F, U+FEFF).
 */
static bool disguises(const u8 *text)
{
	if (text[0] == 0xef)
		return text[1] == 0xbb && text[2] == 0xbf;
	if (text[0] != 0xe2)
		return false;
	if (text[1] == 0x81)
		return text[2] >= 0xa0 && text[2] <= 0xaf;
	return text[1] == 0x80 && ((text[2] >= 0x8b && text[2] <= 0x8f) ||
				   (text[2] >= 0xa8 && text[2] <= 0xae));
}

/*
 * C0 and C1 control characters and DEL; quotes, which end a text that stands in
 * them; the backslash announces an escape.
 */
static bool harmless(const u8 *text, size_t n)
{
	if (n == 1)
		return text[0] >= 0x20 && text[0] != 0x7f &&
		       !strchr("'\"\\", text[0]);
	if (n == 3)
		return !disguises(text);
	return !(text[0] == 0xc2 && text[1] < 0xa0);
}

const char *log_escape(char *out, const u8 *text, size_t len)
{
	size_t limit = len < LOG_TEXT_MAX ? len : LOG_TEXT_MAX;
	size_t i = 0, at = 0;

	while (i < limit) {
		size_t n = character(text + i, len - i);

		if (n && harmless(text + i, n)) {
			memcpy(out + at, text + i, n);
			at += n;
			i += n;
		} else {
			at += sprintf(out + at, "\\x%02x", text[i++]);
		}
	}
	strcpy(out + at, i < len ? "..." : "");
	return out;
}
