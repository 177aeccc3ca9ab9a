#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Whatever a client sends, its connection ends at most, for a reason that is
counted, and nobody else notices (invariant 7)."""

import contextlib
import re
import socket
import time

from broker import CONFIG, client
from hostile import Hostile, cut
from ktap import FACTOR, LONG, cases, equal, main, seed, test, times
from mqtt import (CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK,
                  PUBCOMP, PUBLISH, PUBREC, PUBREL, REFUSED, SUBACK, SUBSCRIBE,
                  UNSUBACK, UNSUBSCRIBE, Client, Closed, connect, disconnect,
                  iter_until, packet, ping, publish, subscribe, text,
                  unsubscribe)

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
    ("a CONNECT with a remaining length of 5 bytes [CVE-2026-21888]",
     fixed_header(0x10, 0x80, 0x80, 0x80, 0x80, 0x01), "malformed"),
    ("the longest remaining length, in CONNECT [CVE-2017-7651]",
     fixed_header(0x10, 0xff, 0xff, 0xff, 0x7f), "too_large"),
    ("the longest remaining length, in PUBLISH [CVE-2023-0809]",
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
    ("a remaining length of 5 bytes [CVE-2026-21888]",
     fixed_header(0x30, 0x80, 0x80, 0x80, 0x80, 0x01), "malformed"),
    ("a SUBSCRIBE likewise",
     fixed_header(0x82, 0xff, 0xff, 0xff, 0xff, 0x7f), "malformed"),
    *((f"{NAMES[kind]} with flags {flags}", packet(kind, flags, b"\0\1"),
       "malformed")
      for kind in NAMES if kind != PUBLISH
      for flags in (FLAGS[kind] ^ bits for bits in (1, 2, 4, 8, 15))),
    *((f"{NAMES[kind]} from a client [CVE-2021-28166]",
       packet(kind, 0, b"\0\1"), "protocol") for kind in BY_SERVER),
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
    ("an empty topic [CVE-2021-34432]", publish("", b"payload"), "topic"),
    ("an empty topic, nothing else", publish(""), "topic"),
    *((f"a topic with a wildcard, {topic}", publish(topic, b"x"), "topic")
      for topic in ("#", "+", "a/#", "a/+/b", "a#", "+a", "$SYS/#")),
    *((f"a topic with {what} [CVE-2017-7653]", publish(topic, b"x"), "topic")
      for what, topic in NOT_UTF8.items()),
    ("201 levels", publish("/".join("l" * 201)), "topic"),
    ("65,535 slashes [CVE-2019-11779]", publish("/" * 65535, b"x"), "topic"),
    *((f"a topic longer than the packet, by {more} [CVE-2026-25627]",
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


@cases([(f"first: {name}", *rest) for name, *rest in FIRST])
def first(broker, data, reason):
    broker.expect_end(Client, reason, data)


@cases([(f"then: {name}", *rest) for name, *rest in THEN])
def then(broker, data, reason):
    broker.expect_end(client, reason, data)


def in_connect(**fields):
    """A CONNECT as a case of FIELDS: nobody has connected before it."""
    return Client, connect("strings", **fields)


# Every string but a topic name, which is among THEN: how it is sent.
FIELDS = {
    "client id": lambda s: (Client, connect(s)),
    "protocol name": lambda s: in_connect(name=b"MQTT" + s),
    "user name": lambda s: in_connect(username=s, password=b"x"),
    "will topic": lambda s: in_connect(will=(s, b"x", 0, 0)),
    "filter": lambda s: (client, subscribe(1, "good", s)),
    "filter to unsubscribe": lambda s: (client, unsubscribe(1, "good", s)),
}


@cases([(f"strings: {what} in a {field} [CVE-2017-7653]", make(data))
        for field, make in FIELDS.items() for what, data in NOT_UTF8.items()])
def string(broker, how):
    broker.expect_end(how[0], "deleted", how[1],
                      said="disconnected: malformed packet")


@cases([(f"strings: a {what} closes", (Client, connect("w", will=will)), said)
        for what, will, said in (
    ("will topic of 65,535 slashes [CVE-2019-11779]", ("/" * 65535, b"", 1, 1),
     "topic name invalid"),
    ("will topic of 201 levels", ("/".join("l" * 201), b"", 0, 0),
     "topic name invalid"),
    ("will topic that is empty [CVE-2021-34432]", ("", b"x", 1, 0),
     "malformed packet"),
    ("will topic with a wildcard", ("a/#", b"x", 2, 1), "malformed packet"),
)])
def will_topic(broker, how, said):
    broker.expect_end(how[0], "deleted", how[1], said=f"disconnected: {said}")


@test("65,000 slashes in SUBSCRIBE are refused [CVE-2019-11779]")
def slashes(broker):
    with broker.attack("closed"), client() as one:
        for many in ("/" * 65000, "/" * 200, "+" + "/+" * 200, "/" * 200 + "#"):
            equal(one.subscribe("a", many, "b"), [0, REFUSED, 0])
            one.unsubscribe(many)
        equal(broker.record(one)["subs"], 2)


@cases([(f"a {what} longer than the packet closes [CVE-2026-25627]", make, data)
        for what, make, data in (
    ("client id", Client, cut(connect("abcd"), 1)),
    ("will topic", Client, cut(connect(will=("t", b"", 0, 0)), 3)),
    ("will message", Client, cut(connect(will=("t", b"xyz", 0, 0)), 1)),
    ("user name", Client, cut(connect(username="name"), 4)),
    ("password", Client, cut(connect(username="a", password="secret"), 1)),
    ("filter", client, cut(subscribe(1, "a", "abc"), 2)),
    ("QoS", client, cut(subscribe(1, "a", "abc"), 1)),
    ("filter to unsubscribe", client, cut(unsubscribe(1, "a", "abc"), 1)),
    ("topic at QoS 1", client, cut(publish("abcd", b"", 2, 1), 3)),
    ("packet identifier", client, cut(publish("abcd", b"", 4, 1), 1)),
)])
def too_long(broker, make, data):
    broker.expect_end(make, "deleted", data,
                      said="disconnected: malformed packet")


@test("lengths in more bytes than they need are lengths [CVE-2026-21888]")
def padded(broker):
    def pad(whole, count):
        """Write the remaining length, of one byte, in more."""
        return (whole[:1] + bytes([whole[1] | 0x80]) + b"\x80" * (count - 2) +
                b"\0" + whole[2:])

    for count in 2, 3, 4:
        with broker.attack("deleted"), Client() as one:
            one.send(pad(connect(), count))
            one.connected()
            one.send(pad(subscribe(1, "p"), count))
            equal(one.subscribed(1), [0])
            one.send(pad(publish("p", b"x"), count))
            equal(one.message(), ("p", b"x"))
            one.send(pad(publish("p", b"y", 2, 7), count))
            one.acknowledged(PUBACK, 7)
            equal(one.message(), ("p", b"y"))
            one.send(pad(ping, count))
            one.answer(PINGRESP)
            one.send(pad(disconnect, count))
            equal(one.ended(), [])


ODD_NAMES = ["#", "+", "/", "+/#", "a/b", "$SYS", "$SYS/#", "%c", "%u", "..",
             "../../etc/passwd", "'; DROP TABLE session; --", "%s%n%1000000d",
             "a\nNew client connected", "\x1b[2J\x07", "\x7f\x80\x9b",
             "\u202e\ufeff", "x" * 30000]


@test("client ids and user names with +, # and /, or for a terminal: but names "
      "[CVE-2017-7650]")
def odd_names(broker):
    at = broker.output.stat().st_size
    with broker.attack(*["closed"] * len(ODD_NAMES)):
        clients = [client(name, username=name, password=name)
                   for name in ODD_NAMES]
        for one in clients:
            one.ping()  # the module knows it a moment after CONNACK
        equal([broker.record(one)["client_id"].decode() for one in clients],
              ODD_NAMES)
        for one in clients:  # nobody's name is a subscription
            one.quiet()
            one.close()
    said = broker.said_since(at)
    equal(re.findall(r"[^\n -~]", said), [], "not escaped in the log")
    equal(re.findall(r"^New client.*", said, re.M), [], "injected")


@test("no password is in the log [CVE-2026-33216]")
def no_password(broker):
    with client("c", username="u", password="unmistakable") as one:
        assert "unmistakable" not in str(broker.record(one))
    assert "unmistakable" not in broker.said()


RESERVED = ["$SYS/broker/version", "$CONTROL/dynamic-security/v1", "$SYS", "$",
            "$foo", "$foo/bar", "$share/group/a", "$share", "$/", "$$"]


@cases([(f"a publish to {topic}, or a will [CVE-2018-12543]", topic)
        for topic in RESERVED])
def reserved(broker, topic):
    """Nobody may take it for the broker's own, nor is it an application's
    topic, which wildcards match (4.7.2)."""
    with broker.storm("closed", "reset"), client() as observer:
        observer.subscribe("#", "+/#", ("+", 1), "+/+/#", ("+/+", 2))
        with client() as one:
            one.publish(topic, b"x")
            one.publish(topic, b"x", qos=1)
            one.publish(topic, b"x", qos=2)
            client(will=(topic, b"will", 1, False)).reset()
            one.quiet()
        broker.await_conns(broker.lasting + 1)
        observer.publish("fence")
        for whole in iter_until(observer.message, lambda m: m[0] == "fence"):
            assert whole[0] in broker.pair.topics, whole


@test("a will to $CONTROL, retained [mosquitto-2.0.16]")
def will_to_control(broker):
    will = "$CONTROL/dynamic-security/v1", b'{"commands": []}', 1, True
    with broker.storm("closed", "reset"):
        client(will=will).reset()
        broker.await_conns(broker.lasting)
        with client() as one:
            one.subscribe("+/+/+", "+/dynamic-security/v1")
            one.quiet()
        with client() as one:
            one.publish(will[0], b"", retain=True)


@test("the same, one byte at a time")
def bytewise(broker):
    for _, data, reason in THEN[::7]:
        if len(data) < 100:
            broker.expect_end(client, reason,
                       *(bytes([b]) for b in data))


@test("allowed: 200 levels, packets as large as max_packet_size")
def allowed(_):
    with client() as one:
        one.subscribe("l/#", "/#", "b")
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
    broker.pair.check()
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
    broker.pair.check()


@cases([("urgent data", publish("a", b"x")), ("urgent data alone", b"")])
def urgent(broker, before):
    with broker.counted("urgent"), client() as one:
        one.send(before)
        one.socket.send(b"!", socket.MSG_OOB)
        one.ended()
    broker.pair.check()


@test("urgent data before CONNECT")
def urgent_first(broker):
    with broker.counted("urgent"), Client() as one:
        one.socket.send(b"!", socket.MSG_OOB)
        one.ended()
    broker.pair.check()


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
    broker.pair.check()


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
    broker.pair.check()


GOOD = [publish("a", b"x"), publish("b/c", b"y" * 300), ping,
        subscribe(5, "f/+", "g/#"), unsubscribe(6, "f/+"), publish("f/1", b"z")]


@test("streams of packets with random damage [CVE-2021-22116]")
def damaged(broker):
    rand = seed()
    for _ in range(times(400 if LONG else 150)):
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
    broker.pair.check()


main(Hostile(CONFIG + f"max_packet_size {MAX_PACKET}\nconnect_timeout 1\n"))
