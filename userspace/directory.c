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

/* What @path is in; the caller's, NULL without memory. */
static char *parent(const char *path)
{
	size_t len = strlen(path);

	while (len && path[len - 1] == '/')
		len--;
	while (len && path[len - 1] != '/')
		len--;
	if (!len)
		return strdup(".");
	return strndup(path, len > 1 ? len - 1 : len);
}

void directory_make_for(const char *file, const char *user)
{
	char *path = strchr(file, '/') ? parent(file) : NULL;

	if (path)
		directory_make(path, user);
	free(path);
}

static int try_in(const char *path)
{
	return access(path, W_OK | X_OK) ? -errno : 0;
}

int directory_try(const char *path)
{
	int err = try_in(path);
	char *above;

	if (err != -ENOENT)
		return err;
	above = parent(path);
	err = above ? try_in(above) : -ENOMEM;
	free(above);
	return err;
}

int directory_try_for(const char *file)
{
	struct stat there;
	char *path;
	int err;

	if (!stat(file, &there)) {
		if (S_ISDIR(there.st_mode))
			return -EISDIR;
		return access(file, W_OK) ? -errno : 0;
	}
	if (errno != ENOENT)
		return -errno;
	path = parent(file);
	err = path ? directory_try(path) : -ENOMEM;
	free(path);
	return err;
}
