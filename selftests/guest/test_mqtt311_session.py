#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 3.1.1: sessions, clean and durable, and what is queued for them
(3.1.2.4, 3.2.2.2, 4.1, 4.5)."""

import contextlib

from broker import CONFIG, any_broker, client, later
from ktap import cases, equal, main, test
from mqtt import PUBACK, publish

COUNT = 30


@contextlib.contextmanager
def durable(name, *filters):
    """Make a durable session with subscriptions, and leave it; end it."""
    with client(name, clean=False) as one:
        if filters:
            one.subscribe(*filters)
        one.disconnect()
    yield
    client(name).disconnect()


def back(name):
    """Connect to a durable session that is there."""
    return client(name, clean=False, present=True)


def fill(topic, numbers, qos=1):
    """Publish numbers."""
    with client() as other:
        other.publish_all([(topic, b"%d" % number) for number in numbers], qos)


def numbers_of(one, count):
    """Receive so many numbers."""
    return [int(payload) for _, payload in one.messages(count)]


HOWS = [
    ("a DISCONNECT", lambda broker, one: one.disconnect()),
    ("a close", lambda broker, one: one.close()),
    ("a reset", lambda broker, one: one.reset()),
    ("a protocol error", lambda broker, one: (one.send(b"\0\0"), one.ended())),
    ("a takeover", lambda broker, one: None),
    ("a restart", lambda broker, one: broker.restart(broker.config)),
    ("kill -9", lambda broker, one: broker.crash()),
]


@test("session present is 0 for a new session, and then 1 [MQTT-3.2.2-2]"
      " [MQTT-3.2.2-3] [MQTT-3.1.2-4]")
def present(_):
    for _ in range(2):
        client("present", clean=False).disconnect()
        for _ in range(2):
            back("present").disconnect()
        client("present").disconnect()


@test("session present is 0 for a clean session [MQTT-3.2.2-1]"
      " [MQTT-3.1.4-3]")
def present_clean(_):
    client("clean").close()
    client("clean").disconnect()
    client("clean", clean=False).disconnect()
    client("clean").disconnect()


@test("session present during a takeover [MQTT-3.2.2-2] [MQTT-3.1.4-3]")
def present_taken(_):
    with client("taken", clean=False), back("taken"), client("taken"), \
         client("taken", clean=False) as last:
        last.disconnect()
    client("taken").disconnect()


@test("sessions are the client id's [MQTT-3.1.3-2]")
def of_the_id(_):
    names = ["id", "ID", "id ", "i", "id\ufeff", "idd"]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(durable(name, (f"to/{name}", 1)))
        for name in names:
            fill(f"to/{name}", [1])
        for name in names:
            with back(name) as one:
                equal(one.message(), (f"to/{name}", b"1"))
                one.quiet()


@cases([(f"a durable session is resumed after {what} [MQTT-3.1.2-4]"
         " [MQTT-3.1.2-5] [MQTT-4.1.0-1]", how) for what, how in HOWS])
def resumed(broker, how):
    broker.persist()
    with durable("resumed"):
        one = back("resumed")
        one.subscribe(("r/+", 1), ("r/2", 2), ("gone", 1))
        one.unsubscribe("gone")
        how(broker, one)
        with back("resumed") as one:
            with client() as other:
                other.publish("gone", b"", qos=1)
                for number in range(3):
                    other.publish(f"r/{number}", b"m", qos=2)
            got = [one.accept(one.delivery()) for _ in range(3)]
            equal([(p.topic, p.qos) for p in got],
                  [("r/0", 1), ("r/1", 1), ("r/2", 2)])
            one.quiet()


@cases([(f"QoS {qos}: messages are stored while the client is away, then come"
         f" in order, after {what} [MQTT-3.1.2-5] [MQTT-4.5.0-1]"
         " [MQTT-4.6.0-6]", qos, how)
        for qos in (1, 2) for what, how in HOWS])
def stored(broker, qos, how):
    broker.persist()
    with durable("stored"):
        one = back("stored")
        one.subscribe(("s", qos))
        fill("s", range(COUNT), qos)
        how(broker, one)
        with contextlib.suppress(OSError):
            one.close()
        fill("s", range(COUNT, 2 * COUNT), qos)
        one = back("stored")
        # The first 20 had been sent to it and were not acknowledged.
        equal(numbers_of(one, 2 * COUNT), list(range(2 * COUNT)))
        one.quiet()
        one.disconnect()
        with back("stored") as one:
            one.quiet()


@cases([(f"what was stored survives {what}", how) for what, how in
        HOWS[-2:]])
def survives(broker, how):
    broker.persist()
    with durable("survives", ("s", 2)):
        for qos in 1, 2:
            fill("s", range(COUNT), qos)
        how(broker, None)
        fill("s", [COUNT])
        how(broker, None)
        with back("survives") as one:
            equal(numbers_of(one, 2 * COUNT + 1),
                  2 * list(range(COUNT)) + [COUNT])
            one.quiet()


@test("the order holds when a session goes from queued to online"
      " [MQTT-4.6.0-6]")
def to_online(_):
    """The publisher does not stop when the client comes back."""
    with durable("online", ("o", 1)), client() as other:
        sent = received = 0
        for _ in range(5):
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


@test("a clean session discards the one before [MQTT-3.1.2-6]")
def discards(_):
    with client("discard", clean=False) as one:
        one.subscribe(("d", 1))
        one.disconnect()
    fill("d", range(3))
    with client("discard") as one:
        fill("d", range(3))
        one.quiet()
        one.subscribe(("d/2", 1))
        one.disconnect()
    fill("d/2", range(3))
    with client("discard", clean=False) as one:
        one.quiet()
        fill("d/2", range(3))
        one.quiet()
        one.disconnect()
    client("discard").disconnect()


@test("a clean session lasts as long as its connection [MQTT-3.1.2-6]"
      " [MQTT-4.1.0-2]")
def lasts(_):
    with client("lasts") as one:
        one.subscribe(("l", 1))
        fill("l", range(COUNT))
        equal(numbers_of(one, COUNT), list(range(COUNT)))
        one.close()
    with client("lasts", clean=False) as one:
        fill("l", range(3))
        one.quiet()
        one.disconnect()
    client("lasts").disconnect()


@test("a takeover by a clean session: nothing of the old one is left"
      " [MQTT-3.1.2-6] [MQTT-3.1.4-3]")
def taken_clean(_):
    with client("taken", clean=False) as old:
        old.subscribe(("t", 1))
        fill("t", range(3))
        with client("taken") as new:
            fill("t", range(3))
            new.quiet()


@test("QoS 0 is not stored for a client that is away")
def qos_0(_):
    with durable("away", ("q", 1), ("q0", 0)):
        fill("q", [1], 0)
        fill("q0", [2], 1)
        fill("q", [3], 1)
        with back("away") as one:
            equal(one.message(), ("q", b"3"))
            one.quiet()


@test("queue_qos0_messages true: it is stored")
def queue_qos0(broker):
    broker.restart(CONFIG + "queue_qos0_messages true\n")
    with durable("away", ("q", 1), ("q0", 0)):
        fill("q", [1], 0)
        fill("q0", [2], 1)
        fill("q", [3], 1)
        with back("away") as one:
            got = [one.accept(one.delivery()) for _ in range(3)]
            equal([(p.payload, p.qos) for p in got if p.topic == "q"],
                  [(b"1", 0), (b"3", 1)])
            equal([p.qos for p in got if p.topic == "q0"], [0])
            one.quiet()
    broker.restart(CONFIG)


def rest(one):
    """Receive and acknowledge all that comes; return the payloads."""
    got = []
    while True:
        one.ping()
        one.unsubscribe("nothing of that name")
        if not one.inbox:
            return got
        got += [payload for _, payload in one.messages(len(one.inbox))]


@cases([(f"max_queued_messages {limit}, the client {where}", limit, away)
        for limit in (1, 10) for where, away in (("away", True),
                                                 ("there", False))])
def queued_messages(broker, limit, away):
    """The newest are dropped; a publisher is acknowledged all the same."""
    broker.restart(CONFIG + f"max_queued_messages {limit}\n"
                   "max_inflight_messages 5\n")
    with durable("limit", ("l", 1)):
        one = back("limit")
        if away:
            one.disconnect()
        fill("l", range(COUNT))
        if away:
            one = back("limit")
        with one:
            got = [int(payload) for payload in rest(one)]
            equal(got, list(range(len(got))))
            # Whether those in flight count as queued is the server's choice.
            assert limit <= len(got) <= limit + 5, got
    broker.restart(CONFIG)


@test("max_queued_messages 0 and max_queued_bytes 0: no limit")
def unlimited(broker):
    broker.restart(CONFIG + "max_queued_messages 0\nmax_queued_bytes 0\n")
    with durable("unlimited", ("u", 1)):
        fill("u", range(1500))
        with back("unlimited") as one:
            equal(numbers_of(one, 1500), list(range(1500)))
            one.quiet()
    broker.restart(CONFIG)


@test("max_queued_messages is 1,000 unless it is given")
def default_limit(_):
    with durable("default", ("u", 1)):
        fill("u", range(1100))
        with back("default") as one:
            got = [int(payload) for payload in rest(one)]
            equal(got, list(range(len(got))))
            assert 1000 <= len(got) <= 1020, len(got)


@test("max_queued_bytes bounds what waits")
def queued_bytes(broker):
    broker.restart(CONFIG + "max_queued_messages 0\n"
                   "max_queued_bytes 20000\nmax_inflight_messages 1\n")
    with durable("bytes", ("b", 1)):
        with client() as other:
            for _ in range(20):
                other.publish("b", bytes(4000), qos=1)
        with back("bytes") as one:
            count = len(rest(one))
            assert 4 <= count <= 7, count
    broker.restart(CONFIG)


@test("QoS 0 for a client that is away, and QoS 1 for another, both retained")
def queued_beside(broker):
    """The daemon hears of the one while it hands out the other."""
    broker.restart(CONFIG + "queue_qos0_messages true\n")
    with durable("away", ("a", 0)), client() as one, client() as other:
        one.subscribe(("b", 1))
        for number in range(1, 21):
            other.send(publish("a", b"%d" % number, 1),
                       publish("b", b"%d" % number, 3, number))
            other.acknowledged(PUBACK, number)
        equal(numbers_of(one, 20), list(range(1, 21)))
        one.quiet()
        with back("away") as one:
            equal(numbers_of(one, 20), list(range(1, 21)))
            one.quiet()
        for topic in "a", "b":
            other.publish(topic, b"", qos=1, retain=True)
    broker.restart(CONFIG)


@test("persistent_client_expiration: a session away for longer is gone")
def expiration(broker):
    """Hours are its smallest unit; a new daemon sees them pass."""
    config = broker.persistent(CONFIG + "persistent_client_expiration 2h\n")
    broker.restart(config)
    with durable("expires", ("e", 1)):
        fill("e", [1])
        broker.stop()
        with later(3600):
            broker.start_daemon()
            with back("expires") as one:
                equal(one.message(), ("e", b"1"))
                one.disconnect()
            fill("e", [2])
            broker.stop()
        with later(4 * 3600):
            broker.start_daemon()
            broker.await_line("Expiring client expires due to timeout")
            with client("expires", clean=False) as one:
                one.quiet()
                fill("e", [3])
                one.quiet()
                one.disconnect()
            broker.stop()
        broker.start_daemon(CONFIG)


main(any_broker())
