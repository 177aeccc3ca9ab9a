#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Very many messages that a client has not acknowledged: what it acknowledges,
and in which order, keeps nobody else waiting."""

import time

import mqtt5
from broker import CONFIG, Broker, client
from ktap import FACTOR, TIMEOUT, cases, equal, main, note, test
from mqtt import PUBACK, PUBCOMP, PUBREC, PUBREL, acknowledge, publish

IDS = 65535  # as many as there are packet identifiers
MANY = 60000
FEWER = 30000  # at QoS 2, of which each takes longer
CHUNK = 1000
MOST = 3 * FACTOR  # seconds that others may wait


def receive(one, size):
    """Return so many bytes, which are not looked at."""
    got = bytearray()
    one.socket.settimeout(TIMEOUT)
    while len(got) < size:
        got += one.socket.recv(size - len(got))
    return bytes(got)


def publish_all(other, count, to=None):
    """Publish without payload, and receive it as who subscribes."""
    size = len(publish("t", b"", 2, 1))
    for begin in range(0, count, CHUNK):
        number = min(CHUNK, count - begin)
        other.send(b"".join(publish("t", b"", 2, n + 1)
                            for n in range(number)))
        receive(other, 4 * number)
        if to:
            receive(to, size * number)


def publish_all_2(other, count, to, size):
    """The same at QoS 2; PUBLISH has that size."""
    for _ in range(0, count, CHUNK):
        other.send(b"".join(publish("t", b"", 4, n + 1) +
                            acknowledge(PUBREL, n + 1) for n in range(CHUNK)))
        receive(other, 8 * CHUNK)
        receive(to, size * CHUNK)


def receive_all(one, first, last):
    """Send PUBREC of these, from the last to the first."""
    for begin in range(last, first, -CHUNK):
        one.send(b"".join(acknowledge(PUBREC, n)
                          for n in range(begin, begin - CHUNK, -1)))
        equal(receive(one, 4 * CHUNK)[:4], acknowledge(PUBREL, begin))


def served(pair, what):
    """Somebody else's message arrives in time."""
    begin = time.monotonic()
    pair.publish("pair", b"m", 1)
    equal(pair.message(), ("pair", b"m"))
    took = time.monotonic() - begin
    note(f"{what}: {took:.2f} s")
    assert took < MOST, f"{what}: {took:.1f} s"


@test("QoS 1: PUBACKs of an identifier that is not in use, and of all in"
      " reverse")
def acknowledged(_):
    with client("one") as one, client("other") as other, client("pair") as pair:
        one.subscribe(("t", 1))
        pair.subscribe(("pair", 1))
        publish_all(other, MANY, one)
        one.send(acknowledge(PUBACK, IDS) * 16000)
        served(pair, "unknown")
        one.send(b"".join(acknowledge(PUBACK, n) for n in range(MANY, 0, -1)))
        served(pair, "in reverse")
        one.quiet()


@test("QoS 2: PUBREC of all, then PUBCOMP in reverse")
def completed(_):
    with client("one") as one, client("other") as other, client("pair") as pair:
        one.subscribe(("t", 2))
        pair.subscribe(("pair", 1))
        publish_all_2(other, FEWER, one, 7)
        receive_all(one, 0, FEWER)
        served(pair, "PUBREC")
        one.send(b"".join(acknowledge(PUBCOMP, n) for n in range(FEWER, 0, -1)))
        served(pair, "PUBCOMP in reverse")
        one.quiet()


@cases([("its connection", lambda broker: None),
        ("the daemon, too", lambda broker: broker.replace())])
def resumed(broker, how):
    """QoS 2: half have been received, by a client that loses it."""
    half = FEWER // 2
    with client("other") as other, client("pair") as pair:
        pair.subscribe(("pair", 1))
        one = mqtt5.client("one", properties=mqtt5.lasting())
        one.subscribe(("t", 2))
        publish_all_2(other, FEWER, one, 8)
        receive_all(one, half, FEWER)
        one.unsubscribe("t")
        one.reset()
        how(broker)
        with mqtt5.back("one", (mqtt5.RECEIVE_MAX, 1)) as one:
            served(pair, "resumed")
            released = [one.packet() for _ in range(half)]
            equal([(p.kind, p.number) for p in released],
                  [(PUBREL, n) for n in range(half + 1, FEWER + 1)])
            one.send(b"".join(acknowledge(PUBCOMP, p.number)
                              for p in released))
            served(pair, "completed")
            # The window is open.
            for number in 1, 2:
                again = one.accept(one.delivery())
                equal((again.number, again.dup), (number, True))
            one.disconnect()
        mqtt5.client("one").disconnect()


@test("no identifier is free: what comes waits for one")
def none_free(_):
    with client("one") as one, client("other") as other, client("pair") as pair:
        one.subscribe(("t", 1))
        pair.subscribe(("pair", 1))
        publish_all(other, IDS, one)
        publish_all(other, 3)
        served(pair, "no identifier is free")
        one.send(b"".join(acknowledge(PUBACK, n) for n in range(IDS, 0, -1)))
        numbers = [one.accept(one.delivery()).number for _ in range(3)]
        equal(len(set(numbers)), 3)
        one.quiet()


main(Broker(CONFIG + "max_inflight_messages 0\nmax_queued_messages 0\n"))
