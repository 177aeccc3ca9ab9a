// SPDX-License-Identifier: GPL-2.0
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TABLE_MIN 256

static void table_link(struct table *table, struct table_node *node)
{
	struct table_node **slot;

	slot = &table->slots[node->hash & (table->size - 1)];
	node->next = *slot;
	*slot = node;
}

static int table_grow(struct table *table)
{
	struct table grown = { .count = table->count };
	struct table_node *node, *next;
	u32 i;

	grown.size = table->size ? table->size * 2 : TABLE_MIN;
	grown.slots = calloc(grown.size, sizeof(*grown.slots));
	if (!grown.slots)
		return -ENOMEM;

	for (i = 0; i < table->size; i++) {
		for (node = table->slots[i]; node; node = next) {
			next = node->next;
			table_link(&grown, node);
		}
	}
	free(table->slots);
	*table = grown;
	return 0;
}

int table_add(struct table *table, struct table_node *node, u32 hash)
{
	if (table->count >= table->size && table_grow(table) && !table->size)
		return -ENOMEM;
	node->hash = hash;
	table_link(table, node);
	table->count++;
	return 0;
}

void table_del(struct table *table, struct table_node *node)
{
	struct table_node **link;

	link = &table->slots[node->hash & (table->size - 1)];
	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	table->count--;
}

void table_free(struct table *table)
{
	free(table->slots);
	*table = (struct table){ 0 };
}

struct table_node *table_chain(const struct table *table, u32 hash)
{
	return table->size ? table->slots[hash & (table->size - 1)] : NULL;
}

static u64 rotl(u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(u64 v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static void sip_word(u64 v[4], u64 word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

u32 table_hash(const u8 *data, size_t len)
{
	static u64 key[2];
	u64 word, v[4];
	size_t i;

	/* Without entropy the hash still works, it only can be guessed. */
	if (!key[0] && getrandom(key, sizeof(key), 0) != sizeof(key))
		key[0] = 1;

	v[0] = key[0] ^ 0x736f6d6570736575;
	v[1] = key[1] ^ 0x646f72616e646f6d;
	v[2] = key[0] ^ 0x6c7967656e657261;
	v[3] = key[1] ^ 0x7465646279746573;

	for (i = 0; i + 8 <= len; i += 8) {
		memcpy(&word, data + i, 8);
		sip_word(v, word);
	}
	word = (u64)len << 56;
	memcpy(&word, data + i, len - i);
	sip_word(v, word);

	v[2] ^= 0xff;
	for (i = 0; i < 3; i++)
		sip_round(v);
	word = v[0] ^ v[1] ^ v[2] ^ v[3];
	return word ^ word >> 32;
}

u32 table_hash_u32(u32 value)
{
	u32 hash = value * 0x9e3779b1;	/* 2^32 divided by the golden ratio */

	return hash ^ hash >> 16;
}
