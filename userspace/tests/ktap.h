/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Unit tests that report in KTAP (Documentation/dev-tools/ktap.rst in the
 * kernel). A test is a function; EXPECT() says what went wrong and goes on.
 */
#ifndef _KMQTTD_KTAP_H_
#define _KMQTTD_KTAP_H_

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct ktap_test {
	const char *name;
	void (*run)(void);
};

static bool ktap_failed;

#define EXPECT(condition, ...)						\
	do {								\
		if (!(condition)) {					\
			ktap_failed = true;				\
			printf("# %s:%d: %s: ", __FILE__, __LINE__,	\
			       #condition);				\
			printf(__VA_ARGS__);				\
			putchar('\n');					\
		}							\
	} while (0)

static inline int ktap_run(const struct ktap_test *tests, unsigned int count)
{
	unsigned int i, failures = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%u\n", count);
	for (i = 0; i < count; i++) {
		ktap_failed = false;
		tests[i].run();
		failures += ktap_failed;
		printf("%s %u %s\n", ktap_failed ? "not ok" : "ok", i + 1,
		       tests[i].name);
	}
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif /* _KMQTTD_KTAP_H_ */
