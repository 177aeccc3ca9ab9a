#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: CONNECT, CONNACK, PINGREQ (3.1, 3.2, 3.12)."""

import re
import string
import time

import mqtt
from broker import CONFIG, any_broker
from broker import client as client_311
from ktap import cases, equal, main, test
from mqtt import CONNACK, CONNECT, PINGRESP, PUBACK, PUBREL, SUBACK, text
from mqtt5 import (ALIAS, ALIAS_MAX, ASSIGNED_ID, AUTH_DATA, AUTH_METHOD,
                   BAD_ID, BAD_LOGIN, BAD_TOPIC, CONTENT_TYPE, CORRELATION,
                   IDS_AVAILABLE, KEEPALIVE, MALFORMED, MAX_PACKET, MAX_QOS,
                   MESSAGE_EXPIRY, NO_QOS, NO_RETAIN, NOT_AUTHORIZED,
                   PAYLOAD_FORMAT, PROTOCOL, REASON, RECEIVE_MAX,
                   REQUEST_PROBLEM, REQUEST_RESPONSE, RESPONSE_TOPIC,
                   RETAIN_AVAILABLE, SERVER_KEEPALIVE,
                   SESSION_EXPIRY, SHARED_AVAILABLE, TAKEN_OVER, USER,
                   WILDCARDS_AVAILABLE, WILL_DELAY, Client, acknowledge, client,
                   connect, disconnect, field, lasting, packet, ping, publish,
                   refused, subscribe, unsubscribe, unsupported)

WILL = ("will", b"gone", 1, False)
HEAD = text("MQTT") + b"\5"
END = b"\0\0\0"  # keep alive, no properties
# CONNACK that the protocol is not supported, of 3.1.1 or 5.
REFUSED = re.compile(rb"\x20\x02\x00\x01\Z|\x20.\x00\x84", re.DOTALL)


def closed(*packets):
    """Send packets: the server must close, and say nothing."""
    with Client() as one:
        one.send(*packets)
        equal(one.ended(), [])


@cases([(f"{name} as the first packet closes, nothing is said [MQTT-3.1.0-1]"
         " [MQTT-3.14.0-1] [MQTT-3.2.0-1]", whole)
        for name, whole in (
            ("PUBLISH", publish("first", b"m")),
            ("PUBLISH at QoS 1", publish("first", b"m", 2, 1)),
            ("PUBREL", acknowledge(PUBREL, 1)),
            ("SUBSCRIBE", subscribe(1, "a")),
            ("UNSUBSCRIBE", unsubscribe(1, "a")),
            ("AUTH", b"\xf0\0"),
            ("PINGREQ", ping), ("DISCONNECT", disconnect()))])
def first(_, whole):
    with client() as witness:
        witness.subscribe("first")
        closed(whole, connect("late"))
        witness.quiet()


@test("a second CONNECT: DISCONNECT 0x82, no second CONNACK, and the will"
      " [MQTT-3.1.0-2] [MQTT-3.2.0-2] [MQTT-4.13.1-1]")
def second(_):
    for again in connect("second"), connect("other"), mqtt.connect("x"):
        with client() as witness, client("second", will=WILL) as one:
            witness.subscribe("will")
            one.send(again)
            one.disconnected(PROTOCOL)
            equal(witness.message(), ("will", b"gone"))


@cases([(f"the protocol name {name!r} closes, 0x84 at most [MQTT-3.1.2-1]",
         name) for name in ("", "mqtt", "MQTTX", "MQIsdp", "HTTP")])
def protocol_name(_, name):
    with client() as witness:
        witness.subscribe("n")
        said = unsupported(connect("name", name=name) + publish("n", b"m"))
        assert not said or REFUSED.match(said), said
        witness.quiet()


@cases([(f"the protocol level {level}: unsupported, in one form or the other"
         " [MQTT-3.1.2-2]", level) for level in (0, 1, 2, 6, 127, 255)])
def protocol_level(_, level):
    said = unsupported(connect("level", level=level))
    assert REFUSED.match(said), said


@test("the reserved flag of CONNECT: 0x81 [MQTT-3.1.2-3]")
def reserved(_):
    for flags in 0x01, 0x03:
        refused([MALFORMED], connect("reserved", flags=flags))
    refused([MALFORMED], connect("reserved", will=WILL, flags=0x0f))


# What CONNECT's flags say is there, must be there, and nothing else.
@cases([(f"{name}: refused [{ids}] [MQTT-3.1.4-1] [MQTT-3.2.2-6]"
         " [MQTT-3.2.2-7]", packets)
        for name, ids, *packets in (
            ("a will that is not there", "MQTT-3.1.2-9",
             connect("a", flags=0x06),
             packet(CONNECT, 0, HEAD, b"\6", END, text("a"), b"\0", text("w"))),
            ("a will without properties", "MQTT-3.1.2-9",
             packet(CONNECT, 0, HEAD, b"\6", END, text("a"), text("w"),
                    text("m"))),
            ("a will message without the flag", "MQTT-3.1.2-9",
             packet(CONNECT, 0, HEAD, b"\2", END, text("a"), b"\0", text("w"),
                    text("m"))),
            ("will QoS 1 without a will", "MQTT-3.1.2-11",
             connect("a", flags=0x0a)),
            ("will QoS 2 without a will, and 3", "MQTT-3.1.2-11",
             connect("a", flags=0x12), connect("a", flags=0x1a)),
            ("will retain without a will", "MQTT-3.1.2-13",
             connect("a", flags=0x22)),
            ("a user name without the flag", "MQTT-3.1.2-16",
             packet(CONNECT, 0, HEAD, b"\2", END, text("a"), text("user"))),
            ("a user name that is not there", "MQTT-3.1.2-17",
             connect("a", flags=0x82)),
            ("a password without the flag", "MQTT-3.1.2-18",
             packet(CONNECT, 0, HEAD, b"\x82", END, text("a"), text("user"),
                    text("password"))),
            ("a password that is not there", "MQTT-3.1.2-19",
             connect("a", username="user", flags=0xc2),
             connect("a", flags=0x42)),
            ("no client id", "MQTT-3.1.3-3", packet(CONNECT, 0, HEAD, b"\2",
                                                    END)),
            ("a client id cut short", "MQTT-3.1.3-3",
             packet(CONNECT, 0, HEAD, b"\2", END, b"\0\3ab")),
        )])
def malformed(_, packets):
    for whole in packets:
        equal(refused([MALFORMED, PROTOCOL], whole).present, 0)


@test("will QoS 3: 0x81; 0 to 2 are good [MQTT-3.1.2-12]")
def will_qos(_):
    refused([MALFORMED], connect("a", will=("w", b"m", 3, False)))
    for qos in range(3):
        client("a", will=("w", b"m", qos, False)).disconnect()


@test("a CONNECT with something behind its end: 0x81 [MQTT-3.1.4-1]")
def trailing(_):
    refused([MALFORMED], packet(CONNECT, 0, connect("a")[2:], b"x"))


# Properties.

MINE = [(SESSION_EXPIRY, 1), (RECEIVE_MAX, 9), (MAX_PACKET, 1000),
        (ALIAS_MAX, 3), (REQUEST_RESPONSE, 1), (REQUEST_PROBLEM, 1),
        (USER, ("a", "b"))]
OF_WILL = [(WILL_DELAY, 1), (PAYLOAD_FORMAT, 1), (MESSAGE_EXPIRY, 1),
           (CONTENT_TYPE, "c"), (RESPONSE_TOPIC, "r"), (CORRELATION, b"d")]


def with_will(*properties):
    """Build a CONNECT whose will has properties."""
    return connect("a", will=WILL, will_properties=properties)


@test("all that CONNECT may have is taken [MQTT-3.1.4-5]")
def all_properties(_):
    with client("all", will=WILL, will_properties=OF_WILL,
                properties=MINE + [(USER, ("a", "b"))]) as one:
        one.ping()
        one.disconnect(0, [(SESSION_EXPIRY, 0)])


@cases([(f"property {identifier} twice in CONNECT: 0x82 [MQTT-4.13.1-1]",
         connect("a", properties=[(identifier, value)] * 2))
        for identifier, value in MINE[:-1] + [(AUTH_METHOD, "x")]] +
       [("authentication data twice in CONNECT: 0x82 [MQTT-4.13.1-1]",
         connect("a", properties=[(AUTH_METHOD, "x"), (AUTH_DATA, b""),
                                  (AUTH_DATA, b"x")]))] +
       [(f"property {identifier} twice in a will: 0x82 [MQTT-4.13.1-1]",
         with_will((identifier, value), (identifier, value)))
        for identifier, value in OF_WILL] +
       [(f"property {identifier} twice in CONNECT, the first as if it were not"
         " there: 0x82 [MQTT-4.13.1-1]",
         connect("a", properties=[(identifier, nothing), (identifier, value)]))
        for identifier, nothing, value in (
            (SESSION_EXPIRY, 0, 9), (ALIAS_MAX, 0, 9), (REQUEST_RESPONSE, 0, 1),
            (REQUEST_PROBLEM, 1, 0), (RECEIVE_MAX, 65535, 9))] +
       [(f"property {identifier} twice in a will, the first empty: 0x82"
         " [MQTT-4.13.1-1]",
         with_will((identifier, nothing), (identifier, value)))
        for identifier, nothing, value in (
            (WILL_DELAY, 0, 9), (PAYLOAD_FORMAT, 0, 1), (MESSAGE_EXPIRY, 0, 9),
            (CONTENT_TYPE, "", "x"), (CORRELATION, b"", b"x"))])
def twice(_, whole):
    refused([PROTOCOL], whole)


@cases([(f"a will's response topic with wildcards, {topic}, is an error"
         " [MQTT-3.3.2-14]",
         with_will((RESPONSE_TOPIC, topic)))
        for topic in ("+", "a/+/b", "#", "a/#")])
def response_wildcards(_, whole):
    refused([MALFORMED, PROTOCOL, BAD_TOPIC], whole)


@cases([(f"{name}: 0x82 [MQTT-4.13.1-1]", connect("a", properties=properties))
        for name, properties in (
            ("Receive Maximum 0", [(RECEIVE_MAX, 0)]),
            ("Maximum Packet Size 0", [(MAX_PACKET, 0)]),
            ("Request Problem Information 2", [(REQUEST_PROBLEM, 2)]),
            ("Request Response Information 2", [(REQUEST_RESPONSE, 2)]),
            ("authentication data without a method", [(AUTH_DATA, b"x")]))])
def forbidden_values(_, whole):
    refused([PROTOCOL], whole)


@cases([(f"property {identifier} in CONNECT: 0x81 [MQTT-4.13.1-1]",
         connect("a", properties=[(identifier, value)]))
        for identifier, value in ((ALIAS, 1), (CONTENT_TYPE, "x"),
                                  (WILL_DELAY, 1), (ASSIGNED_ID, "x"),
                                  (SERVER_KEEPALIVE, 1), (MAX_QOS, 1),
                                  (REASON, "x"))] +
       [(f"property {identifier} in a will: 0x81 [MQTT-4.13.1-1]",
         with_will((identifier, value)))
        for identifier, value in ((SESSION_EXPIRY, 1), (ALIAS, 1),
                                  (RECEIVE_MAX, 1), (REASON, "x"))] +
       [(f"property {identifier}, which there is not: 0x81 [MQTT-4.13.1-1]",
         connect("a", properties=field([bytes([identifier, 0, 0, 0, 0])])))
        for identifier in (0, 4, 20, 43, 127)])
def misplaced(_, whole):
    refused([MALFORMED], whole)


@cases([(f"{name}: 0x81 [MQTT-4.13.1-1]", whole) for name, whole in (
    ("a property length beyond the packet",
     packet(CONNECT, 0, HEAD, b"\2\0\0\x7f", text("a"))),
    ("a property cut by the property length",
     connect("a", properties=b"\2\x11\0\0\0\1")),
    ("a property length into the middle of a property",
     connect("a", properties=b"\6\x11\0\0\0\1\x21\0\1")),
    ("a will's property length beyond the packet",
     connect("a", will=WILL, will_properties=b"\x7f")))])
def bad_lengths(_, whole):
    refused([MALFORMED], whole)


@test("the fields come in order: id, will, user name [MQTT-3.1.3-1]"
      " [MQTT-3.1.2-9]")
def fields(_):
    with client() as witness, \
         client("id", will=("topic", b"message", 1, False),
                will_properties=[(CONTENT_TYPE, "c")], username="user",
                password=b"password") as one:
        witness.subscribe("topic", "user", "id")
        one.close()
        equal(witness.message(), ("topic", b"message"))


@test("a password without a user name is good [MQTT-3.1.2-19]")
def password_alone(_):
    client("a", password=b"\0\xff").disconnect()


# Keep alive.

@test("the keep alive: 0x8d after one and a half of it, not in the first, then"
      " the will [MQTT-3.1.2-22] [MQTT-3.2.2-22]")
def keepalive(_):
    with client() as witness, client("k", keepalive=2, will=WILL) as one:
        witness.subscribe("will")
        equal(one.connack.get(SERVER_KEEPALIVE), None)
        begin = time.monotonic()
        one.ping()
        one.disconnected(KEEPALIVE)
        took = time.monotonic() - begin
        assert 2.88 < took < 6, f"after {took:.2f} s"
        equal(witness.message(), ("will", b"gone"))


@test("packets of every kind keep a client alive [MQTT-3.1.2-22]")
def kept_alive(_):
    sends = [Client.ping, lambda one: one.subscribe("a"),
             lambda one: one.publish("b", b"m"),
             lambda one: one.publish("b", b"m", 1)]
    every = [client(f"k{n}", keepalive=1) for n in range(len(sends))]
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for one, send in zip(every, sends):
            send(one)
        time.sleep(0.2)  # a client's pace, not a wait
    for one in every:
        one.ping()
        one.close()


@test("max_keepalive: Server Keep Alive says so, and is what counts"
      " [MQTT-3.1.2-22] [MQTT-3.2.2-22]")
def server_keepalive(broker):
    broker.restart(CONFIG + "max_keepalive 10\n")
    for asked, given in (5, None), (10, None), (11, 10), (65535, 10), (0, 10):
        with client("k", keepalive=asked) as one:
            equal(one.connack.get(SERVER_KEEPALIVE), given, asked)
    broker.restart(CONFIG + "max_keepalive 1\n")
    begin = time.monotonic()
    with client("k", keepalive=60) as one:
        one.disconnected(KEEPALIVE)
        took = time.monotonic() - begin
        assert 1.38 < took < 6, f"after {took:.2f} s"
    broker.restart(CONFIG)


@test("PINGREQ is answered with PINGRESP [MQTT-3.12.4-1]")
def pings(_):
    with client() as one:
        one.send(ping * 50)
        for _ in range(50):
            equal(one.packet(), (PINGRESP, 0, b""))


# Client identifiers.

@test("client ids of 1 to 23 of the 62 characters [MQTT-3.1.3-5]")
def client_ids(_):
    letters = string.digits + string.ascii_letters
    for size in range(1, 24):
        with client(letters[size:2 * size]) as one:
            equal(one.connack.get(ASSIGNED_ID), None)
    for first_letter in range(0, 62, 23):
        client(letters[first_letter:first_letter + 23]).close()


@test("an empty client id is given one of its own, and told [MQTT-3.1.3-6]"
      " [MQTT-3.1.3-7] [MQTT-3.2.2-16]")
def empty(_):
    for clean in True, False:
        with client(clean=clean) as one, client(clean=clean) as other:
            names = {p.connack.get(ASSIGNED_ID) for p in (one, other)}
            assert len(names) == 2 and all(names), names
            one.subscribe("e")
            other.publish("e", b"m", qos=1)
            equal(one.message(), ("e", b"m"))


@test("the id that was assigned is the session's [MQTT-3.1.3-7]"
      " [MQTT-3.1.3-2] [MQTT-3.2.2-16]")
def assigned(_):
    with client(properties=lasting()) as one, client() as other:
        name = one.connack.get(ASSIGNED_ID)
        one.subscribe(("e", 1))
        one.disconnect()
        other.publish("e", b"m", qos=1)
        with client(name, True, clean=False) as again:
            equal(again.message(), ("e", b"m"))
            equal(again.connack.get(ASSIGNED_ID), None)


@test("allow_zero_length_clientid false: 0x85 [MQTT-3.1.3-8]")
def forbidden(broker):
    broker.restart(CONFIG + "allow_zero_length_clientid false\n")
    refused([BAD_ID], connect(""))
    client("a").close()
    broker.restart(CONFIG)


@test("a client id that is connected: 0x8e to the old one [MQTT-3.1.4-3]"
      " [MQTT-3.1.3-2]")
def taken_over(_):
    for clean in True, False:
        with client("taken", properties=lasting()) as old, Client() as new:
            new.begin("taken", clean=clean)
            old.disconnected(TAKEN_OVER)
            new.connected(not clean)
            new.ping()
            new.disconnect()


@test("taken over from 3.1.1 and by it: only version 5 is told"
      " [MQTT-3.1.4-3]")
def taken_by_other(_):
    with client("taken") as old, client_311("taken") as new:
        old.disconnected(TAKEN_OVER)
        with client("taken") as last:
            equal(new.ended(), [])
            last.ping()


# CONNACK.

@test("a CONNECT that is good: 0x00, session present 0 [MQTT-3.1.4-5]"
      " [MQTT-3.2.2-1]")
def good(_):
    with client("good", keepalive=60, will=WILL) as one:
        equal(one.connack.body[:2], b"\0\0")
        one.ping()


@test("what CONNACK has: only what differs from the default, or is its value")
def capabilities(_):
    with client("capable") as one:
        for identifier in (RETAIN_AVAILABLE, WILDCARDS_AVAILABLE,
                           IDS_AVAILABLE, SHARED_AVAILABLE):
            equal(one.connack.get(identifier, 1), 1, identifier)
        equal(one.connack.get(MAX_QOS), None)  # 2 is not a value of it
        equal(one.connack.get(MAX_PACKET, 2000000), 2000000)


@test("what follows a CONNECT that is refused is not processed"
      " [MQTT-3.1.4-6] [MQTT-3.1.4-2]")
def after_refused(_):
    with client() as witness:
        witness.subscribe("after")
        refused([PROTOCOL], connect("after", properties=[(RECEIVE_MAX, 0)]),
                publish("after", b"m"))
        refused([MALFORMED], connect("after", flags=3),
                publish("after", b"m", 2, 1))
        witness.quiet()


@test("allow_anonymous false: 0x86 or 0x87, and closed [MQTT-3.1.4-2]"
      " [MQTT-3.2.2-8] [MQTT-3.2.2-7] [MQTT-4.13.2-1]")
def unauthorized(broker):
    broker.restart(CONFIG.replace("true", "false"))
    refused([BAD_LOGIN, NOT_AUTHORIZED], connect("a"))
    broker.restart(CONFIG)


@test("the CONNACK comes first [MQTT-3.2.0-1]")
def connack_first(_):
    with Client() as one:
        one.send(connect("first"), subscribe(1, "f"), publish("f", b"m", 2, 2),
                 ping)
        equal(one.packet().kind, CONNACK)
        equal({one.packet().kind for _ in range(4)},
              {SUBACK, mqtt.PUBLISH, PUBACK, PINGRESP})


@test("the CONNACK comes before what was queued [MQTT-3.2.0-1]")
def connack_before_queue(_):
    with client("queued", properties=lasting()) as one:
        one.subscribe(("q", 1))
        one.disconnect()
    with client() as publisher:
        publisher.publish("q", b"m", qos=1)
    with Client() as one:
        one.begin("queued", clean=False)
        one.connected(True)
        equal(one.message(), ("q", b"m"))


@test("a CONNECT that is refused touches no session: present is 0, and then"
      " it is still there [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.1.4-4]")
def present_refused(_):
    client("present", properties=lasting()).disconnect()
    refused([PROTOCOL], connect("present", clean=False,
                                properties=[(MAX_PACKET, 0)]))
    refused([PROTOCOL], connect("present", properties=[(MAX_PACKET, 0)]))
    client("present", True, clean=False).disconnect()


@test("Request Problem Information 0: no reason string or user property but in"
      " PUBLISH, CONNACK, DISCONNECT [MQTT-3.1.2-29]")
def no_problems(_):
    """Client looks at what comes."""
    with client(properties=[(REQUEST_PROBLEM, 0)]) as one:
        one.subscribe("a", "b", properties=[(USER, ("a", "b"))])
        one.unsubscribe("a", "not there", properties=[(USER, ("a", "b"))])
        one.publish("nobody", b"m", 1, properties=[(USER, ("a", "b"))])
        one.publish("nobody", b"m", 2, properties=[(USER, ("a", "b"))])
        one.publish("b", b"m", properties=[(USER, ("a", "b"))])
        equal(one.delivery().properties, [(USER, ("a", "b"))])
        one.send(acknowledge(PUBREL, 99))
        one.answer(mqtt.PUBCOMP)
        one.send(publish("+", b"m"))
        one.ended()


@test("a refusal is not larger than the client takes [MQTT-3.2.2-19]"
      " [MQTT-3.2.2-20] [MQTT-3.1.2-24]")
def small_refusal(_):
    for size in 5, 6, 20:
        with Client() as one:
            properties = [(MAX_PACKET, size), (AUTH_METHOD, "no such method")]
            one.begin("small", properties=properties)
            assert len(one.ended()) == 1


@test("a CONNACK is not larger than the client takes [MQTT-3.1.2-24]"
      " [MQTT-3.2.2-19] [MQTT-3.2.2-20]")
def small_connack(_):
    with client("small", properties=[(MAX_PACKET, 64)]) as one:
        one.ping()


# What the server can do.

@cases([(f"max_qos {limit}: Maximum QoS says so; more is refused"
         " [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-11] [MQTT-3.2.2-12]",
         limit)
        for limit in (0, 1)])
def max_qos(broker, limit):
    broker.restart(CONFIG + f"max_qos {limit}\n")
    with client("qos") as one:
        equal(one.connack.get(MAX_QOS), limit)
        codes = one.subscribe(*((f"q/{qos}", qos) for qos in range(3)))
        assert all(code <= qos for qos, code in enumerate(codes)), codes
        for qos in range(limit + 1):
            one.publish("q/2", b"%d" % qos, qos)
            whole = one.accept(one.delivery())
            equal((whole.payload, whole.qos <= qos), (b"%d" % qos, True))
    for qos in range(limit + 1, 3):
        with client("qos") as one:
            one.send(publish("q/2", b"m", qos << 1, 1))
            one.disconnected(NO_QOS)
        refused([NO_QOS], connect("qos", will=("w", b"m", qos, False)))
    client("qos", will=("w", b"m", limit, False)).disconnect()
    with client_311("old") as one:
        one.send(mqtt.publish("q/2", b"m", 4, 1))
        equal(one.ended(), [])
    broker.restart(CONFIG)


@test("max_qos 2: Maximum QoS is not there [MQTT-3.2.2-9]")
def max_qos_2(broker):
    broker.restart(CONFIG + "max_qos 2\n")
    with client() as one:
        equal(one.connack.get(MAX_QOS), None)
        equal(one.publish("q", b"m", 2) < 0x80, True)
    broker.restart(CONFIG)


@test("retain_available false: Retain Available says so; a publish and a will"
      " with RETAIN are refused with 0x9a [MQTT-3.2.2-13] [MQTT-3.2.2-14]")
def no_retain(broker):
    broker.restart(CONFIG + "retain_available false\n")
    with client("r") as one:
        equal(one.connack.get(RETAIN_AVAILABLE), 0)
    for qos in range(3):
        with client("r") as one:
            one.send(publish("r", b"m", qos << 1 | 1, qos or None))
            one.disconnected(NO_RETAIN)
        refused([NO_RETAIN], connect("r", will=("w", b"m", qos, True)))
    client("r", will=("w", b"m", 0, False)).disconnect()
    broker.restart(CONFIG)


@cases([(f"accept_protocol_versions {versions}", versions, accepted)
        for versions, accepted in (("5", {5}), ("3,4", {3, 4}), ("4,5", {4, 5}),
                                   ("3,5", {3, 5}), ("3,4,5", {3, 4, 5}))])
def versions(broker, versions, accepted):
    broker.restart(CONFIG + f"accept_protocol_versions {versions}\n")
    for level in 3, 4:
        with mqtt.Client() as one:
            one.send(mqtt.connect("v", level=level))
            if level in accepted:
                one.connected()
            else:
                equal(one.ended(), [(CONNACK, 0, b"\0\1")])
    if 5 in accepted:
        client("v").disconnect()
    else:
        refused([0x84], connect("v"))
    broker.restart(CONFIG)


@test("acknowledgements of nothing change nothing")
def of_nothing(_):
    with client() as one:
        one.send(acknowledge(PUBACK, 5), acknowledge(mqtt.PUBCOMP, 6))
        one.quiet()


main(any_broker())
