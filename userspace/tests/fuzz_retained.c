// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer target: retained messages, whose topics and filters clients choose.
 * The input is a program of set, remove and match steps, checked against a plain
 * list.
 */
#include <stdlib.h>
#include <string.h>

#include "../../selftests/unit/match.h"
#include "retained.h"
#include "topic.h"

enum { TOPICS = 32, TEXT = 48 };

static struct {
	char text[TEXT + 1];
	long found;
} topics[TOPICS];
static u32 nr;

static void check(bool fine)
{
	if (!fine)
		abort();
}

static int find(const void *text, size_t len)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (strlen(topics[i].text) == len &&
		    !memcmp(topics[i].text, text, len))
			return i;
	return -1;
}

static void set(const char *text, bool remove)
{
	int at = find(text, strlen(text));
	struct message *message;

	if (kmqtt_topic_name_check((const u8 *)text, strlen(text)))
		return;
	if (at < 0 && !remove && nr == TOPICS)
		return;
	message = message_new(text, strlen(text), "x", !remove, 0);
	check(message && !retained_set(message));
	message_put(message);
	if (remove && at >= 0)
		topics[at] = topics[--nr];
	else if (!remove && at < 0)
		strcpy(topics[nr++].text, text);
}

static int found(struct message *message, void *arg)
{
	int at = find(message->data, message->topic_len);

	(void)arg;
	check(at >= 0);
	topics[at].found++;
	return 0;
}

static void match(const char *filter)
{
	u32 i;

	if (kmqtt_topic_filter_check((const u8 *)filter, strlen(filter)))
		return;
	for (i = 0; i < nr; i++)
		topics[i].found = 0;
	check(!retained_match(filter, strlen(filter), found, NULL));
	for (i = 0; i < nr; i++)
		check(topics[i].found ==
		      reference_match(filter, topics[i].text));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len);

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	while (len >= 2) {
		size_t n = data[1] % (TEXT + 1);
		char text[TEXT + 1];
		u8 op = data[0];

		data += 2;
		len -= 2;
		n = n < len ? n : len;
		memcpy(text, data, n);
		text[n] = '\0';
		if (op % 4 == 0)
			match(text);
		else
			set(text, op % 4 == 1);
		data += n;
		len -= n;
	}
	check(retained_count() == nr);
	retained_clear();
	check(!retained_count() && !retained_bytes());
	nr = 0;
	return 0;
}
