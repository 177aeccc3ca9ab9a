# SPDX-License-Identifier: GPL-2.0
"""The module's netlink family, for tests.

Commands, attributes and their types are read from the header that is the
contract, kmod/uapi/linux/kmqtt.h, comments included. An attribute is called by
the last part of its name in lower case, as are commands and constants:
KMQTT_A_CONN_RING_BYTES is ring_bytes.
"""

import collections
import os
import pathlib
import re
import select
import socket
import struct

from ktap import TIMEOUT

TOP = pathlib.Path(os.environ.get("KMQTT_TOP") or
                   pathlib.Path(__file__).resolve().parents[2])

NETLINK_GENERIC = 16
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3fff
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_ATTR_MCAST_GROUPS = 1, 2, 7
CTRL_ATTR_MCAST_GRP_ID = 2


# ---- The contract ----

def _read_header():
    header = (TOP / "kmod/uapi/linux/kmqtt.h").read_text()
    enums, types = {}, {}
    for name, body in re.findall(r"^enum (\w+) \{(.*?)^\}", header,
                                 re.M | re.S):
        members = re.findall(r"^\t(KMQTT_\w+),", body, re.M)
        enums[name] = {member: number for number, member in enumerate(members)}
    for comment in re.findall(r"/\*\*\n(.*?)\*/", header, re.S):
        default = "u64" if "all u64" in comment else None
        for member, kind in re.findall(r"^ \* @(\w+): (\w+)", comment, re.M):
            known = ("u8", "u16", "u32", "u64", "flag", "binary", "nest")
            types[member] = kind if kind in known else default
    constants = dict(re.findall(r"^#define KMQTT_(\w+)\s+(\d+)$", header, re.M))
    return enums, types, {k.lower(): int(v) for k, v in constants.items()}


_enums, _types, _constants = _read_header()


def _short(enum, prefix):
    return {member.removeprefix(prefix).lower(): number
            for member, number in _enums[enum].items()}


CMD = _short("kmqtt_cmd", "KMQTT_CMD_")
STATE = _short("kmqtt_conn_state", "KMQTT_CONN_")
END = _short("kmqtt_end", "KMQTT_END_")
LIMIT = _constants
EVENT_ENDED, EVENT_DROPPED = 1, 2
READ, WRITE = 1, 2
DENY, PATTERN = 1, 2


class Attributes:
    """One attribute space: an enum kmqtt_a_*; nests are spaces by name."""

    def __init__(self, name, nests=None):
        prefix = f"KMQTT_A_{name.upper()}_"
        self.number = _short(f"kmqtt_a_{name}", prefix)
        self.name = {number: name for name, number in self.number.items()}
        self.type = {name: _types.get(prefix + name.upper())
                     for name in self.number}
        self.nests = nests or {}

    def encode(self, values):
        """Encode (name, value) pairs, or a dictionary.

        A value in bytes is taken as it is, and a number for a name too.
        """
        pairs = values.items() if isinstance(values, dict) else values
        return b"".join(self._encode(*pair) for pair in pairs)

    def _encode(self, name, value):
        number = self.number.get(name, name)
        if name in self.nests:
            number |= NLA_F_NESTED
            value = self.nests[name].encode(value)
        elif value is True:
            value = b""
        elif isinstance(value, str):
            value = value.encode()
        elif isinstance(value, int):
            value = value.to_bytes(int(self.type[name][1:]) // 8, "little")
        return attribute(number, value)

    def decode(self, data):
        """Decode to a dictionary; of nests, which may repeat, to a list."""
        out = {}
        for number, value in attributes(data):
            name = self.name.get(number)
            if name in (None, "pad"):
                continue
            if name in self.nests:
                out.setdefault(name, []).append(self.nests[name].decode(value))
            elif self.type[name] == "binary":
                out[name] = value
            else:
                out[name] = int.from_bytes(value, "little")
        return out


class Ended:
    """The nest of u64 counters whose types are those of enum kmqtt_end."""

    @staticmethod
    def decode(data):
        """Decode to a dictionary."""
        names = {number: name for name, number in END.items()}
        return {names[number]: int.from_bytes(value, "little")
                for number, value in attributes(data) if number}


def attribute(number, value):
    """Encode an attribute."""
    return (struct.pack("HH", len(value) + 4, number) + value +
            b"\0" * (-len(value) % 4))


def attributes(data):
    """Yield (type, value) of attributes."""
    at = 0
    while at + 4 <= len(data):
        size, number = struct.unpack_from("HH", data, at)
        assert size >= 4, f"an attribute of {size} bytes at {at}: {data.hex()}"
        yield number & NLA_TYPE_MASK, data[at + 4:at + size]
        at += (size + 3) & ~3


CONN = Attributes("conn")
FILTER = Attributes("filter")
SUB = Attributes("sub", {"filter": FILTER})
MSG = Attributes("msg")
SINK = Attributes("sink")
TRUNK = Attributes("trunk")
RULES = Attributes("rules", {"rule": Attributes("rule")})
STATS = Attributes("stats", {"worker": Attributes("counter"), "ended": Ended})

# What each command takes and answers with.
SPACES = collections.defaultdict(lambda: CONN, {
    "sub_add": SUB, "sub_del": SUB, "sub_get": SUB, "publish": MSG,
    "stats_get": STATS, "flush": STATS, "sink_open": SINK,
    "sink_done": SINK, "memory_set": STATS, "trunk_open": TRUNK,
    **dict.fromkeys(("rules_begin", "rules_add", "rules_commit", "rules_del"),
                    RULES),
})


# ---- Talking ----

class Error(OSError):
    """An error that the kernel has answered with; text is the extack's."""

    def __init__(self, number, text):
        what = os.strerror(number)
        super().__init__(number, f"{what} ({text})" if text else what)
        self.text = text


class Netlink:
    """A generic netlink socket, and the family where it is known."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                                    NETLINK_GENERIC)
        self.socket.settimeout(TIMEOUT)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((0, 0))
        for option in NETLINK_EXT_ACK, NETLINK_CAP_ACK:
            self.socket.setsockopt(SOL_NETLINK, option, 1)
        self.seq = 0
        family = self.talk(GENL_ID_CTRL, CTRL_CMD_GETFAMILY,
                           attribute(CTRL_ATTR_FAMILY_NAME, b"kmqtt\0"))
        ctrl = dict(attributes(family[0]))
        self.family = int.from_bytes(ctrl[CTRL_ATTR_FAMILY_ID], "little")
        (_, group), = attributes(ctrl[CTRL_ATTR_MCAST_GROUPS])
        self.group = dict(attributes(group))[CTRL_ATTR_MCAST_GRP_ID]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Close the socket."""
        self.socket.close()

    def send(self, family, cmd, body, flags):
        """Send one message."""
        self.seq += 1
        body = struct.pack("BBH", cmd, 2, 0) + body
        head = struct.pack("IHHII", 16 + len(body), family,
                           flags | NLM_F_REQUEST, self.seq, 0)
        self.socket.send(head + body)

    def receive(self):
        """Yield (type, flags, sequence, rest) of messages that have come."""
        data = self.socket.recv(1 << 18)
        at = 0
        while at < len(data):
            size, kind, flags, seq, _ = struct.unpack_from("IHHII", data, at)
            yield kind, flags, seq, data[at + 16:at + size]
            at += (size + 3) & ~3

    def talk(self, family, cmd, body, flags=NLM_F_ACK):
        """Send a request. Return the attributes of each answer, or raise."""
        self.send(family, cmd, body, flags)
        answers = []
        while True:
            for kind, flags, seq, rest in self.receive():
                if seq != self.seq:
                    continue
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    check_error(kind, flags, rest)
                    return answers
                answers.append(rest[4:])

    def request(self, cmd, values=(), flags=NLM_F_ACK):
        """Send a request of the family by name, and decode the answers."""
        space = SPACES[cmd]
        return [space.decode(answer) for answer in
                self.talk(self.family, CMD[cmd], space.encode(values), flags)]

    def join(self):
        """Receive events too."""
        self.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
                               int.from_bytes(self.group, "little"))

    def event(self, timeout=TIMEOUT):
        """Wait for an event, and return its sequence."""
        self.socket.settimeout(timeout)
        try:
            (kind, _, seq, rest), = self.receive()
        finally:
            self.socket.settimeout(TIMEOUT)
        assert (kind, seq, rest[0]) == (self.family, 0, CMD["event"])
        return CONN.decode(rest[4:])["event_seq"]

    # The commands.

    def conn_add(self, descriptor, **limits):
        """Attach a socket, or a descriptor, and return the connection's id."""
        if not isinstance(descriptor, int):
            descriptor = descriptor.fileno()
        answer, = self.request("conn_add", {"fd": descriptor, **limits})
        return answer["id"]

    def conn_set(self, conn, **values):
        """Change a connection."""
        self.request("conn_set", {"id": conn, **values})

    def conn_del(self, conn, **values):
        """End a connection, and return its final record."""
        answer, = self.request("conn_del", {"id": conn, **values})
        return answer

    def conn(self, conn):
        """Return the record of one connection."""
        answer, = self.request("conn_get", {"id": conn})
        return answer

    def conns(self, **values):
        """Return the records of all connections."""
        return self.request("conn_get", values, NLM_F_DUMP)

    def adopt(self, *conns):
        """Return {id: descriptor}."""
        answers = self.request("conn_adopt", [("id", conn) for conn in conns])
        return {answer["id"]: answer["fd"] for answer in answers}

    def sub(self, cmd, conn, *filters, **values):
        """sub_add or sub_del filters, each a string or (string, qos).

        Return sub_add's sink_seq.
        """
        pairs = [f if isinstance(f, tuple) else (f, 0) for f in filters]
        answers = self.request(cmd, [("conn_id", conn), *values.items()] +
                               [("filter", {"topic": topic, "qos": qos})
                                for topic, qos in pairs])
        return answers[0]["sink_seq"] if answers else None

    def subs(self, **values):
        """Return all subscriptions as (connection, filter, qos)."""
        return [(s["conn_id"], s["filter"][0]["topic"].decode(),
                 s["filter"][0]["qos"])
                for s in self.request("sub_get", values, NLM_F_DUMP)]

    def publish(self, topic, payload=None, **values):
        """Publish a message."""
        if payload is not None:
            values["payload"] = payload
        self.request("publish", {"topic": topic, **values})

    def stats(self):
        """Return the statistics; ended by name, workers summed up as total."""
        answer, = self.request("stats_get")
        answer["ended"] = answer["ended"][0]
        answer["total"] = collections.Counter()
        for worker in answer["worker"]:
            answer["total"].update(worker)
        return answer

    def sink_open(self, **values):
        """Return a descriptor of the sink."""
        answer, = self.request("sink_open", values)
        return answer["fd"]

    def trunk_open(self):
        """Return a descriptor of the trunk."""
        answer, = self.request("trunk_open")
        return answer["fd"]

    def rules(self, number, *rules):
        """Give a rule set new contents, each rule a (filter, access, flags)."""
        self.request("rules_begin", {"id": number})
        self.rules_add(number, *rules)
        self.request("rules_commit", {"id": number})

    def rules_add(self, number, *rules):
        """Append rules to what was begun."""
        for at in range(0, len(rules), 100):
            self.request("rules_add", [("id", number)] + [
                ("rule", {"filter": rule, "access": access, "flags": flags})
                for rule, access, flags in rules[at:at + 100]])

    def flush(self):
        """Abort all connections, and return how many there were."""
        answer, = self.request("flush")
        return answer["conns"]


class Descriptor:
    """A descriptor that an answer has given, which does not block."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        os.set_blocking(descriptor, False)

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


def check_error(kind, flags, rest):
    """Raise what an NLMSG_ERROR says, if it is not success."""
    number, = struct.unpack_from("i", rest)
    if not number:
        return
    text = ""
    if flags & NLM_F_ACK_TLVS:
        skip = 4 if kind == NLMSG_DONE else 20
        if kind == NLMSG_ERROR and not flags & NLM_F_CAPPED:
            skip = 4 + struct.unpack_from("I", rest, 4)[0]
        texts = dict(attributes(rest[skip:]))
        text = texts.get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode()
    raise Error(-number, text)
