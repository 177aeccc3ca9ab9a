#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Many connections."""

from broker import Broker, client
from ktap import equal, main, test, times
from mqtt import Client, connect, publish, subscribe

COUNT, SHORT = times(1000), times(200)


@test(f"{COUNT:,} connections: connect, subscribe, one message to all, close")
def many(broker):
    clients = []
    for number in range(COUNT):
        one = Client()
        one.send(connect(f"many {number}"),
                 subscribe(1, "all", f"one/{number}"))
        clients.append(one)
    for one in clients:
        one.connected()
        equal(one.subscribed(1), [0, 0])
    stats = broker.nl.stats()
    equal((stats["conns"], stats["subs"]), (COUNT, 2 * COUNT))
    equal(len({record["id"] for record in broker.nl.conns()}), COUNT, "dumped")
    homes = [worker["conns"] for worker in stats["worker"]]
    assert max(homes) - min(homes) <= max(COUNT // 50, 2), \
        f"not balanced: {homes}"

    with client() as publisher:
        publisher.publish("all", b"to all")
        for one in clients:
            equal(one.message(), ("all", b"to all"))
        publisher.send(*(publish(f"one/{number}", b"%d" % number)
                         for number in range(COUNT)))
        for number, one in enumerate(clients):
            equal(one.message(), (f"one/{number}", b"%d" % number))

    for number, one in enumerate(clients):
        one.reset() if number % 3 == 0 else one.close()
    broker.await_conns(0)


@test(f"{SHORT} connections that come and go while messages flow")
def come_and_go(_):
    with client() as listener, client() as publisher:
        listener.subscribe("flow/#")
        for number in range(SHORT):
            with Client() as one:
                one.send(connect(f"short {number % 7}"), subscribe(1, "flow/+"))
                publisher.publish(f"flow/{number}", b"%d" % number)
                if number % 2:
                    one.connected()
            equal(listener.message(), (f"flow/{number}", b"%d" % number))


main(Broker())
