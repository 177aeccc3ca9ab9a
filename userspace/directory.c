// SPDX-License-Identifier: GPL-2.0
#include "directory.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#define DIRECTORY_MODE 0750

void directory_make(const char *path, const char *user)
{
	const struct passwd *entry;

	if (mkdir(path, DIRECTORY_MODE))
		return;
	log_print(LOG_TYPE_INFORMATION, "Made directory %s.", path);
	entry = user ? getpwnam(user) : NULL;
	if (entry && chown(path, entry->pw_uid, entry->pw_gid))
		log_print(LOG_TYPE_WARNING,
			  "Warning: Unable to give %s to user %s: %s.", path,
			  user, strerror(errno));
}

void directory_make_for(const char *file, const char *user)
{
	const char *slash = strrchr(file, '/');
	char *path;

	if (!slash)
		return;
	path = strndup(file, slash - file);
	if (path)
		directory_make(path, user);
	free(path);
}
