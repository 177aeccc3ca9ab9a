// SPDX-License-Identifier: GPL-2.0
#include "run.h"

#include <linux/slab.h>

#include "msg.h"

/* Get a run without messages and with one reference, or NULL. */
struct kmqtt_run *kmqtt_run_alloc(struct kmqtt_run_pool *pool)
{
	struct kmqtt_run_body *body = pool->bodies;
	struct kmqtt_run *run = pool->runs;

	if (body)
		pool->bodies = body->next;
	else
		body = kmalloc(sizeof(*body), GFP_KERNEL | __GFP_NOWARN);
	if (!body)
		return NULL;

	if (run)
		pool->runs = run->next;
	else
		run = kmalloc(sizeof(*run), GFP_KERNEL | __GFP_NOWARN);
	if (!run) {
		body->next = pool->bodies;
		pool->bodies = body;
		return NULL;
	}

	run->refs = 1;
	run->nr = 0;
	run->nr_kv = 0;
	run->bytes = 0;
	run->body = body;
	run->kv = body->kv;
	run->end = body->end;
	run->copy = NULL;
	return run;
}

/* Append a message, whose reference the run takes over. It is not full. */
void kmqtt_run_add(struct kmqtt_run *run, struct kmqtt_msg *msg)
{
	struct kvec *kv = run->kv + run->nr_kv;

	/* Messages that were received together lie together. */
	if (run->nr_kv && kv[-1].iov_base + kv[-1].iov_len == msg->data) {
		kv[-1].iov_len += msg->len;
	} else {
		kv->iov_base = msg->data;
		kv->iov_len = msg->len;
		run->nr_kv++;
	}
	run->bytes += msg->len;
	run->end[run->nr] = run->bytes;
	run->body->msgs[run->nr++] = msg;
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
	kvfree(run->copy);
	run->next = pool->runs;
	pool->runs = run;
}

/**
 * kmqtt_run_settle() - let a run outlive its pass
 * @pool: the worker's
 * @run: a run that subscribers still wait for
 *
 * A message may pin a chunk much larger than itself, so the messages' bytes
 * move to one allocation of the right size, shared by everybody who waits.
 * Large messages have their own memory already, and stay. Without memory
 * everything stays as it is.
 */
void kmqtt_run_settle(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	size_t head = sizeof(*run->kv) + run->nr * sizeof(*run->end);
	struct kvec *kv;
	u32 *end, i;
	u8 *data;

	if (!run->body || (run->nr == 1 && !run->body->msgs[0]->page))
		return;
	kv = kvmalloc(head + run->bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!kv)
		return;

	end = (u32 *)(kv + 1);
	memcpy(end, run->end, run->nr * sizeof(*end));
	data = (u8 *)(end + run->nr);
	kv->iov_base = data;
	kv->iov_len = run->bytes;
	for (i = 0; i < run->nr_kv; i++) {
		memcpy(data, run->kv[i].iov_base, run->kv[i].iov_len);
		data += run->kv[i].iov_len;
	}

	body_release(pool, run);
	run->copy = kv;
	run->kv = kv;
	run->end = end;
	run->nr_kv = 1;
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
