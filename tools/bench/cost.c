// SPDX-License-Identifier: GPL-2.0
/*
 * Machine accounting. The broker's cost is whatever the machine did beyond
 * this process, wherever the work was charged: a broker's kernel threads and
 * child processes count, and so does everything else that runs meanwhile.
 *
 * /proc/schedstat has, as the seventh number of each processor's line, the
 * nanoseconds for which tasks ran there (Documentation/scheduler/
 * sched-stats). They include interrupts that hit a running task, but not
 * those that hit an idle processor. The sum moves when a task leaves the
 * processor, hence the sleep before each reading.
 *
 * /proc/stat counts ticks of mostly 10 ms: a cross check for long runs, and
 * what is left on kernels without CONFIG_SCHEDSTATS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "cost.h"

#define SETTLE_NS	(2 * NSEC_PER_MSEC)

static void settle(void)
{
	struct timespec ts = { .tv_nsec = SETTLE_NS };

	nanosleep(&ts, NULL);
}

/* "cpu0 0 0 1 2 3 4 BUSY 5 6"; other lines say nothing about a processor. */
static bool schedstat_busy(const char *line, uint64_t *busy)
{
	unsigned long long v;

	if (strncmp(line, "cpu", 3) != 0)
		return false;
	if (sscanf(line, "cpu%*u %*u %*u %*u %*u %*u %*u %llu", &v) != 1)
		return false;
	*busy = v;
	return true;
}

static bool read_schedstat(uint64_t *sum)
{
	FILE *f = fopen("/proc/schedstat", "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;
	uint64_t busy;

	*sum = 0;
	if (!f)
		return false;
	while (getline(&line, &size, f) > 0) {
		if (!schedstat_busy(line, &busy))
			continue;
		*sum += busy;
		found = true;
	}
	free(line);
	fclose(f);
	return found;
}

static bool read_stat(uint64_t *sum)
{
	unsigned long long user, nice, system, irq, softirq;
	long hz = sysconf(_SC_CLK_TCK);
	FILE *f = fopen("/proc/stat", "re");
	int n;

	*sum = 0;
	if (!f)
		return false;
	n = fscanf(f, "cpu %llu %llu %llu %*u %*u %llu %llu",
		   &user, &nice, &system, &irq, &softirq);
	fclose(f);
	if (n != 5 || hz <= 0)
		return false;
	*sum = (user + nice + system + irq + softirq) *
	       (NSEC_PER_SEC / (uint64_t)hz);
	return true;
}

void cost_read(struct cost *c)
{
	settle();
	/* First, so that the readings below burden the next stretch. */
	c->own_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	c->have_sched = read_schedstat(&c->sched_ns);
	c->have_stat = read_stat(&c->stat_ns);
}

void cost_since(struct cost *a, const struct cost *since)
{
	a->have_sched = a->have_sched && since->have_sched;
	a->have_stat = a->have_stat && since->have_stat;
	a->sched_ns -= since->sched_ns;
	a->stat_ns -= since->stat_ns;
	a->own_ns -= since->own_ns;
}

void cost_add(struct cost *a, const struct cost *b)
{
	a->have_sched = b->have_sched;
	a->have_stat = b->have_stat;
	a->sched_ns += b->sched_ns;
	a->stat_ns += b->stat_ns;
	a->own_ns += b->own_ns;
}

uint64_t cost_machine_ns(const struct cost *c)
{
	return c->have_sched ? c->sched_ns : c->stat_ns;
}

const char *cost_source(const struct cost *c)
{
	if (c->have_sched)
		return "/proc/schedstat";
	return c->have_stat ? "/proc/stat" : NULL;
}
