// SPDX-License-Identifier: GPL-2.0
#include "former.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "publish.h"
#include "store.h"

static struct table by_cookie;

struct former *former_find(u64 cookie)
{
	struct former *former;
	struct table_node *node;

	for (node = table_chain(&by_cookie, table_hash_u32(cookie)); node;
	     node = node->next) {
		former = container_of(node, struct former, node);
		if (former->cookie == cookie)
			return former;
	}
	return NULL;
}

static void forget_will(struct former *former)
{
	if (former->will)
		message_put(former->will);
	former->will = NULL;
}

/* A session that ends is to be forgotten by those that had it. */
static void link_session(struct former *former)
{
	if (!former->session)
		return;
	former->same = former->session->formers;
	former->session->formers = former;
}

static void unlink_session(struct former *former)
{
	struct former **link;

	if (!former->session)
		return;
	link = &former->session->formers;
	while (*link != former)
		link = &(*link)->same;
	*link = former->same;
}

void former_free(struct former *former)
{
	unlink_session(former);
	table_del(&by_cookie, &former->node);
	forget_will(former);
	buffer_free(&former->rest.bytes);
	buffer_free(&former->head.bytes);
	free(former);
}

static struct message *read_will(const struct journal_conn *conn,
				 const u8 *topic, size_t len)
{
	const u8 *properties = topic + conn->topic_len;

	/* It gets its own number when it is published: these are still read. */
	return message_load(0, 0, &(const struct message_parts){
		.topic = topic,
		.topic_len = conn->topic_len,
		.qos = conn->will_qos,
		.properties = properties,
		.properties_len = conn->properties_len,
		.payload = properties + conn->properties_len,
		.payload_len = len - conn->topic_len - conn->properties_len,
	});
}

static int add(const struct journal_record *record)
{
	const struct journal_conn *conn = (const void *)record->bytes;
	const u8 *id = record->bytes + sizeof(*conn);
	struct former *former;
	size_t len = record->len;

	if (len < sizeof(*conn) ||
	    len - sizeof(*conn) < (size_t)conn->id_len + conn->topic_len +
				  conn->properties_len)
		return -EUCLEAN;
	former = calloc(1, sizeof(*former));
	if (!former)
		return -ENOMEM;
	former->cookie = record->sid;
	former->session = session_find(id, conn->id_len);
	former->keepalive = conn->keepalive;
	former->level = conn->level;
	former->clean = conn->clean;
	former->will_retain = conn->will_retain;
	former->will_delay = conn->will_delay;
	former->receive_max = conn->receive_max;
	former->max_send = conn->max_send;
	former->allowed = conn->allowed;
	former->explain = conn->explain;
	former->enhanced = conn->enhanced;
	if (conn->has_will)
		former->will = read_will(conn, id + conn->id_len,
					 len - sizeof(*conn) - conn->id_len);
	if ((conn->has_will && !former->will) ||
	    table_add(&by_cookie, &former->node,
		      table_hash_u32(record->sid))) {
		forget_will(former);
		free(former);
		return -ENOMEM;
	}
	link_session(former);
	return 0;
}

void former_session_ended(struct session *session)
{
	struct former *former;

	while ((former = session->formers)) {
		session->formers = former->same;
		former->session = NULL;
	}
}

int former_journaled(const struct journal_record *record)
{
	struct former *former;

	if (record->type == JOURNAL_CONN)
		return add(record);
	former = former_find(record->sid);
	if (!former)
		return 0;
	switch (record->type) {
	case JOURNAL_CONN_SENT:
		former->before = former->now;
		former->now = (struct progress){
			record->a, record->b, record->c
		};
		half_settle(&former->head, former->before.done);
		break;
	case JOURNAL_CONN_DISCONNECTED:
		forget_will(former);
		break;
	case JOURNAL_CONN_REST:
		return half_journaled(&former->rest, record);
	case JOURNAL_CONN_HEAD:
		return half_journaled(&former->head, record);
	case JOURNAL_CONN_DEL:
		if (store_reached(record->b))
			former_free(former);
		else
			former->half = true;
		break;
	}
	return 0;
}

static void write_progress(u64 cookie, const struct progress *progress)
{
	journal_append(JOURNAL_CONN_SENT, cookie, progress->sent,
		       progress->done, progress->seq);
}

void former_write(const struct former *former)
{
	static u8 head[sizeof(struct journal_conn) + UINT16_MAX];
	const struct session *session = former->session;
	const struct message *will = former->will;
	struct journal_conn conn = {
		.keepalive = former->keepalive,
		.level = former->level,
		.clean = former->clean,
		.has_will = !!will,
		.will_retain = former->will_retain,
		.will_delay = former->will_delay,
		.receive_max = former->receive_max,
		.max_send = former->max_send,
		.allowed = former->allowed,
		.explain = former->explain,
		.enhanced = former->enhanced,
		.id_len = session ? session->id_len : 0,
	};

	if (will) {
		conn.will_qos = will->qos;
		conn.topic_len = will->topic_len;
		conn.properties_len = will->properties_len;
	}
	memcpy(head, &conn, sizeof(conn));
	if (session)
		memcpy(head + sizeof(conn), session->id, session->id_len);
	journal_append2(JOURNAL_CONN, former->cookie, 0, 0, 0, head,
			sizeof(conn) + conn.id_len,
			will ? will->data : NULL,
			will ? (size_t)will->topic_len + will->properties_len +
			       will->payload_len : 0);
	if (former->now.sent) {
		write_progress(former->cookie, &former->before);
		write_progress(former->cookie, &former->now);
	}
}

/* Calls @function for each; it may free it. */
static void each(void (*function)(struct former *former))
{
	struct table_node *node, *next;
	u32 i;

	for (i = 0; i < by_cookie.size; i++) {
		for (node = by_cookie.slots[i]; node; node = next) {
			next = node->next;
			function(container_of(node, struct former, node));
		}
	}
}

static void write_one(struct former *former)
{
	if (!former->session && !former->half)
		return;
	former_write(former);
	half_write(former->cookie, JOURNAL_CONN_REST, &former->rest);
	half_write(former->cookie, JOURNAL_CONN_HEAD, &former->head);
	if (former->half)
		journal_append(JOURNAL_CONN_DEL, former->cookie, 0, STORE_NEVER,
			       0);
}

void former_write_end(u64 cookie, bool on_disk)
{
	u64 mark = on_disk ? store_mark() : 0;

	journal_append(JOURNAL_CONN_DEL, cookie, 0, mark, 0);
	journal_keep(mark);
}

void former_rewrite(void)
{
	each(write_one);
}

/* Returns whether it is to be in the database. */
static bool leave_will(struct former *former)
{
	struct message *will = former->will;

	if (!will)
		return false;
	former->will = NULL;
	if (former->session)
		return session_leave_will(former->session, will,
					  former->will_retain,
					  former->will_delay, former->half) &&
		       session_on_disk(former->session);
	/* A session that has had it published it when it ended. */
	if (!former->half &&
	    !publish_will(will, former->will_retain, NULL, false))
		log_print(LOG_TYPE_ERROR,
			  "Error: The will of a client that is gone could not be published.");
	message_put(will);
	return false;
}

static void end_one(struct former *former)
{
	bool on_disk = leave_will(former);

	if (former->session) {
		outbound_lost(former->session, former->now.seq);
		session_abandon(former->session);
	}
	former_write_end(former->cookie, on_disk);
	former_free(former);
}

void former_end_all(void)
{
	each(end_one);
}
