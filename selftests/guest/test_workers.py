#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Work is where the subscribers are: shared by all workers, or one's alone."""

import contextlib
import os
import pathlib

from broker import Broker, client
from ktap import Skip, main, note, test, times, wait_until

CLIENTS = 40
MESSAGES = times(400)


class Workers(Broker):
    """The broker, and what its threads do."""

    def deliveries(self):
        """Return how many each worker has made."""
        return [worker["deliveries"] for worker in self.nl.stats()["worker"]]

    def await_deliveries(self, count):
        """Wait until all workers together have made so many."""
        wait_until(lambda: sum(self.deliveries()) >= count, "delivered")

    def home(self, one):
        """Return the number of the worker that owns a client."""
        return self.record(one)["worker"]


def switches():
    """Return how often each worker's thread went to sleep, by its name."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t") for line in
                          path.read_text().splitlines() if ":\t" in line)
            if fields["Name"].startswith("kmqtt/"):
                found[fields["Name"]] = int(
                    fields["voluntary_ctxt_switches"])
    return found


@contextlib.contextmanager
def clients(count):
    """Yield clients that have connected."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(client(f"c{number}"))
               for number in range(count)]


@test("each worker has its share of the deliveries")
def _(broker):
    with clients(CLIENTS) as subscribers, client("publisher") as publisher:
        for one in subscribers:
            one.subscribe("all")
        before = broker.deliveries()
        for number in range(MESSAGES):
            publisher.publish("all", b"%d" % number)
        for one in subscribers:
            one.messages(MESSAGES)
        broker.await_deliveries(sum(before) + CLIENTS * MESSAGES)
        done = [after - then
                for then, after in zip(before, broker.deliveries())]
    note("deliveries of each worker:", *done)
    mean = sum(done) / len(done)
    assert all(abs(count - mean) <= 0.15 * mean for count in done), done


@test("a message wakes only the worker of its subscribers")
def _(broker):
    if os.cpu_count() < 2:
        raise Skip("there is one worker only")
    # Two of them and the publisher on one worker, and others beside it that
    # have subscribers of their own.
    with clients(3 * os.cpu_count()) as all_of_them:
        home = broker.home(all_of_them[0])
        mine = [one for one in all_of_them if broker.home(one) == home]
        publisher, *subscribers = mine
        for one in all_of_them:
            one.subscribe("mine" if one in subscribers else "other")
        before = switches()
        for number in range(MESSAGES):
            publisher.publish("mine", b"%d" % number)
            for one in subscribers:
                one.message()
        woken = {name: count - before[name]
                 for name, count in switches().items()}
    note("went to sleep:", woken)
    here = woken.pop(f"kmqtt/{home}")
    assert here >= MESSAGES / 2, f"{here} of its own for {MESSAGES} messages"
    # Housekeeping wakes them all, a few times a second.
    assert max(woken.values()) <= MESSAGES / 10, woken


main(Workers())
