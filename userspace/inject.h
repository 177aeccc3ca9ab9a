/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Messages that the daemon gives to the module to deliver: QoS 0 copies of what
 * clients published above QoS 0, and wills.
 */
#ifndef _KMQTTD_INJECT_H_
#define _KMQTTD_INJECT_H_

#include "message.h"
#include "types.h"

/*
 * Has the module deliver @message: published at QoS 0, to everybody whose
 * filters match; above, to those whose highest granted QoS is 0. Messages are
 * delivered in the order of the calls.
 */
void inject(struct message *message, bool retain);

/* Whether messages wait for the module; while they do, take no more. */
bool inject_busy(void);

#endif /* _KMQTTD_INJECT_H_ */
