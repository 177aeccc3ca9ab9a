// SPDX-License-Identifier: GPL-2.0
#include "names.h"

#include "ctl.h"

const char *const counter_names[KMQTT_A_COUNTER_MAX + 1] = {
	[KMQTT_A_COUNTER_CONNS] = "conns",
	[KMQTT_A_COUNTER_RX_PUBLISHES] = "rx_publishes",
	[KMQTT_A_COUNTER_RX_BYTES] = "rx_bytes",
	[KMQTT_A_COUNTER_RX_PINGS] = "rx_pings",
	[KMQTT_A_COUNTER_RX_USER_PACKETS] = "rx_user_packets",
	[KMQTT_A_COUNTER_NO_SUBSCRIBERS] = "no_subscribers",
	[KMQTT_A_COUNTER_MATCH_CACHED] = "match_cached",
	[KMQTT_A_COUNTER_DELIVERIES] = "deliveries",
	[KMQTT_A_COUNTER_TX_BYTES] = "tx_bytes",
	[KMQTT_A_COUNTER_TX_CALLS] = "tx_calls",
	[KMQTT_A_COUNTER_DROPPED_MESSAGES] = "dropped_messages",
	[KMQTT_A_COUNTER_DROPPED_BYTES] = "dropped_bytes",
	[KMQTT_A_COUNTER_DROPPED_NOMEM] = "dropped_nomem",
	[KMQTT_A_COUNTER_DROPPED_BUDGET] = "dropped_budget",
	[KMQTT_A_COUNTER_DENIED_PUBLISHES] = "denied_publishes",
	[KMQTT_A_COUNTER_DENIED_DELIVERIES] = "denied_deliveries",
	[KMQTT_A_COUNTER_DROPPED_TOO_LARGE] = "dropped_too_large",
	[KMQTT_A_COUNTER_DROPPED_EXPIRED] = "dropped_expired",
};

const char *const end_names[KMQTT_END_MAX + 1] = {
	[KMQTT_END_NONE] = "none",
	[KMQTT_END_CLOSED] = "closed",
	[KMQTT_END_RESET] = "reset",
	[KMQTT_END_KEEPALIVE] = "keepalive",
	[KMQTT_END_PACKET_TIMEOUT] = "packet_timeout",
	[KMQTT_END_MALFORMED] = "malformed",
	[KMQTT_END_PROTOCOL] = "protocol",
	[KMQTT_END_TOO_LARGE] = "too_large",
	[KMQTT_END_TOPIC] = "topic",
	[KMQTT_END_URGENT] = "urgent",
	[KMQTT_END_DELETED] = "deleted",
	[KMQTT_END_FLUSHED] = "flushed",
	[KMQTT_END_ORPHANED] = "orphaned",
	[KMQTT_END_TOPIC_ALIAS] = "topic_alias",
	[KMQTT_END_PAYLOAD_FORMAT] = "payload_format",
};

/* A counter or a reason that the header gets needs a name. */
_Static_assert(KMQTT_A_COUNTER_MAX == KMQTT_A_COUNTER_DROPPED_EXPIRED,
	       "counter_names lacks one");
_Static_assert(KMQTT_END_MAX == KMQTT_END_PAYLOAD_FORMAT, "end_names lacks one");

static const char *const state_names[] = {
	[KMQTT_CONN_CONNECTING] = "connecting",
	[KMQTT_CONN_WAITING] = "waiting",
	[KMQTT_CONN_ACTIVE] = "active",
	[KMQTT_CONN_ENDED] = "ended",
};

const char *end_name(uint64_t end)
{
	return end < ARRAY_SIZE(end_names) ? end_names[end] : "unknown";
}

const char *state_name(uint64_t state)
{
	return state < ARRAY_SIZE(state_names) ? state_names[state] : "unknown";
}

const char *level_name(uint64_t level)
{
	switch (level) {
	case 0:
		return "-";
	case 3:
		return "3.1";
	case 4:
		return "3.1.1";
	case 5:
		return "5";
	}
	return "unknown";
}
