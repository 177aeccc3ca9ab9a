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

#define MAGIC		0x316a71746d6bULL	/* "kmqtj1", the format */
#define HEADER_SIZE	4096
/* What an area begins with, and the least that is worth writing it anew. */
#define AREA_SIZE	(1UL << 20)
#define REWRITE_SIZE	(16UL << 20)

/**
 * struct header - the beginning of the file
 * @magic: MAGIC once there is an area
 * @start: where in the file it is
 */
struct header {
	u64 magic;
	u64 start;
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

static struct {
	int fd;
	bool enabled;
	struct header *header;
	struct area *area;
	u64 start;		/* of the area in the file */
	size_t size;		/* of the area */
	size_t used;		/* of its records, those that do not count yet too */
	size_t limit;		/* of @used: then it is written anew */
	u32 generation;
	void (*rewrite)(void);
} journal = {
	.fd = -1,
};

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

static void *map(u64 start, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, journal.fd,
		    start);
}

/* Reserves the memory: a file that cannot grow would be a SIGBUS. */
static int reserve(u64 start, size_t size)
{
	return fallocate(journal.fd, 0, start, size) ? -errno : 0;
}

static int grow(size_t need)
{
	size_t size = journal.size;
	void *area;
	int err;

	while (size - sizeof(struct area) < need)
		size *= 2;
	err = reserve(journal.start, size);
	if (err)
		return err;
	area = mremap(journal.area, journal.size, size, MREMAP_MAYMOVE);
	if (area == MAP_FAILED)
		return -errno;
	journal.area = area;
	journal.size = size;
	return 0;
}

void journal_append2(enum journal_type type, u64 sid, u64 a, u64 b, u64 c,
		     const void *bytes, size_t len, const void *more,
		     size_t more_len)
{
	struct journal_record *record;
	size_t size = (sizeof(*record) + len + more_len + 7) & ~(size_t)7;
	int err;

	if (!journal.enabled)
		return;
	if (journal.size - sizeof(struct area) - journal.used < size) {
		err = grow(journal.used + size);
		if (err) {
			give_up(err);
			return;
		}
	}
	record = (void *)(journal.area->records + journal.used);
	journal.used += size;
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

void journal_delivery(u64 sid, u64 seq, struct message *message, u8 qos,
		      bool retain)
{
	if (message->journal != journal.generation)
		journal_append2(JOURNAL_MESSAGE, message->id, message->qos,
				message->topic_len, 0, message->data,
				message->topic_len, message_payload(message),
				message->payload_len);
	message->journal = journal.generation;
	journal_append(JOURNAL_DELIVERY, sid, seq, message->id,
		       qos | (retain ? 0x100 : 0));
}

static void commit(void)
{
	__atomic_store_n(&journal.area->used, journal.used, __ATOMIC_RELEASE);
}

/* An empty area behind what there is in the file. */
static int new_area(u64 start)
{
	struct area *area;
	int err;

	err = reserve(start, AREA_SIZE);
	if (err)
		return err;
	area = map(start, AREA_SIZE);
	if (area == MAP_FAILED)
		return -errno;
	journal.area = area;
	journal.start = start;
	journal.size = AREA_SIZE;
	journal.used = 0;
	journal.generation++;
	return 0;
}

/* The new area counts, all at once, and the one before it is given back. */
static void begin_area(void)
{
	u64 before = journal.header->start;

	commit();
	__atomic_store_n(&journal.header->start, journal.start,
			 __ATOMIC_RELEASE);
	fallocate(journal.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		  before, journal.start - before);
	journal.limit = 4 * journal.used > REWRITE_SIZE ? 4 * journal.used
							: REWRITE_SIZE;
}

static void write_anew(void)
{
	struct area *area = journal.area;
	size_t size = journal.size;
	int err = new_area(journal.start + size);

	if (err) {
		give_up(err);
		return;
	}
	journal.rewrite();
	munmap(area, size);
	if (journal.enabled)
		begin_area();
}

void journal_commit(void)
{
	if (!journal.enabled)
		return;
	commit();
	if (journal.used >= journal.limit)
		write_anew();
}

/* Opening */

static int load_all(int (*load)(const struct journal_record *record))
{
	const struct journal_record *record;
	size_t at = 0;
	int err = 0;

	while (!err && at < journal.used) {
		record = (void *)(journal.area->records + at);
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

static int find_area(size_t file_size)
{
	journal.start = journal.header->start;
	if (journal.start % HEADER_SIZE || journal.start >= file_size ||
	    file_size - journal.start < sizeof(struct area))
		return -EUCLEAN;
	journal.size = file_size - journal.start;
	journal.area = map(journal.start, journal.size);
	if (journal.area == MAP_FAILED)
		return -errno;
	journal.used = journal.area->used;
	return journal.used > journal.size - sizeof(struct area) ? -EUCLEAN : 0;
}

static int make_area(void)
{
	int err;

	journal.header->magic = 0;
	if (ftruncate(journal.fd, HEADER_SIZE))
		return -errno;
	err = new_area(HEADER_SIZE);
	if (err)
		return err;
	commit();
	journal.header->start = HEADER_SIZE;
	journal.header->magic = MAGIC;
	return 0;
}

static int open_file(const char *path)
{
	struct stat stat;
	int err;

	journal.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			  0600);
	if (journal.fd < 0 || fstat(journal.fd, &stat))
		return -errno;
	err = reserve(0, HEADER_SIZE);
	if (err)
		return err;
	journal.header = map(0, HEADER_SIZE);
	if (journal.header == MAP_FAILED)
		return -errno;
	journal.limit = REWRITE_SIZE;
	journal.generation = 1;
	if (journal.header->magic != MAGIC || find_area(stat.st_size))
		return make_area();
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
		err = open_file(path);
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
	if (make_area())
		journal.enabled = false;
	return err;
}
