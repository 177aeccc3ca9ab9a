# SPDX-License-Identifier: GPL-2.0
"""Failures on demand, in a kernel that has fault injection.

Documentation/fault-injection/fault-injection.rst. Of allocations the Nth fails
of what one task does; of the module's sends into TCP, those of its workers.
"""

import contextlib
import errno
import os
import pathlib
import re
import struct

from ktap import TIMEOUT, Skip
from nl import (CMD, NLM_F_ACK, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
                SPACES, Error, check_error)

DEBUG = pathlib.Path("/sys/kernel/debug")
SEND = "kmqtt_tx_send"
# Of allocations that fail the kernel says a lot, but not of the module's.
SAYS = re.compile(rb"^(?!.*(\[kmqtt\]|BUG|WARNING|Oops|UBSAN|KASAN|"
                  rb"general protection))")
# While it is loaded, the kernel fails on its behalf.
SAYS_LOADING = re.compile(rb"^(?!.*(BUG|WARNING|Oops|UBSAN|KASAN|"
                          rb"general protection))")


def write(path, value):
    """Write to a file that takes one value."""
    path.write_text(f"{value}\n")


def need():
    """Skip where the kernel cannot do it; else get ready."""
    if not (DEBUG / "failslab").exists():
        raise Skip("needs a kernel with fault injection: tools/debug-kernel")
    for name in ("failslab", "fail_page_alloc", "fail_usercopy",
                 "fail_function"):
        write(DEBUG / name / "verbose", 0)
    # Allocations that may sleep, too; but not a process's own pages.
    write(DEBUG / "failslab/ignore-gfp-wait", "N")
    write(DEBUG / "fail_page_alloc/ignore-gfp-wait", "N")
    write(DEBUG / "fail_page_alloc/min-order", 0)


class Nth:
    """The Nth allocation of a task is to fail."""

    def __init__(self, task="thread-self"):
        self.file = os.open(f"/proc/{task}/fail-nth", os.O_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.file)

    def arm(self, nth):
        """Count from now on."""
        os.pwrite(self.file, b"%d" % nth, 0)

    def disarm(self):
        """Stop counting. Return whether it has failed."""
        fired = False
        # Reading copies to user space, which counts, and may fail, too.
        with contextlib.suppress(OSError):
            fired = not int(os.pread(self.file, 16, 0))
        with contextlib.suppress(OSError):
            os.pwrite(self.file, b"0", 0)
        return fired


class Attempt:
    """A request during which an allocation failed, or was to.

    .error is an errno or 0, .known whether the kernel has answered: it needs
    memory for that, too. .answers are what came beside that, .fired whether the
    failure was met.
    """

    def __init__(self, nl, nth, cmd, values=(), flags=NLM_F_ACK):
        body = SPACES[cmd].encode(values)
        nl.seq += 1
        body = struct.pack("BBH", CMD[cmd], 2, 0) + body
        head = struct.pack("IHHII", 16 + len(body), nl.family,
                           flags | NLM_F_REQUEST, nl.seq, 0)
        self.error, self.known, self.answers, self.text = 0, True, [], ""
        with Nth() as task:
            task.arm(nth)
            try:
                nl.socket.send(head + body)
            except OSError as error:
                self.error = error.errno
            self.fired = task.disarm()
        if not self.error:
            self._receive(nl, SPACES[cmd])

    def _receive(self, nl, space):
        nl.socket.settimeout(TIMEOUT)
        try:
            while self._take(nl, space):
                pass
        except Error as error:
            self.error, self.text = error.errno, error.text
        except OSError as error:
            self.error, self.known = error.errno, False
            assert self.error == errno.ENOBUFS, error
            self._drain(nl, space)
        finally:
            nl.socket.settimeout(TIMEOUT)

    def _drain(self, nl, space):
        nl.socket.settimeout(0)
        with contextlib.suppress(OSError):
            while self._take(nl, space):
                pass

    def _take(self, nl, space):
        for kind, flags, seq, rest in nl.receive():
            if seq != nl.seq:
                continue
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                check_error(kind, flags, rest)
                return False
            self.answers.append(space.decode(rest[4:]))
        return True


def workers():
    """Return the paths below /proc of the workers' threads."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            name = re.fullmatch(r"kmqtt/(\d+)\n", (path / "comm").read_text())
            if name:
                found[int(name[1])] = path
    return [found[cpu] for cpu in sorted(found)]


class Sends:
    """Sends of the module into TCP fail, so many of them, with an error.

    Whoever makes them: the kernel cannot tell tasks apart in a breakpoint.
    """

    def __init__(self, number, times=1):
        self.number, self.times = number, times

    def __enter__(self):
        control = DEBUG / "fail_function"
        write(control / "inject", SEND)
        write(control / SEND / "retval", hex(-self.number & (1 << 64) - 1))
        write(control / "task-filter", "N")
        write(control / "interval", 1)
        write(control / "times", self.times)
        write(control / "probability", 100)
        return self

    def __exit__(self, *_):
        control = DEBUG / "fail_function"
        write(control / "probability", 0)
        write(control / "inject", "")

    @staticmethod
    def left():
        """Return how many are still to fail."""
        return int((DEBUG / "fail_function/times").read_text())
