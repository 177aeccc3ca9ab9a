#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Holds: a new subscriber gets a snapshot first, then only what is newer.

The test is the daemon: it keeps the retained messages that the sink tells of,
and sends them to who subscribes.
"""

import contextlib
import errno
import select
import threading
import time

from attached import Attached
from broker import refused
from ktap import FACTOR, LONG, equal, main, test, times, wait_until
from mqtt import PINGRESP, Closed, iter_until, ping, publish
from nl import CMD, LIMIT, NLM_F_ACK, SUB
from sink import FILTER, Sink, Sinking, retained

MESSAGE = ("new", b"live")


def silent(one, timeout=0.2):
    """Assert that nothing comes."""
    with contextlib.suppress(TimeoutError):
        raise AssertionError(f"came: {one.packet(timeout)}")


def waiting(one, count):
    """Wait until so many messages wait for it."""
    wait_until(lambda: one.record()["ring_used_messages"] == count,
               f"{count} waiting")


@test("sub-add answers the number of the sink's newest record")
def sequence(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one:
        before = one.sub("a")
        one.send(retained("r", b"1"), retained("r", b"2"))
        newest = sink.records(2)[1].seq
        equal((newest, one.sub("a")), (before + 2, newest))
        equal(one.sub("b", ("c", 1)), newest)
        equal(module.nl.sub("sub_add", LIMIT["sink_id"], "d"), newest)
        # Without NLM_F_ACK the answer is all there is.
        for flags in 0, NLM_F_ACK:
            module.nl.send(module.nl.family, *_sub_add(one), flags)
            kinds = []
            while len(kinds) < 1 + bool(flags):
                kinds += [kind for kind, *_ in module.nl.receive()]
            equal(kinds, [module.nl.family] + [2] * bool(flags))


def _sub_add(one):
    return CMD["sub_add"], SUB.encode(
        [("conn_id", one.id), ("filter", {"topic": "e"})])


@test("held: messages wait, send() and PINGRESP do not, release sends in order")
def held(module):
    with Attached(module.nl) as one, Attached(module.nl) as other:
        one.sub("old")
        equal(one.record()["held"], 0)
        one.sub("new", "new/#", hold=True)
        other.send(publish("new", b"1"), publish("old", b"2"),
                   publish("new", b"3"))
        waiting(one, 3)
        # Whom the daemon keeps waiting is there all the same.
        one.send(*[ping] * 6)
        equal([one.packet().kind for _ in range(6)], [PINGRESP] * 6)
        equal(one.record()["held"], 1)
        silent(one)
        one.server.sendall(publish("snapshot", b"s") * 3)
        equal(one.messages(3), [("snapshot", b"s")] * 3)
        silent(one)
        # A hold of a held connection changes nothing; nor do others' holds.
        one.sub("newer", hold=True)
        other.sub("new", hold=True)
        module.nl.conn_set(other.id, release=True)
        silent(one)
        module.nl.conn_set(one.id, release=True)
        equal(one.messages(3), [("new", b"1"), ("old", b"2"), ("new", b"3")])
        equal(one.record()["held"], 0)
        other.send(publish("newer", b"4"))
        equal(one.message(), ("newer", b"4"))
        module.nl.conn_set(one.id, release=True)  # of no effect
        other.send(publish("newer", b"5"))
        equal(one.message(), ("newer", b"5"))


@test("held: bounds are kept, and messages beyond them are counted")
def bounded(module):
    with Attached(module.nl, ring_messages=10) as one, \
            Attached(module.nl) as other:
        one.sub("new", hold=True)
        other.send(*(publish("new", b"%d" % n) for n in range(25)))
        wait_until(lambda: one.record()["dropped_messages"] == 15, "dropped")
        equal(one.record()["ring_used_messages"], 10)
        module.nl.conn_set(one.id, release=True)
        equal(one.messages(10), [("new", b"%d" % n) for n in range(10)])


def values(messages):
    """The payloads, in one string."""
    return b" ".join(payload for _, payload in messages)


@test("trim leaves out what the snapshot stands for, and nothing else")
def trimmed(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one, \
            Attached(module.nl) as other, Attached(module.nl) as third:
        third.sub("new/#")
        one.sub("old/#", "new/both")
        seq = one.sub("new/#", hold=True)
        other.send(retained("new/a", b"1"), publish("new/a", b"2"),
                   retained("old/a", b"3"), retained("new/both", b"4"),
                   retained("new/a", b"5"), retained("new/a", b"6"))
        waiting(one, 6)
        module.nl.publish("new/a", b"7", qos=1, retain=True)
        module.nl.publish("new/a", b"8")
        module.nl.publish("new/a", b"9", retain=True)
        waiting(one, 9)
        records = sink.records(5)
        equal(records[0].seq, seq + 1)
        equal(records[3].payload, b"5")
        module.nl.conn_set(one.id, hold_seq=records[4].seq)  # of no effect
        waiting(one, 9)
        module.nl.conn_set(one.id, hold_seq=records[3].seq, trim=True)
        waiting(one, 5)
        used = one.record()["ring_used_bytes"]
        equal(used, sum(len(publish(topic, b"1")) for topic in (
            "new/a", "old/a", "new/both", "new/a", "new/a")), "bytes")
        silent(one)

        # There was a snapshot: what comes now is newer, and stays.
        other.send(retained("new/a", b"10"))
        waiting(one, 6)
        module.nl.publish("new/a", b"11", retain=True)
        waiting(one, 7)
        module.nl.conn_set(one.id, hold_seq=1 << 63, trim=True, release=True)
        equal(values(one.messages(7)), b"2 3 4 6 8 10 11")
        equal(values(third.messages(10)), b"1 2 4 5 6 7 8 9 10 11")
        # Of no effect on who is not held.
        module.nl.conn_set(one.id, hold_seq=1 << 63, trim=True)
        other.send(retained("new/a", b"12"))
        equal(values(one.messages(1)), b"12")


@test("a second hold: what the first one left is sent, whatever its snapshot")
def again(module):
    with Sink(module.nl), Attached(module.nl) as one, \
            Attached(module.nl) as other:
        one.sub("a", hold=True)
        other.send(retained("a", b"1"))
        waiting(one, 1)
        module.nl.conn_set(one.id, release=True)  # there was no snapshot
        equal(values(one.messages(1)), b"1")
        one.sub("b", hold=True)
        other.send(retained("a", b"2"), retained("b", b"3"),
                   retained("b", b"4"))
        waiting(one, 3)
        module.nl.conn_set(one.id, hold_seq=(1 << 64) - 1, trim=True,
                           release=True)
        equal(values(one.messages(1)), b"2")
        # Subscribed again, a filter loses nothing.
        one.sub("a", hold=True)
        other.send(retained("a", b"5"))
        waiting(one, 1)
        module.nl.conn_set(one.id, hold_seq=(1 << 64) - 1, trim=True,
                           release=True)
        equal(values(one.messages(1)), b"5")


@test("a message begun is finished, and nothing comes inside another")
def begun(module):
    size = 300000
    with Attached(module.nl, receive_buffer=4096,
                  unsent_bytes=4096) as one, \
            Attached(module.nl, max_packet=1 << 20) as other:
        one.sub("old")
        other.send(publish("old", b"x" * size), publish("old", b"y" * size))
        waiting(one, 2)
        wait_until(lambda: one.record()["tx_bytes"], "begun")
        one.sub("new", hold=True)
        sender = threading.Thread(
            target=one.server.sendall, args=(publish("snapshot", b"s"),))
        sender.start()
        equal(one.message(), ("old", b"x" * size))
        got = one.message()
        equal(got[0], "snapshot")
        sender.join()
        silent(one)
        module.nl.conn_set(one.id, release=True)
        equal(one.message(), ("old", b"y" * size))


@test("PINGREQ is answered in front of what is held, but not inside a message")
def pinged(module):
    count, size = 24, 1000
    with Attached(module.nl, receive_buffer=4096,
                  unsent_bytes=4096) as one, Attached(module.nl) as other:
        one.sub("old")
        # One run, of which TCP takes some.
        other.send(*(publish("old", b"%04d" % n * (size // 4))
                     for n in range(count)))
        wait_until(lambda: one.record()["tx_bytes"], "begun")
        # This one's answer waits behind it when the hold begins.
        packets = one.record()["rx_packets"]
        one.send(ping)
        wait_until(lambda: one.record()["rx_packets"] > packets, "asked")
        one.sub("new", hold=True)
        got = list(iter_until(one.packet, lambda p: p.kind == PINGRESP))
        assert len(got) < count, "nothing was held"
        silent(one)
        # TCP has the first messages of the run, and nothing of the next one.
        one.send(ping, ping)
        equal([one.packet().kind for _ in range(2)], [PINGRESP] * 2)
        silent(one)
        module.nl.conn_set(one.id, release=True)
        got += [one.packet() for _ in range(count - len(got))]
        equal([int(whole.payload[:4]) for whole in got], list(range(count)))
        one.ping()
        record = one.record()
        equal((record["ring_used_messages"], record["ring_used_bytes"]), (0, 0))


@test("what hold, trim and release refuse")
def refusals(module):
    with Attached(module.nl) as one:
        with refused(errno.EINVAL, "sink cannot be held"):
            module.nl.sub("sub_add", LIMIT["sink_id"], "a", hold=True)
        equal(module.nl.subs(), [])
        with refused(errno.EINVAL, "without hold-seq"):
            module.nl.conn_set(one.id, trim=True, keepalive=9)
        equal(one.record()["keepalive"], 0)
        with refused(errno.EINVAL):
            module.nl.sub("sub_del", one.id, "a", hold=True)
        one.socket.close()
        wait_until(lambda: one.record()["end"], "ended")
        for values_ in {"release": True}, {"trim": True, "hold_seq": 1}:
            with refused(errno.ENOTCONN):
                module.nl.conn_set(one.id, **values_)
        with refused(errno.ENOTCONN):
            one.sub("a", hold=True)


@test("holds end with their connections")
def ended(module):
    with Sink(module.nl), Attached(module.nl) as other:
        for way in "closed", "deleted", "aborted", "released":
            one = Attached(module.nl)
            one.sub("a", "b/#", hold=True)
            other.send(retained("a", b"1"), publish("a", b"2"),
                       retained("b", b"3"))
            waiting(one, 3)
            if way == "closed":
                one.close()
                wait_until(lambda one=one: one.record()["end"], "ended")
                equal(one.record()["held"], 0)
                equal(one.record()["ring_used_messages"], 0)
            elif way == "released":
                # The worker may get both at once.
                module.nl.conn_set(one.id, release=True, trim=True, hold_seq=9)
            else:
                module.nl.conn_del(one.id,
                                   **{"abort": True} if way[0] == "a" else {})
            one.__exit__()
        one = Attached(module.nl)
        one.sub("a", hold=True)
        module.nl.flush()
        with contextlib.suppress(Closed):
            one.packet()
        one.__exit__()


@test("unsubscribing while held")
def unsubscribed(module):
    with Sink(module.nl), Attached(module.nl) as one, \
            Attached(module.nl) as other:
        for _ in range(times(50)):
            one.sub("a", "b", "c", hold=True)
            other.send(retained("a", b"1"), retained("b", b"2"))
            waiting(one, 2)
            module.nl.sub("sub_del", one.id, "a", "c")
            other.send(retained("a", b"3"), publish("b", b"4"))
            waiting(one, 3)
            module.nl.conn_set(one.id, trim=True, hold_seq=1 << 60,
                               release=True)
            equal(values(one.messages(1)), b"4")
            module.nl.sub("sub_del", one.id, "b")
        equal(module.nl.subs(), [])


class Store:
    """The retained messages, as the sink tells of them."""

    def __init__(self, sink):
        self.sink = sink
        self.values = {}
        self.seq = 0

    def read(self):
        """Read some of what there is."""
        if self.sink.readable():
            self.sink.read()
        for record in self.sink.take():
            equal(record.seq, self.seq + 1 if self.seq else record.seq)
            self.seq = record.seq
            if record.flags != FILTER:
                self.values[record.topic] = int(record.payload)

    def read_to(self, seq):
        """Read as far as that record."""
        while self.seq < seq:
            assert self.sink.readable(20 * FACTOR)
            self.read()


def flood(publisher, topic, stop):
    """Publish rising values until told to stop."""
    value = 0
    while not stop.is_set():
        packets = []
        for _ in range(value % 23 + 1):
            packets.append(retained(topic, b"%d" % value))
            value += 1
        publisher.send(*packets)


def subscribe_once(module, store, topics, count):
    """Subscribe as a daemon does, and check what the client sees."""
    with Attached(module.nl, ring_messages=1000000, ring_bytes=1 << 28) as one:
        seq = one.sub("v/+", hold=True)
        store.read_to(seq)
        seen = {}
        for topic, value in store.values.items():
            one.server.sendall(publish(topic, b"s%d" % value))
        module.nl.conn_set(one.id, hold_seq=store.seq, trim=True, release=True)
        one.server.sendall(publish("done"))

        # Of each topic the snapshot, then everything newer, and nothing else.
        poll = select.poll()
        poll.register(store.sink.descriptor, select.POLLIN)
        poll.register(one.socket, select.POLLIN)
        left = count
        while left > 0:
            assert poll.poll(20000 * FACTOR), "nothing comes"
            store.read()
            if not select.select([one.socket], [], [], 0)[0]:
                continue
            one.reader.feed(one.receive())
            for whole in one.reader:
                topic, payload = whole.topic, whole.payload
                if topic == "done":
                    continue
                left -= 1
                if payload.startswith(b"s"):
                    assert topic not in seen, f"{topic}: live before snapshot"
                    seen[topic] = int(payload[1:])
                    continue
                wanted = seen.get(topic, -1) + 1
                equal(int(payload), wanted, f"{topic} after its snapshot")
                seen[topic] = wanted
        assert set(seen) <= set(topics)


@contextlib.contextmanager
def forgotten(module):
    """Meanwhile somebody is held, whom only the module lets go."""
    released = []

    def wait():
        equal(one.packet(2 * FACTOR * LIMIT["hold_max"]).payload, MESSAGE[1])
        released.append(time.monotonic())

    with Attached(module.nl) as one, Attached(module.nl) as other:
        begin = time.monotonic()
        one.sub("new", hold=True)
        other.send(retained(*MESSAGE), publish(*MESSAGE))
        waiting(one, 2)
        thread = threading.Thread(target=wait)
        thread.start()
        yield
        thread.join()
        assert released, "not released"
        took = released[0] - begin
        assert took >= LIMIT["hold_max"] - 1, f"after {took:.1f} s"
        equal(one.message(), MESSAGE)
        equal(one.record()["held"], 0)


@test("while retained messages flood: the snapshot, then all newer ones, once;"
      " a held connection is released if nobody does it")
def flooded(module):
    topics = [f"v/{n}" for n in range(4)]
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Sink(module.nl, bytes=65536))
        stack.enter_context(forgotten(module))
        sink.record()  # of what waits there
        store = Store(sink)
        stop = threading.Event()
        publishers = [stack.enter_context(Attached(module.nl))
                      for _ in topics]
        threads = [threading.Thread(target=flood, args=(*pair, stop))
                   for pair in zip(publishers, topics)]
        for thread in threads:
            thread.start()
        try:
            deadline = time.monotonic() + (60 if LONG else 8)
            for number in range(200):
                if number >= times(20) and time.monotonic() > deadline:
                    break
                subscribe_once(module, store, topics, 100)
        finally:
            stop.set()
            while any(thread.is_alive() for thread in threads):
                sink.now()
                time.sleep(0.001)
        equal(module.nl.stats()["total"]["dropped_nomem"], 0)


main(Sinking())
