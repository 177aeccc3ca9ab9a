/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Scenarios of one request a client: ping, connect, subscribe.
 */
#ifndef BENCH_REQUESTS_H
#define BENCH_REQUESTS_H

struct run;

void ping_work(struct run *run);
void connect_work(struct run *run);
void subscribe_work(struct run *run);

#endif
