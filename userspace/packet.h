/* SPDX-License-Identifier: GPL-2.0 */
/*
 * MQTT control packets as bytes: what follows the fixed header (which is
 * kmod/frame.h's) of those that the daemon reads, and the whole of those that it
 * writes. Sections are of MQTT 3.1.1 (OASIS, 2014) where they are about all
 * versions, else of MQTT 5.0 (OASIS, 2019), whose properties kmod/property.h
 * reads.
 *
 * Pure: no input or output, no memory, no state. What is parsed points into
 * the packet.
 *
 * Parsers return REASON_SUCCESS, or why the connection must end, of which a
 * client of MQTT 3.x cannot be told.
 */
#ifndef _KMQTTD_PACKET_H_
#define _KMQTTD_PACKET_H_

#include "reason.h"
#include "types.h"

/* Protocol levels (section 3.1.2.2). */
#define PACKET_LEVEL_3_1	3
#define PACKET_LEVEL_3_1_1	4
#define PACKET_LEVEL_5		5

/* A return code of SUBACK: the filter was not subscribed (section 3.9.3). */
#define PACKET_SUBACK_FAILURE	0x80

/* Session expiry interval: it does not expire (section 3.1.2.11.2). */
#define PACKET_NO_EXPIRY	0xffffffff

#define PACKET_ACK_SIZE		4	/* of MQTT 3.x, and for success */
#define PACKET_PINGRESP_SIZE	2

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
 * struct packet_properties - properties of an application message
 * @data: all of them, without the property length in front; NULL in MQTT 3.x
 * @len: bytes of them
 * @expiry_at: where in @data the four bytes of the message expiry interval are;
 *	0: there is none
 * @expiry: seconds, that interval
 * @utf8: the payload says that it is UTF-8 (section 3.3.2.3.2)
 */
struct packet_properties {
	const u8 *data;
	u32 len;
	u32 expiry_at;
	u32 expiry;
	bool utf8;
};

/**
 * struct packet_connect - CONNECT (section 3.1)
 * @level: protocol level, valid with REASON_BAD_LEVEL too; 0: it is not MQTT,
 *	and there is no answer
 * @clean: clean session, or clean start
 * @will_qos: 0 to 2
 * @will_retain: publish the will retained
 * @request_problem: reason strings may be sent in all packets
 * @request_response: response information is asked for
 * @keepalive: seconds, 0 for none
 * @receive_max: messages above QoS 0 that the client takes at once, 1 to 65535,
 *	the default
 * @topic_alias_max: topic aliases that it takes
 * @session_expiry: seconds that the session outlives the connection; in MQTT 3.x
 *	0 or PACKET_NO_EXPIRY, as @clean says
 * @max_packet: bytes of the largest packet that it takes, 1 to KMQTT_PACKET_MAX,
 *	the default
 * @will_delay: seconds
 * @id: client identifier, which may be empty
 * @auth_method: authentication method
 * @auth_data: only with @auth_method; never to be logged
 * @will_topic: not there: no will
 * @will_message: there with @will_topic
 * @will_properties: of the will, see packet_will_properties()
 * @will_delay_at: where in these the will delay interval is, when there is one
 * @has_will_delay: there is one
 * @username: may not be there
 * @password: in MQTT 3.x only with @username; never to be logged
 */
struct packet_connect {
	u8 level;
	bool clean;
	u8 will_qos;
	bool will_retain;
	bool request_problem;
	bool request_response;
	u16 keepalive;
	u16 receive_max;
	u16 topic_alias_max;
	u32 session_expiry;
	u32 max_packet;
	u32 will_delay;
	struct packet_bytes id;
	struct packet_bytes auth_method;
	struct packet_bytes auth_data;
	struct packet_bytes will_topic;
	struct packet_bytes will_message;
	struct packet_properties will_properties;
	u32 will_delay_at;
	bool has_will_delay;
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
 * @properties: of MQTT 5, in which there is no topic alias
 * @payload: application message
 * @payload_len: bytes of it
 */
struct packet_publish {
	u8 qos;
	bool dup;
	bool retain;
	u16 id;
	struct packet_bytes topic;
	struct packet_properties properties;
	const u8 *payload;
	u32 payload_len;
};

/**
 * struct packet_ack - PUBACK, PUBREC, PUBREL or PUBCOMP (section 3.4)
 * @id: packet identifier, not 0
 * @reason: REASON_SUCCESS in MQTT 3.x
 */
struct packet_ack {
	u16 id;
	enum reason reason;
};

/**
 * struct packet_filters - the list of a SUBSCRIBE or an UNSUBSCRIBE
 * @id: packet identifier, not 0
 * @count: filters, at least 1
 * @sub_id: subscription identifier of MQTT 5, 0: none
 * @at: where the first filter is, from the end of the fixed header
 */
struct packet_filters {
	u16 id;
	u32 count;
	u32 sub_id;
	size_t at;
};

/**
 * struct packet_filter - one of them
 * @topic: the topic filter, which may not be a valid one; of a shared
 *	subscription without "$share/" and share name
 * @group: share name, of a shared subscription (section 4.8.2)
 * @whole: all of it, as it came
 * @qos: requested; 0 in an UNSUBSCRIBE
 * @retain_handling: 0 to 2 (section 3.8.3.1); 0 in MQTT 3.x
 * @no_local: not what the client publishes itself
 * @retain_as_published: the retain flag stays
 */
struct packet_filter {
	struct packet_bytes topic;
	struct packet_bytes group;
	struct packet_bytes whole;
	u8 qos;
	u8 retain_handling;
	bool no_local;
	bool retain_as_published;
};

/**
 * struct packet_disconnect - DISCONNECT, as a client of MQTT 5 sends it (3.14)
 * @reason: what it says
 * @has_expiry: @session_expiry is there
 * @session_expiry: seconds
 */
struct packet_disconnect {
	enum reason reason;
	bool has_expiry;
	u32 session_expiry;
};

/**
 * struct packet_auth - AUTH (section 3.15)
 * @reason: REASON_CONTINUE_AUTHENTICATION or REASON_REAUTHENTICATE
 * @method: authentication method
 * @data: authentication data, may not be there; never to be logged
 */
struct packet_auth {
	enum reason reason;
	struct packet_bytes method;
	struct packet_bytes data;
};

/*
 * Checks @len bytes after the fixed header of a CONNECT. With REASON_BAD_LEVEL
 * only @connect->level is known, for it is none of ours. With another error, if
 * it is known, and is PACKET_LEVEL_5, there is a CONNACK that says why.
 *
 * Whether the identifier is acceptable is the caller's question, since that has
 * a CONNACK for an answer.
 */
enum reason packet_parse_connect(const u8 *data, size_t len,
				 struct packet_connect *connect);

/*
 * The will's properties as they are published: without the will delay interval.
 * Written to @to, room for @connect->will_properties.len; @properties points
 * there.
 */
void packet_will_properties(const struct packet_connect *connect, u8 *to,
			    struct packet_properties *properties);

/*
 * Checks @len bytes after the fixed header of a PUBLISH, whose first byte is
 * @first.
 */
enum reason packet_parse_publish(u8 level, u8 first, const u8 *data, size_t len,
				 struct packet_publish *publish);

/*
 * Checks @len bytes after the fixed header of a PUBACK, PUBREC, PUBREL or
 * PUBCOMP, as @type says, one of frame.h's.
 */
enum reason packet_parse_ack(u8 level, u8 type, const u8 *data, size_t len,
			     struct packet_ack *ack);

/*
 * Checks all of @len bytes after the fixed header of a SUBSCRIBE, or with
 * !@subscribe of an UNSUBSCRIBE, except whether the filters, which are UTF-8,
 * are valid ones.
 */
enum reason packet_parse_filters(u8 level, const u8 *data, size_t len,
				 bool subscribe,
				 struct packet_filters *filters);

/*
 * The filter at @at, packet_filters.at or what this returned before, of bytes
 * that packet_parse_filters() has found good. Returns where the next one is.
 */
size_t packet_next_filter(const u8 *data, size_t at, bool subscribe,
			  struct packet_filter *filter);

/* Checks @len bytes after the fixed header of a DISCONNECT of MQTT 5. */
enum reason packet_parse_disconnect(const u8 *data, size_t len,
				    struct packet_disconnect *disconnect);

/* Checks @len bytes after the fixed header of an AUTH. */
enum reason packet_parse_auth(const u8 *data, size_t len,
			      struct packet_auth *auth);

/*
 * What packets of MQTT 5 have in common that the server sends: @max is the
 * largest packet that the client accepts. Builders leave out a reason string
 * that would exceed it, and return 0, having written nothing, where the packet
 * still does. With a NULL @packet they only return its size.
 */

/**
 * struct packet_allowance - what CONNACK lets a client send while it is connected
 * @max_packet: bytes of its largest packet, 1 to KMQTT_PACKET_MAX
 * @receive_max: messages above QoS 0 that are not acknowledged yet, 1 to 65535
 * @max_qos: 0 to 2
 */
struct packet_allowance {
	u32 max_packet;
	u16 receive_max;
	u8 max_qos;
};

/**
 * struct packet_connack - CONNACK (section 3.2)
 * @level: of the client; other fields than @reason and @present are of MQTT 5
 * @reason: translated to a return code for MQTT 3.x
 * @present: there is a session that goes on; of interest only when the client
 *	is accepted, and not in MQTT 3.1, which cannot say so
 * @max: see above
 * @has_expiry: @session_expiry is another than the client asked for
 * @session_expiry: seconds
 * @receive_max: 0: the default, 65535
 * @max_qos: 2: the default
 * @no_retain: retained messages are not available
 * @max_packet: 0: any size
 * @topic_alias_max: 0: none
 * @has_keepalive: @keepalive is to be used
 * @keepalive: seconds
 * @assigned_id: client identifier that was made up, or NULL
 * @auth_method: as in CONNECT, or NULL
 * @auth_data: or NULL
 * @reason_string: or NULL
 * @server_reference: or NULL
 * @response_info: or NULL
 */
struct packet_connack {
	u8 level;
	enum reason reason;
	bool present;
	u32 max;
	bool has_expiry;
	u32 session_expiry;
	u16 receive_max;
	u8 max_qos;
	bool no_retain;
	u32 max_packet;
	u16 topic_alias_max;
	bool has_keepalive;
	u16 keepalive;
	struct packet_bytes assigned_id;
	struct packet_bytes auth_method;
	struct packet_bytes auth_data;
	const char *reason_string;
	const char *server_reference;
	const char *response_info;
};

size_t packet_build_connack(u8 *packet, const struct packet_connack *connack);

/* A DISCONNECT of MQTT 5; the strings may be NULL. */
size_t packet_build_disconnect(u8 *packet, u32 max, enum reason reason,
			       const char *reason_string,
			       const char *server_reference);

/* An AUTH; @data may not be there. */
size_t packet_build_auth(u8 *packet, u32 max, enum reason reason,
			 const struct packet_bytes *method,
			 const struct packet_bytes *data);

/**
 * struct packet_out - a PUBLISH for a client
 * @level: of the client; MQTT 3.x has neither properties nor identifiers
 * @flags: DUP, QoS and retain, as in the first byte
 * @id: packet identifier, not used at QoS 0
 * @topic_len: bytes of @topic
 * @topic: topic name
 * @properties: of the message
 * @expiry: seconds, the message expiry interval, if @properties has one
 * @sub_id_count: how many @sub_ids there are
 * @sub_ids: subscription identifiers
 * @payload_len: bytes of the payload
 */
struct packet_out {
	u8 level;
	u8 flags;
	u16 id;
	u16 topic_len;
	const u8 *topic;
	struct packet_properties properties;
	u32 expiry;
	u32 sub_id_count;
	const u32 *sub_ids;
	u32 payload_len;
};

/*
 * Size of all of a PUBLISH; it must not be above KMQTT_PACKET_MAX for it to be
 * built. And bytes of it before its payload.
 */
size_t packet_publish_size(const struct packet_out *out);
size_t packet_publish_head_size(const struct packet_out *out);

/*
 * Writes all of a PUBLISH but its payload, which follows. Returns how many bytes
 * that is, packet_publish_head_size().
 */
size_t packet_build_publish_head(u8 *head, const struct packet_out *out);

/*
 * A PUBACK, PUBREC, PUBREL or PUBCOMP: @type is one of frame.h's; @reason and
 * @reason_string, which may be NULL, are left out in MQTT 3.x, where @max is
 * not used either.
 */
size_t packet_build_ack(u8 *packet, u8 level, u32 max, u8 type, u16 id,
			enum reason reason, const char *reason_string);

/*
 * A SUBACK or UNSUBACK, as @type says, with a reason code for each of @count
 * filters; MQTT 3.x gets PACKET_SUBACK_FAILURE for all that are errors, and
 * none at all in UNSUBACK.
 */
size_t packet_build_filters_ack(u8 *packet, u8 level, u32 max, u8 type, u16 id,
				const u8 *codes, u32 count,
				const char *reason_string);

/* Writes PACKET_PINGRESP_SIZE bytes. */
void packet_build_pingresp(u8 *packet);

#endif /* _KMQTTD_PACKET_H_ */
