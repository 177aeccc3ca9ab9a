// SPDX-License-Identifier: GPL-2.0
/*
 * Password files: the formats, by vectors that others have computed, and what
 * is wrong with a file. log_print() is this file's, to see it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ktap.h"
#include "logged.h"
#include "users.h"

#define SALT	"AAECAwQFBgcICQoL"
#define LONG_SALT "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw=="
#define KEY	"bdH7l7sgPaNRIMTFx91Nx4T0QY+VinIGrPJB18LN9R6ZmC5BazhvngmmjGtmdtmEAdcVZkTZuqNZTnNujVrTKw=="
#define EMPTY	"$7$1$" SALT "$" KEY
/* Of mosquitto_passwd 2.0.11. */
/* gsasl --mkpasswd --mechanism SCRAM-SHA-256 --password builder */
#define SCRAM	"{SCRAM-SHA-256}4096,2ibsDobvwtMuNHi6,"			\
		"aqAaAB2I5uTRec/AI/HMJvg13YVEoGE6EiWuRBRSwnE=,"		\
		"7Qb9RLqVCud3zXrnB3mo73AjZ+FCyFsK1KpQ9l0bK7k="

#define ALICE	"$7$101$swgoet6bHUE+kB7g$F7nEWFVmPqzE6Adsr4X91Q3Z7iK1vC6wbaexyGExkifiahTyWsT5nvAGvMRau2Pq26AylibmI31W3ANubURFJg=="
/* Of the tests of Argon2's reference implementation. */
#define ARGON2	"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

static bool matches(const struct password *password, const char *given)
{
	return password_matches(password, (const u8 *)given, strlen(given));
}

static void expect_match(const char *encoded, const char *right,
			 const char *wrong)
{
	struct password password;
	int err = password_parse(&password, encoded);

	EXPECT(!err, "%s: %d", encoded, err);
	if (err)
		return;
	EXPECT(matches(&password, right), "%s: %s", encoded, right);
	EXPECT(!matches(&password, wrong), "%s: %s", encoded, wrong);
	password_free(&password);
}

static void test_formats(void)
{
	expect_match(ALICE, "secret-1", "secret-2");
	expect_match("$7$1000$" LONG_SALT
		     "$n+V9SCsiO+gwA/qjdjQMMw7MwGYSwyA29DHs/gIKEAHGcxsim2Cn/dWUam7T2Rni4QEEwPvg22OiDMZDREfxaQ==",
		     "long salt", "");
	expect_match(EMPTY, "", " ");
	expect_match("$6$" SALT
		     "$HWavhOnwxJC4NHTFP5bXTulonodLmjOEZM3YD4s3Hj0ZayYswfZLYK65ytCYVDQw2oR8puik2+Y1Py+vh0DFVA==",
		     "old", "older");
	expect_match(ARGON2, "password", "Password");
}

static void test_no_formats(void)
{
	static const char *const wrong[] = {
		"", "secret", "$", "$5$" SALT "$" KEY, "$7", "$7$", "$7$1",
		"$7$1$", "$7$1$" SALT, "$7$1$" SALT "$",
		"$7$0$" SALT "$" KEY, "$7$-1$" SALT "$" KEY,
		"$7$x$" SALT "$" KEY, "$7$2147483648$" SALT "$" KEY,
		"$7$99999999999999999999$" SALT "$" KEY, "$7$$" SALT "$" KEY,
		/* Salts of 11 and of 13 bytes, and of one that is none. */
		"$7$1$AAECAwQFBgcICQo=$" KEY, "$7$1$AAECAwQFBgcICQoLDA==$" KEY,
		"$7$1$AAECAwQFBgcICQ!L$" KEY, "$7$1$AAECAwQFBgcICQoL=$" KEY,
		"$7$1$AA==AwQFBgcICQoL$" KEY,
		"$7$1$" SALT "$" SALT, "$7$1$" SALT "$" KEY KEY,
		"$7$1$" SALT "$" KEY "$", "$7$1$" LONG_SALT LONG_SALT "$" KEY,
		"$6$" KEY, "$6$1$" SALT "$" KEY,
		"$argon2id$", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1",
		"$argon2id$v=19$m=65536,t=2,p=1$", "$argon2id$v=18$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1",
		"$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1",
		"$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1",
		"$argon2id$v=19$m=65536,t=2,p=0$c29tZXNhbHQ$CTFhFdXPJO1",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNh$CTFhFdXPJO1",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1$",
	};
	struct password password;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		EXPECT(password_parse(&password, wrong[i]) == -EINVAL, "%s",
		       wrong[i]);
}

/* The users of a file of these bytes. */
static int load_bytes(struct users **users, const char *text, size_t len)
{
	char path[] = "/tmp/test_users.XXXXXX";
	int fd = mkstemp(path);
	int err;

	logged[0] = '\0';
	EXPECT(write(fd, text, len) == (ssize_t)len, "%s", path);
	err = users_load(path, users);
	unlink(path);
	close(fd);
	return err;
}

static int load(struct users **users, const char *text)
{
	return load_bytes(users, text, strlen(text));
}

static struct user *find(const struct users *users, const char *name)
{
	return users_find(users, (const u8 *)name, strlen(name));
}

static void test_file(void)
{
	struct users *users;
	struct user *user;
	int err;

	err = load(&users,
		   "# a comment: of mine\n"
		   "\n"
		   "no colon\n"
		   "alice:" ALICE "\n"
		   " \t bob the builder \t: " EMPTY " \r\n"
		   "carol:" EMPTY ":and more\n"
		   "d\xc3\xa9:" ARGON2);
	EXPECT(!err && !logged[0], "%d %s", err, logged);
	if (err)
		return;
	EXPECT(!find(users, "no colon") && !find(users, "# a comment"),
	       "what is no user");
	EXPECT(!find(users, "ali") && !find(users, "alice2") &&
	       !find(users, ""), "names that begin alike");
	EXPECT(find(users, "alice") == users_decoy(users), "the first one");
	user = find(users, "bob the builder");
	EXPECT(user && matches(&user->password, ""), "blanks around");
	EXPECT(find(users, "carol") && find(users, "d\xc3\xa9"), "the others");

	/* Who was found stays. */
	user = user_get(find(users, "alice"));
	users_put(users_get(users));
	EXPECT(find(users, "carol"), "one reference is left");
	users_put(users);
	EXPECT(matches(&user->password, "secret-1"), "without his file");
	user_put(user);
}

static void test_scram(void)
{
	struct users *users;
	const struct user *user;

	EXPECT(!load(&users, "bob:" SCRAM "\nalice:" ALICE "\n"), "%s",
	       logged);
	user = find(users, "bob");
	EXPECT(password_is_scram(&user->password) &&
	       user->password.iterations == 4096 &&
	       user->password.salt_len == 12, "parts");
	EXPECT(matches(&user->password, "builder"), "with a password, too");
	/* A soft hyphen is mapped to nothing (RFC 4013, section 2.1). */
	EXPECT(matches(&user->password, "\xc2\xad" "builder"), "normalized");
	EXPECT(!matches(&user->password, "builder\xff") &&
	       !password_matches(&user->password, (const u8 *)"builder", 8),
	       "what is not text");
	EXPECT(!matches(&user->password, "Builder") &&
	       !matches(&user->password, ""), "with another one");
	EXPECT(!password_is_scram(&find(users, "alice")->password), "alice");
	users_put(users);
}

static void test_empty_file(void)
{
	struct users *users;

	EXPECT(!load(&users, "") && !logged[0], "%s", logged);
	EXPECT(!users_decoy(users) && !find(users, "x"), "nobody");
	users_put(users);
}

static void test_many_users(void)
{
	static char text[1 << 20];
	struct users *users;
	char name[16];
	size_t at = 0;
	int i;

	for (i = 0; i < 5000; i++)
		at += sprintf(text + at, "user%d:" EMPTY "\n", i);
	EXPECT(!load(&users, text), "%s", logged);
	for (i = 0; i < 5000; i++) {
		sprintf(name, "user%d", i);
		EXPECT(find(users, name), "%s", name);
	}
	users_put(users);
}

static void expect_wrong(const char *text, size_t len, unsigned int line,
			 const char *what)
{
	struct users *users;
	char number[16];
	int err = load_bytes(&users, text, len);

	snprintf(number, sizeof(number), ":%u.\n", line);
	EXPECT(err == -EINVAL && !users, "\"%s\": %d", text, err);
	EXPECT(strstr(logged, what), "\"%s\" said \"%s\"", text, logged);
	EXPECT(strstr(logged, number), "\"%s\" said \"%s\"", text, logged);
	EXPECT(!strstr(logged, "secret"), "a password: \"%s\"", logged);
}

static void test_errors(void)
{
	static char text[140000];
	static const struct {
		const char *text;
		unsigned int line;
		const char *what;
	} wrong[] = {
		{ "#\n\na:" EMPTY "\nb:" EMPTY "\na:" ALICE "\n", 5,
		  "Duplicate user" },
		{ "a:" EMPTY "\n a :" EMPTY, 2, "Duplicate user" },
		{ ":" EMPTY "\n", 1, "Empty user name" },
		{ " \t:" EMPTY "\n", 1, "Empty user name" },
		{ "a:\n", 1, "Invalid password hash" },
		{ "a:secret\n", 1, "Invalid password hash" },
		{ "a:$7$101$secret\n", 1, "Invalid password hash" },
		{ "a:{SCRAM-SHA-256}4096,secret\n", 1, "Invalid password hash" },
		{ "a:" SCRAM ",\n", 1, "Invalid password hash" },
		{ "a:{SCRAM-SHA-1}1,AAAA,AAAA,AAAA\n", 1,
		  "Invalid password hash" },
	};
	struct users *users;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_wrong(wrong[i].text, strlen(wrong[i].text),
			     wrong[i].line, wrong[i].what);
	expect_wrong("a:x\0y\n", 6, 1, "NUL character");

	memset(text, 'u', 65536);
	strcpy(text + 65536, ":" EMPTY "\n");
	expect_wrong(text, strlen(text), 1, "User name too long");
	EXPECT(!load(&users, text + 1), "%s", logged);
	users_put(users);
	strcpy(text, "a:");
	memset(text + 2, '$', 65536);
	text[2 + 65536] = '\0';
	expect_wrong(text, strlen(text), 1, "Password hash too long");
	expect_wrong(text, strlen(text) - 1, 1, "Invalid password hash");
}

static void test_no_file(void)
{
	struct users *users;

	logged[0] = '\0';
	EXPECT(users_load("/no/such/file", &users) == -ENOENT && !users, "%s",
	       logged);
	EXPECT(strstr(logged, "/no/such/file"), "%s", logged);
	logged[0] = '\0';
	EXPECT(users_load("/", &users) < 0 && !users, "%s", logged);
	EXPECT(strstr(logged, "Unable to read /."), "%s", logged);
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "every format", test_formats },
		{ "what is no format", test_no_formats },
		{ "a file", test_file },
		{ "scram", test_scram },
		{ "an empty file", test_empty_file },
		{ "many users", test_many_users },
		{ "files that are wrong", test_errors },
		{ "files that cannot be read", test_no_file },
	};

	return ktap_run(tests, ARRAY_SIZE(tests));
}
