#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 3.1.1: CONNECT, CONNACK, PINGREQ (3.1, 3.2, 3.12)."""

import string
import time

from broker import CONFIG, any_broker, client
from ktap import cases, equal, main, test
from mqtt import (CONNACK, CONNECT, PINGRESP, PUBREL, SUBACK, Client,
                  acknowledge, connect, disconnect, packet, ping, publish,
                  subscribe, text, unsubscribe)

WILL = ("will", b"gone", 1, False)
HEAD = text("MQTT") + b"\4"


def closed(*packets):
    """Send packets: the server must close, and say nothing."""
    with Client() as one:
        one.send(*packets)
        equal(one.ended(), [])


def refused(code, *packets):
    """Send packets: the server must refuse with that return code, and close."""
    with Client() as one:
        one.send(*packets)
        equal(one.ended(), [(CONNACK, 0, bytes([0, code]))])


@cases([(f"{name} as the first packet closes [MQTT-3.1.0-1]", whole)
        for name, whole in (
            ("PUBLISH", publish("first", b"m")),
            ("PUBLISH at QoS 1", publish("first", b"m", 2, 1)),
            ("PUBREL", acknowledge(PUBREL, 1)),
            ("SUBSCRIBE", subscribe(1, "a")),
            ("UNSUBSCRIBE", unsubscribe(1, "a")),
            ("PINGREQ", ping), ("DISCONNECT", disconnect))])
def first(_, whole):
    with client() as witness:
        witness.subscribe("first")
        closed(whole, connect("late"))
        witness.quiet()


@test("a second CONNECT closes, and the will is published [MQTT-3.1.0-2]"
      " [MQTT-4.8.0-1]")
def second(_):
    for again in connect("second"), connect("other"), connect("x", level=9):
        with client() as witness, client("second", will=WILL) as one:
            witness.subscribe("will")
            one.send(again)
            equal(one.ended(), [])
            equal(witness.message(), ("will", b"gone"))


@cases([(f"the protocol name {name!r} closes [MQTT-3.1.2-1]", name)
        for name in ("", "mqtt", "MQTTX", "MQIsdp2", "HTTP")])
def protocol_name(_, name):
    with client() as witness:
        witness.subscribe("n")
        closed(connect("name", name=name), publish("n", b"m"))
        witness.quiet()


@cases([(f"the protocol level {level}: return code 1 [MQTT-3.1.2-2]"
         " [MQTT-3.2.2-4] [MQTT-3.2.2-5]", level)
        for level in (0, 1, 2, 6, 127, 255)])
def protocol_level(_, level):
    refused(1, connect("level", level=level))


@test("MQTT 3.1: MQIsdp, 3")
def old(_):
    with client("old", level=3) as one:
        one.subscribe(("old", 2))
        for qos in range(3):
            one.publish("old", b"%d" % qos, qos=qos)
            whole = one.accept(one.delivery())
            equal((whole.qos, whole.payload), (qos, b"%d" % qos))


@test("MQTT 3.1: an empty client id: return code 2 [MQTT-3.1.3-9]")
def old_empty(_):
    refused(2, connect("", level=3))


@test("the reserved flag of CONNECT closes [MQTT-3.1.2-3]")
def reserved(_):
    for flags in 0x01, 0x03:
        closed(connect("reserved", flags=flags))
    closed(connect("reserved", will=WILL, flags=0x0f))


# What CONNECT's flags say is there, must be there, and nothing else.
@cases([(f"{name} closes [{ids}] [MQTT-3.1.4-1] [MQTT-3.2.2-6]", packets)
        for name, ids, *packets in (
            ("a will that is not there", "MQTT-3.1.2-9",
             connect("a", flags=0x06),
             packet(CONNECT, 0, HEAD, b"\6\0\0", text("a"), text("w"))),
            ("a will message without the flag", "MQTT-3.1.2-11",
             packet(CONNECT, 0, HEAD, b"\2\0\0", text("a"), text("w"),
                    text("m"))),
            ("will QoS 1 without a will", "MQTT-3.1.2-13",
             connect("a", flags=0x0a)),
            ("will QoS 2 without a will", "MQTT-3.1.2-13",
             connect("a", flags=0x12)),
            ("will QoS 3, with a will and without", "MQTT-3.1.2-14",
             connect("a", will=("w", b"m", 3, False)),
             connect("a", flags=0x1a)),
            ("will retain without a will", "MQTT-3.1.2-15",
             connect("a", flags=0x22)),
            ("a user name without the flag", "MQTT-3.1.2-18",
             packet(CONNECT, 0, HEAD, b"\2\0\0", text("a"), text("user"))),
            ("a user name that is not there", "MQTT-3.1.2-19",
             connect("a", flags=0x82)),
            ("a password without the flag", "MQTT-3.1.2-20",
             packet(CONNECT, 0, HEAD, b"\x82\0\0", text("a"), text("user"),
                    text("password"))),
            ("a password that is not there", "MQTT-3.1.2-21",
             connect("a", username="user", flags=0xc2)),
            ("a password without a user name", "MQTT-3.1.2-22",
             connect("a", password=b"password")),
            ("no client id", "MQTT-3.1.3-3",
             packet(CONNECT, 0, HEAD, b"\2\0\0")),
            ("a client id cut short", "MQTT-3.1.3-3",
             packet(CONNECT, 0, HEAD, b"\2\0\0", b"\0\3ab")),
        )])
def malformed(_, packets):
    for whole in packets:
        closed(whole)


@test("the fields come in order: id, will, user name [MQTT-3.1.3-1]")
def fields(_):
    with client() as witness, \
         client("id", will=("topic", b"message", 1, False),
                username="user", password=b"password") as one:
        witness.subscribe("topic", "user", "id")
        one.close()
        equal(witness.message(), ("topic", b"message"))


@test("the keep alive: closed after one and a half of it, and not in the first"
      " [MQTT-3.1.2-24]")
def keepalive(_):
    with client() as witness, client("k", keepalive=2, will=WILL) as one:
        witness.subscribe("will")
        begin = time.monotonic()
        one.ping()
        equal(one.ended(), [])
        took = time.monotonic() - begin
        assert 2.88 < took < 6, f"after {took:.2f} s"
        equal(witness.message(), ("will", b"gone"))


@cases([(f"the keep alive: {name} counts [MQTT-3.1.2-24]", send)
        for name, send in (
            ("PINGREQ", lambda one: one.ping()),
            ("SUBSCRIBE", lambda one: one.subscribe("a")),
            ("PUBLISH", lambda one: one.publish("b", b"m")),
            ("PUBLISH at QoS 1", lambda one: one.publish("b", b"m", 1)))])
def kept_alive(_, send):
    with client("k", keepalive=1) as one:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            send(one)
            time.sleep(0.2)  # a client's pace, not a wait
        one.ping()


@test("PINGREQ is answered with PINGRESP [MQTT-3.12.4-1]")
def pings(_):
    with client() as one:
        one.send(ping * 50)
        for _ in range(50):
            equal(one.packet(), (PINGRESP, 0, b""))


@test("client ids of 1 to 23 of the 62 characters [MQTT-3.1.3-5]")
def client_ids(_):
    letters = string.digits + string.ascii_letters
    for size in range(1, 24):
        client(letters[size:2 * size]).close()
    for first_letter in range(0, 62, 23):
        client(letters[first_letter:first_letter + 23]).close()


@test("an empty client id is given one of its own [MQTT-3.1.3-6]")
def empty(_):
    with client() as one, client() as other:
        one.subscribe("e")
        other.publish("e", b"m", qos=1)
        equal(one.message(), ("e", b"m"))
        other.ping()


@test("an empty client id with clean session 0: return code 2 [MQTT-3.1.3-7]"
      " [MQTT-3.1.3-8]")
def empty_durable(_):
    refused(2, connect("", clean=False))


@test("a client id that is refused: return code 2 [MQTT-3.1.3-9]")
def forbidden(broker):
    broker.restart(CONFIG + "allow_zero_length_clientid false\n")
    refused(2, connect(""))
    client("a").close()
    broker.restart(CONFIG)


@test("a CONNECT that is malformed at its end is not acknowledged"
      " [MQTT-3.1.4-1]")
def trailing(_):
    closed(packet(CONNECT, 0, connect("a")[2:], b"x"))


@test("a client id that is connected: the old connection closes"
      " [MQTT-3.1.4-2] [MQTT-3.1.3-2]")
def taken_over(_):
    for clean in True, False:
        with client("taken", clean=clean) as old, Client() as new:
            new.send(connect("taken", clean=clean))
            equal(old.ended(), [])
            equal(new.packet().body[1], 0)
            new.ping()
        client("taken").disconnect()


@test("a CONNECT that is good: return code 0 [MQTT-3.1.4-4]")
def good(_):
    with Client() as one:
        one.send(connect("good", keepalive=60, will=WILL))
        equal(one.packet(), (CONNACK, 0, b"\0\0"))


@test("what follows a CONNECT that is refused is not processed"
      " [MQTT-3.1.4-5]")
def after_refused(_):
    with client() as witness:
        witness.subscribe("after")
        refused(1, connect("after", level=9), publish("after", b"m"))
        refused(2, connect("", clean=False), publish("after", b"m", 2, 1))
        witness.quiet()


@test("the CONNACK comes first [MQTT-3.2.0-1]")
def connack_first(_):
    with Client() as one:
        one.send(connect("first"), subscribe(1, "f"), publish("f", b"m", 2, 2),
                 ping)
        equal(one.packet().kind, CONNACK)
        # PINGRESP is free to overtake what the daemon answers.
        came = {one.packet().kind for _ in range(3)}
        assert came >= {SUBACK, PINGRESP}, came


@test("the CONNACK comes before what was queued [MQTT-3.2.0-1]")
def connack_before_queue(_):
    with client("queued", clean=False) as one:
        one.subscribe(("q", 1))
        one.disconnect()
    with client() as publisher:
        publisher.publish("q", b"m", qos=1)
    with Client() as one:
        one.send(connect("queued", clean=False))
        equal(one.packet(), (CONNACK, 0, b"\1\0"))
        equal(one.message(), ("q", b"m"))
    client("queued").disconnect()


@test("session present is 0 with a return code that is not, and it closes"
      " [MQTT-3.2.2-4] [MQTT-3.2.2-5]")
def present_refused(broker):
    broker.restart(CONFIG + "max_keepalive 60\n")
    with client("present", clean=False, keepalive=60) as one:
        one.disconnect()
    refused(2, connect("present", clean=False, keepalive=61))
    client("present", clean=False, present=True, keepalive=60).disconnect()
    broker.restart(CONFIG)


main(any_broker())
