#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Nobody without CAP_NET_ADMIN attaches a socket, reads client ids or topics,
or changes a subscription (invariant 9); nor does another namespace."""

import contextlib
import errno
import os
import socket
import subprocess
import threading

from broker import NEW_NET, NEW_USER, NOBODY, Broker, client, in_child, refused
from ktap import cases, equal, main, test, times
from nl import CMD, LIMIT, NLM_F_ACK, NLM_F_DUMP, Netlink

TCP_ULP = 31


def pair(host="127.0.0.1"):
    """Return two connected TCP sockets: the server's and the client's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listening:
        other = socket.create_connection(listening.getsockname()[:2])
        return listening.accept()[0], other


def set_ulp(one):
    """Try to attach by setsockopt()."""
    with refused(errno.EPERM):
        one.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"kmqtt")
    one.getpeername()


@cases([(f"setsockopt(TCP_ULP) by {who}, {family}: EPERM", user, host)
        for who, user in (("root", None), ("another user", NOBODY))
        for family, host in (("IPv4", "127.0.0.1"), ("IPv6", "::1"))])
def ulp(broker, user, host):
    one, other = pair(host)
    before = broker.nl.stats()["conns"]
    in_child(lambda: set_ulp(one), user=user)
    in_child(lambda: set_ulp(other), user=user)
    equal(broker.nl.stats()["conns"], before)
    # It is the socket that it was.
    other.sendall(b"as before")
    equal(one.recv(100), b"as before")
    one.close()
    other.close()


@test("setsockopt(TCP_ULP) while connections are attached: EPERM")
def ulp_meanwhile(_):
    def attack():
        for _ in range(times(100)):
            one, other = pair()
            set_ulp(one)
            one.close()
            other.close()

    def attached():
        for _ in range(times(50)):
            with client() as one:
                one.ping()

    attached()
    in_child(attack, user=NOBODY)
    attached()


REQUESTS = [
    ("conn_add", {"fd": 0}), ("conn_set", {"id": 1, "active": True}),
    ("conn_del", {"id": 1}), ("conn_get", {"id": 1}),
    ("conn_adopt", {"id": 1}),
    ("sub_add", {"conn_id": 1, "filter": {"topic": "#"}}),
    ("sub_del", {"conn_id": 1, "filter": {"topic": "#"}}),
    ("publish", {"topic": "a"}), ("stats_get", {}), ("flush", {}),
    ("sink_open", {}), ("sink_done", {"done": 0}), ("trunk_open", {}),
    ("memory_set", {"memory_limit": 1}),
    ("rules_begin", {"id": 1}), ("rules_commit", {"id": 1}),
    ("rules_add", {"id": 1, "rule": {"filter": "#", "access": 3}}),
    ("rules_del", {"id": 1}),
]
DUMPS = [("conn_get", {}), ("conn_get", {"pending": True}), ("sub_get", {})]


@test("every netlink command by another user: EPERM")
def commands(broker):
    equal({cmd for cmd, _ in REQUESTS + DUMPS} | {"unspec", "event"}, set(CMD),
          "commands")

    def attack():
        with Netlink() as netlink:
            for flags, requests in (NLM_F_ACK, REQUESTS), (NLM_F_DUMP, DUMPS):
                for cmd, values in requests:
                    with refused(errno.EPERM):
                        netlink.request(cmd, values, flags)

    with client("victim") as victim, client() as publisher:
        victim.subscribe("victim")
        in_child(attack, user=NOBODY)
        publisher.publish("victim", b"unharmed")
        equal(victim.message(), ("victim", b"unharmed"))
        equal(broker.nl.stats()["subs"], 1)


@test("a netlink socket that root opened, used by another user: EPERM")
def inherited(broker):
    def attack():
        for cmd, values in ("flush", {}), ("stats_get", {}):
            with refused(errno.EPERM):
                broker.nl.request(cmd, values)

    with client() as one:
        in_child(attack, user=NOBODY)
        one.ping()


@test("joining the events by another user: EPERM")
def events(_):
    def attack():
        with Netlink() as netlink, refused(errno.EPERM):
            netlink.join()

    in_child(attack, user=NOBODY)


@test("another network namespace sees nothing of this one")
def namespace(broker):
    one, other = pair()
    with client("here") as here, client() as publisher:
        here.subscribe("here")
        conn = broker.record(here)["id"]

        def attack():
            with Netlink() as netlink:
                equal(netlink.conns(), [])
                equal(netlink.subs(), [])
                stats = netlink.stats()
                equal([stats[n] for n in ("conns", "subs", "filters")], [0] * 3)
                equal(sum(stats["ended"].values()), 0)
                equal(stats["total"]["rx_user_packets"], 0)
                equal(netlink.conns(pending=True), [])
                equal(netlink.subs(conn_id=conn), [])
                for request in (
                        lambda: netlink.conn(conn),
                        lambda: netlink.conn_set(conn, keepalive=1),
                        lambda: netlink.conn_del(conn),
                        lambda: netlink.adopt(conn),
                        lambda: netlink.sub("sub_add", conn, "#"),
                        lambda: netlink.sub("sub_del", conn, "here")):
                    with refused(errno.ENOENT):
                        request()
                with refused(errno.EOPNOTSUPP, "namespace"):
                    netlink.conn_add(one)
                netlink.publish("here", b"from elsewhere")
                equal(netlink.flush(), 0)
                # There is a sink of its own, and there are events of its own.
                sink = netlink.sink_open()
                os.set_blocking(sink, False)
                netlink.sub("sub_add", LIMIT["sink_id"], "#")
                netlink.join()
                netlink.conns(pending=True)
                os.write(attacked, b"!")
                os.read(happened, 1)
                with refused(errno.EAGAIN):
                    os.read(sink, 1)
                netlink.socket.setblocking(False)
                with refused(errno.EAGAIN):
                    netlink.socket.recv(1)

        def happen():
            os.read(listening, 1)
            with client() as another:
                another.publish("here", b"while it listens", retain=True)
            equal(here.message(), ("here", b"while it listens"))
            broker.await_conns(2)
            os.write(done, b"!")

        (listening, attacked), (happened, done) = os.pipe(), os.pipe()
        thread = threading.Thread(target=happen, daemon=True)
        thread.start()
        in_child(attack, unshare=NEW_NET)
        thread.join()
        publisher.publish("here", retain=True)
        equal(here.message(), ("here", b""))
        publisher.publish("here", b"from here")
        equal(here.message(), ("here", b"from here"))
    one.close()
    other.close()


@test("root of a user namespace has power over its own network only")
def user_namespace(_):
    def own():
        with Netlink() as netlink:
            equal(netlink.conns(), [])
            equal(netlink.flush(), 0)

    def ours():
        with Netlink() as netlink, refused(errno.EPERM):
            netlink.flush()

    with client() as one:
        in_child(own, user=NOBODY, unshare=NEW_USER | NEW_NET)
        in_child(ours, user=NOBODY, unshare=NEW_USER)
        one.ping()


@test("a socket of another namespace cannot be attached from here")
def foreign(broker):
    here, there = socket.socketpair(socket.AF_UNIX)

    def make():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(one) for one in pair()]
            socket.send_fds(there, [b"!"], [one.fileno() for one in sockets])

    in_child(make, unshare=NEW_NET)
    _, descriptors, _, _ = socket.recv_fds(here, 1, 2)
    for descriptor in descriptors:
        with refused(errno.EOPNOTSUPP, "namespace"):
            broker.nl.conn_add(descriptor)
        os.close(descriptor)


main(Broker())
