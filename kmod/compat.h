/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences between kernel versions, all of them. The rest of the module
 * reads as the newest kernel's code; each entry names the release that changed
 * it upstream. Distributions backport: prefer testing for a macro.
 */
#ifndef _KMQTT_COMPAT_H_
#define _KMQTT_COMPAT_H_

#include <linux/bvec.h>
#include <linux/file.h>
#include <linux/timer.h>
#include <linux/uio.h>
#include <linux/version.h>
#include <net/genetlink.h>
#include <net/sock.h>
#include <net/tcp.h>

/* 6.12: unaligned.h moved. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#include <asm/unaligned.h>
#else
#include <linux/unaligned.h>
#endif

/* 6.2: timer_delete_sync() and timer_shutdown_sync() replace del_timer_sync();
 * 6.16: timer_container_of() replaces from_timer().
 */
#ifndef timer_container_of
#define timer_container_of(var, timer, field) from_timer(var, timer, field)
#endif

/* 6.2 (backported to 6.1.y): iov_iter directions have names. */
#ifndef ITER_SOURCE
#define ITER_SOURCE WRITE
#endif

/* 6.5: sendpage is gone. Before, it bypasses a sendmsg override. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define KMQTT_HAVE_SENDPAGE
#endif

/* 6.5: tcp_sendmsg_locked() takes references to pages. Before, it ignores
 * MSG_SPLICE_PAGES, though 6.1.y defines it, and it is sendpage that does.
 *
 * Not with MSG_NO_SHARED_FRAGS: the pages are other receivers' too, so that who
 * decrypts in place must copy them first (esp_input()).
 */
static inline int kmqtt_splice_locked(struct sock *sk, struct page *page,
				      size_t offset, size_t size, int flags)
{
#ifdef KMQTT_HAVE_SENDPAGE
	return tcp_sendpage_locked(sk, page, offset, size, flags);
#else
	struct msghdr msg = { .msg_flags = flags | MSG_SPLICE_PAGES };
	struct bio_vec bv;

	bvec_set_page(&bv, page, size, offset);
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, &bv, 1, size);
	return tcp_sendmsg_locked(sk, &msg, size);
#endif
}

/* 7.1: proto.recvmsg lost its addr_len. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 1, 0)
#define KMQTT_RECVMSG_FLAGS	int flags, int *addr_len
#else
#define KMQTT_RECVMSG_FLAGS	int flags
#endif

/* 6.6: a dump's attributes are found through genl_info_dump(). */
static inline struct nlattr **kmqtt_dump_attrs(struct netlink_callback *cb)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
	return genl_dumpit_info(cb)->attrs;
#else
	return genl_info_dump(cb)->attrs;
#endif
}

/* 6.7: receive_fd() takes a user pointer for the descriptor. */
static inline int kmqtt_receive_fd(struct file *file, unsigned int flags)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
	return receive_fd(file, flags);
#else
	return receive_fd(file, NULL, flags);
#endif
}

#endif /* _KMQTT_COMPAT_H_ */
