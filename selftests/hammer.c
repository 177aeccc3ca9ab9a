// SPDX-License-Identifier: GPL-2.0
/*
 * Requests of all kinds at once, beside running fan-out, for the module to be
 * caught in a race. Each thread plays a role over and over. Whatever it meets may
 * be gone by then, so many requests fail: it is for others to see whether the
 * kernel says something, and whether those who are not touched are hurt.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/kmqtt.h>
#include <linux/memfd.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BUFFER = 1 << 18,
	PLAYERS = 32,
	IDS = 64,	/* connections that everybody may touch */
	BATCH = 64,	/* messages published at a time */
	STAYS = 20,	/* batches until a publisher goes */
	PACKET = 9 + 3000,
	SLOW = 180,	/* seconds more, at most, for what was not done once */
	PATIENCE = 60,	/* seconds: a family that is not there has modprobe run */
};

/* Indices into a player's answers: what an answer may name. */
struct answer {
	uint32_t id;
	uint32_t fds[8];
	uint32_t nr_fds;
	uint64_t seq;
};

struct player {
	const struct role *role;
	pthread_t thread;
	unsigned int seed;
	int netlink;
	int listening;
	struct sockaddr_in address;
	uint16_t family;
	uint32_t seq;
	struct answer answer;
	uint8_t request[1 << 14] __attribute__((aligned(4)));
	uint8_t buffer[BUFFER] __attribute__((aligned(4)));
	atomic_ulong done;
	atomic_ulong vain;
};

/**
 * struct role - what a thread does
 * @name: on the command line
 * @play: do it once; 0, or -1: it was in vain
 */
struct role {
	const char *name;
	int (*play)(struct player *player);
};

struct pair {
	int client;
	int server;
	uint32_t id;
	unsigned int slot;
};

static atomic_uint ids[IDS];
static atomic_bool stopped;

static const char *const filters[] = {
	"t/0", "t/1", "t/2", "t/3", "#", "t/+", "+/1", "t/#",
	"deep/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/#", "+/+",
};

enum { NR_FILTERS = sizeof(filters) / sizeof(*filters) };

static unsigned int roll(struct player *player, unsigned int sides)
{
	return rand_r(&player->seed) % sides;
}

static void pause_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

/* ---- Netlink ---- */

static int netlink_open(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	struct timeval patience = { .tv_sec = PATIENCE };
	int one = 1, size = 1 << 20;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return -1;
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static struct nlmsghdr *request_of(struct player *player, uint16_t family,
				   uint8_t cmd, uint16_t flags)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(player->request);
	struct genlmsghdr *header;

	request->nlmsg_type = family;
	request->nlmsg_flags = NLM_F_REQUEST | flags;
	request->nlmsg_seq = ++player->seq;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->cmd = cmd;
	header->version = 1;
	return request;
}

static struct nlmsghdr *request_new(struct player *player, uint8_t cmd)
{
	memset(&player->answer, 0, sizeof(player->answer));
	return request_of(player, player->family, cmd, NLM_F_ACK);
}

/* What is of use in any answer; types differ, their numbers do not matter. */
static void take_answer(struct player *player, const struct nlmsghdr *message)
{
	const struct genlmsghdr *header = mnl_nlmsg_get_payload(message);
	struct answer *answer = &player->answer;
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, GENL_HDRLEN) {
		uint16_t type = mnl_attr_get_type(attr);

		if (message->nlmsg_type == GENL_ID_CTRL) {
			if (type == CTRL_ATTR_FAMILY_ID)
				player->family = mnl_attr_get_u16(attr);
		} else if (header->cmd == KMQTT_CMD_SUB_ADD) {
			if (type == KMQTT_A_SUB_SINK_SEQ)
				answer->seq = mnl_attr_get_u64(attr);
		} else if (header->cmd == KMQTT_CMD_SINK_OPEN) {
			if (type == KMQTT_A_SINK_FD)
				answer->fds[answer->nr_fds++] =
					mnl_attr_get_u32(attr);
		} else if (header->cmd == KMQTT_CMD_TRUNK_OPEN) {
			if (type == KMQTT_A_TRUNK_FD)
				answer->fds[answer->nr_fds++] =
					mnl_attr_get_u32(attr);
		} else if (type == KMQTT_A_CONN_FD && answer->nr_fds < 8) {
			answer->fds[answer->nr_fds++] = mnl_attr_get_u32(attr);
		} else if (type == KMQTT_A_CONN_ID) {
			answer->id = mnl_attr_get_u32(attr);
		}
	}
}

/* Take what has come. Return: 1 to go on, 0, or a negative error. */
static int receive(struct player *player)
{
	ssize_t size = recv(player->netlink, player->buffer, BUFFER, 0);
	const struct nlmsghdr *message = (void *)player->buffer;
	int left = size;

	if (size < 0) {
		if (errno == EAGAIN) {
			fprintf(stderr, "hammer: %s: no answer in %d s\n",
				player->role->name, PATIENCE);
			exit(1);
		}
		return -errno;
	}
	for (; mnl_nlmsg_ok(message, left);
	     message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_seq != player->seq)
			continue;
		if (message->nlmsg_type == NLMSG_ERROR)
			return *(int *)mnl_nlmsg_get_payload(message);
		if (message->nlmsg_type == NLMSG_DONE)
			return 0;
		take_answer(player, message);
	}
	return 1;
}

/* Return: 0 or a negative error. */
static int talk(struct player *player, struct nlmsghdr *request)
{
	int ret;

	if (send(player->netlink, request, request->nlmsg_len, 0) < 0)
		return -errno;
	do
		ret = receive(player);
	while (ret > 0);
	return ret;
}

/* Find the family, which has another number each time the module is loaded. */
static int find_family(struct player *player)
{
	struct nlmsghdr *request = request_of(player, GENL_ID_CTRL,
					      CTRL_CMD_GETFAMILY, NLM_F_ACK);

	mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, KMQTT_GENL_NAME);
	return talk(player, request) ? -1 : 0;
}

static int simple(struct player *player, uint8_t cmd, uint16_t type,
		  uint32_t id)
{
	struct nlmsghdr *request = request_new(player, cmd);

	if (type)
		mnl_attr_put_u32(request, type, id);
	return talk(player, request) ? -1 : 0;
}

static int dump(struct player *player, uint8_t cmd, uint16_t flag)
{
	struct nlmsghdr *request = request_of(player, player->family, cmd,
					      NLM_F_DUMP);

	if (flag)
		mnl_attr_put(request, flag, 0, NULL);
	return talk(player, request) ? -1 : 0;
}

static void put_filter(struct nlmsghdr *request, const char *filter)
{
	struct nlattr *nest = mnl_attr_nest_start(request, KMQTT_A_SUB_FILTER);

	mnl_attr_put(request, KMQTT_A_FILTER_TOPIC, strlen(filter), filter);
	mnl_attr_nest_end(request, nest);
}

static int subscribe(struct player *player, uint32_t id, bool add, bool hold)
{
	struct nlmsghdr *request;
	unsigned int nr = 1 + roll(player, NR_FILTERS);
	unsigned int first = roll(player, NR_FILTERS);

	request = request_new(player, add ? KMQTT_CMD_SUB_ADD
					  : KMQTT_CMD_SUB_DEL);
	mnl_attr_put_u32(request, KMQTT_A_SUB_CONN_ID, id);
	if (hold)
		mnl_attr_put(request, KMQTT_A_SUB_HOLD, 0, NULL);
	while (nr--)
		put_filter(request, filters[first++ % NR_FILTERS]);
	return talk(player, request) ? -1 : 0;
}

static struct nlmsghdr *set_new(struct player *player, uint32_t id)
{
	struct nlmsghdr *request = request_new(player, KMQTT_CMD_CONN_SET);

	mnl_attr_put_u32(request, KMQTT_A_CONN_ID, id);
	return request;
}

/* ---- Connections ---- */

static int listen_somewhere(struct player *player)
{
	socklen_t size = sizeof(player->address);

	player->address.sin_family = AF_INET;
	player->address.sin_port = 0;
	player->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	player->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(player->listening, (struct sockaddr *)&player->address,
		    size) ||
	       listen(player->listening, 100) ||
	       getsockname(player->listening,
			   (struct sockaddr *)&player->address, &size) ? -1 : 0;
}

static void pair_close(struct pair *pair)
{
	atomic_store(&ids[pair->slot], 0);
	close(pair->client);
	close(pair->server);
}

static int pair_attach(struct player *player, struct pair *pair)
{
	struct nlmsghdr *request = request_new(player, KMQTT_CMD_CONN_ADD);

	mnl_attr_put_u32(request, KMQTT_A_CONN_FD, pair->server);
	if (talk(player, request))
		return -1;
	pair->id = player->answer.id;
	pair->slot = roll(player, IDS);
	atomic_store(&ids[pair->slot], pair->id);
	return 0;
}

/* A client and its attached socket, not active. */
static int pair_open(struct player *player, struct pair *pair)
{
	struct timeval patience = { .tv_usec = 100000 };
	int one = 1, small = 4096;

	memset(pair, 0, sizeof(*pair));
	pair->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (roll(player, 2))
		setsockopt(pair->client, SOL_SOCKET, SO_RCVBUF, &small,
			   sizeof(small));
	setsockopt(pair->client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(pair->client, SOL_SOCKET, SO_SNDTIMEO, &patience,
		   sizeof(patience));
	if (connect(pair->client, (struct sockaddr *)&player->address,
		    sizeof(player->address))) {
		close(pair->client);
		return -1;
	}
	pair->server = accept4(player->listening, NULL, NULL, SOCK_CLOEXEC);
	if (!pair_attach(player, pair))
		return 0;
	pair_close(pair);
	return -1;
}

/* Let the client say CONNECT, read it as the daemon, and make it active. */
static int pair_activate(struct player *player, struct pair *pair)
{
	static const char hello[] = "\x10\x0d\0\4MQTT\4\2\0\0\0\1x";
	struct pollfd readable = { .fd = pair->server, .events = POLLIN };
	struct nlmsghdr *request;
	char data[64];

	send(pair->client, hello, sizeof(hello) - 1, MSG_NOSIGNAL);
	if (poll(&readable, 1, 1000) != 1 ||
	    recv(pair->server, data, sizeof(data), MSG_DONTWAIT) <= 0 ||
	    /* Would wait for us to read, if somebody has subscribed it. */
	    send(pair->server, "\x20\2\0\0", 4,
		 MSG_DONTWAIT | MSG_NOSIGNAL) != 4)
		return -1;
	request = set_new(player, pair->id);
	mnl_attr_put_u8(request, KMQTT_A_CONN_LEVEL, 4);
	mnl_attr_put_u16(request, KMQTT_A_CONN_KEEPALIVE, 1);
	mnl_attr_put_u64(request, KMQTT_A_CONN_DONE, sizeof(hello) - 1);
	mnl_attr_put(request, KMQTT_A_CONN_CLIENT_ID, 1, "x");
	mnl_attr_put(request, KMQTT_A_CONN_ACTIVE, 0, NULL);
	return talk(player, request) ? -1 : 0;
}

static size_t build_publish(struct player *player, uint8_t *to)
{
	size_t payload = roll(player, 8) ? 20 : roll(player, 3000);
	size_t left = 5 + payload, at = 0;

	to[at++] = roll(player, 16) ? 0x30 : 0x31;
	do {
		to[at++] = (left & 0x7f) | (left > 0x7f ? 0x80 : 0);
		left >>= 7;
	} while (left);
	memcpy(to + at, "\0\3t/", 4);
	to[at + 4] = '0' + roll(player, 8);
	memset(to + at + 5, 'x', payload);
	return at + 5 + payload;
}

/* Publish a batch. Return: 0, or -1: the connection has ended. */
static int pair_publish(struct player *player, struct pair *pair)
{
	static _Thread_local uint8_t data[BATCH * PACKET];
	size_t size = 0, i;

	for (i = 0; i < BATCH; i++)
		size += build_publish(player, data + size);
	/* Half a packet does not matter: the rest of it follows, or nothing. */
	for (i = 0; i < size && !atomic_load(&stopped);) {
		ssize_t n = send(pair->client, data + i, size - i,
				 MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return -1;
		i += n > 0 ? n : 0;
		/* Some stall, and so may we. */
		if (roll(player, 4) || n < 0)
			recv(pair->client, player->buffer,
			     1 + roll(player, BUFFER), MSG_DONTWAIT);
	}
	return 0;
}

/* ---- The roles ---- */

static uint32_t some(struct player *player)
{
	unsigned int i, first = roll(player, IDS);

	for (i = 0; i < IDS; i++) {
		uint32_t id = atomic_load(&ids[(first + i) % IDS]);

		if (id)
			return id;
	}
	pause_ms(1);
	return 0;
}

static void leave(struct player *player, struct pair *pair)
{
	struct linger reset = { .l_onoff = 1 };
	struct nlmsghdr *request;

	switch (roll(player, 8)) {
	case 0:
		setsockopt(pair->client, SOL_SOCKET, SO_LINGER, &reset,
			   sizeof(reset));
		break;
	case 1:
		shutdown(pair->client, SHUT_WR);
		break;
	case 2:
		request = request_new(player, KMQTT_CMD_CONN_DEL);
		mnl_attr_put_u32(request, KMQTT_A_CONN_ID, pair->id);
		mnl_attr_put(request, KMQTT_A_CONN_ABORT, 0, NULL);
		talk(player, request);
		break;
	case 3:
		send(pair->client, "!", 1, MSG_OOB | MSG_NOSIGNAL);
		break;
	case 4:
		send(pair->client, "\xf1\1\1", 3, MSG_NOSIGNAL);
		break;
	case 5:
		shutdown(pair->server, SHUT_RDWR);
		break;
	case 6:
		/* The daemon's descriptor goes first. */
		close(pair->server);
		pair->server = -1;
		break;
	}
	simple(player, KMQTT_CMD_CONN_DEL, KMQTT_A_CONN_ID, pair->id);
}

static int play_attach(struct player *player)
{
	struct pair pair;
	int ret;

	if (pair_open(player, &pair))
		return -1;
	ret = pair_activate(player, &pair);
	if (!ret && roll(player, 2))
		ret = subscribe(player, pair.id, true, false);
	if (!ret && roll(player, 2))
		ret = pair_publish(player, &pair);
	leave(player, &pair);
	pair_close(&pair);
	return ret;
}

static int play_publish(struct player *player)
{
	struct pair pair;
	int i, ret;

	if (pair_open(player, &pair))
		return -1;
	ret = pair_activate(player, &pair) ?:
	      subscribe(player, pair.id, true, false);
	for (i = 0; !ret && i < STAYS && !atomic_load(&stopped); i++)
		ret = pair_publish(player, &pair);
	simple(player, KMQTT_CMD_CONN_DEL, KMQTT_A_CONN_ID, pair.id);
	pair_close(&pair);
	return ret;
}

static int play_subscribe(struct player *player)
{
	uint32_t id = some(player);

	return id ? subscribe(player, id, roll(player, 2), false) : -1;
}

static int play_hold(struct player *player)
{
	struct nlmsghdr *request;
	uint32_t id = some(player);
	uint64_t seq;

	if (!id || subscribe(player, id, true, true))
		return -1;
	seq = player->answer.seq;
	request = set_new(player, id);
	mnl_attr_put_u64(request, KMQTT_A_CONN_HOLD_SEQ, seq);
	mnl_attr_put(request, KMQTT_A_CONN_TRIM, 0, NULL);
	if (talk(player, request))
		return -1;
	request = set_new(player, id);
	mnl_attr_put(request, KMQTT_A_CONN_RELEASE, 0, NULL);
	return talk(player, request) ? -1 : 0;
}

static int play_delete(struct player *player)
{
	uint32_t id;

	pause_ms(roll(player, 5));
	id = some(player);
	return id ? simple(player, KMQTT_CMD_CONN_DEL, KMQTT_A_CONN_ID, id)
		  : -1;
}

static int play_adopt(struct player *player)
{
	struct nlmsghdr *request = request_new(player, KMQTT_CMD_CONN_ADOPT);
	uint32_t id = 0, i;
	int ret;

	for (i = 0; i < 4; i++) {
		id = some(player);
		mnl_attr_put_u32(request, KMQTT_A_CONN_ID, id);
	}
	ret = talk(player, request);
	for (i = 0; i < player->answer.nr_fds; i++) {
		int fd = player->answer.fds[i];
		char data[100];

		recv(fd, data, 1 + roll(player, sizeof(data)), MSG_DONTWAIT);
		send(fd, "\xd0\0", 1 + roll(player, 2),
		     MSG_DONTWAIT | MSG_NOSIGNAL);
		close(fd);
	}
	return ret ? -1 : 0;
}

static void put_rule(struct nlmsghdr *request, const char *filter,
		     uint8_t access, uint8_t flags)
{
	struct nlattr *nest = mnl_attr_nest_start(request, KMQTT_A_RULES_RULE);

	mnl_attr_put(request, KMQTT_A_RULE_FILTER, strlen(filter), filter);
	mnl_attr_put_u8(request, KMQTT_A_RULE_ACCESS, access);
	mnl_attr_put_u8(request, KMQTT_A_RULE_FLAGS, flags);
	mnl_attr_nest_end(request, nest);
}

/* Another's draft may be in the way. */
static void change_rules(struct player *player, uint32_t set)
{
	struct nlmsghdr *request;
	unsigned int i;

	if (simple(player, KMQTT_CMD_RULES_BEGIN, KMQTT_A_RULES_ID, set))
		return;
	request = request_new(player, KMQTT_CMD_RULES_ADD);
	mnl_attr_put_u32(request, KMQTT_A_RULES_ID, set);
	for (i = roll(player, 5); i; i--)
		put_rule(request, filters[roll(player, NR_FILTERS)],
			 1 + roll(player, 3), roll(player, 2));
	put_rule(request, "#", 3, 2);
	if (!talk(player, request))
		simple(player, KMQTT_CMD_RULES_COMMIT, KMQTT_A_RULES_ID, set);
}

/* Who is there now? Most ids are of those who have been. */
static int give_rules(struct player *player, uint32_t set)
{
	struct nlmsghdr *request;
	int i, ret = -1;
	uint32_t id;

	for (i = 0; ret && i < 10; i++) {
		id = some(player);
		if (!id)
			continue;
		request = set_new(player, id);
		mnl_attr_put_u32(request, KMQTT_A_CONN_RULES_ID,
				 roll(player, 4) ? set : 0);
		mnl_attr_put(request, KMQTT_A_CONN_USER_NAME, 4, &player->seed);
		ret = talk(player, request);
	}
	return ret;
}

static int play_rules(struct player *player)
{
	uint32_t set = 1 + roll(player, 4);
	int ret;

	change_rules(player, set);
	ret = give_rules(player, set);
	simple(player, KMQTT_CMD_RULES_DEL, KMQTT_A_RULES_ID,
	       1 + roll(player, 4));
	return ret ? -1 : 0;
}

static int play_look(struct player *player)
{
	uint32_t id = some(player);
	int ret;

	ret = simple(player, KMQTT_CMD_STATS_GET, 0, 0) ?:
	      dump(player, KMQTT_CMD_CONN_GET,
		   roll(player, 2) ? KMQTT_A_CONN_PENDING : 0) ?:
	      dump(player, KMQTT_CMD_SUB_GET, 0);
	if (id)
		simple(player, KMQTT_CMD_CONN_GET, KMQTT_A_CONN_ID, id);
	return ret;
}

static int play_inject(struct player *player)
{
	static const char payload[8000];
	struct nlmsghdr *request = request_new(player, KMQTT_CMD_PUBLISH);
	char topic[] = "t/0";
	int fd = -1, ret;

	topic[2] += roll(player, 8);
	mnl_attr_put(request, KMQTT_A_MSG_TOPIC, 3, topic);
	mnl_attr_put_u8(request, KMQTT_A_MSG_QOS, roll(player, 3));
	if (roll(player, 8)) {
		mnl_attr_put(request, KMQTT_A_MSG_PAYLOAD,
			     roll(player, sizeof(payload)), payload);
	} else {
		fd = memfd_create("payload", MFD_CLOEXEC);
		if (ftruncate(fd, roll(player, 200000)))
			abort();
		mnl_attr_put_u32(request, KMQTT_A_MSG_PAYLOAD_FD, fd);
	}
	ret = talk(player, request);
	if (fd >= 0)
		close(fd);
	return ret ? -1 : 0;
}

/* Be the daemon, for a while. */
static int play_sink(struct player *player)
{
	struct nlmsghdr *request = request_new(player, KMQTT_CMD_SINK_OPEN);
	int i, fd;

	mnl_attr_put_u32(request, KMQTT_A_SINK_BYTES, 1 << 18);
	mnl_attr_put_u32(request, KMQTT_A_SINK_ORPHAN_TIMEOUT, 3600);
	if (talk(player, request))
		return -1;
	fd = player->answer.fds[0];
	subscribe(player, KMQTT_SINK_ID, true, false);
	for (i = 0; i < 50; i++) {
		struct pollfd readable = { .fd = fd, .events = POLLIN };

		if (poll(&readable, 1, 1) == 1 &&
		    read(fd, player->buffer, 1 + roll(player, BUFFER)) < 0)
			break;
	}
	subscribe(player, KMQTT_SINK_ID, false, false);
	close(fd);
	return 0;
}

/* Packets for some connections; now and then, what is no record. */
static size_t build_records(struct player *player, uint8_t *to)
{
	struct kmqtt_trunk_record *record;
	unsigned int i, nr = 1 + roll(player, 40);
	size_t size = 0;

	for (i = 0; i < nr; i++) {
		record = (void *)(to + size);
		record->conn_id = some(player);
		record->len = build_publish(player, (uint8_t *)(record + 1));
		size += sizeof(*record) + record->len;
		memset(to + size, 0, KMQTT_TRUNK_ALIGN);
		size = (size + KMQTT_TRUNK_ALIGN - 1) &
		       ~(KMQTT_TRUNK_ALIGN - 1UL);
		if (!roll(player, 100))
			record->len = roll(player, 2 * KMQTT_TRUNK_MAX);
	}
	return size;
}

/* Read and send for all connections, for a while. */
static int play_trunk(struct player *player)
{
	struct nlmsghdr *request = request_new(player, KMQTT_CMD_TRUNK_OPEN);
	int i, fd;

	if (talk(player, request))
		return -1;
	fd = player->answer.fds[0];
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (i = 0; i < 50; i++) {
		struct pollfd readable = { .fd = fd, .events = POLLIN };
		size_t size = build_records(player, player->buffer);

		if (write(fd, player->buffer, size) < 0 && errno != EINVAL)
			break;
		if (poll(&readable, 1, 1) == 1 &&
		    read(fd, player->buffer, 1 + roll(player, BUFFER)) < 0 &&
		    errno != EAGAIN && errno != EINVAL)
			break;
	}
	close(fd);
	return i == 50 ? 0 : -1;
}

static int play_limit(struct player *player)
{
	static const uint64_t limits[] = { 1 << 16, 1UL << 40, 0 };
	struct nlmsghdr *request = request_new(player, KMQTT_CMD_MEMORY_SET);

	mnl_attr_put_u64(request, KMQTT_A_STATS_MEMORY_LIMIT,
			 limits[roll(player, 3)]);
	pause_ms(20);
	return talk(player, request) ? -1 : 0;
}

static int play_flush(struct player *player)
{
	pause_ms(roll(player, 200));
	return simple(player, KMQTT_CMD_FLUSH, 0, 0);
}

/* Without it there is no 127.0.0.1 to be bound to, on some kernels. */
static int loopback_up(void)
{
	struct ifreq up = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret = fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &up);

	if (fd >= 0)
		close(fd);
	return ret;
}

/* Live in a network namespace of its own from now on: it ends with the next one,
 * or with the connections that are left in it.
 */
static int play_namespace(struct player *player)
{
	struct pair pair;
	int i, ret = 0;

	close(player->listening);
	close(player->netlink);
	if (unshare(CLONE_NEWNET) || loopback_up())
		return -1;
	player->netlink = netlink_open();
	if (player->netlink < 0 || find_family(player) ||
	    listen_somewhere(player))
		return -1;
	for (i = 0; !ret && i < 5; i++) {
		ret = pair_open(player, &pair);
		if (ret)
			break;
		/* Nobody but this thread could touch it. */
		atomic_store(&ids[pair.slot], 0);
		ret = pair_activate(player, &pair) ?:
		      subscribe(player, pair.id, true, false) ?:
		      pair_publish(player, &pair);
		pair_close(&pair);
	}
	return simple(player, KMQTT_CMD_FLUSH, 0, 0) ?: ret;
}

static const struct role roles[] = {
	{ "attach", play_attach },
	{ "publish", play_publish },
	{ "subscribe", play_subscribe },
	{ "hold", play_hold },
	{ "delete", play_delete },
	{ "adopt", play_adopt },
	{ "rules", play_rules },
	{ "look", play_look },
	{ "inject", play_inject },
	{ "sink", play_sink },
	{ "trunk", play_trunk },
	{ "limit", play_limit },
	{ "flush", play_flush },
	{ "namespace", play_namespace },
};

/* ---- The program ---- */

static void *player_run(void *data)
{
	struct player *player = data;

	while (!atomic_load(&stopped)) {
		if (player->family && !player->role->play(player)) {
			atomic_fetch_add(&player->done, 1);
			continue;
		}
		atomic_fetch_add(&player->vain, 1);
		/* The module may have been unloaded, and loaded again. */
		if (find_family(player))
			pause_ms(20);
	}
	return NULL;
}

static void player_start(struct player *player, const char *name,
			 unsigned int seed)
{
	unsigned int i;

	for (i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (!strcmp(roles[i].name, name))
			player->role = roles + i;
	if (!player->role) {
		fprintf(stderr, "hammer: no role %s\n", name);
		exit(2);
	}
	player->seed = seed;
	player->netlink = netlink_open();
	if (player->netlink < 0 || listen_somewhere(player)) {
		perror("hammer");
		exit(1);
	}
	find_family(player);
	pthread_create(&player->thread, NULL, player_run, player);
}

/* Whether each role has been played once, by any who has it. */
static bool all_done(const struct player *players, int nr)
{
	int i, j;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < nr; j++)
			if (players[j].role == players[i].role &&
			    atomic_load(&players[j].done))
				break;
		if (j == nr)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct player players[PLAYERS];
	int i, nr = argc - 3, more = 10 * SLOW;

	if (nr < 1 || nr > PLAYERS) {
		fprintf(stderr, "usage: hammer SECONDS SEED ROLE...\n\n"
			"Roles, of which each is a thread, at most %d:",
			PLAYERS);
		for (i = 0; i < (int)(sizeof(roles) / sizeof(*roles)); i++)
			fprintf(stderr, " %s", roles[i].name);
		fprintf(stderr, "\nPrints of each: name, what was done, what "
			"was in vain.\nTakes longer where it is slow: until "
			"each role has done something.\nExit: 0, 1 the kernel does not answer, "
			"2 usage.\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < nr; i++)
		player_start(players + i, argv[3 + i],
			     strtoul(argv[2], NULL, 10) + i);
	pause_ms(1000 * strtod(argv[1], NULL));
	while (more-- && !all_done(players, nr))
		pause_ms(100);
	atomic_store(&stopped, true);
	for (i = 0; i < nr; i++) {
		pthread_join(players[i].thread, NULL);
		printf("%s %lu %lu\n", players[i].role->name,
		       atomic_load(&players[i].done),
		       atomic_load(&players[i].vain));
	}
	return 0;
}
