// SPDX-License-Identifier: GPL-2.0
/*
 * The ring: what is asked for begins with the next turn and not before, all of
 * it, in order, however much it is.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ktap.h"
#include "logged.h"
#include "ring.h"
#include "types.h"

/* Several times as many as its queue has room for. */
#define MANY	5000
/* The buffers of one connection take so many. */
#define EACH	100

static int fds[MANY / EACH][2];
static u32 values[MANY];
static struct ring_op ops[MANY];
static u32 done;

static void one_done(struct ring_op *op, const struct ring_result *result)
{
	EXPECT(result->res == sizeof(u32), "%d", result->res);
	EXPECT(op == &ops[done], "number %td is the %uth", op - ops, done);
	done++;
}

static void ask(void)
{
	u32 i;

	for (i = 0; i < MANY; i++) {
		values[i] = i;
		ops[i].done = one_done;
		ring_send(&ops[i], fds[i / EACH][0], &values[i], sizeof(u32));
	}
}

/* How many have arrived. */
static u32 receive(void)
{
	u32 value, i, count = 0;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		while (recv(fds[i][1], &value, sizeof(value), MSG_DONTWAIT) ==
		       sizeof(value)) {
			EXPECT(value == count, "%u, not %u", value, count);
			count++;
		}
	}
	return count;
}

static void open_all(void)
{
	u32 i;

	done = 0;
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		EXPECT(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]),
		       "no connection");
}

static void close_all(void)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

/* Nothing has begun yet; all does in a turn. */
static void expect_all(void)
{
	u32 count = receive();

	EXPECT(!count, "%u sent before the turn", count);
	EXPECT(!done, "%u done before the turn", done);
	EXPECT(!ring_turn(true), "it failed");
	count = receive();
	EXPECT(count == MANY, "%u arrived", count);
	EXPECT(done == MANY, "%u done", done);
}

static void between(void)
{
	open_all();
	ask();
	expect_all();
	close_all();
}

static void soon_done(struct ring_op *op, const struct ring_result *result)
{
	(void)op;
	(void)result;
	ask();
}

static void within(void)
{
	static struct ring_op op = { .done = soon_done };

	open_all();
	ring_soon(&op);
	EXPECT(!ring_turn(true), "it failed");
	expect_all();
	close_all();
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "5,000 sends between turns begin with the next", between },
		{ "5,000 sends of one turn begin with the next", within },
	};

	if (ring_open())
		return EXIT_FAILURE;
	return ktap_run(tests, ARRAY_SIZE(tests));
}
