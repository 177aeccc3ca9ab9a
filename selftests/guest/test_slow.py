#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A subscriber that stops reading delays nobody (invariant 4)."""

from broker import Broker, client
from ktap import cases, equal, main, times, wait_until
from mqtt import PUBLISH, Reader, publish

TOPIC = "news"


def payload(number, size):
    """A payload that tells its number in every part."""
    return (b"%08d" % number) * (size // 8)


def receive_exactly(subscriber, wanted):
    """Receive those bytes, and no others."""
    at = 0
    while at < len(wanted):
        data = subscriber.receive()
        assert wanted[at:at + len(data)] == data, f"wrong bytes from {at}"
        at += len(data)


def numbers_of(messages, size):
    """Check messages, and return their numbers."""
    numbers = []
    for whole in messages:
        equal((whole.kind, whole.topic), (PUBLISH, TOPIC))
        numbers.append(int(whole.payload[:8]))
        equal(whole.payload, payload(numbers[-1], size))
    return numbers


@cases([
    ("one stops reading, the others get all of 400 messages of 4 KiB",
     50, 400, 4096, 20, "dropped_bytes"),
    ("one stops reading, the others get all of 12,000 messages of 64 bytes",
     10, 12000, 64, 500, "dropped_messages"),
])
def stalled(broker, others, count, size, window, reason):
    others = times(others)
    subscribers = [client() for _ in range(others)]
    slow = client("slow", receive_buffer=4096)
    for subscriber in subscribers + [slow]:
        subscriber.subscribe(TOPIC)
    before = broker.nl.stats()["total"]

    # Within the bounds of those who read, far beyond those of the other.
    with client() as publisher:
        for first in range(0, count, window):
            stream = b"".join(publish(TOPIC, payload(n, size))
                              for n in range(first, first + window))
            publisher.send(stream)
            for subscriber in subscribers:
                receive_exactly(subscriber, stream)

        record = broker.record(slow)
        dropped = record[reason]
        assert 0 < dropped < count, f"{dropped} dropped of {count}"
        after = broker.nl.stats()["total"]
        equal(after[reason] - before[reason], dropped, "dropped in stats")
        assert record["ring_used_messages"] > 0
        assert record["ring_used_messages"] <= record["ring_messages"]
        assert record["ring_used_bytes"] <= record["ring_bytes"]
        broker.await_line("Outgoing messages are being dropped for client slow")

        # It resumes: whole messages, in order, and none but those counted lost.
        reader, messages = Reader(), []
        while len(messages) < count - dropped:
            reader.feed(slow.receive())
            messages += reader
        numbers = numbers_of(messages, size)
        equal(numbers, sorted(set(numbers)), "order")
        equal(len(numbers), count - dropped, "messages")
        assert not reader.data

        # And is one as any other again.
        wait_until(lambda: not broker.record(slow)["ring_used_messages"],
                   "empty")
        publisher.publish(TOPIC, payload(count, size))
        for subscriber in subscribers + [slow]:
            equal(subscriber.message(), (TOPIC, payload(count, size)))
        equal(broker.record(slow)[reason], dropped, "dropped")

    for subscriber in subscribers + [slow]:
        subscriber.close()


main(Broker())
