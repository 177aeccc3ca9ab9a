// SPDX-License-Identifier: GPL-2.0
#include "password.h"

#include <argon2.h>
#include <errno.h>
#include <gsasl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/* What mosquitto_passwd has made salts of. */
#define SALT_SHORT	12
#define SALT_LONG	64

static bool matches_pbkdf2(const struct password *password, const u8 *given,
			   size_t len)
{
	u8 key[PASSWORD_KEY];

	return PKCS5_PBKDF2_HMAC((const char *)given, (int)len, password->salt,
				 (int)password->salt_len, password->iterations,
				 EVP_sha512(), sizeof(key), key) &&
	       !CRYPTO_memcmp(key, password->key, sizeof(key));
}

static bool digest(const struct password *password, const u8 *given, size_t len,
		   u8 *key)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool done;

	done = context && EVP_DigestInit_ex(context, EVP_sha512(), NULL) &&
	       EVP_DigestUpdate(context, given, len) &&
	       EVP_DigestUpdate(context, password->salt, password->salt_len) &&
	       EVP_DigestFinal_ex(context, key, NULL);
	EVP_MD_CTX_free(context);
	return done;
}

static bool matches_sha512(const struct password *password, const u8 *given,
			   size_t len)
{
	u8 key[PASSWORD_KEY];

	return digest(password, given, len, key) &&
	       !CRYPTO_memcmp(key, password->key, sizeof(key));
}

static bool matches_argon2id(const struct password *password, const u8 *given,
			     size_t len)
{
	return argon2id_verify(password->encoded, given, len) == ARGON2_OK;
}

static bool has_stored_key(const struct password *password, const u8 *given,
			   size_t len)
{
	static const u8 label[] = "Client Key";
	u8 salted[PASSWORD_SCRAM_KEY], client[PASSWORD_SCRAM_KEY];
	u8 stored[PASSWORD_SCRAM_KEY];

	return PKCS5_PBKDF2_HMAC((const char *)given, (int)len, password->salt,
				 (int)password->salt_len, password->iterations,
				 EVP_sha256(), sizeof(salted), salted) &&
	       HMAC(EVP_sha256(), salted, sizeof(salted), label,
		    sizeof(label) - 1, client, NULL) &&
	       EVP_Digest(client, sizeof(client), stored, NULL, EVP_sha256(),
			  NULL) &&
	       !CRYPTO_memcmp(stored, password->key, sizeof(stored));
}

/*
 * As a client that logs in by SCRAM makes the stored key: of the password in its
 * normal form, of which one that is not text has none (RFC 5802, section 2.2).
 */
static bool matches_scram(const struct password *password, const u8 *given,
			  size_t len)
{
	char *text = memchr(given, '\0', len) ? NULL :
		     strndup((const char *)given, len);
	char *normal = NULL;
	bool matches = false;

	if (text && gsasl_saslprep(text, 0, &normal, NULL) == GSASL_OK)
		matches = has_stored_key(password, (const u8 *)normal,
					 strlen(normal));
	gsasl_free(normal);
	free(text);
	return matches;
}

void password_prepare(void)
{
	static const struct password any = {
		.iterations = 1,
		.salt_len = SALT_SHORT,
	};
	static const u8 nothing[1];

	matches_pbkdf2(&any, nothing, 0);
	has_stored_key(&any, nothing, 0);
}

/* Bytes that the @len characters at @text say, -EINVAL if they say none. */
static int decode(const char *text, size_t len, u8 *bytes, size_t max)
{
	u8 decoded[PASSWORD_KEY + 3];
	size_t digits = strspn(text, BASE64);
	size_t padding;
	int n;

	if (digits > len)
		digits = len;
	padding = len - digits;
	if (!len || len % 4 || len / 4 * 3 > sizeof(decoded) || padding > 2 ||
	    strncmp(text + digits, "==", padding))
		return -EINVAL;
	n = EVP_DecodeBlock(decoded, (const u8 *)text, (int)len);
	if (n < (int)padding || n - padding > max)
		return -EINVAL;
	memcpy(bytes, decoded, n - padding);
	return (int)(n - padding);
}

/* "<salt>$<key>" */
static int parse_salt_and_key(struct password *password, const char *text)
{
	size_t len = strcspn(text, "$");
	int n;

	n = decode(text, len, password->salt, sizeof(password->salt));
	if ((n != SALT_SHORT && n != SALT_LONG) || !text[len])
		return -EINVAL;
	password->salt_len = n;
	text += len + 1;
	n = decode(text, strlen(text), password->key, sizeof(password->key));
	return n == PASSWORD_KEY ? 0 : -EINVAL;
}

static int parse_sha512(struct password *password, const char *text)
{
	password->matches = matches_sha512;
	return parse_salt_and_key(password, text);
}

static int parse_pbkdf2(struct password *password, const char *text)
{
	char *end;
	long iterations;

	errno = 0;
	iterations = strtol(text, &end, 10);
	if (errno || end == text || *end != '$' || iterations < 1 ||
	    iterations > INT_MAX)
		return -EINVAL;
	password->matches = matches_pbkdf2;
	password->iterations = (int)iterations;
	return parse_salt_and_key(password, end + 1);
}

/*
 * The library reads it, too, but only when there is a password to compare: too
 * late to say that the file is wrong.
 */
static int parse_argon2id(struct password *password, const char *text)
{
	unsigned int memory, passes, lanes, version;
	size_t salt, key;
	int n = 0;

	if (sscanf(text, "v=%u$m=%u,t=%u,p=%u$%n", &version, &memory, &passes,
		   &lanes, &n) != 4 || !n)
		return -EINVAL;
	if ((version != ARGON2_VERSION_10 && version != ARGON2_VERSION_13) ||
	    lanes < ARGON2_MIN_LANES || lanes > ARGON2_MAX_LANES || !passes ||
	    memory / 8 < lanes)
		return -EINVAL;
	salt = strspn(text + n, BASE64);
	if (salt < 11 || text[n + salt] != '$')	/* of 8 bytes, unpadded */
		return -EINVAL;
	text += n + salt + 1;
	key = strspn(text, BASE64);
	if (key < 6 || text[key])		/* of 4 */
		return -EINVAL;
	password->matches = matches_argon2id;
	return 0;
}

/* One of the fields that commas separate; 0 or -EINVAL. */
static int parse_field(const char **text, u8 *bytes, size_t max, size_t *len)
{
	size_t digits = strcspn(*text, ",");
	int n = decode(*text, digits, bytes, max);

	if (n < 1)
		return -EINVAL;
	*len = n;
	*text += digits;
	if (**text)
		++*text;
	return 0;
}

static int parse_scram(struct password *password, const char *text)
{
	size_t stored, server;
	long iterations;
	char *end;

	errno = 0;
	iterations = strtol(text, &end, 10);
	if (errno || end == text || *end != ',' || iterations < 1 ||
	    iterations > INT_MAX)
		return -EINVAL;
	text = end + 1;
	password->matches = matches_scram;
	password->iterations = (int)iterations;
	if (parse_field(&text, password->salt, sizeof(password->salt),
			&password->salt_len) ||
	    parse_field(&text, password->key, PASSWORD_SCRAM_KEY, &stored) ||
	    parse_field(&text, password->server_key, PASSWORD_SCRAM_KEY,
			&server))
		return -EINVAL;
	return !*text && text[-1] != ',' && stored == PASSWORD_SCRAM_KEY &&
	       server == PASSWORD_SCRAM_KEY ? 0 : -EINVAL;
}

bool password_is_scram(const struct password *password)
{
	return password->matches == matches_scram;
}

int password_parse(struct password *password, const char *encoded)
{
	static const struct {
		const char *prefix;
		int (*parse)(struct password *password, const char *text);
	} formats[] = {
		{ "$6$", parse_sha512 },
		{ "$7$", parse_pbkdf2 },
		{ "$argon2id$", parse_argon2id },
		{ "{SCRAM-SHA-256}", parse_scram },
	};
	int err = -EINVAL;
	size_t i, len;

	*password = (struct password){ 0 };
	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		len = strlen(formats[i].prefix);
		if (!strncmp(encoded, formats[i].prefix, len))
			err = formats[i].parse(password, encoded + len);
	}
	if (err)
		return err;
	password->encoded = strdup(encoded);
	return password->encoded ? 0 : -ENOMEM;
}

void password_free(struct password *password)
{
	free(password->encoded);
	*password = (struct password){ 0 };
}
