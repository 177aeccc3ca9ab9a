// SPDX-License-Identifier: GPL-2.0
#include "netlink.h"

#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <net/genetlink.h>

#include "access.h"
#include "compat.h"
#include "conn.h"
#include "head.h"
#include "hold.h"
#include "ns.h"
#include "property.h"
#include "sock.h"
#include "sub.h"
#include "topic.h"
#include "worker.h"

enum {
	MAX_PACKET_MIN = 16,
	MAX_PACKET_DEFAULT = 128 * 1024,
	RING_MESSAGES_MAX = 1000000,
	RING_MESSAGES_DEFAULT = 1000,
	RING_BYTES_MIN = 1024,
	RING_BYTES_MAX = 1 << 30,
	RING_BYTES_DEFAULT = 1 << 20,
	BUFFER_MIN = 4096,
	BUFFER_MAX = 1 << 24,
	USER_BYTES_DEFAULT = 64 * 1024,
	UNSENT_BYTES_DEFAULT = 128 * 1024,
	PACKET_TIMEOUT_MAX = 3600000,
	PACKET_TIMEOUT_DEFAULT = 60000,
	SINK_BYTES_MIN = 65536,
	SINK_BYTES_MAX = 1 << 30,
	SINK_BYTES_DEFAULT = 16 << 20,
	ORPHAN_TIMEOUT_MAX = 86400,
	ORPHAN_TIMEOUT_DEFAULT = 60,
	LEVEL_MIN = 3,
	LEVEL_MAX = 5,
	QOS_MAX = 2,
	ACCESS_MAX = 3,
	RULE_FLAGS_MAX = 3,
	SUB_FLAGS_MAX = 3,
};

/* Not const: struct nla_policy points to them as variables before 6.8. */
static struct netlink_range_validation max_packet_range = {
	.min = MAX_PACKET_MIN,
	.max = KMQTT_PACKET_MAX,
};

static struct netlink_range_validation ring_messages_range = {
	.min = 1,
	.max = RING_MESSAGES_MAX,
};

static struct netlink_range_validation ring_bytes_range = {
	.min = RING_BYTES_MIN,
	.max = RING_BYTES_MAX,
};

static struct netlink_range_validation buffer_range = {
	.min = BUFFER_MIN,
	.max = BUFFER_MAX,
};

static struct netlink_range_validation packet_timeout_range = {
	.max = PACKET_TIMEOUT_MAX,
};

static struct netlink_range_validation publish_rate_range = {
	.max = KMQTT_PUBLISH_RATE_MAX,
};

static struct netlink_range_validation orphan_timeout_range = {
	.max = ORPHAN_TIMEOUT_MAX,
};

static struct netlink_range_validation max_send_range = {
	.min = 1,
	.max = KMQTT_PACKET_MAX,
};

static struct netlink_range_validation sub_id_range = {
	.min = 1,
	.max = KMQTT_SUB_ID_MAX,
};

static struct netlink_range_validation filter_topic_range = {
	.min = 1,
	.max = KMQTT_FILTER_MAX,
};

static struct netlink_range_validation client_id_range = {
	.max = KMQTT_CLIENT_ID_MAX,
};

static struct netlink_range_validation user_name_range = {
	.max = KMQTT_USER_NAME_MAX,
};

static const struct nla_policy conn_add_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_FD] = { .type = NLA_U32 },
	[KMQTT_A_CONN_MAX_PACKET] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &max_packet_range),
	[KMQTT_A_CONN_RING_MESSAGES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &ring_messages_range),
	[KMQTT_A_CONN_RING_BYTES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &ring_bytes_range),
	[KMQTT_A_CONN_USER_BYTES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &buffer_range),
	[KMQTT_A_CONN_UNSENT_BYTES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &buffer_range),
	[KMQTT_A_CONN_PACKET_TIMEOUT] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &packet_timeout_range),
	[KMQTT_A_CONN_COOKIE] = { .type = NLA_U64 },
};

static const struct nla_policy conn_set_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_CONN_LEVEL] = NLA_POLICY_RANGE(NLA_U8, LEVEL_MIN, LEVEL_MAX),
	[KMQTT_A_CONN_KEEPALIVE] = { .type = NLA_U16 },
	[KMQTT_A_CONN_CLIENT_ID] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &client_id_range),
	[KMQTT_A_CONN_MAX_PACKET] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &max_packet_range),
	[KMQTT_A_CONN_COOKIE] = { .type = NLA_U64 },
	[KMQTT_A_CONN_ACTIVE] = { .type = NLA_FLAG },
	[KMQTT_A_CONN_NEXT] = { .type = NLA_FLAG },
	[KMQTT_A_CONN_EVENT_SEQ] = { .type = NLA_U32 },
	[KMQTT_A_CONN_HOLD_SEQ] = { .type = NLA_U64 },
	[KMQTT_A_CONN_TRIM] = { .type = NLA_FLAG },
	[KMQTT_A_CONN_RELEASE] = { .type = NLA_FLAG },
	[KMQTT_A_CONN_PUBLISH_RATE] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &publish_rate_range),
	[KMQTT_A_CONN_USER_NAME] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &user_name_range),
	[KMQTT_A_CONN_RULES_ID] = { .type = NLA_U32 },
	[KMQTT_A_CONN_DONE] = { .type = NLA_U64 },
	[KMQTT_A_CONN_MAX_SEND] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &max_send_range),
	[KMQTT_A_CONN_MAX_TOPIC_ALIAS] = { .type = NLA_U16 },
	[KMQTT_A_CONN_CHECK_FORMAT] = NLA_POLICY_MAX(NLA_U8, 1),
	[KMQTT_A_CONN_LAST] = { .type = NLA_FLAG },
};

static const struct nla_policy conn_del_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_CONN_ABORT] = { .type = NLA_FLAG },
};

static const struct nla_policy conn_get_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_CONN_PENDING] = { .type = NLA_FLAG },
};

static const struct nla_policy conn_adopt_policy[KMQTT_A_CONN_MAX + 1] = {
	[KMQTT_A_CONN_ID] = { .type = NLA_U32 },
};

static const struct nla_policy filter_policy[KMQTT_A_FILTER_MAX + 1] = {
	[KMQTT_A_FILTER_TOPIC] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &filter_topic_range),
	[KMQTT_A_FILTER_QOS] = NLA_POLICY_MAX(NLA_U8, QOS_MAX),
	[KMQTT_A_FILTER_FLAGS] = NLA_POLICY_MAX(NLA_U8, SUB_FLAGS_MAX),
	[KMQTT_A_FILTER_SUB_ID] = NLA_POLICY_FULL_RANGE(NLA_U32, &sub_id_range),
	[KMQTT_A_FILTER_GROUP] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &filter_topic_range),
};

static const struct nla_policy sub_add_policy[KMQTT_A_SUB_MAX + 1] = {
	[KMQTT_A_SUB_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_SUB_FILTER] = NLA_POLICY_NESTED(filter_policy),
	[KMQTT_A_SUB_HOLD] = { .type = NLA_FLAG },
};

static const struct nla_policy sub_del_policy[KMQTT_A_SUB_MAX + 1] = {
	[KMQTT_A_SUB_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_SUB_FILTER] = NLA_POLICY_NESTED(filter_policy),
};

static const struct nla_policy sub_get_policy[KMQTT_A_SUB_MAX + 1] = {
	[KMQTT_A_SUB_CONN_ID] = { .type = NLA_U32 },
};

static struct netlink_range_validation payload_range = {
	.max = KMQTT_PAYLOAD_INLINE,
};

static const struct nla_policy publish_policy[KMQTT_A_MSG_MAX + 1] = {
	[KMQTT_A_MSG_TOPIC] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &filter_topic_range),
	[KMQTT_A_MSG_PAYLOAD] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &payload_range),
	[KMQTT_A_MSG_PAYLOAD_FD] = { .type = NLA_U32 },
	[KMQTT_A_MSG_QOS] = NLA_POLICY_MAX(NLA_U8, QOS_MAX),
	[KMQTT_A_MSG_RETAIN] = { .type = NLA_FLAG },
	[KMQTT_A_MSG_PROPERTIES] = { .type = NLA_U32 },
	[KMQTT_A_MSG_CONN_ID] = { .type = NLA_U32 },
	[KMQTT_A_MSG_SERIAL] = { .type = NLA_U64 },
};

static struct netlink_range_validation sink_bytes_range = {
	.min = SINK_BYTES_MIN,
	.max = SINK_BYTES_MAX,
};

static const struct nla_policy sink_open_policy[KMQTT_A_SINK_MAX + 1] = {
	[KMQTT_A_SINK_BYTES] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &sink_bytes_range),
	[KMQTT_A_SINK_ORPHAN_TIMEOUT] =
		NLA_POLICY_FULL_RANGE(NLA_U32, &orphan_timeout_range),
	[KMQTT_A_SINK_KEEP] = { .type = NLA_FLAG },
};

static const struct nla_policy sink_done_policy[KMQTT_A_SINK_MAX + 1] = {
	[KMQTT_A_SINK_DONE] = { .type = NLA_U64 },
};

static const struct nla_policy memory_set_policy[KMQTT_A_STATS_MAX + 1] = {
	[KMQTT_A_STATS_MEMORY_LIMIT] = { .type = NLA_U64 },
};

static const struct nla_policy rule_policy[KMQTT_A_RULE_MAX + 1] = {
	[KMQTT_A_RULE_FILTER] =
		NLA_POLICY_FULL_RANGE(NLA_BINARY, &filter_topic_range),
	[KMQTT_A_RULE_ACCESS] =
		NLA_POLICY_RANGE(NLA_U8, 1, ACCESS_MAX),
	[KMQTT_A_RULE_FLAGS] =
		NLA_POLICY_MAX(NLA_U8, RULE_FLAGS_MAX),
};

static const struct nla_policy rules_id_policy[KMQTT_A_RULES_MAX + 1] = {
	[KMQTT_A_RULES_ID] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy rules_add_policy[KMQTT_A_RULES_MAX + 1] = {
	[KMQTT_A_RULES_ID] = NLA_POLICY_MIN(NLA_U32, 1),
	[KMQTT_A_RULES_RULE] = NLA_POLICY_NESTED(rule_policy),
};

static struct genl_family kmqtt_family;

/* Bytes of a record, less the text in it. */
enum { RECORD_SIZE = 1024 };

static u32 get_u32(struct nlattr **attrs, int type, u32 otherwise)
{
	return attrs[type] ? nla_get_u32(attrs[type]) : otherwise;
}

/* The connection that attribute @type names; ns->lock is held. */
static struct kmqtt_conn *find_conn(struct kmqtt_ns *ns,
				    struct genl_info *info, int type)
{
	struct kmqtt_conn *conn;

	if (GENL_REQ_ATTR_CHECK(info, type)) {
		NL_SET_ERR_MSG(info->extack, "connection id missing");
		return ERR_PTR(-EINVAL);
	}
	conn = xa_load(&ns->conns, nla_get_u32(info->attrs[type]));
	if (!conn) {
		NL_SET_ERR_MSG(info->extack, "no such connection");
		return ERR_PTR(-ENOENT);
	}
	return conn;
}

/* As find_conn(), for subscriptions: the sink has some too. */
static struct kmqtt_conn *find_subscriber(struct kmqtt_ns *ns,
					  struct genl_info *info)
{
	struct nlattr *id = info->attrs[KMQTT_A_SUB_CONN_ID];

	if (id && nla_get_u32(id) == KMQTT_SINK_ID)
		return ns->sink.conn;
	return find_conn(ns, info, KMQTT_A_SUB_CONN_ID);
}

static struct sk_buff *reply_new(struct genl_info *info, size_t size, u8 cmd,
				 void **hdr)
{
	struct sk_buff *skb = genlmsg_new(size, GFP_KERNEL);

	if (!skb)
		return NULL;
	*hdr = genlmsg_put_reply(skb, info, &kmqtt_family, 0, cmd);
	if (!*hdr) {
		nlmsg_free(skb);
		return NULL;
	}
	return skb;
}

static int put_u64(struct sk_buff *skb, int type, u64 value)
{
	return nla_put_u64_64bit(skb, type, value, KMQTT_A_CONN_PAD);
}

static int fill_limits(struct sk_buff *skb, const struct kmqtt_limits *limits)
{
	return nla_put_u32(skb, KMQTT_A_CONN_RING_MESSAGES,
			   limits->ring_messages) ||
	       nla_put_u32(skb, KMQTT_A_CONN_RING_BYTES, limits->ring_bytes) ||
	       nla_put_u32(skb, KMQTT_A_CONN_USER_BYTES, limits->user_bytes) ||
	       nla_put_u32(skb, KMQTT_A_CONN_UNSENT_BYTES,
			   limits->unsent_bytes) ||
	       nla_put_u32(skb, KMQTT_A_CONN_PACKET_TIMEOUT,
			   limits->packet_timeout);
}

static int fill_counters(struct sk_buff *skb, const struct kmqtt_conn *conn)
{
	return nla_put_u32(skb, KMQTT_A_CONN_RING_USED_MESSAGES,
			   READ_ONCE(conn->ring.messages)) ||
	       nla_put_u32(skb, KMQTT_A_CONN_RING_USED_BYTES,
			   READ_ONCE(conn->ring.bytes)) ||
	       nla_put_u32(skb, KMQTT_A_CONN_USER_USED_BYTES,
			   READ_ONCE(conn->upq.bytes)) ||
	       put_u64(skb, KMQTT_A_CONN_RX_PACKETS,
		       READ_ONCE(conn->rx_packets)) ||
	       put_u64(skb, KMQTT_A_CONN_RX_PUBLISHES,
		       READ_ONCE(conn->rx_publishes)) ||
	       put_u64(skb, KMQTT_A_CONN_RX_BYTES, READ_ONCE(conn->rx_bytes)) ||
	       put_u64(skb, KMQTT_A_CONN_TX_MESSAGES,
		       READ_ONCE(conn->tx_messages)) ||
	       put_u64(skb, KMQTT_A_CONN_TX_BYTES, READ_ONCE(conn->tx_bytes)) ||
	       put_u64(skb, KMQTT_A_CONN_DROPPED_MESSAGES,
		       READ_ONCE(conn->dropped[KMQTT_DROP_MESSAGES])) ||
	       put_u64(skb, KMQTT_A_CONN_DROPPED_BYTES,
		       READ_ONCE(conn->dropped[KMQTT_DROP_BYTES])) ||
	       put_u64(skb, KMQTT_A_CONN_DROPPED_NOMEM,
		       READ_ONCE(conn->dropped[KMQTT_DROP_NOMEM])) ||
	       put_u64(skb, KMQTT_A_CONN_DENIED_PUBLISHES,
		       READ_ONCE(conn->denied_publishes)) ||
	       put_u64(skb, KMQTT_A_CONN_DENIED_DELIVERIES,
		       READ_ONCE(conn->denied_deliveries)) ||
	       put_u64(skb, KMQTT_A_CONN_DROPPED_TOO_LARGE,
		       READ_ONCE(conn->dropped[KMQTT_DROP_TOO_LARGE])) ||
	       put_u64(skb, KMQTT_A_CONN_DROPPED_EXPIRED,
		       READ_ONCE(conn->dropped[KMQTT_DROP_EXPIRED]));
}

/* Who it is to its rules, if it has any. */
static int fill_access(struct sk_buff *skb, const struct kmqtt_conn *conn)
{
	const struct kmqtt_access *access;

	access = rcu_dereference_protected(conn->access,
					   lockdep_is_held(&conn->ns->lock));
	return (conn->user_name_len &&
		nla_put(skb, KMQTT_A_CONN_USER_NAME, conn->user_name_len,
			conn->user_name)) ||
	       (access &&
		nla_put_u32(skb, KMQTT_A_CONN_RULES_ID, access->set->id));
}

/* A connection's record; ns->lock is held. */
static int fill_conn(struct sk_buff *skb, const struct kmqtt_conn *conn)
{
	if (nla_put_u32(skb, KMQTT_A_CONN_ID, conn->id) ||
	    nla_put_u8(skb, KMQTT_A_CONN_STATE, READ_ONCE(conn->state)) ||
	    nla_put_u8(skb, KMQTT_A_CONN_LEVEL, conn->level) ||
	    nla_put_u16(skb, KMQTT_A_CONN_KEEPALIVE, conn->keepalive) ||
	    nla_put(skb, KMQTT_A_CONN_CLIENT_ID, conn->client_id_len,
		    conn->client_id) ||
	    nla_put_u32(skb, KMQTT_A_CONN_MAX_PACKET, conn->max_packet) ||
	    nla_put_u32(skb, KMQTT_A_CONN_PUBLISH_RATE, conn->publish_rate) ||
	    put_u64(skb, KMQTT_A_CONN_COOKIE, conn->cookie) ||
	    nla_put_u32(skb, KMQTT_A_CONN_EVENTS, READ_ONCE(conn->events)) ||
	    nla_put_u32(skb, KMQTT_A_CONN_EVENT_SEQ,
			READ_ONCE(conn->event_seq)) ||
	    nla_put_u8(skb, KMQTT_A_CONN_END, READ_ONCE(conn->end)) ||
	    nla_put_u32(skb, KMQTT_A_CONN_WORKER, conn->worker->index) ||
	    nla_put(skb, KMQTT_A_CONN_REMOTE,
		    conn->remote.sin6_family == AF_INET6 ?
		    sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in),
		    &conn->remote) ||
	    nla_put_u32(skb, KMQTT_A_CONN_SUBS, conn->nr_subs) ||
	    nla_put_u8(skb, KMQTT_A_CONN_HELD, READ_ONCE(conn->held)) ||
	    put_u64(skb, KMQTT_A_CONN_DONE, conn->done) ||
	    put_u64(skb, KMQTT_A_CONN_ACCEPTED, READ_ONCE(conn->accepted)) ||
	    nla_put_u8(skb, KMQTT_A_CONN_PARTIAL,
		       !!READ_ONCE(conn->user_sent)) ||
	    nla_put_u32(skb, KMQTT_A_CONN_MAX_SEND, conn->max_send) ||
	    nla_put_u16(skb, KMQTT_A_CONN_MAX_TOPIC_ALIAS,
			conn->max_topic_alias) ||
	    nla_put_u8(skb, KMQTT_A_CONN_CHECK_FORMAT, conn->check_format) ||
	    fill_limits(skb, &conn->limits) || fill_counters(skb, conn) ||
	    fill_access(skb, conn))
		return -EMSGSIZE;
	return 0;
}

/* Bytes that fill_conn() needs. */
static size_t conn_size(const struct kmqtt_conn *conn)
{
	return RECORD_SIZE + nla_total_size(conn->client_id_len) +
	       nla_total_size(conn->user_name_len);
}

static int kmqtt_nl_conn_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct nlattr **attrs = info->attrs;
	struct kmqtt_limits limits = {
		.ring_messages = get_u32(attrs, KMQTT_A_CONN_RING_MESSAGES,
					 RING_MESSAGES_DEFAULT),
		.ring_bytes = get_u32(attrs, KMQTT_A_CONN_RING_BYTES,
				      RING_BYTES_DEFAULT),
		.user_bytes = get_u32(attrs, KMQTT_A_CONN_USER_BYTES,
				      USER_BYTES_DEFAULT),
		.unsent_bytes = get_u32(attrs, KMQTT_A_CONN_UNSENT_BYTES,
					UNSENT_BYTES_DEFAULT),
		.packet_timeout = get_u32(attrs, KMQTT_A_CONN_PACKET_TIMEOUT,
					  PACKET_TIMEOUT_DEFAULT),
	};
	struct kmqtt_conn *conn;
	struct sk_buff *reply;
	struct file *file;
	void *hdr;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_CONN_FD)) {
		NL_SET_ERR_MSG(info->extack, "descriptor missing");
		return -EINVAL;
	}
	file = fget(nla_get_u32(attrs[KMQTT_A_CONN_FD]));
	if (!file) {
		NL_SET_ERR_MSG(info->extack, "no such descriptor");
		return -EBADF;
	}
	reply = reply_new(info, nla_total_size(sizeof(u32)),
			  KMQTT_CMD_CONN_ADD, &hdr);
	if (!reply) {
		fput(file);
		return -ENOMEM;
	}

	mutex_lock(&ns->lock);
	/* The kernel's files are nobody's, so as many as the caller's own. */
	if (ns->nr_conns >= rlimit(RLIMIT_NOFILE)) {
		NL_SET_ERR_MSG(info->extack,
			       "as many connections as RLIMIT_NOFILE");
		conn = ERR_PTR(-EMFILE);
	} else if (kmqtt_memory_over(&ns->memory)) {
		NL_SET_ERR_MSG(info->extack, "more memory than the limit");
		conn = ERR_PTR(-EDQUOT);
	} else {
		conn = kmqtt_conn_add(ns, file, &limits,
				      get_u32(attrs, KMQTT_A_CONN_MAX_PACKET,
					      MAX_PACKET_DEFAULT),
				      info->extack);
	}
	if (!IS_ERR(conn)) {
		nla_put_u32(reply, KMQTT_A_CONN_ID, conn->id);
		kmqtt_sink_guard(&ns->sink);
		if (attrs[KMQTT_A_CONN_COOKIE])
			conn->cookie = nla_get_u64(attrs[KMQTT_A_CONN_COOKIE]);
	}
	mutex_unlock(&ns->lock);
	fput(file);
	if (IS_ERR(conn)) {
		nlmsg_free(reply);
		return PTR_ERR(conn);
	}
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

/**
 * struct identity - what conn-set says of who a connection is
 * @client_id: the client identifier, owned; NULL: nothing
 * @user_name: the user name, likewise
 * @client_id_len: bytes
 * @user_name_len: bytes
 * @given: any of them, or a rule set, is given
 * @access: what it may do now, owned, if @given; NULL: everything
 */
struct identity {
	u8 *client_id;
	u8 *user_name;
	u32 client_id_len;
	u32 user_name_len;
	bool given;
	struct kmqtt_access *access;
};

static void identity_free(struct identity *identity)
{
	kfree(identity->client_id);
	kfree(identity->user_name);
	if (identity->access)
		kmqtt_access_discard(identity->access);
}

static int copy_name(const struct nlattr *attr, u8 **name, u32 *len)
{
	if (!attr)
		return 0;
	*name = kmemdup(nla_data(attr), nla_len(attr), GFP_KERNEL_ACCOUNT);
	*len = nla_len(attr);
	return *name ? 0 : -ENOMEM;
}

/* The rule set that a connection is to have; NULL: none. */
static struct kmqtt_ruleset *conn_set_rules(struct kmqtt_conn *conn,
					    struct genl_info *info)
{
	const struct nlattr *attr = info->attrs[KMQTT_A_CONN_RULES_ID];
	const struct kmqtt_access *access;
	struct kmqtt_ruleset *set;

	if (!attr) {
		access = rcu_dereference_protected(conn->access,
						   lockdep_is_held(&conn->ns->lock));
		return access ? access->set : NULL;
	}
	if (!nla_get_u32(attr))
		return NULL;
	set = kmqtt_ruleset_find(conn->ns, nla_get_u32(attr));
	if (!set) {
		NL_SET_ERR_MSG_ATTR(info->extack, attr, "no such rule set");
		return ERR_PTR(-ENOENT);
	}
	return set;
}

static int identity_access(const struct kmqtt_conn *conn,
			   struct kmqtt_ruleset *set, struct identity *identity)
{
	const u8 *client_id = identity->client_id ?: conn->client_id;
	const u8 *user_name = identity->user_name ?: conn->user_name;
	u32 client_id_len = identity->client_id ? identity->client_id_len
						: conn->client_id_len;
	u32 user_name_len = identity->user_name ? identity->user_name_len
						: conn->user_name_len;

	identity->access = kmqtt_access_alloc(set, client_id, client_id_len,
					      user_name, user_name_len);
	return identity->access ? 0 : -ENOMEM;
}

/* On error there is nothing to free. */
static int conn_set_identity(struct kmqtt_conn *conn, struct genl_info *info,
			     struct identity *identity)
{
	struct nlattr **attrs = info->attrs;
	struct kmqtt_ruleset *set;
	int err;

	identity->given = attrs[KMQTT_A_CONN_CLIENT_ID] ||
			  attrs[KMQTT_A_CONN_USER_NAME] ||
			  attrs[KMQTT_A_CONN_RULES_ID];
	set = conn_set_rules(conn, info);
	if (IS_ERR(set))
		return PTR_ERR(set);
	err = copy_name(attrs[KMQTT_A_CONN_CLIENT_ID], &identity->client_id,
			&identity->client_id_len) ?:
	      copy_name(attrs[KMQTT_A_CONN_USER_NAME], &identity->user_name,
			&identity->user_name_len);
	if (!err && identity->given && set)
		err = identity_access(conn, set, identity);
	if (err)
		identity_free(identity);
	return err;
}

/* Make a connection who it is said to be; 0, or -ENOMEM and nothing happens. */
static int identity_take(struct kmqtt_conn *conn, struct identity *identity)
{
	int err = 0;

	if (identity->given)
		err = kmqtt_access_replace(conn, identity->access);
	if (err)
		return err;
	identity->access = NULL;
	if (identity->client_id) {
		swap(conn->client_id, identity->client_id);
		conn->client_id_len = identity->client_id_len;
	}
	if (identity->user_name) {
		swap(conn->user_name, identity->user_name);
		conn->user_name_len = identity->user_name_len;
	}
	return 0;
}

/* Forget the events that the daemon has seen, but for the last. */
static void conn_set_seen(struct kmqtt_conn *conn, u32 seq)
{
	struct kmqtt_ns *ns = conn->ns;

	xa_lock(&ns->conns);
	if (conn->event_seq == seq) {
		conn->events &= KMQTT_EVENT_ENDED;
		if (!conn->events)
			__xa_clear_mark(&ns->conns, conn->id, KMQTT_MARK_EVENT);
	}
	xa_unlock(&ns->conns);
}

/* What would keep conn-set from taking effect. The state cannot change to
 * anything but ENDED meanwhile, and then nothing matters any more.
 */
static int conn_set_check(struct kmqtt_conn *conn, struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;
	bool active = nla_get_flag(attrs[KMQTT_A_CONN_ACTIVE]);
	bool next = nla_get_flag(attrs[KMQTT_A_CONN_NEXT]);
	u8 level = conn->level;
	int type;

	if (attrs[KMQTT_A_CONN_LEVEL])
		level = nla_get_u8(attrs[KMQTT_A_CONN_LEVEL]);

	if (active && next) {
		NL_SET_ERR_MSG(info->extack, "either active or next");
		return -EINVAL;
	}
	if ((active || next) &&
	    READ_ONCE(conn->state) == KMQTT_CONN_CONNECTING) {
		NL_SET_ERR_MSG(info->extack, "no packet was passed up yet");
		return -EBUSY;
	}
	if (attrs[KMQTT_A_CONN_MAX_TOPIC_ALIAS] && READ_ONCE(conn->aliases)) {
		NL_SET_ERR_MSG(info->extack, "a topic alias has been used");
		return -EBUSY;
	}
	/* Between 5 and another: what is subscribed has a form. */
	if (conn->nr_subs && level != conn->level &&
	    max(level, conn->level) == LEVEL_MAX) {
		NL_SET_ERR_MSG(info->extack, "there are subscriptions");
		return -EBUSY;
	}
	if (attrs[KMQTT_A_CONN_TRIM] && !attrs[KMQTT_A_CONN_HOLD_SEQ]) {
		NL_SET_ERR_MSG(info->extack, "trim without hold-seq");
		return -EINVAL;
	}
	if (attrs[KMQTT_A_CONN_DONE] &&
	    !kmqtt_sock_was_read(conn, nla_get_u64(attrs[KMQTT_A_CONN_DONE]))) {
		NL_SET_ERR_MSG(info->extack, "done has no such value");
		return -EINVAL;
	}
	if (!kmqtt_conn_ended(conn))
		return 0;
	/* Events and packets can be acknowledged to the end. */
	for (type = 1; type <= KMQTT_A_CONN_MAX; type++) {
		if (attrs[type] && type != KMQTT_A_CONN_ID &&
		    type != KMQTT_A_CONN_EVENT_SEQ &&
		    type != KMQTT_A_CONN_DONE) {
			NL_SET_ERR_MSG(info->extack, "connection has ended");
			return -ENOTCONN;
		}
	}
	return 0;
}

/* What conn-set says of a hold, NULL if nothing, or -ENOMEM. */
static struct kmqtt_hold_change *conn_set_hold(struct kmqtt_conn *conn,
					       struct nlattr **attrs)
{
	struct kmqtt_hold_change *change;

	if (!attrs[KMQTT_A_CONN_TRIM] && !attrs[KMQTT_A_CONN_RELEASE])
		return NULL;
	change = kmqtt_hold_change_alloc(conn);
	if (!change)
		return ERR_PTR(-ENOMEM);
	change->release = nla_get_flag(attrs[KMQTT_A_CONN_RELEASE]);
	change->trim = nla_get_flag(attrs[KMQTT_A_CONN_TRIM]);
	if (change->trim)
		change->seq = nla_get_u64(attrs[KMQTT_A_CONN_HOLD_SEQ]);
	return change;
}

static int conn_set(struct kmqtt_conn *conn, struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;
	struct identity identity = {};
	struct kmqtt_hold_change *hold;
	int err;

	err = conn_set_check(conn, info);
	if (err)
		return err;
	hold = conn_set_hold(conn, attrs);
	if (IS_ERR(hold))
		return PTR_ERR(hold);
	err = conn_set_identity(conn, info, &identity);
	if (!err) {
		err = identity_take(conn, &identity);
		identity_free(&identity);
	}
	if (err) {
		if (hold)
			kmqtt_hold_change_free(hold);
		return err;
	}

	if (attrs[KMQTT_A_CONN_DONE])
		kmqtt_sock_done(conn, nla_get_u64(attrs[KMQTT_A_CONN_DONE]));
	if (attrs[KMQTT_A_CONN_LEVEL])
		WRITE_ONCE(conn->level, nla_get_u8(attrs[KMQTT_A_CONN_LEVEL]));
	if (attrs[KMQTT_A_CONN_KEEPALIVE])
		WRITE_ONCE(conn->keepalive,
			   nla_get_u16(attrs[KMQTT_A_CONN_KEEPALIVE]));
	if (attrs[KMQTT_A_CONN_MAX_PACKET])
		WRITE_ONCE(conn->max_packet,
			   nla_get_u32(attrs[KMQTT_A_CONN_MAX_PACKET]));
	if (attrs[KMQTT_A_CONN_MAX_SEND])
		WRITE_ONCE(conn->max_send,
			   nla_get_u32(attrs[KMQTT_A_CONN_MAX_SEND]));
	if (attrs[KMQTT_A_CONN_MAX_TOPIC_ALIAS])
		WRITE_ONCE(conn->max_topic_alias,
			   nla_get_u16(attrs[KMQTT_A_CONN_MAX_TOPIC_ALIAS]));
	if (attrs[KMQTT_A_CONN_CHECK_FORMAT])
		WRITE_ONCE(conn->check_format,
			   nla_get_u8(attrs[KMQTT_A_CONN_CHECK_FORMAT]));
	if (attrs[KMQTT_A_CONN_PUBLISH_RATE])
		WRITE_ONCE(conn->publish_rate,
			   nla_get_u32(attrs[KMQTT_A_CONN_PUBLISH_RATE]));
	if (attrs[KMQTT_A_CONN_COOKIE])
		conn->cookie = nla_get_u64(attrs[KMQTT_A_CONN_COOKIE]);
	if (attrs[KMQTT_A_CONN_EVENT_SEQ])
		conn_set_seen(conn, nla_get_u32(attrs[KMQTT_A_CONN_EVENT_SEQ]));
	if (hold)
		kmqtt_worker_post(conn->worker, &hold->ticket);

	if (nla_get_flag(attrs[KMQTT_A_CONN_LAST]))
		kmqtt_conn_last(conn);
	else if (nla_get_flag(attrs[KMQTT_A_CONN_ACTIVE]))
		err = kmqtt_conn_activate(conn);
	else if (nla_get_flag(attrs[KMQTT_A_CONN_NEXT]))
		err = kmqtt_conn_next(conn);
	if (err)
		NL_SET_ERR_MSG(info->extack, "connection has ended");
	return err;
}

static int kmqtt_nl_conn_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_conn *conn;
	int err;

	mutex_lock(&ns->lock);
	conn = find_conn(ns, info, KMQTT_A_CONN_ID);
	err = IS_ERR(conn) ? PTR_ERR(conn) : conn_set(conn, info);
	mutex_unlock(&ns->lock);
	return err;
}

/* The answer to conn-del is the record as it is then, the end included. */
static int kmqtt_nl_conn_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	bool abort = nla_get_flag(info->attrs[KMQTT_A_CONN_ABORT]);
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_conn *conn;
	struct sk_buff *reply;
	void *hdr;

	mutex_lock(&ns->lock);
	conn = find_conn(ns, info, KMQTT_A_CONN_ID);
	if (IS_ERR(conn)) {
		mutex_unlock(&ns->lock);
		return PTR_ERR(conn);
	}
	reply = reply_new(info, conn_size(conn), KMQTT_CMD_CONN_DEL, &hdr);
	if (!reply) {
		mutex_unlock(&ns->lock);
		return -ENOMEM;
	}
	kmqtt_conn_hold(conn);
	kmqtt_conn_del(conn, abort, KMQTT_END_DELETED);
	WARN_ON_ONCE(fill_conn(reply, conn));
	mutex_unlock(&ns->lock);
	kmqtt_conn_put(conn);

	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

static int kmqtt_nl_conn_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply = NULL;
	struct kmqtt_conn *conn;
	void *hdr;

	mutex_lock(&ns->lock);
	conn = find_conn(ns, info, KMQTT_A_CONN_ID);
	if (!IS_ERR(conn))
		reply = reply_new(info, conn_size(conn), KMQTT_CMD_CONN_GET,
				  &hdr);
	if (reply)
		WARN_ON_ONCE(fill_conn(reply, conn));
	mutex_unlock(&ns->lock);
	if (IS_ERR(conn))
		return PTR_ERR(conn);
	if (!reply)
		return -ENOMEM;

	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

static int dump_conn(struct sk_buff *skb, struct netlink_callback *cb,
		     struct kmqtt_conn *conn)
{
	void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				cb->nlh->nlmsg_seq, &kmqtt_family, NLM_F_MULTI,
				KMQTT_CMD_CONN_GET);

	if (!hdr)
		return -EMSGSIZE;
	WRITE_ONCE(conn->events_read, true);
	if (fill_conn(skb, conn)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/* One record may be as large as the names of a connection, or a filter. */
static int kmqtt_nl_dump_start(struct netlink_callback *cb)
{
	BUILD_BUG_ON(KMQTT_FILTER_MAX > KMQTT_CLIENT_ID_MAX);
	cb->min_dump_alloc = KMQTT_CLIENT_ID_MAX + KMQTT_USER_NAME_MAX +
			     RECORD_SIZE;
	return 0;
}

/* cb->args[0] is the id to go on from: what comes and goes meanwhile is neither
 * missed nor repeated.
 */
static int kmqtt_nl_conn_get_dumpit(struct sk_buff *skb,
				    struct netlink_callback *cb)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(sock_net(skb->sk));
	struct nlattr **attrs = kmqtt_dump_attrs(cb);
	unsigned long id = cb->args[0];
	xa_mark_t mark = XA_PRESENT;
	struct kmqtt_conn *conn;

	if (nla_get_flag(attrs[KMQTT_A_CONN_PENDING]))
		mark = KMQTT_MARK_EVENT;
	if (!id && mark == KMQTT_MARK_EVENT)
		xchg(&ns->event_armed, 1);

	mutex_lock(&ns->lock);
	for (conn = xa_find(&ns->conns, &id, ULONG_MAX, mark); conn;
	     conn = xa_find_after(&ns->conns, &id, ULONG_MAX, mark))
		if (dump_conn(skb, cb, conn))
			break;
	mutex_unlock(&ns->lock);

	if (conn && !skb->len)
		return -EMSGSIZE;
	cb->args[0] = conn ? id : ULONG_MAX;
	return skb->len;
}

/* Give the caller a descriptor of one connection. */
static int adopt(struct kmqtt_ns *ns, struct genl_info *info, u32 id)
{
	struct kmqtt_conn *conn;
	struct file *file = NULL;
	struct sk_buff *reply;
	int fd, err;
	void *hdr;

	mutex_lock(&ns->lock);
	conn = xa_load(&ns->conns, id);
	if (conn) {
		file = get_file(conn->file);
		kmqtt_sock_rewind(conn);
	}
	mutex_unlock(&ns->lock);
	if (!file) {
		NL_SET_ERR_MSG(info->extack, "no such connection");
		return -ENOENT;
	}

	reply = reply_new(info, 2 * nla_total_size(sizeof(u32)),
			  KMQTT_CMD_CONN_ADOPT, &hdr);
	fd = reply ? kmqtt_receive_fd(file, O_CLOEXEC) : -ENOMEM;
	fput(file);
	if (fd < 0) {
		nlmsg_free(reply);
		return fd;
	}
	nla_put_u32(reply, KMQTT_A_CONN_ID, id);
	nla_put_u32(reply, KMQTT_A_CONN_FD, fd);
	genlmsg_end(reply, hdr);
	err = genlmsg_reply(reply, info);
	if (err)
		close_fd(fd);
	return err;
}

static int kmqtt_nl_conn_adopt_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	int rem, err = 0, nr = 0;
	struct nlattr *attr;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_CONN_ID)) {
		NL_SET_ERR_MSG(info->extack, "connection id missing");
		return -EINVAL;
	}
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != KMQTT_A_CONN_ID)
			continue;
		if (++nr > KMQTT_ADOPT_MAX) {
			NL_SET_ERR_MSG(info->extack, "too many connections");
			return -EINVAL;
		}
	}
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != KMQTT_A_CONN_ID)
			continue;
		err = adopt(ns, info, nla_get_u32(attr));
		if (err)
			break;
	}
	return err;
}

/* What a filter nest says, checked. */
struct filter {
	struct kmqtt_filter filter;
	u8 flags;
	u32 sub_id;
	struct kmqtt_sub_options options;
};

/* What a subscription asks for, in the terms of delivery. */
static void filter_options(struct filter *filter, const struct kmqtt_conn *conn)
{
	struct kmqtt_sub_options *options = &filter->options;

	if (conn->level < 5)
		return;
	options->form = KMQTT_FORM_5;
	if (filter->flags & KMQTT_SUB_NO_LOCAL)
		options->form |= KMQTT_FORM_NO_LOCAL;
	if (filter->flags & KMQTT_SUB_RETAIN_AS_PUBLISHED)
		options->form |= KMQTT_FORM_RETAIN;
	if (filter->sub_id)
		options->form |= KMQTT_FORM_ID *
			kmqtt_varint_write((u8 *)&options->id, filter->sub_id);
}

/* The share name of a filter, if it has one. */
static int parse_group(const struct nlattr *attr, struct filter *filter,
		       struct netlink_ext_ack *extack)
{
	if (!attr)
		return 0;
	filter->filter.group = nla_data(attr);
	filter->filter.group_len = nla_len(attr);
	if (filter->filter.group_len + filter->filter.len > KMQTT_FILTER_MAX) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "filter too long");
		return -EINVAL;
	}
	if (filter->flags & KMQTT_SUB_NO_LOCAL) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "no-local with a share name");
		return -EINVAL;
	}
	return 0;
}

static int parse_filter(const struct nlattr *nest, struct filter *filter,
			struct netlink_ext_ack *extack)
{
	struct nlattr *attrs[KMQTT_A_FILTER_MAX + 1];
	int err;

	err = nla_parse_nested(attrs, KMQTT_A_FILTER_MAX, nest, filter_policy,
			       extack);
	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(extack, nest, attrs, KMQTT_A_FILTER_TOPIC)) {
		NL_SET_ERR_MSG(extack, "topic filter missing");
		return -EINVAL;
	}
	memset(filter, 0, sizeof(*filter));
	filter->filter.topic = nla_data(attrs[KMQTT_A_FILTER_TOPIC]);
	filter->filter.len = nla_len(attrs[KMQTT_A_FILTER_TOPIC]);
	filter->options.qos = attrs[KMQTT_A_FILTER_QOS] ?
			      nla_get_u8(attrs[KMQTT_A_FILTER_QOS]) : 0;
	filter->flags = attrs[KMQTT_A_FILTER_FLAGS] ?
			nla_get_u8(attrs[KMQTT_A_FILTER_FLAGS]) : 0;
	filter->sub_id = get_u32(attrs, KMQTT_A_FILTER_SUB_ID, 0);
	if (kmqtt_topic_filter_check(filter->filter.topic,
				     filter->filter.len)) {
		NL_SET_ERR_MSG_ATTR(extack, attrs[KMQTT_A_FILTER_TOPIC],
				    "not a topic filter");
		return -EINVAL;
	}
	return parse_group(attrs[KMQTT_A_FILTER_GROUP], filter, extack);
}

/* Check all filters of a message. Return: how many, or an error. */
static int check_filters(struct genl_info *info)
{
	struct filter filter;
	struct nlattr *attr;
	int rem, err, nr = 0;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != KMQTT_A_SUB_FILTER)
			continue;
		err = parse_filter(attr, &filter, info->extack);
		if (err)
			return err;
		nr++;
	}
	if (!nr) {
		NL_SET_ERR_MSG(info->extack, "filter missing");
		return -EINVAL;
	}
	return nr;
}

static int change_subs(struct kmqtt_conn *conn, struct genl_info *info,
		       struct kmqtt_changes *changes)
{
	bool add = info->genlhdr->cmd == KMQTT_CMD_SUB_ADD;
	struct filter filter;
	struct nlattr *attr;
	int rem, err;

	if (add && kmqtt_conn_ended(conn)) {
		NL_SET_ERR_MSG(info->extack, "connection has ended");
		return -ENOTCONN;
	}
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) != KMQTT_A_SUB_FILTER)
			continue;
		err = parse_filter(attr, &filter, info->extack);
		if (!err && filter.filter.group_len && !conn->worker) {
			NL_SET_ERR_MSG(info->extack, "the sink shares nothing");
			err = -EINVAL;
		}
		if (!err && add) {
			filter_options(&filter, conn);
			err = kmqtt_sub_add(conn, &filter.filter,
					    &filter.options, changes);
			if (err == -E2BIG)
				NL_SET_ERR_MSG(info->extack,
					       "too many share names");
		}
		if (err)
			return err;
		if (!add)
			kmqtt_sub_del(conn, &filter.filter, changes);
		cond_resched();
		/* Rules take their time. What is deleted cannot be undone. */
		if (add && fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/* sub-add and sub-del. */
static int sub_change(struct kmqtt_ns *ns, struct genl_info *info)
{
	bool hold = nla_get_flag(info->attrs[KMQTT_A_SUB_HOLD]);
	struct kmqtt_changes *changes;
	struct kmqtt_conn *conn;
	int nr, err;

	nr = check_filters(info);
	if (nr < 0)
		return nr;
	changes = kmqtt_changes_alloc(nr);
	if (!changes)
		return -ENOMEM;

	mutex_lock(&ns->lock);
	conn = find_subscriber(ns, info);
	if (IS_ERR(conn)) {
		err = PTR_ERR(conn);
		kvfree(changes);
		goto unlock;
	}
	if (hold && conn == ns->sink.conn) {
		NL_SET_ERR_MSG(info->extack, "the sink cannot be held");
		err = -EINVAL;
	} else if (info->genlhdr->cmd == KMQTT_CMD_SUB_ADD &&
		   conn != ns->sink.conn && kmqtt_memory_over(&ns->memory)) {
		NL_SET_ERR_MSG(info->extack, "more memory than the limit");
		err = -EDQUOT;
	} else {
		err = change_subs(conn, info, changes);
	}
	if (err) {
		kmqtt_changes_undo(conn, changes);
		goto unlock;
	}
	if (hold)
		changes->hold = conn;
	kmqtt_changes_commit(conn, changes);
unlock:
	mutex_unlock(&ns->lock);
	return err;
}

static int kmqtt_nl_sub_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply;
	void *hdr;
	int err;

	reply = reply_new(info, nla_total_size_64bit(sizeof(u64)),
			  KMQTT_CMD_SUB_ADD, &hdr);
	if (!reply)
		return -ENOMEM;
	err = sub_change(ns, info);
	if (err) {
		nlmsg_free(reply);
		return err;
	}
	/* Not before the changes are in the worker's inbox. */
	nla_put_u64_64bit(reply, KMQTT_A_SUB_SINK_SEQ,
			  kmqtt_sink_seq(&ns->sink), KMQTT_A_SUB_PAD);
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

static int kmqtt_nl_sub_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	return sub_change(kmqtt_ns_of(genl_info_net(info)), info);
}

static int fill_options(struct sk_buff *skb, const struct kmqtt_sub *sub)
{
	const struct kmqtt_group *group = sub->leaf->group;
	u8 form = READ_ONCE(sub->form), flags = 0;
	u32 id = READ_ONCE(sub->id), sub_id = 0;

	if (form & KMQTT_FORM_NO_LOCAL)
		flags |= KMQTT_SUB_NO_LOCAL;
	if (form & KMQTT_FORM_RETAIN)
		flags |= KMQTT_SUB_RETAIN_AS_PUBLISHED;
	if (kmqtt_form_id(form))
		kmqtt_varint_read((u8 *)&id, sizeof(id), &sub_id);
	return nla_put_u8(skb, KMQTT_A_FILTER_QOS, READ_ONCE(sub->qos)) ||
	       nla_put_u8(skb, KMQTT_A_FILTER_FLAGS, flags) ||
	       (sub_id && nla_put_u32(skb, KMQTT_A_FILTER_SUB_ID, sub_id)) ||
	       (group && nla_put(skb, KMQTT_A_FILTER_GROUP, group->len,
				 group->name));
}

static int fill_sub(struct sk_buff *skb, const struct kmqtt_sub *sub)
{
	const struct kmqtt_node *node = sub->leaf->node;
	size_t len = kmqtt_trie_filter_len(node);
	struct nlattr *nest, *topic;

	if (nla_put_u32(skb, KMQTT_A_SUB_CONN_ID, sub->conn->id))
		return -EMSGSIZE;
	nest = nla_nest_start(skb, KMQTT_A_SUB_FILTER);
	if (!nest)
		return -EMSGSIZE;
	topic = nla_reserve(skb, KMQTT_A_FILTER_TOPIC, len);
	if (!topic || fill_options(skb, sub))
		return -EMSGSIZE;
	kmqtt_trie_filter(node, nla_data(topic), len);
	nla_nest_end(skb, nest);
	return 0;
}

static int dump_sub(struct sk_buff *skb, struct netlink_callback *cb,
		    const struct kmqtt_sub *sub)
{
	void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				cb->nlh->nlmsg_seq, &kmqtt_family, NLM_F_MULTI,
				KMQTT_CMD_SUB_GET);

	if (!hdr)
		return -EMSGSIZE;
	if (fill_sub(skb, sub)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/* One connection's, after the one with key cb->args[1]; notes how far it came. */
static int dump_subs(struct sk_buff *skb, struct netlink_callback *cb,
		     const struct kmqtt_conn *conn)
{
	const struct kmqtt_sub *sub = kmqtt_sub_after(conn, cb->args[1]);

	for (; sub; sub = kmqtt_sub_next(sub)) {
		if (dump_sub(skb, cb, sub))
			return -EMSGSIZE;
		cb->args[1] = (unsigned long)sub->leaf;
	}
	cb->args[1] = 0;
	return 0;
}

/* cb->args[0] is the connection to go on from; the sink's come first. */
static int kmqtt_nl_sub_get_dumpit(struct sk_buff *skb,
				   struct netlink_callback *cb)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(sock_net(skb->sk));
	struct nlattr *only = kmqtt_dump_attrs(cb)[KMQTT_A_SUB_CONN_ID];
	unsigned long id = cb->args[0], max = ULONG_MAX;
	struct kmqtt_conn *conn;

	if (only) {
		max = nla_get_u32(only);
		id = max(id, max);
	}

	mutex_lock(&ns->lock);
	if (id == KMQTT_SINK_ID && dump_subs(skb, cb, ns->sink.conn)) {
		mutex_unlock(&ns->lock);
		return skb->len ?: -EMSGSIZE;
	}
	for (conn = xa_find(&ns->conns, &id, max, XA_PRESENT); conn;
	     conn = xa_find_after(&ns->conns, &id, max, XA_PRESENT)) {
		/* The key belongs to the connection that may be gone. */
		if (id != cb->args[0])
			cb->args[1] = 0;
		cb->args[0] = id;
		if (dump_subs(skb, cb, conn))
			break;
	}
	mutex_unlock(&ns->lock);

	if (conn && !skb->len)
		return -EMSGSIZE;
	if (!conn)
		cb->args[0] = ULONG_MAX;
	return skb->len;
}

/* The payload of a publish request: inline, in a file, or none. */
struct payload {
	const void *data;
	struct file *file;
	u32 len;
};

static int payload_open(struct payload *payload, struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;
	loff_t size;

	memset(payload, 0, sizeof(*payload));
	if (attrs[KMQTT_A_MSG_PAYLOAD] && attrs[KMQTT_A_MSG_PAYLOAD_FD]) {
		NL_SET_ERR_MSG(info->extack, "two payloads");
		return -EINVAL;
	}
	if (attrs[KMQTT_A_MSG_PAYLOAD]) {
		payload->data = nla_data(attrs[KMQTT_A_MSG_PAYLOAD]);
		payload->len = nla_len(attrs[KMQTT_A_MSG_PAYLOAD]);
	}
	if (!attrs[KMQTT_A_MSG_PAYLOAD_FD])
		return 0;

	payload->file = fget(nla_get_u32(attrs[KMQTT_A_MSG_PAYLOAD_FD]));
	if (!payload->file) {
		NL_SET_ERR_MSG(info->extack, "no such descriptor");
		return -EBADF;
	}
	/* Other files might take for ever to read, or not be readable. */
	size = i_size_read(file_inode(payload->file));
	if (!(payload->file->f_mode & FMODE_READ) ||
	    file_inode(payload->file)->i_sb->s_magic != TMPFS_MAGIC ||
	    !S_ISREG(file_inode(payload->file)->i_mode) ||
	    size > KMQTT_PACKET_MAX - KMQTT_HEADER_MAX) {
		NL_SET_ERR_MSG(info->extack, "payload is not a readable memfd");
		fput(payload->file);
		return -EINVAL;
	}
	payload->len = size;
	return 0;
}

static int payload_read(const struct payload *payload, u8 *to)
{
	loff_t pos = 0;
	ssize_t ret;

	if (!payload->file) {
		memcpy(to, payload->data, payload->len);
		return 0;
	}
	while (pos < payload->len) {
		ret = kernel_read(payload->file, to + pos, payload->len - pos,
				  &pos);
		if (ret <= 0)
			return ret ?: -EIO;
	}
	return 0;
}

/* Write the PUBLISH packet that a request describes: one of MQTT 5 if it has
 * properties, which precede the payload.
 */
static struct kmqtt_msg *msg_build(struct kmqtt_ns *ns, const u8 *topic,
				   u32 topic_len, const struct payload *payload,
				   u32 properties)
{
	u8 header[KMQTT_HEADER_MAX], varint[KMQTT_VARINT_BYTES];
	u32 varint_len = 0, remaining, len;
	struct kmqtt_head head = {};
	struct kmqtt_msg *msg;
	int err;

	if (properties > payload->len)
		return ERR_PTR(-EINVAL);
	if (properties)
		varint_len = kmqtt_varint_write(varint, properties);
	remaining = 2 + topic_len + varint_len + payload->len;

	if (remaining > KMQTT_PACKET_MAX - KMQTT_HEADER_MAX)
		return ERR_PTR(-EMSGSIZE);
	len = kmqtt_frame_build(header, KMQTT_PUBLISH << 4, remaining);
	msg = kmqtt_msg_alloc(ns, len + remaining, GFP_KERNEL);
	if (!msg)
		return ERR_PTR(-ENOMEM);

	memcpy(msg->data, header, len);
	put_unaligned_be16(topic_len, msg->data + len);
	head.topic = len + 2;
	head.topic_len = topic_len;
	head.payload = head.topic + topic_len;
	memcpy(msg->data + head.topic, topic, topic_len);
	memcpy(msg->data + head.payload, varint, varint_len);
	err = payload_read(payload, msg->data + head.payload + varint_len);
	if (!err && properties &&
	    (kmqtt_properties_parse(&head, msg->data, head.payload, msg->len) ||
	     head.topic_alias))
		err = -EINVAL;
	if (err) {
		kmqtt_msg_put(msg);
		return ERR_PTR(err);
	}
	kmqtt_msg_parts(msg, &head, properties ? 5 : 4);
	return msg;
}

static int kmqtt_nl_publish_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct nlattr **attrs = info->attrs;
	struct payload payload;
	struct kmqtt_msg *msg;
	const u8 *topic;
	u32 topic_len;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_MSG_TOPIC)) {
		NL_SET_ERR_MSG(info->extack, "topic missing");
		return -EINVAL;
	}
	topic = nla_data(attrs[KMQTT_A_MSG_TOPIC]);
	topic_len = nla_len(attrs[KMQTT_A_MSG_TOPIC]);
	if (kmqtt_topic_name_check(topic, topic_len)) {
		NL_SET_ERR_MSG(info->extack, "not a topic name");
		return -EINVAL;
	}

	err = payload_open(&payload, info);
	if (err)
		return err;
	msg = msg_build(ns, topic, topic_len, &payload,
			get_u32(attrs, KMQTT_A_MSG_PROPERTIES, 0));
	if (payload.file)
		fput(payload.file);
	if (msg == ERR_PTR(-EINVAL))
		NL_SET_ERR_MSG(info->extack, "not properties of PUBLISH");
	if (IS_ERR(msg))
		return PTR_ERR(msg);
	msg->conn_id = get_u32(attrs, KMQTT_A_MSG_CONN_ID, 0);
	if (attrs[KMQTT_A_MSG_QOS])
		msg->qos = nla_get_u8(attrs[KMQTT_A_MSG_QOS]);
	if (nla_get_flag(attrs[KMQTT_A_MSG_RETAIN]))
		msg->sink = KMQTT_SINK_RETAIN;

	mutex_lock(&ns->lock);
	err = kmqtt_publish(ns, msg);
	/* Only then will it be tried again. */
	if (err != -EAGAIN && attrs[KMQTT_A_MSG_SERIAL])
		WRITE_ONCE(ns->injected,
			   nla_get_u64(attrs[KMQTT_A_MSG_SERIAL]));
	mutex_unlock(&ns->lock);
	if (err == -E2BIG)
		NL_SET_ERR_MSG(info->extack, "topic matches too much");
	else if (err == -EAGAIN)
		NL_SET_ERR_MSG(info->extack, "workers are behind");
	return err;
}

static int fill_worker(struct sk_buff *skb, struct kmqtt_ns *ns, u32 index)
{
	const u64 *values = ns->counters[index].values;
	struct nlattr *nest;
	int i;

	nest = nla_nest_start(skb, KMQTT_A_STATS_WORKER);
	if (!nest ||
	    nla_put_u64_64bit(skb, KMQTT_A_COUNTER_CONNS,
			      atomic_read(&kmqtt_worker_at(index)->nr_conns),
			      KMQTT_A_COUNTER_PAD))
		return -EMSGSIZE;
	for (i = KMQTT_A_COUNTER_RX_PUBLISHES; i <= KMQTT_A_COUNTER_MAX; i++)
		if (nla_put_u64_64bit(skb, i, READ_ONCE(values[i]),
				      KMQTT_A_COUNTER_PAD))
			return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int fill_ended(struct sk_buff *skb, struct kmqtt_ns *ns)
{
	struct nlattr *nest = nla_nest_start(skb, KMQTT_A_STATS_ENDED);
	int i;

	if (!nest)
		return -EMSGSIZE;
	/* Type 0 pads, as everywhere: KMQTT_END_NONE is not counted. */
	for (i = 1; i <= KMQTT_END_MAX; i++)
		if (nla_put_u64_64bit(skb, i, atomic64_read(&ns->ended[i]), 0))
			return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int fill_sink(struct sk_buff *skb, struct kmqtt_sink *sink)
{
	int err;

	spin_lock(&sink->lock);
	err = nla_put_u64_64bit(skb, KMQTT_A_STATS_SINK_SEQ, sink->seq,
				KMQTT_A_STATS_PAD) ||
	      nla_put_u32(skb, KMQTT_A_STATS_SINK_RECORDS, sink->nr) ||
	      nla_put_u64_64bit(skb, KMQTT_A_STATS_SINK_BYTES, sink->bytes,
				KMQTT_A_STATS_PAD) ||
	      nla_put_u32(skb, KMQTT_A_STATS_SINK_WAITING, sink->nr_waiting) ||
	      nla_put_u64_64bit(skb, KMQTT_A_STATS_SINK_WAITS, sink->waits,
				KMQTT_A_STATS_PAD);
	spin_unlock(&sink->lock);
	return err ? -EMSGSIZE : 0;
}

static int fill_memory(struct sk_buff *skb, const struct kmqtt_memory *memory)
{
	return nla_put_u64_64bit(skb, KMQTT_A_STATS_MEMORY,
				 kmqtt_memory_used(memory), KMQTT_A_STATS_PAD) ||
	       nla_put_u64_64bit(skb, KMQTT_A_STATS_MEMORY_LIMIT,
				 READ_ONCE(memory->limit), KMQTT_A_STATS_PAD);
}

static int fill_daemon(struct sk_buff *skb, struct kmqtt_sink *sink)
{
	u32 daemon;

	spin_lock(&sink->lock);
	daemon = pid_vnr(sink->owner);
	spin_unlock(&sink->lock);
	return nla_put_u32(skb, KMQTT_A_STATS_DAEMON, daemon);
}

static int fill_stats(struct sk_buff *skb, struct kmqtt_ns *ns)
{
	u32 i;

	if (nla_put_u32(skb, KMQTT_A_STATS_CONNS, READ_ONCE(ns->nr_conns)) ||
	    nla_put_u32(skb, KMQTT_A_STATS_SUBS, READ_ONCE(ns->nr_subs)) ||
	    nla_put_u32(skb, KMQTT_A_STATS_FILTERS, READ_ONCE(ns->trie.nodes)) ||
	    nla_put_u64_64bit(skb, KMQTT_A_STATS_INJECTED,
			      READ_ONCE(ns->injected), KMQTT_A_STATS_PAD) ||
	    fill_memory(skb, &ns->memory) ||
	    fill_sink(skb, &ns->sink) || fill_daemon(skb, &ns->sink))
		return -EMSGSIZE;
	for (i = 0; i < kmqtt_nr_workers; i++)
		if (fill_worker(skb, ns, i))
			return -EMSGSIZE;
	return fill_ended(skb, ns);
}

static int kmqtt_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	size_t worker = nla_total_size((KMQTT_A_COUNTER_MAX + 1) *
				       nla_total_size_64bit(sizeof(u64)));
	struct sk_buff *reply;
	void *hdr;

	reply = reply_new(info, NLMSG_GOODSIZE + kmqtt_nr_workers * worker,
			  KMQTT_CMD_STATS_GET, &hdr);
	if (!reply)
		return -ENOMEM;
	if (fill_stats(reply, ns)) {
		nlmsg_free(reply);
		return -EMSGSIZE;
	}
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

static int kmqtt_nl_flush_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply;
	void *hdr;

	reply = reply_new(info, nla_total_size(sizeof(u32)), KMQTT_CMD_FLUSH,
			  &hdr);
	if (!reply)
		return -ENOMEM;

	mutex_lock(&ns->lock);
	nla_put_u32(reply, KMQTT_A_STATS_CONNS, ns->nr_conns);
	kmqtt_conn_del_all(ns, true, KMQTT_END_FLUSHED);
	kmqtt_subs_detach(ns->sink.conn);
	kmqtt_subs_free(ns->sink.conn);
	mutex_unlock(&ns->lock);
	kmqtt_sink_flush(&ns->sink);

	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

static int kmqtt_nl_sink_open_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct nlattr **attrs = info->attrs;
	struct sk_buff *reply;
	struct file *file;
	int fd, err;
	void *hdr;

	reply = reply_new(info, nla_total_size(sizeof(u32)),
			  KMQTT_CMD_SINK_OPEN, &hdr);
	if (!reply)
		return -ENOMEM;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		err = fd;
		goto free_reply;
	}
	file = kmqtt_sink_open(&ns->sink,
			       get_u32(attrs, KMQTT_A_SINK_BYTES,
				       SINK_BYTES_DEFAULT),
			       get_u32(attrs, KMQTT_A_SINK_ORPHAN_TIMEOUT,
				       ORPHAN_TIMEOUT_DEFAULT),
			       nla_get_flag(attrs[KMQTT_A_SINK_KEEP]));
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		if (err == -EBUSY)
			NL_SET_ERR_MSG(info->extack,
				       "sink is open already: there is a daemon");
		goto put_fd;
	}
	mutex_lock(&ns->lock);
	kmqtt_ruleset_del_all(ns);
	mutex_unlock(&ns->lock);

	fd_install(fd, file);
	nla_put_u32(reply, KMQTT_A_SINK_FD, fd);
	genlmsg_end(reply, hdr);
	err = genlmsg_reply(reply, info);
	if (err)
		close_fd(fd);
	return err;

put_fd:
	put_unused_fd(fd);
free_reply:
	nlmsg_free(reply);
	return err;
}

static int kmqtt_nl_sink_done_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	int err;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_SINK_DONE)) {
		NL_SET_ERR_MSG(info->extack, "done missing");
		return -EINVAL;
	}
	err = kmqtt_sink_done(&ns->sink,
			      nla_get_u64(info->attrs[KMQTT_A_SINK_DONE]));
	if (err)
		NL_SET_ERR_MSG(info->extack, "done has not been read");
	return err;
}

static int kmqtt_nl_memory_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply;
	void *hdr;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_STATS_MEMORY_LIMIT)) {
		NL_SET_ERR_MSG(info->extack, "limit missing");
		return -EINVAL;
	}
	reply = reply_new(info, 2 * nla_total_size_64bit(sizeof(u64)),
			  KMQTT_CMD_MEMORY_SET, &hdr);
	if (!reply)
		return -ENOMEM;
	mutex_lock(&ns->lock);
	kmqtt_memory_set(&ns->memory,
			 nla_get_u64(info->attrs[KMQTT_A_STATS_MEMORY_LIMIT]));
	fill_memory(reply, &ns->memory);
	mutex_unlock(&ns->lock);
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

/* The rule set that a rules command is about; 0 if it does not say. */
static u32 rules_id(struct genl_info *info)
{
	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_RULES_ID)) {
		NL_SET_ERR_MSG(info->extack, "rule set missing");
		return 0;
	}
	return nla_get_u32(info->attrs[KMQTT_A_RULES_ID]);
}

/* Whether rules-begin was about this rule set; ns->lock is held. */
static bool is_draft(struct kmqtt_ns *ns, struct genl_info *info, u32 id)
{
	if (ns->draft && ns->draft_id == id)
		return true;
	NL_SET_ERR_MSG(info->extack, "not the rule set that was begun");
	return false;
}

static void draft_replace(struct kmqtt_ns *ns, u32 id,
			  struct kmqtt_rules *rules)
{
	if (ns->draft)
		kmqtt_rules_free(ns->draft);
	ns->draft = rules;
	ns->draft_id = id;
}

static int kmqtt_nl_rules_begin_doit(struct sk_buff *skb,
				     struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_rules *rules;
	u32 id = rules_id(info);

	if (!id)
		return -EINVAL;
	rules = kmqtt_rules_alloc();
	if (!rules)
		return -ENOMEM;
	mutex_lock(&ns->lock);
	draft_replace(ns, id, rules);
	mutex_unlock(&ns->lock);
	return 0;
}

static int add_rule(struct kmqtt_rules *rules, const struct nlattr *nest,
		    struct netlink_ext_ack *extack)
{
	struct nlattr *attrs[KMQTT_A_RULE_MAX + 1];
	const struct nlattr *flags;
	int err;

	err = nla_parse_nested(attrs, KMQTT_A_RULE_MAX, nest, rule_policy,
			       extack);
	if (err)
		return err;
	if (NL_REQ_ATTR_CHECK(extack, nest, attrs, KMQTT_A_RULE_FILTER) ||
	    NL_REQ_ATTR_CHECK(extack, nest, attrs, KMQTT_A_RULE_ACCESS)) {
		NL_SET_ERR_MSG(extack, "filter or access missing");
		return -EINVAL;
	}
	flags = attrs[KMQTT_A_RULE_FLAGS];
	err = kmqtt_rules_add(rules, nla_data(attrs[KMQTT_A_RULE_FILTER]),
			      nla_len(attrs[KMQTT_A_RULE_FILTER]),
			      nla_get_u8(attrs[KMQTT_A_RULE_ACCESS]),
			      flags ? nla_get_u8(flags) : 0);
	if (err == -EINVAL)
		NL_SET_ERR_MSG_ATTR(extack, nest,
				    "not a topic filter, or after a pattern");
	else if (err == -E2BIG)
		NL_SET_ERR_MSG(extack, "rule set too large");
	return err;
}

static int add_rules(struct kmqtt_rules *rules, struct genl_info *info)
{
	struct kmqtt_rules_mark mark = kmqtt_rules_mark(rules);
	struct nlattr *attr;
	int rem, err = 0;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rem) {
		if (nla_type(attr) == KMQTT_A_RULES_RULE)
			err = add_rule(rules, attr, info->extack);
		if (err)
			break;
	}
	if (err)
		kmqtt_rules_cut(rules, &mark);
	return err;
}

static int kmqtt_nl_rules_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	u32 id = rules_id(info);
	int err = -EINVAL;

	if (!id)
		return -EINVAL;
	mutex_lock(&ns->lock);
	if (is_draft(ns, info, id))
		err = add_rules(ns->draft, info);
	mutex_unlock(&ns->lock);
	return err;
}

static int kmqtt_nl_rules_commit_doit(struct sk_buff *skb,
				      struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	u32 id = rules_id(info);
	int err = -EINVAL;

	if (!id)
		return -EINVAL;
	mutex_lock(&ns->lock);
	if (is_draft(ns, info, id)) {
		err = kmqtt_ruleset_commit(ns, id, ns->draft);
		if (!err)
			ns->draft = NULL;
		draft_replace(ns, 0, NULL);
	}
	mutex_unlock(&ns->lock);
	if (err == -E2BIG)
		NL_SET_ERR_MSG(info->extack, "too many rule sets, or too large");
	return err;
}

static int kmqtt_nl_rules_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_ruleset *set;
	u32 id = rules_id(info);
	int err = 0;

	if (!id)
		return -EINVAL;
	mutex_lock(&ns->lock);
	set = kmqtt_ruleset_find(ns, id);
	if (!set) {
		NL_SET_ERR_MSG(info->extack, "no such rule set");
		err = -ENOENT;
	} else if (set->users) {
		NL_SET_ERR_MSG(info->extack, "connections have it");
		err = -EBUSY;
	} else {
		kmqtt_ruleset_del(ns, set);
	}
	mutex_unlock(&ns->lock);
	return err;
}

static const struct genl_multicast_group mcgrps[] = {
	{ .name = KMQTT_MCGRP_EVENTS, .flags = GENL_MCAST_CAP_NET_ADMIN },
};

/* Lost wake-ups lose nothing: the bits stay on the connection. */
void kmqtt_nl_event(struct kmqtt_ns *ns, u32 seq)
{
	struct sk_buff *skb;
	void *hdr;

	skb = genlmsg_new(nla_total_size(sizeof(u32)), GFP_KERNEL);
	if (!skb)
		return;
	hdr = genlmsg_put(skb, 0, 0, &kmqtt_family, 0, KMQTT_CMD_EVENT);
	if (!hdr || nla_put_u32(skb, KMQTT_A_CONN_EVENT_SEQ, seq)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, hdr);
	genlmsg_multicast_netns(&kmqtt_family, ns->net, skb, 0, 0, GFP_KERNEL);
}

static const struct genl_ops kmqtt_ops[] = {
	{
		.cmd = KMQTT_CMD_CONN_ADD,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_add_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_add_doit,
	},
	{
		.cmd = KMQTT_CMD_CONN_SET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_set_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_set_doit,
	},
	{
		.cmd = KMQTT_CMD_CONN_DEL,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_del_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_del_doit,
	},
	{
		.cmd = KMQTT_CMD_CONN_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_get_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_get_doit,
		.start = kmqtt_nl_dump_start,
		.dumpit = kmqtt_nl_conn_get_dumpit,
	},
	{
		.cmd = KMQTT_CMD_CONN_ADOPT,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = conn_adopt_policy,
		.maxattr = KMQTT_A_CONN_MAX,
		.doit = kmqtt_nl_conn_adopt_doit,
	},
	{
		.cmd = KMQTT_CMD_SUB_ADD,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sub_add_policy,
		.maxattr = KMQTT_A_SUB_MAX,
		.doit = kmqtt_nl_sub_add_doit,
	},
	{
		.cmd = KMQTT_CMD_SUB_DEL,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sub_del_policy,
		.maxattr = KMQTT_A_SUB_MAX,
		.doit = kmqtt_nl_sub_del_doit,
	},
	{
		.cmd = KMQTT_CMD_SUB_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sub_get_policy,
		.maxattr = KMQTT_A_SUB_MAX,
		.start = kmqtt_nl_dump_start,
		.dumpit = kmqtt_nl_sub_get_dumpit,
	},
	{
		.cmd = KMQTT_CMD_PUBLISH,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = publish_policy,
		.maxattr = KMQTT_A_MSG_MAX,
		.doit = kmqtt_nl_publish_doit,
	},
	{
		.cmd = KMQTT_CMD_STATS_GET,
		.flags = GENL_UNS_ADMIN_PERM,
		.doit = kmqtt_nl_stats_get_doit,
	},
	{
		.cmd = KMQTT_CMD_FLUSH,
		.flags = GENL_UNS_ADMIN_PERM,
		.doit = kmqtt_nl_flush_doit,
	},
	{
		.cmd = KMQTT_CMD_SINK_OPEN,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sink_open_policy,
		.maxattr = KMQTT_A_SINK_MAX,
		.doit = kmqtt_nl_sink_open_doit,
	},
	{
		.cmd = KMQTT_CMD_SINK_DONE,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = sink_done_policy,
		.maxattr = KMQTT_A_SINK_MAX,
		.doit = kmqtt_nl_sink_done_doit,
	},
	{
		.cmd = KMQTT_CMD_MEMORY_SET,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = memory_set_policy,
		.maxattr = KMQTT_A_STATS_MAX,
		.doit = kmqtt_nl_memory_set_doit,
	},
	{
		.cmd = KMQTT_CMD_RULES_BEGIN,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = rules_id_policy,
		.maxattr = KMQTT_A_RULES_MAX,
		.doit = kmqtt_nl_rules_begin_doit,
	},
	{
		.cmd = KMQTT_CMD_RULES_ADD,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = rules_add_policy,
		.maxattr = KMQTT_A_RULES_MAX,
		.doit = kmqtt_nl_rules_add_doit,
	},
	{
		.cmd = KMQTT_CMD_RULES_COMMIT,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = rules_id_policy,
		.maxattr = KMQTT_A_RULES_MAX,
		.doit = kmqtt_nl_rules_commit_doit,
	},
	{
		.cmd = KMQTT_CMD_RULES_DEL,
		.flags = GENL_UNS_ADMIN_PERM,
		.policy = rules_id_policy,
		.maxattr = KMQTT_A_RULES_MAX,
		.doit = kmqtt_nl_rules_del_doit,
	},
};

static struct genl_family kmqtt_family __ro_after_init = {
	.name = KMQTT_GENL_NAME,
	.version = KMQTT_GENL_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = kmqtt_ops,
	.n_ops = ARRAY_SIZE(kmqtt_ops),
	.mcgrps = mcgrps,
	.n_mcgrps = ARRAY_SIZE(mcgrps),
};

int __init kmqtt_netlink_init(void)
{
	return genl_register_family(&kmqtt_family);
}

void kmqtt_netlink_exit(void)
{
	genl_unregister_family(&kmqtt_family);
}
