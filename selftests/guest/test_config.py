#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What the daemon says when it cannot start."""

import os
import pathlib
import re
import socket
import subprocess

from broker import CONFIG, DAEMON, NOBODY, PORT, Broker, client
from ktap import TIMEOUT, cases, equal, main, test
from mqtt import Client, connect

# (name, lines, number of the wrong line, what is said)
WRONG = [
    ("an unknown variable", "port 1883\n\nno_such_variable 7\n", 3,
     'Unknown configuration variable "no_such_variable"'),
    ("an unknown variable without a value", "nonsense\n", 1, "nonsense"),
    ("a variable in upper case", "PORT 1883\n", 1, "PORT"),
    ("one of mosquitto's that is not supported", "# x\nmount_point x\n", 2,
     "mount_point"),
    ("a bridge", "connection x\naddress y\n", 1, "connection"),
    ("a port that is none", "listener 0\n", 1, "port"),
    ("a port too large", "listener 65536\n", 1, "port"),
    ("a port in words", "listener mqtt\n", 1, "port"),
    ("no value", "listener\n", 1, "listener"),
    ("a boolean that is neither", "allow_anonymous maybe\n", 1,
     "allow_anonymous"),
    ("a number with more behind it", "max_keepalive 60s\n", 1, "max_keepalive"),
    ("a number out of range", "max_keepalive 65536\n", 1, "max_keepalive"),
    ("a packet size too small", "max_packet_size 1\n", 1, "max_packet_size"),
    ("a packet size too large", "max_packet_size 268435461\n", 1,
     "max_packet_size"),
    ("no time to connect in", "connect_timeout 0\n", 1, "connect_timeout"),
    ("an unknown log type", "log_type everything\n", 1, "log_type"),
    ("an unknown log destination", "log_dest nowhere\n", 1, "log_dest"),
    ("log_dest file without a file", "log_dest file\n", 1, "log_dest"),
    ("pid_file twice", "pid_file /a\npid_file /b\n", 2, "pid_file"),
    ("TLS", "listener 8883\ncafile /x\n", 2, "TLS"),
    ("a transport that there is not", "listener 80\nprotocol websockets\n", 2,
     "TCP"),
    ("$SYS", "sys_interval 10\n", 1, "$SYS"),
    ("per_listener_settings too late",
     "allow_anonymous true\nper_listener_settings true\n", 2,
     "before any other"),
    ("a duration without a unit", "persistent_client_expiration 14\n", 1,
     "persistent_client_expiration"),
    ("too many in flight", "max_inflight_messages 65536\n", 1,
     "max_inflight_messages"),
    ("a directory to include that is not there", "include_dir /no/such\n", 1,
     "/no/such"),
]

# /etc/mosquitto/mosquitto.conf of Debian's mosquitto package.
STOCK = """\
# Place your local configuration in /etc/mosquitto/conf.d/
#
# A full description of the configuration file is at
# /usr/share/doc/mosquitto/examples/mosquitto.conf.example

pid_file /run/mosquitto/mosquitto.pid

persistence true
persistence_location /var/lib/mosquitto/

log_dest file /var/log/mosquitto/mosquitto.log

include_dir /etc/mosquitto/conf.d
"""
# A machine without mosquitto, as its service would see it.
BARE = """
mkdir -p /etc/mosquitto
for dir in /run /var/lib /var/log /etc/mosquitto; do
    mount -t tmpfs tmpfs $dir || exit
done
mkdir /etc/mosquitto/conf.d
cat >/etc/mosquitto/mosquitto.conf
exec "$0" -c /etc/mosquitto/mosquitto.conf
"""

RIGHT = [
    ("comments, empty lines, spaces",
     "# a comment\n\n  listener   1883   127.0.0.1  \r\n#\n"),
    ("everything", """\
listener 1883 127.0.0.1
max_connections 10
listener 1884 ::1
max_connections -1
allow_anonymous true
max_keepalive 65535
max_packet_size 268435460
connect_timeout 10
global_max_clients -1
global_max_connections -1
max_connection_rate 0
max_filters 0
max_publish_rate 1000000
max_subscriptions 0
memory_limit 100000000
packet_max_connect 100000
log_dest stderr
log_dest file /tmp/kmqttd.log
log_dest syslog
log_type error
log_type warning
log_timestamp false
log_timestamp_format %H:%M
log_facility 5
connection_messages false
allow_zero_length_clientid false
auto_id_prefix x-
persistence true
persistence_location /tmp/
persistence_file x.db
autosave_interval 60
autosave_on_changes false
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
queue_qos0_messages true
persistent_client_expiration 14d
retain_available false
set_tcp_nodelay true
retry_interval 20
per_listener_settings false
include_dir /sys/kernel
pid_file /tmp/kmqttd.pid
user nobody
"""),
    ("nothing", ""),
    ("no newline at the end", "port 1883"),
]


def run(broker, config, *arguments, prefix=()):
    """Run the daemon to its end. Return its exit status and what it said."""
    path = broker.directory / "wrong.conf"
    path.write_text(config)
    done = subprocess.run([*prefix, DAEMON, "-c", path, *arguments],
                          capture_output=True, timeout=TIMEOUT, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


@cases([(f"{name}: exit status 3, names the line", *rest)
        for name, *rest in WRONG])
def wrong(broker, config, line, words):
    for arguments in (), ("--test-config",):
        status, said = run(broker, config, *arguments)
        equal(status, 3, said)
        assert words in said, said
        assert re.search(rf"found at {broker.directory}/wrong\.conf:{line}\b",
                         said), said


@cases([(f"{name}: --test-config has nothing to say against it", config)
        for name, config in RIGHT])
def right(broker, config):
    status, said = run(broker, config, "--test-config")
    equal(status, 0, said)


@test("no configuration file: exit status 3")
def missing(_):
    done = subprocess.run([DAEMON, "-c", "/no/such/file"], timeout=TIMEOUT,
                          capture_output=True, check=False)
    equal(done.returncode, 3)
    assert b"/no/such/file" in done.stderr, done.stderr


@cases([(f"{' '.join(arguments)}: exit status 3", *arguments) for arguments in (
    ("--no-such-option",), ("surplus",), ("-p", "mqtt"), ("-p", "0"), ("-c",))])
def command_line(_, *arguments):
    done = subprocess.run([DAEMON, *arguments], timeout=TIMEOUT,
                          capture_output=True, check=False)
    equal(done.returncode, 3)
    assert done.stderr


@cases([(f"{argument} prints, exit status 0", argument, words)
        for argument, words in (("--help", b"mosquitto.conf"),
                                ("--version", b"kmqttd version"))])
def prints(_, argument, words):
    done = subprocess.run([DAEMON, argument], timeout=TIMEOUT,
                          capture_output=True, check=True)
    assert words in done.stdout, done.stdout


@test("an address in use: exit status 1")
def in_use(broker):
    with socket.create_server(("127.0.0.1", PORT + 7)):
        status, said = run(broker, f"listener {PORT + 7} 127.0.0.1\n")
    equal(status, 1, said)
    assert "Address already in use" in said, said


@test("started twice: the second gives up, the first's clients do not notice")
def started_twice(broker):
    with client() as one:
        one.subscribe("a")
        status, said = run(broker, CONFIG)
        equal(status, 1, said)
        one.publish("a", b"still here")
        equal(one.message(), ("a", b"still here"))


@test("an address that cannot be resolved: exit status 1")
def unresolved(broker):
    status, said = run(broker, "listener 1885 no.such.host.invalid\n")
    equal(status, 1, said)
    assert "no.such.host.invalid" in said, said


@test("a user that does not exist: exit status 1, no pid file left")
def no_user(broker):
    path = broker.directory / "left.pid"
    status, said = run(broker, "listener 1885 127.0.0.1\nuser nosuchuser\n"
                       f"pid_file {path}\n")
    equal(status, 1, said)
    assert "nosuchuser" in said, said
    assert not path.exists()


@test("a pid file that cannot be written: exit status 1")
def no_pid_file(broker):
    status, said = run(broker, "listener 1885\npid_file /no/such/dir/pid\n")
    equal(status, 1, said)
    assert "/no/such/dir/pid" in said, said


@test("without CAP_NET_ADMIN: exit status 1, says so")
def no_capability(broker):
    status, said = run(broker, "listener 1885 127.0.0.1\n",
                       prefix=("setpriv", "--bounding-set=-net_admin",
                               "--inh-caps=-net_admin"))
    equal(status, 1, said)
    assert "CAP_NET_ADMIN" in said, said


def statuses(broker):
    """Return the /proc/PID/status of each of the daemon's threads."""
    tasks = pathlib.Path(f"/proc/{broker.daemon.pid}/task")
    return [dict(line.split(":\t") for line in
                 (task / "status").read_text().splitlines())
            for task in tasks.iterdir()]


@cases([(f"root without user keeps that one capability, {name}", persistent)
        for name, persistent in (("in memory", False), ("persistence", True))])
def root_restricted(broker, persistent):
    broker.restart(broker.persistent() if persistent else CONFIG)
    with client() as one:
        one.publish("a", b"", 1)
        found = statuses(broker)
        assert len(found) >= 2 + persistent, "threads"
        equal({(status["Uid"].split()[1], int(status["CapEff"], 16),
                int(status["CapPrm"], 16)) for status in found},
              {("0", 1 << 12, 1 << 12)})


@test("as another user: the daemon becomes it, with that one capability")
def becomes(broker):
    broker.stop()
    os.chown(broker.directory, NOBODY, NOBODY)  # for the pid file
    broker.start_daemon(CONFIG + "user nobody\n")
    status = statuses(broker)[0]
    equal(status["Uid"].split(), [str(NOBODY)] * 4, "user")
    equal(int(status["CapEff"], 16), 1 << 12, "capabilities")
    equal(int(status["CapPrm"], 16), 1 << 12, "capabilities")
    equal(status["NoNewPrivs"], "1", "no new privileges")
    equal({status["Seccomp"] for status in statuses(broker)}, {"2"}, "filtered")
    with client() as one:
        one.subscribe("a")
        one.publish("a")
        equal(one.message(), ("a", b""))
    broker.stop()
    os.chown(broker.directory, 0, 0)
    broker.start_daemon(CONFIG)


@test("log_dest file, log_type, log_timestamp")
def logging(broker):
    path = broker.directory / "log"
    broker.restart(CONFIG + f"log_dest file {path}\nlog_type notice\n"
                   "log_type subscribe\nlog_timestamp false\n")
    with client("logger") as one:
        one.subscribe("x/y")
    broker.await_conns(0)
    said = path.read_text()
    assert re.search(r"^New client connected from .* as logger", said, re.M)
    assert re.search(r"^logger 0 x/y$", said, re.M), said
    assert "running" not in said, said


@test("log_timestamp_format, connection_messages false")
def no_connection_messages(broker):
    broker.restart(CONFIG + "log_timestamp_format at %Y-%m-%d\n"
                   "connection_messages false\nlog_type all\n")
    with client("quiet"), client("quiet"):
        pass
    broker.await_conns(0)
    said = broker.said()
    assert re.search(r"^at 20\d\d-\d\d-\d\d: .* running$", said, re.M), said
    assert not re.search(r"onnect(ion|ed) from|disconnected|already", said), said


def id_given(broker, address):
    """Connect without an identifier. Return the one that it gets, or None."""
    with Client(address) as one:
        one.send(connect(""))
        if one.packet().body != b"\0\0":
            return None
        one.ping()  # the module knows it a moment after CONNACK
        return broker.record(one)["client_id"].decode()


@test("per_listener_settings: each listener has its own")
def per_listener(broker):
    addresses = [("127.0.0.1", PORT + number) for number in range(4)]
    broker.restart("per_listener_settings true\n" + "".join(
        f"listener {port} {host}\n{settings}" for (host, port), settings in
        zip(addresses, ("allow_anonymous true\nauto_id_prefix one-\n", "",
                        "allow_anonymous true\n", "allow_anonymous true\n"
                        "allow_zero_length_clientid false\n"))))
    assert id_given(broker, addresses[0]).startswith("one-")
    assert id_given(broker, addresses[2]).startswith("auto-")
    for address, code in (addresses[1], 5), (addresses[3], 2):
        with Client(address) as one:
            one.send(connect(""))
            equal(one.packet().body, bytes([0, code]), address)
    broker.settle()
    broker.restart("allow_anonymous true\nauto_id_prefix all-\n" + "".join(
        f"listener {port} {host}\n" for host, port in addresses))
    for address in addresses:
        assert id_given(broker, address).startswith("all-"), address


@test("include_dir: what is wrong in an included file is found there")
def included(broker):
    good, bad = broker.directory / "good.d", broker.directory / "bad.d"
    for directory in good, bad:
        directory.mkdir()
        (directory / "a.conf").write_text(f"listener {PORT} 127.0.0.1\n")
        (directory / "b.conf").write_text("allow_anonymous true\n")
        (directory / "c.conf.dpkg-old").write_text("nonsense\n")
    broker.restart(f"include_dir {good}\n")
    with client():
        pass
    (bad / "b.conf").write_text("\nno_such_variable 7\n")
    status, said = run(broker, f"#\ninclude_dir {bad}\n")
    equal(status, 3, said)
    assert f"found at {bad}/b.conf:2." in said, said
    assert f"found at {broker.directory}/wrong.conf:2." in said, said


@test("a database of mosquitto is not taken for ours: exit status 3")
def foreign_database(broker):
    path = broker.directory / "mosquitto.db"
    path.write_bytes(b"\0\xb5\0mosquitto db" + bytes(100))
    config = f"persistence true\npersistence_location {broker.directory}\n"
    status, said = run(broker, config + "persistence_file mosquitto.db\n")
    equal(status, 3, said)
    assert str(path) in said and "database of mosquitto" in said, said
    equal(run(broker, config, "--test-config")[0], 0)
    equal(path.stat().st_size, 15 + 100, "size")


@test("Debian's mosquitto.conf starts it, on a machine without mosquitto")
def stock(broker):
    broker.stop()
    path = broker.directory / "stock.conf"
    path.write_text(STOCK)
    with open(path, encoding="ascii") as config:
        broker.daemon = broker.run_command("unshare", "-m", "sh", "-c", BARE,
                                           DAEMON, stdin=config)
    broker.await_ready()
    with client("a") as one:
        one.subscribe("a/b")
        one.publish("a/b", b"x")
        equal(one.message(), ("a/b", b"x"))
    broker.await_conns(0)
    root = pathlib.Path(f"/proc/{broker.daemon.pid}/root")
    equal((root / "run/mosquitto/mosquitto.pid").read_text(),
          f"{broker.daemon.pid}\n")
    assert (root / "var/lib/mosquitto").is_dir()
    said = (root / "var/log/mosquitto/mosquitto.log").read_text()
    assert "New client connected" in said and "rror" not in said, said


@test("the module not loaded: exit status 1, says what to do")
def not_loaded(broker):
    broker.stop()
    super(Broker, broker).unload()
    status, said = run(broker, "listener 1885 127.0.0.1\n")
    equal(status, 1, said)
    assert "not loaded" in said and "insmod" in said, said
    broker.load()
    broker.start_daemon()


main(Broker())
