#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 3.1.1: retained messages (3.3.1.3)."""

import contextlib
import threading

from broker import CONFIG, any_broker, client
from ktap import LONG, cases, equal, main, seed, test, times
from mqtt import PUBACK, publish, subscribe

# More than there is room for acknowledgments of in the kernel, the long form.
MANY = times(20000 if LONG else 12500)


@contextlib.contextmanager
def retained(*messages, qos=1):
    """Retain (topic, payload), and clear them at the end."""
    with client() as one:
        for topic, payload in messages:
            one.publish(topic, payload, qos=qos, retain=True)
        yield one
        for topic, _ in messages:
            one.publish(topic, b"", qos=1, retain=True)


def got(*filters):
    """Subscribe anew: return (topic, payload, QoS) of what is retained."""
    with client() as one:
        one.subscribe(*filters)
        one.ping()
        one.unsubscribe("nothing of that name")
        came = [one.accept(one.delivery()) for _ in range(len(one.inbox))]
        for whole in came:
            equal((whole.retain, whole.dup), (True, False), whole.topic)
        one.quiet()
        return sorted((p.topic, p.payload, p.qos) for p in came)


@cases([(f"retained at {qos}, granted {granted}: on SUBSCRIBE, RETAIN set"
         " [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8] [MQTT-3.8.4-6]",
         qos, granted) for qos in range(3) for granted in range(3)])
def stored(_, qos, granted):
    with retained(("r/1", b"kept"), qos=qos):
        equal(got(("r/1", granted)), [("r/1", b"kept", min(qos, granted))])
        equal(got(("r/+", granted)), [("r/1", b"kept", min(qos, granted))])


@cases([(f"retained at {qos}: delivered live with RETAIN 0 [MQTT-3.3.1-9]",
         qos) for qos in range(3)])
def live(_, qos):
    with client() as one:
        for granted in range(3):
            one.subscribe(("live", granted))
            with retained(("live", b"m"), qos=qos):
                whole = one.accept(one.delivery())
                equal((whole.retain, whole.payload, whole.qos),
                      (False, b"m", min(qos, granted)))
            whole = one.accept(one.delivery())  # the one that clears
            equal((whole.retain, whole.payload), (False, b""))
            one.quiet()


@cases([(f"the last one is kept, QoS {first} then {second} [MQTT-3.3.1-6]"
         " [MQTT-3.3.1-7]", first, second)
        for first in range(3) for second in range(3)])
def replaced(_, first, second):
    with retained(("r", b"old"), qos=first) as one:
        one.publish("r", b"new", qos=second, retain=True)
        equal(got(("r", 2)), [("r", b"new", second)])


@cases([(f"an empty payload at QoS {qos} clears, and is delivered"
         " [MQTT-3.3.1-10] [MQTT-3.3.1-11]", qos) for qos in range(3)])
def cleared(_, qos):
    with client() as witness, retained(("c/1", b"1"), ("c/2", b"2")) as one:
        witness.subscribe(("c/1", 2))
        equal(witness.message(), ("c/1", b"1"))
        one.publish("c/1", b"", qos=qos, retain=True)
        whole = witness.accept(witness.delivery())
        equal((whole.payload, whole.qos, whole.retain), (b"", qos, False))
        equal(got("c/#"), [("c/2", b"2", 0)])
        one.publish("c/3", b"", qos=qos, retain=True)
        equal(got("c/#"), [("c/2", b"2", 0)])


@test("without RETAIN nothing is stored, replaced or removed"
      " [MQTT-3.3.1-12]")
def not_retained(_):
    with retained(("n/1", b"kept")) as one:
        for qos in range(3):
            one.publish("n/1", b"passing", qos=qos)
            one.publish("n/1", b"", qos=qos)
            one.publish("n/2", b"passing", qos=qos)
        equal(got("n/#"), [("n/1", b"kept", 0)])


@test("retained messages are no session's [MQTT-3.1.2-7]")
def of_no_session(_):
    with client("owner", clean=False) as one:
        one.publish("s", b"kept", qos=1, retain=True)
        one.disconnect()
    client("owner").disconnect()
    equal(got("s"), [("s", b"kept", 0)])
    with retained(("s", b"")):
        equal(got("s"), [])


@test("wildcards find what they match, and not $ [MQTT-3.3.1-6]"
      " [MQTT-4.7.2-1]")
def wildcards(_):
    names = ["w", "w/", "w/a", "w/a/b", "w/b", "/w", "$w/a", "v/a"]
    with retained(*((name, name.encode()) for name in names)):
        for topic_filter, wanted in (
                ("w/#", ["w", "w/", "w/a", "w/a/b", "w/b"]),
                ("w/+", ["w/", "w/a", "w/b"]), ("w/+/b", ["w/a/b"]),
                ("+/w", ["/w"]), ("$w/#", ["$w/a"]), ("$w/+", ["$w/a"]),
                ("+/a", ["v/a", "w/a"]), ("#", sorted(set(names) - {"$w/a"}))):
            equal([topic for topic, _, _ in got(topic_filter)], wanted,
                  topic_filter)


@test("several filters of one SUBSCRIBE: each its retained messages"
      " [MQTT-3.8.4-4]")
def several(_):
    with retained(("m/1", b"1"), ("m/2", b"2")):
        equal(got(("m/1", 1), ("m/2", 2)),
              [("m/1", b"1", 1), ("m/2", b"2", 1)])


@test("a durable session that comes back gets none by itself")
def no_subscription(_):
    with client("back", clean=False) as one:
        one.subscribe(("b", 1))
        one.disconnect()
    with retained(("b", b"first")):
        with client("back", clean=False, present=True) as one:
            whole = one.accept(one.delivery())
            # It was stored for it when it was published, as any other.
            equal((whole.payload, whole.retain), (b"first", False))
            one.disconnect()
        with client("back", clean=False, present=True) as one:
            one.quiet()
            one.unsubscribe("b")
            one.disconnect()
    client("back").disconnect()


@cases([(f"they survive {what} [MQTT-3.1.2-7]", how) for what, how in (
    ("a restart", lambda broker: broker.restart(broker.config)),
    ("kill -9", lambda broker: broker.crash()))])
def survive(broker, how):
    broker.restart(broker.persistent())
    names = [f"s/{number}" for number in range(20)]
    with client() as one:
        for number, name in enumerate(names):
            one.publish(name, b"old", qos=1, retain=True)
            one.publish(name, name.encode(), qos=1 + number % 2, retain=True)
        one.publish(names[7], b"", qos=1, retain=True)
    how(broker)
    equal([(topic, payload) for topic, payload, _ in got(("s/#", 2))],
          sorted((name, name.encode()) for name in names if name != names[7]))
    broker.restart(CONFIG)


@test(f"one filter, {MANY} retained messages: all of them arrive"
      " [MQTT-3.3.1-6]")
def all_of_them(broker):
    with client() as one:
        window = 100
        for number in range(MANY):
            one.send(publish(f"all/{number}", b"%d" % number, 3, number + 1))
            if number >= window:
                one.acknowledged(PUBACK, number - window + 1)
        for number in range(MANY - window, MANY):
            one.acknowledged(PUBACK, number + 1)
    for qos in 1, 0:
        with client() as one:
            one.send(subscribe(1, ("all/#", qos)))
            one.subscribed(1)
            came = one.messages(MANY)
            equal(sorted(came), sorted((f"all/{n}", b"%d" % n)
                                       for n in range(MANY)))
            one.quiet()
    broker.restart(CONFIG)  # which forgets them
    equal(got("all/#"), [])


@cases([(f"under load at QoS {qos}: no old value after a newer one, none"
         " missed [MQTT-3.3.1-6] [MQTT-3.8.4-3]", qos) for qos in range(3)])
def under_load(_, qos):
    """Counters are published as fast as they go; clients come in between.

    What a client gets of a counter must begin with the retained value, and go
    on without a gap.
    """
    rand = seed()
    stop = threading.Event()
    failed = []
    topics = [f"load/{n}" for n in range(5)]

    def publisher():
        try:
            with client() as one:
                number = 0
                while not stop.is_set():
                    number += 1
                    one.publish_all([(topic, b"%d" % number)
                                     for topic in topics], qos, retain=True)
                    one.ping()
        except Exception as error:  # pylint: disable=broad-except
            failed.append(error)

    thread = threading.Thread(target=publisher)
    thread.start()
    try:
        for _ in range(times(40 if LONG else 15)):
            with client() as one:
                topic_filter = rand.choice(["load/#", "load/+", "load/3"])
                one.subscribe((topic_filter, qos))
                last = {}
                # Ten of each: what goes wrong is where they begin.
                for _ in range(50):
                    whole = one.accept(one.delivery())
                    value = int(whole.payload)
                    before = last.get(whole.topic)
                    assert before is not None or whole.retain or value == 1, \
                        f"{whole.topic} begins live with {value}"
                    assert before is None or value == before + 1, \
                        f"{whole.topic}: {value} after {before}"
                    last[whole.topic] = value
            assert not failed, failed
    finally:
        stop.set()
        thread.join()
    with client() as one:
        for topic in topics:
            one.publish(topic, b"", qos=1, retain=True)


@test("retain_available false: nothing is kept")
def unavailable(broker):
    broker.restart(CONFIG + "retain_available false\n")
    for qos in range(3):
        with client() as one:
            one.send(publish("r", b"m", qos << 1 | 1, qos and 1 or None))
        equal(got("r"), [])
    broker.restart(CONFIG)


main(any_broker())
