#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Fuzzes the broker with sequences of packets, several clients at once, cut
into segments at random. Some keep to the specification, and must be answered as
it says; some do not, and end at most. A pair beside them loses nothing.

KMQTT_FUZZ_SECONDS says for how long, KMQTT_SEED repeats.
"""

import collections
import contextlib
import os
import random
import re
import threading
import time

from broker import CONFIG
from hostile import Hostile
from ktap import FACTOR, TIMEOUT, equal, main, note, seed, test
from mqtt import (PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL,
                  SUBACK, UNSUBACK, Client, Closed, acknowledge, connect,
                  disconnect, length, packet, ping, publish, subscribe,
                  unsubscribe)

SECONDS = float(os.environ.get("KMQTT_FUZZ_SECONDS", "20"))
GOOD, BAD = 3, 4  # clients at a time
MAX_PACKET = 100000

# Every reason but those that nobody here can give.
REASONS = ["closed", "reset", "malformed", "protocol", "too_large", "topic",
           "deleted"]


def segments(rand, stream):
    """Yield a stream in pieces."""
    at = 0
    while at < len(stream):
        size = rand.choice([1, 2, 3, 7, 50, 1460, 10000, len(stream)])
        yield stream[at:at + size]
        at += size


class Life(threading.Thread):
    """A client, again and again."""

    def __init__(self, number, rand, until):
        super().__init__(daemon=True)
        self.name = str(number)
        self.rand, self.until = rand, until
        self.error = None
        self.lives = 0

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.live()
                self.lives += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = f"{self.name}, life {self.lives}: {error!r}"[:500]

    def size(self):
        """Bytes of a payload."""
        return self.rand.choice([0, 1, 30, 300, 3000])


class Good(Life):
    """One who keeps to the specification. Every request has its answer, those
    of a kind in order, and what it publishes to itself comes back (4.3, 4.6)."""

    def live(self):
        rand = self.rand
        self.number = 0
        self.mine = f"good/{self.name}/{self.lives}"
        self.wanted = collections.defaultdict(collections.deque)
        self.echo = collections.defaultdict(collections.deque)
        with Client() as one:
            one.send(connect(f"good {self.name}",
                             will=rand.choice([None, ("will", b"x", 1, 0)])))
            one.connected()
            equal(one.subscribe((self.mine + "/#", 2)), [2])
            one.number = 100
            for _ in range(rand.randint(1, 6)):
                self.burst(one)
            one.send(disconnect)
            equal(one.ended(), [], "after DISCONNECT")

    def burst(self, one):
        """Send some requests, then await all that they are answered with."""
        stream = b"".join(self.request(one) for _ in range(
            self.rand.randint(1, 20)))
        for part in segments(self.rand, stream):
            one.send(part)
        deadline = time.monotonic() + 3 * TIMEOUT
        while self.waiting():
            self.take(one, one.packet(deadline - time.monotonic()))

    def waiting(self):
        """Is there anything still to come?"""
        return any(self.wanted.values()) or any(self.echo.values())

    def request(self, one):
        """Build a request, and note what must come."""
        rand, wanted = self.rand, self.wanted
        kind = rand.randrange(6)
        qos = rand.randrange(3)
        number = one.next_number()
        if kind == 0:
            wanted[PINGRESP].append(None)
            return ping
        if kind == 1:
            filters = [(f"other/{self.name}/{rand.randrange(5)}",
                        rand.randrange(3)) for _ in range(rand.randint(1, 9))]
            wanted[SUBACK].append((number, [q for _, q in filters]))
            return subscribe(number, *filters)
        if kind == 2:
            wanted[UNSUBACK].append((number, []))
            return unsubscribe(number, f"other/{self.name}/1", "never")
        topic, payload = self.mine + rand.choice(["", "/a", "//b"]), \
            b"%d " % number + rand.randbytes(self.size())
        self.echo[qos].append((topic, payload))
        if qos:
            wanted[PUBACK if qos == 1 else PUBREC].append((number, []))
        return publish(topic, payload, qos << 1, number if qos else None)

    def take(self, one, whole):
        """Check that a packet is what must come, and do what it demands."""
        wanted = self.wanted
        if whole.kind == PUBLISH:
            equal((whole.topic, whole.payload), self.echo[whole.qos].popleft(),
                  f"at QoS {whole.qos}")
            if whole.qos:
                one.send(acknowledge(PUBACK if whole.qos == 1 else PUBREC,
                                     whole.number))
            if whole.qos == 2:
                wanted[PUBREL].append((whole.number, []))
            return
        must = wanted[whole.kind].popleft()
        if whole.kind != PINGRESP:
            equal((whole.number, whole.codes), must, f"packet {whole.kind}")
        if whole.kind == PUBREC:
            one.send(acknowledge(PUBREL, whole.number))
            wanted[PUBCOMP].append((whole.number, []))
        elif whole.kind == PUBREL:
            one.send(acknowledge(PUBCOMP, whole.number))


class Bad(Life):
    """One who sends anything."""

    def live(self):
        rand = self.rand
        stream = b"".join(self.anything() for _ in range(rand.randint(1, 40)))
        if rand.randrange(10):
            stream = connect(rand.choice(["", "bad", f"bad {self.name}"]),
                             clean=True, keepalive=rand.choice([0, 1, 60])) \
                + stream
        if rand.randrange(2):
            stream = self.damage(stream)
        with contextlib.suppress(Closed, ConnectionError, TimeoutError):
            with Client() as one:
                one.socket.settimeout(2)
                for part in segments(rand, stream):
                    one.send(part)
                    if rand.randrange(8) == 0:
                        one.socket.setblocking(False)
                        with contextlib.suppress(BlockingIOError):
                            one.socket.recv(1 << 20)
                        one.socket.settimeout(2)
                if rand.randrange(3) == 0:
                    one.reset()

    def text(self):
        """A topic, a filter, or neither."""
        rand = self.rand
        return rand.choice([
            "bad/a", "bad/b", "bad/+", "bad/#", "+/+", "a#", "", "/" * 250,
            "$SYS/x", "bad/\0", "x" * rand.choice([200, 65000]),
        ]).encode() + rand.choice([b"", b"", b"", b"", b"\xed\xa0\x80"])

    def anything(self):
        """A packet, or the like."""
        rand = self.rand
        number = rand.choice([0, 1, 2, 7, 65535])
        return rand.choice([
            lambda: ping,
            lambda: connect("bad again"),
            lambda: subscribe(number, *((self.text(), rand.choice([0, 1, 2]))
                                        for _ in range(rand.randrange(9)))),
            lambda: subscribe(number, ("bad/#", rand.randrange(256))),
            lambda: unsubscribe(number, *(self.text() for _ in
                                          range(rand.randrange(5)))),
            lambda: publish(self.text(), rand.randbytes(self.size()),
                            rand.randrange(16), number),
            lambda: publish("bad/a", rand.randbytes(self.size())),
            lambda: publish("bad/b", b"r" * self.size(), 1),
            lambda: publish("bad/a", b"1" * self.size(), 2, 1 + number // 2),
            lambda: publish("bad/a", b"2" * self.size(), 4, 1 + number // 2),
            lambda: acknowledge(rand.choice([PUBACK, PUBREC, PUBREL, PUBCOMP]),
                                number),
            lambda: packet(rand.randrange(16), rand.randrange(16),
                           rand.randbytes(rand.randrange(9))),
            lambda: rand.randbytes(rand.randrange(20)),
            lambda: bytes([rand.choice([0x30, 0x32, 0x82, 0x10])]) +
            length(rand.choice([0, 127, 128, MAX_PACKET, 1 << 27, 1 << 30])),
            lambda: disconnect,
        ])()

    def damage(self, stream):
        """Change a few bytes."""
        rand, stream = self.rand, bytearray(stream)
        for _ in range(rand.randint(1, 5)):
            at = rand.randrange(len(stream))
            action = rand.randrange(4)
            if action == 0:
                stream[at] = rand.randrange(256)
            elif action == 1:
                del stream[at:at + rand.randint(1, 3)]
                stream += b"\0"
            elif action == 2:
                stream[at:at] = rand.randbytes(rand.randint(1, 3))
            else:
                stream[at] ^= 1 << rand.randrange(8)
        return bytes(stream)


@test("good and bad sequences of packets, several clients at once "
      "[CVE-2021-22116] [CVE-2021-33175] [CVE-2021-33176] [CVE-2024-8376]")
def sequences(broker):
    rand = seed()
    until = time.monotonic() + SECONDS
    lives = [kind(n, random.Random(rand.random()), until)
             for n, kind in enumerate([Good] * GOOD + [Bad] * BAD)]
    with broker.storm(*REASONS, "keepalive", machine=192, daemon=64):
        for life in lives:
            life.start()
        for life in lives:
            life.join()
        errors = [life.error for life in lives if life.error]
        for line in re.findall(".*Client good.* disconnected: .*",
                               broker.said()) if errors else ():
            note(line)
        equal(errors, [])
    note("lives:", [life.lives for life in lives])
    assert all(life.lives for life in lives), "somebody never lived"


main(Hostile(CONFIG + f"max_packet_size {MAX_PACKET}\n"
             f"connect_timeout {2 * FACTOR:.0f}\n"))
