// SPDX-License-Identifier: GPL-2.0
#include "reload.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "log.h"

/* All that can fail comes first. */
int reload(struct config *config, struct config *fresh)
{
	int err = log_open(fresh);

	if (err) {
		config_free(fresh);
		return err;
	}
	config_renew(config, fresh);
	client_review();
	return 0;
}

void reload_check(const struct config *config)
{
	const char *path;
	size_t i;

	for (i = 0; i < config->listener_count; i++) {
		path = config->listeners[i].access.password_file;
		if (path && access(path, R_OK))
			log_print(LOG_TYPE_WARNING,
				  "Warning: SIGHUP will have no effect: %s: %s.",
				  path, strerror(errno));
	}
}
