/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kmqttctl: what every part of it shares, and its commands.
 */
#ifndef CTL_H
#define CTL_H

#include <stdbool.h>
#include <stdint.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Exit codes; --help documents them. */
enum {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
};

struct options {
	bool json;
	uint32_t id;		/* of a connection; 0: all */
};

/* A message for people, on standard error, with the tool's name before it. */
__attribute__((format(printf, 1, 2)))
void complain(const char *format, ...);

__attribute__((noreturn))
void die_nomem(void);

/* Each returns an exit code, having said on standard error what went wrong. */
int status_command(const struct options *options);
int conns_command(const struct options *options);
int subs_command(const struct options *options);
int stats_command(const struct options *options);
int flush_command(const struct options *options);
int handover_command(const struct options *options);

#endif
