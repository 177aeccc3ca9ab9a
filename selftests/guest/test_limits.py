#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Limits: what is within them passes, what is beyond does not, and 0."""

import contextlib
import time

from broker import CONFIG, PORT, Broker, client
from ktap import TIMEOUT, cases, equal, main, test, times, wait_until
from mqtt import CONNACK, PUBACK, REFUSED, Client, Closed, connect, publish

# Of every limit: where it is, so that one less, as much and one more can be
# tried.
SMALL = 3


def lets_in():
    """Is a client let in?"""
    with Client() as one, contextlib.suppress(Closed):
        one.send(connect())
        return one.packet().body == b"\0\0"
    return False


def all_in(addresses):
    """Connect to each; is the last let in?"""
    clients = []
    try:
        for address in addresses[:-1]:
            clients.append(client(address=address))
        with Client(addresses[-1]) as last, contextlib.suppress(Closed):
            last.send(connect())
            return last.packet().kind == CONNACK
        return False
    finally:
        for one in clients:
            one.close()


def connections(_, number):
    """So many connections to one listener."""
    return all_in([("127.0.0.1", PORT)] * number)


def connections_of_all(_, number):
    """So many connections, half of them to another listener."""
    return all_in([("127.0.0.1", PORT + i % 2) for i in range(number)])


def sessions(_, number):
    """So many sessions, whose clients are away."""
    codes = []
    for clean in False, True:  # the latter to be rid of them
        for i in range(number):
            with Client() as one:
                one.send(connect(f"session {i}", clean=clean))
                codes.append(one.packet().body[1])
    equal(set(codes) - {0, 3}, set(), "return codes")
    equal(codes[:number - 1], [0] * (number - 1), "of those before")
    return not codes[number - 1]


def connect_size(_, size):
    """A CONNECT of that remaining length."""
    head = len(connect("a", username="", will=("w", "", 0, False))) - 2
    user = min(size - head, 65000)
    whole = connect("a", username="u" * user,
                    will=("w", "x" * (size - head - user), 0, False))
    equal(len(whole), size + (2 if size < 128 else 3 if size < 16384 else 4))
    with Client() as one, contextlib.suppress(Closed):
        one.send(whole)
        return one.packet().body == b"\0\0"
    return False


def packet_size(_, size):
    """A PUBLISH of that size."""
    passed = set()
    for qos in 0, 1:
        with client() as one, contextlib.suppress(Closed):
            one.subscribe("t")
            number = one.next_number() if qos else None
            head = len(publish("t", bytes(300), qos << 1, number)) - 300
            whole = publish("t", bytes(size - head), qos << 1, number)
            equal(len(whole), size)
            one.send(whole)
            if qos:
                one.acknowledged(PUBACK, number)
            equal(len(one.message()[1]), size - head)
            passed.add(qos)
    assert len(passed) != 1, f"only with {passed}"
    return bool(passed)


def keepalive(_, seconds):
    """A keep alive of so many seconds."""
    with Client() as one:
        one.send(connect("a", keepalive=seconds))
        return not one.packet().body[1]


def in_flight(_, number):
    """So many messages that are not acknowledged; does the last come, too?"""
    with client() as one, client() as publisher:
        one.subscribe(("t", 1))
        for _ in range(number):
            publisher.publish("t", qos=1)
        one.ping()
        one.unsubscribe("t")
        return len(one.inbox) == number


def queued(_, number):
    """So many bytes in as many messages for a client that is away."""
    with client("away", clean=False) as one, client() as publisher:
        one.subscribe(("t", 1))
        one.disconnect()
        for i in range(number):
            publisher.publish("t", b"%d" % (i % 10), qos=1)
        with client("away", clean=False, present=True) as one:
            one.unsubscribe("nothing")  # the answer comes after them
            got = [int(one.message()[1]) for _ in range(len(one.inbox))]
    client("away").close()
    equal(got, [i % 10 for i in range(len(got))], "what is there is the oldest")
    return len(got) == number


def subscriptions(broker, number):
    """So many subscriptions, one packet each, all in one, and some twice."""
    filters = [f"f/{i}" for i in range(number)]
    with client() as one, client() as other:
        codes = [one.subscribe(topic)[0] for topic in filters]
        equal(codes[:-1], [0] * (number - 1), "of those before")
        equal(other.subscribe(*filters), codes, "in one packet")
        equal(one.subscribe(("f/0", 1)), [1], "one that is there already")
        granted = codes.count(0)
        for client_ in one, other:
            equal(broker.record(client_)["subs"], granted)
        if granted < number:
            one.unsubscribe("f/0")
            equal(one.subscribe("g"), [0], "after one is gone")
    equal(set(codes) - {0, REFUSED}, set(), "return codes")
    return granted == number


def filters_in_packet(_, number):
    """So many filters in a SUBSCRIBE, and in an UNSUBSCRIBE."""
    filters = [f"f/{i}" for i in range(number)]
    passed = 0
    for ask in Client.subscribe, Client.unsubscribe:
        with client() as one, contextlib.suppress(Closed):
            ask(one, *filters)
            passed += 1
    assert passed != 1, "only one of them"
    return passed == 2


# (option, its value, what it is about, more of the configuration, what 0 is)
ANY, WRONG = "any number", "an error"
LIMITS = [
    ("max_connections", SMALL, connections, "", ANY),
    ("global_max_connections", SMALL, connections_of_all,
     f"listener {PORT + 1} 127.0.0.1\n", ANY),
    ("global_max_clients", SMALL, sessions, "", ANY),
    ("packet_max_connect", 1000, connect_size, "", WRONG),
    ("packet_max_connect", 127, connect_size, "", WRONG),
    ("packet_max_connect", 100000, connect_size, "", WRONG),
    ("max_packet_size", 1000, packet_size, "", WRONG),
    ("max_keepalive", 60, keepalive, "", ANY),
    ("max_inflight_messages", SMALL, in_flight, "", ANY),
    ("max_queued_messages", SMALL, queued, "max_queued_bytes 0\n", ANY),
    ("max_queued_bytes", SMALL, queued, "max_queued_messages 0\n", ANY),
    ("max_subscriptions", SMALL, subscriptions, "", ANY),
    ("max_filters", SMALL, filters_in_packet, "", ANY),
]


@cases([(f"{option} {at}: {at - 1} and {at} pass, {at + 1} do not",
         option, at, probe, more) for option, at, probe, more, _ in LIMITS])
def limit(broker, option, at, probe, more):
    broker.restart(f"{CONFIG}{option} {at}\n{more}")
    for number in at - 1, at, at + 1, at:
        equal(probe(broker, number), number <= at, f"{number}")
        broker.await_conns(0)


@cases([(f"{option} 0: any", option, at, probe, more)
        for option, at, probe, more, zero in LIMITS if zero == ANY])
def unlimited(broker, option, at, probe, more):
    broker.restart(f"{CONFIG}{option} 0\n{more}")
    assert probe(broker, at + 1)


def published(one, topic, good):
    """Publish at every QoS: one gets it, or the publisher is disconnected."""
    for qos in range(3):
        accepted = True
        with client() as publisher:
            try:
                publisher.publish(topic, b"!", qos)
                publisher.ping()
            except Closed:
                accepted = False
        equal(accepted, good, f"accepted at QoS {qos}")
        if good:
            equal(one.message(), (topic, b"!"))
    one.quiet()


@cases([(f"a topic of {levels} levels {'passes' if levels <= 200 else 'ends'}",
         levels) for levels in (199, 200, 201)])
def deep(broker, levels):
    topic = "/".join("x" * levels)
    with client() as one:
        codes = one.subscribe(topic)
        equal(codes, [0 if levels <= 200 else REFUSED])
        published(one, topic, levels <= 200)


@cases([(f"a filter of {size:,} bytes", size)
        for size in (64999, 65000, 65001)])
def long_filter(_, size):
    with client() as one:
        equal(one.subscribe("f" * size), [0 if size <= 65000 else REFUSED])


@cases([(f"a topic name of {size:,} bytes", size)
        for size in (65000, 65001, 65535)])
def long_name(_, size):
    name = "n" * size
    with client() as one:
        one.subscribe(("#", 2))
        published(one, name, size <= 65000)
        if size > 65000:
            with Client() as late:
                late.send(connect(will=(name, b"", 0, False)))
                equal(late.ended(), [])


# Rates

RATE = 8


@cases([(f"max_publish_rate, QoS {qos}: one more than a second's waits", qos)
        for qos in (0, 1, 2)])
def publish_rate(broker, qos):
    broker.restart(f"{CONFIG}max_publish_rate {RATE}\n")
    count = 2 * RATE
    with client() as one, client() as publisher, client() as other:
        one.subscribe("t", "other")
        start = time.monotonic()
        publisher.send(*(publish("t", b"%d" % i, qos << 1,
                                 i + 1 if qos else None)
                         for i in range(count)))
        for i in range(RATE):
            equal(one.message(), ("t", b"%d" % i))
        equal(one.message(), ("t", b"%d" % RATE))
        assert time.monotonic() - start > 0.9 / RATE, "the next did not wait"
        # Nobody else does.
        other.publish("other", b"!")
        rest = [one.message() for _ in range(RATE)]
        assert time.monotonic() - start > 0.9 * (count - RATE) / RATE, "too fast"
        assert rest.index(("other", b"!")) < RATE - 1, "the other waited"
        rest.remove(("other", b"!"))
        equal(rest, [("t", b"%d" % i) for i in range(RATE + 1, count)])
        one.quiet()


@test("max_publish_rate: whatever the segments, and a will of keep alive")
def publish_rate_bytes(broker):
    broker.restart(f"{CONFIG}max_publish_rate {RATE}\n")
    with client() as one, client(keepalive=1) as publisher:
        one.subscribe("t")
        whole = b"".join(publish("t", bytes(3000)) for _ in range(3 * RATE))
        start = time.monotonic()
        for at in range(0, len(whole), 2999):
            publisher.send(whole[at:at + 2999])
        # Longer than the keep alive: it is not the client that is silent.
        for _ in range(3 * RATE):
            equal(one.message(), ("t", bytes(3000)))
        assert time.monotonic() - start > 1.8, "too fast"
        publisher.ping()


@test("max_publish_rate 0: any, and what it says of a connection")
def publish_any(broker):
    broker.restart(CONFIG)
    with client() as one:
        equal(broker.record(one)["publish_rate"], 0)
        one.subscribe("t")
        one.send(*(publish("t") for _ in range(times(2000))))
        for _ in range(times(2000)):
            one.message()
    broker.restart(f"{CONFIG}max_publish_rate 1000000\n")
    with client() as one:
        one.ping()  # the module knows it a moment after CONNACK
        equal(broker.record(one)["publish_rate"], 1000000)


@test("max_connection_rate: who is too many for a second waits for the next")
def connection_rate(broker):
    broker.restart(f"{CONFIG}max_connection_rate {SMALL}\n")
    start = time.monotonic()
    clients = [Client() for _ in range(2 * SMALL + 1)]
    for one in clients:
        one.send(connect())
    for one in clients:
        one.connected()
    assert time.monotonic() - start > 0.9, "too fast"
    for one in clients:
        one.ping()
        one.close()


# Memory

MIB = 1 << 20


def memory(broker):
    """What the module holds, and what it may."""
    stats = broker.nl.stats()
    return stats["memory"], stats["memory_limit"]


@test("memory: what is counted is there no more once nobody is")
def counted(broker):
    broker.restart(CONFIG)
    equal(memory(broker), (0, 0))
    slow = client(receive_buffer=4096)
    slow.subscribe("t")
    with client() as publisher:
        for size in (300000, 100000, 20000, 3000, 100):
            publisher.send(publish("t", bytes(size)) * (600000 // size))
        publisher.ping()
    wait_until(lambda: memory(broker)[0] > MIB / 2, "held")
    slow.close()
    broker.await_conns(0)
    wait_until(lambda: not memory(broker)[0], "nothing held")


@test("memory_limit: those who do not read lose messages, nobody else does")
def memory_stalled(broker):
    limit_ = 8 * MIB
    broker.restart(f"{CONFIG}memory_limit {limit_}\n")
    stalled = [client(receive_buffer=4096) for _ in range(12)]
    for number, one in enumerate(stalled):
        one.subscribe(f"stalled/{number}")
    most = 0
    with client() as one, client() as publisher:
        one.subscribe("t")
        for turn in range(60):
            for number in range(12):
                publisher.send(publish(f"stalled/{number}", bytes(32000)))
            publisher.publish("t", b"%d" % turn)
            equal(one.message(), ("t", b"%d" % turn))
            most = max(most, memory(broker)[0])
        # What comes between two looks at the sockets is beyond.
        assert most < limit_ + 2 * MIB, f"{most} bytes"
    wait_until(lambda: broker.nl.stats()["total"]["dropped_nomem"], "dropped")
    for one in stalled:
        one.close()


def refused_for_long(publisher, payload):
    """Publish until nobody is let in for longer than a second: that often the
    daemon looks at what is in use, and until then takes it for more."""
    since = None

    def refused():
        nonlocal since
        publisher.publish("t", payload, 1)
        with Client() as late:
            late.send(connect())
            if late.packet().body != b"\0\3":
                since = None
                return False
        since = since or time.monotonic()
        return time.monotonic() - since > 1.2

    wait_until(refused, "refused")


@test("memory_limit: no more is queued, and nobody let in; the others go on")
def memory_queued(broker):
    broker.restart(f"{CONFIG}memory_limit {6 * MIB}\nmax_queued_messages 0\n")
    payload = bytes(100000)
    with client() as one, client() as publisher, client() as idle:
        one.subscribe(("t", 1))
        idle.subscribe("idle")
        for _ in range(100):
            publisher.publish("t", payload, 1)
        broker.await_line("memory_limit is exceeded")
        refused_for_long(publisher, payload)
        equal(idle.subscribe("more"), [REFUSED])
        for qos in 0, 1:
            publisher.publish("idle", b"!", qos)
            equal(idle.message(), ("idle", b"!"))
        one.unsubscribe("nothing")
        got = 0
        while True:
            with contextlib.suppress(TimeoutError):
                equal(one.message(TIMEOUT / 20), ("t", payload))
                got += 1
                continue
            break
        # Three quarters of it, with what else there is.
        assert 20 < got < 48, f"{got} were queued"
        broker.await_line("memory_limit is not exceeded any more")
        wait_until(lambda: idle.subscribe("more") == [0], "subscribed")
        wait_until(lets_in, "one let in again")


@test("memory_limit: half packets do not exceed it either; the others go on")
def memory_halves(broker):
    broker.restart(f"{CONFIG}memory_limit {12 * MIB}\n")
    half = publish("t", bytes(MIB), 2, 1)[:-1]
    with contextlib.ExitStack() as stack, client() as one, client() as other:
        one.subscribe("t")
        for _ in range(30):
            late = Client()
            stack.callback(late.close)
            late.send(connect())
            with contextlib.suppress(AssertionError, Closed):
                late.connected()
                late.send(half)
            other.publish("t", b"!", 1)
            equal(one.message(), ("t", b"!"))
        broker.await_line("memory_limit is exceeded")
        broker.await_line("quota exceeded")
        # Three quarters of it, and 4 MiB and one more, and those two.
        wait_until(lambda: len(broker.nl.conns()) <= 9 + 4 + 1 + 2, "ended")
    wait_until(lets_in, "one let in again")


# Without descriptors

FEW = 64


@test(f"RLIMIT_NOFILE {FEW}: new clients are closed, the others do not notice")
def no_descriptors(broker):
    broker.stop()
    broker.daemon = broker.run_daemon(CONFIG, "prlimit", f"--nofile={FEW}")
    broker.config = "with few descriptors"
    broker.await_ready()
    with client() as one, client() as publisher:
        one.subscribe("t")
        clients = []
        with contextlib.suppress(Closed):
            while len(clients) < FEW:
                clients.append(client())
        assert FEW / 2 < len(clients) < FEW, f"{len(clients)} were let in"
        for number in range(times(50)):
            with contextlib.suppress(Closed), Client() as late:
                late.send(connect())
                equal(late.ended(), [])
            for qos in 0, 1:
                publisher.publish("t", b"%d" % number, qos)
                equal(one.message(), ("t", b"%d" % number))
        for each in clients:
            each.ping()
        clients.pop().close()
        wait_until(lets_in, "one let in again")
        for each in clients:
            each.close()
    assert broker.said().count("Unable to accept") <= 3, "a flood of lines"


@test("a flood of connections beyond max_connections: a line a second at most")
def denied(broker):
    broker.restart(f"{CONFIG}max_connections 1\n")
    start = time.monotonic()
    with client() as one:
        for _ in range(times(200)):
            with contextlib.suppress(Closed), Client() as late:
                equal(late.ended(), [])
        one.ping()
    lines = broker.said().count("denied: max_connections exceeded")
    assert 1 <= lines <= time.monotonic() - start + 2, f"{lines} lines"


main(Broker())
