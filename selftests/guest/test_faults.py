#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Memory runs out, and sends fail, at every point where they can.

Each request is made again and again, until it succeeds without any failure: with
its first allocation failing, its second, and so on. Each time it must succeed, or
say that there was no memory, and have changed nothing.
"""

import contextlib
import errno
import itertools
import os
import statistics

import faults
from attached import PORT, Attached, Lasting, listening
from broker import refused
from faults import Attempt, Nth, Sends
from ktap import (TIMEOUT, cases, equal, main, note, test, times,
                  wait_until)
from mqtt import Client, connect, publish, subscribe
from nl import (DENY, END, NLM_F_ACK, NLM_F_DUMP, PATTERN, READ, WRITE,
                Netlink)
from sink import Sink
from trunk import Trunk, record

# The last: of copying from user space, which counts as well.
NO_MEMORY = errno.ENOMEM, errno.ENOBUFS, errno.EFAULT
VOLATILE = ("events", "event_seq", "rx_bytes", "rx_packets", "tx_bytes",
            "tx_messages", "accepted", "ring_used_messages",
            "ring_used_bytes", "rx_publishes")
FILTERS = "a", "a/b", "a/b/#", "+/b/c", "long/" + "x" * 5000
most = times(2000)  # allocations of a request, more than there are


class Faulty(Lasting):
    """Fixture: the module, in a kernel where things can be made to fail."""

    allowed = faults.SAYS

    def settle(self):
        super().settle()
        faults.need()

    def state(self):
        """Return what requests change."""
        stats = self.nl.stats()
        conns = [{name: value for name, value in record.items()
                  if name not in VOLATILE} for record in self.nl.conns()]
        return ([stats[name] for name in ("conns", "subs", "filters",
                                          "memory_limit", "daemon")],
                conns, sorted(self.nl.subs()), len(os.listdir("/proc/self/fd")))

    def exhaust(self, cmd, values, flags=NLM_F_ACK, undo=None, seen=True):
        """Make a request until it succeeds without a failure.

        undo, called with the answers, undoes what a success did. seen: state()
        shows whether it did anything, else undo must be safe in any case. Return
        the answers of the last time.
        """
        errors = set()
        for nth in range(1, most):
            before = self.state()
            # Of its own: a dump for which there was no memory goes on later.
            with Netlink() as nl:
                attempt = Attempt(nl, nth, cmd, values, flags)
            what = f"{cmd}, allocation {nth}: {attempt.text}"
            errors.add(attempt.error)
            if not attempt.fired:
                equal(attempt.error, 0, what)
                note(f"{cmd}: {nth - 1} allocations, errors",
                     [errno.errorcode.get(e, e) for e in sorted(errors)])
                return attempt.answers
            if attempt.error:
                assert attempt.error in NO_MEMORY, (what, attempt.error)
            if not attempt.known or not attempt.error:
                # It may have taken effect: the answer was what there was no
                # memory for. Or there was a way without.
                if undo and (not attempt.error or not seen or
                             self.state() != before):
                    undo(attempt.answers)
            equal(self.state(), before, what)
        raise AssertionError(f"{cmd}: no end of allocations")


@contextlib.contextmanager
def several(fixture, count=4, **values):
    """Connections, on as many workers as there are."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Attached(fixture.nl, **values))
               for _ in range(count)]


def works(*conns):
    """Check that each can talk to each."""
    for conn in conns:
        conn.sub("works/#")
    for number, conn in enumerate(conns):
        conn.publish(f"works/{number}")
        for other in conns:
            equal(other.until(f"works/{number}"), [])


@test("attaching a socket")
def _(fixture):
    with contextlib.closing(Client(("127.0.0.1", PORT))) as one:
        with contextlib.closing(listening.accept()[0]) as server:
            client = [one, server]

            def undo(_answers):
                # It is of no more use: another.
                for record in fixture.nl.conns():
                    fixture.nl.conn_del(record["id"])
                for end in client:
                    end.close()
                client[:] = [Client(("127.0.0.1", PORT)),
                             listening.accept()[0]]
                os.dup2(client[1].fileno(), number)

            number = os.dup(server.fileno())
            answers = fixture.exhaust("conn_add", {"fd": number}, undo=undo)
            client[0].send(connect("x"))
            whole = connect("x")
            equal(os.read(number, len(whole)), whole)
            fixture.nl.conn_del(answers[0]["id"])
            os.close(number)
            for end in client:
                end.close()


def restore(fixture, conn):
    """Return what makes a connection's identity as it was."""
    def undo(_answers):
        fixture.nl.conn_set(conn.id, client_id="before", user_name="him",
                            rules_id=1, keepalive=7, cookie=1)
    return undo


@test("changing a connection that has rules and subscriptions")
def _(fixture):
    nl = fixture.nl
    nl.rules(1, ("#", READ | WRITE, 0))
    nl.rules(2, ("c/%c/#", READ | WRITE, PATTERN))
    with several(fixture, 2) as (conn, other):
        conn.sub(*FILTERS)
        undo = restore(fixture, conn)
        undo(None)
        values = {"id": conn.id, "client_id": "c" * 3000, "user_name": "her",
                  "rules_id": 2, "keepalive": 100, "cookie": 77}
        fixture.exhaust("conn_set", values, undo=undo)
        equal(conn.record()["cookie"], 77)
        undo(None)
        # Not all of what it sent is done with.
        conn.send(subscribe(1, "x"))
        wait_until(lambda: conn.record()["user_used_bytes"], "received")
        equal(conn.server.recv(1), b"\x82")
        for nth in itertools.count(1):
            attempt = Attempt(nl, nth, "conn_set",
                              {**values, "done": conn.done + 1})
            if not attempt.error:
                break
            if attempt.known:
                record = conn.record()
                equal((record["cookie"], record["done"]), (1, conn.done))
        equal(conn.record()["done"], conn.done + 1)
        nl.conn_set(conn.id, rules_id=0)
        works(conn, other)
    nl.request("rules_del", {"id": 1})
    nl.request("rules_del", {"id": 2})


@test("ending a hold")
def _(fixture):
    with several(fixture, 2) as (conn, other):
        def undo(_answers):
            conn.sub("h", hold=True)
            wait_until(lambda: conn.record()["held"], "held")

        undo(None)
        values = {"id": conn.id, "hold_seq": 0, "trim": True, "release": True}
        for nth in range(1, most):
            attempt = Attempt(fixture.nl, nth, "conn_set", values)
            if not attempt.fired:
                break
            if attempt.known and attempt.error:
                assert conn.record()["held"]
            else:
                wait_until(lambda: not conn.record()["held"], "sent")
                undo(None)
        works(conn, other)


@cases((("subscribing, filters that are new", False, 1),
        ("subscribing, held", True, 1),
        ("subscribing the 9th to a filter", False, 9)))
def subscribing(fixture, hold, count):
    """Fail in sub-add."""
    with several(fixture, count * os.cpu_count()) as conns:
        if count > 1:
            for conn in conns[:-1]:
                conn.sub("a/b/#")
        conn = conns[-1]

        def undo(_answers):
            conn.netlink.sub("sub_del", conn.id, *FILTERS)
            if hold:
                release()

        def release():
            wait_until(lambda: conn.record()["held"], "held")
            fixture.nl.conn_set(conn.id, release=True)
            wait_until(lambda: not conn.record()["held"], "released")

        values = ([("conn_id", conn.id)] + [("hold", True)] * hold +
                  [("filter", {"topic": topic, "qos": 0})
                   for topic in FILTERS])
        fixture.exhaust("sub_add", values, undo=undo)
        if hold:
            release()
        conns[0].publish("a/b/c", b"it")
        for one in conns if count > 1 else [conn]:
            equal(one.message(), ("a/b/c", b"it"))
        undo_none = [("conn_id", conn.id)] + [
            ("filter", {"topic": topic}) for topic in FILTERS]

        def again(_answers):
            conn.netlink.sub("sub_add", conn.id, *FILTERS)

        fixture.exhaust("sub_del", undo_none, undo=again)
        works(conns[0], conn)


@test("subscribing to one that there is, and to one that there is not")
def _(fixture):
    with several(fixture, 1) as (conn,):
        conn.sub("old")
        values = [("conn_id", conn.id)] + [
            ("filter", {"topic": topic, "qos": 1}) for topic in ("old", "new")]
        for nth in range(1, most):
            attempt = Attempt(fixture.nl, nth, "sub_add", values)
            if not attempt.fired:
                break
            if attempt.error and attempt.known:
                equal(fixture.nl.subs(), [(conn.id, "old", 0)])
            else:
                wait_until(lambda: len(fixture.nl.subs()) == 2, "subscribed")
                fixture.nl.sub("sub_del", conn.id, "new")
                fixture.nl.sub("sub_add", conn.id, "old")
                wait_until(lambda: fixture.nl.subs() ==
                           [(conn.id, "old", 0)], "as before")
        works(conn)


@test("the sink's subscriptions")
def _(fixture):
    def undo(_answers):
        fixture.nl.sub("sub_del", 0, "sunk/#")

    fixture.exhaust("sub_add", [("conn_id", 0),
                                ("filter", {"topic": "sunk/#"})], undo=undo)
    undo(None)


def payloads():
    """Return cases: a name, and the size of the payload in a file or not."""
    return (("publishing, small", 10, False),
            ("publishing, in pages of its own", 20000, False),
            ("publishing, from a file", 100000, True))


@cases(payloads())
def publishing(fixture, size, from_file):
    """Fail in publish: no subscriber gets anything twice, or in part."""
    payload = os.urandom(size)
    values = {"topic": "t", "payload": payload}
    if from_file:
        number = os.memfd_create("payload")
        os.write(number, payload)
        values = {"topic": "t", "payload_fd": number}
    with several(fixture, 2 * os.cpu_count()) as conns:
        for conn in conns:
            conn.sub("t", "+", "end")
        for nth in range(1, most):
            attempt = Attempt(fixture.nl, nth, "publish", values)
            assert not attempt.error or attempt.error in NO_MEMORY, attempt
            wait_until(lambda: not publish_end(fixture), "published")
            for conn in conns:
                got = conn.until("end")
                assert got in ([], [("t", payload)]), len(got)
                if not attempt.error:
                    equal(len(got), 1)
            if not attempt.fired:
                break
        note(f"{nth - 1} allocations")
    if from_file:
        os.close(number)


def publish_end(fixture):
    """Publish what follows. Return an error, if any."""
    return Attempt(fixture.nl, 0, "publish",
                   {"topic": "end", "payload": b""}).error


@test("rule sets: made, filled, given new contents, deleted")
def _(fixture):
    nl = fixture.nl
    many = [("id", 5)] + [("rule", {"filter": f"a/{i}/" + "x" * 100,
                                    "access": READ, "flags": DENY})
                          for i in range(100)]
    with several(fixture, 1) as (conn,):
        conn.sub("a/#")
        for new in True, False:
            fixture.exhaust("rules_begin", {"id": 5})
            fixture.exhaust("rules_add", many, undo=lambda _:
                            nl.request("rules_begin", {"id": 5}))
            for nth in range(1, most):
                nl.request("rules_begin", {"id": 5})
                nl.rules_add(5, ("a/1", READ, 0))
                attempt = Attempt(nl, nth, "rules_commit", {"id": 5})
                if not attempt.fired:
                    break
                if new and attempt.known and attempt.error:
                    deleted = Attempt(nl, 0, "rules_del", {"id": 5})
                    equal(deleted.error, errno.ENOENT)
                elif new:
                    nl.request("rules_del", {"id": 5})
            if new:
                nl.conn_set(conn.id, rules_id=5)
        conn.send(publish("a/2"), publish("a/1"))
        conn.ping()
        nl.conn_set(conn.id, rules_id=0)

        def undo(_answers):
            nl.rules(5, ("a/1", READ, 0))

        fixture.exhaust("rules_del", {"id": 5}, undo=undo, seen=False)
        works(conn)


@test("opening the sink")
def _(fixture):
    def undo(answers):
        for answer in answers:
            os.close(answer["fd"])

    answers = fixture.exhaust("sink_open", {"orphan_timeout": 3600}, undo=undo)
    equal(fixture.nl.stats()["daemon"], os.getpid())
    undo(answers)


@test("opening the trunk, and sending through it")
def _(fixture):
    def undo(answers):
        for answer in answers:
            os.close(answer["fd"])

    undo(fixture.exhaust("trunk_open", {}, undo=undo))
    with several(fixture, 2) as (conn, other), Trunk(fixture.nl) as trunk:
        # What is not sent, is not done.
        for number in errno.EPIPE, errno.ENOMEM, errno.EAGAIN:
            with Sends(number):
                equal(trunk.write(record(conn, publish("t")),
                                  record(other, publish("t"))), 0)
        both = record(conn, publish("t")) + record(other, publish("t"))
        equal(trunk.write(both), len(both))
        equal((conn.message(), other.message()), (("t", b""), ("t", b"")))
        works(conn, other)


@test("the memory limit")
def _(fixture):
    def undo(_answers):
        fixture.nl.request("memory_set", {"memory_limit": 0})

    fixture.exhaust("memory_set", {"memory_limit": 1 << 40}, undo=undo)
    undo(None)


@test("adoption")
def _(fixture):
    with several(fixture, 3) as conns:
        def undo(answers):
            for answer in answers:
                os.close(answer["fd"])

        for nth in range(1, most):
            before = fixture.state()
            attempt = Attempt(fixture.nl, nth, "conn_adopt",
                              [("id", conn.id) for conn in conns])
            assert not attempt.error or attempt.error in NO_MEMORY
            # Some may have come before there was no memory.
            undo(attempt.answers)
            equal(fixture.state(), before)
            if not attempt.fired:
                equal(len(attempt.answers), 3)
                break
        works(*conns)


@test("looking: records, dumps, statistics")
def _(fixture):
    with several(fixture, 2) as conns:
        conns[0].sub(*FILTERS)
        fixture.exhaust("conn_get", {"id": conns[0].id})
        fixture.exhaust("conn_get", {}, NLM_F_DUMP)
        fixture.exhaust("sub_get", {}, NLM_F_DUMP)
        fixture.exhaust("stats_get", {})
        works(*conns)


@test("deleting a connection")
def _(fixture):
    with several(fixture, 2) as conns:
        for nth in range(1, most):
            with Attached(fixture.nl) as conn:
                conn.sub(*FILTERS)
                attempt = Attempt(fixture.nl, nth, "conn_del",
                                  {"id": conn.id})
                if attempt.known and attempt.error:
                    equal(conn.record()["subs"], len(FILTERS))
                    conn.ping()
                else:
                    with refused(errno.ENOENT):
                        conn.record()
                # Where there was no memory for a FIN, TCP sends none.
                if not attempt.fired:
                    conn.ended()
                    break
        works(*conns)


@test("flush")
def _(fixture):
    for nth in range(1, most):
        with several(fixture, 2) as conns:
            conns[0].sub(*FILTERS)
            attempt = Attempt(fixture.nl, nth, "flush")
            if attempt.known and attempt.error:
                works(*conns)
            else:
                wait_until(lambda: not fixture.nl.stats()["conns"], "flushed")
        if not attempt.fired:
            break


@test("the daemon's recv() and send()")
def _(fixture):
    with several(fixture, 1) as (conn,), Nth() as task:
        number = 0
        for nth in range(1, most):
            conn.send(subscribe(nth, "x"))
            whole = subscribe(nth, "x")
            answer = b"\x90\3" + nth.to_bytes(2, "big") + b"\0"
            wait_until(lambda: conn.record()["user_used_bytes"] >= len(whole),
                       "received")
            fired = []
            for call in (lambda: conn.server.recv(100),
                         lambda: conn.server.send(answer)):
                task.arm(nth)
                try:
                    done = call()
                except OSError as error:
                    assert error.errno in (*NO_MEMORY,
                                           errno.EAGAIN), error
                    done = None
                fired.append(task.disarm())
                if done is None:
                    done = call()
                assert done in (whole, len(answer)), done
            conn.done += len(whole)
            fixture.nl.conn_set(conn.id, done=conn.done)
            conn.subscribed(nth)
            if not any(fired):
                break
            number += sum(fired)
        note(f"{number} failures")
        works(conn)


def traffic(conns):
    """Publish all kinds of things, and have something of the daemon sent."""
    conns[0].send(*(publish("small", b"%d" % i) for i in range(20)))
    conns[1].send(publish("middle", b"m" * 1500), publish("sunk", b"r", 1))
    conns[2].send(publish("large", b"l" * 20000))
    # In two parts, so that it is collected.
    whole = publish("huge", b"h" * 100000)
    conns[3].send(whole[:100])
    conns[3].send(whole[100:], publish("both/x"))
    conns[3].send(subscribe(1, "y"))
    for conn in conns:
        conn.netlink.conn_set(conn.id, cookie=1)


@test("the workers' own allocations")
def _(fixture):
    with Sink(fixture.nl) as sink, several(fixture, 8) as conns, \
            contextlib.ExitStack() as stack:
        for number, conn in enumerate(conns):
            conn.sub("small", "middle", "large", "huge", "both/#", "+/x",
                     "end")
            if number == 7:
                conn.sub("sunk", hold=True)
        tasks = [stack.enter_context(Nth(f"{path.name}/task/{path.name}"))
                 for path in faults.workers()]
        failures, idle = 0, 0
        for nth in range(1, min(most, 400)):
            for task in tasks:
                task.arm(nth)
            traffic(conns)
            for conn in conns[:4]:
                conn.ping()
            whole = subscribe(1, "y")
            equal(conns[3].from_client(len(whole)), whole)
            fired = sum([task.disarm() for task in tasks])
            failures += fired
            fixture.nl.conn_set(conns[7].id, release=True)
            conns[7].sub("sunk", hold=True)
            finish(conns)
            sink.now()
            idle = 0 if fired else idle + 1
            if idle == 3:
                break
        note(f"{failures} failures, up to the {nth}th allocation")
        assert failures > 5
        works(*conns[:7])


def finish(conns):
    """See that all is there, or missing as a whole, and none is ended."""
    sizes = {"small": range(1, 3), "middle": [1500], "large": [20000],
             "huge": [100000], "sunk": [1], "both/x": [0]}

    conns[0].publish("end")
    for conn in conns[:7]:
        got = conn.until("end")
        numbers = [int(payload) for topic, payload in got if topic == "small"]
        equal(numbers, sorted(set(numbers)), "order")
        for topic, payload in got:
            assert len(payload) in sizes[topic], (topic, len(payload))


@cases((("full", errno.EAGAIN, False), ("broken", errno.EPIPE, True),
        ("reset", errno.ECONNRESET, True), ("no memory", errno.ENOMEM, True)))
def sends(fixture, number, ends):
    """A worker's send fails: it is made again, or that connection ends."""
    with several(fixture, 4 * os.cpu_count()) as (publisher, *others):
        # Of two workers at once both can fail: the kernel counts afterwards.
        homes = [conn.record()["worker"] for conn in others]
        conns = [conn for conn, home in zip(others, homes)
                 if home == statistics.mode(homes)]
        for conn in conns:
            conn.sub("t")
        with Sends(number) as failing:
            publisher.send(*(publish("t", b"%d" % i) for i in range(30)))
            wait_until(lambda: not failing.left(), "failed")

        def ended():
            return [conn for conn in conns if conn.record()["end"]]

        if ends:
            one, = wait_until(ended, "ended")
            equal(one.record()["end"], END["reset"])
            conns.remove(one)
        for conn in conns:
            equal(conn.messages(30), [("t", b"%d" % i) for i in range(30)])
        equal(ended(), [])
        works(publisher, *conns)


@test("a send of the daemon fails: it can make it again")
def _(fixture):
    with several(fixture, 2) as (conn, other):
        answer = b"\x90\3\0\1\0"
        for number in errno.EPIPE, errno.ENOMEM, errno.EAGAIN:
            with Sends(number):
                with contextlib.suppress(OSError):
                    conn.server.settimeout(0)
                    assert not conn.server.send(answer)
                conn.server.settimeout(TIMEOUT)
            conn.server.sendall(answer)
            conn.subscribed(1)
        works(conn, other)


main(Faulty())
