// SPDX-License-Identifier: GPL-2.0
/*
 * Each tenth starts and ends with nothing in flight, so that its cost is its
 * own.
 */
#include <string.h>

#include "run.h"
#include "sweep.h"

struct sweep *sweep_new(struct run *run, const char *name, uint64_t count,
			void (*begin)(struct run *run, uint64_t i))
{
	struct sweep *s = &run->sweeps[run->nsweeps++];

	memset(s, 0, sizeof(*s));
	s->name = name;
	s->each = name;
	s->count = count;
	s->begin = begin;
	s->window = run->opt->window;
	hist_reset(&s->hist);
	return s;
}

void sweep_answered(struct run *run, uint64_t since_ns)
{
	struct sweep *s = run->sweep;

	s->done++;
	hist_add(&s->hist, now_ns() - since_ns);
}

/* The first connection alone finds out which of the addresses answers. */
static unsigned int window(const struct run *run, const struct sweep *s)
{
	return run->found ? s->window : 1;
}

static void begin_some(struct run *run, struct sweep *s, uint64_t end)
{
	while (s->begun < end && s->begun - s->done < window(run, s) &&
	       !run->failed)
		s->begin(run, s->begun++);
}

static void stretch(struct run *run, struct sweep *s, uint64_t end)
{
	uint64_t start = now_ns();

	run->moved_ns = start;
	begin_some(run, s, end);
	while (s->done < end && !run_over(run)) {
		run_round(run, -1);
		begin_some(run, s, end);
	}
	s->elapsed_ns += now_ns() - start;
}

static void add_tenth(struct sweep *s, struct tenth *t,
		      const struct cost *before)
{
	cost_read(&t->cost);
	cost_since(&t->cost, before);
	cost_add(&s->cost, &t->cost);
}

bool sweep_run(struct run *run, struct sweep *s)
{
	struct cost before;
	struct tenth *t;
	uint64_t end;
	int i;

	run->sweep = s;
	run->phase = PHASE_SWEEP;
	run->start_ns = now_ns();
	for (i = 0; i < SWEEP_TENTHS && !run_over(run); i++) {
		t = &s->tenths[i];
		end = s->count * (uint64_t)(i + 1) / SWEEP_TENTHS;
		t->count = end - s->done;
		cost_read(&before);
		stretch(run, s, end);
		add_tenth(s, t, &before);
	}
	hist_flush(&s->hist);
	run->sweep = NULL;
	return !run_over(run);
}
