// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/slab.h>

#include "access.h"
#include "compat.h"
#include "conn.h"
#include "hold.h"
#include "sock.h"
#include "sub.h"
#include "worker.h"

enum {
	MAX_PACKET_DEFAULT = 128 * 1024,
	RING_MESSAGES_DEFAULT = 1000,
	RING_BYTES_DEFAULT = 1 << 20,
	USER_BYTES_DEFAULT = 64 * 1024,
	UNSENT_BYTES_DEFAULT = 128 * 1024,
	PACKET_TIMEOUT_DEFAULT = 60000,
};

struct kmqtt_conn *kmqtt_nl_find(struct kmqtt_ns *ns, struct genl_info *info,
				 int type)
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
static int fill_conn(struct sk_buff *skb, struct kmqtt_conn *conn)
{
	u32 event_seq;

	/* Its events may be acknowledged: the next one is to change event-seq. */
	WRITE_ONCE(conn->events_read, true);
	/* First: no event of it may be missing that is acknowledged with it.
	 * Pairs with kmqtt_conn_event().
	 */
	event_seq = smp_load_acquire(&conn->event_seq);
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
	    nla_put_u32(skb, KMQTT_A_CONN_EVENT_SEQ, event_seq) ||
	    nla_put_u8(skb, KMQTT_A_CONN_END, READ_ONCE(conn->end)) ||
	    (conn->last && nla_put_flag(skb, KMQTT_A_CONN_LAST)) ||
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
	return KMQTT_NL_RECORD + nla_total_size(conn->client_id_len) +
	       nla_total_size(conn->user_name_len);
}

/* Take a socket over, if there may be one more; ns->lock is held. */
static struct kmqtt_conn *conn_add(struct kmqtt_ns *ns, struct file *file,
				   struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;
	struct kmqtt_limits limits = {
		.ring_messages = kmqtt_nl_u32(attrs, KMQTT_A_CONN_RING_MESSAGES,
					      RING_MESSAGES_DEFAULT),
		.ring_bytes = kmqtt_nl_u32(attrs, KMQTT_A_CONN_RING_BYTES,
					   RING_BYTES_DEFAULT),
		.user_bytes = kmqtt_nl_u32(attrs, KMQTT_A_CONN_USER_BYTES,
					   USER_BYTES_DEFAULT),
		.unsent_bytes = kmqtt_nl_u32(attrs, KMQTT_A_CONN_UNSENT_BYTES,
					     UNSENT_BYTES_DEFAULT),
		.packet_timeout =
			kmqtt_nl_u32(attrs, KMQTT_A_CONN_PACKET_TIMEOUT,
				     PACKET_TIMEOUT_DEFAULT),
	};
	struct kmqtt_conn *conn;

	/* The kernel's files are nobody's, so as many as the caller's own. */
	if (ns->nr_conns >= rlimit(RLIMIT_NOFILE)) {
		NL_SET_ERR_MSG(info->extack,
			       "as many connections as RLIMIT_NOFILE");
		return ERR_PTR(-EMFILE);
	}
	if (kmqtt_memory_over(&ns->memory)) {
		NL_SET_ERR_MSG(info->extack, "more memory than the limit");
		return ERR_PTR(-EDQUOT);
	}
	conn = kmqtt_conn_add(ns, file, &limits,
			      kmqtt_nl_u32(attrs, KMQTT_A_CONN_MAX_PACKET,
					   MAX_PACKET_DEFAULT),
			      info->extack);
	if (!IS_ERR(conn) && attrs[KMQTT_A_CONN_COOKIE])
		conn->cookie = nla_get_u64(attrs[KMQTT_A_CONN_COOKIE]);
	return conn;
}

int kmqtt_nl_conn_add_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_conn *conn;
	struct sk_buff *reply;
	struct file *file;
	void *hdr;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_CONN_FD)) {
		NL_SET_ERR_MSG(info->extack, "descriptor missing");
		return -EINVAL;
	}
	file = fget(nla_get_u32(info->attrs[KMQTT_A_CONN_FD]));
	if (!file) {
		NL_SET_ERR_MSG(info->extack, "no such descriptor");
		return -EBADF;
	}
	reply = kmqtt_nl_reply(info, nla_total_size(sizeof(u32)),
			       KMQTT_CMD_CONN_ADD, &hdr);
	if (!reply) {
		fput(file);
		return -ENOMEM;
	}

	mutex_lock(&ns->lock);
	conn = conn_add(ns, file, info);
	if (IS_ERR(conn)) {
		nlmsg_free(reply);
		err = PTR_ERR(conn);
		goto unlock;
	}
	kmqtt_sink_guard(&ns->sink);
	nla_put_u32(reply, KMQTT_A_CONN_ID, conn->id);
	genlmsg_end(reply, hdr);
	err = genlmsg_reply(reply, info);
	/* Without room for the answer, nobody would know of it. */
	if (err)
		kmqtt_conn_del(conn, true, KMQTT_END_DELETED);
unlock:
	mutex_unlock(&ns->lock);
	fput(file);
	return err;
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
	    max(level, conn->level) == KMQTT_LEVEL_MAX) {
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
	if (attrs[KMQTT_A_CONN_KEEPALIVE]) {
		WRITE_ONCE(conn->keepalive,
			   nla_get_u16(attrs[KMQTT_A_CONN_KEEPALIVE]));
		/* It may end sooner than the timer expires, if it runs at all. */
		if (READ_ONCE(conn->state) == KMQTT_CONN_ACTIVE)
			kmqtt_conn_kick(conn, KMQTT_CONN_KICK_TIMER);
	}
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

int kmqtt_nl_conn_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_conn *conn;
	int err;

	mutex_lock(&ns->lock);
	conn = kmqtt_nl_find(ns, info, KMQTT_A_CONN_ID);
	err = IS_ERR(conn) ? PTR_ERR(conn) : conn_set(conn, info);
	mutex_unlock(&ns->lock);
	return err;
}

/* The answer to conn-del is the record as it is then, the end included. */
int kmqtt_nl_conn_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	bool abort = nla_get_flag(info->attrs[KMQTT_A_CONN_ABORT]);
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct kmqtt_conn *conn;
	struct sk_buff *reply;
	void *hdr;

	mutex_lock(&ns->lock);
	conn = kmqtt_nl_find(ns, info, KMQTT_A_CONN_ID);
	if (IS_ERR(conn)) {
		mutex_unlock(&ns->lock);
		return PTR_ERR(conn);
	}
	reply = kmqtt_nl_reply(info, conn_size(conn), KMQTT_CMD_CONN_DEL, &hdr);
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

int kmqtt_nl_conn_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply = NULL;
	struct kmqtt_conn *conn;
	void *hdr;

	mutex_lock(&ns->lock);
	conn = kmqtt_nl_find(ns, info, KMQTT_A_CONN_ID);
	if (!IS_ERR(conn))
		reply = kmqtt_nl_reply(info, conn_size(conn),
				       KMQTT_CMD_CONN_GET, &hdr);
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
	if (fill_conn(skb, conn)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/* cb->args[0] is the id to go on from: what comes and goes meanwhile is neither
 * missed nor repeated.
 */
int kmqtt_nl_conn_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
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

/* A descriptor of a connection, for who reads all again that is not done; or an
 * error.
 */
static int adopt_fd(struct kmqtt_ns *ns, struct genl_info *info, u32 id)
{
	struct kmqtt_conn *conn;
	int fd = -ENOENT;

	mutex_lock(&ns->lock);
	conn = xa_load(&ns->conns, id);
	if (conn)
		fd = kmqtt_receive_fd(conn->file, O_CLOEXEC);
	if (fd >= 0)
		kmqtt_sock_rewind(conn);
	mutex_unlock(&ns->lock);

	if (!conn)
		NL_SET_ERR_MSG(info->extack, "no such connection");
	else if (fd < 0 && fd != -ENOMEM)
		NL_SET_ERR_MSG(info->extack, "no descriptor to be had");
	return fd;
}

/* Give the caller a descriptor of one connection. */
static int adopt(struct kmqtt_ns *ns, struct genl_info *info, u32 id)
{
	struct sk_buff *reply;
	int fd, err;
	void *hdr;

	reply = kmqtt_nl_reply(info, 2 * nla_total_size(sizeof(u32)),
			       KMQTT_CMD_CONN_ADOPT, &hdr);
	if (!reply)
		return -ENOMEM;
	fd = adopt_fd(ns, info, id);
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

int kmqtt_nl_conn_adopt_doit(struct sk_buff *skb, struct genl_info *info)
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

int kmqtt_nl_flush_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply;
	void *hdr;

	reply = kmqtt_nl_reply(info, nla_total_size(sizeof(u32)),
			       KMQTT_CMD_FLUSH, &hdr);
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
