/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The conversation with kmqtt.ko: one request at a time, over generic netlink.
 */
#ifndef CTL_GENL_H
#define CTL_GENL_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

/* Given each message of an answer. */
typedef void genl_each_fn(const struct nlmsghdr *message, void *data);

/*
 * Finds the module. Returns 0 or -errno: -ENOENT if it is not loaded. The
 * kernel looks for an installed module that is not, and loads it.
 */
int genl_open(void);
void genl_close(void);

/* Which version of the protocol the module speaks. */
uint32_t genl_version(void);

/* 0, or -EPROTO having said that the version is not ours. */
int genl_check_version(void);

/* genl_open() and genl_check_version(); says what is wrong. */
int genl_connect(void);

/*
 * Begins a request, to which attributes can be added. There is one at a time.
 * @flags: NLM_F_DUMP, or 0
 */
struct nlmsghdr *genl_request(uint8_t cmd, uint16_t flags);

/*
 * Sends @request and gives each message of the answer to @each. Returns 0 or
 * -errno, having said what is wrong.
 */
int genl_talk(struct nlmsghdr *request, genl_each_fn *each, void *data);

/*
 * The attributes of a message, by type; @attrs has room for @max + 1. Those
 * that come more than once are there with the last.
 */
void genl_attrs(const struct nlmsghdr *message, const struct nlattr **attrs,
		unsigned int max);

/* A number of any size; 0 if the attribute is not there. */
uint64_t genl_uint(const struct nlattr *attr);

#endif
