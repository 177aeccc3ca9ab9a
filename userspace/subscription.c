// SPDX-License-Identifier: GPL-2.0
/*
 * SUBSCRIBE and UNSUBSCRIBE: what they ask of the kernel, in as few messages as
 * hold it, and then the acknowledgment: a SUBACK promises that the kernel has
 * the subscriptions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "packet.h"
#include "topic.h"

/**
 * struct subscription - a packet being worked on, at the head of @client->in
 * @subscribe: it is a SUBSCRIBE
 * @header: bytes of its fixed header
 * @size: bytes of all of it
 * @at: where the next filter is, after the fixed header
 * @index: number of the next filter
 * @first: number of the first filter in the message to the kernel
 * @count: filters
 * @codes: of SUBACK: the return codes, in @ack
 * @ack_size: bytes of @ack
 * @ack: the acknowledgment
 */
struct subscription {
	bool subscribe;
	size_t header;
	size_t size;
	size_t at;
	u32 index;
	u32 first;
	u32 count;
	u8 *codes;
	size_t ack_size;
	u8 ack[];
};

/* A filter in the packet, and where the one after it is. */
struct filter {
	struct packet_bytes topic;
	u8 qos;
	size_t next;
};

void subscription_free(struct subscription *subscription)
{
	free(subscription);
}

static const u8 *body(const struct client *client)
{
	return buffer_head(&client->in) + client->subscription->header;
}

/*
 * The next filter that is one (section 4.7); others are skipped, and refused in
 * the SUBACK [MQTT-3.8.4-5]. False at the end.
 */
static bool next_valid(struct client *client, struct filter *filter)
{
	struct subscription *subscription = client->subscription;

	for (; subscription->index < subscription->count;
	     subscription->index++, subscription->at = filter->next) {
		filter->next = packet_next_filter(body(client),
						  subscription->at,
						  subscription->subscribe,
						  &filter->topic, &filter->qos);
		if (!kmqtt_topic_filter_check(filter->topic.data,
					      filter->topic.len))
			return true;
		if (subscription->subscribe)
			subscription->codes[subscription->index] =
				PACKET_SUBACK_FAILURE;
	}
	return false;
}

static void log_filter(const struct client *client, const struct filter *filter)
{
	enum log_type type = client->subscription->subscribe ?
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

/* As many filters as fit; next_valid() has found that there is one. */
static void build(struct kmod_request *request, struct nlmsghdr *message,
		  size_t room)
{
	struct client *client = client_of_request(request);
	struct subscription *subscription = client->subscription;
	size_t end = message->nlmsg_len + room;
	struct filter filter;
	struct nlattr *nest;

	mnl_attr_put_u32(message, KMQTT_A_SUB_CONN_ID, client->conn_id);
	subscription->first = subscription->index;
	while (next_valid(client, &filter)) {
		if (end - message->nlmsg_len <
		    2 * MNL_ATTR_HDRLEN + MNL_ALIGN(filter.topic.len))
			return;
		/* The QoS granted is the default: 0. */
		nest = mnl_attr_nest_start(message, KMQTT_A_SUB_FILTER);
		mnl_attr_put(message, KMQTT_A_FILTER_TOPIC, filter.topic.len,
			     filter.topic.data);
		mnl_attr_nest_end(message, nest);
		log_filter(client, &filter);
		subscription->index++;
		subscription->at = filter.next;
	}
}

static void done(struct kmod_request *request, const struct kmod_reply *reply);

/* Asks the kernel for the rest. True when there was none: it is acknowledged */
static bool go_on(struct client *client)
{
	static const struct kmod_command sub_add = {
		.cmd = KMQTT_CMD_SUB_ADD,
		.flags = NLM_F_ACK,
		.build = build,
		.done = done,
	};
	static const struct kmod_command sub_del = {
		.cmd = KMQTT_CMD_SUB_DEL,
		.flags = NLM_F_ACK,
		.build = build,
		.done = done,
	};
	struct subscription *subscription = client->subscription;
	struct filter filter;

	if (next_valid(client, &filter)) {
		client_request(client,
			       subscription->subscribe ? &sub_add : &sub_del);
		return false;
	}
	client->subscription = NULL;
	client_send(client, subscription->ack, subscription->ack_size);
	subscription_free(subscription);
	return true;
}

/* The request failed, as a whole. True when the client can go on. */
static bool failed(struct client *client, const struct kmod_reply *reply)
{
	struct subscription *subscription = client->subscription;
	bool lost = reply->err == -ENOBUFS;	/* and who knows what it was */
	char name[CLIENT_NAME_SIZE];

	if (subscription->subscribe)
		memset(subscription->codes + subscription->first,
		       PACKET_SUBACK_FAILURE,
		       subscription->index - subscription->first);
	/* It has ended meanwhile. There may be a DISCONNECT behind this one. */
	if (reply->err == -ENOTCONN || reply->err == -ENOENT)
		return true;
	log_print(LOG_TYPE_ERROR,
		  "Error: The kernel module refused %s of client %s: %s %s",
		  subscription->subscribe ? "subscriptions" : "to unsubscribe",
		  client_name(client, name), strerror(-reply->err),
		  reply->text);
	return subscription->subscribe && !lost;	/* UNSUBACK cannot tell */
}

static void done(struct kmod_request *request, const struct kmod_reply *reply)
{
	struct client *client = client_of_request(request);
	size_t size = client->subscription->size;

	if (!client_answered(client))
		return;
	if (reply->err && !failed(client, reply)) {
		client_end(client, NULL);
		return;
	}
	if (!go_on(client))
		return;
	buffer_consume(&client->in, size);
	client_pump(client);
}

static struct subscription *make(bool subscribe,
				 const struct packet_filters *filters)
{
	size_t ack_size = subscribe ? packet_suback_size(filters->count)
				    : PACKET_UNSUBACK_SIZE;
	struct subscription *subscription;

	subscription = calloc(1, sizeof(*subscription) + ack_size);
	if (!subscription)
		return NULL;
	subscription->subscribe = subscribe;
	subscription->at = PACKET_FILTERS_AT;
	subscription->count = filters->count;
	subscription->ack_size = ack_size;
	if (subscribe)
		subscription->codes = packet_build_suback(subscription->ack,
							  filters->id,
							  filters->count);
	else
		packet_build_unsuback(subscription->ack, filters->id);
	return subscription;
}

bool subscription_handle(struct client *client, bool subscribe, size_t header,
			 size_t size)
{
	const u8 *data = buffer_head(&client->in) + header;
	struct packet_filters filters;
	char name[CLIENT_NAME_SIZE];

	log_print(LOG_TYPE_DEBUG, "Received %s from %s",
		  subscribe ? "SUBSCRIBE" : "UNSUBSCRIBE",
		  client_name(client, name));
	if (packet_parse_filters(data, size - header, subscribe, &filters)) {
		client_end(client, "malformed packet");
		return true;
	}
	client->subscription = make(subscribe, &filters);
	if (!client->subscription) {
		client_end(client, "out of memory");
		return true;
	}
	client->subscription->header = header;
	client->subscription->size = size;
	return go_on(client);
}
