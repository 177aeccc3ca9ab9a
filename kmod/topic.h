/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Topic names and topic filters (sections 1.5.3 and 4.7 of MQTT 3.1.1).
 *
 * Pure: no socket, no lock, no allocation. Any context. Each check returns 0,
 * or -EINVAL; that of a name -E2BIG if nothing but its levels is wrong.
 */
#ifndef _KMQTT_TOPIC_H_
#define _KMQTT_TOPIC_H_

#include <linux/types.h>

int kmqtt_utf8_check(const u8 *s, size_t len);
int kmqtt_text_check(const u8 *s, size_t len);
int kmqtt_topic_name_check(const u8 *s, size_t len);
int kmqtt_topic_filter_check(const u8 *s, size_t len);

/* Length of the level that begins at @off; @off at most @len. */
size_t kmqtt_topic_level(const u8 *s, size_t len, size_t off);

#endif /* _KMQTT_TOPIC_H_ */
