// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <linux/kmqtt.h>
#include <stdio.h>

#include "ctl.h"
#include "genl.h"
#include "json.h"

static void note_count(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *attrs[KMQTT_A_STATS_MAX + 1];
	uint64_t *count = data;

	genl_attrs(message, attrs, KMQTT_A_STATS_MAX);
	*count = genl_uint(attrs[KMQTT_A_STATS_CONNS]);
}

int flush_command(const struct options *options)
{
	uint64_t count = 0;

	if (genl_connect() ||
	    genl_talk(genl_request(KMQTT_CMD_FLUSH, 0), note_count, &count))
		return CTL_FAILED;
	if (options->json) {
		json_object(NULL);
		json_uint("flushed", count);
		json_object_end();
	} else {
		printf("%" PRIu64 " connection%s aborted\n", count,
		       count == 1 ? "" : "s");
	}
	return CTL_OK;
}
