// SPDX-License-Identifier: GPL-2.0
/*
 * kmqtt-bench: loads any MQTT broker, verifies every delivery and says
 * what it cost. This file: the command line.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "fault.h"
#include "match.h"
#include "memory.h"
#include "mqtt.h"
#include "shape.h"

#define CLIENTS_MAX	100000u
#define WINDOW_MAX	65536u
#define PAYLOAD_MAX	(1u << 20)
#define DELIVERIES_MAX	1000000000000ull
/* Publishers times subscribers, where each sees each: memory. */
#define STREAMS_MAX	100000000ull

enum {
	OPT_HELP = 256,
	OPT_WARMUP,
	OPT_NODELAY,
	OPT_NO_NODELAY,
	OPT_TIMEOUT,
	OPT_JSON,
	OPT_QUIET,
	OPT_PROGRESS,
	OPT_DURATION,
	OPT_UNIT,
	OPT_FAULT,
	OPT_SCHED,
	OPT_REST,
	OPT_SUBSCRIPTIONS,
	OPT_STALLED,
	OPT_FILTERS,
	OPT_PID,
	OPT_DURABLE,
	OPT_IDENTIFIERS,
	OPT_PROPERTIES,
};

static const struct option long_options[] = {
	{ "host", required_argument, NULL, 'h' },
	{ "port", required_argument, NULL, 'p' },
	{ "publishers", required_argument, NULL, 'P' },
	{ "subscribers", required_argument, NULL, 'S' },
	{ "window", required_argument, NULL, 'w' },
	{ "deliveries", required_argument, NULL, 'n' },
	{ "payload", required_argument, NULL, 's' },
	{ "qos", required_argument, NULL, 'q' },
	{ "mqtt", required_argument, NULL, 'V' },
	{ "identifiers", no_argument, NULL, OPT_IDENTIFIERS },
	{ "user-properties", required_argument, NULL, OPT_PROPERTIES },
	{ "topic-prefix", required_argument, NULL, 't' },
	{ "warmup", required_argument, NULL, OPT_WARMUP },
	{ "nodelay", no_argument, NULL, OPT_NODELAY },
	{ "no-nodelay", no_argument, NULL, OPT_NO_NODELAY },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "progress", no_argument, NULL, OPT_PROGRESS },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "unit", required_argument, NULL, OPT_UNIT },
	{ "fault", required_argument, NULL, OPT_FAULT },
	{ "sched", required_argument, NULL, OPT_SCHED },
	{ "rest", required_argument, NULL, OPT_REST },
	{ "subscriptions", required_argument, NULL, OPT_SUBSCRIPTIONS },
	{ "stalled", required_argument, NULL, OPT_STALLED },
	{ "filters", required_argument, NULL, OPT_FILTERS },
	{ "pid", required_argument, NULL, OPT_PID },
	{ "durable", no_argument, NULL, OPT_DURABLE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static const char help_usage[] =
"Usage: kmqtt-bench SCENARIO [options]\n"
"       kmqtt-bench floor SCENARIO [options]\n"
"\n"
"Loads an MQTT broker at QoS 0 or 1, verifies every delivery, and reports\n"
"rate, latency and, for a broker on this machine, what a delivery costs.\n"
"\n"
"  fanout  every subscriber gets every message of the publishers (one topic)\n"
"  fanin   the same with many publishers and one subscriber\n"
"  p2p     publisher i sends to subscriber i, each pair on its own topic\n"
"\n"
"Others ask for something and wait for the answer, a window of requests at a\n"
"time, and report the cost of one, also by tenths: is the last as cheap as\n"
"the first?\n"
"\n"
"  ping       connected clients send PINGREQ in turn\n"
"  connect    clients connect one after the other, then leave (DISCONNECT, and\n"
"             wait until the broker has closed)\n"
"  subscribe  connected clients subscribe to one topic, then unsubscribe\n"
"  match      clients hold many subscriptions (half exact, a quarter with +, a\n"
"             quarter with #); a message reaches one of each kind, however many\n"
"             there are: topics that change (spread), one topic (same), and\n"
"             topics that no message had before, which only wildcards match\n"
"             (fresh)\n"
"  memory     what a connected client and, with --filters, a subscription takes\n"
"             of the kernel and of the broker's process, in bytes\n"
"\n"
"  floor   the same load on a built-in broker that only forwards, with one\n"
"          send() a subscriber, what one read() of a publisher returned, and\n"
"          matches nothing: the lower limit for a broker in user space. With\n"
"          ping, connect and subscribe it answers and does nothing else; with\n"
"          memory it holds sockets only\n"
"\n";

static const char help_options[] =
"Options:\n"
"  -h, --host HOST          IPv4 or IPv6 address, or name (127.0.0.1)\n"
"  -p, --port PORT          1 to 65535 (1883)\n"
"  -P, --publishers N       1 to 100000 (fanout 1, fanin 200, p2p 100)\n"
"  -S, --subscribers N      1 to 100000 (fanout 200, fanin 1, p2p as many as\n"
"                           publishers, which it must be). Of the others, the\n"
"                           clients (ping 200, connect and subscribe 1000,\n"
"                           match 100, memory 10000)\n"
"  -w, --window N           messages in flight, 1 to 65536 (fanout 16, fanin and\n"
"                           p2p as many as publishers); a message that reached\n"
"                           all its subscribers makes room for the next. Of the\n"
"                           others, requests not yet answered (1); of ping, at\n"
"                           most as many as clients\n"
"  -n, --deliveries N       deliveries to measure, 1 to 10^12 (40000), rounded\n"
"                           up to whole messages; 20 windows or more make a\n"
"                           steady figure. Of ping, the pings (20000), and of\n"
"                           match, the messages of each kind (20000)\n"
"      --stalled N          fanout: so many of the subscribers stop reading\n"
"                           before anything is measured, once what is on the\n"
"                           way to them is full. They are not counted; compare\n"
"                           with a run with as many less\n"
"      --subscriptions N    match: of all clients, rounded up to a multiple of\n"
"                           4, 1 to 4000000 (1000)\n"
"      --filters N          memory: each client subscribes to so many, 1 to 200,\n"
"                           each shared by 10 clients\n"
"      --pid PID            memory: the broker's process\n"
"      --duration SECONDS   measure so long instead, 0.1 to 86400\n"
"      --warmup N           messages before that, not counted, 0 to 10^9\n"
"                           (twice the window)\n"
"  -s, --payload BYTES      0 to 1048576 (64); of match, 16 to 128. 16 of them\n"
"                           say who sent it, which one it is and when. With\n"
"                           less, order and duplicates cannot be checked, only\n"
"                           number, topic, length and content, and latency\n"
"                           takes the n-th delivery for the n-th message\n"
"  -q, --qos 0|1            quality of service, of publishing and subscribing\n"
"                           (0). At 1, subscribers answer all that one read\n"
"                           brought in one write, publishers wait at the end\n"
"                           until everything is acknowledged, and what comes\n"
"                           with DUP is corrupted. fanout, fanin and p2p only\n"
"      --durable            at QoS 1: the subscribers' sessions outlive their\n"
"                           connections (clean session 0). At the end they are\n"
"                           removed, but not by a run that fails\n"
"  -V, --mqtt V[,V]         version of the protocol, 4 (3.1.1) or 5, of publishers\n"
"                           and, behind a comma, of subscribers, if that is\n"
"                           another (4). Not with floor, match and --stalled\n"
"      --identifiers        each subscriber subscribes with an identifier of its\n"
"                           own, of three bytes, which is expected in front of\n"
"                           the other properties. Wants subscribers of version\n"
"                           5; fanout, fanin and p2p only\n"
"      --user-properties N  user properties of each message, 0 to 200 (0), 16\n"
"                           bytes each, which must come back in order. Wants\n"
"                           publishers of version 5; fanout, fanin and p2p only\n"
"  -t, --topic-prefix TEXT  1 to 200 bytes (bench/fan/topic/); a number\n"
"                           follows. Two runs on one broker need two prefixes.\n"
"                           match has topics of its own\n"
"      --nodelay            TCP_NODELAY on the load generator's sockets (yes)\n"
"      --no-nodelay         leave Nagle's algorithm on\n"
"      --rest MS            wait so long between connecting and loading, 0 to\n"
"                           60000 (0). From 250 on, all subscribers send an ACK\n"
"                           for each read; before, they still delay some, as\n"
"                           after an exchange\n"
"      --sched batch|other  scheduling policy of the load generator (batch, so\n"
"                           that it does not interrupt a broker that shares a\n"
"                           processor with it at each delivery)\n"
"      --timeout SECONDS    give up after so long without progress, 1 to 3600\n"
"                           (30)\n"
"      --unit ns|instructions  what a nanosecond of this machine's clock is\n"
"                           (ns; instructions if KMQTT_COUNT=1 is set in the\n"
"                           environment, for guests whose clock counts them)\n"
"      --json               print one JSON object on standard output\n"
"      --quiet              print errors only, and what --json asks for\n"
"      --progress           show progress from the start, even if --quiet;\n"
"                           otherwise it is shown after 2 s\n"
"      --fault KIND[:N]     floor only: make the built-in broker do wrong at\n"
"                           every N-th delivery (1000), to see it noticed:\n"
"                           loss, duplicate, reorder (wants a window of two\n"
"                           messages a publisher), corrupt, topic, short, close\n"
"      --help               this text\n"
"\n";

static const char help_notes[] =
"Faults are told apart by publisher: a message skipped is lost, unless it\n"
"comes later: then it is reordered. What comes twice is duplicated. Wrong\n"
"bytes are corrupted; if they are in the length or in what says which message\n"
"it was, it is lost besides.\n"
"\n"
"Cost: whole machine is the time that all processors ran tasks, in ns\n"
"(/proc/schedstat; /proc/stat, in ticks of mostly 10 ms, where that is\n"
"missing); load generator is this process, its system calls included; broker\n"
"side is the rest, so keep the machine otherwise idle. Interrupts count when\n"
"they hit a running task, not when they hit an idle processor. On loopback who\n"
"sends pays for receiving too, up to the receiver's socket: the broker for the\n"
"subscribers' half, the load generator for the broker's.\n"
"\n"
"Memory: the growth, divided by the number of clients or subscriptions: take\n"
"enough of them, thousands, for slabs in part empty to vanish. 'kernel' is all\n"
"memory that is not free, no process's own and no file's content; it is what to\n"
"compare. 'slab' and so on are parts of it: they miss pages that the kernel\n"
"takes for itself directly. A client's kernel memory includes this program's\n"
"half of the connection: what the broker takes beyond sockets is the difference\n"
"to 'kmqtt-bench floor memory', which holds nothing else. 'tcp' is what sockets\n"
"have queued, by their own account. 'process' is anonymous memory of --pid.\n"
"Lines below name the slab caches that grew. Of root, for that and --pid.\n"
"\n"
"Latency runs from the publisher's write, or from when it would have been\n"
"written if the socket was full, to the subscriber's read.\n"
"\n"
"Exit codes: 0 every delivery arrived and was verified; 1 loss, duplicates,\n"
"reordering, corruption, time-out, refusal or interruption; 2 wrong usage.\n";

static void usage_error(const char *fmt, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

static void usage_error(const char *fmt, ...)
{
	va_list args;

	fputs("kmqtt-bench: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs(" (see kmqtt-bench --help)\n", stderr);
	exit(BENCH_USAGE);
}

static void help(void)
{
	fputs(help_usage, stdout);
	fputs(help_options, stdout);
	fputs(help_notes, stdout);
	exit(fflush(stdout) ? BENCH_FAILED : BENCH_OK);
}

static uint64_t number(const char *name, const char *arg, uint64_t min,
		       uint64_t max)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(arg, &end, 10);
	/* strtoull() takes signs and spaces too. */
	if (arg[0] < '0' || arg[0] > '9' || *end || errno || v < min || v > max)
		usage_error("%s wants a number from %llu to %llu, not '%s'",
			    name, (unsigned long long)min,
			    (unsigned long long)max, arg);
	return v;
}

static uint64_t duration(const char *arg)
{
	double v;
	char *end;

	v = strtod(arg, &end);
	if (arg[0] < '0' || arg[0] > '9' || *end || !(v >= 0.1 && v <= 86400))
		usage_error("--duration wants seconds from 0.1 to 86400, not "
			    "'%s'", arg);
	return (uint64_t)(v * 1e9);
}

static const char *prefix(const char *arg)
{
	size_t len = strlen(arg);

	if (!len || len > PREFIX_MAX)
		usage_error("--topic-prefix wants 1 to %d bytes, not %zu",
			    PREFIX_MAX, len);
	if (strpbrk(arg, "+#"))
		usage_error("--topic-prefix cannot have wildcards: '%s'", arg);
	return arg;
}

static unsigned int version(const char *arg, char end)
{
	if ((arg[0] != '4' && arg[0] != '5') || (arg[1] && arg[1] != end))
		usage_error("--mqtt wants 4 or 5, or two of them with a comma, "
			    "not '%s'", arg);
	return (unsigned int)(arg[0] - '0');
}

static void versions(struct options *opt, const char *arg)
{
	opt->publisher_version = version(arg, ',');
	opt->subscriber_version = arg[1] ? version(arg + 2, '\0') :
				  opt->publisher_version;
}

static bool unit(const char *arg)
{
	if (strcmp(arg, "ns") && strcmp(arg, "instructions"))
		usage_error("--unit wants ns or instructions, not '%s'", arg);
	return arg[0] == 'i';
}

static bool sched(const char *arg)
{
	if (strcmp(arg, "batch") && strcmp(arg, "other"))
		usage_error("--sched wants batch or other, not '%s'", arg);
	return arg[0] == 'b';
}

static void fault(struct options *opt, const char *arg)
{
	size_t len = strcspn(arg, ":");

	opt->fault = fault_kind_of(arg, len);
	if (opt->fault == FAULT_NONE)
		usage_error("--fault does not know '%s'", arg);
	opt->fault_every = 1000;
	if (arg[len])
		opt->fault_every = number("--fault", arg + len + 1, 1,
					  DELIVERIES_MAX);
}

static void option(struct options *opt, int key, const char *arg)
{
	switch (key) {
	case 'h':
		opt->host = arg;
		break;
	case 'p':
		opt->port = (unsigned int)number("--port", arg, 1, 65535);
		break;
	case 'P':
		opt->publishers = (unsigned int)
			number("--publishers", arg, 1, CLIENTS_MAX);
		break;
	case 'S':
		opt->subscribers = (unsigned int)
			number("--subscribers", arg, 1, CLIENTS_MAX);
		break;
	case 'w':
		opt->window = (unsigned int)
			number("--window", arg, 1, WINDOW_MAX);
		break;
	case 'n':
		opt->deliveries = number("--deliveries", arg, 1,
					 DELIVERIES_MAX);
		break;
	case 's':
		opt->payload = (unsigned int)
			number("--payload", arg, 0, PAYLOAD_MAX);
		break;
	case 'q':
		opt->qos = (unsigned int)number("--qos", arg, 0, 1);
		break;
	case 'V':
		versions(opt, arg);
		break;
	case OPT_IDENTIFIERS:
		opt->identifiers = true;
		break;
	case OPT_PROPERTIES:
		opt->properties = (unsigned int)
			number("--user-properties", arg, 0, PROPERTIES_MAX);
		break;
	case 't':
		opt->prefix = prefix(arg);
		break;
	case OPT_WARMUP:
		opt->warmup = number("--warmup", arg, 0, 1000000000);
		break;
	case OPT_SUBSCRIPTIONS:
		opt->subscriptions = (unsigned int)
			number("--subscriptions", arg, 1, MATCH_FILTERS_MAX);
		break;
	case OPT_STALLED:
		opt->stalled = (unsigned int)
			number("--stalled", arg, 1, CLIENTS_MAX);
		break;
	case OPT_FILTERS:
		opt->filters = (unsigned int)
			number("--filters", arg, 1, MEMORY_FILTERS_MAX);
		break;
	case OPT_PID:
		opt->pid = (pid_t)number("--pid", arg, 1, INT32_MAX);
		break;
	case OPT_TIMEOUT:
		opt->timeout_s = (unsigned int)
			number("--timeout", arg, 1, 3600);
		break;
	case OPT_DURATION:
		opt->duration_ns = duration(arg);
		break;
	case OPT_UNIT:
		opt->instructions = unit(arg);
		break;
	case OPT_REST:
		opt->rest = (unsigned int)number("--rest", arg, 0, 60000);
		break;
	case OPT_SCHED:
		opt->batch = sched(arg);
		break;
	case OPT_FAULT:
		fault(opt, arg);
		break;
	case OPT_DURABLE:
		opt->durable = true;
		break;
	case OPT_NODELAY:
	case OPT_NO_NODELAY:
		opt->nodelay = key == OPT_NODELAY;
		break;
	case OPT_JSON:
		opt->json = true;
		break;
	case OPT_QUIET:
		opt->quiet = true;
		break;
	case OPT_PROGRESS:
		opt->progress = true;
		break;
	case OPT_HELP:
		help();
		break;
	default:
		/* getopt_long() has named the option. */
		fputs("kmqtt-bench: see kmqtt-bench --help\n", stderr);
		exit(BENCH_USAGE);
	}
}

static enum scenario scenario(const char *name)
{
	int i;

	if (!name)
		usage_error("which scenario? fanout, for example");
	for (i = 0; i < SCENARIOS; i++)
		if (!strcmp(name, scenario_names[i]))
			return (enum scenario)i;
	usage_error("no such scenario: '%s'", name);
}

static void arguments(struct options *opt, char **args)
{
	if (args[0] && !strcmp(args[0], "floor")) {
		opt->floor = true;
		args++;
	}
	opt->scenario = scenario(args[0]);
	if (args[1])
		usage_error("unexpected argument '%s'", args[1]);
}

static void default_clients(struct options *opt)
{
	static const unsigned int publishers[] = {
		[SCENARIO_FANOUT] = 1,
		[SCENARIO_FANIN] = 200,
		[SCENARIO_P2P] = 100,
		[SCENARIO_MATCH] = 1,
		[SCENARIO_MEMORY] = 0,
	};
	static const unsigned int subscribers[] = {
		[SCENARIO_FANOUT] = 200,
		[SCENARIO_FANIN] = 1,
		[SCENARIO_P2P] = 100,
		[SCENARIO_PING] = 200,
		[SCENARIO_CONNECT] = 1000,
		[SCENARIO_SUBSCRIBE] = 1000,
		[SCENARIO_MATCH] = 100,
		[SCENARIO_MEMORY] = 10000,
	};
	bool pairs = options_pairs(opt);

	/* Either number of a p2p run stands for both. */
	if (!opt->publishers && pairs && opt->subscribers)
		opt->publishers = opt->subscribers;
	if (!opt->publishers)
		opt->publishers = publishers[opt->scenario];
	if (!opt->subscribers)
		opt->subscribers = pairs ? opt->publishers :
				   subscribers[opt->scenario];
}

static unsigned int default_window(const struct options *opt)
{
	if (!options_load(opt))
		return 1;
	return opt->scenario == SCENARIO_FANOUT ? 16 : opt->publishers;
}

static void defaults(struct options *opt)
{
	default_clients(opt);
	if (opt->stalled >= opt->subscribers)
		usage_error("--stalled leaves no subscriber: %u of %u",
			    opt->stalled, opt->subscribers);
	opt->subscribers -= opt->stalled;
	if (!opt->window)
		opt->window = default_window(opt);
	if (opt->window > WINDOW_MAX)
		opt->window = WINDOW_MAX;
	if (opt->warmup == UINT64_MAX)
		opt->warmup = 2 * (uint64_t)opt->window;
	if (!opt->subscriptions)
		opt->subscriptions = 1000;
	if (!opt->host)
		opt->host = "127.0.0.1";
	if (!opt->port)
		opt->port = 1883;
	if (!opt->deliveries)
		opt->deliveries = options_load(opt) ? 40000 : 20000;
}

static void only_for(const struct options *opt, bool given, const char *name,
		     enum scenario wanted)
{
	if (given && opt->scenario != wanted)
		usage_error("%s is for %s only", name, scenario_names[wanted]);
}

/* What has a meaning in some scenarios only, before the defaults. */
static void check_scenario(const struct options *opt)
{
	only_for(opt, opt->stalled, "--stalled", SCENARIO_FANOUT);
	only_for(opt, opt->subscriptions, "--subscriptions", SCENARIO_MATCH);
	only_for(opt, opt->filters, "--filters", SCENARIO_MEMORY);
	only_for(opt, opt->pid, "--pid", SCENARIO_MEMORY);
	if (options_load(opt))
		return;
	if (opt->publishers || opt->duration_ns || opt->warmup != UINT64_MAX)
		usage_error("--publishers, --duration and --warmup have no "
			    "meaning with %s", scenario_names[opt->scenario]);
	if (opt->fault != FAULT_NONE)
		usage_error("--fault wants deliveries: fanout, fanin or p2p");
}

/* Before the defaults are filled in. */
static void check_given(const struct options *opt)
{
	if (opt->deliveries && opt->duration_ns)
		usage_error("--deliveries and --duration exclude each other");
	if (opt->floor && (opt->host || opt->port))
		usage_error("%s has no meaning with floor, which brings its "
			    "own broker", opt->host ? "--host" : "--port");
	if (opt->fault != FAULT_NONE && !opt->floor)
		usage_error("--fault is for floor only");
	if (opt->floor && (opt->stalled || opt->filters || opt->pid ||
			   opt->scenario == SCENARIO_MATCH))
		usage_error("floor knows no match, --stalled, --filters and "
			    "--pid");
}

static void check_qos(const struct options *opt)
{
	if (opt->durable && !opt->qos)
		usage_error("--durable wants --qos 1");
	if (opt->qos && (opt->floor || opt->stalled || !options_load(opt)))
		usage_error("--qos 1 is for fanout, fanin and p2p, without "
			    "floor and --stalled");
}

static void check_version(const struct options *opt)
{
	const bool v5 = opt->publisher_version == MQTT_V5 ||
			opt->subscriber_version == MQTT_V5;

	if (v5 && (opt->floor || opt->stalled ||
		   opt->scenario == SCENARIO_MATCH))
		usage_error("floor, match and --stalled know MQTT 3.1.1 only");
	if (opt->identifiers && opt->subscriber_version != MQTT_V5)
		usage_error("--identifiers wants subscribers of --mqtt 5");
	if (opt->properties && opt->publisher_version != MQTT_V5)
		usage_error("--user-properties wants publishers of --mqtt 5");
	if ((opt->identifiers || opt->properties) && !options_load(opt))
		usage_error("--identifiers and --user-properties are for "
			    "fanout, fanin and p2p");
}

static void check_match(const struct options *opt)
{
	if (opt->subscribers < MATCH_CLIENTS_MIN)
		usage_error("match wants %u --subscribers or more",
			    MATCH_CLIENTS_MIN);
	if (!options_stamped(opt) || opt->payload > MATCH_PAYLOAD_MAX)
		usage_error("match wants a --payload from %u to %u bytes",
			    STAMP_LEN, MATCH_PAYLOAD_MAX);
}

static void check(const struct options *opt)
{
	uint64_t each = options_pairs(opt) ? 1 : opt->publishers;

	if (opt->scenario == SCENARIO_MATCH)
		check_match(opt);
	if (opt->scenario == SCENARIO_PING && opt->window > opt->subscribers)
		usage_error("ping wants a --window of at most as many as "
			    "--subscribers: %u", opt->subscribers);
	if (options_pairs(opt) && opt->publishers != opt->subscribers)
		usage_error("p2p wants as many --subscribers as --publishers, "
			    "not %u and %u", opt->subscribers,
			    opt->publishers);
	if (each * opt->subscribers > STREAMS_MAX)
		usage_error("--publishers times --subscribers is over %llu",
			    STREAMS_MAX);
	/* Or a publisher's next message waits for the one held back. */
	if (opt->fault == FAULT_REORDER && opt->window < 2 * opt->publishers)
		usage_error("--fault reorder wants a --window of two messages "
			    "a publisher: %u", 2 * opt->publishers);
}

int main(int argc, char **argv)
{
	const char *count = getenv("KMQTT_COUNT");
	struct options opt = {
		.payload = 64,
		.publisher_version = MQTT_V311,
		.subscriber_version = MQTT_V311,
		.prefix = "bench/fan/topic/",
		.warmup = UINT64_MAX,
		.timeout_s = 30,
		.nodelay = true,
		.batch = true,
		.instructions = count && !strcmp(count, "1"),
	};
	int key;

	while ((key = getopt_long(argc, argv, "h:p:P:S:w:n:s:q:V:t:",
				  long_options, NULL)) != -1)
		option(&opt, key, optarg);
	arguments(&opt, argv + optind);
	check_given(&opt);
	check_qos(&opt);
	check_version(&opt);
	check_scenario(&opt);
	defaults(&opt);
	check(&opt);
	return scenario_run(&opt);
}
