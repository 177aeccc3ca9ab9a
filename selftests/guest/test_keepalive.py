#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Keep alive: enforced at one and a half times (section 3.1.2.10)."""

import contextlib
import time

from broker import CONFIG, Broker, client
from ktap import FACTOR, equal, main, test, times
from mqtt import (CONNACK, PINGRESP, SUBACK, SUBSCRIBE, Client, Closed,
                  connect, disconnect, packet, ping, publish, subscribe)

LIMIT = 1.5
# Timers of the kernel are late, but for a tick, never early; ours begins before.
EARLY, LATE = 0.02, 1.5 * FACTOR


def end_in_time(clients):
    """Expect the ends that a keep alive of 1 s demands, of (client, since)."""
    for one, since in clients:
        one.ended()
        seconds = time.monotonic() - since
        one.close()
        assert LIMIT - EARLY < seconds < LIMIT + LATE, f"after {seconds:.3f} s"


SILENT = {
    "nothing": b"",
    "half a PUBLISH": publish("a", bytes(100))[:50],
    "the first byte of a PUBLISH": b"\x30",
    "half a remaining length": b"\x30\x80",
    "half a SUBSCRIBE": subscribe(1, "abcdefgh")[:8],
    "half a SUBSCRIBE larger than the user queue":
        packet(SUBSCRIBE, 2, bytes(200000))[:150000],
    "a PINGREQ": ping,
    "a PUBLISH": publish("a"),
    "a PUBLISH, and half a one": publish("a") + b"\x30\7",
}


@test("silence after: " + "; ".join(SILENT) + " [MQTT-3.1.2-24]")
def silent(broker):
    clients = []
    with broker.counted(*["keepalive"] * len(SILENT)):
        for data in SILENT.values():
            since = time.monotonic()
            one = client(keepalive=1)
            clients.append((one, since))
            one.send(data)
        end_in_time(clients)
    broker.await_line("exceeded timeout")


KEEPING = [(ping, PINGRESP), (publish("a", b"x"), None),
           (subscribe(1, "b"), SUBACK)]


@test("PINGREQs, PUBLISHes, SUBSCRIBEs keep a connection")
def kept(broker):
    with broker.counted(*["deleted"] * len(KEEPING)):
        clients = [client(keepalive=1) for _ in KEEPING]
        for _ in range(8):
            for one, (data, _) in zip(clients, KEEPING):
                one.send(data)
            time.sleep(0.4)
        for one, (_, answer) in zip(clients, KEEPING):
            one.send(disconnect)
            equal([p.kind for p in one.ended()], [answer] * 8 if answer else [])
            one.close()


@test("a large packet that takes longer than that, as long as it comes")
def upload(_):
    with client() as listener, client(keepalive=1) as one:
        listener.subscribe("upload")
        payload = bytes(range(256)) * 16
        whole = publish("upload", payload)
        # The last 1,000 bytes keep it no more (mosquitto), and are soon there.
        for at in range(0, len(whole), 600):
            one.send(whole[at:at + 600])
            time.sleep(0.3)
        equal(listener.message(), ("upload", payload))
        one.ping()


@test("bytes of a small packet without an end do not keep it")
def trickle(broker):
    with client(keepalive=1) as one:
        since = time.monotonic()
        with contextlib.suppress(Closed, ConnectionError):
            for byte in publish("trickle", bytes(100))[:-1]:
                one.send(bytes([byte]))
                time.sleep(0.1)
                assert time.monotonic() - since < LIMIT + LATE, "still open"


@test("messages to a client do not keep it")
def receiving(broker):
    with client() as publisher, broker.counted("keepalive"):
        one = client("receiving", keepalive=1)
        since = time.monotonic()
        one.subscribe("busy")
        publisher.send(*[publish("busy", bytes(10))] * 10)
        end_in_time([(one, since)])


@test("none, and a longer one: as the client wishes")
def longer(_):
    with client(keepalive=0) as one, client(keepalive=2) as other:
        time.sleep(2.5)
        one.ping()
        other.ping()


@test("many connections whose time is up at once")
def together(broker):
    count = times(100)
    with broker.counted(*["keepalive"] * count):
        clients = [Client() for _ in range(count)]
        for one in clients:
            one.send(connect(keepalive=1))
        for one in clients:
            equal([p.kind for p in one.ended()], [CONNACK])
            one.close()


@test("a connection with half a packet can be ended by the client")
def half(broker):
    with broker.counted("closed"):
        one = client(keepalive=1)
        one.send(publish("a", bytes(100))[:50])
        broker.await_received(one, 60)
        one.close()


main(Broker(CONFIG))
