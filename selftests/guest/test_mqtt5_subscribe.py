#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: SUBSCRIBE, UNSUBSCRIBE, their options, topics (3.8 to 3.11, 4.7)."""

import itertools

from broker import CONFIG, any_broker
from ktap import cases, equal, main, test
from mqtt import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE,
                  UNSUBSCRIBE, text)
from mqtt5 import (BAD_TOPIC, CONTENT_TYPE, MALFORMED, NO_SUBSCRIPTION,
                   PROTOCOL, REASON, SUBSCRIPTION_ID, USER, acknowledge, back,
                   bad_filter, client, dismissed, lasting, options, packet,
                   publish, session, subscribe, unsubscribe)


def raw(kind, *parts):
    """Build a SUBSCRIBE or an UNSUBSCRIBE of any payload."""
    return packet(kind, 2, b"\0\1\0", *parts)


@test("a SUBSCRIBE of nothing: 0x82 [MQTT-3.8.3-2]")
def subscribe_nothing(_):
    dismissed([PROTOCOL], raw(SUBSCRIBE))
    dismissed([PROTOCOL], subscribe(1, properties=[(SUBSCRIPTION_ID, 1)]))


@test("an UNSUBSCRIBE of nothing: 0x82 [MQTT-3.10.3-2]")
def unsubscribe_nothing(_):
    dismissed([PROTOCOL], raw(UNSUBSCRIBE))


@test("reserved bits of the options: 0x81 [MQTT-3.8.3-5]")
def reserved(_):
    for bits in 0x40, 0x80, 0xc0, 0x41, 0x82:
        dismissed([MALFORMED], subscribe(1, ("a", bits)))
        dismissed([MALFORMED], subscribe(1, "a", ("b", bits)))


@test("QoS 3 and Retain Handling 3: 0x82, not 0x81 [MQTT-4.13.1-1]")
def threes(_):
    for bits in 0x03, 0x07, 0x30, 0x31:
        dismissed([PROTOCOL], subscribe(1, ("a", bits)))
        dismissed([PROTOCOL], subscribe(1, "a", ("b", bits)))


@test("an UNSUBSCRIBE's filters are packed contiguously [MQTT-3.10.3-1]")
def contiguous(_):
    dismissed([MALFORMED], raw(UNSUBSCRIBE, text("a"), b"\0"))
    dismissed([MALFORMED], raw(UNSUBSCRIBE, text("a"), b"\0\5b"))


@cases([(f"{name}: 0x82 [MQTT-4.13.1-1]", whole) for name, whole in (
    ("subscription identifier 0",
     subscribe(1, "a", properties=[(SUBSCRIPTION_ID, 0)])),
    ("a subscription identifier twice",
     subscribe(1, "a", properties=[(SUBSCRIPTION_ID, 1)] * 2)))])
def bad_identifiers(_, whole):
    dismissed([PROTOCOL], whole)


@cases([(f"{name}: 0x81 [MQTT-4.13.1-1]", whole) for name, whole in (
    ("a content type in SUBSCRIBE",
     subscribe(1, "a", properties=[(CONTENT_TYPE, "x")])),
    ("a reason string in SUBSCRIBE",
     subscribe(1, "a", properties=[(REASON, "x")])),
    ("a subscription identifier in UNSUBSCRIBE",
     unsubscribe(1, "a", properties=[(SUBSCRIPTION_ID, 1)])),
    ("a subscription identifier in PUBACK",
     acknowledge(PUBACK, 1, 0, [(SUBSCRIPTION_ID, 1)])),
    ("a property length beyond the packet",
     packet(SUBSCRIBE, 2, b"\0\1\x7f", text("a"), b"\0")))])
def misplaced(_, whole):
    dismissed([MALFORMED], whole)


@cases([(f"the filter {name} is malformed {where} [{statement}]",
         build(topic_filter))
        for name, topic_filter, statement in (
            ("''", "", "MQTT-4.7.3-1"),
            ("a/#/b", "a/#/b", "MQTT-4.7.1-1"), ("#/a", "#/a", "MQTT-4.7.1-1"),
            ("a#", "a#", "MQTT-4.7.1-1"), ("a/b#", "a/b#", "MQTT-4.7.1-1"),
            ("##", "##", "MQTT-4.7.1-1"), ("a/+#", "a/+#", "MQTT-4.7.1-1"),
            ("a+", "a+", "MQTT-4.7.1-2"), ("+a/b", "+a/b", "MQTT-4.7.1-2"),
            ("++", "++", "MQTT-4.7.1-2"), ("a/b+/c", "a/b+/c", "MQTT-4.7.1-2"))
        for where, build in (("to subscribe to", lambda f: subscribe(1, f)),
                             ("to unsubscribe from",
                              lambda f: unsubscribe(1, f)))])
def malformed(_, whole):
    bad_filter(whole)


@test("SUBSCRIBE is answered with SUBACK, QoS granted as asked, whatever the"
      " other options [MQTT-3.8.4-1] [MQTT-3.8.4-6] [MQTT-3.8.4-7]"
      " [MQTT-3.9.3-2]")
def granted(_):
    with client() as one:
        for qos, no_local, published, handling in itertools.product(
                range(3), (0, 1), (0, 1), range(3)):
            one.send(subscribe(5, ("a", options(qos, no_local, published,
                                                handling))))
            equal(one.packet().body[:2], b"\0\5")
            equal(one.last.codes, [qos])


@test("a reason code for each filter, in their order [MQTT-3.9.3-1]"
      " [MQTT-3.8.4-6] [MQTT-3.8.4-5]")
def codes(_):
    with client() as one:
        asked = [(f"f/{number}", (number * 7 + 1) % 3)
                 for number in range(100)]
        equal(one.subscribe(*asked), [qos for _, qos in asked])
        equal(one.subscribe(("same", 2), ("same", 0), ("same", 1)), [2, 0, 1])
        one.publish("same", b"m", qos=2)
        equal(one.accept(one.delivery()).qos, 1)
        one.quiet()


@test("a subscription again replaces the one before, its options too"
      " [MQTT-3.8.4-3]")
def replaced(_):
    with client() as one, client() as other:
        for number, (qos, published) in enumerate(
                ((2, 1), (0, 0), (1, 1), (1, 0), (0, 1), (2, 0)), 1):
            identifiers = [(SUBSCRIPTION_ID, number)] * (number % 2)
            equal(one.subscribe(("r/+", options(qos, as_published=published)),
                                properties=identifiers), [qos])
            other.publish("r/x", b"", 2, True)
            whole = one.accept(one.delivery())
            equal((whole.qos, whole.retain, whole.properties),
                  (qos, bool(published), identifiers))
            one.quiet()
        equal(one.unsubscribe("r/+"), [0])
        other.publish("r/x", b"m", qos=2)
        one.quiet()


@test("a subscription again: the flow is not interrupted [MQTT-3.8.4-4]")
def uninterrupted(_):
    with client() as one, client() as other:
        one.subscribe(("flow", 1))
        for number in range(100):
            other.send(publish("flow", b"%d" % number, 2, number + 1))
            if number % 5 == 0:
                one.subscribe(("flow", options(1, handling=number % 3)))
            other.acknowledged(PUBACK, number + 1)
            equal(one.message(), ("flow", b"%d" % number))
        one.quiet()


# Options.

def retained_got(one, topic_filter, bits, **fields):
    """Subscribe, and return what is retained."""
    one.subscribe((topic_filter, bits), **fields)
    return [(whole.topic, whole.payload) for whole in one.waiting()]


@test("Retain Handling 0: retained messages at every SUBSCRIBE"
      " [MQTT-3.3.1-9] [MQTT-3.8.4-4]")
def handling_0(_):
    with client() as one:
        one.publish("r/1", b"kept", 1, True)
        for qos in 1, 1, 0, 2:
            equal(retained_got(one, "r/#", options(qos)), [("r/1", b"kept")])
        one.publish("r/1", b"", 1, True)


@test("Retain Handling 1: only if the subscription did not exist"
      " [MQTT-3.3.1-10]")
def handling_1(_):
    kept = [("r/1", b"kept")]
    with client() as publisher:
        publisher.publish("r/1", b"kept", 1, True)
        with client("h", properties=lasting()) as one:
            equal(retained_got(one, "r/#", options(1, handling=1)), kept)
            for qos in 1, 0, 2:
                equal(retained_got(one, "r/#", options(qos, handling=1)), [])
            equal(retained_got(one, "r/+", options(1, handling=1)), kept)
            one.unsubscribe("r/#")
            equal(retained_got(one, "r/#", options(1, handling=1)), kept)
            one.disconnect()
        with back("h") as one:
            equal(retained_got(one, "r/#", options(1, handling=1)), [])
            equal(retained_got(one, "r/1", options(1, handling=1)), kept)
        with client("h") as one:
            equal(retained_got(one, "r/#", options(1, handling=1)), kept)
        publisher.publish("r/1", b"", 1, True)


@test("Retain Handling 2: never [MQTT-3.3.1-11]")
def handling_2(_):
    with client() as one:
        one.publish("r/1", b"kept", 1, True)
        for _ in range(2):
            equal(retained_got(one, "r/#", options(1, handling=2)), [])
        equal(retained_got(one, "r/1", options(0, handling=2)), [])
        one.publish("r/1", b"new", 1, True)
        equal(one.message(), ("r/1", b"new"))
        one.publish("r/1", b"", 1, True)


@cases([(f"No Local at QoS {qos}: not back to the publisher, but to others,"
         " and by other subscriptions [MQTT-3.8.3-3]", qos)
        for qos in range(3)])
def no_local(_, qos):
    with client("me") as one, client("other") as other:
        one.subscribe(("n/+", options(2, no_local=True)))
        other.subscribe(("n/+", options(2, no_local=True)))
        one.publish("n/1", b"mine", qos)
        equal(other.message(), ("n/1", b"mine"))
        one.quiet()
        other.publish("n/1", b"other", qos)
        equal(one.message(), ("n/1", b"other"))
        other.quiet()
        one.subscribe(("n/2", options(1)), properties=[(SUBSCRIPTION_ID, 7)])
        one.publish("n/2", b"mine", qos)
        whole = one.accept(one.delivery())
        equal((whole.payload, whole.qos, whole.all(SUBSCRIPTION_ID)),
              (b"mine", min(qos, 1), [7]))
        one.quiet()


@test("No Local is of the client id: also for what waits for the session"
      " [MQTT-3.8.3-3]")
def no_local_away(_):
    with session("me", ("n", options(1, no_local=True))) as one, \
         client() as other:
        one.publish("n", b"mine", 1)
        one.disconnect()
        other.publish("n", b"other", 1)
        with client("me", True, clean=False, properties=lasting()) as one:
            equal(one.message(), ("n", b"other"))
            one.publish("n", b"mine", 1)
            one.quiet()


# Subscription identifiers.

@cases([(f"identifiers of all that match, in one copy or in each, QoS {qos}"
         " [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]", qos)
        for qos in range(3)])
def identifiers(_, qos):
    filters = {"i/a": 1, "i/+": 200, "#": 300000, "i/#": None}
    with client() as one, client() as other, client() as plain:
        plain.subscribe(("i/a", 2))
        for topic_filter, number in filters.items():
            one.subscribe((topic_filter, 2), properties=[
                (SUBSCRIPTION_ID, number)] * bool(number))
        sent = [(USER, ("a", "b")), (CONTENT_TYPE, "c")]
        for topic, wanted in (("i/a", [1, 200, 300000]), ("i/b", [200, 300000]),
                              ("j", [300000])):
            other.publish(topic, b"m", qos, properties=sent)
            copies = [one.accept(one.delivery()), *one.waiting()]
            equal(sorted(n for w in copies for n in w.all(SUBSCRIPTION_ID)),
                  wanted)
            for whole in copies:
                equal((whole.qos, [p for p in whole.properties
                                   if p[0] != SUBSCRIPTION_ID]), (qos, sent))
        equal(plain.accept(plain.delivery()).properties, sent)
        plain.quiet()


@test("identifiers also on retained messages, and on what waited"
      " [MQTT-3.3.4-3]")
def identifiers_later(_):
    with client() as other:
        other.publish("i/a", b"kept", 1, True)
        with client("i", properties=lasting()) as one:
            one.subscribe(("i/a", 1), ("i/+", options(1, handling=2)),
                          properties=[(SUBSCRIPTION_ID, 5)])
            one.subscribe(("i/#", 1), properties=[(SUBSCRIPTION_ID, 70000)])
            got = [one.accept(one.delivery()) for _ in range(2)]
            equal([(w.payload, w.retain, w.all(SUBSCRIPTION_ID)) for w in got],
                  [(b"kept", True, [5]), (b"kept", True, [70000])])
            one.quiet()
            one.disconnect()
        other.publish("i/a", b"", 1, True)
        with back("i") as one:
            numbers = []
            while 70000 not in numbers:
                numbers += one.accept(one.delivery()).all(SUBSCRIPTION_ID)
            for whole in one.waiting():
                numbers += whole.all(SUBSCRIPTION_ID)
            equal(set(numbers), {5, 70000})
        client("i").disconnect()


@cases([(f"retained at QoS {qos}, granted {granted}: with the identifier of the"
         " SUBSCRIBE that they come of, or without [MQTT-3.3.4-3]"
         " [MQTT-3.8.4-3]", qos, granted)
        for qos in range(3) for granted in range(3)])
def identifiers_retained(_, qos, granted):
    sent = [(USER, ("a", "b"))]
    with client() as one:
        one.publish("i/a", b"kept", qos, True, sent)
        for topic_filter in "i/a", "i/+", "#":
            for own in ([(SUBSCRIPTION_ID, 5)], [(SUBSCRIPTION_ID, 70000)], []):
                one.subscribe((topic_filter, granted), properties=own)
                whole = one.accept(one.delivery())
                equal((whole.payload, whole.retain, whole.qos,
                       sorted(whole.properties)),
                      (b"kept", True, min(qos, granted), own + sent))
                one.quiet()
        one.unsubscribe("i/a", "i/+", "#")
        one.publish("i/a", b"", 1, True)


@test("an identifier goes with its subscription: replaced, and unsubscribed"
      " [MQTT-3.3.4-3] [MQTT-3.8.4-3]")
def identifiers_change(_):
    with client() as one:
        for properties in ([(SUBSCRIPTION_ID, 1)], [(SUBSCRIPTION_ID, 2)], []):
            for qos in range(3):
                one.subscribe(("c", qos), properties=properties)
                one.publish("c", b"m", qos)
                equal(one.accept(one.delivery()).properties, properties)
        one.subscribe("c", properties=[(SUBSCRIPTION_ID, 3)])
        one.subscribe("+", properties=[(SUBSCRIPTION_ID, 4)])
        one.unsubscribe("c")
        one.publish("c", b"m")
        equal(one.accept(one.delivery()).all(SUBSCRIPTION_ID), [4])
        one.quiet()


# UNSUBSCRIBE.

@test("an UNSUBSCRIBE compares filters character by character"
      " [MQTT-3.10.4-1]")
def exactly(_):
    with client() as one, client() as other:
        one.subscribe(("a/+", 1), ("A/b", 1))
        for name in "a/b", "a/#", "#", "+/+", "A/+", "a/B", "a/+/", "A/b/c":
            equal(one.unsubscribe(name), [NO_SUBSCRIPTION], name)
        other.publish("a/b", b"1", qos=1)
        other.publish("A/b", b"2", qos=1)
        equal(one.messages(2), [("a/b", b"1"), ("A/b", b"2")])
        equal(one.unsubscribe("a/+"), [0])
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
            equal(one.unsubscribe("u"), [0])
            other.publish("u", b"m", qos=qos)
            other.publish("end", b"m", qos=qos)
            equal(one.message(), ("end", b"m"))
            one.quiet()


@cases([(f"after an UNSUBSCRIBE, QoS {qos} that has begun is completed"
         " [MQTT-3.10.4-3]", qos) for qos in (1, 2)])
def completed(_, qos):
    with session("completed", ("u", qos)) as one, client() as other:
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
        with back("completed") as again:
            came = again.accept(again.delivery())
            equal((came.number, came.payload, came.dup),
                  (whole.number, b"again", True))
            again.quiet()


@cases([(f"what has begun before an UNSUBSCRIBE is completed after {what}:"
         " PUBLISH and PUBREL are sent again [MQTT-3.10.4-3]", how)
        for what, how in (
            ("a reconnect", lambda broker: None),
            ("a restart", lambda broker: broker.restart(broker.config)),
            ("kill -9", lambda broker: broker.crash()))])
def completed_later(broker, how):
    broker.restart(broker.persistent())
    with session("completed", ("u", 2)) as one, client() as other:
        for qos in 1, 2, 2:
            other.publish("u", b"%d" % qos, qos)
        got = [one.delivery() for _ in range(3)]
        one.send(acknowledge(PUBREC, got[2].number))
        one.acknowledged(PUBREL, got[2].number)
        one.unsubscribe("u")
        one.close()
        how(broker)
        with back("completed") as again:
            came = [again.packet() for _ in range(3)]
            equal([(p.kind, p.number) for p in came if p.kind == PUBREL],
                  [(PUBREL, got[2].number)])
            equal([(p.number, p.payload, p.dup) for p in came
                   if p.kind == PUBLISH],
                  [(p.number, p.payload, True) for p in got[:2]])
            again.send(acknowledge(PUBCOMP, got[2].number))
            for whole in came:
                if whole.kind == PUBLISH:
                    again.accept(whole)
            again.quiet()
    broker.restart(CONFIG)


@test("UNSUBACK says what was deleted: 0x00 or 0x11, in their order"
      " [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1]"
      " [MQTT-3.11.3-2]")
def unsuback(_):
    names = [f"m/{number}" for number in range(100)]
    with client() as one, client() as other:
        equal(one.unsubscribe("a"), [NO_SUBSCRIPTION])
        one.subscribe(*((name, 1) for name in names))
        equal(one.unsubscribe(*names[:50], "not there", *names[60:], "m/0"),
              [0] * 50 + [NO_SUBSCRIPTION] + [0] * 40 + [NO_SUBSCRIPTION])
        for name in names:
            other.publish(name, b"m", qos=1)
        equal(one.messages(10), [(name, b"m") for name in names[50:60]])
        one.quiet()


# Topics.

@cases([(f"{topic_filter} and {topic}: "
         f"{'match' if good else 'no match'} [{statement}]",
         topic_filter, topic, good)
        for statement, topic_filter, topics in (
            ("MQTT-4.7.1-1", "sport/#", "sport sport/ sport/a/b -sports"
             " -/sport"),
            ("MQTT-4.7.1-1", "#", "a a/b / /a"),
            ("MQTT-4.7.1-2", "sport/+", "sport/a sport/ -sport -sport/a/b"),
            ("MQTT-4.7.1-2", "+/a/+", "x/a/y /a/ -x/a -x/b/y"),
            ("MQTT-4.7.1-2", "+", "a -/a -a/"),
            ("MQTT-4.7.2-1", "#", "-$own/a -$own"),
            ("MQTT-4.7.2-1", "+/a", "-$own/a x/a"),
            ("MQTT-4.7.2-1", "+/#", "-$own/a -$own x/a"),
            ("MQTT-4.7.2-1", "+", "-$own x"),
            ("MQTT-4.7.2-1", "$own/#", "$own/a $own/a/b $own"),
            ("MQTT-4.7.3-4", "a/b", "a/b -A/b -a//b -a/b/"))
        for good, topic in ((not t.startswith("-"), t.lstrip("-"))
                            for t in topics.split())])
def matches(_, topic_filter, topic, good):
    with client() as one, client() as other:
        for qos in 0, 1:
            one.subscribe((topic_filter, qos), ("$end", qos))
            other.publish(topic, b"m", qos)
            other.publish("$end", b"m", qos)
            if good:
                equal(one.message(), (topic, b"m"))
            equal(one.message()[0], "$end")
            one.quiet()
            one.unsubscribe(topic_filter)


@test("topic names and filters of 65,000 bytes [MQTT-4.7.3-3]")
def longest(_):
    name = "x" * 65000
    with client() as one:
        equal(one.subscribe((name, 1)), [1])
        for qos in 0, 1:
            one.publish(name, b"m", qos, properties=[(USER, ("a", "b"))])
            equal(one.message(), (name, b"m"))
    for qos in range(3):
        dismissed([BAD_TOPIC], publish(name + "x", b"m", qos << 1,
                                       1 if qos else None))


@test("a SUBACK comes when the subscription is effective, not before"
      " [MQTT-3.8.4-1]")
def effective(_):
    with client() as one, client() as other:
        for number in range(50):
            for qos in 0, 1:
                one.subscribe((f"s/{number}", qos),
                              properties=[(SUBSCRIPTION_ID, number + 1)])
                equal(other.publish(f"s/{number}", b"m", qos), 0)
                equal(one.message(), (f"s/{number}", b"m"))
        for number in range(10):
            names = [f"many/{number}/{n}" for n in range(500)]
            one.subscribe(*names)
            other.send(*(publish(name) for name in names[::-99]))
            equal(one.messages(6), [(name, b"") for name in names[::-99]])


main(any_broker())
