/* SPDX-License-Identifier: GPL-2.0 */
/* KTAP for a program of unit tests. */
#ifndef _SELFTESTS_KTAP_H_
#define _SELFTESTS_KTAP_H_

#include <stdbool.h>
#include <stdio.h>

/**
 * struct ktap_test - a test
 * @name: what it shows
 * @run: returns whether it does
 */
struct ktap_test {
	const char *name;
	bool (*run)(void);
};

/* In a test: fail, and say where. */
#define CHECK(condition)						\
do {									\
	if (!(condition)) {						\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);	\
		return false;						\
	}								\
} while (0)

static inline int ktap_run(const struct ktap_test *tests, int nr)
{
	int failed = 0;
	int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%d\n", nr);
	for (i = 0; i < nr; i++) {
		bool ok = tests[i].run();

		printf("%sok %d %s\n", ok ? "" : "not ", i + 1, tests[i].name);
		failed += !ok;
	}
	return failed ? 1 : 0;
}

#endif /* _SELFTESTS_KTAP_H_ */
