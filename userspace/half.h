/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Packets that have come in part, and are larger than what the module keeps for
 * the daemon (KMQTT_A_CONN_DONE): it is told to forget the beginning. Then the
 * journal has that until the packet is answered: the next daemon begins anew with
 * it. There are 4 MiB for all clients together. A connection whose beginning has
 * found no room there, or could not be kept in time (half_waits()), ends with the
 * daemon.
 */
#ifndef _KMQTTD_HALF_H_
#define _KMQTTD_HALF_H_

#include "buffer.h"
#include "journal.h"

struct client;

/**
 * struct half - part of a stream
 * @at: where in it
 * @bytes: what is there
 */
struct half {
	u64 at;
	struct buffer bytes;
};

static inline u64 half_end(const struct half *half)
{
	return half->at + buffer_used(&half->bytes);
}

/* Takes a record of one: it goes on, or is another. 0 or -ENOMEM. */
int half_journaled(struct half *half, const struct journal_record *record);

/*
 * Leaves of it what is from byte @from of the stream on, to byte @to. False if it
 * has not all of that, or that is nothing; then nothing is left.
 */
bool half_cut(struct half *half, u64 from, u64 to);

/* Writes one to the journal. False if it finds no room there. */
bool half_write(u64 cookie, enum journal_type type, const struct half *half);

/* What is before byte @done is not needed: if that is all of it, nothing is left. */
void half_settle(struct half *half, u64 done);

/* The first packet of a client has come in part: that is all which is here of it. */
void half_count(struct client *client);

/* It has been handled. */
void half_forget(struct client *client);

/* Whether there is no memory for more of them: this client is to end. */
bool half_is_too_much(const struct client *client);

/*
 * Whether it could be kept a little later: once what came before it is answered, and
 * the kernel has accepted the answers. That is a second or two, not longer: a client
 * may take no answers before it has sent all.
 */
bool half_waits(struct client *client);

/* Keeps what is here of it, if that may be. Then the kernel may be told. */
void half_keep(struct client *client);

/* Whether all of it is kept that the kernel has forgotten. */
bool half_is_kept(const struct client *client);

/* Lets go what is kept, if it has been answered meanwhile. */
void half_answered(struct client *client);

/* Writes it to the journal anew, or lets it go if it finds no room there. */
void half_rewrite(struct client *client);

void half_free(struct client *client);

/* What the daemon before kept is kept on, if there is room: a copy of @half. */
void half_inherit(struct client *client, const struct half *half);

/* Once a second: what is here is in what memory_tick() has seen. */
void half_tick(void);

#endif /* _KMQTTD_HALF_H_ */
