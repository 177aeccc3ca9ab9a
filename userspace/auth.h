/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Enhanced authentication (MQTT 5, section 4.12): exchanges of AUTH packets, by
 * the one method that there is, SCRAM-SHA-256 (RFC 7677), in which GNU SASL is
 * at work. The server has only what the password_file says of the user: the
 * costly hash is the client's to make, so nothing here takes long.
 */
#ifndef _KMQTTD_AUTH_H_
#define _KMQTTD_AUTH_H_

#include "packet.h"
#include "types.h"
#include "users.h"

#define AUTH_METHOD	"SCRAM-SHA-256"

/**
 * enum auth_result - where an exchange is
 * @AUTH_MORE: the client is to answer
 * @AUTH_DONE: it is who it says
 * @AUTH_FAILED: it is not, or what it said makes no sense
 */
enum auth_result {
	AUTH_MORE,
	AUTH_DONE,
	AUTH_FAILED,
};

/**
 * struct auth - an exchange
 * @session: GNU SASL's
 * @users: who there is; a reference
 * @user: who it is, once it is done; a reference
 * @answer: what to send to the client next, or NULL; owned
 * @answer_len: bytes of it
 * @connect: the CONNECT that it began with, of @data
 * @len: bytes of @data; 0: it is a re-authentication
 * @data: that CONNECT
 */
struct auth {
	struct Gsasl_session *session;
	struct users *users;
	struct user *user;
	char *answer;
	size_t answer_len;
	struct packet_connect connect;
	size_t len;
	u8 data[];
};

/* Gets ready, before system calls are restricted. 0 or -errno, logged. */
int auth_open(void);

/* Whether it is the method of this name. */
bool auth_is_method(const struct packet_bytes *method);

/*
 * Begins an exchange with who is one of @users, after a CONNECT of @len bytes,
 * which are copied, or in a connection that there is, with 0. NULL without
 * memory.
 */
struct auth *auth_begin(struct users *users, const u8 *data, size_t len);

/* Takes what the client says, which may not be there. */
enum auth_result auth_step(struct auth *auth, const struct packet_bytes *data);

/* May be NULL. */
void auth_free(struct auth *auth);

#endif /* _KMQTTD_AUTH_H_ */
