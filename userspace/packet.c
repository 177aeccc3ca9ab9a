// SPDX-License-Identifier: GPL-2.0
#include "packet.h"

#include <errno.h>
#include <string.h>

#include "frame.h"
#include "head.h"
#include "property.h"
#include "topic.h"

/* Connect flags (section 3.1.2.3). */
#define FLAG_RESERVED		0x01
#define FLAG_CLEAN		0x02
#define FLAG_WILL		0x04
#define FLAG_WILL_QOS		0x18
#define FLAG_WILL_RETAIN	0x20
#define FLAG_PASSWORD		0x40
#define FLAG_USERNAME		0x80

/* Connect acknowledge flags (section 3.2.2.1). */
#define FLAG_PRESENT		0x01

#define WILL_QOS(flags)		(((flags) & FLAG_WILL_QOS) >> 3)

/* Subscription options (section 3.8.3.1). */
#define OPTION_QOS		0x03
#define OPTION_NO_LOCAL		0x04
#define OPTION_AS_PUBLISHED	0x08
#define OPTION_HANDLING		0x30
#define OPTION_RESERVED		0xc0

#define HANDLING(options)	(((options) & OPTION_HANDLING) >> 4)

/* What a shared subscription begins with (section 4.8.2). */
#define SHARE	"$share/"

/* The property will delay interval: identifier and four bytes. */
#define WILL_DELAY_SIZE	5

/**
 * struct reader - the rest of a packet
 * @data: the next byte
 * @len: how many there are
 * @bad: more was read than there is, or not what must be there
 * @reason: or another thing was wrong
 */
struct reader {
	const u8 *data;
	size_t len;
	bool bad;
	enum reason reason;
};

static const u8 *read_bytes(struct reader *reader, size_t len)
{
	const u8 *data = reader->data;

	if (reader->bad || len > reader->len) {
		reader->bad = true;
		return NULL;
	}
	reader->data += len;
	reader->len -= len;
	return data;
}

static u8 read_u8(struct reader *reader)
{
	const u8 *data = read_bytes(reader, 1);

	return data ? data[0] : 0;
}

static u16 read_u16(struct reader *reader)
{
	const u8 *data = read_bytes(reader, 2);

	return data ? data[0] << 8 | data[1] : 0;
}

static struct packet_bytes read_binary(struct reader *reader)
{
	struct packet_bytes bytes = { .len = read_u16(reader) };

	bytes.data = read_bytes(reader, bytes.len);
	return bytes;
}

/* [MQTT-1.5.3-1], [MQTT-1.5.3-2]: close for anything but good UTF-8. */
static struct packet_bytes read_string(struct reader *reader)
{
	struct packet_bytes bytes = read_binary(reader);

	if (bytes.data && kmqtt_utf8_check(bytes.data, bytes.len))
		reader->bad = true;
	return bytes;
}

static bool is(const struct packet_bytes *bytes, const char *text)
{
	return bytes->len == strlen(text) &&
	       !memcmp(bytes->data, text, bytes->len);
}

/* The first thing that was wrong, if anything was. */
static enum reason result(const struct reader *reader)
{
	if (reader->reason)
		return reader->reason;
	return reader->bad ? REASON_MALFORMED : REASON_SUCCESS;
}

/* Properties */

/* What is wrong with it: then nothing more is read. */
static void fail(struct reader *reader, enum reason reason)
{
	if (!reader->bad)
		reader->reason = reason;
	reader->bad = true;
}

/*
 * Properties of a packet or of the will, as @where says; the reader goes on
 * behind them. False without any.
 */
static bool begin_properties(struct reader *reader, u8 where,
			     struct kmqtt_properties *properties)
{
	const u8 *end;

	*properties = (struct kmqtt_properties){ 0 };
	if (reader->bad)
		return false;
	end = kmqtt_properties_begin(properties, reader->data, reader->len,
				     where);
	if (!end) {
		fail(reader, reason_of_end(properties->error));
		return false;
	}
	reader->len -= end - reader->data;
	reader->data = end;
	return true;
}

static bool next_property(struct reader *reader,
			  struct kmqtt_properties *properties,
			  struct kmqtt_property *property)
{
	if (reader->bad)
		return false;
	if (kmqtt_property_next(properties, property))
		return true;
	if (properties->error)
		fail(reader, reason_of_end(properties->error));
	return false;
}

static struct packet_bytes value_of(const struct kmqtt_property *property)
{
	return (struct packet_bytes){ property->data, property->len };
}

/* Of a packet that says nothing by them that matters here. */
static void skip_properties(struct reader *reader, u8 where)
{
	struct kmqtt_properties properties;
	struct kmqtt_property property;

	if (!begin_properties(reader, where, &properties))
		return;
	while (next_property(reader, &properties, &property))
		;
}

/* CONNECT */

/* Name and level (sections 3.1.2.1 and 3.1.2.2). */
static enum reason read_protocol(struct reader *reader, u8 *level)
{
	struct packet_bytes name = read_string(reader);
	u8 number = read_u8(reader);
	bool v31;

	*level = 0;
	if (reader->bad)
		return REASON_MALFORMED;

	/*
	 * Another name is not MQTT: no answer [MQTT-3.1.2-1]. Another level is
	 * a version to come, or a bridge's private mark: CONNACK 1
	 * [MQTT-3.1.2-2].
	 */
	v31 = is(&name, "MQIsdp");
	if (!v31 && !is(&name, "MQTT"))
		return REASON_MALFORMED;
	*level = number;
	if (v31 ? number == PACKET_LEVEL_3_1 :
		  number == PACKET_LEVEL_3_1_1 || number == PACKET_LEVEL_5)
		return REASON_SUCCESS;
	return REASON_BAD_LEVEL;
}

static bool flags_valid(u8 flags, u8 level)
{
	/* [MQTT-3.1.2-14] */
	if (WILL_QOS(flags) == 3)
		return false;
	/* [MQTT-3.1.2-22]; MQTT 3.1 says so too, MQTT 5 does not. */
	if ((flags & FLAG_PASSWORD) && !(flags & FLAG_USERNAME) &&
	    level != PACKET_LEVEL_5)
		return false;
	/* MQTT 3.1 gives no meaning to these, nor a value. */
	if (level == PACKET_LEVEL_3_1)
		return true;
	/* [MQTT-3.1.2-3] */
	if (flags & FLAG_RESERVED)
		return false;
	/* [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15] */
	return (flags & FLAG_WILL) ||
	       !(flags & (FLAG_WILL_QOS | FLAG_WILL_RETAIN));
}

static void take_connect_property(struct packet_connect *connect,
				  const struct kmqtt_property *property)
{
	switch (property->id) {
	case KMQTT_PROP_SESSION_EXPIRY:
		connect->session_expiry = property->number;
		break;
	case KMQTT_PROP_RECEIVE_MAXIMUM:
		connect->receive_max = property->number;
		break;
	case KMQTT_PROP_MAXIMUM_PACKET_SIZE:
		if (property->number < KMQTT_PACKET_MAX)
			connect->max_packet = property->number;
		break;
	case KMQTT_PROP_TOPIC_ALIAS_MAXIMUM:
		connect->topic_alias_max = property->number;
		break;
	case KMQTT_PROP_REQUEST_RESPONSE_INFO:
		connect->request_response = property->number;
		break;
	case KMQTT_PROP_REQUEST_PROBLEM_INFO:
		connect->request_problem = property->number;
		break;
	case KMQTT_PROP_AUTH_METHOD:
		connect->auth_method = value_of(property);
		break;
	case KMQTT_PROP_AUTH_DATA:
		connect->auth_data = value_of(property);
		break;
	}
}

/* Section 3.1.2.11. */
static void read_connect_properties(struct reader *reader,
				    struct packet_connect *connect)
{
	struct kmqtt_properties properties;
	struct kmqtt_property property;

	if (!begin_properties(reader, KMQTT_CONNECT, &properties))
		return;
	while (next_property(reader, &properties, &property))
		take_connect_property(connect, &property);
	if (connect->auth_data.data && !connect->auth_method.data)
		fail(reader, REASON_PROTOCOL);
}

static void take_will_property(struct reader *reader,
			       struct packet_connect *connect,
			       const struct kmqtt_property *property)
{
	struct packet_properties *all = &connect->will_properties;

	switch (property->id) {
	case KMQTT_PROP_WILL_DELAY:
		connect->has_will_delay = true;
		connect->will_delay = property->number;
		connect->will_delay_at = property->begin - all->data;
		break;
	case KMQTT_PROP_MESSAGE_EXPIRY:
		all->expiry_at = property->begin + 1 - all->data;
		all->expiry = property->number;
		break;
	case KMQTT_PROP_PAYLOAD_FORMAT:
		all->utf8 = property->number;
		break;
	case KMQTT_PROP_RESPONSE_TOPIC:
		/* As that of a PUBLISH [MQTT-3.3.2-14]. */
		if (kmqtt_topic_name_check(property->data, property->len))
			fail(reader, REASON_PROTOCOL);
		break;
	}
}

/* Section 3.1.3.2. */
static void read_will_properties(struct reader *reader,
				 struct packet_connect *connect)
{
	struct kmqtt_properties properties;
	struct kmqtt_property property;

	if (!begin_properties(reader, KMQTT_PROPS_WILL, &properties))
		return;
	connect->will_properties.data = properties.pos;
	connect->will_properties.len = properties.end - properties.pos;
	while (next_property(reader, &properties, &property))
		take_will_property(reader, connect, &property);
}

static void read_will(struct reader *reader, u8 flags,
		      struct packet_connect *connect)
{
	int err;

	connect->will_qos = WILL_QOS(flags);
	connect->will_retain = flags & FLAG_WILL_RETAIN;
	if (connect->level == PACKET_LEVEL_5)
		read_will_properties(reader, connect);
	connect->will_topic = read_string(reader);
	connect->will_message = read_binary(reader);
	if (reader->bad)
		return;
	/* It is going to be published: section 4.7.3, [MQTT-3.3.2-2]. */
	err = kmqtt_topic_name_check(connect->will_topic.data,
				     connect->will_topic.len);
	if (err)
		fail(reader, err == -E2BIG ? REASON_TOPIC_INVALID
					   : REASON_MALFORMED);
}

/*
 * Is the field there that a flag announces? In MQTT 3.1 the remaining length
 * takes precedence over the user name and password flags: "servers must allow
 * for the possibility that the flag is set, but the string is missing".
 */
static bool announced(const struct reader *reader, bool flag, u8 level)
{
	return flag && (reader->len || level != PACKET_LEVEL_3_1);
}

/* What there is without properties. */
static void set_defaults(struct packet_connect *connect)
{
	connect->request_problem = true;
	connect->receive_max = UINT16_MAX;
	connect->max_packet = KMQTT_PACKET_MAX;
}

enum reason packet_parse_connect(const u8 *data, size_t len,
				 struct packet_connect *connect)
{
	struct reader reader = { .data = data, .len = len };
	enum reason reason;
	u8 flags;

	*connect = (struct packet_connect){ 0 };
	reason = read_protocol(&reader, &connect->level);
	if (reason)
		return reason;

	set_defaults(connect);
	flags = read_u8(&reader);
	if (!flags_valid(flags, connect->level))
		return REASON_MALFORMED;
	connect->clean = flags & FLAG_CLEAN;
	connect->keepalive = read_u16(&reader);
	if (connect->level == PACKET_LEVEL_5)
		read_connect_properties(&reader, connect);
	else if (!connect->clean)
		connect->session_expiry = PACKET_NO_EXPIRY;

	/* The payload, in this order [MQTT-3.1.3-1]. */
	connect->id = read_string(&reader);
	if (flags & FLAG_WILL)
		read_will(&reader, flags, connect);
	if (announced(&reader, flags & FLAG_USERNAME, connect->level))
		connect->username = read_string(&reader);
	if (announced(&reader, flags & FLAG_PASSWORD, connect->level))
		connect->password = read_binary(&reader);

	if (reader.len)
		reader.bad = true;
	return result(&reader);
}

void packet_will_properties(const struct packet_connect *connect, u8 *to,
			    struct packet_properties *properties)
{
	const struct packet_properties *from = &connect->will_properties;
	u32 at = connect->will_delay_at;

	*properties = *from;
	if (!from->data)
		return;
	properties->data = to;
	if (!connect->has_will_delay) {
		memcpy(to, from->data, from->len);
		return;
	}
	memcpy(to, from->data, at);
	memcpy(to + at, from->data + at + WILL_DELAY_SIZE,
	       from->len - at - WILL_DELAY_SIZE);
	properties->len -= WILL_DELAY_SIZE;
	if (from->expiry_at > at)
		properties->expiry_at -= WILL_DELAY_SIZE;
}

/* PUBLISH */

/* Their reader is the kernel's, too, which resolves topic aliases. */
static void read_publish_properties(struct reader *reader,
				    struct packet_publish *publish)
{
	struct packet_properties *properties = &publish->properties;
	struct kmqtt_head head = { 0 };
	enum kmqtt_end end;

	if (reader->bad)
		return;
	end = kmqtt_properties_parse(&head, reader->data, 0, reader->len);
	if (!end && head.topic_alias)
		end = KMQTT_END_TOPIC_ALIAS;
	if (end) {
		fail(reader, reason_of_end(end));
		return;
	}
	properties->data = reader->data + head.payload - head.property_bytes;
	properties->len = head.property_bytes;
	if (head.expiry)
		properties->expiry_at =
			reader->data + head.expiry - properties->data;
	properties->expiry = head.expiry_interval;
	properties->utf8 = head.payload_format;
	read_bytes(reader, head.payload);
}

/* [MQTT-3.3.2-1], [MQTT-3.3.2-2] */
static enum reason check_topic(u8 level, const struct packet_bytes *topic)
{
	int err;

	if (level == PACKET_LEVEL_5 && !topic->len)
		return REASON_PROTOCOL;
	err = kmqtt_topic_name_check(topic->data, topic->len);
	if (err == -E2BIG)
		return REASON_TOPIC_INVALID;
	return err ? REASON_MALFORMED : REASON_SUCCESS;
}

enum reason packet_parse_publish(u8 level, u8 first, const u8 *data, size_t len,
				 struct packet_publish *publish)
{
	struct reader reader = { .data = data, .len = len };
	u8 qos = (first & KMQTT_FLAG_QOS) >> 1;

	*publish = (struct packet_publish){
		.qos = qos,
		.dup = first & KMQTT_FLAG_DUP,
		.retain = first & KMQTT_FLAG_RETAIN,
		.topic = read_binary(&reader),
	};
	/* [MQTT-3.3.1-4], [MQTT-3.3.1-2] */
	if (qos == 3 || (publish->dup && !qos))
		reader.bad = true;
	if (qos)
		publish->id = read_u16(&reader);
	/* [MQTT-2.3.1-1] */
	if (qos && !publish->id)
		fail(&reader, REASON_PROTOCOL);
	if (level == PACKET_LEVEL_5)
		read_publish_properties(&reader, publish);
	publish->payload = reader.data;
	publish->payload_len = reader.len;
	return reader.bad ? result(&reader) :
			    check_topic(level, &publish->topic);
}

/* Acknowledgments */

/* Sections 3.4.2.1, 3.5.2.1, 3.6.2.1 and 3.7.2.1. */
static bool is_ack_reason(u8 type, enum reason reason)
{
	switch (reason) {
	case REASON_SUCCESS:
		return true;
	case REASON_ID_NOT_FOUND:
		return type == KMQTT_PUBREL || type == KMQTT_PUBCOMP;
	case REASON_NO_MATCHING_SUBSCRIBERS:
	case REASON_UNSPECIFIED:
	case REASON_IMPLEMENTATION:
	case REASON_NOT_AUTHORIZED:
	case REASON_TOPIC_INVALID:
	case REASON_ID_IN_USE:
	case REASON_QUOTA:
	case REASON_PAYLOAD_FORMAT:
		return type == KMQTT_PUBACK || type == KMQTT_PUBREC;
	default:
		return false;
	}
}

enum reason packet_parse_ack(u8 level, u8 type, const u8 *data, size_t len,
			     struct packet_ack *ack)
{
	struct reader reader = { .data = data, .len = len };

	*ack = (struct packet_ack){ .id = read_u16(&reader) };
	/* Both may be missing, or the properties. */
	if (level == PACKET_LEVEL_5) {
		if (reader.len)
			ack->reason = read_u8(&reader);
		if (reader.len)
			skip_properties(&reader, type);
	}
	if (reader.len)
		reader.bad = true;
	/* [MQTT-2.3.1-1] */
	if (!ack->id || !is_ack_reason(type, ack->reason))
		fail(&reader, REASON_PROTOCOL);
	return result(&reader);
}

/* SUBSCRIBE and UNSUBSCRIBE */

static bool is_shared(const struct packet_bytes *filter)
{
	return filter->len >= strlen(SHARE) &&
	       !memcmp(filter->data, SHARE, strlen(SHARE));
}

static void check_options(struct reader *reader, u8 level, u8 options,
			  const struct packet_bytes *filter)
{
	/* Reserved bits and QoS 3 [MQTT-3.8.3-4]. */
	if (level != PACKET_LEVEL_5) {
		if (options > 2)
			reader->bad = true;
		return;
	}
	/* [MQTT5: MQTT-3.8.3-5] */
	if (options & OPTION_RESERVED)
		reader->bad = true;
	/* Section 3.8.3.1, [MQTT5: MQTT-3.8.3-4] */
	if ((options & OPTION_QOS) == 3 || HANDLING(options) == 3 ||
	    (options & OPTION_NO_LOCAL && is_shared(filter)))
		fail(reader, REASON_PROTOCOL);
}

static u32 read_subscription_id(struct reader *reader)
{
	struct kmqtt_properties properties;
	struct kmqtt_property property;
	u32 id = 0;

	if (!begin_properties(reader, KMQTT_SUBSCRIBE, &properties))
		return 0;
	while (next_property(reader, &properties, &property))
		if (property.id == KMQTT_PROP_SUBSCRIPTION_ID)
			id = property.number;
	return id;
}

enum reason packet_parse_filters(u8 level, const u8 *data, size_t len,
				 bool subscribe,
				 struct packet_filters *filters)
{
	struct reader reader = { .data = data, .len = len };
	struct packet_bytes filter;
	u8 options;

	*filters = (struct packet_filters){ .id = read_u16(&reader) };
	if (level == PACKET_LEVEL_5 && subscribe)
		filters->sub_id = read_subscription_id(&reader);
	else if (level == PACKET_LEVEL_5)
		skip_properties(&reader, KMQTT_UNSUBSCRIBE);
	filters->at = len - reader.len;
	while (reader.len && !reader.bad) {
		filter = read_string(&reader);
		options = subscribe ? read_u8(&reader) : 0;
		if (!reader.bad)
			check_options(&reader, level, options, &filter);
		filters->count++;
	}
	/* [MQTT-2.3.1-1]; [MQTT-3.8.3-3], [MQTT-3.10.3-2] */
	if (!filters->id || !filters->count)
		fail(&reader, REASON_PROTOCOL);
	return result(&reader);
}

/*
 * "$share/name/filter". Without the second '/' there is no filter, which is
 * none then either.
 */
static void split(struct packet_filter *filter)
{
	const struct packet_bytes *whole = &filter->whole;
	const u8 *name = whole->data + strlen(SHARE);
	const u8 *slash, *end = whole->data + whole->len;

	filter->topic = *whole;
	if (!is_shared(whole))
		return;
	slash = memchr(name, '/', end - name);
	if (!slash)
		slash = end;
	filter->group = (struct packet_bytes){ name, slash - name };
	filter->topic.data = slash < end ? slash + 1 : end;
	filter->topic.len = end - filter->topic.data;
}

size_t packet_next_filter(const u8 *data, size_t at, bool subscribe,
			  struct packet_filter *filter)
{
	u8 options;

	*filter = (struct packet_filter){ 0 };
	filter->whole.len = data[at] << 8 | data[at + 1];
	filter->whole.data = data + at + 2;
	at += 2 + filter->whole.len;
	split(filter);
	if (!subscribe)
		return at;
	options = data[at++];
	filter->qos = options & OPTION_QOS;
	filter->no_local = options & OPTION_NO_LOCAL;
	filter->retain_as_published = options & OPTION_AS_PUBLISHED;
	filter->retain_handling = HANDLING(options);
	return at;
}

/* DISCONNECT and AUTH */

/* Those that a client may send (table 3-13). */
static bool is_client_reason(enum reason reason)
{
	switch (reason) {
	case REASON_SUCCESS:
	case REASON_DISCONNECT_WITH_WILL:
	case REASON_UNSPECIFIED:
	case REASON_MALFORMED:
	case REASON_PROTOCOL:
	case REASON_IMPLEMENTATION:
	case REASON_TOPIC_INVALID:
	case REASON_RECEIVE_MAXIMUM:
	case REASON_TOPIC_ALIAS:
	case REASON_TOO_LARGE:
	case REASON_RATE:
	case REASON_QUOTA:
	case REASON_ADMINISTRATIVE:
	case REASON_PAYLOAD_FORMAT:
		return true;
	default:
		return false;
	}
}

enum reason packet_parse_disconnect(const u8 *data, size_t len,
				    struct packet_disconnect *disconnect)
{
	struct reader reader = { .data = data, .len = len };
	struct kmqtt_properties properties;
	struct kmqtt_property property;

	*disconnect = (struct packet_disconnect){ 0 };
	/* Both may be missing, or the properties (section 3.14.2.1). */
	if (len)
		disconnect->reason = read_u8(&reader);
	if (!is_client_reason(disconnect->reason))
		fail(&reader, REASON_PROTOCOL);
	if (!reader.len ||
	    !begin_properties(&reader, KMQTT_DISCONNECT, &properties))
		return result(&reader);
	while (next_property(&reader, &properties, &property)) {
		if (property.id == KMQTT_PROP_SESSION_EXPIRY) {
			disconnect->has_expiry = true;
			disconnect->session_expiry = property.number;
		}
		/* Only servers send that. */
		if (property.id == KMQTT_PROP_SERVER_REFERENCE)
			fail(&reader, REASON_PROTOCOL);
	}
	if (reader.len)
		reader.bad = true;
	return result(&reader);
}

enum reason packet_parse_auth(const u8 *data, size_t len,
			      struct packet_auth *auth)
{
	struct reader reader = { .data = data, .len = len };
	struct kmqtt_properties properties;
	struct kmqtt_property property;

	*auth = (struct packet_auth){ .reason = REASON_SUCCESS };
	if (len) {
		auth->reason = read_u8(&reader);
		if (begin_properties(&reader, KMQTT_AUTH, &properties)) {
			while (next_property(&reader, &properties, &property)) {
				if (property.id == KMQTT_PROP_AUTH_METHOD)
					auth->method = value_of(&property);
				if (property.id == KMQTT_PROP_AUTH_DATA)
					auth->data = value_of(&property);
			}
		}
	}
	if (reader.len)
		reader.bad = true;
	/*
	 * Success is the server's to say [MQTT-3.15.2-1]; there must be a
	 * method (section 3.15.2.2.2).
	 */
	if ((auth->reason != REASON_CONTINUE_AUTHENTICATION &&
	     auth->reason != REASON_REAUTHENTICATE) || !auth->method.data)
		fail(&reader, REASON_PROTOCOL);
	return result(&reader);
}

/* Building */

/**
 * struct writer - a packet being written
 * @at: where the next byte goes; NULL: they are only counted
 * @len: bytes so far
 */
struct writer {
	u8 *at;
	size_t len;
};

static void put_bytes(struct writer *writer, const void *bytes, size_t len)
{
	if (writer->at && len) {
		memcpy(writer->at, bytes, len);
		writer->at += len;
	}
	writer->len += len;
}

static void put_number(struct writer *writer, unsigned int bytes, u32 number)
{
	u8 data[4];
	unsigned int i;

	for (i = 0; i < bytes; i++)
		data[i] = number >> (8 * (bytes - 1 - i));
	put_bytes(writer, data, bytes);
}

static void put_varint(struct writer *writer, u32 number)
{
	u8 data[KMQTT_VARINT_BYTES];

	put_bytes(writer, data, kmqtt_varint_write(data, number));
}

/* An integer of @bytes bytes; the property is there if @there. */
static void put_number_property(struct writer *writer, u8 id, bool there,
				unsigned int bytes, u32 number)
{
	if (!there)
		return;
	put_number(writer, 1, id);
	put_number(writer, bytes, number);
}

static void put_binary_property(struct writer *writer, u8 id,
				const struct packet_bytes *value)
{
	if (!value || !value->data)
		return;
	put_number(writer, 1, id);
	put_number(writer, 2, value->len);
	put_bytes(writer, value->data, value->len);
}

static void put_string_property(struct writer *writer, u8 id,
				const char *string)
{
	struct packet_bytes value = { (const u8 *)string, 0 };

	if (!string)
		return;
	value.len = strlen(string);
	put_binary_property(writer, id, &value);
}

/**
 * struct answer - a packet of MQTT 5 but for its fixed header
 * @first: type and flags
 * @fields: what precedes the properties
 * @field_bytes: how many
 * @put_properties: writes those that @arg has, but for the reason string
 * @arg: its
 * @reason_string: or NULL
 * @codes: what follows the properties
 * @code_bytes: how many
 * @max: the largest packet that the client accepts
 */
struct answer {
	u8 first;
	u8 fields[3];
	u8 field_bytes;
	void (*put_properties)(struct writer *writer, const void *arg);
	const void *arg;
	const char *reason_string;
	const u8 *codes;
	size_t code_bytes;
	u32 max;
};

static void put_properties(struct writer *writer, const struct answer *answer)
{
	if (answer->put_properties)
		answer->put_properties(writer, answer->arg);
	put_string_property(writer, KMQTT_PROP_REASON_STRING,
			    answer->reason_string);
}

/*
 * Of a packet with so much after its fixed header: more than any client takes if
 * there cannot be one.
 */
static size_t whole_size(size_t remaining)
{
	u8 header[KMQTT_HEADER_MAX];

	if (remaining > KMQTT_VARINT_MAX)
		return SIZE_MAX;
	return kmqtt_frame_build(header, 0, remaining) + remaining;
}

/* Bytes of all of it; *@properties and *@remaining: of these parts. */
static size_t measure(const struct answer *answer, u32 *properties,
		      size_t *remaining)
{
	struct writer writer = { 0 };

	put_properties(&writer, answer);
	*properties = writer.len;
	*remaining = answer->field_bytes + kmqtt_varint_size(*properties) +
		     *properties + answer->code_bytes;
	return whole_size(*remaining);
}

static size_t build(u8 *packet, struct answer *answer)
{
	struct writer writer = { .at = packet };
	size_t size, remaining;
	u32 properties;

	size = measure(answer, &properties, &remaining);
	if (size > answer->max && answer->reason_string) {
		answer->reason_string = NULL;
		size = measure(answer, &properties, &remaining);
	}
	if (size > answer->max)
		return 0;
	if (!packet)
		return size;
	writer.at += kmqtt_frame_build(packet, answer->first, remaining);
	put_bytes(&writer, answer->fields, answer->field_bytes);
	put_varint(&writer, properties);
	put_properties(&writer, answer);
	put_bytes(&writer, answer->codes, answer->code_bytes);
	return size;
}

/* Section 3.2.2.3. */
static void put_connack_properties(struct writer *writer, const void *arg)
{
	const struct packet_connack *connack = arg;

	put_number_property(writer, KMQTT_PROP_SESSION_EXPIRY,
			    connack->has_expiry, 4, connack->session_expiry);
	put_number_property(writer, KMQTT_PROP_RECEIVE_MAXIMUM,
			    connack->receive_max, 2, connack->receive_max);
	put_number_property(writer, KMQTT_PROP_MAXIMUM_QOS,
			    connack->max_qos < 2, 1, connack->max_qos);
	put_number_property(writer, KMQTT_PROP_RETAIN_AVAILABLE,
			    connack->no_retain, 1, 0);
	put_number_property(writer, KMQTT_PROP_MAXIMUM_PACKET_SIZE,
			    connack->max_packet, 4, connack->max_packet);
	put_binary_property(writer, KMQTT_PROP_ASSIGNED_CLIENT_ID,
			    &connack->assigned_id);
	put_number_property(writer, KMQTT_PROP_TOPIC_ALIAS_MAXIMUM,
			    connack->topic_alias_max, 2,
			    connack->topic_alias_max);
	put_number_property(writer, KMQTT_PROP_SERVER_KEEP_ALIVE,
			    connack->has_keepalive, 2, connack->keepalive);
	put_string_property(writer, KMQTT_PROP_RESPONSE_INFO,
			    connack->response_info);
	put_string_property(writer, KMQTT_PROP_SERVER_REFERENCE,
			    connack->server_reference);
	put_binary_property(writer, KMQTT_PROP_AUTH_METHOD,
			    &connack->auth_method);
	put_binary_property(writer, KMQTT_PROP_AUTH_DATA, &connack->auth_data);
}

static size_t build_connack_3(u8 *packet, const struct packet_connack *connack)
{
	if (!packet)
		return PACKET_ACK_SIZE;
	packet[0] = KMQTT_CONNACK << 4;
	packet[1] = 2;
	packet[2] = 0;
	packet[3] = reason_return_code(connack->reason);
	/* [MQTT-3.2.2-1] to [MQTT-3.2.2-4]; MQTT 3.1 reserves it. */
	if (connack->present && !packet[3] &&
	    connack->level != PACKET_LEVEL_3_1)
		packet[2] = FLAG_PRESENT;
	return PACKET_ACK_SIZE;
}

size_t packet_build_connack(u8 *packet, const struct packet_connack *connack)
{
	struct answer answer = {
		.first = KMQTT_CONNACK << 4,
		.fields = { connack->present && !connack->reason ?
			    FLAG_PRESENT : 0, connack->reason },
		.field_bytes = 2,
		.put_properties = put_connack_properties,
		.arg = connack,
		.reason_string = connack->reason_string,
		.max = connack->max,
	};

	if (connack->level != PACKET_LEVEL_5)
		return build_connack_3(packet, connack);
	return build(packet, &answer);
}

static void put_reference(struct writer *writer, const void *arg)
{
	put_string_property(writer, KMQTT_PROP_SERVER_REFERENCE, arg);
}

size_t packet_build_disconnect(u8 *packet, u32 max, enum reason reason,
			       const char *reason_string,
			       const char *server_reference)
{
	struct answer answer = {
		.first = KMQTT_DISCONNECT << 4,
		.fields = { reason },
		.field_bytes = 1,
		.put_properties = put_reference,
		.arg = server_reference,
		.reason_string = reason_string,
		.max = max,
	};

	return build(packet, &answer);
}

/* What a method says, and what it is. */
struct authentication {
	const struct packet_bytes *method;
	const struct packet_bytes *data;
};

static void put_authentication(struct writer *writer, const void *arg)
{
	const struct authentication *authentication = arg;

	put_binary_property(writer, KMQTT_PROP_AUTH_METHOD,
			    authentication->method);
	put_binary_property(writer, KMQTT_PROP_AUTH_DATA, authentication->data);
}

size_t packet_build_auth(u8 *packet, u32 max, enum reason reason,
			 const struct packet_bytes *method,
			 const struct packet_bytes *data)
{
	const struct authentication authentication = { method, data };
	struct answer answer = {
		.first = KMQTT_AUTH << 4,
		.fields = { reason },
		.field_bytes = 1,
		.put_properties = put_authentication,
		.arg = &authentication,
		.max = max,
	};

	return build(packet, &answer);
}

static u8 *put_u16(u8 *at, u16 value)
{
	*at++ = value >> 8;
	*at++ = value & 0xff;
	return at;
}

/* Bytes of the properties, without their length. */
static size_t out_properties(const struct packet_out *out)
{
	size_t len = out->properties.len;
	u32 i;

	for (i = 0; i < out->sub_id_count; i++)
		len += 1 + kmqtt_varint_size(out->sub_ids[i]);
	return len;
}

/* What follows the fixed header (sections 3.3.2 and 3.3.3). */
static size_t publish_remaining(const struct packet_out *out)
{
	size_t len = 2 + out->topic_len + (size_t)out->payload_len;
	size_t properties;

	if (out->flags & KMQTT_FLAG_QOS)
		len += 2;
	if (out->level != PACKET_LEVEL_5)
		return len;
	properties = out_properties(out);
	return len + kmqtt_varint_size(properties) + properties;
}

size_t packet_publish_size(const struct packet_out *out)
{
	return whole_size(publish_remaining(out));
}

size_t packet_publish_head_size(const struct packet_out *out)
{
	return packet_publish_size(out) - out->payload_len;
}

static u8 *put_out_properties(u8 *at, const struct packet_out *out)
{
	struct writer writer = { .at = at };
	u32 i;

	put_varint(&writer, out_properties(out));
	for (i = 0; i < out->sub_id_count; i++) {
		put_number(&writer, 1, KMQTT_PROP_SUBSCRIPTION_ID);
		put_varint(&writer, out->sub_ids[i]);
	}
	at = writer.at;
	if (!out->properties.len)
		return at;
	memcpy(at, out->properties.data, out->properties.len);
	if (out->properties.expiry_at) {
		writer.at = at + out->properties.expiry_at;
		put_number(&writer, 4, out->expiry);
	}
	return at + out->properties.len;
}

size_t packet_build_publish_head(u8 *head, const struct packet_out *out)
{
	u8 *at = head;

	at += kmqtt_frame_build(at, KMQTT_PUBLISH << 4 | out->flags,
				publish_remaining(out));
	at = put_u16(at, out->topic_len);
	memcpy(at, out->topic, out->topic_len);
	at += out->topic_len;
	if (out->flags & KMQTT_FLAG_QOS)
		at = put_u16(at, out->id);
	if (out->level == PACKET_LEVEL_5)
		at = put_out_properties(at, out);
	return at - head;
}

size_t packet_build_ack(u8 *packet, u8 level, u32 max, u8 type, u16 id,
			enum reason reason, const char *reason_string)
{
	struct answer answer = {
		/* [MQTT-3.6.1-1]; the others have no flags. */
		.first = type << 4 | (type == KMQTT_PUBREL ? 0x02 : 0),
		.fields = { id >> 8, id & 0xff, reason },
		.field_bytes = 3,
		.reason_string = reason_string,
		.max = max,
	};

	if (level == PACKET_LEVEL_5 && reason)
		return build(packet, &answer);
	if (level == PACKET_LEVEL_5 && max < PACKET_ACK_SIZE)
		return 0;
	if (packet) {
		packet[0] = answer.first;
		packet[1] = 2;
		put_u16(packet + 2, id);
	}
	return PACKET_ACK_SIZE;
}

static size_t build_filters_ack_3(u8 *packet, u8 type, u16 id, const u8 *codes,
				  u32 count)
{
	u8 header[KMQTT_HEADER_MAX];
	u8 *at;
	u32 i;

	if (type == KMQTT_UNSUBACK)
		count = 0;
	if (!packet)
		return kmqtt_frame_build(header, 0, 2 + count) + 2 + count;
	at = packet + kmqtt_frame_build(packet, type << 4, 2 + count);
	at = put_u16(at, id);
	for (i = 0; i < count; i++)
		*at++ = reason_is_error(codes[i]) ? PACKET_SUBACK_FAILURE
						  : codes[i];
	return at - packet;
}

size_t packet_build_filters_ack(u8 *packet, u8 level, u32 max, u8 type, u16 id,
				const u8 *codes, u32 count,
				const char *reason_string)
{
	struct answer answer = {
		.first = type << 4,
		.fields = { id >> 8, id & 0xff },
		.field_bytes = 2,
		.reason_string = reason_string,
		.codes = codes,
		.code_bytes = count,
		.max = max,
	};

	if (level != PACKET_LEVEL_5)
		return build_filters_ack_3(packet, type, id, codes, count);
	return build(packet, &answer);
}

void packet_build_pingresp(u8 *packet)
{
	packet[0] = KMQTT_PINGRESP << 4;
	packet[1] = 0;
}
