# SPDX-License-Identifier: GPL-2.0
"""MQTT 3.1 and 3.1.1 for tests: packets as bytes, and a client that obeys.

What builds packets checks nothing, so that wrong ones can be built. What reads
them is strict: anything that a server may not send is an error. Sections are of
MQTT 3.1.1 (OASIS, 2014).
"""

import collections
import socket
import struct
import time

from ktap import TIMEOUT

(CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK,
 UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT) = range(1, 15)

REFUSED = 0x80  # a return code of SUBACK


class Closed(Exception):
    """The server has closed the connection."""


# ---- Building ----

def length(number):
    """Encode a remaining length (2.2.3), also one that is too large."""
    out = bytearray()
    while True:
        number, byte = number >> 7, number & 0x7f
        out.append(byte | 0x80 if number else byte)
        if not number:
            return bytes(out)


def text(value):
    """Encode a string, or binary data, with its length before it (1.5.3)."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def packet(kind, flags, *parts):
    """Build any packet."""
    body = b"".join(parts)
    return bytes([kind << 4 | flags]) + length(len(body)) + body


def connect(client_id="", *, level=4, name=None, flags=None, clean=True,
            keepalive=0, will=None, username=None, password=None):
    """Build a CONNECT. will is (topic, message, qos, retain)."""
    if name is None:
        name = "MQIsdp" if level == 3 else "MQTT"
    bits = 2 * clean
    parts = [text(client_id)]
    if will:
        bits |= 4 | will[2] << 3 | will[3] << 5
        parts += [text(will[0]), text(will[1])]
    if username is not None:
        bits |= 0x80
        parts.append(text(username))
    if password is not None:
        bits |= 0x40
        parts.append(text(password))
    if flags is not None:
        bits = flags
    if level == 5:
        parts.insert(0, b"\0")  # no properties
    return packet(CONNECT, 0, text(name), bytes([level, bits]),
                  struct.pack(">H", keepalive), *parts)


def subscribe(number, *filters):
    """Build a SUBSCRIBE of filters, each a string or (string, qos)."""
    pairs = [f if isinstance(f, tuple) else (f, 0) for f in filters]
    return packet(SUBSCRIBE, 2, struct.pack(">H", number),
                  *(text(f) + bytes([qos]) for f, qos in pairs))


def unsubscribe(number, *filters):
    """Build an UNSUBSCRIBE."""
    return packet(UNSUBSCRIBE, 2, struct.pack(">H", number),
                  *map(text, filters))


def publish(topic, payload=b"", flags=0, number=None):
    """Build a PUBLISH; flags are the fixed header's, number for QoS 1 and 2."""
    parts = [text(topic)]
    if number is not None:
        parts.append(struct.pack(">H", number))
    return packet(PUBLISH, flags, *parts, payload)


def acknowledge(kind, number):
    """Build a PUBACK, PUBREC, PUBREL or PUBCOMP."""
    return packet(kind, 2 if kind == PUBREL else 0, struct.pack(">H", number))


ping = packet(PINGREQ, 0)
disconnect = packet(DISCONNECT, 0)


# ---- Reading ----

class Packet(collections.namedtuple("Packet", "kind flags body")):
    """A packet from the server."""

    @property
    def topic(self):
        """Topic name of a PUBLISH."""
        return self.body[2:2 + self._topic_len].decode()

    @property
    def payload(self):
        """Payload of a PUBLISH."""
        return self.body[2 + self._topic_len + 2 * (self.qos > 0):]

    @property
    def qos(self):
        """QoS of a PUBLISH."""
        return self.flags >> 1 & 3

    @property
    def retain(self):
        """RETAIN flag of a PUBLISH."""
        return bool(self.flags & 1)

    @property
    def dup(self):
        """DUP flag of a PUBLISH."""
        return bool(self.flags & 8)

    @property
    def number(self):
        """Packet identifier."""
        at = 2 + self._topic_len if self.kind == PUBLISH else 0
        return struct.unpack_from(">H", self.body, at)[0]

    @property
    def codes(self):
        """Return codes of a SUBACK."""
        return list(self.body[2:])

    @property
    def _topic_len(self):
        return struct.unpack_from(">H", self.body)[0]

    def _good_publish(self):
        head = 2 + self._topic_len + 2 * (self.qos > 0)
        return (2 < head <= len(self.body) and self.topic and
                self.qos < 3 and self.dup <= (self.qos > 0) and
                (not self.qos or self.number))

    def check(self):
        """Raise ValueError if a server may not send it."""
        size = len(self.body)
        flags = {PUBLISH: self.flags, PUBREL: 2}.get(self.kind, 0)
        good = {
            CONNACK: lambda: size == 2 or size == 3,  # the latter in MQTT 5
            PUBLISH: self._good_publish,
            **dict.fromkeys((PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK),
                            lambda: size == 2 and self.number),
            SUBACK: lambda: size > 2 and set(self.codes) <= {0, 1, 2, REFUSED},
            PINGRESP: lambda: size == 0,
        }.get(self.kind)
        if self.flags != flags or not good or not good():
            raise ValueError(f"not a packet of a server: {self.kind}, "
                             f"{self.flags}, {size}, {self.body[:80]!r}")


class Reader:
    """Takes a stream apart, into packets of a form."""

    def __init__(self, form=Packet):
        self.form = form
        self.data = bytearray()

    def feed(self, data):
        """Append bytes that have come."""
        self.data += data

    def next(self):
        """Return the next packet, or None if it is not whole yet."""
        size = at = 0
        while True:
            at += 1
            if at >= len(self.data):
                return None
            size |= (self.data[at] & 0x7f) << 7 * (at - 1)
            if self.data[at] < 0x80:
                break
            if at == 4:
                raise ValueError(f"no packet begins with {self.data[:80]!r}")
        at += 1
        if len(self.data) < at + size:
            return None
        first = self.data[0]
        body = bytes(self.data[at:at + size])
        whole = self.form(first >> 4, first & 0x0f, body)
        del self.data[:at + size]
        whole.check()
        return whole

    def __iter__(self):
        return iter(self.next, None)


# ---- A client ----

class Client:
    """A TCP connection to a broker, and MQTT on it where that is wanted."""

    form = Packet

    def __init__(self, address=("127.0.0.1", 1883), receive_buffer=None):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                   receive_buffer)
            # Segments that are larger than the window would wait for a timer.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG,
                                   receive_buffer // 4)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(address)
        self.port = self.socket.getsockname()[1]
        self.reader = Reader(self.form)
        self.inbox = collections.deque()
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def close(self):
        """Close the connection, with a FIN."""
        self.socket.close()

    def reset(self):
        """Close the connection, with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, *packets):
        """Send bytes, as one segment if they fit one."""
        try:
            self.socket.sendall(b"".join(packets))
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Closed from error

    def receive(self, timeout=TIMEOUT):
        """Return bytes that have come, at least one."""
        self.socket.settimeout(max(timeout, 0.001))
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError as error:
            raise Closed from error
        finally:
            self.socket.settimeout(TIMEOUT)
        if not data:
            if self.reader.data:
                raise ValueError(f"cut off after {bytes(self.reader.data)!r}")
            raise Closed
        return data

    def packet(self, timeout=TIMEOUT):
        """Return the next packet."""
        deadline = time.monotonic() + timeout
        while True:
            whole = self.reader.next()
            if whole:
                return whole
            self.reader.feed(self.receive(deadline - time.monotonic()))

    def answer(self, kind, timeout=TIMEOUT):
        """Return the next packet that is not a PUBLISH, which must be a kind.

        The PUBLISHes are for message() later.
        """
        while True:
            whole = self.packet(timeout)
            if whole.kind == kind:
                return whole
            if whole.kind != PUBLISH:
                raise AssertionError(f"wanted packet type {kind}, got {whole}")
            self.inbox.append(whole)

    def delivery(self, timeout=TIMEOUT):
        """Return the next PUBLISH, whole and not acknowledged."""
        whole = self.inbox.popleft() if self.inbox else self.packet(timeout)
        if whole.kind != PUBLISH:
            raise AssertionError(f"wanted a PUBLISH, got {whole}")
        return whole

    def accept(self, whole):
        """Acknowledge a PUBLISH as its QoS demands (4.3). Return it."""
        if whole.qos == 1:
            self.send(acknowledge(PUBACK, whole.number))
        elif whole.qos == 2:
            self.send(acknowledge(PUBREC, whole.number))
            self.acknowledged(PUBREL, whole.number)
            self.send(acknowledge(PUBCOMP, whole.number))
        return whole

    def message(self, timeout=TIMEOUT):
        """Accept the next PUBLISH, and return it as (topic, payload)."""
        whole = self.accept(self.delivery(timeout))
        return whole.topic, whole.payload

    def messages(self, count):
        """Return the next PUBLISHes."""
        return [self.message() for _ in range(count)]

    def until(self, topic):
        """Return the PUBLISHes before the one with this topic."""
        return list(iter_until(self.message, lambda m: m[0] == topic))

    def ended(self, timeout=TIMEOUT):
        """Wait until the server has closed. Return the packets before that."""
        packets = []
        try:
            while True:
                packets.append(self.packet(timeout))
        except Closed:
            return packets

    def connect(self, client_id="", present=False, **fields):
        """Connect; it must be accepted, present says with which session."""
        self.send(connect(client_id, **fields))
        self.connected(present)
        return self

    def connected(self, present=False):
        """Await a CONNACK that accepts, with a session present or without."""
        whole = self.answer(CONNACK)
        assert whole.body == bytes([present, 0]), \
            f"not accepted, or session present is not {present}: {whole}"

    def next_number(self):
        """Return a packet identifier that was not used for long."""
        self.number = self.number % 0xffff + 1
        return self.number

    def acknowledged(self, kind, number):
        """Await an acknowledgement of that kind, with that identifier."""
        whole = self.answer(kind)
        assert whole.number == number, f"{whole}: not for {number}"
        return whole

    def subscribe(self, *filters):
        """Subscribe, and return the return codes."""
        number = self.next_number()
        self.send(subscribe(number, *filters))
        return self.subscribed(number)

    def subscribed(self, number):
        """Await a SUBACK, and return the return codes."""
        return self.acknowledged(SUBACK, number).codes

    def unsubscribe(self, *filters):
        """Unsubscribe."""
        number = self.next_number()
        self.send(unsubscribe(number, *filters))
        self.unsubscribed(number)

    def unsubscribed(self, number):
        """Await an UNSUBACK."""
        self.acknowledged(UNSUBACK, number)

    def publish(self, topic, payload=b"", qos=0, retain=False):
        """Publish, and complete the exchange (4.3).

        What is retained is there for whoever subscribes next.
        """
        number = self.next_number() if qos else None
        self.send(publish(topic, payload, qos << 1 | retain, number))
        if retain and not qos:
            self.ping()
        elif qos == 1:
            self.acknowledged(PUBACK, number)
        elif qos == 2:
            self.acknowledged(PUBREC, number)
            self.send(acknowledge(PUBREL, number))
            self.acknowledged(PUBCOMP, number)

    def publish_all(self, messages, qos=0, retain=False):
        """Publish (topic, payload)s in one go, and complete the exchanges.

        Acknowledgements come in the order of the messages (4.6).
        """
        numbers = [self.next_number() if qos else None for _ in messages]
        self.send(*(publish(*message, qos << 1 | retain, number)
                    for message, number in zip(messages, numbers)))
        if not qos:
            return
        for number in numbers:
            self.acknowledged(PUBACK if qos == 1 else PUBREC, number)
        if qos == 2:
            self.send(*(acknowledge(PUBREL, number) for number in numbers))
            for number in numbers:
                self.acknowledged(PUBCOMP, number)

    def ping(self):
        """Send a PINGREQ, and await the PINGRESP."""
        self.send(ping)
        self.answer(PINGRESP)

    def disconnect(self):
        """Send a DISCONNECT, and wait until the server has closed."""
        self.send(disconnect)
        packets = self.ended()
        self.socket.close()
        return packets

    def quiet(self):
        """Assert that the server has nothing more for us.

        QoS 0 and PINGRESP come from the module, all else from the daemon, so
        ask both.
        """
        self.ping()
        self.unsubscribe("nothing of that name")
        self.ping()
        assert not self.inbox, f"there was more: {list(self.inbox)[:5]}"


def iter_until(get, last):
    """Yield what get() returns, until last() says it is the end."""
    while True:
        item = get()
        if last(item):
            return
        yield item
