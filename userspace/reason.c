// SPDX-License-Identifier: GPL-2.0
#include "reason.h"

static const char *const texts[] = {
	[REASON_SUCCESS] = "success",
	[REASON_GRANTED_QOS_1] = "granted QoS 1",
	[REASON_GRANTED_QOS_2] = "granted QoS 2",
	[REASON_DISCONNECT_WITH_WILL] = "disconnect with will message",
	[REASON_NO_MATCHING_SUBSCRIBERS] = "no matching subscribers",
	[REASON_NO_SUBSCRIPTION_EXISTED] = "no subscription existed",
	[REASON_CONTINUE_AUTHENTICATION] = "continue authentication",
	[REASON_REAUTHENTICATE] = "re-authenticate",
	[REASON_UNSPECIFIED] = "unspecified error",
	[REASON_MALFORMED] = "malformed packet",
	[REASON_PROTOCOL] = "protocol error",
	[REASON_IMPLEMENTATION] = "implementation specific error",
	[REASON_BAD_LEVEL] = "unsupported protocol version",
	[REASON_BAD_CLIENT_ID] = "client identifier not valid",
	[REASON_BAD_LOGIN] = "bad user name or password",
	[REASON_NOT_AUTHORIZED] = "not authorised",
	[REASON_UNAVAILABLE] = "server unavailable",
	[REASON_BUSY] = "server busy",
	[REASON_BANNED] = "banned",
	[REASON_SHUTTING_DOWN] = "server shutting down",
	[REASON_BAD_AUTH_METHOD] = "bad authentication method",
	[REASON_KEEP_ALIVE] = "exceeded timeout",
	[REASON_TAKEN_OVER] = "session taken over",
	[REASON_FILTER_INVALID] = "topic filter invalid",
	[REASON_TOPIC_INVALID] = "topic name invalid",
	[REASON_ID_IN_USE] = "packet identifier in use",
	[REASON_ID_NOT_FOUND] = "packet identifier not found",
	[REASON_RECEIVE_MAXIMUM] = "receive maximum exceeded",
	[REASON_TOPIC_ALIAS] = "topic alias invalid",
	[REASON_TOO_LARGE] = "oversize packet",
	[REASON_RATE] = "message rate too high",
	[REASON_QUOTA] = "quota exceeded",
	[REASON_ADMINISTRATIVE] = "administrative action",
	[REASON_PAYLOAD_FORMAT] = "payload format invalid",
	[REASON_RETAIN_NOT_SUPPORTED] = "retain not supported",
	[REASON_QOS_NOT_SUPPORTED] = "QoS not supported",
	[REASON_ANOTHER_SERVER] = "use another server",
	[REASON_SERVER_MOVED] = "server moved",
	[REASON_SHARED_NOT_SUPPORTED] = "shared subscriptions not supported",
	[REASON_CONNECTION_RATE] = "connection rate exceeded",
	[REASON_CONNECT_TIME] = "maximum connect time",
	[REASON_SUB_ID_NOT_SUPPORTED] =
		"subscription identifiers not supported",
	[REASON_WILDCARD_NOT_SUPPORTED] =
		"wildcard subscriptions not supported",
};

const char *reason_text(enum reason reason)
{
	return reason < ARRAY_SIZE(texts) && texts[reason] ?
	       texts[reason] : "unspecified error";
}

enum reason reason_of_end(enum kmqtt_end end)
{
	switch (end) {
	case KMQTT_END_KEEPALIVE:
	case KMQTT_END_PACKET_TIMEOUT:
		return REASON_KEEP_ALIVE;
	case KMQTT_END_MALFORMED:
		return REASON_MALFORMED;
	case KMQTT_END_PROTOCOL:
	case KMQTT_END_URGENT:
		return REASON_PROTOCOL;
	case KMQTT_END_TOO_LARGE:
		return REASON_TOO_LARGE;
	case KMQTT_END_TOPIC:
		return REASON_TOPIC_INVALID;
	case KMQTT_END_TOPIC_ALIAS:
		return REASON_TOPIC_ALIAS;
	case KMQTT_END_PAYLOAD_FORMAT:
		return REASON_PAYLOAD_FORMAT;
	default:
		return REASON_SUCCESS;
	}
}

u8 reason_return_code(enum reason reason)
{
	if (!reason_is_error(reason))
		return 0;
	switch (reason) {
	case REASON_BAD_LEVEL:
		return 1;
	case REASON_BAD_CLIENT_ID:
		return 2;
	case REASON_BAD_LOGIN:
		return 4;
	case REASON_UNSPECIFIED:
	case REASON_UNAVAILABLE:
	case REASON_BUSY:
	case REASON_SHUTTING_DOWN:
	case REASON_QUOTA:
	case REASON_CONNECTION_RATE:
	case REASON_ANOTHER_SERVER:
	case REASON_SERVER_MOVED:
		return 3;
	default:
		return 5;
	}
}
