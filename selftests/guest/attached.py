# SPDX-License-Identifier: GPL-2.0
"""Connections without the daemon: the test is the daemon."""

import contextlib
import os
import socket

from broker import Module
from ktap import TIMEOUT, equal, wait_until
from mqtt import Client, connect

PORT = 1999
listening = socket.create_server(("127.0.0.1", PORT), backlog=1000)


class Attached(Client):
    """A client, and in .server the socket of the server, attached as .id."""

    def __init__(self, netlink, active=True, receive_buffer=None, **limits):
        super().__init__(("127.0.0.1", PORT), receive_buffer)
        self.netlink = netlink
        self.server = listening.accept()[0]
        self.server.settimeout(TIMEOUT)
        self.done = 0
        self.id = netlink.conn_add(self.server, **limits)
        if active:
            self.activate()

    def activate(self, level=4, **values):
        """Take CONNECT from the client, answer it, and make it active."""
        whole = connect("attached")
        self.send(whole)
        equal(self.from_client(len(whole)), whole)
        self.server.sendall(b"\x20\2\0\0")
        self.connected()
        self.netlink.conn_set(self.id, level=level, active=True, **values)

    def from_client(self, size):
        """Receive as the daemon does, and say that it is done with."""
        data = b""
        while len(data) < size:
            part = self.server.recv(size - len(data))
            if not part:
                break
            data += part
            self.done += len(part)
            with contextlib.suppress(OSError):  # it has ended
                self.netlink.conn_set(self.id, done=self.done)
        return data

    def sub(self, *filters, **values):
        """Subscribe by netlink, and return the sink's sequence."""
        return self.netlink.sub("sub_add", self.id, *filters, **values)

    def record(self):
        """The module's record."""
        return self.netlink.conn(self.id)

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.netlink.conn_del(self.id)
        self.server.close()
        self.close()


class Netlinked(Module):
    """Fixture: the module; nothing is left of one test for the next."""

    def settle(self):
        if self.nl:
            wait_until(lambda: self.nl.stats()["conns"] == 0, "settled")


class Lasting(Netlinked):
    """Fixture: so, where connections do not end for want of a daemon."""

    def load(self):
        super().load()
        os.close(self.nl.sink_open(orphan_timeout=3600))
