/* SPDX-License-Identifier: GPL-2.0 */
/* One thread: no readers to wait for. */
#ifndef _SHIM_LINUX_RCUPDATE_H_
#define _SHIM_LINUX_RCUPDATE_H_

struct rcu_head {
	void *unused;
};

#define rcu_read_lock()			((void)0)
#define rcu_read_unlock()		((void)0)
#define rcu_dereference(p)		(p)
#define rcu_access_pointer(p)		(p)
#define rcu_assign_pointer(p, v)	((p) = (v))
#define RCU_INIT_POINTER(p, v)		((p) = (v))
#define kfree_rcu(p, member)		kfree(p)

#endif /* _SHIM_LINUX_RCUPDATE_H_ */
