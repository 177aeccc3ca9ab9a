// SPDX-License-Identifier: GPL-2.0
#include "stats.h"

#include <inttypes.h>
#include <linux/genetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "genl.h"
#include "json.h"
#include "names.h"
#include "table.h"

/* Side by side in a table: what fits most screens. */
#define WORKERS_A_TABLE	8

/* Numbers by the type of the attribute, of those up to @max. */
static void note_values(const struct nlattr *nest, uint64_t *values,
			unsigned int max)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest)
		if (mnl_attr_get_type(attr) <= max)
			values[mnl_attr_get_type(attr)] = genl_uint(attr);
}

static void note_worker(const struct nlattr *nest, struct stats *stats)
{
	struct stats_counters *worker;
	size_t i;

	stats->workers = reallocarray(stats->workers, stats->worker_count + 1,
				      sizeof(*stats->workers));
	if (!stats->workers)
		die_nomem();
	worker = &stats->workers[stats->worker_count++];
	memset(worker, 0, sizeof(*worker));
	note_values(nest, worker->values, KMQTT_A_COUNTER_MAX);
	for (i = 0; i <= KMQTT_A_COUNTER_MAX; i++)
		stats->total.values[i] += worker->values[i];
}

static void note_stats(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *attrs[KMQTT_A_STATS_MAX + 1];
	const struct nlattr *attr;
	struct stats *stats = data;

	genl_attrs(message, attrs, KMQTT_A_STATS_MAX);
	stats->conns = genl_uint(attrs[KMQTT_A_STATS_CONNS]);
	stats->subs = genl_uint(attrs[KMQTT_A_STATS_SUBS]);
	stats->filters = genl_uint(attrs[KMQTT_A_STATS_FILTERS]);
	stats->sink_seq = genl_uint(attrs[KMQTT_A_STATS_SINK_SEQ]);
	stats->sink_records = genl_uint(attrs[KMQTT_A_STATS_SINK_RECORDS]);
	stats->sink_bytes = genl_uint(attrs[KMQTT_A_STATS_SINK_BYTES]);
	stats->sink_waiting = genl_uint(attrs[KMQTT_A_STATS_SINK_WAITING]);
	stats->sink_waits = genl_uint(attrs[KMQTT_A_STATS_SINK_WAITS]);
	stats->memory = genl_uint(attrs[KMQTT_A_STATS_MEMORY]);
	stats->memory_limit = genl_uint(attrs[KMQTT_A_STATS_MEMORY_LIMIT]);
	if (attrs[KMQTT_A_STATS_ENDED])
		note_values(attrs[KMQTT_A_STATS_ENDED], stats->ended,
			    KMQTT_END_MAX);
	mnl_attr_for_each(attr, message, GENL_HDRLEN)
		if (mnl_attr_get_type(attr) == KMQTT_A_STATS_WORKER)
			note_worker(attr, stats);
}

int stats_get(struct stats *stats)
{
	int err;

	memset(stats, 0, sizeof(*stats));
	err = genl_talk(genl_request(KMQTT_CMD_STATS_GET, 0), note_stats,
			stats);
	if (err)
		stats_free(stats);
	return err;
}

void stats_free(struct stats *stats)
{
	free(stats->workers);
}

uint64_t stats_dropped(const struct stats *stats)
{
	const uint64_t *total = stats->total.values;

	return total[KMQTT_A_COUNTER_DROPPED_MESSAGES] +
	       total[KMQTT_A_COUNTER_DROPPED_BYTES] +
	       total[KMQTT_A_COUNTER_DROPPED_NOMEM] +
	       total[KMQTT_A_COUNTER_DROPPED_BUDGET];
}

static void print_state(const struct stats *stats)
{
	printf("connections    %" PRIu64 "\n", stats->conns);
	printf("subscriptions  %" PRIu64 "\n", stats->subs);
	printf("filters        %" PRIu64 "\n", stats->filters);
	printf("sink           %" PRIu64 " queued, %" PRIu64 " waiting, %" PRIu64
	       " bytes\n", stats->sink_seq, stats->sink_records,
	       stats->sink_bytes);
	printf("sink full      %" PRIu64 " times, %" PRIu64
	       " publishers paused\n", stats->sink_waits, stats->sink_waiting);
	printf("memory         %" PRIu64 " bytes, limit %" PRIu64 "\n",
	       stats->memory, stats->memory_limit);
}

static void print_ended(const struct stats *stats)
{
	static const struct table_column columns[] = {
		{ "ENDED", false },
		{ "TOTAL", true },
	};
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	unsigned int i;

	for (i = KMQTT_END_NONE + 1; i <= KMQTT_END_MAX; i++) {
		table_string(table, end_names[i]);
		table_uint(table, stats->ended[i]);
	}
	table_end(table, CTL_OK);
}

static void print_counter(struct table *table, const struct stats *stats,
			  size_t counter, size_t first, size_t last)
{
	table_string(table, counter_names[counter]);
	table_uint(table, stats->total.values[counter]);
	for (; first < last; first++)
		table_uint(table, stats->workers[first].values[counter]);
}

/* The counters of the workers from @first on, and before them their total. */
static void print_workers(const struct stats *stats, size_t first, size_t last)
{
	char titles[WORKERS_A_TABLE][sizeof("WORKER 4294967295")];
	struct table_column columns[2 + WORKERS_A_TABLE] = {
		{ "COUNTER", false },
		{ "TOTAL", true },
	};
	struct table *table;
	size_t i;

	for (i = 0; i < last - first; i++) {
		snprintf(titles[i], sizeof(titles[i]), "WORKER %" PRIu32,
			 (uint32_t)(first + i));
		columns[2 + i].title = titles[i];
		columns[2 + i].right = true;
	}
	table = table_new(columns, 2 + last - first);
	for (i = 0; i <= KMQTT_A_COUNTER_MAX; i++)
		if (counter_names[i])
			print_counter(table, stats, i, first, last);
	table_end(table, CTL_OK);
}

static void print_stats(const struct stats *stats)
{
	size_t first, last;

	print_state(stats);
	for (first = 0; first < stats->worker_count; first = last) {
		last = first + WORKERS_A_TABLE;
		if (last > stats->worker_count)
			last = stats->worker_count;
		putchar('\n');
		print_workers(stats, first, last);
	}
	putchar('\n');
	print_ended(stats);
}

static void json_counters(const char *name,
			  const struct stats_counters *counters)
{
	size_t i;

	json_object(name);
	for (i = 0; i <= KMQTT_A_COUNTER_MAX; i++)
		if (counter_names[i])
			json_uint(counter_names[i], counters->values[i]);
	json_object_end();
}

static void json_stats(const struct stats *stats)
{
	size_t i;

	json_object(NULL);
	json_uint("connections", stats->conns);
	json_uint("subscriptions", stats->subs);
	json_uint("filters", stats->filters);
	json_object("sink");
	json_uint("seq", stats->sink_seq);
	json_uint("records", stats->sink_records);
	json_uint("bytes", stats->sink_bytes);
	json_uint("waiting", stats->sink_waiting);
	json_uint("waits", stats->sink_waits);
	json_object_end();
	json_counters("total", &stats->total);
	json_array("workers");
	for (i = 0; i < stats->worker_count; i++)
		json_counters(NULL, &stats->workers[i]);
	json_array_end();
	json_object("ended");
	for (i = KMQTT_END_NONE + 1; i <= KMQTT_END_MAX; i++)
		json_uint(end_names[i], stats->ended[i]);
	json_object_end();
	json_object_end();
}

int stats_command(const struct options *options)
{
	struct stats stats;

	if (genl_connect() || stats_get(&stats))
		return CTL_FAILED;
	if (options->json)
		json_stats(&stats);
	else
		print_stats(&stats);
	stats_free(&stats);
	return CTL_OK;
}
