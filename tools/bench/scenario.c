// SPDX-License-Identifier: GPL-2.0
/*
 * A run from beginning to end: connect everybody, warm up, drain, measure,
 * drain, report. Measuring starts and ends with nothing in flight, so that
 * every delivery counted was paid for between the two readings of the cost.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* SCHED_BATCH */
#endif
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "floor.h"
#include "match.h"
#include "memory.h"
#include "publish.h"
#include "receive.h"
#include "requests.h"
#include "report.h"
#include "run.h"

/*
 * A timer of its own instead of a time-out of epoll_wait(): that would set
 * up and cancel a timer at each wait.
 */
#define TICK_NS		(250 * NSEC_PER_MSEC)

/* After the last message, for what should not come any more. */
#define LINGER_MS	20
#define LINGER_ROUNDS	50

/* Descriptors other than connections. */
#define SPARE_FDS	32

volatile sig_atomic_t run_interrupted;

static void on_signal(int sig)
{
	(void)sig;
	run_interrupted = 1;
}

void run_fail(struct run *run, const char *fmt, ...)
{
	va_list args;

	if (run->failed)
		return;
	run->failed = true;
	va_start(args, fmt);
	vsnprintf(run->error, sizeof(run->error), fmt, args);
	va_end(args);
}

static void check_stalled(struct run *run, uint64_t now)
{
	if (run->bytes != run->bytes_then) {
		run->bytes_then = run->bytes;
		run->moved_ns = now;
		return;
	}
	if (now - run->moved_ns < run->opt->timeout_s * NSEC_PER_SEC)
		return;
	run->timed_out = true;
	if (run->sweep)
		run_fail(run, "no progress for %u s: %s %llu of %llu",
			 run->opt->timeout_s, run->sweep->name,
			 (unsigned long long)run->sweep->done,
			 (unsigned long long)run->sweep->count);
	else if (run->phase == PHASE_SETUP)
		run_fail(run, "no progress for %u s: %u of %u clients are "
			 "connected and, if subscribers, subscribed",
			 run->opt->timeout_s, run->ready, run->nconns);
	else
		run_fail(run, "no progress for %u s, deliveries missing: %llu, "
			 "acknowledgments missing: %llu", run->opt->timeout_s,
			 (unsigned long long)load_outstanding(&run->load),
			 (unsigned long long)run->unacked);
}

static void check_duration(struct run *run, uint64_t now)
{
	if (run->phase == PHASE_LOAD && run->opt->duration_ns &&
	    now - run->start_ns >= run->opt->duration_ns)
		load_stop(&run->load);
}

static void tick(struct run *run)
{
	uint64_t expirations, now = now_ns();

	if (read(run->timer, &expirations, sizeof(expirations)) < 0)
		return;
	check_duration(run, now);
	check_stalled(run, now);
	if (run->opt->stalled && run->phase != PHASE_SETUP)
		stall_watch(run);
	report_progress(run);
}

int run_round(struct run *run, int timeout_ms)
{
	struct epoll_event *ev = run->events;
	int i, n = epoll_wait(run->epoll, ev, EVENTS_MAX, timeout_ms);

	if (n < 0 && errno != EINTR)
		run_fail(run, "epoll_wait: %s", strerror(errno));
	for (i = 0; i < n && !run->failed; i++) {
		if (likely(ev[i].data.ptr))
			conn_event(run, ev[i].data.ptr, ev[i].events);
		else
			tick(run);
	}
	if (run->load.last_ns > run->start_ns)
		check_duration(run, run->load.last_ns);
	publish_due(run);
	return n;
}

static void run_phase(struct run *run, enum phase phase, uint64_t messages)
{
	struct load *l = &run->load;

	run->phase = phase;
	run->start_ns = now_ns();
	run->moved_ns = run->start_ns;
	load_begin(l, messages);
	publish_due(run);
	while ((!load_done(l) || run->unacked) && !run_over(run))
		run_round(run, -1);
	/* Interrupted or out of time, waiting was part of it. */
	run->end_ns = load_done(l) && l->last_ns > run->start_ns ?
		      l->last_ns : now_ns();
	load_stop(l);
	hist_flush(&l->hist);
}

static uint64_t messages_wanted(const struct run *run)
{
	uint32_t fan = run->load.fan;

	if (run->opt->duration_ns)
		return UINT64_MAX;
	return (run->opt->deliveries + fan - 1) / fan;
}

/* Deliveries beyond the last expected one are faults too. */
static void linger(struct run *run)
{
	int i;

	for (i = 0; i < LINGER_ROUNDS && !run_over(run); i++)
		if (!run_round(run, LINGER_MS))
			break;
}

static void measure(struct run *run)
{
	struct cost before;

	cost_read(&before);
	run_phase(run, PHASE_LOAD, messages_wanted(run));
	cost_read(&run->cost);
	cost_since(&run->cost, &before);
	run->have_cost = true;
}

void run_rest(struct run *run)
{
	uint64_t end = now_ns() + run->opt->rest * NSEC_PER_MSEC;

	while (now_ns() < end && !run_over(run))
		run_round(run, -1);
}

static void load_work(struct run *run)
{
	if (!conn_open_all(run))
		return;
	run_rest(run);
	if (run->opt->stalled)
		stall_fill(run);
	if (run->opt->warmup)
		run_phase(run, PHASE_WARMUP, run->opt->warmup);
	if (!run_over(run))
		measure(run);
}

static void work(struct run *run)
{
	static void (*const works[])(struct run *run) = {
		[SCENARIO_FANOUT] = load_work,
		[SCENARIO_FANIN] = load_work,
		[SCENARIO_P2P] = load_work,
		[SCENARIO_PING] = ping_work,
		[SCENARIO_CONNECT] = connect_work,
		[SCENARIO_SUBSCRIBE] = subscribe_work,
		[SCENARIO_MATCH] = match_work,
		[SCENARIO_MEMORY] = memory_work,
	};

	run->start_ns = now_ns();
	run->moved_ns = run->start_ns;
	works[run->opt->scenario](run);
	linger(run);
	if (run->opt->durable)
		conn_forget_all(run);
}

/* What will not come is lost; what may still have come is not. */
static void settle_loss(struct run *run)
{
	if (run->timed_out)
		run->load.tally.lost += load_outstanding(&run->load);
	if (!load_faulty(&run->load))
		return;
	run_fail(run, "the broker did not deliver every message once, intact "
		 "and in order");
}

static int init_events(struct run *run)
{
	struct itimerspec every = {
		.it_interval.tv_nsec = TICK_NS,
		.it_value.tv_nsec = TICK_NS,
	};
	struct epoll_event ev = { .events = EPOLLIN };

	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	run->timer = timerfd_create(CLOCK_MONOTONIC,
				    TFD_NONBLOCK | TFD_CLOEXEC);
	if (run->epoll < 0 || run->timer < 0)
		return -errno;
	if (timerfd_settime(run->timer, 0, &every, NULL) ||
	    epoll_ctl(run->epoll, EPOLL_CTL_ADD, run->timer, &ev))
		return -errno;
	return 0;
}

static int init_memory(struct run *run)
{
	int err = shape_init(&run->shape, run->opt);

	if (!err && options_load(run->opt))
		err = load_init(&run->load, run->opt);
	run->events = calloc(EVENTS_MAX, sizeof(*run->events));
	run->buf = malloc(LEAD_MAX + RECEIVE_MAX);
	run->acks = malloc(LEAD_MAX + RECEIVE_MAX);
	run->conns = calloc(run->nconns, sizeof(*run->conns));
	run->carry_len = run->shape.in.body_at > HEAD_MAX ?
			 run->shape.in.body_at : HEAD_MAX;
	run->carries = calloc(run->nconns, run->carry_len);
	if (!run->events || !run->buf || !run->acks || !run->conns ||
	    !run->carries)
		return -ENOMEM;
	return err;
}

/*
 * A process that slept is let in before the one that woke it, so a broker in
 * the middle of a fan-out would be interrupted by every client it serves:
 * here one process stands for all of them. Under SCHED_BATCH it waits until
 * the broker has done. The built-in broker is started before, and keeps the
 * policy that brokers have.
 */
static void init_policy(struct run *run)
{
	struct sched_param param = { 0 };

	if (run->opt->batch && sched_setscheduler(0, SCHED_BATCH, &param))
		run_fail(run, "cannot run under SCHED_BATCH: %s (try --sched "
			 "other)", strerror(errno));
}

static void init_signals(void)
{
	/* No SA_RESTART: waiting must end. */
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static void resolve(struct run *run, const struct floor *floor)
{
	const struct options *opt = run->opt;
	const char *host = opt->floor ? "127.0.0.1" : opt->host;
	int err = net_resolve(&run->net, host,
			      opt->floor ? floor->port : opt->port);

	if (err)
		run_fail(run, "%s: %s", host, gai_strerror(err));
	run->net.nodelay = opt->nodelay;
	run->net.many = run->nconns > NET_PORTS_PER_ADDRESS;
}

static void init(struct run *run, struct floor *floor)
{
	int err = net_raise_limit(run->nconns + SPARE_FDS);

	if (err)
		run_fail(run, "cannot have %u open files: %s (raise "
			 "'ulimit -n')", run->nconns + SPARE_FDS,
			 strerror(-err));
	err = init_memory(run);
	if (!err && run->opt->floor)
		err = floor_start(floor, run->opt, run->shape.out.packet_len);
	if (!err)
		err = init_events(run);
	if (err)
		run_fail(run, "cannot start: %s", strerror(-err));
	init_policy(run);
	init_signals();
}

static void finish(struct run *run)
{
	if (run->conns)
		conn_close_all(run);
	close(run->epoll);
	close(run->timer);
	net_free(&run->net);
	load_free(&run->load);
	shape_free(&run->shape);
	match_free(run->match);
	free(run->memory);
	free(run->conns);
	free(run->carries);
	free(run->events);
	free(run->acks);
	free(run->buf);
}

int scenario_run(const struct options *opt)
{
	struct run *run = calloc(1, sizeof(*run));
	struct floor floor = { 0 };
	int ret;

	if (!run) {
		fprintf(stderr, "kmqtt-bench: out of memory\n");
		return BENCH_FAILED;
	}
	run->opt = opt;
	run->nconns = opt->subscribers + opt->publishers + opt->stalled;
	init(run, &floor);
	run->pid = opt->floor ? floor.pid : opt->pid;
	if (!run->failed)
		resolve(run, &floor);
	if (!run->failed)
		work(run);
	settle_loss(run);
	report_progress_end(run);
	report(run);
	finish(run);
	floor_stop(&floor);
	ret = run_over(run) ? BENCH_FAILED : BENCH_OK;
	free(run);
	return ret;
}
