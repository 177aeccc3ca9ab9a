/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who may read and write what: acl_file, with mosquitto's meaning. The users of
 * a file that have the same rules share a role, whose rule set (kmod/rules.h)
 * both the daemon and the module judge by.
 */
#ifndef _KMQTTD_ACL_H_
#define _KMQTTD_ACL_H_

#include "config.h"
#include "rules.h"
#include "types.h"

struct acl;
struct acl_role;
struct client;
struct session;

/**
 * struct acl_subject - a session's client, as its rules see it, besides the
 *	session's identifier
 * @role: its role, with a reference; NULL: it may do everything
 * @user: its user name, NULL without one; owned
 * @user_len: bytes of it
 * @listener: number of the listener that it came from
 * @known: it has come since the daemon was started
 * @wild: of struct kmqtt_who: names may be long, and are looked through once
 */
struct acl_subject {
	struct acl_role *role;
	u8 *user;
	u32 listener;
	u16 user_len;
	bool known;
	bool wild;
};

/*
 * Reads the files that the listeners of @config are to have once it is renewed
 * by @fresh, or at the start those of itself, to *@acl. 0, or -errno, which has
 * been logged, with file and line; then nothing has changed.
 */
int acl_load(const struct config *config, struct config *fresh,
	     struct acl **acl);

/* Forgets what has been loaded. */
void acl_discard(struct acl *acl);

/* Makes what was loaded count, before there are clients. 0 or -errno, logged. */
int acl_start(struct acl *acl);

/*
 * Makes what was loaded count: once the module has it, for all that clients do,
 * also those that are connected, then says so in the log. One that is still on
 * its way is forgotten.
 */
void acl_swap(struct acl *acl);

/*
 * A client of @listener with that user name, NULL for none, has @session now.
 * 0 or -ENOMEM.
 */
int acl_subject_set(struct session *session, size_t listener, const u8 *user,
		    u16 user_len);
void acl_subject_free(struct session *session);

/*
 * Adds to a conn-set what the module has to know of @session; nothing where it
 * may do everything.
 */
struct nlmsghdr;
void acl_put(struct nlmsghdr *message, const struct session *session);
/* The same of a connection that may have rules of the daemon before. */
void acl_put_anew(struct nlmsghdr *message, const struct session *session);

/*
 * Whether @session, which has a role, may: KMQTT_ACCESS_READ or
 * KMQTT_ACCESS_WRITE.
 */
bool acl_judge(const struct session *session, const void *topic, u16 len,
	       u8 access);

/*
 * Whether who has published a message might still publish it, as the rules are
 * today.
 */
struct message_source;
bool acl_source_may(const struct message_source *source, const void *topic,
		    u16 len);

#endif /* _KMQTTD_ACL_H_ */
