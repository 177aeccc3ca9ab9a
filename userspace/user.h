/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The user that the daemon runs as.
 */
#ifndef _KMQTTD_USER_H_
#define _KMQTTD_USER_H_

/*
 * Becomes the user @name with its groups, keeping CAP_NET_ADMIN, which the
 * module demands of every request, and no other capability. 0, or -errno, which
 * has been logged.
 */
int user_become(const char *name);

/*
 * Without another user to become, root keeps CAP_NET_ADMIN, and no other
 * capability: this thread, and those that it starts from then on. 0, or -errno,
 * which has been logged.
 */
int user_restrict(void);

#endif /* _KMQTTD_USER_H_ */
