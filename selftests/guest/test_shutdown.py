#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The end of the daemon: in order, and by force."""

import contextlib
import os
import signal
import subprocess
import threading

from broker import CONFIG, Broker, client
from ktap import TIMEOUT, cases, equal, main, test
from mqtt import Client, Closed, connect, publish, subscribe


def clients_of_all_kinds():
    """Connections in every state."""
    yield Client()  # silent
    one = Client()
    one.send(connect("half")[:5])
    yield one
    yield client("idle")
    one = client("subscribed")
    one.subscribe("a/#")
    yield one
    one = client("half a PUBLISH")
    one.send(publish("a", bytes(1000))[:500])
    yield one
    one = client("half a SUBSCRIBE")
    one.send(subscribe(1, "x" * 1000)[:500])
    yield one
    one = client("does not read", receive_buffer=4096)
    one.subscribe("a/#")
    one.send(publish("a/b", bytes(100000)) * 20)
    yield one


@cases([("SIGTERM", signal.SIGTERM), ("SIGINT", signal.SIGINT)])
def in_order(broker, number):
    clients = [one for _ in range(10 if number == signal.SIGTERM else 1)
               for one in clients_of_all_kinds()]
    equal(int(broker.pid_file.read_text()), broker.daemon.pid)
    broker.daemon.send_signal(number)
    equal(broker.daemon.wait(TIMEOUT), 0, "exit status")
    assert not broker.pid_file.exists()
    equal(broker.nl.stats()["conns"], 0, "connections left")
    equal(broker.nl.stats()["subs"], 0, "subscriptions left")
    for one in clients:
        end(one)
    broker.start_daemon()


def end(one):
    """Expect the end of a connection, whatever came before it."""
    with contextlib.suppress(ConnectionResetError):
        while one.socket.recv(1 << 20):
            pass
    one.close()


@test("SIGTERM while messages flow")
def under_load(broker):
    listeners = [client() for _ in range(10)]
    for one in listeners:
        one.subscribe("load")

    def load():
        with client() as publisher, contextlib.suppress(Closed):
            while True:
                publisher.send(publish("load", bytes(100)) * 10)
                listeners[0].message()

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        listeners[1].message()
    broker.stop()
    for one in listeners[1:]:
        end(one)
    for thread in threads:
        thread.join()
    listeners[0].close()
    broker.start_daemon()


@test("kill -9 and flush: the next daemon starts afresh")
def killed(broker):
    with client("one") as one, client("other") as other, Client() as waiting:
        one.subscribe("a")
        broker.await_known(one, other)
        broker.daemon.kill()
        broker.daemon.wait()
        for number in range(100):
            other.publish("a", b"%d" % number)
        equal(one.messages(100), [("a", b"%d" % n) for n in range(100)])
        one.ping()
        equal(broker.nl.stats()["conns"], 3)

        # The module cannot go while it holds connections.
        done = subprocess.run(["rmmod", "kmqtt"], capture_output=True,
                              check=False)
        assert done.returncode and b"in use" in done.stderr, done

        os.unlink(broker.pid_file)
        broker.crash()
        equal(broker.nl.stats()["conns"], 0)
        for one in one, other, waiting:
            end(one)
    with client("one") as one:
        one.ping()


@test("kill -9 in the middle of everything, ten times")
def killed_often(broker):
    for _ in range(10):
        clients = list(clients_of_all_kinds())
        broker.replace()
        for one in clients:
            one.close()
        broker.settle()


@test("without its module the daemon does not start, nor does it crash")
def module_gone(broker):
    broker.stop()
    super(Broker, broker).unload()
    daemon = broker.run_daemon(broker.config)
    equal(daemon.wait(TIMEOUT), 1)
    broker.load()
    broker.start_daemon()


# It is not about that time-out, which a busy machine may exceed.
main(Broker(CONFIG + "orphan_timeout 3600\n"))
