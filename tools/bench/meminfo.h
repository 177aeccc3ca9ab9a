/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where memory is.
 */
#ifndef BENCH_MEMINFO_H
#define BENCH_MEMINFO_H

#include <stdint.h>
#include <sys/types.h>

enum mem_kind {
	MEM_KERNEL,	/* all that no process and no file's content has */
	MEM_SLAB,	/* parts of that, as /proc/meminfo names them */
	MEM_PERCPU,
	MEM_VMALLOC,
	MEM_STACKS,
	MEM_TABLES,
	MEM_TCP,	/* another view: queued in sockets, /proc/net/sockstat */
	MEM_PROCESS,	/* of one process: anonymous memory */
	MEM_KINDS,
};

extern const char *const mem_names[MEM_KINDS];

#define SLABS_MAX	512

struct slab {
	char name[40];
	uint64_t bytes;
};

struct meminfo {
	uint64_t bytes[MEM_KINDS];
	unsigned int nslabs;	/* of the settled; 0: it is root's to read */
	struct slab slabs[SLABS_MAX];
};

/* @pid may be 0: none. 0 or a negative error. */
int meminfo_read(struct meminfo *m, pid_t pid);

/* The same and slabs, once what is freed late has been freed. */
int meminfo_settle(struct meminfo *m, pid_t pid);

#endif
