#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Payloads of all sizes arrive byte by byte."""

from broker import CONFIG, Broker, client
from ktap import cases, equal, main, seed, test
from mqtt import PINGRESP, ping, publish

TOPIC = "payload"
# In the remaining length: the topic with its own length.
OVERHEAD = 2 + len(TOPIC)

SIZES = sorted({
    0, 1, 2, 126, 127, 128, 129, 255, 256, 1023, 4095, 4096, 4097, 8192, 32768,
    65535, 65536, 65537, 1 << 20,
    # Where the remaining length gets another byte (2.2.3), and around the page
    # and the pages that packets are received into.
    *(limit - OVERHEAD + more for limit in (128, 16384, 2097152, 4096, 32768)
      for more in (-3, -2, -1, 0, 1)),
})


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


main(Broker(CONFIG + "max_packet_size 4000000\n"))
