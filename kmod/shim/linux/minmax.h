/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_MINMAX_H_
#define _SHIM_LINUX_MINMAX_H_

#define min_t(type, a, b) \
	((type)(a) < (type)(b) ? (type)(a) : (type)(b))

#endif /* _SHIM_LINUX_MINMAX_H_ */
