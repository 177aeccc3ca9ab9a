// SPDX-License-Identifier: GPL-2.0
/*
 * kmqttctl: looks at the MQTT broker in the kernel, and steers it. This file:
 * the command line.
 */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "genl.h"

static const struct option long_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const struct command {
	const char *name;
	bool takes_id;
	int (*run)(const struct options *options);
} commands[] = {
	{ "status", false, status_command },
	{ "conns", true, conns_command },
	{ "subs", true, subs_command },
	{ "stats", false, stats_command },
	{ "flush", false, flush_command },
	{ "handover", false, handover_command },
};

static const char help_usage[] =
"Usage: kmqttctl [-j] COMMAND\n"
"\n"
"Looks at the MQTT broker in the kernel, and steers it.\n"
"\n"
"Commands:\n"
"  status          whether the module is loaded, and how it is doing\n"
"  conns [ID]      connections, or one of them\n"
"  subs [CONN-ID]  subscriptions of all connections, or of one\n"
"  stats           all counters, in total and for each worker, and why\n"
"                  connections ended\n"
"  flush           abort (RST) and forget all connections\n"
"  handover        have the daemon execute its program anew; clients stay\n"
"  help            this text\n"
"\n"
"Options:\n"
"  -j, --json      print JSON, with everything there is to know\n"
"  -h, --help      this text\n"
"\n";

static const char help_notes[] =
"All but help, and whether the module is loaded, needs CAP_NET_ADMIN, and\n"
"is about the network namespace that kmqttctl is called in.\n"
"\n"
"In conns, RECEIVED counts the packets that came, SENT those that the kernel\n"
"sent, WAITING the messages that the client has not taken yet; ENDED is why\n"
"the connection did. In stats, conns of a worker are of all namespaces.\n"
"\n"
"In tables, what a client chose is in double quotes. A quote or a backslash\n"
"in it has a backslash before it; \\xNN is a byte of what is not printable\n"
"UTF-8. In JSON, control and formatting characters are \\uNNNN, a byte that\n"
"is not UTF-8 is U+FFFD, and a cookie is a string.\n"
"\n"
"Exit status: 0 all is well; 1 something failed, or the module is not\n"
"loaded; 2 the command line is wrong.\n";

void complain(const char *format, ...)
{
	va_list args;

	/* In order with what has been printed, where both go to one place. */
	fflush(stdout);
	va_start(args, format);
	fputs("kmqttctl: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

void die_nomem(void)
{
	complain("out of memory");
	exit(CTL_FAILED);
}

static int usage_error(void)
{
	fputs("Try 'kmqttctl --help'.\n", stderr);
	return CTL_USAGE;
}

static int help(void)
{
	fputs(help_usage, stdout);
	fputs(help_notes, stdout);
	return CTL_OK;
}

/* Returns 0 for what is not the id of any connection. */
static uint32_t parse_id(const char *text)
{
	unsigned long id;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	id = strtoul(text, &end, 10);
	return errno || *end || id > UINT32_MAX ? 0 : (uint32_t)id;
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int run(char **args, struct options *options)
{
	const struct command *command = find_command(args[0]);

	if (!command) {
		complain("there is no command '%s'", args[0]);
		return usage_error();
	}
	if (args[1] && command->takes_id) {
		options->id = parse_id(args[1]);
		if (!options->id) {
			complain("'%s' is not the id of a connection", args[1]);
			return usage_error();
		}
		args++;
	}
	if (args[1]) {
		complain("'%s' is too much for %s", args[1], command->name);
		return usage_error();
	}
	return command->run(options);
}

/* What was printed has not arrived before it is flushed. */
static int finish(int code)
{
	if (fflush(stdout) || ferror(stdout)) {
		complain("cannot write: %s", strerror(errno));
		code = CTL_FAILED;
	}
	genl_close();
	return code;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	int option;

	/* For wcwidth(): what is printed is UTF-8, whatever the locale. */
	setlocale(LC_CTYPE, "C.UTF-8");

	while ((option = getopt_long(argc, argv, "jh", long_options, NULL)) !=
	       -1) {
		if (option == 'h')
			return finish(help());
		if (option != 'j')
			return usage_error();
		options.json = true;
	}
	if (optind == argc) {
		complain("a command is missing");
		return usage_error();
	}
	if (!strcmp(argv[optind], "help"))
		return finish(help());
	return finish(run(argv + optind, &options));
}
