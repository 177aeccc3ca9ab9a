/* SPDX-License-Identifier: GPL-2.0 */
/* A hash table that grows, with the calls that trie.c makes. */
#ifndef _SHIM_LINUX_RHASHTABLE_H_
#define _SHIM_LINUX_RHASHTABLE_H_

#include <linux/errno.h>
#include <linux/types.h>
#include <stdlib.h>

struct rhash_head {
	struct rhash_head *next;
};

struct rhashtable_compare_arg {
	const void *key;
};

struct rhashtable_params {
	u16 key_len;
	u16 head_offset;
	u32 (*hashfn)(const void *data, u32 len, u32 seed);
	u32 (*obj_hashfn)(const void *data, u32 len, u32 seed);
	int (*obj_cmpfn)(struct rhashtable_compare_arg *arg, const void *obj);
	bool automatic_shrinking;
};

struct rhashtable {
	struct rhash_head **buckets;
	size_t size;
	size_t nr;
};

static inline int rhashtable_init(struct rhashtable *ht,
				  const struct rhashtable_params *params)
{
	(void)params;
	ht->size = 64;
	ht->nr = 0;
	ht->buckets = calloc(ht->size, sizeof(*ht->buckets));
	return ht->buckets ? 0 : -ENOMEM;
}

static inline void rhashtable_destroy(struct rhashtable *ht)
{
	free(ht->buckets);
}

static inline void *rht_obj(struct rhash_head *head,
			    const struct rhashtable_params *params)
{
	return (char *)head - params->head_offset;
}

static inline void *rhashtable_lookup(struct rhashtable *ht, const void *key,
				      const struct rhashtable_params params)
{
	struct rhashtable_compare_arg arg = { .key = key };
	struct rhash_head *head;
	u32 hash = params.hashfn(key, params.key_len, 1);

	for (head = ht->buckets[hash & (ht->size - 1)]; head; head = head->next)
		if (!params.obj_cmpfn(&arg, rht_obj(head, &params)))
			return rht_obj(head, &params);
	return NULL;
}

static inline struct rhash_head **
rht_bucket(struct rhashtable *ht, struct rhash_head *head,
	   const struct rhashtable_params *params)
{
	u32 hash = params->obj_hashfn(rht_obj(head, params), 0, 1);

	return &ht->buckets[hash & (ht->size - 1)];
}

static inline int rht_grow(struct rhashtable *ht,
			   const struct rhashtable_params *params)
{
	struct rhashtable bigger = { .size = ht->size * 2, .nr = ht->nr };
	size_t i;

	bigger.buckets = calloc(bigger.size, sizeof(*bigger.buckets));
	if (!bigger.buckets)
		return -ENOMEM;
	for (i = 0; i < ht->size; i++) {
		while (ht->buckets[i]) {
			struct rhash_head *head = ht->buckets[i];
			struct rhash_head **bucket;

			ht->buckets[i] = head->next;
			bucket = rht_bucket(&bigger, head, params);
			head->next = *bucket;
			*bucket = head;
		}
	}
	free(ht->buckets);
	*ht = bigger;
	return 0;
}

static inline int rhashtable_insert_fast(struct rhashtable *ht,
					 struct rhash_head *head,
					 const struct rhashtable_params params)
{
	struct rhash_head **bucket;

	if (ht->nr >= ht->size && rht_grow(ht, &params))
		return -ENOMEM;
	bucket = rht_bucket(ht, head, &params);
	head->next = *bucket;
	*bucket = head;
	ht->nr++;
	return 0;
}

static inline int rhashtable_remove_fast(struct rhashtable *ht,
					 struct rhash_head *head,
					 const struct rhashtable_params params)
{
	struct rhash_head **link = rht_bucket(ht, head, &params);

	while (*link && *link != head)
		link = &(*link)->next;
	if (!*link)
		return -ENOENT;
	*link = head->next;
	ht->nr--;
	return 0;
}

#endif /* _SHIM_LINUX_RHASHTABLE_H_ */
