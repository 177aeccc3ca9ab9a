#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: what was acknowledged survives kill -9 of the daemon.

KMQTT_CRASHES: how often it is killed (default 3).
"""

import os
import time

import mqtt5
from broker import CONFIG, any_broker
from durable import Workload
from ktap import FACTOR, TIMEOUT, equal, main, note, seed, test, wait_until
from mqtt5 import RECEIVE_MAX, lasting

CRASHES = int(os.environ.get("KMQTT_CRASHES", "3"))


def workload(*properties):
    """Publishers and subscribers of version 5 whose sessions last."""
    return Workload(wire=mqtt5, properties=lasting(3600, *properties))


@test(f"killed {CRASHES} times: all that was acknowledged arrives, in order,"
      " QoS 2 once [MQTT-4.1.0-1] [CVE-2026-8741]")
def crashes(broker):
    broker.restart(broker.persistent(CONFIG + "max_queued_messages 0\n"))
    rand = seed()
    work = workload((RECEIVE_MAX, 7))
    work.start()
    for _ in range(CRASHES):
        before = work.complete
        wait_until(lambda: work.complete > before, "acknowledged")
        time.sleep(rand.uniform(0, 0.5) * FACTOR)  # any moment
        broker.crash()
    work.finish(3 * TIMEOUT + CRASHES)
    note(f"{work.complete} messages")
    assert work.complete > CRASHES
    broker.restart(CONFIG)


@test("killed while nobody is there: the queue is the same afterwards"
      " [MQTT-4.1.0-1]")
def queue(broker):
    broker.restart(broker.persistent(CONFIG + "max_queued_messages 0\n"))
    work = workload()
    for publisher in work.publishers:
        publisher.start()
    wait_until(lambda: work.complete >= 200, "200 acknowledged")
    for publisher in work.publishers:
        publisher.stop.set()
        publisher.join(TIMEOUT)
    for _ in range(2):
        broker.crash()
    work.online.start()
    work.finish(2 * TIMEOUT)
    equal(work.late.got, work.online.got)
    broker.restart(CONFIG)


main(any_broker())
