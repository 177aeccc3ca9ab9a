/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A hash table of nodes embedded in what it holds. It doubles when it is full,
 * so the cost of an entry does not depend on how many there are.
 */
#ifndef _KMQTTD_TABLE_H_
#define _KMQTTD_TABLE_H_

#include "types.h"

struct table_node {
	struct table_node *next;
	u32 hash;
};

/**
 * struct table - all zeroes is a valid empty table
 * @slots: chains, a power of two of them
 * @size: how many chains
 * @count: nodes in the table
 */
struct table {
	struct table_node **slots;
	u32 size;
	u32 count;
};

/*
 * Adds @node under @hash. Keys are the caller's: it looks before it adds. The
 * node must stay where it is until removed. 0, or -ENOMEM for the first node;
 * later a table that cannot grow only gets slower.
 */
int table_add(struct table *table, struct table_node *node, u32 hash);

/* Removes @node, which must be in the table. */
void table_del(struct table *table, struct table_node *node);

/* Gives the memory of an empty table back; it stays a valid one. */
void table_free(struct table *table);

/* The first of the nodes that may have @hash, or NULL; go on with ->next. */
struct table_node *table_chain(const struct table *table, u32 hash);

/*
 * Hash of what a client chooses: SipHash-1-3 with a key drawn at the first
 * call, so that nobody can choose identifiers that share a chain.
 */
u32 table_hash(const u8 *data, size_t len);

/* Hash of a number that the kernel chose. */
u32 table_hash_u32(u32 value);

#endif /* _KMQTTD_TABLE_H_ */
