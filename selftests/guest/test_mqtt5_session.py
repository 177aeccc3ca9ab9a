#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: sessions, Clean Start, session expiry (3.1.2.4, 3.1.2.11.2, 4.1)."""

import contextlib
import time

from broker import CONFIG, Peer, any_broker, later
from broker import client as client_311
from ktap import cases, equal, main, test
from mqtt5 import (PROTOCOL, SESSION_EXPIRY, SHUTTING_DOWN, SUBSCRIPTION_ID,
                   USER, WITH_WILL, Client, back, client, disconnect, lasting,
                   listed, options, session)

COUNT = 25
EVER = 0xffffffff
SENT = [(USER, ("a", "b"))]

HOWS = [
    ("a DISCONNECT", lambda broker, one: one.disconnect()),
    ("a close", lambda broker, one: one.close()),
    ("a reset", lambda broker, one: one.reset()),
    ("a protocol error", lambda broker, one: (one.send(b"\0\0"), one.ended())),
    ("a takeover", lambda broker, one: None),
    ("a restart", lambda broker, one: broker.restart(broker.config)),
    ("kill -9", lambda broker, one: broker.crash()),
]


def fill(topic, numbers, qos=1):
    """Publish numbers."""
    with client() as other:
        for number in numbers:
            other.publish(topic, b"%d" % number, qos, properties=SENT)


def numbers_of(one, count):
    """Receive so many numbers."""
    return [int(payload) for _, payload in one.messages(count)]


def there(name):
    """Is there a session? Looks with a connection that lets it be."""
    with Client() as one:
        one.begin(name, clean=False, properties=lasting())
        whole = one.packet()
        one.disconnect()
        return bool(whole.present)


def expires(name, seconds, begin):
    """Assert that a session ends about so long after begin.

    A look takes it over: so look once, somewhat later.
    """
    time.sleep(max(0, seconds + 1.5 - (time.monotonic() - begin)))
    assert not there(name), f"{name} is still there"
    client(name).disconnect()


# Clean Start and session present.

@test("session present is 0 for a new session, and then 1 [MQTT-3.2.2-3]"
      " [MQTT-3.1.2-5] [MQTT-3.1.2-6]")
def present(_):
    for _ in range(2):
        client("present", clean=False, properties=lasting()).disconnect()
        for _ in range(2):
            back("present").disconnect()
        client("present").disconnect()


@test("Clean Start 1: session present is 0, and nothing is left"
      " [MQTT-3.2.2-2] [MQTT-3.1.2-4] [MQTT-3.1.4-4]")
def clean_start(_):
    with client("clean", properties=lasting()) as one:
        one.subscribe(("d", 1))
        one.disconnect()
    fill("d", range(3))
    with client("clean", properties=lasting()) as one:
        fill("d", range(3))
        one.quiet()
        one.disconnect()
    with back("clean") as one:
        fill("d", range(3))
        one.quiet()
    client("clean").disconnect()


@test("Clean Start during a takeover [MQTT-3.2.2-2] [MQTT-3.2.2-3]"
      " [MQTT-3.1.4-4]")
def present_taken(_):
    with client("taken", properties=lasting()), back("taken"), \
         client("taken", properties=lasting()), back("taken") as last:
        last.disconnect()
    client("taken").disconnect()


@test("sessions are the client id's [MQTT-3.1.3-2]")
def of_the_id(_):
    names = ["id", "ID", "id ", "i", "id\ufeff", "idd"]
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(session(name, (f"to/{name}", 1))).disconnect()
        for name in names:
            fill(f"to/{name}", [1])
        for name in names:
            with back(name) as one:
                equal(one.message(), (f"to/{name}", b"1"))
                one.quiet()


# What is kept.

@cases([(f"a session is resumed after {what}: subscriptions with their options"
         " and identifiers [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-4.1.0-1]", how)
        for what, how in HOWS[::2]])
def resumed(broker, how):
    broker.persist()
    with session("resumed") as one:
        one.subscribe(("r/+", 1), ("gone", 1))
        one.subscribe(("o/2", options(2, as_published=True)),
                      properties=[(SUBSCRIPTION_ID, 77)])
        one.subscribe(("local", options(1, no_local=True)))
        one.unsubscribe("gone")
        how(broker, one)
        with back("resumed") as one:
            with client() as other:
                other.publish("gone", b"", qos=1)
                for topic in "r/0", "r/1", "o/2":
                    other.publish(topic, b"m", 2, topic == "o/2")
            one.publish("local", b"m", 1)
            got = [one.accept(one.delivery()) for _ in range(3)]
            equal([(p.topic, p.qos, p.retain, p.all(SUBSCRIPTION_ID))
                   for p in got], [("r/0", 1, False, []), ("r/1", 1, False, []),
                                   ("o/2", 2, True, [77])])
            one.publish("o/2", b"", 0, True)
            one.message()
            one.quiet()


@cases([("messages are stored while the client is away, then come in order,"
         f" at QoS {qos}, after {what} [MQTT-3.1.2-23] [MQTT-4.5.0-1]", qos, how)
        for qos, (what, how) in zip((1, 2) * 3, HOWS[1:])])
def stored(broker, qos, how):
    broker.persist()
    with session("stored", ("s", qos)) as one:
        fill("s", range(COUNT), qos)
        how(broker, one)
        with contextlib.suppress(OSError):
            one.close()
        fill("s", range(COUNT, 2 * COUNT), qos)
        with back("stored") as one:
            got = [one.accept(one.delivery()) for _ in range(2 * COUNT)]
            equal([int(p.payload) for p in got], list(range(2 * COUNT)))
            equal({p.raw for p in got}, {listed(SENT)})
            one.quiet()
            one.disconnect()
        with back("stored") as one:
            one.quiet()


@test("a session lasts as long as its connection, whatever its expiry"
      " [MQTT-4.1.0-1]")
def while_connected(_):
    with client("lasts", properties=lasting(1)) as one, \
         client("zero") as zero, client() as other:
        for each in one, zero:
            each.subscribe(("l", 1))
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            other.publish("l", b"m", 1)
            for each in one, zero:
                equal(each.message(), ("l", b"m"))
            time.sleep(0.3)  # a client's pace, not a wait
    client("lasts").disconnect()


# How long.

@test("Session Expiry Interval absent or 0: it ends with the connection"
      " [MQTT-4.1.0-2]")
def at_once(_):
    for properties in (), [(SESSION_EXPIRY, 0)]:
        for how in HOWS[:3]:
            with client("ends", properties=properties) as one:
                one.subscribe(("l", 1))
                how[1](None, one)
            fill("l", range(3))
            with client("ends", clean=False) as one:
                one.quiet()
                fill("l", range(3))
                one.quiet()


@test("a session ends when its interval has passed, not before, after a"
      " DISCONNECT or a close [MQTT-4.1.0-2] [MQTT-3.1.2-23]")
def interval(_):
    every = [("two", 2, 0), ("two too", 2, 1), ("hour", 3600, 0),
             ("ever", EVER, 1)]
    for name, seconds, how in every:
        HOWS[how][1](None, client(name, properties=lasting(seconds)))
    begin = time.monotonic()
    assert there("hour") and there("ever")
    expires("two", 2, begin)
    expires("two too", 2, begin)
    assert there("hour") and there("ever")
    for name in "hour", "ever":
        client(name).disconnect()


@test("the interval begins anew with each connection, and is that one's"
      " [MQTT-4.1.0-2]")
def anew(_):
    client("anew", properties=lasting(1)).close()
    with client("anew", True, clean=False, properties=lasting(60)) as one:
        one.close()
    client("ends", properties=lasting(60)).close()
    with client("ends", True, clean=False):
        pass
    client("short", properties=lasting(60)).close()
    client("short", True, clean=False, properties=lasting(1)).close()
    begin = time.monotonic()
    assert not there("ends")
    expires("short", 1, begin)
    assert there("anew")
    for name in "anew", "ends":
        client(name).disconnect()


@test("the CONNACK says what interval is used where it is another"
      " [MQTT-3.1.2-23]")
def granted(_):
    for seconds in 0, 1, 3600, EVER - 1, EVER:
        with client("granted", properties=lasting(seconds)) as one:
            equal(one.connack.get(SESSION_EXPIRY, seconds), seconds)
            one.disconnect(0, [(SESSION_EXPIRY, 0)])


@test("persistent_client_expiration: sessions last no longer, and the CONNACK"
      " says so if it does [MQTT-4.1.0-2]")
def configured(broker):
    broker.restart(CONFIG + "persistent_client_expiration 2h\n")
    for seconds in 60, 3600 * 2, 3600 * 2 + 1, EVER:
        with client("granted", properties=lasting(seconds)) as one:
            said = one.connack.get(SESSION_EXPIRY, seconds)
            # Another broker may not have that for MQTT 5.
            assert said == min(seconds, 7200) or Peer.program, said
            one.disconnect(0, [(SESSION_EXPIRY, 0)])
    broker.restart(CONFIG)


@test("persistent_client_expiration: what CONNACK says is what counts"
      " [MQTT-4.1.0-2] [MQTT-3.1.2-23]")
def honoured(broker):
    """Hours are its smallest unit; a new daemon sees them pass."""
    broker.restart(broker.persistent(
        CONFIG + "persistent_client_expiration 2h\n"))
    with client("granted", properties=lasting(EVER)) as one:
        said = one.connack.get(SESSION_EXPIRY, EVER)
        assert said == 7200 or Peer.program, said
        one.disconnect()
    client("hour", properties=lasting(3600)).disconnect()
    broker.stop()
    with later(7000):
        broker.start_daemon()
        assert there("granted") and not there("hour")
        client("granted", True, clean=False,
               properties=lasting(EVER)).disconnect()
        broker.stop()
    with later(5 * 3600):
        broker.start_daemon()
        equal(there("granted"), said > 5 * 3600 - 7000)
        broker.stop()
    broker.start_daemon(CONFIG)


@test("DISCONNECT may change the interval: to less, to more, to nothing"
      " [MQTT-4.1.0-2]")
def changed(_):
    for name, first, then in (("less", 3600, 1), ("more", 1, 3600),
                              ("nothing", 3600, 0), ("same", 3600, None)):
        properties = [] if then is None else [(SESSION_EXPIRY, then)]
        one = client(name, properties=lasting(first))
        equal(one.disconnect(0, properties), [])
    begin = time.monotonic()
    assert not there("nothing") and there("same")
    expires("less", 1, begin)
    assert there("more")
    for name in "more", "nothing", "same":
        client(name).disconnect()


@test("an interval in DISCONNECT where there was none: 0x82, the will is"
      " published, and no session is left [MQTT-4.13.1-1] [MQTT-3.1.2-8]")
def not_changed(_):
    for properties in (), [(SESSION_EXPIRY, 0)]:
        with client() as witness, \
             client("none", will=("w", b"gone", 1, False),
                    properties=properties) as one:
            witness.subscribe("w")
            one.send(disconnect(0, [(SESSION_EXPIRY, 5)]))
            one.disconnected(PROTOCOL)
            equal(witness.message(), ("w", b"gone"))
        assert not there("none")
        client("none").disconnect()
        with client("none", properties=properties) as one:
            equal(one.disconnect(0, [(SESSION_EXPIRY, 0)]), [])


@test("time goes on while the daemon is down [MQTT-4.1.0-2] [MQTT-3.1.2-23]")
def while_down(broker):
    broker.restart(broker.persistent())
    for name, seconds in ("short", 2), ("long", 3600), ("ever", EVER):
        with client(name, properties=lasting(seconds)) as one:
            one.subscribe(("d", 1))
            if name != "long":
                one.disconnect()
    # What DISCONNECT says counts.
    for name, first, then in ("less", 3600, 2), ("more", 2, 3600):
        with client(name, properties=lasting(first)) as one:
            one.subscribe(("d", 1))
            one.disconnect(0, [(SESSION_EXPIRY, then)])
    fill("d", [1])
    begin = time.monotonic()
    broker.crash()
    broker.stop()
    time.sleep(max(0, 3.5 - (time.monotonic() - begin)))  # what takes time
    broker.start_daemon(broker.config)
    fill("d", [2])
    for name in "long", "ever", "more":
        with back(name) as one:
            equal(numbers_of(one, 2), [1, 2])
            one.quiet()
    assert not there("short") and not there("less")
    for name in "short", "long", "ever", "less", "more":
        client(name).disconnect()
    broker.restart(CONFIG)


@test("a session that was connected when the daemon fell expires too"
      " [MQTT-4.1.0-2]")
def fell(broker):
    broker.restart(broker.persistent())
    with client("fell", properties=lasting(1)), client("zero"), \
         client("stays", properties=lasting(3600)):
        begin = time.monotonic()
        broker.crash()
    assert there("stays")
    assert not there("zero")
    expires("fell", 1, begin + (time.monotonic() - begin))
    for name in "stays", "zero":
        client(name).disconnect()
    broker.restart(CONFIG)


# Versions.

@test("a session goes from 3.1.1 to 5, and back: messages and subscriptions"
      " [MQTT-3.1.2-5]")
def versions(_):
    with client_311("both", clean=False) as one:
        one.subscribe(("v/+", 1))
        one.disconnect()
    fill("v/1", [1])
    with back("both") as one:
        equal(one.delivery().raw, listed(SENT))
        one.subscribe(("v/+", 1), properties=[(SUBSCRIPTION_ID, 3)])
        one.disconnect()
    fill("v/2", [2])
    with client_311("both", clean=False, present=True) as one:
        got = [one.accept(one.delivery()) for _ in range(2)]
        equal([(p.payload, p.dup) for p in got], [(b"1", True), (b"2", False)])
        one.quiet()
        one.disconnect()
    with back("both") as one:
        one.quiet()
    client("both").disconnect()


@test("clean session 0 of 3.1.1 never expires; 1 of it ends at once")
def old_sessions(_):
    client_311("old", clean=False).disconnect()
    client_311("clean").disconnect()
    assert there("old") and not there("clean")
    for name in "old", "clean":
        client_311(name).disconnect()


# The end of the server.

@test("the daemon ends: 0x8b to version 5, nothing to 3.1.1; the sessions are"
      " there afterwards [MQTT-3.14.2-1] [MQTT-3.14.2-2]")
def shutdown(broker):
    broker.restart(broker.persistent())
    with client("stays", properties=lasting()) as one, client() as other, \
         client_311("old") as old:
        broker.restart(broker.config)
        for each in one, other:
            each.disconnected(SHUTTING_DOWN)
        equal(old.ended(), [])
    assert there("stays")
    client("stays").disconnect()
    broker.restart(CONFIG)


@test("a DISCONNECT with the will leaves the session [MQTT-3.1.2-23]")
def with_will(_):
    with client("w", properties=lasting()) as one:
        one.disconnect(WITH_WILL)
    assert there("w")
    client("w").disconnect()


main(any_broker())
