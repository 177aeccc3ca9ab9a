#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5 in the module: QoS 0 between versions, without the daemon."""

from contextlib import ExitStack, contextmanager
import errno
import itertools
import os
import struct
import threading
import time

from attached import Attached, Lasting
from broker import refused
from ktap import TIMEOUT, cases, equal, main, seed, test, wait_until
from mqtt import PINGRESP, PUBLISH, iter_until, length, ping, publish, text
from nl import END, EVENT_DROPPED, LIMIT, NLM_F_DUMP, STATE
from sink import Sink

NO_LOCAL, AS_PUBLISHED = 1, 2
RETAIN = 1

FORMAT = b"\x01\x01"
USER = b"\x26" + text("name") + text("value")
CONTENT = b"\x03" + text("text/plain")
RESPONSE = b"\x08" + text("answers/here")
CORRELATION = b"\x09\x00\x03\0\x01\xff"


def expiry(seconds):
    """A message expiry interval."""
    return struct.pack("!BI", 2, seconds)


def alias(number):
    """A topic alias."""
    return struct.pack("!BH", 0x23, number)


def identifier(number):
    """A subscription identifier."""
    return b"\x0b" + length(number)


def publish5(topic, payload=b"", properties=b"", flags=0, number=None):
    """A PUBLISH of MQTT 5."""
    body = (text(topic) + (struct.pack("!H", number) if number else b"") +
            length(len(properties)) + properties + payload)
    return bytes([PUBLISH << 4 | flags]) + length(len(body)) + body


class Five(Attached):
    """An attached connection of protocol level 5."""

    def __init__(self, netlink, level=5, **values):
        limits = {name: values.pop(name) for name in list(values)
                  if name in ("ring_messages", "ring_bytes", "receive_buffer",
                              "unsent_bytes", "max_packet")}
        super().__init__(netlink, active=False, **limits)
        self.activate(level, **values)

    def options(self, topic, **values):
        """Subscribe with options."""
        self.netlink.request("sub_add", [
            ("conn_id", self.id), ("filter", {"topic": topic, **values})])

    def raw(self, timeout=TIMEOUT):
        """The next packet as it came."""
        whole = self.packet(timeout)
        return (bytes([whole.kind << 4 | whole.flags]) +
                length(len(whole.body)) + whole.body)

    def nothing(self):
        """Assert that nothing is on its way to it."""
        self.send(ping)
        equal(self.packet().kind, PINGRESP)


def ends(one, reason):
    """It ends for this reason."""
    wait_until(lambda: one.record()["state"] == STATE["ended"], "ended")
    equal(one.record()["end"], END[reason])


@test("properties are forwarded byte for byte, and dropped for MQTT 3.1.1")
def forwarded(module):
    with Five(module.nl) as one, Five(module.nl) as five, \
            Five(module.nl, level=4) as four:
        five.sub("t")
        four.sub("t")
        every = FORMAT, USER, CONTENT, RESPONSE, CORRELATION
        for count in 0, 1, 2, 5:
            for some in list(itertools.permutations(every, count))[::count + 1]:
                properties = b"".join(some)
                one.send(publish5("t", b"payload", properties))
                equal(five.raw(), publish5("t", b"payload", properties))
                equal(four.raw(), publish("t", b"payload"))


@test("a message of MQTT 3.1.1 gets no properties")
def upwards(module):
    with Five(module.nl, level=4) as one, Five(module.nl) as five, \
            Five(module.nl, level=4) as four:
        five.sub("t")
        four.sub("t")
        for size in 0, 1, 121, 122, 123, 124, 125, 16376, 16377, 16378, 100000:
            payload = bytes(size)
            one.send(publish("t", payload))
            equal(five.raw(), publish5("t", payload), size)
            equal(four.raw(), publish("t", payload), size)


@test("publishers of both versions in one run")
def mixed(module):
    with Five(module.nl, level=4) as old, Five(module.nl) as new, \
            Five(module.nl) as five, Five(module.nl, level=4) as four:
        five.sub("t")
        four.sub("t")
        for n in range(50):
            old.send(publish("t", b"%d" % n))
            new.send(publish5("t", b"%d" % n, USER))
        got = [five.raw() for _ in range(100)]
        equal([p for p in got if USER in p],
              [publish5("t", b"%d" % n, USER) for n in range(50)])
        equal([p for p in got if USER not in p],
              [publish5("t", b"%d" % n) for n in range(50)])
        equal(sorted(four.raw() for _ in range(100)),
              sorted([publish("t", b"%d" % n) for n in range(50)] * 2))


@contextmanager
def alone_on(processor):
    """Meanwhile its worker does not run."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, before)


@test("publishers of both versions in one turn of their worker")
def mixed_turn(module):
    with ExitStack() as stack:
        five = stack.enter_context(Five(module.nl))
        four = stack.enter_context(Five(module.nl, level=4))
        five.sub("t")
        four.sub("t")
        # Each worker has one of each.
        processors = sorted(os.sched_getaffinity(0))
        old = [stack.enter_context(Five(module.nl, level=4))
               for _ in processors]
        new = [stack.enter_context(Five(module.nl)) for _ in processors]
        for processor in processors:
            with alone_on(processor):
                for one in old:
                    one.send(publish("t", b"old"))
                for one in new:
                    one.send(publish5("t", b"new", USER))
            got = [five.raw() for _ in range(2 * len(processors))]
            equal(sorted(got), sorted(
                [publish5("t", b"old"), publish5("t", b"new", USER)] *
                len(processors)))
            got = [four.raw() for _ in got]
            equal(sorted(got), sorted(
                [publish("t", b"old"), publish("t", b"new")] *
                len(processors)))


def _many(properties, packet=publish5):
    return [packet("t", b"%d" % n, *properties) for n in range(60)]


@cases([(f"the beginning of what was received together, {what}", *each)
        for what, *each in [
            ("without properties", _many([], publish), {}, [[]]),
            ("with an identifier", _many([USER]), {"sub_id": 300},
             [[identifier(300) + USER]]),
            ("and expires", _many([expiry(3600) + USER]), {"sub_id": 300},
             [[identifier(300) + expiry(left) + USER]
              for left in (3600, 3599)])]])
def beginning(module, packets, options, forms):
    wanted = {packet: number for form in forms
              for number, packet in enumerate(_many(form))}
    received = 0
    with Five(module.nl, level=5 if "sub_id" in options else 4) as one, \
            Five(module.nl, ring_messages=5) as few:
        few.options("t", **options)
        for turn in range(1, 21):
            one.send(*packets)

            def settled(count=turn * len(packets)):
                record = few.record()
                return (record["tx_messages"] +
                        record["dropped_messages"] == count) and record

            record = wait_until(settled, "sent or dropped")
            numbers = [wanted[few.raw()]
                       for _ in range(record["tx_messages"] - received)]
            equal(numbers, sorted(set(numbers)))
            received = record["tx_messages"]
        assert received < turn * len(packets), "all of it fitted"


@cases([(f"subscription identifiers, {number}", number) for number in
        (1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455)])
def identifiers(module, number):
    with Five(module.nl) as one, Five(module.nl) as with_id, \
            Five(module.nl) as another, Five(module.nl) as without:
        with_id.options("t", sub_id=number)
        another.options("t", sub_id=number - 1 or 1)
        without.options("t")
        for n in range(40):
            one.send(publish5("t", b"%d" % n, USER))
        for n in range(40):
            equal(with_id.raw(), publish5("t", b"%d" % n,
                                          identifier(number) + USER))
            equal(another.raw(), publish5("t", b"%d" % n,
                                          identifier(number - 1 or 1) + USER))
            equal(without.raw(), publish5("t", b"%d" % n, USER))


@test("all identifiers of filters that match, once each")
def identifiers_of_all(module):
    with Five(module.nl) as one, Five(module.nl) as many, \
            Five(module.nl) as single:
        many.options("a/b", sub_id=1)
        many.options("a/+", sub_id=300)
        many.options("a/#", sub_id=70000)
        many.options("+/b")
        single.options("a/#")
        single.options("a/b", sub_id=5)
        one.send(publish5("a/b", b"x", USER), publish5("a/c", b"y", USER))
        got = many.raw()
        wanted = {b"".join(order) for order in itertools.permutations(
            [identifier(1), identifier(300), identifier(70000)])}
        assert got in {publish5("a/b", b"x", ids + USER) for ids in wanted}, got
        got = many.raw()
        assert got in {publish5("a/c", b"y", first + second + USER)
                       for first, second in itertools.permutations(
                           [identifier(300), identifier(70000)])}, got
        equal(single.raw(), publish5("a/b", b"x", identifier(5) + USER))
        equal(single.raw(), publish5("a/c", b"y", USER))
        # Replacing a subscription replaces its identifier.
        single.options("a/b", sub_id=6)
        one.send(publish5("a/b", b"z"))
        equal(single.raw(), publish5("a/b", b"z", identifier(6)))
        many.raw()
        equal(sorted((s["filter"][0].get("sub_id"), s["filter"][0]["flags"])
                     for s in module.nl.request(
                         "sub_get", {"conn_id": single.id}, NLM_F_DUMP)
                     if s["conn_id"] == single.id and
                     s["filter"][0]["topic"] == b"a/b"), [(6, 0)])


@test("no local")
def no_local(module):
    with Five(module.nl) as one, Five(module.nl) as other:
        one.options("t", flags=NO_LOCAL)
        one.options("u", flags=NO_LOCAL)
        one.options("u/#")
        other.options("#")
        for n in range(20):
            one.send(publish5("t", b"own"))
            other.send(publish5("t", b"%d" % n))
            one.send(publish5("u", b"own %d" % n))
        got = [one.raw() for _ in range(40)]
        equal([p for p in got if b"own" not in p],
              [publish5("t", b"%d" % n) for n in range(20)])
        # Another filter of its own that matches is not no-local.
        equal([p for p in got if b"own" in p],
              [publish5("u", b"own %d" % n) for n in range(20)])
        one.nothing()
        for _ in range(60):
            other.raw()
        # What the daemon injects has a publisher too.
        module.nl.publish("t", b"injected", conn_id=one.id)
        module.nl.publish("t", b"injected", conn_id=other.id)
        equal(one.raw(), publish5("t", b"injected"))
        one.nothing()
        # It can be switched on and off.
        one.options("t")
        one.send(publish5("t", b"now"))
        equal(one.raw(), publish5("t", b"now"))
        one.options("t", flags=NO_LOCAL)
        one.send(publish5("t", b"no more"))
        one.nothing()


@test("retain as published")
def as_published(module):
    with Sink(module.nl) as sink, Five(module.nl) as one, \
            Five(module.nl) as keeps, Five(module.nl) as clears, \
            Five(module.nl) as named, Five(module.nl, level=4) as four:
        keeps.options("t", flags=AS_PUBLISHED)
        named.options("t", flags=AS_PUBLISHED, sub_id=9)
        clears.options("t")
        four.sub("t")
        one.send(publish5("t", b"1", USER, RETAIN), publish5("t", b"2"),
                 publish5("t", b"3", b"", RETAIN))
        equal([keeps.raw() for _ in range(3)],
              [publish5("t", b"1", USER, RETAIN), publish5("t", b"2"),
               publish5("t", b"3", b"", RETAIN)])
        equal([named.raw() for _ in range(3)],
              [publish5("t", b"1", identifier(9) + USER, RETAIN),
               publish5("t", b"2", identifier(9)),
               publish5("t", b"3", identifier(9), RETAIN)])
        equal([clears.raw() for _ in range(3)],
              [publish5("t", b"1", USER), publish5("t", b"2"),
               publish5("t", b"3")])
        equal([four.raw() for _ in range(3)],
              [publish("t", b"%d" % n) for n in (1, 2, 3)])
        equal([(r.topic, r.properties, r.payload) for r in sink.records(2)],
              [("t", USER, b"1"), ("t", b"", b"3")])
        equal([s["filter"][0]["flags"] for s in module.nl.request(
            "sub_get", {"conn_id": keeps.id}, NLM_F_DUMP)
               if s["conn_id"] == keeps.id], [AS_PUBLISHED])
        module.nl.publish("t", b"injected", retain=True)
        equal(keeps.raw(), publish5("t", b"injected", b"", RETAIN))
        equal(clears.raw(), publish5("t", b"injected"))


@test("messages that are held have their forms")
def held(module):
    with Sink(module.nl) as sink, Five(module.nl) as one, \
            Five(module.nl) as five:
        module.nl.request("sub_add", [
            ("conn_id", five.id), ("hold", True),
            ("filter", {"topic": "t", "sub_id": 200, "flags": AS_PUBLISHED})])
        one.send(*[publish5("t", b"%d" % n, USER, RETAIN) for n in range(4)])
        seq = sink.records(4)[1].seq
        module.nl.conn_set(five.id, trim=True, hold_seq=seq, release=True)
        for n in 2, 3:
            equal(five.raw(), publish5("t", b"%d" % n, identifier(200) + USER,
                                       RETAIN))


@test("a client's maximum packet size")
def too_large(module):
    small = len(publish5("t", bytes(50), USER))
    with Five(module.nl) as one, Five(module.nl, max_send=small) as five, \
            Five(module.nl, max_send=small) as named, \
            Five(module.nl, level=4) as four:
        five.options("t")
        named.options("t", sub_id=1)
        four.sub("t")
        sizes = [50, 51, 10, 49, 48, 47, 4000, 50] * 5
        one.send(*[publish5("t", bytes(size), USER) for size in sizes])
        equal([len(four.packet().payload) for _ in sizes], sizes)
        for client, ids in (five, b""), (named, identifier(1)):
            wanted = [publish5("t", bytes(size), ids + USER) for size in sizes]
            fit = [p for p in wanted if len(p) <= small]
            equal([client.raw() for _ in fit], fit)
            client.nothing()
            equal(client.record()["dropped_too_large"], len(wanted) - len(fit))


@test("topic aliases, at every QoS")
def aliases(module):
    with Five(module.nl, max_topic_alias=10) as one, Five(module.nl) as five, \
            Five(module.nl, level=4) as four, Sink(module.nl) as sink:
        five.sub("#")
        four.sub("#")

        def comes(topic, payload, properties=b""):
            equal(five.raw(), publish5(topic, payload, properties))
            equal(four.raw(), publish(topic, payload))

        one.send(publish5("first/topic", b"1", USER + alias(1) + FORMAT))
        comes("first/topic", b"1", USER + FORMAT)
        one.send(publish5("", b"2", alias(1)))
        comes("first/topic", b"2")
        one.send(publish5("", b"3", FORMAT + alias(1) + USER))
        comes("first/topic", b"3", FORMAT + USER)
        one.send(publish5("second", b"4", alias(10)),
                 publish5("", b"5", alias(10)), publish5("", b"6", alias(1)))
        comes("second", b"4")
        comes("second", b"5")
        comes("first/topic", b"6")
        # It can be given anew, and by a PUBLISH for the daemon, which uses it.
        whole = publish5("third", b"7", alias(1) + USER, 2, 77)
        one.send(whole[:9], whole[9:], publish5("", b"8", alias(1)))
        wanted = publish5("third", b"7", USER, 2, 77)
        equal(one.from_client(len(wanted)), wanted)
        comes("third", b"8")
        one.send(publish5("", b"9", alias(1), 4, 78),
                 publish5("plain", b"10", USER, 2, 79))
        wanted = (publish5("third", b"9", b"", 4, 78) +
                  publish5("plain", b"10", USER, 2, 79))
        equal(one.from_client(len(wanted)), wanted)
        # In the sink it is resolved, too.
        one.send(publish5("", b"11", expiry(60) + alias(1), RETAIN))
        record = sink.record()
        equal((record.topic, record.properties, record.payload),
              ("third", expiry(60), b"11"))
        comes("third", b"11", expiry(60))
        with refused(errno.EBUSY, "alias"):
            module.nl.conn_set(one.id, max_topic_alias=5)


@test("topic aliases in any segmentation")
def aliases_cut(module):
    random = seed()
    with Five(module.nl, max_topic_alias=100) as one, Five(module.nl) as five:
        five.sub("#")
        stream, here, above = [], [], []
        topics = {}
        for n in range(300):
            number = random.randint(1, 100)
            payload = b"%d" % n + bytes(random.choice((0, 5, 300, 9000)))
            before = USER * random.choice((0, 0, 1, 30, 3000))
            qos = random.choice((0, 0, 1, 2))
            if number not in topics or random.random() < 0.3:
                topics[number] = topic = \
                    "x" * random.choice((1, 20, 500)) + str(n)
            else:
                topic = ""
            stream.append(publish5(topic, payload, before + alias(number),
                                   qos << 1, qos and n + 1))
            (above if qos else here).append(
                publish5(topics[number], payload, before, qos << 1,
                         qos and n + 1))
        stream, at = b"".join(stream), 0
        wanted = b"".join(above)

        def feed():
            nonlocal at
            while at < len(stream):
                n = random.choice((1, 2, 3, 7, 100, 5000, 40000))
                one.send(stream[at:at + n])
                at += n

        thread = threading.Thread(target=feed)
        thread.start()
        reader = threading.Thread(
            target=lambda: equal(one.from_client(len(wanted)), wanted))
        reader.start()
        for message in here:
            equal(five.raw(), message)
        thread.join()
        reader.join()


@cases([
    ("no alias is allowed", 0, publish5("t", b"", alias(1)), "topic_alias"),
    ("an alias above the maximum", 5, publish5("t", b"", alias(6)),
     "topic_alias"),
    ("the same above QoS 0", 5, publish5("t", b"", alias(6), 2, 1),
     "topic_alias"),
    ("alias 0", 5, publish5("t", b"", alias(0)), "topic_alias"),
    ("an alias that is not known", 5, publish5("", b"", alias(3)), "protocol"),
    ("the same above QoS 0", 5, publish5("", b"", alias(3), 2, 1), "protocol"),
    ("no topic and no alias", 5, publish5("", b""), "protocol"),
    ("two aliases", 5, publish5("t", b"", alias(1) * 2), "protocol"),
    ("a wildcard", 5, publish5("t/+", b""), "malformed"),
    ("too many levels", 5, publish5("/" * 200, b""), "topic"),
    ("not UTF-8", 5, publish5(b"\xff", b""), "malformed"),
    ("an unknown property", 5, publish5("t", b"", b"\x7f"), "malformed"),
    ("one of CONNECT's", 5, publish5("t", b"", b"\x11\0\0\0\1"), "malformed"),
    ("a subscription identifier", 5, publish5("t", b"", identifier(1)),
     "protocol"),
    ("payload format 2", 5, publish5("t", b"", b"\x01\x02"), "protocol"),
    ("payload format twice", 5, publish5("t", b"", FORMAT * 2), "protocol"),
    ("a response topic with a wildcard", 5,
     publish5("t", b"", b"\x08" + text("a/#")), "protocol"),
    ("a user property that is not UTF-8", 5,
     publish5("t", b"", b"\x26" + text("a") + text(b"\xc0\x80")), "malformed"),
    ("a property cut off", 5, publish5("t", b"", USER[:-1]), "malformed"),
    ("properties beyond the packet", 5,
     b"\x30\x05" + text("t") + b"\x05x", "malformed"),
    ("the same above QoS 0", 5,
     b"\x32\x07" + text("t") + b"\0\1\x05x", "malformed"),
    ("a property length that is not in its shortest form", 5,
     b"\x30\x05" + text("t") + b"\x80\x00", "malformed"),
    ("payload that is not UTF-8", 5, publish5("t", b"\xff", FORMAT),
     "payload_format"),
])
def broken(module, maximum, packet, reason):
    with Five(module.nl, max_topic_alias=maximum, check_format=1) as one, \
            Five(module.nl) as other:
        other.sub("#")
        one.send(publish5("t", b"before"), packet, publish5("t", b"after"))
        equal(other.raw(), publish5("t", b"before"))
        ends(one, reason)
        other.nothing()
        # The daemon can still say why.
        one.server.sendall(b"\xd0\0")
        module.nl.conn_del(one.id)
        equal([p.kind for p in one.ended()], [PINGRESP])


def _most_collected():
    """Bytes of large messages that may be being received: see rx.c."""
    with open("/proc/meminfo", encoding="ascii") as file:
        kib = int(file.readline().split()[1])
    return kib // 4 // 16 * 4096


@test("large messages announced take all the room there is: small ones go on")
def announced(module):
    parts = -(-_most_collected() // LIMIT["packet_max"])
    size = (_most_collected() - 100) // parts  # of which 5 are the header
    with ExitStack() as stack:
        def five(**values):
            return stack.enter_context(Five(module.nl, **values))

        def cut(one, whole, at):
            before = one.record()["rx_bytes"]
            one.send(whole[:at])
            wait_until(lambda: one.record()["rx_bytes"] == before + at, "read")
            one.send(whole[at:])

        big = [five(max_packet=size) for _ in range(parts)]
        for one in big:
            cut(one, b"\x30" + length(size - 5) + b"\0\1t", 8)
        one, other = five(max_topic_alias=1), five()
        other.sub("t")
        for payload in b"x" * 1000, b"y" * 2000:
            whole = publish5("t", payload)
            cut(one, whole, 500)
            equal(other.raw(), whole)
        whole = publish5("t", b"x" * 1000, flags=2, number=7)
        cut(one, whole, 500)
        equal(one.from_client(len(whole)), whole)
        # A large one waits for them.
        whole = publish5("t", b"z" * 5000)
        one.send(whole[:500])
        one.send(whole[500:])
        other.nothing()
        for one in big:
            one.reset()
        equal(other.raw(), whole)


@test("payload format is checked only where that is wanted")
def unchecked(module):
    with Five(module.nl) as one, Five(module.nl, check_format=1) as strict, \
            Five(module.nl) as other:
        other.sub("#")
        one.send(publish5("t", b"\xff", FORMAT))
        equal(other.raw(), publish5("t", b"\xff", FORMAT))
        strict.send(publish5("t", "\0ä€😀".encode(), FORMAT),
                    publish5("t", b"\xff", b"\x01\0"))
        equal(other.raw(), publish5("t", "\0ä€😀".encode(), FORMAT))
        equal(other.raw(), publish5("t", b"\xff", b"\x01\0"))


def _fill(module, one, five):
    """Publish until messages wait for a subscriber that does not read."""
    while not five.record()["ring_used_messages"]:
        one.send(publish5("t", bytes(60000)))
        wait_until(lambda: module.nl.conn(one.id)["user_used_bytes"] == 0, "")
        time.sleep(0.001)


@test("what waits expires, and the interval counts down")
def expired(module):
    with Five(module.nl) as one, \
            Five(module.nl, receive_buffer=4096, unsent_bytes=4096,
                 ring_bytes=1 << 24) as five:
        five.sub("t")
        five.options("u", sub_id=7)
        _fill(module, one, five)
        one.send(publish5("u", b"short", expiry(1) + USER),
                 publish5("u", b"long", USER + expiry(1000)),
                 publish5("t", b"none", USER))
        begin = time.monotonic()
        wait_until(lambda: time.monotonic() - begin > 2.2, "later", 100)
        got = []
        while not got or got[-1] != publish5("t", b"none", USER):
            got.append(five.raw())
        waited = time.monotonic() - begin
        long, none = got[-2:]
        assert b"short" not in b"".join(got)
        interval = 1000 - int(waited)
        assert any(long == publish5("u", b"long",
                                    identifier(7) + USER + expiry(n))
                   for n in range(interval - 1, 999)), (long, waited)
        record = five.record()
        equal((record["dropped_expired"], record["events"]),
              (1, EVENT_DROPPED))


@test("what has expired behind a message does not make TCP wait for it")
def not_corked(module):
    with ExitStack() as stack:
        one = stack.enter_context(Five(module.nl))
        fives = [stack.enter_context(Five(module.nl)) for _ in range(8)]
        for five in fives:
            five.sub("t", hold=True)
        one.send(publish5("t", b"live"), publish5("t", b"short", expiry(1)))
        for five in fives:
            wait_until(lambda five=five:
                       five.record()["ring_used_messages"] == 2, "held")
        begin = time.monotonic()
        wait_until(lambda: time.monotonic() - begin > 1.2, "later", 100)
        took = []
        for five in fives:
            begin = time.monotonic()
            module.nl.conn_set(five.id, release=True)
            equal(five.raw(), publish5("t", b"live"))
            took.append(time.monotonic() - begin)
            wait_until(lambda five=five: five.record()["dropped_expired"] == 1,
                       "expired")
        # What TCP holds back waits for a timer of 200 ms at least.
        assert min(took) < 0.15, took


@test("a message of interval 0 is delivered at once, or never")
def at_once(module):
    with Five(module.nl) as one, Five(module.nl) as five:
        five.sub("t")
        for n in range(100):
            one.send(publish5("t", b"%d" % n, expiry(5)))
        for n in range(100):
            equal(five.raw(), publish5("t", b"%d" % n, expiry(5)))


@test("shared subscriptions: one member a message, in turn")
def shared(module):
    with ExitStack() as stack:
        one, plain = (stack.enter_context(Five(module.nl)) for _ in range(2))
        crowd = [stack.enter_context(Five(module.nl, level=4 + n % 2))
                 for n in range(9)]
        plain.sub("t/+")
        for n, member in enumerate(crowd):
            member.options("t/#", group="abc"[n % 3], **(
                {"sub_id": n + 1} if n % 2 else {}))
        crowd[0].sub("t/1")
        for n in range(90):
            one.send(publish5("t/1", b"%d" % n, USER))
        for n in range(90):
            equal(plain.raw(), publish5("t/1", b"%d" % n, USER))
        for client in crowd:
            client.send(ping)
        seen = {group: [] for group in "abc"}
        for n, member in enumerate(crowd):
            got = list(iter_until(member.packet,
                                  lambda whole: whole.kind == PINGRESP))
            if n == 0:
                # Its own subscription besides: every message, too.
                equal(len(got), 90 + 30)
                continue
            equal(len(got), 30, n)
            numbers = [int(p.body.rsplit(b"value")[-1] if n % 2
                           else p.payload) for p in got]
            equal(numbers, sorted(numbers), "order")
            seen["abc"[n % 3]] += numbers
            if n % 2:
                assert all(identifier(n + 1) + USER in p.body for p in got)
        equal([sorted(seen[group]) for group in "bc"], [list(range(90))] * 2)
        equal(len(set(seen["a"])), 60)
        # Above QoS 0 they are the daemon's.
        module.nl.publish("t/1", b"above", qos=1)
        equal(plain.raw(), publish5("t/1", b"above"))
        crowd[0].raw()
        for member in crowd:
            member.nothing()
        # Who leaves is not missed; who is last takes all.
        for member in crowd[3:]:
            module.nl.request("sub_del", [("conn_id", member.id), ("filter", {
                "topic": "t/#", "group": "abc"[crowd.index(member) % 3]})])
        one.send(*[publish5("t/2", b"%d" % n) for n in range(10)])
        for member in crowd[:3]:
            equal([member.packet().body[-1:] for _ in range(10)],
                  [b"%d" % n for n in range(10)])
        for member in crowd:
            member.nothing()


@test("of a group, who does not keep up is left out")
def left_out(module):
    with Five(module.nl) as one, Five(module.nl) as good, \
            Five(module.nl, receive_buffer=4096, unsent_bytes=4096,
                 ring_bytes=1 << 24) as stuck:
        stuck.sub("fill")
        while stuck.record()["ring_used_messages"] < 4:
            one.send(publish5("fill", bytes(60000)))
            one.nothing()
        for member in good, stuck:
            member.options("t", group="g")
        one.send(*[publish5("t", b"%d" % n) for n in range(100)])
        equal(sorted(good.raw() for _ in range(100)),
              sorted(publish5("t", b"%d" % n) for n in range(100)))


@cases([("no local", {"flags": NO_LOCAL}, "no-local"),
        ("too long", {"topic": "t" * 32501, "group": "g" * 32500}, "too long"),
        ("empty", {"group": ""}, "")])
def shared_refused(module, values, word):
    with Five(module.nl) as five:
        with refused(errno.ERANGE if not word else errno.EINVAL, word):
            five.options(**{"topic": "t", "group": "g", **values})


@test("groups of one filter are bounded")
def groups_bounded(module):
    with Five(module.nl) as five:
        count = len(module.nl.stats()["worker"]) * LIMIT["groups_max"]
        for n in range(0, count, 64):
            module.nl.request("sub_add", [("conn_id", five.id)] + [
                ("filter", {"topic": "t", "group": str(each)})
                for each in range(n, min(n + 64, count))])
        with refused(errno.E2BIG, "share names"):
            five.options("t", group="more")
        equal(len({s["filter"][0]["group"] for s in module.nl.request(
            "sub_get", {"conn_id": five.id}, NLM_F_DUMP)}), count)


@test("very many shared subscriptions: others lose nothing")
def shared_bomb(module):
    filters = ["/".join(levels) for levels in itertools.product(*(
        ("+", level) for level in "abcd"))]
    with Five(module.nl) as bomber, Five(module.nl, level=4) as other:
        other.sub("a/b/c/d")
        before = module.nl.stats()["total"]["dropped_budget"]
        for n in range(520):
            module.nl.request("sub_add", [("conn_id", bomber.id)] + [
                ("filter", {"topic": topic, "group": f"group {n}"})
                for topic in filters])
        for payload in b"one", b"two":
            other.send(publish("a/b/c/d", payload))
            equal(other.raw(), publish("a/b/c/d", payload))
        equal(module.nl.stats()["total"]["dropped_budget"] - before, 2)


@test("inject with properties")
def inject(module):
    with Five(module.nl) as five, Five(module.nl, level=4) as four:
        five.options("t", sub_id=1)
        four.sub("t")
        module.nl.publish("t", USER + b"payload", properties=len(USER))
        equal(five.raw(), publish5("t", b"payload", identifier(1) + USER))
        equal(four.raw(), publish("t", b"payload"))
        for wrong in USER[:-1], alias(1), identifier(1), b"\x7f":
            with refused(errno.EINVAL, "properties"):
                module.nl.publish("t", wrong, properties=len(wrong))
        with refused(errno.EINVAL, "properties"):
            module.nl.publish("t", USER, properties=len(USER) + 1)


@test("last: the daemon has the last word, and the client hears it")
def last(module):
    with Five(module.nl) as one, Five(module.nl) as five:
        five.sub("t")
        one.send(publish5("t", b"before"))
        equal(five.raw(), publish5("t", b"before"))
        module.nl.conn_set(five.id, last=True)
        one.send(publish5("t", b"after"))
        five.send(publish5("t", b"not read"), ping)
        one.nothing()
        five.server.sendall(b"\xd0\0")
        record = module.nl.conn_del(five.id)
        equal((record["end"], record["tx_messages"]), (END["deleted"], 1))
        # Nothing but that, and no RST, although something was not read.
        equal([p.kind for p in five.ended()], [PINGRESP])


@test("last: what is begun is finished before it")
def last_begun(module):
    with Five(module.nl) as one, \
            Five(module.nl, receive_buffer=4096, unsent_bytes=4096,
                 ring_bytes=1 << 24) as five:
        five.sub("t")
        while five.record()["ring_used_messages"] < 3:
            one.send(publish5("t", bytes(60000)))
            one.nothing()
        module.nl.conn_set(five.id, last=True)
        thread = threading.Thread(
            target=five.server.sendall, args=(b"\xd0\0",))
        thread.start()
        got = list(iter_until(five.packet, lambda p: p.kind == PINGRESP))
        equal({p.payload for p in got}, {b"\0" + bytes(60000)})
        thread.join()
        equal(five.record()["tx_messages"] < 100, True)


@test("the level cannot change under subscriptions")
def level(module):
    with Five(module.nl) as five:
        five.sub("t")
        with refused(errno.EBUSY, "subscriptions"):
            module.nl.conn_set(five.id, level=4)
        module.nl.conn_set(five.id, level=5)


main(Lasting())
