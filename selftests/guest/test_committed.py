#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The daemon is killed when some of what it knows is where it survives it, and
some is not yet: nothing acknowledged is lost, and nothing comes twice.

KMQTT_LONG=1: what chance decides, more often.
"""

import contextlib
import os
import signal
import time

import mqtt5
from broker import TOP, Broker, client
from ktap import LONG, cases, equal, main, test, wait_until
from mqtt import (PUBACK, PUBCOMP, PUBREC, PUBREL, acknowledge, publish,
                  subscribe)


LET_GO = 3  # seconds that a daemon waits until its predecessor lets go


class Stalling(Broker):
    """Fixture: a daemon whose disk takes its time, on demand."""

    program = TOP / "build/kmqttd-test"

    def make_directory(self):
        super().make_directory()
        os.environ["KMQTTD_TEST_STALL"] = str(self.stall)
        self.config = self.own_config = self.persistent(self.own_config)

    @property
    def stall(self):
        """Path of the file that stalls the disk as long as it is there."""
        return self.directory / "stall"

    @contextlib.contextmanager
    def killed(self):
        """Nothing gets to the disk; at the end the daemon is killed."""
        self.stall.touch()
        try:
            yield
            self.end()
        finally:
            self.stall.unlink()
        self.start_daemon()


@contextlib.contextmanager
def published_once(clean):
    """Two subscribers, one of them in the database, and a publisher of number 9.

    At the end it has PUBREC, and they have what they are to get.
    """
    with client("disk", clean=False) as disk, client("memory") as memory, \
            client("publisher", clean=clean) as other:
        for one in disk, memory:
            one.subscribe(("q", 2))
        yield disk, memory, other
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9)
        for one in disk, memory:
            one.quiet()
        for name in "disk", "publisher":
            with client(name):
                pass


@cases([("of a clean session", True), ("of a session in the database", False)])
def exactly_once(broker, clean):
    with published_once(clean) as (disk, memory, other):
        other.publish("q", b"before", 2)
        for one in disk, memory:
            equal(one.message(), ("q", b"before"))
        with broker.killed():
            other.send(publish("q", b"once", 4, 9))
            equal(memory.message(), ("q", b"once"))
            # That was handled with it, and is the journal's alone.
        other.acknowledged(PUBREC, 9)
        other.send(publish("q", b"once", 4 | 8, 9))
        other.acknowledged(PUBREC, 9)
        equal(disk.message(), ("q", b"once"))
        broker.replace()
        # By now the database has all of it.
        other.send(publish("q", b"once", 4 | 8, 9))
        other.acknowledged(PUBREC, 9)


@cases([("a large packet of a clean session", True),
        ("a large packet of a session in the database", False)])
def exactly_once_large(broker, clean):
    """The module has forgotten the beginning of the packet."""
    data = bytes(range(256)) * 4000
    with published_once(clean) as (disk, memory, other), broker.counted():
        with broker.killed():
            other.send(publish("q", data, 4, 9))
            equal(memory.message(), ("q", data))
            # The journal is written anew meanwhile.
            memory.publish("other", data, 1)
            broker.replace()
            said(memory)
        other.acknowledged(PUBREC, 9)
        equal(disk.message(), ("q", data))


@test("published at QoS 0, and upgraded: once for each, and for one of a share")
def upgraded(broker):
    broker.restart(f"{broker.config}upgrade_outgoing_qos true\n")
    with client("disk", clean=False) as disk, client("memory") as memory, \
            mqtt5.client("member") as member, client("publisher") as other:
        disk.subscribe(("q", 2))
        memory.subscribe(("q", 2))
        member.subscribe(("$share/g/q", 2))
        for number in range(3):
            with broker.killed():
                other.publish("q", b"%d" % number)
                for one in memory, member:
                    equal(one.message(), ("q", b"%d" % number))
            equal(disk.message(), ("q", b"%d" % number))
            broker.replace()
            for one in disk, memory, member:
                one.quiet()
        # Twice before the database has any of it.
        with broker.killed():
            other.publish("q", b"last")
            for one in memory, member:
                equal(one.message(), ("q", b"last"))
            broker.replace()
            said(other)
        equal(disk.message(), ("q", b"last"))
        for one in disk, memory, member:
            one.quiet()
    with client("disk"):
        pass
    broker.restart(broker.own_config)


@test("QoS 2 that nobody has in the database: PUBREC leaves at once, and the"
      " identifier is free again after PUBREL")
def memory_only(broker):
    with client("kept", clean=False) as disk, client("memory") as memory, \
            client("publisher") as other, client("elsewhere") as waits:
        disk.subscribe(("d", 1))
        memory.subscribe(("q", 2))
        with broker.killed():
            waits.send(publish("d", b"waits", 2, 1))
            said(memory)
            other.send(publish("q", b"one", 4, 9))
            other.acknowledged(PUBREC, 9)
            equal(memory.message(), ("q", b"one"))
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9)
        other.send(publish("q", b"two", 4, 9))
        other.acknowledged(PUBREC, 9)
        equal(memory.message(), ("q", b"two"))
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9)
        waits.acknowledged(PUBACK, 1)
        memory.quiet()
    with client("kept"):
        pass


@test("what a session in the database was sent, and acknowledges while there is"
      " no daemon, is done with")
def recalled(broker):
    with client("away", clean=False) as disk, client("publisher") as one:
        disk.subscribe(("q", 2))
        for number in range(6):
            one.publish("q", b"%d" % number, number % 2 + 1)
        sent = [disk.delivery() for _ in range(6)]
        broker.await_known(disk)
        broker.end()
        for whole in sent:
            disk.send(acknowledge(PUBACK if whole.qos == 1 else PUBREC,
                                  whole.number))
        broker.start_daemon()
        for whole in sent:
            if whole.qos == 2:
                disk.acknowledged(PUBREL, whole.number)
                disk.send(acknowledge(PUBCOMP, whole.number))
        disk.quiet()
    with client("away", clean=False, present=True) as disk:
        disk.quiet()
    with client("away"):
        pass


@test("what a session in the database was sent, and the database does not know,"
      " comes again with DUP, with the same identifier")
def redelivered(broker):
    window = (mqtt5.RECEIVE_MAX, 1)
    with client("publisher") as other:
        one = mqtt5.client("loses", properties=mqtt5.lasting(3600, window))
        one.subscribe(("q", 1))
        for payload in b"acknowledged", b"sent":
            other.publish("q", payload, 1)
        sent = [one.delivery()]
        with broker.killed():
            one.accept(sent[0])
            sent.append(one.delivery())
            one.reset()
            broker.await_line("Client loses .*disconnected")
            said(other)
    with mqtt5.back("loses") as one:
        for whole in sent:
            again = one.accept(one.delivery())
            equal((again.number, again.payload, again.dup),
                  (whole.number, whole.payload, True))
        one.quiet()
    mqtt5.client("loses").disconnect()


@test("a session in the database that DISCONNECT has ended, and the database has"
      " not, is not there beside the next one of that name")
def ended(broker):
    with client("publisher") as other:
        one = mqtt5.client("twice", properties=mqtt5.lasting())
        one.subscribe(("q", 1))
        with broker.killed():
            one.disconnect(0, [(mqtt5.SESSION_EXPIRY, 0)])
            one = mqtt5.client("twice")
            one.subscribe(("r", 1))
        for topic in "q", "r":
            other.publish(topic, b"m", 1)
        equal(one.message(), ("r", b"m"))
        one.quiet()
        one.disconnect()
        broker.replace()
        with mqtt5.client("twice", clean=False) as one:
            one.quiet()


@test("an answer that has left is not sent again because one before it waits")
def answered_once(broker):
    with client("holds", clean=False) as disk, client("one") as one:
        disk.subscribe(("d", 1))
        one.publish("r", b"retained", 1, retain=True)
        with broker.killed():
            one.send(publish("d", b"waits", 2, 77), subscribe(78, "r"))
            with client("other") as other:
                said(other)
        one.acknowledged(PUBACK, 77)
        one.subscribed(78)
        equal(one.message(), ("r", b"retained"))
        one.quiet()
        one.publish("r", b"", 1, retain=True)
    with client("holds"):
        pass


@cases([(f"retained messages that wait for a window {where}: what is newer comes"
         " after them", properties) for where, properties in (
             ("in memory", []), ("in the database", mqtt5.lasting()))])
def snapshot(broker, properties):
    topics = [f"r/{number}" for number in range(5)]
    with client("publisher") as one:
        for topic in topics:
            one.publish(topic, b"old", 1, retain=True)
        window = (mqtt5.RECEIVE_MAX, 1)
        with mqtt5.client("held", properties=[window, *properties]) as held:
            held.subscribe(("r/#", 1))
            got = [held.delivery()]
            one.publish("r/4", b"new")
            wait_until(lambda: broker.record(held)["ring_used_messages"],
                       "held back")
            broker.replace()
            held.accept(got[0])
            got += [held.accept(held.delivery()) for _ in topics]
            got = [(whole.topic, whole.payload) for whole in got]
            equal(sorted(got[:-1]), [(topic, b"old") for topic in topics])
            equal(got[-1], ("r/4", b"new"))
        for topic in topics:
            one.publish(topic, b"", 1, retain=True)
    mqtt5.client("held").disconnect()


@test("so many retained messages that they are found in turns: SUBSCRIBE is not"
      " done before a session in the database has them")
def found_in_turns(broker):
    count, chunk = 17000, 1000  # one turn looks through 16,384 at most
    broker.restart(broker.persistent())
    with client("disk", clean=False) as disk, client("other") as other, \
            client("first") as first, client("second") as second:
        for begin in range(0, count, chunk):
            other.send(b"".join(publish(f"r/{begin + n}", b"m", 3, n + 1)
                                for n in range(chunk)))
            for n in range(chunk):
                other.acknowledged(PUBACK, n + 1)
        # One after the other has its turns.
        for one in first, second, disk:
            one.send(subscribe(1, ("#", 1)))
        disk.subscribed(1)
        with broker.killed():
            got = {disk.delivery().topic for _ in range(20)}
            for _ in range(60):
                said(other)
        # As it is handled again.
        disk.subscribed(1)
        while len(got) == 20:
            got.add(disk.accept(disk.delivery()).topic)
    broker.restart(broker.own_config)


@test("a retained message of QoS 0 does not revert")
def retained(broker):
    with client("publisher") as one, client("watcher") as watcher:
        watcher.subscribe("r")
        with broker.killed():
            one.publish("r", b"seen", retain=True)
            equal(watcher.message(), ("r", b"seen"))
            wait_until(lambda: broker.nl.stats()["sink_records"] == 1, "kept")
        with client() as late:
            late.subscribe("r")
            equal(late.message(), ("r", b"seen"))
        wait_until(lambda: not broker.nl.stats()["sink_records"], "done")


@test("a retained message of QoS 0 does not come back when the journal has been"
      " written anew")
def retained_places(broker):
    with client("publisher") as one, client("memory") as memory:
        memory.subscribe(("load", 1))
        for number in range(4):
            one.publish("r", b"older", retain=True)
            one.publish("r", b"%d" % number, 1, retain=True)
            with broker.killed():
                one.publish("other", b"behind", retain=True)
                # More than the journal holds.
                for _ in range(30):
                    one.publish("load", bytes(60000), 1)
                    memory.message()
            with client() as late:
                late.subscribe("r")
                equal(late.message(), ("r", b"%d" % number))
        for topic in "r", "other":
            one.publish(topic, b"", 1, retain=True)


@test("a delayed will of a session in the database: once for each")
def delayed_will(broker):
    with client("disk", clean=False) as disk, client("memory") as memory, \
            client("zero") as zero, client("other") as other:
        for qos, one in (2, disk), (2, memory), (0, zero):
            one.subscribe(("w", qos))
        dies = mqtt5.client("dies", will=("w", b"gone", 2, False),
                            will_properties=[(mqtt5.WILL_DELAY, 1)],
                            properties=mqtt5.lasting())
        said(other)
        dies.reset()
        broker.await_line("Client dies .*disconnected")
        said(other)
        with broker.killed():
            for one in memory, zero:
                equal(one.message(), ("w", b"gone"))
        equal(disk.message(), ("w", b"gone"))
        for one in disk, memory, zero:
            one.quiet()
        broker.replace()
        for one in disk, memory, zero:
            one.quiet()
        mqtt5.client("dies").disconnect()
    with client("disk"):
        pass


SHARE = "$share/g/s"


@test("a member of a share leaves: what it had not acknowledged waits for another"
      " in the database, and is not lost")
def passed_to_disk(broker):
    with client("publisher") as other, mqtt5.client("leaves") as leaves:
        leaves.subscribe((SHARE, 1))
        other.publish("s", b"m", 1)
        leaves.delivery()
        stays = mqtt5.client("stays", properties=mqtt5.lasting())
        stays.subscribe((SHARE, 1))
        stays.disconnect()
        with broker.killed():
            leaves.disconnect()
            said(other)
        with mqtt5.back("stays") as stays:
            equal(stays.message(), ("s", b"m"))
            stays.quiet()
        broker.replace()
        with mqtt5.back("stays") as stays:
            stays.quiet()
    mqtt5.client("stays").disconnect()


@test("a session in the database ends: what waits for it in a share goes to"
      " another, and comes once")
def passed_from_disk(broker):
    count = 520  # more than two pages of those that are read at once
    broker.restart(f"{broker.config}max_queued_messages 0\n")
    with client("publisher") as other:
        ends = mqtt5.client("ends", properties=mqtt5.lasting())
        ends.subscribe((SHARE, 2))
        ends.disconnect()
        other.send(*(publish("s", b"%d" % number, 2, number + 1)
                     for number in range(count)))
        for number in range(count):
            other.acknowledged(PUBACK, number + 1)
        with mqtt5.client("gets") as gets:
            gets.subscribe((SHARE, 2))
            got = []
            ends = mqtt5.Client().connect("ends")
            got.append(gets.message()[1])
            with broker.killed():
                got += [gets.message()[1] for _ in range(100)]
            while len(got) < count:
                got.append(gets.message()[1])
            equal(sorted(map(int, got)), list(range(count)))
            gets.quiet()
        ends.close()
    broker.restart(broker.own_config)


@test("a retained message of QoS 0 does not come back")
def retained_once(broker):
    with client("publisher") as one:
        for number in range(10 if LONG else 4):
            one.publish("r", b"older", retain=True)
            one.publish("r", b"%d" % number, 1, retain=True)
            broker.replace()
            with client() as late:
                late.subscribe("r")
                equal(late.message(), ("r", b"%d" % number))


@test("what waits for the module is injected by the next daemon, once")
def injected(broker):
    count = 500
    with client("watcher") as watcher, client("publisher") as one:
        watcher.subscribe("q")
        for number in range(8 if LONG else 3):
            payloads = [b"%d.%d" % (number, n) for n in range(count)]
            one.send(b"".join(publish("q", payload, 2, n + 1)
                              for n, payload in enumerate(payloads)))
            one.acknowledged(PUBACK, 1)
            broker.end()
            broker.start_daemon()
            for n in range(1, count):
                one.acknowledged(PUBACK, n + 1)
            got = [watcher.message()[1]]
            while got[-1] != payloads[-1]:
                got.append(watcher.message()[1])
            # What was not acknowledged is handled again.
            equal(sorted(set(got)), sorted(payloads))
            print(f"# {len(got) - count} twice")



def said(one):
    """The daemon has done all that came before, and the journal has it."""
    one.unsubscribe("nothing of that name")
    one.unsubscribe("nothing of that name")


@test("a will with a delay, of a session in the database, when the connection has"
      " ended and the database does not know")
def delayed_will(broker):
    with client("memory") as memory:
        memory.subscribe(("w", 1))
        for delay in 3, 0:
            dies = mqtt5.client("dies", will=("w", b"gone", 1, False),
                                will_properties=[(mqtt5.WILL_DELAY, delay)],
                                properties=mqtt5.lasting())
            with broker.killed():
                dies.close()
                broker.await_line("Client dies closed its connection"
                                  "|Client dies .*disconnected")
                said(memory)
                if not delay:
                    equal(memory.message(), ("w", b"gone"))
            if delay:
                equal(memory.message(), ("w", b"gone"))
            said(memory)
            memory.quiet()
        # The client comes back in time.
        dies = mqtt5.client("dies", will=("w", b"gone", 1, False), present=True,
                            clean=False, properties=mqtt5.lasting(),
                            will_properties=[(mqtt5.WILL_DELAY, 5)])
        with broker.killed():
            dies.close()
            broker.await_line("Client dies closed its connection"
                              "|Client dies .*disconnected")
            said(memory)
        mqtt5.client("dies", present=True, clean=False).disconnect()
        broker.replace()
        memory.quiet()
    mqtt5.client("dies").disconnect()


@test("handover while the disk takes longer than the next daemon would wait for its"
      " predecessor: it waits, and clients stay")
def slow_disk(broker):
    with client("one") as one, client("other") as other, broker.counted():
        before = broker.daemon.pid
        broker.stall.touch()
        try:
            other.send(publish("r", b"kept", 3, 9))
            said(one)
            broker.daemon.send_signal(signal.SIGUSR2)
            broker.await_line("Handing over")
            until = time.monotonic() + LET_GO + 2
            wait_until(lambda: time.monotonic() > until, "stalled for long")
            equal(broker.nl.stats()["daemon"], before)
        finally:
            broker.stall.unlink()
        broker.await_successor(before)
        other.acknowledged(PUBACK, 9)
        other.publish("r", b"", 1, retain=True)
        said(one)


main(Stalling())
