#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 3.1.1: SUBSCRIBE, UNSUBSCRIBE and topics (3.8 to 3.11, 4.7)."""

from broker import any_broker, client
from ktap import cases, equal, main, test
from mqtt import (PUBACK, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, disconnect,
                  packet, publish, subscribe, text, unsubscribe)


def refused(whole):
    """Send a packet: the server must close."""
    with client() as one:
        one.send(whole)
        equal(one.ended(), [])


def raw(kind, *parts):
    """Build a SUBSCRIBE or an UNSUBSCRIBE of any payload."""
    return packet(kind, 2, b"\0\1", *parts)


@test("a SUBSCRIBE of nothing closes [MQTT-3.8.3-3]")
def subscribe_nothing(_):
    refused(raw(SUBSCRIBE))


@test("an UNSUBSCRIBE of nothing closes [MQTT-3.10.3-2]")
def unsubscribe_nothing(_):
    refused(raw(UNSUBSCRIBE))


@test("reserved bits beside the QoS, and QoS 3, close [MQTT-3.8.3-4]")
def reserved(_):
    for byte in [3] + [1 << bit | qos for bit in range(2, 8)
                       for qos in (0, 1)]:
        refused(raw(SUBSCRIBE, text("a"), bytes([byte])))
        refused(raw(SUBSCRIBE, text("a"), b"\0", text("b"), bytes([byte])))


@test("an UNSUBSCRIBE's filters are packed contiguously [MQTT-3.10.3-1]")
def contiguous(_):
    refused(raw(UNSUBSCRIBE, text("a"), b"\0"))
    refused(raw(UNSUBSCRIBE, text("a"), b"\0\5b"))


@cases([(f"the filter {name} is malformed {where} [{statement}]",
         build(topic_filter))
        for name, topic_filter, statement in (
            ("''", "", "MQTT-4.7.3-1"),
            ("a/#/b", "a/#/b", "MQTT-4.7.1-2"), ("#/a", "#/a", "MQTT-4.7.1-2"),
            ("a#", "a#", "MQTT-4.7.1-2"), ("a/b#", "a/b#", "MQTT-4.7.1-2"),
            ("##", "##", "MQTT-4.7.1-2"), ("a/+#", "a/+#", "MQTT-4.7.1-2"),
            ("a+", "a+", "MQTT-4.7.1-3"), ("+a/b", "+a/b", "MQTT-4.7.1-3"),
            ("++", "++", "MQTT-4.7.1-3"), ("a/b+/c", "a/b+/c", "MQTT-4.7.1-3"))
        for where, build in (("to subscribe to", lambda f: subscribe(1, f)),
                             ("to unsubscribe from",
                              lambda f: unsubscribe(1, f)))])
def malformed(_, whole):
    """A protocol violation closes; a filter may also be refused alone."""
    with client() as one:
        one.send(whole, disconnect)
        came = one.ended()
        assert came in ([], [(SUBACK, 0, b"\0\1\x80")]), came


@test("SUBSCRIBE is answered with SUBACK, QoS granted as asked"
      " [MQTT-3.8.4-1] [MQTT-3.8.4-5] [MQTT-3.9.3-2]")
def granted(_):
    with client() as one:
        for qos in range(3):
            one.send(subscribe(5, ("a", qos)))
            equal(one.packet(), (SUBACK, 0, bytes([0, 5, qos])))


@test("a return code for each filter, in their order [MQTT-3.9.3-1]"
      " [MQTT-3.8.4-5] [MQTT-3.8.4-4]")
def codes(_):
    with client() as one:
        asked = [(f"f/{number}", (number * 7 + 1) % 3)
                 for number in range(100)]
        equal(one.subscribe(*asked), [qos for _, qos in asked])
        equal(one.subscribe(("same", 2), ("same", 0), ("same", 1)), [2, 0, 1])
        one.publish("same", b"m", qos=2)
        equal(one.accept(one.delivery()).qos, 1)
        one.quiet()


@test("filters with wildcards are supported [MQTT-3.8.3-2]")
def supported(_):
    with client() as one:
        equal(one.subscribe(("#", 1), ("+", 2), ("a/+/#", 0)), [1, 2, 0])


@test("a subscription again replaces the one before [MQTT-3.8.4-3]")
def replaced(_):
    with client() as one, client() as other:
        for qos in 2, 0, 1, 1, 0, 2:
            equal(one.subscribe(("r/+", qos)), [qos])
            other.publish("r/x", b"m", qos=2)
            equal(one.accept(one.delivery()).qos, qos)
            one.quiet()
        one.unsubscribe("r/+")
        other.publish("r/x", b"m", qos=2)
        one.quiet()


@test("a subscription again: retained messages are sent again"
      " [MQTT-3.8.4-3] [MQTT-3.3.1-6]")
def retained_again(_):
    with client() as one:
        one.publish("r/1", b"kept", qos=1, retain=True)
        for qos in 1, 1, 0, 2:
            one.subscribe(("r/#", qos))
            whole = one.accept(one.delivery())
            equal((whole.payload, whole.qos, whole.retain),
                  (b"kept", min(qos, 1), True))
        one.quiet()
        one.publish("r/1", b"", retain=True)


@test("a subscription again: the flow is not interrupted [MQTT-3.8.4-3]")
def uninterrupted(_):
    with client() as one, client() as other:
        one.subscribe(("flow", 1))
        for number in range(100):
            other.send(publish("flow", b"%d" % number, 2, number + 1))
            if number % 5 == 0:
                one.subscribe(("flow", 1))
            other.acknowledged(PUBACK, number + 1)
            equal(one.message(), ("flow", b"%d" % number))
        one.quiet()


@test("an UNSUBSCRIBE compares filters character by character"
      " [MQTT-3.10.4-1]")
def exactly(_):
    with client() as one, client() as other:
        one.subscribe(("a/+", 1), ("A/b", 1))
        for name in "a/b", "a/#", "#", "+/+", "A/+", "a/B", "a/+/", "A/b/c":
            one.unsubscribe(name)
        other.publish("a/b", b"1", qos=1)
        other.publish("A/b", b"2", qos=1)
        equal(one.messages(2), [("a/b", b"1"), ("A/b", b"2")])
        one.unsubscribe("a/+")
        other.publish("a/b", b"3", qos=1)
        other.publish("A/b", b"4", qos=1)
        equal(one.message(), ("A/b", b"4"))
        one.quiet()


@test("after an UNSUBSCRIBE nothing new is delivered [MQTT-3.10.4-2]")
def nothing_new(_):
    with client() as one, client() as other:
        for qos in range(3):
            one.subscribe(("u", qos), ("end", qos))
            other.publish("u", b"m", qos=qos)
            equal(one.message(), ("u", b"m"))
            one.unsubscribe("u")
            other.publish("u", b"m", qos=qos)
            other.publish("end", b"m", qos=qos)
            equal(one.message(), ("end", b"m"))
            one.quiet()


@cases([(f"after an UNSUBSCRIBE, QoS {qos} that has begun is completed"
         " [MQTT-3.10.4-3]", qos) for qos in (1, 2)])
def completed(_, qos):
    with client("completed", clean=False) as one, client() as other:
        one.subscribe(("u", qos))
        other.publish("u", b"m", qos=qos)
        whole = one.delivery()
        one.unsubscribe("u")
        one.accept(whole)
        other.publish("u", b"m", qos=qos)
        one.subscribe(("u", qos))
        other.publish("u", b"again", qos=qos)
        whole = one.delivery()
        one.unsubscribe("u")
        one.close()
        with client("completed", clean=False, present=True) as one_again:
            came = one_again.accept(one_again.delivery())
            equal((came.number, came.payload, came.dup),
                  (whole.number, b"again", True))
            one_again.quiet()
    client("completed").disconnect()


@test("UNSUBSCRIBE is answered with UNSUBACK, whatever it deletes"
      " [MQTT-3.10.4-4] [MQTT-3.10.4-5]")
def unsuback(_):
    with client() as one:
        one.subscribe("a")
        for number in range(1, 4):
            one.send(unsubscribe(number, "a"))
            equal(one.packet(), (UNSUBACK, 0, bytes([0, number])))


@test("an UNSUBSCRIBE of many filters: one UNSUBACK [MQTT-3.10.4-6]")
def many(_):
    names = [f"m/{number}" for number in range(100)]
    with client() as one, client() as other:
        one.subscribe(*((name, 1) for name in names))
        one.unsubscribe(*names[:50], "not there", *names[60:])
        for name in names:
            other.publish(name, b"m", qos=1)
        equal(one.messages(10), [(name, b"m") for name in names[50:60]])
        one.quiet()


@test("a SUBACK comes when the subscription is effective, not before"
      " [MQTT-3.8.4-1]")
def effective(_):
    with client() as one, client() as other:
        for number in range(50):
            for qos in range(3):
                one.subscribe((f"s/{number}", qos))
                other.publish(f"s/{number}", b"m", qos)
                equal(one.message(), (f"s/{number}", b"m"))


# Topics.

@cases([(f"{topic_filter} and {topic}: "
         f"{'match' if good else 'no match'} [{statement}]",
         topic_filter, topic, good)
        for statement, topic_filter, topics in (
            ("MQTT-4.7.1-2", "sport/#", "sport sport/ sport/a sport/a/b -sports"
             " -/sport -a/sport"),
            ("MQTT-4.7.1-2", "#", "a a/b / /a"),
            ("MQTT-4.7.1-3", "sport/+", "sport/a sport/ -sport -sport/a/b"),
            ("MQTT-4.7.1-3", "+/a/+", "x/a/y /a/ -x/a -x/b/y -x/a/y/z"),
            ("MQTT-4.7.1-3", "+", "a -/a -a/ -a/b"),
            ("MQTT-4.7.1-3", "/+", "/a / -a -/a/b"),
            ("MQTT-4.7.2-1", "#", "-$own/a -$own"),
            ("MQTT-4.7.2-1", "+/a", "-$own/a x/a"),
            ("MQTT-4.7.2-1", "+/#", "-$own/a -$own x/a"),
            ("MQTT-4.7.2-1", "+", "-$own x"),
            ("MQTT-4.7.2-1", "$own/#", "$own/a $own/a/b $own"),
            ("MQTT-4.7.3-4", "a/b", "a/b -A/b -a//b -a/b/ -/a/b"))
        for good, topic in ((not t.startswith("-"), t.lstrip("-"))
                            for t in topics.split())])
def matches(_, topic_filter, topic, good):
    with client() as one, client() as other:
        for qos in 0, 1:
            one.subscribe((topic_filter, qos), ("end/of/it/all", qos))
            other.publish(topic, b"m", qos=qos)
            other.publish("end/of/it/all", b"m", qos=qos)
            if good:
                equal(one.message(), (topic, b"m"))
            equal(one.message()[0], "end/of/it/all")
            one.quiet()
            one.unsubscribe(topic_filter)


@test("topic names and filters of 65,000 bytes [MQTT-4.7.3-3]")
def longest(_):
    name = "x" * 65000
    with client() as one:
        equal(one.subscribe((name, 1)), [1])
        one.publish(name, b"m", qos=1)
        equal(one.message(), (name, b"m"))
        one.publish(name)
        equal(one.message(), (name, b""))


@test("QoS 1 to those who subscribe while it flows: from some message on, all"
      " [MQTT-4.5.0-1]")
def while_it_flows(_):
    with client() as other:
        for start in 10, 50, 90:
            with client() as one:
                for number in range(100):
                    if number == start:
                        one.subscribe(("f", 1))
                    other.publish("f", b"%d" % number, qos=1)
                equal([int(m[1]) for m in one.messages(100 - start)],
                      list(range(start, 100)))


main(any_broker())
