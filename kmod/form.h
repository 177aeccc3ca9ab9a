/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The form in which a message goes to a subscriber: the version that it speaks,
 * RETAIN, and the subscription identifiers in front of the other properties.
 * All who want the same form share one encoding of it.
 *
 * Any context.
 */
#ifndef _KMQTT_FORM_H_
#define _KMQTT_FORM_H_

#include <linux/types.h>

struct kmqtt_msg;

/* Bits of a form. Without KMQTT_FORM_5 it is MQTT 3.x, which drops the
 * properties and has no other bit.
 */
enum {
	KMQTT_FORM_5 = 0x01,
	KMQTT_FORM_RETAIN = 0x02,	/* as published [MQTT-3.3.1-13] */
	KMQTT_FORM_ID = 0x04,		/* times the bytes of the identifier */
	KMQTT_FORM_IDS = 0x1c,
	KMQTT_FORMS = 0x14,		/* above all of these */

	/* Of a subscription, not of a form: it may not get every message. */
	KMQTT_FORM_NO_LOCAL = 0x40,
	/* Of a run, whose messages are of several. */
	KMQTT_FORM_MIXED = 0x80,
};

/* Bytes of the value of the one subscription identifier of a form, or 0. */
static inline u32 kmqtt_form_id(u8 form)
{
	return (form & KMQTT_FORM_IDS) / KMQTT_FORM_ID;
}

/**
 * struct kmqtt_ids - subscription identifiers, as properties of a PUBLISH
 * @data: their bytes
 * @len: how many
 *
 * Where a form has one identifier, @data is room for it.
 */
struct kmqtt_ids {
	const u8 *data;
	u32 len;
};

u32 kmqtt_form_size(const struct kmqtt_msg *msg, u8 form, u32 ids);
u32 kmqtt_form_write(const struct kmqtt_msg *msg, u8 form,
		     const struct kmqtt_ids *ids, u8 *to, u32 *id, u32 *expiry);

#endif /* _KMQTT_FORM_H_ */
