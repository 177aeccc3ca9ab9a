#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Everything at once: requests of all kinds beside running fan-out.

selftests/hammer makes them. What counts is that the kernel says nothing, that
those whom nobody touches get every message in order, and that nothing is left
afterwards. KMQTT_LONG=1: minutes instead of seconds.
"""

import contextlib
import os
import pathlib
import random
import subprocess
import time

import ktap
from attached import Attached, Lasting
from broker import MODULE, libc
from ktap import FACTOR, LONG, Skip, cases, equal, main, note, test, wait_until
from mqtt import publish
from nl import TOP, Netlink

SECONDS = 90 if LONG else 4 * min(FACTOR, 5)
RANDOM = random.Random()
DELETE_MODULE = 176  # x86-64
CPUS = pathlib.Path("/sys/devices/system/cpu")


class Races(Lasting):
    """Fixture: the module; connections and rule sets of the hammer's are gone."""

    def settle(self):
        if self.nl:
            self.nl.flush()
        super().settle()


@contextlib.contextmanager
def hammered(*roles, seconds=SECONDS):
    """Have roles played meanwhile, for so long at least. Yield until when."""
    with subprocess.Popen(
            [TOP / "selftests/hammer", str(seconds),
             str(RANDOM.randrange(1 << 31)), *roles],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        yield time.monotonic() + seconds
        said, _ = run.communicate(timeout=seconds + 10 * ktap.TIMEOUT)
    equal(run.returncode, 0, said)
    done = {}
    for name, good, vain in map(str.split, said.splitlines()):
        done[name] = done.get(name, 0) + int(good)
        note(f"{name}: {good} done, {vain} in vain")
    # Else it tests nothing.
    equal([name for name, count in done.items() if not count], [], "never done")


@contextlib.contextmanager
def untouched(nl):
    """A publisher and subscribers that the hammer does not know of."""
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(Attached(nl)) for _ in range(4)]
        for conn in conns[1:]:
            conn.sub("kept/#", "kept/+")
        yield conns


def deliver(conns, number):
    """Publish, and check that all of it comes, and nothing else."""
    wanted = [("kept/1", b"%d" % (number + i)) for i in range(20)]
    conns[0].send(*(publish(*one) for one in wanted))
    for conn in conns[1:]:
        equal(conn.messages(20), wanted)


def deliver_until(conns, deadline):
    """Do so until then."""
    number = 0
    while time.monotonic() < deadline:
        deliver(conns, number)
        number += 20
    note(f"{number} messages to {len(conns) - 1} meanwhile")


ALL = ["attach", "attach", "subscribe", "hold", "delete", "adopt", "rules",
       "look", "inject", "sink", "trunk", "publish", "publish", "publish"]


@cases((("all requests", ALL),
        ("coming and going", ["attach"] * 4 + ["publish", "delete", "adopt"]),
        ("subscriptions and rules",
         ["publish"] * 3 + ["subscribe"] * 3 + ["rules"] * 2 + ["hold"]),
        ("network namespaces",
         ["namespace"] * 3 + ["attach", "publish", "look"])))
def requests(fixture, roles):
    """Hammer, and see that some are not hurt."""
    with untouched(fixture.nl) as conns, hammered(*roles) as deadline:
        deliver_until(conns, deadline)


def unpluggable():
    """Return the processors that can be taken away."""
    return [path.parent for path in CPUS.glob("cpu[1-9]*/online")]


@test("processors come and go")
def _(fixture):
    if len(unpluggable()) < 2:
        raise Skip("needs three processors")
    with untouched(fixture.nl) as conns, \
            hammered("attach", "subscribe", "publish", "publish") as deadline:
        times = number = 0
        while time.monotonic() < deadline:
            path = RANDOM.choice(unpluggable()) / "online"
            for value in "0", "1":
                path.write_text(value)
                deliver(conns, number)
                number += 20
            times += 1
    note(f"{times} processors went, {number} messages meanwhile")
    assert times


@test("the memory limit, and flush")
def _(fixture):
    with hammered(*ALL, "flush", "limit"):
        pass
    fixture.nl.request("memory_set", {"memory_limit": 0})


@test("rmmod, as soon as it can be, and insmod")
def _(fixture):
    fixture.nl.close()
    done = 0
    try:
        with hammered("attach", "look", "sink", "trunk", "flush",
                      seconds=2 * SECONDS) as deadline:
            while time.monotonic() < deadline:
                done += reload()
        flush()
        wait_until(rmmod, "unloaded")
        insmod()
    finally:
        fixture.nl = Netlink()
    note(f"{done} times while it was used")
    assert done


def flush():
    """End all connections; who had them is gone."""
    with Netlink() as nl:
        nl.flush()


def reload():
    """Try to unload the module, and load it again. Return whether it worked."""
    if not rmmod():
        return False
    insmod()
    return True


def insmod():
    """Load the module."""
    subprocess.run(["insmod", MODULE], check=True)


def rmmod():
    """Try to unload the module, with rmmod's system call. Return whether it is."""
    return not libc.syscall(DELETE_MODULE, b"kmqtt", os.O_NONBLOCK)


RANDOM.seed(ktap.seed().random())
main(Races())
