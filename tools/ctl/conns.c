// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <linux/kmqtt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "ctl.h"
#include "genl.h"
#include "json.h"
#include "names.h"
#include "table.h"

static const struct table_column columns[] = {
	{ "ID", true },
	{ "CLIENT", false },
	{ "ADDRESS", false },
	{ "STATE", false },
	{ "LEVEL", false },
	{ "KEEPALIVE", true },
	{ "SUBS", true },
	{ "RECEIVED", true },
	{ "SENT", true },
	{ "DROPPED", true },
	{ "DENIED", true },
	{ "WAITING", true },
	{ "WORKER", true },
	{ "ENDED", false },
};

/* Numbers that JSON gives as they are. */
static const struct {
	unsigned int type;
	const char *name;
} numbers[] = {
	{ KMQTT_A_CONN_LEVEL, "level" },
	{ KMQTT_A_CONN_KEEPALIVE, "keepalive" },
	{ KMQTT_A_CONN_MAX_PACKET, "max_packet" },
	{ KMQTT_A_CONN_PUBLISH_RATE, "publish_rate" },
	{ KMQTT_A_CONN_RING_MESSAGES, "ring_messages" },
	{ KMQTT_A_CONN_RING_BYTES, "ring_bytes" },
	{ KMQTT_A_CONN_USER_BYTES, "user_bytes" },
	{ KMQTT_A_CONN_UNSENT_BYTES, "unsent_bytes" },
	{ KMQTT_A_CONN_PACKET_TIMEOUT, "packet_timeout" },
	{ KMQTT_A_CONN_EVENT_SEQ, "event_seq" },
	{ KMQTT_A_CONN_WORKER, "worker" },
	{ KMQTT_A_CONN_SUBS, "subs" },
	{ KMQTT_A_CONN_RING_USED_MESSAGES, "ring_used_messages" },
	{ KMQTT_A_CONN_RING_USED_BYTES, "ring_used_bytes" },
	{ KMQTT_A_CONN_USER_USED_BYTES, "user_used_bytes" },
	{ KMQTT_A_CONN_RX_PACKETS, "rx_packets" },
	{ KMQTT_A_CONN_RX_PUBLISHES, "rx_publishes" },
	{ KMQTT_A_CONN_RX_BYTES, "rx_bytes" },
	{ KMQTT_A_CONN_TX_MESSAGES, "tx_messages" },
	{ KMQTT_A_CONN_TX_BYTES, "tx_bytes" },
	{ KMQTT_A_CONN_DROPPED_MESSAGES, "dropped_messages" },
	{ KMQTT_A_CONN_DROPPED_BYTES, "dropped_bytes" },
	{ KMQTT_A_CONN_DROPPED_NOMEM, "dropped_nomem" },
	{ KMQTT_A_CONN_RULES_ID, "rules_id" },
	{ KMQTT_A_CONN_DENIED_PUBLISHES, "denied_publishes" },
	{ KMQTT_A_CONN_DENIED_DELIVERIES, "denied_deliveries" },
	{ KMQTT_A_CONN_MAX_SEND, "max_send" },
	{ KMQTT_A_CONN_MAX_TOPIC_ALIAS, "max_topic_alias" },
	{ KMQTT_A_CONN_DROPPED_TOO_LARGE, "dropped_too_large" },
	{ KMQTT_A_CONN_DROPPED_EXPIRED, "dropped_expired" },
};

struct address {
	char host[NI_MAXHOST];
	uint16_t port;
};

/* Returns false for an address of a family that is not known. */
static bool address_of(const struct nlattr *remote, struct address *address)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;	/* its port is where in6's is */
		struct sockaddr_in6 in6;
	} sock;
	size_t len;

	if (!remote)
		return false;
	len = mnl_attr_get_payload_len(remote);
	if (len > sizeof(sock))
		return false;
	memset(&sock, 0, sizeof(sock));
	memcpy(&sock, mnl_attr_get_payload(remote), len);
	address->port = ntohs(sock.in.sin_port);
	return !getnameinfo(&sock.any, (socklen_t)len, address->host,
			    sizeof(address->host), NULL, 0, NI_NUMERICHOST);
}

static void cell_address(struct table *table, const struct nlattr *remote)
{
	char text[NI_MAXHOST + sizeof("[]:65535")];
	struct address address;
	bool colons;

	if (!address_of(remote, &address)) {
		table_string(table, "unknown");
		return;
	}
	colons = strchr(address.host, ':');
	snprintf(text, sizeof(text), colons ? "[%s]:%u" : "%s:%u",
		 address.host, address.port);
	table_string(table, text);
}

static void cell_client_id(struct table *table, const struct nlattr *client_id)
{
	if (client_id)
		table_text(table, mnl_attr_get_payload(client_id),
			   mnl_attr_get_payload_len(client_id));
	else
		table_string(table, "-");
}

/* 0 is none. */
static void cell_keepalive(struct table *table, const struct nlattr *keepalive)
{
	if (genl_uint(keepalive))
		table_uint(table, genl_uint(keepalive));
	else
		table_string(table, "-");
}

static void table_conn(struct table *table, const struct nlattr **attrs)
{
	uint64_t end = genl_uint(attrs[KMQTT_A_CONN_END]);

	table_uint(table, genl_uint(attrs[KMQTT_A_CONN_ID]));
	cell_client_id(table, attrs[KMQTT_A_CONN_CLIENT_ID]);
	cell_address(table, attrs[KMQTT_A_CONN_REMOTE]);
	table_string(table,
		     state_name(genl_uint(attrs[KMQTT_A_CONN_STATE])));
	table_string(table,
		     level_name(genl_uint(attrs[KMQTT_A_CONN_LEVEL])));
	cell_keepalive(table, attrs[KMQTT_A_CONN_KEEPALIVE]);
	table_uint(table, genl_uint(attrs[KMQTT_A_CONN_SUBS]));
	table_uint(table, genl_uint(attrs[KMQTT_A_CONN_RX_PACKETS]));
	table_uint(table, genl_uint(attrs[KMQTT_A_CONN_TX_MESSAGES]));
	table_uint(table, genl_uint(attrs[KMQTT_A_CONN_DROPPED_MESSAGES]) +
			  genl_uint(attrs[KMQTT_A_CONN_DROPPED_BYTES]) +
			  genl_uint(attrs[KMQTT_A_CONN_DROPPED_NOMEM]));
	table_uint(table, genl_uint(attrs[KMQTT_A_CONN_DENIED_PUBLISHES]) +
			  genl_uint(attrs[KMQTT_A_CONN_DENIED_DELIVERIES]));
	table_uint(table, genl_uint(attrs[KMQTT_A_CONN_RING_USED_MESSAGES]));
	table_uint(table, genl_uint(attrs[KMQTT_A_CONN_WORKER]));
	table_string(table, end == KMQTT_END_NONE ? "-" : end_name(end));
}

static void json_address(const struct nlattr *remote)
{
	struct address address;

	if (!address_of(remote, &address))
		return;
	json_string("address", address.host);
	json_uint("port", address.port);
}

static void json_binary(const char *name, const struct nlattr *attr)
{
	if (attr)
		json_text(name, mnl_attr_get_payload(attr),
			  mnl_attr_get_payload_len(attr));
}

/* Not a number: most readers of JSON know those to 53 bits only. */
static void json_cookie(const struct nlattr *cookie)
{
	char text[2 + 16 + 1];

	if (!cookie)
		return;
	snprintf(text, sizeof(text), "0x%016" PRIx64, genl_uint(cookie));
	json_string("cookie", text);
}

static void json_end(const struct nlattr *end)
{
	if (genl_uint(end) == KMQTT_END_NONE)
		json_null("end");
	else
		json_string("end", end_name(genl_uint(end)));
}

static void json_events(const struct nlattr *events)
{
	json_array("events");
	if (genl_uint(events) & KMQTT_EVENT_ENDED)
		json_string(NULL, "ended");
	if (genl_uint(events) & KMQTT_EVENT_DROPPED)
		json_string(NULL, "dropped");
	json_array_end();
}

static void json_conn(const struct nlattr **attrs)
{
	size_t i;

	json_object(NULL);
	json_uint("id", genl_uint(attrs[KMQTT_A_CONN_ID]));
	json_binary("client_id", attrs[KMQTT_A_CONN_CLIENT_ID]);
	json_binary("user_name", attrs[KMQTT_A_CONN_USER_NAME]);
	json_address(attrs[KMQTT_A_CONN_REMOTE]);
	json_string("state", state_name(genl_uint(attrs[KMQTT_A_CONN_STATE])));
	json_end(attrs[KMQTT_A_CONN_END]);
	json_cookie(attrs[KMQTT_A_CONN_COOKIE]);
	json_events(attrs[KMQTT_A_CONN_EVENTS]);
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		if (attrs[numbers[i].type])
			json_uint(numbers[i].name,
				  genl_uint(attrs[numbers[i].type]));
	json_object_end();
}

static void print_conn(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *attrs[KMQTT_A_CONN_MAX + 1];
	struct table *table = data;

	genl_attrs(message, attrs, KMQTT_A_CONN_MAX);
	if (table)
		table_conn(table, attrs);
	else
		json_conn(attrs);
}

static struct nlmsghdr *build_request(uint32_t id)
{
	struct nlmsghdr *request;

	if (!id)
		return genl_request(KMQTT_CMD_CONN_GET, NLM_F_DUMP);
	request = genl_request(KMQTT_CMD_CONN_GET, 0);
	mnl_attr_put_u32(request, KMQTT_A_CONN_ID, id);
	return request;
}

int conns_command(const struct options *options)
{
	struct table *table = NULL;
	int code;

	if (genl_connect())
		return CTL_FAILED;
	if (options->json)
		json_array(NULL);
	else
		table = table_new(columns, ARRAY_SIZE(columns));
	code = genl_talk(build_request(options->id), print_conn, table) ?
	       CTL_FAILED : CTL_OK;
	if (options->json)
		json_array_end();
	else
		table_end(table, code);
	return code;
}
