/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SIGHUP: the configuration, and the files that it names, read again.
 */
#ifndef _KMQTTD_RELOAD_H_
#define _KMQTTD_RELOAD_H_

#include "config.h"

/*
 * Makes @config, which everybody uses, what @fresh says, which has been read
 * without an error, and opens the log file anew. Clients that may not be here
 * any more are ended. @fresh is freed. 0; or -errno, which has been logged, and
 * nothing has changed.
 */
int reload(struct config *config, struct config *fresh);

/* Warns of files that @config names and that this process could not reload. */
void reload_check(const struct config *config);

#endif /* _KMQTTD_RELOAD_H_ */
