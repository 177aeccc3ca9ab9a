// SPDX-License-Identifier: GPL-2.0
#include "database.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define APPLICATION_ID 0x6b6d7174	/* "kmqt" */

/* How far the stored counter runs ahead, so that it is seldom written. */
#define SEQ_AHEAD 65536

/*
 * The schema, as steps: the first makes version 1 out of nothing, the next
 * would make version 2 out of that. Never change a step that was released.
 *
 * A message is stored once, for all that refer to it, and goes with the last of
 * them. That is looked up, in two indexes, instead of counted: a count in the
 * message's row would have SQLite rewrite the payload each time.
 *
 * Sessions are not foreign keys, which would be looked up for each delivery.
 * "bytes" spares reading the messages when sessions are loaded.
 */
#define DROP_UNREFERENCED						\
	" BEGIN DELETE FROM message WHERE id = old.message"		\
	" AND NOT EXISTS (SELECT 1 FROM delivery"			\
	" WHERE message = old.message)"					\
	" AND NOT EXISTS (SELECT 1 FROM retained"			\
	" WHERE message = old.message);"				\
	" END;"

static const char *const schema[] = {
	"CREATE TABLE counter ("
	" next_seq INTEGER NOT NULL CHECK (next_seq > 0)) STRICT;"
	"INSERT INTO counter VALUES (1);"

	"CREATE TABLE session ("
	" sid INTEGER PRIMARY KEY AUTOINCREMENT CHECK (sid > 0),"
	" id BLOB NOT NULL CHECK (length(id) BETWEEN 1 AND 65535),"
	" seen INTEGER NOT NULL DEFAULT 0) STRICT;"

	"CREATE TABLE subscription ("
	" sid INTEGER NOT NULL,"
	" filter BLOB NOT NULL CHECK (length(filter) BETWEEN 1 AND 65535),"
	" qos INTEGER NOT NULL CHECK (qos BETWEEN 0 AND 2),"
	" PRIMARY KEY (sid, filter)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE inbound ("
	" sid INTEGER NOT NULL,"
	" packet_id INTEGER NOT NULL CHECK (packet_id BETWEEN 1 AND 65535),"
	" PRIMARY KEY (sid, packet_id)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE message ("
	" id INTEGER PRIMARY KEY CHECK (id > 0),"
	" qos INTEGER NOT NULL CHECK (qos BETWEEN 0 AND 2),"
	" topic BLOB NOT NULL CHECK (length(topic) BETWEEN 1 AND 65535),"
	" payload BLOB NOT NULL) STRICT;"

	"CREATE TABLE delivery ("
	" sid INTEGER NOT NULL,"
	" seq INTEGER NOT NULL CHECK (seq > 0),"
	" message INTEGER,"
	" bytes INTEGER NOT NULL CHECK (bytes >= 0),"
	" qos INTEGER NOT NULL CHECK (qos BETWEEN 0 AND 2),"
	" retain INTEGER NOT NULL CHECK (retain BETWEEN 0 AND 1),"
	" state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),"
	" PRIMARY KEY (sid, seq)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX delivery_message ON delivery (message);"

	"CREATE TABLE retained ("
	" topic BLOB PRIMARY KEY NOT NULL,"
	" message INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
	"CREATE INDEX retained_message ON retained (message);"

	"CREATE TRIGGER session_deleted AFTER DELETE ON session BEGIN"
	" DELETE FROM subscription WHERE sid = old.sid;"
	" DELETE FROM inbound WHERE sid = old.sid;"
	" DELETE FROM delivery WHERE sid = old.sid;"
	" END;"
	"CREATE TRIGGER delivery_deleted AFTER DELETE ON delivery"
	DROP_UNREFERENCED
	"CREATE TRIGGER delivery_released AFTER UPDATE OF message ON delivery"
	DROP_UNREFERENCED
	"CREATE TRIGGER retained_deleted AFTER DELETE ON retained"
	DROP_UNREFERENCED
	"CREATE TRIGGER retained_replaced AFTER UPDATE OF message ON retained"
	DROP_UNREFERENCED,

	"ALTER TABLE counter ADD COLUMN"
	" mark INTEGER NOT NULL DEFAULT 0 CHECK (mark >= 0);",

	/*
	 * What MQTT 5 adds. Sessions and messages of before last for ever.
	 * "expires" and "due" are milliseconds since 1970. A session of expiry
	 * 0 has ended: what is left goes to others of its shared
	 * subscriptions. A will waits for its delay; its message is its own.
	 * "identifiers" are 32-bit integers as the machine has them.
	 */
	"ALTER TABLE session ADD COLUMN expiry INTEGER NOT NULL"
	" DEFAULT 4294967295 CHECK (expiry BETWEEN 0 AND 4294967295);"

	"ALTER TABLE subscription ADD COLUMN options INTEGER NOT NULL"
	" DEFAULT 0 CHECK (options BETWEEN 0 AND 3);"
	"ALTER TABLE subscription ADD COLUMN identifier INTEGER NOT NULL"
	" DEFAULT 0 CHECK (identifier BETWEEN 0 AND 268435455);"

	"ALTER TABLE message ADD COLUMN expires INTEGER NOT NULL"
	" DEFAULT 0 CHECK (expires >= 0);"
	"ALTER TABLE message ADD COLUMN properties BLOB NOT NULL DEFAULT x'';"
	"ALTER TABLE message ADD COLUMN source_listener INTEGER NOT NULL"
	" DEFAULT 0 CHECK (source_listener BETWEEN 0 AND 4294967295);"
	"ALTER TABLE message ADD COLUMN source_id BLOB;"
	"ALTER TABLE message ADD COLUMN source_user BLOB;"

	"ALTER TABLE delivery ADD COLUMN as_published INTEGER NOT NULL"
	" DEFAULT 0 CHECK (as_published BETWEEN 0 AND 1);"
	"ALTER TABLE delivery ADD COLUMN identifiers BLOB;"
	"ALTER TABLE delivery ADD COLUMN share BLOB;"

	"CREATE TABLE will ("
	" sid INTEGER PRIMARY KEY,"
	" due INTEGER NOT NULL CHECK (due > 0),"
	" retain INTEGER NOT NULL CHECK (retain BETWEEN 0 AND 1),"
	" qos INTEGER NOT NULL CHECK (qos BETWEEN 0 AND 2),"
	" topic BLOB NOT NULL CHECK (length(topic) BETWEEN 1 AND 65535),"
	" payload BLOB NOT NULL,"
	" properties BLOB NOT NULL,"
	" source_listener INTEGER NOT NULL"
	" CHECK (source_listener BETWEEN 0 AND 4294967295),"
	" source_id BLOB,"
	" source_user BLOB) STRICT;"

	"DROP TRIGGER session_deleted;"
	"CREATE TRIGGER session_deleted AFTER DELETE ON session BEGIN"
	" DELETE FROM subscription WHERE sid = old.sid;"
	" DELETE FROM inbound WHERE sid = old.sid;"
	" DELETE FROM delivery WHERE sid = old.sid;"
	" DELETE FROM will WHERE sid = old.sid;"
	" END;"
};

#define SCHEMA_VERSION ((int)ARRAY_SIZE(schema))

/* Of a message, or a will: what bind_contents() and contents_at() mean. */
#define CONTENTS							\
	"qos, topic, payload, properties, source_listener, source_id,"	\
	" source_user"

/* Statements: one for each type of change, and more. */
enum {
	STATEMENT_BEGIN = CHANGE_READ + 1,
	STATEMENT_COMMIT,
	STATEMENT_MESSAGE,
	STATEMENT_RELEASE,
	STATEMENTS,
};

/* ?1 is the session wherever there is one, ?2 the rest of the key. */
static const char *const sql[STATEMENTS] = {
	[CHANGE_SESSION_ADD] =
		"INSERT INTO session (sid, id, expiry) VALUES (?1, ?2, ?3)",
	[CHANGE_SESSION_SEEN] =
		"UPDATE session SET seen = ?2 WHERE sid = ?1",
	[CHANGE_SESSION_EXPIRY] =
		"UPDATE session SET expiry = ?2 WHERE sid = ?1",
	[CHANGE_SESSION_DEL] =
		"DELETE FROM session WHERE sid = ?1",
	[CHANGE_SUBSCRIPTION_SET] =
		"INSERT INTO subscription VALUES (?1, ?2, ?3, ?4, ?5)"
		" ON CONFLICT DO UPDATE SET qos = excluded.qos,"
		" options = excluded.options,"
		" identifier = excluded.identifier",
	[CHANGE_SUBSCRIPTION_DEL] =
		"DELETE FROM subscription WHERE sid = ?1 AND filter = ?2",
	[CHANGE_DELIVERY_ADD] =
		"INSERT INTO delivery VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,"
		" ?9, ?10)",
	[CHANGE_DELIVERY_STATE] =
		"UPDATE delivery SET state = ?3 WHERE sid = ?1 AND seq = ?2",
	[CHANGE_DELIVERY_DEL] =
		"DELETE FROM delivery WHERE sid = ?1 AND seq = ?2",
	[CHANGE_WILL_SET] =
		"INSERT OR REPLACE INTO will VALUES (?1, ?2, ?3, ?4, ?5, ?6,"
		" ?7, ?8, ?9, ?10)",
	[CHANGE_WILL_DEL] =
		"DELETE FROM will WHERE sid = ?1",
	[CHANGE_INBOUND_ADD] =
		"INSERT INTO inbound VALUES (?1, ?2) ON CONFLICT DO NOTHING",
	[CHANGE_INBOUND_DEL] =
		"DELETE FROM inbound WHERE sid = ?1 AND packet_id = ?2",
	[CHANGE_RETAINED_SET] =
		"INSERT INTO retained VALUES (?1, ?2)"
		" ON CONFLICT DO UPDATE SET message = excluded.message",
	[CHANGE_RETAINED_DEL] =
		"DELETE FROM retained WHERE topic = ?1",
	[CHANGE_MARK] =
		"UPDATE counter SET next_seq = ?1, mark = ?2",
	[CHANGE_READ] =
		"SELECT d.seq, d.qos, d.retain, d.state, d.message,"
		" d.as_published, d.identifiers, d.share, m.id, m.expires,"
		" m." CONTENTS
		" FROM delivery d LEFT JOIN message m ON m.id = d.message"
		" WHERE d.sid = ?1 AND d.seq >= ?2 ORDER BY d.seq LIMIT ?3",
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_MESSAGE] =
		"INSERT INTO message (id, expires, " CONTENTS ")"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
		" ON CONFLICT DO NOTHING",
	[STATEMENT_RELEASE] =
		"UPDATE delivery SET state = ?3, message = NULL, bytes = 0"
		" WHERE sid = ?1 AND seq = ?2",
};

/**
 * struct database - the connection
 * @handle: SQLite's
 * @statements: prepared
 * @next_seq: the counter as stored: more than the seq of any delivery
 * @mark: the last one, likewise
 * @message: the message known to be stored, 0 for none
 * @damaged: found to be
 * @error: what went wrong last
 */
static struct {
	struct sqlite3 *handle;
	struct sqlite3_stmt *statements[STATEMENTS];
	u64 next_seq;
	u64 mark;
	u64 message;
	bool damaged;
	char error[256];
} db;

const char *database_error(void)
{
	return db.error;
}

static int damaged(const char *how)
{
	snprintf(db.error, sizeof(db.error), "%s", how);
	db.damaged = true;
	return -EUCLEAN;
}

static int error_of(int code)
{
	switch (code) {
	case SQLITE_IOERR_READ:
	case SQLITE_IOERR_SHORT_READ:
		return -EUCLEAN;
	}
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return -EACCES;
	case SQLITE_IOERR:
		return -EIO;
	default:
		/* CORRUPT, NOTADB; what is missing, or contradicts itself. */
		return -EUCLEAN;
	}
}

/* 0 or -errno for what SQLite says, which is remembered. */
static int result(int code)
{
	int err;

	if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
		return 0;
	err = error_of(sqlite3_extended_errcode(db.handle));
	if (err == -EUCLEAN)
		return damaged(sqlite3_errmsg(db.handle));
	snprintf(db.error, sizeof(db.error), "%s (%s)",
		 sqlite3_errmsg(db.handle), strerror(-err));
	return err;
}

static int execute(const char *text)
{
	return result(sqlite3_exec(db.handle, text, NULL, NULL, NULL));
}

/* Steps a statement that returns no row, and makes it ready for the next. */
static int run(sqlite3_stmt *statement)
{
	sqlite3_step(statement);
	return result(sqlite3_reset(statement));
}

/*
 * Prepares @text and steps to its first row, which *@statement is for; the
 * caller finalizes it, whatever happens.
 */
static int query(sqlite3_stmt **statement, const char *text)
{
	int err = result(sqlite3_prepare_v2(db.handle, text, -1, statement,
					    NULL));

	return err ? err : result(sqlite3_step(*statement));
}

static int query_number(const char *text, s64 *number)
{
	sqlite3_stmt *statement;
	int err = query(&statement, text);

	*number = err ? 0 : sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return err;
}

/* Calls @row for each row of @text, with @loader, until one fails. */
static int each(const char *text,
		int (*row)(sqlite3_stmt *statement,
			   const struct store_loader *loader),
		const struct store_loader *loader)
{
	sqlite3_stmt *statement;
	int err = query(&statement, text);

	while (!err && sqlite3_data_count(statement)) {
		err = row(statement, loader);
		if (!err)
			err = result(sqlite3_step(statement));
	}
	sqlite3_finalize(statement);
	return err;
}

static int set_source(struct message *message, sqlite3_stmt *statement,
		      int column)
{
	const void *id = sqlite3_column_blob(statement, column + 1);
	const void *user = sqlite3_column_blob(statement, column + 2);

	if (!id)
		return 0;
	return message_set_source(message,
				  sqlite3_column_int64(statement, column), id,
				  sqlite3_column_bytes(statement, column + 1),
				  user,
				  sqlite3_column_bytes(statement, column + 2));
}

/* The message whose CONTENTS begin at @column. */
static struct message *contents_at(sqlite3_stmt *statement, int column, u64 id,
				   s64 expires)
{
	const struct message_parts parts = {
		.topic = sqlite3_column_blob(statement, column + 1),
		.topic_len = sqlite3_column_bytes(statement, column + 1),
		.qos = sqlite3_column_int(statement, column),
		.payload = sqlite3_column_blob(statement, column + 2),
		.payload_len = sqlite3_column_bytes(statement, column + 2),
		.properties = sqlite3_column_blob(statement, column + 3),
		.properties_len = sqlite3_column_bytes(statement, column + 3),
	};
	struct message *message = NULL;

	if (parts.topic)
		message = message_load(id, expires, &parts);
	if (message && set_source(message, statement, column + 4)) {
		message_put(message);
		return NULL;
	}
	return message;
}

/* The message whose id, expires and CONTENTS begin at @column. */
static struct message *message_at(sqlite3_stmt *statement, int column)
{
	return contents_at(statement, column + 2,
			   sqlite3_column_int64(statement, column),
			   sqlite3_column_int64(statement, column + 1));
}

static int load_session(sqlite3_stmt *statement,
			const struct store_loader *loader)
{
	struct store_session session = {
		.sid = sqlite3_column_int64(statement, 0),
		.id = sqlite3_column_blob(statement, 1),
		.id_len = sqlite3_column_bytes(statement, 1),
		.next_seq = db.next_seq,
		.queued = sqlite3_column_int64(statement, 3),
		.queued_bytes = sqlite3_column_int64(statement, 4),
		.seen = sqlite3_column_int64(statement, 2),
		.expiry = sqlite3_column_int64(statement, 5),
		.retained = sqlite3_column_int64(statement, 6),
		.retained_bytes = sqlite3_column_int64(statement, 7),
	};

	return session.id ? loader->session(&session) : -ENOMEM;
}

static int load_subscription(sqlite3_stmt *statement,
			     const struct store_loader *loader)
{
	const struct store_subscription subscription = {
		.filter = sqlite3_column_blob(statement, 1),
		.len = sqlite3_column_bytes(statement, 1),
		.qos = sqlite3_column_int(statement, 2),
		.options = sqlite3_column_int(statement, 3),
		.identifier = sqlite3_column_int(statement, 4),
	};

	if (!subscription.filter)
		return -ENOMEM;
	return loader->subscription(sqlite3_column_int64(statement, 0),
				    &subscription);
}

static int load_will(sqlite3_stmt *statement, const struct store_loader *loader)
{
	const struct store_will will = {
		.due = sqlite3_column_int64(statement, 1),
		.retain = sqlite3_column_int(statement, 2),
		.message = contents_at(statement, 3, 0, 0),
	};

	return will.message ?
	       loader->will(sqlite3_column_int64(statement, 0), &will) :
	       -ENOMEM;
}

static int load_inbound(sqlite3_stmt *statement,
			const struct store_loader *loader)
{
	return loader->inbound(sqlite3_column_int64(statement, 0),
			       sqlite3_column_int(statement, 1));
}

static int load_retained(sqlite3_stmt *statement,
			 const struct store_loader *loader)
{
	struct message *message = message_at(statement, 0);

	return message ? loader->retained(message) : -ENOMEM;
}

static int load(const struct store_loader *loader, u64 *next_sid)
{
	s64 next_seq, mark, message, sid;
	int err;

	err = query_number("SELECT next_seq FROM counter", &next_seq);
	if (!err)
		err = query_number("SELECT mark FROM counter", &mark);
	if (!err)
		err = query_number("SELECT max(id) FROM message", &message);
	if (!err)
		err = query_number("SELECT seq FROM sqlite_sequence"
				   " WHERE name = 'session'", &sid);
	if (err)
		return err;
	db.next_seq = next_seq;
	db.mark = mark;
	*next_sid = sid + 1;
	message_ids_from(message + 1);

	err = each("SELECT s.sid, s.id, s.seen, count(d.seq),"
		   " coalesce(sum(d.bytes), 0), s.expiry,"
		   " coalesce(sum(d.retain), 0),"
		   " coalesce(sum(d.retain * d.bytes), 0)"
		   " FROM session s LEFT JOIN delivery d ON d.sid = s.sid"
		   " GROUP BY s.sid", load_session, loader);
	if (!err)
		err = each("SELECT sid, filter, qos, options, identifier"
			   " FROM subscription JOIN session USING (sid)",
			   load_subscription, loader);
	if (!err)
		err = each("SELECT sid, due, retain, " CONTENTS
			   " FROM will JOIN session USING (sid)",
			   load_will, loader);
	if (!err)
		err = each("SELECT sid, packet_id FROM inbound"
			   " JOIN session USING (sid)",
			   load_inbound, loader);
	if (!err)
		err = each("SELECT id, expires, " CONTENTS
			   " FROM message"
			   " WHERE id IN (SELECT message FROM retained)",
			   load_retained, loader);
	return err;
}

/* A database that is none of our business, and is not touched. */
static int foreign(const char *whose)
{
	snprintf(db.error, sizeof(db.error),
		 "it is %s, name another file", whose);
	return -EPROTO;
}

static int inspect(int fd)
{
	static const char mosquittos[] = "\0\xb5\0mosquitto db";
	char magic[sizeof(mosquittos) - 1];
	struct stat stat;

	if (fstat(fd, &stat))
		return -errno;
	if (!S_ISREG(stat.st_mode))
		return damaged("not a file");
	if (pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	    !memcmp(magic, mosquittos, sizeof(magic)))
		return foreign("mosquitto's database");
	return 0;
}

/*
 * Makes the file if there is none: SQLite would take the mode from the umask.
 * -EUCLEAN when there is something that cannot be a database.
 */
static int make_file(const char *path)
{
	struct stat stat;
	int fd, err;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		  0600);
	if (fd >= 0) {
		err = inspect(fd);
		close(fd);
		return err;
	}
	err = -errno;
	switch (err) {
	case -EACCES:
	case -EISDIR:
	case -ELOOP:
	case -ENXIO:
		if (!lstat(path, &stat))
			return damaged(strerror(-err));
	}
	return err;
}

/*
 * Nobody else may have the file open, another kmqttd in particular, so that
 * there need be no shared memory file.
 */
static int attach(const char *path)
{
	int err;

	err = result(sqlite3_open_v2(path, &db.handle, SQLITE_OPEN_READWRITE |
				     SQLITE_OPEN_NOMUTEX, NULL));
	if (err)
		return err;
	sqlite3_extended_result_codes(db.handle, 1);
	return execute("PRAGMA locking_mode = EXCLUSIVE");
}

/* Is it ours? *@version is 0 for an empty one. Nothing is written. */
static int identify(s64 *version)
{
	s64 application, tables, ours;
	int err;

	err = query_number("PRAGMA application_id", &application);
	if (!err)
		err = query_number("PRAGMA user_version", version);
	if (!err)
		err = query_number("SELECT count(*) FROM sqlite_schema",
				   &tables);
	if (!err)
		err = query_number("SELECT count(*) FROM sqlite_schema"
				   " WHERE name = 'delivery_message'", &ours);
	if (err)
		return err;
	if (application != APPLICATION_ID && !ours && (tables || *version))
		return foreign("another program's database");
	if (tables ? application != APPLICATION_ID || *version < 1 : *version)
		return damaged("its header contradicts its contents");
	if (*version > SCHEMA_VERSION)
		return foreign("a newer kmqttd's database");
	return 0;
}

/*
 * A commit syncs the WAL, once. A checkpoint syncs both files: at 16 MiB it
 * comes once in a thousand small commits, and copies a page that many of them
 * changed only once. Deleted payloads are overwritten as far as that costs no
 * page; Debian's default would write each of them again.
 */
static int configure(void)
{
	return execute("PRAGMA journal_mode = WAL;"
		       "PRAGMA synchronous = FULL;"
		       "PRAGMA wal_autocheckpoint = 4096;"
		       "PRAGMA journal_size_limit = 67108864;"
		       "PRAGMA cache_size = -16384;"
		       "PRAGMA secure_delete = FAST;"
		       "PRAGMA temp_store = MEMORY");
}

/* What a test that must be able to fail turns off. */
static int configure_test(void)
{
#ifdef KMQTTD_TEST
	const char *synchronous = getenv("KMQTTD_TEST_SYNCHRONOUS");

	if (synchronous && !strcmp(synchronous, "OFF"))
		return execute("PRAGMA synchronous = OFF");
#endif
	return 0;
}

static int check_finding(sqlite3_stmt *statement,
			 const struct store_loader *loader)
{
	const char *finding = (const char *)sqlite3_column_text(statement, 0);

	(void)loader;
	if (!finding)
		return -ENOMEM;
	return strcmp(finding, "ok") ? damaged(finding) : 0;
}

/*
 * Reads the whole file, which takes as long as the disk does (2 s for 1 GB). It
 * is worth it: what is broken is found now, while it can be set aside, rather
 * than when a client waits for it. The checks of the schema are among what is
 * checked, so that nothing loaded needs to be. A payload's own bytes have no
 * checksum: what flips there is not seen.
 */
static int check(void)
{
	s64 lost;
	int err;

	err = each("PRAGMA integrity_check(1)", check_finding, NULL);
	if (!err)
		err = query_number("SELECT"
				   " EXISTS (SELECT 1 FROM delivery d"
				   " WHERE d.message NOT NULL AND d.message NOT IN"
				   " (SELECT id FROM message)) OR"
				   " EXISTS (SELECT 1 FROM retained r"
				   " WHERE r.message NOT IN"
				   " (SELECT id FROM message))", &lost);
	if (!err && lost)
		return damaged("messages are missing");
	return err;
}

static int upgrade(s64 version)
{
	char pragmas[100];
	int err;

	if (version == SCHEMA_VERSION)
		return 0;
	err = execute("BEGIN IMMEDIATE");
	for (; !err && version < SCHEMA_VERSION; version++)
		err = execute(schema[version]);
	snprintf(pragmas, sizeof(pragmas),
		 "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
		 APPLICATION_ID, SCHEMA_VERSION);
	return err ? err : execute(pragmas);
}

static int prepare(void)
{
	int err = 0;
	u32 i;

	for (i = 0; !err && i < STATEMENTS; i++)
		err = result(sqlite3_prepare_v3(db.handle, sql[i], -1,
						SQLITE_PREPARE_PERSISTENT,
						&db.statements[i], NULL));
	return err;
}

int database_close(void)
{
	u32 i;

	for (i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(db.statements[i]);
		db.statements[i] = NULL;
	}
	/* Nothing more is written to what cannot be trusted. */
	if (db.damaged && db.handle)
		sqlite3_db_config(db.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
				  1, NULL);
	if (sqlite3_close(db.handle))
		return -EIO;
	db.handle = NULL;
	return 0;
}

static int open_once(const char *path, const struct store_loader *loader,
		     u64 *next_sid)
{
	s64 version = 0;
	int err;

	db.damaged = false;
	db.error[0] = '\0';
	err = make_file(path);
	if (!err)
		err = attach(path);
	if (!err)
		err = identify(&version);
	if (!err)
		err = configure();
	if (!err)
		err = configure_test();
	if (!err && version)
		err = check();
	if (!err)
		err = upgrade(version);
	if (!err)
		err = prepare();
	if (!err)
		err = load(loader, next_sid);
	if (err)
		database_close();
	return err;
}

#define SUFFIX_SIZE sizeof(".damaged-YYYYMMDD-HHMMSS-NNN-journal")

/* A name beside @path, of @size bytes, that is not taken. */
static int free_name(char *name, size_t size, const char *path)
{
	struct stat stat;
	char when[sizeof("YYYYMMDD-HHMMSS")];
	time_t now = time(NULL);
	struct tm tm;
	int i;

	strftime(when, sizeof(when), "%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
	snprintf(name, size, "%s.damaged-%s", path, when);
	for (i = 1; !lstat(name, &stat); i++) {
		if (i == 1000)
			return -EEXIST;
		snprintf(name, size, "%s.damaged-%s-%d", path, when, i);
	}
	return 0;
}

/* What SQLite keeps beside the database, if it is there, under its new name. */
static int rename_beside(const char *path, const char *name, const char *which)
{
	char from[PATH_MAX], to[PATH_MAX];

	snprintf(from, sizeof(from), "%s%s", path, which);
	snprintf(to, sizeof(to), "%s%s", name, which);
	return rename(from, to) && errno != ENOENT ? -errno : 0;
}

/* The WAL first: alone, it must not meet a new database. */
static int set_aside(const char *path)
{
	char name[PATH_MAX];
	int err;

	err = free_name(name, sizeof(name) - SUFFIX_SIZE, path);
	if (!err)
		err = rename_beside(path, name, "-wal");
	if (!err)
		err = rename_beside(path, name, "-shm");
	if (!err)
		err = rename_beside(path, name, "-journal");
	if (!err)
		err = rename_beside(path, name, "");
	if (err)
		log_print(LOG_TYPE_ERROR,
			  "Error: The database %s is damaged (%s), and could not be moved aside to %s: %s.",
			  path, db.error, name, strerror(-err));
	else
		log_print(LOG_TYPE_ERROR,
			  "Error: The database %s is damaged (%s). It was moved aside to %s, and kmqttd starts with an empty one: what was stored is lost unless that file is repaired.",
			  path, db.error, name);
	return err;
}

int database_open(const char *path, const struct store_loader *loader,
		  u64 *next_sid, u64 *mark)
{
	int err = -ENAMETOOLONG;

	db.error[0] = '\0';
	if (strlen(path) + SUFFIX_SIZE <= PATH_MAX)
		err = open_once(path, loader, next_sid);
	if (err == -EUCLEAN) {
		err = set_aside(path);
		if (err)
			return err;
		err = open_once(path, loader, next_sid);
	}
	if (err == -EBUSY)
		log_print(LOG_TYPE_ERROR,
			  "Error: The database %s is in use by another process.",
			  path);
	else if (err)
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to open the database %s: %s.", path,
			  db.error[0] ? db.error : strerror(-err));
	*mark = db.mark;
	return err;
}

/* A delivery's identifiers and shared subscription are at @column. */
static int read_origin(sqlite3_stmt *statement, int column,
		       struct store_delivery *delivery)
{
	const void *identifiers = sqlite3_column_blob(statement, column);
	u32 identifiers_len = sqlite3_column_bytes(statement, column);
	const void *share = sqlite3_column_blob(statement, column + 1);
	u16 share_len = sqlite3_column_bytes(statement, column + 1);

	if (!identifiers_len && !share_len)
		return 0;
	delivery->origin = origin_new(identifiers, identifiers_len, share,
				      share_len);
	return delivery->origin ? 0 : -ENOMEM;
}

static int read_one(sqlite3_stmt *statement, struct store_delivery *delivery)
{
	*delivery = (struct store_delivery){
		.seq = sqlite3_column_int64(statement, 0),
		.qos = sqlite3_column_int(statement, 1),
		.flags = (sqlite3_column_int(statement, 2) ? STORE_RETAINED
							   : 0) |
			 (sqlite3_column_int(statement, 5) ? STORE_RETAIN : 0),
		.state = sqlite3_column_int(statement, 3),
	};
	if (sqlite3_column_int64(statement, 4) !=
	    sqlite3_column_int64(statement, 8))
		return damaged("a message is missing");
	if (!sqlite3_column_int64(statement, 4))
		return 0;
	delivery->message = message_at(statement, 8);
	if (!delivery->message)
		return -ENOMEM;
	if (read_origin(statement, 6, delivery)) {
		message_put(delivery->message);
		return -ENOMEM;
	}
	return 0;
}

static int read_all(sqlite3_stmt *statement, struct change *change)
{
	struct store_delivery *more;
	u32 size = 0;
	int err;

	while (!(err = result(sqlite3_step(statement))) &&
	       sqlite3_data_count(statement)) {
		if (change->nr == size) {
			size = size ? 2 * size : 16;
			more = realloc(change->deliveries,
				       size * sizeof(*more));
			if (!more)
				return -ENOMEM;
			change->deliveries = more;
		}
		err = read_one(statement, &change->deliveries[change->nr]);
		if (err)
			return err;
		change->nr++;
	}
	return err;
}

static int answer(struct change *change)
{
	sqlite3_stmt *statement = db.statements[CHANGE_READ];
	int err;

	sqlite3_bind_int64(statement, 1, change->read->sid);
	sqlite3_bind_int64(statement, 2, change->read->from);
	sqlite3_bind_int64(statement, 3, change->read->max);
	err = read_all(statement, change);
	sqlite3_reset(statement);
	if (err)
		change_forget_answer(change);
	change->answered = !err;
	return err;
}

static void bind_source(sqlite3_stmt *statement, int at,
			const struct message_source *source)
{
	sqlite3_bind_int64(statement, at, source ? source->listener : 0);
	if (source)
		sqlite3_bind_blob(statement, at + 1, source->data,
				  source->id_len, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, at + 1);
	if (source && source->user_len)
		sqlite3_bind_blob(statement, at + 2,
				  source->data + source->id_len,
				  source->user_len, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, at + 2);
}

/* Its CONTENTS, from parameter @at on. */
static void bind_contents(sqlite3_stmt *statement, int at,
			  const struct message *message)
{
	sqlite3_bind_int(statement, at, message->qos);
	sqlite3_bind_blob(statement, at + 1, message->data, message->topic_len,
			  SQLITE_STATIC);
	sqlite3_bind_blob(statement, at + 2, message_payload(message),
			  message->payload_len, SQLITE_STATIC);
	sqlite3_bind_blob(statement, at + 3, message_properties(message),
			  message->properties_len, SQLITE_STATIC);
	bind_source(statement, at + 4, message->source);
}

/* Consecutive deliveries are often of the same message. */
static int add_message(const struct message *message)
{
	sqlite3_stmt *statement = db.statements[STATEMENT_MESSAGE];
	int err;

	if (message->id == db.message)
		return 0;
	sqlite3_bind_int64(statement, 1, message->id);
	sqlite3_bind_int64(statement, 2, message->expires);
	bind_contents(statement, 3, message);
	err = run(statement);
	db.message = err ? 0 : message->id;
	return err;
}

static void bind_origin(sqlite3_stmt *statement, int at,
			const struct origin *origin)
{
	if (origin_identifiers_len(origin))
		sqlite3_bind_blob(statement, at, origin->identifiers,
				  origin->identifiers_len, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, at);
	if (origin_share_len(origin))
		sqlite3_bind_blob(statement, at + 1, origin_share(origin),
				  origin->share_len, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, at + 1);
}

static int add_delivery(const struct change *change)
{
	sqlite3_stmt *statement = db.statements[CHANGE_DELIVERY_ADD];
	bool released = change->state == STORE_RELEASED;
	int err = released ? 0 : add_message(change->message);

	if (err)
		return err;
	sqlite3_bind_int64(statement, 1, change->sid);
	sqlite3_bind_int64(statement, 2, change->seq);
	if (released)
		sqlite3_bind_null(statement, 3);
	else
		sqlite3_bind_int64(statement, 3, change->message->id);
	sqlite3_bind_int64(statement, 4, released ? 0 :
			   message_bytes(change->message));
	sqlite3_bind_int(statement, 5, change->qos);
	sqlite3_bind_int(statement, 6, !!(change->flags & STORE_RETAINED));
	sqlite3_bind_int(statement, 7, change->state);
	sqlite3_bind_int(statement, 8, !!(change->flags & STORE_RETAIN));
	bind_origin(statement, 9, change->origin);
	return run(statement);
}

static int change_delivery(const struct change *change)
{
	sqlite3_stmt *statement = db.statements[change->type];

	if (change->type == CHANGE_DELIVERY_STATE) {
		if (change->state == STORE_RELEASED)
			statement = db.statements[STATEMENT_RELEASE];
		sqlite3_bind_int(statement, 3, change->state);
	}
	sqlite3_bind_int64(statement, 1, change->sid);
	sqlite3_bind_int64(statement, 2, change->seq);
	return run(statement);
}

static int change_retained(const struct change *change)
{
	sqlite3_stmt *statement = db.statements[change->type];
	const struct message *message = change->message;
	int err = 0;

	sqlite3_bind_blob(statement, 1, message->data, message->topic_len,
			  SQLITE_STATIC);
	if (change->type == CHANGE_RETAINED_SET) {
		err = add_message(message);
		sqlite3_bind_int64(statement, 2, message->id);
	}
	return err ? err : run(statement);
}

static int set_will(const struct change *change)
{
	sqlite3_stmt *statement = db.statements[CHANGE_WILL_SET];

	sqlite3_bind_int64(statement, 1, change->sid);
	sqlite3_bind_int64(statement, 2, change->due);
	sqlite3_bind_int(statement, 3, change->flags);
	bind_contents(statement, 4, change->message);
	return run(statement);
}

/* Of a session, a subscription or an inbound message. */
static int change_session(const struct change *change)
{
	sqlite3_stmt *statement = db.statements[change->type];

	sqlite3_bind_int64(statement, 1, change->sid);
	if (change->len)
		sqlite3_bind_blob(statement, 2, change->bytes, change->len,
				  SQLITE_STATIC);
	switch (change->type) {
	case CHANGE_SESSION_ADD:
		sqlite3_bind_int64(statement, 3, change->expiry);
		break;
	case CHANGE_SUBSCRIPTION_SET:
		sqlite3_bind_int(statement, 3, change->qos);
		sqlite3_bind_int(statement, 4, change->flags);
		sqlite3_bind_int(statement, 5, change->identifier);
		break;
	case CHANGE_SESSION_EXPIRY:
		sqlite3_bind_int64(statement, 2, change->expiry);
		break;
	case CHANGE_SESSION_SEEN:
		sqlite3_bind_int64(statement, 2, change->seen);
		break;
	case CHANGE_INBOUND_ADD:
	case CHANGE_INBOUND_DEL:
		sqlite3_bind_int(statement, 2, change->packet_id);
		break;
	default:
		break;
	}
	return run(statement);
}

static int apply(struct change *change)
{
	int err;

	switch (change->type) {
	case CHANGE_MARK:
		return 0;	/* the last one is written with the counter */
	case CHANGE_READ:
		return answer(change);
	case CHANGE_DELIVERY_ADD:
		return add_delivery(change);
	case CHANGE_DELIVERY_STATE:
	case CHANGE_DELIVERY_DEL:
		err = change_delivery(change);
		break;
	case CHANGE_RETAINED_SET:
	case CHANGE_RETAINED_DEL:
		err = change_retained(change);
		break;
	case CHANGE_WILL_SET:
		err = set_will(change);
		break;
	default:
		err = change_session(change);
	}
	/* A trigger may have dropped it. */
	db.message = 0;
	return err;
}

/* What is counted for all sessions. */
struct counter {
	u64 next_seq;
	u64 mark;
};

/* What it must be after @list, those that are pointless included. */
static struct counter count(const struct change_list *list)
{
	struct counter counter = { db.next_seq, db.mark };
	const struct change *change;

	for (change = list->first; change; change = change->next) {
		if (change->type == CHANGE_DELIVERY_ADD &&
		    change->seq >= counter.next_seq)
			counter.next_seq = change->seq + SEQ_AHEAD;
		if (change->type == CHANGE_MARK)
			counter.mark = change->mark;
	}
	return counter;
}

static int write_counter(const struct counter *counter)
{
	sqlite3_stmt *statement = db.statements[CHANGE_MARK];

	if (counter->next_seq == db.next_seq && counter->mark == db.mark)
		return 0;
	sqlite3_bind_int64(statement, 1, counter->next_seq);
	sqlite3_bind_int64(statement, 2, counter->mark);
	return run(statement);
}

static int write_all(const struct change_list *list,
		     const struct counter *counter)
{
	struct change *change;
	int err = write_counter(counter);

	for (change = list->first; !err && change; change = change->next)
		if (!change->pointless)
			err = apply(change);
	return err;
}

int database_commit(const struct change_list *list, bool *written)
{
	s64 before = sqlite3_total_changes64(db.handle);
	struct counter counter = count(list);
	int err;

	err = run(db.statements[STATEMENT_BEGIN]);
	if (!err)
		err = write_all(list, &counter);
	if (!err)
		err = run(db.statements[STATEMENT_COMMIT]);
	db.message = 0;
	*written = sqlite3_total_changes64(db.handle) != before;
	if (!err) {
		db.next_seq = counter.next_seq;
		db.mark = counter.mark;
	} else if (!sqlite3_get_autocommit(db.handle)) {
		sqlite3_exec(db.handle, "ROLLBACK", NULL, NULL, NULL);
	}
	return err;
}

void database_checkpoint(void)
{
	sqlite3_wal_checkpoint_v2(db.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE,
				  NULL, NULL);
}
