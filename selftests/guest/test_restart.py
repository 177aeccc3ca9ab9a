#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The daemon is killed, and no client notices.

KMQTT_LONG=1: with more clients, and more often.
"""

import os
import threading
import time

from broker import Broker, client
from ktap import TIMEOUT, cases, equal, main, test, wait_until
from mqtt import (PUBACK, PUBCOMP, PUBREC, PUBREL, Client, acknowledge,
                  connect, publish, subscribe)
from nl import STATE

LONG = bool(os.environ.get("KMQTT_LONG"))
CLIENTS = 1000 if LONG else 200
KILLS = 50 if LONG else 8


def will(topic, payload=b"gone", **fields):
    """Return the fields of a CONNECT with a will."""
    return {"will": (topic, payload), **fields}


@test("kill -9 under fan-out: nothing is lost, and PINGREQ is answered")
def fan_out(broker):
    clients = [client(f"c{n}") for n in range(CLIENTS)]
    for one in clients:
        one.subscribe("fan/out")
    sent = threading.Event()
    stop = threading.Event()

    def load():
        with client("publisher") as publisher:
            number = 0
            while not stop.is_set():
                publisher.send(publish("fan/out", b"%d" % number))
                number += 1
                sent.set()
                clients[0].message()
        load.count = number

    thread = threading.Thread(target=load)
    thread.start()
    sent.wait(TIMEOUT)
    with broker.counted():
        for _ in range(3):
            broker.end()
            for one in clients[1:20]:
                one.send(b"\xc0\0")
            broker.start_daemon()
    stop.set()
    thread.join()
    for one in clients[1:]:
        equal([one.message() for _ in range(load.count)],
              [("fan/out", b"%d" % n) for n in range(load.count)])
    for one in clients[1:20]:
        one.close()
    for one in clients:
        one.close()


@test("the next daemon serves all as if it had always been there")
def serves(broker):
    with client("one") as one, client("other") as other, Client() as silent, \
         Client() as half:
        half.send(connect("half")[:5])
        one.subscribe("a", ("b", 1))
        broker.end()
        half.send(connect("half")[5:])
        one.send(subscribe(77, "c"))
        other.send(publish("a", b"while away"))
        equal(one.message(), ("a", b"while away"))
        other.send(publish("b", b"QoS 1 while away", 2, 5))
        other.ping()
        broker.start_daemon()
        one.subscribed(77)
        equal(one.message(), ("b", b"QoS 1 while away"))
        other.acknowledged(PUBACK, 5)
        half.connected()
        half.ping()
        silent.connect("silent")
        silent.publish("c", b"later", 2)
        equal(one.message(), ("c", b"later"))
        one.unsubscribe("c")
        with client("one") as taken:
            assert one.ended()
            taken.ping()


main(Broker())
