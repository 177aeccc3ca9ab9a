# SPDX-License-Identifier: GPL-2.0
"""The trunk (struct kmqtt_trunk_arrival, and struct kmqtt_trunk_record)."""

import collections
import contextlib
import os
import struct

from ktap import TIMEOUT, equal
from nl import LIMIT, Descriptor

ARRIVAL = struct.Struct("QII")
RECORD = struct.Struct("II")
ALIGN = LIMIT["trunk_align"]
MAX = LIMIT["trunk_max"]
LEAST = LIMIT["trunk_least"]

Arrival = collections.namedtuple("Arrival", "conn cookie data")


def record(one, *packets):
    """Build the record that sends these packets to a connection."""
    data = b"".join(packets)
    number = one if isinstance(one, int) else one.id
    return RECORD.pack(number, len(data)) + data + bytes(-len(data) % ALIGN)


def decode(data):
    """Decode what was read, which must be right."""
    at, out = 0, []
    while at < len(data):
        cookie, conn, size = ARRIVAL.unpack_from(data, at)
        assert size <= MAX, size
        at += ARRIVAL.size
        end = at + size
        out.append(Arrival(conn, cookie, data[at:end]))
        at = end + -end % ALIGN
        equal(data[end:at], bytes(at - end), "padding")
    equal(at, len(data), "the last record")
    return out


class Trunk(Descriptor):
    """A descriptor of the trunk."""

    def __init__(self, netlink):
        super().__init__(netlink.trunk_open())

    def read(self, size=1 << 16):
        """Read once, waiting for something."""
        data = None
        while data is None:
            assert self.readable(TIMEOUT), "not readable"
            # One that was forgotten, or adopted, may have arrived before.
            with contextlib.suppress(BlockingIOError):
                data = os.read(self.descriptor, size)
        assert 0 < len(data) <= size
        return decode(data)

    def stream(self, one, size):
        """Read so many bytes of one connection, which nobody else sends to."""
        data = b""
        while len(data) < size:
            for arrival in self.read():
                equal(arrival.conn, one.id)
                assert arrival.data, "the end"
                data += arrival.data
        return data

    def write(self, *records):
        """Write records, and return how many bytes are done."""
        return os.write(self.descriptor, b"".join(records))
