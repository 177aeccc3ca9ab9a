#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Payloads of all sizes arrive byte by byte."""

from broker import CONFIG, Broker, client
from ktap import cases, equal, main, seed, test, times
from mqtt import PINGRESP, ping, publish

TOPIC = "payload"
# In the remaining length: the topic with its own length.
OVERHEAD = 2 + len(TOPIC)

SIZES = sorted({
    0, 1, 2, 126, 127, 128, 129, 255, 256, 1023, 4095, 4096, 4097, 8192, 32768,
    65535, 65536, 65537, 1 << 20,
    # Where the remaining length gets another byte (2.2.3), around the page and
    # the pages that packets are received into, and where TCP is no longer given
    # a copy.
    *(limit - OVERHEAD + more
      for limit in (128, 16384, 2097152, 4096, 8192, 32768)
      for more in (-4, -3, -2, -1, 0, 1)),
})


def exactly(subscriber, size):
    """Return that many bytes of what a subscriber receives."""
    data = bytearray()
    while len(data) < size:
        data += subscriber.receive()
    equal(len(data), size, "bytes")
    return bytes(data)


def exchange(subscribers, publisher, payload):
    """Publish to subscribers, and compare."""
    publisher.publish(TOPIC, payload)
    for subscriber in subscribers:
        topic, got = subscriber.message()
        equal(topic, TOPIC)
        assert got == payload, f"{len(payload)} bytes: not the same payload"


@cases([("each size, to one subscriber", 1), ("each size, to five", 5)])
def sizes(_, count):
    rand = seed()
    subscribers = [client() for _ in range(count)]
    for subscriber in subscribers:
        subscriber.subscribe(TOPIC)
    with client() as publisher:
        for size in SIZES:
            exchange(subscribers, publisher, rand.randbytes(size))
    for subscriber in subscribers:
        subscriber.close()


@test("all sizes up to 64 KiB in one stream, with pings between")
def stream(_):
    rand = seed()
    payloads = [rand.randbytes(size) for size in SIZES if size <= 65537]
    with client() as one:
        one.subscribe(TOPIC)
        for _ in range(3):
            rand.shuffle(payloads)
            one.send(*(publish(TOPIC, p) + ping for p in payloads))
            for payload in payloads:
                got = one.packet()
                while got.kind == PINGRESP:
                    got = one.packet()
                equal(got.payload, payload, f"{len(payload)} bytes")
            one.ping()


@test("every length of payload from 0 to 600")
def small(_):
    rand = seed()
    with client() as subscriber, client() as publisher:
        subscriber.subscribe(TOPIC)
        payloads = [rand.randbytes(size) for size in range(601)]
        publisher.send(*(publish(TOPIC, p) for p in payloads))
        equal([p for _, p in subscriber.messages(601)], payloads)


def mixed(rand, count):
    """PUBLISHes of sizes that are copied and that are not, as one stream."""
    return b"".join(publish(TOPIC, rand.randbytes(rand.choice(MIXED)))
                    for _ in range(count))


MIXED = (10, 100, 3000, 8100, 8192, 20000, 40000, 65536)


@test("large and small ones to readers who are slow, fast, or close meanwhile")
def partial(_):
    rand = seed()
    streams = [mixed(rand, 30) for _ in range(times(12))]
    slow = [client(receive_buffer=size) for size in (4096, 16384, 65536)]
    leavers = [client(receive_buffer=4096) for _ in streams]
    fast = [client() for _ in range(5)]
    for subscriber in slow + leavers + fast:
        subscriber.subscribe(TOPIC)

    for stream, leaver in zip(streams, leavers):
        with client() as publisher:
            publisher.send(stream)
        # Whoever reads now makes room for a part; one goes with parts pinned.
        equal(exactly(fast[0], len(stream)), stream, "stream")
        leaver.receive()
        leaver.reset()
        for subscriber in slow + fast[1:]:
            assert exactly(subscriber, len(stream)) == stream, "other bytes"
    for subscriber in slow + fast:
        subscriber.ping()
        subscriber.close()


@test("pages that TCP still refers to keep their bytes")
def pinned(broker):
    rand = seed()
    first = publish(TOPIC, rand.randbytes(900000))
    with client(receive_buffer=4096) as slow, client() as publisher:
        slow.subscribe(TOPIC)
        publisher.send(first)
        # All of it has left the ring, so that nobody but TCP has it.
        begin = slow.receive()
        for _ in range(times(20)):
            publisher.send(publish("nothing", rand.randbytes(900000)))
        broker.await_received(publisher, len(first) * (times(20) + 1))
        assert begin + exactly(slow, len(first) - len(begin)) == first


main(Broker(CONFIG + "max_packet_size 4000000\n"))
