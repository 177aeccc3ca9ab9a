// SPDX-License-Identifier: GPL-2.0
#include "notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int manager = -1;

void notify_open(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len;

	if (!path)
		return;
	len = strlen(path);
	if ((path[0] != '/' && path[0] != '@') ||
	    len >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')	/* the abstract namespace */
		address.sun_path[0] = '\0';

	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (manager < 0)
		return;
	len += offsetof(struct sockaddr_un, sun_path);
	if (connect(manager, (struct sockaddr *)&address, len)) {
		close(manager);
		manager = -1;
	}
}

void notify(const char *state)
{
	if (manager >= 0)
		send(manager, state, strlen(state),
		     MSG_NOSIGNAL | MSG_DONTWAIT);
}

void notify_descriptor(const char *state, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	} };
	struct iovec iov = { (void *)state, strlen(state) };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};

	if (manager < 0)
		return;
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	sendmsg(manager, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}
