/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A change to what is stored, on its way from the main thread, which makes it,
 * to the store's thread, which writes it, and back, to be freed. A read travels
 * among them, so that it sees what was queued before it.
 */
#ifndef _KMQTTD_CHANGE_H_
#define _KMQTTD_CHANGE_H_

#include "message.h"
#include "table.h"
#include "types.h"

enum change_type {
	CHANGE_SESSION_ADD,
	CHANGE_SESSION_SEEN,
	CHANGE_SESSION_EXPIRY,
	CHANGE_SESSION_DEL,
	CHANGE_SUBSCRIPTION_SET,
	CHANGE_SUBSCRIPTION_DEL,
	CHANGE_DELIVERY_ADD,
	CHANGE_DELIVERY_STATE,
	CHANGE_DELIVERY_DEL,
	CHANGE_WILL_SET,
	CHANGE_WILL_DEL,
	CHANGE_INBOUND_ADD,
	CHANGE_INBOUND_DEL,
	CHANGE_RETAINED_SET,
	CHANGE_RETAINED_DEL,
	CHANGE_MARK,
	CHANGE_READ,
};

struct store_delivery;
struct store_read;

/**
 * struct change - a change, or a read
 * @next: in a list
 * @node: in the table of change_prune()
 * @type: what it changes; says which of the others mean something
 * @pointless: another change of the batch has made up for it
 * @answered: a read that has been done
 * @qos: of a delivery or a subscription
 * @flags: of a delivery; of a subscription its options; of a will, whether it is
 *	to be retained
 * @state: of a delivery, enum store_state
 * @len: bytes in @bytes
 * @sid: session
 * @seq: delivery
 * @packet_id: of an inbound message
 * @seen: of the session
 * @mark: to be remembered
 * @due: of a will
 * @expiry: of the session
 * @identifier: of a subscription
 * @message: to be delivered or retained, or a will; with a reference
 * @origin: of a delivery; owned
 * @read: who reads
 * @deliveries: what was read
 * @nr: how many of them
 * @bytes: client identifier, or topic filter
 */
struct change {
	struct change *next;
	struct table_node node;
	enum change_type type;
	bool pointless;
	bool answered;
	u8 qos;
	u8 flags;
	u8 state;
	u16 len;
	u64 sid;
	union {
		u64 seq;
		u16 packet_id;
		s64 seen;
		u64 mark;
		s64 due;
		u32 expiry;
		u32 identifier;
	};
	struct message *message;
	struct origin *origin;
	struct store_read *read;
	struct store_delivery *deliveries;
	u32 nr;
	u8 bytes[];
};

/**
 * struct change_list - changes in the order that they were made in
 * @first: NULL when there are none
 * @last: valid when there are some
 * @number: of the last one
 */
struct change_list {
	struct change *first;
	struct change *last;
	u64 number;
};

/* Frees @change and all that it holds: the main thread's to call. */
void change_free(struct change *change);

/* Frees what a read has read; whose messages nobody else knows. */
void change_forget_answer(struct change *change);

/* Moves all of @from to the end of @to. */
void change_list_splice(struct change_list *to, struct change_list *from);

/*
 * Marks what need not be written because of what comes later in @list: a
 * delivery added and deleted again, states and retained messages that were
 * overtaken. A delivery that is added may get its state at once. Nothing moves
 * across a read. May be called again when the list has grown.
 *
 * This is the usual case as soon as there is a backlog: a subscriber that is
 * there acknowledges in less time than a disk takes.
 */
void change_prune(struct change_list *list);

#endif /* _KMQTTD_CHANGE_H_ */
