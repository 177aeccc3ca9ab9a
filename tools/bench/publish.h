/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sending what the window allows.
 */
#ifndef BENCH_PUBLISH_H
#define BENCH_PUBLISH_H

struct run;
struct conn;

/* Every publisher that may send does so, in one write each. */
void publish_due(struct run *run);

/* The socket of @c has room again. */
void publish_resume(struct run *run, struct conn *c);

#endif
