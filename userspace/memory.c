// SPDX-License-Identifier: GPL-2.0
#include "memory.h"

#include <malloc.h>

#include "kmod.h"
#include "log.h"

static struct kmod_request request;
static bool requesting;
static bool over;
static const struct config *settings;	/* once they are in force */
static u64 told;	/* what the module may hold, 0 for any number */
static u64 heap;	/* when last looked at, and what was added since */

static u64 limit(void)
{
	return settings ? settings->memory_limit : 0;
}

static u64 heap_max(void)
{
	return limit() / 4 * 3;
}

static void build(struct kmod_request *made, struct nlmsghdr *message,
		  size_t room)
{
	u64 used = heap < heap_max() ? heap : heap_max();

	(void)made;
	(void)room;
	told = limit() - used;
	mnl_attr_put_u64(message, KMQTT_A_STATS_MEMORY_LIMIT, told);
}

static void done(struct kmod_request *made, const struct kmod_reply *reply)
{
	(void)made;
	(void)reply;
	requesting = false;
}

static void tell(void)
{
	static const struct kmod_command memory_set = {
		.cmd = KMQTT_CMD_MEMORY_SET,
		.build = build,
		.done = done,
	};

	requesting = true;
	kmod_submit(&request, &memory_set);
}

static void judge(void)
{
	bool before = over;
	/* Packets come and go: it is over until an eighth is free. */
	u64 max = over ? heap_max() / 8 * 7 : heap_max();

	over = limit() && heap > max;
	if (over && !before)
		log_print(LOG_TYPE_WARNING,
			  "Warning: memory_limit is exceeded: new clients and subscriptions are refused, and messages not queued.");
	else if (before && !over)
		log_print(LOG_TYPE_NOTICE,
			  "memory_limit is not exceeded any more.");
}

/* Bytes in use, of all threads. */
static void look(void)
{
	const struct mallinfo2 info = mallinfo2();

	heap = info.uordblks + info.hblkhd;
}

void memory_open(const struct config *config)
{
	settings = config;
	look();
	tell();
}

void memory_tick(void)
{
	if (!limit() && !told && !over)
		return;
	look();
	judge();
	if (!requesting)
		tell();
}

void memory_add(size_t bytes)
{
	heap += bytes;
	judge();
}

bool memory_is_short_of(u64 bytes)
{
	return limit() && heap + bytes > heap_max();
}

bool memory_over(void)
{
	return over;
}
