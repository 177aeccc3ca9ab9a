#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""A long queue in the database holds up nobody but its own session: neither
the daemon's start, nor others when the session comes back."""

import contextlib
import os
import pathlib
import re
import sqlite3
import time

from broker import CONFIG, PORT, Broker, client
from ktap import FACTOR, equal, main, note, test, wait_until
from mqtt import Client, connect

COUNT = 100000
READ = COUNT if os.environ.get("KMQTT_LONG") else 2000
# Of these, one comes for each so many messages of the queue.
EVERY = 100


class Durable(Broker):
    """Fixture: a daemon with a database, and queues without a limit."""

    def make_directory(self):
        super().make_directory()
        self.config = self.own_config = self.persistent(
            CONFIG + "max_queued_messages 0\n")

    @property
    def database(self):
        """Path of the database."""
        return next(self.directory.glob("store.*/*.db"))


def multiply(path):
    """Make COUNT of the one message that is queued, as the daemon wrote it."""
    other = {"message": {"id": "id + i", "payload":
                         "CAST(printf('%06d', i) AS BLOB)"},
             "delivery": {"seq": "seq + i", "message": "message + i"}}
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for table, changed in other.items():
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            equal(db.execute(f"SELECT count(*) FROM {table}").fetchone(), (1,))
            db.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                f" FROM n WHERE i < {COUNT - 1})"
                f" INSERT INTO {table} ({', '.join(names)})"
                f" SELECT {', '.join(changed.get(n, n) for n in names)}"
                f" FROM n, {table}")
        db.execute(f"UPDATE counter SET next_seq = next_seq + {COUNT}")


def check(path):
    """Return how many seconds it takes to look at all of the database."""
    begin = time.monotonic()
    with contextlib.closing(sqlite3.connect(path)) as db:
        equal(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
    return time.monotonic() - begin


def first_connect(broker):
    """Start the daemon. Return after how many seconds somebody is let in."""
    begin = time.monotonic()
    broker.daemon = broker.run_daemon(broker.config)

    def attempt():
        try:
            return Client(("127.0.0.1", PORT))
        except ConnectionRefusedError:
            return None

    with wait_until(attempt, "it listens") as one:
        one.send(connect("first"))
        one.connected()
        took = time.monotonic() - begin
    broker.await_ready()
    return took


def anonymous(broker):
    """Return bytes of the daemon's own memory."""
    status = (pathlib.Path("/proc") / str(broker.daemon.pid) / "status"
              ).read_text()
    return int(re.search(r"^RssAnon:\s*(\d+) kB", status, re.M)[1]) << 10


def connect_once():
    """Return how many seconds a CONNECT takes."""
    begin = time.monotonic()
    with client("other"):
        return time.monotonic() - begin


@test(f"{COUNT:,} queued messages: others connect meanwhile, at the start and"
      " when their session comes back")
def long_queue(broker):
    with client("queue", clean=False) as one:
        one.subscribe(("q", 1))
        one.disconnect()
    with client() as one:
        one.publish("q", b"000000", 1)
    broker.stop()
    short = first_connect(broker)
    empty = anonymous(broker)
    broker.stop()
    multiply(broker.database)
    checked = check(broker.database)

    long = first_connect(broker)
    memory = anonymous(broker) - empty
    note(f"the first CONNECT is answered {long:.2f} s after the start, with an"
         f" empty queue {short:.2f} s; a check of the database takes"
         f" {checked:.2f} s; {memory} bytes more")
    # The database is checked as a whole, what is queued is only counted.
    assert long < short + 3 * checked + 2 * FACTOR, (short, checked, long)
    assert memory < COUNT * 150, memory

    took = [connect_once() for _ in range(10)]
    idle, took = max(took), []
    with client("queue", clean=False, present=True) as one:
        for number in range(READ):
            if not number % EVERY:
                took.append(connect_once())
            equal(one.message(), ("q", b"%06d" % number))
        # It is handed its queue page by page.
        memory = anonymous(broker) - empty
        assert memory < COUNT * 150, memory
    note(f"meanwhile a CONNECT takes at most {max(took):.3f} s, else"
         f" {idle:.3f} s")
    assert max(took) < idle + FACTOR, (idle, max(took))


main(Durable())
