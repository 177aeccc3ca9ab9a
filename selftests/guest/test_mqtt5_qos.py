#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: QoS 0 to 2 both ways, redelivery, order (4.3, 4.4, 4.6)."""

import contextlib
import threading
import time

import mqtt
import mqtt5
from broker import CONFIG, any_broker
from durable import Publisher, Subscriber
from ktap import (TIMEOUT, cases, equal, main, note, seed, test, times,
                  wait_until)
from mqtt import PUBACK, PUBCOMP, PUBREC, PUBREL, Closed
from mqtt5 import (MESSAGE_EXPIRY, NO_NUMBER, NO_SUBSCRIBERS, RECEIVE_MAX,
                   SUBSCRIPTION_ID, USER, acknowledge, back, client, lasting,
                   listed, publish, session)

SENT = [(USER, ("a", "b")), (USER, ("a", "a"))]
LEAVES = times(30)


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


@cases([(f"overlapping filters granted {granted}: at the highest, each copy at"
         " its own [MQTT-3.3.4-2]", granted)
        for granted in ((0, 1), (1, 0), (0, 2), (1, 2), (2, 1, 0), (0, 0, 0))])
def overlapping(_, granted):
    """One copy or several are good; the daemon sends one."""
    filters = ["o/t", "o/+", "o/#"]
    with client() as one, client() as other:
        one.subscribe(*zip(filters, granted))
        for qos in range(3):
            other.publish("o/t", b"%d" % qos, qos=qos)
            got = [one.accept(one.delivery()), *one.waiting()]
            equal((max(p.qos for p in got), {p.payload for p in got}),
                  (min(qos, max(granted)), {b"%d" % qos}))


# The server receives: 4.3.2 and 4.3.3.

@test("QoS 1: after the PUBACK the identifier is free, whatever DUP says"
      " [MQTT-4.3.2-4] [MQTT-4.3.2-5]")
def again_1(_):
    with pair(1) as (one, other):
        for number, dup in enumerate((False, True, True, False)):
            other.send(publish("t", b"%d" % number, flags(1, dup), 5))
            other.acknowledged(PUBACK, 5)
            equal(one.message(), ("t", b"%d" % number))


@test("QoS 2: until PUBREL the identifier is the message's, then free"
      " [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]")
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
      " [MQTT-4.3.3-11]")
def released_again(_):
    with pair(2) as (one, other):
        other.publish("t", b"m", qos=2)
        for number in 1, 1, 77:
            other.send(acknowledge(PUBREL, number))
            other.acknowledged(PUBCOMP, number, 0, NO_NUMBER)
        equal(one.message(), ("t", b"m"))
        one.quiet()


@test("QoS 2: many identifiers open, released in another order"
      " [MQTT-4.3.3-10]")
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


@cases([(f"QoS 2 is deduplicated across {what} [MQTT-4.3.3-10]"
         " [MQTT-4.1.0-1]", how) for what, how in (
             ("a reconnect", lambda broker, one: one.close()),
             ("a takeover", lambda broker, one: None),
             ("kill -9", lambda broker, one: broker.crash()))])
def deduplicated(broker, how):
    broker.persist()
    with session("subscriber", ("t", 2)) as one:
        other = client("publisher", properties=lasting())
        other.send(publish("t", b"once", flags(2), 9),
                   publish("t", b"two", flags(2), 10))
        other.acknowledged(PUBREC, 9)
        other.acknowledged(PUBREC, 10)
        other.send(acknowledge(PUBREL, 10))
        other.acknowledged(PUBCOMP, 10)
        one.close()
        how(broker, other)
        other = back("publisher")
        send_2(other, 9, b"once", dup=True)
        other.publish("t", b"end", qos=2)
        one = back("subscriber")
        equal(sorted(one.messages(3)),
              [("t", b"end"), ("t", b"once"), ("t", b"two")])
        one.quiet()
        one.close()
        client("publisher").disconnect()


@cases([(f"QoS 2: a PUBREL alone, after {what}: PUBCOMP 0x00 [MQTT-4.3.3-11]"
         " [MQTT-4.4.0-1]", how) for what, how in (
             ("a close", lambda broker, one: one.close()),
             ("a takeover", lambda broker, one: None),
             ("a restart", lambda broker, one: broker.restart(broker.config)),
             ("kill -9", lambda broker, one: broker.crash()))])
def release_alone(broker, how):
    broker.persist()
    other = client("publisher", properties=lasting())
    other.send(publish("t", b"m", flags(2), 9))
    other.acknowledged(PUBREC, 9)
    how(broker, other)
    with back("publisher") as other:
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9, 0)
    client("publisher").disconnect()


@test("QoS 2: the exchange is completed though the message has expired"
      " [MQTT-4.3.3-13]")
def expired_half_way(_):
    with client("publisher", properties=lasting()) as other, \
         session("away", ("t", 2)) as one:
        one.disconnect()
        other.send(publish("t", b"m", flags(2), 9, [(MESSAGE_EXPIRY, 1)]))
        other.acknowledged(PUBREC, 9)
        time.sleep(2.2)  # what takes time
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9, 0)
        with back("away") as one:
            one.quiet()
        other.disconnect(0, [(0x11, 0)])


@test("the acknowledgements come in the order of the PUBLISHes"
      " [MQTT-2.2.1-5]")
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

@test("DUP of a publisher is not passed on [MQTT-3.3.1-3] [MQTT-4.3.2-2]"
      " [MQTT-4.3.3-2]")
def dup_of_publisher(_):
    with pair(2) as (one, other):
        other.send(publish("t", b"1", flags(1, True), 21))
        other.acknowledged(PUBACK, 21)
        send_2(other, 22, b"2", dup=True)
        for qos in 1, 2:
            whole = one.accept(one.delivery())
            equal((whole.dup, whole.qos), (False, qos))


@test("what is under way has identifiers of its own [MQTT-2.2.1-4]"
      " [MQTT-4.3.2-1] [MQTT-4.3.3-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3]")
def numbers_differ(_):
    with pair(2) as (one, other):
        for number in range(15):
            other.publish("t", b"%d" % number, qos=1 + number % 2)
        got = [one.delivery() for _ in range(15)]
        equal(len({p.number for p in got}), 15)
        equal([p.dup for p in got], [False] * 15)
        one.accept(got[7])
        other.publish("t", b"next", qos=1)
        whole = one.delivery()
        assert whole.number not in {p.number for n, p in enumerate(got)
                                    if n != 7}
        for n, whole in enumerate(got + [whole]):
            if n != 7:
                one.accept(whole)


@test("QoS 2: PUBREL follows PUBREC, with its identifier [MQTT-2.2.1-5]"
      " [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-3.6.2-1]")
def releases(_):
    with pair(2) as (one, other):
        for reason in 0, NO_SUBSCRIBERS:
            other.publish("t", b"m", qos=2)
            number = one.delivery().number
            for _ in range(2):  # the second as one that had forgotten
                one.send(acknowledge(PUBREC, number, reason))
                equal(one.acknowledged(PUBREL, number).reason, 0)
            one.send(acknowledge(PUBCOMP, number))
            one.quiet()


@test("the PUBRELs come in the order of the PUBRECs [MQTT-4.3.3-4]")
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


@cases([(f"a {name} of 0x80 or more: acknowledged, no PUBREL, not sent again"
         " [MQTT-4.4.0-2] [MQTT-4.3.3-4]", kind, qos) for name, kind, qos in (
             ("PUBACK", PUBACK, 1), ("PUBREC", PUBREC, 2))])
def rejected(_, kind, qos):
    with session("rejects", ("t", qos)) as one:
        with client() as other:
            other.publish("t", b"no", qos)
            whole = one.delivery()
            one.send(acknowledge(kind, whole.number, 0x97, SENT))
            one.quiet()
            other.publish("t", b"yes", qos)
            equal(one.delivery().payload, b"yes")
        one.close()
        with back("rejects") as one:
            equal(one.message(), ("t", b"yes"))
            one.quiet()


@cases([(f"on a new connection, after {what}: what was not acknowledged comes"
         " again, DUP set, with the same identifiers and properties, in order"
         " [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-3.1.2-5] [MQTT-4.3.2-3]"
         " [MQTT-4.3.3-3]", how)
        for what, how in (
            ("a close", lambda broker, one: one.close()),
            ("a takeover", lambda broker, one: None),
            ("a restart", lambda broker, one: broker.restart(broker.config)),
            ("kill -9", lambda broker, one: broker.crash()))])
def redelivered(broker, how):
    broker.persist()
    with session("again") as one:
        one.subscribe(("t", 2), properties=[(SUBSCRIPTION_ID, 5)])
        with client() as other:
            for number in range(10):
                other.publish("t", b"%d" % number, qos=1 + number % 2,
                              properties=SENT)
        got = [one.delivery() for _ in range(10)]
        one.accept(got[2])            # QoS 1: acknowledged
        one.accept(got[5])            # QoS 2: complete
        one.send(acknowledge(PUBREC, got[7].number))
        one.acknowledged(PUBREL, got[7].number)  # QoS 2: released
        one.quiet()
        how(broker, one)
        with back("again") as one:
            left = [p for n, p in enumerate(got) if n not in (2, 5, 7)]
            came = [one.packet() for _ in range(len(left) + 1)]
            equal([p.number for p in came if p.kind == PUBREL],
                  [got[7].number])
            one.send(acknowledge(PUBCOMP, got[7].number))
            came = [p for p in came if p.kind != PUBREL]
            equal([(p.number, p.payload, p.qos, p.dup) for p in came],
                  [(p.number, p.payload, p.qos, True) for p in left])
            for whole in came:
                one.accept(whole)
                equal(whole.all(SUBSCRIPTION_ID), [5])
                equal(listed(p for p in whole.properties
                             if p[0] != SUBSCRIPTION_ID), listed(SENT))
            one.quiet()


@test("QoS 2: a PUBLISH is not sent again once its PUBREL was [MQTT-4.3.3-6]"
      " [MQTT-4.4.0-1] [MQTT-4.3.3-5]")
def not_again(_):
    with session("released", ("t", 2)) as one:
        with client() as other:
            other.publish("t", b"m", qos=2)
        number = one.delivery().number
        one.send(acknowledge(PUBREC, number))
        one.acknowledged(PUBREL, number)
        for _ in range(3):
            one.close()
            one = back("released")
            equal(one.packet().kind, PUBREL)
            equal(one.last.number, number)
        one.send(acknowledge(PUBCOMP, number))
        one.quiet()
        one.close()
        back("released").quiet()


@test("nothing is sent again on a live connection [MQTT-4.4.0-1]")
def not_live(_):
    with pair(1) as (one, other):
        other.publish("t", b"held", qos=1)
        held = one.delivery()
        for number in range(50):
            other.publish("t", b"%d" % number, qos=1)
            equal(one.message(), ("t", b"%d" % number))
        one.quiet()
        one.accept(held)


@test("a QoS 2 message that was sent does not expire any more, nor does the"
      " PUBREL that it is owed [MQTT-4.3.3-7] [MQTT-4.4.0-1]")
def sent_does_not_expire(_):
    with session("slow", ("t", 2)) as one:
        with client() as other:
            for _ in range(2):
                other.publish("t", b"m", 2, properties=[(MESSAGE_EXPIRY, 1)])
        released, sent = one.delivery(), one.delivery()
        one.send(acknowledge(PUBREC, released.number))
        one.acknowledged(PUBREL, released.number)
        one.close()
        time.sleep(2.2)  # what takes time
        with back("slow") as one:
            one.acknowledged(PUBREL, released.number, 0)
            one.send(acknowledge(PUBCOMP, released.number))
            whole = one.accept(one.delivery())
            equal((whole.number, whole.payload, whole.dup),
                  (sent.number, b"m", True))
            one.quiet()


@test("DUP is set only where a message has been sent before [MQTT-3.3.1-3]")
def dup_new(_):
    with session("window", ("t", 1), properties=[(RECEIVE_MAX, 2)]) as one:
        with client() as other:
            for number in range(6):
                other.publish("t", b"%d" % number, qos=1)
        equal([one.delivery().payload for _ in range(2)], [b"0", b"1"])
        one.quiet()
        one.close()
        with back("window", (RECEIVE_MAX, 2)) as one:
            got = [one.accept(one.delivery()) for _ in range(6)]
            equal([(p.payload, p.dup) for p in got],
                  [(b"%d" % n, n < 2) for n in range(6)])


# Order.

@cases([(f"one topic's messages at QoS {qos} keep their order"
         " [MQTT-4.6.0-5] [MQTT-4.6.0-6]", qos) for qos in range(3)])
def ordered(_, qos):
    with pair(qos) as (one, other):
        for first in range(0, 500, 10):
            numbers = range(first + 1, first + 11)
            other.send(*(publish("t", b"%d" % n, flags(qos), n if qos else None,
                                 SENT[:n % 3]) for n in numbers))
            for number in numbers if qos else ():
                other.acknowledged(PUBACK if qos == 1 else PUBREC, number)
            if qos == 2:
                other.send(*(acknowledge(PUBREL, n) for n in numbers))
                for number in numbers:
                    other.acknowledged(PUBCOMP, number)
            equal(one.messages(10), [("t", b"%d" % n) for n in numbers])
        one.quiet()


@test("the order holds when a session goes from queued to online"
      " [MQTT-4.6.0-5] [MQTT-4.6.0-6]")
def to_online(_):
    """The publisher does not stop when the client comes back."""
    with session("online", ("o", 1)) as one, client() as other:
        one.disconnect()
        sent = received = 0
        for _ in range(3):
            for _ in range(40):
                sent += 1
                other.publish("o", b"%d" % sent, qos=1)
            with back("online") as one:
                for _ in range(40):
                    sent += 1
                    other.publish("o", b"%d" % sent, qos=1)
                while received < sent:
                    received += 1
                    equal(one.message(), ("o", b"%d" % received))
                one.quiet()
                one.disconnect()


class Flighty(Subscriber):
    """A subscriber that leaves again and again, and comes back at once."""

    left = 0
    random = None

    def step(self, timeout):
        super().step(timeout)
        if self.left < LEAVES and self.random.random() < 0.05:
            self.left += 1
            raise Closed


@cases([(f"{version}: order, and QoS 2 once, for who leaves and comes back"
         " while messages come [MQTT-4.6.0-5] [MQTT-4.6.0-6]", wire, fields)
        for version, wire, fields in (
            ("3.1.1", mqtt, {}), ("5", mqtt5, {"properties": lasting()}))])
def flighty(broker, wire, fields):
    broker.restart(CONFIG + "max_queued_messages 0\n")
    publishers = [Publisher(f"p{qos}", qos) for qos in (1, 2)]
    one = Flighty("flighty", 2, publishers)
    one.random = seed()
    for each in one, *publishers:
        each.wire, each.fields = wire, fields
    one.start()
    wait_until(lambda: one.known or one.failure, "subscribed")
    for each in publishers:
        each.start()
    wait_until(lambda: one.left == LEAVES or one.failure, "left often enough")
    for each in publishers:
        each.stop.set()
    for each in publishers:
        each.join(TIMEOUT)
    one.wanted = {each.name: each.count for each in publishers}
    one.join(TIMEOUT)
    one.check(publishers)
    note(f"left {one.left} times, {sum(map(len, one.got.values()))} messages")
    broker.restart(CONFIG)


@test("queue_qos0_messages true: order of QoS 0, likewise; some may be lost"
      " [MQTT-4.6.0-5] [MQTT-4.6.0-6]")
def flighty_0(broker):
    broker.restart(CONFIG + "queue_qos0_messages true\n"
                   "max_queued_messages 0\n")
    stop = threading.Event()
    sent = []

    def publisher():
        with client() as one:
            while not stop.is_set():
                one.send(*(publish("z", b"%d" % n) for n in
                           range(len(sent), len(sent) + 5)))
                sent.extend(range(5))
                one.ping()

    thread = threading.Thread(target=publisher)
    one = client("flighty", properties=lasting())
    one.subscribe("z")
    last = -1
    thread.start()
    try:
        for _ in range(LEAVES):
            for _ in range(20):
                number = int(one.message()[1])
                assert number > last, f"{number} after {last}"
                last = number
            one.reset()
            one = back("flighty")
    finally:
        stop.set()
        thread.join()
    one.close()
    client("flighty").disconnect()
    note(f"{len(sent)} sent, {last} was the last to arrive")
    broker.restart(CONFIG)


main(any_broker())
