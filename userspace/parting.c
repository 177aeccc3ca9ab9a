// SPDX-License-Identifier: GPL-2.0
#include "parting.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "filters.h"
#include "journal.h"
#include "outbound.h"
#include "publish.h"
#include "session.h"
#include "store.h"

/* Deliveries that are read at once. */
#define PAGE 256

/**
 * struct parting - a session in the database that has ended
 * @read: reads its deliveries
 * @sent: those up to this place had been sent
 * @passed: places of those that have gone to others, in order
 * @nr_passed: their number
 * @at: the first of them that has not been read yet
 */
struct parting {
	struct store_read read;
	u64 sent;
	u64 *passed;
	u32 nr_passed;
	u32 at;
};

/* Those that had ended when the store, or the journal, was written. */
static struct parting **loaded;
static u32 nr_loaded;

static void say_passed(u64 sid, u64 seq)
{
	journal_append(JOURNAL_DELIVERY_DEL, sid, seq, 0, 0);
}

/* One that waits, or was sent at QoS 1. Returns whether somebody else has it. */
static bool pass_on(u64 sid, const struct store_delivery *delivery)
{
	const struct origin *origin = delivery->origin;
	u64 queued = store_queued();
	struct share *share;

	if (!origin_share_len(origin) || !delivery->message ||
	    (delivery->state != STORE_QUEUED && delivery->qos != 1))
		return false;
	share = filters_share(origin_share(origin), origin->share_len);
	if (!share || !publish_to_share(share, delivery->message,
					delivery->flags & STORE_RETAIN))
		return false;
	/* The database does not hear of it. */
	if (store_queued() == queued)
		say_passed(sid, delivery->seq);
	return true;
}

u64 parting_pass_on(struct session *session)
{
	u64 queued = store_queued();

	outbound_pass_on(session, pass_on);
	return store_queued() == queued ? 0 : store_mark();
}

static void parting_free(struct parting *parting)
{
	free(parting->passed);
	free(parting);
}

/* The daemon before has passed it on. */
static bool has_passed(struct parting *parting, u64 seq)
{
	while (parting->at < parting->nr_passed &&
	       parting->passed[parting->at] < seq)
		parting->at++;
	return parting->at < parting->nr_passed &&
	       parting->passed[parting->at] == seq;
}

static void part_one(struct parting *parting, struct store_delivery *delivery)
{
	u64 sid = parting->read.sid;

	if (delivery->state == STORE_QUEUED && delivery->seq <= parting->sent)
		delivery->state = STORE_SENT;
	/* Together: it is with the one or with the other. */
	if (has_passed(parting, delivery->seq) || pass_on(sid, delivery))
		store_delivery_del(sid, delivery->seq);
	parting->read.from = delivery->seq + 1;
	store_delivery_free(delivery);
}

static void part_page(struct store_read *read,
		      struct store_delivery *deliveries, u32 nr)
{
	struct parting *parting = container_of(read, struct parting, read);
	u32 i;

	for (i = 0; i < nr; i++)
		part_one(parting, &deliveries[i]);
	if (nr == read->max) {
		store_read(read);
	} else {
		store_session_del(read->sid);
		parting_free(parting);
	}
	/* Until then the journal must have what was said of it. */
	journal_keep(store_queued());
}

static struct parting *make(u64 sid, u64 sent)
{
	struct parting *parting = calloc(1, sizeof(*parting));

	if (!parting)
		return NULL;
	parting->sent = sent;
	parting->read = (struct store_read){
		.sid = sid,
		.max = PAGE,
		.done = part_page,
	};
	return parting;
}

/* Nothing is left of it but its name. */
static void begin(struct parting *parting)
{
	store_session_seen(parting->read.sid, time(NULL));
	store_session_expiry(parting->read.sid, 0);
	store_read(&parting->read);
}

void parting_begin(u64 sid, u64 sent)
{
	struct parting *parting = make(sid, sent);

	if (parting)
		begin(parting);
	else
		store_session_del(sid);
}

int parting_load(u64 sid, u64 sent)
{
	struct parting **more;

	more = reallocarray(loaded, nr_loaded + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	loaded = more;
	loaded[nr_loaded] = make(sid, sent);
	if (!loaded[nr_loaded])
		return -ENOMEM;
	nr_loaded++;
	return 0;
}

/* What is said of one comes in a row, mostly of the last. */
static struct parting *find(u64 sid)
{
	u32 i;

	for (i = nr_loaded; i > 0; i--)
		if (loaded[i - 1]->read.sid == sid)
			return loaded[i - 1];
	return NULL;
}

int parting_load_passed(u64 sid, u64 seq)
{
	struct parting *parting = find(sid);
	u64 *more;

	if (!parting)
		return 0;
	more = reallocarray(parting->passed, parting->nr_passed + 1,
			    sizeof(*more));
	if (!more)
		return -ENOMEM;
	parting->passed = more;
	parting->passed[parting->nr_passed++] = seq;
	return 0;
}

void parting_begin_loaded(void)
{
	u32 i;

	for (i = 0; i < nr_loaded; i++)
		begin(loaded[i]);
	parting_rewrite();
	free(loaded);
	loaded = NULL;
	nr_loaded = 0;
}

void parting_rewrite(void)
{
	const struct parting *parting;
	u32 i, j;

	for (i = 0; i < nr_loaded; i++) {
		parting = loaded[i];
		journal_append(JOURNAL_SESSION_DEL, parting->read.sid, 0, 0, 0);
		for (j = 0; j < parting->nr_passed; j++)
			say_passed(parting->read.sid, parting->passed[j]);
	}
	if (nr_loaded)
		journal_keep(store_queued());
}
