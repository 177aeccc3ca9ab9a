/* SPDX-License-Identifier: GPL-2.0 */
/* What the code under test logs, in place of log.c. */
#ifndef _KMQTTD_TESTS_LOGGED_H_
#define _KMQTTD_TESTS_LOGGED_H_

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

#endif /* _KMQTTD_TESTS_LOGGED_H_ */
