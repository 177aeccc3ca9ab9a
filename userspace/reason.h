/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reason codes of MQTT 5 (table 2-6): why something was, or was not, done. The
 * daemon has them for clients of any version; what MQTT 3.x can say of them
 * follows from them.
 */
#ifndef _KMQTTD_REASON_H_
#define _KMQTTD_REASON_H_

#include <linux/kmqtt.h>

#include "types.h"

enum reason {
	REASON_SUCCESS = 0x00,
	REASON_GRANTED_QOS_1 = 0x01,
	REASON_GRANTED_QOS_2 = 0x02,
	REASON_DISCONNECT_WITH_WILL = 0x04,
	REASON_NO_MATCHING_SUBSCRIBERS = 0x10,
	REASON_NO_SUBSCRIPTION_EXISTED = 0x11,
	REASON_CONTINUE_AUTHENTICATION = 0x18,
	REASON_REAUTHENTICATE = 0x19,
	/* From here on, it was not done. */
	REASON_UNSPECIFIED = 0x80,
	REASON_MALFORMED = 0x81,
	REASON_PROTOCOL = 0x82,
	REASON_IMPLEMENTATION = 0x83,
	REASON_BAD_LEVEL = 0x84,
	REASON_BAD_CLIENT_ID = 0x85,
	REASON_BAD_LOGIN = 0x86,
	REASON_NOT_AUTHORIZED = 0x87,
	REASON_UNAVAILABLE = 0x88,
	REASON_BUSY = 0x89,
	REASON_BANNED = 0x8a,
	REASON_SHUTTING_DOWN = 0x8b,
	REASON_BAD_AUTH_METHOD = 0x8c,
	REASON_KEEP_ALIVE = 0x8d,
	REASON_TAKEN_OVER = 0x8e,
	REASON_FILTER_INVALID = 0x8f,
	REASON_TOPIC_INVALID = 0x90,
	REASON_ID_IN_USE = 0x91,
	REASON_ID_NOT_FOUND = 0x92,
	REASON_RECEIVE_MAXIMUM = 0x93,
	REASON_TOPIC_ALIAS = 0x94,
	REASON_TOO_LARGE = 0x95,
	REASON_RATE = 0x96,
	REASON_QUOTA = 0x97,
	REASON_ADMINISTRATIVE = 0x98,
	REASON_PAYLOAD_FORMAT = 0x99,
	REASON_RETAIN_NOT_SUPPORTED = 0x9a,
	REASON_QOS_NOT_SUPPORTED = 0x9b,
	REASON_ANOTHER_SERVER = 0x9c,
	REASON_SERVER_MOVED = 0x9d,
	REASON_SHARED_NOT_SUPPORTED = 0x9e,
	REASON_CONNECTION_RATE = 0x9f,
	REASON_CONNECT_TIME = 0xa0,
	REASON_SUB_ID_NOT_SUPPORTED = 0xa1,
	REASON_WILDCARD_NOT_SUPPORTED = 0xa2,
};

static inline bool reason_is_error(enum reason reason)
{
	return reason >= REASON_UNSPECIFIED;
}

/* In words, for the log and for reason strings, in mosquitto's words. */
const char *reason_text(enum reason reason);

/*
 * Of the kernel's reasons to end a connection, or for what its pure files have
 * found in a packet; REASON_SUCCESS where a client needs to hear of none.
 */
enum reason reason_of_end(enum kmqtt_end end);

/* The return code of a CONNACK of MQTT 3.x (table 3.1 of MQTT 3.1.1). */
u8 reason_return_code(enum reason reason);

#endif /* _KMQTTD_REASON_H_ */
