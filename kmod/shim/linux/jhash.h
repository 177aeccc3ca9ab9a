/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_JHASH_H_
#define _SHIM_LINUX_JHASH_H_

#include <linux/types.h>

/* FNV-1a will do. */
static inline u32 jhash(const void *key, u32 len, u32 seed)
{
	const u8 *p = key;
	u32 hash = 2166136261U ^ seed;

	while (len--)
		hash = (hash ^ *p++) * 16777619U;
	return hash;
}

#endif /* _SHIM_LINUX_JHASH_H_ */
