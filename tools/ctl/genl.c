// SPDX-License-Identifier: GPL-2.0
#include "genl.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/kmqtt.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

/* Requests are a header and an attribute or two. */
#define REQUEST_SIZE	1024

static struct {
	struct mnl_socket *socket;
	uint16_t family;
	uint32_t version;
	uint32_t seq;
	bool inconsistent;	/* a dump met changes */
	const char *text;	/* what the kernel says about an error, or NULL */
	uint8_t *answer;
	size_t answer_size;
	uint8_t request[REQUEST_SIZE] __attribute__((aligned(4)));
} genl;

struct nlmsghdr *genl_request(uint8_t cmd, uint16_t flags)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(genl.request);
	struct genlmsghdr *header;

	request->nlmsg_type = genl.family;
	request->nlmsg_flags = NLM_F_REQUEST | (flags ? flags : NLM_F_ACK);
	request->nlmsg_seq = ++genl.seq;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->cmd = cmd;
	header->version = KMQTT_GENL_VERSION;
	return request;
}

void genl_attrs(const struct nlmsghdr *message, const struct nlattr **attrs,
		unsigned int max)
{
	const struct nlattr *attr;

	memset(attrs, 0, (max + 1) * sizeof(*attrs));
	mnl_attr_for_each(attr, message, GENL_HDRLEN)
		if (mnl_attr_get_type(attr) <= max)
			attrs[mnl_attr_get_type(attr)] = attr;
}

uint64_t genl_uint(const struct nlattr *attr)
{
	if (!attr)
		return 0;
	switch (mnl_attr_get_payload_len(attr)) {
	case sizeof(uint8_t):
		return mnl_attr_get_u8(attr);
	case sizeof(uint16_t):
		return mnl_attr_get_u16(attr);
	case sizeof(uint32_t):
		return mnl_attr_get_u32(attr);
	case sizeof(uint64_t):
		return mnl_attr_get_u64(attr);
	}
	return 0;
}

/* Attributes of an acknowledgment begin @skip bytes into its payload. */
static void note_text(const struct nlmsghdr *message, size_t skip)
{
	const struct nlattr *attr;

	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	mnl_attr_for_each(attr, message, skip)
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
		    !mnl_attr_validate(attr, MNL_TYPE_NUL_STRING))
			genl.text = mnl_attr_get_str(attr);
}

/* The request is not in it: NETLINK_CAP_ACK. */
static int acknowledged(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*error))
		return -EBADMSG;
	note_text(message, sizeof(*error));
	return error->error;
}

/* A dump can fail half-way: then its end has an error, and its reason. */
static int dump_done(const struct nlmsghdr *message)
{
	const int *error = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*error))
		return 0;
	note_text(message, sizeof(*error));
	return *error;
}

/* Waits for an answer and makes room for it. */
static ssize_t answer_len(void)
{
	int fd = mnl_socket_get_fd(genl.socket);
	ssize_t len;

	len = recv(fd, genl.answer, genl.answer_size, MSG_PEEK | MSG_TRUNC);
	if (len <= (ssize_t)genl.answer_size)
		return len;
	free(genl.answer);
	genl.answer_size = (size_t)len;
	genl.answer = malloc(genl.answer_size);
	if (!genl.answer)
		die_nomem();
	return len;
}

static ssize_t receive(void)
{
	ssize_t len = answer_len();

	if (len < 0)
		return -errno;
	len = mnl_socket_recvfrom(genl.socket, genl.answer, genl.answer_size);
	return len < 0 ? -errno : len;
}

struct talk {
	genl_each_fn *each;
	void *data;
	bool done;
};

static int handle(const struct nlmsghdr *message, struct talk *talk)
{
	if (message->nlmsg_seq != genl.seq)
		return 0;
	if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		genl.inconsistent = true;
	if (message->nlmsg_type == NLMSG_ERROR ||
	    message->nlmsg_type == NLMSG_DONE)
		talk->done = true;
	if (message->nlmsg_type == NLMSG_ERROR)
		return acknowledged(message);
	if (message->nlmsg_type == NLMSG_DONE)
		return dump_done(message);
	if (message->nlmsg_type == genl.family && talk->each)
		talk->each(message, talk->data);
	return 0;
}

static int receive_all(struct talk *talk)
{
	const struct nlmsghdr *message;
	ssize_t ret;
	int err = 0;
	int len;

	while (!err && !talk->done) {
		ret = receive();
		if (ret < 0)
			return (int)ret;
		len = (int)ret;
		message = (const struct nlmsghdr *)genl.answer;
		for (; !err && mnl_nlmsg_ok(message, len);
		     message = mnl_nlmsg_next(message, &len))
			err = handle(message, talk);
	}
	return err;
}

static int talk_quietly(struct nlmsghdr *request, genl_each_fn *each,
			void *data)
{
	struct talk talk = { .each = each, .data = data };

	genl.text = NULL;
	genl.inconsistent = false;
	if (mnl_socket_sendto(genl.socket, request, request->nlmsg_len) < 0)
		return -errno;
	return receive_all(&talk);
}

static void explain(int err)
{
	if (err == -EPERM)
		complain("permission denied: CAP_NET_ADMIN is needed, try as root");
	else if (genl.text)
		complain("%s (%s)", genl.text, strerror(-err));
	else
		complain("the kernel module kmqtt: %s", strerror(-err));
}

int genl_talk(struct nlmsghdr *request, genl_each_fn *each, void *data)
{
	int err = talk_quietly(request, each, data);

	if (err)
		explain(err);
	else if (genl.inconsistent)
		complain("warning: what changed meanwhile may be missing or there twice");
	return err;
}

static void note_family(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *attrs[CTRL_ATTR_MAX + 1];
	uint16_t *family = data;

	genl_attrs(message, attrs, CTRL_ATTR_MAX);
	*family = (uint16_t)genl_uint(attrs[CTRL_ATTR_FAMILY_ID]);
	genl.version = (uint32_t)genl_uint(attrs[CTRL_ATTR_VERSION]);
}

static int find_family(void)
{
	struct nlmsghdr *request;
	uint16_t family = 0;
	int err;

	genl.family = GENL_ID_CTRL;
	request = genl_request(CTRL_CMD_GETFAMILY, 0);
	mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, KMQTT_GENL_NAME);
	err = talk_quietly(request, note_family, &family);
	genl.family = family;
	return err;
}

static int open_socket(void)
{
	int one = 1;

	genl.socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
	if (!genl.socket ||
	    mnl_socket_bind(genl.socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Errors with a text, and without the request in them. */
	mnl_socket_setsockopt(genl.socket, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(genl.socket, NETLINK_CAP_ACK, &one, sizeof(one));
	return 0;
}

int genl_open(void)
{
	/* The largest that the kernel fills when it dumps. */
	genl.answer_size = 32 * 1024;
	genl.answer = malloc(genl.answer_size);
	if (!genl.answer)
		die_nomem();
	return open_socket() ?: find_family();
}

void genl_close(void)
{
	if (genl.socket)
		mnl_socket_close(genl.socket);
	free(genl.answer);
	genl.socket = NULL;
	genl.answer = NULL;
}

uint32_t genl_version(void)
{
	return genl.version;
}

int genl_check_version(void)
{
	if (genl.version == KMQTT_GENL_VERSION)
		return 0;
	complain("the kernel module kmqtt speaks protocol version %u, not %u",
		 genl.version, KMQTT_GENL_VERSION);
	return -EPROTO;
}

int genl_connect(void)
{
	int err = genl_open();

	if (!err)
		return genl_check_version();
	if (err == -ENOENT)
		complain("the kernel module kmqtt is not loaded (modprobe kmqtt)");
	else
		complain("netlink: %s", strerror(-err));
	return err;
}
