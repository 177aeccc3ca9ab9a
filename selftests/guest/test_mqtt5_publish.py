#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: PUBLISH, its properties, retained messages, expiry (3.3 to 3.7)."""

import contextlib
import time

from broker import CONFIG, any_broker
from broker import client as client_311
from ktap import cases, equal, main, test
from mqtt import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL
from mqtt5 import (ALIAS, AUTH_METHOD, BAD_TOPIC, CONTENT_TYPE, CORRELATION,
                   MALFORMED, MAX_PACKET, MESSAGE_EXPIRY, NO_NUMBER,
                   NO_SUBSCRIBERS, NOT_AUTHORIZED, PAYLOAD_FORMAT, PROTOCOL,
                   REASON, RECEIVE_MAX, RESPONSE_TOPIC, SESSION_EXPIRY,
                   SUBSCRIPTION_ID, USER, WILL_DELAY, acknowledge, back, client,
                   dismissed, lasting, listed, options, publish, session)

RETAIN, DUP = 1, 8
EVERY = [(PAYLOAD_FORMAT, 1), (CONTENT_TYPE, "text/plain; ü"),
         (RESPONSE_TOPIC, "answers/to/me"), (CORRELATION, bytes(range(256))),
         (USER, ("a", "1")), (USER, ("a", "1")), (USER, ("", "")),
         (USER, ("b", "2")), (USER, ("a", "0"))]


def whole_of(topic, payload=b"m", qos=0, properties=(), more=0):
    """Build a PUBLISH at that QoS."""
    return publish(topic, payload, qos << 1 | more, 7 if qos else None,
                   properties)


# What a PUBLISH must be.

@test("both QoS bits set: 0x81 [MQTT-3.3.1-4]")
def qos_3(_):
    with client() as witness:
        witness.subscribe("t")
        for dup in 0, DUP:
            dismissed([MALFORMED], publish("t", b"m", 6 | dup, 1))
        witness.quiet()


@test("DUP at QoS 0 is an error [MQTT-3.3.1-2]")
def dup_0(_):
    dismissed([MALFORMED, PROTOCOL], publish("t", b"m", DUP))


@cases([(f"a topic name with wildcards, {topic}, is an error [MQTT-3.3.2-2]"
         " [MQTT-4.7.0-1]", topic)
        for topic in ("+", "a/+", "a/+/b", "a+", "#", "a/#", "a#")])
def wildcards(_, topic):
    for qos in range(3):
        dismissed([MALFORMED, PROTOCOL, BAD_TOPIC], whole_of(topic, qos=qos))


@test("an empty topic name without an alias: 0x82 [MQTT-4.7.3-1]"
      " [MQTT-3.3.2-1]")
def empty_topic(_):
    for qos in range(3):
        dismissed([PROTOCOL], whole_of("", qos=qos))
        dismissed([PROTOCOL], whole_of("", qos=qos, properties=EVERY))


@cases([(f"a response topic with wildcards, {topic}, is an error"
         " [MQTT-3.3.2-14]", topic) for topic in ("+", "a/+/b", "#", "a/#")])
def response_wildcards(_, topic):
    for qos in range(3):
        dismissed([MALFORMED, PROTOCOL, BAD_TOPIC],
                  whole_of("t", qos=qos, properties=[(RESPONSE_TOPIC, topic)]))


@cases([(f"a subscription identifier from a client at QoS {qos}: 0x82"
         " [MQTT-3.3.4-6]", qos) for qos in range(3)])
def identifier(_, qos):
    with client() as witness:
        witness.subscribe(("t", 2))
        for number in 1, 0, 268435455:
            dismissed([PROTOCOL], whole_of("t", qos=qos, properties=[
                (SUBSCRIPTION_ID, number)]))
        witness.quiet()


@cases([(f"property {identifier} twice at QoS {qos}: 0x82 [MQTT-4.13.1-1]",
         identifier, value, qos) for qos in range(3)
        for identifier, value in (
            (PAYLOAD_FORMAT, 1), (MESSAGE_EXPIRY, 9), (CONTENT_TYPE, "x"),
            (RESPONSE_TOPIC, "x"), (CORRELATION, b"x"), (ALIAS, 1))])
def twice(_, identifier, value, qos):
    dismissed([PROTOCOL], whole_of("t", qos=qos,
                                   properties=[(identifier, value)] * 2))


@cases([(f"property {identifier} twice at QoS {qos}, the first empty: 0x82"
         " [MQTT-4.13.1-1]", [(identifier, nothing), (identifier, value)], qos)
        for qos in range(3) for identifier, nothing, value in (
            (PAYLOAD_FORMAT, 0, 1), (MESSAGE_EXPIRY, 0, 9),
            (CONTENT_TYPE, "", "x"), (CORRELATION, b"", b"x"))])
def twice_empty(_, properties, qos):
    with client() as witness:
        witness.subscribe("t")
        dismissed([PROTOCOL], whole_of("t", qos=qos, properties=properties))
        witness.quiet()


@cases([(f"a reason string twice in {name}, the first empty: 0x82"
         " [MQTT-4.13.1-1]", kind) for name, kind in (
             ("PUBACK", PUBACK), ("PUBREC", PUBREC), ("PUBREL", PUBREL),
             ("PUBCOMP", PUBCOMP))])
def reason_twice(_, kind):
    dismissed([PROTOCOL], acknowledge(kind, 1, 0, [(REASON, ""),
                                                   (REASON, "x")]))


@cases([(f"property {identifier} in PUBLISH: 0x81 [MQTT-4.13.1-1]", raw)
        for identifier, raw in (
            *((identifier, listed([(identifier, value)]))
              for identifier, value in ((SESSION_EXPIRY, 1), (AUTH_METHOD, "x"),
                                        (WILL_DELAY, 1), (REASON, "x"),
                                        (RECEIVE_MAX, 1))),
            ("0", b"\0\0"), ("4", b"\4\0\0"), ("127", b"\x7f\0\0"),
            ("129", b"\x81\1\0\0"))])
def misplaced(_, raw):
    for qos in range(3):
        dismissed([MALFORMED], whole_of("t", qos=qos, properties=[raw]))


@test("a payload format indicator of 2 is an error")
def bad_format(_):
    for qos in range(3):
        dismissed([MALFORMED, PROTOCOL],
                  whole_of("t", qos=qos, properties=[(PAYLOAD_FORMAT, 2)]))


@cases([(f"{name}: 0x81 [MQTT-4.13.1-1]", raw) for name, raw in (
    ("a property length beyond the packet", b"\x7f"),
    ("a property cut by the property length", b"\2\2\0\0\0\1"),
    ("a property length into the middle of a property", b"\3\1\1\2"),
    ("a string beyond the properties", b"\5\3\0\5ab"),
    ("binary data beyond the properties", b"\5\x09\0\5ab"),
    ("a user property without its value", b"\4\x26\0\1a"),
    ("an integer cut short", b"\4\2\0\0\0"))])
def bad_lengths(_, raw):
    for qos in range(3):
        dismissed([MALFORMED], whole_of("t", b"payload", qos, raw))


# What is forwarded.

@cases([(f"published at {qos}, granted {granted}: properties arrive unaltered,"
         " in their order [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16]"
         " [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20] [MQTT-3.1.3-10]",
         qos, granted) for qos in range(3) for granted in range(3)])
def unaltered(_, qos, granted):
    with client() as one, client() as other:
        one.subscribe(("t", granted))
        for properties in (EVERY, EVERY[::-1], [], [(PAYLOAD_FORMAT, 0)],
                           [(USER, (f"{n}", "x" * n)) for n in range(100)],
                           [(CORRELATION, b"")], [(CONTENT_TYPE, "")],
                           [(RESPONSE_TOPIC, "a" * 60000)]):
            for size in 0, 1, 20000:
                other.publish("t", bytes(size), qos, properties=properties)
                whole = one.accept(one.delivery())
                equal((whole.raw, whole.topic, whole.payload, whole.qos,
                       whole.retain, whole.dup),
                      (listed(properties), "t", bytes(size),
                       min(qos, granted), False, False))
        one.quiet()


@cases([(f"QoS {qos} from 3.1.1 and to it: properties are not there, nor made",
         qos) for qos in range(3)])
def versions(_, qos):
    with client() as new, client_311() as old:
        new.subscribe(("t", qos))
        old.subscribe(("t", qos))
        for publisher, properties in (new, EVERY), (old, None):
            if properties:
                publisher.publish("t", b"m", qos, properties=properties)
            else:
                publisher.publish("t", b"m", qos)
            whole = new.accept(new.delivery())
            equal((whole.raw, whole.payload), (listed(properties or []), b"m"))
            whole = old.accept(old.delivery())
            number = whole.number.to_bytes(2, "big") if qos else b""
            equal(whole, (PUBLISH, qos << 1, b"\0\1t" + number + b"m"))


@test("no response topic, or an empty payload format, is made up")
def nothing_added(_):
    with client() as one:
        one.subscribe("t")
        one.publish("t", b"\xff\xfe", properties=[(PAYLOAD_FORMAT, 0)])
        equal(one.packet(), (PUBLISH, 0, b"\0\1t\2\1\0\xff\xfe"))


@test("the topic name of a delivery is the one that was published, and matches"
      " the filter [MQTT-3.3.2-3]")
def topic_name(_):
    with client() as one:
        one.subscribe(("a/+/c/#", 1))
        for topic in "a/b/c", "a//c/", "a/b/c/d/e":
            for qos in range(3):
                one.publish(topic, b"m", qos)
                equal(one.message(), (topic, b"m"))
        one.publish("a/b/d", b"m")
        one.quiet()


# Acknowledgements.

@test("the answer is the QoS's: none, PUBACK, PUBREC [MQTT-3.3.4-1]"
      " [MQTT-4.3.1-1] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.7.2-1]")
def answers(_):
    with client() as one, client() as witness:
        witness.subscribe("t")
        one.send(publish("t", b"m"))
        one.quiet()
        one.send(publish("t", b"m", 2, 7))
        equal(one.acknowledged(PUBACK, 7).reason, 0)
        one.send(publish("t", b"m", 4, 8))
        equal(one.acknowledged(PUBREC, 8).reason, 0)
        one.send(acknowledge(PUBREL, 8))
        equal(one.acknowledged(PUBCOMP, 8).reason, 0)


@test("nobody subscribes: 0x10, or 0x00 [MQTT-3.4.2-1] [MQTT-3.5.2-1]")
def nobody(_):
    with client() as one:
        for qos in 1, 2:
            assert one.publish("nobody", b"m", qos) in (0, NO_SUBSCRIBERS)


@test("a PUBREL of no identifier in use: PUBCOMP 0x92 [MQTT-3.7.2-1]")
def unknown_release(_):
    with client() as one:
        one.send(acknowledge(PUBREL, 77))
        one.acknowledged(PUBCOMP, 77, NO_NUMBER)


@test("a PUBREC of no identifier in use: PUBREL 0x92 [MQTT-3.6.2-1]")
def unknown_received(_):
    with client() as one:
        one.send(acknowledge(PUBREC, 77))
        one.acknowledged(PUBREL, 77, NO_NUMBER)
        one.send(acknowledge(PUBCOMP, 77, NO_NUMBER))
        one.quiet()


@cases([(f"a reason code that {name} has not is an error [MQTT-4.13.1-1]",
         kind, codes) for name, kind, codes in (
             ("PUBACK", PUBACK, (1, 0x18, 0x92, 0xff)),
             ("PUBREC", PUBREC, (1, 0x18, 0x92, 0xff)),
             ("PUBREL", PUBREL, (1, 0x10, 0x80, 0xff)),
             ("PUBCOMP", PUBCOMP, (1, 0x10, 0x80, 0xff)))])
def bad_reasons(_, kind, codes):
    for code in codes:
        dismissed([MALFORMED, PROTOCOL], acknowledge(kind, 1, code))


@contextlib.contextmanager
def acl(broker, *lines):
    """Give the broker an ACL file."""
    path = broker.directory / "acl"
    path.write_text("\n".join(lines) + "\n")
    broker.restart(CONFIG + f"acl_file {path}\n")
    yield
    broker.restart(CONFIG)


@test("not authorized: 0x87 at QoS 1 and 2, nothing at QoS 0; at QoS 2 the"
      " identifier is free then [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-4.3.3-9]")
def denied(broker):
    with acl(broker, "topic readwrite good/#", "topic read bad/#"), \
         client() as one, client() as other:
        one.subscribe(("#", 2))
        for qos in range(3):
            other.send(publish("bad/x", b"m", qos << 1, 9 if qos else None))
            if qos:
                other.acknowledged(PUBACK if qos == 1 else PUBREC, 9,
                                   NOT_AUTHORIZED)
        other.send(publish("good/x", b"m", 4, 9))
        other.acknowledged(PUBREC, 9, 0)
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9, 0)
        equal(one.message(), ("good/x", b"m"))
        one.quiet()


@test("an acknowledgement is not larger than the client takes: reason strings"
      " give way [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3]"
      " [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3]"
      " [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2]"
      " [MQTT-3.14.2-3] [MQTT-3.14.2-4]")
def small(broker):
    """Client looks at the size of what comes."""
    with acl(broker, "topic read good/#"):
        with client("small") as one:
            least = one.connack.size
        with client("small", properties=[(MAX_PACKET, least)]) as one:
            for qos in 1, 2:
                one.publish("bad", b"m", qos, reasons=[NOT_AUTHORIZED],
                            properties=[(USER, ("a", "b"))])
            one.send(acknowledge(PUBREL, 77))
            one.acknowledged(PUBCOMP, 77, NO_NUMBER)
            one.send(acknowledge(PUBREC, 78))
            one.acknowledged(PUBREL, 78, NO_NUMBER)
            one.subscribe(*["bad"] * (least - 10))
            one.unsubscribe(*["bad"] * (least - 10))
            one.send(publish("+", b"m"))
            assert one.disconnected(MALFORMED, PROTOCOL, BAD_TOPIC)


# Retained messages.

@contextlib.contextmanager
def retained(*messages, qos=1, properties=()):
    """Retain (topic, payload), and clear them at the end."""
    with client() as one:
        for topic, payload in messages:
            one.publish(topic, payload, qos, True, properties)
        yield one
        for topic, _ in messages:
            one.publish(topic, b"", 1, True)


def got(*filters):
    """Subscribe anew: return what is retained."""
    with client() as one:
        one.subscribe(*filters)
        came = one.waiting()
        for whole in came:
            equal((whole.retain, whole.dup), (True, False), whole.topic)
        return sorted(came, key=lambda whole: whole.topic)


def payloads(*filters):
    """Subscribe anew: return (topic, payload) of what is retained."""
    return [(whole.topic, whole.payload) for whole in got(*filters)]


@cases([(f"retained at {qos}, granted {granted}: on SUBSCRIBE, RETAIN set,"
         " properties unaltered [MQTT-3.3.1-5] [MQTT-3.8.4-8] [MQTT-3.3.2-17]"
         " [MQTT-3.3.2-18]", qos, granted)
        for qos in range(3) for granted in range(3)])
def stored(_, qos, granted):
    with retained(("r/1", b"kept"), qos=qos, properties=EVERY):
        for topic_filter in "r/1", "r/+":
            whole, = got((topic_filter, granted))
            equal((whole.topic, whole.payload, whole.qos, whole.raw),
                  ("r/1", b"kept", min(qos, granted), listed(EVERY)))


@cases([(f"the last one is kept, its properties too, QoS {first} then {second}"
         " [MQTT-3.3.1-5]", first, second)
        for first in range(3) for second in range(3)])
def replaced(_, first, second):
    with retained(("r", b"old"), qos=first, properties=EVERY) as one:
        one.publish("r", b"new", second, True, [(CONTENT_TYPE, "new")])
        whole, = got(("r", 2))
        equal((whole.payload, whole.qos, whole.properties),
              (b"new", second, [(CONTENT_TYPE, "new")]))


@cases([(f"an empty payload at QoS {qos} clears, and is delivered, whatever"
         " properties it has [MQTT-3.3.1-6] [MQTT-3.3.1-7]", qos)
        for qos in range(3)])
def cleared(_, qos):
    with client() as witness, retained(("c/1", b"1"), ("c/2", b"2")) as one:
        witness.subscribe(("c/1", 2))
        equal(witness.message(), ("c/1", b"1"))
        one.publish("c/1", b"", qos, True, EVERY)
        whole = witness.accept(witness.delivery())
        equal((whole.payload, whole.qos, whole.retain, whole.raw),
              (b"", qos, False, listed(EVERY)))
        equal(payloads("c/#"), [("c/2", b"2")])
        one.publish("c/3", b"", qos, True, EVERY)
        equal(payloads("c/#"), [("c/2", b"2")])


@test("without RETAIN nothing is stored, replaced or removed [MQTT-3.3.1-8]")
def not_retained(_):
    with retained(("n/1", b"kept")) as one:
        for qos in range(3):
            one.publish("n/1", b"passing", qos)
            one.publish("n/1", b"", qos)
            one.publish("n/2", b"passing", qos)
        equal(payloads("n/#"), [("n/1", b"kept")])


@cases([(f"retained at {qos}: live, RETAIN is {int(flag)} with Retain As"
         f" Published {int(flag)} [MQTT-3.3.1-12] [MQTT-3.3.1-13]", qos, flag)
        for qos in range(3) for flag in (False, True)])
def as_published(_, qos, flag):
    with client() as one, client() as other:
        for granted in range(3):
            one.subscribe(("l", options(granted, as_published=flag)))
            for retain in True, False:
                other.publish("l", b"m", qos, retain, EVERY)
                whole = one.accept(one.delivery())
                equal((whole.retain, whole.qos, whole.raw),
                      (flag and retain, min(qos, granted), listed(EVERY)))
            other.publish("l", b"", qos, True)
            equal(one.accept(one.delivery()).retain, flag)
            one.quiet()


@cases([(f"for who is away RETAIN is as it would have been, after {what}"
         " [MQTT-3.3.1-12] [MQTT-3.3.1-13]", how) for what, how in (
             ("a reconnect", lambda broker: None),
             ("a restart", lambda broker: broker.restart(broker.config)),
             ("kill -9", lambda broker: broker.crash()))])
def as_published_later(broker, how):
    broker.persist()
    names = {"as published": True, "not": False}
    for name, flag in names.items():
        with client(name, properties=lasting()) as one:
            one.subscribe(("l", options(2, as_published=flag)))
            one.disconnect()
    sent = [(qos, retain) for qos in (1, 2) for retain in (True, False)]
    with client() as other:
        for qos, retain in sent:
            other.publish("l", b"m", qos, retain)
    how(broker)
    for name, flag in names.items():
        with back(name) as one:
            got = [one.accept(one.delivery()) for _ in sent]
            equal([(w.qos, w.retain) for w in got],
                  [(qos, flag and retain) for qos, retain in sent])
            one.quiet()
        client(name).disconnect()
    with client() as other:
        other.publish("l", b"", 1, True)


@test("retained messages keep their properties across a restart and kill -9"
      " [MQTT-3.3.2-17]")
def durable(broker):
    broker.restart(broker.persistent())
    with retained(("r/1", b"1"), ("r/2", b"2"), properties=EVERY):
        pass
    with client() as one:
        one.publish("r/1", b"1", 1, True, EVERY)
        one.publish("r/2", b"2", 2, True, EVERY[::-1])
    for how in lambda: broker.restart(broker.config), broker.crash:
        how()
        equal([(w.topic, w.qos, w.raw) for w in got(("r/#", 2))],
              [("r/1", 1, listed(EVERY)), ("r/2", 2, listed(EVERY[::-1]))])
    broker.restart(CONFIG)


# Expiry. Time has to pass for it.

def without_expiry(properties):
    """Return properties without the expiry, and the expiry."""
    return ([p for p in properties if p[0] != MESSAGE_EXPIRY],
            dict(properties).get(MESSAGE_EXPIRY))


@cases([(f"the expiry of what is delivered at once at QoS {qos} is as it came,"
         " or a second less [MQTT-3.3.2-6]", qos) for qos in range(3)])
def fresh(_, qos):
    with client() as one:
        one.subscribe(("t", 2))
        for interval in 10, 60, 4294967295:
            sent = EVERY[:3] + [(MESSAGE_EXPIRY, interval)] + EVERY[3:]
            one.publish("t", b"m", qos, properties=sent)
            properties, left = without_expiry(one.accept(
                one.delivery()).properties)
            equal(properties, EVERY)
            assert interval - 2 <= left <= interval, (interval, left)


def expect_left(whole, interval, low, high):
    """Assert how long a message had waited, in seconds."""
    left = whole.get(MESSAGE_EXPIRY)
    assert low <= interval - left <= high, (whole.topic, interval, left)


@test("what waited, in a queue or retained, has that much less; what has"
      " expired is gone [MQTT-3.3.2-5] [MQTT-3.3.2-6]")
def expires(_):
    sent = [(1, "short"), (100, "long"), (None, "ever")]

    def fields(interval):
        return EVERY + [(MESSAGE_EXPIRY, interval)] * (interval is not None)

    with session("away", ("q/#", 2)) as one, client() as other:
        one.disconnect()
        with session("new", ("q/#", 1)) as late:
            late.disconnect()
            begin = time.monotonic()
            for interval, name in sent:
                for qos in 1, 2:
                    other.publish(f"q/{qos}/{name}", b"q", qos,
                                  properties=fields(interval))
                for qos in range(3):
                    other.publish(f"r/{qos}/{name}", b"r", qos, True,
                                  fields(interval))
            end = time.monotonic()
            time.sleep(2.5)  # what takes time
            low, high = 2, time.monotonic() - begin + 1.5
            assert end - begin < 50
            for name, granted in ("away", 2), ("new", 1):
                with back(name) as one:
                    came = [one.accept(one.delivery()) for _ in range(4)]
                    one.quiet()
                equal([(w.topic, w.qos) for w in came],
                      [(f"q/{qos}/{what}", min(qos, granted))
                       for what in ("long", "ever") for qos in (1, 2)])
                for whole in came[:2]:
                    expect_left(whole, 100, low, high + 2)
                    equal(without_expiry(whole.properties)[0], EVERY)
                for whole in came[2:]:
                    equal(whole.raw, listed(EVERY))
        came = got(("r/#", 2))
        equal([w.topic for w in came], [f"r/{qos}/{what}" for qos in range(3)
                                        for what in ("ever", "long")])
        for whole in came:
            if whole.topic.endswith("long"):
                expect_left(whole, 100, low, high + 4)
            equal(without_expiry(whole.properties)[0], EVERY)
        for qos in range(3):
            for what in "ever", "long", "short":
                other.publish(f"r/{qos}/{what}", b"", 0, True)


@test("3.1.1: what has expired does not arrive [MQTT-3.3.2-5]")
def expires_311(_):
    with client_311("old", clean=False) as one, client() as other:
        one.subscribe(("q", 1))
        one.disconnect()
        other.publish("q", b"1", 1, properties=[(MESSAGE_EXPIRY, 1)])
        other.publish("q", b"2", 1, properties=[(MESSAGE_EXPIRY, 100)])
        time.sleep(2.2)  # what takes time
        with client_311("old", clean=False, present=True) as one:
            equal(one.message(), ("q", b"2"))
            one.quiet()
    client_311("old").disconnect()


@test("time goes on while the daemon is down: expiry across a restart and"
      " kill -9 [MQTT-3.3.2-5] [MQTT-3.3.2-6]")
def expires_down(broker):
    broker.restart(broker.persistent())
    with client("away", properties=lasting()) as one:
        one.subscribe(("q/#", 1))
        one.disconnect()
    with client() as other:
        for name, interval in ("short", 2), ("long", 100):
            other.publish(f"q/{name}", b"m", 1,
                          properties=[(MESSAGE_EXPIRY, interval)])
            other.publish(f"r/{name}", b"m", 1, True,
                          [(MESSAGE_EXPIRY, interval)])
    begin = time.monotonic()
    broker.crash()
    broker.stop()
    time.sleep(max(0, 3.2 - (time.monotonic() - begin)))  # what takes time
    broker.start_daemon(broker.config)
    whole, = got("r/#")
    equal(whole.topic, "r/long")
    expect_left(whole, 100, 3, time.monotonic() - begin + 2)
    with back("away") as one:
        whole = one.accept(one.delivery())
        equal(whole.topic, "q/long")
        expect_left(whole, 100, 3, time.monotonic() - begin + 2)
        one.quiet()
    broker.restart(CONFIG)


main(any_broker())
