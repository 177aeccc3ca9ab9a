#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A network that delays, loses, reorders, and goes away; and network namespaces
that come and go with connections in them."""

import contextlib
import os
import pathlib
import random
import subprocess

import ktap
from broker import CONFIG, NEW_NET, PORT, Broker, client, libc
from ktap import LONG, cases, equal, main, note, test, times, wait_until
from mqtt import PUBACK, publish

HERE, THERE = "10.83.0.1", "10.83.0.2"  # the broker's end, and the clients'
NEAR, FAR = "kmqtt0", "kmqtt1"  # the devices
SPACE = "kmqtt-far"
NETNS = pathlib.Path("/run/netns")
RANDOM = random.Random()
NAMESPACES = times(6 if LONG else 3)


def run(command):
    """Run a command, given as a line."""
    done = subprocess.run(command.split(), capture_output=True, text=True,
                          check=False)
    equal(done.returncode, 0, f"{command}: {done.stderr}")


@contextlib.contextmanager
def inside(name):
    """Be in that network namespace: sockets made there stay there."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(NETNS / name, os.O_RDONLY)
    equal(libc.setns(other, NEW_NET), 0)
    try:
        yield
    finally:
        libc.setns(own, NEW_NET)
        os.close(own)
        os.close(other)


def far(client_id="", **fields):
    """Return a client at the other end of the veth."""
    with inside(SPACE):
        return client(client_id, (HERE, PORT), **fields)


class Network(Broker):
    """Fixture: a broker, and a veth to a network namespace for clients."""

    def start(self):
        for module in "veth", "sch_netem":
            subprocess.run(["modprobe", module], check=False)
        run(f"ip netns add {SPACE}")
        self.connect()
        super().start()

    def connect(self):
        """Make the veth."""
        run(f"ip link add {NEAR} type veth peer name {FAR} netns {SPACE}")
        run(f"ip addr add {HERE}/24 dev {NEAR}")
        run(f"ip link set {NEAR} up")
        run(f"ip -n {SPACE} addr add {THERE}/24 dev {FAR}")
        run(f"ip -n {SPACE} link set {FAR} up")

    def disturb(self, how):
        """Have netem do so with what goes through the veth, both ways."""
        run(f"tc qdisc replace dev {NEAR} root netem limit 10000 {how}")
        run(f"tc -n {SPACE} qdisc replace dev {FAR} root netem limit 10000 {how}")

    def calm(self):
        """No more."""
        run(f"tc qdisc del dev {NEAR} root")
        run(f"tc -n {SPACE} qdisc del dev {FAR} root")

    def unload(self):
        super().unload()
        run(f"ip netns del {SPACE}")


@cases([("loss of 5 %, and delay", "delay 10ms 5ms loss 5%"),
        ("reordered, doubled, corrupted",
         "delay 10ms reorder 75% duplicate 5% corrupt 1%")])
def disturbed(broker, how):
    clients = [far(f"c{number}") for number in range(5)]
    publisher, *subscribers = clients
    broker.disturb(how)
    try:
        with broker.counted():
            for one in subscribers:
                one.subscribe(("q/0", 0), ("q/1", 1), ("q/2", 2))
            for qos in 0, 1, 2:
                deliver(publisher, subscribers, qos)
            large = RANDOM.randbytes(200000)
            publisher.send(publish("q/0", large))
            for one in subscribers:
                assert one.message() == ("q/0", large), "another payload"
            for one in clients:
                one.ping()
    finally:
        broker.calm()
    for one in clients:
        one.close()


def deliver(publisher, subscribers, qos, count=times(60)):
    """Publish in small steps; all must come, once, in order."""
    topic = f"q/{qos}"
    wanted = [(topic, b"%d" % number) for number in range(count)]
    for number in range(0, count, 20):
        part = wanted[number:number + 20]
        if qos:
            for one in part:
                publisher.publish(*one, qos)
        else:
            publisher.send(*(publish(*one) for one in part))
        for one in subscribers:
            equal(one.messages(len(part)), part)


@test("the interface goes down for a while: what is sent meanwhile comes after it")
def down(broker):
    with far("subscriber") as one, far("publisher") as other, \
            client("near") as near, broker.counted():
        one.subscribe(("a", 0), ("b", 1))
        run(f"ip link set {NEAR} down")
        number = 0
        for number in range(1, 101):
            near.send(publish("a", b"%d" % number))
        near.publish("b", b"QoS 1", 1)
        other.send(publish("b", b"from there", 2, 5))
        near.ping()
        run(f"ip link set {NEAR} up")
        got = one.messages(102)
        equal([payload for topic, payload in got if topic == "a"],
              [b"%d" % number for number in range(1, 101)])
        equal(sorted(payload for topic, payload in got if topic == "b"),
              [b"QoS 1", b"from there"])
        other.acknowledged(PUBACK, 5)


@test("the interface is gone for good: its clients end, wills come, others go on")
def gone(broker):
    with client("watcher") as watcher, client("near") as near:
        watcher.subscribe("will/#", "a")
        lost = [far(f"lost{number}", keepalive=1,
                    will=(f"will/{number}", b"gone", 0, False))
                for number in range(4)]
        for one in lost:
            one.subscribe("a")
        with broker.counted(*["keepalive"] * len(lost)):
            run(f"ip link del {NEAR}")
            wills = set()
            for number in range(20):
                near.send(publish("a", b"%d" % number))
            while len(wills) < len(lost):
                topic, _ = watcher.message()
                if topic != "a":
                    wills.add(topic)
        equal(wills, {f"will/{number}" for number in range(len(lost))})
        near.ping()
        for one in lost:
            one.close()
    broker.connect()
    with far("again") as one:
        one.ping()


class Elsewhere:
    """A namespace with a daemon, clients and fan-out in it.

    While it lives, so does its end of a veth, and with that the other end.
    """

    def __init__(self, broker, name):
        self.name, self.broker = name, broker
        self.link = f"link-{name}"
        run(f"ip netns add {name}")
        run(f"ip -n {name} link set lo up")
        run(f"ip link add {self.link} type veth peer name lo-{name} netns {name}")
        self.directory = broker.directory / name
        self.directory.mkdir()
        config = self.directory / "kmqttd.conf"
        config.write_text(f"{CONFIG}orphan_timeout 1\n"
                          f"runtime_directory {self.directory}\n")
        self.daemon = subprocess.Popen(
            ["ip", "netns", "exec", name, broker.program, "-c", config],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.clients = [self.client() for _ in range(6)]
        for one in self.clients:
            one.subscribe("a")

    def client(self):
        """Return a client in there, once it is served."""
        def connected():
            with contextlib.suppress(ConnectionRefusedError), \
                    inside(self.name):
                return client()

        return wait_until(connected, "served")

    def fan_out(self):
        """Have messages on their way."""
        for one in self.clients:
            one.send(*(publish("a", b"x" * 200) for _ in range(30)))

    def destroy(self):
        """End all of it, in some order."""
        steps = [lambda: run(f"ip netns del {self.name}"),
                 lambda: self.daemon.send_signal(RANDOM.choice((9, 15))),
                 lambda: [one.reset() if RANDOM.random() < .5 else one.close()
                          for one in self.clients]]
        RANDOM.shuffle(steps)
        for step in steps:
            step()
        self.daemon.wait()

    def is_gone(self):
        """Has the kernel freed the namespace?"""
        return not pathlib.Path(f"/sys/class/net/{self.link}").exists()


@test("namespaces come and go, with a daemon, connections and fan-out in them")
def namespaces(broker):
    with client("here") as one, broker.counted():
        one.subscribe("a")
        for number in range(NAMESPACES):
            spaces = [Elsewhere(broker, f"kmqtt-{number}-{i}")
                      for i in range(2)]
            for space in spaces:
                space.fan_out()
            for space in spaces:
                space.destroy()
            for space in spaces:
                wait_until(space.is_gone, f"{space.name} is gone")
            one.publish("a", b"%d" % number)
            equal(one.message(), ("a", b"%d" % number))
    note(f"{2 * NAMESPACES} namespaces")


RANDOM.seed(ktap.seed().random())
main(Network(CONFIG + f"listener {PORT} {HERE}\n"))
