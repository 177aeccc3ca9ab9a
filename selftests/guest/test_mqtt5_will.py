#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: wills, their properties and delay (3.1.2.5, 3.1.3.2, 3.14.4)."""

import contextlib
import time

from broker import CONFIG, any_broker
from broker import client as client_311
from ktap import cases, equal, main, test
from mqtt5 import (BAD_TOPIC, CONTENT_TYPE, CORRELATION, MALFORMED,
                   MESSAGE_EXPIRY, PAYLOAD_FORMAT, PROTOCOL, RESPONSE_TOPIC,
                   SESSION_EXPIRY, TAKEN_OVER, UNSPECIFIED, USER, WILL_DELAY,
                   WITH_WILL, back, client, connect, disconnect, lasting,
                   listed, options, packet, publish, refused)

PROPERTIES = [(PAYLOAD_FORMAT, 1), (USER, ("a", "1")), (CONTENT_TYPE, "c"),
              (USER, ("a", "0")), (RESPONSE_TOPIC, "r"), (CORRELATION, b"\0")]
LONG = [(WILL_DELAY, 3600)]


def witness():
    """A subscriber of wills."""
    one = client("witness")
    one.subscribe(("w/#", 2))
    return one


def told(one, qos=1, payload=b"gone", retain=False, properties=()):
    """Assert that it gets one will, and nothing more."""
    whole = one.accept(one.delivery())
    equal((whole.topic, whole.payload, whole.qos, whole.retain, whole.raw),
          ("w/t", payload, qos, retain, listed(properties)))
    one.quiet()


def with_will(qos=1, retain=False, payload=b"gone", name="dies", **fields):
    """A client with a will."""
    return client(name, will=("w/t", payload, qos, retain), **fields)


def send_wrong(one):
    """Send a packet that is none."""
    one.send(b"\0\0")
    one.ended()


@cases([(f"published on {what} [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-14]",
         how) for what, how in (
             ("a close", lambda one: one.close()),
             ("a reset", lambda one: one.reset()),
             ("a protocol error", send_wrong),
             ("a close within a packet",
              lambda one: (one.send(publish("t", bytes(100))[:50]),
                           one.close())),
             ("a takeover", lambda _: client("dies").disconnect()))])
def published(_, how):
    for qos in range(3):
        with witness() as one, with_will(qos) as dies:
            how(dies)
            told(one, qos)


@cases([(f"on DISCONNECT 0x{reason:02x}: published [MQTT-3.1.2-8]", reason)
        for reason in (WITH_WILL, UNSPECIFIED, MALFORMED, PROTOCOL, 0x83, 0x90,
                       0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99)])
def on_reason(_, reason):
    with witness() as one, with_will() as dies:
        equal(dies.disconnect(reason), [])
        told(one)


@test("on DISCONNECT 0x00 it is discarded, however that is said"
      " [MQTT-3.14.4-3] [MQTT-3.1.2-8] [MQTT-3.1.2-10]")
def discarded(_):
    with witness() as one:
        for arguments in (), (0,), (0, ()), (0, [(USER, ("a", "b"))]):
            for delay in 0, 3600:
                with_will(retain=True, will_properties=[(WILL_DELAY, delay)],
                          properties=lasting()).disconnect(*arguments)
        client("dies", True, clean=False).close()
        one.quiet()
    with witness() as one:
        one.quiet()


@cases([(f"a DISCONNECT with {what}: 0x81 or 0x82 back, and it is published"
         " [MQTT-3.1.2-8]", whole) for what, whole in (
             ("a reason code that a client has not", disconnect(0x8b)),
             ("a reason code that there is not", disconnect(0x01)),
             ("an unknown property", disconnect(0, b"\2\x7f\0")),
             ("a property of another packet", disconnect(0, b"\3\x23\0\1")),
             ("bytes behind its end", packet(14, 0, b"\0\0x")))])
def wrong_disconnect(_, whole):
    with witness() as one, with_will() as dies:
        dies.send(whole)
        dies.disconnected(MALFORMED, PROTOCOL)
        told(one)


@test("published when the keep alive has passed [MQTT-3.1.2-8]"
      " [MQTT-3.1.2-22]")
def keepalive(_):
    with witness() as one, with_will(keepalive=1) as dies:
        told(one)
        dies.ended()


@cases([(f"published, and kept, when the daemon ends, the session {name}"
         " [MQTT-3.1.2-8] [MQTT-3.1.2-15]", properties)
        for name, properties in (("clean", []), ("durable", lasting()))])
def shutdown(broker, properties):
    broker.restart(broker.persistent())
    with client("durable", properties=lasting()) as one:
        one.subscribe(("w/t", 1))
        one.disconnect()
    with with_will(1, True, properties=properties, will_properties=PROPERTIES):
        broker.restart(broker.config)
    with back("durable") as one:
        told(one, properties=PROPERTIES)
    with witness() as one:
        told(one, retain=True, properties=PROPERTIES)
    broker.restart(CONFIG)


@test("published once: not again by the session's next connection"
      " [MQTT-3.1.2-10]")
def once(_):
    with witness() as one:
        with_will(properties=lasting()).close()
        told(one)
        back("dies").close()
        one.quiet()
        client("dies").disconnect()
        one.quiet()


@test("without the will flag none is published")
def none(_):
    with witness() as one:
        with_will().disconnect()
        client("dies").close()
        client("dies").disconnect(WITH_WILL)
        one.quiet()


@test("a CONNECT that is refused leaves no will")
def refused_will(_):
    with witness() as one:
        refused([PROTOCOL], connect("dies", will=("w/t", b"gone", 1, False),
                                    properties=[(0x21, 0)]))
        one.quiet()


@cases([(f"retained, at QoS {qos}, its properties too [MQTT-3.1.2-15]", qos)
        for qos in range(3)])
def retained(_, qos):
    with witness() as one:
        with_will(qos, True, will_properties=PROPERTIES).close()
        told(one, qos, properties=PROPERTIES)
    with witness() as one:
        told(one, qos, retain=True, properties=PROPERTIES)
        one.publish("w/t", b"", retain=True)
        equal(one.message(), ("w/t", b""))
    with witness() as one:
        one.quiet()


@cases([(f"QoS {qos}: RETAIN is what it was published with, to who asks for"
         " that [MQTT-3.3.1-12] [MQTT-3.3.1-13]", qos) for qos in range(3)])
def as_published(_, qos):
    with client() as one, client() as other:
        for each, flag in (one, True), (other, False):
            each.subscribe(("w/#", options(2, as_published=flag)))
        for retain in True, False:
            with_will(qos, retain).close()
            told(one, qos, retain=retain)
            told(other, qos)
        one.publish("w/t", b"", 1, True)


@cases([(f"a will topic {topic!r}: refused [MQTT-3.3.2-2] [MQTT-4.7.3-1]",
         topic) for topic in ("", "+", "a/#", "a/+/b", "a#")])
def bad_topic(_, topic):
    for qos in range(3):
        refused([MALFORMED, PROTOCOL, BAD_TOPIC],
                connect("dies", will=(topic, b"gone", qos, False)))


@cases([(f"not retained, at QoS {qos}: nobody gets it later"
         " [MQTT-3.1.2-14]", qos) for qos in range(3)])
def not_retained(_, qos):
    with witness() as one:
        with_will(qos).close()
        told(one, qos)
    with witness() as one:
        one.quiet()


@cases([(f"QoS {qos}: its properties are those of the message, in order; the"
         " delay is not one of them [MQTT-3.1.3-10] [MQTT-3.3.2-18]", qos)
        for qos in range(3)])
def properties_of(_, qos):
    with witness() as one, client_311() as old:
        old.subscribe(("w/t", 2))
        for delay in [], [(WILL_DELAY, 0)]:
            for at in 0, 3, len(PROPERTIES):
                sent = PROPERTIES[:at] + delay + PROPERTIES[at:]
                with_will(qos, will_properties=sent,
                          payload="ü".encode()).close()
                told(one, qos, "ü".encode(), properties=PROPERTIES)
                equal(old.message(), ("w/t", "ü".encode()))


@test("its expiry begins when it is published [MQTT-3.3.2-6]")
def expiry(_):
    with witness() as one:
        with_will(will_properties=[(MESSAGE_EXPIRY, 100)]).close()
        whole = one.accept(one.delivery())
        assert 98 <= whole.get(MESSAGE_EXPIRY) <= 100, whole


# The delay.

@test("the delay: published when it has passed, not before [MQTT-3.1.2-8]"
      " [MQTT-3.1.3-9]")
def delayed(_):
    with witness() as one:
        with_will(will_properties=[(WILL_DELAY, 2), *PROPERTIES],
                  properties=lasting()).close()
        begin = time.monotonic()
        one.quiet()
        told(one, properties=PROPERTIES)
        took = time.monotonic() - begin
        assert 1.5 < took < 6, f"after {took:.2f} s"
        client("dies").disconnect()


@test("the delay: also after DISCONNECT 0x04 [MQTT-3.1.2-8]")
def delayed_disconnect(_):
    with witness() as one:
        with_will(will_properties=[(WILL_DELAY, 1)],
                  properties=lasting()).disconnect(WITH_WILL)
        one.quiet()
        told(one)
        client("dies").disconnect()


@test("the session ends before the delay: published then [MQTT-3.1.2-8]"
      " [CVE-2019-11778]")
def session_first(_):
    with witness() as one:
        with_will(will_properties=LONG, properties=lasting(1)).close()
        begin = time.monotonic()
        one.quiet()
        told(one)
        took = time.monotonic() - begin
        assert 0.5 < took < 5, f"after {took:.2f} s"
        # A session that does not outlive its connection ends with it.
        with_will(will_properties=LONG).close()
        told(one)
        with_will(will_properties=LONG).disconnect(WITH_WILL)
        told(one)
        # An expiry that DISCONNECT sets counts.
        with_will(will_properties=LONG, properties=lasting()).disconnect(
            WITH_WILL, [(SESSION_EXPIRY, 0)])
        told(one)


@test("a new connection with the session within the delay: not published"
      " [MQTT-3.1.3-9] [MQTT-3.1.2-8]")
def came_back(_):
    with witness() as one:
        for how in "close", "reset":
            dies = with_will(will_properties=[(WILL_DELAY, 1)],
                             properties=lasting())
            getattr(dies, how)()
            with back("dies") as again:
                end = time.monotonic() + 2.2
                while time.monotonic() < end:
                    again.ping()
                    time.sleep(0.2)  # a client's pace, not a wait
                one.quiet()
                again.disconnect()
            one.quiet()
        client("dies").disconnect()


@test("a takeover within the session, with a delay: not published; with Clean"
      " Start, which ends the session: published [MQTT-3.1.3-9]"
      " [MQTT-3.1.2-8]")
def taken_over(_):
    with witness() as one:
        with with_will(will_properties=LONG, properties=lasting()) as old, \
             back("dies") as new:
            old.ended()
            new.ping()
            one.quiet()
        with with_will(will_properties=LONG, properties=lasting()) as old, \
             client("dies") as new:
            old.ended()
            told(one)
            new.disconnect()
        # So does a session that does not outlive its connection.
        with with_will(will_properties=LONG) as old, \
             client("dies", False, clean=False) as new:
            old.disconnected(TAKEN_OVER)
            told(one)
            new.disconnect()
        # Without a delay a takeover is an end like others.
        with with_will(properties=lasting()) as old, back("dies") as new:
            old.ended()
            told(one)
        client("dies").disconnect()


@test("Clean Start while the delay runs: the session ends, so it is published"
      " [MQTT-3.1.2-8]")
def clean_start(_):
    with witness() as one:
        with_will(will_properties=LONG, properties=lasting()).close()
        one.quiet()
        with client("dies"):
            told(one)


@test("the next connection's will is its own [MQTT-3.1.2-7] [MQTT-3.1.2-10]")
def own(_):
    with witness() as one:
        with_will(payload=b"first", will_properties=LONG,
                  properties=lasting()).close()
        second = with_will(payload=b"second", present=True, clean=False,
                           properties=lasting())
        second.close()
        told(one, payload=b"second")
        client("dies").disconnect()
        one.quiet()


HOWS = [("a restart", lambda broker: broker.restart(broker.config)),
        ("kill -9", lambda broker: broker.crash())]


@contextlib.contextmanager
def stored(broker):
    """Meanwhile there is a database, and "durable" in it, to whom wills go."""
    broker.restart(broker.persistent())
    with client("durable", properties=lasting()) as one:
        one.subscribe(("w/#", 1))
        one.disconnect()
    yield
    broker.restart(CONFIG)


def on_disk(broker):
    """Wait until the wills of those who have gone are."""
    broker.await_conns(0)
    # Its CONNACK waits for the disk, to which they have gone before.
    with client("later", properties=lasting()) as one:
        one.disconnect()


@cases([(f"a delay goes on across {what} [MQTT-3.1.2-7] [MQTT-3.1.2-8]", how)
        for what, how in HOWS])
def across(broker, how):
    with stored(broker):
        with_will(will_properties=[(WILL_DELAY, 3), *PROPERTIES],
                  properties=lasting()).close()
        with_will(name="other", will_properties=LONG,
                  properties=lasting()).close()
        on_disk(broker)
        how(broker)
        with back("durable") as one:
            told(one, properties=PROPERTIES)
            client("other").disconnect()
            told(one)


@cases([(f"published after {what}: retained, queued, and so it stays", how)
        for what, how in HOWS])
def stays(broker, how):
    with stored(broker):
        with_will(retain=True, will_properties=[(WILL_DELAY, 2)],
                  properties=lasting()).close()
        on_disk(broker)
        how(broker)
        with witness() as one:
            equal(one.accept(one.delivery()).payload, b"gone")
        for _ in range(2):
            how(broker)
            with witness() as one:
                told(one, retain=True)
        with back("durable") as one:
            told(one)


@test("queued for a session that is away, with its properties [MQTT-3.1.2-8]"
      " [MQTT-4.5.0-1]")
def queued(_):
    with client("durable", properties=lasting()) as one:
        one.subscribe(("w/t", 1))
        one.disconnect()
    with witness() as one:
        with_will(2, will_properties=PROPERTIES).close()
        told(one, 2, properties=PROPERTIES)
    with back("durable") as one:
        told(one, properties=PROPERTIES)
    client("durable").disconnect()


@test("to a client of a small Maximum Packet Size it is not sent")
def too_large(_):
    with client(properties=[(0x27, 100)]) as small, witness() as one:
        small.subscribe(("w/t", 1))
        with_will(payload=bytes(200)).close()
        told(one, payload=bytes(200))
        small.quiet()


@test("100 clients die at once, some with a delay: as many wills")
def many(_):
    with witness() as one:
        clients = [client(f"dies {n}", will=(f"w/{n}", b"gone", n % 3, False),
                          will_properties=[(WILL_DELAY, n % 2)],
                          properties=lasting(3)) for n in range(100)]
        for dies in clients:
            dies.close()
        got = sorted(one.messages(100))
        equal(got, sorted((f"w/{n}", b"gone") for n in range(100)))
        one.quiet()


main(any_broker())
