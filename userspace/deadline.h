/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Deadlines: what is to be done at a time of day, which may be weeks away: a
 * session ends, a will is published, a retained message expires.
 */
#ifndef _KMQTTD_DEADLINE_H_
#define _KMQTTD_DEADLINE_H_

#include "types.h"

/**
 * struct deadline - one, embedded in what it is about
 * @when: milliseconds since 1970
 * @due: called once it has passed; it is no longer set then
 * @place: where it is, from 1; 0: it is not set
 */
struct deadline {
	s64 when;
	void (*due)(struct deadline *deadline);
	u32 place;
};

/* Sets it, or sets it anew; @due is the caller's to fill in. 0 or -ENOMEM. */
int deadline_set(struct deadline *deadline, s64 when);

/* It will not be called; it need not be set. */
void deadline_cancel(struct deadline *deadline);

/*
 * Calls those that have passed at @now, the oldest first, as far as that does
 * not take too long: the rest next time. To be called once a second.
 */
void deadline_tick(s64 now);

#endif /* _KMQTTD_DEADLINE_H_ */
