#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What the daemon says when it cannot start."""

import os
import re
import socket
import subprocess

from broker import CONFIG, DAEMON, NOBODY, PORT, Broker, client
from ktap import TIMEOUT, cases, equal, main, test

# (name, lines, number of the wrong line, what is said)
WRONG = [
    ("an unknown variable", "port 1883\n\nno_such_variable 7\n", 3,
     'Unknown configuration variable "no_such_variable"'),
    ("an unknown variable without a value", "nonsense\n", 1, "nonsense"),
    ("a variable in upper case", "PORT 1883\n", 1, "PORT"),
    ("one of mosquitto's that is not supported", "# x\npassword_file /x\n", 2,
     "password_file"),
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
]

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
log_dest stderr
log_dest file /tmp/kmqttd.log
log_dest syslog
log_type error
log_type warning
log_timestamp false
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


@test("as another user: the daemon becomes it, with that one capability")
def becomes(broker):
    os.chown(broker.directory, NOBODY, NOBODY)  # for the pid file
    broker.restart(CONFIG + "user nobody\n")
    status = dict(
        line.split(":\t") for line in
        open(f"/proc/{broker.daemon.pid}/status").read().splitlines())
    equal(status["Uid"].split(), [str(NOBODY)] * 4, "user")
    equal(int(status["CapEff"], 16), 1 << 12, "capabilities")
    equal(int(status["CapPrm"], 16), 1 << 12, "capabilities")
    with client() as one:
        one.subscribe("a")
        one.publish("a")
        equal(one.message(), ("a", b""))


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
