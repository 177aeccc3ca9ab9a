#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What the daemon and the kernel send to one connection never mixes inside a
packet (invariant 1)."""

import contextlib
import threading
import time

from broker import Broker, client
from ktap import TIMEOUT, cases, equal, main, times
from mqtt import (PINGRESP, PUBLISH, SUBACK, UNSUBACK, Closed, ping, publish,
                  subscribe, unsubscribe)


# Messages under way at most.
WINDOW = 100


class Flood(threading.Thread):
    """Publishes, with rising numbers, until told to stop."""

    def __init__(self, size):
        super().__init__()
        self.filler = b"." * size
        self.heard = -1
        self.stop = False

    def run(self):
        number = 0
        with client() as publisher, contextlib.suppress(Closed):
            while not self.stop:
                if number - self.heard > WINDOW:
                    time.sleep(0.001)
                    continue
                publisher.send(*(publish("flood", b"%d " % n + self.filler)
                                 for n in range(number, number + 20)))
                number += 20

    def check(self, whole):
        """Check the next message."""
        number, filler = whole.payload.split(b" ")
        equal((whole.topic, filler), ("flood", self.filler))
        equal(int(number), self.heard + 1, "number")
        self.heard += 1


@cases([
    ("small packets", 10, 3, None, 100),
    ("large messages and acknowledgements", 3000, 600, None, 25),
    ("the same, to a small receive buffer", 3000, 600, 4096, 15),
    ("small messages and large acknowledgements, likewise", 50, 4000, 4096, 8),
])
def interleaved(broker, size, count, receive_buffer, rounds):
    filters = [f"f/{number}" for number in range(count)]
    rounds = times(rounds)
    one = client(receive_buffer=receive_buffer)
    one.subscribe("flood")
    flood = Flood(size)
    flood.start()
    try:
        for number in range(1, rounds + 1):
            one.send(subscribe(number, *filters), ping,
                     unsubscribe(number, *filters))
            answers = []
            deadline = time.monotonic() + TIMEOUT
            while len(answers) < 3:
                whole = one.packet()
                assert time.monotonic() < deadline, \
                    f"messages keep answers back: only {answers}"
                if whole.kind == PUBLISH:
                    flood.check(whole)
                else:
                    answers.append(whole)
            acks = [p for p in answers if p.kind != PINGRESP]
            equal([p.kind for p in acks], [SUBACK, UNSUBACK])
            equal([p.number for p in acks], [number, number])
            equal(acks[0].codes, [0] * count)
        assert flood.heard > rounds, f"only {flood.heard} messages between"
    finally:
        flood.stop = True
        flood.join()
        one.close()
    broker.await_conns(0)


main(Broker())
