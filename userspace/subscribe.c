// SPDX-License-Identifier: GPL-2.0
/*
 * SUBSCRIBE and UNSUBSCRIBE: what they ask of the module, in as few messages as
 * hold it; then of the session; and then the acknowledgment: a SUBACK promises
 * that all have the subscriptions. Retained messages follow it, or come before
 * (section 3.8.4): of filters that take long to compare with them, no more are
 * worked on at once than leave time for other clients, and one that takes very
 * long alone, in a walk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "frame.h"
#include "memory.h"
#include "packet.h"
#include "publish.h"
#include "retained.h"
#include "session.h"
#include "shape.h"
#include "sink.h"
#include "store.h"
#include "topic.h"
#include "walk.h"

/* Nodes of retained messages that are looked at before others have their turn. */
#define BATCH_COST	16384

/* Whom retained messages are for, and how. */
struct wanted {
	struct session *session;
	struct origin *origin;
	u8 qos;
};

/**
 * struct subscribing - a packet being worked on, at the head of @client->in
 * @client: whose it is
 * @walk: through what is retained, for the filter at @batch
 * @wanted: what it finds is wanted so
 * @acknowledged: only retained messages are left to be sent
 * @subscribe: it is a SUBSCRIBE
 * @header: bytes of its fixed header
 * @size: bytes of all of it
 * @at: where the next filter is, after the fixed header
 * @index: number of the next filter
 * @first_at: where the first filter of the message to the module is
 * @first: its number
 * @count: filters
 * @fresh: filters in the message to the module that the session has not got; one
 *	that is there twice counts twice
 * @batch_at: where the first filter is whose retained messages have not been sent
 * @batch: its number
 * @cost: retained_cost() of those before the next one
 * @full: so much that their messages are to be sent first
 * @deep: deep levels of the filters in the message to the module, whose shapes
 *	(shape.h) are counted already: others ask meanwhile, too
 * @refused: filters that were refused for their shapes
 * @id: packet identifier
 * @sub_id: subscription identifier, 0: none
 * @existed: of each filter, whether there was such a subscription
 * @codes: reason codes, one a filter
 */
struct subscribing {
	struct client *client;
	struct walk walk;
	struct wanted wanted;
	bool acknowledged;
	bool subscribe;
	size_t header;
	size_t size;
	size_t at;
	u32 index;
	size_t first_at;
	u32 first;
	u32 count;
	u32 fresh;
	size_t batch_at;
	u32 batch;
	u64 cost;
	bool full;
	u32 deep;
	u32 refused;
	u16 id;
	u32 sub_id;
	u8 *existed;
	u8 codes[];
};

/**
 * struct filter - a filter in the packet
 * @as: all that is said there; @as.qos: as it can be granted
 * @topic: all of it, with the share name
 * @qos: likewise
 * @next: where the one after it is
 */
struct filter {
	struct packet_filter as;
	struct packet_bytes topic;
	u8 qos;
	size_t next;
};

static const u8 *body(const struct client *client)
{
	return buffer_head(&client->in) + client->subscribing->header;
}

static void read_filter(const struct client *client, size_t at,
			struct filter *filter)
{
	u8 max = client->listener->config->max_qos;

	filter->next = packet_next_filter(body(client), at,
					  client->subscribing->subscribe,
					  &filter->as);
	if (filter->as.qos > max)
		filter->as.qos = max;
	filter->topic = filter->as.whole;
	filter->qos = filter->as.qos;
}

/* [MQTT5: MQTT-4.8.2-1], [MQTT5: MQTT-4.8.2-2]; a '/' ends it. */
static bool is_share_name(const struct packet_bytes *name)
{
	return name->len && !memchr(name->data, '+', name->len) &&
	       !memchr(name->data, '#', name->len);
}

static bool is_valid(const struct filter *filter)
{
	const struct packet_filter *as = &filter->as;

	return (!as->group.data || is_share_name(&as->group)) &&
	       !kmqtt_topic_filter_check(as->topic.data, as->topic.len);
}

static bool is_new(const struct client *client, const struct filter *filter)
{
	return !filters_find(client->session, filter->topic.data,
			     filter->topic.len);
}

static void get_shape(struct shape *shape, const struct filter *filter)
{
	shape_of(shape, filter->as.topic.data, filter->as.topic.len);
}

static bool may_shape(const struct client *client, const struct filter *filter)
{
	struct shape shape;

	get_shape(&shape, filter);
	return shape_may(&shape, client->session->subscription_count +
				 client->subscribing->index);
}

/* False without memory. */
static bool count_shape(struct subscribing *subscribing,
			const struct filter *filter)
{
	struct shape shape;

	if (!subscribing->subscribe)
		return true;
	get_shape(&shape, filter);
	if (shape_get(&shape))
		return false;
	subscribing->deep += shape.deep;
	return true;
}

/*
 * Those of the message to the module: the session counts them now, or nobody
 * has the filters.
 */
static void uncount_shapes(struct client *client)
{
	struct subscribing *subscribing = client->subscribing;
	size_t at = subscribing->first_at;
	struct filter filter;
	struct shape shape;
	u32 i;

	for (i = subscribing->first;
	     subscribing->deep && i < subscribing->index; i++) {
		read_filter(client, at, &filter);
		at = filter.next;
		if (reason_is_error(subscribing->codes[i]))
			continue;
		get_shape(&shape, &filter);
		shape_put(&shape);
		subscribing->deep -= shape.deep;
	}
}

bool subscribe_is_walking(const struct client *client)
{
	return client->subscribing &&
	       walk_is_under_way(&client->subscribing->walk);
}

void subscribe_forget(struct client *client)
{
	if (client->subscribing)
		walk_cancel(&client->subscribing->walk);
}

void subscribe_free(struct client *client)
{
	if (!client->subscribing)
		return;
	subscribe_forget(client);
	uncount_shapes(client);
	free(client->subscribing->wanted.origin);
	free(client->subscribing);
	client->subscribing = NULL;
}

/* Why it cannot be subscribed to, or REASON_SUCCESS. */
static enum reason check(const struct client *client,
			 const struct filter *filter)
{
	struct subscribing *subscribing = client->subscribing;
	u32 most = client_config->max_subscriptions;
	bool may;

	if (!is_valid(filter))
		return REASON_FILTER_INVALID;
	if (!subscribing->subscribe)
		return REASON_SUCCESS;
	may = may_shape(client, filter);
	if (may && !memory_over() &&
	    (!most || client->session->subscription_count +
		      subscribing->fresh < most))
		return REASON_SUCCESS;
	if (!is_new(client, filter))
		return REASON_SUCCESS;
	subscribing->refused += !may;
	return REASON_QUOTA;
}

static void skip(struct subscribing *subscribing, const struct filter *filter,
		 enum reason reason)
{
	subscribing->codes[subscribing->index++] = reason;
	subscribing->at = filter->next;
}

/*
 * The next filter that is one (section 4.7), and has room; others are skipped,
 * and refused in the acknowledgment [MQTT-3.8.4-5]. False at the end.
 */
static bool next_valid(struct client *client, struct filter *filter)
{
	struct subscribing *subscribing = client->subscribing;
	enum reason reason;

	while (subscribing->index < subscribing->count) {
		read_filter(client, subscribing->at, filter);
		reason = check(client, filter);
		if (!reason)
			return true;
		skip(subscribing, filter, reason);
	}
	return false;
}

static void log_filter(const struct client *client, const struct filter *filter)
{
	enum log_type type = client->subscribing->subscribe ?
			     LOG_TYPE_SUBSCRIBE : LOG_TYPE_UNSUBSCRIBE;
	char topic[LOG_ESCAPED(LOG_TEXT_MAX)];
	char name[CLIENT_NAME_SIZE];

	if (!log_enabled(type))
		return;
	client_name(client, name);
	log_escape(topic, filter->topic.data, filter->topic.len);
	if (type == LOG_TYPE_SUBSCRIBE)
		log_print(type, "%s %u %s", name, filter->qos, topic);
	else
		log_print(type, "%s %s", name, topic);
}

/**
 * struct wish - a subscription that the module is to have, or not
 * @topic: topic filter, of a shared one without share name
 * @group: share name, may not be there
 * @qos: granted
 * @flags: mask of KMQTT_SUB_*
 * @sub_id: subscription identifier, 0: none
 */
struct wish {
	struct packet_bytes topic;
	struct packet_bytes group;
	u8 qos;
	u8 flags;
	u32 sub_id;
};

/* Adds it to a message to the module. */
static void put_wish(struct nlmsghdr *message, const struct wish *wish)
{
	struct nlattr *nest;

	nest = mnl_attr_nest_start(message, KMQTT_A_SUB_FILTER);
	mnl_attr_put(message, KMQTT_A_FILTER_TOPIC, wish->topic.len,
		     wish->topic.data);
	mnl_attr_put_u8(message, KMQTT_A_FILTER_QOS, wish->qos);
	if (wish->flags)
		mnl_attr_put_u8(message, KMQTT_A_FILTER_FLAGS, wish->flags);
	if (wish->sub_id)
		mnl_attr_put_u32(message, KMQTT_A_FILTER_SUB_ID, wish->sub_id);
	if (wish->group.data)
		mnl_attr_put(message, KMQTT_A_FILTER_GROUP, wish->group.len,
			     wish->group.data);
	mnl_attr_nest_end(message, nest);
}

/* Bytes that put_wish() adds at most for a filter of @len bytes in all. */
static size_t wish_room(u16 len)
{
	return 6 * MNL_ATTR_HDRLEN + MNL_ALIGN(len) + MNL_ALIGN(1) +
	       2 * MNL_ALIGN(sizeof(u8)) + MNL_ALIGN(sizeof(u32));
}

/* What is published at QoS 0 is not for the module to deliver if it is upgraded. */
static u8 upgrade_flag(u8 qos)
{
	return qos && client_config->upgrade_qos ? KMQTT_SUB_UPGRADE : 0;
}

static struct wish wish_of(const struct client *client,
			   const struct filter *filter)
{
	const struct packet_filter *as = &filter->as;

	return (struct wish){
		.topic = as->topic,
		.group = as->group,
		.qos = as->qos,
		.flags = (as->no_local ? KMQTT_SUB_NO_LOCAL : 0) |
			 (as->retain_as_published ?
			  KMQTT_SUB_RETAIN_AS_PUBLISHED : 0) |
			 upgrade_flag(as->qos),
		.sub_id = client->subscribing->sub_id,
	};
}

/* Whether the filter belongs to this batch. */
static bool take_cost(struct subscribing *subscribing,
		      const struct filter *filter)
{
	u32 cost = subscribing->subscribe ?
		   retained_cost(filter->topic.data, filter->topic.len) : 0;

	subscribing->full = subscribing->cost &&
			    subscribing->cost + cost > BATCH_COST;
	if (!subscribing->full)
		subscribing->cost += cost;
	return !subscribing->full;
}

/* As many filters as fit; next_valid() has found that there is one. */
static void build(struct kmod_request *request, struct nlmsghdr *message,
		  size_t room)
{
	struct client *client = client_of_request(request);
	struct subscribing *subscribing = client->subscribing;
	size_t end = message->nlmsg_len + room;
	struct filter filter;
	struct wish wish;

	mnl_attr_put_u32(message, KMQTT_A_SUB_CONN_ID, client->conn_id);
	if (subscribing->subscribe && sink_enabled())
		mnl_attr_put(message, KMQTT_A_SUB_HOLD, 0, NULL);
	subscribing->first_at = subscribing->at;
	subscribing->first = subscribing->index;
	while (next_valid(client, &filter)) {
		if (end - message->nlmsg_len < wish_room(filter.topic.len) ||
		    !take_cost(subscribing, &filter))
			return;
		if (!count_shape(subscribing, &filter)) {
			skip(subscribing, &filter, REASON_QUOTA);
			continue;
		}
		wish = wish_of(client, &filter);
		put_wish(message, &wish);
		log_filter(client, &filter);
		if (client_config->max_subscriptions)
			subscribing->fresh += is_new(client, &filter);
		subscribing->index++;
		subscribing->at = filter.next;
	}
}

/* The session */

/* False: the SUBACK says that it has failed. */
static bool subscribe(struct client *client, u32 index,
		      const struct filter *filter)
{
	const struct store_subscription wanted = {
		.filter = filter->topic.data,
		.len = filter->topic.len,
		.qos = filter->qos,
		.options = (filter->as.no_local ? STORE_NO_LOCAL : 0) |
			   (filter->as.retain_as_published ?
			    STORE_RETAIN_AS_PUBLISHED : 0),
		.identifier = client->subscribing->sub_id,
	};
	struct session *session = client->session;

	client->subscribing->existed[index] = !is_new(client, filter);
	if (!filters_subscribe(session, &wanted))
		return false;
	if (session->sid)
		store_subscription_set(session->sid, &wanted);
	return true;
}

static enum reason unsubscribe(struct client *client,
			       const struct filter *filter)
{
	struct session *session = client->session;
	struct subscription *subscription;

	subscription = filters_find(session, filter->topic.data,
				    filter->topic.len);
	if (!subscription)
		return REASON_NO_SUBSCRIPTION_EXISTED;
	filters_unsubscribe(subscription);
	if (session->sid)
		store_subscription_del(session->sid, filter->topic.data,
				       filter->topic.len);
	return REASON_SUCCESS;
}

/* The module has done what the last message asked for: the session follows. */
static void follow(struct client *client)
{
	struct subscribing *subscribing = client->subscribing;
	size_t at = subscribing->first_at;
	struct filter filter;
	u32 i;

	for (i = subscribing->first; i < subscribing->index; i++) {
		read_filter(client, at, &filter);
		at = filter.next;
		if (reason_is_error(subscribing->codes[i]))
			continue;
		if (!subscribing->subscribe)
			subscribing->codes[i] = unsubscribe(client, &filter);
		else if (subscribe(client, i, &filter))
			subscribing->codes[i] = filter.qos;
		else
			subscribing->codes[i] = REASON_QUOTA;
	}
}

/* Retained messages [MQTT-3.8.4-3] */

static int send_retained(struct message *message, void *arg)
{
	const struct wanted *wanted = arg;
	const struct store_delivery delivery = {
		.message = message,
		.origin = wanted->origin,
		.qos = publish_qos(wanted->qos, message),
		.flags = STORE_RETAINED,
	};

	if (!session_may(wanted->session, message->data,
			 message->topic_len, KMQTT_ACCESS_READ))
		return 0;
	if (client_config->check_retain_source && message->source &&
	    !acl_source_may(message->source, message->data, message->topic_len))
		return 0;
	return outbound_add(wanted->session, &delivery) ? 0 : -ENOBUFS;
}

/* Section 3.8.3.1: retain handling; there is nothing for a share (4.8.2). */
static bool wants_retained(const struct client *client, u32 index,
			   const struct filter *filter)
{
	const struct subscribing *subscribing = client->subscribing;

	return !reason_is_error(subscribing->codes[index]) &&
	       !filter->as.group.data && filter->as.retain_handling < 2 &&
	       !(filter->as.retain_handling && subscribing->existed[index]);
}

static struct subscribing *subscribing_of(struct walk *walk)
{
	return container_of(walk, struct subscribing, walk);
}

/* What the snapshot is of, is what is retained now. */
static void walk_begins(struct walk *walk)
{
	if (hold_is_up(subscribing_of(walk)->client))
		hold_snapshot(subscribing_of(walk)->client);
}

static int walk_finds(struct message *message, void *walk)
{
	return send_retained(message, &subscribing_of(walk)->wanted);
}

static void walk_pauses(struct walk *walk)
{
	outbound_pump(subscribing_of(walk)->client->session);
}

static void walk_ends(struct walk *walk);

/* For the filter of a batch that is too large for one turn, and alone in it. */
static bool start_walk(struct client *client, const struct filter *filter)
{
	static const struct walk_calls calls = {
		.begin = walk_begins,
		.found = walk_finds,
		.pause = walk_pauses,
		.end = walk_ends,
	};
	struct subscribing *subscribing = client->subscribing;

	return subscribing->cost > BATCH_COST &&
	       walk_needed(filter->topic.data, filter->topic.len) &&
	       !walk_start(&subscribing->walk, &calls, filter->topic.data,
			   filter->topic.len);
}

/*
 * Of the filters that are there by now. False: a walk is under way, which goes
 * on when they have been sent.
 */
static bool send_batch(struct client *client)
{
	struct subscribing *subscribing = client->subscribing;
	struct wanted *wanted = &subscribing->wanted;
	struct filter filter;
	u32 i;

	if (!wanted->origin)
		wanted->origin = origin_new(&subscribing->sub_id,
					    subscribing->sub_id ? sizeof(u32)
								: 0, NULL, 0);
	while (subscribing->batch < subscribing->index) {
		i = subscribing->batch++;
		read_filter(client, subscribing->batch_at, &filter);
		subscribing->batch_at = filter.next;
		if (!wants_retained(client, i, &filter))
			continue;
		wanted->session = client->session;
		wanted->qos = filter.qos;
		if (start_walk(client, &filter))
			return false;
		retained_match(filter.topic.data, filter.topic.len,
			       send_retained, wanted);
	}
	outbound_pump(client->session);
	return true;
}

/* One after the other */

static void done(struct kmod_request *request, const struct kmod_reply *reply);

/* Of the first filter that was refused, or NULL [MQTT5: MQTT-3.1.2-29]. */
static const char *explanation(const struct client *client)
{
	const struct subscribing *subscribing = client->subscribing;
	u32 i;

	if (client->level != PACKET_LEVEL_5 || !client->explain)
		return NULL;
	for (i = 0; i < subscribing->count; i++)
		if (reason_is_error(subscribing->codes[i]))
			return reason_text(subscribing->codes[i]);
	return NULL;
}

static size_t build_ack(const struct client *client, u8 *packet)
{
	const struct subscribing *subscribing = client->subscribing;

	return packet_build_filters_ack(packet, client->level, client->max_send,
					subscribing->subscribe ?
					KMQTT_SUBACK : KMQTT_UNSUBACK,
					subscribing->id, subscribing->codes,
					subscribing->count,
					explanation(client));
}

/* One that exceeds the client's maximum packet size cannot be. */
static void send_ack(struct client *client)
{
	size_t size = build_ack(client, NULL);
	u8 *to = size ? client_reserve(client, size) : NULL;

	if (to)
		build_ack(client, to);
}

static void log_shapes(const struct client *client)
{
	static unsigned long long total;
	u32 refused = client->subscribing->refused;
	char name[CLIENT_NAME_SIZE];

	total += refused;
	log_print(LOG_TYPE_WARNING,
		  "Warning: Client %s was refused %u subscriptions, of %llu in all: deep filters, with too many permutations of '+'.",
		  client_name(client, name), refused, total);
}

/* The packet is done with; what is retained may still be on its way. */
static void acknowledge(struct client *client)
{
	struct subscribing *subscribing = client->subscribing;
	u64 before = store_queued();

	send_ack(client);
	if (subscribing->refused)
		log_shapes(client);
	subscribing->acknowledged = true;
	if (subscribing->subscribe && !send_batch(client)) {
		if (session_on_disk(client->session))
			commit_unsettled(client);
		return;
	}
	if (store_queued() != before)
		commit_silently(client,
				session_change(client->session,
					       store_queued()));
	subscribe_free(client);
	if (hold_is_up(client))
		hold_snapshot(client);
}

/* As subscribe_handle() promises when it has returned false. */
static void consume(struct client *client, size_t size)
{
	client_consume(client, size);
	client_pump(client);
}

static void acknowledge_later(struct client *client)
{
	size_t size = client->subscribing->size;

	acknowledge(client);
	consume(client, size);
}

/* Once it is on disk. */
static void await_sink(struct client *client)
{
	hold_await_sink(client, acknowledge_later);
}

/* Each batch has a snapshot of its own. */
static void end_batch(struct client *client)
{
	if (!send_batch(client))
		return;
	client->subscribing->cost = 0;
	client->subscribing->full = false;
	if (hold_is_up(client))
		hold_snapshot(client);
	else
		subscribe_go_on(client);
}

/* The batch has been sent; the snapshot may be, or the module has to hear of it
 * first.
 */
static void walk_ends(struct walk *walk)
{
	struct subscribing *subscribing = subscribing_of(walk);
	struct client *client = subscribing->client;

	/* With the client it will all be forgotten. */
	if (client_is_leaving(client))
		return;
	outbound_pump(client->session);
	subscribing->cost = 0;
	subscribing->full = false;
	if (!subscribing->acknowledged) {
		if (!hold_delays(client))
			subscribe_go_on(client);
		return;
	}
	commit_settled(client, store_queued());
	subscribe_free(client);
	hold_sent(client);
	client_pump(client);
}

/* Asks the module for the rest. True when there was none: it is acknowledged.
 */
static bool go_on(struct client *client)
{
	static const struct kmod_command sub_add = {
		.cmd = KMQTT_CMD_SUB_ADD,
		.build = build,
		.done = done,
	};
	static const struct kmod_command sub_del = {
		.cmd = KMQTT_CMD_SUB_DEL,
		.flags = NLM_F_ACK,
		.build = build,
		.done = done,
	};
	struct subscribing *subscribing = client->subscribing;
	struct filter filter;
	u64 change;

	if (subscribing->full) {
		hold_await_sink(client, end_batch);
		return false;
	}
	if (next_valid(client, &filter)) {
		client_request(client,
			       subscribing->subscribe ? &sub_add : &sub_del);
		return false;
	}
	change = session_change(client->session, store_queued());
	if (change < commit_change(client))
		change = commit_change(client);
	if (change > store_committed() || !hold_sink_is_read(client)) {
		commit_await(client, change, await_sink);
		return false;
	}
	acknowledge(client);
	return true;
}

void subscribe_go_on(struct client *client)
{
	size_t size = client->subscribing->size;

	if (!subscribe_is_walking(client) && go_on(client))
		consume(client, size);
}

static void log_refused(struct client *client, const char *what,
			const struct kmod_reply *reply)
{
	char name[CLIENT_NAME_SIZE];

	/* It has ended meanwhile. There may be a DISCONNECT behind this one. */
	if (reply->err == -ENOTCONN || reply->err == -ENOENT)
		return;
	log_print(LOG_TYPE_ERROR,
		  "Error: The kernel module refused %s of client %s: %s %s",
		  what, client_name(client, name), strerror(-reply->err),
		  reply->text);
}

/* The request failed, as a whole. True when the client can go on. */
static bool failed(struct client *client, const struct kmod_reply *reply)
{
	struct subscribing *subscribing = client->subscribing;
	bool ended = reply->err == -ENOTCONN || reply->err == -ENOENT;
	bool lost = reply->err == -ENOBUFS;	/* and who knows what it was */

	if (subscribing->subscribe)
		memset(subscribing->codes + subscribing->first,
		       reply->err == -EDQUOT ? REASON_QUOTA
					     : REASON_UNSPECIFIED,
		       subscribing->index - subscribing->first);
	log_refused(client, subscribing->subscribe ? "subscriptions"
						   : "to unsubscribe", reply);
	/* UNSUBACK cannot tell. */
	return ended || (subscribing->subscribe && !lost);
}

/* Messages of these subscriptions are held back from now on. 0 or -ENOMEM. */
static int held_up(struct client *client, const struct kmod_reply *reply)
{
	if (!client->subscribing->subscribe || !sink_enabled())
		return 0;
	return hold_begin(client, kmod_u64(reply, KMQTT_A_SUB_SINK_SEQ));
}

static void done(struct kmod_request *request, const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);

	if (!client_answered(client))
		return;
	client->subscribing->fresh = 0;
	uncount_shapes(client);
	if (!reply->err) {
		follow(client);
		if (held_up(client, reply)) {
			client_end(client, "out of memory");
			return;
		}
	} else if (!failed(client, reply)) {
		client_end(client, NULL);
		return;
	}
	subscribe_go_on(client);
}

static struct subscribing *make(bool subscribe,
				const struct packet_filters *filters)
{
	struct subscribing *subscribing;

	subscribing = calloc(1, sizeof(*subscribing) +
				2 * (size_t)filters->count);
	if (!subscribing)
		return NULL;
	subscribing->existed = subscribing->codes + filters->count;
	subscribing->subscribe = subscribe;
	subscribing->id = filters->id;
	subscribing->sub_id = filters->sub_id;
	subscribing->at = filters->at;
	subscribing->batch_at = filters->at;
	subscribing->count = filters->count;
	return subscribing;
}

/* Whether one of its filters is none (section 4.7). */
static bool has_malformed(const struct client *client)
{
	const struct subscribing *subscribing = client->subscribing;
	struct filter filter = { .next = subscribing->at };
	u32 i;

	for (i = 0; i < subscribing->count; i++) {
		read_filter(client, filter.next, &filter);
		if (kmqtt_topic_filter_check(filter.as.topic.data,
					     filter.as.topic.len) == -EINVAL)
			return true;
	}
	return false;
}

/* Nothing that has to be durable is begun while the disk takes no writes. */
static void refuse_all(struct client *client)
{
	memset(client->subscribing->codes, REASON_UNSPECIFIED,
	       client->subscribing->count);
	acknowledge(client);
}

bool subscribe_handle(struct client *client, bool subscribe, size_t header,
		      size_t size)
{
	const u8 *data = buffer_head(&client->in) + header;
	struct packet_filters filters;
	char name[CLIENT_NAME_SIZE];
	enum reason reason;

	log_print(LOG_TYPE_DEBUG, "Received %s from %s",
		  subscribe ? "SUBSCRIBE" : "UNSUBSCRIBE",
		  client_name(client, name));
	reason = packet_parse_filters(client->level, data, size - header,
				      subscribe, &filters);
	if (reason) {
		client_fail(client, reason, NULL);
		return true;
	}
	if (client_config->max_filters &&
	    filters.count > client_config->max_filters) {
		client_fail(client, REASON_QUOTA,
			    "too many topic filters in a packet");
		return true;
	}
	client->subscribing = make(subscribe, &filters);
	if (!client->subscribing) {
		client_fail(client, REASON_QUOTA, "out of memory");
		return true;
	}
	client->subscribing->client = client;
	client->subscribing->header = header;
	client->subscribing->size = size;
	/* UNSUBACK says so in MQTT 5 alone (section 4.8). */
	if (!subscribe && client->level != PACKET_LEVEL_5 &&
	    has_malformed(client)) {
		client_fail(client, REASON_MALFORMED, NULL);
		return true;
	}
	if (subscribe && session_on_disk(client->session) && !store_healthy()) {
		refuse_all(client);
		return true;
	}
	return go_on(client);
}

/* A session that goes on */

static void build_restore(struct kmod_request *request,
			  struct nlmsghdr *message, size_t room)
{
	struct client *client = client_of_request(request);
	size_t end = message->nlmsg_len + room;
	static u8 filter[UINT16_MAX];
	struct filters_parts parts;
	struct wish wish;
	u16 len;

	mnl_attr_put_u32(message, KMQTT_A_SUB_CONN_ID, client->conn_id);
	if (outbound_passes(&client->session->outbound))
		mnl_attr_put(message, KMQTT_A_SUB_HOLD, 0, NULL);
	while (client->restoring) {
		len = filters_text(client->restoring, filter);
		if (end - message->nlmsg_len < wish_room(len))
			return;
		parts = filters_split(filter, len);
		wish = (struct wish){
			.topic = { parts.topic, parts.topic_len },
			.group = { parts.name, parts.name_len },
			.qos = client->restoring->qos,
			.flags = client->restoring->options |
				 upgrade_flag(client->restoring->qos),
			.sub_id = client->restoring->identifier,
		};
		put_wish(message, &wish);
		client->restoring = TAILQ_NEXT(client->restoring, own);
	}
}

static void restore(struct client *client);

static void restore_done(struct kmod_request *request,
			 const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);

	if (!client_answered(client))
		return;
	if (reply->err) {
		log_refused(client, "subscriptions", reply);
		client_ended(client);
		return;
	}
	/* What comes of them comes after what has waited [MQTT-4.6.0-6]. */
	if (outbound_passes(&client->session->outbound) &&
	    hold_begin(client, kmod_u64(reply, KMQTT_A_SUB_SINK_SEQ))) {
		client_end(client, "out of memory");
		return;
	}
	restore(client);
}

static void restore(struct client *client)
{
	static const struct kmod_command sub_add = {
		.cmd = KMQTT_CMD_SUB_ADD,
		.build = build_restore,
		.done = restore_done,
	};

	if (client->restoring) {
		client_request(client, &sub_add);
		return;
	}
	session_restored(client->session);
	client->then(client);
}

void subscribe_restore(struct client *client,
		       void (*then)(struct client *client))
{
	client->restoring = TAILQ_FIRST(&client->session->subscriptions);
	client->then = then;
	restore(client);
}
