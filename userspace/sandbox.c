// SPDX-License-Identifier: GPL-2.0
#include "sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "types.h"

/*
 * io_uring's operations pass a filter unseen: those are restricted by ring.c,
 * and neither io_uring_setup() nor io_uring_register() is here, so that there
 * is no other ring.
 */
static const int allowed[] = {
	/* The ring, sockets that are open, the module's payloads. */
	SCMP_SYS(io_uring_enter), SCMP_SYS(getpeername), SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(sendto),
	SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(shutdown),
	SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(memfd_create),
	/* Files: the database and its journal, the log, the configuration. */
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(close), SCMP_SYS(read),
	SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pread64),
	SCMP_SYS(pwrite64), SCMP_SYS(lseek), SCMP_SYS(fsync),
	SCMP_SYS(fdatasync), SCMP_SYS(ftruncate), SCMP_SYS(fallocate),
	SCMP_SYS(fcntl), SCMP_SYS(ioctl), SCMP_SYS(stat), SCMP_SYS(lstat),
	SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
	SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(access),
	SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
	SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(getcwd),
	SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(unlink),
	SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
	SCMP_SYS(renameat2), SCMP_SYS(fchmod), SCMP_SYS(fchown),
	SCMP_SYS(umask), SCMP_SYS(utimensat),
	/* Memory. */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
	/* Threads, signals, time, and who we are. */
	SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall), SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
	SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
	SCMP_SYS(getegid), SCMP_SYS(getrlimit), SCMP_SYS(getrusage),
	SCMP_SYS(sysinfo), SCMP_SYS(uname),
};

/* What happened may have held any lock, that of the time zone for one. */
static void violated(int number, siginfo_t *info, void *context)
{
	char line[96];

	(void)context;
	snprintf(line, sizeof(line),
		 "Error: system call %d is not allowed once kmqttd runs.\n",
		 info->si_syscall);
	log_last(line);
	signal(number, SIG_DFL);
	raise(number);
}

static int allow_all(scmp_filter_ctx filter)
{
	int err = 0;
	size_t i;

	for (i = 0; !err && i < ARRAY_SIZE(allowed); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	return err;
}

/* What is allowed in part. */
static int allow_some(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp data_only =
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	int err;

	err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			       data_only);
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
				       SCMP_SYS(mprotect), 1, data_only);
	/* syslog() connects again when its daemon was restarted. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket),
				       1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
				       SCMP_SYS(prlimit64), 2,
				       SCMP_A0(SCMP_CMP_EQ, 0),
				       SCMP_A2(SCMP_CMP_EQ, 0));
	/* raise() and abort() */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill),
				       1, SCMP_A0(SCMP_CMP_EQ, getpid()));
	/* Threads, no processes: the flags of clone3() cannot be looked at. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone),
				       1, SCMP_A0(SCMP_CMP_MASKED_EQ,
						  CLONE_THREAD, CLONE_THREAD));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
				       SCMP_SYS(clone3), 0);
	return err;
}

int sandbox_enter(void)
{
	const struct sigaction action = {
		.sa_sigaction = violated,
		.sa_flags = SA_SIGINFO,
	};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int err;

	sigaction(SIGSYS, &action, NULL);
	/* Threads that run already, too. It also sets no_new_privs. */
	err = filter ? seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1)
		     : -ENOMEM;
	if (!err)
		err = allow_all(filter);
	if (!err)
		err = allow_some(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	if (err)
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to restrict system calls: %s.",
			  strerror(-err));
	return err;
}
