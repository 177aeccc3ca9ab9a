// SPDX-License-Identifier: GPL-2.0
/*
 * What the rest stands on: buffers, the hash table, and the escaping of what
 * clients send.
 */
#include <string.h>

#include "buffer.h"
#include "ktap.h"
#include "log.h"
#include "table.h"

/* Appends and consumes in turn, and compares with a plain count of bytes. */
static void test_buffer(void)
{
	struct buffer buffer = { 0 };
	u32 written = 0, seen = 0;
	unsigned int i, j, len;
	u8 chunk[300];

	for (i = 0; i < 20000; i++) {
		len = 1 + i * 7919 % sizeof(chunk);
		for (j = 0; j < len; j++)
			chunk[j] = (written + j) * 31;
		EXPECT(!buffer_append(&buffer, chunk, len), "%u", i);
		written += len;

		len = i * 104729 % (buffer_used(&buffer) + 1);
		for (j = 0; j < len; j++)
			if (buffer_head(&buffer)[j] != (u8)((seen + j) * 31))
				break;
		EXPECT(j == len, "step %u byte %u", i, j);
		buffer_consume(&buffer, len);
		seen += len;
		EXPECT(buffer_used(&buffer) == written - seen, "%u", i);
	}
	buffer_consume(&buffer, buffer_used(&buffer));
	EXPECT(!buffer.data && !buffer.size, "an empty one holds no memory");
}

struct number {
	struct table_node node;
	u32 value;
};

static struct number *find(const struct table *table, u32 value)
{
	struct table_node *node;
	struct number *number;

	for (node = table_chain(table, table_hash_u32(value)); node;
	     node = node->next) {
		number = container_of(node, struct number, node);
		if (number->value == value)
			return number;
	}
	return NULL;
}

static void test_table(void)
{
	static struct number numbers[100000];
	struct table table = { 0 };
	u32 i, longest = 0, count;
	struct table_node *node;

	EXPECT(!find(&table, 1), "an empty table");
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		numbers[i].value = i;
		EXPECT(!table_add(&table, &numbers[i].node, table_hash_u32(i)),
		       "%u", i);
	}
	EXPECT(table.count == ARRAY_SIZE(numbers), "%u", table.count);
	for (i = 0; i < table.size; i++) {
		for (count = 0, node = table.slots[i]; node; node = node->next)
			count++;
		longest = count > longest ? count : longest;
	}
	EXPECT(longest <= 16, "a chain of %u", longest);

	for (i = 0; i < ARRAY_SIZE(numbers); i += 2)
		table_del(&table, &numbers[i].node);
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		EXPECT(find(&table, i) == (i % 2 ? &numbers[i] : NULL), "%u", i);
	for (i = 1; i < ARRAY_SIZE(numbers); i += 2)
		table_del(&table, &numbers[i].node);
	EXPECT(!table.count, "%u", table.count);
	free(table.slots);
}

static void test_hash(void)
{
	static const u8 text[] = "0123456789abcdef";
	size_t i, j;

	for (i = 0; i < sizeof(text); i++)
		for (j = 0; j < i; j++)
			EXPECT(table_hash(text, i) != table_hash(text, j),
			       "%zu %zu", i, j);
	EXPECT(table_hash(text, 9) == table_hash(text, 9), "the same again");
}

static void expect_escaped(const char *bytes, size_t len, const char *text)
{
	char out[LOG_ESCAPED(LOG_TEXT_MAX)];

	log_escape(out, (const u8 *)bytes, len);
	EXPECT(!strcmp(out, text), "\"%s\" for \"%s\"", out, text);
}

static void test_escape(void)
{
	char many[400], text[LOG_ESCAPED(LOG_TEXT_MAX)];
	size_t i;

	expect_escaped("", 0, "");
	expect_escaped("a b~", 4, "a b~");
	expect_escaped("h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10,
		       "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	expect_escaped("a\nb\0c\x7f\x1b[0m\\", 11,
		       "a\\x0ab\\x00c\\x7f\\x1b[0m\\x5c");
	expect_escaped("it's \"x\"", 8, "it\\x27s \\x22x\\x22");
	expect_escaped("\xff\xc3", 2, "\\xff\\xc3");
	expect_escaped("\xc2\x85x", 3, "\\xc2\\x85x");
	expect_escaped("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");
	expect_escaped("\xe2\x80\xae\xe2\x81\xa6", 6,
		       "\\xe2\\x80\\xae\\xe2\\x81\\xa6");
	expect_escaped("\xe2\x80\xa9\xef\xbb\xbf", 6,
		       "\\xe2\\x80\\xa9\\xef\\xbb\\xbf");
	expect_escaped("\xe2\x80\x93\xe2\x80\xaf", 6,
		       "\xe2\x80\x93\xe2\x80\xaf");

	/* The most that fits, and the most that it may become. */
	memset(many, 'x', sizeof(many));
	memset(text, 'x', LOG_TEXT_MAX);
	text[LOG_TEXT_MAX] = '\0';
	expect_escaped(many, LOG_TEXT_MAX, text);
	strcat(text, "...");
	expect_escaped(many, LOG_TEXT_MAX + 1, text);

	memset(many, 1, sizeof(many));
	memcpy(many + LOG_TEXT_MAX - 1, "\xf0\x9f\x98\x80", 4);
	for (i = 0; i < LOG_TEXT_MAX - 1; i++)
		memcpy(text + 4 * i, "\\x01", 4);
	strcpy(text + 4 * i, "\xf0\x9f\x98\x80...");
	expect_escaped(many, sizeof(many), text);
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "buffer", test_buffer },
		{ "table", test_table },
		{ "hash", test_hash },
		{ "escape", test_escape },
	};

	return ktap_run(tests, ARRAY_SIZE(tests));
}
