// SPDX-License-Identifier: GPL-2.0
#include "run.h"

#include <linux/slab.h>
#include <linux/kmqtt.h>

#include "msg.h"
#include "ns.h"

static struct kmqtt_run *run_new(struct kmqtt_run_pool *pool)
{
	struct kmqtt_run *run = pool->runs;

	if (run)
		pool->runs = run->next;
	else
		run = kmalloc(sizeof(*run), GFP_KERNEL | __GFP_NOWARN);
	if (!run)
		return NULL;

	run->refs = 1;
	run->nr = 0;
	run->nr_kv = 0;
	run->bytes = 0;
	run->retained = false;
	run->splice = false;
	run->body = NULL;
	run->copy = NULL;
	run->ns = NULL;
	return run;
}

static void run_free(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	run->next = pool->runs;
	pool->runs = run;
}

/* Get a run without messages and with one reference, or NULL. */
struct kmqtt_run *kmqtt_run_alloc(struct kmqtt_run_pool *pool)
{
	struct kmqtt_run_body *body = pool->bodies;
	struct kmqtt_run *run = run_new(pool);

	if (!run)
		return NULL;
	if (body)
		pool->bodies = body->next;
	else
		body = kmalloc(sizeof(*body), GFP_KERNEL | __GFP_NOWARN);
	if (!body) {
		run_free(pool, run);
		return NULL;
	}

	run->body = body;
	run->kv = body->kv;
	run->end = body->end;
	return run;
}

/* Append a message, whose reference the run takes over. It is not full. */
void kmqtt_run_add(struct kmqtt_run *run, struct kmqtt_msg *msg)
{
	struct kmqtt_msg **msgs = run->body->msgs + run->nr;
	struct kvec *kv = run->kv + run->nr_kv - 1;

	/* Messages that were received together lie together. */
	if (run->nr && msg->page && msg->page == msgs[-1]->page &&
	    kv->iov_base + kv->iov_len == msg->data) {
		kv->iov_len += msg->len;
	} else {
		kv++;
		kv->iov_base = msg->data;
		kv->iov_len = msg->len;
		run->nr_kv++;
	}
	if (msg->page && kmqtt_run_splice(kv))
		run->splice = true;
	run->bytes += msg->len;
	run->retained |= msg->sink & KMQTT_SINK_RETAIN;
	run->end[run->nr++] = run->bytes;
	*msgs = msg;
}

static void body_release(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	u32 i;

	for (i = 0; i < run->nr; i++)
		kmqtt_msg_put(run->body->msgs[i]);
	run->body->next = pool->bodies;
	pool->bodies = run->body;
	run->body = NULL;
}

void kmqtt_run_put(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	if (--run->refs)
		return;

	if (run->body)
		body_release(pool, run);
	if (run->ns)
		atomic64_sub(run->bytes, &run->ns->memory.used);
	kvfree(run->copy);
	run_free(pool, run);
}

/* Copy the first @nr messages into one allocation of the right size: how the
 * run lies in it is what a settled run looks like. NULL without memory.
 */
static struct kvec *copy_messages(const struct kmqtt_run *run, u32 nr)
{
	size_t left = kmqtt_run_bytes(run, nr);
	struct kvec *kv, *from = run->kv;
	u32 *end;
	u8 *data;

	kv = kvmalloc(sizeof(*kv) + nr * sizeof(*end) + left,
		      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!kv)
		return NULL;

	end = (u32 *)(kv + 1);
	memcpy(end, run->end, nr * sizeof(*end));
	data = (u8 *)(end + nr);
	kv->iov_base = data;
	kv->iov_len = left;
	for (; left; from++) {
		size_t n = min(left, from->iov_len);

		memcpy(data, from->iov_base, n);
		data += n;
		left -= n;
	}
	return kv;
}

static void count(struct kmqtt_run *run, struct kmqtt_ns *ns)
{
	run->ns = ns;
	atomic64_add(run->bytes, &ns->memory.used);
}

static void use_copy(struct kmqtt_run *run, struct kvec *kv, u32 nr,
		     struct kmqtt_ns *ns)
{
	run->copy = kv;
	run->splice = false;
	run->kv = kv;
	run->nr_kv = 1;
	run->end = (u32 *)(kv + 1);
	run->nr = nr;
	run->bytes = kmqtt_run_bytes(run, nr);
	count(run, ns);
}

static struct kmqtt_ns *run_ns(const struct kmqtt_run *run)
{
	return run->body ? run->body->msgs[0]->ns : run->ns;
}

/**
 * kmqtt_run_prefix() - a run of the first messages of another
 * @pool: the worker's
 * @run: the other
 * @nr: how many messages, at least 1
 *
 * For a subscriber that the rest does not fit: it would pin the whole.
 *
 * Return: the run, with one reference, or NULL without memory.
 */
struct kmqtt_run *kmqtt_run_prefix(struct kmqtt_run_pool *pool,
				   const struct kmqtt_run *run, u32 nr)
{
	struct kmqtt_run *prefix = run_new(pool);
	struct kvec *kv;

	if (!prefix)
		return NULL;
	kv = copy_messages(run, nr);
	if (!kv) {
		run_free(pool, prefix);
		return NULL;
	}
	use_copy(prefix, kv, nr, run_ns(run));
	return prefix;
}

/**
 * kmqtt_run_single() - a run of one message of another
 * @pool: the worker's
 * @run: the other, not settled
 * @i: which message
 *
 * Return: the run, with one reference, or NULL without memory.
 */
struct kmqtt_run *kmqtt_run_single(struct kmqtt_run_pool *pool,
				   const struct kmqtt_run *run, u32 i)
{
	const struct kmqtt_msg *msg = run->body->msgs[i];
	struct kmqtt_run *single = run_new(pool);
	struct kvec *kv;
	u32 *end;

	if (!single)
		return NULL;
	kv = kvmalloc(sizeof(*kv) + sizeof(*end) + msg->len,
		      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!kv) {
		run_free(pool, single);
		return NULL;
	}
	end = (u32 *)(kv + 1);
	end[0] = msg->len;
	kv->iov_base = end + 1;
	kv->iov_len = msg->len;
	memcpy(kv->iov_base, msg->data, msg->len);
	use_copy(single, kv, 1, msg->ns);
	return single;
}

/**
 * kmqtt_run_settle() - let a run outlive its pass
 * @pool: the worker's
 * @run: a run that subscribers still wait for
 *
 * A message may pin a chunk much larger than itself, so the messages' bytes
 * move to one allocation of the right size, shared by everybody who waits. A
 * large message has memory of its own already, or most of a chunk, and stays.
 * Without memory everything stays as it is.
 */
void kmqtt_run_settle(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	struct kmqtt_ns *ns;
	struct kvec *kv;

	if (!run->body)
		return;
	ns = run_ns(run);
	if (run->nr == 1 && kmqtt_msg_fills(run->body->msgs[0])) {
		if (!run->body->msgs[0]->counted)
			count(run, ns);
		return;
	}
	kv = copy_messages(run, run->nr);
	if (!kv)
		return;
	body_release(pool, run);
	use_copy(run, kv, run->nr, ns);
}

void kmqtt_run_pool_purge(struct kmqtt_run_pool *pool)
{
	while (pool->runs) {
		struct kmqtt_run *run = pool->runs;

		pool->runs = run->next;
		kfree(run);
	}
	while (pool->bodies) {
		struct kmqtt_run_body *body = pool->bodies;

		pool->bodies = body->next;
		kfree(body);
	}
}
