/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What people and programs get to read.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

struct run;

/* Called at every tick; decides itself whether a line is due. */
void report_progress(struct run *run);
void report_progress_end(struct run *run);

/* The result, on standard output. */
void report(const struct run *run);

/* The same for scenarios of requests. */
void report_print_requests(const struct run *run);
void report_json_requests(const struct run *run);

#endif
