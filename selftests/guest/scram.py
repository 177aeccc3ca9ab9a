# SPDX-License-Identifier: GPL-2.0
"""SCRAM-SHA-256 for tests: the client's side, and a user's secret (RFC 5802,
RFC 7677)."""

import base64
import hashlib
import hmac
import os

METHOD = "SCRAM-SHA-256"


def _hmac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def _xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def _b64(data):
    return base64.b64encode(data).decode()


def secret(password, iterations=4096, salt=None):
    """Return what the server keeps of a password, as gsasl --mkpasswd says."""
    salt = salt or os.urandom(12)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    server = _hmac(salted, b"Server Key")
    return (f"{{{METHOD}}}{iterations},{_b64(salt)},{_b64(stored)},"
            f"{_b64(server)}")


class Exchange:
    """One authentication, as its client."""

    def __init__(self, user, password, binding="n,,"):
        self.password, self.binding = password, binding
        self.nonce = _b64(os.urandom(18))
        self.bare = f"n={user},r={self.nonce}"
        self.salted = self.messages = None

    @property
    def first(self):
        """The first message."""
        return (self.binding + self.bare).encode()

    def final(self, challenge):
        """Return the answer to the server's first message."""
        fields = dict(part.split("=", 1)
                      for part in challenge.decode().split(","))
        assert fields["r"].startswith(self.nonce), "not our nonce"
        assert len(fields["r"]) > len(self.nonce), "the server adds nothing"
        self.salted = hashlib.pbkdf2_hmac(
            "sha256", self.password.encode(), base64.b64decode(fields["s"]),
            int(fields["i"]))
        without = f"c={_b64(self.binding.encode())},r={fields['r']}"
        self.messages = ",".join((self.bare, challenge.decode(),
                                  without)).encode()
        key = _hmac(self.salted, b"Client Key")
        signature = _hmac(hashlib.sha256(key).digest(), self.messages)
        return f"{without},p={_b64(_xor(key, signature))}".encode()

    def check(self, verifier):
        """Assert that the server knows the secret too."""
        key = _hmac(self.salted, b"Server Key")
        wanted = "v=" + _b64(_hmac(key, self.messages))
        assert verifier and verifier.decode() == wanted, \
            f"the server's signature is {verifier}"
