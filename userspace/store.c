// SPDX-License-Identifier: GPL-2.0
#include "store.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "change.h"
#include "database.h"
#include "journal.h"
#include "log.h"
#include "ring.h"

#define RETRY 1	/* seconds after which a disk is tried again */

/**
 * struct health - whether the database takes what is written
 * @err: 0 if it does
 * @reason: why not, for the log
 */
struct health {
	int err;
	char reason[256];
};

/**
 * struct shared - what the two threads give each other
 * @lock: over all of it
 * @wake: the thread waits for it
 * @idle: the thread waits for changes, and not for a disk
 * @stop: the thread shall end when it has nothing to write
 * @queued: changes to be written
 * @finished: changes that were, and reads that were answered
 * @committed: number of the last change that was written
 * @commits: transactions that took an fsync
 * @health: as of the last attempt
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool idle;
	bool stop;
	struct change_list queued;
	struct change_list finished;
	u64 committed;
	u64 commits;
	struct health health;
} shared = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

/**
 * struct store - the main thread's own
 * @path: of the database
 * @enabled: it is open
 * @thread: the one that writes
 * @event: eventfd: something is in @shared
 * @op: polls it
 * @heard: the user's committed()
 * @next_sid: never used so far
 * @queued: number of the last change
 * @pending: changes that the thread has not been given
 * @committed: as told last
 * @reached: the mark in the database when it was opened
 * @err: health as told last
 * @ack_early: a test wants acknowledgements without a disk
 */
static struct {
	char *path;
	bool enabled;
	pthread_t thread;
	int event;
	struct ring_op op;
	void (*heard)(void);
	u64 next_sid;
	u64 queued;
	struct change_list pending;
	u64 committed;
	u64 reached;
	int err;
	bool ack_early;
} store;

static void poke(void)
{
	u64 one = 1;
	ssize_t written = write(store.event, &one, sizeof(one));

	(void)written;	/* fails only if it would count too far */
}

/*
 * The thread
 */

/* Has the disk take its time, while a test wants that. */
static void stall(void)
{
#ifdef KMQTTD_TEST
	const char *path = getenv("KMQTTD_TEST_STALL");

	while (path && !access(path, F_OK))
		usleep(10000);
#endif
}

static void wait_to_retry(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY;
	while (!shared.stop &&
	       pthread_cond_timedwait(&shared.wake, &shared.lock, &until) !=
	       ETIMEDOUT)
		;
}

static bool wait_for_work(void)
{
	shared.idle = true;
	while (!shared.queued.first && !shared.stop)
		pthread_cond_wait(&shared.wake, &shared.lock);
	shared.idle = false;
	return shared.queued.first;
}

/* Takes the reads that were answered out of @batch: they are not repeated. */
static void split_answered(struct change_list *batch,
			   struct change_list *answered)
{
	struct change_list rest = { .number = batch->number };
	struct change_list one;
	struct change *change;

	while ((change = batch->first)) {
		batch->first = change->next;
		change->next = NULL;
		one = (struct change_list){ change, change, 0 };
		change_list_splice(change->answered ? answered : &rest, &one);
	}
	rest.number = batch->number;
	*batch = rest;
}

/* Tells the main thread how it went, with the lock held. */
static void report(struct change_list *batch, int err, bool written)
{
	shared.health.err = err;
	if (err) {
		snprintf(shared.health.reason, sizeof(shared.health.reason),
			 "%s", database_error());
		split_answered(batch, &shared.finished);
	} else {
		shared.committed = batch->number;
		shared.commits += written;
		change_list_splice(&shared.finished, batch);
	}
	poke();
}

/* Waits, with the lock held, until there is something to do, or to stop. */
static bool wait_after(int err)
{
	if (!err)
		return wait_for_work();
	if (err == -EUCLEAN || shared.stop)
		return false;
	wait_to_retry();
	return true;
}

/* The log of changes grows by itself: what is in it may have room elsewhere. */
static int commit(struct change_list *batch, struct change_list *answered,
		  bool *written)
{
	int err = database_commit(batch, written);

	if (err != -ENOSPC)
		return err;
	split_answered(batch, answered);
	database_checkpoint();
	return database_commit(batch, written);
}

/*
 * Each round takes all that was queued while the last one was on its way to the
 * disk: nobody waits for company.
 */
static void *write_changes(void *unused)
{
	struct change_list batch = { 0 }, answered = { 0 };
	bool written = false;
	int err = 0;

	pthread_mutex_lock(&shared.lock);
	while (wait_after(err)) {
		change_list_splice(&batch, &shared.queued);
		pthread_mutex_unlock(&shared.lock);

		change_prune(&batch);
		stall();
		err = commit(&batch, &answered, &written);

		pthread_mutex_lock(&shared.lock);
		change_list_splice(&shared.finished, &answered);
		report(&batch, err, written);
	}
	/* What could not be written goes back, to be freed. */
	change_list_splice(&batch, &shared.queued);
	change_list_splice(&shared.queued, &batch);
	pthread_mutex_unlock(&shared.lock);
	return unused;
}

/*
 * The main thread
 */

/*
 * Queueing cannot fail. Without memory for a few bytes it is better to end than
 * to run on with a store that lacks a change: all that was acknowledged is on
 * disk, and the rest will be sent again.
 */
static void out_of_memory(void)
{
	log_print(LOG_TYPE_ERROR, "Error: Out of memory.");
	abort();
}

static struct change *change_new(enum change_type type, u64 sid, size_t len)
{
	struct change *change = calloc(1, sizeof(*change) + len);

	if (!change)
		out_of_memory();
	change->type = type;
	change->sid = sid;
	return change;
}

static void enqueue(struct change *change)
{
	struct change_list one = { change, change, store.queued };

	change_list_splice(&store.pending, &one);
}

void store_flush(void)
{
	if (!store.pending.first)
		return;
	pthread_mutex_lock(&shared.lock);
	change_list_splice(&shared.queued, &store.pending);
	if (shared.idle)
		pthread_cond_signal(&shared.wake);
	pthread_mutex_unlock(&shared.lock);
}

static u64 queue(struct change *change)
{
	store.queued++;
	enqueue(change);
	if (store.ack_early)
		poke();
	return store.queued;
}

static struct change *change_of_bytes(enum change_type type, u64 sid,
				      const u8 *bytes, u16 len)
{
	struct change *change = change_new(type, sid, len);

	change->len = len;
	memcpy(change->bytes, bytes, len);
	return change;
}

static u64 queue_delivery(enum change_type type, u64 sid, u64 seq, u8 state)
{
	struct change *change = change_new(type, sid, 0);

	change->seq = seq;
	change->state = state;
	return queue(change);
}

static u64 queue_inbound(enum change_type type, u64 sid, u16 packet_id)
{
	struct change *change = change_new(type, sid, 0);

	change->packet_id = packet_id;
	return queue(change);
}

u64 store_mark(void)
{
	struct change *change;

	if (store.queued == store.committed)
		return 0;
	change = change_new(CHANGE_MARK, 0, 0);
	change->mark = store.queued + 1;
	return queue(change);
}

bool store_reached(u64 mark)
{
	return mark <= store.reached;
}

u64 store_new_sid(void)
{
	return store.next_sid++;
}

void store_sids_from(u64 sid)
{
	if (store.next_sid < sid)
		store.next_sid = sid;
}

u64 store_session_add(u64 sid, const u8 *id, u16 id_len, u32 expiry)
{
	struct change *change = change_of_bytes(CHANGE_SESSION_ADD, sid, id,
						id_len);

	change->expiry = expiry;
	return queue(change);
}

/*
 * Sessions of JOURNAL_SID are in the journal, which nobody waits for: change 0.
 */
static bool journaled(u64 sid, enum journal_type type, u64 a)
{
	if (sid & JOURNAL_SID)
		journal_append(type, sid, a, 0, 0);
	return sid & JOURNAL_SID;
}

u64 store_session_seen(u64 sid, s64 seen)
{
	struct change *change;

	if (journaled(sid, JOURNAL_SESSION_SEEN, seen))
		return 0;
	change = change_new(CHANGE_SESSION_SEEN, sid, 0);
	change->seen = seen;
	return queue(change);
}

u64 store_session_expiry(u64 sid, u32 expiry)
{
	struct change *change;

	if (journaled(sid, JOURNAL_SESSION_EXPIRY, expiry))
		return 0;
	change = change_new(CHANGE_SESSION_EXPIRY, sid, 0);
	change->expiry = expiry;
	return queue(change);
}

u64 store_session_del(u64 sid)
{
	return queue(change_new(CHANGE_SESSION_DEL, sid, 0));
}

u64 store_subscription_set(u64 sid,
			   const struct store_subscription *subscription)
{
	struct change *change;

	if (sid & JOURNAL_SID) {
		journal_append2(JOURNAL_SUBSCRIPTION, sid, subscription->qos,
				subscription->options,
				subscription->identifier, subscription->filter,
				subscription->len, NULL, 0);
		return 0;
	}
	change = change_of_bytes(CHANGE_SUBSCRIPTION_SET, sid,
				 subscription->filter, subscription->len);
	change->qos = subscription->qos;
	change->flags = subscription->options;
	change->identifier = subscription->identifier;
	return queue(change);
}

u64 store_subscription_del(u64 sid, const u8 *filter, u16 len)
{
	if (sid & JOURNAL_SID) {
		journal_append2(JOURNAL_SUBSCRIPTION_DEL, sid, 0, 0, 0, filter,
				len, NULL, 0);
		return 0;
	}
	return queue(change_of_bytes(CHANGE_SUBSCRIPTION_DEL, sid, filter,
				     len));
}

u64 store_delivery_add(u64 sid, const struct store_delivery *delivery)
{
	struct change *change;

	if (sid & JOURNAL_SID) {
		journal_delivery(sid, delivery);
		return 0;
	}
	change = change_new(CHANGE_DELIVERY_ADD, sid, 0);
	change->seq = delivery->seq;
	change->message = message_hold(delivery->message);
	change->qos = delivery->qos;
	change->flags = delivery->flags;
	change->state = STORE_QUEUED;
	change->origin = origin_copy(delivery->origin);
	if (delivery->origin && !change->origin)
		out_of_memory();
	return queue(change);
}

void store_delivery_free(struct store_delivery *delivery)
{
	if (delivery->message)
		message_put(delivery->message);
	free(delivery->origin);
}

u64 store_will_set(u64 sid, const struct store_will *will)
{
	struct change *change;

	if (sid & JOURNAL_SID) {
		journal_will(sid, will);
		return 0;
	}
	change = change_new(CHANGE_WILL_SET, sid, 0);
	change->due = will->due;
	change->flags = will->retain;
	change->message = message_hold(will->message);
	return queue(change);
}

u64 store_will_del(u64 sid)
{
	if (journaled(sid, JOURNAL_WILL_DEL, 0))
		return 0;
	return queue(change_new(CHANGE_WILL_DEL, sid, 0));
}

u64 store_delivery_state(u64 sid, u64 seq, enum store_state state)
{
	/* That the journal knows from JOURNAL_CONN_SENT and JOURNAL_SESSION_SENT. */
	if (sid & JOURNAL_SID && state == STORE_SENT)
		return 0;
	if (journaled(sid, JOURNAL_DELIVERY_RELEASED, seq))
		return 0;
	return queue_delivery(CHANGE_DELIVERY_STATE, sid, seq, state);
}

u64 store_delivery_del(u64 sid, u64 seq)
{
	if (journaled(sid, JOURNAL_DELIVERY_DEL, seq))
		return 0;
	return queue_delivery(CHANGE_DELIVERY_DEL, sid, seq, 0);
}

u64 store_inbound_add(u64 sid, u16 packet_id, bool owed)
{
	u64 change = 0;

	if (!(sid & JOURNAL_SID))
		change = queue_inbound(CHANGE_INBOUND_ADD, sid, packet_id);
	journal_append(JOURNAL_INBOUND, sid, packet_id,
		       owed || change ? store_mark() : 0, 0);
	return change;
}

u64 store_inbound_del(u64 sid, u16 packet_id)
{
	if (journaled(sid, JOURNAL_INBOUND_DEL, packet_id))
		return 0;
	return queue_inbound(CHANGE_INBOUND_DEL, sid, packet_id);
}

static u64 queue_retained(enum change_type type, struct message *message)
{
	struct change *change = change_new(type, 0, 0);

	change->message = message_hold(message);
	return queue(change);
}

u64 store_retained_set(struct message *message)
{
	return queue_retained(message->payload_len ? CHANGE_RETAINED_SET
						   : CHANGE_RETAINED_DEL,
			      message);
}

u64 store_retained_del(struct message *message)
{
	return queue_retained(CHANGE_RETAINED_DEL, message);
}

void store_read(struct store_read *read)
{
	struct change *change = change_new(CHANGE_READ, read->sid, 0);

	change->read = read;
	enqueue(change);
}

/* Ends with a change that was written, or with a read that was answered. */
static void finish(struct change *change)
{
	if (change->answered) {
		/* The references go to whom they were read for. */
		change->read->done(change->read, change->deliveries,
				   change->nr);
		change->nr = 0;
	}
	change_free(change);
}

static void finish_all(struct change_list *list)
{
	struct change *change;

	while ((change = list->first)) {
		list->first = change->next;
		finish(change);
	}
}

static void log_health(const struct health *health)
{
	if (!health->err)
		log_print(LOG_TYPE_NOTICE,
			  "The database %s can be written again.", store.path);
	else if (health->err == -EUCLEAN)
		log_print(LOG_TYPE_ERROR,
			  "Error: The database %s is damaged: %s. Nothing is stored any more, durable work is refused. Restart kmqttd: it moves the file aside and starts with an empty one.",
			  store.path, health->reason);
	else
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to write the database %s: %s. Durable work is refused until that is over; trying again each second.",
			  store.path, health->reason);
}

static void hear(struct ring_op *op, const struct ring_result *result)
{
	struct change_list finished = { 0 };
	struct health health;
	u64 count, committed;
	bool news;
	ssize_t got;

	(void)result;
	got = read(store.event, &count, sizeof(count));
	(void)got;
	pthread_mutex_lock(&shared.lock);
	change_list_splice(&finished, &shared.finished);
	committed = shared.committed;
	health = shared.health;
	pthread_mutex_unlock(&shared.lock);

	finish_all(&finished);
	news = store.committed != committed || !store.err != !health.err ||
	       store.ack_early;
	/* Of one trouble that follows another, only what is to be done. */
	if (!store.err != !health.err ||
	    (health.err == -EUCLEAN && store.err != -EUCLEAN))
		log_health(&health);
	store.committed = committed;
	store.err = health.err;
	if (news)
		store.heard();
	ring_poll_in(op, store.event);
}

/* Signals are the main thread's. */
static int start_thread(void)
{
	pthread_condattr_t monotonic;
	sigset_t all, before;
	int err;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&shared.wake, &monotonic);
	pthread_condattr_destroy(&monotonic);

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&store.thread, NULL, write_changes, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

static int start(void)
{
	int err;

	shared.committed = store.reached;
	store.queued = store.reached;
	store.committed = store.reached;

	/* Draws its key while there is one thread: both will hash. */
	table_hash((const u8 *)"", 0);
	store.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (store.event < 0)
		return -errno;
	err = start_thread();
	if (err)
		close(store.event);
	return err;
}

static void reset(void)
{
	shared.stop = false;
	shared.commits = 0;
	shared.health.err = 0;
	store.err = 0;
#ifdef KMQTTD_TEST
	store.ack_early = getenv("KMQTTD_TEST_ACK_EARLY");
#endif
}

int store_open(const char *path, const struct store_loader *loader,
	       void (*committed)(void))
{
	int err;

	reset();
	store.heard = committed;
	store.path = strdup(path);
	err = store.path ? database_open(path, loader, &store.next_sid,
					 &store.reached) : -ENOMEM;
	if (!err) {
		err = loader->done ? loader->done() : 0;
		if (!err)
			err = start();
		if (err) {
			log_print(LOG_TYPE_ERROR,
				  "Error: Unable to start the store: %s.",
				  strerror(-err));
			database_close();
		}
	}
	if (err) {
		free(store.path);
		return err;
	}
	store.op.done = hear;
	ring_poll_in(&store.op, store.event);
	store.enabled = true;
	return 0;
}

/* Frees what is left, and reads that nobody waits for any more. */
static void drop_all(struct change_list *list)
{
	struct change *change;

	while ((change = list->first)) {
		list->first = change->next;
		change_free(change);
	}
}

int store_close(void)
{
	bool lost;
	int err;

	store_flush();
	pthread_mutex_lock(&shared.lock);
	shared.stop = true;
	pthread_cond_signal(&shared.wake);
	pthread_mutex_unlock(&shared.lock);
	pthread_join(store.thread, NULL);
	pthread_cond_destroy(&shared.wake);

	lost = shared.queued.first;
	drop_all(&shared.queued);
	drop_all(&shared.finished);
	err = database_close();
	if (err || lost)
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to write the database %s: %s.%s",
			  store.path, shared.health.reason,
			  lost ? " What was not acknowledged is lost." : "");
	close(store.event);
	free(store.path);
	store.enabled = false;
	return err || lost ? -EIO : 0;
}

bool store_enabled(void)
{
	return store.enabled;
}

bool store_healthy(void)
{
	return !store.err;
}

u64 store_committed(void)
{
	return store.ack_early ? store.queued : store.committed;
}

u64 store_queued(void)
{
	return store.queued;
}

void store_stats(struct store_stats *stats)
{
	pthread_mutex_lock(&shared.lock);
	stats->commits = shared.commits;
	pthread_mutex_unlock(&shared.lock);
	stats->changes = store.queued - store.reached;
}
