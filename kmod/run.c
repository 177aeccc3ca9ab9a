// SPDX-License-Identifier: GPL-2.0
#include "run.h"

#include <linux/slab.h>
#include <linux/kmqtt.h>

#include "compat.h"
#include "ns.h"

/* Runs, and bodies, that a pool keeps at the most: a pass of as many messages
 * (WORKER_BATCH), each to other subscribers, allocates none.
 */
enum { RUN_POOL = 512 };

/* As of the messages themselves: nothing that a client sends is worth killing a
 * process for.
 */
#define COPY_GFP (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static struct kmqtt_run *run_new(struct kmqtt_run_pool *pool)
{
	struct kmqtt_run *run = pool->runs;

	if (run) {
		pool->runs = run->next;
		pool->nr_runs--;
	} else {
		run = kmalloc(sizeof(*run), GFP_KERNEL | __GFP_NOWARN);
	}
	if (!run)
		return NULL;

	run->refs = 1;
	run->nr = 0;
	run->nr_kv = 0;
	run->bytes = 0;
	run->largest = 0;
	run->retained = false;
	run->expiring = false;
	run->splice = false;
	run->ids = NULL;
	run->body = NULL;
	run->copy = NULL;
	run->ns = NULL;
	return run;
}

static void run_free(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	if (unlikely(pool->nr_runs == RUN_POOL)) {
		kfree(run);
		return;
	}
	run->next = pool->runs;
	pool->runs = run;
	pool->nr_runs++;
}

static struct kmqtt_run_body *body_new(struct kmqtt_run_pool *pool)
{
	struct kmqtt_run_body *body = pool->bodies;

	if (!body)
		return kmalloc(sizeof(*body), GFP_KERNEL | __GFP_NOWARN);
	pool->bodies = body->next;
	pool->nr_bodies--;
	return body;
}

static void body_free(struct kmqtt_run_pool *pool, struct kmqtt_run_body *body)
{
	if (unlikely(pool->nr_bodies == RUN_POOL)) {
		kfree(body);
		return;
	}
	body->next = pool->bodies;
	pool->bodies = body;
	pool->nr_bodies++;
}

/* Get a run without messages and with one reference, or NULL. */
struct kmqtt_run *kmqtt_run_alloc(struct kmqtt_run_pool *pool)
{
	struct kmqtt_run *run = run_new(pool);
	struct kmqtt_run_body *body;

	if (!run)
		return NULL;
	body = body_new(pool);
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
	if (!run->nr) {
		run->form = msg->form;
		run->expiring = msg->expiry;
		run->expires = msg->expires;
	} else if (run->form != msg->form) {
		run->form = KMQTT_FORM_MIXED;
	}
	run->bytes += msg->len;
	run->largest = max(run->largest, msg->len);
	run->retained |= msg->sink & KMQTT_SINK_RETAIN;
	run->end[run->nr++] = run->bytes;
	*msgs = msg;
}

static void body_release(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	u32 i;

	for (i = 0; i < run->nr; i++)
		kmqtt_msg_put(run->body->msgs[i]);
	body_free(pool, run->body);
	run->body = NULL;
}

void kmqtt_run_put(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	if (--run->refs)
		return;

	if (run->body)
		body_release(pool, run);
	if (run->ns)
		atomic64_sub(run->charge, &run->ns->memory.used);
	kvfree(run->copy);
	run_free(pool, run);
}

/* Whether a message's own bytes are what @form makes of it. */
static bool as_it_is(const struct kmqtt_msg *msg, u8 form)
{
	return msg->form == form;
}

/* Bytes of messages in a form; 0: at least one of them cannot have it. */
static size_t encoded_bytes(struct kmqtt_msg *const *msgs, u32 nr, u8 form,
			    const struct kmqtt_ids *ids)
{
	size_t bytes = 0, n;
	u32 i;

	for (i = 0; i < nr; i++) {
		n = as_it_is(msgs[i], form) && !ids->len ?
		    msgs[i]->len : kmqtt_form_size(msgs[i], form, ids->len);
		if (!n)
			return 0;
		bytes += n;
	}
	return bytes <= U32_MAX ? bytes : 0;
}

/* How many numbers an encoding has of each message: where it ends, and with
 * properties where its identifier and its expiry interval are.
 */
static u32 numbers(u8 form)
{
	return form & KMQTT_FORM_5 ? 3 : 1;
}

/* Bytes of the allocation that an encoding is in: an element, the numbers of each
 * message, and @bytes.
 */
static size_t copy_size(u32 nr, u8 form, u32 bytes)
{
	return sizeof(struct kvec) + numbers(form) * nr * sizeof(u32) + bytes;
}

/* Write messages in a form into one allocation of the right size: its bytes, and
 * in front of them the numbers. NULL without memory, or if that cannot be.
 */
static struct kvec *encode(struct kmqtt_msg *const *msgs, u32 nr, u8 form,
			   const struct kmqtt_ids *ids)
{
	size_t bytes = encoded_bytes(msgs, nr, form, ids);
	u32 *end, *id, *expiry, off = 0, i;
	struct kvec *kv;
	u8 *data;

	if (!bytes)
		return NULL;
	kv = kvmalloc(copy_size(nr, form, bytes), COPY_GFP);
	if (!kv)
		return NULL;

	end = (u32 *)(kv + 1);
	id = end + nr;
	expiry = id + nr;
	data = (u8 *)(end + numbers(form) * nr);
	for (i = 0; i < nr; i++) {
		const struct kmqtt_msg *msg = msgs[i];
		u32 id_off = 0, expiry_off = msg->expiry, n = msg->len;

		if (as_it_is(msg, form) && !ids->len)
			memcpy(data + off, msg->data, n);
		else
			n = kmqtt_form_write(msg, form, ids, data + off,
					     &id_off, &expiry_off);
		if (form & KMQTT_FORM_5) {
			id[i] = id_off ? off + id_off : 0;
			expiry[i] = expiry_off ? off + expiry_off : 0;
		}
		off += n;
		end[i] = off;
	}
	kv->iov_base = data;
	kv->iov_len = off;
	return kv;
}

/* Count a run that outlives its pass, and @bytes that are its alone. */
static void count(struct kmqtt_run *run, struct kmqtt_ns *ns, u32 bytes)
{
	run->ns = ns;
	run->charge = sizeof(*run) + bytes;
	atomic64_add(run->charge, &ns->memory.used);
}

static void use_copy(struct kmqtt_run *run, struct kvec *kv, u32 nr, u8 form,
		     struct kmqtt_ns *ns)
{
	u32 i;

	run->copy = kv;
	run->splice = false;
	run->form = form;
	run->left = U32_MAX;
	run->kv = kv;
	run->nr_kv = 1;
	run->end = (u32 *)(kv + 1);
	run->ids = form & KMQTT_FORM_5 ? run->end + nr : NULL;
	run->expiries = form & KMQTT_FORM_5 ? run->ids + nr : NULL;
	run->nr = nr;
	run->bytes = kmqtt_run_bytes(run, nr);
	run->largest = run->end[0];
	for (i = 1; i < nr; i++)
		run->largest = max(run->largest, run->end[i] - run->end[i - 1]);
	count(run, ns, copy_size(nr, form, run->bytes));
}

/**
 * kmqtt_run_encode() - a run of messages of another, in a form
 * @pool: the worker's
 * @source: the other, not settled
 * @first: the first message
 * @nr: how many, at least 1
 * @form: the form
 * @ids: subscription identifiers
 *
 * If @form has an identifier, @ids is room for it, as long: kmqtt_run_write()
 * fills it in, for one subscriber after the other.
 *
 * Return: the run, with one reference, or NULL: no memory, or a message would be
 * larger than a packet can be.
 */
struct kmqtt_run *kmqtt_run_encode(struct kmqtt_run_pool *pool,
				   const struct kmqtt_run *source, u32 first,
				   u32 nr, u8 form,
				   const struct kmqtt_ids *ids)
{
	struct kmqtt_msg **msgs = source->body->msgs + first;
	struct kmqtt_run *run = run_new(pool);
	struct kvec *kv;

	if (!run)
		return NULL;
	kv = encode(msgs, nr, form, ids);
	if (!kv) {
		run_free(pool, run);
		return NULL;
	}
	run->retained = source->retained;
	run->expiring = source->expiring;
	run->expires = source->expires;
	use_copy(run, kv, nr, form, msgs[0]->ns);
	return run;
}

/* The first @nr messages of an encoding, as encode(). */
static struct kvec *cut(const struct kmqtt_run *run, u32 nr)
{
	u32 bytes = kmqtt_run_bytes(run, nr), *end;
	struct kvec *kv;

	kv = kvmalloc(copy_size(nr, run->form, bytes), COPY_GFP);
	if (!kv)
		return NULL;
	end = (u32 *)(kv + 1);
	kv->iov_base = end + numbers(run->form) * nr;
	kv->iov_len = bytes;
	memcpy(end, run->end, nr * sizeof(*end));
	if (run->ids) {
		memcpy(end + nr, run->ids, nr * sizeof(*end));
		memcpy(end + 2 * nr, run->expiries, nr * sizeof(*end));
	}
	memcpy(kv->iov_base, run->kv->iov_base, bytes);
	return kv;
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
	static const struct kmqtt_ids none;
	struct kmqtt_run *prefix;
	struct kvec *kv;

	if (run->body)
		return kmqtt_run_encode(pool, run, 0, nr, run->form, &none);
	prefix = run_new(pool);
	if (!prefix)
		return NULL;
	kv = cut(run, nr);
	if (!kv) {
		run_free(pool, prefix);
		return NULL;
	}
	prefix->retained = run->retained;
	prefix->expiring = run->expiring;
	prefix->expires = run->expires;
	use_copy(prefix, kv, nr, run->form, run->ns);
	return prefix;
}

/* What is left of the interval: less whole seconds of waiting
 * [MQTT-3.3.2-6].
 */
static void write_left(struct kmqtt_run *run)
{
	u32 left = DIV_ROUND_UP(max((long)(run->expires - jiffies), 0L), HZ);
	u8 *data = run->kv->iov_base;
	u32 i;

	if (left == run->left)
		return;
	run->left = left;
	for (i = 0; i < run->nr; i++)
		put_unaligned_be32(left, data + run->expiries[i]);
}

/**
 * kmqtt_run_fill() - kmqtt_run_write() of an encoding with properties
 * @run: the run
 * @id: the subscriber's kmqtt_sub.id, if the run's form has one
 *
 * Of a run that is no encoding nothing can be written, since its bytes are
 * others' too: it is as old as the pass.
 */
void kmqtt_run_fill(struct kmqtt_run *run, const u32 *id)
{
	u32 len = kmqtt_form_id(run->form), i;
	u8 *data = run->kv->iov_base;

	if (len)
		for (i = 0; i < run->nr; i++)
			memcpy(data + run->ids[i], id, len);
	if (run->expiring)
		write_left(run);
}

/* Whether a run is as small as it gets: its message has memory of its own, or
 * most of a chunk, and is not less than the body that comes with it.
 */
static bool is_settled(const struct kmqtt_run *run)
{
	const struct kmqtt_msg *msg = run->body->msgs[0];

	return run->nr == 1 && kmqtt_msg_fills(msg) &&
	       msg->len >= sizeof(*run->body);
}

/* What a run that keeps its body takes, but for messages that are counted. */
static u32 body_charge(const struct kmqtt_run *run)
{
	const struct kmqtt_run_body *body = run->body;
	u32 bytes = sizeof(*body), i;

	for (i = 0; i < run->nr; i++)
		if (!body->msgs[i]->counted)
			bytes += kmqtt_msg_charge(body->msgs[i]);
	return bytes;
}

/**
 * kmqtt_run_settle() - let a run outlive its pass
 * @pool: the worker's
 * @run: a run that subscribers still wait for
 *
 * A message may pin a chunk much larger than itself, so the messages' bytes
 * move to one allocation of the right size, shared by everybody who waits. A
 * large message stays, unless its expiry interval has to be written. Without
 * memory everything stays as it is.
 */
void kmqtt_run_settle(struct kmqtt_run_pool *pool, struct kmqtt_run *run)
{
	static const struct kmqtt_ids none;
	struct kvec *kv = NULL;
	struct kmqtt_msg **msgs;
	struct kmqtt_ns *ns;

	if (!run->body)
		return;
	msgs = run->body->msgs;
	ns = msgs[0]->ns;
	if (run->expiring || !is_settled(run))
		kv = encode(msgs, run->nr, run->form, &none);
	if (!kv) {
		count(run, ns, body_charge(run));
		return;
	}
	body_release(pool, run);
	use_copy(run, kv, run->nr, run->form, ns);
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
