# SPDX-License-Identifier: GPL-2.0
"""For tests of clients that mean harm: a pair of clients beside them that must
not notice, the reasons that connections end for, and memory."""

import contextlib
import os
import re
import select
import signal
import struct
import threading
import time

from broker import Broker, client
from ktap import TIMEOUT, equal, note, wait_until
from mqtt import Closed, packet

BURST = 8  # messages of the pair in a round


class Pair:
    """Two clients, in a process of their own, who exchange numbered messages
    all the time, at QoS 0 and 1, and notice each that is missing, late, or
    nobody's."""

    topics = "pair/0", "pair/1"

    def __init__(self):
        asked, self.ask = os.pipe()
        self.hear, answer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._live(asked, answer)
        os.close(asked)
        os.close(answer)
        self.check()

    def _live(self, asked, answer):
        # Sockets of others, inherited, would stay open.
        for number in set(map(int, os.listdir("/proc/self/fd"))) - {
                0, 1, 2, asked, answer}:
            with contextlib.suppress(OSError):
                os.close(number)
        try:
            self._exchange(asked, answer)
        except BaseException as error:  # pylint: disable=broad-except
            os.write(answer, f"{error!r}"[:1000].encode())
        finally:
            os._exit(0)

    def _exchange(self, asked, answer):
        subscriber, publisher = client("listener"), client("speaker")
        subscriber.subscribe(self.topics[0], (self.topics[1], 1))
        rounds, longest = 0, 0.0
        while True:
            questions = b""
            if select.select([asked], [], [], 0.01)[0]:
                questions = os.read(asked, 100)
                if not questions:  # nobody is there any more
                    return
            begin = time.monotonic()
            self._round(subscriber, publisher, rounds)
            longest = max(longest, time.monotonic() - begin)
            rounds += 1
            if questions:
                os.write(answer, struct.pack("=xQd", rounds, longest))

    def _round(self, subscriber, publisher, number):
        """All of a round arrives; each QoS in order (4.6)."""
        said = [(self.topics[0], struct.pack("=QB", number, i))
                for i in range(BURST)]
        for message in said:
            publisher.publish(*message)
        last = self.topics[1], struct.pack("=Q", number)
        publisher.publish(*last, qos=1)
        heard = subscriber.messages(BURST + 1)
        equal([m for m in heard if m != last], said, "the pair's messages")

    def check(self):
        """Assert that nothing was missing, up to messages sent from now on.

        Return how many rounds there were, and the longest's seconds.
        """
        with contextlib.suppress(BrokenPipeError):  # it says why
            os.write(self.ask, b"?")
        ready = select.select([self.hear], [], [], 2 * TIMEOUT)[0]
        assert ready, "the pair beside is stuck"
        said = os.read(self.hear, 1000)
        assert said[:1] == b"\0", f"the pair beside: {said.decode()}"
        return struct.unpack("=xQd", said)

    def end(self):
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.ask)
        os.close(self.hear)
        os.waitpid(self.pid, 0)


def cut(whole, count):
    """Return a packet less its last bytes, with a remaining length to match."""
    at = 1
    while whole[at] & 0x80:
        at += 1
    return packet(whole[0] >> 4, whole[0] & 0x0f, whole[at + 1:-count])


def figure(path, name):
    """Return bytes that a file of /proc says in kB after a name."""
    with open(path, encoding="ascii") as file:
        return int(re.search(rf"^{name}:\s+(\d+) kB", file.read(),
                             re.M)[1]) << 10


class Memory(threading.Thread):
    """How much memory is taken beyond that at the beginning: the machine's, and
    the daemon's own; .most is the most at a time."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.done = threading.Event()
        self.begin = self._taken()
        self.most = [0, 0]

    def _taken(self):
        return (-figure("/proc/meminfo", "MemAvailable"),
                figure(f"/proc/{self.pid}/status", "VmRSS"))

    def run(self):
        while not self.done.wait(0.05):
            now = [b - a for a, b in zip(self.begin, self._taken())]
            self.most = list(map(max, self.most, now))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()


class Hostile(Broker):
    """Fixture: a broker, and a pair of clients that does no harm."""

    pair = None

    @property
    def lasting(self):
        return 2 if self.pair else 0

    def start(self):
        super().start()
        self.pair = Pair()

    def recover(self):
        if self.pair:
            self.pair.end()
            self.pair = None
        super().recover()
        super().settle()
        self.pair = Pair()

    def stop(self):
        if self.pair:
            rounds, longest = self.pair.check()
            note(f"the pair beside: {rounds} rounds, the longest "
                 f"{longest * 1000:.0f} ms")
            self.pair.end()
            self.pair = None
        super().stop()

    @contextlib.contextmanager
    def beside(self, machine=64, daemon=16):
        """Somebody means harm meanwhile: assert that the machine and the daemon
        take no more MiB than that, and that the pair beside notices nothing."""
        with Memory(self.daemon.pid) as memory:
            yield
            self.pair.check()
        for what, most, limit in zip(("machine", "daemon"), memory.most,
                                     (machine, daemon)):
            assert most < limit << 20, \
                f"the {what} took {most >> 10} KiB more, of {limit} MiB"

    @contextlib.contextmanager
    def attack(self, *reasons, said=None, **limits):
        """As beside(), and assert that connections end, for these reasons only,
        and if said is a pattern, that the daemon has said so of those that it
        deleted itself."""
        at = self.output.stat().st_size
        with self.beside(**limits), self.counted(*reasons):
            yield
        if said:
            wait_until(lambda: len(re.findall(said, self.said_since(at))) >=
                       reasons.count("deleted"), f"always said: {said}")

    @contextlib.contextmanager
    def storm(self, *reasons, **limits):
        """As beside(), and assert that all connections of the storm end, for no
        other reasons. What is random may go without some of them."""
        before = self.nl.stats()["ended"]
        with self.beside(**limits):
            yield
            Broker.settle(self)
        ended = {reason: number - before[reason] for reason, number in
                 self.nl.stats()["ended"].items() if number != before[reason]}
        note("ended:", ended)
        assert set(ended) <= set(reasons), f"not only {reasons}: {ended}"

    def said_since(self, at):
        """Return what the daemon has said after so many bytes."""
        with open(self.output, "rb") as file:
            file.seek(at)
            return file.read().decode(errors="replace")

    def expect_end(self, make, reason, *packets, said=None):
        """Send packets, and expect that connection to end, nobody else's."""
        with self.attack(reason, said=said), make() as one:
            with contextlib.suppress(Closed):  # before all of it was sent
                for part in packets:
                    one.send(part)
            one.ended()
