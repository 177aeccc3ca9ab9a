#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Order for one publisher and topic, under load on all processors, and nothing
lost while nobody is over a bound (invariant 2)."""

import mmap
import os
import struct
import time

from broker import Broker, client
from ktap import TIMEOUT, cases, equal, main, note, times, wait_until
from mqtt import publish

TOPICS = 2
# Messages of a publisher in one send; and of all under way at most, and bytes.
BURST = 10
MESSAGES, BYTES = 600, 600000


class Progress:
    """What each subscriber has heard from each publisher, shared by all."""

    def __init__(self, publishers, subscribers):
        self.shape = publishers, subscribers
        self.memory = mmap.mmap(-1, 8 * publishers * subscribers)

    def get(self, publisher, subscriber):
        """How many messages it has heard."""
        at = 8 * (publisher * self.shape[1] + subscriber)
        return struct.unpack_from("Q", self.memory, at)[0]

    def set(self, publisher, subscriber, count):
        """It has heard so many."""
        at = 8 * (publisher * self.shape[1] + subscriber)
        struct.pack_into("Q", self.memory, at, count)

    def least(self, publisher):
        """How many all subscribers have heard of it."""
        return min(self.get(publisher, s) for s in range(self.shape[1]))


def run(function, *args):
    """Run a function in a process, and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        function(*args)
        status = 0
    except BaseException as error:  # pylint: disable=broad-except
        note(f"in a child: {error!r}")
    os._exit(status)


def subscriber_main(number, subscribed, progress, count, way):
    """Hear everything, in order."""
    publishers = progress.shape[0]
    one = client()
    one.subscribe(*{
        "one wildcard": ["order/#"],
        "each topic": [f"order/{p}/{t}" for p in range(publishers)
                       for t in range(TOPICS)],
        "overlapping": ["order/+/0", "order/#", "order/+/+"],
    }[way])
    os.write(subscribed, b"!")
    last = {}
    heard = [0] * publishers
    for _ in range(publishers * count):
        topic, payload = one.message()
        _, publisher, _ = topic.split("/")
        publisher, sequence = int(publisher), int(payload[:8])
        # Strictly by one: each publisher's topics take turns.
        equal(sequence, last.get(topic, -1) + 1, f"{number}: next of {topic}")
        last[topic] = sequence
        heard[publisher] += 1
        progress.set(publisher, number, heard[publisher])
    one.close()


def publisher_main(number, progress, count, size):
    """Publish, no more than a window before those who hear."""
    window = min(MESSAGES, BYTES // size) // progress.shape[0]
    one = client()
    filler = b"." * size
    for first in range(0, count, BURST):
        deadline = time.monotonic() + TIMEOUT
        while first + BURST - progress.least(number) > window:
            time.sleep(0.0005)
            assert time.monotonic() < deadline, \
                f"stuck at {first}, heard {progress.least(number)}"
        one.send(*(publish(f"order/{number}/{n % TOPICS}",
                           b"%08d" % (n // TOPICS) + filler)
                   for n in range(first, first + BURST)))
    wait_until(lambda: progress.least(number) == count, "all heard")
    one.close()


@cases([(f"{name} [MQTT-4.6.0-6]", *rest) for name, *rest in (
    ("1 publisher, 8 subscribers", 1, 8, 2000, 50, "one wildcard"),
    ("4 publishers, 8 subscribers", 4, 8, 500, 50, "each topic"),
    ("8 publishers, 4 subscribers that overlap", 8, 4, 300, 50, "overlapping"),
    ("4 publishers of 8 KiB, 4 subscribers", 4, 4, 200, 8192, "one wildcard"),
    ("16 publishers, 1 subscriber", 16, 1, 200, 20, "one wildcard"),
)])
def order(broker, publishers, subscribers, count, size, way):
    count = times(count // BURST) * BURST
    before = broker.nl.stats()
    progress = Progress(publishers, subscribers)
    subscribed, subscribed_write = os.pipe()
    pids = [run(subscriber_main, n, subscribed_write, progress, count, way)
            for n in range(subscribers)]
    for _ in range(subscribers):
        os.read(subscribed, 1)
    pids += [run(publisher_main, n, progress, count, size)
             for n in range(publishers)]
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    os.close(subscribed)
    os.close(subscribed_write)
    equal(failed, 0, "processes failed")

    after = broker.nl.stats()
    for name in "dropped_messages", "dropped_bytes", "dropped_nomem":
        equal(after["total"][name], before["total"][name], name)
    equal(after["total"]["deliveries"] - before["total"]["deliveries"],
          publishers * subscribers * count, "deliveries")
    busy = sum(a["rx_publishes"] + a["deliveries"] >
               b["rx_publishes"] + b["deliveries"]
               for a, b in zip(after["worker"], before["worker"]))
    assert busy >= min(len(after["worker"]), publishers + subscribers), \
        f"only {busy} workers had to do with it"


main(Broker())
