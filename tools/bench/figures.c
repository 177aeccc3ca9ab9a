// SPDX-License-Identifier: GPL-2.0
/*
 * Figures, for people and for programs.
 */
#include <inttypes.h>
#include <stdio.h>

#include "figures.h"
#include "run.h"

/* Less than 20 ticks of 10 ms say nothing. */
#define STAT_MIN_NS	(200 * NSEC_PER_MSEC)

const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* Cost */

struct share_of_cost figures_share(uint64_t machine_ns, uint64_t own_ns,
				   uint64_t count)
{
	struct share_of_cost c = {
		.machine = (double)machine_ns / (double)count,
		.own = (double)own_ns / (double)count,
	};

	c.broker = c.machine - c.own;
	return c;
}

bool figures_stat_is_good(const struct cost *cost)
{
	return cost->have_stat && cost->stat_ns >= STAT_MIN_NS;
}

const char *figures_cost_absent(const struct run *run, const struct cost *cost,
				uint64_t count)
{
	if (!cost || !count)
		return "nothing was measured";
	if (!net_is_local(&run->net))
		return "the broker is not on this machine: its address is not "
		       "one of this network namespace's";
	if (!cost_source(cost))
		return "neither /proc/schedstat nor /proc/stat can be read";
	if (!cost->have_sched && !figures_stat_is_good(cost))
		return "there is no /proc/schedstat, and the run was too short "
		       "for the 10 ms ticks of /proc/stat";
	return NULL;
}

void figures_print_cost(const struct run *run, const char *what,
			const struct share_of_cost *c, const char *each,
			const char *source)
{
	bool kilo = run->opt->instructions;
	double k = kilo ? 1000 : 1;
	int digits = kilo ? 3 : 0;

	printf("%-12s broker side %.*f, load generator %.*f, whole machine "
	       "%.*f %s %s (%s)\n", what, digits, c->broker / k, digits,
	       c->own / k, digits, c->machine / k,
	       kilo ? "thousand instructions" : "ns", each, source);
}

void figures_print_latency(const struct hist *h)
{
	if (!hist_count(h))
		return;
	printf("%-12s min %.1f, p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, "
	       "max %.1f, mean %.1f us\n", "latency", (double)h->min / 1e3,
	       (double)hist_quantile(h, 500) / 1e3,
	       (double)hist_quantile(h, 900) / 1e3,
	       (double)hist_quantile(h, 990) / 1e3,
	       (double)hist_quantile(h, 999) / 1e3,
	       (double)h->max / 1e3, hist_mean(h) / 1e3);
}

/* JSON */

void json_string(const char *key, const char *s)
{
	printf("\"%s\": \"", key);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			printf("\\u%04x", *s);
		else
			putchar(*s);
	}
	printf("\", ");
}

void json_bool(const char *key, bool v)
{
	printf("\"%s\": %s, ", key, v ? "true" : "false");
}

void json_u64(const char *key, uint64_t v)
{
	printf("\"%s\": %" PRIu64 ", ", key, v);
}

void json_error(const struct run *run)
{
	json_bool("ok", !run_over(run));
	json_bool("interrupted", run_interrupted);
	if (run->failed)
		json_string("error", run->error);
	else
		printf("\"error\": null, ");
}

void json_latency(const struct hist *h)
{
	if (!hist_count(h)) {
		printf("\"latency_us\": null, ");
		return;
	}
	printf("\"latency_us\": {\"min\": %.3f, \"p50\": %.3f, \"p90\": %.3f, "
	       "\"p99\": %.3f, \"p99_9\": %.3f, \"max\": %.3f, "
	       "\"mean\": %.3f}, ", (double)h->min / 1e3,
	       (double)hist_quantile(h, 500) / 1e3,
	       (double)hist_quantile(h, 900) / 1e3,
	       (double)hist_quantile(h, 990) / 1e3,
	       (double)hist_quantile(h, 999) / 1e3,
	       (double)h->max / 1e3, hist_mean(h) / 1e3);
}

void json_cost_head(const struct run *run, const struct cost *cost)
{
	printf("\"cost\": {\"unit\": \"%s\", \"source\": \"%s\", ",
	       run->opt->instructions ? "instructions" : "ns",
	       cost_source(cost));
}

void json_cost_absent(const char *why)
{
	printf("\"cost\": null, \"cost_absent\": \"%s\"", why);
}

void json_share(const char *key, const struct share_of_cost *c)
{
	printf("\"%s\": {\"broker\": %.1f, \"generator\": %.1f, "
	       "\"machine\": %.1f}", key, c->broker, c->own, c->machine);
}
