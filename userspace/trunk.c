// SPDX-License-Identifier: GPL-2.0
#include "trunk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "kmod.h"
#include "ring.h"

/* Bytes read at once, and how often in a turn. */
#define READ_SIZE	(256 * 1024)
#define READS		4
/* Bytes that are sent in one turn, and clients that they are for. */
#define SEND_SIZE	65536
#define SEND_CLIENTS	1024
/* Calls of write(), each of which ends with what could not be sent. */
#define WRITES		16

#define ALIGNED(size) \
	(((size) + KMQTT_TRUNK_ALIGN - 1) & ~(KMQTT_TRUNK_ALIGN - 1UL))

/**
 * struct batch - clients
 * @count: how many
 * @clients: the clients, in order
 */
struct batch {
	size_t count;
	struct client *clients[SEND_CLIENTS];
};

/**
 * struct trunk - the trunk
 * @fd: its descriptor
 * @readable: says when there is something to read
 * @more: there is, as far as we know
 * @used: bytes of @out
 * @added: whose records these are
 * @sent: who has been sent to
 * @out: records to be written
 * @in: records that have been read
 */
static struct {
	int fd;
	struct ring_op readable;
	bool more;
	size_t used;
	struct batch added;
	struct batch sent;
	u8 out[SEND_SIZE] __attribute__((aligned(KMQTT_TRUNK_ALIGN)));
	u8 in[READ_SIZE] __attribute__((aligned(KMQTT_TRUNK_ALIGN)));
} trunk = { .fd = -1 };

/* Reading */

static void handle(const u8 *data, size_t len)
{
	const struct kmqtt_trunk_arrival *arrival;
	size_t at;

	for (at = 0; at < len; at += sizeof(*arrival) + ALIGNED(arrival->len)) {
		arrival = (const void *)(data + at);
		client_arrived(arrival->conn_id, arrival->cookie,
			       (const u8 *)(arrival + 1), arrival->len);
	}
}

void trunk_read(void)
{
	unsigned int reads;
	ssize_t n;

	for (reads = 0; trunk.more && reads < READS; reads++) {
		n = read(trunk.fd, trunk.in, READ_SIZE);
		/* Else there was more than fits. */
		trunk.more = n > READ_SIZE - KMQTT_TRUNK_LEAST ||
			     (n < 0 && errno == EINTR);
		if (n > 0)
			handle(trunk.in, n);
	}
}

static void is_readable(struct ring_op *op, const struct ring_result *result)
{
	if (!result->more)
		ring_poll_in_multishot(op, trunk.fd);
	trunk.more = true;
	trunk_read();
}

int trunk_open(void)
{
	int err = kmod_trunk_open(&trunk.fd);

	if (!err)
		fcntl(trunk.fd, F_SETFL, O_NONBLOCK);
	return err;
}

void trunk_start(void)
{
	trunk.readable.done = is_readable;
	ring_poll_in_multishot(&trunk.readable, trunk.fd);
}

/* Sending */

static size_t record_size(const struct client *client)
{
	return ALIGNED(sizeof(struct kmqtt_trunk_record) +
		       buffer_used(&client->sent));
}

bool trunk_add(struct client *client)
{
	const struct kmqtt_trunk_record record = {
		.conn_id = client->conn_id,
		.len = buffer_used(&client->sent),
	};
	u8 *to = trunk.out + trunk.used;

	if (!client->attached || buffer_used(&client->sent) > KMQTT_TRUNK_MAX ||
	    trunk.added.count + trunk.sent.count >= SEND_CLIENTS ||
	    record_size(client) > SEND_SIZE - trunk.used)
		return false;
	memcpy(to, &record, sizeof(record));
	memcpy(to + sizeof(record), buffer_head(&client->sent), record.len);
	trunk.used += record_size(client);
	trunk.added.clients[trunk.added.count++] = client;
	return true;
}

/* Returns how many bytes the module has taken of the records from @at on. */
static size_t write_from(size_t at)
{
	ssize_t n = write(trunk.fd, trunk.out + at, trunk.used - at);

	return n < 0 ? 0 : n;
}

/* The module has taken @done bytes of the record, and no more than that now. */
static void send_rest(struct client *client, size_t done)
{
	if (done > sizeof(struct kmqtt_trunk_record))
		buffer_consume(&client->sent,
			       done - sizeof(struct kmqtt_trunk_record));
	client_ring_send(client);
}

void trunk_flush(void)
{
	struct client **client = trunk.added.clients;
	struct client **end = client + trunk.added.count;
	unsigned int writes = 0;
	size_t at = 0, done;

	while (client < end) {
		done = writes++ < WRITES ? write_from(at) : 0;
		for (; client < end && done >= record_size(*client); client++) {
			done -= record_size(*client);
			at += record_size(*client);
			trunk.sent.clients[trunk.sent.count++] = *client;
		}
		if (client < end) {
			at += record_size(*client);
			send_rest(*client++, done);
		}
	}
	trunk.added.count = 0;
	trunk.used = 0;
}

bool trunk_settle(void)
{
	size_t count = trunk.sent.count, i;

	for (i = 0; i < count; i++)
		client_sent(trunk.sent.clients[i], true);
	trunk.sent.count = 0;
	return count;
}

bool trunk_is_read(void)
{
	return !trunk.more;
}

bool trunk_is_idle(void)
{
	return !trunk.sent.count && !trunk.more;
}
