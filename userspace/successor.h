/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The successor: a process that does nothing but wait until it is to execute the
 * program anew, for a handover. It was made before this one gave its privileges
 * up (user.h, sandbox.h), which cannot be had back.
 */
#ifndef _KMQTTD_SUCCESSOR_H_
#define _KMQTTD_SUCCESSOR_H_

#include "types.h"

/*
 * Makes it, with the listen sockets that there are, before there are threads. It
 * ends when this process does, unless told to start. 0 or -errno, logged.
 */
int successor_open(const char *program, char **argv);

/*
 * Whether the program, as it is now, would start: with the configuration as it
 * is now, and with the module that there is. What is wrong has been said on
 * standard error. Waits for the answer, some seconds at the most.
 */
bool successor_able(void);

/* Has it execute the program with the same arguments once this process ends. */
void successor_start(void);

#endif /* _KMQTTD_SUCCESSOR_H_ */
