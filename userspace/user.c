// SPDX-License-Identifier: GPL-2.0
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "log.h"

static int keep_only_net_admin(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{
			.effective = 1U << CAP_NET_ADMIN,
			.permitted = 1U << CAP_NET_ADMIN,
		},
	};

	return syscall(SYS_capset, &header, data);
}

int user_restrict(void)
{
	int err;

	if (geteuid() || !keep_only_net_admin())
		return 0;
	err = -errno;
	log_print(LOG_TYPE_ERROR, "Error: Unable to drop capabilities: %s.",
		  strerror(-err));
	return err;
}

int user_become(const char *name)
{
	const struct passwd *entry = getpwnam(name);
	int err;

	if (!entry) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to drop privileges to '%s' because this user does not exist.",
			  name);
		return -ENOENT;
	}

	/* Otherwise setuid() would clear the permitted capabilities. */
	if (prctl(PR_SET_KEEPCAPS, 1) || initgroups(name, entry->pw_gid) ||
	    setgid(entry->pw_gid) || setuid(entry->pw_uid) ||
	    keep_only_net_admin()) {
		err = -errno;
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to drop privileges to '%s': %s.",
			  name, strerror(-err));
		return err;
	}
	return 0;
}
