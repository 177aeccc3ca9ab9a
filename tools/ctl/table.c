// SPDX-License-Identifier: GPL-2.0
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "text.h"

/* Rows, and bytes of text, that are held back to see how wide columns are. */
#define HOLD_ROWS	1000
#define HOLD_BYTES	(1024 * 1024)

/* One long text does not push the columns of all other rows aside. */
#define WIDTH_MAX	40

struct cell {
	size_t offset;		/* in the text */
	size_t len;
	size_t width;		/* columns of the terminal */
};

struct table {
	const struct table_column *columns;
	size_t count;
	size_t *widths;
	struct cell *cells;
	size_t used;		/* cells */
	bool printing;		/* rows are not held back any more */
	FILE *text;
	char *data;		/* what has been written to @text */
	size_t size;
};

static void put_cell(const struct table *table, const char *text,
		     const struct cell *cell, size_t column)
{
	bool last = column == table->count - 1;
	size_t width = table->widths[column];
	size_t pad = cell->width < width ? width - cell->width : 0;

	if (table->columns[column].right)
		printf("%*s", (int)pad, "");
	fwrite(text, 1, cell->len, stdout);
	if (!table->columns[column].right && !last)
		printf("%*s", (int)pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

static void put_titles(const struct table *table)
{
	struct cell cell;
	size_t i;

	for (i = 0; i < table->count; i++) {
		cell.len = strlen(table->columns[i].title);
		cell.width = cell.len;
		put_cell(table, table->columns[i].title, &cell, i);
	}
}

static void fit(struct table *table)
{
	size_t i, width;

	for (i = 0; i < table->count; i++)
		table->widths[i] = strlen(table->columns[i].title);
	for (i = 0; i < table->used; i++) {
		width = table->cells[i].width;
		if (width > WIDTH_MAX)
			width = WIDTH_MAX;
		if (width > table->widths[i % table->count])
			table->widths[i % table->count] = width;
	}
}

/* Print what is held, and forget it. */
static void flush(struct table *table)
{
	size_t i;

	if (!table->printing) {
		fit(table);
		put_titles(table);
		table->printing = true;
	}
	fflush(table->text);
	for (i = 0; i < table->used; i++)
		put_cell(table, table->data + table->cells[i].offset,
			 &table->cells[i], i % table->count);
	table->used = 0;
	rewind(table->text);
}

struct table *table_new(const struct table_column *columns, size_t count)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		die_nomem();
	table->columns = columns;
	table->count = count;
	table->widths = calloc(count, sizeof(*table->widths));
	table->cells = calloc(count * HOLD_ROWS, sizeof(*table->cells));
	table->text = open_memstream(&table->data, &table->size);
	if (!table->widths || !table->cells || !table->text)
		die_nomem();
	return table;
}

static size_t position(const struct table *table)
{
	long at = ftell(table->text);

	if (at < 0)
		die_nomem();
	return (size_t)at;
}

static struct cell *cell_begin(struct table *table)
{
	struct cell *cell = &table->cells[table->used];

	cell->offset = position(table);
	return cell;
}

static void cell_end(struct table *table, struct cell *cell)
{
	cell->len = position(table) - cell->offset;
	if (fflush(table->text))
		die_nomem();
	cell->width = text_width(table->data + cell->offset, cell->len);
	table->used++;
	if (table->used % table->count)
		return;
	if (table->printing || table->used == table->count * HOLD_ROWS ||
	    cell->offset + cell->len > HOLD_BYTES)
		flush(table);
}

void table_string(struct table *table, const char *value)
{
	struct cell *cell = cell_begin(table);

	fputs(value, table->text);
	cell_end(table, cell);
}

void table_uint(struct table *table, uint64_t value)
{
	struct cell *cell = cell_begin(table);

	fprintf(table->text, "%" PRIu64, value);
	cell_end(table, cell);
}

void table_text(struct table *table, const void *text, size_t len)
{
	struct cell *cell = cell_begin(table);

	text_quote(table->text, text, len);
	cell_end(table, cell);
}

void table_end(struct table *table, int code)
{
	if (table->used || (!table->printing && code == CTL_OK))
		flush(table);
	fclose(table->text);
	free(table->data);
	free(table->cells);
	free(table->widths);
	free(table);
}
