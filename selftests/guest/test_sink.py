#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The sink: what the daemon is told of QoS 0 publishes, without the daemon."""

import contextlib
import errno
import os
import signal
import subprocess
import threading

from attached import Attached
from broker import NEW_NET, in_child, refused
from ktap import cases, equal, main, test, times, wait_until
from mqtt import Closed, publish
from nl import LIMIT, NLM_F_DUMP, Netlink
from sink import FILTER, RETAIN, SHARES, UPGRADE, Sink, Sinking, retained

SINK_ID = LIMIT["sink_id"]
SMALLEST = 65536  # of the limits that sink-open accepts
CHUNK_MESSAGES = 64  # of one connection, that are read at a time


def numbered(count, topic="n", size=8):
    """Build retained messages that say their number."""
    return [retained(topic, b"%08d" % n + bytes(size - 8))
            for n in range(count)]


# This one must come first: the module has just been loaded.

@test("before the first sink-open, a retained publish is passed up")
def unopened(module):
    with Attached(module.nl) as one, Attached(module.nl) as other:
        other.sub("#")
        whole = retained("a", b"up")
        one.send(whole, publish("b", b"live"))
        equal(one.from_client(len(whole)), whole)
        equal(other.message(), ("b", b"live"))
        equal(module.nl.stats()["sink_seq"], 0)


@test("a retained publish is recorded, and goes to subscribers without RETAIN")
def recorded(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one, \
            Attached(module.nl) as other:
        other.sub("a/#")
        assert not sink.readable()
        with contextlib.suppress(BlockingIOError):
            os.read(sink.descriptor, 1)
            raise AssertionError("something to read")
        one.send(retained("a/b", b"value"), publish("a/c", b"not retained"),
                 retained("nobody", b""))
        # Client is strict: a server's PUBLISH may not have RETAIN here.
        equal(other.messages(2), [("a/b", b"value"), ("a/c", b"not retained")])
        first, second = sink.records(2)
        equal(first[1:5], (one.id, "a/b", b"value", RETAIN))
        equal(second[1:5], (one.id, "nobody", b"", RETAIN))
        equal(second.seq, first.seq + 1)
        stats = module.nl.stats()
        equal((stats["sink_seq"], stats["sink_records"], stats["sink_bytes"]),
              (second.seq, 0, 0))
        equal(one.record()["rx_publishes"], 3)


@cases([(f"records of all sizes, read {size} bytes at a time", size)
        for size in (1, 7, 24, 4096, 1 << 20)])
def sizes(module, size):
    payloads = [b"p" * n for n in [*range(10), 250, 5000]]
    if size > 24:
        payloads += [b"q" * 33000, b"r" * 70000, b"s"]
    with Sink(module.nl) as sink, Attached(module.nl) as one:
        one.send(*(retained("t" * (n % 9 + 1), payload)
                   for n, payload in enumerate(payloads)))
        wait_until(lambda: module.nl.stats()["sink_records"] == len(payloads),
                   "recorded")
        for n, record in enumerate(sink.records(len(payloads), size)):
            equal(record[1:5], (one.id, "t" * (n % 9 + 1), payloads[n], RETAIN))


@test("publishes of two connections: each in order, sequence without gaps")
def order(module):
    count = times(2000)
    with Sink(module.nl) as sink, Attached(module.nl) as one, \
            Attached(module.nl) as other:
        threads = [threading.Thread(target=publisher.send,
                                    args=numbered(count))
                   for publisher in (one, other)]
        for thread in threads:
            thread.start()
        records = sink.records(2 * count)
        for thread in threads:
            thread.join()
        first = records[0].seq
        equal([r.seq for r in records], list(range(first, first + 2 * count)))
        for publisher in one, other:
            equal([int(r.payload) for r in records if r.conn == publisher.id],
                  list(range(count)))


@test("sink-open: EBUSY while it is open, close-on-exec, ERANGE")
def opened(module):
    with Sink(module.nl) as sink:
        assert not os.get_inheritable(sink.descriptor)
        copy = os.dup(sink.descriptor)
        with refused(errno.EBUSY, "open already"):
            module.nl.sink_open()
        sink.close()
        with refused(errno.EBUSY):
            module.nl.sink_open()
        os.close(copy)
    for size in 0, SMALLEST - 1, (1 << 30) + 1:
        with refused(errno.ERANGE):
            module.nl.sink_open(bytes=size)
    Sink(module.nl, bytes=1 << 30).close()


@test("what was not read stays; what was read in part is read again")
def reopened(module):
    with Attached(module.nl) as one:
        with Sink(module.nl) as sink:
            one.send(*numbered(3))
            first = sink.record(31)
            assert sink.data, "nothing of the second was read"
        one.send(retained("n", b"while it is closed"))
        wait_until(lambda: module.nl.stats()["sink_records"] == 3, "recorded")
    with Sink(module.nl) as sink:
        records = sink.records(3)
        equal([r.seq for r in records], [first.seq + n for n in (1, 2, 3)])
        equal([r.payload for r in records],
              [b"00000001", b"00000002", b"while it is closed"])


@test("a reader that blocks, and poll(), wake up")
def woken(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one:
        got = []
        for wait in sink.readable, lambda _: \
                got.append(os.read(sink.descriptor, 1000)):
            os.set_blocking(sink.descriptor, True)
            done = threading.Event()
            thread = threading.Thread(
                target=lambda wait=wait, done=done: (wait(20), done.set()))
            thread.start()
            assert not done.wait(0.1), "it did not wait"
            one.send(retained("wake", b"up"))
            assert done.wait(20), "it did not wake up"
            thread.join()
            while wait == sink.readable and sink.readable():
                os.read(sink.descriptor, 1000)
        assert b"wakeup" in got[0]


@test("a reader that blocks is interrupted; closing meanwhile is harmless")
def closed(module):
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        with Netlink() as netlink:
            descriptor = netlink.sink_open()
        thread = threading.Thread(target=os.read, args=(descriptor, 10))
        thread.start()
        os.close(descriptor)  # the reader has the file still
        os.write(write, b"!")
        signal.alarm(1)
        signal.pause()
    os.close(write)
    equal(os.read(read, 1), b"!")
    os.close(read)
    equal(os.waitpid(pid, 0)[1], 0, "status")
    wait_until(lambda: _opens(module), "closed")


def _opens(module):
    with contextlib.suppress(OSError):
        Sink(module.nl).close()
        return True
    return False


# Filters

@test("filters of the sink: sub-add, sub-get, sub-del with sink-id")
def filters(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one, \
            Attached(module.nl) as other:
        before = module.nl.stats()["total"]["no_subscribers"]
        one.sub("live")
        module.nl.sub("sub_add", SINK_ID, "a/+", ("b", 1), "a/#")
        module.nl.sub("sub_add", SINK_ID, "b", "live")
        everything = [(SINK_ID, f, 0) for f in ("a/+", "b", "a/#", "live")]
        equal(sorted(module.nl.subs(conn_id=SINK_ID)), sorted(everything))
        equal(sorted(module.nl.subs()),
              sorted(everything + [(one.id, "live", 0)]))
        equal(module.nl.subs(conn_id=one.id), [(one.id, "live", 0)])

        other.send(publish("a/1", b"x"), publish("c", b"no"), publish("b"),
                   retained("a/2", b"both"), publish("live", b"both ways"))
        equal(one.message(), ("live", b"both ways"))
        equal([r[2:5] for r in sink.records(4)],
              [("a/1", b"x", FILTER), ("b", b"", FILTER),
               ("a/2", b"both", RETAIN | FILTER),
               ("live", b"both ways", FILTER)])
        equal(module.nl.stats()["total"]["no_subscribers"] - before, 1, "c")

        module.nl.sub("sub_del", SINK_ID, "a/+", "live", "not subscribed")
        other.send(publish("a/1", b"y"), publish("live", b"1"))
        equal(one.message(), ("live", b"1"))
        # Subscribers may have it a moment before it can be read.
        equal([r.topic for r in [sink.record(), *sink.now()]], ["a/1"])
        module.nl.sub("sub_del", SINK_ID, "a/#", "b")
        other.send(publish("a/1", b"z"), publish("live", b"2"))
        equal(one.message(), ("live", b"2"))
        equal(sink.now(), [])
        equal(module.nl.subs(), [(one.id, "live", 0)])


@test("the sink is subscribed and unsubscribed while messages flow")
def changing(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one:
        stop = threading.Event()
        thread = threading.Thread(target=lambda: [
            one.send(*(publish(f"t/{n}", b"x") for n in range(20)))
            for _ in iter(stop.is_set, True)])
        thread.start()
        for _ in range(times(200)):
            module.nl.sub("sub_add", SINK_ID, "t/1", "+/2", "#")
            equal(sink.record().flags, FILTER)
            module.nl.sub("sub_del", SINK_ID, "t/1", "+/2", "#")
            sink.now()
        stop.set()
        thread.join()


@test("injected messages do not go into the sink")
def injected(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one:
        one.sub("#")
        module.nl.sub("sub_add", SINK_ID, "#")
        for qos in 0, 1, 2:
            module.nl.publish("injected", b"%d" % qos, qos=qos)
            equal(one.message(), ("injected", b"%d" % qos))
        equal(sink.now(), [])


@test("sub-add of the sink refuses as for connections")
def bad_filters(module):
    for number, words, pairs in (
            (errno.EINVAL, "filter missing", []),
            (errno.EINVAL, "not a topic filter",
             [("filter", {"topic": "a#", "qos": 0})])):
        with refused(number, words):
            module.nl.request("sub_add", [("conn_id", SINK_ID), *pairs])
    with refused(errno.ENOENT):
        module.nl.conn(SINK_ID)
    with refused(errno.ENOENT):
        module.nl.conn_set(SINK_ID, keepalive=1)
    equal(module.nl.subs(), [])


# A full sink

def _paused(module, count):
    wait_until(lambda: module.nl.stats()["sink_waiting"] == count,
               f"{count} publishers wait")
    return module.nl.stats()


@cases([
    ("a full sink pauses publishers of retained messages, and only them",
     retained, 100, 1),
    ("a full sink pauses publishers of messages that its filters match",
     publish, 100, CHUNK_MESSAGES + 1),
    ("a full sink and messages of 50,000 bytes", retained, 50000, 1),
])
def full(module, build, size, more):
    charge = 256 + (1 << (size + 40).bit_length())
    # Each can fill it alone.
    count = max(40 if size > 10000 else times(3000), 8 * SMALLEST // charge)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Sink(module.nl, bytes=SMALLEST))
        if build is publish:
            module.nl.sub("sub_add", SINK_ID, "full/#")
        flooders, others = ([stack.enter_context(
            Attached(module.nl, max_packet=1 << 20)) for _ in range(3)]
            for _ in range(2))
        others[0].sub("live", "full/now")
        before = module.nl.stats()["sink_waits"]
        threads = []
        for n, one in enumerate(flooders):
            packets = [build(f"full/{n}", b"%08d" % i + bytes(size - 8))
                       for i in range(count)]
            threads.append(threading.Thread(target=one.send, args=packets))
            threads[-1].start()
        stats = _paused(module, len(flooders))
        # Workers that fill it at once add what each reads at a time.
        most = SMALLEST + len(flooders) * more * charge + \
            len(stats["worker"]) * (CHUNK_MESSAGES + 1) * min(charge, 4096)
        assert SMALLEST <= stats["sink_bytes"] <= most, \
            f"{stats['sink_bytes']} bytes, at most {most}"
        equal(stats["sink_waits"] - before, len(flooders), "waits")

        # They are not read, and not silent; others flow, a message each too.
        received = [one.record()["rx_publishes"] for one in flooders]
        others[1].send(*(publish("live", b"%d" % n) for n in range(500)))
        equal(others[0].messages(500),
              [("live", b"%d" % n) for n in range(500)])
        others[2].send(build("full/now", b"live"), publish("live", b"later"))
        equal(others[0].message(), ("full/now", b"live"))
        _paused(module, len(flooders) + 1)
        equal([one.record()["rx_publishes"] for one in flooders], received)
        assert module.nl.stats()["sink_bytes"] <= most + charge

        # It drains, and all is there, in order.
        numbers = {one.id: 0 for one in flooders}
        total = len(flooders) * count + 1
        for record in sink.records(total, 1 << 15):
            if record.topic != "full/now":
                equal(int(record.payload[:8]), numbers[record.conn])
                numbers[record.conn] += 1
        equal(others[0].message(), ("live", b"later"))
        equal(set(numbers.values()), {count})
        for thread in threads:
            thread.join()
        stats = module.nl.stats()
        equal((stats["sink_waiting"], stats["sink_bytes"]), (0, 0))


@test("keep alive is suspended for a publisher that waits; what it had sent"
      " before a reset comes")
def waiting(module):
    with Sink(module.nl, bytes=SMALLEST) as sink:
        with Attached(module.nl, active=False) as one, \
                Attached(module.nl) as other, Attached(module.nl) as gone:
            one.activate(keepalive=1)
            one.send(*numbered(60, size=2000))
            _paused(module, 1)
            other.send(*numbered(2))
            _paused(module, 2)
            # Twice and a half of what a silent client has.
            assert not wait_until_ended(module, one, 4), "keep alive ended it"
            gone.send(*numbered(2))
            _paused(module, 3)
            module.nl.conn_del(gone.id)
            _paused(module, 2)
            other.reset()
            sink.records(60 + 2 + 1)
            wait_until(lambda: one.record()["end"] and other.record()["end"],
                       "ended")


def wait_until_ended(module, one, timeout):
    """Return whether a connection ends in that time."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: module.nl.conn(one.id)["end"], "ended", timeout)
        return True
    return False


@test("a larger sink lets publishers go on when it is opened")
def larger(module):
    with Attached(module.nl) as one:
        with Sink(module.nl, bytes=SMALLEST):
            thread = threading.Thread(target=one.send,
                                      args=numbered(500, size=1000))
            thread.start()
            _paused(module, 1)
        with Sink(module.nl) as sink:
            wait_until(lambda: module.nl.stats()["sink_records"] == 500, "all")
            thread.join()
            equal([int(r.payload[:8]) for r in sink.records(500)],
                  list(range(500)))


@test("flush forgets records and filters, but for a record read in part")
def flushed(module):
    with Sink(module.nl, bytes=SMALLEST) as sink, Attached(module.nl) as one:
        module.nl.sub("sub_add", SINK_ID, "a", "b/#")
        thread = threading.Thread(target=_flood, args=(one,))
        thread.start()
        _paused(module, 1)
        first = sink.record(48)
        assert sink.data
        equal(module.nl.flush(), 1)
        thread.join()
        stats = module.nl.stats()
        equal((stats["sink_records"], stats["sink_waiting"], stats["subs"],
               stats["filters"]), (1, 0, 0, 0))
        equal([r.seq for r in sink.now()], [first.seq + 1])
        assert not sink.data
        equal(module.nl.flush(), 0)
    with Sink(module.nl) as sink, Attached(module.nl) as one:
        one.send(retained("on", b"and on"))
        assert sink.record().seq > first.seq + 1


@test("with keep, a record stays until it is done, and is read again")
def kept(module):
    with Attached(module.nl) as one:
        with Sink(module.nl, keep=True) as sink:
            one.send(*numbered(5))
            records = sink.records(3)
            first = records[0].seq
            with refused(errno.EINVAL, "not been read"):
                module.nl.request("sink_done", {"done": first + 5})
            records += sink.records(2)
            equal(module.nl.stats()["sink_records"], 5)
            module.nl.request("sink_done", {"done": first + 1})
            equal(module.nl.stats()["sink_records"], 3)
            module.nl.request("sink_done", {"done": first + 1})
            assert not sink.readable()
        with Sink(module.nl, keep=True) as sink:
            with refused(errno.EINVAL, "not been read"):
                module.nl.request("sink_done", {"done": first + 2})
            equal(sink.records(3), records[2:])
            one.send(*numbered(1))
            sink.record()
            with refused(errno.EINVAL, "done missing"):
                module.nl.request("sink_done", {})
        with Sink(module.nl) as sink:
            equal(len(sink.records(4)), 4)
            equal(module.nl.stats()["sink_records"], 0)


@test("with keep, what is not done pauses publishers")
def kept_full(module):
    with Sink(module.nl, bytes=SMALLEST, keep=True) as sink, \
            Attached(module.nl) as one:
        thread = threading.Thread(target=_flood, args=(one,))
        thread.start()
        _paused(module, 1)
        records = sink.now()
        equal(module.nl.stats()["sink_waiting"], 1)
        while len(records) < 500:
            module.nl.request("sink_done", {"done": records[-1].seq})
            records.append(sink.record())
            records += sink.now()
        thread.join()


@test("with keep, flush forgets what was read, but for a record read in part")
def kept_flushed(module):
    with Sink(module.nl, keep=True) as sink, Attached(module.nl) as one:
        one.send(*numbered(9))
        first = sink.record(30)
        sink.record(30)
        assert sink.data
        equal(module.nl.flush(), 1)
        equal(module.nl.stats()["sink_records"], 1)
        equal([r.seq for r in sink.now()], [first.seq + 2])
        module.nl.request("sink_done", {"done": first.seq + 2})
        equal(module.nl.stats()["sink_records"], 0)


@test("the last serial of what was injected is remembered")
def serial(module):
    with Sink(module.nl):
        module.nl.publish("a", b"", serial=77)
        equal(module.nl.stats()["injected"], 77)
        module.nl.publish("a", b"")
        equal(module.nl.stats()["injected"], 77)
        with refused(errno.EINVAL):
            module.nl.publish("a/#", b"", serial=78)
        equal(module.nl.stats()["injected"], 77)


def _flood(one):
    with contextlib.suppress(Closed):
        one.send(*numbered(500, size=1000))


def upgraded(one, topic, qos, **more):
    """Subscribe so that the daemon delivers what is published at QoS 0, too."""
    one.netlink.request("sub_add", [
        ("conn_id", one.id),
        ("filter", {"topic": topic, "qos": qos, "flags": UPGRADE, **more})])


@test("upgrade: one record a message, for all who ask for it; the module delivers"
      " to the others")
def upgrade(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one, \
            Attached(module.nl) as zero, Attached(module.nl) as plain, \
            Attached(module.nl) as first, Attached(module.nl) as second:
        zero.sub("#")
        plain.sub(("t/+", 1))
        upgraded(first, "t/a", 1)
        upgraded(first, "t/#", 2)
        second.sub("#")
        upgraded(second, "+/a", 2)
        seq = module.nl.stats()["sink_seq"]
        one.send(publish("t/a", b"1"), publish("other", b"2"),
                 publish("t/b", b"3"), publish("t/a", b"4"))
        # All that they get: neither is first served, nor second in t/a.
        equal(zero.messages(4), [("t/a", b"1"), ("other", b"2"),
                                 ("t/b", b"3"), ("t/a", b"4")])
        equal(plain.messages(3), [("t/a", b"1"), ("t/b", b"3"),
                                  ("t/a", b"4")])
        equal(second.messages(2), [("other", b"2"), ("t/b", b"3")])
        equal([r[1:5] for r in sink.records(3)],
              [(one.id, "t/a", b"1", FILTER), (one.id, "t/b", b"3", FILTER),
               (one.id, "t/a", b"4", FILTER)])
        equal(module.nl.stats()["sink_seq"], seq + 3)
        one.send(retained("t/c", b"5"))
        for client in zero, second:
            equal(client.message(), ("t/c", b"5"))
        equal(sink.record()[1:5], (one.id, "t/c", b"5", FILTER | RETAIN))
        for client in first, second:
            client.ping()
            assert not client.inbox, client.inbox


@test("upgrade: what is injected goes to those whose highest QoS is 0, if it was"
      " published above, else to all")
def upgrade_injected(module):
    with Sink(module.nl) as sink, Attached(module.nl) as zero, \
            Attached(module.nl) as first:
        zero.sub("t")
        upgraded(first, "t", 1)
        module.nl.publish("t", b"1", qos=1)
        module.nl.publish("t", b"0")
        equal(zero.messages(2), [("t", b"1"), ("t", b"0")])
        equal(first.message(), ("t", b"0"))
        assert not sink.readable()


@test("upgrade begins and ends with sub-add, sub-del and the connection, a topic"
      " that has been matched before included")
def upgrade_ends(module):
    with Sink(module.nl) as sink, Attached(module.nl) as one, \
            Attached(module.nl) as other:
        def published(payload, client, *records):
            one.send(publish("t", payload))
            one.ping()
            if client:
                equal(client.message(), ("t", payload))
            equal([r[1:5] for r in sink.now()],
                  [(one.id, "t", payload, FILTER)] * len(records))

        other.sub(("t", 1))
        published(b"a", other)
        upgraded(other, "t", 2)
        wait_until(lambda: [
            (s["filter"][0]["qos"], s["filter"][0]["flags"]) for s in
            module.nl.request("sub_get", {}, NLM_F_DUMP)] == [(2, UPGRADE)],
            "it says so")
        published(b"b", None, 1)
        other.sub(("t", 2))
        published(b"c", other)
        upgraded(other, "t", 1)
        published(b"d", None, 1)
        module.nl.sub("sub_del", other.id, "t")
        published(b"e", None)
        with Attached(module.nl) as gone:
            upgraded(gone, "t", 1)
            published(b"f", None, 1)
        published(b"g", None)
        for flags, qos in (UPGRADE, 0), (UPGRADE * 2, 1):
            with refused(errno.EINVAL if flags == UPGRADE else errno.ERANGE):
                module.nl.request("sub_add", [
                    ("conn_id", other.id),
                    ("filter", {"topic": "t", "qos": qos, "flags": flags})])


@test("upgrade: members of shared subscriptions are the daemon's to choose, of the"
      " sink's too")
def upgrade_shared(module):
    def shared(topic, group, **more):
        return "filter", {"topic": topic, "group": group, **more}

    with Sink(module.nl) as sink, Attached(module.nl) as one, \
            Attached(module.nl) as member, Attached(module.nl) as other:
        module.nl.request("sub_add", [("conn_id", member.id),
                                      shared("t", b"g")])
        other.sub("t")
        one.send(publish("t", b"1"))
        for client in member, other:
            equal(client.message(), ("t", b"1"))
        assert not sink.readable()
        upgraded(one, "t", 1, group=b"g")
        one.send(publish("t", b"2"))
        equal(other.message(), ("t", b"2"))
        equal(sink.record()[1:5], (one.id, "t", b"2", FILTER | SHARES))
        module.nl.request("sub_del", [("conn_id", one.id), shared("t", b"g")])
        module.nl.request("sub_add", [("conn_id", SINK_ID), shared("t", b"h")])
        one.send(publish("t", b"3"))
        equal(other.message(), ("t", b"3"))
        equal(sink.record()[1:5], (one.id, "t", b"3", FILTER | SHARES))
        module.nl.request("sub_del", [("conn_id", SINK_ID), shared("t", b"h")])
        one.send(publish("t", b"4"))
        for client in member, other:
            equal(client.message(), ("t", b"4"))
        assert not sink.readable()


@test("the sink of a namespace that ends, with records and filters in it")
def namespace(module):
    def inside():
        with Netlink() as netlink:
            equal(netlink.stats()["sink_seq"], 0)
            netlink.sub("sub_add", SINK_ID, "a/b", "#")
            sink = Sink(netlink)
            assert not sink.readable()

    for _ in range(3):
        in_child(inside, unshare=NEW_NET)
    equal(module.nl.subs(), [])


@test("connections that no daemon comes for end after the orphan timeout")
def orphans(module):
    Sink(module.nl, orphan_timeout=1).close()
    before = module.nl.stats()["ended"].get("orphaned", 0)
    for count in 1, 2:
        one = Attached(module.nl)
        one.ended()
        equal(module.nl.stats()["ended"]["orphaned"], before + count)
        one.socket.close()
        one.server.close()
    Sink(module.nl).close()


@test("the module unloads with records in the sink")
def unloaded(module):
    with Attached(module.nl) as one:
        one.send(*numbered(100))
        wait_until(lambda: module.nl.stats()["sink_records"] == 100, "queued")
    with Sink(module.nl) as sink:
        sink.record(48)
        equal(subprocess.run(["rmmod", "kmqtt"], check=False,
                             capture_output=True).returncode, 1, "rmmod")
    module.nl.sub("sub_add", SINK_ID, "a/b", "a/#")
    equal(module.nl.stats()["sink_records"], 100 - 1)
    module.nl.close()
    wait_until(lambda: not subprocess.run(
        ["rmmod", "kmqtt"], check=False, capture_output=True).returncode,
        "unloaded")
    module.load()


main(Sinking())
