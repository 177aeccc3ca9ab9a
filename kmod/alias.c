// SPDX-License-Identifier: GPL-2.0
#include "alias.h"

#include <linux/err.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "compat.h"
#include "conn.h"
#include "frame.h"
#include "head.h"
#include "msg.h"
#include "ns.h"
#include "property.h"

/* The table is made when the first alias is used: most clients use none. */
static struct kmqtt_aliases *table(struct kmqtt_conn *conn)
{
	u16 max = READ_ONCE(conn->max_topic_alias);
	struct kmqtt_aliases *aliases = conn->aliases;

	if (aliases || !max)
		return aliases;
	aliases = kvzalloc(struct_size(aliases, topics, max),
			   GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!aliases)
		return NULL;
	aliases->max = max;
	atomic64_add(struct_size(aliases, topics, max), &conn->ns->memory.used);
	WRITE_ONCE(conn->aliases, aliases);
	return aliases;
}

static void forget(struct kmqtt_conn *conn, struct kmqtt_alias *alias)
{
	if (!alias)
		return;
	atomic64_sub(struct_size(alias, topic, alias->len),
		     &conn->ns->memory.used);
	kfree(alias);
}

void kmqtt_aliases_free(struct kmqtt_conn *conn)
{
	struct kmqtt_aliases *aliases = conn->aliases;
	u32 i;

	if (!aliases)
		return;
	for (i = 0; i < aliases->max; i++)
		forget(conn, aliases->topics[i]);
	atomic64_sub(struct_size(aliases, topics, aliases->max),
		     &conn->ns->memory.used);
	kvfree(aliases);
	conn->aliases = NULL;
}

/* From now on, an alias stands for the topic name. Without memory it stands for
 * nothing: better than for what it stood for before.
 */
static void set(struct kmqtt_conn *conn, struct kmqtt_alias **slot,
		const u8 *topic, u16 len)
{
	struct kmqtt_alias *alias = *slot;

	if (alias && alias->len == len && !memcmp(alias->topic, topic, len))
		return;
	forget(conn, alias);
	alias = kmalloc(struct_size(alias, topic, len),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	*slot = alias;
	if (!alias)
		return;
	alias->len = len;
	memcpy(alias->topic, topic, len);
	atomic64_add(struct_size(alias, topic, len), &conn->ns->memory.used);
}

/**
 * kmqtt_alias_resolve() - what a PUBLISH with a topic alias says and means
 * @conn: its connection
 * @packet: the packet
 * @head: its variable header, with a topic alias
 * @alias: set to the topic name that is meant; NULL: the one that is there
 *
 * Return: KMQTT_END_NONE, or why the connection must end: [MQTT-3.3.2-8]
 * [MQTT-3.3.2-9], section 3.3.2.3.4.
 */
enum kmqtt_end kmqtt_alias_resolve(struct kmqtt_conn *conn, const u8 *packet,
				   const struct kmqtt_head *head,
				   const struct kmqtt_alias **alias)
{
	struct kmqtt_aliases *aliases;
	struct kmqtt_alias **slot;

	*alias = NULL;
	if (head->topic_alias > READ_ONCE(conn->max_topic_alias))
		return KMQTT_END_TOPIC_ALIAS;
	aliases = table(conn);
	if (!aliases || head->topic_alias > aliases->max)
		return head->topic_len ? KMQTT_END_NONE : KMQTT_END_PROTOCOL;

	slot = &aliases->topics[head->topic_alias - 1];
	if (head->topic_len)
		set(conn, slot, packet + head->topic, head->topic_len);
	else if (*slot)
		*alias = *slot;
	else
		return KMQTT_END_PROTOCOL;
	return KMQTT_END_NONE;
}

static u8 *put(u8 *to, const void *data, u32 len)
{
	memcpy(to, data, len);
	return to + len;
}

/**
 * kmqtt_alias_replace() - a PUBLISH without its topic alias
 * @msg: the message, or the beginning of its packet, at least up to the payload
 * @head: its variable header
 * @alias: the topic name that it is to have; NULL: the one that it has
 * @more: bytes of the packet that follow those of @msg
 *
 * Return: the same in memory of its own, with one reference, of which only the
 * bytes, and topic_off, are set; -EMSGSIZE: larger than a packet can be; -ENOMEM.
 */
struct kmqtt_msg *kmqtt_alias_replace(const struct kmqtt_msg *msg,
				      const struct kmqtt_head *head,
				      const struct kmqtt_alias *alias,
				      u32 more)
{
	const u8 *topic = alias ? alias->topic : msg->data + head->topic;
	u32 topic_len = alias ? alias->len : head->topic_len;
	u32 properties = head->property_bytes - KMQTT_ALIAS_SIZE;
	u32 before = head->payload - head->property_bytes;
	/* The packet identifier, if there is one. */
	u32 id = head->properties - head->topic - head->topic_len;
	u32 remaining = 2 + topic_len + id + kmqtt_varint_size(properties) +
			properties + msg->len - head->payload;
	u8 header[KMQTT_HEADER_MAX], *pos;
	struct kmqtt_msg *copy;
	u32 len;

	if (remaining + more > KMQTT_PACKET_MAX - KMQTT_HEADER_MAX)
		return ERR_PTR(-EMSGSIZE);
	len = kmqtt_frame_build(header, msg->data[0], remaining + more);
	copy = kmqtt_msg_alloc(msg->ns, len + remaining, GFP_KERNEL);
	if (!copy)
		return ERR_PTR(-ENOMEM);
	pos = put(copy->data, header, len);
	put_unaligned_be16(topic_len, pos);
	copy->topic_off = len + 2;
	pos = put(pos + 2, topic, topic_len);
	pos = put(pos, msg->data + head->topic + head->topic_len, id);
	pos += kmqtt_varint_write(pos, properties);
	pos = put(pos, msg->data + before, head->alias - before);
	put(pos, msg->data + head->alias + KMQTT_ALIAS_SIZE,
	    msg->len - head->alias - KMQTT_ALIAS_SIZE);
	return copy;
}
