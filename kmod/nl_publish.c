// SPDX-License-Identifier: GPL-2.0
#include "nl.h"

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>

#include "compat.h"
#include "frame.h"
#include "head.h"
#include "msg.h"
#include "property.h"
#include "topic.h"
#include "worker.h"

/* The payload of a publish request: inline, in a file, or none. */
struct payload {
	const void *data;
	struct file *file;
	u32 len;
};

/* Bytes of a file that can be read at once, or an error: others might take for
 * ever to read, or not be readable.
 */
static loff_t payload_size(const struct file *file,
			   struct netlink_ext_ack *extack)
{
	const struct inode *inode = file_inode(file);
	loff_t size = i_size_read(inode);

	if (!(file->f_mode & FMODE_READ) || !S_ISREG(inode->i_mode) ||
	    inode->i_sb->s_magic != TMPFS_MAGIC) {
		NL_SET_ERR_MSG(extack, "payload is not a readable memfd");
		return -EINVAL;
	}
	if (size > KMQTT_PACKET_MAX - KMQTT_HEADER_MAX) {
		NL_SET_ERR_MSG(extack, "larger than a packet can be");
		return -EMSGSIZE;
	}
	return size;
}

static int payload_open(struct payload *payload, struct genl_info *info)
{
	struct nlattr **attrs = info->attrs;
	loff_t size;

	memset(payload, 0, sizeof(*payload));
	if (attrs[KMQTT_A_MSG_PAYLOAD] && attrs[KMQTT_A_MSG_PAYLOAD_FD]) {
		NL_SET_ERR_MSG(info->extack, "two payloads");
		return -EINVAL;
	}
	if (attrs[KMQTT_A_MSG_PAYLOAD]) {
		payload->data = nla_data(attrs[KMQTT_A_MSG_PAYLOAD]);
		payload->len = nla_len(attrs[KMQTT_A_MSG_PAYLOAD]);
	}
	if (!attrs[KMQTT_A_MSG_PAYLOAD_FD])
		return 0;

	payload->file = fget(nla_get_u32(attrs[KMQTT_A_MSG_PAYLOAD_FD]));
	if (!payload->file) {
		NL_SET_ERR_MSG(info->extack, "no such descriptor");
		return -EBADF;
	}
	size = payload_size(payload->file, info->extack);
	if (size < 0) {
		fput(payload->file);
		return size;
	}
	payload->len = size;
	return 0;
}

static int payload_read(const struct payload *payload, u8 *to)
{
	loff_t pos = 0;
	ssize_t ret;

	if (!payload->file) {
		memcpy(to, payload->data, payload->len);
		return 0;
	}
	while (pos < payload->len) {
		ret = kernel_read(payload->file, to + pos, payload->len - pos,
				  &pos);
		if (ret <= 0)
			return ret ?: -EIO;
	}
	return 0;
}

/* Write the PUBLISH packet that a request describes: one of MQTT 5 if it has
 * properties, which precede the payload.
 */
static struct kmqtt_msg *msg_build(struct kmqtt_ns *ns, const u8 *topic,
				   u32 topic_len, const struct payload *payload,
				   u32 properties)
{
	u8 header[KMQTT_HEADER_MAX], varint[KMQTT_VARINT_BYTES];
	u32 varint_len = 0, remaining, len;
	struct kmqtt_head head = {};
	struct kmqtt_msg *msg;
	int err;

	if (properties > payload->len)
		return ERR_PTR(-EINVAL);
	if (properties > KMQTT_VARINT_MAX)
		return ERR_PTR(-EMSGSIZE);
	if (properties)
		varint_len = kmqtt_varint_write(varint, properties);
	remaining = 2 + topic_len + varint_len + payload->len;

	if (remaining > KMQTT_PACKET_MAX - KMQTT_HEADER_MAX)
		return ERR_PTR(-EMSGSIZE);
	len = kmqtt_frame_build(header, KMQTT_PUBLISH << 4, remaining);
	msg = kmqtt_msg_alloc(ns, len + remaining, GFP_KERNEL);
	if (!msg)
		return ERR_PTR(-ENOMEM);

	memcpy(msg->data, header, len);
	put_unaligned_be16(topic_len, msg->data + len);
	head.topic = len + 2;
	head.topic_len = topic_len;
	head.payload = head.topic + topic_len;
	memcpy(msg->data + head.topic, topic, topic_len);
	memcpy(msg->data + head.payload, varint, varint_len);
	err = payload_read(payload, msg->data + head.payload + varint_len);
	if (!err && properties &&
	    (kmqtt_properties_parse(&head, msg->data, head.payload, msg->len) ||
	     head.topic_alias))
		err = -EINVAL;
	if (err) {
		kmqtt_msg_put(msg);
		return ERR_PTR(err);
	}
	kmqtt_msg_parts(msg, &head, properties ? 5 : 4);
	return msg;
}

/* Say why msg_build(), or kmqtt_publish(), has failed. */
static void explain(struct netlink_ext_ack *extack, int err)
{
	switch (err) {
	case 0:
	case -ENOMEM:
		break;
	case -EINVAL:
		NL_SET_ERR_MSG(extack, "not properties of PUBLISH");
		break;
	case -EMSGSIZE:
		NL_SET_ERR_MSG(extack, "larger than a packet can be");
		break;
	case -E2BIG:
		NL_SET_ERR_MSG(extack, "topic matches too much");
		break;
	case -EAGAIN:
		NL_SET_ERR_MSG(extack, "workers are behind");
		break;
	default:
		NL_SET_ERR_MSG(extack, "payload cannot be read");
	}
}

int kmqtt_nl_publish_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct kmqtt_ns *ns = kmqtt_ns_of(genl_info_net(info));
	struct nlattr **attrs = info->attrs;
	struct payload payload;
	struct kmqtt_msg *msg;
	const u8 *topic;
	u32 topic_len;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, KMQTT_A_MSG_TOPIC)) {
		NL_SET_ERR_MSG(info->extack, "topic missing");
		return -EINVAL;
	}
	topic = nla_data(attrs[KMQTT_A_MSG_TOPIC]);
	topic_len = nla_len(attrs[KMQTT_A_MSG_TOPIC]);
	if (kmqtt_topic_name_check(topic, topic_len)) {
		NL_SET_ERR_MSG(info->extack, "not a topic name");
		return -EINVAL;
	}

	err = payload_open(&payload, info);
	if (err)
		return err;
	msg = msg_build(ns, topic, topic_len, &payload,
			kmqtt_nl_u32(attrs, KMQTT_A_MSG_PROPERTIES, 0));
	if (payload.file)
		fput(payload.file);
	if (IS_ERR(msg)) {
		explain(info->extack, PTR_ERR(msg));
		return PTR_ERR(msg);
	}
	msg->conn_id = kmqtt_nl_u32(attrs, KMQTT_A_MSG_CONN_ID, 0);
	if (attrs[KMQTT_A_MSG_QOS])
		msg->qos = nla_get_u8(attrs[KMQTT_A_MSG_QOS]);
	if (nla_get_flag(attrs[KMQTT_A_MSG_RETAIN]))
		msg->sink = KMQTT_SINK_RETAIN;

	mutex_lock(&ns->lock);
	err = kmqtt_publish(ns, msg);
	/* Only then will it be tried again. */
	if (err != -EAGAIN && attrs[KMQTT_A_MSG_SERIAL])
		WRITE_ONCE(ns->injected,
			   nla_get_u64(attrs[KMQTT_A_MSG_SERIAL]));
	mutex_unlock(&ns->lock);
	explain(info->extack, err);
	return err;
}
