// SPDX-License-Identifier: GPL-2.0
#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

static struct {
	unsigned int depth;
	bool more;		/* a value stands before, at this depth */
} json;

/* What comes before a value. */
static void lead(const char *name)
{
	if (json.more)
		putchar(',');
	if (json.depth == 1)
		putchar('\n');
	if (name)
		printf("\"%s\":", name);
	json.more = true;
}

static void nest(const char *name, char bracket)
{
	lead(name);
	putchar(bracket);
	json.depth++;
	json.more = false;
}

static void nest_end(char bracket)
{
	if (json.depth == 1 && json.more)
		putchar('\n');
	putchar(bracket);
	json.more = true;
	if (!--json.depth)
		putchar('\n');
}

void json_object(const char *name)
{
	nest(name, '{');
}

void json_object_end(void)
{
	nest_end('}');
}

void json_array(const char *name)
{
	nest(name, '[');
}

void json_array_end(void)
{
	nest_end(']');
}

void json_uint(const char *name, uint64_t value)
{
	lead(name);
	printf("%" PRIu64, value);
}

void json_bool(const char *name, bool value)
{
	lead(name);
	fputs(value ? "true" : "false", stdout);
}

void json_null(const char *name)
{
	lead(name);
	fputs("null", stdout);
}

void json_text(const char *name, const void *text, size_t len)
{
	lead(name);
	text_json(stdout, text, len);
}

void json_string(const char *name, const char *value)
{
	json_text(name, value, strlen(value));
}
