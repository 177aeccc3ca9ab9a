/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The variable header of a PUBLISH (section 3.3.2), as a client sends it:
 * topic name, packet identifier, properties.
 *
 * Pure: no socket, no lock, no allocation. Any context.
 */
#ifndef _KMQTT_HEAD_H_
#define _KMQTT_HEAD_H_

#include <linux/types.h>
#include <linux/kmqtt.h>

/**
 * struct kmqtt_head - where things are; offsets count from the packet's first byte
 * @topic_len: bytes of the topic name; 0: the topic alias stands for it
 * @topic_alias: the topic alias, 0: there is none
 * @payload_format: the payload says that it is UTF-8 (section 3.3.2.3.2)
 * @topic: the topic name
 * @properties: the property length; that of MQTT 3.x has none, and then it is
 *	where the payload begins
 * @property_bytes: bytes of the properties, the property length not included
 * @payload: the payload
 * @expiry: the value of the message expiry interval, four bytes; 0: there is
 *	none
 * @expiry_interval: seconds, that value
 * @alias: the property topic alias, three bytes; 0: there is none
 */
struct kmqtt_head {
	u16 topic_len;
	u16 topic_alias;
	bool payload_format;
	u32 topic;
	u32 properties;
	u32 property_bytes;
	u32 payload;
	u32 expiry;
	u32 expiry_interval;
	u32 alias;
};

/* Bytes of the property topic alias. */
enum { KMQTT_ALIAS_SIZE = 3 };

enum kmqtt_end kmqtt_head_parse(struct kmqtt_head *head, const u8 *packet,
				u32 off, u32 len, u8 level);
u32 kmqtt_head_want(const u8 *data, u32 have, bool id);
enum kmqtt_end kmqtt_properties_parse(struct kmqtt_head *head, const u8 *packet,
				      u32 off, u32 len);

#endif /* _KMQTT_HEAD_H_ */
