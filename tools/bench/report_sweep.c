// SPDX-License-Identifier: GPL-2.0
/*
 * What requests cost: all of them, and the first and the last tenth.
 */
#include <inttypes.h>
#include <stdio.h>

#include "figures.h"
#include "memory.h"
#include "report.h"
#include "run.h"

static double seconds(const struct sweep *s)
{
	return (double)s->elapsed_ns / NSEC_PER_SEC;
}

static struct share_of_cost share(const struct cost *cost, uint64_t count)
{
	return figures_share(cost_machine_ns(cost), cost->own_ns, count);
}

static const char *absent(const struct run *run, const struct sweep *s)
{
	return figures_cost_absent(run, &s->cost,
				   s->done == s->count ? s->count : 0);
}

/* For people */

static void print_each(const struct run *run, const struct sweep *s,
		       const char *what, const struct cost *cost,
		       uint64_t count, const char *noun)
{
	struct share_of_cost c = share(cost, count);
	char each[40];

	snprintf(each, sizeof(each), "a %s", noun);
	figures_print_cost(run, what, &c, each, cost_source(&s->cost));
}

static void print_tenth(const struct run *run, const struct sweep *s,
			const char *what, const struct tenth *t)
{
	if (t->count)
		print_each(run, s, what, &t->cost, t->count, s->each);
}

static void print_cost(const struct run *run, const struct sweep *s)
{
	const char *why = absent(run, s);

	if (why) {
		printf("%-12s not known: %s\n", "cost", why);
		return;
	}
	print_each(run, s, "cost", &s->cost, s->count, s->each);
	if (s->items)
		print_each(run, s, "", &s->cost, s->items, s->item);
	if (!s->cost.have_sched)
		return;
	print_tenth(run, s, "first tenth", &s->tenths[0]);
	print_tenth(run, s, "last tenth", &s->tenths[SWEEP_TENTHS - 1]);
}

static void print_sweep(const struct run *run, const struct sweep *s)
{
	printf("%s\n%-12s %" PRIu64 " of %" PRIu64, s->name, "answered",
	       s->done, s->count);
	if (s->items)
		printf(" (%s: %" PRIu64 ")", s->item, s->items);
	printf(", %u in flight, %.3f s, %.0f a second\n", s->window,
	       seconds(s), seconds(s) > 0 ? (double)s->done / seconds(s) : 0);
	figures_print_latency(&s->hist);
	print_cost(run, s);
}

void report_print_requests(const struct run *run)
{
	const struct options *o = run->opt;
	unsigned int i;

	printf("%s%s at %s: %u client%s%s\n", o->floor ? "floor " : "",
	       scenario_names[o->scenario], run->net.name, o->subscribers,
	       plural(o->subscribers), o->batch ? ", SCHED_BATCH here" : "");
	if (run->memory)
		memory_print(run);
	for (i = 0; i < run->nsweeps; i++)
		print_sweep(run, &run->sweeps[i]);
}

/* JSON */

static void json_tenths(const struct sweep *s)
{
	struct share_of_cost c;
	const struct tenth *t;
	int i;

	printf("\"tenths\": [");
	for (i = 0; i < SWEEP_TENTHS; i++) {
		t = &s->tenths[i];
		printf("%s{\"count\": %" PRIu64, i ? ", " : "", t->count);
		c = share(&t->cost, t->count);
		if (t->count && s->cost.have_sched) {
			printf(", ");
			json_share("each", &c);
		}
		printf("}");
	}
	printf("]");
}

static void json_cost(const struct run *run, const struct sweep *s)
{
	const char *why = absent(run, s);
	struct share_of_cost c;

	if (why) {
		json_cost_absent(why);
		return;
	}
	json_cost_head(run, &s->cost);
	c = share(&s->cost, s->count);
	json_share("each", &c);
	printf(", ");
	if (s->items) {
		c = share(&s->cost, s->items);
		json_share("item", &c);
		printf(", ");
	}
	json_tenths(s);
	printf("}");
}

static void json_sweep(const struct run *run, const struct sweep *s)
{
	printf("{");
	json_string("name", s->name);
	json_u64("count", s->count);
	json_u64("answered", s->done);
	json_u64("window", s->window);
	if (s->items) {
		json_string("item", s->item);
		json_u64("items", s->items);
	}
	printf("\"elapsed_s\": %.6f, ", seconds(s));
	json_latency(&s->hist);
	json_cost(run, s);
	printf("}");
}

static void json_options(const struct run *run)
{
	const struct options *o = run->opt;

	json_string("scenario", scenario_names[o->scenario]);
	json_bool("floor", o->floor);
	json_string("address", run->net.name);
	json_u64("clients", o->subscribers);
	json_bool("nodelay", o->nodelay);
	json_string("sched", o->batch ? "batch" : "other");
}

void report_json_requests(const struct run *run)
{
	unsigned int i;

	printf("{");
	json_options(run);
	json_error(run);
	if (run->memory)
		memory_json(run);
	printf("\"requests\": [");
	for (i = 0; i < run->nsweeps; i++) {
		printf("%s", i ? ", " : "");
		json_sweep(run, &run->sweeps[i]);
	}
	printf("]}\n");
}
