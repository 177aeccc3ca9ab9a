// SPDX-License-Identifier: GPL-2.0
#include "half.h"

#include <stdlib.h>

#include "client.h"
#include "memory.h"

/* Bytes of half packets that go on coming even if memory_limit is exceeded. */
#define HALVES		(4 << 20)
/* Bytes of their beginnings that are kept. */
#define KEPT		(4 << 20)
/* Milliseconds that one waits to be kept. */
#define PATIENCE	1000

/* Of half packets: bytes, those that memory_tick() has seen, and those kept. */
static u64 halves, halves_counted, kept;

int half_journaled(struct half *half, const struct journal_record *record)
{
	struct buffer *bytes = &half->bytes;

	/* Of what is there, the kernel may not have forgotten all: it came again. */
	if (record->a >= half->at && record->a <= half_end(half)) {
		bytes->tail = bytes->head + (record->a - half->at);
	} else {
		buffer_free(bytes);
		half->at = record->a;
	}
	return buffer_append(bytes, record->bytes, record->len);
}

bool half_write(u64 cookie, enum journal_type type, const struct half *half)
{
	size_t len = buffer_used(&half->bytes);

	if (!len)
		return true;
	if (!journal_has_room(len))
		return false;
	journal_append2(type, cookie, half->at, 0, 0, buffer_head(&half->bytes),
			len, NULL, 0);
	return true;
}

void half_settle(struct half *half, u64 done)
{
	if (done >= half_end(half))
		buffer_free(&half->bytes);
}

bool half_cut(struct half *half, u64 from, u64 to)
{
	struct buffer *bytes = &half->bytes;

	if (from >= to || from < half->at || to > half_end(half)) {
		buffer_free(bytes);
		return false;
	}
	bytes->tail -= half_end(half) - to;
	buffer_consume(bytes, from - half->at);
	half->at = from;
	return true;
}

static void count(struct client *client, u32 bytes)
{
	halves += bytes;
	halves -= client->half;
	client->half = bytes;
}

void half_count(struct client *client)
{
	count(client, buffer_used(&client->in));
}

void half_forget(struct client *client)
{
	count(client, 0);
	client->half_since = 0;
}

bool half_is_too_much(const struct client *client)
{
	u64 more = halves > halves_counted ? halves - halves_counted : 0;

	return halves - client->half > HALVES && memory_is_short_of(more);
}

/* What the kernel has forgotten is in nobody's journal: the rest need not be. */
static bool is_lost(const struct client *client)
{
	return client->told > client->handled && !client->head;
}

static bool has_room(const struct client *client)
{
	const struct half *head = client->head;
	u64 others = kept - (head ? buffer_used(&head->bytes) : 0);

	return others + buffer_used(&client->in) <= KEPT;
}

static bool may_keep(const struct client *client)
{
	return journal_enabled() && client_is_journaled(client) &&
	       !is_lost(client) && has_room(client);
}

/* Whatever the kernel accepts: the next daemon begins with this packet. */
static bool is_next(const struct client *client)
{
	return client->now.done == client->handled &&
	       (!client->sending || client->before.done == client->handled);
}

bool half_waits(struct client *client)
{
	u32 now = client_clock();

	if (is_next(client) || !may_keep(client))
		return false;
	if (!client->half_since)
		client->half_since = now ? now : UINT32_MAX;
	return now - client->half_since < PATIENCE;
}

static void drop(struct client *client)
{
	struct half *head = client->head;

	if (!head)
		return;
	kept -= buffer_used(&head->bytes);
	buffer_free(&head->bytes);
	free(head);
	client->head = NULL;
}

/* From byte @at of the stream on. False without memory. */
static bool begin(struct client *client, u64 at)
{
	client->head = calloc(1, sizeof(*client->head));
	if (client->head)
		client->head->at = at;
	return client->head;
}

/* False without memory. */
static bool append(struct half *head, const u8 *bytes, size_t len)
{
	if (buffer_append(&head->bytes, bytes, len))
		return false;
	kept += len;
	return true;
}

/*
 * What is here and was not when it was kept last: what is kept, if anything, ends in
 * this packet. False without memory.
 */
static bool keep(struct client *client)
{
	u64 begun = client->head ? half_end(client->head) : client->handled;
	size_t had = begun - client->handled;
	const u8 *more = buffer_head(&client->in) + had;
	size_t len = buffer_used(&client->in) - had;

	if (!journal_has_room(len) ||
	    (!client->head && !begin(client, begun)))
		return false;
	if (!append(client->head, more, len))
		return false;
	journal_append2(JOURNAL_CONN_HEAD, client->cookie, begun, 0, 0, more,
			len, NULL, 0);
	return true;
}

void half_answered(struct client *client)
{
	const struct half *head = client->head;

	if (head && client->now.done >= half_end(head) &&
	    (!client->sending || client->before.done >= half_end(head)))
		drop(client);
}

void half_keep(struct client *client)
{
	half_answered(client);
	client->half_since = 0;
	if (!is_next(client) || !may_keep(client) || !keep(client))
		drop(client);
}

void half_free(struct client *client)
{
	count(client, 0);
	drop(client);
}

void half_inherit(struct client *client, const struct half *half)
{
	size_t len = buffer_used(&half->bytes);

	if (!len || kept + len > KEPT)
		return;
	if (!begin(client, half->at) ||
	    !append(client->head, buffer_head(&half->bytes), len))
		drop(client);
}

void half_rewrite(struct client *client)
{
	if (client->head &&
	    !half_write(client->cookie, JOURNAL_CONN_HEAD, client->head))
		drop(client);
}

bool half_is_kept(const struct client *client)
{
	return client->head && half_end(client->head) == client->told;
}

void half_tick(void)
{
	halves_counted = halves;
}
