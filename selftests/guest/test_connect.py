#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""CONNECT: who is let in, with which answer (section 3.1)."""

import contextlib

from broker import CONFIG, Broker, client
from ktap import cases, equal, main, test, times, wait_until
from mqtt import CONNACK, Client, Closed, connect, packet, ping, subscribe, text

WILL = ("will/topic", "gone", 0, False)

# (name, packet, CONNACK's return code). They are closed unless it is 0.
ANSWERED = [
    ("MQTT 3.1.1", connect("a"), 0),
    ("MQTT 3.1", connect("a", level=3), 0),
    ("an empty client id", connect(""), 0),
    ("an empty client id without a clean session", connect("", clean=False), 2),
    ("an empty client id in MQTT 3.1", connect("", level=3), 2),
    ("a durable session", connect("a", clean=False), 0),
    ("a client id of 23 characters", connect("x" * 23), 0),
    ("a client id of 65,000 bytes", connect("x" * 65000), 0),
    ("a client id of 65,001 bytes", connect("x" * 65001), 2),
    ("a client id of 65,535 bytes", connect("x" * 65535), 2),
    ("a client id of a user of the world", connect("日本 \U0001f600\x01"), 0),
    ("a client id with wildcards and slashes", connect("#/+/a"), 0),
    ("a user name", connect("a", username="user"), 0),
    ("a user name and a password",
     connect("a", username="user", password=b"\0\xff"), 0),
    ("an empty user name and password",
     connect("a", username="", password=b""), 0),
    ("a will", connect("a", will=WILL), 0),
    ("a will of QoS 2, retained", connect("a", will=("w", "x", 2, True)), 0),
    ("an empty will message", connect("a", will=("w", b"", 0, False)), 0),
    ("everything", connect("a", keepalive=60, will=WILL, username="user",
                           password="secret"), 0),
    ("keep alive 65535", connect("a", keepalive=65535), 0),
    ("MQTT 3.1 with what 3.1.1 forbids: reserved flag",
     connect("a", level=3, flags=0x03), 0),
    ("protocol level 0", connect("a", level=0, name="MQTT"), 1),
    ("protocol level 2", connect("a", level=2, name="MQTT"), 1),
    ("protocol level 3 named MQTT", connect("a", level=3, name="MQTT"), 1),
    ("protocol level 4 named MQIsdp", connect("a", level=4, name="MQIsdp"), 1),
    ("protocol level 6", connect("a", level=6), 1),
    ("a bridge's level, 0x84", connect("a", level=0x84), 1),
    ("protocol level 255", connect("a", level=255), 1),
]

GOOD = connect("abc", will=WILL, username="user", password="secret")
HEAD = text("MQTT") + b"\4"

# Closed without an answer.
CLOSED = [
    ("nothing", packet(1, 0)),
    ("another protocol", connect("a", name="HTTP")),
    ("another protocol, of the same beginning", connect("a", name="MQTTX")),
    ("no protocol name", connect("a", name="")),
    ("a name in lower case", connect("a", name="mqtt")),
    ("the reserved flag", connect("a", flags=0x03)),
    ("a will of QoS 3", connect("a", will=("w", "x", 3, False))),
    ("a will's QoS without a will", connect("a", flags=0x0a)),
    ("will retain without a will", connect("a", flags=0x22)),
    ("a password without a user name", connect("a", password="secret")),
    ("a user name that is not there", connect("a", flags=0x82)),
    ("a password that is not there", connect("a", username="u", flags=0xc2)),
    ("a will that is not there", connect("a", flags=0x06)),
    ("a byte too many", packet(1, 0, connect("a")[2:], b"x")),
    ("a client id that is not UTF-8", connect(b"\xff")),
    ("a client id with a surrogate", connect(b"\xed\xa0\x80")),
    ("a client id with a NUL", connect(b"a\0b")),
    ("a user name that is not UTF-8", connect("a", username=b"\xc0\xaf")),
    *((f"a will's topic that is {what}", connect("a", will=(t, "x", 0, False)))
      for what, t in (("empty", ""), ("a filter", "a/#"), ("a filter", "+"),
                      ("not UTF-8", b"\xff"), ("too deep", "/" * 65535))),
    *((f"only {size} of {len(GOOD) - 2} bytes", packet(1, 0, GOOD[2:2 + size]))
      for size in range(len(GOOD) - 2)),
]


@cases([(f"{name}: return code {code}", whole, code)
        for name, whole, code in ANSWERED])
def answered(broker, whole, code):
    with broker.counted("deleted" if code else "closed"), Client() as one:
        one.send(whole)
        answer = one.packet()
        equal((answer.kind, answer.body), (CONNACK, bytes([0, code])))
        if code:
            equal(one.ended(), [])
        else:
            one.ping()


@cases([(f"{name}: closed", whole) for name, whole in CLOSED])
def closed(broker, whole):
    with broker.counted("deleted"), Client() as one:
        one.send(whole)
        equal(one.ended(), [])


@test("versions that are not accepted are refused in their own words")
def versions(broker):
    broker.restart(CONFIG + "accept_protocol_versions 3\n")
    with broker.counted("deleted"), Client() as one:
        one.send(connect("a", level=5))
        equal([(p.kind, p.body) for p in one.ended()],
              [(CONNACK, b"\x00\x84\x00")])
    with broker.counted("deleted"), Client() as one:
        one.send(connect("a", level=4))
        equal([(p.kind, p.body) for p in one.ended()],
              [(CONNACK, b"\x00\x01")])
    client("a", level=3).close()
    broker.restart(CONFIG)


@test("what the module knows of a connection")
def known(broker):
    with client("known ü", keepalive=77) as one, \
         client("old", level=3) as old:
        for each in one, old:
            each.ping()  # the module knows it a moment after CONNACK
        record = broker.record(one)
        equal(record["client_id"].decode(), "known ü")
        equal((record["keepalive"], record["level"]), (77, 4))
        equal(broker.record(old)["level"], 3)
    broker.await_conns(0)


@test("a made-up client id is one's own")
def made_up(broker):
    clients = [client() for _ in range(20)]
    broker.await_known(*clients)
    ids = {record["client_id"] for record in broker.nl.conns()}
    equal(len(ids), 20)
    assert all(i.startswith(b"auto-") for i in ids), ids
    for one in clients:
        one.close()


@test("a client id that is taken over: the old connection ends first")
def takeover(broker):
    with client("witness") as witness:
        witness.subscribe("t")
        old = client("taken")
        old.subscribe("t", "only/old")
        for number in range(times(30)):
            with broker.counted("deleted"):
                new = client("taken")
                equal(old.ended(), [])
                old.close()
            equal(broker.nl.stats()["conns"], 2)
            equal(broker.record(new)["subs"], 0, "subscriptions of the old one")
            new.subscribe("t")
            witness.publish("t", b"%d" % number)
            for one in witness, new:
                equal(one.message(), ("t", b"%d" % number))
            old = new
        old.close()
        broker.await_line("Client taken already connected, closing old")
    broker.await_conns(0)


@test("one client id, 100 connections at once: one remains")
def storm(broker):
    clients = [Client() for _ in range(100)]
    with broker.counted(*["deleted"] * (len(clients) - 1)):
        for one in clients:
            one.send(connect("storm"), subscribe(1, "storm"))
    remaining, = broker.nl.conns()
    port = int.from_bytes(remaining["remote"][2:4], "big")
    for one in clients:
        if one.port == port:
            one.connected()
            one.subscribed(1)
            one.publish("storm", b"!")
            equal(one.message(), ("storm", b"!"))
        else:
            one.ended()
        one.close()
    broker.await_conns(0)


@test("two CONNECTs with one client id at the same time: one remains")
def at_once(broker):
    for _ in range(times(20)):
        with Client() as first, Client() as second, broker.counted("deleted"):
            first.send(connect("at once"), ping)
            second.send(connect("at once"), ping)
        broker.await_conns(0)


@test("max_connections: who is one too many is closed")
def max_connections(broker):
    broker.restart(CONFIG + "max_connections 3\n")
    clients = [client() for _ in range(3)]
    with Client() as one:
        equal(one.ended(), [])
    broker.await_line("denied: max_connections exceeded")
    clients.pop().close()
    wait_until(lets_in, "one let in again")
    for one in clients:
        one.ping()
        one.close()


def lets_in():
    """Is a client let in? It may also be reset while it sends its CONNECT."""
    with Client() as one, contextlib.suppress(Closed):
        one.send(connect())
        return one.packet()


@test("max_keepalive: longer ones, and none, are refused [CVE-2020-13849]")
def max_keepalive(broker):
    broker.restart(CONFIG + "max_keepalive 60\n")
    for keepalive, code in ((60, 0), (1, 0), (61, 2), (0, 2), (65535, 2)):
        with Client() as one:
            one.send(connect("a", keepalive=keepalive))
            equal(one.packet().body, bytes([0, code]), f"{keepalive}")


@test("allow_anonymous false: return code 5")
def anonymous(broker):
    broker.restart(CONFIG.replace("true", "false"))
    for whole in (connect("a"), connect("a", level=3),
                  connect("a", username="u"),
                  connect("a", username="u", password="p")):
        with broker.counted("deleted"), Client() as one:
            one.send(whole)
            equal(one.packet().body, b"\0\5")
            equal(one.ended(), [])


@test("allow_anonymous is false unless it is given")
def anonymous_default(broker):
    broker.restart(CONFIG.replace("allow_anonymous true", ""))
    with Client() as one:
        one.send(connect("a"))
        equal(one.packet().body, b"\0\5")


main(Broker())
