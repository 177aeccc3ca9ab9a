#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Random properties: good ones arrive as they were sent, wrong ones are
answered with the right reason.

KMQTT_SEED repeats; KMQTT_LONG=1 does more of it.
"""

import contextlib
import glob
import pathlib
import statistics

from broker import any_broker
from ktap import (FACTOR, LONG, Skip, cases, equal, main, note, seed, test,
                  times)
from mqtt import (CONNECT, DISCONNECT, PUBACK, PUBLISH, PUBREC, PUBREL,
                  SUBSCRIBE, UNSUBSCRIBE, length)
from mqtt5 import (ALIAS, ALIAS_MAX, ALLOWED, AUTH_DATA, AUTH_METHOD, BINARY,
                   BYTE, CORRELATION, MALFORMED, MAX_PACKET,
                   MESSAGE_EXPIRY, NOT_ZERO, PAIR, PROTOCOL, RESPONSE_TOPIC,
                   SERVER_REFERENCE, SESSION_EXPIRY, SHORT, STRING,
                   SUBSCRIPTION_ID, TYPES, USER, VARIABLE, WILL, acknowledge,
                   client, connect, dismissed, disconnect, field, listed,
                   one_property, publish, refused, subscribe, unsubscribe)

ROUNDS = times(2000 if LONG else 200)
# Without those that a receiver may refuse (1.5.4).
LETTERS = "abcxyz/ -_0129äöü€\ufeff\U0001f600\ud7ff\ue000\u00a0"
BAD_TEXT = [b"\xff", b"a\0", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x82",
            b"ok\x80", b"\xf4\x90\x80\x80"]


def words(rand):
    """Return a string."""
    size = rand.choice([0, 1, 2, 5, 20, 127, 128, 300])
    return "".join(rand.choice(LETTERS) for _ in range(size))


def value_of(rand, identifier):
    """Return a good value for a property."""
    kind = TYPES[identifier]
    if kind == PAIR:
        return words(rand), words(rand)
    if kind == STRING:
        return words(rand) or "x" * (identifier == RESPONSE_TOPIC)
    if kind == BINARY:
        return rand.randbytes(rand.choice([0, 1, 10, 200]))
    if kind == BYTE:
        return rand.randrange(2)
    if kind == VARIABLE:
        return rand.choice([1, 127, 128, 16384, 268435455])
    bits = 16 if kind == SHORT else 32
    return max(rand.choice([0, 1, rand.getrandbits(bits), (1 << bits) - 1]),
               identifier in NOT_ZERO)


def some(rand, kind, without=(), most=8):
    """Return good properties of a packet, in any order."""
    single = [i for i in ALLOWED[kind] if i not in (USER, *without)]
    chosen = rand.sample(single, rand.randrange(min(most, len(single)) + 1))
    chosen += [USER] * rand.choice([0, 0, 1, 2, 5])
    rand.shuffle(chosen)
    return [(i, value_of(rand, i)) for i in chosen]


def same(whole, sent, what):
    """Assert that a delivery has what was sent, but for the alias.

    The expiry counts down, and may stand elsewhere.
    """
    limit = dict(sent).get(MESSAGE_EXPIRY)
    left = whole.get(MESSAGE_EXPIRY)
    if limit is not None:
        assert limit - 5 * FACTOR <= left <= limit, (what, limit, left)
    equal(listed(p for p in whole.properties if p[0] != MESSAGE_EXPIRY),
          listed(p for p in sent if p[0] not in (ALIAS, MESSAGE_EXPIRY)), what)


@test(f"{ROUNDS} PUBLISHes with random properties, QoS 0 to 2, live and"
      " retained: unaltered, in order [MQTT-3.3.2-17] [MQTT-3.3.2-18]"
      " [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-20]")
def accepted(_):
    rand = seed()
    with client() as one, client() as other, client() as late:
        limit = other.connack.get(ALIAS_MAX, 0)
        one.subscribe(("t/#", 2))
        for number in range(ROUNDS):
            sent = some(rand, PUBLISH, (SUBSCRIPTION_ID, ALIAS))
            # One that has passed when it arrives would be dropped.
            sent = [(i, v + 60 if i == MESSAGE_EXPIRY and v < 60 else v)
                    for i, v in sent]
            if limit and rand.random() < 0.3:
                sent.insert(rand.randrange(len(sent) + 1),
                            (ALIAS, rand.randrange(limit) + 1))
            topic, qos = f"t/{number % 7}", rand.randrange(3)
            payload = rand.randbytes(rand.choice([0, 1, 100, 5000]))
            retain = rand.random() < 0.2
            other.publish(topic, payload, qos, retain, sent)
            whole = one.accept(one.delivery())
            same(whole, sent, (number, sent))
            equal((whole.topic, whole.payload, whole.qos),
                  (topic, payload, qos), (number, sent))
            if retain and payload:
                late.subscribe((topic, 2))
                whole = late.accept(late.delivery())
                same(whole, sent, (number, sent))
                equal((whole.payload, whole.retain), (payload, True))
                late.unsubscribe(topic)
        for number in range(7):
            other.publish(f"t/{number}", b"", 1, True)
        one.messages(7)


# Wrong ones.

def build(rand, kind, raw):
    """Build a packet of that kind whose field of properties is raw."""
    if kind == CONNECT:
        return connect("wrong", properties=raw)
    if kind == WILL:
        return connect("wrong", will=("w", b"m", 0, False), will_properties=raw)
    if kind == PUBLISH:
        qos = rand.randrange(3)
        return publish("t", b"payload" * rand.randrange(3), qos << 1,
                       qos and 9 or None, raw)
    if kind == SUBSCRIBE:
        return subscribe(9, "t", properties=raw)
    if kind == UNSUBSCRIBE:
        return unsubscribe(9, "t", properties=raw)
    if kind == DISCONNECT:
        return disconnect(0, raw)
    return acknowledge(kind, 9, 0, raw)


KINDS = {CONNECT: "CONNECT", WILL: "a will", PUBLISH: "PUBLISH",
         SUBSCRIBE: "SUBSCRIBE", UNSUBSCRIBE: "UNSUBSCRIBE", PUBACK: "PUBACK",
         PUBREC: "PUBREC", PUBREL: "PUBREL", DISCONNECT: "DISCONNECT"}
# What would be wrong by itself: with or without others.
DELICATE = (ALIAS, SUBSCRIPTION_ID, AUTH_METHOD, AUTH_DATA, SERVER_REFERENCE,
            RESPONSE_TOPIC, MAX_PACKET)


def good(rand, kind):
    """Return good properties that can be made wrong in one way only."""
    return some(rand, kind, DELICATE, 3)


def duplicated(rand, kind):
    """One that may be there once is there twice."""
    single = [i for i in ALLOWED[kind] if i not in (USER, *DELICATE)]
    if kind == SUBSCRIBE:
        single = [SUBSCRIPTION_ID]
    if kind in (PUBACK, PUBREC, PUBREL):
        single = [0x1f]
    if not single:
        return None
    identifier = rand.choice(single)
    properties = [p for p in good(rand, kind) if p[0] != identifier]
    for _ in range(2):
        properties.insert(rand.randrange(len(properties) + 1),
                          (identifier, value_of(rand, identifier)))
    return field(properties)


def misplaced(rand, kind):
    """One of another packet, or of none."""
    identifier = rand.choice([i for i in range(128) if i not in ALLOWED[kind]])
    raw = (one_property(identifier, value_of(rand, identifier))
           if identifier in TYPES else bytes([identifier]) + bytes(4))
    properties = good(rand, kind)
    properties.insert(rand.randrange(len(properties) + 1), raw)
    return field(properties)


def bad_length(rand, kind):
    """The last property is cut, or the length is longer than the packet."""
    raw = listed(good(rand, kind) + [(USER, ("name", "value"))])
    if rand.random() < 0.5:
        return length(len(raw) + 100000) + raw
    cut = raw[:-rand.randrange(1, 10)]
    return length(len(cut)) + cut


def bad_text(rand, kind):
    """A string that is not UTF-8, or has a NUL."""
    strings = [i for i in ALLOWED[kind] if TYPES[i] in (STRING, PAIR) and
               i not in DELICATE]
    identifier = rand.choice(strings)
    bad = rand.choice(BAD_TEXT)
    value = bad
    if TYPES[identifier] == PAIR:
        value = rand.choice([(bad, b"v"), (b"n", bad)])
    properties = [p for p in good(rand, kind)
                  if p[0] != identifier or identifier == USER]
    properties.insert(rand.randrange(len(properties) + 1), (identifier, value))
    return field(properties)


@cases([(f"{name}, {what}: 0x{code:02x} [MQTT-4.13.1-1]" +
         " [CVE-2023-3592]" * (kind == WILL), kind, make, code)
        for kind, name in KINDS.items() for what, make, code in (
             ("one twice", duplicated, PROTOCOL),
             ("one that is not its own", misplaced, MALFORMED),
             ("a bad length", bad_length, MALFORMED),
             ("bad text", bad_text, MALFORMED))
        if (kind, make) != (UNSUBSCRIBE, duplicated)])
def wrong(_, kind, make, code):
    rand = seed()
    for number in range(max(ROUNDS // 20, 5)):
        raw = make(rand, kind)
        whole = build(rand, kind, raw)
        try:
            if kind in (CONNECT, WILL):
                refused([code], whole)
            else:
                # With a session expiry, DISCONNECT may have one too.
                dismissed([code], whole, properties=[(SESSION_EXPIRY, 1)])
        except Exception as error:
            raise AssertionError(f"{number}: {raw[:200]}") from error


# Many of them.

@cases([(f"QoS {qos}: 64 KiB of user properties, as one and as thousands,"
         " arrive [MQTT-3.3.2-17] [MQTT-3.3.2-18] [CVE-2021-41039]", qos)
        for qos in range(3)])
def large(_, qos):
    with client() as one, client() as other:
        one.subscribe(("t", 2))
        for sent in ([(USER, ("n" * 32768, "v" * 32768))],
                     [(USER, ("n" * 65535, "")), (USER, ("", "v" * 65535))],
                     [(USER, (f"{n}", "v" * 60)) for n in range(970)],
                     [(USER, ("", ""))] * 13108,
                     [(CORRELATION, bytes(65535)), (USER, ("k", "v"))]):
            other.publish("t", b"m", qos, properties=sent)
            whole = one.accept(one.delivery())
            equal((whole.raw, whole.payload), (listed(sent), b"m"))


@test("64 KiB of user properties in CONNECT, a will, SUBSCRIBE, PUBACK,"
      " DISCONNECT, which nobody gets [CVE-2021-41039]")
def large_elsewhere(_):
    many = [(USER, ("name", "v" * 20))] * 2000
    with client(properties=many) as one, \
         client(will=("w", b"m", 1, False), will_properties=many) as dies:
        one.subscribe(("w", 1), ("t", 1), properties=many)
        one.publish("t", b"m", 1, properties=[])
        whole = one.delivery()
        one.send(acknowledge(PUBACK, whole.number, 0, many))
        dies.close()
        equal(one.accept(one.delivery()).properties, many)
        one.unsubscribe("t", properties=many)
        one.disconnect(0, many)


def threads():
    """Where the kernel says what the daemon's and the module's threads used."""
    for path in glob.glob("/proc/[0-9]*/task/*/comm"):
        with contextlib.suppress(FileNotFoundError), \
             open(path, encoding="ascii", errors="replace") as comm:
            if comm.read().startswith("kmqtt"):
                yield pathlib.Path(path).with_name("schedstat")


def busy(stats):
    """CPU time of these threads, in ns."""
    return sum(int(stat.read_text().split()[0]) for stat in stats)


@cases([(f"the cost of 100 user properties at QoS {qos}, beside as many bytes"
         " of one property [CVE-2021-41039]", qos) for qos in (0, 1)])
def cost(broker, qos):
    """Time in the broker's threads, of the usual message: in that of a few is
    also what kept the guest's processor itself from running."""
    if not broker.nl:
        raise Skip("only of kmqtt")
    many = [(USER, (f"name {n:03}", "value")) for n in range(100)]
    one_of = [(USER, ("n", "v" * (len(listed(many)) - 6)))]
    equal(len(listed(many)), len(listed(one_of)))
    spent = {"one": [], "many": []}
    stats = list(threads())
    with client() as one, client() as other:
        one.subscribe(("t", qos))
        for _ in range(5 if LONG else 3):
            for name, sent in ("one", one_of), ("many", many):
                for _ in range(100):
                    before = busy(stats)
                    other.publish("t", b"m", qos, properties=sent)
                    one.message()
                    spent[name].append(busy(stats) - before)
    usual = {name: statistics.median(every) / 1000
             for name, every in spent.items()}
    note(f"QoS {qos}: {usual['many']:.0f} us a message with 100 user"
         f" properties, {usual['one']:.0f} us with one of the same size")
    assert usual["many"] < 5 * usual["one"], usual


main(any_broker())
