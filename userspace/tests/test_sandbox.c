// SPDX-License-Identifier: GPL-2.0
/*
 * What the sandbox lets pass and what it does not, each in a process of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ktap.h"
#include "log.h"
#include "sandbox.h"
#include "types.h"

/* Runs @act in the sandbox, and reads what it says. The wait status. */
static int confined(int (*act)(void), char *said, size_t size)
{
	int ends[2], status;
	ssize_t len;
	pid_t pid;

	if (pipe(ends))
		return -1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(ends[1], STDERR_FILENO);
		_exit(sandbox_enter() || act());
	}
	close(ends[1]);
	len = read(ends[0], said, size - 1);
	said[len > 0 ? len : 0] = '\0';
	close(ends[0]);
	waitpid(pid, &status, 0);
	return status;
}

static int spawn_shell(void)
{
	return execl("/bin/true", "true", NULL);
}

static int spawn(void)
{
	return fork();
}

static int connect_out(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int listen_in(void)
{
	return listen(0, 1);
}

static int another_ring(void)
{
	struct io_uring_params params = { 0 };

	return syscall(SYS_io_uring_setup, 1, &params);
}

static int register_with_ring(void)
{
	return syscall(SYS_io_uring_register, 0, IORING_REGISTER_PROBE, 0, 0);
}

static int map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static int make_code(void)
{
	static u8 page[8192] __attribute__((aligned(4096)));

	return mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int trace_init(void)
{
	return ptrace(PTRACE_ATTACH, 1, 0, 0);
}

static int kill_init(void)
{
	return kill(1, 0);
}

static int leave(void)
{
	return unshare(CLONE_NEWUSER);
}

static int load_program(void)
{
	return syscall(SYS_bpf, BPF_PROG_LOAD, NULL, 0);
}

static int become_root(void)
{
	return setuid(0);
}

static const struct {
	const char *name;
	int number;
	int (*act)(void);
} forbidden[] = {
	{ "execve", SYS_execve, spawn_shell },
	{ "fork", SYS_clone, spawn },
	{ "socket", SYS_socket, connect_out },
	{ "listen", SYS_listen, listen_in },
	{ "io_uring_setup", SYS_io_uring_setup, another_ring },
	{ "io_uring_register", SYS_io_uring_register, register_with_ring },
	{ "mmap", SYS_mmap, map_code },
	{ "mprotect", SYS_mprotect, make_code },
	{ "ptrace", SYS_ptrace, trace_init },
	{ "kill", SYS_kill, kill_init },
	{ "unshare", SYS_unshare, leave },
	{ "bpf", SYS_bpf, load_program },
	{ "setuid", SYS_setuid, become_root },
};

static void test_forbidden(void)
{
	char said[256], number[32];
	size_t i;
	int status;

	for (i = 0; i < ARRAY_SIZE(forbidden); i++) {
		status = confined(forbidden[i].act, said, sizeof(said));
		EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
		       "%s: %x", forbidden[i].name, status);
		snprintf(number, sizeof(number), " call %d ",
			 forbidden[i].number);
		EXPECT(strstr(said, number), "%s: %s", forbidden[i].name, said);
	}
}

static void *nothing(void *argument)
{
	return argument;
}

/* What the daemon does. */
static int work(void)
{
	char path[] = "/tmp/kmqttd.sandbox.XXXXXX", byte = 'x';
	int fd = mkstemp(path), memory = memfd_create("x", MFD_CLOEXEC);
	pthread_t thread;

	if (fd < 0 || memory < 0)
		return 1;
	if (pwrite(fd, &byte, 1, 7) != 1 || fdatasync(fd) || unlink(path))
		return 2;
	if (pthread_create(&thread, NULL, nothing, NULL) ||
	    pthread_join(thread, NULL))
		return 3;
	if (socket(AF_UNIX, SOCK_DGRAM, 0) < 0)
		return 4;
	log_print(LOG_TYPE_NOTICE, "works");
	free(malloc(10 << 20));
	return 0;
}

static void test_allowed(void)
{
	char said[256];
	int status = confined(work, said, sizeof(said));

	EXPECT(WIFEXITED(status) && !WEXITSTATUS(status), "%x", status);
	EXPECT(strstr(said, "works"), "%s", said);
}

static void *violate(void *argument)
{
	(void)argument;
	connect_out();
	return NULL;
}

static pthread_barrier_t entered;

static void *wait_and_violate(void *argument)
{
	pthread_barrier_wait(&entered);
	return violate(argument);
}

/* Threads that ran before are in it too. */
static void test_threads(void)
{
	pthread_t thread;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(STDERR_FILENO);
		pthread_barrier_init(&entered, NULL, 2);
		pthread_create(&thread, NULL, wait_and_violate, NULL);
		if (sandbox_enter())
			_exit(1);
		pthread_barrier_wait(&entered);
		pthread_join(thread, NULL);
		_exit(2);
	}
	waitpid(pid, &status, 0);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%x", status);
}

int main(void)
{
	static const struct ktap_test tests[] = {
		{ "sandbox: what the daemon does is allowed", test_allowed },
		{ "sandbox: what it does not ends it, and is said",
		  test_forbidden },
		{ "sandbox: threads that ran before are in it", test_threads },
	};

	return ktap_run(tests, ARRAY_SIZE(tests));
}
