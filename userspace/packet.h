/* SPDX-License-Identifier: GPL-2.0 */
/*
 * MQTT 3.1 and 3.1.1 control packets as bytes: what follows the fixed header
 * (which is kmod/frame.h's) of those that the daemon reads, and the whole of
 * those that it writes. Sections are of MQTT 3.1.1 (OASIS, 2014).
 *
 * Pure: no input or output, no memory, no state. What is parsed points into
 * the packet.
 */
#ifndef _KMQTTD_PACKET_H_
#define _KMQTTD_PACKET_H_

#include "types.h"

/* Protocol levels (section 3.1.2.2). */
#define PACKET_LEVEL_3_1	3
#define PACKET_LEVEL_3_1_1	4
#define PACKET_LEVEL_5		5

/* Return codes of CONNACK (table 3.1). */
enum packet_connack {
	PACKET_CONNACK_ACCEPTED = 0,
	PACKET_CONNACK_BAD_LEVEL = 1,
	PACKET_CONNACK_BAD_ID = 2,
	PACKET_CONNACK_UNAVAILABLE = 3,
	PACKET_CONNACK_BAD_LOGIN = 4,	/* user name or password */
	PACKET_CONNACK_NOT_AUTHORISED = 5,
};

/* A return code of SUBACK: the filter was not subscribed (section 3.9.3). */
#define PACKET_SUBACK_FAILURE	0x80

#define PACKET_CONNACK_MAX	5
#define PACKET_ACK_SIZE		4	/* of PUBACK, PUBREC, PUBREL, PUBCOMP */
#define PACKET_UNSUBACK_SIZE	4
#define PACKET_PINGRESP_SIZE	2

/* All of a PUBLISH but its payload: fixed header, topic, packet identifier. */
#define PACKET_PUBLISH_HEAD_MAX(topic_len) (5 + 2 + (topic_len) + 2)

/**
 * struct packet_bytes - a field: a string, or binary data
 * @data: its bytes, in the packet; NULL when the field is not there
 * @len: how many
 */
struct packet_bytes {
	const u8 *data;
	u16 len;
};

/**
 * struct packet_connect - CONNECT (section 3.1)
 * @level: protocol level, valid with -EPROTONOSUPPORT too
 * @clean: clean session
 * @will_qos: 0 to 2
 * @will_retain: publish the will retained
 * @keepalive: seconds, 0 for none
 * @id: client identifier, which may be empty
 * @will_topic: not there: no will
 * @will_message: there with @will_topic
 * @username: may not be there
 * @password: only with @username; never to be logged
 */
struct packet_connect {
	u8 level;
	bool clean;
	u8 will_qos;
	bool will_retain;
	u16 keepalive;
	struct packet_bytes id;
	struct packet_bytes will_topic;
	struct packet_bytes will_message;
	struct packet_bytes username;
	struct packet_bytes password;
};

/**
 * struct packet_publish - PUBLISH (section 3.3)
 * @qos: 0 to 2
 * @dup: it may have been sent before
 * @retain: it is to be retained
 * @id: packet identifier; 0 at QoS 0, which has none
 * @topic: topic name, a valid one
 * @payload: application message
 * @payload_len: bytes of it
 */
struct packet_publish {
	u8 qos;
	bool dup;
	bool retain;
	u16 id;
	struct packet_bytes topic;
	const u8 *payload;
	u32 payload_len;
};

/**
 * struct packet_filters - the list of a SUBSCRIBE or an UNSUBSCRIBE
 * @id: packet identifier, not 0
 * @count: filters, at least 1
 */
struct packet_filters {
	u16 id;
	u32 count;
};

/* Where the first filter is: after the packet identifier. */
#define PACKET_FILTERS_AT	2

/*
 * Checks @len bytes after the fixed header of a CONNECT. 0; -EBADMSG when it
 * is malformed: the connection must be closed without an answer;
 * -EPROTONOSUPPORT when only @connect->level is known, for it is none of ours.
 *
 * Whether the identifier is acceptable is the caller's question, since that has
 * a CONNACK for an answer.
 */
int packet_parse_connect(const u8 *data, size_t len,
			 struct packet_connect *connect);

/*
 * Checks @len bytes after the fixed header of a PUBLISH, whose first byte is
 * @first. 0, or -EBADMSG when it is malformed, or its topic is not a name.
 */
int packet_parse_publish(u8 first, const u8 *data, size_t len,
			 struct packet_publish *publish);

/*
 * Checks @len bytes after the fixed header of a PUBACK, PUBREC, PUBREL or
 * PUBCOMP. 0, or -EBADMSG when it is malformed. @id: not 0.
 */
int packet_parse_ack(const u8 *data, size_t len, u16 *id);

/*
 * Checks all of @len bytes after the fixed header of a SUBSCRIBE, or with
 * !@subscribe of an UNSUBSCRIBE, except whether the filters, which are UTF-8,
 * are valid ones. 0, or -EBADMSG when it is malformed.
 */
int packet_parse_filters(const u8 *data, size_t len, bool subscribe,
			 struct packet_filters *filters);

/*
 * The filter at @at, PACKET_FILTERS_AT or what this returned before, of bytes
 * that packet_parse_filters() has found good. Returns where the next one is.
 * @qos: set to the QoS requested, 0 in an UNSUBSCRIBE.
 */
size_t packet_next_filter(const u8 *data, size_t at, bool subscribe,
			  struct packet_bytes *filter, u8 *qos);

/*
 * Writes a CONNACK for a client of @level, MQTT 5 included, where @code is
 * translated. @present: there is a session that goes on; of interest only when
 * the client is accepted, and not in MQTT 3.1, which cannot say so. Returns its
 * size, at most PACKET_CONNACK_MAX.
 */
size_t packet_build_connack(u8 *packet, u8 level, enum packet_connack code,
			    bool present);

/* Size of a PUBLISH; it must not be above KMQTT_PACKET_MAX. */
size_t packet_publish_size(u16 topic_len, u8 qos, u32 payload_len);

/*
 * Writes all of a PUBLISH but its payload, which follows. @flags: DUP, QoS and
 * retain, as in the first byte; @id: not used at QoS 0. Returns how many bytes
 * that is, at most PACKET_PUBLISH_HEAD_MAX(@topic_len).
 */
size_t packet_build_publish_head(u8 *head, u8 flags, const u8 *topic,
				 u16 topic_len, u16 id, u32 payload_len);

/* Writes PACKET_ACK_SIZE bytes: @type is one of frame.h's. */
void packet_build_ack(u8 *packet, u8 type, u16 id);

/* Size of a SUBACK for @count filters. */
size_t packet_suback_size(u32 count);

/*
 * Writes a SUBACK of packet_suback_size(@count) bytes. Returns where in it the
 * return codes are, one byte a filter, in order: zeroes, which grant QoS 0,
 * until the caller writes others.
 */
u8 *packet_build_suback(u8 *packet, u16 id, u32 count);

/* Write PACKET_UNSUBACK_SIZE and PACKET_PINGRESP_SIZE bytes. */
void packet_build_unsuback(u8 *packet, u16 id);
void packet_build_pingresp(u8 *packet);

#endif /* _KMQTTD_PACKET_H_ */
