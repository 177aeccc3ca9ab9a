#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Listeners: IPv4, IPv6, mapped addresses, several."""

import errno
import pathlib
import re
import signal
import socket

from broker import PORT, Broker, client, refused
from ktap import cases, equal, main, test, wait_until
from mqtt import Client, publish

ADDRESSES = {
    "IPv4": ("127.0.0.1", PORT),
    "IPv6": ("::1", PORT + 1),
    "IPv4 mapped into IPv6": ("127.0.0.1", PORT + 2),
    "all, over IPv4": ("127.0.0.1", PORT + 3),
    "all, over IPv6": ("::1", PORT + 3),
    "all, over another IPv4": ("127.8.7.6", PORT + 3),
}
CONFIG = f"""\
listener {PORT} 127.0.0.1
listener {PORT + 1} ::1
listener {PORT + 2} ::ffff:127.0.0.1
listener {PORT + 3}
max_connections 2
allow_anonymous true
"""


def blocks(status, number):
    """Whether a process does, by its status."""
    mask = re.search(r"^SigBlk:\t(\w+)$", status.read_text(), re.MULTILINE)[1]
    return int(mask, 16) >> number - 1 & 1


@cases(ADDRESSES.items())
def works(broker, address):
    with client("ü", address) as one, client("b", address) as other:
        one.subscribe("a/#")
        for size in 0, 1, 1000, 100000:
            other.publish("a/b", bytes(size))
            equal(one.message(), ("a/b", bytes(size)))
        remote = broker.record(one)["remote"]
        if ":" in address[0]:
            wanted = (socket.AF_INET6,
                      socket.inet_pton(socket.AF_INET6, address[0]))
            got = remote[0], remote[8:24]
        elif len(remote) == 28:
            wanted = (socket.AF_INET6,
                      socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1"))
            got = remote[0], remote[8:24]
        else:
            wanted = socket.AF_INET, socket.inet_aton("127.0.0.1")
            got = remote[0], remote[4:8]
        equal(got, wanted, "address")


@test("between all of them")
def between(_):
    clients = []
    for address in set(ADDRESSES.values()) - {("127.8.7.6", PORT + 3)}:
        clients.append(client(address=address))
        clients[-1].subscribe("between")
    for number, one in enumerate(clients):
        one.send(publish("between", b"%d" % number))
        for other in clients:
            equal(other.message(), ("between", b"%d" % number))
    for one in clients:
        one.close()


@test("max_connections is the listener's own")
def limited(broker):
    clients = [client(address=("::1", PORT + 3)) for _ in range(2)]
    with Client(("127.0.0.1", PORT + 3)) as one:
        equal(one.ended(), [])
    with client(address=("127.0.0.1", PORT)) as one:
        one.ping()
    for one in clients:
        one.close()
    broker.await_conns(0)


@test("the log has the addresses as they are")
def logged(broker):
    broker.await_line(r"New connection from 127\.0\.0\.1:\d+ on port 1883\.")
    broker.await_line(r"New connection from ::1:\d+ on port 1884\.")


@test("without a listener: this machine only, and anybody on it")
def local(broker):
    broker.restart("")
    for host in "127.0.0.1", "::1":
        with client(address=(host, PORT)) as one:
            one.ping()
    with refused(errno.ECONNREFUSED):
        Client(("127.0.0.2", PORT))
    broker.await_line("Starting in local only mode")


# Handover: the next daemon has its predecessor's sockets, and a configuration
# of its own.

LOCAL = "allow_anonymous true\n"  # of this machine only
TWO = f"listener {PORT} 127.0.0.1\nlistener {PORT + 1} 127.0.0.1\n{LOCAL}"


def rewrite(broker, config):
    """Change the configuration file, as an administrator does."""
    broker.config = config
    (broker.directory / "kmqttd.conf").write_text(
        f"{config}\npid_file {broker.pid_file}\n")


@cases([("this machine's addresses, all addresses", LOCAL,
         f"listener {PORT}\n{LOCAL}", "127.8.7.6"),
        ("all addresses, this machine's", f"listener {PORT}\n{LOCAL}", LOCAL,
         "127.0.0.1")])
def other_addresses(broker, before, after, host):
    broker.restart(before)
    with client("one") as one, client("other", ("::1", PORT)) as other:
        one.subscribe(("a", 1))
        with broker.counted():
            rewrite(broker, after)
            broker.hand_over()
            other.publish("a", b"still there", 1)
            equal(one.message(), ("a", b"still there"))
        with client(address=(host, PORT)) as new:
            new.publish("a", b"new", 1)
        equal(one.message(), ("a", b"new"))


@test("a listener that is gone after a handover refuses")
def removed(broker):
    broker.restart(TWO)
    with client("one") as one, broker.counted():
        rewrite(broker, f"listener {PORT} 127.0.0.1\n{LOCAL}")
        broker.hand_over()
        one.ping()
        with refused(errno.ECONNREFUSED):
            Client(("127.0.0.1", PORT + 1))


def not_started(broker):
    """Configurations that can be read, and the cause why no daemon starts."""
    config = f"listener {PORT} 127.0.0.1\n{LOCAL}"
    location = broker.directory / "roots"
    location.mkdir(mode=0o700, exist_ok=True)
    yield f"{config}user nobodyy\n", "this user does not exist"
    yield f"listener {PORT} no.such.host.invalid\n{LOCAL}", "Unable to resolve"
    yield f"listener {PORT} 192.0.2.1\n{LOCAL}", "Cannot assign"
    yield f"{config}listener {PORT + 9} 127.0.0.1\n", "Address already in use"
    yield f"{config}pid_file /no/such/pid\n", "Unable to write pid file"
    yield f"{config}log_dest file /no/such/log\n", "Unable to write log file"
    yield (f"{config}user nobody\npersistence true\n"
           f"persistence_location {location}/\n",
           "Unable to write a database")


@test("SIGHUP while those are ended whose listener the next daemon has not")
def reload_while_ending(broker):
    broker.restart(CONFIG)
    clients = [client(address=ADDRESSES["IPv6"]) for _ in range(200)]
    config = CONFIG.replace(f"listener {PORT + 1} ::1\n", "")
    broker.end()
    broker.config = config
    broker.daemon = broker.run_daemon(config)
    status = pathlib.Path(f"/proc/{broker.daemon.pid}/status")
    wait_until(lambda: blocks(status, signal.SIGHUP), "blocks SIGHUP")
    broker.daemon.send_signal(signal.SIGHUP)
    broker.await_ready()
    for one in clients:
        equal(one.ended(), [])
    with client() as one, client() as other:
        one.subscribe("a")
        other.publish("a", b"m", 1)
        equal(one.message(), ("a", b"m"))
    broker.restart(CONFIG)


@test("a handover to a daemon that could not start is refused, and changes nothing")
def refused_handover(broker):
    broker.restart(f"listener {PORT} 127.0.0.1\n{LOCAL}")
    with client("one") as one, socket.create_server(("127.0.0.1", PORT + 9)):
        one.subscribe(("a", 1))
        pid = broker.daemon.pid
        for config, cause in not_started(broker):
            before = len(broker.said())
            (broker.directory / "kmqttd.conf").write_text(config)
            broker.daemon.send_signal(signal.SIGUSR2)
            wait_until(lambda: "Not handed over" in broker.said()[before:],
                       f"refused: {cause}")
            assert cause in broker.said()[before:], broker.said()[before:]
            equal(broker.nl.stats()["daemon"], pid)
            one.publish("a", cause.encode(), 1)
            equal(one.message(), ("a", cause.encode()))
            with client(f"new, {cause}") as new:
                new.ping()


main(Broker(CONFIG))
