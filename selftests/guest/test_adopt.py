#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Who a connection is outlives the daemon: user name, password and rules."""

import os

from auth import Auth, line
from broker import NOBODY, client
from ktap import cases, equal, main, test
from mqtt import PUBACK, publish

ALICE = {"username": "alice", "password": "secret"}
BOB = {"username": "b", "password": "x"}
PASSWORDS = line("alice", "secret") + line("b", "x")
RULES = "user alice\ntopic readwrite a/#\nuser b\ntopic readwrite #\n"


class Ruled(Auth):
    """Fixture: a broker with passwords and rules, whose daemon has a user."""

    def make_directory(self):
        super().make_directory()
        os.chown(self.directory, NOBODY, NOBODY)
        self.rules.write_text(RULES)
        self.write(PASSWORDS)
        self.own_config = self.config = self.users(
            f"acl_file {self.rules}\nuser nobody\n"
            f"runtime_directory {self.directory / 'runtime'}\n")

    @property
    def rules(self):
        """Path of the acl_file."""
        return self.directory / "rules"


def both(one, topic, number):
    """Publish at QoS 0 and 1."""
    one.send(publish(topic, b"%d" % number),
             publish(topic, b"%d" % (number + 1), 2, number))
    one.acknowledged(PUBACK, number)


def judged(alice, bob, number):
    """Check that the rules count, both in the module and in the daemon."""
    both(alice, "x", number)
    both(alice, "a/1", number + 2)
    numbers(bob, number + 2, number + 3)
    numbers(alice, number + 2, number + 3)
    bob.send(publish("y", b"unread"), publish("a/2", b"read"))
    equal([alice.message()[0], bob.message()[0], bob.message()[0]],
          ["a/2", "y", "a/2"])


def numbers(one, *wanted):
    """Check what it gets next, in any order of the two QoS."""
    got = sorted(int(one.message()[1]) for _ in wanted)
    equal(got, list(wanted))


def away(broker):
    """Kill the daemon, and start another."""
    broker.replace()


def over(broker):
    """Have another take over."""
    broker.hand_over()


def ways(what):
    """Return cases of a test."""
    return ((f"{what}, killed", away), (f"{what}, handed over", over))


@cases(ways("users and rules go on"))
def adopted(broker, how):
    """Rules go on."""
    with client("a", **ALICE) as alice, client("b", **BOB) as bob:
        for one in (alice, bob):
            one.subscribe("#")
        judged(alice, bob, 1)
        for number in (11, 21):
            how(broker)
            judged(alice, bob, number)
        # Where the daemon before had them from does not matter to SIGHUP.
        broker.reload()
        judged(alice, bob, 31)


@cases(ways("rules are those of today"))
def new_rules(broker, how):
    """Rules are those of today."""
    with client("a", **ALICE) as alice, client("b", **BOB) as bob:
        bob.subscribe("#")
        broker.rules.write_text(RULES.replace("a/#", "x"))
        try:
            how(broker)
            # The next daemon has come to them when it answers them.
            for one in (alice, bob):
                one.unsubscribe("nothing of that name")
            both(alice, "a/1", 1)
            both(alice, "x", 3)
            numbers(bob, 3, 4)
        finally:
            broker.rules.write_text(RULES)
            broker.reload()


@cases(ways("who is no user any more is not adopted"))
def gone(broker, how):
    """A user that there is not any more is not adopted."""
    with client("a", **ALICE) as alice, client("b", **BOB) as bob:
        broker.write(line("b", "x"))
        try:
            how(broker)
            alice.ended()
            bob.ping()
        finally:
            broker.write(PASSWORDS)
            broker.reload()


@test("a will that its client may not publish is not published for it")
def will(broker):
    def leave(topic):
        return client("a", will=(topic, b"gone", 1, False), **ALICE)

    with client("b", **BOB) as bob:
        bob.subscribe(("a/will", 0), ("x", 0))
        for topic in ("x", "a/will"):
            one = leave(topic)
            broker.end()
            one.reset()
            broker.start_daemon()
        equal(bob.message()[0], "a/will")
        bob.quiet()


main(Ruled())
