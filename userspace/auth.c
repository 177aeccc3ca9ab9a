// SPDX-License-Identifier: GPL-2.0
#include "auth.h"

#include <errno.h>
#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "log.h"

/* Of a user that there is not, where the file has no other to be like. */
#define DECOY_ITERATIONS	4096
#define DECOY_SALT		12

#define HASH_SIZE		32	/* bytes of SHA-256 */

static Gsasl *context;
static u8 secret[HASH_SIZE];

static void set_base64(Gsasl_session *session, Gsasl_property property,
		       const u8 *bytes, size_t len)
{
	char text[(PASSWORD_SALT_MAX + 2) / 3 * 4 + 1];

	EVP_EncodeBlock((u8 *)text, bytes, (int)len);
	gsasl_property_set(session, property, text);
}

static void set_iterations(Gsasl_session *session, int iterations)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", iterations);
	gsasl_property_set(session, GSASL_SCRAM_ITER, text);
}

static void set_keys(Gsasl_session *session, const struct password *password)
{
	set_iterations(session, password->iterations);
	set_base64(session, GSASL_SCRAM_SALT, password->salt,
		   password->salt_len);
	set_base64(session, GSASL_SCRAM_STOREDKEY, password->key, HASH_SIZE);
	set_base64(session, GSASL_SCRAM_SERVERKEY, password->server_key,
		   HASH_SIZE);
}

/*
 * Who there is not looks like the first one of the file, each time he is asked
 * for with the same salt, and only fails at the end.
 */
static void set_decoy(Gsasl_session *session, const struct users *users,
		      const char *name)
{
	const struct user *like = users_decoy(users);
	struct password password = {
		.iterations = DECOY_ITERATIONS,
		.salt_len = DECOY_SALT,
	};
	unsigned int len;
	u8 hash[HASH_SIZE];

	if (like && password_is_scram(&like->password)) {
		password.iterations = like->password.iterations;
		password.salt_len = like->password.salt_len;
	}
	HMAC(EVP_sha256(), secret, sizeof(secret), (const u8 *)name,
	     strlen(name), hash, &len);
	memcpy(password.salt, hash, sizeof(hash));
	memcpy(password.salt + sizeof(hash), hash, sizeof(hash));
	HMAC(EVP_sha256(), secret, sizeof(secret), hash, sizeof(hash),
	     password.key, &len);
	memcpy(password.server_key, password.key, HASH_SIZE);
	set_keys(session, &password);
}

/* The user of this exchange, if he can log in so. */
static struct user *find(const struct auth *auth)
{
	const char *name = gsasl_property_fast(auth->session, GSASL_AUTHID);
	struct user *user;

	user = name ? users_find(auth->users, (const u8 *)name, strlen(name))
		    : NULL;
	return user && password_is_scram(&user->password) ? user : NULL;
}

/* GNU SASL asks for one of these, and then has them all. */
static int provide(Gsasl *gsasl, Gsasl_session *session,
		   Gsasl_property property)
{
	struct auth *auth = gsasl_session_hook_get(session);
	const char *name = gsasl_property_fast(session, GSASL_AUTHID);
	struct user *user;

	(void)gsasl;
	switch (property) {
	case GSASL_SCRAM_ITER:
	case GSASL_SCRAM_SALT:
	case GSASL_SCRAM_STOREDKEY:
	case GSASL_SCRAM_SERVERKEY:
		break;
	default:
		return GSASL_NO_CALLBACK;
	}
	if (!name)
		return GSASL_NO_AUTHID;
	user = find(auth);
	if (user)
		set_keys(session, &user->password);
	else
		set_decoy(session, auth->users, name);
	return GSASL_OK;
}

/* A first exchange, as far as it goes, has everything loaded that it needs. */
static int try(void)
{
	Gsasl_session *session;
	char nonce[16];
	int err;

	err = gsasl_server_start(context, AUTH_METHOD, &session);
	if (err)
		return err;
	gsasl_finish(session);
	return gsasl_nonce(nonce, sizeof(nonce));
}

int auth_open(void)
{
	int err = gsasl_init(&context);

	if (!err)
		err = try();
	if (err) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to set up authentication by %s: %s.",
			  AUTH_METHOD, gsasl_strerror(err));
		return -EOPNOTSUPP;
	}
	gsasl_callback_set(context, provide);
	return getrandom(secret, sizeof(secret), 0) == sizeof(secret) ? 0
								      : -EIO;
}

bool auth_is_method(const struct packet_bytes *method)
{
	return method->len == strlen(AUTH_METHOD) &&
	       !memcmp(method->data, AUTH_METHOD, method->len);
}

struct auth *auth_begin(struct users *users, const u8 *data, size_t len)
{
	struct auth *auth = calloc(1, sizeof(*auth) + len);

	if (!auth)
		return NULL;
	auth->users = users_get(users);
	auth->len = len;
	if (len) {
		memcpy(auth->data, data, len);
		packet_parse_connect(auth->data, len, &auth->connect);
	}
	if (gsasl_server_start(context, AUTH_METHOD, &auth->session)) {
		auth_free(auth);
		return NULL;
	}
	gsasl_session_hook_set(auth->session, auth);
	return auth;
}

/* Nobody may act for somebody else (RFC 5802, section 5.1: authzid). */
static enum auth_result finish(struct auth *auth)
{
	const char *other = gsasl_property_fast(auth->session, GSASL_AUTHZID);
	struct user *user = find(auth);

	if (!user || (other && *other && strcmp(other, user->name)))
		return AUTH_FAILED;
	auth->user = user_get(user);
	return AUTH_DONE;
}

enum auth_result auth_step(struct auth *auth, const struct packet_bytes *data)
{
	int result;

	gsasl_free(auth->answer);
	auth->answer = NULL;
	auth->answer_len = 0;
	result = gsasl_step(auth->session, (const char *)data->data, data->len,
			    &auth->answer, &auth->answer_len);
	if (result == GSASL_NEEDS_MORE)
		return AUTH_MORE;
	return result == GSASL_OK ? finish(auth) : AUTH_FAILED;
}

void auth_free(struct auth *auth)
{
	if (!auth)
		return;
	if (auth->session)
		gsasl_finish(auth->session);
	gsasl_free(auth->answer);
	user_put(auth->user);
	users_put(auth->users);
	OPENSSL_cleanse(auth->data, auth->len);
	free(auth);
}
