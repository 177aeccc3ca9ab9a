/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Deliberate faults of the built-in broker.
 */
#ifndef BENCH_FAULT_H
#define BENCH_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "bench.h"

struct fault {
	enum fault_kind kind;
	uint64_t every;		/* the how-manieth delivery goes wrong */
	uint64_t count;
	uint32_t packet_len;
	uint32_t stamp_at;	/* where a packet says whose it is, or 0 */
	unsigned char *copy;	/* of one packet */
	int held;		/* the socket that @copy is held back from */
};

int fault_init(struct fault *f, const struct options *opt,
	       uint32_t packet_len);

/* Sends @n bytes of whole packets to @fd, faults included. 0 or an error. */
int fault_send(struct fault *f, int fd, const unsigned char *buf, size_t n);

/* Sends what is held back after all. */
int fault_flush(struct fault *f);

/* "loss", "duplicate"...; FAULT_NONE for a name unknown. */
enum fault_kind fault_kind_of(const char *name, size_t len);

#endif
