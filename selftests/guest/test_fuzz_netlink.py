#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Fuzzes the netlink family, as root, with real connections on the module: no
request makes it warn, leak or crash, whatever it is answered with.

KMQTT_FUZZ_SECONDS says for how long, KMQTT_SEED repeats.
"""

import contextlib
import errno
import os
import re
import struct
import time

from attached import Attached, Lasting
from hostile import figure
from ktap import FACTOR, equal, main, note, seed, test, wait_until
from mqtt import Closed, publish, subscribe
from nl import (CMD, NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST,
                SPACES, Netlink, attribute)

SECONDS = float(os.environ.get("KMQTT_FUZZ_SECONDS", "15"))

# What a request may fail with; anything else is a surprise.
FAILURES = {errno.EINVAL, errno.ERANGE, errno.ENOENT, errno.ENOTCONN,
            errno.EBUSY, errno.EBADF, errno.ENOTSOCK, errno.EOPNOTSUPP,
            errno.EEXIST, errno.EMFILE, errno.EMSGSIZE, errno.EAGAIN,
            errno.ENOMEM, errno.E2BIG, errno.ENOBUFS, errno.EDQUOT}


class Fuzzed(Lasting):
    """Fixture: what the fuzzer is told by the kernel's own code."""

    allowed = re.compile(rb"netlink: .*(attribute type \d+ has an invalid "
                         rb"length|bytes leftover after parsing)|"
                         rb"Zero length message leads to an empty skb|"
                         rb"validate.*: \d+ callbacks suppressed")


NAMES = {number: name for name, number in CMD.items()}


class Fuzzer:
    """Makes requests up, and keeps connections for them."""

    def __init__(self, nl, rand):
        self.nl, self.rand = nl, rand
        self.known = set(map(int, os.listdir("/proc/self/fd")))
        self.conns = []
        self.files = [os.memfd_create("payload"), os.open("/", os.O_RDONLY)]
        os.write(self.files[0], b"p" * 100000)
        self.sink = None
        self.counts = {}

    def close(self):
        """Close what it has."""
        for one in self.conns:
            one.server.close()
            one.close()
        for file in self.files:
            os.close(file)
        self.files, self.conns, self.sink = [], [], None
        self.sweep()

    def sweep(self):
        """Close descriptors that requests have made, and failed after it."""
        known = self.known | set(self.files) | {self.sink}
        for one in self.conns:
            known |= {one.server.fileno(), one.socket.fileno()}
        for number in set(map(int, os.listdir("/proc/self/fd"))) - known:
            with contextlib.suppress(OSError):
                os.close(number)

    # Values, good and bad

    def number(self, bits):
        """A number, mostly one that means something."""
        rand = self.rand
        return rand.choice([
            rand.randrange(8), rand.randrange(1 << bits), (1 << bits) - 1,
            rand.choice([0, 16, 1000, 4096, 65536, 1 << 20, 1 << 30])
        ]) & ((1 << bits) - 1)

    def topic(self):
        """A topic, a filter, or neither."""
        rand = self.rand
        return rand.choice([
            "/".join(rand.choices(["a", "b", "+", "", "$a"], k=4)),
            "a/b", "#", "a/#", "+", "", "a/+/b", "a#", "\0", "/" * 300,
            "x" * rand.choice([1, 300, 65000, 65001]),
        ]).encode() + rand.choice([b"", b"", b"", b"\xff", b"\xc3\xa9"])

    def value(self, name, kind):
        """A value for an attribute."""
        rand = self.rand
        if rand.randrange(12) == 0:  # of a wrong size
            return rand.randbytes(rand.choice([0, 1, 2, 3, 4, 5, 8, 40, 5000]))
        if name in ("id", "conn_id") and self.conns and rand.randrange(8):
            return rand.choice(self.conns).id.to_bytes(4, "little")
        if name in ("fd", "payload_fd"):
            return rand.choice(self.files + [0, 1, 9999, 0xffffffff] + [
                one.server.fileno() & 0xffffffff for one in self.conns
            ]).to_bytes(4, "little")
        if kind == "flag":
            return b""
        if name in ("topic", "client_id"):
            return self.topic()
        if kind in ("binary", "nest", None):
            return rand.randbytes(rand.choice([0, 1, 100, 32768, 32769]))
        size = int(kind[1:]) // 8
        return self.number(8 * size).to_bytes(size, "little")

    def attributes(self, space, depth=0):
        """Attributes of a space, or not quite."""
        rand = self.rand
        out = b""
        names = [name for name in space.number if name != "unspec"]
        for name in rand.choices(names, k=rand.choice([0, 1, 2, 2, 3, 5, 30])):
            number = space.number[name]
            if name in space.nests and rand.randrange(10):
                inner = space.nests[name]
                value = self.attributes(inner, depth + 1) \
                    if hasattr(inner, "number") else b""
                number |= rand.choice([NLA_F_NESTED] * 5 + [0])
            else:
                value = self.value(name, space.type.get(name))
            if rand.randrange(30) == 0:
                number = rand.choice([0, rand.randrange(1 << 16), number |
                                      NLA_F_NESTED, number | 0x4000])
            out += attribute(number, value[:65000])
            if len(out) > 200000:
                break
        return out

    def likely(self, cmd, space):
        """Attributes that the command wants, nearly all of them good."""
        rand = self.rand
        some = ["active", "next", "keepalive", "client_id", "cookie", "level",
                "event_seq", "release", "hold_seq", "trim", "max_packet"]
        wanted = {
            "conn_set": ["id"] + rand.sample(some, k=rand.randint(1, 3)),
            "conn_del": ["id"], "conn_get": ["id"],
            "conn_adopt": ["id"] * rand.choice([1, 2, 64, 65]),
            "sub_add": ["conn_id"] + ["filter"] * rand.randint(1, 20) +
                       rand.choice([["hold"], []]),
            "sub_del": ["conn_id"] + ["filter"] * rand.randint(1, 20),
            "publish": ["topic", rand.choice(["payload", "payload_fd"])] +
                       rand.choice([["qos"], ["retain"], []]),
        }.get(cmd, [])
        return b"".join(self.good(name, space) for name in wanted)

    def good(self, name, space):
        """An attribute that is most likely good."""
        rand = self.rand
        number = space.number[name]
        if name == "filter":
            return attribute(number | NLA_F_NESTED, attribute(1, rand.choice([
                b"a/b", b"a/+", b"#", b"a/#", b"+/+/+", b"$a/b", b"x" * 3000,
                b"/".join(rand.choices([b"a", b"+"], k=9)), b"/" * 199])) +
                attribute(2, bytes([rand.randrange(3)])))
        if name == "topic":
            value = rand.choice([b"a/b", b"a/a/a/a/a/a/a/a/a", b"a", b"$a/b"])
        elif name in ("qos", "level"):
            value = bytes([rand.randrange(3) + 3 * (name == "level")])
        elif name == "payload_fd":
            value = self.files[0].to_bytes(4, "little")
        else:
            value = self.value(name, space.type[name])
        return attribute(number, value)

    def damage(self, body):
        """Cut, stretch or change something."""
        rand = self.rand
        body = bytearray(body)
        for _ in range(rand.randint(1, 4)):
            if not body:
                break
            at = rand.randrange(len(body))
            action = rand.randrange(4)
            if action == 0:
                body[at] ^= 1 << rand.randrange(8)
            elif action == 1:
                del body[at:]
            elif action == 2:  # a length or a type, often
                body[at & ~1:(at & ~1) + 2] = rand.choice([0, 3, 4, 65535]) \
                    .to_bytes(2, "little")
            else:
                body[at:at] = rand.randbytes(rand.randint(1, 9))
        return bytes(body)

    # Steps

    def request(self):
        """Send one request, and take its answers."""
        rand = self.rand
        name = rand.choice(list(CMD))
        number, space = CMD[name], SPACES[name]
        if rand.randrange(40) == 0:
            number = rand.randrange(256)
        if name == "flush" and rand.randrange(20):
            return
        body = rand.choice([self.likely, self.likely, lambda *_:
                            self.attributes(space)])(name, space)
        if rand.randrange(4) == 0:
            body = self.damage(body)
        flags = rand.choice([NLM_F_ACK] * 4 + [NLM_F_DUMP, NLM_F_ACK |
                                               rand.randrange(1 << 16)])
        result = "ok"
        try:
            answers = self.nl.talk(self.nl.family, number, body,
                                   flags | NLM_F_ACK)
        except OSError as error:
            assert error.errno in FAILURES, f"{name}: {error}"
            result = errno.errorcode[error.errno]
            answers = []
        asked = NAMES.get(number)
        for answer in answers:
            self.took(asked, SPACES[asked].decode(answer))
        if asked == "conn_adopt":
            self.sweep()
        self.counts[name, result] = self.counts.get((name, result), 0) + 1

    def took(self, name, answer):
        """Take care of what a request has answered."""
        if name == "sink_open" and "fd" in answer:
            self.sink = answer["fd"]
            os.set_blocking(self.sink, False)

    def raw(self):
        """Send what is not even a message."""
        rand = self.rand
        size = rand.choice([0, 4, 15, 16, 17, 20, 40])
        head = struct.pack("IHHII", rand.choice([0, 15, 16, 20, 99, 1 << 31]),
                           self.nl.family, NLM_F_REQUEST,
                           rand.randrange(1 << 32), 0)
        with Netlink() as other:
            with contextlib.suppress(OSError):
                other.socket.send((head + rand.randbytes(64))[:size])
            if rand.randrange(2):  # a dump that nobody reads to its end
                other.send(self.nl.family, CMD["sub_get"], b"", NLM_F_DUMP)

    def connect(self):
        """Have one more connection, or end the oldest."""
        rand = self.rand
        if len(self.conns) > 8:
            one = self.conns.pop(rand.randrange(len(self.conns)))
            with contextlib.suppress(OSError):
                rand.choice([one.close, one.reset])()
            one.server.close()
            return
        self.nl.request("memory_set", {"memory_limit": 0})
        active = rand.randrange(4) > 0
        one = Attached(self.nl, active=False,
                       packet_timeout=rand.choice([0, 5, 60000]))
        if active:
            self.activate(one)
        one.server.setblocking(False)
        one.socket.setblocking(False)
        self.conns.append(one)

    def activate(self, one):
        """Make a connection active, unless it ends meanwhile."""
        try:
            one.activate()
        except (AssertionError, OSError, Closed):
            # It is gone if the sink has been closed for too long.
            if any(conn["id"] == one.id for conn in self.nl.conns()):
                raise

    def traffic(self):
        """Something happens on a connection."""
        if not self.conns:
            return
        rand = self.rand
        one = rand.choice(self.conns)
        with contextlib.suppress(OSError, Closed):
            rand.choice([
                lambda: one.send(publish("a/b", b"x" * rand.randrange(3000))),
                lambda: one.send(publish("a/b", b"x" * 40, 1) * 20),
                lambda: one.send(subscribe(1, "a")),
                lambda: one.send(publish("a", b"x" * 9000)[:5000]),
                lambda: one.socket.recv(1 << 16),
                lambda: one.server.recv(1 << 16),
                lambda: one.server.send(b"\xd0\0"),
                lambda: one.server.send(b"\xd0"),
            ])()
        if self.sink is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self.sink, 1 << 16)
            if rand.randrange(50) == 0:
                os.close(self.sink)
                self.sink = None

    def step(self):
        """One step of any kind."""
        self.rand.choices([self.request, self.traffic, self.connect, self.raw],
                          [60, 20, 3, 1])[0]()


@test("random requests, good, wrong and damaged")
def requests(module):
    rand = seed()
    fuzzer = Fuzzer(module.nl, rand)
    before = figure("/proc/meminfo", "MemAvailable")
    until, steps = time.monotonic() + SECONDS, 0
    try:
        while time.monotonic() < until:
            fuzzer.step()
            steps += 1
            if steps % 500 == 0:  # before there is so much that some is lost
                module.log.check(module.allowed)
        # It works as ever.
        module.nl.request("memory_set", {"memory_limit": 0})
        with Attached(module.nl) as one:
            one.sub("after/all")
            one.publish("after/all", b"works")
            equal(one.message(), ("after/all", b"works"))
    finally:
        fuzzer.close()
        module.nl.flush()
    wait_until(lambda: module.nl.stats()["conns"] == 0, "no connections")
    stats = module.nl.stats()
    equal((stats["subs"], stats["filters"]), (0, 0), "left")
    taken = before - figure("/proc/meminfo", "MemAvailable")
    note(f"{steps} steps, {taken >> 10} KiB more taken")
    for (name, result), count in sorted(fuzzer.counts.items()):
        note(f"{name}: {result} {count}")
    assert taken < 64 << 20 or FACTOR > 1, f"{taken >> 10} KiB"
    assert sum(fuzzer.counts.values()), "nothing was asked"


main(Fuzzed())
