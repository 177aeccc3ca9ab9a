/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A password as mosquitto_passwd writes it: a hash, in any of the formats that
 * mosquitto reads; or as gsasl --mkpasswd does, for those who log in by SCRAM
 * (RFC 7677).
 *
 *	$7$<iterations>$<salt>$<key>	PBKDF2-HMAC-SHA512, mosquitto 2
 *	$6$<salt>$<key>			SHA-512 of password and salt, 1.x
 *	$argon2id$v=19$m=,t=,p=$...	Argon2id, 2.1
 *	{SCRAM-SHA-256}<iterations>,<salt>,<stored key>,<server key>
 */
#ifndef _KMQTTD_PASSWORD_H_
#define _KMQTTD_PASSWORD_H_

#include "types.h"

#define PASSWORD_SALT_MAX	64
#define PASSWORD_KEY		64	/* bytes of SHA-512 */
#define PASSWORD_SCRAM_KEY	32	/* bytes of SHA-256 */

/**
 * struct password - a hash
 * @encoded: as it was read; owned
 * @matches: compares, and takes as long as it takes
 * @iterations: of PBKDF2
 * @salt: not of Argon2id, whose library takes @encoded
 * @salt_len: bytes of it: 12 or 64, of SCRAM 1 to 64
 * @key: likewise; of SCRAM the stored key, 32 bytes
 * @server_key: of SCRAM
 */
struct password {
	char *encoded;
	bool (*matches)(const struct password *password, const u8 *given,
			size_t len);
	int iterations;
	u8 salt[PASSWORD_SALT_MAX];
	size_t salt_len;
	u8 key[PASSWORD_KEY];
	u8 server_key[PASSWORD_SCRAM_KEY];
};

/*
 * OpenSSL reads its configuration, and loads what that names, when the first hash
 * is made. Makes one of each: later, the daemon may not load anything.
 */
void password_prepare(void);

/*
 * Reads @encoded. 0; -EINVAL when it is none of the formats; -ENOMEM. Free it
 * only after 0.
 */
int password_parse(struct password *password, const char *encoded);

/*
 * Is it what a client gave? Compares in a time that does not depend on the
 * answer. For any thread.
 */
static inline bool password_matches(const struct password *password,
				    const u8 *given, size_t len)
{
	return password->matches(password, given, len);
}

/* Whether a client can log in by SCRAM-SHA-256 with it. */
bool password_is_scram(const struct password *password);

void password_free(struct password *password);

#endif /* _KMQTTD_PASSWORD_H_ */
