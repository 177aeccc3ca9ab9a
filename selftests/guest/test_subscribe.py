#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""SUBSCRIBE and UNSUBSCRIBE: what is promised, and when."""

import struct

from broker import Broker, client
from ktap import cases, equal, main, test, times
from mqtt import (REFUSED, Client, packet, publish, subscribe, text,
                  unsubscribe)

OVERLAPPING = ["a/#", "a/b", "a/+", "+/b", "#", "a/b/#", "+/+", "a/b"]


@test("overlapping subscriptions deliver once")
def overlapping(_):
    with client() as one, client() as publisher:
        equal(one.subscribe(*OVERLAPPING), [0] * len(OVERLAPPING))
        for number in range(20):
            publisher.publish("a/b", b"%d" % number)
        equal(one.messages(20), [("a/b", b"%d" % n) for n in range(20)])

        # Less one after the other, down to none.
        for topic_filter in dict.fromkeys(OVERLAPPING):
            publisher.publish("a/b", topic_filter.encode())
            equal(one.message(), ("a/b", topic_filter.encode()))
            one.unsubscribe(topic_filter)
        one.subscribe("end")
        publisher.send(publish("a/b", b"none left"), publish("end"))
        equal(one.message(), ("end", b""))


@test("subscribing again replaces, and one UNSUBSCRIBE ends it")
def again(broker):
    with client() as one, client() as publisher:
        for _ in range(5):
            equal(one.subscribe("x/+", "y", "x/+"), [0, 0, 0])
        record = broker.record(one)
        equal(record["subs"], 2, "subscriptions")
        equal(sorted(broker.nl.subs(conn_id=record["id"])),
              [(record["id"], "x/+", 0), (record["id"], "y", 0)])
        publisher.publish("x/1", b"once")
        equal(one.message(), ("x/1", b"once"))
        one.unsubscribe("x/+", "not/subscribed", "x/+")
        publisher.send(publish("x/1"), publish("y", b"end"))
        equal(one.message(), ("y", b"end"))
        equal(broker.record(one)["subs"], 1, "subscriptions")


@test("an UNSUBSCRIBE behind a PUBLISH in one segment: it still arrives")
def unsubscribe_own(_):
    with client() as one:
        for number in range(times(100)):
            one.subscribe("own")
            one.send(publish("own", b"%d" % number), unsubscribe(9, "own"))
            one.unsubscribed(9)
            equal(one.message(), ("own", b"%d" % number))


@test("an UNSUBSCRIBE after another client's PUBLISH was received: likewise")
def unsubscribe_other(broker):
    with client() as one, client() as publisher, client() as witness:
        record = broker.record(publisher)
        received = record["rx_bytes"]
        witness.subscribe("other")
        for number in range(times(100)):
            one.subscribe("other")
            whole = publish("other", b"%d" % number)
            publisher.send(whole)
            received += len(whole)
            if number % 2:
                broker.await_received(publisher, received, record)
                witness.message()
                one.unsubscribe("other")
                equal(one.message(), ("other", b"%d" % number))
            else:  # at once: it may come, or not, but not be torn or repeated
                one.unsubscribe("other")
                witness.message()
                # A worker reads before it delivers: only the second answer
                # comes behind what was on its way.
                one.ping()
                one.ping()
                assert len(one.inbox) <= 1
                one.inbox.clear()


@test("after UNSUBACK, nothing comes")
def unsubscribed(_):
    with client() as one, client() as publisher:
        one.subscribe("end")
        for number in range(times(100)):
            one.subscribe("gone")
            one.unsubscribe("gone")
            publisher.send(publish("gone"), publish("end", b"%d" % number))
            equal(one.message(), ("end", b"%d" % number))


@test("after SUBACK, another client's next message comes, every time")
def effective(_):
    with client() as one, client() as publisher:
        for number in range(times(200)):
            topic = f"effective/{number}"
            one.send(subscribe(1, topic if number % 2 else topic + "/#"))
            one.subscribed(1)
            publisher.publish(topic, b"heard")
            equal(one.message(), (topic, b"heard"))


@test("a topic that was published before anybody subscribed, likewise")
def effective_cached(_):
    with client() as one, client() as publisher, client() as witness:
        witness.subscribe("witness")
        for number in range(times(100)):
            publisher.send(publish("cached", b"unheard"), publish("witness"))
            witness.message()
            one.subscribe("+" if number % 2 else "cached")
            publisher.publish("cached", b"%d" % number)
            equal(one.message(), ("cached", b"%d" % number))
            one.unsubscribe("+", "cached")


MALFORMED_FILTERS = [
    "", "#/a", "a/#/b", "a#", "a/#b", "a+", "+a", "a/+b", "a/b+/c", "##", "++",
    "a/##",
]
TOO_LARGE_FILTERS = ["/".join("l" * 201), "/" * 200, "/" * 65535, "x" * 65001]
LARGE_FILTERS = ["/".join("l" * 200), "/" * 199, "x" * 65000]


@cases([(f"a bad filter, {f[:12]!r} of {len(f)} bytes: 0x80 for it alone", f)
        for f in MALFORMED_FILTERS + TOO_LARGE_FILTERS])
def bad(_, topic_filter):
    with client() as one:
        equal(one.subscribe("before", topic_filter, "after", topic_filter),
              [0, REFUSED, 0, REFUSED])
        one.send(publish("before"), publish("after"))
        equal(one.messages(2), [("before", b""), ("after", b"")])
        # UNSUBACK cannot say what is wrong, so that closes (4.8).
        if topic_filter in TOO_LARGE_FILTERS:
            one.unsubscribe("before", topic_filter, "after")
            one.ping()
        else:
            one.send(unsubscribe(7, "before", topic_filter, "after"))
            equal(one.ended(), [])


@test("filters as large as can be")
def large(broker):
    with client() as one:
        equal(one.subscribe(*LARGE_FILTERS), [0] * len(LARGE_FILTERS))
        for topic in LARGE_FILTERS:
            one.publish(topic, b"!")
            equal(one.message(), (topic, b"!"))
        equal({f for _, f, _ in broker.nl.subs()}, set(LARGE_FILTERS))
        one.unsubscribe(*LARGE_FILTERS)
        equal(broker.nl.subs(), [])


@cases([(f"{count:,} filters in one packet", count)
        for count in (100, 1000, times(20000))])
def many(broker, count):
    filters = [f"many/{number:x}/+" for number in range(count)]
    with client() as one:
        equal(one.subscribe(*filters), [0] * count)
        equal(broker.nl.stats()["subs"], count, "subscriptions")
        step = max(count // 100, 1)
        for number in range(0, count, step):
            one.publish(f"many/{number:x}/y")
            equal(one.message(), (f"many/{number:x}/y", b""))
        one.unsubscribe(*filters[1:])
        equal(broker.nl.stats()["subs"], 1, "subscriptions")
        one.publish("many/1/y")
        one.publish("many/0/y")
        equal(one.message(), ("many/0/y", b""))
    broker.await_conns(0)


@test("some good ones of 1,000")
def mixed(_):
    with client() as one:
        filters = [f"m/{n}" if n % 3 else f"m/{n}#" for n in range(1000)]
        equal(one.subscribe(*filters),
              [0 if n % 3 else REFUSED for n in range(1000)])


def malformed(kind, name):
    """Yield cases of SUBSCRIBE or UNSUBSCRIBE that must close."""
    qos = b"\0" if kind == 8 else b""
    good = text("good") + qos
    for what, body in {
        "nothing": b"",
        "half a packet identifier": b"\1",
        "packet identifier 0": b"\0\0" + good,
        "no filter": b"\0\1",
        "a filter's length cut": b"\0\1" + good + b"\0",
        "a filter cut": b"\0\1" + good + b"\0\4goo",
        "not UTF-8": b"\0\1" + good + text(b"\xff") + qos,
        "a surrogate": b"\0\1" + text(b"\xed\xa0\x80") + qos,
        "overlong": b"\0\1" + text(b"\xc0\xaf") + qos,
        "a NUL": b"\0\1" + text(b"a\0b") + qos,
    }.items():
        yield f"{name} with {what} closes", packet(kind, 2, body)


@cases([*malformed(8, "SUBSCRIBE"), *malformed(10, "UNSUBSCRIBE"),
        ("SUBSCRIBE without a QoS closes",
         packet(8, 2, struct.pack(">H", 1), text("good"))),
        ("SUBSCRIBE with QoS 3 closes", subscribe(1, ("good", 3))),
        ("SUBSCRIBE with reserved bits closes", subscribe(1, ("good", 4)))])
def closes(broker, whole):
    with broker.counted("deleted"), client() as one:
        one.send(whole)
        equal(one.ended(), [])


@test("what is granted above QoS 0 gets QoS 0 messages, too")
def granted(_):
    with client() as one:
        equal(one.subscribe(("a", 1), ("b", 2), "c"), [1, 2, 0])
        one.send(publish("a"), publish("b"), publish("c"))
        equal([t for t, _ in one.messages(3)], ["a", "b", "c"])


@test("subscriptions end with their connection")
def ends(broker):
    for end in Client.close, Client.reset:
        one = client("ends")
        one.subscribe(*OVERLAPPING)
        end(one)
        broker.await_conns(0)
        with client("ends") as one, client() as publisher:
            one.subscribe("end")
            publisher.send(publish("a/b"), publish("end"))
            equal(one.message(), ("end", b""))
        broker.await_conns(0)


main(Broker())
