// SPDX-License-Identifier: GPL-2.0
/*
 * Memory is read when nobody does anything, and divided by what was added
 * since: so many clients that whole pages, and slabs in part empty, vanish.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "memory.h"
#include "mqtt.h"
#include "run.h"

/* Growth of a slab cache that is worth a line, a client or subscription. */
#define SLAB_MIN	4

static void take_reading(struct run *run)
{
	struct memory *mem = run->memory;
	int err = meminfo_settle(&mem->read[mem->nread++], run->pid);

	if (err)
		run_fail(run, "cannot read memory, of process %d too: %s",
			 (int)run->pid, strerror(-err));
}

static void begin_subscribe(struct run *run, uint64_t i)
{
	struct mqtt_filters filters = { 0 };
	char topic[TOPIC_MAX + 16];
	unsigned int k;

	for (k = 0; k < run->opt->filters; k++) {
		snprintf(topic, sizeof(topic), "%s%" PRIu64 "/%u",
			 run->opt->prefix, i / MEMORY_SHARED, k);
		mqtt_add_filter(&filters, MQTT_SUBSCRIBE, topic, 0);
	}
	conn_ask(run, &run->conns[i], &filters);
}

static bool subscribe(struct run *run)
{
	struct sweep *s = sweep_new(run, "subscribe", run->nconns,
				    begin_subscribe);

	s->each = "packet";
	s->item = "subscription";
	s->items = (uint64_t)run->nconns * run->opt->filters;
	return sweep_run(run, s);
}

void memory_work(struct run *run)
{
	run->memory = calloc(1, sizeof(*run->memory));
	if (!run->memory) {
		run_fail(run, "out of memory");
		return;
	}
	take_reading(run);
	if (!conn_open_all(run))
		return;
	take_reading(run);
	if (run->opt->filters && subscribe(run))
		take_reading(run);
}

/* Reports */

static double growth(const struct memory *mem, unsigned int i, int kind,
		     uint64_t count)
{
	int64_t bytes = (int64_t)(mem->read[i].bytes[kind] -
				  mem->read[i - 1].bytes[kind]);

	return (double)bytes / (double)count;
}

static uint64_t slab_bytes(const struct meminfo *m, const char *name)
{
	unsigned int i;

	for (i = 0; i < m->nslabs; i++)
		if (!strcmp(m->slabs[i].name, name))
			return m->slabs[i].bytes;
	return 0;
}

static double slab_growth(const struct memory *mem, unsigned int i,
			  const struct slab *slab, uint64_t count)
{
	int64_t bytes = (int64_t)(slab->bytes -
				  slab_bytes(&mem->read[i - 1], slab->name));

	return (double)bytes / (double)count;
}

static void print_slabs(const struct memory *mem, unsigned int i,
			uint64_t count)
{
	const struct meminfo *m = &mem->read[i];
	unsigned int k;
	double bytes;

	for (k = 0; k < m->nslabs; k++) {
		bytes = slab_growth(mem, i, &m->slabs[k], count);
		if (bytes >= SLAB_MIN)
			printf("%-12s %s %.0f\n", "", m->slabs[k].name, bytes);
	}
}

static void json_slabs(const struct memory *mem, unsigned int i,
		       uint64_t count)
{
	const struct meminfo *m = &mem->read[i];
	const char *comma = "";
	unsigned int k;
	double bytes;

	printf("\"slabs\": {");
	for (k = 0; k < m->nslabs; k++) {
		bytes = slab_growth(mem, i, &m->slabs[k], count);
		if (bytes < SLAB_MIN)
			continue;
		printf("%s\"%s\": %.1f", comma, m->slabs[k].name, bytes);
		comma = ", ";
	}
	printf("}");
}

static bool known(const struct run *run, int kind)
{
	return kind != MEM_PROCESS || run->pid;
}

static void print_growth(const struct run *run, unsigned int i,
			 const char *what, uint64_t count)
{
	int kind;

	if (run->memory->nread <= i)
		return;
	printf("%-12s bytes:", what);
	for (kind = 0; kind < MEM_KINDS; kind++)
		if (known(run, kind))
			printf("%s %s %.0f", kind ? "," : "", mem_names[kind],
			       growth(run->memory, i, kind, count));
	printf("\n");
	print_slabs(run->memory, i, count);
}

static void json_growth(const struct run *run, unsigned int i,
			const char *what, uint64_t count)
{
	int kind;

	if (run->memory->nread <= i)
		return;
	printf("\"%s\": {", what);
	for (kind = 0; kind < MEM_KINDS; kind++)
		if (known(run, kind))
			printf("\"%s\": %.1f, ", mem_names[kind],
			       growth(run->memory, i, kind, count));
	json_slabs(run->memory, i, count);
	printf("}, ");
}

void memory_print(const struct run *run)
{
	uint64_t n = run->nconns;

	print_growth(run, 1, "connection", n);
	print_growth(run, 2, "subscription", n * run->opt->filters);
}

void memory_json(const struct run *run)
{
	uint64_t n = run->nconns;

	json_growth(run, 1, "connection_bytes", n);
	json_growth(run, 2, "subscription_bytes", n * run->opt->filters);
}
