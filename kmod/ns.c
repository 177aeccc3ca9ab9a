// SPDX-License-Identifier: GPL-2.0
#include "ns.h"

#include <linux/slab.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "access.h"
#include "worker.h"

static unsigned int ns_id __ro_after_init;

struct kmqtt_ns *kmqtt_ns_of(const struct net *net)
{
	return net_generic(net, ns_id);
}

static int __net_init ns_net_init(struct net *net)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(net);
	int err;

	ns->net = net;
	mutex_init(&ns->lock);
	xa_init_flags(&ns->conns, XA_FLAGS_ALLOC1);
	xa_init(&ns->rulesets);
	kmqtt_matcher_init(&ns->matcher);
	kmqtt_memory_init(&ns->memory, ns);
	kmqtt_trunk_init(&ns->trunk);
	ns->event_armed = 1;

	ns->counters = kvcalloc(kmqtt_nr_workers, sizeof(*ns->counters),
				GFP_KERNEL_ACCOUNT);
	if (!ns->counters)
		return -ENOMEM;

	err = kmqtt_trie_init(&ns->trie);
	if (err)
		goto free_counters;

	err = kmqtt_sink_init(&ns->sink, ns);
	if (err)
		goto destroy_trie;
	return 0;

destroy_trie:
	kmqtt_trie_destroy(&ns->trie);
free_counters:
	kvfree(ns->counters);
	return err;
}

/* A connection's socket pins the namespace, as the sink's descriptor does:
 * there are none left.
 */
static void __net_exit ns_net_exit(struct net *net)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(net);

	kmqtt_trunk_exit(&ns->trunk);
	kmqtt_sink_exit(&ns->sink);
	mutex_lock(&ns->lock);
	kmqtt_ruleset_del_all(ns);
	mutex_unlock(&ns->lock);
	if (ns->draft)
		kmqtt_rules_free(ns->draft);
	kmqtt_memory_exit(&ns->memory);
	kmqtt_trie_destroy(&ns->trie);
	kvfree(ns->counters);
	kmqtt_matcher_exit(&ns->matcher);
	xa_destroy(&ns->rulesets);
	xa_destroy(&ns->conns);
	mutex_destroy(&ns->lock);
}

static struct pernet_operations ns_net_ops = {
	.init = ns_net_init,
	.exit = ns_net_exit,
	.id = &ns_id,
	.size = sizeof(struct kmqtt_ns),
};

int __init kmqtt_ns_init(void)
{
	return register_pernet_subsys(&ns_net_ops);
}

void kmqtt_ns_exit(void)
{
	unregister_pernet_subsys(&ns_net_ops);
}
