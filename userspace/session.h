/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sessions by client identifier. So far a session lives as long as its
 * connection, and is embedded in its client.
 */
#ifndef _KMQTTD_SESSION_H_
#define _KMQTTD_SESSION_H_

#include "table.h"
#include "types.h"

/**
 * struct session - all zeroes: no identifier yet
 * @node: in the map of identifiers
 * @id: client identifier, NULL without; owned
 * @id_len: bytes of it
 * @listed: in the map
 */
struct session {
	struct table_node node;
	u8 *id;
	u16 id_len;
	bool listed;
};

/*
 * Gives a session its identifier; an empty one stands for a unique one that is
 * made up [MQTT-3.1.3-6] and begins with @prefix. 0 or -ENOMEM.
 */
int session_name(struct session *session, const u8 *id, u16 len,
		 const char *prefix);

/*
 * Makes @session the one of its identifier. *@former is the one that it was
 * before, now no longer listed, or NULL. 0 or -ENOMEM.
 */
int session_claim(struct session *session, struct session **former);

/* Takes @session from the map if it is there, and frees its identifier. */
void session_release(struct session *session);

#endif /* _KMQTTD_SESSION_H_ */
