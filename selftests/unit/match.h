/* SPDX-License-Identifier: GPL-2.0 */
/* Topic matching as plainly as section 4.7 puts it: the trie must agree. */
#ifndef _SELFTESTS_MATCH_H_
#define _SELFTESTS_MATCH_H_

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool reference_match(const char *filter, const char *topic)
{
	bool first = true;

	for (;;) {
		size_t f = strcspn(filter, "/"), t = strcspn(topic, "/");
		bool wild = !first || topic[0] != '$';

		if (f == 1 && *filter == '#')
			return wild;
		if (f == 1 && *filter == '+') {
			if (!wild)
				return false;
		} else if (f != t || memcmp(filter, topic, f)) {
			return false;
		}
		filter += f;
		topic += t;
		first = false;
		if (!*topic)
			return !*filter || !strcmp(filter, "/#");
		if (!*filter)
			return false;
		filter++;
		topic++;
	}
}

#endif /* _SELFTESTS_MATCH_H_ */
