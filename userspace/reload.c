// SPDX-License-Identifier: GPL-2.0
#include "reload.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "acl.h"
#include "client.h"
#include "log.h"

/* All that can fail comes first. */
int reload(struct config *config, struct config *fresh)
{
	struct acl *acl = NULL;
	int err;

	err = acl_load(config, fresh, &acl);
	if (!err)
		err = log_open(fresh);
	if (err) {
		acl_discard(acl);
		config_free(fresh);
		return err;
	}
	config_renew(config, fresh);
	acl_swap(acl);
	client_review();
	return 0;
}

static void check_readable(const char *path)
{
	if (path && access(path, R_OK))
		log_print(LOG_TYPE_WARNING,
			  "Warning: SIGHUP will have no effect: %s: %s.",
			  path, strerror(errno));
}

void reload_check(const struct config *config)
{
	size_t i;

	for (i = 0; i < config->listener_count; i++) {
		check_readable(config->listeners[i].access.password_file);
		check_readable(config->listeners[i].access.acl_file);
	}
}
