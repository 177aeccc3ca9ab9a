/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a delivery comes from, as far as that matters after the match: the
 * subscription identifiers of those that matched (MQTT 5, section 3.3.2.3.8),
 * and the shared subscription that it was chosen for (section 4.8.2).
 */
#ifndef _KMQTTD_ORIGIN_H_
#define _KMQTTD_ORIGIN_H_

#include "types.h"

/**
 * struct origin - does not change once made; NULL stands for an empty one
 * @identifiers_len: bytes of @identifiers
 * @share_len: bytes of the shared subscription's filter, "$share/" and all; 0:
 *	it was no shared one
 * @identifiers: as many as there are, then the filter
 */
struct origin {
	u32 identifiers_len;
	u16 share_len;
	u32 identifiers[];
};

/*
 * @identifiers_len: bytes, whole identifiers. Owned by the caller. NULL without
 * memory, and if both are empty.
 */
struct origin *origin_new(const void *identifiers, u32 identifiers_len,
			  const void *share, u16 share_len);

struct origin *origin_copy(const struct origin *origin);

static inline u32 origin_identifiers_len(const struct origin *origin)
{
	return origin ? origin->identifiers_len : 0;
}

static inline u16 origin_share_len(const struct origin *origin)
{
	return origin ? origin->share_len : 0;
}

/* Its filter, if it is of a shared subscription. */
static inline const u8 *origin_share(const struct origin *origin)
{
	return (const u8 *)origin->identifiers + origin->identifiers_len;
}

#endif /* _KMQTTD_ORIGIN_H_ */
