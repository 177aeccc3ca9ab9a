/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The database behind the store: one file, one connection, which belongs to the
 * main thread until the store's thread starts and to that from then on.
 *
 * Errors: -EUCLEAN for a database that cannot be trusted or read, -ENOSPC,
 * -EIO and the like for a disk that does not take what is written.
 */
#ifndef _KMQTTD_DATABASE_H_
#define _KMQTTD_DATABASE_H_

#include "change.h"
#include "store.h"
#include "types.h"

/*
 * As store_open(), without the thread. *@next_sid is the first sid that was
 * never used, *@mark the last mark that was written.
 */
int database_open(const char *path, const struct store_loader *loader,
		  u64 *next_sid, u64 *mark);

/*
 * Writes all changes of @list, and does its reads, in one transaction. 0 and
 * *@written says whether it took an fsync, or -errno and nothing is written;
 * reads may be answered nevertheless.
 */
int database_commit(const struct change_list *list, bool *written);

/* Makes room on a full disk: what the WAL holds goes where it belongs. */
void database_checkpoint(void);

/* What went wrong last, for a log line. */
const char *database_error(void);

/* With a checkpoint, unless the database cannot be trusted. 0 or -EIO. */
int database_close(void);

#endif /* _KMQTTD_DATABASE_H_ */
