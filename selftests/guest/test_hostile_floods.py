#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Attacks that need many packets, or many clients: memory stays bounded, and
nobody else notices."""

import collections
import contextlib
import itertools
import random
import re
import resource
import select
import threading
import time

from broker import CONFIG, client
from hostile import Hostile, cut, figure
from ktap import FACTOR, LONG, cases, equal, main, note, seed, test, times
from mqtt import (CONNACK, PUBCOMP, PUBREC, PUBREL, SUBACK, Client, Closed,
                  acknowledge, connect, disconnect, packet, ping, publish,
                  subscribe, unsubscribe)

MANY = 10000 if LONG else times(1000)
MAX_PACKET = 1000000

resource.setrlimit(resource.RLIMIT_NOFILE, (4 * MANY, 4 * MANY))


def close_all(clients):
    """Close them, and forget them."""
    while clients:
        clients.pop().close()


# Before CONNECT

@test(f"{MANY:,} clients announce 256 MiB [CVE-2017-7651] [CVE-2023-0809]")
def announced(broker):
    heads = [bytes([first]) + b"\xff\xff\xff\x7f" for first in (0x10, 0x30)]
    reasons = ["too_large", "protocol"] * (MANY // 2)
    with broker.attack(*reasons, machine=64 + MANY // 50, daemon=32):
        clients = []
        for number in range(len(reasons)):
            clients.append(Client())
            clients[-1].send(heads[number % 2])
        for one in clients:
            equal(one.ended(), [])
        close_all(clients)


@test(f"{MANY:,} clients send nothing, or part of a header, then time out "
      "[CVE-2020-13849]")
def half_open(broker):
    parts = [b"", b"\x10", b"\x10\xff", connect("half")[:6]]
    with broker.attack(*["deleted"] * MANY, said="exceeded timeout",
                       machine=64 + MANY // 50, daemon=32):
        clients = []
        for number in range(MANY):
            clients.append(Client())
            clients[-1].send(parts[number % len(parts)])
        for one in clients:
            equal(one.ended(), [])
        close_all(clients)


# In the daemon

BROKEN_CONNECTS = [
    cut(connect("leak", will=("w" * 1000, b"x" * 1000, 1, 1),
                username="u" * 1000, password=b"p" * 1000), 700),
    connect("leak", will=("bad/#", b"x" * 3000, 1, 1)),
    connect("leak", will=("t", b"x" * 3000, 1, 1), username=b"\xff" * 1000),
    connect("leak", level=9, name="MQTT"),
    connect("", clean=False),
]
BROKEN_SUBSCRIBES = [
    packet(8, 2, b"\0\1", *(b"\0\3a/%d\0" % n for n in range(9)), tail)
    for tail in (b"\0", b"\0\5a/b", b"\0\1a", b"\0\1a\3", b"\0\1\xff\0")
]


@cases([
    ("CONNECTs that are malformed at some place [CVE-2017-7654]",
     Client, BROKEN_CONNECTS),
    ("SUBSCRIBEs cut short after some filters [mosquitto-2.0.21]",
     client, BROKEN_SUBSCRIBES),
])
def leaks(broker, make, packets):
    """Many more do not take more."""
    rounds = times(50)

    def harm():
        for whole in packets * rounds:
            with make() as one:
                one.send(whole)
                assert {p.kind for p in one.ended()} <= {CONNACK}
        broker.settle()
        # Not the journal's pages, which are a few and used in turn.
        return figure(f"/proc/{broker.daemon.pid}/status", "RssAnon")

    with broker.attack(*["deleted"] * (len(packets) * rounds * 2)):
        first = harm()
        second = harm()
    assert second - first < 256 << 10, f"{first} bytes, then {second}"


@test("QoS 2: one identifier, without PUBREL, again and again: once delivered "
      "[CVE-2023-28366]")
def repeated(broker):
    again = [publish("once", b"%d" % n, 4 | 8, 9) for n in range(100)]
    with broker.attack("closed", "closed"), client() as one, \
            client() as observer:
        observer.subscribe("once")
        one.send(publish("once", b"first", 4, 9))
        one.acknowledged(PUBREC, 9)
        for _ in range(times(50)):
            one.send(*again)
            for _ in again:
                one.acknowledged(PUBREC, 9)
        one.send(acknowledge(PUBREL, 9))
        one.acknowledged(PUBCOMP, 9)
        equal(observer.message(), ("once", b"first"))
        observer.quiet()


@test("QoS 2: many identifiers, without PUBREL, then all again "
      "[CVE-2023-28366]")
def all_identifiers(broker):
    most = 65535 if LONG else times(6000)
    with broker.attack("closed", "closed", daemon=8), client() as one, \
            client() as observer:
        observer.subscribe("ids/#")
        for dup in 0, 8:
            for first in range(1, most + 1, 500):
                ids = range(first, min(first + 500, most + 1))
                one.send(*(publish("ids/x", b"", 4 | dup, n) for n in ids))
                for n in ids:
                    one.acknowledged(PUBREC, n)
                for n in ids if not dup else ():
                    equal(observer.message(), ("ids/x", b""), n)
        observer.quiet()


@test("a QoS 2 subscriber who never acknowledges, and one who does not read")
def silent_subscribers(broker):
    count = times(3000)
    with broker.attack("closed", "reset", "reset", daemon=16):
        with client() as one:
            mute, deaf = client("mute"), client("deaf", receive_buffer=4096)
            for slow in mute, deaf:
                slow.subscribe(("flood", 2))
            for n in range(0, count, 100):
                one.publish_all([("flood", b"%d" % n * 200)] * 100, qos=1)
            mute.reset()
            deaf.reset()


@test("a client who sends requests, and does not read the answers")
def no_reader(broker):
    requests = subscribe(1, *(f"r/{n}" for n in range(200))) + ping * 50
    with broker.attack("reset", daemon=8):
        one = client("no reader", receive_buffer=4096)
        one.socket.settimeout(1 * FACTOR)
        with contextlib.suppress(TimeoutError):
            for _ in range(10000):
                one.socket.sendall(requests)
        one.reset()


# Wildcards

def permutations(depth, last=""):
    """Filters that all match one topic of that many levels."""
    return ["/".join(levels) + last
            for levels in itertools.product("+a", repeat=depth)]


def subscribe_all(one, filters):
    """Subscribe in packets of 1000, and return the codes that came."""
    return {code for at in range(0, len(filters), 1000)
            for code in one.subscribe(*filters[at:at + 1000])}


@contextlib.contextmanager
def deep_pair(topic):
    """Yield a function that checks that a subscriber gets what is published to
    it meanwhile."""
    with client("deep subscriber") as subscriber, \
            client("deep publisher") as publisher:
        equal(subscriber.subscribe((topic, 2)), [2])

        def check():
            for qos in 0, 1, 2:
                publisher.publish(topic, b"%d" % qos, qos=qos)
                equal(subscriber.message(), (topic, b"%d" % qos), qos)
            subscriber.quiet()

        check()
        yield check


@cases([("a wildcard bomb is refused, and nothing is lost", 1),
        ("the same of six who work together", 6)])
def bombs(broker, count):
    few, deep = "/".join("a" * 8), "/".join("a" * 12)
    before = broker.nl.stats()["total"]["dropped_budget"]
    at = broker.output.stat().st_size
    with broker.attack(*["closed"] * (count + 3), machine=96), \
            deep_pair(deep) as check, contextlib.ExitStack() as stack:
        bombers = [stack.enter_context(client(f"bomber {n}"))
                   for n in range(count)]
        filters = permutations(12)
        for bomber in bombers:
            equal(subscribe_all(bomber, filters[::-1]), {0, 0x80}, "deep")
            equal(subscribe_all(bomber, permutations(8)), {0}, "shallow")
            filters = filters[len(filters) // 6:]
        check()
        bombers[0].inbox.clear()
        with client("another") as one:
            # What is ordinary, and deep without wildcards, and what has room.
            equal(one.subscribe("x/+/y/#", "b/" * 40 + "#", "b/+/b/b/b/+/b/b"),
                  [0, 0, 0])
            if count == 1:
                equal(one.subscribe("b/" * 9 + "+/b"), [0])
            one.publish(few, b"few")
        check()
        for bomber in bombers:
            while bomber.message() != (few, b"few"):
                pass  # what check() has sent
            bomber.unsubscribe(*permutations(8))
    said = broker.said_since(at)
    for number in range(count):
        assert re.search(rf"bomber {number} was refused \d+ subscr", said), said
    equal(broker.nl.stats()["total"]["dropped_budget"], before, "dropped")
    with client() as one:
        equal(subscribe_all(one, permutations(9)), {0}, "nothing is left of them")


@test("a daemon that lets a wildcard bomb pass: the kernel drops and counts")
def no_daemon(broker):
    topic = "/".join("a" * 12)
    before = broker.nl.stats()["total"]["dropped_budget"]
    with broker.attack(*["closed"] * 2, machine=96), \
            client("bomber") as bomber, client("publisher") as one:
        conn = broker.record(bomber)["id"]
        filters = permutations(12)
        for at in range(0, len(filters), 100):
            broker.nl.sub("sub_add", conn, *filters[at:at + 100])
        for _ in range(100):
            one.publish(topic, b"many")
        one.ping()
        equal(broker.nl.stats()["total"]["dropped_budget"] - before, 100)
        bomber.ping()
        equal(list(bomber.inbox), [])


@test("deep wildcards, 200 levels, of many shapes")
def deep(broker):
    rand = seed()
    topic = "/".join("l" * 200)
    with broker.attack("closed", machine=96), client() as one:
        for _ in range(times(20)):
            one.subscribe(*("/".join(rand.choices("l+", k=200))
                            for _ in range(50)))
            one.send(publish(topic, b"x") * 10)
            one.ping()
        equal({m.topic for m in one.inbox} <= {topic}, True)


@test("a SUBSCRIBE of one filter many times, and many that match all that is "
      "retained")
def retained_bomb(broker):
    topics = times(500 if LONG else 200)
    with broker.attack("closed", daemon=24), client() as one:
        for n in range(topics):
            one.send(publish(f"kept/{n}/x/y", b"x" * 100, 1))
        one.ping()
        one.send(subscribe(1, *["kept/+/+/z"] * 2000, *["kept/#"] * 2000))
        one.subscribed(1)
        one.ping()
        for n in range(topics):
            one.send(publish(f"kept/{n}/x/y", b"", 1))
        one.ping()
        equal({whole.topic.split("/")[0] for whole in one.inbox}, {"kept"})


@test("a SUBSCRIBE of many filters, each compared with all that is retained, "
      "keeps nobody waiting")
def retained_walks(broker):
    topics, live = 2000, "kept/0/live"
    with client("publisher") as other, client("walker") as one:
        for n in range(topics):
            other.send(publish(f"kept/{n}/x/y", b"x", 1))
        other.publish(live, b"0", retain=True)
        with client() as late:
            late.subscribe(f"kept/{topics - 1}/#")
            late.message()
        filters = [f"kept/+/+/{n}" for n in range(400)]
        begin = time.monotonic()
        one.send(subscribe(1, "kept/0/+", *filters))
        delays, answers = [], []
        while not answers:
            with contextlib.suppress(TimeoutError):
                came = one.packet(0.001)
                (answers if came.kind == SUBACK else one.inbox).append(came)
            asked = time.monotonic()
            other.publish(live, b"%d" % (len(delays) + 1), retain=True)
            other.unsubscribe("what the daemon answers")
            delays.append(time.monotonic() - asked)
        whole = time.monotonic() - begin
        note(f"{len(delays)} requests in {whole:.2f} s, at most "
             f"{max(delays):.2f} s each")
        assert max(delays) < whole / 2, "it was worked on in one go"
        equal(set(answers[0].codes), {0})
        # A PINGRESP may come before what is held for the client.
        last = b"%d" % len(delays)
        while not one.inbox or one.inbox[-1].payload != last:
            one.inbox.append(one.packet())
        got = [int(message.payload) for message in one.inbox
               if message.topic == live]
        equal(got, sorted(got), "the order of what is retained")
        equal(sorted(set(got)), list(range(got[0], got[-1] + 1)), "all values")
        for n in range(topics):
            other.send(publish(f"kept/{n}/x/y", b"", 1))
        other.send(publish(live, b"", 1))
        other.ping()


# Sequences and races

@test("a filter that is compared with very much that is retained: others are "
      "served meanwhile, and it gets all, in order")
def paced_walk(broker):
    topics = [f"big/{n}{'/l' * 98}" for n in range(2000)]
    changed = topics[::19]
    with client("publisher") as other, client("walker") as one:
        for at in range(0, len(topics), 200):
            other.send(*(publish(topic, b"0", 1)
                         for topic in topics[at:at + 200]))
            other.ping()
        other.publish("big/0/w", b"", 1, retain=True)  # the daemon has them all
        # Finds nothing, after it has looked at all of their levels.
        one.send(subscribe(1, "big" + "/+" * 98 + "/none"),
                 unsubscribe(2, "nothing"))
        one.subscribed(1)
        served = 0
        while not select.select([one.socket], [], [], 0)[0]:
            other.unsubscribe("what the daemon answers")
            served += 1
        one.unsubscribed(2)
        note(f"others had {served} answers meanwhile")
        assert served > 3, "it was worked on in one go"
        one.send(subscribe(3, ("big/#", 1)))
        for value in range(1, 4):
            for n, topic in enumerate(changed):
                other.publish(topic, b"%d" % value, n % 2, retain=True)
        one.subscribed(3)
        values = collections.defaultdict(list)
        while not all(values[topic][-1:] == [b"3"] for topic in changed) or \
                len(values) < len(topics):
            topic, payload = one.message()
            values[topic].append(payload)
        for topic, got in values.items():
            equal(got, [b"0123"[i:i + 1] for i in
                        range(int(got[0]), int(got[-1]) + 1)], topic)
        one.reset()
        for topic in topics:
            other.send(publish(topic, b"", 1))
        other.ping()


@test("a takeover storm: one client id, with a will and a session "
      "[codepr/sol#17]")
def takeovers(broker):
    count = times(600)
    with client() as observer:
        observer.subscribe("will")
        with broker.attack(*["deleted"] * count, machine=96):
            clients = []
            with broker.counted(*["deleted"] * (count - 1)):
                for n in range(count):
                    clients.append(Client())
                    clients[-1].send(connect("storm", clean=n % 3 == 0,
                                             keepalive=9,
                                             will=("will", b"%d" % n, 0, 0)),
                                     subscribe(1, "storm/#", f"storm/{n}"))
            ports = {int.from_bytes(record["remote"][2:4], "big")
                     for record in broker.nl.conns()}
            last, = [one for one in clients if one.port in ports]
            last.send(disconnect)
            last.ended()
            close_all(clients)
        observer.ping()
        wills = [whole.payload for whole in observer.inbox]
        assert len(set(wills)) == len(wills) < count, f"{len(wills)} wills"
    with client("storm", clean=True):
        pass


class Racer(threading.Thread):
    """A client that does one thing for a while, connecting again if closed."""

    def __init__(self, rand, until):
        super().__init__(daemon=True)
        self.rand, self.until = rand, until
        self.error = None

    def run(self):
        try:
            while time.monotonic() < self.until:
                with contextlib.suppress(Closed, ConnectionError):
                    self.live()
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def live(self):
        """A short life."""
        rand = self.rand
        names = [f"race/{n}" for n in range(4)] + ["race/#", "race/+", "#"]
        with Client() as one:
            one.send(connect(rand.choice(["racer 1", "racer 2", ""]),
                             will=("race/0", b"will", rand.randrange(3), 0)))
            for number in range(1, rand.randint(2, 60)):
                one.send(rand.choice([
                    lambda n: subscribe(n, *((f, rand.randrange(3)) for f in
                                             rand.choices(names, k=3))),
                    lambda n: unsubscribe(n, *rand.choices(names, k=3)),
                    lambda n: publish(rand.choice(names[:4]), b"x" * 50),
                    lambda n: publish(rand.choice(names[:4]), b"r", 1),
                    lambda n: publish(rand.choice(names[:4]), b"y", 2, n),
                    lambda n: publish(rand.choice(names[:4]), b"z", 4, n),
                    lambda n: acknowledge(PUBREL, n),
                ])(number))
            if rand.randrange(2):
                one.send(disconnect)
            elif rand.randrange(2):
                one.reset()


@test("races of subscribe, unsubscribe, publish, takeover and close "
      "[CVE-2024-8376] [CVE-2025-59946]")
def races(broker):
    rand = seed()
    until = time.monotonic() + 8
    racers = [Racer(random.Random(rand.random()), until) for _ in range(6)]
    with broker.storm("closed", "reset", "deleted", machine=128, daemon=32):
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        equal([racer.error for racer in racers if racer.error], [])


# Before the module, which gives a packet 60 s.
main(Hostile(CONFIG + f"max_packet_size {MAX_PACKET}\n"
             f"connect_timeout {min(5 * FACTOR, 50):.0f}\n"))
