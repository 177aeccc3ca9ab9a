#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 3.1.1: wills (3.1.2.5 to 3.1.2.7, 3.14.4)."""

import socket

from broker import CONFIG, any_broker, client
from ktap import cases, equal, main, test
from mqtt import (PUBACK, PUBREC, Client, connect, disconnect, publish,
                  subscribe)


def witness():
    """A subscriber of wills."""
    one = client("witness")
    one.subscribe(("w/#", 2))
    return one


def told(one, qos=1, payload=b"gone", retain=False):
    """Assert that it gets one will, and nothing more."""
    whole = one.accept(one.delivery())
    equal((whole.topic, whole.payload, whole.qos, whole.retain),
          ("w/t", payload, qos, retain))
    one.quiet()


def with_will(qos=1, retain=False, payload=b"gone", **fields):
    """A client with a will."""
    return client("dies", will=("w/t", payload, qos, retain), **fields)


def send_wrong(one):
    """Send a packet that is none."""
    one.send(b"\0\0")
    one.ended()


@cases([(f"published on {what} [MQTT-3.1.2-8] [MQTT-3.1.2-16]", how)
        for what, how in (
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


@test("a client that does not read what it is sent says DISCONNECT: not"
      " published [MQTT-3.14.4-3]")
def unread(broker):
    with witness() as one, client("publisher") as other:
        dies = with_will(receive_buffer=4096)
        dies.subscribe(("b", 1))
        for _ in range(20):
            other.publish("b", bytes(100000), 1)
        dies.send(disconnect)
        dies.socket.shutdown(socket.SHUT_WR)
        broker.await_line("Client dies disconnected")
        one.quiet()
        dies.close()


@test("published on a takeover by the same client, with its own will then"
      " [MQTT-3.1.2-8] [MQTT-3.1.2-10]")
def taken_over(_):
    with witness() as one, with_will(payload=b"first"):
        second = with_will(payload=b"second")
        told(one, payload=b"first")
        second.close()
        told(one, payload=b"second")


@test("published when the keep alive has passed [MQTT-3.1.2-8]"
      " [MQTT-3.1.2-24]")
def keepalive(_):
    with witness() as one, with_will(keepalive=1) as dies:
        told(one)
        dies.ended()


@cases([(f"published, and kept, when the daemon ends, the session {name}"
         " [MQTT-3.1.2-8] [MQTT-3.1.2-17]", clean)
        for name, clean in (("clean", True), ("durable", False))])
def shutdown(broker, clean):
    broker.restart(broker.persistent())
    with client("durable", clean=False) as one:
        one.subscribe(("w/t", 1))
        one.disconnect()
    with with_will(1, True, clean=clean):
        broker.restart(broker.config)
    with client("durable", clean=False, present=True) as one:
        told(one)
    with witness() as one:
        told(one, retain=True)
    broker.restart(CONFIG)


@test("on DISCONNECT it is discarded [MQTT-3.14.4-3] [MQTT-3.1.2-10]")
def discarded(_):
    with witness() as one:
        for qos in range(3):
            with_will(qos, True).disconnect()
            # What comes after DISCONNECT changes nothing.
            with with_will(qos) as dies:
                dies.send(disconnect + b"\0\0")
                dies.ended()
        one.quiet()
    with witness() as one:
        one.quiet()


@cases([(f"PUBLISHes and DISCONNECT count before {what}", how) for what, how in (
    ("a reset", lambda one: one.reset()),
    ("a close, with deliveries unread", lambda one: one.close()))])
def before_reset(broker, how):
    """Whatever the broker comes to first, the reset or what came before it."""
    with witness() as one:
        one.subscribe("before")
        for number in range(15):
            payloads = [b"%d" % n for n in range((0, 1, 100)[number % 3])]
            with with_will() as dies:
                dies.subscribe("before")
                one.publish("before", b"unread")
                equal(one.message()[1], b"unread")
                dies.ping()
                one.publish("before", b"unread")
                equal(one.message()[1], b"unread")
                dies.send(*(publish("before", payload)
                            for payload in payloads), disconnect)
                how(dies)
            equal([one.message()[1] for _ in payloads], payloads)
            if broker.nl:
                broker.await_conns(1)
        one.quiet()


@test("a DISCONNECT that does not wait for CONNACK counts before a reset, too"
      " (3.1.4)")
def before_connack(broker):
    with witness() as one:
        for _ in range(15):
            dies = Client()
            dies.send(connect("dies", will=("w/t", b"gone", 1, False)),
                      disconnect)
            dies.reset()
            if broker.nl:
                broker.await_conns(1)
        one.quiet()


@cases([(f"a DISCONNECT counts, however soon the client is back: behind {what}",
         packets) for what, packets in (
             ("nothing", []),
             ("a SUBSCRIBE", [subscribe(1, "r/#")]),
             ("QoS 0", [publish("t", bytes(100))] * 400),
             ("QoS 1", [publish("t", bytes(1000), 2, n)
                        for n in range(1, 40)]))])
def back_at_once(_, packets):
    with witness() as one:
        for _ in range(40):
            with with_will() as dies:
                dies.send(*packets, disconnect)
            client("dies").disconnect()
        one.quiet()


@test("what came before a DISCONNECT is answered before it closes")
def answered(_):
    for _ in range(15):
        with with_will() as one:
            one.send(publish("t", b"", 2, 1), publish("t", b"", 4, 2),
                     disconnect)
            equal([packet.kind for packet in one.ended()], [PUBACK, PUBREC])


@test("after a DISCONNECT it closes [MQTT-3.14.4-2] [MQTT-4.8.0-1]")
def after_disconnect(_):
    """A client must not send more; a QoS 0 PUBLISH may still get through."""
    with witness() as one, with_will() as dies:
        dies.send(disconnect, publish("w/t", b"late", 2, 1),
                  connect("dies"))
        equal(dies.ended(), [])
        one.quiet()


@test("published once: not again by the session's next connection"
      " [MQTT-3.1.2-10]")
def once(_):
    with witness() as one:
        with_will(clean=False).close()
        told(one)
        client("dies", clean=False, present=True).close()
        one.quiet()
        client("dies").disconnect()
        one.quiet()


@test("without the will flag none is published [MQTT-3.1.2-12]")
def none(_):
    with witness() as one:
        with_will().disconnect()
        for _ in range(3):
            client("dies").close()
            client("dies").reset()
        one.quiet()


@test("a CONNECT that is refused leaves no will [MQTT-3.1.2-8]")
def refused(_):
    with witness() as one:
        with Client() as dies:
            dies.send(connect("", clean=False,
                              will=("w/t", b"gone", 1, False)))
            dies.ended()
        one.quiet()


@cases([(f"retained, at QoS {qos} [MQTT-3.1.2-17]", qos) for qos in range(3)])
def retained(_, qos):
    with witness() as one:
        with_will(qos, True).close()
        told(one, qos)
    with witness() as one:
        told(one, qos, retain=True)
        one.publish("w/t", b"", retain=True)
        equal(one.message(), ("w/t", b""))
        one.quiet()
    with witness() as one:
        one.quiet()


@cases([(f"not retained, at QoS {qos}: nobody gets it later"
         " [MQTT-3.1.2-16]", qos) for qos in range(3)])
def not_retained(_, qos):
    with witness() as one:
        with_will(qos).close()
        told(one, qos)
    with witness() as one:
        one.quiet()


@test("an empty will that is retained clears [MQTT-3.1.2-17]"
      " [MQTT-3.3.1-10]")
def clears(_):
    with client() as one:
        one.publish("w/t", b"kept", qos=1, retain=True)
    with witness() as one:
        told(one, 1, b"kept", True)
        with_will(1, True, b"").close()
        told(one, 1, b"")
    with witness() as one:
        one.quiet()


@test("queued for a durable session that is away [MQTT-3.1.2-8]"
      " [MQTT-4.5.0-1]")
def queued(_):
    with client("durable", clean=False) as one:
        one.subscribe(("w/t", 1))
        one.disconnect()
    with witness() as one:
        with_will(2).close()
        told(one, 2)
    with client("durable", clean=False, present=True) as one:
        told(one)
    client("durable").disconnect()


@cases([("a will of 65,535 bytes", bytes(65535)), ("an empty will", b""),
        ("a will of any bytes", bytes(range(256)))])
def payloads(_, payload):
    with witness() as one:
        with_will(2, False, payload).close()
        told(one, 2, payload)


@test("200 clients die at once: 200 wills")
def many(_):
    with witness() as one:
        clients = [client(f"dies {n}", will=(f"w/{n}", b"gone", n % 3, False))
                   for n in range(200)]
        for dies in clients:
            dies.close()
        got = sorted(one.messages(200))
        equal(got, sorted((f"w/{n}", b"gone") for n in range(200)))
        one.quiet()


main(any_broker())
