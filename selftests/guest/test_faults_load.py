#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Memory runs out while the module is loaded, or a network namespace is made.

Every allocation of that fails once, the kernel's own among them: with KMQTT_LONG=1,
else every few.
"""

import ctypes
import os

import faults
import ktap
from broker import MODULE, NEW_NET, Module, in_child, loaded
from faults import Nth
from ktap import LONG, equal, main, note, test, wait_until
from nl import Netlink

FINIT_MODULE, DELETE_MODULE = 313, 176  # x86-64
STEP = 1 if LONG else 7
RANDOM = ktap.seed()
libc = ctypes.CDLL(None, use_errno=True)


class Faulty(Module):
    """Fixture: the module, in a kernel where things can be made to fail."""

    allowed = faults.SAYS_LOADING

    def settle(self):
        super().settle()
        faults.need()


def all_failures(call, undo):
    """Call with one allocation after the other failing.

    call returns whether it succeeded, else errno is set; undo undoes that.
    Return how often it failed.
    """
    failed = 0
    nth = RANDOM.randint(1, STEP)
    with Nth() as task:
        while True:
            task.arm(nth)
            done = call()
            number = ctypes.get_errno()
            fired = task.disarm()
            if done:
                undo()
            else:
                assert number, f"allocation {nth}: without an error"
                failed += 1
            if not fired:
                assert done
                note(f"{nth} allocations, {failed} of those tried mattered")
                return
            nth += STEP


@test("a network namespace is made")
def _(fixture):
    in_child(lambda: all_failures(lambda: not libc.unshare(NEW_NET),
                                  lambda: None))
    fixture.nl.stats()


@test("the module is loaded")
def _(fixture):
    fixture.nl.close()
    assert unload()

    def load():
        assert not loaded()
        return not libc.syscall(FINIT_MODULE, file, b"", 0)

    file = os.open(MODULE, os.O_RDONLY)
    try:
        all_failures(load, lambda: wait_until(unload, "unloaded"))
    finally:
        load()
        os.close(file)
        fixture.nl = Netlink()
    equal(fixture.nl.stats()["conns"], 0)


def unload():
    """Unload the module. Return whether it could be."""
    return not libc.syscall(DELETE_MODULE, b"kmqtt", os.O_NONBLOCK)


main(Faulty())
