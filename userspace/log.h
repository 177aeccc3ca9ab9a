/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log, in mosquitto's format: one line "<seconds since 1970>: <text>" for
 * each message. Nothing a client sent goes in unescaped, and no password ever.
 */
#ifndef _KMQTTD_LOG_H_
#define _KMQTTD_LOG_H_

#include "types.h"

/* mosquitto's log_type values; a mask selects what is written. */
enum log_type {
	LOG_TYPE_ERROR = 1 << 0,
	LOG_TYPE_WARNING = 1 << 1,
	LOG_TYPE_NOTICE = 1 << 2,
	LOG_TYPE_INFORMATION = 1 << 3,
	LOG_TYPE_DEBUG = 1 << 4,
	LOG_TYPE_SUBSCRIBE = 1 << 5,
	LOG_TYPE_UNSUBSCRIBE = 1 << 6,
};

#define LOG_TYPES_DEFAULT						\
	(LOG_TYPE_ERROR | LOG_TYPE_WARNING | LOG_TYPE_NOTICE |		\
	 LOG_TYPE_INFORMATION)
#define LOG_TYPES_ALL (LOG_TYPES_DEFAULT | LOG_TYPE_DEBUG |		\
		       LOG_TYPE_SUBSCRIBE | LOG_TYPE_UNSUBSCRIBE)

/* mosquitto's log_dest values. */
enum log_dest {
	LOG_DEST_STDOUT = 1 << 0,
	LOG_DEST_STDERR = 1 << 1,
	LOG_DEST_SYSLOG = 1 << 2,
	LOG_DEST_FILE = 1 << 3,
};

/* Bytes that log_escape() needs for @len bytes of input, terminator included */
#define LOG_ESCAPED(len) (4 * (len) + sizeof("..."))

/* How much of a client identifier or of a topic is worth a log line. */
#define LOG_TEXT_MAX 256

struct config;

/*
 * Begins to log as configured, by @config, whose strings must stay; until then
 * all but debugging goes to stderr. Again, it opens the log file anew, which
 * may have been renamed. 0, or -errno when it cannot be opened, which has been
 * logged, and nothing has changed.
 */
int log_open(const struct config *config);

/* Is this type written at all? Spares the work for what is not. */
bool log_enabled(enum log_type type);

/* Writes one line; @format has no newline. */
void log_print(enum log_type type, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Writes a line, with its newline, to stderr and the log's file, as it is and
 * without taking a lock: for a process that cannot go on.
 */
void log_last(const char *line);

/*
 * What a client sent, made fit for a line: control characters, those that are not
 * seen or reorder it, quotes, the backslash and all that is not well-formed
 * UTF-8 become \xNN, and after LOG_TEXT_MAX bytes comes "...". @out has
 * LOG_ESCAPED(LOG_TEXT_MAX) bytes. Returns @out.
 */
const char *log_escape(char *out, const u8 *text, size_t len);

#endif /* _KMQTTD_LOG_H_ */
