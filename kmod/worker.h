/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Workers: one slot a CPU, made when the module is loaded. A worker is home to
 * connections, and does everything for them that is not user space's: it reads
 * their sockets, owns the lists of their subscriptions and sends to them.
 *
 * It is a kernel thread of ordinary priority, slightly nice: one that preempted
 * its writers would never find a backlog, and so would never batch.
 */
#ifndef _KMQTT_WORKER_H_
#define _KMQTT_WORKER_H_

#include <linux/atomic.h>
#include <linux/llist.h>
#include <linux/sched.h>
#include <linux/uio.h>
#include <linux/kmqtt.h>

#include "conn.h"
#include "match.h"
#include "msg.h"
#include "ns.h"
#include "run.h"

struct kmqtt_sub;
struct msghdr;
struct page;
struct sock;
struct task_struct;

enum { KMQTT_SEND_KVECS = 256 };

/**
 * struct kmqtt_chunk - memory that packets are received into
 * @page: its head page, with a reference
 * @off: the first byte not used
 * @size: bytes
 */
struct kmqtt_chunk {
	struct page *page;
	u32 off;
	u32 size;
};

/**
 * struct kmqtt_chain - tickets collected for another worker's inbox
 * @first: the newest
 * @last: the oldest
 * @next: index of the next worker with tickets
 */
struct kmqtt_chain {
	struct llist_node *first;
	struct llist_node *last;
	int next;
};

/**
 * struct kmqtt_touched_id - a subscription with an identifier that matches
 * @sub: the subscription
 * @next: 1 and index of another one of its connection, or 0
 */
struct kmqtt_touched_id {
	const struct kmqtt_sub *sub;
	u32 next;
};

/**
 * struct kmqtt_touched_ids - those of the fan-out at hand; grows, and is kept
 * @entries: the subscriptions
 * @nr: how many
 * @room: for how many
 */
struct kmqtt_touched_ids {
	struct kmqtt_touched_id *entries;
	u32 nr;
	u32 room;
};

/**
 * struct kmqtt_worker - a worker
 * @inbox: tickets; anybody adds, the worker takes
 * @ready: connections that want attention; likewise
 * @nr_conns: connections homed here
 * @task: its thread
 * @index: its number
 * @cpu: where it runs, while that is online
 * @chunk: where it receives
 * @cache: matches by topic
 * @matcher: scratch for making them
 * @chains: tickets being sent, a worker each
 * @chained: the first of them, or -1
 * @pool: runs for reuse
 * @run: the run being gathered
 * @run_match: whom it goes to
 * @run_target: its part of @run_match
 * @run_daemons: bits of kmqtt_sub.qos of those who get them from the daemon
 * @run_alone: they must have one publisher
 * @run_conn_id: then it is this
 * @run_member: if it is for a group, who gets it; else NULL
 * @variants: encodings of it, by form
 * @formed: bit n: there is the nth of them
 * @ids: identifiers of the subscriptions that match it
 * @visited: what kmqtt_worker_visited() was told since somebody else could run
 * @runs: runs of this pass
 * @runs_tail: the last
 * @dirty: connections to send for
 * @dirty_tail: the last
 * @stamp: of the fan-out at hand
 * @pingresp: a run of one PINGRESP
 * @now: jiffies, as far as expiry of what is being sent is concerned
 * @kv: scratch of a send
 */
struct kmqtt_worker {
	struct llist_head inbox;
	struct llist_head ready;
	atomic_t nr_conns;

	struct task_struct *task ____cacheline_aligned_in_smp;
	u32 index;
	int cpu;
	struct kmqtt_chunk chunk;
	struct kmqtt_match_cache cache;
	struct kmqtt_matcher matcher;
	struct kmqtt_chain *chains;
	int chained;
	struct kmqtt_run_pool pool;
	struct kmqtt_run *run;
	struct kmqtt_match *run_match;
	struct kmqtt_target *run_target;
	u8 run_daemons;
	bool run_alone;
	u32 run_conn_id;
	u32 formed;
	struct kmqtt_sub *run_member;
	struct kmqtt_run *variants[KMQTT_FORMS];
	struct kmqtt_touched_ids ids;
	u32 visited;
	struct kmqtt_run *runs;
	struct kmqtt_conn *dirty;
	struct kmqtt_conn **dirty_tail;
	u64 stamp;
	struct kmqtt_run *pingresp;
	unsigned long now;
	struct kvec kv[KMQTT_SEND_KVECS];
};

extern u32 kmqtt_nr_workers;

/* Any context. */
void kmqtt_worker_post(struct kmqtt_worker *worker,
		       struct kmqtt_ticket *ticket);
void kmqtt_worker_ready(struct kmqtt_worker *worker, struct llist_node *node);

/* Process context. */
struct kmqtt_worker *kmqtt_worker_home(void);
struct kmqtt_worker *kmqtt_worker_at(u32 index);
int kmqtt_workers_init(void);
void kmqtt_workers_exit(void);

/* rx.c: read a connection's socket. True: there is more. */
bool kmqtt_rx(struct kmqtt_worker *worker, struct kmqtt_conn *conn);
void kmqtt_rx_abandon(struct kmqtt_conn *conn);

/* publish.c: hand a message, with its only reference, to those who match. */
bool kmqtt_publish_chain(struct kmqtt_worker *worker, struct kmqtt_ns *ns,
			 struct kmqtt_msg *msg);
bool kmqtt_publish_pass_on(struct kmqtt_msg_ticket *ticket);
void kmqtt_publish_drop(struct kmqtt_msg *msg);
void kmqtt_publish_flush(struct kmqtt_worker *worker);
int kmqtt_publish(struct kmqtt_ns *ns, struct kmqtt_msg *msg);
void kmqtt_publish_credit_return(u32 bytes);

/* fanout.c: from tickets to rings. */
void kmqtt_fanout(struct kmqtt_worker *worker, struct kmqtt_msg_ticket *ticket);
void kmqtt_fanout_close(struct kmqtt_worker *worker);
void kmqtt_fanout_settle(struct kmqtt_worker *worker);

/* tx.c: from rings to sockets. */
void kmqtt_tx_append(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		     struct kmqtt_run *run, const u32 *id, u64 tag);
void kmqtt_tx_ping(struct kmqtt_worker *worker, struct kmqtt_conn *conn);
void kmqtt_tx_drop(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		   enum kmqtt_drop why, u32 nr);
void kmqtt_tx_trim(struct kmqtt_worker *worker, struct kmqtt_conn *conn,
		   u64 limit);
void kmqtt_tx_shed(struct kmqtt_worker *worker, struct kmqtt_conn *conn);
void kmqtt_tx_mark(struct kmqtt_worker *worker, struct kmqtt_conn *conn);
void kmqtt_tx_flush(struct kmqtt_worker *worker);
int kmqtt_tx_send(struct sock *sk, struct msghdr *msg, size_t bytes,
		  bool splice);
void kmqtt_tx_purge(struct kmqtt_worker *worker, struct kmqtt_conn *conn);

/* Messages do not say how much there is to do for them: let somebody else run when
 * they have met so many subscriptions, and nodes of the trie.
 */
enum { KMQTT_VISITS = 65536 };

static inline void kmqtt_worker_visited(struct kmqtt_worker *worker, u32 nr)
{
	worker->visited += nr;
	if (likely(worker->visited < KMQTT_VISITS))
		return;
	worker->visited = 0;
	cond_resched();
}

/* The worker's counters of a namespace. */
static inline void kmqtt_count(struct kmqtt_worker *worker, struct kmqtt_ns *ns,
			       enum kmqtt_a_counter counter, u64 n)
{
	u64 *value = &ns->counters[worker->index].values[counter];

	WRITE_ONCE(*value, *value + n);
}

#endif /* _KMQTT_WORKER_H_ */
