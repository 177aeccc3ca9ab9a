// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own memory is what is missing after everything else has been
 * counted: free pages, also those in the processors' own lists, processes'
 * anonymous pages, files' pages. That finds pages straight from the page
 * allocator too, which no line of /proc/meminfo names.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "meminfo.h"

#define SETTLE_NS	(50 * NSEC_PER_MSEC)
#define SETTLE_ROUNDS	40
/* What is freed after a grace period comes in pieces. */
#define SETTLE_SAME	5
#define SETTLE_BYTES	(64u << 10)

const char *const mem_names[MEM_KINDS] = {
	[MEM_KERNEL] = "kernel",
	[MEM_SLAB] = "slab",
	[MEM_PERCPU] = "percpu",
	[MEM_VMALLOC] = "vmalloc",
	[MEM_STACKS] = "stacks",
	[MEM_TABLES] = "tables",
	[MEM_TCP] = "tcp",
	[MEM_PROCESS] = "process",
};

static const struct line {
	const char *name;
	enum mem_kind kind;
	bool less;
} lines[] = {
	{ "MemTotal", MEM_KERNEL, false },
	{ "MemFree", MEM_KERNEL, true },
	{ "Buffers", MEM_KERNEL, true },
	{ "Cached", MEM_KERNEL, true },
	{ "SwapCached", MEM_KERNEL, true },
	{ "AnonPages", MEM_KERNEL, true },
	{ "Slab", MEM_SLAB, false },
	{ "Percpu", MEM_PERCPU, false },
	{ "VmallocUsed", MEM_VMALLOC, false },
	{ "KernelStack", MEM_STACKS, false },
	{ "PageTables", MEM_TABLES, false },
};

static void take_line(struct meminfo *m, const char *name, uint64_t bytes)
{
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (!strcmp(lines[i].name, name))
			m->bytes[lines[i].kind] += lines[i].less ? -bytes :
								   bytes;
}

static int read_meminfo(struct meminfo *m)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128], name[40];
	uint64_t kib;

	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%39[^:]: %" SCNu64, name, &kib) == 2)
			take_line(m, name, kib << 10);
	fclose(f);
	return 0;
}

/* Free pages that /proc/meminfo does not know of, some MiB:
 * "    cpu: 0\n              count: 123\n".
 */
static void read_zones(struct meminfo *m)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	char line[256];
	uint64_t pages;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " count: %" SCNu64, &pages) == 1)
			m->bytes[MEM_KERNEL] -= pages *
						(uint64_t)sysconf(_SC_PAGESIZE);
	fclose(f);
}

/* "TCP: inuse 5 orphan 0 tw 0 alloc 9 mem 1", in pages. */
static void read_sockstat(struct meminfo *m)
{
	FILE *f = fopen("/proc/net/sockstat", "re");
	char line[128];
	uint64_t pages;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "TCP: inuse %*u orphan %*u tw %*u alloc %*u "
			   "mem %" SCNu64, &pages) == 1)
			m->bytes[MEM_TCP] = pages *
					    (uint64_t)sysconf(_SC_PAGESIZE);
	fclose(f);
}

/* "name objects all size per-slab pages : ... : slabdata used slabs ..." */
static void read_slabs(struct meminfo *m)
{
	FILE *f = fopen("/proc/slabinfo", "re");
	uint64_t pages, slabs;
	struct slab *slab;
	char line[256];

	if (!f)
		return;
	while (m->nslabs < SLABS_MAX && fgets(line, sizeof(line), f)) {
		slab = &m->slabs[m->nslabs];
		if (sscanf(line, "%39s %*u %*u %*u %*u %" SCNu64 " : tunables "
			   "%*u %*u %*u : slabdata %*u %" SCNu64, slab->name,
			   &pages, &slabs) != 3)
			continue;
		slab->bytes = pages * slabs * (uint64_t)sysconf(_SC_PAGESIZE);
		m->nslabs++;
	}
	fclose(f);
}

static int read_process(struct meminfo *m, pid_t pid)
{
	char path[40], line[128];
	uint64_t kib;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Anonymous: %" SCNu64, &kib) == 1)
			m->bytes[MEM_PROCESS] = kib << 10;
	fclose(f);
	return 0;
}

int meminfo_read(struct meminfo *m, pid_t pid)
{
	int err;

	memset(m, 0, sizeof(*m));
	err = read_meminfo(m);
	if (err)
		return err;
	read_zones(m);
	read_sockstat(m);
	return pid ? read_process(m, pid) : 0;
}

static bool same(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) < SETTLE_BYTES;
}

int meminfo_settle(struct meminfo *m, pid_t pid)
{
	struct timespec ts = { .tv_nsec = SETTLE_NS };
	uint64_t then;
	int i, err = meminfo_read(m, pid), times = 0;

	for (i = 0; !err && i < SETTLE_ROUNDS && times < SETTLE_SAME; i++) {
		then = m->bytes[MEM_KERNEL];
		nanosleep(&ts, NULL);
		err = meminfo_read(m, pid);
		times = same(then, m->bytes[MEM_KERNEL]) ? times + 1 : 0;
	}
	read_slabs(m);
	return err;
}
