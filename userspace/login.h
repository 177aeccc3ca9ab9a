/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Logins: passwords being compared. One thread hashes, so that a slow hash
 * keeps nobody waiting but others who log in. It has LOGIN_AHEAD of them at
 * most; the rest waits in its connection, as long as connect_timeout lets it. A
 * refusal instead would only make the client come back at once.
 *
 * Whose turn it is goes round the addresses that clients come from (of IPv6 the
 * network, /64): a storm of logins from one of them keeps another waiting for
 * one hash of it at a time. That a login has failed is told LOGIN_LATE seconds
 * later: who guesses, guesses slowly on each connection.
 *
 * All functions are the main thread's.
 */
#ifndef _KMQTTD_LOGIN_H_
#define _KMQTTD_LOGIN_H_

#include "packet.h"
#include "types.h"
#include "users.h"

/* One is hashed, the next is at hand. */
#define LOGIN_AHEAD	2

/* At least; and at most a second more. */
#define LOGIN_LATE	1

struct client;
struct login;

/*
 * Starts the thread. @done is called from ring_turn() or login_tick() when a
 * login has come to its end: with the CONNECT, and with the user, of whom a
 * reference is the callee's, or NULL when there is no such user or it is not
 * his password. 0, or -errno, which has been logged.
 */
int login_open(void (*done)(struct client *client,
			    const struct packet_connect *connect,
			    struct user *user));

/*
 * Compares the password that @client has sent, with a CONNECT of @len bytes
 * after the fixed header, to that of the user of the name there; @users is not
 * empty. NULL without memory; else it is valid until login_forget(), or done()
 * is called.
 */
struct login *login_begin(struct client *client, const struct users *users,
			  const u8 *data, size_t len);

/* The client is gone: done() will not be called. */
void login_forget(struct login *login);

/* To be called once a second: tells of logins that have failed. */
void login_tick(void);

#endif /* _KMQTTD_LOGIN_H_ */
