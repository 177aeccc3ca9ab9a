/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the daemon may still ask of the kernel once it runs.
 */
#ifndef _KMQTTD_SANDBOX_H_
#define _KMQTTD_SANDBOX_H_

/*
 * From here on no thread gains privileges, or makes a system call that the
 * daemon has no use for: that ends the process by SIGSYS, with a line in the
 * log. To be called when all is open: nothing can be executed, no ring be made,
 * and no sockets but those to the system's log. 0, or -errno, which has been
 * logged.
 */
int sandbox_enter(void);

#endif /* _KMQTTD_SANDBOX_H_ */
