/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Stand-ins for kernel headers, so that the module's pure files (frame, rules,
 * topic, trie) compile in user space as they are: for the daemon, unit tests,
 * sanitizers and fuzzers. Only what those files use.
 */
#ifndef _SHIM_LINUX_TYPES_H_
#define _SHIM_LINUX_TYPES_H_

#include_next <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#define __rcu
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#endif /* _SHIM_LINUX_TYPES_H_ */
