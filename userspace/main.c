// SPDX-License-Identifier: GPL-2.0
/*
 * kmqttd: the part of the broker that decides. The module carries messages; the
 * daemon says who may connect, and what is subscribed.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "acl.h"
#include "adopt.h"
#include "auth.h"
#include "client.h"
#include "config.h"
#include "deadline.h"
#include "directory.h"
#include "former.h"
#include "inject.h"
#include "journal.h"
#include "kmod.h"
#include "listener.h"
#include "log.h"
#include "login.h"
#include "memory.h"
#include "notify.h"
#include "reload.h"
#include "ring.h"
#include "sandbox.h"
#include "session.h"
#include "sink.h"
#include "store.h"
#include "successor.h"
#include "trunk.h"
#include "user.h"

#ifndef KMQTT_VERSION
#define KMQTT_VERSION "0.1.0"
#endif

/* Exit codes, mosquitto's. */
#define EXIT_ERROR	1
#define EXIT_CONFIG	3

/* Seconds that connections have to end in when the daemon does. */
#define FAREWELL	5
/*
 * Seconds in which what the daemon has begun must come to its end when another
 * is to take over; what clients have begun, or are slow to take, in the first.
 */
#define HANDOVER	5
#define HANDOVER_SLOW	1

struct arguments {
	const char *config_file;
	u16 port;
	bool verbose;
	bool quiet;
	bool test_config;
	bool test_start;
	char **argv;
};

/* What SIGHUP needs. */
static struct {
	const struct arguments *arguments;
	struct config *config;
} running;

static int signal_fd;
static bool stopping;
static bool hung_up;
static bool handing_over;
static bool pid_file_written;
static char program[PATH_MAX];	/* as it was started: it may be replaced */
static int failure;
static unsigned int uptime;	/* seconds */

static void print_help(void)
{
	fputs("kmqttd " KMQTT_VERSION ", an MQTT broker inside the kernel\n"
	      "\n"
	      "Usage: kmqttd [-c FILE] [-p PORT] [-v | -q] [--test-config | --test-start]\n"
	      "\n"
	      "  -c, --config-file FILE  read the configuration from FILE, in the\n"
	      "                          syntax of mosquitto.conf. Without, or with\n"
	      "                          a FILE that names no listener, only clients\n"
	      "                          on this machine can connect.\n"
	      "  -p, --port PORT         listen on PORT instead of 1883, unless the\n"
	      "                          configuration names a listener\n"
	      "  -v, --verbose           log everything, whatever the configuration\n"
	      "                          says\n"
	      "  -q, --quiet             log nothing, likewise\n"
	      "      --test-config       read the configuration, and the files that\n"
	      "                          it names, report errors, exit\n"
	      "      --test-start        the same, and whether a start would succeed: the\n"
	      "                          kernel module, the listeners' addresses, the\n"
	      "                          user, the files to be written; changes\n"
	      "                          nothing, and says nothing when all is well\n"
	      "      --version           print the version and exit\n"
	      "  -h, --help              print this and exit\n"
	      "\n"
	      "The kernel module kmqtt must be loaded, and kmqttd needs CAP_NET_ADMIN.\n"
	      "Started as root it stays root, unless the configuration says \"user NAME\":\n"
	      "then it becomes NAME once it listens, with that one capability left.\n"
	      "\n"
	      "Signals: SIGTERM and SIGINT end all connections in order, then kmqttd.\n"
	      "SIGHUP reads the configuration and the files that it names again; if one of\n"
	      "them is wrong, nothing changes. It opens a log file anew. It neither opens nor\n"
	      "closes listeners. SIGUSR1 does nothing: what is acknowledged is on disk.\n"
	      "SIGUSR2 hands all connections over to another process of the program, if\n"
	      "--test-start says that it would start.\n"
	      "\n"
	      "Exit status: 0 after a signal, or when there was only to print or to test;\n"
	      "3 if the command line or the configuration is wrong; 1 for anything else.\n",
	      stdout);
}

static bool parse_port(const char *text, u16 *port)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (end == text || *end || number < 1 || number > UINT16_MAX) {
		fprintf(stderr, "Error: Invalid port specified (%s).\n", text);
		return false;
	}
	*port = number;
	return true;
}

/* Does not return when there is nothing to run. */
static void parse_arguments(int argc, char **argv, struct arguments *arguments)
{
	static const struct option options[] = {
		{ "config-file", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "port", required_argument, NULL, 'p' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "test-config", no_argument, NULL, 't' },
		{ "test-start", no_argument, NULL, 'T' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:hp:qv", options,
				     NULL)) != -1) {
		switch (option) {
		case 'c':
			arguments->config_file = optarg;
			break;
		case 'h':
			print_help();
			exit(EXIT_SUCCESS);
		case 'p':
			if (!parse_port(optarg, &arguments->port))
				exit(EXIT_CONFIG);
			break;
		case 'q':
			arguments->quiet = true;
			break;
		case 't':
			arguments->test_config = true;
			break;
		case 'T':
			arguments->test_start = true;
			break;
		case 'v':
			arguments->verbose = true;
			break;
		case 'V':
			puts("kmqttd version " KMQTT_VERSION);
			exit(EXIT_SUCCESS);
		default:
			fputs("Try kmqttd --help.\n", stderr);
			exit(EXIT_CONFIG);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "Error: Unknown argument '%s'.\n",
			argv[optind]);
		exit(EXIT_CONFIG);
	}
}

static int load(const struct arguments *arguments, struct config *config)
{
	int err;

	err = arguments->config_file ?
	      config_load(config, arguments->config_file, arguments->port) :
	      config_read(config, NULL, NULL, arguments->port);
	if (arguments->verbose)
		config->log_types = LOG_TYPES_ALL;
	if (arguments->quiet)
		config->log_types = 0;
	return err;
}

static void log_start(const struct arguments *arguments,
		      const struct config *config)
{
	log_print(LOG_TYPE_INFORMATION,
		  "kmqttd version " KMQTT_VERSION " starting");
	if (arguments->config_file)
		log_print(LOG_TYPE_INFORMATION, "Config loaded from %s.",
			  arguments->config_file);
	else
		log_print(LOG_TYPE_INFORMATION, "Using default config.");

	if (!config->listeners[0].local_only) {
		if (arguments->port)
			log_print(LOG_TYPE_WARNING,
				  "Warning: -p is ignored, the configuration names the listeners.");
		return;
	}
	log_print(LOG_TYPE_WARNING,
		  "Starting in local only mode. Connections will only be possible from clients running on this machine.");
	log_print(LOG_TYPE_WARNING,
		  "Create a configuration file which defines a listener to allow remote access.");
}

/* Each client is a descriptor. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int write_pid_file(const char *path)
{
	FILE *file = fopen(path, "we");
	bool written;

	written = file && fprintf(file, "%d\n", getpid()) > 0;
	if (file && fclose(file))
		written = false;
	pid_file_written = written;
	if (written)
		return 0;
	log_print(LOG_TYPE_ERROR, "Error: Unable to write pid file %s: %s.",
		  path, strerror(errno));
	return -EIO;
}

static void remove_pid_file(const char *path)
{
	if (unlink(path))
		log_print(LOG_TYPE_WARNING,
			  "Warning: Unable to remove pid file %s: %s.", path,
			  strerror(errno));
}

static void handle_hangup(void)
{
	struct config fresh;
	int err;

	hung_up = false;
	if (!running.arguments->config_file) {
		log_print(LOG_TYPE_NOTICE,
			  "SIGHUP ignored: there is no configuration file.");
		return;
	}
	log_print(LOG_TYPE_INFORMATION, "Reloading config.");
	err = load(running.arguments, &fresh);
	if (err)
		config_free(&fresh);
	else
		err = reload(running.config, &fresh);
	if (err)
		log_print(LOG_TYPE_ERROR,
			  "Error: Nothing has been reloaded, all is as it was.");
	else
		log_print(LOG_TYPE_INFORMATION, "Config reloaded from %s.",
			  running.arguments->config_file);
}

static void handle_signal(u32 number)
{
	switch (number) {
	case SIGHUP:
		hung_up = true;
		break;
	case SIGUSR1:
		/* mosquitto writes its database then. */
		log_print(LOG_TYPE_NOTICE,
			  "SIGUSR1 ignored: what kmqttd has acknowledged is on disk already.");
		break;
	case SIGUSR2:
		handing_over = true;
		break;
	default:
		stopping = true;
	}
}

static void signal_done(struct ring_op *op, const struct ring_result *result)
{
	struct signalfd_siginfo info;

	(void)result;
	while (read(signal_fd, &info, sizeof(info)) == sizeof(info))
		handle_signal(info.ssi_signo);
	ring_poll_in(op, signal_fd);
}

static int open_signals(void)
{
	static struct ring_op op = { .done = signal_done };
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);	/* of a log that nobody reads */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0) {
		log_print(LOG_TYPE_ERROR, "Error: signalfd: %s.",
			  strerror(errno));
		return -errno;
	}
	ring_poll_in(&op, signal_fd);
	return 0;
}

static void tick_done(struct ring_op *op, const struct ring_result *result)
{
	(void)result;
	uptime++;
	failure = kmod_poll();
	login_tick();
	client_tick();
	deadline_tick(message_now());
	sink_tick();
	listener_tick();
	memory_tick();
	if (!(uptime % 60))
		session_expire();
	ring_tick(op);
}

/*
 * What is ready to be sent leaves; before that, the journal has it, and the module
 * what it was asked before: mostly a message above QoS 0 gets to those granted 0
 * before its publisher hears that it was taken, and sends one of QoS 0. Nobody
 * promises that order (section 4.6); of several in a turn, the module has the first.
 */
static void leave(void)
{
	client_flush();
	journal_commit();
	ring_submit();
	trunk_flush();
}

/*
 * What a turn made ready to be sent or stored leaves before the next one. So does
 * what follows upon that; what follows upon that in turn lets others have their
 * turn first.
 */
static int turn(void)
{
	listener_accept();
	client_sink_read();
	trunk_settle();
	trunk_read();
	leave();
	if (trunk_settle())
		leave();
	store_flush();
	return ring_turn(trunk_is_idle());
}

static int load_journal(const struct journal_record *record)
{
	switch (record->type) {
	case JOURNAL_CONN:
	case JOURNAL_CONN_SENT:
	case JOURNAL_CONN_DISCONNECTED:
	case JOURNAL_CONN_REST:
	case JOURNAL_CONN_HEAD:
	case JOURNAL_CONN_DEL:
		return former_journaled(record);
	case JOURNAL_SINK:
		sink_journaled(record);
		return 0;
	default:
		return session_journaled(record);
	}
}

static void rewrite_journal(void)
{
	session_rewrite();
	client_rewrite();
	former_rewrite();
	sink_rewrite();
	inject_rewrite();
}

/*
 * Takes over what the daemon before has left: first what it knew, then the
 * connections, and last the wills of those that are gone.
 */
static int adopt_all(void)
{
	int err = journal_load(load_journal, rewrite_journal);

	session_loaded();
	sink_rewrite();
	if (err || !journal_enabled()) {
		sink_drain();
		return kmod_flush();
	}
	client_adopting(true);
	err = kmod_dump();
	while (!err && (kmod_dumping() || adopt_under_way()))
		err = turn();
	if (!err)
		former_end_all();
	client_adopting(false);
	if (err)
		return err;
	if (adopt_count())
		log_print(LOG_TYPE_NOTICE,
			  "Adopted connections that an earlier kmqttd left.");
	return 0;
}

static int start(const struct config *config, struct acl *acl)
{
	static struct ring_op tick = { .done = tick_done };
	int err;

	raise_descriptor_limit();
	notify_open();
	err = ring_open();
	if (!err)
		err = open_signals();
	if (!err)
		err = kmod_open(client_record);
	if (!err)
		err = listener_open_all(config);
	/* As the user who starts it: the directory is often root's. */
	if (!err && config->pid_file)
		err = write_pid_file(config->pid_file);
	if (!err)
		journal_open(config->runtime_directory);
	if (!err)
		err = successor_open(program, running.arguments->argv);
	if (!err && config->user && !geteuid())
		err = user_become(config->user);
	/* Not before: who fails until here may be the second kmqttd. */
	if (!err)
		err = sink_open();
	if (!err)
		err = trunk_open();
	if (!err)
		err = acl_start(acl);
	if (!err)
		err = session_open(config, commit_done);
	/* Only now: the database, and its directory, may be another user's. */
	if (!err)
		err = user_restrict();
	if (!err)
		err = login_open(connect_authenticated);
	if (!err)
		err = auth_open();
	if (!err)
		err = adopt_all();
	if (!err)
		err = sandbox_enter();
	if (!err) {
		reload_check(config);
		sink_start();
		trunk_start();
		session_watch_all();
		session_expire();
		memory_open(config);
	}
	if (!err)
		ring_tick(&tick);
	return err;
}

/* Waits until all clients can be handed over; false if that takes too long. */
static bool quiesce(int *err)
{
	unsigned int begin = uptime;

	listener_pause(true);
	client_quiesce(true);
	while (!*err && !client_quiet() &&
	       !(uptime > begin + HANDOVER_SLOW &&
		 client_can_bequeath(false)) &&
	       uptime <= begin + HANDOVER)
		*err = turn();
	return !*err && client_can_bequeath(true);
}

/* Whether another daemon will know all of them. */
static bool bequeath(void)
{
	client_bequeath();
	journal_commit();
	return journal_enabled();
}

static void go_on(void)
{
	client_quiesce(false);
	listener_pause(false);
	notify("READY=1");
}

static void not_handed_over(const char *why)
{
	log_print(LOG_TYPE_ERROR, "Error: Not handed over: %s.", why);
}

/* True: another daemon comes. No connection ends for it. */
static bool hand_over(int *err)
{
	static const char no_journal[] =
		"without a journal all clients would be disconnected";

	handing_over = false;
	if (!journal_enabled()) {
		not_handed_over(no_journal);
		return false;
	}
	if (!successor_able()) {
		log_print(LOG_TYPE_ERROR,
			  "Error: Not handed over: %s would not start, as it says on standard error.",
			  program);
		return false;
	}
	notify("RELOADING=1");
	log_print(LOG_TYPE_NOTICE, "Handing over to %s.", program);
	if (!quiesce(err)) {
		not_handed_over("the kernel module does not answer");
		go_on();
		return false;
	}
	if (!bequeath()) {
		not_handed_over(no_journal);
		go_on();
		return false;
	}
	successor_start();
	handing_over = true;
	return true;
}

static int serve(void)
{
	unsigned int until;
	int err = 0;

	notify("READY=1");
	log_print(LOG_TYPE_INFORMATION,
		  "kmqttd version " KMQTT_VERSION " running");
	listener_poll_all();
	while (!err && !stopping) {
		/* Not before: who is being adopted cannot be judged anew yet. */
		if (hung_up)
			handle_hangup();
		err = turn();
		if (!err)
			err = failure;
		if (!err && handing_over && hand_over(&err))
			return 0;
	}
	if (err)
		return err;
	handing_over = false;

	notify("STOPPING=1");
	listener_close_all();
	client_fail_all(REASON_SHUTTING_DOWN);
	until = uptime + FAREWELL;
	while (!err && (client_count() || !sink_settled()) && uptime < until)
		err = turn();
	return err;
}

static void make_directories(const struct config *config)
{
	const char *user = geteuid() ? NULL : config->user;

	if (config->log_dests & LOG_DEST_FILE)
		directory_make_for(config->log_path, user);
	if (config->pid_file)
		directory_make_for(config->pid_file, user);
	if (config->persistence)
		directory_make(config->persistence_location, user);
	directory_make(config->runtime_directory, user);
}

static int run(const struct arguments *arguments, struct config *config,
	       struct acl *acl)
{
	int err;

	running.arguments = arguments;
	running.config = config;
	make_directories(config);
	err = log_open(config);
	if (err)
		return err;
	log_start(arguments, config);
	client_configure(config);

	err = start(config, acl);
	if (!err)
		err = serve();
	if (store_enabled() && store_close() && !err)
		err = -EIO;
	if (handing_over && !err)
		return 0;
	if (!err)
		journal_forget();
	log_print(LOG_TYPE_INFORMATION,
		  "kmqttd version " KMQTT_VERSION " terminating");
	if (pid_file_written)
		remove_pid_file(config->pid_file);
	return err;
}

static int try_file(const char *what, const char *path)
{
	int err = directory_try_for(path);

	if (err)
		log_print(LOG_TYPE_ERROR, "Error: Unable to write %s %s: %s.",
			  what, path, strerror(-err));
	return err;
}

static int try_location(const struct config *config)
{
	int err = directory_try(config->persistence_location);

	if (err)
		log_print(LOG_TYPE_ERROR,
			  "Error: Unable to write a database in %s: %s.",
			  config->persistence_location, strerror(-err));
	return err;
}

/* Its directory, too: it is more than one file. */
static int try_database(const struct config *config)
{
	int err = try_location(config);
	char *path;

	if (err)
		return err;
	if (asprintf(&path, "%s/%s", config->persistence_location,
		     config->persistence_file) < 0)
		return -ENOMEM;
	err = try_file("database", path);
	free(path);
	return err;
}

/*
 * What can be asked while another daemon serves. What is there, is asked for as
 * the user who is to open it; what is missing, as who is to make it.
 */
static int test_start(const struct config *config)
{
	bool there = !access(config->persistence_location, F_OK);
	int err = 0;

	if (config->log_dests & LOG_DEST_FILE)
		err = try_file("log file", config->log_path);
	if (!err)
		err = ring_open();
	if (!err)
		err = kmod_open(client_record);
	if (!err)
		err = listener_try_all(config);
	if (!err && config->pid_file)
		err = try_file("pid file", config->pid_file);
	if (!err && config->persistence && !there)
		err = try_location(config);
	if (!err && config->user && !geteuid())
		err = user_become(config->user);
	if (!err && config->persistence && there)
		err = try_database(config);
	return err;
}

int main(int argc, char **argv)
{
	struct arguments arguments = { 0 };
	struct acl *acl = NULL;
	struct config config;
	int err;

	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		strncpy(program, argv[0], sizeof(program) - 1);

	arguments.argv = argv;
	parse_arguments(argc, argv, &arguments);
	err = load(&arguments, &config);
	if (!err)
		err = acl_load(&config, &config, &acl);
	if (err) {
		config_free(&config);
		return EXIT_CONFIG;
	}
	if (arguments.test_start)
		err = test_start(&config);
	if (arguments.test_config || arguments.test_start) {
		if (!err && !arguments.test_start)
			puts("Configuration is OK.");
		acl_discard(acl);
	} else {
		err = run(&arguments, &config, acl);
	}
	config_free(&config);
	return err ? EXIT_ERROR : EXIT_SUCCESS;
}
