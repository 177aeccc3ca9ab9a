// SPDX-License-Identifier: GPL-2.0
/*
 * The store against a model of it, and against everything that happens to
 * files: kill -9, full and failing disks, damage, other people's databases.
 *
 * The ring and the log are this file's; so are fdatasync(), to count it, and
 * what SQLite calls to read and write, to make it fail.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"
#include "ktap.h"
#include "log.h"
#include "ring.h"
#include "store.h"

#define PATIENCE 20	/* seconds, for what comes at once */

static char dir[] = "/tmp/test_store.XXXXXX";
static char path[64];

static char logged[8192];
static u32 logged_lines;

void log_print(enum log_type type, const char *format, ...)
{
	size_t len = strlen(logged);
	va_list args;

	(void)type;
	va_start(args, format);
	vsnprintf(logged + len, sizeof(logged) - len - 1, format, args);
	va_end(args);
	strcat(logged, "\n");
	logged_lines++;
}

static void forget_log(void)
{
	logged[0] = '\0';
	logged_lines = 0;
}

/* The ring: one descriptor. */
static struct ring_op *polled;
static int polled_fd;

void ring_poll_in(struct ring_op *op, int fd)
{
	polled = op;
	polled_fd = fd;
}

static bool turn(int milliseconds)
{
	const struct ring_result result = { .res = POLLIN };
	struct pollfd event = { .fd = polled_fd, .events = POLLIN };

	store_flush();
	if (poll(&event, 1, milliseconds) != 1)
		return false;
	polled->done(polled, &result);
	return true;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Turns until @condition, for as long as it may take. */
#define TURN_UNTIL(condition)						\
	do {								\
		double until_ = now() + PATIENCE;			\
									\
		while (!(condition) && now() < until_)			\
			turn(1000);					\
		EXPECT(condition, "waited in vain");			\
	} while (0)

/* The disk. */
static u32 syncs;
static int write_error, sync_error, read_garbage;

int fdatasync(int fd)
{
	__atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED);
	if (__atomic_load_n(&sync_error, __ATOMIC_RELAXED)) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_fdatasync, fd);
}

static u32 count_syncs(void)
{
	return __atomic_exchange_n(&syncs, 0, __ATOMIC_RELAXED);
}

static ssize_t failing_pwrite(int fd, const void *data, size_t len, off_t at)
{
	int err = __atomic_load_n(&write_error, __ATOMIC_RELAXED);

	if (err) {
		errno = err;
		return -1;
	}
	return pwrite(fd, data, len, at);
}

static ssize_t lying_pread(int fd, void *data, size_t len, off_t at)
{
	ssize_t got = pread(fd, data, len, at);

	if (__atomic_load_n(&read_garbage, __ATOMIC_RELAXED) && got > 1000)
		memset(data, 0x5a, got);
	return got;
}

static void set(int *which, int value)
{
	__atomic_store_n(which, value, __ATOMIC_RELAXED);
}

static void take_system_calls(void)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

	vfs->xSetSystemCall(vfs, "pwrite",
			    (sqlite3_syscall_ptr)failing_pwrite);
	vfs->xSetSystemCall(vfs, "pwrite64",
			    (sqlite3_syscall_ptr)failing_pwrite);
	vfs->xSetSystemCall(vfs, "pread", (sqlite3_syscall_ptr)lying_pread);
	vfs->xSetSystemCall(vfs, "pread64", (sqlite3_syscall_ptr)lying_pread);
}

/* The model: what the store should hold. */
#define SESSIONS 6
#define FILTERS 5
#define PACKET_IDS 20
#define TOPICS 12
#define DELIVERIES 4000
#define MESSAGES 16

struct delivery {
	u64 seq;
	u64 message;
	bool released;
	u8 qos;
	u8 flags;
	u8 state;
};

struct session {
	u64 sid;
	u64 next_seq;
	s64 seen;
	u32 expiry;
	u64 will;		/* its message, 0 for none */
	int filters[FILTERS];	/* see filter_value(), -1 for none */
	bool inbound[PACKET_IDS];
	struct delivery deliveries[DELIVERIES];
	u32 nr;
};

struct state {
	struct session sessions[SESSIONS];
	u64 retained[TOPICS];	/* 0 for none */
};

static struct state model, loaded;
static u32 committed_calls;

/* What a message holds follows from its number. */
static u32 payload_len(u64 number)
{
	u32 len = 1 + number * 2654435761u % 300;

	return number % 50 ? len : len * 100;
}

static u32 topic_text(char *topic, u64 number)
{
	return sprintf(topic, "topic/%llu", (unsigned long long)number % TOPICS);
}

/* Those of before MQTT 5 have lower numbers. */
#define OLD_NUMBERS 1000

static bool has_source(u64 number)
{
	return number > OLD_NUMBERS && number % 4 == 0;
}

/* A user property, and with a message expiry interval. */
static u32 properties_text(u8 *properties, u64 number)
{
	u32 len = 0;

	if (number <= OLD_NUMBERS || number % 3)
		return 0;
	if (number % 2) {
		memcpy(properties, "\x02\x00\x00\x00\x09", 5);
		len = 5;
	}
	properties[len++] = 0x26;
	memcpy(properties + len, "\x00\x04name\x00\x01", 8);
	len += 8;
	properties[len++] = 'a' + number % 26;
	return len;
}

static struct message *make_message(u64 number)
{
	u8 properties[32];
	static u8 payload[40000];
	u32 len = payload_len(number);
	char topic[32];
	u32 topic_len = topic_text(topic, number);
	struct message *message;

	memset(payload, (u8)(number * 7), len);
	memcpy(payload, &number, len < 8 ? len : 8);
	message = message_make(&(const struct message_parts){
		.topic = topic,
		.topic_len = topic_len,
		.qos = 1 + number % 2,
		.payload = payload,
		.payload_len = len,
		.properties = properties,
		.properties_len = properties_text(properties, number),
	});
	if (message->expires)
		message->expires = number * 1000;
	if (has_source(number))
		message_set_source(message, number, "publisher", 9, "user",
				   number % 8 ? 4 : 0);
	return message;
}

static bool same_source(const struct message_source *a,
			const struct message_source *b)
{
	if (!a || !b)
		return a == b;
	return a->listener == b->listener && a->id_len == b->id_len &&
	       a->user_len == b->user_len &&
	       !memcmp(a->data, b->data, a->id_len + a->user_len);
}

/* Is it that one, unharmed? */
static bool is_message(const struct message *message, u64 number)
{
	struct message *like = make_message(number);
	bool is = message && message->topic_len == like->topic_len &&
		  message->payload_len == like->payload_len &&
		  message->properties_len == like->properties_len &&
		  message->expiry_at == like->expiry_at &&
		  message->qos == like->qos &&
		  same_source(message->source, like->source) &&
		  !memcmp(message->data, like->data,
			  like->topic_len + like->properties_len +
			  like->payload_len);

	message_put(like);
	return is;
}

/* That of a delivery follows from its message. */
static struct origin *make_origin(u64 number)
{
	if (number <= OLD_NUMBERS)
		return NULL;
	return origin_new("\x0b\x07\x0b\x08", number % 5 ? 0 : 4,
			  "$share/g/t", number % 7 ? 0 : 10);
}

static bool is_origin(const struct origin *origin, u64 number)
{
	struct origin *like = make_origin(number);
	bool is = origin_identifiers_len(origin) ==
		  origin_identifiers_len(like) &&
		  origin_share_len(origin) == origin_share_len(like) &&
		  (!like || !memcmp(origin->identifiers, like->identifiers,
				    like->identifiers_len + like->share_len));

	free(like);
	return is;
}

/* What is in the model of a subscription. */
static int filter_value(u8 qos, u8 options, u32 identifier)
{
	return qos + 4 * options + 16 * identifier;
}

/* Payloads of a byte have no number: none has. */
static u64 number_of(const struct message *message)
{
	u64 number = 0;

	memcpy(&number, message_payload(message),
	       message->payload_len < 8 ? message->payload_len : 8);
	return number;
}

static void clear(struct state *state)
{
	u32 i, j;

	memset(state, 0, sizeof(*state));
	for (i = 0; i < SESSIONS; i++)
		for (j = 0; j < FILTERS; j++)
			state->sessions[i].filters[j] = -1;
}

static u32 id_text(char *id, u32 i)
{
	return sprintf(id, "client-%u", i);
}

static struct session *session_by_sid(u64 sid)
{
	u32 i;

	for (i = 0; i < SESSIONS; i++)
		if (sid && loaded.sessions[i].sid == sid)
			return &loaded.sessions[i];
	EXPECT(false, "sid %llu", (unsigned long long)sid);
	return NULL;
}

static u64 loaded_bytes[SESSIONS];
static u64 loaded_retained_bytes[SESSIONS];
static u32 loaded_retained[SESSIONS];

static int on_session(const struct store_session *session)
{
	char text[70000];
	u32 i;

	memcpy(text, session->id, session->id_len);
	text[session->id_len] = '\0';
	if (sscanf(text, "client-%u", &i) != 1 || i >= SESSIONS)
		return 0;	/* another test's */
	EXPECT(!loaded.sessions[i].sid, "%u twice", i);
	loaded.sessions[i].sid = session->sid;
	loaded.sessions[i].next_seq = session->next_seq;
	loaded.sessions[i].nr = session->queued;
	loaded.sessions[i].seen = session->seen;
	loaded.sessions[i].expiry = session->expiry;
	loaded_bytes[i] = session->queued_bytes;
	loaded_retained_bytes[i] = session->retained_bytes;
	loaded_retained[i] = session->retained;
	return 0;
}

static int on_subscription(u64 sid,
			   const struct store_subscription *subscription)
{
	struct session *session = session_by_sid(sid);
	const u8 *filter = subscription->filter;

	EXPECT(subscription->len == 4 && !memcmp(filter, "f/", 2) &&
	       filter[3] == '#', "%.*s", subscription->len, filter);
	if (session)
		session->filters[filter[2] - '0'] =
			filter_value(subscription->qos, subscription->options,
				     subscription->identifier);
	return 0;
}

static int on_will(u64 sid, const struct store_will *will)
{
	struct session *session = session_by_sid(sid);
	u64 number = number_of(will->message);

	EXPECT(is_message(will->message, number), "%llu",
	       (unsigned long long)number);
	EXPECT(!will->message->expires, "it has not begun");
	EXPECT(will->due == (s64)number * 1000, "due");
	EXPECT(will->retain == number % 2, "retain");
	if (session)
		session->will = number;
	message_put(will->message);
	return 0;
}

static int on_inbound(u64 sid, u16 packet_id)
{
	struct session *session = session_by_sid(sid);

	if (session)
		session->inbound[packet_id - 1] = true;
	return 0;
}

static int on_retained(struct message *message)
{
	u64 number = number_of(message);

	EXPECT(is_message(message, number), "%llu",
	       (unsigned long long)number);
	EXPECT(message->expires == (message->expiry_at ? (s64)number * 1000
						       : 0), "expires");
	EXPECT(!loaded.retained[number % TOPICS], "twice");
	loaded.retained[number % TOPICS] = number;
	message_put(message);
	return 0;
}

static void on_committed(void)
{
	committed_calls++;
}

static const struct store_loader loader = {
	.session = on_session,
	.subscription = on_subscription,
	.will = on_will,
	.inbound = on_inbound,
	.retained = on_retained,
};

static int open_store(void)
{
	clear(&loaded);
	return store_open(path, &loader, on_committed);
}

/* Waits until everything that was queued is committed. */
static bool sync_store(void)
{
	TURN_UNTIL(store_committed() >= store_queued());
	return store_committed() == store_queued();
}

struct reading {
	struct store_read read;
	const struct delivery *expected;
	u32 nr;
	u32 got;
	bool done;
};

static void on_read(struct store_read *read, struct store_delivery *deliveries,
		    u32 nr)
{
	struct reading *reading = container_of(read, struct reading, read);
	const struct delivery *want;
	u32 i;

	EXPECT(!reading->done, "twice");
	EXPECT(nr == (reading->nr < read->max ? reading->nr : read->max),
	       "%u of %u", nr, reading->nr);
	for (i = 0; i < nr && i < reading->nr; i++) {
		want = &reading->expected[i];
		EXPECT(deliveries[i].seq == want->seq &&
		       deliveries[i].qos == want->qos &&
		       deliveries[i].flags == want->flags &&
		       deliveries[i].state == want->state, "%u", i);
		EXPECT(want->released ? !deliveries[i].message :
		       is_message(deliveries[i].message, want->message) &&
		       is_origin(deliveries[i].origin, want->message),
		       "%u", i);
	}
	for (i = 0; i < nr; i++)
		store_delivery_free(&deliveries[i]);
	reading->got = nr;
	reading->done = true;
}

static void start_reading(struct reading *reading,
			  const struct session *session, u32 from, u32 max)
{
	*reading = (struct reading){
		.read = {
			.sid = session->sid,
			.from = from ? session->deliveries[from - 1].seq + 1 :
				0,
			.max = max,
			.done = on_read,
		},
		.expected = session->deliveries + from,
		.nr = session->nr - from,
	};
	store_read(&reading->read);
}

static void finish_reading(struct reading *reading)
{
	TURN_UNTIL(reading->done);
}

static void expect_queue(const struct session *session)
{
	struct reading reading;
	u32 from = 0;

	do {
		start_reading(&reading, session, from, 1 + random() % 40);
		finish_reading(&reading);
		from += reading.got;
	} while (reading.done && reading.got == reading.read.max);
	EXPECT(from == session->nr, "%u of %u", from, session->nr);
}

static u64 queued_bytes(const struct session *session, u8 flags)
{
	u64 bytes = 0;
	u32 i;

	for (i = 0; i < session->nr; i++)
		if (!session->deliveries[i].released &&
		    (session->deliveries[i].flags & flags) == flags)
			bytes += payload_len(session->deliveries[i].message);
	return bytes;
}

static u32 queued_retained(const struct session *session)
{
	u32 i, count = 0;

	for (i = 0; i < session->nr; i++)
		count += !!(session->deliveries[i].flags & STORE_RETAINED);
	return count;
}

/* Compares what was loaded with the model, and reads the queues. */
static void expect_model(void)
{
	const struct session *want, *have;
	u32 i;

	for (i = 0; i < SESSIONS; i++) {
		want = &model.sessions[i];
		have = &loaded.sessions[i];
		EXPECT(have->sid == want->sid, "session %u", i);
		if (!want->sid || !have->sid)
			continue;
		EXPECT(have->seen == want->seen, "session %u", i);
		EXPECT(have->expiry == want->expiry, "session %u", i);
		EXPECT(have->will == want->will, "session %u", i);
		EXPECT(have->next_seq >= want->next_seq, "session %u", i);
		EXPECT(have->nr == want->nr, "session %u: %u, not %u", i,
		       have->nr, want->nr);
		EXPECT(loaded_bytes[i] == queued_bytes(want, 0), "session %u",
		       i);
		EXPECT(loaded_retained_bytes[i] ==
		       queued_bytes(want, STORE_RETAINED), "session %u", i);
		EXPECT(loaded_retained[i] == queued_retained(want),
		       "session %u: %u retained", i, loaded_retained[i]);
		EXPECT(!memcmp(have->filters, want->filters,
			       sizeof(want->filters)), "session %u", i);
		EXPECT(!memcmp(have->inbound, want->inbound,
			       sizeof(want->inbound)), "session %u", i);
		expect_queue(want);
	}
	EXPECT(!memcmp(loaded.retained, model.retained, sizeof(model.retained)),
	       "retained");
}

/* In a closed database: one number. */
static s64 ask(const char *text)
{
	sqlite3_stmt *statement;
	sqlite3 *db;
	s64 number = -1;

	if (!sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) &&
	    !sqlite3_prepare_v2(db, text, -1, &statement, NULL)) {
		if (sqlite3_step(statement) == SQLITE_ROW)
			number = sqlite3_column_int64(statement, 0);
		sqlite3_finalize(statement);
	}
	sqlite3_close(db);
	return number;
}

static void expect_no_orphans(void)
{
	EXPECT(!ask("SELECT count(*) FROM message WHERE id NOT IN"
		    " (SELECT message FROM delivery WHERE message NOTNULL)"
		    " AND id NOT IN (SELECT message FROM retained)"),
	       "messages that nobody refers to");
	EXPECT(!ask("SELECT (SELECT count(*) FROM delivery WHERE sid NOT IN"
		    " (SELECT sid FROM session)) +"
		    "(SELECT count(*) FROM subscription WHERE sid NOT IN"
		    " (SELECT sid FROM session)) +"
		    "(SELECT count(*) FROM will WHERE sid NOT IN"
		    " (SELECT sid FROM session)) +"
		    "(SELECT count(*) FROM inbound WHERE sid NOT IN"
		    " (SELECT sid FROM session))"),
	       "leftovers of sessions");
}

static void remove_files(const char *where)
{
	DIR *list = opendir(where);
	struct dirent *entry;
	char name[512];

	while ((entry = readdir(list))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", where, entry->d_name);
		if (unlink(name))
			rmdir(name);
	}
	closedir(list);
}

static void begin(void)
{
	remove_files(dir);
	clear(&model);
	forget_log();
	message_ids_from(1);
}

/* Changes, in the model and the store. */
static struct message *pool[MESSAGES];
static u64 numbers[MESSAGES];
static u64 last_number = OLD_NUMBERS;

static u32 pick_message(void)
{
	u32 i = random() % MESSAGES;

	if (!pool[i] || random() % 2) {
		if (pool[i])
			message_put(pool[i]);
		do
			last_number++;
		while (payload_len(last_number) < 8);
		numbers[i] = last_number;
		pool[i] = make_message(last_number);
	}
	return i;
}

static void empty_pool(void)
{
	u32 i;

	for (i = 0; i < MESSAGES; i++) {
		if (pool[i])
			message_put(pool[i]);
		pool[i] = NULL;
	}
}

static void add_session(u32 i)
{
	struct session *session = &model.sessions[i];
	char id[32];
	u32 len = id_text(id, i);

	session->sid = store_new_sid();
	session->next_seq = 1;
	session->expiry = random() % 2 ? STORE_FOREVER : random();
	store_session_add(session->sid, (u8 *)id, len, session->expiry);
}

static void del_session(u32 i)
{
	struct session *session = &model.sessions[i];
	u32 j;

	store_session_del(session->sid);
	memset(session, 0, sizeof(*session));
	for (j = 0; j < FILTERS; j++)
		session->filters[j] = -1;
}

/* What the store is told of a delivery. */
static void tell(u64 sid, u64 seq, struct message *message, u8 qos, u8 flags,
		 struct origin *origin)
{
	const struct store_delivery delivery = {
		.seq = seq,
		.message = message,
		.origin = origin,
		.qos = qos,
		.flags = flags,
	};

	store_delivery_add(sid, &delivery);
}

static void add_delivery(struct session *session)
{
	struct delivery *delivery = &session->deliveries[session->nr];
	u32 i = pick_message();
	struct origin *origin;

	if (session->nr == DELIVERIES)
		return;
	*delivery = (struct delivery){
		.seq = session->next_seq,
		.message = numbers[i],
		.qos = random() % 3,
		.flags = random() % 4,
	};
	session->nr++;
	session->next_seq += 1 + random() % 2;
	origin = make_origin(numbers[i]);
	tell(session->sid, delivery->seq, pool[i], delivery->qos,
	     delivery->flags, origin);
	free(origin);
}

static void raise_state(struct session *session, u32 i)
{
	struct delivery *delivery = &session->deliveries[i];

	if (delivery->state == STORE_RELEASED)
		return;
	delivery->state++;
	delivery->released = delivery->state == STORE_RELEASED;
	store_delivery_state(session->sid, delivery->seq, delivery->state);
}

static void del_delivery(struct session *session, u32 i)
{
	store_delivery_del(session->sid, session->deliveries[i].seq);
	session->nr--;
	memmove(session->deliveries + i, session->deliveries + i + 1,
		(session->nr - i) * sizeof(*session->deliveries));
}

static void change_filter(struct session *session)
{
	u32 i = random() % FILTERS;
	u8 filter[] = { 'f', '/', '0' + i, '#' };
	const struct store_subscription subscription = {
		.filter = filter,
		.len = sizeof(filter),
		.qos = random() % 3,
		.options = random() % 4,
		.identifier = random() % 2 ? random() % 1000 : 0,
	};

	if (random() % 2) {
		session->filters[i] = filter_value(subscription.qos,
						   subscription.options,
						   subscription.identifier);
		store_subscription_set(session->sid, &subscription);
	} else {
		session->filters[i] = -1;
		store_subscription_del(session->sid, filter, sizeof(filter));
	}
}

static void change_inbound(struct session *session)
{
	u32 i = random() % PACKET_IDS;

	session->inbound[i] = random() % 2;
	if (session->inbound[i])
		store_inbound_add(session->sid, i + 1, true);
	else
		store_inbound_del(session->sid, i + 1);
}

static void change_retained(void)
{
	struct message *empty;
	char topic[32];
	u32 i;

	if (random() % 3) {
		i = pick_message();
		model.retained[numbers[i] % TOPICS] = numbers[i];
		store_retained_set(pool[i]);
		return;
	}
	i = random() % TOPICS;
	model.retained[i] = 0;
	empty = message_new(topic, topic_text(topic, i), "", 0, 1);
	store_retained_set(empty);
	message_put(empty);
}

static void change_will(struct session *session)
{
	struct store_will will = { 0 };
	u32 i;

	if (random() % 2) {
		session->will = 0;
		store_will_del(session->sid);
		return;
	}
	i = pick_message();
	session->will = numbers[i];
	will.due = numbers[i] * 1000;
	will.retain = numbers[i] % 2;
	will.message = pool[i];
	store_will_set(session->sid, &will);
}

static void change_session(u32 i)
{
	struct session *session = &model.sessions[i];

	if (random() % 3 == 0) {
		change_will(session);
	} else if (random() % 3 == 0) {
		session->expiry = random();
		store_session_expiry(session->sid, session->expiry);
	} else if (random() % 20) {
		session->seen = random();
		store_session_seen(session->sid, session->seen);
	} else {
		del_session(i);
	}
}

static void change_something(void)
{
	u32 i = random() % SESSIONS, action = random() % 100;
	struct session *session = &model.sessions[i];

	if (!session->sid)
		add_session(i);
	else if (action < 30)
		add_delivery(session);
	else if (action < 50 && session->nr)
		raise_state(session, random() % session->nr);
	else if (action < 78 && session->nr)
		del_delivery(session, random() % session->nr);
	else if (action < 83)
		change_filter(session);
	else if (action < 90)
		change_inbound(session);
	else if (action < 96)
		change_retained();
	else
		change_session(i);
}

static void test_model(void)
{
	struct reading reading;
	u32 round, i, steps;

	begin();
	for (round = 0; round < 150 && !ktap_failed; round++) {
		EXPECT(!open_store(), "round %u", round);
		expect_model();
		steps = random() % 400;
		for (i = 0; i < steps; i++) {
			change_something();
			/* Sees what comes before, and not what comes after. */
			if (random() % 50 == 0) {
				struct session copy = model.sessions[0];

				start_reading(&reading, &copy, 0, DELIVERIES);
				change_something();
				finish_reading(&reading);
			}
			while (random() % 30 == 0 && turn(1))
				;
		}
		if (random() % 2)
			EXPECT(sync_store(), "round %u", round);
		EXPECT(!store_close(), "round %u", round);
		expect_no_orphans();
	}
	empty_pool();
	EXPECT(!logged_lines, "%s", logged);
}

static void test_files(void)
{
	struct stat stat_buf;
	char name[80];
	mode_t mask = umask(0);
	u64 sid;

	begin();
	EXPECT(!store_enabled(), "before");
	EXPECT(!open_store(), "%s", logged);
	EXPECT(store_enabled() && store_healthy(), "after");
	EXPECT(!store_queued() && !store_committed(), "nothing yet");
	sid = store_new_sid();
	EXPECT(sid == 1, "the first");
	committed_calls = 0;
	EXPECT(store_session_add(sid, (u8 *)"client-0", 8, STORE_FOREVER) == 1, "number");
	EXPECT(store_queued() == 1, "queued");
	EXPECT(sync_store() && committed_calls == 1, "told once");
	EXPECT(store_committed() == 1, "committed");
	EXPECT(!stat(path, &stat_buf) && (stat_buf.st_mode & 07777) == 0600,
	       "%o", stat_buf.st_mode);
	snprintf(name, sizeof(name), "%s-wal", path);
	EXPECT(!stat(name, &stat_buf) && (stat_buf.st_mode & 07777) == 0600,
	       "%o", stat_buf.st_mode);
	snprintf(name, sizeof(name), "%s-shm", path);
	EXPECT(stat(name, &stat_buf), "shared memory");
	EXPECT(!store_close() && !store_enabled(), "close");
	snprintf(name, sizeof(name), "%s-wal", path);
	EXPECT(stat(name, &stat_buf), "the WAL is left");
	umask(mask);

	/* The name of a session that is gone is not used again. */
	EXPECT(!open_store() && loaded.sessions[0].sid == 1, "again");
	store_session_del(1);
	EXPECT(!store_close() && !open_store(), "close and open");
	EXPECT(!loaded.sessions[0].sid && store_new_sid() == 2, "sid");
	EXPECT(!store_close(), "close");
	EXPECT(!logged_lines, "%s", logged);
}

static void wait_healthy(bool healthy)
{
	TURN_UNTIL(store_healthy() == healthy);
}

static u64 commits(void)
{
	struct store_stats stats;

	store_stats(&stats);
	return stats.commits;
}

/* 64 publishes are outstanding; each acknowledgement brings the next. */
static void test_groups(void)
{
	struct message *message;
	u32 acks = 0, outstanding = 0, i;
	u64 seen = 0, sid, seq = 1;

	begin();
	EXPECT(!open_store(), "%s", logged);
	sid = store_new_sid();
	store_session_add(sid, (u8 *)"client-0", 8, STORE_FOREVER);
	EXPECT(sync_store(), "sync");
	message = make_message(1);
	seen = store_committed();
	count_syncs();
	while (acks < 20000) {
		for (; outstanding < 64; outstanding++)
			tell(sid, seq++, message, 1, 0, NULL);
		if (!turn(1000 * PATIENCE))
			break;
		acks += store_committed() - seen;
		outstanding -= store_committed() - seen;
		seen = store_committed();
	}
	i = count_syncs();
	printf("# %u acknowledgements, %u fsyncs\n", acks, i);
	EXPECT(acks >= 20000 && i * 16 <= acks, "%u for %u", i, acks);
	EXPECT(i >= commits() - 2, "commits without fsync");
	message_put(message);
	EXPECT(!store_close(), "close");
	EXPECT(ask("SELECT count(*) FROM delivery") == (s64)seq - 1, "lost");
	EXPECT(ask("SELECT count(*) FROM message") == 1, "stored once");
}

/* A disk that is slow: what is over before it is written, is not. */
static void test_pointless(void)
{
	struct message *message;
	u64 before, sid, seq;

	begin();
	EXPECT(!open_store(), "%s", logged);
	sid = store_new_sid();
	store_session_add(sid, (u8 *)"client-0", 8, STORE_FOREVER);
	message = make_message(1);
	tell(sid, 1, message, 1, 0, NULL);
	store_delivery_del(sid, 1);
	EXPECT(sync_store(), "sync");
	set(&write_error, ENOSPC);
	tell(sid, 1, message, 1, 0, NULL);
	wait_healthy(false);
	before = commits();
	for (seq = 2; seq < 100; seq++) {
		tell(sid, seq, message, 2, 0, NULL);
		store_delivery_state(sid, seq, STORE_SENT);
		store_delivery_state(sid, seq, STORE_RELEASED);
		store_delivery_del(sid, seq);
	}
	store_delivery_del(sid, 1);
	EXPECT(message->refs == 100, "%u references", message->refs);
	EXPECT(sync_store(), "needs no disk");
	EXPECT(store_healthy() && commits() == before, "written");
	EXPECT(message->refs == 1, "%u references", message->refs);
	set(&write_error, 0);
	message_put(message);
	EXPECT(!store_close(), "close");
}

/* In one batch, a message goes with its last reference and comes back. */
static void test_last_reference(void)
{
	struct session *session = &model.sessions[0];
	struct message *message;
	u64 other;

	begin();
	EXPECT(!open_store(), "%s", logged);
	add_session(0);
	EXPECT(sync_store(), "sync");
	set(&write_error, ENOSPC);
	other = store_new_sid();
	store_session_add(other, (u8 *)"other", 5, STORE_FOREVER);
	wait_healthy(false);
	message = make_message(69);
	tell(other, 1, message, 1, 0, NULL);
	store_session_del(other);
	tell(session->sid, 1, message, 1, 0, NULL);
	session->deliveries[session->nr++] = (struct delivery){
		.seq = 1, .message = 69, .qos = 1,
	};
	message_put(message);
	set(&write_error, 0);
	EXPECT(sync_store(), "sync");
	expect_queue(session);
	EXPECT(!store_close() && !open_store(), "close and open");
	expect_model();
	EXPECT(!store_close(), "close");
	expect_no_orphans();
}

/* The child tells what it was told; then it dies, at any moment. */
static void child(int pipe, unsigned int seed)
{
	struct message *message;
	struct origin *origin;
	u64 told = 0, sid, n;

	srandom(seed);
	if (open_store())
		_exit(1);
	sid = store_new_sid();
	store_session_add(sid, (u8 *)"client-0", 8, STORE_FOREVER);
	for (n = 1; n < DELIVERIES; n++) {
		/* Two changes that belong together. */
		message = make_message(n * 50);
		origin = make_origin(n * 50);
		tell(sid, n, message, 1, 0, origin);
		free(origin);
		store_retained_set(message);
		message_put(message);
		while (turn(random() % 20 ? 0 : 5))
			;
		if (store_committed() != told) {
			told = store_committed();
			if (write(pipe, &told, sizeof(told)) != sizeof(told))
				_exit(2);
		}
	}
	for (;;)
		pause();
}

static void expect_survival(u64 told)
{
	struct session *session = &model.sessions[0];
	u64 least = told ? (told - 1) / 2 : 0, n;

	EXPECT(!open_store(), "%s", logged);
	EXPECT(!logged_lines, "%s", logged);
	if (!loaded.sessions[0].sid) {
		EXPECT(!told, "%llu gone", (unsigned long long)told);
		EXPECT(!store_close(), "close");
		return;
	}
	EXPECT(loaded.sessions[0].nr >= least, "%u, told %llu",
	       loaded.sessions[0].nr, (unsigned long long)told);
	session->sid = loaded.sessions[0].sid;
	for (n = 1; n <= loaded.sessions[0].nr; n++)
		session->deliveries[session->nr++] = (struct delivery){
			.seq = n, .message = n * 50, .qos = 1,
		};
	expect_queue(session);
	EXPECT(!store_close(), "close");
	expect_no_orphans();
}

/* All that is left is a delivery whose message is not needed any more. */
static void test_only_released(void)
{
	struct session *session = &model.sessions[0];
	struct message *message;

	begin();
	EXPECT(!open_store(), "%s", logged);
	add_session(0);
	message = make_message(70);
	tell(session->sid, 1, message, 2, 0, NULL);
	message_put(message);
	EXPECT(sync_store(), "sync");
	store_delivery_state(session->sid, 1, STORE_RELEASED);
	session->deliveries[session->nr++] = (struct delivery){
		.seq = 1, .released = true, .qos = 2, .state = STORE_RELEASED,
	};
	EXPECT(!store_close() && !open_store(), "close and open");
	EXPECT(!logged_lines, "%s", logged);
	expect_model();
	EXPECT(!store_close(), "close");
}

static void test_kill(void)
{
	u64 told, number, enough;
	int fds[2];
	u32 round;
	pid_t pid;

	for (round = 0; round < 25 && !ktap_failed; round++) {
		begin();
		if (pipe(fds))
			return;
		pid = fork();
		if (!pid) {
			close(fds[0]);
			child(fds[1], round);
		}
		close(fds[1]);
		told = 0;
		enough = random() % 500;
		while (told < enough &&
		       read(fds[0], &number, sizeof(number)) == sizeof(number))
			told = number;
		usleep(random() % 5000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(fds[0], &number, sizeof(number)) == sizeof(number))
			told = number;
		close(fds[0]);
		EXPECT(told >= enough, "the child gave up");
		expect_survival(told);
	}
}

static void make_one_session(void)
{
	u32 i;

	add_session(0);
	for (i = 0; i < 300; i++)
		add_delivery(&model.sessions[0]);
}

/* The disk takes nothing, in one way or another, and then does again. */
static void expect_recovery(int *which, int value)
{
	struct session *session = &model.sessions[0];
	struct reading reading;
	u64 committed;
	u32 i;

	begin();
	EXPECT(!open_store(), "%s", logged);
	make_one_session();
	EXPECT(sync_store(), "sync");

	set(which, value);
	for (i = 0; i < 50; i++)
		add_delivery(session);
	del_delivery(session, 7);
	wait_healthy(false);
	EXPECT(logged_lines == 1 && strstr(logged, path) &&
	       strstr(logged, "Unable to write"), "%s", logged);
	committed = store_committed();

	/* Reads go on meanwhile; and are told what is queued. */
	start_reading(&reading, session, 0, DELIVERIES);
	finish_reading(&reading);
	for (i = 0; i < 50; i++)
		add_delivery(session);
	EXPECT(store_committed() == committed && !store_healthy(),
	       "nothing is written");
	EXPECT(logged_lines == 1, "%s", logged);

	set(which, 0);
	wait_healthy(true);
	EXPECT(logged_lines == 2 && strstr(logged, "again."), "%s", logged);
	EXPECT(sync_store(), "sync");
	EXPECT(!store_close() && !open_store(), "close and open");
	expect_model();

	/* It fails until the end: what was committed is there. */
	set(which, value);
	add_delivery(session);
	EXPECT(store_close() == -EIO, "close");
	session->nr--;
	set(which, 0);
	EXPECT(!open_store(), "%s", logged);
	expect_model();
	EXPECT(!store_close(), "close");
	empty_pool();
	expect_no_orphans();
}

static void test_disk_full(void)
{
	expect_recovery(&write_error, ENOSPC);
}

static void test_disk_failing(void)
{
	expect_recovery(&write_error, EIO);
}

static void test_sync_failing(void)
{
	expect_recovery(&sync_error, EIO);
}

static bool fill(const char *name)
{
	static char zeros[65536];
	int fd = open(name, O_WRONLY | O_CREAT, 0600);

	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	while (write(fd, zeros, 512) > 0)
		;
	close(fd);
	return errno == ENOSPC;
}

/* The same on a disk that is really full, if one can be had. */
static void full_tmpfs(void)
{
	struct session *session = &model.sessions[0];
	char filler[80];
	u32 i;

	EXPECT(!open_store(), "%s", logged);
	make_one_session();
	EXPECT(sync_store(), "sync");
	snprintf(filler, sizeof(filler), "%s/filler", dir);
	EXPECT(fill(filler), "%s", strerror(errno));
	for (i = 0; i < 1000; i++)
		add_delivery(session);
	wait_healthy(false);
	EXPECT(strstr(logged, "full"), "%s", logged);
	EXPECT(!unlink(filler), "unlink");
	wait_healthy(true);
	EXPECT(sync_store(), "sync");
	EXPECT(!store_close() && !open_store(), "close and open");
	expect_model();

	/* A full disk does not keep a daemon from starting. */
	EXPECT(!store_close(), "close");
	EXPECT(fill(filler), "%s", strerror(errno));
	EXPECT(!open_store(), "%s", logged);
	expect_model();
	EXPECT(!store_close(), "close");
	empty_pool();
}

static void test_tmpfs(void)
{
	int status;
	pid_t pid;

	begin();
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNS) ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", dir, "tmpfs", 0, "size=2m"))
			_exit(2);
		full_tmpfs();
		fflush(stdout);
		_exit(ktap_failed);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		printf("# SKIP: no file system can be mounted here\n");
	else
		EXPECT(!status, "status %x", status);
}

/* The database, closed, and full enough to have pages of each kind. */
static void make_database(void)
{
	u32 i;

	begin();
	EXPECT(!open_store(), "%s", logged);
	make_one_session();
	for (i = 0; i < 3000; i++)
		change_something();
	EXPECT(!store_close(), "close");
	empty_pool();
}

/* How many files are there whose name goes on with @suffix? */
static u32 count_files(const char *suffix)
{
	DIR *list = opendir(dir);
	struct dirent *entry;
	u32 count = 0;

	while ((entry = readdir(list)))
		count += !strncmp(entry->d_name, "kmqtt.db", 8) &&
			 !strncmp(entry->d_name + 8, suffix, strlen(suffix));
	closedir(list);
	return count;
}

/* It was moved aside, said so, naming both, and the new one works. */
static void expect_aside(const char *what)
{
	bool any = false;
	u32 i;

	forget_log();
	EXPECT(!open_store(), "%s: %s", what, logged);
	if (!store_enabled())
		return;
	EXPECT(count_files(".damaged-") >= 1, "%s", what);
	EXPECT(logged_lines == 1 && strstr(logged, path) &&
	       strstr(logged, ".damaged-"), "%s: %s", what, logged);
	for (i = 0; i < SESSIONS; i++)
		any |= loaded.sessions[i].sid;
	EXPECT(!any, "%s: something was loaded", what);
	store_session_add(store_new_sid(), (u8 *)"client-1", 8, STORE_FOREVER);
	EXPECT(sync_store() && !store_close(), "%s", what);
	EXPECT(!open_store() && loaded.sessions[1].sid, "%s", what);
	EXPECT(!store_close(), "%s", what);
}

static off_t size_of(const char *name)
{
	struct stat stat_buf;

	return stat(name, &stat_buf) ? -1 : stat_buf.st_size;
}

static void overwrite(off_t at, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	EXPECT(pwrite(fd, data, len, at) == (ssize_t)len, "pwrite");
	close(fd);
}

static void execute(const char *text)
{
	sqlite3 *db;

	EXPECT(!sqlite3_open(path, &db), "open");
	EXPECT(!sqlite3_exec(db, text, NULL, NULL, NULL), "%s: %s", text,
	       sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void test_damaged(void)
{
	static const char *const breaking[] = {
		"DROP TABLE delivery",
		"DROP TABLE retained",
		"DROP TRIGGER delivery_deleted; DELETE FROM message",
		"PRAGMA ignore_check_constraints = 1;"
		"UPDATE session SET id = zeroblob(70000)",
		"PRAGMA application_id = 7",
		"PRAGMA user_version = 0",
	};
	u8 noise[4096];
	char name[160];
	off_t size;
	u32 i;

	memset(noise, 0xa5, sizeof(noise));
	for (i = 0; i < ARRAY_SIZE(breaking); i++) {
		make_database();
		execute(breaking[i]);
		expect_aside(breaking[i]);
	}
	begin();
	overwrite(0, "This is no database, but long enough for a header: "
		  "no database, not at all. Not at all. Not at all.", 98);
	expect_aside("text");

	begin();
	EXPECT(!mkdir(path, 0700), "mkdir");
	expect_aside("a directory");
	begin();
	EXPECT(!symlink("nowhere/to/be/found", path), "symlink");
	EXPECT(open_store() == -ENOENT, "a link to nowhere");
	begin();
	EXPECT(!mkfifo(path, 0600), "mkfifo");
	expect_aside("a FIFO");

	make_database();
	size = size_of(path);
	EXPECT(!truncate(path, size / 2 / 4096 * 4096), "truncate");
	expect_aside("half of it");
	make_database();
	EXPECT(!truncate(path, size_of(path) - 5000), "truncate");
	expect_aside("without the last page");
	make_database();
	EXPECT(!truncate(path, 50), "truncate");
	expect_aside("half a header");
	for (i = 1; i < 40; i++) {
		/* A page that holds only a payload's bytes shows nothing. */
		make_database();
		size = ask("SELECT pageno FROM dbstat"
			   " WHERE pagetype <> 'overflow'"
			   " ORDER BY random() LIMIT 1");
		overwrite((size - 1) * 4096, noise, sizeof(noise));
		expect_aside("a page of noise");
	}

	/* What SQLite keeps beside it goes along, and is not mixed up. */
	make_database();
	overwrite(4096, noise, sizeof(noise));
	snprintf(name, sizeof(name), "%s-shm", path);
	EXPECT(close(creat(name, 0600)) == 0, "creat");
	expect_aside("a page of noise");
	EXPECT(count_files(".damaged-") == 3 && !count_files("-shm"),
	       "one of them alone");

	/* Twice within a second. */
	overwrite(0, noise, sizeof(noise));
	expect_aside("again");
	EXPECT(count_files(".damaged-") > 3, "another name");
}

static int ignore_session(const struct store_session *session)
{
	(void)session;
	return 0;
}

static int ignore_subscription(u64 sid,
			       const struct store_subscription *subscription)
{
	(void)sid;
	(void)subscription;
	return 0;
}

static int ignore_will(u64 sid, const struct store_will *will)
{
	(void)sid;
	message_put(will->message);
	return 0;
}

static int ignore_inbound(u64 sid, u16 packet_id)
{
	(void)sid;
	(void)packet_id;
	return 0;
}

static int ignore_retained(struct message *message)
{
	message_put(message);
	return 0;
}

static const struct store_loader ignorer = {
	.session = ignore_session,
	.subscription = ignore_subscription,
	.will = ignore_will,
	.inbound = ignore_inbound,
	.retained = ignore_retained,
};

/* Bits flip one after another: it starts, with or without what was there. */
static void test_flipped(void)
{
	u32 round, aside = 0;
	off_t at;
	u8 byte;
	int fd;

	make_database();
	for (round = 0; round < 300 && !ktap_failed; round++) {
		if (count_files(".damaged-")) {
			aside++;
			make_database();
		}
		fd = open(path, O_RDWR);
		at = random() % size_of(path);
		/* Who the database belongs to is believed. */
		if (at >= 16 && at < 100)
			at += 100;
		EXPECT(pread(fd, &byte, 1, at) == 1, "pread");
		byte ^= 1 << random() % 8;
		EXPECT(pwrite(fd, &byte, 1, at) == 1, "pwrite");
		close(fd);
		EXPECT(!store_open(path, &ignorer, on_committed), "%s",
		       logged);
		EXPECT(!store_close(), "%s", logged);
	}
	printf("# of %u flipped bits %u were found\n", round, aside);
}

static u32 many_read;

static void count_read(struct store_read *read,
		       struct store_delivery *deliveries, u32 nr)
{
	u32 i;

	(void)read;
	for (i = 0; i < nr; i++)
		store_delivery_free(&deliveries[i]);
	many_read += nr;
}

#define MANY 100000

static u64 fill_many(void)
{
	struct message *message;
	u64 sid = store_new_sid();
	u32 i;

	store_session_add(sid, (u8 *)"client-0", 8, STORE_FOREVER);
	for (i = 1; i <= MANY; i++) {
		message = make_message(51 + i % 40);
		tell(sid, i, message, 1, 0, NULL);
		message_put(message);
	}
	return sid;
}

/* Damage that comes later, to what no cache holds any more. */
static void test_damaged_later(void)
{
	struct store_read read = { .max = MANY, .done = count_read };

	begin();
	EXPECT(!open_store(), "%s", logged);
	read.sid = fill_many();
	EXPECT(sync_store(), "sync");
	set(&read_garbage, 1);
	many_read = 0;
	store_read(&read);
	store_delivery_del(read.sid, 1);
	wait_healthy(false);
	set(&read_garbage, 0);
	EXPECT(logged_lines == 1 && strstr(logged, "Restart") &&
	       strstr(logged, path), "%s", logged);
	EXPECT(!many_read, "%u of garbage", many_read);
	turn(2500);
	EXPECT(!store_healthy(), "for good");
	EXPECT(store_close() == -EIO, "close");
	forget_log();
	EXPECT(!open_store() && !logged_lines, "%s", logged);
	EXPECT(loaded.sessions[0].nr == MANY, "%u", loaded.sessions[0].nr);
	EXPECT(!store_close(), "close");
}

/* A disk that is full says so; then it turns out to be worse. */
static void test_damaged_when_full(void)
{
	u64 sid;

	begin();
	EXPECT(!open_store(), "%s", logged);
	sid = fill_many();
	EXPECT(sync_store(), "sync");
	forget_log();
	set(&write_error, ENOSPC);
	store_delivery_del(sid, 1);
	wait_healthy(false);
	EXPECT(logged_lines == 1 && strstr(logged, "Unable to write"), "%s",
	       logged);
	forget_log();
	set(&read_garbage, 1);
	store_delivery_del(sid, MANY / 2);
	TURN_UNTIL(logged_lines);
	set(&read_garbage, 0);
	set(&write_error, 0);
	EXPECT(logged_lines == 1 && strstr(logged, "Restart"), "%s", logged);
	EXPECT(store_close() == -EIO, "close");
}

static int load_nothing(const struct journal_record *record)
{
	(void)record;
	return 0;
}

static void rewrite_nothing(void)
{
}

/* Whether the journal was written anew, at last. */
static bool journal_renewed(u32 *generation)
{
	u32 before = *generation;

	journal_commit();
	*generation = journal_generation();
	return *generation != before;
}

/* What is kept for one change is not forgotten because another needs nothing. */
static void test_journal_kept(void)
{
	static const u8 much[1 << 20];
	char directory[] = "/tmp/kmqttd-test.XXXXXX", command[64];
	u32 generation;

	begin();
	EXPECT(!open_store() && mkdtemp(directory), "%s", logged);
	journal_open(directory);
	EXPECT(!journal_load(load_nothing, rewrite_nothing), "%s", logged);
	generation = journal_generation();

	journal_keep(store_queued() + 1);
	journal_keep(0);
	journal_append2(JOURNAL_MESSAGE, 1, 0, 0, 0, much, sizeof(much), NULL,
			0);
	EXPECT(!journal_renewed(&generation), "too early");
	store_session_add(store_new_sid(), (u8 *)"a", 1, STORE_FOREVER);
	EXPECT(sync_store(), "sync");
	EXPECT(journal_renewed(&generation), "never");

	journal_forget();
	snprintf(command, sizeof(command), "rm -r %s", directory);
	EXPECT(!system(command), "%s", command);
	EXPECT(!store_close(), "close");
}

static void test_others(void)
{
	static const char mosquittos[] = "\0\xb5\0mosquitto db\0\0\0\0\0\0";
	off_t size;

	make_database();
	execute("PRAGMA user_version = 999");
	size = size_of(path);
	forget_log();
	EXPECT(open_store() == -EPROTO, "a newer schema");
	EXPECT(!store_enabled() && logged_lines == 1 &&
	       strstr(logged, "newer") && strstr(logged, path), "%s", logged);
	EXPECT(size_of(path) == size && !count_files(".damaged-"), "touched");
	EXPECT(!count_files("-wal"), "touched");

	begin();
	execute("CREATE TABLE t (a); PRAGMA application_id = 5");
	EXPECT(open_store() == -EPROTO, "another program's");
	EXPECT(ask("PRAGMA application_id") == 5, "touched");
	EXPECT(!count_files(".damaged-") && logged_lines == 1, "%s", logged);

	begin();
	overwrite(0, mosquittos, sizeof(mosquittos));
	EXPECT(open_store() == -EPROTO, "mosquitto's");
	EXPECT(strstr(logged, "mosquitto"), "%s", logged);
	EXPECT(size_of(path) == sizeof(mosquittos), "touched");

	begin();
	snprintf(path, sizeof(path), "%s/missing/kmqtt.db", dir);
	EXPECT(open_store() == -ENOENT, "no directory");
	EXPECT(strstr(logged, path) && logged_lines == 1, "%s", logged);
	snprintf(path, sizeof(path), "%s/kmqtt.db", dir);
}

static void test_second(void)
{
	int status;
	pid_t pid;

	make_database();
	EXPECT(!open_store(), "%s", logged);
	pid = fork();
	if (!pid) {
		execl("/proc/self/exe", "test_store", "--second", path, NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == EBUSY, "%x",
	       status);
	EXPECT(!count_files(".damaged-"), "moved aside");
	expect_model();
	EXPECT(!store_close(), "close");
}

static int second(const char *name)
{
	snprintf(path, sizeof(path), "%s", name);
	return -open_store();
}

/* A database as an older schema, or this one, wrote it. */
static bool open_written(int version)
{
	char text[65536];
	FILE *file;
	size_t len;

	snprintf(text, sizeof(text), "userspace/tests/store-schema-%d.sql",
		 version);
	file = fopen(text, "r");
	begin();
	EXPECT(file, "run from the top of the tree");
	if (!file)
		return false;
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	execute(text);
	EXPECT(ask("PRAGMA user_version") == version, "the version");
	EXPECT(!open_store(), "%s", logged);
	EXPECT(!logged_lines, "%s", logged);
	return true;
}

/* What was read can be gone on with. */
static void go_on(void)
{
	expect_model();
	EXPECT(store_new_sid() == 6, "sid");
	while (model.sessions[0].nr)
		del_delivery(&model.sessions[0], 0);
	EXPECT(!store_close() && !open_store(), "close and open");
	expect_model();
	EXPECT(!store_close(), "close");
	expect_no_orphans();
}

static void test_schema_1(void)
{
	if (!open_written(1))
		return;

	model.sessions[0] = (struct session){
		.sid = 3,
		.next_seq = 18,
		.expiry = STORE_FOREVER,
		.seen = 1700000000,
		.filters = { 1, -1, 2, -1, -1 },	/* f/0# and f/2# */
		.deliveries = {
			{ .seq = 11, .released = true, .qos = 2,
			  .state = STORE_RELEASED },
			{ .seq = 12, .message = 69, .qos = 1,
			  .state = STORE_SENT },
			{ .seq = 17, .message = 84, .qos = 2,
			  .flags = STORE_RETAINED },
		},
		.nr = 3,
	};
	model.sessions[0].inbound[6] = true;
	model.retained[84 % TOPICS] = 84;
	go_on();
}

static void test_schema_3(void)
{
	if (!open_written(3))
		return;
	model.sessions[0] = (struct session){
		.sid = 3,
		.next_seq = 18,
		.seen = 1700000000,
		.expiry = 3600,
		.will = 1011,
		.filters = { filter_value(1, 3, 500), -1, 2, -1, -1 },
		.deliveries = {
			{ .seq = 12, .message = 1155, .qos = 1,
			  .flags = STORE_RETAIN, .state = STORE_SENT },
			{ .seq = 17, .message = 1260, .qos = 2,
			  .flags = STORE_RETAINED },
		},
		.nr = 2,
	};
	model.retained[1260 % TOPICS] = 1260;
	go_on();
}

static void on_many(struct store_read *read, struct store_delivery *deliveries,
		    u32 nr)
{
	u32 i;

	(void)read;
	for (i = 0; i < nr; i++) {
		EXPECT(deliveries[i].seq == many_read + i + 1, "order");
		store_delivery_free(&deliveries[i]);
	}
	many_read += nr;
}

static void test_many(void)
{
	struct store_read read = { .max = 100, .done = on_many };
	double start;
	u32 before;

	begin();
	EXPECT(!open_store(), "%s", logged);
	start = now();
	read.sid = fill_many();
	printf("# queueing %u: %.3f s\n", MANY, now() - start);
	EXPECT(sync_store(), "sync");
	printf("# written: %.3f s\n", now() - start);
	EXPECT(!store_close(), "close");
	printf("# %ld MB\n", (long)size_of(path) >> 20);

	start = now();
	EXPECT(!open_store(), "open");
	printf("# opening: %.3f s\n", now() - start);
	EXPECT(now() - start < 5, "that is long");
	EXPECT(loaded.sessions[0].nr == MANY, "%u", loaded.sessions[0].nr);
	many_read = 0;
	start = now();
	do {
		before = many_read;
		read.from = many_read + 1;
		store_read(&read);
		TURN_UNTIL(many_read != before);
	} while (many_read < MANY && many_read != before);
	printf("# reading, %u a page: %.3f s\n", read.max, now() - start);
	EXPECT(many_read == MANY, "%u", many_read);
	start = now();
	store_session_del(read.sid);
	EXPECT(sync_store(), "sync");
	printf("# deleting the session: %.3f s\n", now() - start);
	EXPECT(!store_close(), "close");
	EXPECT(!ask("SELECT count(*) FROM message"), "messages");
}

int main(int argc, char **argv)
{
	static const struct ktap_test tests[] = {
		{ "files", test_files },
		{ "model", test_model },
		{ "groups", test_groups },
		{ "pointless", test_pointless },
		{ "last_reference", test_last_reference },
		{ "only_released", test_only_released },
		{ "kill", test_kill },
		{ "disk_full", test_disk_full },
		{ "disk_failing", test_disk_failing },
		{ "sync_failing", test_sync_failing },
		{ "tmpfs", test_tmpfs },
		{ "damaged", test_damaged },
		{ "flipped", test_flipped },
		{ "damaged_later", test_damaged_later },
		{ "damaged_when_full", test_damaged_when_full },
		{ "journal_kept", test_journal_kept },
		{ "others", test_others },
		{ "second", test_second },
		{ "schema_1", test_schema_1 },
		{ "schema_3", test_schema_3 },
		{ "many", test_many },
	};
	int status;

	if (argc == 3 && !strcmp(argv[1], "--second"))
		return second(argv[2]);
	if (!mkdtemp(dir))
		return EXIT_FAILURE;
	snprintf(path, sizeof(path), "%s/kmqtt.db", dir);
	take_system_calls();
	status = ktap_run(tests, ARRAY_SIZE(tests));
	remove_files(dir);
	rmdir(dir);
	return status;
}
