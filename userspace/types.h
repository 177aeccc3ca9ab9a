/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The integer names of the kernel, for what is shared with it, and the macros
 * that the daemon needs everywhere.
 */
#ifndef _KMQTTD_TYPES_H_
#define _KMQTTD_TYPES_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#endif /* _KMQTTD_TYPES_H_ */
