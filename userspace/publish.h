/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Messages that come in: what clients publish above QoS 0 (sections 4.3.2 and
 * 4.3.3), and wills; to whom they go, and what is retained.
 */
#ifndef _KMQTTD_PUBLISH_H_
#define _KMQTTD_PUBLISH_H_

#include "message.h"
#include "types.h"

struct client;
struct session;
struct share;

/*
 * Handles a PUBLISH: @first its first byte, @len bytes after the fixed header.
 */
void publish_handle(struct client *client, u8 first, const u8 *data,
		    size_t len);

/* Handles a PUBREL of @packet_id. */
void publish_release(struct client *client, u16 packet_id);

/* The QoS at which a session gets a message, of those of a subscription. */
u8 publish_qos(u8 granted, const struct message *message);

/*
 * Takes over a QoS 0 message from the module's sink, where it is for reasons @flags,
 * KMQTT_SINK_*, and that @conn_id has published: keeps it if it is to be retained,
 * and hands it out to those to whom the module does not; @half: to those in the
 * database, since a daemon before has done the rest. 0 or -ENOMEM.
 */
int publish_from_sink(struct message *message, u32 conn_id, u8 flags,
		      bool half);

/* Notes in a message who has published it, if nobody has yet. 0 or -ENOMEM. */
int publish_note_source(struct message *message,
			const struct session *publisher);

/*
 * Distributes a message, which nobody acknowledges: the will of @publisher's
 * client, or of nobody, NULL, that it may publish; which nobody else has. @half:
 * to those in the database, since a daemon before has done the rest. Returns whether
 * that could be done.
 */
bool publish_will(struct message *message, bool retain,
		  const struct session *publisher, bool half);

/*
 * A member of @share gets a message of which the module has not chosen one. False:
 * nobody takes it.
 */
bool publish_to_share(struct share *share, struct message *message,
		      bool retain);

#endif /* _KMQTTD_PUBLISH_H_ */
