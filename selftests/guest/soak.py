#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's half of selftests/soak: a mixed load, and what memory it takes.

usage: soak.py SECONDS SAMPLES

Clients of MQTT 3.1.1 and 5 publish and subscribe at all QoS, retained messages
and shared subscriptions among them; others come and go, some with sessions that
stay, some with a will. Meanwhile the configuration is read again, the daemon
hands over, and is killed. Those that stay check that nothing is lost, nor comes
twice at QoS 2. Once a second a line of JSON is written to SAMPLES. Exit: 0 all
went well, 1 not so; whether memory stays the same is not judged here.

Environment: KMQTT_SEED, to repeat what was random; KMQTT_SOAK_LEAK=1, to leave a
session behind for each that comes, so that memory grows.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import select
import signal
import sys
import threading
import time

import mqtt
import mqtt5
from broker import Broker
from ktap import TIMEOUT, note, seed
from mqtt import Closed

PAUSE = 0.02  # seconds, of each part of the load between two steps
STEP = 3  # seconds from one change of the daemon to the next
ROUND = ("reload", "hand_over", "reload", "replace")
SESSIONS = 20  # that stay, of those who come and go
RETAINED = 20
LOG = 4400  # KiB: at 4,000, and what is written at once, SQLite begins it anew
LEAK = os.environ.get("KMQTT_SOAK_LEAK")
AWAY = (Closed, ConnectionError, TimeoutError)


class Member(threading.Thread):
    """A part of the load: does its step over and over."""

    stop = threading.Event()

    def __init__(self, name):
        super().__init__(name=name, daemon=True)
        self.failure = None
        self.count = 0

    def run(self):
        try:
            while not self.stop.is_set():
                self.step()
                self.count += 1
                time.sleep(PAUSE)
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure

    def step(self):
        """Do something, and check it."""
        raise NotImplementedError

    def close(self):
        """Close what there is."""


class Stream(Member):
    """One message after the other, each to several, at one QoS."""

    def __init__(self, wire, level, qos, receivers, retained=False):
        super().__init__(f"MQTT {level}, QoS {qos}"
                         f"{', retained' if retained else ''}")
        self.topic = f"stream/{level}/{qos}{'/r' if retained else ''}"
        self.wire, self.qos, self.retained = wire, qos, retained
        self.publisher = wire.Client().connect()
        self.receivers = [wire.Client().connect() for _ in range(receivers)]
        for one in self.receivers:
            one.subscribe((f"{self.topic}/+", qos))

    def step(self):
        topic = f"{self.topic}/{self.count % RETAINED}"
        payload = b"%d " % self.count + b"." * (self.count % 1000)
        self.publish(topic, payload)
        for one in self.receivers:
            # What the daemon had not finished when it was killed, at QoS 1.
            while (got := one.message()) != (topic, payload):
                before = int(got[1].split()[0])
                assert self.qos == 1 and before < self.count, \
                    f"{self.name}: {self.count} wanted, got {before}"

    def publish(self, topic, payload):
        """Publish, and complete the exchange.

        With MQTT 5, a PUBREL that the next daemon handles again may be answered
        with 0x92, which is "not an error during recovery" (3.7.2.1).
        """
        one = self.publisher
        number = one.next_number() if self.qos else None
        one.send(self.wire.publish(topic, payload,
                                   self.qos << 1 | self.retained, number))
        if self.qos == 1:
            one.acknowledged(mqtt.PUBACK, number)
        elif self.qos == 2:
            one.acknowledged(mqtt.PUBREC, number)
            one.send(mqtt.acknowledge(mqtt.PUBREL, number))
            assert one.answer(mqtt.PUBCOMP).number == number, "PUBCOMP"

    def close(self):
        self.publisher.close()
        for one in self.receivers:
            one.close()


class Shared(Member):
    """Each message to one of several."""

    def __init__(self):
        super().__init__("shared")
        self.publisher = mqtt5.client()
        self.members = [mqtt5.client() for _ in range(3)]
        for one in self.members:
            one.subscribe(("$share/group/shared", 0))

    def step(self):
        self.publisher.publish("shared", b"%d" % self.count)
        sockets = {one.socket: one for one in self.members}
        ready = select.select(list(sockets), [], [], TIMEOUT)[0]
        got = [sockets[one].message() for one in ready]
        assert got == [("shared", b"%d" % self.count)], \
            f"shared: {self.count} wanted, got {got}"

    def close(self):
        for one in self.publisher, *self.members:
            one.close()


class Comer(Member):
    """Comes, does something, and goes, in any way."""

    def __init__(self, number):
        super().__init__(f"comes and goes, {number}")
        self.number = number
        self.random = random.Random(f"{SEED}-{number}")
        self.vain = 0

    def step(self):
        wire = self.random.choice((mqtt, mqtt5))
        fields = {}
        lasts = self.random.random() < .5
        name = f"s{self.number}-{self.random.randrange(SESSIONS)}-" \
               f"{wire.__name__}"
        if lasts:
            fields["clean"] = False
        if LEAK:
            name, fields["clean"] = f"{name}-{self.count}", False
        if wire is mqtt5 and (lasts or LEAK):
            fields["properties"] = mqtt5.lasting(86400)
        if self.random.random() < .5:
            fields["will"] = ("comer/will", b"gone", self.random.randrange(3),
                              False)
        # When the daemon is killed there is nobody who listens.
        with contextlib.suppress(*AWAY), wire.Client() as one:
            self.vain += 1
            one.send(wire.connect(name, **fields))
            one.answer(mqtt.CONNACK)
            self.visit(one)
            self.vain -= 1

    def visit(self, one):
        """Do something with a connection."""
        one.subscribe(*((f"comer/{self.random.randrange(5)}/#", qos)
                        for qos in range(3)))
        for qos in range(3):
            one.send(self.publish(one, f"comer/{self.random.randrange(5)}/x",
                                  qos))
        one.send(mqtt.ping)
        while one.packet().kind != mqtt.PINGRESP:
            pass
        way = self.random.random()
        if way < .3:
            one.reset()
        elif way < .6:
            one.disconnect()

    @staticmethod
    def publish(one, topic, qos):
        """Build a PUBLISH whose acknowledgment is not awaited."""
        wire = mqtt5 if isinstance(one, mqtt5.Client) else mqtt
        return wire.publish(topic, b"y" * 100, qos << 1,
                            one.next_number() if qos else None)


def blocks(path):
    """Return KiB of a file, which may be gone."""
    with contextlib.suppress(OSError):
        return path.stat().st_blocks / 2
    return 0


def size(path):
    """Return KiB of the files below a directory."""
    return sum(map(blocks, path.rglob("*")))


def database(store):
    """Return KiB of a database; its log counts where it is longer than LOG."""
    return size(store) - min(blocks(store / "kmqtt.db-wal"), LOG)


def fields(path):
    """Return a file of names and numbers."""
    words = (line.replace(":", " ").split()
             for line in pathlib.Path(path).read_text().splitlines())
    return {line[0]: int(line[1]) for line in words
            if len(line) > 1 and line[1].isdigit()}


def free_lists():
    """Return how many free pages the processors have in lists of their own."""
    text = pathlib.Path("/proc/zoneinfo").read_text()
    return sum(map(int, re.findall(r"^\s+count: +(\d+)$", text, re.M)))


class Soak(Broker):
    """The broker, with a store and a journal of its own."""

    def make_directory(self):
        super().make_directory()
        self.own_config = self.config = (
            self.persistent() + "max_queued_messages 20\n"
            "connection_messages false\n"
            f"runtime_directory {self.directory / 'runtime'}\n")

    def sample(self):
        """Return what memory is used for, KiB."""
        memory = fields("/proc/meminfo")
        process = fields(f"/proc/{self.daemon.pid}/status")
        stats = self.nl.stats()
        sockets = next(line.split() for line in
                       pathlib.Path("/proc/net/sockstat").read_text()
                       .splitlines() if line.startswith("TCP:"))
        # What the kernel has in pages that nothing else accounts for.
        pages = memory["MemTotal"] - sum(
            memory[name] for name in
            ("MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "Slab",
             "KernelStack", "PageTables", "Percpu")) - 4 * free_lists()
        return {
            "slab": memory["SUnreclaim"], "pages": pages,
            "sockets": int(sockets[-1]) * 4,
            "module": stats["memory"] / 1024,
            "daemon": process["RssAnon"],
            "journal": size(self.directory / "runtime"),
            "database": sum(map(database, self.directory.glob("store.*")))}

    def reload(self):
        """Have it read its configuration again."""
        said = self.said().count("Config reloaded")
        self.daemon.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + TIMEOUT
        while self.said().count("Config reloaded") == said:
            assert time.monotonic() < deadline, "not reloaded"
            time.sleep(0.02)


def load():
    """Return those that make it."""
    streams = [Stream(wire, level, qos, receivers)
               for level, wire in ((4, mqtt), (5, mqtt5))
               for qos, receivers in ((0, 10), (1, 3), (2, 3))]
    return streams + [
        Stream(mqtt, 4, 0, 3, retained=True),
        Stream(mqtt5, 5, 1, 3, retained=True),
        Shared(), Comer(1), Comer(2)]


def check(members):
    """Raise what one of them has raised."""
    for member in members:
        if member.failure:
            raise AssertionError(member.name) from member.failure


def soak(broker, members, seconds, samples):
    """Let it run, and write samples."""
    begin = time.monotonic()
    done = dict.fromkeys(ROUND, 0)
    number = 0
    while (now := time.monotonic() - begin) < seconds:
        check(members)
        line = {"time": round(now, 2), **broker.sample()}
        samples.write(json.dumps(line) + "\n")
        samples.flush()
        if now >= (number + 1) * STEP:
            how = ROUND[number % len(ROUND)]
            getattr(broker, how)()
            done[how] += 1
            number += 1
        time.sleep(max(0, begin + now + 1 - time.monotonic()))
    return done


def main():
    """Do what the command line says."""
    seconds = float(sys.argv[1])
    broker = Soak()
    broker.start()
    members = load()
    for member in members:
        member.start()
    try:
        with open(sys.argv[2], "w", encoding="ascii") as samples:
            done = soak(broker, members, seconds, samples)
    except BaseException:
        note(broker.diagnose())
        raise
    finally:
        Member.stop.set()
    for member in members:
        member.join(2 * TIMEOUT)
        assert not member.is_alive(), f"{member.name} does not go on"
    check(members)
    for member in members:
        vain = f", {member.vain} in vain" if hasattr(member, "vain") else ""
        note(f"{member.name}: {member.count}{vain}")
        member.close()
        assert member.count, "it did nothing"
    note(", ".join(f"{how}: {count}" for how, count in done.items()))
    for name, end in broker.ends():
        end()
        note(name)
    return 0


SEED = seed().random()
sys.exit(main())
