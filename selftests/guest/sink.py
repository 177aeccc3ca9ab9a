# SPDX-License-Identifier: GPL-2.0
"""The sink's reader (struct kmqtt_sink_record in kmod/uapi/linux/kmqtt.h)."""

import collections
import os
import struct

from attached import Netlinked
from ktap import TIMEOUT, equal
from mqtt import publish
from nl import Descriptor

RETAIN, FILTER, SHARES = 1, 2, 4
UPGRADE = 4  # of the flags of a subscription
HEAD = struct.Struct("QIIIHBBII")
ALIGN = 8

Record = collections.namedtuple("Record", "seq conn topic payload flags properties")


def decode(data):
    """Decode one record, which must be right."""
    (seq, size, conn, payload_len, topic_len, qos, flags, properties_len,
     reserved) = HEAD.unpack_from(data)
    properties = HEAD.size + topic_len
    payload = properties + properties_len
    end = payload + payload_len
    equal((size, qos, reserved), (end + -end % ALIGN, 0, 0), "size and qos")
    equal(data[end:], bytes(size - end), "padding")
    return Record(seq, conn, data[HEAD.size:properties].decode(),
                  data[payload:end], flags, data[properties:payload])


class Sink(Descriptor):
    """A descriptor of the sink, and what was read from it."""

    def __init__(self, netlink, **values):
        # Connections of slow machines' tests outlive it.
        super().__init__(netlink.sink_open(
            **{"orphan_timeout": 3600, **values}))
        self.data = b""
        self.whole = collections.deque()

    def read(self, size=1 << 16):
        """Read once, waiting for something."""
        assert self.readable(TIMEOUT), "not readable"
        data = os.read(self.descriptor, size)
        assert 0 < len(data) <= size
        self.data += data
        at = 0
        while at + HEAD.size <= len(self.data):
            size = HEAD.unpack_from(self.data, at)[1]
            if len(self.data) < at + size:
                break
            self.whole.append(decode(self.data[at:at + size]))
            at += size
        self.data = self.data[at:]

    def record(self, size=1 << 16):
        """Return the next record, reading size bytes at a time."""
        while not self.whole:
            self.read(size)
        return self.whole.popleft()

    def records(self, count, size=1 << 16):
        """Return the next records."""
        return [self.record(size) for _ in range(count)]

    def now(self):
        """Return what there is now."""
        while self.readable():
            self.read()
        return self.take()

    def take(self):
        """Return what was read already."""
        records = list(self.whole)
        self.whole.clear()
        return records


class Sinking(Netlinked):
    """Fixture: the module; the sink is empty, and has no filters."""

    def settle(self):
        super().settle()
        if self.nl:
            self.nl.flush()


def retained(topic, payload=b""):
    """Build a PUBLISH with RETAIN."""
    return publish(topic, payload, flags=1)
