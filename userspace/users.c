// SPDX-License-Identifier: GPL-2.0
#include "users.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/* What a CONNECT can say, and mosquitto's bound of a hash. */
#define FIELD_MAX 65535

STAILQ_HEAD(user_list, user);

/**
 * struct users - a file
 * @refs: who needs it
 * @all: its lines
 * @by_name: likewise
 */
struct users {
	u32 refs;
	struct user_list all;
	struct table by_name;
};

struct user *user_get(struct user *user)
{
	user->refs++;
	return user;
}

void user_put(struct user *user)
{
	if (!user || --user->refs)
		return;
	password_free(&user->password);
	free(user->name);
	free(user);
}

struct users *users_get(struct users *users)
{
	if (users)
		users->refs++;
	return users;
}

void users_put(struct users *users)
{
	struct user *user;

	if (!users || --users->refs)
		return;
	while ((user = STAILQ_FIRST(&users->all))) {
		STAILQ_REMOVE_HEAD(&users->all, link);
		user_put(user);
	}
	table_free(&users->by_name);
	free(users);
}

struct user *users_find(const struct users *users, const u8 *name, size_t len)
{
	u32 hash = table_hash(name, len);
	struct table_node *node;
	struct user *user;

	for (node = table_chain(&users->by_name, hash); node;
	     node = node->next) {
		user = container_of(node, struct user, node);
		if (node->hash == hash && user->name_len == len &&
		    !memcmp(user->name, name, len))
			return user;
	}
	return NULL;
}

struct user *users_decoy(const struct users *users)
{
	return STAILQ_FIRST(&users->all);
}

static int add(struct users *users, const char *name, const char *hash)
{
	size_t len = strlen(name);
	struct user *user;
	int err;

	user = calloc(1, sizeof(*user));
	if (!user)
		return -ENOMEM;
	user->refs = 1;
	user->name = strdup(name);
	user->name_len = len;
	err = user->name ? password_parse(&user->password, hash) : -ENOMEM;
	if (!err)
		err = table_add(&users->by_name, &user->node,
				table_hash((const u8 *)name, len));
	if (err)
		user_put(user);
	else
		STAILQ_INSERT_TAIL(&users->all, user, link);
	return err;
}

static char *trim(char *text)
{
	size_t len;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* What is wrong with it, or NULL. Never says what the line says. */
static const char *parse_line(struct users *users, char *line, size_t len)
{
	char *name = line, *hash = strchr(line, ':');
	int err;

	if (line[0] == '#' || !hash)
		return NULL;
	if (memchr(line, '\0', len))
		return "NUL character";
	*hash++ = '\0';
	hash[strcspn(hash, ":")] = '\0';
	name = trim(name);
	hash = trim(hash);
	if (!*name)
		return "Empty user name";
	if (strlen(name) > FIELD_MAX)
		return "User name too long";
	if (strlen(hash) > FIELD_MAX)
		return "Password hash too long";
	if (users_find(users, (const u8 *)name, strlen(name)))
		return "Duplicate user";
	err = add(users, name, hash);
	if (err == -EINVAL)
		return "Invalid password hash";
	return err ? "Out of memory" : NULL;
}

static int parse(struct users *users, FILE *file, const char *path)
{
	unsigned int number = 0;
	const char *wrong = NULL;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	while (!wrong && (len = getline(&line, &size, file)) >= 0) {
		number++;
		wrong = parse_line(users, line, len);
	}
	if (wrong) {
		log_print(LOG_TYPE_ERROR,
			  "Error: %s in password file.", wrong);
		log_print(LOG_TYPE_ERROR, "Error found at %s:%u.", path,
			  number);
		err = -EINVAL;
	} else if (ferror(file)) {
		log_print(LOG_TYPE_ERROR, "Error: Unable to read %s.", path);
		err = -EIO;
	}
	free(line);
	return err;
}

int users_load(const char *path, struct users **users)
{
	FILE *file = fopen(path, "re");
	int err = file ? 0 : -errno;

	*users = NULL;
	if (err) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to open password_file %s: %s.", path,
			  strerror(-err));
		return err;
	}
	*users = calloc(1, sizeof(**users));
	if (*users) {
		(*users)->refs = 1;
		STAILQ_INIT(&(*users)->all);
		err = parse(*users, file, path);
	} else {
		log_print(LOG_TYPE_ERROR, "Error: Out of memory.");
		err = -ENOMEM;
	}
	fclose(file);
	if (err) {
		users_put(*users);
		*users = NULL;
	}
	return err;
}
