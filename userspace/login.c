// SPDX-License-Identifier: GPL-2.0
#include "login.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client.h"
#include "log.h"
#include "ring.h"

STAILQ_HEAD(logins, login);
TAILQ_HEAD(login_queue, login);

/**
 * struct source - where clients come from that wait for their turn
 * @link: among all, who has waited longest first
 * @node: by @address
 * @address: IPv6, or IPv4 mapped; of IPv6 the network
 * @waiting: at least one
 */
struct source {
	TAILQ_ENTRY(source) link;
	struct table_node node;
	u8 address[16];
	struct login_queue waiting;
};

/**
 * struct login - a password to be compared
 * @link: among those of @source, or those that have failed
 * @handed: in a list that the two threads share
 * @source: while it waits, else NULL
 * @client: whose, or NULL when he is gone
 * @user: whose password it should be
 * @unknown: there is none of the name, @user is only to take the time
 * @matches: it is his password: the thread's answer
 * @failed: it is late, on purpose
 * @due: how long: by the ticks that there have been
 * @connect: the CONNECT, of @data
 * @data: bytes
 * @len: how many
 */
struct login {
	TAILQ_ENTRY(login) link;
	STAILQ_ENTRY(login) handed;
	struct source *source;
	struct client *client;
	struct user *user;
	bool unknown;
	bool matches;
	bool failed;
	u32 due;
	struct packet_connect connect;
	size_t len;
	u8 data[];
};

/**
 * struct shared - what the two threads give each other
 * @lock: over all of it
 * @wake: the thread waits for it
 * @queued: to be compared
 * @compared: have been
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct logins queued;
	struct logins compared;
} shared = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.wake = PTHREAD_COND_INITIALIZER,
	.queued = STAILQ_HEAD_INITIALIZER(shared.queued),
	.compared = STAILQ_HEAD_INITIALIZER(shared.compared),
};

static TAILQ_HEAD(, source) sources = TAILQ_HEAD_INITIALIZER(sources);
static struct table by_address;
static struct login_queue late = TAILQ_HEAD_INITIALIZER(late);
static u32 ticks;
static unsigned int ahead;	/* the thread has so many */
static int event = -1;		/* eventfd: something is in @shared.compared */
static void (*tell)(struct client *client, const struct packet_connect *connect,
		    struct user *user);

/*
 * The thread
 */

static struct login *await_login(void)
{
	struct login *login;

	pthread_mutex_lock(&shared.lock);
	while (!(login = STAILQ_FIRST(&shared.queued)))
		pthread_cond_wait(&shared.wake, &shared.lock);
	STAILQ_REMOVE_HEAD(&shared.queued, handed);
	pthread_mutex_unlock(&shared.lock);
	return login;
}

static void answer(struct login *login)
{
	u64 one = 1;
	ssize_t written;

	pthread_mutex_lock(&shared.lock);
	STAILQ_INSERT_TAIL(&shared.compared, login, handed);
	pthread_mutex_unlock(&shared.lock);
	written = write(event, &one, sizeof(one));
	(void)written;	/* fails only if it would count too far */
}

/* It ends with the process: a hash cannot be interrupted. */
static void *compare(void *unused)
{
	struct login *login;

	for (;;) {
		login = await_login();
		login->matches = password_matches(&login->user->password,
						  login->connect.password.data,
						  login->connect.password.len);
		answer(login);
	}
	return unused;
}

/*
 * The main thread
 */

static void address_of(const struct client *client, u8 address[16])
{
	const struct in6_addr *ipv6 = &client->peer.ipv6.sin6_addr;

	memset(address, 0, 16);
	if (client->peer.any.sa_family == AF_INET) {
		memset(address + 10, 0xff, 2);
		memcpy(address + 12, &client->peer.ipv4.sin_addr, 4);
	} else {
		memcpy(address, ipv6, IN6_IS_ADDR_V4MAPPED(ipv6) ? 16 : 8);
	}
}

static struct source *find_source(const u8 *address, u32 hash)
{
	struct table_node *node;
	struct source *source;

	for (node = table_chain(&by_address, hash); node; node = node->next) {
		source = container_of(node, struct source, node);
		if (!memcmp(source->address, address, sizeof(source->address)))
			return source;
	}
	return NULL;
}

static struct source *find_or_make_source(const struct client *client)
{
	struct source *source;
	u8 address[16];
	u32 hash;

	address_of(client, address);
	hash = table_hash(address, sizeof(address));
	source = find_source(address, hash);
	if (source)
		return source;
	source = calloc(1, sizeof(*source));
	if (!source || table_add(&by_address, &source->node, hash)) {
		free(source);
		return NULL;
	}
	memcpy(source->address, address, sizeof(address));
	TAILQ_INIT(&source->waiting);
	TAILQ_INSERT_TAIL(&sources, source, link);
	return source;
}

/* It waits no more. */
static void leave_source(struct login *login)
{
	struct source *source = login->source;

	login->source = NULL;
	TAILQ_REMOVE(&source->waiting, login, link);
	if (!TAILQ_EMPTY(&source->waiting))
		return;
	TAILQ_REMOVE(&sources, source, link);
	table_del(&by_address, &source->node);
	free(source);
}

static struct login *next(void)
{
	struct source *source = TAILQ_FIRST(&sources);
	struct login *login;

	if (!source)
		return NULL;
	TAILQ_REMOVE(&sources, source, link);
	TAILQ_INSERT_TAIL(&sources, source, link);
	login = TAILQ_FIRST(&source->waiting);
	leave_source(login);
	return login;
}

static void hand_over(void)
{
	struct login *login;

	while (ahead < LOGIN_AHEAD && (login = next())) {
		ahead++;
		pthread_mutex_lock(&shared.lock);
		STAILQ_INSERT_TAIL(&shared.queued, login, handed);
		pthread_cond_signal(&shared.wake);
		pthread_mutex_unlock(&shared.lock);
	}
}

static void login_free(struct login *login)
{
	OPENSSL_cleanse(login->data, login->len);
	user_put(login->user);
	free(login);
}

struct login *login_begin(struct client *client, const struct users *users,
			  const u8 *data, size_t len)
{
	struct login *login = calloc(1, sizeof(*login) + len);
	const struct packet_bytes *name = &login->connect.username;
	struct user *user;

	if (!login)
		return NULL;
	login->client = client;
	login->len = len;
	memcpy(login->data, data, len);
	packet_parse_connect(login->data, len, &login->connect);
	user = users_find(users, name->data, name->len);
	login->unknown = !user;
	login->user = user_get(user ? user : users_decoy(users));
	login->source = find_or_make_source(client);
	if (!login->source) {
		login_free(login);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&login->source->waiting, login, link);
	hand_over();
	return login;
}

void login_forget(struct login *login)
{
	login->client = NULL;
	if (login->source)
		leave_source(login);
	else if (login->failed)
		TAILQ_REMOVE(&late, login, link);
	else
		return;		/* it is the thread's */
	login_free(login);
}

static void end(struct login *login)
{
	tell(login->client, &login->connect,
	     login->failed ? NULL : user_get(login->user));
	login_free(login);
}

static void settle(struct login *login)
{
	if (!login->client) {
		login_free(login);
	} else if (login->matches && !login->unknown) {
		end(login);
	} else {
		login->failed = true;
		login->due = ticks + LOGIN_LATE + 1;
		TAILQ_INSERT_TAIL(&late, login, link);
	}
}

static void hear(struct ring_op *op, const struct ring_result *result)
{
	struct logins compared = STAILQ_HEAD_INITIALIZER(compared);
	struct login *login;
	u64 count;
	ssize_t got;

	(void)result;
	got = read(event, &count, sizeof(count));
	(void)got;
	pthread_mutex_lock(&shared.lock);
	STAILQ_CONCAT(&compared, &shared.compared);
	pthread_mutex_unlock(&shared.lock);
	while ((login = STAILQ_FIRST(&compared))) {
		STAILQ_REMOVE_HEAD(&compared, handed);
		ahead--;
		settle(login);
	}
	hand_over();
	ring_poll_in(op, event);
}

void login_tick(void)
{
	struct login *login;

	ticks++;
	while ((login = TAILQ_FIRST(&late)) && login->due == ticks) {
		TAILQ_REMOVE(&late, login, link);
		end(login);
	}
}

/* Signals are the main thread's. */
static int start_thread(void)
{
	sigset_t all, before;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&thread, NULL, compare, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!err)
		pthread_detach(thread);
	return err;
}

int login_open(void (*done)(struct client *client,
			    const struct packet_connect *connect,
			    struct user *user))
{
	static struct ring_op op = { .done = hear };
	int err;

	tell = done;
	/* At exit() the thread may be in the middle of a hash. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	password_prepare();
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = event < 0 ? -errno : start_thread();
	if (err)
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to start the thread for passwords: %s.",
			  strerror(-err));
	else
		ring_poll_in(&op, event);
	return err;
}
