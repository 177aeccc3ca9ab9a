/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A message: one PUBLISH packet as it goes to subscribers, received once and
 * shared by everybody that it goes to.
 */
#ifndef _KMQTT_MSG_H_
#define _KMQTT_MSG_H_

#include <linux/atomic.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/kmqtt.h>

struct kmqtt_conn;
struct kmqtt_head;
struct kmqtt_match;
struct kmqtt_msg;
struct kmqtt_ns;

/**
 * enum kmqtt_ticket_type - what travels through a worker's inbox
 * @KMQTT_TICKET_MSG: a message to deliver, struct kmqtt_msg_ticket
 * @KMQTT_TICKET_SUBS: changed subscriptions, struct kmqtt_changes
 * @KMQTT_TICKET_DROP: a connection to forget, struct kmqtt_conn
 * @KMQTT_TICKET_HOLD: a held connection goes on, struct kmqtt_hold_change
 */
enum kmqtt_ticket_type {
	KMQTT_TICKET_MSG,
	KMQTT_TICKET_SUBS,
	KMQTT_TICKET_DROP,
	KMQTT_TICKET_HOLD,
};

/**
 * struct kmqtt_ticket - one entry of a worker's inbox
 * @node: link in the inbox
 * @type: enum kmqtt_ticket_type
 * @passed: a message's: another worker passed it on, whose members of a group do
 *	not keep up
 * @target: a message's: index of the worker in its match
 */
struct kmqtt_ticket {
	struct llist_node node;
	u8 type;
	bool passed;
	u32 target;
};

/**
 * struct kmqtt_msg_ticket - a message for one worker
 * @ticket: of type KMQTT_TICKET_MSG
 * @msg: the message; the ticket has a reference
 * @match: whom it goes to; the ticket has a reference
 */
struct kmqtt_msg_ticket {
	struct kmqtt_ticket ticket;
	struct kmqtt_msg *msg;
	struct kmqtt_match *match;
};

/**
 * struct kmqtt_msg - a message
 * @refs: one a worker that it goes to, one a run kept beyond its pass
 * @pending: workers that have not taken it from their inbox yet
 * @publisher: owner of the credit that it occupies, with a reference; or NULL
 * @ns: where it was published
 * @next: link in the batch being received, then in the sink
 * @page: head of the pages that @data is in, with a reference: a chunk, or the
 *	message's own; NULL if @data is kvfree()'s
 * @data: the packet, in its shortest encoding
 * @len: bytes of it
 * @topic_off: where in @data the topic name begins
 * @topic_len: bytes of the topic name
 * @payload: where in @data the payload begins
 * @property_bytes: bytes of the properties, which are right before it
 * @expiry: where in @data the value of the message expiry interval is, 0: it has
 *	none
 * @expires: jiffies, when it does, with @expiry
 * @form: how @data is encoded: KMQTT_FORM_5 or 0
 * @qos: QoS it was published at; the packet itself always says 0
 * @sink: KMQTT_SINK_*; the packet itself never says that it was retained
 * @counted: kmqtt_msg_charge() is, in kmqtt_ns.memory
 * @conn_id: who published it; 0: nobody that matters
 * @seq: of its record in the sink; 0: it has none, since it was injected
 * @first: ticket for the first target, so that the common case allocates none
 */
struct kmqtt_msg {
	refcount_t refs;
	atomic_t pending;
	struct kmqtt_conn *publisher;
	struct kmqtt_ns *ns;
	struct kmqtt_msg *next;
	struct page *page;
	u8 *data;
	u32 len;
	u16 topic_off;
	u16 topic_len;
	u32 payload;
	u32 property_bytes;
	u32 expiry;
	u8 form;
	u8 qos;
	u8 sink;
	bool counted;
	u32 conn_id;
	unsigned long expires;
	u64 seq;
	struct kmqtt_msg_ticket first;
};

/* Any context. */
struct kmqtt_msg *kmqtt_msg_in_chunk(struct kmqtt_ns *ns, struct page *page,
				     u8 *data, u32 len, gfp_t gfp);
struct kmqtt_msg *kmqtt_msg_alloc(struct kmqtt_ns *ns, u32 len, gfp_t gfp);
struct kmqtt_msg *kmqtt_msg_copy(const struct kmqtt_msg *msg, gfp_t gfp);
void kmqtt_msg_shrink(struct kmqtt_msg *msg, u32 len);
void kmqtt_msg_parts(struct kmqtt_msg *msg, const struct kmqtt_head *head,
		     u8 level);

static inline void kmqtt_msg_hold(struct kmqtt_msg *msg)
{
	refcount_inc(&msg->refs);
}

/* Process context. */
void kmqtt_msg_put(struct kmqtt_msg *msg);
void kmqtt_msg_taken(struct kmqtt_msg *msg);

/* Whether a message has half of the memory that it pins, or more. */
static inline bool kmqtt_msg_fills(const struct kmqtt_msg *msg)
{
	return !msg->page || msg->len >= page_size(msg->page) / 2;
}

/* What a message takes of its publisher's credit, and of memory: small ones more
 * than they say.
 */
static inline u32 kmqtt_msg_charge(const struct kmqtt_msg *msg)
{
	return msg->len + sizeof(*msg);
}

/* Of a retained publish: how it compares with a snapshot of the retained
 * messages. Injected ones, 1, come before all that the sink has; 0: it was not
 * retained.
 */
static inline u64 kmqtt_msg_tag(const struct kmqtt_msg *msg)
{
	return msg->sink & KMQTT_SINK_RETAIN ? msg->seq + 1 : 0;
}

struct kmqtt_msg_ticket *kmqtt_msg_ticket_alloc(gfp_t gfp);
void kmqtt_msg_ticket_done(struct kmqtt_msg_ticket *ticket);

int kmqtt_msg_init(void);
void kmqtt_msg_exit(void);

#endif /* _KMQTT_MSG_H_ */
