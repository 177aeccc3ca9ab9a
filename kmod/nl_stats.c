// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include "memory.h"
#include "worker.h"

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

int kmqtt_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	size_t worker = nla_total_size((KMQTT_A_COUNTER_MAX + 1) *
				       nla_total_size_64bit(sizeof(u64)));
	struct sk_buff *reply;
	void *hdr;

	reply = kmqtt_nl_reply(info, NLMSG_GOODSIZE + kmqtt_nr_workers * worker,
			       KMQTT_CMD_STATS_GET, &hdr);
	if (!reply)
		return -ENOMEM;
	if (fill_stats(reply, ns)) {
		NL_SET_ERR_MSG(info->extack, "more than an answer can hold");
		nlmsg_free(reply);
		return -EMSGSIZE;
	}
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

int kmqtt_nl_memory_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct sk_buff *reply;
	void *hdr;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_STATS_MEMORY_LIMIT)) {
		NL_SET_ERR_MSG(info->extack, "limit missing");
		return -EINVAL;
	}
	reply = kmqtt_nl_reply(info, 2 * nla_total_size_64bit(sizeof(u64)),
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
