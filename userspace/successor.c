// SPDX-License-Identifier: GPL-2.0
#include "successor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "listener.h"
#include "log.h"
#include "notify.h"

/* The words between the two processes, and the answers to the first. */
#define TEST	't'
#define START	's'
#define ABLE	'y'
#define UNABLE	'n'

/* Milliseconds that the test may take. */
#define TEST_TIME	10000

static pid_t pid;
static int to_it;

/* The arguments, and one more. */
static void execute_test(const char *program, char **argv)
{
	char option[] = "--test-start";
	size_t count = 0;
	char **longer;

	while (argv[count])
		count++;
	longer = calloc(count + 2, sizeof(*longer));
	if (longer) {
		memcpy(longer, argv, count * sizeof(*argv));
		longer[count] = option;
		listener_hand_on();
		execv(program, longer);
	}
	fprintf(stderr, "Error: Unable to execute %s: %s.\n", program,
		strerror(errno));
	_exit(1);
}

/* Whether the program, as it is now, would start. */
static char test(const char *program, char **argv)
{
	pid_t child = fork();
	int status = -1;

	if (!child)
		execute_test(program, argv);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status ? UNABLE : ABLE;
}

/* True: it is told to start. Either way, the other process has ended. */
static bool wait_for_the_word(int from, const char *program, char **argv)
{
	bool told = false;
	char word;
	ssize_t n;

	while ((n = read(from, &word, 1)) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0 && word == TEST) {
			word = test(program, argv);
			send(from, &word, 1, MSG_NOSIGNAL);
		} else if (n > 0) {
			told = true;
		}
	}
	return told;
}

/*
 * Keeps the standard descriptors, those of the listen sockets, and @from, which
 * has another number then.
 */
static int close_rest(int from)
{
	int end;

	from = fcntl(from, F_DUPFD_CLOEXEC,
		     STDERR_FILENO + 1 + listener_sockets());
	end = listener_bequeath();
	if (from > end)
		close_range(end, from - 1, 0);
	close_range(from + 1, ~0U, 0);
	return from;
}

static void be_it(int from, const char *program, char **argv)
{
	sigset_t all;

	prctl(PR_SET_NAME, "kmqttd-next");
	sigfillset(&all);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	if (!wait_for_the_word(close_rest(from), program, argv))
		_exit(0);
	execv(program, argv);
	fprintf(stderr, "Error: Unable to execute %s: %s.\n", program,
		strerror(errno));
	_exit(1);
}

int successor_open(const char *program, char **argv)
{
	int ends[2];

	if (!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		to_it = ends[1];
		pid = fork();
		if (!pid) {
			close(to_it);
			be_it(ends[0], program, argv);
		}
		close(ends[0]);
		if (pid > 0)
			return 0;
	}
	log_print(LOG_TYPE_ERROR, "Error: Unable to prepare a handover: %s.",
		  strerror(errno));
	return -errno;
}

bool successor_able(void)
{
	struct pollfd answer = { .fd = to_it, .events = POLLIN };
	char word;

	/* What was too late the last time. */
	while (recv(to_it, &word, 1, MSG_DONTWAIT) > 0)
		;
	word = TEST;
	return send(to_it, &word, 1, MSG_NOSIGNAL) == 1 &&
	       poll(&answer, 1, TEST_TIME) == 1 &&
	       recv(to_it, &word, 1, MSG_DONTWAIT) == 1 && word == ABLE;
}

void successor_start(void)
{
	const char word = START;
	char state[32];

	snprintf(state, sizeof(state), "MAINPID=%d", pid);
	notify(state);
	if (send(to_it, &word, 1, MSG_NOSIGNAL) != 1)
		log_print(LOG_TYPE_ERROR,
			  "Error: Nobody is there to hand over to: %s.",
			  strerror(errno));
}
