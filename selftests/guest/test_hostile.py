#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Whatever a client sends, its connection ends at most, for a reason that is
counted, and nobody else notices (invariant 7)."""

import contextlib
import socket
import time

from broker import CONFIG, Broker, client
from ktap import FACTOR, cases, equal, main, seed, test, times
from mqtt import (CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK,
                  PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK,
                  UNSUBSCRIBE, Client, Closed, connect, disconnect, packet,
                  ping, publish, subscribe, text, unsubscribe)

MAX_PACKET = 100000

NAMES = {
    CONNECT: "CONNECT", CONNACK: "CONNACK", PUBLISH: "PUBLISH",
    PUBACK: "PUBACK", PUBREC: "PUBREC", PUBREL: "PUBREL", PUBCOMP: "PUBCOMP",
    SUBSCRIBE: "SUBSCRIBE", SUBACK: "SUBACK", UNSUBSCRIBE: "UNSUBSCRIBE",
    UNSUBACK: "UNSUBACK", PINGREQ: "PINGREQ", PINGRESP: "PINGRESP",
    DISCONNECT: "DISCONNECT",
}
# What flags a type must have (table 2.2); of PUBLISH they mean something.
FLAGS = {kind: 2 if kind in (PUBREL, SUBSCRIBE, UNSUBSCRIBE) else 0
         for kind in NAMES}
BY_SERVER = CONNACK, SUBACK, UNSUBACK, PINGRESP

NOT_UTF8 = {
    "a byte 0xff": b"a\xff",
    "a continuation byte": b"\x80",
    "a cut character": b"a\xe2\x82",
    "an overlong slash": b"a\xc0\xafb",
    "an overlong NUL": b"\xc0\x80",
    "an overlong character of 3 bytes": b"\xe0\x80\xaf",
    "an overlong character of 4 bytes": b"\xf0\x80\x80\xaf",
    "a high surrogate": b"\xed\xa0\x80",
    "a low surrogate": b"a/\xed\xbf\xbf",
    "U+110000": b"\xf4\x90\x80\x80",
    "U+0000": b"a\0b",
    "U+0000 alone": b"\0",
}


def fixed_header(first, *rest):
    """Bytes of a fixed header, right or wrong."""
    return bytes([first, *rest])


# Before CONNECT, or instead of it: (name, bytes, reason).
FIRST = [
    ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed"),
    ("TLS", bytes.fromhex("16030102000100") + b"\1" * 512, "malformed"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n", "malformed"),
    ("zeros", bytes(100), "malformed"),
    ("ones", b"\xff" * 100, "malformed"),
    ("a CONNECT with a remaining length of 5 bytes",
     fixed_header(0x10, 0x80, 0x80, 0x80, 0x80, 0x01), "malformed"),
    ("the longest remaining length, in CONNECT",
     fixed_header(0x10, 0xff, 0xff, 0xff, 0x7f), "too_large"),
    ("the longest remaining length, in PUBLISH",
     fixed_header(0x30, 0xff, 0xff, 0xff, 0x7f), "protocol"),
    ("a CONNECT larger than allowed",
     fixed_header(0x10) + b"\xa1\x8d\x06", "too_large"),
    *((f"{NAMES[kind]} as the first packet", packet(kind, FLAGS[kind], b"\0\1"),
       "protocol" if kind in (PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PUBACK, PUBREC,
                              PUBREL, PUBCOMP, *BY_SERVER) else "malformed")
      for kind in NAMES if kind not in (CONNECT, PINGREQ, DISCONNECT)),
    ("PINGREQ as the first packet", ping, "protocol"),
    ("DISCONNECT as the first packet", disconnect, "protocol"),
    *((f"CONNECT with flags {flags}", packet(CONNECT, flags, b""), "malformed")
      for flags in (1, 2, 4, 8, 15)),
]

# After CONNECT.
THEN = [
    ("a second CONNECT", connect("again"), "protocol"),
    ("type 0", packet(0, 0), "malformed"),
    ("type 15", packet(15, 0), "malformed"),
    ("a remaining length of 5 bytes",
     fixed_header(0x30, 0x80, 0x80, 0x80, 0x80, 0x01), "malformed"),
    ("a SUBSCRIBE likewise",
     fixed_header(0x82, 0xff, 0xff, 0xff, 0xff, 0x7f), "malformed"),
    *((f"{NAMES[kind]} with flags {flags}", packet(kind, flags, b"\0\1"),
       "malformed")
      for kind in NAMES if kind != PUBLISH
      for flags in (FLAGS[kind] ^ bits for bits in (1, 2, 4, 8, 15))),
    *((f"{NAMES[kind]} from a client", packet(kind, 0, b"\0\1"), "protocol")
      for kind in BY_SERVER),
    *((f"{NAMES[kind]} of {size} bytes", packet(kind, FLAGS[kind], bytes(size)),
       "malformed")
      for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP) for size in (0, 1, 3, 200)),
    ("PINGREQ with a payload", packet(PINGREQ, 0, b"x"), "malformed"),
    ("DISCONNECT with a payload", packet(DISCONNECT, 0, b"x"), "malformed"),
    *((f"PUBLISH with flags {flags:#x}: QoS 3, or DUP at QoS 0",
       publish("a", b"x", flags, 1), "malformed")
      for flags in (0x6, 0x7, 0xe, 0xf, 0x8, 0x9)),
    ("PUBLISH of 0 bytes", packet(PUBLISH, 0), "malformed"),
    ("PUBLISH of 1 byte", packet(PUBLISH, 0, b"\0"), "malformed"),
    ("PUBLISH at QoS 1 without a packet identifier",
     packet(PUBLISH, 2, text("a")), "malformed"),
    ("an empty topic", publish("", b"payload"), "topic"),
    ("an empty topic, nothing else", publish(""), "topic"),
    *((f"a topic with a wildcard, {topic}", publish(topic, b"x"), "topic")
      for topic in ("#", "+", "a/#", "a/+/b", "a#", "+a", "$SYS/#")),
    *((f"a topic with {what}", publish(topic, b"x"), "topic")
      for what, topic in NOT_UTF8.items()),
    ("201 levels", publish("/".join("l" * 201)), "topic"),
    ("65,535 slashes", publish("/" * 65535, b"x"), "topic"),
    *((f"a topic longer than the packet, by {more}",
       packet(PUBLISH, 0, (4 + more).to_bytes(2, "big"), b"abcd"), "topic")
      for more in (1, 2, 60000)),
    ("a packet one byte larger than max_packet_size",
     publish("a", bytes(MAX_PACKET - 6)), "too_large"),
    ("only the header of one larger than that",
     fixed_header(0x30, 0xff, 0xff, 0xff, 0x7f), "too_large"),
    ("a SUBSCRIBE larger than max_packet_size",
     subscribe(1, "x" * 60000, "y" * 60000), "too_large"),
    ("good packets, then a bad one",
     ping + publish("a", b"x") + subscribe(1, "b") + packet(0, 0), "malformed"),
    ("DISCONNECT", disconnect, "deleted"),
]


class Bystanders:
    """Two who exchange messages, and notice every one that is missing."""

    def __init__(self):
        self.subscriber, self.publisher = client("listener"), client("speaker")
        self.subscriber.subscribe("bystanders", "a")
        self.number = 0

    def exchange(self):
        """Say something, and hear it and nothing else, but "a" of the tests."""
        self.number += 1
        said = "bystanders", b"%d" % self.number
        self.publisher.publish(*said)
        for heard in iter(self.subscriber.message, said):
            equal(heard, ("a", b"x"))


class Hostile(Broker):
    """Fixture: a broker, and bystanders."""

    bystanders = None

    @property
    def lasting(self):
        return 2 if self.bystanders else 0

    def start(self):
        super().start()
        self.bystanders = Bystanders()

    def recover(self):
        super().recover()
        self.bystanders = Bystanders()

    def stop(self):
        for one in (self.bystanders.subscriber, self.bystanders.publisher):
            one.ping()
        self.bystanders = None
        super().stop()


def expect_end(broker, make, reason, *packets):
    """Send packets, and expect the end of that connection, nobody else's."""
    with broker.counted(reason), make() as one:
        with contextlib.suppress(Closed):  # before all of it was sent
            for part in packets:
                one.send(part)
        one.ended()
    broker.bystanders.exchange()


@cases([(f"first: {name}", *rest) for name, *rest in FIRST])
def first(broker, data, reason):
    expect_end(broker, Client, reason, data)


@cases([(f"then: {name}", *rest) for name, *rest in THEN])
def then(broker, data, reason):
    expect_end(broker, client, reason, data)


@test("the same, one byte at a time")
def bytewise(broker):
    for _, data, reason in THEN[::7]:
        if len(data) < 100:
            expect_end(broker, client, reason,
                       *(bytes([b]) for b in data))


@test("allowed: 200 levels, packets as large as max_packet_size")
def allowed(_):
    with client() as one:
        one.subscribe("#")
        for topic, size in (("/".join("l" * 200), 10), ("/" * 199, 0),
                            ("b", MAX_PACKET - 7)):
            one.publish(topic, bytes(size))
            equal(one.message(), (topic, bytes(size)))


@cases([("no CONNECT", b""), ("half a CONNECT", connect("silent")[:-3]),
        ("one byte of a CONNECT", b"\x10"),
        ("half a remaining length", b"\x10\x80")])
def silent(broker, data):
    begin = time.monotonic()
    with broker.counted("deleted"), Client() as one:
        one.send(data)
        equal(one.ended(), [])
        seconds = time.monotonic() - begin
        assert 0.95 < seconds < 4 * FACTOR, f"after {seconds:.2f} s"
    broker.bystanders.exchange()
    broker.await_line("exceeded timeout")


@test("a trickle that keeps to no CONNECT is cut off too")
def trickle(broker):
    with broker.counted("deleted"), Client() as one:
        begin = time.monotonic()
        data = connect("trickle" * 100)
        with contextlib.suppress(Closed):
            for byte in data:
                one.send(bytes([byte]))
                time.sleep(0.05)
                assert time.monotonic() - begin < 5 * FACTOR
    broker.bystanders.exchange()


@cases([("urgent data", publish("a", b"x")), ("urgent data alone", b"")])
def urgent(broker, before):
    with broker.counted("urgent"), client() as one:
        one.send(before)
        one.socket.send(b"!", socket.MSG_OOB)
        one.ended()
    broker.bystanders.exchange()


@test("urgent data before CONNECT")
def urgent_first(broker):
    with broker.counted("urgent"), Client() as one:
        one.socket.send(b"!", socket.MSG_OOB)
        one.ended()
    broker.bystanders.exchange()


def half(make, data):
    """Return a client that has sent the first half."""
    one = make()
    one.send(data[:len(data) // 2])
    return one


@cases([(f"{how} {when}", how, make)
        for how in ("RST", "FIN") for when, make in (
    ("before CONNECT", Client),
    ("after CONNECT", client),
    ("in the middle of a CONNECT", lambda: half(Client, connect("half"))),
    ("in the middle of a PUBLISH", lambda: half(client, publish("a", b"x"))),
    ("in the middle of a SUBSCRIBE", lambda: half(client, subscribe(1, "a"))),
)])
def gone(broker, how, make):
    with broker.counted("reset" if how == "RST" else "closed"):
        one = make()
        broker.record(one)
        if how == "RST":
            one.reset()
        else:
            one.close()
    broker.bystanders.exchange()


@test("a client that shuts its sending side only is answered, then closed")
def half_closed(broker):
    with broker.counted("closed"), client() as one:
        one.send(subscribe(3, "x"), ping)
        one.socket.shutdown(socket.SHUT_WR)
        kinds = [whole.kind for whole in one.ended()]
        assert set(kinds) <= {SUBACK, PINGRESP}, kinds


@test("many clients at once that announce 256 MiB")
def announced(broker):
    half_of_them = times(100)
    with broker.counted(*["too_large", "protocol"] * half_of_them):
        clients = [Client() for _ in range(2 * half_of_them)]
        for number, one in enumerate(clients):
            one.send(fixed_header(0x30 if number % 2 else 0x10,
                                  0xff, 0xff, 0xff, 0x7f))
        for one in clients:
            equal(one.ended(), [])
            one.close()
    broker.bystanders.exchange()


GOOD = [publish("a", b"x"), publish("b/c", b"y" * 300), ping,
        subscribe(5, "f/+", "g/#"), unsubscribe(6, "f/+"), publish("f/1", b"z")]


@test("streams of packets with random damage")
def damaged(broker):
    rand = seed()
    for _ in range(times(400)):
        stream = bytearray(b"".join(rand.choices(GOOD, k=4)))
        for _ in range(rand.randint(1, 3)):
            at = rand.randrange(len(stream))
            action = rand.randrange(3)
            if action == 0:
                stream[at] ^= 1 << rand.randrange(8)
            elif action == 1:
                del stream[at:at + rand.randint(1, 3)]
            else:
                stream[at:at] = rand.randbytes(2)
        with Client() as one:
            one.send(connect(), stream)
            if rand.randrange(4) == 0:
                one.answer(CONNACK)
    broker.settle()
    # They may have said anything; but now they are gone.
    broker.bystanders.publisher.publish("bystanders", b"they are gone")
    while broker.bystanders.subscriber.message()[1] != b"they are gone":
        pass
    broker.bystanders.exchange()


main(Hostile(CONFIG + f"max_packet_size {MAX_PACKET}\nconnect_timeout 1\n"))
