/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A run: consecutive messages that go to the same subscribers, gathered once
 * for all of them. It belongs to one worker, so that its references need no
 * atomics, and has one for each subscriber that it waits for.
 *
 * Everything here is the worker's.
 */
#ifndef _KMQTT_RUN_H_
#define _KMQTT_RUN_H_

#include <linux/mm.h>
#include <linux/types.h>
#include <linux/uio.h>

struct kmqtt_msg;
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
 * @retained: one of them was published with RETAIN
 * @splice: kmqtt_run_splice() is true for some of @kv
 * @kv: their bytes
 * @end: where each ends
 * @body: what @kv and @end are in, until the run is settled
 * @copy: what they are in afterwards
 * @ns: in whose memory @bytes are counted, or NULL
 */
struct kmqtt_run {
	struct kmqtt_run *next;
	u32 refs;
	u32 nr;
	u32 nr_kv;
	u32 bytes;
	bool retained;
	bool splice;
	struct kvec *kv;
	u32 *end;
	struct kmqtt_run_body *body;
	void *copy;
	struct kmqtt_ns *ns;
};

/**
 * struct kmqtt_run_pool - runs for reuse
 * @runs: runs
 * @bodies: bodies
 */
struct kmqtt_run_pool {
	struct kmqtt_run *runs;
	struct kmqtt_run_body *bodies;
};

struct kmqtt_run *kmqtt_run_alloc(struct kmqtt_run_pool *pool);
void kmqtt_run_add(struct kmqtt_run *run, struct kmqtt_msg *msg);
struct kmqtt_run *kmqtt_run_prefix(struct kmqtt_run_pool *pool,
				   const struct kmqtt_run *run, u32 nr);
struct kmqtt_run *kmqtt_run_single(struct kmqtt_run_pool *pool,
				   const struct kmqtt_run *run, u32 i);
void kmqtt_run_put(struct kmqtt_run_pool *pool, struct kmqtt_run *run);
void kmqtt_run_settle(struct kmqtt_run_pool *pool, struct kmqtt_run *run);
void kmqtt_run_pool_purge(struct kmqtt_run_pool *pool);

/* Whether a message of @len bytes would be too much. */
static inline bool kmqtt_run_full(const struct kmqtt_run *run, u32 len)
{
	return run->nr == KMQTT_RUN_MAX ||
	       (run->nr && (run->bytes >= KMQTT_RUN_BYTES ||
			    len > KMQTT_RUN_BYTES - run->bytes));
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
