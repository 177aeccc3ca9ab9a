// SPDX-License-Identifier: GPL-2.0
#include <linux/kmqtt.h>

#include "ctl.h"
#include "genl.h"
#include "json.h"
#include "table.h"

static const struct table_column columns[] = {
	{ "CONN", true },
	{ "QOS", true },
	{ "FILTER", false },
};

static void table_sub(struct table *table, uint64_t conn,
		      const struct nlattr *topic, uint64_t qos)
{
	table_uint(table, conn);
	table_uint(table, qos);
	table_text(table, mnl_attr_get_payload(topic),
		   mnl_attr_get_payload_len(topic));
}

static void json_sub(uint64_t conn, const struct nlattr *topic, uint64_t qos)
{
	json_object(NULL);
	json_uint("conn", conn);
	json_uint("qos", qos);
	json_text("filter", mnl_attr_get_payload(topic),
		  mnl_attr_get_payload_len(topic));
	json_object_end();
}

static void print_filter(struct table *table, uint64_t conn,
			 const struct nlattr *nest)
{
	const struct nlattr *topic = NULL, *qos = NULL;
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		if (mnl_attr_get_type(attr) == KMQTT_A_FILTER_TOPIC)
			topic = attr;
		if (mnl_attr_get_type(attr) == KMQTT_A_FILTER_QOS)
			qos = attr;
	}
	if (topic && table)
		table_sub(table, conn, topic, genl_uint(qos));
	else if (topic)
		json_sub(conn, topic, genl_uint(qos));
}

static void print_subs(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *attrs[KMQTT_A_SUB_MAX + 1];

	genl_attrs(message, attrs, KMQTT_A_SUB_MAX);
	if (attrs[KMQTT_A_SUB_FILTER])
		print_filter(data, genl_uint(attrs[KMQTT_A_SUB_CONN_ID]),
			     attrs[KMQTT_A_SUB_FILTER]);
}

/* A dump of the subscriptions of no connection is none, but not an error. */
static int check_conn(uint32_t id)
{
	struct nlmsghdr *request = genl_request(KMQTT_CMD_CONN_GET, 0);

	mnl_attr_put_u32(request, KMQTT_A_CONN_ID, id);
	return genl_talk(request, NULL, NULL);
}

static struct nlmsghdr *build_request(uint32_t id)
{
	struct nlmsghdr *request = genl_request(KMQTT_CMD_SUB_GET, NLM_F_DUMP);

	if (id)
		mnl_attr_put_u32(request, KMQTT_A_SUB_CONN_ID, id);
	return request;
}

int subs_command(const struct options *options)
{
	struct table *table = NULL;
	int code;

	if (genl_connect() || (options->id && check_conn(options->id)))
		return CTL_FAILED;
	if (options->json)
		json_array(NULL);
	else
		table = table_new(columns, ARRAY_SIZE(columns));
	code = genl_talk(build_request(options->id), print_subs, table) ?
	       CTL_FAILED : CTL_OK;
	if (options->json)
		json_array_end();
	else
		table_end(table, code);
	return code;
}
