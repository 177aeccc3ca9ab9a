#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Packets in any segmentation, and glued to their neighbours."""

from broker import Broker, client
from ktap import cases, equal, main, seed, test, times
from mqtt import (CONNACK, PINGREQ, PINGRESP, PUBLISH, SUBACK, SUBSCRIBE,
                  UNSUBACK, Client, connect, disconnect, packet, ping, publish,
                  subscribe, unsubscribe)

# A client's life up to DISCONNECT. It hears itself while it is subscribed.
LIFE = [
    connect("client", keepalive=60),
    subscribe(1, "a/+", "b"),
    publish("a/x", b"one"),
    ping,
    publish("b", b""),
    unsubscribe(2, "a/+"),
    publish("a/x", b"unheard"),
    subscribe(3, "c"),
    publish("c", b"two"),
    ping,
]
NAMES = """CONNECT SUBSCRIBE PUBLISH PINGREQ PUBLISH UNSUBSCRIBE PUBLISH SUBSCRIBE
           PUBLISH PINGREQ""".split()
STREAM = b"".join(LIFE)
BY_DAEMON = [CONNACK, SUBACK, UNSUBACK, SUBACK]
PUBLISHED = [("a/x", b"one"), ("b", b""), ("a/x", b"unheard"),
             ("c", b"two")]
# What it hears if it awaits each answer.
HEARD = [message for message in PUBLISHED if message[1] != b"unheard"]


def check_life(got, pings):
    """Assert that these are packets that the stream demands, in order.

    Only the daemon's answers keep the order of their requests. Which messages
    are due, nobody can tell who has not awaited SUBACK and UNSUBACK.
    """
    equal([p.kind for p in got if p.kind not in (PUBLISH, PINGRESP)], BY_DAEMON,
          "the daemon's answers")
    equal(got[0].kind, CONNACK, "the first packet")
    assert sum(p.kind == PINGRESP for p in got) in pings
    heard = [(p.topic, p.payload) for p in got if p.kind == PUBLISH]
    equal(heard, [m for m in PUBLISHED if m in heard], "messages")


def finish_life(one):
    """Await what STREAM demands, and disconnect."""
    got, answers = [], 0
    while answers < len(BY_DAEMON) + 2:
        got.append(one.packet())
        answers += got[-1].kind != PUBLISH
    one.send(disconnect[:1])
    one.send(disconnect[1:])
    check_life(got + one.ended(), [2])


def send_in(one, broker, *parts):
    """Send parts as one segment each: each is received before the next."""
    record, sent = None, 0
    for part in parts:
        if sent:
            record = record or broker.record(one)
            broker.await_received(one, sent, record)
        one.send(part)
        sent += len(part)


@test("all in one segment")
def glued(_):
    for _ in range(times(20)):
        with Client() as one:
            one.send(STREAM + disconnect)
            # The connection may end before the pings are answered.
            check_life(one.ended(), [0, 1, 2])


def boundaries():
    """Yield (name, positions to cut at) for each packet of the stream."""
    at = 0
    for number, (name, part) in enumerate(zip(NAMES, LIFE), 1):
        yield f"cut in packet {number}, {name}, at every byte", \
              range(at + 1, at + len(part) + (number < len(LIFE)))
        at += len(part)


@cases(boundaries())
def cut(broker, positions):
    for at in positions:
        with Client() as one:
            send_in(one, broker, STREAM[:at], STREAM[at:])
            finish_life(one)


@test("one byte at a time")
def bytewise(broker):
    with Client() as one:
        send_in(one, broker, *(bytes([b]) for b in STREAM))
        finish_life(one)


@test("packets in a segment each, every answer awaited")
def packetwise(_):
    with Client() as one:
        for part in LIFE:
            kind = part[0] >> 4
            one.send(part)
            if kind != PUBLISH:
                one.answer(kind + 1)
        one.send(disconnect)
        heard = [(p.topic, p.payload) for p in [*one.inbox, *one.ended()]]
        equal(heard, HEARD, "messages")


@test("CONNECT, SUBSCRIBE and PUBLISH in one segment")
def pipelined(_):
    with client() as listener:
        equal(listener.subscribe("pipelined/+"), [0])
        for number in range(times(50)):
            payload = str(number).encode()
            with Client() as one:
                one.send(connect(f"pipelined {number}"),
                         subscribe(7, "x"), publish("pipelined/y", payload))
                one.connected()
                equal(one.subscribed(7), [0])
                equal(listener.message(), ("pipelined/y", payload))


@test("random segments of a long stream")
def at_random(broker):
    rand = seed()
    with client() as listener, client() as sender:
        listener.subscribe("t/#")
        record = broker.record(sender)
        sent = record["rx_bytes"]
        for _ in range(times(20)):
            wanted, packets = [], []
            for number in range(40):
                size = rand.choice([0, 1, 100, 126, 130, 5000])
                wanted.append((f"t/{number}", rand.randbytes(size)))
                packets.append(publish(*wanted[-1]))
                packets.append(rand.choice([b"", b"", ping]))
            stream = b"".join(packets)
            cuts = sorted(rand.sample(range(1, len(stream)), 6))
            for first, last in zip([0] + cuts, cuts + [len(stream)]):
                broker.await_received(sender, sent, record)
                sender.send(stream[first:last])
                sent += last - first
            equal(listener.messages(40), wanted, "messages")


def padded(kind, flags, body):
    """Build a packet with every longer encoding of its remaining length."""
    whole = packet(kind, flags, body)
    for zeros in range(3):
        yield (whole[:1] + bytes([len(body) | 0x80]) + b"\x80" * zeros + b"\0" +
               whole[2:])


@test("remaining lengths in more bytes than they need")
def long_lengths(_):
    # MQTT 5 forbids it, 3.1.1 does not.
    with client() as one:
        for whole in padded(SUBSCRIBE, 2, subscribe(9, "a")[2:]):
            one.send(whole)
            equal(one.subscribed(9), [0])
        for whole in padded(PUBLISH, 0, publish("a", b"payload")[2:]):
            one.send(whole)
            equal(one.message(), ("a", b"payload"))
        for whole in padded(PINGREQ, 0, b""):
            one.send(whole)
            one.answer(PINGRESP)


main(Broker())
