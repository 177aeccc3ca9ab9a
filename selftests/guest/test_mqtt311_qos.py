#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 3.1.1: PUBLISH, QoS 0 to 2 both ways (3.3, 4.3, 4.4, 4.6)."""

import contextlib

from broker import CONFIG, any_broker, client
from ktap import LONG, cases, equal, main, test
from mqtt import (PUBACK, PUBCOMP, PUBREC, PUBREL, Closed, acknowledge,
                  publish)

DUP, RETAIN = 8, 1


@contextlib.contextmanager
def durable(name, *filters, **fields):
    """A client with a durable session, which ends with it."""
    one = client(name, clean=False, **fields)
    one.subscribe(*filters)
    yield one
    one.close()
    client(name).disconnect()


def again(name):
    """Connect again to a durable session."""
    return client(name, clean=False, present=True)


@contextlib.contextmanager
def pair(qos):
    """A subscriber of t at that QoS, and a publisher."""
    with client() as one, client() as other:
        equal(one.subscribe(("t", qos)), [qos])
        yield one, other


def flags(qos, dup=False):
    """The fixed header's flags."""
    return qos << 1 | dup << 3


def send_2(one, number, payload, dup=False):
    """Publish at QoS 2, with that identifier."""
    one.send(publish("t", payload, flags(2, dup), number))
    one.acknowledged(PUBREC, number)
    one.send(acknowledge(PUBREL, number))
    one.acknowledged(PUBCOMP, number)


# What a PUBLISH must be.

@test("both QoS bits set closes [MQTT-3.3.1-4]")
def qos_3(_):
    with client() as witness:
        witness.subscribe("t")
        for dup in False, True:
            with client() as one:
                one.send(publish("t", b"m", flags(3, dup), 1))
                equal(one.ended(), [])
        witness.quiet()


@test("DUP at QoS 0 closes [MQTT-3.3.1-2]")
def dup_0(_):
    with client() as one:
        one.send(publish("t", b"m", DUP))
        equal(one.ended(), [])


@cases([(f"a topic name with wildcards, {topic}, closes [MQTT-3.3.2-2]"
         " [MQTT-4.7.1-1]", topic) for topic in ("+", "a/+", "a/+/b", "a+",
                                                 "#", "a/#", "a#")])
def wildcards(_, topic):
    for qos in range(3):
        with client() as one:
            one.send(publish(topic, b"m", flags(qos), qos and 1 or None))
            equal(one.ended(), [])


@test("an empty topic name closes [MQTT-4.7.3-1] [MQTT-3.3.2-1]")
def empty_topic(_):
    for qos in range(3):
        with client() as one:
            one.send(publish("", b"m", flags(qos), qos and 1 or None))
            equal(one.ended(), [])


@test("the answer is the QoS's: none, PUBACK, PUBREC [MQTT-3.3.4-1]"
      " [MQTT-4.3.1-1]")
def answers(_):
    with client() as one:
        one.send(publish("t", b"m"))
        one.quiet()
        one.send(publish("t", b"m", flags(1), 7))
        equal(one.packet(), (PUBACK, 0, b"\0\7"))
        one.send(publish("t", b"m", flags(2), 8))
        equal(one.packet(), (PUBREC, 0, b"\0\x08"))
        one.send(acknowledge(PUBREL, 8))
        equal(one.packet(), (PUBCOMP, 0, b"\0\x08"))


@cases([(f"published at {qos}, granted {granted}: delivered at "
         f"{min(qos, granted)} [MQTT-3.8.4-6] [MQTT-3.3.2-3] [MQTT-4.3.1-1]",
         qos, granted)
        for qos in range(3) for granted in range(3)])
def lower(_, qos, granted):
    with pair(granted) as (one, other):
        for size in 0, 1, 1000, 100000:
            other.publish("t", bytes(size), qos=qos)
            whole = one.accept(one.delivery())
            equal((whole.qos, whole.topic, whole.payload, whole.dup,
                   whole.retain),
                  (min(qos, granted), "t", bytes(size), False, False))
        one.quiet()


@cases([(f"overlapping filters granted {granted}: one copy, at the highest,"
         " published at 2 [MQTT-3.3.5-1]", granted)
        for granted in ((0, 1), (1, 0), (0, 2), (1, 2), (2, 1, 0), (0, 1, 0),
                        (1, 1, 1), (0, 0, 0))])
def overlapping(_, granted):
    filters = ["o/t", "o/+", "o/#"]
    with client() as one, client() as other:
        one.subscribe(*zip(filters, granted))
        for qos in range(3):
            other.publish("o/t", b"%d" % qos, qos=qos)
            whole = one.accept(one.delivery())
            equal((whole.qos, whole.payload),
                  (min(qos, max(granted)), b"%d" % qos))
        one.quiet()


@test("subscribers of every QoS of one topic, each at its own")
def mixed(_):
    with client() as publisher, contextlib.ExitStack() as stack:
        every = [(qos, stack.enter_context(client()))
                 for qos in range(3) for _ in range(3)]
        for qos, one in every:
            one.subscribe(("m/t", qos), ("m/+", 0))
        for number in range(30):
            qos = number % 3
            publisher.publish("m/t", b"%d" % number, qos=qos)
            for granted, one in every:
                whole = one.accept(one.delivery())
                equal((whole.qos, whole.payload),
                      (min(qos, granted), b"%d" % number))
        for _, one in every:
            one.quiet()


# The server receives: 4.3.2 and 4.3.3.

@test("QoS 1: after the PUBACK the identifier is free, whatever DUP says"
      " [MQTT-4.3.2-2]")
def again_1(_):
    with pair(1) as (one, other):
        for number, dup in enumerate((False, True, True, False)):
            other.send(publish("t", b"%d" % number, flags(1, dup), 5))
            other.acknowledged(PUBACK, 5)
            equal(one.message(), ("t", b"%d" % number))


@test("QoS 2: until PUBREL the identifier is the message's [MQTT-4.3.3-2]")
def twice(_):
    with pair(2) as (one, other):
        for dup in False, True, True, False:
            other.send(publish("t", b"once", flags(2, dup), 5))
            other.acknowledged(PUBREC, 5)
        other.send(acknowledge(PUBREL, 5))
        other.acknowledged(PUBCOMP, 5)
        equal(one.message(), ("t", b"once"))
        one.quiet()
        send_2(other, 5, b"another", dup=True)
        equal(one.message(), ("t", b"another"))
        one.quiet()


@test("QoS 2: a PUBREL is answered with PUBCOMP, again and again"
      " [MQTT-4.3.3-2]")
def released_again(_):
    with pair(2) as (one, other):
        other.publish("t", b"m", qos=2)
        for number in 1, 1, 77:
            other.send(acknowledge(PUBREL, number))
            other.acknowledged(PUBCOMP, number)
        equal(one.message(), ("t", b"m"))
        one.quiet()


@test("QoS 2: many identifiers open, released in another order"
      " [MQTT-4.3.3-2]")
def interleaved(_):
    with pair(0) as (one, other):
        numbers = list(range(1, 16))
        other.send(*(publish("t", b"%d" % n, flags(2), n) for n in numbers))
        for number in numbers:
            other.acknowledged(PUBREC, number)
        other.send(*(publish("t", b"%d" % n, flags(2, True), n)
                     for n in numbers))
        for number in numbers:
            other.acknowledged(PUBREC, number)
        for number in reversed(numbers):
            other.send(acknowledge(PUBREL, number))
            other.acknowledged(PUBCOMP, number)
        got = one.messages(15)
        equal(sorted(int(payload) for _, payload in got), numbers)
        one.quiet()


@cases([(f"QoS 2 is deduplicated across {what} [MQTT-4.3.3-2]"
         " [MQTT-4.1.0-1]", how) for what, how in (
             ("a reconnect", lambda broker, one: one.close()),
             ("a DISCONNECT", lambda broker, one: one.disconnect()),
             ("a takeover", lambda broker, one: None),
             ("a restart", lambda broker, one: broker.restart(broker.config)),
             ("kill -9", lambda broker, one: broker.crash()))])
def deduplicated(broker, how):
    broker.persist()
    with durable("subscriber", ("t", 2)) as one:
        other = client("publisher", clean=False)
        other.send(publish("t", b"once", flags(2), 9),
                   publish("t", b"two", flags(2), 10))
        other.acknowledged(PUBREC, 9)
        other.acknowledged(PUBREC, 10)
        other.send(acknowledge(PUBREL, 10))
        other.acknowledged(PUBCOMP, 10)
        one.close()
        how(broker, other)
        other = again("publisher")
        send_2(other, 9, b"once", dup=True)
        other.publish("t", b"end", qos=2)
        one = again("subscriber")
        equal(sorted(one.messages(3)),
              [("t", b"end"), ("t", b"once"), ("t", b"two")])
        one.quiet()
        one.close()
        client("publisher").disconnect()


@test("a clean session forgets the identifiers of QoS 2 [MQTT-3.1.2-6]")
def forgotten(_):
    with pair(2) as (one, _other):
        with client("publisher") as other:
            other.send(publish("t", b"old", flags(2), 9))
            other.acknowledged(PUBREC, 9)
        with client("publisher") as other:
            send_2(other, 9, b"new")
        # The server may deliver at the PUBLISH, or only at the PUBREL.
        if one.message() == ("t", b"old"):
            equal(one.message(), ("t", b"new"))
        one.quiet()


@test("the acknowledgements come in the order of the PUBLISHes"
      " [MQTT-4.6.0-6]")
def order_of_acknowledgements(_):
    with client() as one:
        numbers = [17, 3, 999, 1, 65535, 4, 2, 500]
        for qos, kind in (1, PUBACK), (2, PUBREC):
            one.send(*(publish("t", b"m", flags(qos), n) for n in numbers))
            for number in numbers:
                one.acknowledged(kind, number)
        one.send(*(acknowledge(PUBREL, n) for n in numbers))
        for number in numbers:
            one.acknowledged(PUBCOMP, number)


# The server sends: 4.3.2, 4.3.3 and 4.4.

@test("DUP of a publisher is not passed on [MQTT-3.3.1-3]")
def dup(_):
    with pair(2) as (one, other):
        other.send(publish("t", b"1", flags(1, True), 21))
        other.acknowledged(PUBACK, 21)
        send_2(other, 22, b"2", dup=True)
        for qos in 1, 2:
            whole = one.accept(one.delivery())
            equal((whole.dup, whole.qos), (False, qos))


@cases([(f"QoS {qos}: every message has an identifier of its own"
         f" [MQTT-2.3.1-4] [MQTT-4.3.{qos + 1}-1]", qos) for qos in (1, 2)])
def numbers_differ(_, qos):
    with pair(qos) as (one, other):
        for number in range(20):
            other.publish("t", b"%d" % number, qos=qos)
        got = [one.delivery() for _ in range(20)]
        equal(len({p.number for p in got}), 20)
        equal([(p.payload, p.dup) for p in got],
              [(b"%d" % n, False) for n in range(20)])
        for whole in got:
            one.accept(whole)
        one.quiet()


@test("an identifier in use is not used for another message [MQTT-2.3.1-4]")
def in_use(_):
    """More messages than there are identifiers, one never acknowledged."""
    count = 66000 if LONG else 1000
    with pair(1) as (one, other):
        other.publish("t", b"held", qos=1)
        held = one.delivery()
        for first in range(0, count, 10):
            other.send(*(publish("t", b"m", flags(1), n % 0xffff + 1)
                         for n in range(first, first + 10)))
            numbers = [one.delivery().number for _ in range(10)]
            assert held.number not in numbers, f"after {first} messages"
            one.send(*(acknowledge(PUBACK, n) for n in numbers))
            for number in range(first, first + 10):
                other.acknowledged(PUBACK, number % 0xffff + 1)


@test("QoS 2: PUBREL follows PUBREC, with its identifier [MQTT-2.3.1-6]"
      " [MQTT-4.3.3-1]")
def releases(_):
    with pair(2) as (one, other):
        other.publish("t", b"m", qos=2)
        number = one.delivery().number
        one.send(acknowledge(PUBREC, number))
        equal(one.packet(), (PUBREL, 2, number.to_bytes(2, "big")))
        one.send(acknowledge(PUBREC, number))  # as one that had forgotten
        equal(one.packet(), (PUBREL, 2, number.to_bytes(2, "big")))
        one.send(acknowledge(PUBCOMP, number))
        one.quiet()


@test("the PUBRELs come in the order of the PUBRECs [MQTT-4.6.0-6]")
def order_of_releases(_):
    with pair(2) as (one, other):
        for number in range(10):
            other.publish("t", b"%d" % number, qos=2)
        numbers = [one.delivery().number for _ in range(10)]
        one.send(*(acknowledge(PUBREC, n) for n in numbers))
        for number in numbers:
            one.acknowledged(PUBREL, number)
        one.send(*(acknowledge(PUBCOMP, n) for n in numbers))
        one.quiet()


@test("acknowledgements of nothing change nothing")
def of_nothing(_):
    with pair(2) as (one, other):
        other.publish("t", b"m", qos=1)
        whole = one.delivery()
        one.send(acknowledge(PUBACK, whole.number % 0xffff + 1))
        one.send(acknowledge(PUBCOMP, whole.number % 0xffff + 2))
        one.quiet()
        one.accept(whole)
        other.publish("t", b"next", qos=2)
        equal(one.message(), ("t", b"next"))


@cases([(f"on a new connection, after {what}: what was not acknowledged comes"
         " again, DUP set, with the same identifiers, in order"
         " [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-3.1.2-4]"
         " [MQTT-4.3.2-1]", how)
        for what, how in (
            ("a close", lambda broker, one: one.close()),
            ("a reset", lambda broker, one: one.reset()),
            ("a takeover", lambda broker, one: None),
            ("a DISCONNECT", lambda broker, one: one.disconnect()),
            ("a restart", lambda broker, one: broker.restart(broker.config)),
            ("kill -9", lambda broker, one: broker.crash()))])
def redelivered(broker, how):
    broker.persist()
    with durable("again", ("t", 2)) as one:
        with client() as other:
            for number in range(10):
                other.publish("t", b"%d" % number, qos=1 + number % 2)
        got = [one.delivery() for _ in range(10)]
        one.accept(got[2])            # QoS 1: acknowledged
        one.accept(got[5])            # QoS 2: complete
        one.send(acknowledge(PUBREC, got[7].number))
        one.acknowledged(PUBREL, got[7].number)  # QoS 2: released
        one.quiet()
        how(broker, one)
        one = again("again")
        left = [p for n, p in enumerate(got) if n not in (2, 5, 7)]
        came = [one.packet() for _ in range(len(left) + 1)]
        equal([p.number for p in came if p.kind == PUBREL], [got[7].number])
        one.send(acknowledge(PUBCOMP, got[7].number))
        came = [p for p in came if p.kind != PUBREL]
        equal([(p.number, p.payload, p.qos, p.dup) for p in came],
              [(p.number, p.payload, p.qos, True) for p in left])
        for whole in came:
            one.accept(whole)
        one.quiet()


@test("QoS 2: a PUBLISH is not sent again once its PUBREL was [MQTT-4.3.3-1]"
      " [MQTT-4.4.0-1]")
def not_again(_):
    with durable("released", ("t", 2)) as one:
        with client() as other:
            other.publish("t", b"m", qos=2)
        number = one.delivery().number
        one.send(acknowledge(PUBREC, number))
        one.acknowledged(PUBREL, number)
        for _ in range(3):
            one.close()
            one = again("released")
            equal(one.packet(), (PUBREL, 2, number.to_bytes(2, "big")))
        one.send(acknowledge(PUBCOMP, number))
        one.quiet()
        one.close()
        again("released").quiet()


@test("nothing is sent again on a live connection")
def not_live(_):
    with pair(1) as (one, other):
        other.publish("t", b"held", qos=1)
        held = one.delivery()
        for number in range(50):
            other.publish("t", b"%d" % number, qos=1)
            equal(one.message(), ("t", b"%d" % number))
        one.quiet()
        one.accept(held)


@test("DUP is set only where a message has been sent before [MQTT-3.3.1-3]")
def dup_new(broker):
    broker.restart(CONFIG + "max_inflight_messages 2\n")
    with durable("window", ("t", 1)) as one:
        with client() as other:
            for number in range(6):
                other.publish("t", b"%d" % number, qos=1)
        equal([one.delivery().payload for _ in range(2)], [b"0", b"1"])
        one.quiet()
        one.close()
        one = again("window")
        got = [one.accept(one.delivery()) for _ in range(6)]
        equal([(p.payload, p.dup) for p in got],
              [(b"%d" % n, n < 2) for n in range(6)])
    broker.restart(CONFIG)


# The window.

@cases([(f"max_inflight_messages {limit} at QoS {qos}", limit, qos)
        for limit in (1, 5, 20) for qos in (1, 2)])
def window(broker, limit, qos):
    broker.restart(CONFIG + f"max_inflight_messages {limit}\n")
    with pair(qos) as (one, other):
        for number in range(30):
            other.publish("t", b"%d" % number, qos=qos)
        got = [one.delivery() for _ in range(limit)]
        one.quiet()
        for number in range(30):
            whole = got.pop(0)
            equal(whole.payload, b"%d" % number)
            one.accept(whole)
            if number + limit < 30:
                got.append(one.delivery())
            else:
                one.quiet()
    broker.restart(CONFIG)


@test("the window is for QoS 1 and 2: QoS 0 passes")
def window_passed(broker):
    broker.restart(CONFIG + "max_inflight_messages 1\n")
    with pair(1) as (one, other):
        other.publish("t", b"held", qos=1)
        held = one.delivery()
        other.publish("t", b"waits", qos=1)
        other.publish("t", b"passes")
        equal(one.message(), ("t", b"passes"))
        one.accept(held)
        equal(one.message(), ("t", b"waits"))
    broker.restart(CONFIG)


@cases([(f"QoS {qos}: the window bounds what the server sends, not what it is"
         " sent", qos) for qos in (1, 2)])
def window_of_server(broker, qos):
    """Only MQTT 5 has a Receive Maximum."""
    broker.restart(CONFIG + "max_inflight_messages 2\n")
    with client() as one:
        numbers = range(1, 201)
        for dup in (False, True) if qos == 2 else (False,):
            one.send(*(publish("t", b"m", flags(qos, dup), n) for n in numbers))
            for number in numbers:
                one.acknowledged(PUBACK if qos == 1 else PUBREC, number)
        if qos == 2:
            one.send(*(acknowledge(PUBREL, n) for n in numbers))
            for number in numbers:
                one.acknowledged(PUBCOMP, number)
        one.quiet()
    broker.restart(CONFIG)


@test("max_inflight_messages 0 is no limit")
def no_window(broker):
    broker.restart(CONFIG + "max_inflight_messages 0\n"
                   "max_queued_messages 0\n")
    with pair(1) as (one, other):
        for number in range(500):
            other.publish("t", b"%d" % number, qos=1)
        got = [one.delivery() for _ in range(500)]
        equal([p.payload for p in got], [b"%d" % n for n in range(500)])
        equal(len({p.number for p in got}), 500)
        for whole in got:
            one.accept(whole)
    broker.restart(CONFIG)


# Order.

@cases([(f"one topic's messages at QoS {qos} keep their order"
         " [MQTT-4.6.0-5] [MQTT-4.6.0-6]", qos) for qos in (1, 2)])
def ordered(_, qos):
    with pair(qos) as (one, other):
        for first in range(0, 500, 10):
            numbers = range(first + 1, first + 11)
            other.send(*(publish("t", b"%d" % n, flags(qos), n)
                         for n in numbers))
            for number in numbers:
                other.acknowledged(PUBACK if qos == 1 else PUBREC, number)
            if qos == 2:
                other.send(*(acknowledge(PUBREL, n) for n in numbers))
                for number in numbers:
                    other.acknowledged(PUBCOMP, number)
            equal(one.messages(10), [("t", b"%d" % n) for n in numbers])
        one.quiet()


@test("a publish that is not allowed: acknowledged or closed, not delivered and"
      " not kept [MQTT-3.3.5-2]")
def not_authorized(broker):
    path = broker.directory / "acl"
    path.write_text("topic readwrite good/#\ntopic read bad/#\n")
    broker.restart(CONFIG + f"acl_file {path}\n")
    with client() as witness:
        witness.subscribe(("#", 2))
        for qos, kind in (1, PUBACK), (2, PUBREC):
            with client() as one, contextlib.suppress(Closed):
                one.send(publish("bad/t", b"m", flags(qos) | RETAIN, 1))
                one.acknowledged(kind, 1)
        witness.quiet()
    with client() as one:
        one.subscribe("bad/#")
        one.quiet()
    broker.restart(CONFIG)


main(any_broker())
