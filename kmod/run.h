/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A run: consecutive messages that go to the same subscribers, gathered once
 * for all of them. Subscribers who want another form of them (form.h) get
 * another run, which is an encoding of the first. A run belongs to one worker,
 * so that its references need no atomics, and has one for each subscriber that
 * it waits for.
 *
 * Everything here is the worker's.
 */
#ifndef _KMQTT_RUN_H_
#define _KMQTT_RUN_H_

#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/types.h>
#include <linux/uio.h>

#include "form.h"
#include "msg.h"

struct kmqtt_ns;

/* Messages in a run, and bytes in a run of several. */
enum { KMQTT_RUN_MAX = 64, KMQTT_RUN_BYTES = 1 << 20 };

/* Bytes that lie together in pages, from which on TCP is given references to
 * these instead of a copy. To 200 subscribers a reference costs less from half
 * a KiB on, even if an instruction copied 16 bytes. But it pins a whole chunk
 * until the slowest receiver has acknowledged: hence no more than four times
 * what its socket is charged for.
 */
enum { KMQTT_SPLICE_MIN = 8192 };

/**
 * struct kmqtt_run_body - room for the messages of a run; recycled
 * @next: link in the pool
 * @kv: their bytes; neighbours in memory share an element
 * @end: where each ends, in bytes from the first
 * @msgs: the messages, with a reference each
 */
struct kmqtt_run_body {
	struct kmqtt_run_body *next;
	struct kvec kv[KMQTT_RUN_MAX];
	u32 end[KMQTT_RUN_MAX];
	struct kmqtt_msg *msgs[KMQTT_RUN_MAX];
};

/**
 * struct kmqtt_run - a run
 * @next: link in the list of a pass, or in the pool
 * @refs: the pass, and entries of rings
 * @nr: messages
 * @nr_kv: elements of @kv
 * @bytes: of all messages
 * @largest: bytes of the largest
 * @retained: one of them was published with RETAIN
 * @expiring: they all expire, as one, give or take a second
 * @splice: kmqtt_run_splice() is true for some of @kv
 * @form: of all messages, or KMQTT_FORM_MIXED
 * @left: seconds until they expire, as an encoding says now
 * @expires: jiffies, when they do
 * @kv: their bytes
 * @end: where each ends
 * @ids: of an encoding with KMQTT_FORM_5: where in its bytes the value of each
 *	one's first subscription identifier is; 0: it has none
 * @expiries: likewise of the message expiry interval
 * @body: what @kv and @end are in, unless the run is an encoding
 * @copy: what they are in, if it is; and a run that is settled is one
 * @charge: bytes that are counted for it in @ns's memory
 * @ns: whose memory that is, or NULL
 */
struct kmqtt_run {
	struct kmqtt_run *next;
	u32 refs;
	u32 nr;
	u32 nr_kv;
	u32 bytes;
	u32 largest;
	bool retained;
	bool expiring;
	bool splice;
	u8 form;
	u32 left;
	u32 charge;
	unsigned long expires;
	struct kvec *kv;
	u32 *end;
	u32 *ids;
	u32 *expiries;
	struct kmqtt_run_body *body;
	void *copy;
	struct kmqtt_ns *ns;
};

/**
 * struct kmqtt_run_pool - runs for reuse, as many as a pass may take
 * @runs: runs
 * @bodies: bodies
 * @nr_runs: how many
 * @nr_bodies: likewise
 */
struct kmqtt_run_pool {
	struct kmqtt_run *runs;
	struct kmqtt_run_body *bodies;
	u32 nr_runs;
	u32 nr_bodies;
};

struct kmqtt_run *kmqtt_run_alloc(struct kmqtt_run_pool *pool);
void kmqtt_run_add(struct kmqtt_run *run, struct kmqtt_msg *msg);
struct kmqtt_run *kmqtt_run_encode(struct kmqtt_run_pool *pool,
				   const struct kmqtt_run *source, u32 first,
				   u32 nr, u8 form,
				   const struct kmqtt_ids *ids);
struct kmqtt_run *kmqtt_run_prefix(struct kmqtt_run_pool *pool,
				   const struct kmqtt_run *run, u32 nr);
void kmqtt_run_fill(struct kmqtt_run *run, const u32 *id);
void kmqtt_run_put(struct kmqtt_run_pool *pool, struct kmqtt_run *run);
void kmqtt_run_settle(struct kmqtt_run_pool *pool, struct kmqtt_run *run);
void kmqtt_run_pool_purge(struct kmqtt_run_pool *pool);

/* Whether one more message, of @len bytes, would be too much. */
static inline bool kmqtt_run_full(const struct kmqtt_run *run, u32 len)
{
	return run->nr == KMQTT_RUN_MAX || run->bytes >= KMQTT_RUN_BYTES ||
	       len > KMQTT_RUN_BYTES - run->bytes;
}

/* Whether a message can follow those of a run: it must expire with them. */
static inline bool kmqtt_run_takes(const struct kmqtt_run *run,
				   const struct kmqtt_msg *msg)
{
	if (kmqtt_run_full(run, msg->len) || run->expiring != !!msg->expiry)
		return false;
	return likely(!run->expiring) ||
	       abs((long)(msg->expires - run->expires)) < HZ;
}

/* Fill in what depends on the subscriber, its kmqtt_sub.id if the run's form has
 * one, and on the time. A run that is about to be sent.
 */
static inline void kmqtt_run_write(struct kmqtt_run *run, const u32 *id)
{
	if (unlikely(run->ids))
		kmqtt_run_fill(run, id);
}

/* Whether it has expired at @now, in jiffies. */
static inline bool kmqtt_run_expired(const struct kmqtt_run *run,
				     unsigned long now)
{
	return unlikely(run->expiring) && time_after_eq(now, run->expires);
}

/* Whether an element of a run's @kv is to be spliced, if any is. */
static inline bool kmqtt_run_splice(const struct kvec *kv)
{
	return kv->iov_len >= KMQTT_SPLICE_MIN && !is_vmalloc_addr(kv->iov_base);
}

/* Bytes of the first @nr messages. */
static inline u32 kmqtt_run_bytes(const struct kmqtt_run *run, u32 nr)
{
	return run->end[nr - 1];
}

#endif /* _KMQTT_RUN_H_ */
