// SPDX-License-Identifier: GPL-2.0
#include "origin.h"

#include <stdlib.h>
#include <string.h>

struct origin *origin_new(const void *identifiers, u32 identifiers_len,
			  const void *share, u16 share_len)
{
	struct origin *origin;

	identifiers_len -= identifiers_len % sizeof(u32);
	if (!identifiers_len && !share_len)
		return NULL;
	origin = malloc(sizeof(*origin) + identifiers_len + share_len);
	if (!origin)
		return NULL;
	origin->identifiers_len = identifiers_len;
	origin->share_len = share_len;
	if (identifiers_len)
		memcpy(origin->identifiers, identifiers, identifiers_len);
	if (share_len)
		memcpy((u8 *)origin->identifiers + identifiers_len, share, share_len);
	return origin;
}

struct origin *origin_copy(const struct origin *origin)
{
	if (!origin)
		return NULL;
	return origin_new(origin->identifiers, origin->identifiers_len,
			  origin_share(origin), origin->share_len);
}
