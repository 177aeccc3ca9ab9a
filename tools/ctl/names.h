/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What things are called, in tables and in JSON.
 */
#ifndef CTL_NAMES_H
#define CTL_NAMES_H

#include <linux/kmqtt.h>
#include <stdint.h>

/* By enum kmqtt_a_counter; NULL for what is no counter. */
extern const char *const counter_names[KMQTT_A_COUNTER_MAX + 1];

/* By enum kmqtt_end. */
extern const char *const end_names[KMQTT_END_MAX + 1];

/* "unknown" for what only a newer module knows. */
const char *end_name(uint64_t end);
const char *state_name(uint64_t state);
/* Of MQTT; "-" while it is not known. */
const char *level_name(uint64_t level);

#endif
