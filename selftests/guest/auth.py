# SPDX-License-Identifier: GPL-2.0
"""A fixture with a password file, and what tests about logins need."""

import base64
import hashlib
import os
import signal

from broker import PORT, Broker
from ktap import wait_until
from mqtt import Client, Closed, connect

SLOW = 5_000_000  # iterations: minutes in an emulated machine
LISTENER = f"listener {PORT} 127.0.0.1\n"
ALICE = {"username": "alice", "password": "secret"}


def b64(data):
    """Encode in base64."""
    return base64.b64encode(data).decode()


def line(user, password, iterations=101, salt=None):
    """Return a line of a password file, as mosquitto_passwd 2 makes it."""
    salt = os.urandom(12) if salt is None else salt
    key = (hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
           if iterations < SLOW else bytes(64))
    return f"{user}:$7${iterations}${b64(salt)}${b64(key)}\n"


USERS = line("alice", "secret") + line("a b", "x y")


class Auth(Broker):
    """Fixture: a broker with a file of passwords."""

    def __init__(self):
        super().__init__()
        self.own_config = self.config = None

    @property
    def passwords(self):
        """Path of the file."""
        return self.directory / "passwords"

    def make_directory(self):
        super().make_directory()
        self.write(USERS)
        self.own_config = self.config = self.users()

    def write(self, *lines):
        """Replace the password file."""
        self.passwords.write_text("".join(lines))

    def users(self, more=""):
        """Return a configuration with it."""
        return (f"listener {PORT} 127.0.0.1\npassword_file {self.passwords}\n"
                f"log_type all\n{more}")

    def reload(self, config=None, good=True):
        """Send SIGHUP, and wait for what becomes of it."""
        said = "Config reloaded" if good else "Nothing has been reloaded"
        before = self.said().count(said)
        if config is not None:
            self.config = config
            (self.directory / "kmqttd.conf").write_text(
                f"{config}\npid_file {self.pid_file}\n")
        self.daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: self.said().count(said) > before, said)

    def recover(self):
        self.write(USERS)
        super().recover()


def codes(port, attempts):
    """Connect with all of attempts at once. Return their CONNACK codes."""
    clients = []
    for fields in attempts:
        fields = {"client_id": "c", **fields}
        # One after the other: those of one identifier would end each other.
        clients.append(Client(("127.0.0.1", port)))
        clients[-1].send(connect(fields.pop("client_id"), **fields))
    result = []
    for one in clients:
        try:
            result.append(one.packet().body[1])
        except Closed:
            result.append("closed")
        one.close()
    return result


def waits(broker, name, **fields):
    """Return a client whose password is being hashed."""
    one = Client()
    one.send(connect(name, **fields))
    broker.await_received(one, 20)
    return one
