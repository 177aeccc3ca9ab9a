// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static struct table sessions;

static struct session *session_of(struct table_node *node)
{
	return container_of(node, struct session, node);
}

/* A UUID in text behind @prefix, to be freed; NULL without memory. */
static char *make_up(const char *prefix)
{
	u8 r[16];
	char *id;

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		return NULL;
	r[6] = (r[6] & 0x0f) | 0x40;	/* a random one (RFC 4122) */
	r[8] = (r[8] & 0x3f) | 0x80;
	if (asprintf(&id,
		     "%s%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X",
		     prefix, r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7],
		     r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]) < 0)
		return NULL;
	return id;
}

int session_name(struct session *session, const u8 *id, u16 len,
		 const char *prefix)
{
	char *made_up;

	if (!len) {
		made_up = make_up(prefix);
		if (!made_up)
			return -ENOMEM;
		session->id = (u8 *)made_up;
		session->id_len = strlen(made_up);
		return 0;
	}
	session->id = malloc(len);
	if (!session->id)
		return -ENOMEM;
	memcpy(session->id, id, len);
	session->id_len = len;
	return 0;
}

static struct session *find(const struct session *like, u32 hash)
{
	struct table_node *node;
	struct session *session;

	for (node = table_chain(&sessions, hash); node; node = node->next) {
		session = session_of(node);
		if (node->hash == hash && session->id_len == like->id_len &&
		    !memcmp(session->id, like->id, like->id_len))
			return session;
	}
	return NULL;
}

static void unlist(struct session *session)
{
	table_del(&sessions, &session->node);
	session->listed = false;
}

int session_claim(struct session *session, struct session **former)
{
	u32 hash = table_hash(session->id, session->id_len);
	int err;

	*former = find(session, hash);
	if (*former)
		unlist(*former);
	err = table_add(&sessions, &session->node, hash);
	if (!err)
		session->listed = true;
	return err;
}

void session_release(struct session *session)
{
	if (session->listed)
		unlist(session);
	free(session->id);
	session->id = NULL;
}
