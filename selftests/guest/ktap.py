# SPDX-License-Identifier: GPL-2.0
"""Test programs that speak KTAP (Documentation/dev-tools/ktap.rst).

A program decorates its tests with test() or cases() and calls main() with a
fixture, whose start() and ends() come as tests of their own. Every test is
called with the fixture, after its settle(), and before its recover() if the test
failed. It passes by returning, and fails by raising anything.
"""

import functools
import gc
import os
import random
import sys
import time
import traceback

# Multiplies every time-out, for guests slower than emulated ones.
FACTOR = float(os.environ.get("KMQTT_TIME_FACTOR", "1"))
# Long enough for what must happen: a test that waits that long has failed.
TIMEOUT = 20 * FACTOR

# All of what takes long, as in make check-long.
LONG = bool(os.environ.get("KMQTT_LONG"))


def times(count):
    """How often to repeat what is repeated only to see more of it."""
    return max(int(count / FACTOR), min(count, 10))


_tests = []  # (name, function)


class Skip(Exception):
    """Raised by a test that cannot run here; says why."""


def test(name, *args):
    """Make a test of the decorated function, called with args too."""
    def add(function):
        @functools.wraps(function)
        def run(fixture):
            fixture.settle()
            function(fixture, *args)

        _tests.append((name, run))
        return function
    return add


def cases(table):
    """Make a test of each row of table: a name, then arguments."""
    def add(function):
        for name, *args in table:
            test(name, *args)(function)
        return function
    return add


def note(*text):
    """Print a diagnostic."""
    for line in " ".join(map(str, text)).splitlines():
        print("#", line, flush=True)


def seed():
    """Seed the random numbers, and say with what, so that it can be repeated.

    KMQTT_SEED repeats.
    """
    number = int(os.environ.get("KMQTT_SEED", time.time_ns() % 1000000))
    note("KMQTT_SEED =", number)
    return random.Random(number)


def wait_until(condition, what, timeout=TIMEOUT):
    """Wait until condition() is true. Return what it returned."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"in {timeout:g} s: not {what}"
        time.sleep(0.005)


def equal(got, wanted, what=""):
    """Assert that they are equal, and print both if not, but not for ever."""
    if got != wanted:
        raise AssertionError(f"{what or 'compared'}: got {_short(got)}, "
                             f"wanted {_short(wanted)}")


def _short(value, limit=600):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)})"


def _run(number, name, function, fixture):
    begin = time.monotonic()
    try:
        function(fixture)
        result = f"ok {number} {name}"
    except Skip as skip:
        result = f"ok {number} {name} # SKIP {skip}"
    except Exception:  # pylint: disable=broad-except
        result = f"not ok {number} {name}"
        note(traceback.format_exc())
        note(fixture.diagnose())
    if result.startswith("not"):
        gc.collect()  # closes what the test left open
        fixture.recover()
    print(result, flush=True)
    seconds = time.monotonic() - begin
    if seconds >= 5:
        note(f"that took {seconds:.1f} s")
    return not result.startswith("not")


def main(fixture):
    """Start fixture, run all tests with it, end it, and exit.

    With --list on the command line, only print the tests: function and name.
    """
    if sys.argv[1:] == ["--list"]:
        for name, function in _tests:
            print(f"{function.__name__}: {name}")
        sys.exit()
    tests = ([(fixture.start_name, lambda fixture: fixture.start())] + _tests +
             [(name, lambda _, end=end: end()) for name, end in fixture.ends()])
    print(f"KTAP version 1\n1..{len(tests)}", flush=True)
    good = 0
    for number, (name, function) in enumerate(tests, 1):
        good += _run(number, name, function, fixture)
        if not good:
            break  # nothing works without the fixture
    sys.exit(good != len(tests))
