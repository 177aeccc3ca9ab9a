#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""flush, rmmod, insmod again, under load (invariant 8)."""

import contextlib
import mmap
import os
import struct
import time

from broker import Broker, loaded
from ktap import cases, equal, main, wait_until
from mqtt import Client, Closed, connect, publish

SUBSCRIBERS, PUBLISHERS = 3, 2


class Load:
    """Processes that publish and subscribe, and connect again, till stopped."""

    def __init__(self):
        self.memory = mmap.mmap(-1, 8 * (SUBSCRIBERS + 1))
        self.pids = []
        for number in range(SUBSCRIBERS):
            self.fork(self.subscribe, number)
        for number in range(PUBLISHERS):
            self.fork(self.publish, number)

    def fork(self, function, number):
        """Run function again and again in a process."""
        pid = os.fork()
        if pid:
            self.pids.append(pid)
            return
        while not self.get(SUBSCRIBERS):
            with contextlib.suppress(OSError, Closed), Client() as one:
                one.send(connect(f"{function.__name__} {number}"))
                one.connected()
                function(one, number)
            time.sleep(0.01)
        os._exit(0)

    def get(self, number):
        """How many messages a subscriber has heard."""
        return struct.unpack_from("Q", self.memory, 8 * number)[0]

    def set(self, number, count):
        """It has heard so many."""
        struct.pack_into("Q", self.memory, 8 * number, count)

    def subscribe(self, one, number):
        """Count messages."""
        one.subscribe("load/#", f"load/{number}")
        while not self.get(SUBSCRIBERS):
            one.message(1)
            self.set(number, self.get(number) + 1)

    def publish(self, one, number):
        """Send messages."""
        while not self.get(SUBSCRIBERS):
            one.send(publish(f"load/{number}", bytes(200)) * 5)
            time.sleep(0.002)

    def await_flow(self):
        """Wait until every subscriber hears more."""
        before = [self.get(n) for n in range(SUBSCRIBERS)]
        wait_until(lambda: all(self.get(n) > before[n] + 20
                               for n in range(SUBSCRIBERS)), "flowing")

    def stop(self):
        """End the processes."""
        self.set(SUBSCRIBERS, 1)
        for pid in self.pids:
            equal(os.waitpid(pid, 0)[1], 0, "a process of the load")


class Reloaded(Broker):
    """Fixture: a broker under load."""

    load_processes = None

    def start(self):
        self.load_processes = Load()
        super().start()

    def stop(self):
        if self.load_processes:
            self.load_processes.stop()
            self.load_processes = None
        super().stop()

    def settle(self):
        pass


def term(broker):
    """End the daemon in order."""
    Broker.stop(broker)


def kill_and_flush(broker):
    """Kill the daemon, and flush what the kernel holds."""
    broker.daemon.kill()
    broker.daemon.wait()
    broker.load_processes.await_flow()
    assert broker.nl.flush() >= 1


def flush_and_term(broker):
    """Flush under the daemon's eyes, which must survive it."""
    broker.nl.flush()
    broker.load_processes.await_flow()
    broker.nl.flush()
    Broker.stop(broker)


def flush_and_kill(broker):
    """Flush and kill at once."""
    broker.nl.flush()
    broker.daemon.kill()
    broker.daemon.wait()


@cases([(f"{number}: {end.__doc__.rstrip('.')}", end) for number, end in
        enumerate([term, kill_and_flush, flush_and_term, flush_and_kill,
                   kill_and_flush, term, flush_and_term, kill_and_flush,
                   flush_and_kill, term], 1)])
def again(broker, end):
    broker.load_processes.await_flow()
    end(broker)
    super(Broker, broker).unload()
    assert not loaded()
    broker.load()
    broker.start_daemon()


main(Reloaded())
