#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Rule sets in the module, which judge the QoS 0 path."""

import contextlib
import errno
import os
import time

from attached import Attached, Lasting
from broker import refused
from ktap import equal, main, test, times, wait_until
from mqtt import publish
from nl import DENY, LIMIT, PATTERN, READ, WRITE
from sink import Sink

ALL = READ | WRITE


@contextlib.contextmanager
def rules(fixture, number, *contents):
    """A rule set, while nobody else has it."""
    fixture.nl.rules(number, *contents)
    yield
    fixture.nl.request("rules_del", {"id": number})


@contextlib.contextmanager
def pair(fixture, publisher=None, subscriber=None):
    """A publisher and a subscriber, each with values for conn_set."""
    with Attached(fixture.nl) as one, Attached(fixture.nl) as other:
        for conn, values in (one, publisher), (other, subscriber):
            if values:
                fixture.nl.conn_set(conn.id, **values)
        yield one, other


def send(conn, *topics):
    """Publish, and let the topic be the payload."""
    conn.send(*(publish(topic, topic.encode()) for topic in topics))


@test("a publish that the rules deny is dropped and counted, no more")
def _(fixture):
    with rules(fixture, 1, ("a/#", WRITE, 0)), \
            pair(fixture, {"rules_id": 1}) as (one, other):
        other.sub("#")
        send(one, "b/1", "a/1", "b/2", "b/2", "a/2", "a/1")
        equal([m[0] for m in other.messages(3)], ["a/1", "a/2", "a/1"])
        record = one.record()
        equal(record["denied_publishes"], 3)
        equal(record["rules_id"], 1)
        equal(fixture.nl.stats()["total"]["denied_publishes"] >= 3, True)
        equal(other.record()["denied_publishes"], 0)
        one.ping()


@test("what rules deny does not get into the sink")
def _(fixture):
    with Sink(fixture.nl), rules(fixture, 1, ("a", WRITE, 0)), \
            pair(fixture, {"rules_id": 1}) as (one, other):
        other.sub("#")
        before = fixture.nl.stats()["sink_seq"]
        one.send(publish("b", b"x", 1), publish("a", b"x", 1))
        equal(other.message()[0], "a")
        equal(fixture.nl.stats()["sink_seq"], before + 1)


@test("a delivery is checked where the filter is not wholly readable "
      "[CVE-2026-49186]")
def _(fixture):
    with rules(fixture, 1, ("s/x", READ, DENY), ("s/#", READ, 0),
               ("t", READ, 0)), \
            pair(fixture, None, {"rules_id": 1}) as (one, other), \
            Attached(fixture.nl) as third:
        other.sub("s/#", "t", "u")
        third.sub("#", "s/+")
        send(one, "s/x", "s/y", "u", "t", "s/x", "t")
        equal([m[0] for m in other.messages(3)], ["s/y", "t", "t"])
        equal([m[0] for m in third.messages(6)],
              ["s/x", "s/y", "u", "t", "s/x", "t"])
        equal(other.record()["denied_deliveries"], 3)
        equal(third.record()["denied_deliveries"], 0)


@test("several filters of one connection that match are checked as one")
def _(fixture):
    with rules(fixture, 1, ("a/b", READ, 0)), \
            pair(fixture, None, {"rules_id": 1}) as (one, other):
        other.sub("a/#", "a/b", "+/+")
        send(one, "a/c", "a/b", "a/b/c")
        equal(other.message()[0], "a/b")
        send(one, "a/b")
        equal(other.message()[0], "a/b")
        equal(other.record()["denied_deliveries"], 2)


@test("runs are checked once, and stay whole")
def _(fixture):
    with rules(fixture, 1, ("a", READ, 0)), \
            pair(fixture, None, {"rules_id": 1}) as (one, other):
        other.sub("#")
        send(one, *["a"] * 30 + ["b"] * 30 + ["a"] * 30)
        equal({m[0] for m in other.messages(60)}, {"a"})
        equal(other.record()["denied_deliveries"], 30)


@test("patterns, with the names of conn-set")
def _(fixture):
    with rules(fixture, 1, ("c/%c/#", ALL, PATTERN), ("u/%u", ALL, PATTERN)):
        with pair(fixture, {"client_id": "me", "rules_id": 1}) as (one, other):
            other.sub("#")
            send(one, "c/me/1", "c/you/1", "u/joe", "c/me")
            equal([m[0] for m in other.messages(2)], ["c/me/1", "c/me"])
            fixture.nl.conn_set(one.id, user_name="joe")
            send(one, "u/joe", "c/me")
            equal([m[0] for m in other.messages(2)], ["u/joe", "c/me"])
            equal(one.record()["user_name"], b"joe")
            fixture.nl.conn_set(one.id, client_id="you+")
            send(one, "u/joe", "c/you")
            one.ping()
            fixture.nl.conn_set(one.id, client_id="you")
            send(one, "c/you")
            equal(other.message()[0], "c/you")
            fixture.nl.conn_set(one.id, rules_id=0)
            send(one, "x")
            equal(other.message()[0], "x")


@test("a message that is injected is checked, too")
def _(fixture):
    with rules(fixture, 1, ("a", READ, 0)), \
            pair(fixture, None, {"rules_id": 1}) as (_one, other):
        other.sub("#")
        fixture.nl.publish("b", b"")
        fixture.nl.publish("a", b"")
        equal(other.message()[0], "a")


@test("new contents count at once, for those who live")
def _(fixture):
    with rules(fixture, 1, ("a", ALL, 0)), \
            pair(fixture, {"rules_id": 1}, {"rules_id": 1}) as (one, other), \
            Attached(fixture.nl) as free:
        other.sub("#", "a", "b")
        for allowed, denied in ("a", "b"), ("b", "a"), ("a", "b"):
            fixture.nl.rules(1, (allowed, ALL, 0))
            send(one, denied, allowed)
            equal(other.message()[0], allowed)
            send(free, denied, allowed)
            equal(other.message()[0], allowed)


@test("under load: nothing denied after the answer, nothing allowed is lost")
def _(fixture):
    with rules(fixture, 1, ("always", ALL, 0)), \
            pair(fixture, None, {"rules_id": 1}) as (one, other):
        other.sub("#")
        count = 0
        for number in range(times(60)):
            may = number % 2
            fixture.nl.rules(1, *[("at/times", READ, 0)] * may,
                             ("always", READ, 0))
            for _ in range(8):
                send(one, *["always", "at/times"] * 8)
                count += 8
            got = other.messages(64 * (1 + may))
            equal(sum(m[0] == "at/times" for m in got), 64 * may)
            equal(sum(m[0] == "always" for m in got), 64)
        equal(one.record()["rx_publishes"], 2 * count)


@test("a publisher goes on while rules are swapped")
def _(fixture):
    with rules(fixture, 1, ("a", ALL, 0)), \
            pair(fixture, {"rules_id": 1}, {"rules_id": 1}) as (one, other):
        other.sub("a", "#")
        deadline = time.monotonic() + 2
        number = 0
        while time.monotonic() < deadline:
            one.send(*(publish("a", b"%d" % (number + i)) for i in range(50)))
            fixture.nl.rules(1, ("b", ALL, DENY), ("a", ALL, 0))
            equal([int(m[1]) for m in other.messages(50)],
                  list(range(number, number + 50)))
            number += 50


@test("what is written wrong changes nothing, and says why")
def _(fixture):
    nl = fixture.nl
    with rules(fixture, 7, ("a", ALL, 0)), \
            pair(fixture, {"rules_id": 7}) as (one, other):
        other.sub("#")
        with refused(errno.EINVAL, "not the rule set that was begun"):
            nl.rules_add(7, ("b", ALL, 0))
        with refused(errno.EINVAL, "not the rule set that was begun"):
            nl.request("rules_commit", {"id": 7})
        nl.request("rules_begin", {"id": 7})
        with refused(errno.EINVAL, "not the rule set that was begun"):
            nl.rules_add(8, ("b", ALL, 0))
        for bad in ("a/#/b", ALL, 0), ("a+", ALL, 0):
            with refused(errno.EINVAL, "not a topic filter"):
                nl.rules_add(7, ("b", ALL, 0), bad)
        for bad in ("b", 0, 0), ("b", 4, 0), ("b", ALL, 4):
            with refused(errno.ERANGE):
                nl.rules_add(7, bad)
        with refused(errno.EINVAL, "after a pattern"):
            nl.rules_add(7, ("b", ALL, PATTERN), ("b", ALL, 0))
        with refused(errno.EINVAL, "missing"):
            nl.request("rules_add", [("id", 7), ("rule", {"filter": "b"})])
        for cmd in "begin", "add", "commit", "del":
            with refused(errno.EINVAL, "rule set missing"):
                nl.request(f"rules_{cmd}")
        with refused(errno.ERANGE):
            nl.request("rules_begin", {"id": 0})
        nl.rules_add(7, ("c", ALL, 0))
        send(one, "b", "c", "a")
        equal(other.message()[0], "a")
        nl.request("rules_commit", {"id": 7})
        send(one, "b", "a", "c")
        equal(other.message()[0], "c")
        with refused(errno.EBUSY, "connections have it"):
            nl.request("rules_del", {"id": 7})
        with refused(errno.ENOENT, "no such rule set"):
            nl.request("rules_del", {"id": 8})
        with refused(errno.ENOENT, "no such rule set"):
            nl.conn_set(one.id, client_id="x", rules_id=8)
        equal(one.record()["rules_id"], 7)


@test("a set is bounded")
def _(fixture):
    nl = fixture.nl
    most = LIMIT["rules_max"]
    nl.request("rules_begin", {"id": 1})
    nl.rules_add(1, *[("a", ALL, 0)] * most)
    with refused(errno.E2BIG, "too large"):
        nl.rules_add(1, ("a", ALL, 0))
    nl.request("rules_commit", {"id": 1})
    nl.request("rules_begin", {"id": 2})
    for _ in range(LIMIT["rules_bytes"] // 65000):
        nl.rules_add(2, ("x" * 65000, ALL, 0))
    with refused(errno.E2BIG, "too large"):
        nl.rules_add(2, ("x" * 65000, ALL, 0))
    with refused(errno.ENOENT):
        nl.request("rules_del", {"id": 2})
    nl.request("rules_del", {"id": 1})


def large(nl, number):
    """Make a rule set of nearly 1 MiB."""
    nl.request("rules_begin", {"id": number})
    for _ in range(LIMIT["rules_bytes"] // 65000):
        nl.rules_add(number, ("x" * 65000, ALL, 0))
    nl.request("rules_commit", {"id": number})


@test("sets together are bounded, and the next daemon's sink-open forgets them")
def _(fixture):
    nl = fixture.nl
    with refused(errno.E2BIG, "too many rule sets, or too large"):
        for number in range(1, 100):
            large(nl, number)
    assert number > 60, number
    os.close(nl.sink_open())
    with refused(errno.ENOENT):
        nl.request("rules_del", {"id": 1})


@test("and those that connections keep of earlier daemons, with them")
def _(fixture):
    nl = fixture.nl

    def daemon(stack, sets):
        # Nothing ends before the test does, however slow the kernel.
        os.close(nl.sink_open(orphan_timeout=3600))
        for number in range(1, sets + 1):
            large(nl, number)
            one = stack.enter_context(Attached(nl))
            nl.conn_set(one.id, rules_id=number)

    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        daemon(first, 45)
        daemon(second, 45)
        with contextlib.ExitStack() as third:
            with refused(errno.E2BIG, "too many rule sets, or too large"):
                daemon(third, 60)
        first.close()
        with contextlib.ExitStack() as third:
            daemon(third, 40)
        os.close(nl.sink_open())


@test("connections that end leave their rules")
def _(fixture):
    fixture.nl.rules(1, ("#", ALL, 0))
    with pair(fixture, {"rules_id": 1}, {"rules_id": 1}) as (one, other):
        other.sub("#")
        send(one, "a")
        other.message()
        one.reset()

        def ended():
            return one.record()["end"]
        wait_until(ended, "ended")
        with refused(errno.EBUSY):
            fixture.nl.request("rules_del", {"id": 1})
    fixture.nl.request("rules_del", {"id": 1})


main(Lasting())
