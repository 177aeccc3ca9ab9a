#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The work is spread over the processors, and none is woken for nothing."""

import contextlib
import os
import pathlib
import re

from broker import Broker, client
from ktap import Skip, equal, main, note, test, times, wait_until
from mqtt import publish

TOPIC = "cpu"
CPUS = 4
MESSAGES = times(200)


def need_cpus():
    """Skip where there are too few."""
    if os.cpu_count() < CPUS:
        raise Skip(f"needs {CPUS} processors")


def counted(broker, name):
    """Return a counter of each worker."""
    return [worker[name] for worker in broker.nl.stats()["worker"]]


def homed(broker):
    """Return a new client, and the index of the worker that is its home."""
    before = counted(broker, "conns")
    new = client()
    after = counted(broker, "conns")
    home, = (i for i, pair in enumerate(zip(before, after))
             if pair[0] != pair[1])
    return new, home


def workers():
    """Return the /proc directories of the workers' threads, in their order."""
    tasks = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            name = re.fullmatch(r"kmqtt/(\d+)\n", (path / "comm").read_text())
            if name:
                tasks[int(name[1])] = path
    return [tasks[cpu] for cpu in sorted(tasks)]


def sleeps():
    """Return how often each worker has gone to sleep.

    Who did since was woken.
    """
    return [int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)",
                          (path / "status").read_text(), re.M)[1])
            for path in workers()]


def asleep():
    """Are all workers?"""
    return all(re.search(r"^State:\s*I", (path / "status").read_text(), re.M)
               for path in workers())


@test("connections are spread evenly, as they come and as they go")
def even(broker):
    need_cpus()
    number = len(workers())
    clients = [client() for _ in range(number * 10)]
    equal(counted(broker, "conns"), [10] * number, "connections")
    # Of each worker's, since they came in turn.
    for one in clients[:number * 5]:
        one.close()
    wait_until(lambda: sum(counted(broker, "conns")) == number * 5, "closed")
    clients += [client() for _ in range(number * 5 - 3)]
    shares = counted(broker, "conns")
    assert max(shares) - min(shares) <= 1, f"connections: {shares}"
    for one in clients:
        one.close()


@test("each worker does its share of the sends, to within 15 %")
def shares(broker):
    need_cpus()
    subscribers = [client() for _ in range(len(workers()) * 5)]
    for subscriber in subscribers:
        subscriber.subscribe(TOPIC)
    before = {name: counted(broker, name)
              for name in ("tx_calls", "tx_bytes", "deliveries")}
    with client() as publisher:
        for number in range(MESSAGES):
            publisher.send(*(publish(TOPIC, b"%d" % (number * 4 + i))
                             for i in range(4)))
            for subscriber in subscribers:
                equal([payload for _, payload in subscriber.messages(4)],
                      [b"%d" % (number * 4 + i) for i in range(4)])
    for name, values in before.items():
        done = [now - then for now, then in zip(counted(broker, name), values)]
        note(f"{name}: {done}")
        assert min(done) >= 0.85 * max(done) > 0, f"{name}: {done}"
    equal(sum(counted(broker, "deliveries")) - sum(before["deliveries"]),
          MESSAGES * 4 * len(subscribers), "deliveries")
    for subscriber in subscribers:
        subscriber.close()


@test("a message wakes only the workers of its publisher and its subscribers")
def woken(broker):
    need_cpus()
    clients = [homed(broker) for _ in range(len(workers()) * 3)]
    publisher, source = clients[0]
    target = (source + 1) % len(workers())
    subscribers = [one for one, home in clients if home == target]
    equal(len(subscribers), 3, "subscribers")
    for subscriber in subscribers:
        subscriber.subscribe(TOPIC)
    others = [i for i in range(len(workers())) if i not in (source, target)]

    wait_until(asleep, "asleep")
    before = sleeps()
    for number in range(MESSAGES):
        publisher.publish(TOPIC, b"%d" % number)
        for subscriber in subscribers:
            equal(subscriber.message(), (TOPIC, b"%d" % number))
    wait_until(asleep, "asleep")
    wakes = [now - then for now, then in zip(sleeps(), before)]
    note(f"wakes by worker: {wakes}, from {source} to {target}")
    equal([wakes[i] for i in others], [0] * len(others), "wakes of others")
    assert wakes[source] and wakes[target]
    for one, _ in clients:
        one.close()


main(Broker())
