// SPDX-License-Identifier: GPL-2.0
#include "worker.h"

#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "conn.h"
#include "hold.h"
#include "ns.h"
#include "sub.h"

/* Slightly nice: see worker.h. At 4, CFS still runs it within half a
 * millisecond beside a busy task.
 */
enum { WORKER_NICE = 4 };

/* Messages fanned out before what they left in the rings is sent: bounds the
 * delay of the first and the runs alive.
 */
enum { WORKER_BATCH = 512 };

/* Connections attended to, or changes made, before somebody else may run. */
enum { WORKER_CONNS = 128 };

u32 kmqtt_nr_workers __ro_after_init;
static struct kmqtt_worker **workers __ro_after_init;

struct kmqtt_worker *kmqtt_worker_at(u32 index)
{
	return workers[index];
}

/* The worker with the fewest connections becomes home to one more. */
struct kmqtt_worker *kmqtt_worker_home(void)
{
	struct kmqtt_worker *best = workers[0];
	u32 i;

	for (i = 1; i < kmqtt_nr_workers; i++)
		if (atomic_read(&workers[i]->nr_conns) <
		    atomic_read(&best->nr_conns))
			best = workers[i];
	atomic_inc(&best->nr_conns);
	return best;
}

void kmqtt_worker_post(struct kmqtt_worker *worker, struct kmqtt_ticket *ticket)
{
	if (llist_add(&ticket->node, &worker->inbox))
		wake_up_process(worker->task);
}

void kmqtt_worker_ready(struct kmqtt_worker *worker, struct llist_node *node)
{
	if (llist_add(node, &worker->ready))
		wake_up_process(worker->task);
}

/* Attend to a connection that was kicked. */
static void conn_ready(struct kmqtt_worker *worker, struct kmqtt_conn *conn)
{
	bool more = false;

	/* After the list was read, into which it may be put from now on. */
	clear_bit_unlock(KMQTT_CONN_QUEUED, &conn->flags);
	/* Whoever kicks from now on queues it again; whoever did not has set
	 * its bit before.
	 */
	smp_mb__after_atomic();

	if (conn->gone) {
		kmqtt_conn_put(conn);
		return;
	}
	if (test_and_clear_bit(KMQTT_CONN_KICK_RX, &conn->flags))
		more = kmqtt_rx(worker, conn);
	if (test_and_clear_bit(KMQTT_CONN_SHED, &conn->flags))
		kmqtt_tx_shed(worker, conn);
	if (test_and_clear_bit(KMQTT_CONN_EXPIRED, &conn->flags))
		kmqtt_conn_event(conn, KMQTT_EVENT_DROPPED);
	if (test_and_clear_bit(KMQTT_CONN_KICK_TX, &conn->flags))
		kmqtt_tx_mark(worker, conn);
	if (test_and_clear_bit(KMQTT_CONN_KICK_TIMER, &conn->flags))
		kmqtt_conn_timer(worker, conn);
	if (more)
		kmqtt_conn_kick(conn, KMQTT_CONN_KICK_RX);
	kmqtt_conn_put(conn);
}

static void worker_receive(struct kmqtt_worker *worker)
{
	struct kmqtt_conn *conn, *next;
	struct llist_node *list;
	unsigned int nr = 0;

	list = llist_reverse_order(llist_del_all(&worker->ready));
	llist_for_each_entry_safe(conn, next, list, ready) {
		conn_ready(worker, conn);
		if (!(++nr % WORKER_CONNS))
			cond_resched();
	}
}

/* Send what rings hold, and let go of the runs that nobody waits for. */
static void worker_send(struct kmqtt_worker *worker)
{
	kmqtt_fanout_close(worker);
	kmqtt_tx_flush(worker);
	kmqtt_fanout_settle(worker);
}

/* A ticket that is not a message. */
static void worker_change(struct kmqtt_worker *worker,
			  struct kmqtt_ticket *ticket)
{
	switch (ticket->type) {
	case KMQTT_TICKET_SUBS:
		kmqtt_changes_apply(container_of(ticket, struct kmqtt_changes,
						 ticket));
		break;
	case KMQTT_TICKET_DROP:
		kmqtt_conn_drop(worker, container_of(ticket, struct kmqtt_conn,
						     drop));
		break;
	case KMQTT_TICKET_HOLD:
		kmqtt_hold_apply(worker,
				 container_of(ticket, struct kmqtt_hold_change,
					      ticket));
		break;
	}
}

static void worker_deliver(struct kmqtt_worker *worker)
{
	struct kmqtt_ticket *ticket, *next;
	unsigned int messages = 0, others = 0;
	struct llist_node *list;

	list = llist_reverse_order(llist_del_all(&worker->inbox));
	llist_for_each_entry_safe(ticket, next, list, node) {
		if (ticket->type == KMQTT_TICKET_MSG) {
			kmqtt_fanout(worker,
				     container_of(ticket,
						  struct kmqtt_msg_ticket,
						  ticket));
			if (++messages % WORKER_BATCH)
				continue;
			worker_send(worker);
			cond_resched();
			continue;
		}

		if (!(++others % WORKER_CONNS))
			cond_resched();
		/* The lists that the messages before go to are changing. */
		kmqtt_fanout_close(worker);
		worker_change(worker, ticket);
	}
	worker_send(worker);
}

static bool worker_idle(struct kmqtt_worker *worker)
{
	return llist_empty(&worker->inbox) && llist_empty(&worker->ready);
}

static int worker_thread(void *data)
{
	struct kmqtt_worker *worker = data;

	set_user_nice(current, WORKER_NICE);
	for (;;) {
		/* Receiving comes first, so that the inbox holds every change
		 * that was made before a message received was sent.
		 */
		worker_receive(worker);
		worker_deliver(worker);
		cond_resched();

		set_current_state(TASK_IDLE);
		if (!worker_idle(worker)) {
			__set_current_state(TASK_RUNNING);
			continue;
		}
		if (kthread_should_stop())
			break;
		schedule();
		__set_current_state(TASK_RUNNING);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

static struct kmqtt_run *pingresp_new(void)
{
	static u8 pingresp[2] = { KMQTT_PINGRESP << 4, 0 };
	struct kmqtt_run *run = kzalloc(sizeof(*run), GFP_KERNEL);
	struct kvec *kv;

	if (!run)
		return NULL;
	kv = kzalloc(sizeof(*kv) + sizeof(*run->end), GFP_KERNEL);
	if (!kv) {
		kfree(run);
		return NULL;
	}

	kv->iov_base = pingresp;
	kv->iov_len = sizeof(pingresp);
	run->refs = 1;
	run->nr = 1;
	run->nr_kv = 1;
	run->bytes = sizeof(pingresp);
	run->kv = kv;
	run->copy = kv;
	run->end = (u32 *)(kv + 1);
	run->end[0] = run->bytes;
	return run;
}

static void worker_free(struct kmqtt_worker *worker)
{
	kmqtt_match_cache_purge(&worker->cache);
	kmqtt_matcher_exit(&worker->matcher);
	if (worker->pingresp)
		kmqtt_run_put(&worker->pool, worker->pingresp);
	kmqtt_run_pool_purge(&worker->pool);
	if (worker->chunk.page)
		put_page(worker->chunk.page);
	kvfree(worker->ids.entries);
	kfree(worker->chains);
	kvfree(worker);
}

static struct kmqtt_worker *worker_new(u32 index, int cpu)
{
	struct kmqtt_worker *worker;
	struct task_struct *task;

	worker = kvzalloc_node(sizeof(*worker), GFP_KERNEL, cpu_to_node(cpu));
	if (!worker)
		return NULL;

	init_llist_head(&worker->inbox);
	init_llist_head(&worker->ready);
	kmqtt_matcher_init(&worker->matcher);
	worker->index = index;
	worker->cpu = cpu;
	worker->chained = -1;
	worker->dirty_tail = &worker->dirty;
	worker->chains = kcalloc(kmqtt_nr_workers, sizeof(*worker->chains),
				 GFP_KERNEL);
	worker->pingresp = pingresp_new();
	if (!worker->chains || !worker->pingresp)
		goto free_worker;

	task = kthread_create_on_node(worker_thread, worker, cpu_to_node(cpu),
				      "kmqtt/%d", cpu);
	if (IS_ERR(task))
		goto free_worker;
	/* A preference: with the CPU offline it runs elsewhere. */
	set_cpus_allowed_ptr(task, cpumask_of(cpu));
	worker->task = task;
	wake_up_process(task);
	return worker;

free_worker:
	worker_free(worker);
	return NULL;
}

int __init kmqtt_workers_init(void)
{
	u32 i = 0;
	int cpu;

	cpus_read_lock();
	kmqtt_nr_workers = num_online_cpus();
	workers = kcalloc(kmqtt_nr_workers, sizeof(*workers), GFP_KERNEL);
	if (!workers)
		goto unlock;
	for_each_online_cpu(cpu) {
		workers[i] = worker_new(i, cpu);
		if (!workers[i])
			goto unlock;
		i++;
	}
	cpus_read_unlock();
	return 0;

unlock:
	cpus_read_unlock();
	if (workers)
		kmqtt_workers_exit();
	return -ENOMEM;
}

/* No connection is left; the workers finish what is in their inboxes. */
void kmqtt_workers_exit(void)
{
	u32 i;

	/* Each may still have something for the others. */
	for (i = 0; i < kmqtt_nr_workers && workers[i]; i++)
		kthread_stop(workers[i]->task);
	for (i = 0; i < kmqtt_nr_workers && workers[i]; i++)
		worker_free(workers[i]);
	kfree(workers);
}
