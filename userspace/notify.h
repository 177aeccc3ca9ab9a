/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the service manager wants to know (sd_notify(3)), without its library.
 */
#ifndef _KMQTTD_NOTIFY_H_
#define _KMQTTD_NOTIFY_H_

/*
 * Connects to the manager that $NOTIFY_SOCKET names, if there is one; before
 * another user is become, who might not reach it. A failure is the manager's
 * loss, who will say so.
 */
void notify_open(void);

/* Tells the manager @state, "READY=1" or the like. Never waits. */
void notify(const char *state);

/* The same, with a copy of a descriptor. */
void notify_descriptor(const char *state, int fd);

#endif /* _KMQTTD_NOTIFY_H_ */
