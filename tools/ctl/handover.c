// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/kmqtt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "genl.h"
#include "json.h"

/* How long it may take, in steps. */
#define STEP_NS		2000000
#define STEPS		5000

static void note_daemon(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *attrs[KMQTT_A_STATS_MAX + 1];
	uint64_t *daemon = data;

	genl_attrs(message, attrs, KMQTT_A_STATS_MAX);
	*daemon = genl_uint(attrs[KMQTT_A_STATS_DAEMON]);
}

static int get_daemon(uint64_t *daemon)
{
	*daemon = 0;
	return genl_talk(genl_request(KMQTT_CMD_STATS_GET, 0), note_daemon,
			 daemon);
}

/* Waits until there is a daemon, or none. */
static int await(bool there, uint64_t *daemon)
{
	const struct timespec step = { .tv_nsec = STEP_NS };
	unsigned int i;

	for (i = 0; i < STEPS; i++) {
		if (get_daemon(daemon))
			return -EIO;
		if (!*daemon == !there)
			return 0;
		nanosleep(&step, NULL);
	}
	fprintf(stderr, "kmqttctl: the daemon does not %s: see its log\n",
		there ? "come back" : "hand over");
	return -ETIMEDOUT;
}

int handover_command(const struct options *options)
{
	uint64_t daemon;

	if (genl_connect() || get_daemon(&daemon))
		return CTL_FAILED;
	if (!daemon) {
		fputs("kmqttctl: there is no daemon in this network namespace\n",
		      stderr);
		return CTL_FAILED;
	}
	if (kill(daemon, SIGUSR2)) {
		fprintf(stderr, "kmqttctl: kill: %s\n", strerror(errno));
		return CTL_FAILED;
	}
	if (await(false, &daemon) || await(true, &daemon))
		return CTL_FAILED;
	if (options->json) {
		json_object(NULL);
		json_uint("daemon", daemon);
		json_object_end();
	} else {
		printf("process %u has taken over\n", (unsigned int)daemon);
	}
	return CTL_OK;
}
