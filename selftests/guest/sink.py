# SPDX-License-Identifier: GPL-2.0
"""The sink's reader (struct kmqtt_sink_record in kmod/uapi/linux/kmqtt.h)."""

import collections
import os
import select
import struct

from ktap import TIMEOUT, equal

RETAIN, FILTER = 1, 2
HEAD = struct.Struct("QIIIHBB")
ALIGN = 8

Record = collections.namedtuple("Record", "seq conn topic payload flags")


class Sink:
    """A descriptor of the sink, and what was read from it."""

    def __init__(self, netlink, **values):
        self.descriptor = netlink.sink_open(**values)
        os.set_blocking(self.descriptor, False)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close the descriptor."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = None

    def readable(self, timeout=0):
        """Does poll() say that there is something?"""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return [event for _, event in poll.poll(timeout * 1000)] == \
            [select.POLLIN]

    def read(self, size=1 << 16):
        """Read once, waiting for something."""
        assert self.readable(TIMEOUT), "not readable"
        data = os.read(self.descriptor, size)
        assert 0 < len(data) <= size
        self.data += data

    def next(self):
        """Take a whole record out of what was read, or return None."""
        if len(self.data) < HEAD.size:
            return None
        seq, size, conn, payload_len, topic_len, qos, flags = \
            HEAD.unpack_from(self.data)
        end = HEAD.size + topic_len + payload_len
        equal((size, qos), (end + -end % ALIGN, 0), "size and qos")
        if len(self.data) < size:
            return None
        body = self.data[HEAD.size:end]
        equal(self.data[end:size], bytes(size - end), "padding")
        self.data = self.data[size:]
        return Record(seq, conn, body[:topic_len].decode(), body[topic_len:],
                      flags)

    def record(self, size=1 << 16):
        """Return the next record, reading size bytes at a time."""
        while True:
            record = self.next()
            if record:
                return record
            self.read(size)

    def records(self, count, size=1 << 16):
        """Return the next records."""
        return [self.record(size) for _ in range(count)]

    def now(self):
        """Return what there is now."""
        records = []
        while self.readable():
            self.read()
        while True:
            record = self.next()
            if not record:
                return records
            records.append(record)
