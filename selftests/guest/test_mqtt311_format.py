#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 3.1.1: strings, fixed headers, packet identifiers (1.5, 2, 4.8)."""

from broker import any_broker, client
from ktap import cases, equal, main, test
from mqtt import (CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK,
                  PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE,
                  UNSUBACK, UNSUBSCRIBE, Client, acknowledge, connect, packet,
                  publish, subscribe, unsubscribe)

ILL_FORMED = [
    ("an encoded surrogate", b"a\xed\xa0\x80"),
    ("the last surrogate", b"\xed\xbf\xbfa"),
    ("a surrogate pair", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("an overlong slash", b"a\xc0\xaf"),
    ("an overlong NUL", b"\xc0\x80"),
    ("an overlong sequence of three", b"\xe0\x80\xaf"),
    ("a continuation alone", b"a\x80b"),
    ("a sequence cut short", b"a\xe2\x82"),
    ("a code point over U+10FFFF", b"\xf4\x90\x80\x80"),
    ("Latin 1", b"\xfc"),
    ("0xff", b"\xff"),
]

# Where strings are: name, builder, statement that says so.
FIELDS = [
    ("client id", connect, "MQTT-3.1.3-4"),
    ("will topic", lambda s: connect("a", will=(s, "m", 0, False)),
     "MQTT-3.1.3-10"),
    ("user name", lambda s: connect("a", username=s), "MQTT-3.1.3-11"),
    ("topic name", lambda s: publish(s, b"m"), "MQTT-3.3.2-1"),
    ("topic name at QoS 1", lambda s: publish(s, b"m", 2, 1), "MQTT-3.3.2-1"),
    ("filter to subscribe to", lambda s: subscribe(1, s), "MQTT-3.8.3-1"),
    ("filter to unsubscribe from", lambda s: unsubscribe(1, s),
     "MQTT-3.10.3-1"),
]


def refused(whole):
    """Send a packet, with a CONNECT before it if need be: it must close."""
    with Client() as one:
        if whole[0] >> 4 != CONNECT:
            one.connect("refused")
        one.send(whole)
        equal(one.ended(), [])


@cases([(f"a {field} that is not UTF-8 closes [MQTT-1.5.3-1] [{statement}]",
         build) for field, build, statement in FIELDS])
def ill_formed(_, build):
    for name, value in ILL_FORMED:
        try:
            refused(build(value))
        except Exception as error:
            raise AssertionError(name) from error


@cases([(f"a {field} with U+0000 closes [MQTT-1.5.3-2]" +
         " [MQTT-4.7.3-2]" * ("topic" in field or "filter" in field), build)
        for field, build, _ in FIELDS])
def null(_, build):
    for value in b"\0", b"\0a", b"a\0b", b"a\0":
        refused(build(value))


@test("U+FEFF is neither skipped nor stripped [MQTT-1.5.3-3] [MQTT-4.7.3-4]")
def bom(_):
    with client() as one:
        one.subscribe(("\ufefftopic", 1))
        one.publish("topic", b"without", qos=1)
        one.publish("\ufefftopic", b"with", qos=1)
        equal(one.message(), ("\ufefftopic", b"with"))
        one.quiet()


@test("topics are compared as they are, without normalization [MQTT-4.7.3-4]")
def normalization(_):
    names = ["é", "e\u0301", "É", "Å", "\u212b", "A\u030a", "ﬀ", "ff", "a//b",
             "a/b", "a/./b", "a/b/", "%61", "a", "A", " a", "a "]
    with client() as one:
        for name in names:
            one.subscribe((name, 1))
            for topic in names:
                one.publish(topic, topic.encode(), qos=1)
            equal(one.message(), (name, name.encode()))
            one.quiet()
            one.unsubscribe(name)


# Fixed headers.

GOOD = {
    CONNECT: connect("a"),
    PUBACK: acknowledge(PUBACK, 1),
    PUBREC: acknowledge(PUBREC, 1),
    PUBREL: acknowledge(PUBREL, 1),
    PUBCOMP: acknowledge(PUBCOMP, 1),
    SUBSCRIBE: subscribe(1, "a"),
    UNSUBSCRIBE: unsubscribe(1, "a"),
    PINGREQ: packet(PINGREQ, 0),
    DISCONNECT: packet(DISCONNECT, 0),
}
OWN = {PUBREL: "MQTT-3.6.1-1", SUBSCRIBE: "MQTT-3.8.1-1",
       UNSUBSCRIBE: "MQTT-3.10.1-1", DISCONNECT: "MQTT-3.14.1-1"}
NAMES = {CONNECT: "CONNECT", PUBACK: "PUBACK", PUBREC: "PUBREC",
         PUBREL: "PUBREL", PUBCOMP: "PUBCOMP", SUBSCRIBE: "SUBSCRIBE",
         UNSUBSCRIBE: "UNSUBSCRIBE", PINGREQ: "PINGREQ",
         DISCONNECT: "DISCONNECT"}


@cases([(f"{NAMES[kind]} with other flags closes [MQTT-2.2.2-2]" +
         (f" [{OWN[kind]}]" if kind in OWN else ""), whole)
        for kind, whole in GOOD.items()])
def wrong_flags(_, whole):
    for flags in range(16):
        if flags != whole[0] & 15:
            refused(bytes([whole[0] & 0xf0 | flags]) + whole[1:])


@test("a DISCONNECT with other flags publishes the will [MQTT-3.14.1-1]")
def wrong_disconnect(_):
    with client() as witness, client(will=("w", b"gone", 0, False)) as one:
        witness.subscribe("w")
        one.send(packet(DISCONNECT, 1))
        equal(one.ended(), [])
        equal(witness.message(), ("w", b"gone"))


@test("the flags of what the server sends [MQTT-2.2.2-1]")
def own_flags(_):
    """Packet.check() looks at every packet; here is each of them."""
    with client() as one:
        one.subscribe("f/0", ("f/1", 1), ("f/2", 2))
        for qos in range(3):
            one.publish(f"f/{qos}", b"%d" % qos, qos=qos)
        got = [one.accept(one.delivery()) for _ in range(3)]
        equal({p.topic: (p.flags, p.payload) for p in got},
              {"f/0": (0, b"0"), "f/1": (2, b"1"), "f/2": (4, b"2")})
        one.unsubscribe("f/0")
        one.ping()


@cases([(f"a packet of type {kind} closes [MQTT-4.8.0-1]",
         [packet(kind, flags, body) for flags in (0, 2)
          for body in (b"", b"\0\1", b"\0\1\0")])
        for kind in (0, CONNACK, SUBACK, UNSUBACK, PINGRESP, 15)])
def not_for_servers(_, packets):
    for whole in packets:
        refused(whole)


@test("0x0a 0xc0, of a type that there is not, closes, though it is not whole"
      " [MQTT-4.8.0-1]")
def garbled(_):
    refused(b"\x0a\xc0")


@cases([(f"{name} cut short closes [MQTT-4.8.0-1]", whole) for name, whole in (
    ("SUBSCRIBE", packet(SUBSCRIBE, 2, b"\0\1\0\1a")),
    ("an empty SUBSCRIBE", packet(SUBSCRIBE, 2)),
    ("UNSUBSCRIBE", packet(UNSUBSCRIBE, 2, b"\0\1\0\3a")),
    ("PUBLISH", packet(PUBLISH, 0, b"\0\7topic")),
    ("a QoS 1 PUBLISH", packet(PUBLISH, 2, b"\0\1a")),
    ("PUBACK", packet(PUBACK, 0, b"\1")),
    ("PUBREL", packet(PUBREL, 2, b"")),
    ("PUBCOMP", packet(PUBCOMP, 0, b"\0")))])
def cut(_, whole):
    refused(whole)


@test("a remaining length of 5 bytes closes [MQTT-4.8.0-1]")
def five_bytes(_):
    refused(b"\x30\x80\x80\x80\x80\1")


# Packet identifiers.

@cases([(f"{name} closes [MQTT-2.3.1-1]", whole) for name, whole in (
    ("SUBSCRIBE 0", subscribe(0, "a")),
    ("UNSUBSCRIBE 0", unsubscribe(0, "a")),
    ("PUBLISH 0 at QoS 1", publish("a", b"m", 2, 0)),
    ("PUBLISH 0 at QoS 2", publish("a", b"m", 4, 0)))])
def zero(_, whole):
    refused(whole)


@test("a QoS 0 PUBLISH has no identifier [MQTT-2.3.1-5]")
def without_number(_):
    with client() as one:
        one.subscribe(("n", 2))
        one.publish("n", b"payload")
        equal(one.delivery(), (PUBLISH, 0, b"\0\1npayload"))


@test("SUBACK and UNSUBACK have their packet's identifier [MQTT-2.3.1-7]"
      " [MQTT-3.8.4-2] [MQTT-3.10.4-4]")
def same_number(_):
    with client() as one:
        for number in 1, 2, 0x100, 0x7fff, 0xffff, 1:
            one.send(subscribe(number, "a"))
            equal(one.packet(), (SUBACK, 0, number.to_bytes(2, "big") + b"\0"))
            one.send(unsubscribe(number, "a"))
            equal(one.packet(), (UNSUBACK, 0, number.to_bytes(2, "big")))


@test("PUBACK, PUBREC and PUBCOMP have the PUBLISH's identifier"
      " [MQTT-2.3.1-6]")
def publish_number(_):
    with client() as one:
        for number in 1, 2, 0x100, 0x7fff, 0xffff, 1:
            one.send(publish("a", b"m", 2, number))
            one.acknowledged(PUBACK, number)
            one.send(publish("a", b"m", 4, number))
            one.acknowledged(PUBREC, number)
            one.send(acknowledge(PUBREL, number))
            one.acknowledged(PUBCOMP, number)


main(any_broker())
