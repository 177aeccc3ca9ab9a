#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A module that is too old or too new for the daemon is refused, clearly, before
anything is touched; and so is a handover to such a daemon."""

import os
import shutil
import signal
import subprocess

from broker import Broker, client
from ktap import TIMEOUT, cases, equal, main, test
from nl import LIMIT, TOP

VERSION = LIMIT["genl_version"]
TESTED = TOP / "build/kmqttd-test"
WANTED = "KMQTTD_TEST_VERSION"  # the version that the daemon says it needs


class Upgraded(Broker):
    """Fixture: a broker whose program can be replaced, and whose files are all
    in one place."""

    def make_directory(self):
        super().make_directory()
        self.program = self.directory / "kmqttd"
        self.install()
        self.own_config = self.config = (
            f"{self.persistent(self.config)}"
            f"runtime_directory {self.directory / 'runtime'}\n")

    def install(self, wanted=None):
        """Put another version where the program is."""
        fresh = self.directory / "kmqttd.new"
        if wanted is None:
            shutil.copy(TESTED, fresh)
        else:
            fresh.write_text(
                f'#!/bin/sh\n{WANTED}={wanted} exec {TESTED} "$@"\n')
            fresh.chmod(0o755)
        fresh.rename(self.program)

    def files(self):
        """Return what is in its files, and when they were changed."""
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino,
                       path.read_bytes())
                for path in self.directory.rglob("*") if path.is_file()}


@cases([("the module is too old", VERSION + 1, b"too old"),
        ("the module is too new", VERSION - 1, b"too new")])
def refused(broker, wanted, word):
    with client(f"one{wanted}", clean=False) as one, \
            client("other") as other:
        one.subscribe(("a", 1))
        broker.end()
        before = broker.files()
        done = subprocess.run(
            [broker.program, "-c", broker.directory / "kmqttd.conf"],
            env={**os.environ, WANTED: str(wanted)}, capture_output=True,
            timeout=TIMEOUT, check=False)
        equal(done.returncode, 1, "exit status")
        for words in word, b"version %d" % VERSION, b"needs %d" % wanted:
            assert words in done.stderr, done.stderr
        equal(broker.files(), before, "files")
        equal(broker.nl.stats()["daemon"], 0)
        one.ping()
        broker.start_daemon()
        other.publish("a", b"still there", 1)
        equal(one.message(), ("a", b"still there"))


@test("a handover to a program that would not start is refused")
def handover(broker):
    with client("one") as one, broker.counted():
        one.subscribe(("a", 1))
        before = broker.daemon.pid
        broker.install(VERSION + 1)
        broker.daemon.send_signal(signal.SIGUSR2)
        broker.await_line("too old for this kmqttd(.|\n)*Not handed over")
        broker.install()
        equal(broker.nl.stats()["daemon"], before)
        one.publish("a", b"as before", 1)
        equal(one.message(), ("a", b"as before"))
        broker.hand_over()
        one.publish("a", b"and after", 1)
        equal(one.message(), ("a", b"and after"))


main(Upgraded())
