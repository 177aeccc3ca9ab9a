#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The netlink contract (kmod/uapi/linux/kmqtt.h), without the daemon."""

import contextlib
import ctypes
import errno
import os
import re
import resource
import socket
import struct
import threading
import time

from attached import PORT, Attached, Lasting, listening
from broker import libc, refused
from ktap import (FACTOR, TIMEOUT, cases, equal, main, test, times,
                  wait_until)
from mqtt import (PINGRESP, Closed, connect, packet,
                  ping, publish, subscribe)
from nl import (CMD, END, EVENT_DROPPED, EVENT_ENDED, LIMIT, NLM_F_ACK,
                NLM_F_DUMP, SPACES, STATE, Netlink, attribute)

TCP_REPAIR, TCP_ZEROCOPY_RECEIVE = 19, 35


class Strict(Lasting):
    """Fixture: what wrong_size() is told, by the kernel's own code."""

    allowed = re.compile(
        rb"netlink: .*: attribute type \d+ has an invalid length|"
        rb"validate_nla: \d+ callbacks suppressed")


# conn-add and what it refuses

@contextlib.contextmanager
def tcp_pair():
    """Two connected sockets."""
    with socket.create_connection(("127.0.0.1", PORT)) as other:
        with listening.accept()[0] as one:
            yield one, other


def not_attachable():
    """Yield (name, what makes such a descriptor, errno)."""
    yield "a descriptor that is not open", lambda: 9999, errno.EBADF
    yield "a negative descriptor", lambda: 0xffffffff, errno.EBADF
    yield "a file", lambda: open("/dev/null", "rb"), errno.ENOTSOCK
    yield "a pipe", lambda: open(os.pipe()[0], "rb"), errno.ENOTSOCK
    yield "a directory", lambda: os.open("/", os.O_RDONLY), errno.ENOTSOCK
    yield "an O_PATH descriptor", lambda: os.open("/", os.O_PATH), errno.EBADF
    yield "a UDP socket", \
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), \
        errno.EOPNOTSUPP
    yield "a Unix socket", lambda: socket.socketpair()[0], errno.EOPNOTSUPP
    yield "a netlink socket", lambda: Netlink().socket, errno.EOPNOTSUPP
    yield "a raw socket", lambda: socket.socket(
        socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP), errno.EOPNOTSUPP
    yield "a listening socket", \
        lambda: socket.create_server(("127.0.0.1", 0)), errno.ENOTCONN
    yield "a socket that is not connected", \
        lambda: socket.socket(socket.AF_INET), errno.ENOTCONN
    yield "an IPv6 socket that is not connected", \
        lambda: socket.socket(socket.AF_INET6), errno.ENOTCONN


@cases([(f"conn-add of {name}: {errno.errorcode[number]}", make, number)
        for name, make, number in not_attachable()])
def unattachable(module, make, number):
    descriptor = make()
    for _ in range(3):
        with refused(number, "("):
            module.nl.conn_add(descriptor)
    equal(module.nl.stats()["conns"], 0)


@test("conn-add of a socket whose peer has gone: ENOTCONN")
def gone(module):
    with tcp_pair() as (one, other):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                         struct.pack("ii", 1, 0))
        other.close()
        with refused(errno.ENOTCONN):
            module.nl.conn_add(one)


@test("conn-add of a socket with another upper layer: EEXIST")
def other_ulp(module):
    with tcp_pair() as (one, _):
        try:
            one.setsockopt(socket.IPPROTO_TCP, 31, b"tls")
        except OSError:
            one.setsockopt(socket.IPPROTO_TCP, 31, b"espintcp")
        with refused(errno.EEXIST, "upper layer"):
            module.nl.conn_add(one)


@test("conn-add twice: EEXIST, and the connection goes on")
def twice(module):
    with Attached(module.nl) as one:
        for _ in range(5):
            with refused(errno.EEXIST):
                module.nl.conn_add(one.server)
        one.ping()
        equal(len(module.nl.conns()), 1)


@test("conn-add of one socket from many threads: one succeeds")
def race(module):
    for _ in range(times(20)):
        with tcp_pair() as (one, _):
            won = []

            def attach(one=one, won=won):
                with Netlink() as netlink, contextlib.suppress(OSError):
                    won.append(netlink.conn_add(one))

            threads = [threading.Thread(target=attach) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            equal(len(won), 1)
            module.nl.conn_del(won[0])


LIMITS = {
    "max_packet": (16, LIMIT["packet_max"]),
    "ring_messages": (1, 1000000),
    "ring_bytes": (1024, 1 << 30),
    "user_bytes": (4096, 1 << 24),
    "unsent_bytes": (4096, 1 << 24),
    "packet_timeout": (0, 3600000),
}


@cases([(f"conn-add: {name} from {least:,} to {most:,}", name, least, most)
        for name, (least, most) in LIMITS.items()])
def limits(module, name, least, most):
    for value in least, most:
        with Attached(module.nl, False, **{name: value}) as one:
            equal(one.record()[name], value)
    for value in {max(least - 1, 0), most + 1, (1 << 32) - 1} - {least}:
        with tcp_pair() as (one, _), refused(errno.ERANGE, "range"):
            module.nl.conn_add(one, **{name: value})


@test("conn-add: no more connections than RLIMIT_NOFILE")
def too_many(module):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tcp_pair() as (server, _), Attached(module.nl), Attached(module.nl):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (2, hard))
            with refused(errno.EMFILE, "RLIMIT_NOFILE"):
                module.nl.conn_add(server)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            conn = module.nl.conn_add(server)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        module.nl.conn_del(conn)


@test("conn-add whose answer there is no room for: RST, and nothing is left")
def unanswered(module):
    with tcp_pair() as (one, other), Netlink() as full:
        full.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for cmd, values in ("stats_get", {}), ("conn_add", {"fd": one.fileno()}):
            full.send(full.family, CMD[cmd], SPACES[cmd].encode(values), 0)
        with refused(errno.ENOBUFS):
            full.socket.recv(1 << 18)
        equal(module.nl.stats()["conns"], 0)
        other.settimeout(TIMEOUT)
        with refused(errno.ECONNRESET):
            other.recv(1)


# The life of a connection

@test("states: connecting, waiting, active, ended")
def states(module):
    with Attached(module.nl, False) as one:
        equal(one.record()["state"], STATE["connecting"])
        with refused(errno.EBUSY, "no packet"):
            module.nl.conn_set(one.id, active=True)
        whole = connect("states")
        one.send(whole, publish("a"), ping)
        equal(one.from_client(len(whole)), whole)
        wait_until(lambda: one.record()["state"] == STATE["waiting"], "waiting")
        one.server.setblocking(False)
        with refused(errno.EAGAIN):
            one.server.recv(1)
        equal(one.record()["rx_packets"], 1)
        module.nl.conn_set(one.id, level=4, keepalive=9, client_id="states",
                           cookie=1 << 63, max_packet=1000, active=True)
        record = one.record()
        equal((record["state"], record["level"], record["keepalive"],
               record["client_id"], record["cookie"], record["max_packet"]),
              (STATE["active"], 4, 9, b"states", 1 << 63, 1000))
        equal(one.packet().kind, PINGRESP)
        one.close()
        wait_until(lambda: one.record()["state"] == STATE["ended"], "ended")
        equal(one.record()["end"], END["closed"])
        with refused(errno.ENOTCONN, "ended"):
            module.nl.conn_set(one.id, keepalive=1)
        with refused(errno.ENOTCONN, "ended"):
            one.sub("a")


@test("next: one more packet is passed up, before it is active")
def one_more(module):
    with Attached(module.nl, False) as one:
        whole = connect("next")
        auth = packet(15, 0, b"\x18\0")
        one.send(whole, auth, auth)
        equal(one.from_client(len(whole)), whole)
        for _ in range(2):
            wait_until(lambda: one.record()["state"] == STATE["waiting"],
                       "waiting")
            module.nl.conn_set(one.id, level=5, next=True)
            equal(one.from_client(len(auth)), auth)


@test("what comes up is the stream as it was, whatever the user queue holds")
def stream(module):
    with Attached(module.nl, user_bytes=4096) as one:
        packets = [subscribe(n, "x" * (n * 997 % 30000 + 1))
                   for n in range(1, 60)]
        wanted = b"".join(packets)
        thread = threading.Thread(target=one.send, args=packets)
        thread.start()
        wait_until(lambda: one.record()["user_used_bytes"] >= 4096, "full")
        equal(one.record()["user_used_bytes"], 4096)
        got = one.from_client(len(wanted))
        thread.join()
        assert got == wanted
        equal(one.record()["rx_packets"], 60)


@test("a full user queue suspends the keep alive, and QoS 0 of that client")
def suspended(module):
    with Attached(module.nl, False, user_bytes=4096) as one, \
         Attached(module.nl) as other:
        one.activate(keepalive=1)
        one.send(subscribe(1, "x" * 10000))
        time.sleep(2.5)
        equal(one.record()["state"], STATE["active"])
        other.sub("a")
        one.send(publish("a", b"late"))
        one.from_client(len(subscribe(1, "x" * 10000)))
        equal(other.message(), ("a", b"late"))


@cases([(f"a keep alive of {before} s that becomes 1 s ends who is silent", before)
        for before in (0, 3600)])
def keepalive_changed(module, before):
    with Attached(module.nl, False) as one:
        one.activate(keepalive=before)
        one.ping()
        module.nl.conn_set(one.id, keepalive=1)
        wait_until(lambda: one.record()["end"], "ended")
        equal(one.record()["end"], END["keepalive"])


@test("packet_timeout: half a packet, and silence")
def packet_timeout(module):
    for data in (b"\x30", publish("a", bytes(100))[:50], subscribe(1, "a")[:4],
                 b"\x30\x80", publish("a", bytes(1000))[:999]):
        with Attached(module.nl, packet_timeout=500) as one:
            since = time.monotonic()
            one.send(data)
            wait_until(lambda: one.record()["end"], "ended")
            equal(one.record()["end"], END["packet_timeout"])
            assert 0.45 < time.monotonic() - since < 5 * FACTOR


@test("packet_timeout: it may come slowly, but not for ever")
def packet_timeout_trickle(module):
    whole = publish("a", bytes(100))
    with Attached(module.nl, packet_timeout=500) as one:
        for byte in whole[:20]:
            one.send(bytes([byte]))
            time.sleep(0.06)
        one.send(whole[20:])
        one.ping()
    with Attached(module.nl, packet_timeout=100) as one:
        since = time.monotonic()
        with contextlib.suppress(Closed, ConnectionError):
            for byte in whole[:-1]:
                one.send(bytes([byte]))
                time.sleep(0.03)
        wait_until(lambda: one.record()["end"], "ended")
        equal(one.record()["end"], END["packet_timeout"])
        assert time.monotonic() - since > 0.9


def probes(sock):
    """How often TCP has found the other's window closed (tcpi_backoff)."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[4]


@test("conn-del: FIN after what was sent; the final record")
def deleted(module):
    one = Attached(module.nl)
    one.server.sendall(b"\xd0\0" * 1000)
    record = module.nl.conn_del(one.id)
    equal((record["id"], record["end"]), (one.id, END["deleted"]))
    equal(len(one.ended()), 1000)
    with refused(errno.ENOENT, "no such connection"):
        module.nl.conn_del(one.id)
    # The descriptor of the daemon is of no use any more.
    equal(one.server.recv(10), b"")
    with refused(errno.EPIPE):
        one.server.send(b"x")
    one.server.close()
    one.close()


@test("conn-del while a message is being sent: FIN behind whole packets, or RST")
def deleted_begun(module):
    count, size = 10, 60000
    with Attached(module.nl, max_packet=1 << 20) as other:
        for _ in range(times(40)):
            ones = [Attached(module.nl, receive_buffer=4096, unsent_bytes=4096)
                    for _ in range(count)]
            for one in ones:
                one.sub("a")
            other.send(publish("a", bytes(size)))
            for one in ones:
                module.nl.conn_del(one.id)
            for one in ones:
                one.server.close()
                one.ended()  # fails if half a packet is the last
                one.close()


@test("conn-del with abort: RST")
def aborted(module):
    one = Attached(module.nl)
    module.nl.conn_del(one.id, abort=True)
    try:
        equal(one.socket.recv(10), "a reset")
    except ConnectionResetError:
        pass
    one.server.close()
    one.close()


@test("conn-del of a client that waits for room: RST when the daemon has closed")
def deleted_waiting(module):
    one = Attached(module.nl, user_bytes=4096)
    one.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            one.socket.send(subscribe(1, "x" * 60000))
    wait_until(lambda: probes(one.socket), "the window closed")
    module.nl.conn_del(one.id)
    one.server.close()
    wait_until(lambda: one.socket.getsockopt(socket.SOL_SOCKET,
                                             socket.SO_ERROR), "reset")
    one.close()


@test("conn-del of a connection with SO_LINGER keeps nobody else from being closed")
def deleted_lingering(module):
    one = Attached(module.nl, receive_buffer=4096)
    for option, value in ((socket.SO_SNDBUF, 1 << 18),
                          (socket.SO_LINGER, struct.pack("ii", 1, 60))):
        one.server.setsockopt(socket.SOL_SOCKET, option, value)
    one.server.sendall(b"\xd0\0" * 50000)  # more than the client takes
    one.server.close()
    equal(module.nl.conn_del(one.id)["partial"], 0)
    # The first may have been let go of at the same time.
    for _ in range(2):
        other = Attached(module.nl)
        other.server.close()
        module.nl.conn_del(other.id)
        # Once it has been, the kernel takes nothing from the client any more.
        wait_until(lambda other=other: was_reset(other), "closed")
        other.close()
    one.close()


def was_reset(one):
    """Whether what a client sends is answered with RST."""
    with contextlib.suppress(ConnectionError):
        one.socket.send(ping)
        return False
    return True


@test("closing the descriptor alone sends no FIN, and QoS 0 goes on")
def closed(module):
    with Attached(module.nl) as one:
        one.server.close()
        one.sub("a")
        one.send(publish("a", b"still here"))
        equal(one.message(), ("a", b"still here"))
        one.ping()


@test("conn-adopt: descriptors of the same connections")
def adopted(module):
    attached = [Attached(module.nl) for _ in range(LIMIT["adopt_max"])]
    ids = [one.id for one in attached]
    for one in attached:
        one.server.close()
        one.send(subscribe(1, f"from/{one.id}"))
    descriptors = module.nl.adopt(*ids)
    equal(sorted(descriptors), sorted(ids))
    for one in attached:
        assert not os.get_inheritable(descriptors[one.id])
        one.server = socket.socket(fileno=descriptors[one.id])
        one.server.settimeout(TIMEOUT)
        equal(one.server.getpeername()[1], one.port)
        whole = subscribe(1, f"from/{one.id}")
        equal(one.from_client(len(whole)), whole)
        one.server.sendall(b"\x90\3\0\1\0")
        equal(one.subscribed(1), [0])
    with refused(errno.EINVAL, "too many"):
        module.nl.adopt(*ids, ids[0])
    with refused(errno.ENOENT):
        module.nl.adopt(0x7fffffff)
    for one in attached:
        one.__exit__()


@test("conn-adopt and sink-open without a descriptor: EMFILE, and no harm")
def no_descriptor(module):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Attached(module.nl) as one:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            for cmd, values in (("conn_adopt", {"id": one.id}),
                                ("sink_open", {})):
                with refused(errno.EMFILE, "no descriptor to be had"):
                    module.nl.request(cmd, values)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        one.ping()


@test("flush: RST to all, and how many there were")
def flushed(module):
    attached = [Attached(module.nl) for _ in range(20)]
    before = module.nl.stats()["ended"]["flushed"]
    equal(module.nl.flush(), 20)
    for one in attached:
        with contextlib.suppress(Closed):
            one.ping()
            raise AssertionError("not closed")
        one.__exit__()
    stats = module.nl.stats()
    equal((stats["conns"], stats["ended"]["flushed"]), (0, before + 20))
    equal(module.nl.flush(), 0)


# Subscriptions

BAD = ["#/a", "a#", "a+", "a\0b", b"\xff", "/" * 200, "\ud800".encode(
    errors="surrogatepass")]


@cases([(f"sub-add with a bad filter, {str(f)[:9]}, is all or none", f)
        for f in BAD])
def all_or_none(module, bad):
    with Attached(module.nl) as one:
        one.sub("before")
        for filters in (("x", bad), (bad, "x"), ("x", bad, "y", "before")):
            with refused(errno.EINVAL, "not a topic filter"):
                one.sub(*filters)
            with refused(errno.EINVAL, "not a topic filter"):
                module.nl.sub("sub_del", one.id, *filters)
        equal(module.nl.subs(), [(one.id, "before", 0)])
        equal(module.nl.stats()["subs"], 1)


@test("sub-add of nothing, of what is not there, to nobody")
def sub_wrong(module):
    with Attached(module.nl) as one:
        wrong = [
            (errno.EINVAL, [("conn_id", one.id)]),
            (errno.EINVAL, [("filter", {"topic": "a"})]),
            (errno.EINVAL, [("conn_id", one.id), ("filter", {"qos": 1})]),
            (errno.ERANGE, [("conn_id", one.id),
                            ("filter", {"topic": "a", "qos": 3})]),
            (errno.ERANGE, [("conn_id", one.id), ("filter", {"topic": ""})]),
            (errno.ERANGE, [("conn_id", one.id),
                            ("filter", {"topic": "x" * 65001})]),
            (errno.ENOENT, [("conn_id", 4711), ("filter", {"topic": "a"})]),
        ]
        for number, values in wrong:
            with refused(number, "("):
                module.nl.request("sub_add", values)
        equal(module.nl.stats()["subs"], 0)
        module.nl.sub("sub_del", one.id, "never", "subscribed")


@test("sub-get of 5,000 filters: complete, and each once")
def dump_subs(module):
    with Attached(module.nl) as one, Attached(module.nl) as other:
        filters = [f"f/{n}/{'x' * (n % 50)}/+" for n in range(5000)]
        for first in range(0, 5000, 500):
            one.sub(*((f, n % 3) for n, f in
                      enumerate(filters[first:first + 500], first)))
        other.sub("other")
        wanted = [(one.id, f, n % 3) for n, f in enumerate(filters)]
        equal(sorted(module.nl.subs()),
              sorted(wanted + [(other.id, "other", 0)]))
        equal(sorted(module.nl.subs(conn_id=one.id)), sorted(wanted))
        equal(module.nl.subs(conn_id=other.id), [(other.id, "other", 0)])
        equal(module.nl.subs(conn_id=4711), [])


@test("sub-get while subscriptions change: what stays is there, once")
def dump_subs_changing(module):
    with Attached(module.nl) as one, Netlink() as netlink:
        stay = [f"stay/{n}" for n in range(2000)]
        one.sub(*stay)
        stop = threading.Event()

        def change():
            while not stop.is_set():
                for cmd in "sub_add", "sub_del":
                    netlink.sub(cmd, one.id, *(f"go/{n}" for n in range(100)))

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(6):
                got = [f for _, f, _ in module.nl.subs()]
                equal(sorted(f for f in got if f[0] == "s"), sorted(stay))
        finally:
            stop.set()
            thread.join()


@test("the largest filters and client ids: dumps have them, and what follows")
def dump_large(module):
    with Attached(module.nl) as one, Attached(module.nl) as other:
        for size in 100, 16000, 33000, 65000:
            one.sub("f" * size)
            module.nl.conn_set(one.id, client_id="c" * size)
            other.sub("after")
            equal(sorted(module.nl.subs()),
                  sorted([(one.id, "f" * size, 0), (other.id, "after", 0)]))
            equal({r["id"]: len(r["client_id"]) for r in module.nl.conns()},
                  {one.id: size, other.id: 0})
            equal(len(one.record()["client_id"]), size)
            module.nl.sub("sub_del", one.id, "f" * size)


@test("conn-get while connections come and go: who stays is there, once")
def dump_conns(module):
    stay = [Attached(module.nl) for _ in range(times(100))]
    stop = threading.Event()
    failed = []

    def change():
        try:
            with Netlink() as netlink:
                while not stop.is_set():
                    with Attached(netlink, False), Attached(netlink, False):
                        pass
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(10):
            ids = [record["id"] for record in module.nl.conns()]
            equal(len(ids), len(set(ids)), "each once")
            assert {one.id for one in stay} <= set(ids), "one is missing"
    finally:
        stop.set()
        thread.join()
        for one in stay:
            one.__exit__()
    equal(failed, [])


# Publishing

@cases([(f"publish of {size:,} bytes, inline", size, False)
        for size in (0, 1, 127, 128, 16384, 32768)] +
       [(f"publish of {size:,} bytes, in a memfd", size, True)
        for size in (0, 1, 32769, 1 << 20)])
def published(module, size, in_file):
    payload = os.urandom(size)
    with Attached(module.nl) as one:
        one.sub("a/+", "#")
        if in_file:
            with open(os.memfd_create("payload"), "wb+") as file:
                file.write(payload)
                file.flush()
                module.nl.publish("a/b", payload_fd=file.fileno())
        else:
            module.nl.publish("a/b", payload)
        topic, got = one.message()
        equal(topic, "a/b")
        assert got == payload


@test("publish at QoS 1 and 2 goes to those who were granted 0")
def published_qos(module):
    with contextlib.ExitStack() as stack:
        granted = [stack.enter_context(Attached(module.nl)) for _ in range(3)]
        for qos, one in enumerate(granted):
            one.sub(("a/#", qos), ("+/b", 0))
        for qos in 0, 1, 2:
            module.nl.publish("a/b", b"%d" % qos, qos=qos)
        module.nl.publish("c/b", b"end", qos=1)
        end = [("c/b", b"end")]
        equal(granted[0].messages(4), [("a/b", b"0"), ("a/b", b"1"),
                                       ("a/b", b"2")] + end)
        for one in granted[1:]:
            equal(one.messages(2), [("a/b", b"0")] + end)


@test("publish, wrong")
def published_wrong(module):
    with open(os.pipe()[0], "rb") as pipe, \
            open(os.memfd_create("largest"), "rb+") as largest, \
            open(os.memfd_create("packet"), "rb+") as packet, \
            open(os.memfd_create("larger"), "rb+") as larger:
        largest.truncate(LIMIT["packet_max"] - 5)  # without a topic
        packet.truncate(LIMIT["packet_max"])
        larger.truncate(1 << 40)
        wrong = [
            (errno.EINVAL, {}), (errno.EINVAL, {"payload": b"x"}),
            (errno.ERANGE, {"topic": ""}),
            (errno.ERANGE, {"topic": "x" * 65001}),
            (errno.EINVAL, {"topic": "a/+"}),
            (errno.EINVAL, {"topic": b"\xff"}),
            (errno.EINVAL, {"topic": "/" * 200}),
            (errno.ERANGE, {"topic": "a", "qos": 3}),
            (errno.ERANGE, {"topic": "a", "payload": bytes(32769)}),
            (errno.EBADF, {"topic": "a", "payload_fd": 9999}),
            (errno.EINVAL, {"topic": "a", "payload_fd": pipe.fileno()}),
            (errno.EMSGSIZE, {"topic": "a", "payload_fd": largest.fileno()}),
            (errno.EMSGSIZE, {"topic": "a", "payload_fd": larger.fileno()}),
            (errno.EMSGSIZE, {"topic": "a", "payload_fd": packet.fileno(),
                              "properties": LIMIT["packet_max"] - 4}),
            (errno.EINVAL, {"topic": "a", "payload": b"x", "properties": 2}),
        ]
        for number, values in wrong:
            with refused(number, "("):
                module.nl.request("publish", values)


# Memory

def slabs():
    """Bytes of the kernel's slabs that it could not do without."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        words = dict(line.split(":") for line in meminfo)
    return int(words["SUnreclaim"].split()[0]) * 1024


def keeps_freed():
    """Whether the kernel keeps for a while what is freed, as KASAN does."""
    with open("/proc/kallsyms", encoding="ascii") as symbols:
        return any(line.endswith(" kasan_quarantine_reduce\n")
                   for line in symbols)


@test("memory: messages that wait count with all that they take, and give it back")
def waiting(module):
    count, least = 30000, 100
    wait_until(lambda: not module.nl.stats()["memory"], "nothing there")
    with Attached(module.nl) as other:
        one = Attached(module.nl, ring_messages=1000000, ring_bytes=1 << 30)
        one.sub("a", "b", hold=True)
        # Each in a run of its own: the next one has another topic.
        other.send((publish("a", b"x") + publish("b", b"x")) * (count // 2))
        wait_until(lambda: one.record()["ring_used_messages"] == count, "all")
        memory, full = module.nl.stats()["memory"], slabs()
        assert memory >= count * least, f"{memory} bytes for {count}"
        assert memory <= count * 3 * least, f"{memory} bytes for {count}"
        one.__exit__()
        wait_until(lambda: not module.nl.stats()["memory"], "nothing held")
        if not keeps_freed():
            wait_until(lambda: slabs() <= full - count * least, "given back")


@test("memory: injected messages that wait, likewise")
def waiting_injected(module):
    count, least, most = 200, 100, 1000
    with Attached(module.nl) as one:
        one.sub("a", "b", hold=True)
        for number in range(count):
            module.nl.publish("ab"[number % 2], b"x")
        wait_until(lambda: one.record()["ring_used_messages"] == count, "all")
        wait_until(lambda: module.nl.stats()["memory"] < count * most, "copied")
        memory = module.nl.stats()["memory"]
        assert memory >= count * least, f"{memory} bytes for {count}"
        module.nl.conn_set(one.id, release=True)
        equal(len(one.messages(count)), count)
        wait_until(lambda: not module.nl.stats()["memory"], "nothing held")


# Events

@test("events: one wake-up, then none until a dump; bits stay until told")
def events(module):
    with Netlink() as netlink:
        netlink.join()
        with Attached(module.nl) as one, Attached(module.nl) as other:
            module.nl.conns(pending=True)  # arms
            one.close()
            netlink.event()
            pending, = module.nl.conns(pending=True)
            equal((pending["id"], pending["events"], pending["end"]),
                  (one.id, EVENT_ENDED, END["closed"]))
            # It stays, whatever is acknowledged, until conn-del.
            module.nl.conn_set(one.id, event_seq=pending["event_seq"])
            equal([r["id"] for r in module.nl.conns(pending=True)], [one.id])

            other.close()
            netlink.event()
            module.nl.conn_del(one.id)
            equal([r["id"] for r in module.nl.conns(pending=True)], [other.id])
            module.nl.conn_del(other.id)
            equal(module.nl.conns(pending=True), [])


@test("events: without a dump between, one wake-up for all")
def events_once(module):
    with Netlink() as netlink:
        attached = [Attached(module.nl) for _ in range(10)]
        module.nl.conns(pending=True)
        netlink.join()
        for one in attached:
            one.close()
        wait_until(lambda: sum(r["state"] == STATE["ended"]
                               for r in module.nl.conns()) == 10, "all ended")
        netlink.event()
        with contextlib.suppress(TimeoutError):
            netlink.event(0.2)
            raise AssertionError("another event")
        equal(len(module.nl.conns(pending=True)), 10)
        for one in attached:
            one.__exit__()


@test("events: dropped messages; acknowledged, the bit goes")
def events_dropped(module):
    with Attached(module.nl, receive_buffer=4096, ring_messages=5) as one:
        one.sub("a")
        published = []

        def drop():
            before = one.record()["dropped_messages"]
            while one.record()["dropped_messages"] == before:
                module.nl.publish("a", bytes(10000))
                published.append("a")
            wait_until(lambda: sum(one.record()[name] for name in (
                "ring_used_messages", "tx_messages", "dropped_messages")) ==
                len(published), "all dealt with")

        drop()
        pending, = module.nl.conns(pending=True)
        equal((pending["id"], pending["events"]), (one.id, EVENT_DROPPED))
        module.nl.conn_set(one.id, event_seq=pending["event_seq"] + 1)
        equal(len(module.nl.conns(pending=True)), 1)
        module.nl.conn_set(one.id, event_seq=one.record()["event_seq"])
        equal(module.nl.conns(pending=True), [])
        drop()
        equal(len(module.nl.conns(pending=True)), 1)


@test("events: a drop after conn-get is not acknowledged with the one before")
def events_dropped_again(module):
    with Attached(module.nl, ring_messages=1) as one:
        one.sub("a", hold=True)

        def dropped():
            return module.nl.stats()["total"]["dropped_messages"]

        def drop():
            before = dropped()
            module.nl.publish("a")
            wait_until(lambda: dropped() == before + 1, "dropped")

        module.nl.publish("a")
        drop()
        seq = one.record()["event_seq"]
        drop()
        module.nl.conn_set(one.id, event_seq=seq)
        equal(len(module.nl.conns(pending=True)), 1)


# The form of requests

@cases([(f"{cmd}{' dump' * dump}: unknown attributes are rejected", cmd, dump)
        for cmd, dump in [(cmd, False) for cmd in CMD if cmd not in (
            "unspec", "event", "sub_get")] + [("conn_get", True),
                                              ("sub_get", True)]])
def unknown(module, cmd, dump):
    flags = NLM_F_DUMP if dump else NLM_F_ACK
    with Attached(module.nl) as one:
        for number in 200, 63:
            with refused(errno.EINVAL, "nknown attribute"):
                module.nl.talk(module.nl.family, CMD[cmd],
                               attribute(number, b"1234"), flags)
        one.ping()


@test("attributes of a wrong size, and of another command")
def wrong_size(module):
    with Attached(module.nl) as one:
        for cmd, name, value in (
                ("conn_get", "id", b"\1"), ("conn_get", "id", b""),
                ("conn_get", "id", bytes(8)), ("conn_add", "fd", b"\0\0"),
                ("conn_set", "keepalive", bytes(4)),
                ("conn_set", "cookie", bytes(4)),
                ("conn_set", "level", b"\4\0"),
                ("conn_get", "cookie", bytes(8)), ("conn_add", "id", bytes(4)),
                ("conn_set", "fd", bytes(4))):
            with refused(errno.EINVAL, "("):
                module.nl.request(cmd, [("id", one.id)] * (cmd == "conn_set") +
                                  [(name, value)])
        with refused(errno.ERANGE):
            module.nl.conn_set(one.id, level=2)
        with refused(errno.ERANGE):
            module.nl.conn_set(one.id, level=6)
        one.ping()


@test("what is missing, or contradicts itself: EINVAL")
def missing(module):
    with Attached(module.nl) as one:
        for cmd, values, words in (
                ("conn_add", {}, "descriptor missing"),
                ("conn_adopt", {}, "connection id missing"),
                ("memory_set", {}, "limit missing"),
                ("conn_set", {"id": one.id, "active": True, "next": True},
                 "either active or next"),
                ("conn_set", {"id": one.id, "done": 1 << 40},
                 "done has no such value"),
                ("publish", {"topic": "a", "payload": b"b", "payload_fd": 1},
                 "two payloads")):
            with refused(errno.EINVAL, words):
                module.nl.request(cmd, values)
        one.ping()


@test("commands that do not exist: EOPNOTSUPP")
def no_command(module):
    for cmd in 0, CMD["event"], max(CMD.values()) + 1, 255:
        with refused(errno.EOPNOTSUPP):
            module.nl.talk(module.nl.family, cmd, b"")
    with refused(errno.EOPNOTSUPP):
        module.nl.request("sub_get", {})
    with refused(errno.EOPNOTSUPP):
        module.nl.request("publish", {"topic": "a"}, NLM_F_DUMP)


@test("ids come round late: one that was deleted is not given again at once")
def ids(module):
    seen = set()
    for _ in range(100):
        with Attached(module.nl, False) as one:
            assert one.id and one.id not in seen
            seen.add(one.id)


@test("counters of connections and workers")
def counters(module):
    before = module.nl.stats()["total"]
    with Attached(module.nl) as one, Attached(module.nl) as other:
        other.sub("a")
        message = publish("a", b"x" * 10)
        start = one.record()
        one.send(message * 7, ping * 3, publish("nobody"), subscribe(1, "s"))
        one.from_client(len(subscribe(1, "s")))
        other.messages(7)
        for _ in range(3):
            equal(one.packet().kind, PINGRESP)
        record, after = one.record(), module.nl.stats()["total"]
        equal(record["rx_packets"] - start["rx_packets"], 12)
        equal(record["rx_publishes"], 8)
        equal(record["rx_bytes"] - start["rx_bytes"], len(
            message * 7 + ping * 3 + publish("nobody") + subscribe(1, "s")))
        record = other.record()
        equal((record["tx_messages"], record["tx_bytes"]),
              (7, 7 * len(message)))
        grown = {name: after[name] - before[name] for name in after}
        equal({name: grown[name] for name in (
            "rx_publishes", "rx_pings", "no_subscribers", "deliveries",
            "rx_user_packets", "dropped_messages", "dropped_bytes")},
            {"rx_publishes": 8, "rx_pings": 3, "no_subscribers": 1,
             "deliveries": 7, "rx_user_packets": 3, "dropped_messages": 0,
             "dropped_bytes": 0})


@test("an attached socket: what cannot be done to it")
def socket_calls(module):
    with Attached(module.nl) as one:
        server = one.server
        server.setblocking(False)
        for call, number in (
                (lambda: server.setsockopt(socket.IPPROTO_TCP, 31, b"kmqtt"),
                 errno.EEXIST),
                (lambda: server.setsockopt(socket.IPPROTO_TCP, 31, b"tls"),
                 errno.EEXIST),
                (lambda: server.setsockopt(socket.SOL_SOCKET,
                                           socket.SO_RCVLOWAT, 100),
                 errno.EOPNOTSUPP),
                (lambda: server.send(b"x", socket.MSG_OOB), errno.EOPNOTSUPP),
                (lambda: server.recv(1, socket.MSG_OOB), errno.EOPNOTSUPP),
                (lambda: server.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1),
                 errno.EBUSY),
                (lambda: server.getsockopt(socket.IPPROTO_TCP,
                                           TCP_ZEROCOPY_RECEIVE, 64),
                 errno.EOPNOTSUPP),
                (lambda: disconnect(server), errno.EBUSY),
                (lambda: os.splice(server.fileno(), os.pipe()[1], 10),
                 errno.EOPNOTSUPP)):
            with refused(number):
                call()
        # What has nothing to do with it goes on as before.
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
        equal(server.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 77)
        one.ping()


def disconnect(one):
    """Dissolve the association, as connect(2) says."""
    if libc.connect(one.fileno(), bytes(16), 16):
        raise OSError(ctypes.get_errno(), "connect")


@test("a run that fits the ring in part: its first messages come, no others")
def fits_in_part(module):
    count, room = 200, 30
    with Attached(module.nl, receive_buffer=4096, ring_messages=room) as one, \
            Attached(module.nl) as other:
        one.sub("a")
        large = 0
        while not one.record()["ring_used_messages"] or not probes(one.server):
            if not one.record()["ring_used_messages"]:
                other.publish("a", bytes(20000))
                large += 1
        came = room - one.record()["ring_used_messages"]
        other.send(b"".join(publish("a", b"%03d" % number)
                            for number in range(count)))
        wait_until(lambda: one.record()["dropped_messages"] == count - came,
                   "dropped")
        got = [payload for _, payload in one.messages(large)]
        equal(got, [bytes(20000)] * large)
        equal([payload for _, payload in one.messages(came)],
              [b"%03d" % number for number in range(came)])
        one.ping()


@test("one gathered send: 1,000 messages in one segment leave in few calls")
def gathered(module):
    with Attached(module.nl) as one, Attached(module.nl) as other:
        other.sub("a")
        before = module.nl.stats()["total"]
        one.send(publish("a", b"12345678") * 1000)
        equal(other.messages(1000), [("a", b"12345678")] * 1000)
        after = module.nl.stats()["total"]
        calls = after["tx_calls"] - before["tx_calls"]
        assert calls <= 200, f"{calls} calls"


main(Strict())
