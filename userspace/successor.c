// SPDX-License-Identifier: GPL-2.0
#include "successor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "listener.h"
#include "log.h"
#include "notify.h"

static pid_t pid;
static int to_it;

/* True: it is told to start. Either way, the other process has ended. */
static bool wait_for_the_word(int from)
{
	bool told = false;
	char word;
	ssize_t n;

	while ((n = read(from, &word, 1)) > 0 || (n < 0 && errno == EINTR))
		told |= n > 0;
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
	if (!wait_for_the_word(close_rest(from)))
		_exit(0);
	execv(program, argv);
	fprintf(stderr, "Error: Unable to execute %s: %s.\n", program,
		strerror(errno));
	_exit(1);
}

int successor_open(const char *program, char **argv)
{
	int ends[2];

	if (!pipe2(ends, O_CLOEXEC)) {
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

void successor_start(void)
{
	char state[32];

	snprintf(state, sizeof(state), "MAINPID=%d", pid);
	notify(state);
	if (write(to_it, "", 1) != 1)
		log_print(LOG_TYPE_ERROR,
			  "Error: Nobody is there to hand over to: %s.",
			  strerror(errno));
}
