// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <linux/kmqtt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "genl.h"
#include "json.h"
#include "stats.h"

/*
 * Asking netlink would load an installed module; whoever wants to know whether
 * it is there does not want that. Without sysfs there is no other way.
 */
static bool module_absent(void)
{
	return !access("/sys/module", F_OK) &&
	       access("/sys/module/kmqtt", F_OK);
}

static void put_text(const struct options *options, const char *name,
		     const char *value)
{
	if (!options->json)
		printf("%-15s%s\n", name, value);
}

static void put_uint(const struct options *options, const char *name,
		     uint64_t value)
{
	if (options->json)
		json_uint(name, value);
	else
		printf("%-15s%" PRIu64 "\n", name, value);
}

static void put_loaded(const struct options *options, bool loaded)
{
	if (options->json)
		json_bool("loaded", loaded);
	put_text(options, "module", loaded ? "loaded" : "not loaded");
}

static void put_stats(const struct options *options, const struct stats *stats)
{
	const uint64_t *total = stats->total.values;

	put_uint(options, "connections", stats->conns);
	put_uint(options, "subscriptions", stats->subs);
	put_uint(options, "workers", stats->worker_count);
	put_uint(options, "deliveries", total[KMQTT_A_COUNTER_DELIVERIES]);
	put_uint(options, "dropped", stats_dropped(stats));
}

/* What can be said, as far as it goes. */
static int put_status(const struct options *options)
{
	struct stats stats;
	int err;

	err = module_absent() ? -ENOENT : genl_open();
	if (err && err != -ENOENT) {
		complain("netlink: %s", strerror(-err));
		return err;
	}
	put_loaded(options, !err);
	if (err)
		return err;
	put_uint(options, "protocol", genl_version());
	err = genl_check_version() ?: stats_get(&stats);
	if (err)
		return err;
	put_stats(options, &stats);
	stats_free(&stats);
	return 0;
}

int status_command(const struct options *options)
{
	int err;

	if (options->json)
		json_object(NULL);
	err = put_status(options);
	if (options->json)
		json_object_end();
	return err ? CTL_FAILED : CTL_OK;
}
