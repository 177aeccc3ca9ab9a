/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A table for people, on standard output. Columns are as wide as the rows need
 * that come first; from then on rows are printed as they come, so that a table
 * of any length takes little memory.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_column {
	const char *title;
	bool right;		/* of numbers */
};

struct table;

struct table *table_new(const struct table_column *columns, size_t count);

/* Each adds the next cell; a row ends with its last column. */
void table_string(struct table *table, const char *value);
void table_uint(struct table *table, uint64_t value);
void table_text(struct table *table, const void *text, size_t len);

/*
 * Prints what has not been printed, and frees the table. Titles alone are
 * printed for a @code of CTL_OK only.
 */
void table_end(struct table *table, int code);

#endif
