#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: DISCONNECT both ways, and what an error is answered with (3.14,
4.13)."""

from broker import CONFIG, any_broker
from ktap import cases, equal, main, test
from mqtt import CONNACK, PUBACK, PUBREL
from mqtt5 import (ALIAS, BAD_ALIAS, MALFORMED, MAX_PACKET, PROTOCOL, REASON,
                   REQUEST_PROBLEM, SERVER_REFERENCE, SESSION_EXPIRY,
                   SHUTTING_DOWN, TAKEN_OVER, USER, Client, acknowledge, client,
                   connect, disconnect, dismissed, field, lasting, packet, ping,
                   publish, subscribe)


@cases([(f"a DISCONNECT with {name} closes, and nothing is said", whole)
        for name, whole in (
            ("nothing", disconnect()), ("a reason", disconnect(0)),
            ("a reason and no properties", disconnect(0, ())),
            ("everything", disconnect(4, [(REASON, "bye"), (USER, ("a", "b")),
                                          (USER, ("a", "b"))])))])
def closes(_, whole):
    with client() as one:
        one.send(whole)
        equal(one.ended(), [])


@cases([(f"property {identifier} twice in DISCONNECT: 0x82 [MQTT-4.13.1-1]",
         [(identifier, first), (identifier, value)])
        for identifier, first, value in (
            (SESSION_EXPIRY, 9, 9), (SESSION_EXPIRY, 0, 9), (REASON, "x", "x"),
            (REASON, "", "x"))])
def twice(_, properties):
    with client(properties=lasting(5)) as one:
        one.send(disconnect(0, properties))
        one.disconnected(PROTOCOL)


@test("Server Reference in a client's DISCONNECT is an error")
def server_reference(_):
    dismissed([MALFORMED, PROTOCOL], disconnect(0, [(SERVER_REFERENCE, "x")]))


@test("after DISCONNECT of a client nothing of it is done [MQTT-3.14.4-1]")
def after_own(_):
    """A client must not send more; a QoS 0 PUBLISH may still get through."""
    with client() as witness, client() as one:
        witness.subscribe("w/t")
        one.send(disconnect(), publish("w/t", b"late", 2, 1),
                 connect("late"), subscribe(1, "a"), ping)
        equal(one.ended(), [])
        witness.quiet()


# What the server says.

ERRORS = [
    ("reserved flags", MALFORMED, b"\x81\0"),
    ("a topic that is not UTF-8", MALFORMED, publish(b"\xff", b"m")),
    ("the same at QoS 1", MALFORMED, publish(b"\xff", b"m", 2, 1)),
    ("SUBSCRIBE without filters", PROTOCOL, packet(8, 2, b"\0\1\0")),
    ("a second CONNECT", PROTOCOL, connect("x")),
    ("topic alias 0", BAD_ALIAS, publish("t", properties=[(ALIAS, 0)])),
    ("QoS 3", MALFORMED, publish("t", b"m", 6, 1)),
    ("AUTH", PROTOCOL, b"\xf0\0"),
]


@cases([(f"{name}: DISCONNECT 0x{code:02x}, once, and closed; no session"
         " expiry in it; nothing after it [MQTT-3.14.2-1] [MQTT-3.14.2-2]"
         " [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1]",
         code, whole) for name, code, whole in ERRORS])
def errors(_, code, whole):
    """What is behind the wrong packet in the same segment is not done.

    QoS 0 and PINGREQ are the module's: they may overtake what the daemon finds.
    """
    with client() as witness, client(properties=lasting(5)) as one:
        witness.subscribe("w")
        one.ping()
        one.send(whole, publish("w", b"m", 2, 5), publish("w", b"m", 4, 6),
                 subscribe(7, "w"))
        whole = one.disconnected(code)
        equal(whole.get(SESSION_EXPIRY), None)
        witness.quiet()


@test("a header that is wrong: not even QoS 0 and PINGREQ behind it are done"
      " [MQTT-4.13.1-1]")
def nothing_behind(_):
    with client() as witness:
        witness.subscribe("w")
        for whole in b"\x81\0", b"\xc1\0", publish(b"\xff", b"m"):
            dismissed([MALFORMED], whole, publish("w", b"m"), ping)
        witness.quiet()


@cases([(f"{name} right behind the CONNECT, or the CONNACK: CONNACK, and"
         f" DISCONNECT 0x{code:02x} [MQTT-4.13.1-1] [MQTT-3.2.0-1]", code,
         whole) for name, code, whole in ERRORS])
def at_once(_, code, whole):
    """The daemon has not yet told the module that the client is connected."""
    for _ in range(10):
        with Client() as one:
            one.send(connect("at once"), whole)
            one.connected()
            one.disconnected(code)
        with client("at once") as one:
            one.send(whole)
            one.disconnected(code)


@test("what comes before the wrong packet is done, and answered"
      " [MQTT-4.13.1-1]")
def before(_):
    with client() as witness, client() as one:
        witness.subscribe(("w", 1))
        one.send(publish("w", b"0"), publish("w", b"1", 2, 5),
                 subscribe(6, "x"), b"\xc1\0")
        one.acknowledged(PUBACK, 5)
        one.subscribed(6)
        one.disconnected(MALFORMED)
        equal(sorted(witness.messages(2)), [("w", b"0"), ("w", b"1")])


@test("an error is its client's alone")
def alone(_):
    with client() as witness, client() as other:
        witness.subscribe(("w", 1))
        for _, code, whole in ERRORS:
            dismissed([code], whole)
            other.publish("w", b"m", 1)
            equal(witness.message(), ("w", b"m"))


@cases([(f"Request Problem Information {value}: DISCONNECT and CONNACK all the"
         " same, reasons or not [MQTT-3.1.2-29]", value) for value in (0, 1)])
def problem(_, value):
    for _, code, whole in ERRORS:
        dismissed([code], whole, properties=[(REQUEST_PROBLEM, value)])


@test("a DISCONNECT is not larger than the client takes [MQTT-3.14.2-3]"
      " [MQTT-3.14.2-4] [MQTT-3.1.2-24]")
def small(_):
    """Client looks at the size of what comes."""
    with client("small") as one:
        least = one.connack.size
    for _, code, whole in ERRORS:
        dismissed([code], whole, client_id="small",
                  properties=[(MAX_PACKET, least)])
    with client("small", properties=[(MAX_PACKET, least)]) as old, \
         client("small"):
        old.disconnected(TAKEN_OVER)


@test("without a CONNECT before it no DISCONNECT is said [MQTT-3.14.0-1]")
def before_connack(broker):
    for _, _, whole in ERRORS:
        if whole[0] >> 4 != 1:
            with Client() as one:
                one.send(whole)
                equal(one.ended(), [])
    for properties in [(0x21, 0)], [(0x7f, 0)]:
        with Client() as one:
            raw = field([bytes([properties[0][0], 0, 0])])
            one.send(connect("x", properties=raw), ping)
            equal([p.kind for p in one.ended()], [CONNACK])
    with Client() as one:
        broker.restart(CONFIG)
        equal(one.ended(), [])


@test("the daemon ends: 0x8b [MQTT-3.14.2-1] [MQTT-3.14.4-2]")
def shutdown(broker):
    every = [client(f"c{n}") for n in range(20)]
    broker.restart(CONFIG)
    for one in every:
        one.disconnected(SHUTTING_DOWN)


@test("a thousand wrong packets of one client at once: one DISCONNECT")
def flood(_):
    dismissed([MALFORMED], b"\x81\0" * 1000)
    dismissed([MALFORMED], publish("t/+", b"m", 6, 1) * 1000)


@cases([(f"{name} cut off by a close, then the next connection is good", part)
        for name, part in (("PUBLISH", publish("t", bytes(100))[:-1]),
                           ("QoS 1", publish("t", bytes(100), 2, 1)[:-1]),
                           ("SUBSCRIBE", subscribe(1, "abc")[:-1]),
                           ("PUBREL", acknowledge(PUBREL, 1)[:-1]),
                           ("DISCONNECT", disconnect(0, ())[:-1]))])
def cut_off(_, part):
    with client("cut") as one:
        one.send(part)
        one.close()
    client("cut").disconnect()


main(any_broker())
