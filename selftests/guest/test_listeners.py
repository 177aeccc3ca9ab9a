#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Listeners: IPv4, IPv6, mapped addresses, several."""

import errno
import socket

from broker import PORT, Broker, client, refused
from ktap import cases, equal, main, test
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


main(Broker(CONFIG))
