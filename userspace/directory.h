/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Directories that files of the daemon are to be in. A package, or a service
 * manager, makes mosquitto's; where there is none the daemon does.
 */
#ifndef _KMQTTD_DIRECTORY_H_
#define _KMQTTD_DIRECTORY_H_

/*
 * Makes the directory at @path if it is missing, though not what it is in, and
 * gives it to @user, who may be NULL. When that fails, it is for whoever opens
 * a file there to say so.
 */
void directory_make(const char *path, const char *user);

/* The same for the directory that @file is in. */
void directory_make_for(const char *file, const char *user);

/*
 * Whether a file could be made in the directory at @path, or in one that
 * directory_make() would make; 0 or -errno. Nothing is changed.
 */
int directory_try(const char *path);

/* Whether @file could be written, or made, likewise. */
int directory_try_for(const char *file);

#endif /* _KMQTTD_DIRECTORY_H_ */
