/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Messages that the daemon gives to the module to deliver: QoS 0 copies of what
 * clients published above QoS 0, and wills.
 */
#ifndef _KMQTTD_INJECT_H_
#define _KMQTTD_INJECT_H_

#include <sys/queue.h>

#include "message.h"
#include "types.h"

/*
 * Has the module deliver @message: published at QoS 0, to everybody whose
 * filters match; above, to those whose highest granted QoS is 0. Messages are
 * delivered in the order of the calls. @conn_id: the connection that publishes
 * it, for no-local; 0: none.
 */
void inject(struct message *message, bool retain, u32 conn_id);

/*
 * The module has injected up to this number; those that the journal has beyond
 * are still to be.
 */
void inject_begin(u64 number);
void inject_journaled(u64 number, struct message *message, bool retain,
		      u32 conn_id);

/* Writes to the journal anew what is not in the module. */
void inject_rewrite(void);

/**
 * struct inject_mark - a place in the order of injected messages
 * @link: among them
 * @reached: all before it are delivered, none after it is on its way: what this
 *	submits to the module comes between them
 */
struct inject_mark {
	STAILQ_ENTRY(inject_mark) link;
	void (*reached)(struct inject_mark *mark);
};

/* Has @mark->reached() called in its turn, which may be at once. */
void inject_mark(struct inject_mark *mark);

/* Whether messages wait for the module; while they do, take no more. */
bool inject_busy(void);

#endif /* _KMQTTD_INJECT_H_ */
