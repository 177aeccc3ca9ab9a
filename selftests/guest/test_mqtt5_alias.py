#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: topic aliases (3.3.2.3.4)."""

import itertools

from broker import CONFIG, any_broker
from broker import client as client_311
from ktap import cases, equal, main, test
from mqtt import PUBACK, PUBCOMP, PUBREC, PUBREL
from mqtt5 import (ALIAS, ALIAS_MAX, BAD_ALIAS, CONTENT_TYPE, CORRELATION,
                   MESSAGE_EXPIRY, PROTOCOL, USER, acknowledge, back, client,
                   dismissed, lasting, listed, publish)

LONG = "a/topic/that/is/long/enough/to/want/an/alias"


def aliased(alias, topic="", payload=b"m", qos=0, number=9, more=(), retain=0):
    """Build a PUBLISH with an alias."""
    return publish(topic, payload, qos << 1 | retain, number if qos else None,
                   [(ALIAS, alias), *more])


def accepted(one, qos, number):
    """Complete the exchange of a PUBLISH."""
    if qos == 1:
        one.acknowledged(PUBACK, number)
    elif qos == 2:
        one.acknowledged(PUBREC, number)
        one.send(acknowledge(PUBREL, number))
        one.acknowledged(PUBCOMP, number)


@test("Topic Alias Maximum is 10 unless it is given [MQTT-3.3.2-12]")
def default(_):
    with client() as one:
        equal(one.connack.get(ALIAS_MAX), 10)


@cases([(f"max_topic_alias {limit}: CONNACK says so; that one is taken, one"
         " more: 0x94 [MQTT-3.3.2-12] [MQTT-3.3.2-9] [MQTT-3.2.2-17]"
         " [MQTT-3.2.2-18] [MQTT-4.13.1-1]", limit)
        for limit in (0, 1, 300, 65535)])
def maximum(broker, limit):
    broker.restart(CONFIG + f"max_topic_alias {limit}\n")
    with client() as one:
        equal(one.connack.get(ALIAS_MAX, 0), limit)
        one.subscribe("t")
        for alias in {1, limit // 2, limit} - {0}:
            if alias <= limit:
                one.send(aliased(alias, "t"), aliased(alias))
                equal(one.messages(2), [("t", b"m")] * 2)
    for qos in range(3):
        for alias in {limit + 1, 65535} - {65536}:
            if alias > limit:
                dismissed([BAD_ALIAS], aliased(alias, "t", qos=qos))
    broker.restart(CONFIG)


@test("alias 0: 0x94 [MQTT-3.3.2-8]")
def zero(_):
    for topic, qos in itertools.product(("t", ""), range(3)):
        dismissed([BAD_ALIAS], aliased(0, topic, qos=qos))


@test("an alias that is not known, and no topic name: 0x82 [MQTT-4.13.1-1]")
def unknown(_):
    for qos in range(3):
        dismissed([PROTOCOL], aliased(1, qos=qos))
        dismissed([PROTOCOL], aliased(1, "t"), aliased(2, qos=qos))


@cases([(f"set at QoS {first}, used at QoS {then}: the whole topic name is"
         " delivered, and no alias [MQTT-3.3.2-12] [MQTT-3.1.2-27]", first,
         then) for first in range(3) for then in range(3)])
def used(_, first, then):
    with client() as one, client() as other, client_311() as old, \
         client(properties=lasting()) as durable:
        for each in one, old, durable:
            each.subscribe((LONG, 2))
        for qos, topic in (first, LONG), (then, ""), (then, ""):
            other.publish(topic, b"%d" % qos, qos, properties=[(ALIAS, 3)])
            for each in one, old, durable:
                whole = each.accept(each.delivery())
                equal((whole.topic, whole.payload, whole.qos),
                      (LONG, b"%d" % qos, qos))
                if each is not old:
                    equal(whole.raw, b"")


@cases([(f"QoS {qos} for who is away: stored with the whole topic name, and no"
         f" alias, and so after {what} [MQTT-3.3.2-12] [MQTT-3.1.2-27]", qos,
         how)
        for qos in (1, 2) for what, how in (
            ("a reconnect", lambda broker: None),
            ("a restart", lambda broker: broker.restart(broker.config)),
            ("kill -9", lambda broker: broker.crash()))])
def stored(broker, qos, how):
    broker.restart(broker.persistent())
    with client("away", properties=lasting()) as one:
        one.subscribe((LONG, 2))
        one.disconnect()
    with client() as other:
        for topic in LONG, "", "":
            other.publish(topic, b"m", qos, properties=[(ALIAS, 3)])
    how(broker)
    with back("away", (ALIAS_MAX, 10)) as one:
        for _ in range(3):
            whole = one.accept(one.delivery())
            equal((whole.topic, whole.payload), (LONG, b"m"))
        one.quiet()
    client("away").disconnect()
    broker.restart(CONFIG)


@test("an alias is set anew by a topic name [MQTT-3.3.2-12]")
def remapped(_):
    with client() as one, client() as other:
        one.subscribe("x/#")
        for number in range(20):
            other.send(aliased(number % 10 + 1, f"x/{number}"))
            other.send(*(aliased(alias) for alias in
                         range(1, min(number + 2, 11))))
            wanted = [f"x/{number}"] + [
                f"x/{number - (number - n) % 10}"
                for n in range(min(number + 1, 10))]
            equal([topic for topic, _ in one.messages(len(wanted))], wanted)


@test("an alias may stand anywhere among the properties, which stay as they"
      " are otherwise [MQTT-3.3.2-18]")
def anywhere(_):
    rest = [(CONTENT_TYPE, "c"), (USER, ("a", "b")), (CORRELATION, b"#"),
            (USER, ("a", ""))]
    with client() as one, client() as other:
        one.subscribe(("t", 2))
        other.publish("t", b"", properties=[(ALIAS, 1)])
        one.message()
        for qos in range(3):
            for at in range(5):
                properties = rest[:at] + [(ALIAS, 1)] + rest[at:]
                for topic in "t", "":
                    other.publish(topic, b"m", qos, properties=properties)
                    whole = one.accept(one.delivery())
                    equal((whole.topic, whole.payload, whole.raw),
                          ("t", b"m", listed(rest)))


@test("an alias and an expiry")
def with_expiry(_):
    with client() as one:
        one.subscribe("t")
        for topic in "t", "":
            one.publish(topic, b"m", properties=[(MESSAGE_EXPIRY, 1000),
                                                 (ALIAS, 1)])
            whole = one.delivery()
            equal([identifier for identifier, _ in whole.properties],
                  [MESSAGE_EXPIRY])


@test("aliases do not outlive their connection [MQTT-3.3.2-7]")
def forgotten(_):
    with client("a", properties=lasting()) as one:
        one.send(aliased(1, "t"))
        one.ping()
        one.disconnect()
    for qos in range(3):
        with back("a") as one:
            one.send(aliased(1, qos=qos))
            one.disconnected(PROTOCOL)
    with back("a") as one:
        one.subscribe("u")
        one.send(aliased(1, "u"), aliased(1))
        equal(one.messages(2), [("u", b"m")] * 2)
    client("a").disconnect()


@test("aliases are one connection's, not another's [MQTT-3.3.2-7]")
def own(_):
    with client() as one, client() as other, client() as witness:
        witness.subscribe("#")
        for each, topic in (one, "one"), (other, "other"):
            each.send(aliased(1, topic))
            equal(witness.message()[0], topic)
        for each, topic in (one, "one"), (other, "other"):
            each.send(aliased(1))
            equal(witness.message()[0], topic)


@test("many in one segment, of every QoS, in order [MQTT-4.6.0-5]")
def pipelined(_):
    with client() as one, client() as other:
        one.subscribe("p/#")
        packets = [aliased(n + 1, f"p/{n}", b"first") for n in range(10)]
        packets += [aliased(n % 10 + 1, payload=b"%d" % n) for n in range(500)]
        other.send(*packets)
        equal(one.messages(510), [(f"p/{n}", b"first") for n in range(10)] +
              [(f"p/{n % 10}", b"%d" % n) for n in range(500)])
        for number in range(1, 11):
            qos = 1 + number % 2
            other.send(aliased(number, qos=qos, number=number),
                       aliased(number))
            accepted(other, qos, number)
        equal(sorted(one.messages(20)),
              sorted([(f"p/{n}", b"m") for n in range(10)] * 2))


@test("a PUBLISH with an alias, byte by byte")
def by_bytes(_):
    with client() as one, client() as other:
        one.subscribe(("t", 1))
        for byte in (aliased(1, "t") + aliased(1) +
                     aliased(1, qos=1, payload=bytes(300))):
            other.send(bytes([byte]))
        equal(one.messages(3), [("t", b"m")] * 2 + [("t", bytes(300))])


@test("retained under an alias")
def retained(_):
    with client() as one:
        for qos in range(3):
            one.send(aliased(1, "r", b"first", 1, 7),
                     aliased(1, "", b"%d" % qos, qos, 9, retain=1))
            one.acknowledged(PUBACK, 7)
            accepted(one, qos, 9)
            with client() as late:
                late.subscribe(("r", 2))
                whole = late.accept(late.delivery())
                equal((whole.topic, whole.payload, whole.raw, whole.qos),
                      ("r", b"%d" % qos, b"", qos))
        one.publish("r", b"", 1, True)


@test("rules look at the topic, not at the alias")
def denied(broker):
    path = broker.directory / "acl"
    path.write_text("topic write good\ntopic read #\n")
    broker.restart(CONFIG + f"acl_file {path}\n")
    with client() as one, client() as other:
        one.subscribe("good", "bad")
        other.send(aliased(1, "bad"), aliased(1), aliased(2, "good"),
                   aliased(2), aliased(1), aliased(2, "bad"), aliased(2),
                   aliased(1, "good"), aliased(1))
        equal(one.messages(4), [("good", b"m")] * 4)
        one.quiet()
    broker.restart(CONFIG)


@cases([(f"a client that takes aliases up to {limit} gets none beyond"
         " [MQTT-3.1.2-26] [MQTT-3.3.2-11]", limit)
        for limit in (1, 2, 65535)])
def to_client(_, limit):
    """Client looks at what comes, and keeps the aliases."""
    with client(properties=[(ALIAS_MAX, limit)]) as one, client() as other:
        one.subscribe(("o/#", 1))
        for number in range(60):
            qos = number % 2
            other.publish(f"o/{number % 4}", b"%d" % number, qos)
            equal(one.message(), (f"o/{number % 4}", b"%d" % number))


@cases([(f"QoS {qos}: a client that takes aliases gets none of a publisher's:"
         " of two, who give one alias to two topics [MQTT-3.3.2-11]", qos)
        for qos in range(3)])
def of_publishers(_, qos):
    """Client looks at what comes, and keeps the aliases."""
    with client(properties=[(ALIAS_MAX, 10)]) as one, client() as other, \
         client() as third:
        one.subscribe(("o/#", 2))
        for first in True, False, False:
            for each, topic in (other, "o/other"), (third, "o/third"):
                each.publish(topic * first, b"m", qos, properties=[(ALIAS, 3)])
                equal(one.message(), (topic, b"m"))


@test("Topic Alias Maximum absent or 0: a client gets none [MQTT-3.1.2-27]")
def none_to_client(_):
    for properties in (), [(ALIAS_MAX, 0)]:
        with client(properties=properties) as one:
            one.subscribe("o")
            for topic in ("o", "", "", "o"):
                one.send(aliased(1, topic))
                equal(one.delivery().raw, b"")


main(any_broker())
