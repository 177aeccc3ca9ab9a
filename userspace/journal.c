// SPDX-License-Identifier: GPL-2.0
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "store.h"

#define MAGIC		0x346a71746d6bULL	/* "kmqtj4", the format */
/* What a file of records has at least. */
#define AREA_SIZE	(1UL << 20)
/*
 * The least that is worth writing anew: few pages, which are used again. Before
 * the file has to grow for what comes until then.
 */
#define REWRITE_SIZE	(AREA_SIZE / 4 * 3)
/* A file that has grown beyond that gives its memory back. */
#define KEEP_SIZE	(4UL << 20)

/**
 * struct header - what is in the first of three files
 * @magic: MAGIC once there are records
 * @current: which of the other two has them
 */
struct header {
	u64 magic;
	u64 current;
};

/**
 * struct area - the records, one after the other
 * @used: bytes of @records that count
 * @records: the records
 */
struct area {
	u64 used;
	u8 records[];
};

/**
 * struct file - a file of records
 * @fd: its descriptor
 * @area: what is in it
 * @size: bytes of it
 */
struct file {
	int fd;
	struct area *area;
	size_t size;
};

static struct {
	bool enabled;
	struct header *header;
	struct file files[2];
	struct file *file;	/* the one written to */
	size_t used;		/* of its records, those that do not count yet too */
	size_t heads;		/* of these, JOURNAL_CONN_HEAD */
	size_t limit;		/* of @used: then it is written anew */
	u64 keep;		/* the change that it waits for then */
	u32 generation;
	void (*rewrite)(void);
} journal;

bool journal_enabled(void)
{
	return journal.enabled;
}

u32 journal_generation(void)
{
	return journal.generation;
}

/* Without a journal, what is in it must not be taken for the truth. */
static void give_up(int err)
{
	log_print(LOG_TYPE_ERROR,
		  "Error: Unable to write the journal: %s. Clients will be disconnected if kmqttd dies.",
		  strerror(-err));
	journal.header->magic = 0;
	journal.enabled = false;
}

/* Reserves the memory: a file that cannot grow would be a SIGBUS. */
static int reserve(int fd, size_t size)
{
	return fallocate(fd, 0, 0, size) ? -errno : 0;
}

static int resize(struct file *file, size_t size)
{
	void *area;
	int err = size > file->size ? reserve(file->fd, size) : 0;

	if (err)
		return err;
	area = mremap(file->area, file->size, size, MREMAP_MAYMOVE);
	if (area == MAP_FAILED)
		return -errno;
	file->area = area;
	file->size = size;
	return ftruncate(file->fd, size) ? -errno : 0;
}

static size_t room(void)
{
	return journal.file->size - sizeof(struct area) - journal.used;
}

static int grow(size_t need)
{
	size_t size = journal.file->size;

	while (size - sizeof(struct area) - journal.used < need)
		size *= 2;
	return resize(journal.file, size);
}

static size_t size_of_record(size_t len)
{
	return (sizeof(struct journal_record) + len + 7) & ~(size_t)7;
}

bool journal_has_room(size_t len)
{
	size_t size = size_of_record(len);

	return room() >= size || !grow(size);
}

void journal_append2(enum journal_type type, u64 sid, u64 a, u64 b, u64 c,
		     const void *bytes, size_t len, const void *more,
		     size_t more_len)
{
	struct journal_record *record;
	size_t size = size_of_record(len + more_len);
	int err;

	if (!journal.enabled)
		return;
	if (room() < size) {
		err = grow(size);
		if (err) {
			give_up(err);
			return;
		}
	}
	record = (void *)(journal.file->area->records + journal.used);
	journal.used += size;
	if (type == JOURNAL_CONN_HEAD)
		journal.heads += size;
	record->size = size;
	record->type = type;
	record->len = len + more_len;
	record->sid = sid;
	record->a = a;
	record->b = b;
	record->c = c;
	if (len)
		memcpy(record->bytes, bytes, len);
	if (more_len)
		memcpy(record->bytes + len, more, more_len);
}

static u64 lengths(const struct message *message)
{
	return message->topic_len | (u64)message->properties_len << 16;
}

static size_t size_of(const struct message *message)
{
	return (size_t)message->topic_len + message->properties_len +
	       message->payload_len;
}

static void append_message(struct message *message)
{
	if (message->journal != journal.generation)
		journal_append2(JOURNAL_MESSAGE, message->id, message->qos,
				lengths(message), message->expires,
				message->data, size_of(message), NULL, 0);
	message->journal = journal.generation;
}

void journal_delivery(u64 sid, const struct store_delivery *delivery)
{
	const struct origin *origin = delivery->origin;
	u64 identifiers_len = origin_identifiers_len(origin);

	append_message(delivery->message);
	journal_append2(JOURNAL_DELIVERY, sid, delivery->seq,
			delivery->message->id,
			delivery->qos | delivery->flags << 8 |
			identifiers_len << 16,
			origin ? origin->identifiers : NULL,
			identifiers_len + origin_share_len(origin), NULL, 0);
}

void journal_will(u64 sid, const struct store_will *will)
{
	const struct message *message = will->message;

	journal_append2(JOURNAL_WILL, sid, will->due, lengths(message),
			message->qos | (will->retain ? 0x100 : 0),
			message->data, size_of(message), NULL, 0);
}

bool journal_parts(const struct journal_record *record,
		   struct message_parts *parts)
{
	u16 topic_len = record->b;
	u64 properties_len = record->b >> 16;

	if (properties_len > record->len ||
	    topic_len > record->len - properties_len)
		return false;
	*parts = (struct message_parts){
		.topic = record->bytes,
		.topic_len = topic_len,
		.qos = record->type == JOURNAL_WILL ? record->c : record->a,
		.properties = record->bytes + topic_len,
		.properties_len = properties_len,
		.payload = record->bytes + topic_len + properties_len,
		.payload_len = record->len - topic_len - properties_len,
	};
	return true;
}

void journal_injection(u64 number, struct message *message, bool retain,
		       u32 conn_id)
{
	append_message(message);
	journal_append(JOURNAL_INJECTION, message->id, number, retain, conn_id);
}

static void commit(void)
{
	__atomic_store_n(&journal.file->area->used, journal.used,
			 __ATOMIC_RELEASE);
}

static void begin(struct file *file)
{
	journal.file = file;
	journal.used = 0;
	journal.heads = 0;
	journal.generation++;
}

/*
 * What may be appended until it is written anew: of what lasts, so much that this
 * costs little. Beginnings of packets do not last, and must not take the room.
 */
static size_t slack(void)
{
	size_t lasting = 3 * (journal.used - journal.heads);

	return lasting > REWRITE_SIZE ? lasting : REWRITE_SIZE;
}

/* The file counts from now on, all at once. */
static void make_current(void)
{
	commit();
	__atomic_store_n(&journal.header->current,
			 journal.file - journal.files, __ATOMIC_RELEASE);
	journal.limit = journal.used + slack();
}

static void write_anew(void)
{
	struct file *former = journal.file;
	int err = 0;

	begin(&journal.files[former == journal.files]);
	journal.rewrite();
	if (!journal.enabled)
		return;
	make_current();
	if (former->size > KEEP_SIZE)
		err = resize(former, AREA_SIZE);
	if (err)
		give_up(err);
}

void journal_keep(u64 change)
{
	if (journal.keep < change)
		journal.keep = change;
}

/* Whether it has grown too much, or so much that nothing keeps it. */
static bool has_grown(void)
{
	if (journal.keep > store_committed())
		return journal.used >= 2 * journal.limit;
	return journal.used >= journal.limit;
}

void journal_commit(void)
{
	if (!journal.enabled)
		return;
	commit();
	if (has_grown())
		write_anew();
}

void journal_forget(void)
{
	if (journal.enabled)
		journal.header->magic = 0;
	journal.enabled = false;
}

/* Opening */

static int load_all(int (*load)(const struct journal_record *record))
{
	const struct journal_record *record;
	size_t at = 0;
	int err = 0;

	while (!err && at < journal.used) {
		record = (void *)(journal.file->area->records + at);
		if (journal.used - at < sizeof(*record) ||
		    record->size > journal.used - at ||
		    record->size < sizeof(*record) ||
		    record->len > record->size - sizeof(*record))
			return -EUCLEAN;
		err = load(record);
		at += record->size;
	}
	return err;
}

/* An empty journal. */
static void make_empty(void)
{
	journal.header->magic = 0;
	begin(journal.files);
	make_current();
	journal.header->magic = MAGIC;
}

/* Whether there is one that was written. */
static bool find(void)
{
	if (journal.header->magic != MAGIC || journal.header->current > 1)
		return false;
	journal.file = &journal.files[journal.header->current];
	journal.used = journal.file->area->used;
	return journal.used <= journal.file->size - sizeof(struct area);
}

/* Opens a file, and maps it. NULL with errno set if that cannot be. */
static void *open_file(const char *path, const char *suffix, size_t least,
		       struct file *file)
{
	char name[PATH_MAX];
	struct stat stat;
	void *mapped;

	if (snprintf(name, sizeof(name), "%s%s", path, suffix) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	file->fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file->fd < 0 || fstat(file->fd, &stat))
		return NULL;
	file->size = (size_t)stat.st_size > least ? (size_t)stat.st_size
						  : least;
	if (reserve(file->fd, file->size))
		return NULL;
	mapped = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      file->fd, 0);
	return mapped == MAP_FAILED ? NULL : mapped;
}

static int open_files(const char *path)
{
	struct file header, *files = journal.files;

	journal.header = open_file(path, "", sizeof(*journal.header), &header);
	files[0].area = open_file(path, ".0", AREA_SIZE, &files[0]);
	files[1].area = open_file(path, ".1", AREA_SIZE, &files[1]);
	if (!journal.header || !files[0].area || !files[1].area)
		return -errno;
	journal.limit = REWRITE_SIZE;
	journal.generation = 1;
	if (!find())
		make_empty();
	return 0;
}

/* Each network namespace has a module's state of its own, and so a journal. */
static int make_path(char path[PATH_MAX], const char *directory)
{
	struct stat netns;

	if (stat("/proc/self/ns/net", &netns))
		return -errno;
	return snprintf(path, PATH_MAX, "%s/journal-%lu", directory,
			(unsigned long)netns.st_ino) < PATH_MAX ? 0 :
	       -ENAMETOOLONG;
}

void journal_open(const char *directory)
{
	char path[PATH_MAX];
	int err;

	err = make_path(path, directory);
	if (!err)
		err = open_files(path);
	if (err)
		log_print(LOG_TYPE_WARNING,
			  "Warning: Unable to use a journal in %s: %s. Clients will be disconnected if kmqttd dies.",
			  directory, strerror(-err));
	journal.enabled = !err;
}

int journal_load(int (*load)(const struct journal_record *record),
		 void (*rewrite)(void))
{
	int err;

	if (!journal.enabled)
		return 0;
	journal.rewrite = rewrite;
	err = load_all(load);
	if (!err)
		return 0;
	log_print(LOG_TYPE_ERROR, "Error: Unable to read the journal: %s.",
		  strerror(-err));
	make_empty();
	return err;
}
