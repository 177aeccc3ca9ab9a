#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Reading and sending for many connections at once (KMQTT_CMD_TRUNK_OPEN)."""

import contextlib
import ctypes
import errno
import mmap
import os
import signal
import socket
import threading

from attached import Attached, Netlinked
from ktap import cases, equal, main, test, times, wait_until
from mqtt import acknowledge, publish
from sink import Sink
from trunk import ALIGN, ARRIVAL, LEAST, MAX, RECORD, Trunk, record

ONCE = 65536     # bytes of one write()
COUNT = 40       # more than are sent at once with softirqs held back
PUBACK = 4


@contextlib.contextmanager
def attached(module, count, **limits):
    """Open the trunk, and attach so many clients: (trunk, clients)."""
    with Sink(module.nl), Trunk(module.nl) as trunk, \
            contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Attached(module.nl, **limits))
                   for _ in range(count)]
        # Their CONNECTs have been received with recv().
        while trunk.readable():
            with contextlib.suppress(BlockingIOError):
                os.read(trunk.descriptor, 1 << 16)
        yield trunk, clients


def nothing_more(one):
    """Assert that there was nothing more for it."""
    one.ping()
    assert not one.inbox, f"there was more: {list(one.inbox)[:5]}"


def nothing_arrives(trunk):
    """Assert that there is nothing to be read."""
    with contextlib.suppress(BlockingIOError):
        data = os.read(trunk.descriptor, 1 << 16)
        raise AssertionError(f"there was: {data[:40]!r}")


def filling(number):
    """Build one of the packets that fill a socket."""
    return publish("fill", b"%07d" % number + bytes(3000))


def read_filling(one, count):
    """Read so many of them."""
    for number in range(count):
        topic, payload = one.message()
        equal((topic, payload[:7]), ("fill", b"%07d" % number))


@test("what clients send arrives, in their order, whole or in pieces")
def arrives(module):
    with attached(module, 3) as (trunk, clients):
        for n, one in enumerate(clients):
            module.nl.conn_set(one.id, cookie=n + 7)
        sent = {one.id: b"" for one in clients}
        got = {one.id: b"" for one in clients}
        for number in range(1, 50):
            for n, one in enumerate(clients):
                packet = publish("a", b"%d" % number * n * 40, 2, number) \
                    if number % 3 else acknowledge(PUBACK, number)
                one.send(packet)
                sent[one.id] += packet
            if number % 7 == 0:
                while got != sent:
                    for one in trunk.read(1 << 12 if number % 2 else LEAST):
                        equal(one.cookie, 7 + [c.id for c in clients].index(
                            one.conn))
                        got[one.conn] += one.data
        equal(got, sent)


@test("a large packet arrives in pieces, and nothing is lost before done")
def large(module):
    with attached(module, 1, user_bytes=65536) as (trunk, (one,)):
        module.nl.conn_set(one.id, max_packet=1 << 20)
        packet = publish("a", bytes(range(256)) * 1000, 2, 1)
        sender = threading.Thread(target=one.send, args=(packet,))
        sender.start()
        got, done = b"", one.done
        while len(got) < len(packet):
            got += trunk.stream(one, 1)
            # The module keeps what is not done, and reads no further.
            if len(got) >= 30000:
                module.nl.conn_set(one.id, done=done + len(got))
        sender.join()
        equal(got, packet)
        nothing_arrives(trunk)


@test("those who have much to say take turns")
def turns(module):
    with attached(module, 2) as (trunk, clients):
        for one in clients:
            one.send(*[publish("a", bytes(1000), 2, n) for n in range(1, 30)])
        for one in clients:
            wait_until(lambda one=one: one.record()["rx_bytes"] > 29000,
                       "received")
        ids = []
        while len(ids) < 12:
            ids += [arrival.conn for arrival in trunk.read()]
        assert ids[:6].count(ids[0]) < 5, f"not in turn: {ids}"


@test("the end arrives, behind all that came before it")
def ends(module):
    with attached(module, 2) as (trunk, (one, other)):
        packets = publish("a", bytes(3000), 2, 1), bytes([0xe0, 0])
        one.send(*packets)
        one.close()
        got = []
        while not got or got[-1].data:
            got += trunk.read()
        equal({arrival.conn for arrival in got}, {one.id})
        equal(b"".join(arrival.data for arrival in got), b"".join(packets))
        other.reset()
        equal([(a.conn, a.data) for a in trunk.read()], [(other.id, b"")])


@test("it arrives once, though it is read while the worker ends the connection")
def ends_once(module):
    for _ in range(times(20)):
        with attached(module, 50) as (trunk, clients):
            for one in clients[1:]:
                one.send(acknowledge(PUBACK, 1))
                one.close()
            ends = []
            while len(set(ends)) < len(clients) - 1:
                ends += [a.conn for a in trunk.read() if not a.data]
            clients[0].reset()
            while clients[0].id not in ends:
                ends += [a.conn for a in trunk.read() if not a.data]
            equal(sorted(ends), sorted(one.id for one in clients))


@test("so does that of one which was told the last packet")
def ends_at_last(module):
    with attached(module, 1) as (trunk, (one,)):
        module.nl.conn_set(one.id, last=True)
        one.reset()
        equal([(a.conn, a.data) for a in trunk.read()], [(one.id, b"")])


@test("and of those that were reset before the worker was told")
def ends_before_last(module):
    for _ in range(times(5)):
        with attached(module, 50) as (trunk, clients):
            for one in clients:
                one.reset()
                with contextlib.suppress(OSError):  # the worker was faster
                    module.nl.conn_set(one.id, last=True)
            ends = []
            while len(ends) < len(clients):
                ends += [(a.conn, a.data) for a in trunk.read()]
            equal(sorted(ends), sorted((one.id, b"") for one in clients))


@test("one that was forgotten does not arrive")
def forgotten(module):
    with attached(module, 2) as (trunk, (one, other)):
        one.send(publish("a", b"", 2, 1))
        assert trunk.readable(30)
        module.nl.conn_del(one.id)
        # Or who does not read would be kept all that was.
        assert not trunk.readable(0), "it is there"
        other.send(acknowledge(PUBACK, 1))
        equal([a.conn for a in trunk.read()], [other.id])


@test("recv() and the trunk read the same bytes once")
def both(module):
    with attached(module, 1) as (trunk, (one,)):
        one.send(acknowledge(PUBACK, 1))
        assert trunk.readable(30)
        equal(one.server.recv(100), acknowledge(PUBACK, 1))
        nothing_arrives(trunk)
        one.send(acknowledge(PUBACK, 2))
        equal(trunk.stream(one, 4), acknowledge(PUBACK, 2))


@test("another daemon reads again what was not done, once it knows what was")
def adopted(module):
    with attached(module, 1) as (trunk, (one,)):
        one.send(*[acknowledge(PUBACK, n) for n in range(1, 11)])
        equal(len(trunk.stream(one, 40)), 40)
        descriptor = module.nl.adopt(one.id)[one.id]
        os.close(descriptor)
        one.send(acknowledge(PUBACK, 11))
        wait_until(lambda: one.record()["rx_bytes"] >= one.done + 44,
                   "received")
        nothing_arrives(trunk)
        module.nl.conn_set(one.id, done=one.done + 12)
        equal(trunk.stream(one, 32),
              b"".join(acknowledge(PUBACK, n) for n in range(4, 12)))
        # What arrived is nobody's when the trunk is closed; then as before.
        one.send(acknowledge(PUBACK, 12))
        assert trunk.readable(30)
        trunk.close()
        with Trunk(module.nl) as again:
            nothing_arrives(again)
            os.close(module.nl.adopt(one.id)[one.id])
            module.nl.conn_set(one.id, done=one.done + 44)
            equal(again.stream(one, 4), acknowledge(PUBACK, 12))


@test("a reader waits until there is something")
def waits(module):
    with attached(module, 1) as (trunk, (one,)):
        os.set_blocking(trunk.descriptor, True)
        got = []
        reader = threading.Thread(
            target=lambda: got.append(os.read(trunk.descriptor, 4096)))
        reader.start()
        one.send(acknowledge(PUBACK, 1))
        reader.join()
        equal(len(got[0]), ARRIVAL.size + ALIGN)


@test("a signal ends the wait")
def interrupted(module):
    libc = ctypes.CDLL(None, use_errno=True)
    with attached(module, 1) as (trunk, _):
        os.set_blocking(trunk.descriptor, True)
        before = signal.signal(signal.SIGALRM, lambda *_: None)
        # Again and again: the first may come before it waits.
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        try:
            equal(libc.read(trunk.descriptor, bytes(LEAST), LEAST), -1)
            equal(ctypes.get_errno(), errno.EINTR)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


@test("too little room, and memory that is not there")
def reads_nowhere(module):
    with attached(module, 1) as (trunk, (one,)):
        one.send(acknowledge(PUBACK, 1))
        assert trunk.readable(30)
        for size in 0, LEAST - 1:
            try:
                os.read(trunk.descriptor, size)
                raise AssertionError("was read")
            except OSError as error:
                equal(error.errno, errno.EINVAL)
        libc = ctypes.CDLL(None, use_errno=True)
        equal(libc.read(trunk.descriptor, ctypes.c_void_p(8), 4096), -1)
        equal(ctypes.get_errno(), errno.EFAULT)
        # It is not lost to the next daemon.
        os.close(module.nl.adopt(one.id)[one.id])
        module.nl.conn_set(one.id, done=one.done)
        equal(trunk.stream(one, 4), acknowledge(PUBACK, 1))


@test("memory that is there in part only")
def reads_partly(module):
    room = mmap.mmap(-1, 16384)
    with attached(module, 4) as (trunk, clients):
        packet = publish("a", bytes(MAX - 10), 2, 1)
        for one in clients:
            one.send(packet)
            wait_until(lambda one=one: one.record()["rx_bytes"] >=
                       one.done + len(packet), "received")
        libc = ctypes.CDLL(None, use_errno=True)
        start = ctypes.addressof(ctypes.c_char.from_buffer(room))
        equal(libc.mprotect(ctypes.c_void_p(start + 8192), 8192, 0), 0)
        equal(libc.read(trunk.descriptor, ctypes.c_void_p(start), 16384), -1)
        equal(ctypes.get_errno(), errno.EFAULT)
        for one in clients:
            os.close(module.nl.adopt(one.id)[one.id])
            module.nl.conn_set(one.id, done=one.done)
        got = {one.id: b"" for one in clients}
        while any(len(data) < len(packet) for data in got.values()):
            for arrival in trunk.read():
                got[arrival.conn] += arrival.data
        equal(got, {one.id: packet for one in clients})


@test("each gets its own, in order; what TCP has taken is counted")
def everybody(module):
    with attached(module, COUNT) as (trunk, clients):
        records = [record(one, publish(f"to/{n}", b"." * n, 2, n + 1))
                   for n, one in enumerate(clients)]
        before = [one.record()["accepted"] for one in clients]
        data = b"".join(records + records[::-1])
        equal(trunk.write(data), len(data))
        for n, one in enumerate(clients):
            for _ in range(2):
                got = one.packet()
                equal((got.topic, got.payload, got.number),
                      (f"to/{n}", b"." * n, n + 1))
            equal(one.record()["accepted"] - before[n],
                  2 * len(publish(f"to/{n}", b"." * n, 2, n + 1)))


@test("a write of more than 64 KiB ends between two records")
def long(module):
    with attached(module, 20) as (trunk, clients):
        records = [record(one, publish("t", bytes(MAX - 7)))
                   for one in clients]
        equal({len(r) for r in records}, {MAX + RECORD.size})
        fit = ONCE // len(records[0])
        equal(trunk.write(*records), fit * len(records[0]))
        for n, one in enumerate(clients):
            if n < fit:
                equal(len(one.message()[1]), MAX - 7)
            else:
                nothing_more(one)


@cases([
    ("no length", lambda one: RECORD.pack(one.id, 0)),
    ("too long", lambda one: RECORD.pack(one.id, MAX + 1) + bytes(MAX + 1)),
    ("as long as can be", lambda one: RECORD.pack(one.id, 0xffffffff)),
    ("cut short", lambda one: record(one, publish("topic"))[:-ALIGN]),
    ("half a head", lambda one: RECORD.pack(one.id, 4)[:7]),
])
def not_records(module, build):
    with attached(module, 2) as (trunk, (one, other)):
        try:
            trunk.write(build(one))
            raise AssertionError("was taken")
        except OSError as error:
            equal(error.errno, errno.EINVAL)
        good = record(other, publish("good"))
        equal(trunk.write(good + build(one)), len(good),
              "behind another")
        equal(other.message(), ("good", b""))
        nothing_more(one)


@test("nothing, and memory that is not there")
def nowhere(module):
    with attached(module, 1) as (trunk, (one,)):
        equal(trunk.write(b""), 0)
        libc = ctypes.CDLL(None, use_errno=True)
        equal(libc.write(trunk.descriptor, ctypes.c_void_p(8), 100), -1)
        equal(ctypes.get_errno(), errno.EFAULT)
        nothing_more(one)


@test("it ends before a connection that is not there")
def unknown(module):
    with attached(module, 3) as (trunk, (one, gone, other)):
        module.nl.conn_del(gone.id)
        records = [record(one, publish("a")), record(gone, publish("b")),
                   record(other, publish("c"))]
        equal(trunk.write(*records), len(records[0]))
        equal(trunk.write(*records[1:]), 0)
        equal(trunk.write(records[2]), len(records[2]))
        equal((one.message()[0], other.message()[0]), ("a", "c"))
        equal(trunk.write(record(0, publish("sink"))), 0)


@test("it ends before, or within, what a full socket does not take")
def full(module):
    with attached(module, 2) as (trunk, (one, other)):
        behind = record(other, publish("behind"))
        count, done = 0, None
        while done is None:
            first = record(one, filling(count))
            done = trunk.write(first + behind)
            if done == len(first + behind):
                count, done = count + 1, None
        assert done < len(first), "the one behind it was reached"
        assert done == 0 or done > RECORD.size, f"{done}: within the head"
        assert count > 10, f"only {count} fit"
        other.messages(count)
        nothing_more(other)

        # Not out of turn, whoever is asked.
        equal(trunk.write(record(one, filling(0))), 0)
        rest = filling(count)[max(done - RECORD.size, 0):]
        sender = threading.Thread(target=one.server.sendall, args=(rest,))
        sender.start()
        read_filling(one, count + 1)
        sender.join()
        equal(trunk.write(record(one, publish("next")) + behind),
              len(record(one, publish("next")) + behind))
        equal(one.message(), ("next", b""))


@test("it ends before a connection that was sent half a packet")
def half_sent(module):
    with attached(module, 1) as (trunk, (one,)):
        packet = publish("half", b"payload")
        one.server.send(packet[:5], socket.MSG_MORE)
        equal(trunk.write(record(one, publish("whole"))), 0)
        one.server.send(packet[5:])
        equal(trunk.write(record(one, publish("whole"))),
              len(record(one, publish("whole"))))
        equal([one.message()[0] for _ in range(2)], ["half", "whole"])


@test("it ends before a connection with half a message of the module's")
def half_delivered(module):
    with attached(module, 0) as (trunk, _), \
            Attached(module.nl, receive_buffer=4096, unsent_bytes=4096) as one:
        one.sub("large")
        # More than goes into both sockets, and much more than may be unsent.
        for _ in range(30):
            module.nl.publish("large", bytes(30000))
        own = record(one, publish("own"))
        wait_until(lambda: not trunk.write(own), "half a message sent")
        before = one.record()["tx_messages"]
        while not trunk.write(own):
            equal(one.message()[0], "large")
        assert one.record()["tx_messages"] > before, "none was whole since"
        one.until("own")


@test("it ends before a connection that is broken")
def broken(module):
    with attached(module, 2) as (trunk, (one, other)):
        one.reset()
        wait_until(lambda: one.record()["end"], "ended")
        records = record(one, publish("a")) + record(other, publish("b"))
        equal(trunk.write(records), 0)
        equal(trunk.write(record(other, publish("b"))),
              len(record(other, publish("b"))))
        equal(other.message(), ("b", b""))


@test("the last packet can be sent so, too")
def last(module):
    with attached(module, 1) as (trunk, (one,)):
        module.nl.conn_set(one.id, last=True)
        equal(trunk.write(record(one, publish("last"))),
              len(record(one, publish("last"))))
        equal(one.message(), ("last", b""))


main(Netlinked())
