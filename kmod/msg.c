// SPDX-License-Identifier: GPL-2.0
#include "msg.h"

#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "conn.h"
#include "form.h"
#include "head.h"
#include "match.h"
#include "ns.h"
#include "run.h"
#include "worker.h"

static struct kmem_cache *msg_cache __ro_after_init;
static struct kmem_cache *ticket_cache __ro_after_init;

/* Descriptors for reuse, which a CPU keeps at the most. */
enum { MSG_POOL = 64 };

/**
 * struct msg_pool - descriptors for reuse; its CPU's, in process context
 * @first: linked by kmqtt_msg.next
 * @nr: how many
 *
 * Allocation zeroes, and counts: more than what a message is otherwise handled
 * for between its socket and its subscribers' rings.
 */
struct msg_pool {
	struct kmqtt_msg *first;
	u32 nr;
};

static DEFINE_PER_CPU(struct msg_pool, msg_pools);

static struct kmqtt_msg *pool_get(void)
{
	struct msg_pool *pool = get_cpu_ptr(&msg_pools);
	struct kmqtt_msg *msg = pool->first;

	if (msg) {
		pool->first = msg->next;
		pool->nr--;
	}
	put_cpu_ptr(&msg_pools);
	return msg;
}

static bool pool_put(struct kmqtt_msg *msg)
{
	struct msg_pool *pool = get_cpu_ptr(&msg_pools);
	bool room = pool->nr < MSG_POOL;

	if (room) {
		msg->next = pool->first;
		pool->first = msg;
		pool->nr++;
	}
	put_cpu_ptr(&msg_pools);
	return room;
}

static void pools_purge(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct msg_pool *pool = per_cpu_ptr(&msg_pools, cpu);

		while (pool->first) {
			struct kmqtt_msg *msg = pool->first;

			pool->first = msg->next;
			kmem_cache_free(msg_cache, msg);
		}
	}
}

static struct kmqtt_msg *msg_new(struct kmqtt_ns *ns, u8 *data, u32 len,
				 gfp_t gfp)
{
	struct kmqtt_msg *msg = pool_get() ?: kmem_cache_alloc(msg_cache, gfp);

	if (!msg)
		return NULL;

	refcount_set(&msg->refs, 1);
	msg->publisher = NULL;
	msg->ns = ns;
	msg->next = NULL;
	msg->page = NULL;
	msg->data = data;
	msg->len = len;
	msg->form = 0;
	msg->expiry = 0;
	msg->qos = 0;
	msg->sink = 0;
	msg->counted = false;
	msg->conn_id = 0;
	msg->seq = 0;
	return msg;
}

/**
 * kmqtt_msg_in_chunk() - a message of which a chunk holds the whole packet
 * @ns: where it was published
 * @page: head page of the chunk; a reference is taken
 * @data: the packet, in the chunk
 * @len: its bytes
 * @gfp: for the descriptor
 */
struct kmqtt_msg *kmqtt_msg_in_chunk(struct kmqtt_ns *ns, struct page *page,
				     u8 *data, u32 len, gfp_t gfp)
{
	struct kmqtt_msg *msg = msg_new(ns, data, len, gfp);

	if (!msg)
		return NULL;
	get_page(page);
	msg->page = page;
	return msg;
}

/* Memory for a packet. A large one gets pages of its own, if they can be had, so
 * that TCP can be given references to them: slab cannot be shared, and what is
 * freed by vfree() may be written to.
 */
static u8 *data_alloc(u32 len, struct page **page, gfp_t gfp)
{
	*page = NULL;
	if (len < KMQTT_SPLICE_MIN) {
		if (gfpflags_allow_blocking(gfp))
			gfp |= __GFP_RETRY_MAYFAIL;
		return kmalloc(len, gfp);
	}
	*page = alloc_pages(gfp | __GFP_COMP | __GFP_NORETRY, get_order(len));
	if (*page)
		return page_address(*page);
	return __vmalloc(len, gfp | __GFP_RETRY_MAYFAIL);
}

static void data_free(const u8 *data, struct page *page)
{
	if (page)
		put_page(page);
	else
		kvfree(data);
}

/**
 * kmqtt_msg_alloc() - a message with room of its own
 * @ns: where it is published, whose memory it is
 * @len: bytes of the packet, at most KMQTT_PACKET_MAX
 * @gfp: GFP_KERNEL, or GFP_ATOMIC for less than KMQTT_SPLICE_MIN
 */
struct kmqtt_msg *kmqtt_msg_alloc(struct kmqtt_ns *ns, u32 len, gfp_t gfp)
{
	struct kmqtt_msg *msg;
	struct page *page;
	u8 *data;

	/* Nothing that a client sends is worth killing a process for. */
	gfp |= __GFP_NOWARN | __GFP_ACCOUNT;
	data = data_alloc(len, &page, gfp);
	if (!data)
		return NULL;
	msg = msg_new(ns, data, len, gfp);
	if (!msg) {
		data_free(data, page);
		return NULL;
	}
	msg->page = page;
	msg->counted = true;
	atomic64_add(kmqtt_msg_charge(msg), &ns->memory.used);
	return msg;
}

/* A message from kmqtt_msg_alloc() has fewer bytes than there was room for. */
void kmqtt_msg_shrink(struct kmqtt_msg *msg, u32 len)
{
	atomic64_sub(msg->len - len, &msg->ns->memory.used);
	msg->len = len;
}

/**
 * kmqtt_msg_parts() - note where the parts of a message are
 * @msg: the message, whose packet is whole
 * @head: its variable header
 * @level: protocol level that it is encoded in
 */
void kmqtt_msg_parts(struct kmqtt_msg *msg, const struct kmqtt_head *head,
		     u8 level)
{
	msg->topic_off = head->topic;
	msg->topic_len = head->topic_len;
	msg->payload = head->payload;
	msg->property_bytes = head->property_bytes;
	msg->expiry = head->expiry;
	if (head->expiry)
		msg->expires = jiffies + (u64)head->expiry_interval * HZ;
	msg->form = level >= 5 ? KMQTT_FORM_5 : 0;
}

/* A copy in memory of its own, which keeps neither publisher nor chunk. */
struct kmqtt_msg *kmqtt_msg_copy(const struct kmqtt_msg *msg, gfp_t gfp)
{
	struct kmqtt_msg *copy = kmqtt_msg_alloc(msg->ns, msg->len, gfp);

	if (!copy)
		return NULL;
	memcpy(copy->data, msg->data, msg->len);
	copy->topic_off = msg->topic_off;
	copy->topic_len = msg->topic_len;
	copy->payload = msg->payload;
	copy->property_bytes = msg->property_bytes;
	copy->conn_id = msg->conn_id;
	copy->expiry = msg->expiry;
	copy->expires = msg->expires;
	copy->form = msg->form;
	copy->qos = msg->qos;
	copy->sink = msg->sink;
	return copy;
}

void kmqtt_msg_put(struct kmqtt_msg *msg)
{
	if (!refcount_dec_and_test(&msg->refs))
		return;

	if (msg->counted)
		atomic64_sub(kmqtt_msg_charge(msg), &msg->ns->memory.used);
	data_free(msg->data, msg->page);
	/* Those of the daemon are charged to its memory cgroup. */
	if (msg->publisher) {
		kmqtt_conn_put(msg->publisher);
		if (likely(pool_put(msg)))
			return;
	}
	kmem_cache_free(msg_cache, msg);
}

struct kmqtt_msg_ticket *kmqtt_msg_ticket_alloc(gfp_t gfp)
{
	return kmem_cache_alloc(ticket_cache, gfp);
}

/* A worker has taken it: the last gives the publisher its credit back. */
void kmqtt_msg_taken(struct kmqtt_msg *msg)
{
	if (!atomic_dec_and_test(&msg->pending))
		return;
	if (msg->publisher)
		kmqtt_conn_credit_return(msg->publisher,
					 kmqtt_msg_charge(msg));
	else
		kmqtt_publish_credit_return(kmqtt_msg_charge(msg));
}

/**
 * kmqtt_msg_ticket_done() - a worker has taken a message from its inbox
 * @ticket: its ticket, freed; the message's reference stays with the caller
 */
void kmqtt_msg_ticket_done(struct kmqtt_msg_ticket *ticket)
{
	struct kmqtt_msg *msg = ticket->msg;

	kmqtt_match_put(ticket->match);
	if (ticket != &msg->first)
		kmem_cache_free(ticket_cache, ticket);
	kmqtt_msg_taken(msg);
}

int __init kmqtt_msg_init(void)
{
	msg_cache = KMEM_CACHE(kmqtt_msg, SLAB_ACCOUNT);
	if (!msg_cache)
		return -ENOMEM;
	ticket_cache = KMEM_CACHE(kmqtt_msg_ticket, SLAB_ACCOUNT);
	if (!ticket_cache) {
		kmem_cache_destroy(msg_cache);
		return -ENOMEM;
	}
	return 0;
}

void kmqtt_msg_exit(void)
{
	pools_purge();
	kmem_cache_destroy(ticket_cache);
	kmem_cache_destroy(msg_cache);
}
