#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: Receive Maximum, Maximum Packet Size, both ways (4.9, 3.1.2.11)."""

import time

from broker import CONFIG, any_broker
from ktap import Skip, cases, equal, main, test
from mqtt import CONNACK, PUBACK, PUBCOMP, PUBREC, PUBREL
from mqtt5 import (MAX_PACKET, MESSAGE_EXPIRY, NOT_AUTHORIZED,
                   RECEIVE_EXCEEDED, RECEIVE_MAX, SUBSCRIPTION_ID, TOO_LARGE,
                   USER, Client, acknowledge, back, client, connect, publish,
                   session, subscribe)

COUNT = 12


def fill(topic, count=COUNT, qos=1):
    """Publish numbers."""
    with client() as other:
        for number in range(count):
            other.publish(topic, b"%d" % number, qos)


def payloads(packets):
    """Return what they carry."""
    return [int(p.payload) for p in packets]


# To the client.

@cases([(f"Receive Maximum {limit} at QoS {qos}: no more at a time; each"
         " acknowledgement lets one come [MQTT-3.3.4-9] [MQTT-4.9.0-1]"
         " [MQTT-4.9.0-2]", limit, qos) for limit in (1, 3) for qos in (1, 2)])
def window(_, limit, qos):
    with client(properties=[(RECEIVE_MAX, limit)]) as one:
        one.subscribe(("t", qos))
        fill("t", qos=qos)
        got = [one.delivery() for _ in range(limit)]
        one.quiet()
        for number in range(COUNT):
            whole = got.pop(0)
            equal(int(whole.payload), number)
            if qos == 2:
                one.send(acknowledge(PUBREC, whole.number))
                one.acknowledged(PUBREL, whole.number)
                one.quiet()  # only PUBCOMP counts
                one.send(acknowledge(PUBCOMP, whole.number))
            else:
                one.send(acknowledge(PUBACK, whole.number))
            if number + limit < COUNT:
                got.append(one.delivery())
        one.quiet()


@test("a PUBREC of 0x80 or more, and a PUBACK, let the next come, once"
      " [MQTT-3.3.4-9] [MQTT-4.4.0-2]")
def rejected(_):
    with client(properties=[(RECEIVE_MAX, 1)]) as one:
        one.subscribe(("t", 2))
        for qos in 1, 2:
            fill("t", 5, qos)
            for number in range(5):
                whole = one.delivery()
                equal(int(whole.payload), number)
                one.send(acknowledge(PUBACK if qos == 1 else PUBREC,
                                     whole.number, 0x83))
            one.quiet()


@test("a quota of zero holds nothing else back: QoS 0, SUBACK, PINGRESP,"
      " acknowledgements [MQTT-3.3.4-10] [MQTT-4.9.0-3]")
def not_delayed(_):
    with client(properties=[(RECEIVE_MAX, 1)]) as one, client() as other:
        one.subscribe(("t", 2), ("t0", 0))
        fill("t", 2, 2)
        held = one.delivery()
        other.publish("t0", b"passes")
        equal(one.message(), ("t0", b"passes"))
        one.subscribe("another")
        one.publish("another", b"m", 1)
        equal(one.message(), ("another", b"m"))
        one.publish("nobody", b"m", 2)
        one.quiet()
        one.send(acknowledge(PUBREC, held.number))
        one.acknowledged(PUBREL, held.number)
        one.send(acknowledge(PUBCOMP, held.number))
        equal(one.message(), ("t", b"1"))


@test("max_inflight_messages bounds it too")
def configured(broker):
    broker.restart(CONFIG + "max_inflight_messages 2\n")
    for said, limit in ((1, 1), (2, 2), (None, 2)):
        with client(properties=[(RECEIVE_MAX, said)] * bool(said)) as one:
            one.subscribe(("t", 1))
            fill("t", 5)
            for _ in range(limit):
                one.delivery()
            one.quiet()
    broker.restart(CONFIG)


@cases([(f"on a new connection the quota is whole, and what that one says:"
         f" {first}, then {then} [MQTT-4.9.0-1] [MQTT-4.9.0-2]"
         " [MQTT-4.4.0-1]", first, then)
        for first, then in ((1, 3), (3, 1), (2, 2), (1, 20))])
def reset(_, first, then):
    with session("quota", ("t", 1), properties=[(RECEIVE_MAX, first)]) as one:
        fill("t")
        equal(payloads(one.delivery() for _ in range(first)),
              list(range(first)))
        one.quiet()
        one.close()
        with back("quota", (RECEIVE_MAX, then)) as one:
            got = [one.delivery() for _ in range(min(then, COUNT))]
            equal(payloads(got), list(range(len(got))))
            equal([p.dup for p in got], [n < first for n in range(len(got))])
            one.quiet()
            for number in range(COUNT):
                one.accept(got.pop(0))
                if number + then < COUNT:
                    got.append(one.delivery())
            one.quiet()


@cases([(f"QoS {qos}: a quota that was used up when its connection broke is"
         " whole for what was published meanwhile [MQTT-4.9.0-1]"
         " [MQTT-4.4.0-1]", qos) for qos in (1, 2)])
def reset_away(_, qos):
    with session("quota", ("t", qos), properties=[(RECEIVE_MAX, 1)]) as one:
        fill("t", 1, qos)
        one.delivery()
        one.reset()
        with client() as other:
            for number in range(1, 5):
                other.publish("t", b"%d" % number, qos)
        with back("quota", (RECEIVE_MAX, 4)) as one:
            got = [one.delivery() for _ in range(4)]
            equal(payloads(got), [0, 1, 2, 3])
            one.quiet()
            for whole in got:
                one.accept(whole)
            equal(one.message(), ("t", b"4"))
            one.quiet()


@test("PUBRELs that are sent again count, and are not held back"
      " [MQTT-4.4.0-1] [MQTT-3.3.4-10]")
def releases_count(_):
    with session("quota", ("t", 2), properties=[(RECEIVE_MAX, 3)]) as one:
        fill("t", 6, 2)
        numbers = [one.delivery().number for _ in range(3)]
        for number in numbers:
            one.send(acknowledge(PUBREC, number))
            one.acknowledged(PUBREL, number)
        one.close()
        with back("quota", (RECEIVE_MAX, 1)) as one:
            for number in numbers:
                one.acknowledged(PUBREL, number)
                one.send(acknowledge(PUBCOMP, number))
            equal(payloads(one.accept(one.delivery()) for _ in range(3)),
                  [3, 4, 5])
            one.quiet()


# From the client.

def receive_maximum(one):
    """Return how many the server takes at a time."""
    limit = one.connack.get(RECEIVE_MAX, 65535)
    if limit > 5000:
        raise Skip(f"the server takes {limit}")
    return limit


@test("as many as the server's Receive Maximum are taken; one more: 0x93"
      " [MQTT-3.3.4-7] [MQTT-4.13.1-1]")
def exceeded(_):
    with client() as one:
        limit = receive_maximum(one)
        one.send(*(publish("t", b"m", 4, n) for n in range(1, limit + 1)))
        for number in range(1, limit + 1):
            one.acknowledged(PUBREC, number)
        one.ping()
        one.send(publish("t", b"m", 4, limit + 1))
        one.disconnected(RECEIVE_EXCEEDED)


@test("what is acknowledged gives the quota back: PUBACK, PUBCOMP, not PUBREC;"
      " QoS 0 does not count [MQTT-3.3.4-7] [MQTT-4.9.0-3]")
def given_back(_):
    with client() as one:
        limit = receive_maximum(one)
        for number in range(1, limit):
            one.send(publish("t", b"m", 4, number))
            one.acknowledged(PUBREC, number)
        for number in range(3 * limit):
            one.publish("t", b"m", 1)
            one.publish("t", b"m")
        for number in range(1, limit):
            one.send(acknowledge(PUBREL, number))
            one.acknowledged(PUBCOMP, number)
        for number in range(1, limit + 1):
            one.send(publish("t", b"m", 4, number))
            one.acknowledged(PUBREC, number)
        # Sent again it is the same message.
        one.send(publish("t", b"m", 4 | 8, limit))
        one.acknowledged(PUBREC, limit)
        one.ping()


@cases([(f"QoS {qos}: who always has as many under way as may be is served"
         " [MQTT-3.3.4-7]", qos) for qos in (1, 2)])
def always_full(_, qos):
    with client() as one:
        limit = receive_maximum(one)
        numbers = range(1, 10 * limit + 1)
        one.send(*(publish("t", b"m", qos << 1, n) for n in numbers[:limit]))
        if qos == 2:
            for number in numbers[:limit]:
                one.acknowledged(PUBREC, number)
        for number in numbers:
            if qos == 2:
                one.send(acknowledge(PUBREL, number))
                one.acknowledged(PUBCOMP, number)
            else:
                one.acknowledged(PUBACK, number)
            if number + limit in numbers:
                one.send(publish("t", b"m", qos << 1, number + limit))
                if qos == 2:
                    one.acknowledged(PUBREC, number + limit)
        one.ping()


@test("a PUBREC of 0x80 or more gives the quota back [MQTT-3.3.4-7]")
def denied(broker):
    path = broker.directory / "acl"
    path.write_text("topic readwrite good\n")
    broker.restart(CONFIG + f"acl_file {path}\n")
    with client() as one:
        limit = receive_maximum(one)
        for _ in range(3 * limit):
            one.publish("bad", b"m", 2, reasons=[NOT_AUTHORIZED])
        for number in range(1, limit + 1):
            one.send(publish("good", b"m", 4, number))
            one.acknowledged(PUBREC, number)
        one.ping()
    broker.restart(CONFIG)


@test("the quota of a session: PUBLISHes that wait for PUBREL count on the next"
      " connection too, sent again they do not [MQTT-3.3.4-7]")
def kept_quota(_):
    with session("quota") as one:
        limit = receive_maximum(one)
        for number in range(1, limit + 1):
            one.send(publish("t", b"m", 4, number))
            one.acknowledged(PUBREC, number)
        one.close()
        with back("quota") as one:
            for number in range(1, limit + 1):
                one.send(publish("t", b"m", 4 | 8, number))
                one.acknowledged(PUBREC, number)
                one.send(acknowledge(PUBREL, number))
                one.acknowledged(PUBCOMP, number)
            one.ping()


# Maximum Packet Size, to the client.

LIMIT = 120


def payload_of(topic, size, qos, identifier=None):
    """Return a payload whose packet has so many bytes."""
    def length(payload):
        return len(publish(topic, payload, qos << 1, 1 if qos else None,
                           [(SUBSCRIPTION_ID, identifier)] * bool(identifier)))

    payload = bytes(size - length(b""))
    payload = bytes(len(payload) - (length(payload) - size))
    equal(length(payload), size)
    return payload


def sized(one, topic, size, qos, identifier=None):
    """Publish what will be a packet of so many bytes."""
    one.publish(topic, payload_of(topic, size, qos, identifier), qos)


@cases([(f"QoS {qos}: {LIMIT} bytes arrive, {LIMIT + 1} are dropped without a"
         " word [MQTT-3.1.2-24] [MQTT-3.1.2-25]", qos) for qos in range(3)])
def largest(_, qos):
    with client(properties=[(MAX_PACKET, LIMIT)]) as one, client() as other, \
         client() as unlimited:
        for each in one, unlimited:
            each.subscribe(("t", 2))
        for size in LIMIT - 1, LIMIT, LIMIT + 1, 5000, LIMIT:
            sized(other, "t", size, qos)
            equal(unlimited.accept(unlimited.delivery()).size, size)
            if size <= LIMIT:
                equal(one.accept(one.delivery()).size, size)
        one.quiet()


@cases([(f"QoS {qos}: the size is that of the packet as it is sent, with its"
         " identifiers [MQTT-3.1.2-24]", qos) for qos in range(3)])
def with_identifier(_, qos):
    with client(properties=[(MAX_PACKET, LIMIT)]) as one, client() as other:
        one.subscribe(("t", 2), properties=[(SUBSCRIPTION_ID, 300)])
        for size in LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 3, LIMIT:
            sized(other, "t", size, qos, 300)
            if size <= LIMIT:
                equal(one.accept(one.delivery()).size, size)
        one.quiet()


@cases([(f"QoS {qos}: what is too large is as if it were delivered: it uses no"
         " quota, and does not come later [MQTT-3.1.2-25]", qos)
        for qos in (1, 2)])
def completed(_, qos):
    small = [(MAX_PACKET, LIMIT), (RECEIVE_MAX, 1)]
    with session("small", ("t", 2), properties=small) as one, \
         client() as other:
        for _ in range(5):
            sized(other, "t", LIMIT + 1, qos)
        other.publish("t", b"good", qos)
        equal(one.message(), ("t", b"good"))
        one.disconnect()
        for _ in range(5):
            sized(other, "t", LIMIT + 1, qos)
        other.publish("t", b"waited", qos)
        with back("small", *small) as one:
            equal(one.message(), ("t", b"waited"))
            one.quiet()
            one.disconnect()
        with back("small") as one:
            one.quiet()


@cases([(f"QoS {qos}: sent before, to a connection that took more, and"
         f" {what}: not sent again, as if acknowledged [MQTT-3.1.2-24]"
         " [MQTT-3.1.2-25]", qos, how)
        for qos in (1, 2) for what, how in (
            ("a reconnect", lambda broker: None),
            ("kill -9", lambda broker: broker.crash()))])
def too_large_again(broker, qos, how):
    broker.persist()
    with session("small", ("t", qos)) as one:
        with client() as other:
            for _ in range(2):
                sized(other, "t", LIMIT + 1, qos)
                other.publish("t", b"good", qos)
        got = [one.delivery() for _ in range(4)]
        one.close()
        how(broker)
        with back("small", (MAX_PACKET, LIMIT), (RECEIVE_MAX, 1)) as one:
            for before in got[1], got[3]:
                whole = one.accept(one.delivery())
                equal((whole.number, whole.payload, whole.dup),
                      (before.number, b"good", True))
            one.quiet()
        how(broker)
        with back("small") as one:
            one.quiet()


@test("what is retained and too large is not sent [MQTT-3.1.2-24]")
def retained(_):
    with client(properties=[(MAX_PACKET, LIMIT)]) as one, client() as other:
        for qos in range(3):
            other.publish("r/large", bytes(500), qos, True)
            other.publish("r/small", bytes(5), qos, True)
            one.subscribe(("r/#", 2))
            equal(one.message(), ("r/small", bytes(5)))
            one.quiet()
            one.unsubscribe("r/#")
        for topic in "r/large", "r/small":
            other.publish(topic, b"", 1, True)


@test("properties count [MQTT-3.1.2-24] [MQTT-3.1.2-25]")
def with_properties(_):
    with client(properties=[(MAX_PACKET, LIMIT)]) as one, client() as other:
        one.subscribe(("t", 2))
        for qos in range(3):
            for count in range(5, 20):
                other.publish("t", b"m", qos,
                              properties=[(USER, ("n", "v"))] * count)
            other.publish("t", b"end", qos)
            got = []
            while b"end" not in got:
                got.append(one.message()[1])
            head = 2 + 3 + 1 + 1 + 2 * bool(qos)
            equal(len(got) - 1, (LIMIT - head) // 7 - 5 + 1)


# Maximum Packet Size, from the client.

@test("max_packet_size: CONNACK says so; that much is taken, one more: 0x95"
      " [MQTT-3.2.2-15] [MQTT-4.13.1-1]")
def too_large(broker):
    broker.restart(CONFIG + "max_packet_size 1000\n")
    with client() as one:
        equal(one.connack.get(MAX_PACKET), 1000)
        one.subscribe(("t", 2))
        for qos in range(3):
            sized(one, "t", 1000, qos)
            equal(one.accept(one.delivery()).size, 1000)
    for qos in range(3):
        with client() as one:
            one.send(publish("t", payload_of("t", 1001, qos), qos << 1,
                             1 if qos else None))
            one.disconnected(TOO_LARGE)
    for whole in (publish("t", bytes(1000)), publish("t", bytes(1000), 2, 1),
                  publish("t", bytes(100000)),
                  subscribe(1, "x" * 500, "y" * 500),
                  publish("t", properties=[(USER, ("x" * 500, "y" * 500))])):
        with client() as one:
            one.send(whole)
            one.disconnected(TOO_LARGE)
    broker.restart(CONFIG)


@test("a CONNECT too large: 0x95, or closed [MQTT-3.2.2-15]")
def large_connect(broker):
    broker.restart(CONFIG + "max_packet_size 1000\npacket_max_connect 1000\n")
    with Client() as one:
        one.send(connect("a", properties=[(USER, ("x" * 2000, "y"))]))
        said = [(p.kind, p.reason) for p in one.ended()]
        assert said in ([], [(CONNACK, TOO_LARGE)]), said
    broker.restart(CONFIG)


# What waits for a client that does not read.

@test("QoS 0 that waits for a client: what expires is dropped, what does not"
      " has that much less [MQTT-3.3.2-5] [MQTT-3.3.2-6]")
def ring(broker):
    count = 240
    with client("slow", receive_buffer=4096) as one, client() as other:
        one.subscribe("t")
        for number in range(count):
            interval = 1 if number % 2 else 100
            other.send(publish("t", b"%04d" % number + bytes(4000), 0, None,
                               [(MESSAGE_EXPIRY, interval)]))
        other.ping()
        time.sleep(3.2)  # what takes time
        other.send(publish("t", b"9999"))
        got = []
        while True:
            whole = one.delivery()
            number = int(whole.payload[:4])
            if number == 9999:
                break
            got.append((number, whole.get(MESSAGE_EXPIRY)))
    equal([n for n, _ in got if n % 2 == 0], list(range(0, count, 2)))
    # Some are in the socket from the start, and go as they were.
    equal([n for n, _ in got if n % 2 and n > count - 40], [])
    assert all(97 >= left >= 90 for n, left in got if n > count - 40), got[-20:]


main(any_broker())
