// SPDX-License-Identifier: GPL-2.0
#include "change.h"

#include <stdlib.h>
#include <string.h>

#include "store.h"

void change_forget_answer(struct change *change)
{
	u32 i;

	for (i = 0; i < change->nr; i++)
		store_delivery_free(&change->deliveries[i]);
	free(change->deliveries);
	change->deliveries = NULL;
	change->nr = 0;
}

void change_free(struct change *change)
{
	change_forget_answer(change);
	if (change->message)
		message_put(change->message);
	free(change->origin);
	free(change);
}

void change_list_splice(struct change_list *to, struct change_list *from)
{
	if (!from->first)
		return;
	if (to->first)
		to->last->next = from->first;
	else
		to->first = from->first;
	to->last = from->last;
	to->number = from->number;
	from->first = NULL;
}

static bool is_delivery(const struct change *change)
{
	return change->type == CHANGE_DELIVERY_ADD ||
	       change->type == CHANGE_DELIVERY_STATE ||
	       change->type == CHANGE_DELIVERY_DEL;
}

static bool is_retained(const struct change *change)
{
	return change->type == CHANGE_RETAINED_SET ||
	       change->type == CHANGE_RETAINED_DEL;
}

static u32 hash(const struct change *change)
{
	const u64 key[] = { change->sid, change->seq };

	if (is_delivery(change))
		return table_hash((const u8 *)key, sizeof(key));
	return table_hash(change->message->data, change->message->topic_len);
}

/* Do they change the same delivery, or the same topic's retained message? */
static bool same(const struct change *a, const struct change *b)
{
	if (is_delivery(a))
		return is_delivery(b) && a->sid == b->sid && a->seq == b->seq;
	return is_retained(b) &&
	       a->message->topic_len == b->message->topic_len &&
	       !memcmp(a->message->data, b->message->data,
		       a->message->topic_len);
}

/* The last one that changed what @change does. */
static struct change *find(const struct table *table,
			   const struct change *change)
{
	struct table_node *node;
	struct change *former;

	for (node = table_chain(table, change->node.hash); node;
	     node = node->next) {
		former = container_of(node, struct change, node);
		if (node->hash == change->node.hash && same(former, change))
			return former;
	}
	return NULL;
}

/*
 * What one change makes of another. Returns whether a later one may have to do
 * with @change; not with @former any more, unless it takes @change's place.
 */
static bool overtake(struct change *former, struct change *change)
{
	switch (change->type) {
	case CHANGE_DELIVERY_STATE:
		former->state = change->state;
		change->pointless = true;
		return false;
	case CHANGE_DELIVERY_DEL:
		former->pointless = true;
		change->pointless = former->type == CHANGE_DELIVERY_ADD;
		return false;
	default:
		former->pointless = true;
		return true;
	}
}

static void prune_one(struct table *table, struct change *change)
{
	struct change *former;

	change->node.hash = hash(change);
	former = find(table, change);
	if (!former) {
		/* Without memory it is written, which is as good. */
		table_add(table, &change->node, change->node.hash);
		return;
	}
	if (overtake(former, change))
		table_add(table, &change->node, change->node.hash);
	if (former->pointless)
		table_del(table, &former->node);
}

void change_prune(struct change_list *list)
{
	struct table table = { 0 };
	struct change *change;

	if (!list->first || list->first == list->last)
		return;
	for (change = list->first; change; change = change->next) {
		if (change->type == CHANGE_READ) {
			free(table.slots);
			table = (struct table){ 0 };
		} else if (!change->pointless &&
			   (is_delivery(change) || is_retained(change))) {
			prune_one(&table, change);
		}
	}
	free(table.slots);
}
