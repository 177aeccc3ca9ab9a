# SPDX-License-Identifier: GPL-2.0
"""MQTT 5.0 for tests: as mqtt.py, with properties and reason codes.

Properties are a sequence of (identifier, value), or bytes, which are taken as
they are; bytes instead of the sequence are the whole field, its length too. So
wrong ones can be built. What reads packets is strict: anything that a server
may not send is an error, as is what this client has said that it does not take.
Sections are of MQTT 5.0 (OASIS, 2019).
"""

import contextlib
import struct

import mqtt
from ktap import TIMEOUT, equal
from mqtt import (CONNACK, CONNECT, DISCONNECT, PINGRESP, PUBACK, PUBCOMP,
                  PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK,
                  UNSUBSCRIBE, length, packet, text)

AUTH = 15
WILL = 0  # stands for the will's properties in CONNECT

# Property identifiers (2.2.2.2).
PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE = 0x01, 0x02, 0x03
RESPONSE_TOPIC, CORRELATION, SUBSCRIPTION_ID = 0x08, 0x09, 0x0b
SESSION_EXPIRY, ASSIGNED_ID, SERVER_KEEPALIVE = 0x11, 0x12, 0x13
AUTH_METHOD, AUTH_DATA, REQUEST_PROBLEM = 0x15, 0x16, 0x17
WILL_DELAY, REQUEST_RESPONSE, RESPONSE_INFO = 0x18, 0x19, 0x1a
SERVER_REFERENCE, REASON, RECEIVE_MAX = 0x1c, 0x1f, 0x21
ALIAS_MAX, ALIAS, MAX_QOS, RETAIN_AVAILABLE = 0x22, 0x23, 0x24, 0x25
USER, MAX_PACKET, WILDCARDS_AVAILABLE = 0x26, 0x27, 0x28
IDS_AVAILABLE, SHARED_AVAILABLE = 0x29, 0x2a

OF_A_MESSAGE = (PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC,
                CORRELATION, USER)
# What each packet may have, whoever sends it.
ALLOWED = {
    CONNECT: (SESSION_EXPIRY, AUTH_METHOD, AUTH_DATA, REQUEST_PROBLEM,
              REQUEST_RESPONSE, RECEIVE_MAX, ALIAS_MAX, USER, MAX_PACKET),
    WILL: (*OF_A_MESSAGE, WILL_DELAY),
    CONNACK: (SESSION_EXPIRY, ASSIGNED_ID, SERVER_KEEPALIVE, AUTH_METHOD,
              AUTH_DATA, RESPONSE_INFO, SERVER_REFERENCE, REASON, RECEIVE_MAX,
              ALIAS_MAX, MAX_QOS, RETAIN_AVAILABLE, USER, MAX_PACKET,
              WILDCARDS_AVAILABLE, IDS_AVAILABLE, SHARED_AVAILABLE),
    PUBLISH: (*OF_A_MESSAGE, ALIAS, SUBSCRIPTION_ID),
    SUBSCRIBE: (SUBSCRIPTION_ID, USER),
    UNSUBSCRIBE: (USER,),
    **dict.fromkeys((PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK),
                    (REASON, USER)),
    DISCONNECT: (SESSION_EXPIRY, SERVER_REFERENCE, REASON, USER),
    AUTH: (AUTH_METHOD, AUTH_DATA, REASON, USER),
}

BYTE, SHORT, LONG, VARIABLE, STRING, BINARY, PAIR = range(7)
TYPES = {
    **dict.fromkeys((PAYLOAD_FORMAT, REQUEST_PROBLEM, REQUEST_RESPONSE, MAX_QOS,
                     RETAIN_AVAILABLE, WILDCARDS_AVAILABLE, IDS_AVAILABLE,
                     SHARED_AVAILABLE), BYTE),
    **dict.fromkeys((SERVER_KEEPALIVE, RECEIVE_MAX, ALIAS_MAX, ALIAS), SHORT),
    **dict.fromkeys((MESSAGE_EXPIRY, SESSION_EXPIRY, WILL_DELAY, MAX_PACKET),
                    LONG),
    SUBSCRIPTION_ID: VARIABLE,
    **dict.fromkeys((CONTENT_TYPE, RESPONSE_TOPIC, ASSIGNED_ID, AUTH_METHOD,
                     RESPONSE_INFO, SERVER_REFERENCE, REASON), STRING),
    **dict.fromkeys((CORRELATION, AUTH_DATA), BINARY),
    USER: PAIR,
}
NOT_ZERO = RECEIVE_MAX, ALIAS, MAX_PACKET, SUBSCRIPTION_ID

# Reason codes (2.4).
SUCCESS, WITH_WILL, NO_SUBSCRIBERS, NO_SUBSCRIPTION = 0x00, 0x04, 0x10, 0x11
CONTINUE, REAUTHENTICATE = 0x18, 0x19
UNSPECIFIED, MALFORMED, PROTOCOL, UNSUPPORTED_VERSION = 0x80, 0x81, 0x82, 0x84
BAD_ID, BAD_LOGIN, NOT_AUTHORIZED = 0x85, 0x86, 0x87
SHUTTING_DOWN, BAD_METHOD, KEEPALIVE, TAKEN_OVER = 0x8b, 0x8c, 0x8d, 0x8e
BAD_FILTER, BAD_TOPIC, NUMBER_IN_USE, NO_NUMBER = 0x8f, 0x90, 0x91, 0x92
RECEIVE_EXCEEDED, BAD_ALIAS, TOO_LARGE = 0x93, 0x94, 0x95
QUOTA, ADMINISTRATIVE, BAD_FORMAT = 0x97, 0x98, 0x99
NO_RETAIN, NO_QOS = 0x9a, 0x9b

OF_PUBLISH = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
# What a server may say.
REASONS = {
    CONNACK: {0x00, *range(0x80, 0x8b), 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a,
              0x9b, 0x9c, 0x9d, 0x9f},
    PUBACK: OF_PUBLISH, PUBREC: OF_PUBLISH,
    PUBREL: {0x00, 0x92}, PUBCOMP: {0x00, 0x92},
    SUBACK: {0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2},
    UNSUBACK: {0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91},
    DISCONNECT: {0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e,
                 0x8f, *range(0x90, 0x9b), 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0,
                 0xa1, 0xa2} - {0x91, 0x92},
    AUTH: {0x00, 0x18},
}


# ---- Building ----

def one_property(identifier, value):
    """Encode a property."""
    kind = TYPES[identifier]
    if kind == PAIR:
        data = text(value[0]) + text(value[1])
    elif kind in (STRING, BINARY):
        data = text(value)
    elif kind == VARIABLE:
        data = length(value)
    else:
        data = value.to_bytes((1, 2, 4)[kind], "big")
    return length(identifier) + data


def listed(properties):
    """Encode properties, without their length."""
    return b"".join(each if isinstance(each, bytes) else one_property(*each)
                    for each in properties)


def field(properties):
    """Encode properties, with their length before them (2.2.2)."""
    if isinstance(properties, bytes):
        return properties
    data = listed(properties)
    return length(len(data)) + data


def connect(client_id="", *, level=5, name="MQTT", flags=None, clean=True,
            keepalive=0, will=None, will_properties=(), username=None,
            password=None, properties=()):
    """Build a CONNECT. will is (topic, message, qos, retain)."""
    bits = 2 * clean
    parts = [text(client_id)]
    if will:
        bits |= 4 | will[2] << 3 | will[3] << 5
        parts += [field(will_properties), text(will[0]), text(will[1])]
    if username is not None:
        bits |= 0x80
        parts.append(text(username))
    if password is not None:
        bits |= 0x40
        parts.append(text(password))
    if flags is not None:
        bits = flags
    return packet(CONNECT, 0, text(name), bytes([level, bits]),
                  struct.pack(">H", keepalive), field(properties), *parts)


def options(qos=0, no_local=False, as_published=False, handling=0):
    """Return the options of a subscription (3.8.3.1)."""
    return qos | no_local << 2 | as_published << 3 | handling << 4


def subscribe(number, *filters, properties=()):
    """Build a SUBSCRIBE of filters, each a string or (string, options)."""
    pairs = [f if isinstance(f, tuple) else (f, 0) for f in filters]
    return packet(SUBSCRIBE, 2, struct.pack(">H", number), field(properties),
                  *(text(f) + bytes([bits]) for f, bits in pairs))


def unsubscribe(number, *filters, properties=()):
    """Build an UNSUBSCRIBE."""
    return packet(UNSUBSCRIBE, 2, struct.pack(">H", number), field(properties),
                  *map(text, filters))


def publish(topic, payload=b"", flags=0, number=None, properties=()):
    """Build a PUBLISH; flags are the fixed header's, number for QoS 1 and 2."""
    parts = [text(topic)]
    if number is not None:
        parts.append(struct.pack(">H", number))
    return packet(PUBLISH, flags, *parts, field(properties), payload)


def _reasoned(kind, flags, head, reason, properties):
    """Build a packet whose reason and properties may be left away."""
    if properties is not None:
        return packet(kind, flags, head, bytes([reason or 0]),
                      field(properties))
    return packet(kind, flags, head, b"" if reason is None else bytes([reason]))


def acknowledge(kind, number, reason=None, properties=None):
    """Build a PUBACK, PUBREC, PUBREL or PUBCOMP."""
    return _reasoned(kind, 2 if kind == PUBREL else 0,
                     struct.pack(">H", number), reason, properties)


def disconnect(reason=None, properties=None):
    """Build a DISCONNECT."""
    return _reasoned(DISCONNECT, 0, b"", reason, properties)


def auth(reason=None, properties=None):
    """Build an AUTH."""
    return _reasoned(AUTH, 0, b"", reason, properties)


ping = mqtt.ping


# ---- Reading ----

class Cursor:
    """Takes bytes apart."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        """Are there more?"""
        return self.at < len(self.data)

    def take(self, size):
        """Return so many bytes."""
        part = self.data[self.at:self.at + size]
        if len(part) < size:
            raise ValueError(f"cut off: {self.data[:80]!r}")
        self.at += size
        return part

    def integer(self, size):
        """Return an integer."""
        return int.from_bytes(self.take(size), "big")

    def variable(self):
        """Return a variable byte integer (1.5.5)."""
        begin, value = self.at, 0
        for shift in range(0, 28, 7):
            byte = self.integer(1)
            value |= (byte & 0x7f) << shift
            if byte < 0x80:
                break
        if self.data[begin:self.at] != length(value):
            raise ValueError(f"not a minimal integer: {self.data[:80]!r}")
        return value

    def binary(self):
        """Return binary data."""
        return self.take(self.integer(2))

    def string(self):
        """Return a string."""
        value = self.binary().decode()
        if "\0" in value:
            raise ValueError(f"U+0000 in {value!r}")
        return value

    def value(self, identifier):
        """Return the value of a property."""
        kind = TYPES.get(identifier)
        if kind is None:
            raise ValueError(f"no property is {identifier}")
        if kind == PAIR:
            return self.string(), self.string()
        if kind == STRING:
            return self.string()
        if kind == BINARY:
            return self.binary()
        if kind == VARIABLE:
            return self.variable()
        return self.integer((1, 2, 4)[kind])

    def properties(self):
        """Return properties, and their bytes without the length."""
        raw = self.take(self.variable())
        part, result = Cursor(raw), []
        while part.left():
            identifier = part.variable()
            result.append((identifier, part.value(identifier)))
        return result, raw

    def rest(self):
        """Return all that is left."""
        return self.take(len(self.data) - self.at)


def check_properties(kind, properties):
    """Raise ValueError if a packet of that kind must not have them."""
    seen = set()
    for identifier, value in properties:
        many = identifier == USER or (kind, identifier) == (PUBLISH,
                                                            SUBSCRIPTION_ID)
        if identifier not in ALLOWED[kind]:
            raise ValueError(f"property {identifier} in packet type {kind}")
        if identifier in seen and not many:
            raise ValueError(f"property {identifier} twice")
        seen.add(identifier)
        if TYPES[identifier] == BYTE and value > 1:
            raise ValueError(f"property {identifier} is {value}")
        if identifier in NOT_ZERO and not value:
            raise ValueError(f"property {identifier} is 0")


class Packet(mqtt.Packet):
    """A packet from the server. Its parts are attributes."""

    topic = payload = number = reason = None
    codes, properties, raw = (), (), b""

    def __init__(self, *_):
        super().__init__()
        self.failure = None
        try:
            self._parse(Cursor(self.body))
        except (ValueError, UnicodeError) as failure:
            self.failure = failure

    def _parse(self, cursor):
        kind = self.kind
        if kind == CONNACK:
            self.present = cursor.integer(1)
            self.reason = cursor.integer(1)
            self.properties, self.raw = cursor.properties()
        elif kind == PUBLISH:
            self.topic = cursor.string()
            if self.qos:
                self.number = cursor.integer(2)
            self.properties, self.raw = cursor.properties()
            self.payload = cursor.rest()
        elif kind in (SUBACK, UNSUBACK):
            self.number = cursor.integer(2)
            self.properties, self.raw = cursor.properties()
            self.codes = list(cursor.rest())
        elif kind in (PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, AUTH):
            if kind not in (DISCONNECT, AUTH):
                self.number = cursor.integer(2)
            self.reason = cursor.integer(1) if cursor.left() else SUCCESS
            if cursor.left():
                self.properties, self.raw = cursor.properties()
        elif kind != PINGRESP:
            raise ValueError("not a packet of a server")
        if cursor.left():
            raise ValueError("too long")

    @property
    def size(self):
        """Length of the whole packet."""
        return 1 + len(length(len(self.body))) + len(self.body)

    def get(self, identifier, default=None):
        """Return the value of a property that comes once."""
        return dict(self.properties).get(identifier, default)

    def all(self, identifier):
        """Return the values of a property that may come more than once."""
        return [value for which, value in self.properties
                if which == identifier]

    def _good_publish(self):
        return (self.qos < 3 and self.dup <= (self.qos > 0) and
                self.number != 0 and not set(self.topic) & {"+", "#"} and
                (self.topic or self.get(ALIAS)))

    def _good(self):
        kind = self.kind
        flags = {PUBLISH: self.flags, PUBREL: 2}.get(kind, 0)
        if self.flags != flags or self.number == 0:
            return False
        check_properties(kind, self.properties)
        if kind == PUBLISH:
            return self._good_publish()
        if kind == CONNACK and self.present > (self.reason == SUCCESS):
            return False
        if kind == DISCONNECT and self.get(SESSION_EXPIRY) is not None:
            return False
        if kind in (SUBACK, UNSUBACK):
            return self.codes and set(self.codes) <= REASONS[kind]
        return kind == PINGRESP or self.reason in REASONS[kind]

    def check(self):
        """Raise ValueError if a server may not send it."""
        if self.failure or not self._good():
            raise ValueError(f"not a packet of a server: {self.failure} "
                             f"{self.kind}, {self.flags}, {self.body[:80]!r}")


# ---- A client ----

class Client(mqtt.Client):
    """A TCP connection to a broker, and MQTT 5 on it where that is wanted."""

    form = Packet

    def __init__(self, *arguments, **fields):
        super().__init__(*arguments, **fields)
        self.said = {}  # properties of the CONNECT
        self.aliases = {}  # of the server
        self.connack = self.last = None

    def packet(self, timeout=TIMEOUT):
        """Return the next packet."""
        whole = super().packet(timeout)
        self._permitted(whole)
        self.last = whole
        return whole

    def _permitted(self, whole):
        """Raise ValueError if the server must not send it to this client."""
        said, properties = self.said, dict(whole.properties)
        wrong = None
        if self.last and self.last.kind == DISCONNECT:
            wrong = "after DISCONNECT"  # 3.14.4-1
        if whole.size > said.get(MAX_PACKET, whole.size):
            wrong = f"larger than {said[MAX_PACKET]}"  # 3.1.2-24
        if (not said.get(REQUEST_PROBLEM, 1) and
                whole.kind not in (PUBLISH, CONNACK, DISCONNECT) and
                {REASON, USER} & set(properties)):
            wrong = "reasons were not requested"  # 3.1.2-29
        if whole.kind == AUTH and AUTH_METHOD not in said:
            wrong = "no authentication method"  # 4.12.0-6
        if not said.get(REQUEST_RESPONSE) and RESPONSE_INFO in properties:
            wrong = "response information was not requested"  # 3.1.2-28
        if ALIAS in properties:
            wrong = wrong or self._resolve(whole, properties[ALIAS])
        if wrong:
            raise ValueError(f"{wrong}: {whole}")

    def _resolve(self, whole, alias):
        if alias > self.said.get(ALIAS_MAX, 0):
            return "a topic alias too large"  # 3.1.2-26
        if not whole.topic and alias not in self.aliases:
            return "a topic alias that is not known"
        whole.topic = self.aliases[alias] = whole.topic or self.aliases[alias]
        return None

    def begin(self, client_id="", **fields):
        """Send a CONNECT."""
        properties = fields.get("properties", ())
        if not isinstance(properties, bytes):
            self.said = dict(p for p in properties if isinstance(p, tuple))
        self.send(connect(client_id, **fields))

    def connect(self, client_id="", present=False, **fields):
        """Connect; it must be accepted, present says with which session."""
        self.begin(client_id, **fields)
        self.connected(present)
        return self

    def connected(self, present=False):
        """Await a CONNACK that accepts, with a session present or without."""
        whole = self.connack = self.answer(CONNACK)
        assert (whole.present, whole.reason) == (present, SUCCESS), \
            f"not accepted, or session present is not {present}: {whole}"
        return whole

    def acknowledged(self, kind, number, *reasons):
        """Await an acknowledgement, of success or one of these reasons."""
        whole = super().acknowledged(kind, number)
        if kind not in (SUBACK, UNSUBACK):
            wanted = reasons or (SUCCESS, NO_SUBSCRIBERS)
            assert whole.reason in wanted, \
                f"{whole}: not one of {[hex(r) for r in wanted]}"
        return whole

    def subscribe(self, *filters, properties=()):
        """Subscribe, and return the reason codes."""
        number = self.next_number()
        self.send(subscribe(number, *filters, properties=properties))
        codes = self.subscribed(number)
        equal(len(codes), len(filters), "reason codes")
        return codes

    def unsubscribe(self, *filters, properties=()):
        """Unsubscribe, and return the reason codes."""
        number = self.next_number()
        self.send(unsubscribe(number, *filters, properties=properties))
        codes = self.unsubscribed(number)
        equal(len(codes), len(filters), "reason codes")
        return codes

    def unsubscribed(self, number):
        """Await an UNSUBACK, and return the reason codes."""
        return self.acknowledged(UNSUBACK, number).codes

    def publish(self, topic, payload=b"", qos=0, retain=False, properties=(),
                reasons=()):
        """Publish, and complete the exchange. Return the reason code.

        What is retained is there for whoever subscribes next.
        """
        number = self.next_number() if qos else None
        self.send(publish(topic, payload, qos << 1 | retain, number,
                          properties))
        if not qos:
            if retain:
                self.ping()
            return SUCCESS
        kind = PUBACK if qos == 1 else PUBREC
        reason = self.acknowledged(kind, number, *reasons).reason
        if qos == 2 and reason < 0x80:
            self.send(acknowledge(PUBREL, number))
            self.acknowledged(PUBCOMP, number, SUCCESS)
        return reason

    def disconnect(self, reason=None, properties=None):
        """Send a DISCONNECT, and wait until the server has closed."""
        self.send(disconnect(reason, properties))
        packets = self.ended()
        self.socket.close()
        return packets

    def waiting(self):
        """Accept all that is there for this client, and return it."""
        got = []
        while True:
            self.ping()
            self.unsubscribe("nothing of that name")
            self.ping()
            if not self.inbox:
                return got
            got += [self.accept(self.delivery())
                    for _ in range(len(self.inbox))]

    def disconnected(self, *reasons):
        """Assert that the server says DISCONNECT with one of them, and closes.

        PUBLISHes that come before are for message() later. Return DISCONNECT.
        """
        packets = self.ended()
        self.inbox.extend(p for p in packets if p.kind == PUBLISH)
        packets = [p for p in packets if p.kind != PUBLISH]
        assert len(packets) == 1 and packets[0].kind == DISCONNECT and \
            packets[0].reason in reasons, \
            f"wanted DISCONNECT with {[hex(r) for r in reasons]}: {packets}"
        return packets[0]

    def refused(self, *reasons):
        """Assert that the server says CONNACK with one of them, and closes."""
        packets = self.ended()
        assert len(packets) == 1 and packets[0].kind == CONNACK and \
            packets[0].reason in reasons, \
            f"wanted CONNACK with {[hex(r) for r in reasons]}: {packets}"
        return packets[0]


def client(client_id="", present=False, address=("127.0.0.1", 1883),
           receive_buffer=None, **fields):
    """Return a client that has connected."""
    return Client(address, receive_buffer).connect(client_id, present, **fields)


def lasting(seconds=3600, *properties):
    """Return the properties of a CONNECT whose session lasts."""
    return [(SESSION_EXPIRY, seconds), *properties]


@contextlib.contextmanager
def session(name, *filters, properties=(), seconds=3600):
    """A client with a session that lasts, which ends with it."""
    one = client(name, properties=lasting(seconds, *properties))
    try:
        if filters:
            one.subscribe(*filters)
        yield one
    finally:
        one.close()
        client(name).disconnect()


def back(name, *properties, **fields):
    """Connect to a session that is there."""
    return client(name, present=True, clean=False,
                  properties=lasting(3600, *properties), **fields)


def bad_filter(whole):
    """Send a SUBSCRIBE or UNSUBSCRIBE of one filter that is malformed.

    The server may disconnect, or refuse that filter alone.
    """
    with client() as one:
        one.send(whole)
        said = one.packet()
        if said.kind == DISCONNECT:
            assert said.reason in (MALFORMED, PROTOCOL, BAD_FILTER), said
            equal(one.ended(), [])
        else:
            assert said.kind in (SUBACK, UNSUBACK), said
            equal(said.codes, [BAD_FILTER])
            one.quiet()


def unsupported(whole):
    """Send a CONNECT of another protocol: the server must close.

    Return the bytes that it says before, in the form of whatever version.
    """
    said = b""
    with Client() as one, contextlib.suppress(mqtt.Closed):
        one.send(whole)
        while True:
            said += one.receive()
    return said


def dismissed(reasons, *packets, **fields):
    """Send packets as a client that has connected: it must be disconnected.

    With one of the reasons. Return the DISCONNECT.
    """
    with client(**fields) as one:
        one.ping()
        one.send(*packets)
        return one.disconnected(*reasons)


def refused(reasons, *packets):
    """Send packets on a new connection: CONNACK must refuse with a reason.

    Return the CONNACK.
    """
    with Client() as one:
        one.send(*packets)
        return one.refused(*reasons)
