// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* mosquitto's default auto_id_prefix, and a UUID in text. */
#define AUTO_ID_SIZE sizeof("auto-XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX")

static struct table sessions;

static struct session *session_of(struct table_node *node)
{
	return container_of(node, struct session, node);
}

static int make_up(char *id)
{
	u8 r[16];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		return -EIO;
	r[6] = (r[6] & 0x0f) | 0x40;	/* a random one (RFC 4122) */
	r[8] = (r[8] & 0x3f) | 0x80;
	return snprintf(id, AUTO_ID_SIZE,
			"auto-%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-%02X%02X%02X%02X%02X%02X",
			r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8],
			r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}

int session_name(struct session *session, const u8 *id, u16 len)
{
	char made_up[AUTO_ID_SIZE];
	int n;

	if (!len) {
		n = make_up(made_up);
		if (n < 0)
			return n;
		id = (const u8 *)made_up;
		len = n;
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
