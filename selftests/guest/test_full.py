#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A full disk: what must be durable is refused, at once; all else goes on; and
nobody's requests pile up meanwhile."""

import contextlib
import pathlib
import re
import subprocess

import mqtt5
from broker import CONFIG, Broker, client
from ktap import equal, main, test, wait_until
from mqtt import (CONNACK, PUBREC, REFUSED, Client, connect, publish,
                  subscribe)

FULL, AGAIN = "Unable to write the database", "can be written again"
BALLAST = "ballast"


class Full(Broker):
    """Fixture: the store is on a small disk of its own."""

    disk = None

    def start(self):
        self.make_directory()
        self.disk = self.directory / "disk"
        self.disk.mkdir()
        # Twice what SQLite's log takes before it is worked in: if that alone
        # fills the disk, there is no room to do so.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs",
                        self.disk], check=True)
        self.config = self.own_config = (
            f"{CONFIG}persistence true\npersistence_location {self.disk}/\n")
        self.make_directory = lambda: None
        super().start()

    def unload(self):
        self.end()
        subprocess.run(["umount", self.disk], check=True)
        super().unload()

    @contextlib.contextmanager
    def full(self):
        """No room is left, and the daemon knows. At the end there is again."""
        with Client() as prober:
            prober.send(connect("prober", clean=False))
            prober.answer(CONNACK)
            with open(self.disk / BALLAST, "wb", buffering=0) as file:
                with contextlib.suppress(OSError):
                    while file.write(bytes(4096)):
                        pass
            # It writes until it finds out.
            failures, recoveries = map(self.said().count, (FULL, AGAIN))
            for number in range(1, 2000):
                with contextlib.suppress(ConnectionError):
                    prober.send(publish("probe", bytes(1000), 4, number))
                if self.said().count(FULL) > failures:
                    break
            wait_until(lambda: self.said().count(FULL) > failures, FULL)
            try:
                yield
            finally:
                (self.disk / BALLAST).unlink()
                wait_until(lambda: self.said().count(AGAIN) > recoveries,
                           AGAIN)

    def memory(self):
        """Bytes that the daemon has."""
        status = pathlib.Path(f"/proc/{self.daemon.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s*(\d+)", status)[1]) << 10


@test("what must be durable is refused at once, and QoS 0 goes on"
      " [MQTT-4.8.0-2]")
def refusals(broker):
    with client("durable", clean=False) as one, client() as sub, \
            client() as pub:
        one.subscribe(("d", 1))
        sub.subscribe("q")
        with broker.full():
            pub.publish("q", b"0")
            equal(sub.message(), ("q", b"0"))
            equal(one.subscribe(("e", 1), ("f", 0)), [REFUSED, REFUSED])
            with Client() as late:
                late.send(connect("late", clean=False))
                equal(late.answer(CONNACK).body, b"\0\3")
            mqtt5.refused([0x88], mqtt5.connect(
                "late", will=("q", b"will", 0, False),
                properties=mqtt5.lasting()))
            mqtt5.client("late", clean=False).disconnect()
            with client() as other:
                other.send(publish("d", b"1", 2, 1))
                equal(other.ended(), [])
            sub.quiet()
        pub.publish("d", b"2", qos=1)
        equal(one.message(), ("d", b"2"))
        equal(one.subscribe(("e", 1)), [1])


@test("a durable session's QoS 2 message closes, repeated or not")
def repeats(broker):
    with client("repeats", clean=False) as one:
        with broker.full():
            before = broker.memory()
            again = publish("nobody", b"", 4 | 8, 7) * 1000
            with contextlib.suppress(ConnectionError):
                for _ in range(2000):
                    one.socket.sendall(again)
            grown = broker.memory() - before
            assert grown < 3 << 20, f"grown by {grown >> 10} KiB"
    with client("repeats", clean=False, present=True) as one:
        one.publish("nobody", b"", qos=2)


@test("retained messages that are asked for over and over do not pile up")
def snapshots(broker):
    with client() as pub:
        for number in range(500):
            pub.send(publish(f"r/{number}", b"x", 1))
        pub.ping()
        with client() as one, client() as other:
            equal(len(other_messages(other, 500)), 500)
            before = broker.memory()
            number = one.next_number()
            one.send(subscribe(number, *["#"] * 3000))
            one.subscribed(number)
            grown = broker.memory() - before
            assert grown < 16 << 20, f"grown by {grown >> 20} MiB"
        for number in range(500):
            pub.send(publish(f"r/{number}", b"", 1))


def other_messages(one, count):
    """Subscribe to all, and return the retained messages."""
    one.subscribe("r/#")
    return one.messages(count)


main(Full())
