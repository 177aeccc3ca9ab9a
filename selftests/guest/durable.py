# SPDX-License-Identifier: GPL-2.0
"""Clients that forget nothing: what sections 4.1 and 4.3 ask of a client that
was acknowledged a message, or acknowledged one, before the server fell.

Each keeps its state in a journal, which is written before what it says is
sent. A client that is made with a journal from before goes on from there.
"""

import contextlib
import os
import threading
import time

import mqtt
from mqtt import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, Closed,
                  acknowledge)

WINDOW = 10  # messages under way at a time
NUMBERS = 100  # packet identifiers that a publisher uses
POLL = 1  # seconds, to see whether it is done
AWAY = (Closed, ConnectionError, TimeoutError)


class Journal:
    """Lines of words, kept in a file if there is one."""

    def __init__(self, path=None):
        self.lines = []
        self.file = None
        if path:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_SYNC
            self.file = os.open(path, flags, 0o644)
            with open(path, encoding="ascii") as lines:
                # A last line without an end was not written: nothing that
                # it says was sent.
                self.lines = [line.split() for line in lines
                              if line.endswith("\n")]

    def write(self, *words):
        """Append a line."""
        line = [str(word) for word in words]
        if self.file:
            os.write(self.file, (" ".join(line) + "\n").encode())
        self.lines.append(line)


class Session:
    """A client with a durable session, which comes back whenever it is cut."""

    wire = mqtt  # what it speaks: builds packets, and has a Client
    fields = {}  # of its CONNECTs

    def __init__(self, name, journal):
        self.name, self.journal = name, journal
        self.client = None
        self.known = any(line[0] == "session" for line in journal.lines)
        self.failure = None
        self.thread = None

    def start(self):
        """Run until done() is true, in a thread."""
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def join(self, timeout):
        """Wait until it is done; raise what it has raised."""
        self.thread.join(timeout)
        assert not self.thread.is_alive(), \
            f"{self.name}: not done in {timeout:g} s: {self}"
        if self.failure:
            raise self.failure

    def _run(self):
        try:
            while not self.done():
                try:
                    self._connected()
                except AWAY:
                    time.sleep(0.02)  # before it tries again
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure

    def _connected(self):
        """One connection."""
        with self.wire.Client() as self.client:
            self.client.send(self.wire.connect(self.name, clean=False,
                                               **self.fields))
            code = self.client.packet().body
            if self.known and code[:2] == b"\0\0":
                raise AssertionError(f"{self.name}: its session is lost")
            if not self.known:
                self.begin()
                self.journal.write("session")
                self.known = True
            self.resume()
            while not self.done():
                with contextlib.suppress(TimeoutError):
                    self.step(POLL)

    def begin(self):
        """Do what is to be done once a session."""

    def resume(self):
        """Do what is to be done on a new connection."""

    def done(self):
        """Has it done all that it has to?"""
        raise NotImplementedError

    def step(self, timeout):
        """Send what there is to send, and receive a packet."""
        raise NotImplementedError


class Publisher(Session):
    """Publishes 1, 2, 3... until it is told to stop, and all are complete."""

    def __init__(self, name, qos, journal=None):
        super().__init__(name, journal or Journal())
        self.qos = qos
        self.count = 0
        self.stop = threading.Event()
        self.waiting = {}  # identifier: number, not yet acknowledged
        self.released = {}  # identifier: number, PUBREC has come
        for line in self.journal.lines:
            self._remember(*line)

    def __str__(self):
        return f"{self.count} sent, open: {self.waiting} {self.released}"

    def _remember(self, what, *numbers):
        number = int(numbers[0]) if numbers else 0
        if what == "publish":
            self.waiting[number] = int(numbers[1])
            self.count = int(numbers[1])
        elif what == "release":
            self.released[number] = self.waiting.pop(number)
        elif what == "complete":
            (self.released if self.qos == 2 else self.waiting).pop(number)

    def _note(self, *line):
        self.journal.write(*line)
        self._remember(*line)

    @property
    def complete(self):
        """How many messages the server has taken for its own."""
        return self.count - len(self.waiting)

    def done(self):
        return (self.stop.is_set() and not self.waiting and
                not self.released)

    def _send(self, number, dup):
        self.client.send(self.wire.publish(
            self.name, b"%d" % self.waiting[number], self.qos << 1 | dup << 3,
            number))

    def resume(self):
        """Send again what is not acknowledged, in order (4.4.0-1)."""
        for number in self.released:
            self.client.send(acknowledge(PUBREL, number))
        for number in self.waiting:
            self._send(number, True)

    def step(self, timeout):
        while (not self.stop.is_set() and
               len(self.waiting) + len(self.released) < WINDOW):
            number = self.count % NUMBERS + 1
            self._note("publish", number, self.count + 1)
            self._send(number, False)
        whole = self.client.packet(timeout)
        number = whole.number
        if whole.kind == PUBACK and self.qos == 1 and number in self.waiting:
            self._note("complete", number)
        elif whole.kind == PUBREC and self.qos == 2:
            if number in self.waiting:
                self._note("release", number)
            self.client.send(acknowledge(PUBREL, number))
        elif whole.kind == PUBCOMP and number in self.released:
            self._note("complete", number)
        elif whole.kind != PUBCOMP and whole.kind != PUBACK:
            raise AssertionError(f"{self.name}: not for a publisher: {whole}")


class Subscriber(Session):
    """Receives what publishers publish, until it has it all."""

    def __init__(self, name, qos, publishers, journal=None):
        super().__init__(name, journal or Journal())
        self.qos = qos
        self.wanted = {p.name: 0 for p in publishers}  # not known yet
        self.got = {p.name: [] for p in publishers}
        self.open = set()  # identifiers of QoS 2, PUBREL has not come
        for line in self.journal.lines:
            self._remember(*line)

    def __str__(self):
        return str({name: (self.wanted[name], len(got), got[-3:])
                    for name, got in self.got.items()})

    def _remember(self, what, *words):
        if what == "got":
            self.got[words[0]].append(int(words[1]))
            if int(words[2]):
                self.open.add(int(words[2]))
        elif what == "released":
            self.open.discard(int(words[0]))

    def _note(self, *line):
        self.journal.write(*line)
        self._remember(*map(str, line))

    def begin(self):
        self.client.send(self.wire.subscribe(1, *((name, self.qos)
                                                  for name in self.wanted)))
        self.client.answer(SUBACK)

    def done(self):
        return not self.open and all(
            count and self.got[name] and max(self.got[name]) >= count
            for name, count in self.wanted.items())

    def step(self, timeout):
        whole = self.client.packet(timeout)
        number = whole.number
        if whole.kind == PUBLISH and whole.qos == 1:
            self._note("got", whole.topic, int(whole.payload), 0)
            self.client.send(acknowledge(PUBACK, number))
        elif whole.kind == PUBLISH and whole.qos == 2:
            if number not in self.open:
                self._note("got", whole.topic, int(whole.payload), number)
            self.client.send(acknowledge(PUBREC, number))
        elif whole.kind == PUBREL:
            if number in self.open:
                self._note("released", number)
            self.client.send(acknowledge(PUBCOMP, number))
        else:
            raise AssertionError(f"{self.name}: not for it: {whole}")

    def check(self, publishers):
        """Assert that it has got everything, in order, QoS 2 once."""
        for publisher in publishers:
            where = f"{self.name} of {publisher.name}"
            got, last = self.got[publisher.name], 0
            for at, number in enumerate(got):
                around = f"{where}: ... {got[max(at - 5, 0):at + 20]} ..."
                assert number <= last + 1, f"lost, or out of order: {around}"
                # At QoS 1 those not acknowledged come again, in order.
                assert number > last or min(publisher.qos, self.qos) < 2, \
                    f"twice: {around}"
                last = max(last, number)
            assert last == publisher.count, \
                f"{where}: lost: {last} is the last of {publisher.count}"


class Workload:
    """Publishers at QoS 1 and 2; a subscriber online, and one that comes at
    the end."""

    def __init__(self, directory=None, wire=mqtt, **fields):
        def journal(name):
            return Journal(directory / name) if directory else Journal()

        self.publishers = [Publisher(f"p{qos}", qos, journal(f"p{qos}"))
                           for qos in (1, 2)]
        self.online = Subscriber("online", 2, self.publishers,
                                 journal("online"))
        self.late = Subscriber("late", 2, self.publishers, journal("late"))
        for session in self.online, self.late, *self.publishers:
            session.wire, session.fields = wire, fields
        if not self.late.known:
            self.register()

    def register(self):
        """Let the late subscriber subscribe, and leave."""
        for subscriber in self.late, self.online:
            with subscriber.wire.Client() as one:
                subscriber.client = one.connect(subscriber.name, clean=False,
                                                **subscriber.fields)
                subscriber.begin()
                subscriber.journal.write("session")
                subscriber.known = True
                one.disconnect()

    def start(self):
        """Begin to publish."""
        for session in [self.online, *self.publishers]:
            session.start()

    @property
    def complete(self):
        """How many messages the server has taken for its own."""
        return sum(publisher.complete for publisher in self.publishers)

    def finish(self, timeout):
        """Publish no more, and assert that everything arrives."""
        for publisher in self.publishers:
            publisher.stop.set()
        for publisher in self.publishers:
            publisher.join(timeout)
        for subscriber in self.online, self.late:
            subscriber.wanted = {p.name: p.count for p in self.publishers}
        self.late.start()
        for subscriber in self.late, self.online:
            subscriber.join(timeout)
            subscriber.check(self.publishers)
