// SPDX-License-Identifier: GPL-2.0
/*
 * Halves: whenever the daemon is killed, what the journal has and what the kernel
 * has not forgotten make a whole stream.
 *
 * The journal is this file's, which reads each record at once, as the next daemon
 * would; so are the client's other affairs.
 */
#include <string.h>

#include "client.h"
#include "half.h"
#include "ktap.h"
#include "../memory.h"

#define STEPS	300000

static u32 the_time;
static bool short_of_memory;

u32 client_clock(void)
{
	return the_time;
}

bool client_is_journaled(const struct client *client)
{
	return client->session;
}

bool memory_is_short_of(u64 bytes)
{
	(void)bytes;
	return short_of_memory;
}

bool journal_enabled(void)
{
	return true;
}

bool journal_has_room(size_t len)
{
	(void)len;
	return true;
}

/* What the next daemon would know. */
static struct half known;

void journal_append2(enum journal_type type, u64 sid, u64 a, u64 b, u64 c,
		     const void *bytes, size_t len, const void *more,
		     size_t more_len)
{
	struct journal_record *record = malloc(sizeof(*record) + len);

	*record = (struct journal_record){
		.type = type, .sid = sid, .len = len, .a = a, .b = b, .c = c,
	};
	memcpy(record->bytes, bytes, len);
	EXPECT(!more && !more_len, "nothing else");
	EXPECT(!half_journaled(&known, record), "taken");
	free(record);
}

static u8 byte_at(u64 at)
{
	return at * 31 + at / 251;
}

static struct session a_session;
static struct client client;
/* What the kernel has forgotten; it may not have heard of all that it was told. */
static u64 forgotten;

static void receive(u32 len)
{
	u64 at = client.handled + buffer_used(&client.in);
	u8 *to = buffer_reserve(&client.in, len);
	u32 i;

	for (i = 0; i < len; i++)
		to[i] = byte_at(at + i);
	client.in.tail += len;
}

static void tell_of(void)
{
	if (!buffer_used(&client.in))
		return;
	if (rand() % 4)
		half_answered(&client);
	half_count(&client);
	if (half_waits(&client)) {
		EXPECT(client.now.done != client.handled || client.sending,
		       "waits for an answer");
		return;
	}
	half_keep(&client);
	client.told = client.handled + buffer_used(&client.in);
	EXPECT(half_is_kept(&client), "kept");
	if (rand() % 2)
		forgotten = client.told;
}

/* A packet is whole, and has been handled. */
static void handle(void)
{
	u32 len = rand() % (buffer_used(&client.in) + 1);

	client.handled += len;
	buffer_consume(&client.in, len);
	half_forget(&client);
}

static void answer(void)
{
	if (client.sending)
		return;
	client.before = client.now;
	client.now.sent += 4;
	client.now.done = client.handled;
	client.sending = true;
	half_settle(&known, client.before.done);
}

static void rewrite(void)
{
	buffer_free(&known.bytes);
	known.at = 0;
	half_rewrite(&client);
}

/* Another daemon adopts it, who reads what the kernel has not forgotten. */
static void kill_it(void)
{
	bool accepted = !client.sending || rand() % 2;
	struct progress progress = accepted ? client.now : client.before;
	struct half half = { 0 };	/* the journal stays as it is */
	size_t len = 0, i;

	if (forgotten > progress.done) {
		len = forgotten - progress.done;
		half.at = known.at;
		buffer_append(&half.bytes, buffer_head(&known.bytes),
			      buffer_used(&known.bytes));
		EXPECT(half_cut(&half, progress.done, forgotten),
		       "%llu to %llu", progress.done, forgotten);
		for (i = 0; i < buffer_used(&half.bytes); i++)
			if (buffer_head(&half.bytes)[i] !=
			    byte_at(progress.done + i))
				break;
		EXPECT(i == len, "byte %zu of %zu", i, len);
	}
	half_free(&client);
	buffer_free(&client.in);
	client = (struct client){
		.session = &a_session, .now = progress, .before = progress,
		.handled = progress.done,
		.told = len ? forgotten : progress.done,
	};
	if (len) {
		receive(len);
		half_inherit(&client, &half);
	}
	buffer_free(&half.bytes);
}

static void test_killed(void)
{
	u32 i;

	client.session = &a_session;
	for (i = 0; i < STEPS && !ktap_failed; i++) {
		switch (rand() % 8) {
		case 0: case 1: receive(1 + rand() % 100); break;
		case 2: case 3: tell_of(); break;
		case 4: handle(); break;
		case 5: answer(); break;
		case 6: client.sending = false; break;
		case 7:
			if (rand() % 2)
				rewrite();
			else
				kill_it();
		}
	}
	half_free(&client);
	buffer_free(&client.in);
	buffer_free(&known.bytes);
}

/* Who takes no answers before it has sent all is waited for so long. */
static void test_waits(void)
{
	u32 begin;

	for (begin = UINT32_MAX; begin != 2; begin++) {
		client = (struct client){ .session = &a_session, .handled = 4 };
		receive(100);
		the_time = begin;
		EXPECT(half_waits(&client), "at %u", begin);
		EXPECT(half_waits(&client), "at %u, again", begin);
		the_time = begin + 998;
		EXPECT(half_waits(&client), "998 ms after %u", begin);
		the_time = begin + 1001;
		EXPECT(!half_waits(&client), "after %u", begin);
		half_keep(&client);
		client.told = client.handled + 100;
		EXPECT(!half_is_kept(&client), "its answer is not there");
		EXPECT(!client.half_since, "it waits no more");
		receive(100);
		EXPECT(!half_waits(&client), "what is lost is lost");
		half_free(&client);
		buffer_free(&client.in);
	}
	the_time = 0;
}

/* 4 MiB in all; with little memory, no more than these and one. */
static void test_bounds(void)
{
	static struct client clients[6];
	u32 i, kept = 0, ended = 0;
	struct buffer *in;

	short_of_memory = true;
	for (i = 0; i < ARRAY_SIZE(clients); i++) {
		clients[i].session = &a_session;
		in = &clients[i].in;
		memset(buffer_reserve(in, 1 << 20), 0, 1 << 20);
		in->tail += 1 << 20;
		half_count(&clients[i]);
		ended += half_is_too_much(&clients[i]);
		EXPECT(!half_waits(&clients[i]), "%u", i);
		half_keep(&clients[i]);
		clients[i].told = 1 << 20;
		kept += half_is_kept(&clients[i]);
	}
	EXPECT(kept == 4, "%u", kept);
	EXPECT(ended == 1, "%u", ended);
	for (i = 0; i < ARRAY_SIZE(clients); i++) {
		half_free(&clients[i]);
		buffer_free(&clients[i].in);
	}
	buffer_free(&known.bytes);
	short_of_memory = false;
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "whenever it is killed, the stream is whole", test_killed },
		{ "for an answer it waits a second, not longer", test_waits },
		{ "4 MiB are kept, and no more", test_bounds },
	};

	return ktap_run(tests, ARRAY_SIZE(tests));
}
