#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: strings, integers, fixed headers, packet identifiers (1.5, 2)."""

from broker import any_broker
from ktap import cases, equal, main, test
from mqtt import (CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK,
                  PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE,
                  UNSUBACK, UNSUBSCRIBE)
from mqtt5 import (AUTH, AUTH_METHOD, CONTENT_TYPE, MALFORMED, PROTOCOL, REASON,
                   REQUEST_PROBLEM, RESPONSE_TOPIC, SUBSCRIPTION_ID, USER,
                   Client, acknowledge, auth, client, connect, disconnect,
                   dismissed, packet, publish, refused, subscribe, unsubscribe,
                   unsupported)

ILL_FORMED = [
    ("an encoded surrogate", b"a\xed\xa0\x80"),
    ("the last surrogate", b"\xed\xbf\xbfa"),
    ("a surrogate pair", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("an overlong slash", b"a\xc0\xaf"),
    ("an overlong NUL", b"\xc0\x80"),
    ("a continuation alone", b"a\x80b"),
    ("a sequence cut short", b"a\xe2\x82"),
    ("a code point over U+10FFFF", b"\xf4\x90\x80\x80"),
    ("Latin 1", b"\xfc"),
]
WILL = ("w", b"m", 0, False)


def will(*properties):
    """Build a CONNECT whose will has properties."""
    return connect("a", will=WILL, will_properties=properties)


# Where strings are: name, builder, statement that says so.
FIELDS = [
    ("client id", connect, "MQTT-3.1.3-4"),
    ("will topic", lambda s: connect("a", will=(s, "m", 0, False)),
     "MQTT-3.1.3-11"),
    ("user name", lambda s: connect("a", username=s), "MQTT-3.1.3-12"),
    ("will's content type", lambda s: will((CONTENT_TYPE, s)), None),
    ("will's response topic", lambda s: will((RESPONSE_TOPIC, s)), None),
    ("will's user property", lambda s: will((USER, ("n", s))), "MQTT-1.5.7-1"),
    ("user property's name in CONNECT",
     lambda s: connect("a", properties=[(USER, (s, "v"))]), "MQTT-1.5.7-1"),
    ("method of authentication",
     lambda s: connect("a", properties=[(AUTH_METHOD, s)]), None),
    ("topic name", lambda s: publish(s, b"m"), "MQTT-3.3.2-1"),
    ("topic name at QoS 1", lambda s: publish(s, b"m", 2, 1), "MQTT-3.3.2-1"),
    *((f"{name} at QoS {qos}", lambda s, q=qos, i=identifier, p=pack:
       publish("t", b"m", 2 * q, q or None, [(i, p(s))]), statement)
      for qos in (0, 1) for name, identifier, pack, statement in (
          ("response topic", RESPONSE_TOPIC, lambda s: s, "MQTT-3.3.2-13"),
          ("content type", CONTENT_TYPE, lambda s: s, "MQTT-3.3.2-19"),
          ("user property's name", USER, lambda s: (s, b"v"), "MQTT-1.5.7-1"),
          ("user property's value", USER, lambda s: (b"n", s),
           "MQTT-1.5.7-1"))),
    ("filter to subscribe to", lambda s: subscribe(1, s), "MQTT-3.8.3-1"),
    ("user property's value in SUBSCRIBE",
     lambda s: subscribe(1, "a", properties=[(USER, ("n", s))]),
     "MQTT-1.5.7-1"),
    ("filter to unsubscribe from", lambda s: unsubscribe(1, s),
     "MQTT-3.10.3-1"),
    ("user property's name in UNSUBSCRIBE",
     lambda s: unsubscribe(1, "a", properties=[(USER, (s, "v"))]),
     "MQTT-1.5.7-1"),
    ("reason string in PUBACK",
     lambda s: acknowledge(PUBACK, 1, 0x80, [(REASON, s)]), None),
    ("reason string in DISCONNECT",
     lambda s: disconnect(0x04, [(REASON, s)]), None),
]


def wrong(whole, *reasons):
    """Send a packet, with a CONNECT before it if need be: the server must say
    what is wrong, and close."""
    if whole[0] >> 4 == CONNECT:
        refused(reasons or (MALFORMED,), whole)
    else:
        dismissed(reasons or (MALFORMED,), whole)


@cases([(f"a {field} that is not UTF-8: 0x81 [MQTT-1.5.4-1]" +
         (f" [{statement}]" if statement else ""), build)
        for field, build, statement in FIELDS])
def ill_formed(_, build):
    for name, value in ILL_FORMED:
        try:
            wrong(build(value))
        except Exception as error:
            raise AssertionError(name) from error


@cases([(f"a {field} with U+0000: 0x81 [MQTT-1.5.4-2]" +
         " [MQTT-4.7.3-2]" * ("topic name" in field or "filter" in field),
         build) for field, build, _ in FIELDS])
def null(_, build):
    for value in b"\0", b"a\0b":
        try:
            wrong(build(value))
        except Exception as error:
            raise AssertionError(value) from error


@test("U+FEFF is neither skipped nor stripped [MQTT-1.5.4-3] [MQTT-4.7.3-4]")
def bom(_):
    with client() as one:
        one.subscribe(("\ufefftopic", 1))
        one.publish("topic", b"without", qos=1)
        strings = [(CONTENT_TYPE, "\ufeffa\ufeff"),
                   (USER, ("\ufeffn", "\ufeff"))]
        for qos in range(3):
            one.publish("\ufefftopic", b"with", qos, properties=strings)
            whole = one.accept(one.delivery())
            equal((whole.topic, whole.properties), ("\ufefftopic", strings))
        one.quiet()


@test("topics are compared as they are, without normalization [MQTT-4.7.3-4]")
def normalization(_):
    names = ["é", "e\u0301", "É", "\u212b", "A\u030a", "ﬀ", "a//b", "a/b",
             "a/./b", "a/b/", "%61", "a", "A", " a"]
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
    PUBACK: acknowledge(PUBACK, 1),
    PUBREC: acknowledge(PUBREC, 1),
    PUBREL: acknowledge(PUBREL, 1),
    PUBCOMP: acknowledge(PUBCOMP, 1),
    SUBSCRIBE: subscribe(1, "a"),
    UNSUBSCRIBE: unsubscribe(1, "a"),
    PINGREQ: packet(PINGREQ, 0),
    DISCONNECT: disconnect(),
    AUTH: auth(),
}
OWN = {PUBREL: "MQTT-3.6.1-1", SUBSCRIBE: "MQTT-3.8.1-1",
       UNSUBSCRIBE: "MQTT-3.10.1-1", DISCONNECT: "MQTT-3.14.1-1",
       AUTH: "MQTT-3.15.1-1"}
NAMES = {PUBACK: "PUBACK", PUBREC: "PUBREC", PUBREL: "PUBREL",
         PUBCOMP: "PUBCOMP", SUBSCRIBE: "SUBSCRIBE",
         UNSUBSCRIBE: "UNSUBSCRIBE", PINGREQ: "PINGREQ",
         DISCONNECT: "DISCONNECT", AUTH: "AUTH"}


@cases([(f"{NAMES[kind]} with other flags: 0x81, not 0x82 [MQTT-2.1.3-1]"
         " [MQTT-4.13.1-1]" + (f" [{OWN[kind]}]" if kind in OWN else ""), whole)
        for kind, whole in GOOD.items()])
def wrong_flags(_, whole):
    for flags in range(16):
        if flags != whole[0] & 15:
            try:
                wrong(bytes([whole[0] & 0xf0 | flags]) + whole[1:])
            except Exception as error:
                raise AssertionError(f"flags {flags}") from error


@test("CONNECT with other flags closes [MQTT-2.1.3-1]")
def wrong_connect(_):
    for flags in range(1, 16):
        with Client() as one:
            one.send(bytes([0x10 | flags]) + connect("a")[1:])
            assert [p.reason for p in one.ended()] in ([], [MALFORMED])


@test("a DISCONNECT with other flags publishes the will [MQTT-3.14.1-1]")
def wrong_disconnect(_):
    with client() as witness, client(will=("w", b"gone", 0, False)) as one:
        witness.subscribe("w")
        one.send(packet(DISCONNECT, 1))
        one.disconnected(MALFORMED)
        equal(witness.message(), ("w", b"gone"))


@test("the flags of what the server sends, and a property length of 0"
      " [MQTT-2.1.3-1] [MQTT-2.2.2-1] [MQTT-2.2.1-2]")
def own_flags(_):
    """Packet.check() looks at every packet; here is each of them."""
    with client() as one:
        one.subscribe("f/0", ("f/1", 1), ("f/2", 2))
        for qos in range(3):
            one.publish(f"f/{qos}", b"%d" % qos, qos=qos)
        got = [one.accept(one.delivery()) for _ in range(3)]
        equal({p.topic: (p.flags, p.raw, p.payload) for p in got},
              {"f/0": (0, b"", b"0"), "f/1": (2, b"", b"1"),
               "f/2": (4, b"", b"2")})
        one.publish("f/0", b"payload")
        equal(one.packet(), (PUBLISH, 0, b"\0\3f/0\0payload"))
        one.unsubscribe("f/0")
        one.ping()


@cases([(f"a packet of type {kind} that only servers send: 0x82"
         " [MQTT-4.13.1-1]", whole) for kind, whole in (
             (CONNACK, packet(CONNACK, 0, b"\0\0\0")),
             (SUBACK, packet(SUBACK, 0, b"\0\1\0\0")),
             (UNSUBACK, packet(UNSUBACK, 0, b"\0\1\0\0")),
             (PINGRESP, packet(PINGRESP, 0)))])
def not_for_servers(_, whole):
    wrong(whole, PROTOCOL)


@test("a packet of type 0 is an error, and that at once [MQTT-4.13.1-1]")
def forbidden(_):
    """0x0a 0xc0 is not whole: who waits for the rest keeps its client waiting.
    """
    for whole in b"\0\0", b"\0\2\0\1", b"\2\0", b"\x0a\xc0":
        wrong(whole, MALFORMED, PROTOCOL)


@cases([(f"{name}: 0x81 [MQTT-4.13.1-1]", whole) for name, whole in (
    ("SUBSCRIBE cut short", packet(SUBSCRIBE, 2, b"\0\1\0\0\1a")),
    ("SUBSCRIBE cut in a filter", packet(SUBSCRIBE, 2, b"\0\1\0\0\3a")),
    ("an empty SUBSCRIBE", packet(SUBSCRIBE, 2)),
    ("SUBSCRIBE without properties", packet(SUBSCRIBE, 2, b"\0\1")),
    ("UNSUBSCRIBE cut short", packet(UNSUBSCRIBE, 2, b"\0\1\0\0\3a")),
    ("PUBLISH cut in its topic", packet(PUBLISH, 0, b"\0\7topic")),
    ("PUBLISH without properties", packet(PUBLISH, 0, b"\0\1t")),
    ("a QoS 1 PUBLISH without identifier", packet(PUBLISH, 2, b"\0\1a")),
    ("a QoS 1 PUBLISH without properties", packet(PUBLISH, 2, b"\0\1a\0\1")),
    ("PUBACK cut short", packet(PUBACK, 0, b"\1")),
    ("PUBACK cut in its properties", packet(PUBACK, 0, b"\0\1\0\5\x1f\0\3a")),
    ("PUBACK too long", packet(PUBACK, 0, b"\0\1\0\0x")),
    ("an empty PUBREL", packet(PUBREL, 2)),
    ("PUBCOMP cut short", packet(PUBCOMP, 0, b"\0")),
    ("PINGREQ too long", packet(PINGREQ, 0, b"x")),
    ("DISCONNECT too long", packet(DISCONNECT, 0, b"\0\0x")))])
def cut(_, whole):
    wrong(whole)


@test("CONNECT cut short anywhere: 0x81, or closed [MQTT-4.13.1-1]")
def cut_connect(_):
    whole = connect("client", will=("w", b"m", 1, False), username="u",
                    password="p", properties=[(USER, ("a", "b"))])
    for size in range(len(whole) - 2):
        cut_off = packet(CONNECT, 0, whole[2:2 + size])
        if size < 7:  # nothing says which version it is
            unsupported(cut_off)
            continue
        with Client() as one:
            one.send(cut_off)
            said = [p.reason for p in one.ended()]
            assert said in ([], [MALFORMED]), (size, said)


# Variable byte integers.

@test("a remaining length of 5 bytes: 0x81 [MQTT-1.5.5-1]")
def five_bytes(_):
    for first in 0x30, 0x32, 0x82:
        wrong(bytes([first]) + b"\x80\x80\x80\x80\1")
    assert unsupported(b"\x10\x80\x80\x80\x80\1") == b""


@cases([(f"{name} in more bytes than it needs: 0x81 [MQTT-1.5.5-1]", packets)
        for name, *packets in (
            ("the remaining length of PINGREQ", b"\xc0\x80\0"),
            ("the remaining length of PUBLISH", b"\x30\x85\0\0\1t\0m",
             b"\x30\x85\x80\0\0\1t\0m"),
            ("the remaining length of QoS 1", b"\x32\x87\0\0\1t\0\1\0m"),
            ("the remaining length of SUBSCRIBE", b"\x82\x87\0\0\1\0\0\1t\0"),
            ("the property length of PUBLISH",
             publish("t", b"m", properties=b"\x80\0"),
             publish("t", b"m", properties=b"\x80\x80\0"),
             publish("t", b"m", 2, 1, b"\x80\0")),
            ("the property length of SUBSCRIBE",
             subscribe(1, "t", properties=b"\x80\0")),
            ("a property's identifier",
             publish("t", b"m", properties=b"\3\x81\0\1"),
             publish("t", b"m", 2, 1, b"\3\x81\0\1")),
            ("a subscription identifier",
             subscribe(1, "t", properties=b"\3\x0b\x81\0")),
            ("the remaining length of CONNECT",
             *(connect("a")[:1] + length + connect("a")[2:] for length in (
                 b"\x8e\0", b"\x8e\x80\0", b"\x8e\x80\x80\0"))),
            ("the property length of CONNECT",
             connect("a", properties=b"\x80\0")),
            ("the property length of UNSUBSCRIBE",
             unsubscribe(1, "t", properties=b"\x80\0")),
            ("the property length of PUBACK",
             acknowledge(PUBACK, 1, 0, b"\x80\0")),
            ("the property length of DISCONNECT", disconnect(0, b"\x80\0")),
            ("the property length of a will",
             connect("a", will=WILL, will_properties=b"\x80\0")))])
def padded(_, packets):
    for whole in packets:
        wrong(whole)


@cases([(f"{name} of 5 bytes: 0x81 [MQTT-1.5.5-1]", whole) for name, whole in (
    ("a property length", publish("t", b"m",
                                  properties=b"\x80\x80\x80\x80\1")),
    ("a property length at QoS 1", publish("t", b"m", 2, 1,
                                           b"\xff\xff\xff\xff\x7f")),
    ("a subscription identifier",
     subscribe(1, "t", properties=b"\6\x0b\x80\x80\x80\x80\1")),
    ("a CONNECT's property length",
     connect("a", properties=b"\x80\x80\x80\x80\1")))])
def long_integer(_, whole):
    wrong(whole)


@test("lengths and subscription identifiers of 1 to 4 bytes [MQTT-1.5.5-1]")
def integers(_):
    with client() as one:
        for number in (1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455):
            one.subscribe("v", properties=[(SUBSCRIPTION_ID, number)])
            one.publish("v", b"m")
            equal(one.accept(one.delivery()).all(SUBSCRIPTION_ID), [number])
        one.unsubscribe("v")
        one.subscribe("v")
        for size in 100, 120, 16260, 16380, 70000:
            value = "x" * min(size, 60000)
            sent = [(USER, ("k", value)),
                    (USER, ("l", "y" * (size - len(value))))]
            one.publish("v", bytes(size), properties=sent)
            whole = one.delivery()
            equal((whole.properties, len(whole.payload)), (sent, size))


# Packet identifiers.

@cases([(f"{name}: an error [MQTT-2.2.1-3]", whole) for name, whole in (
    ("SUBSCRIBE 0", subscribe(0, "a")),
    ("UNSUBSCRIBE 0", unsubscribe(0, "a")),
    ("PUBLISH 0 at QoS 1", publish("a", b"m", 2, 0)),
    ("PUBLISH 0 at QoS 2", publish("a", b"m", 4, 0)))])
def zero(_, whole):
    wrong(whole, MALFORMED, PROTOCOL)


@test("SUBACK and UNSUBACK have their packet's identifier [MQTT-2.2.1-6]"
      " [MQTT-3.8.4-2] [MQTT-3.10.4-5]")
def same_number(_):
    with client(properties=[(REQUEST_PROBLEM, 0)]) as one:
        for number in 1, 2, 0x100, 0x7fff, 0xffff, 1:
            both = number.to_bytes(2, "big")
            one.send(subscribe(number, "a"))
            equal(one.packet(), (SUBACK, 0, both + b"\0\0"))
            one.send(unsubscribe(number, "a"))
            equal(one.packet(), (UNSUBACK, 0, both + b"\0\0"))
            one.send(unsubscribe(number, "a"))
            equal(one.packet(), (UNSUBACK, 0, both + b"\0\x11"))


@test("PUBACK, PUBREC and PUBCOMP have the PUBLISH's identifier"
      " [MQTT-2.2.1-5]")
def publish_number(_):
    with client() as one:
        for number in 1, 2, 0x100, 0x7fff, 0xffff, 1:
            one.send(publish("a", b"m", 2, number))
            one.acknowledged(PUBACK, number)
            one.send(publish("a", b"m", 4, number))
            one.acknowledged(PUBREC, number)
            one.send(acknowledge(PUBREL, number))
            one.acknowledged(PUBCOMP, number)


@test("reason and properties of an acknowledgement may be left away, or be"
      " there [MQTT-2.2.2-1]")
def short_and_long(_):
    with client() as one, client() as other:
        one.subscribe(("t", 2))
        for reason, properties in ((None, None), (0, None), (0, ()),
                                   (0, [(USER, ("a", "b"))]),
                                   (0, [(REASON, "because")])):
            for qos in 1, 2:
                other.publish("t", b"m", qos)
                number = one.delivery().number
                kinds = (PUBACK,) if qos == 1 else (PUBREC, PUBCOMP)
                for kind in kinds:
                    one.send(acknowledge(kind, number, reason, properties))
                    if kind == PUBREC:
                        one.acknowledged(PUBREL, number)
            other.send(publish("t2", b"m", 4, 77))
            other.acknowledged(PUBREC, 77)
            other.send(acknowledge(PUBREL, 77, reason, properties))
            other.acknowledged(PUBCOMP, 77, 0)
            one.quiet()
        one.disconnect(0, [(USER, ("a", "b"))])
        other.disconnect(0)


main(any_broker())
