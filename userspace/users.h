/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The users of a password_file. What a file holds does not change: one that is
 * read again makes another set, and who was found in the old one stays until
 * nobody needs him any more.
 */
#ifndef _KMQTTD_USERS_H_
#define _KMQTTD_USERS_H_

#include <sys/queue.h>

#include "password.h"
#include "table.h"
#include "types.h"

/**
 * struct user - a line of the file
 * @link: among all of the file, in its order
 * @node: by @name
 * @refs: who needs it; the main thread's
 * @name: as clients send it; owned
 * @name_len: bytes of it
 * @password: his
 */
struct user {
	STAILQ_ENTRY(user) link;
	struct table_node node;
	u32 refs;
	char *name;
	size_t name_len;
	struct password password;
};

struct users;

/*
 * Reads the file at @path. 0 and *@users, with one reference; or -EINVAL,
 * -ENOMEM or as fopen() fails, which has been logged, with file and line.
 */
int users_load(const char *path, struct users **users);

struct users *users_get(struct users *users);	/* may be NULL */
void users_put(struct users *users);		/* likewise */

/* Who has this name, or NULL. No reference is taken. */
struct user *users_find(const struct users *users, const u8 *name, size_t len);

/*
 * Whose password to compare when there is no such user, so that a name that
 * exists takes no longer to refuse: the first one's, since a file is usually of
 * one kind. NULL in an empty file.
 */
struct user *users_decoy(const struct users *users);

struct user *user_get(struct user *user);
void user_put(struct user *user);		/* may be NULL */

#endif /* _KMQTTD_USERS_H_ */
