// SPDX-License-Identifier: GPL-2.0
/*
 * Results, for people and as one JSON object, and the progress line.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "figures.h"
#include "mqtt.h"
#include "report.h"
#include "run.h"

#define PROGRESS_AFTER_NS	(2 * NSEC_PER_SEC)
#define PROGRESS_EVERY_NS	(5 * NSEC_PER_SEC)

const char *const scenario_names[] = {
	[SCENARIO_FANOUT] = "fanout",
	[SCENARIO_FANIN] = "fanin",
	[SCENARIO_P2P] = "p2p",
	[SCENARIO_PING] = "ping",
	[SCENARIO_CONNECT] = "connect",
	[SCENARIO_SUBSCRIBE] = "subscribe",
	[SCENARIO_MATCH] = "match",
	[SCENARIO_MEMORY] = "memory",
};

static const char *const phase_texts[] = {
	[PHASE_SETUP] = "connecting",
	[PHASE_WARMUP] = "warming up",
	[PHASE_LOAD] = "measuring",
	[PHASE_SWEEP] = "measuring",
};

static double seconds(const struct run *run)
{
	if (run->phase != PHASE_LOAD)
		return 0;
	return (double)(run->end_ns - run->start_ns) / NSEC_PER_SEC;
}

static double rate(const struct run *run)
{
	double s = seconds(run);

	return s > 0 ? (double)run->load.tally.delivered / s : 0;
}

/* Warm-up deliveries are nobody's business but that of the checks. */
static uint64_t delivered(const struct run *run)
{
	return run->phase == PHASE_LOAD ? run->load.tally.delivered : 0;
}

static uint64_t expected(const struct run *run)
{
	return run->phase == PHASE_LOAD ? load_expected(&run->load) : 0;
}

/* Progress */

static bool progress_due(const struct run *run, uint64_t now, bool tty)
{
	if (run->opt->progress)
		return tty || now - run->shown_ns >= NSEC_PER_SEC;
	if (run->opt->quiet || now - run->start_ns < PROGRESS_AFTER_NS)
		return false;
	return tty || now - run->shown_ns >= PROGRESS_EVERY_NS;
}

static void progress_counts(const struct run *run, char *buf, size_t size)
{
	uint64_t all = run->load.begun + run->load.quota;

	if (run->sweep)
		snprintf(buf, size, "%s %" PRIu64 " of %" PRIu64,
			 run->sweep->name, run->sweep->done, run->sweep->count);
	else if (run->phase == PHASE_SETUP)
		snprintf(buf, size, "%u of %u clients", run->ready,
			 run->nconns);
	else if (run->opt->duration_ns && run->phase == PHASE_LOAD)
		snprintf(buf, size, "%" PRIu64 " deliveries",
			 run->load.tally.delivered);
	else
		snprintf(buf, size, "%" PRIu64 " of %" PRIu64 " deliveries",
			 run->load.tally.delivered, all * run->load.fan);
}

void report_progress(struct run *run)
{
	uint64_t now = now_ns();
	bool tty = isatty(STDERR_FILENO);
	char counts[80];

	if (!run->shown_ns)
		run->shown_ns = run->start_ns;
	if (!progress_due(run, now, tty))
		return;
	progress_counts(run, counts, sizeof(counts));
	fprintf(stderr, "%skmqtt-bench: %s, %s, %.1f s%s", tty ? "\r" : "",
		phase_texts[run->phase], counts,
		(double)(now - run->start_ns) / NSEC_PER_SEC,
		tty ? "\033[K" : "\n");
	run->shown = tty;
	run->shown_ns = now;
}

void report_progress_end(struct run *run)
{
	if (run->shown)
		fputs("\r\033[K", stderr);
	run->shown = false;
}

/* Cost */

static const char *cost_absent(const struct run *run)
{
	return figures_cost_absent(run, run->have_cost ? &run->cost : NULL,
				   run->load.tally.delivered);
}

static struct share_of_cost per_delivery(const struct run *run,
					 uint64_t machine_ns)
{
	return figures_share(machine_ns, run->cost.own_ns,
			     run->load.tally.delivered);
}

static void print_cost_line(const struct run *run, const char *what,
			    uint64_t machine_ns, const char *source)
{
	struct share_of_cost c = per_delivery(run, machine_ns);

	figures_print_cost(run, what, &c, "a delivery", source);
}

static void print_cost(const struct run *run)
{
	const char *why = cost_absent(run);

	if (why) {
		printf("%-12s not known: %s\n", "cost", why);
		return;
	}
	print_cost_line(run, "cost", cost_machine_ns(&run->cost),
			cost_source(&run->cost));
	if (run->cost.have_sched && figures_stat_is_good(&run->cost))
		print_cost_line(run, "cross check", run->cost.stat_ns,
				"/proc/stat, in ticks");
}

/* For people */

static const char *version_text(unsigned int version)
{
	return version == MQTT_V5 ? "5" : "3.1.1";
}

static void print_versions(const struct options *o)
{
	if (o->publisher_version == o->subscriber_version)
		printf("%-12s MQTT %s", "version",
		       version_text(o->publisher_version));
	else
		printf("%-12s MQTT %s to %s", "version",
		       version_text(o->publisher_version),
		       version_text(o->subscriber_version));
	if (o->properties)
		printf(", %u user properties", o->properties);
	printf("%s\n", o->identifiers ? ", subscription identifiers" : "");
}

static void print_head(const struct run *run)
{
	const struct options *o = run->opt;
	char topic[TOPIC_MAX];

	shape_topic(&run->shape, 0, topic);
	printf("%s%s at %s: %u publisher%s, %u subscriber%s, %u in flight%s\n",
	       o->floor ? "floor " : "", scenario_names[o->scenario],
	       run->net.name, o->publishers, plural(o->publishers),
	       o->subscribers, plural(o->subscribers), o->window,
	       o->batch ? ", SCHED_BATCH here" : "");
	printf("%-12s payload %u bytes (packet %u), QoS %u%s, topic %s%s, "
	       "TCP_NODELAY %s here%s\n", "messages", o->payload,
	       run->shape.in.packet_len, o->qos,
	       o->durable ? " to durable sessions" : "", topic,
	       options_pairs(o) ? " and on" : "", o->nodelay ? "on" : "off",
	       o->floor ? " and on there" : "; the broker's own setting "
	       "matters too");
	print_versions(o);
	if (!options_stamped(o))
		printf("%-12s payload under %u bytes: order and duplicates "
		       "are not checked, latency takes order for granted\n",
		       "", STAMP_LEN);
}

static void print_people(const struct run *run)
{
	const struct tally *t = &run->load.tally;

	print_head(run);
	if (run->phase == PHASE_LOAD)
		printf("%-12s %" PRIu64 " of %" PRIu64 " (%" PRIu64
		       " message%s)\n", "deliveries", delivered(run),
		       expected(run), run->load.begun,
		       plural(run->load.begun));
	else
		printf("%-12s none counted, the warm-up did not end\n",
		       "deliveries");
	printf("%-12s %" PRIu64 " lost, %" PRIu64 " duplicated, %" PRIu64
	       " reordered, %" PRIu64 " corrupted, warm-up included\n",
	       "faults", t->lost, t->duplicated, t->reordered, t->corrupted);
	if (run->phase == PHASE_LOAD)
		printf("%-12s %.3f s, %.0f deliveries a second\n", "time",
		       seconds(run), rate(run));
	if (run->phase == PHASE_LOAD)
		figures_print_latency(&run->load.hist);
	print_cost(run);
	if (run->opt->stalled)
		printf("%-12s %u more subscribers have stopped reading: the "
		       "kernel's memory grew by %.1f MiB at most\n", "stalled",
		       run->opt->stalled,
		       (double)(run->stall.peak - run->stall.before) /
		       (1 << 20));
}

/* JSON */

static void json_options(const struct run *run)
{
	const struct options *o = run->opt;
	char topic[TOPIC_MAX];

	shape_topic(&run->shape, 0, topic);
	json_string("scenario", scenario_names[o->scenario]);
	json_bool("floor", o->floor);
	json_string("address", run->net.name);
	json_string("topic", topic);
	json_u64("publishers", o->publishers);
	json_u64("subscribers", o->subscribers);
	json_u64("stalled", o->stalled);
	json_u64("window", o->window);
	json_u64("payload_bytes", o->payload);
	json_u64("packet_bytes", run->shape.in.packet_len);
	json_u64("publisher_version", o->publisher_version);
	json_u64("subscriber_version", o->subscriber_version);
	json_bool("identifiers", o->identifiers);
	json_u64("user_properties", o->properties);
	json_u64("qos", o->qos);
	json_bool("durable", o->durable);
	json_u64("warmup_messages", o->warmup);
	json_bool("nodelay", o->nodelay);
	json_string("sched", o->batch ? "batch" : "other");
	json_bool("order_checked", options_stamped(o));
}

static void json_result(const struct run *run)
{
	const struct tally *t = &run->load.tally;

	json_error(run);
	json_u64("messages", run->phase == PHASE_LOAD ? run->load.begun : 0);
	json_u64("expected", expected(run));
	json_u64("deliveries", delivered(run));
	json_u64("lost", t->lost);
	json_u64("duplicated", t->duplicated);
	json_u64("reordered", t->reordered);
	json_u64("corrupted", t->corrupted);
	if (run->opt->stalled)
		json_u64("stalled_kernel_bytes",
			 run->stall.peak - run->stall.before);
	printf("\"elapsed_s\": %.6f, \"deliveries_per_s\": %.1f, ",
	       seconds(run), rate(run));
}

static void json_cost_of(const struct run *run, const char *key, bool have,
			 uint64_t machine_ns)
{
	struct share_of_cost c = per_delivery(run, machine_ns);

	if (have)
		json_share(key, &c);
	else
		printf("\"%s\": null", key);
}

static void json_cost(const struct run *run)
{
	const char *why = cost_absent(run);

	if (why) {
		json_cost_absent(why);
		return;
	}
	json_cost_head(run, &run->cost);
	json_cost_of(run, "delivery", true, cost_machine_ns(&run->cost));
	printf(", ");
	json_cost_of(run, "delivery_by_schedstat", run->cost.have_sched,
		     run->cost.sched_ns);
	printf(", ");
	json_cost_of(run, "delivery_by_stat", figures_stat_is_good(&run->cost),
		     run->cost.stat_ns);
	printf("}");
}

static void print_json(const struct run *run)
{
	printf("{");
	json_options(run);
	json_result(run);
	if (run->phase == PHASE_LOAD)
		json_latency(&run->load.hist);
	else
		printf("\"latency_us\": null, ");
	json_cost(run);
	printf("}\n");
}

void report(const struct run *run)
{
	const bool load = options_load(run->opt);

	if (run->failed)
		fprintf(stderr, "kmqtt-bench: %s\n", run->error);
	else if (run_interrupted)
		fprintf(stderr, "kmqtt-bench: interrupted\n");
	if (run->opt->json)
		(load ? print_json : report_json_requests)(run);
	else if (!run->opt->quiet && (!load || run->phase != PHASE_SETUP))
		(load ? print_people : report_print_requests)(run);
	fflush(stdout);
}
