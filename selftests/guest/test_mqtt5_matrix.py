#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Every version to every version, at every QoS, retained or not, shared or
not: byte for byte."""

import itertools

import mqtt
import mqtt5
from broker import any_broker
from broker import client as client_311
from ktap import cases, equal, main
from mqtt import text
from mqtt5 import (CONTENT_TYPE, CORRELATION, PAYLOAD_FORMAT, RESPONSE_TOPIC,
                   SUBSCRIPTION_ID, USER, field, options)

CONNECT = {"3.1.1": client_311, "5": mqtt5.client}
PROPERTIES = [(PAYLOAD_FORMAT, 1), (USER, ("k", "v")), (CONTENT_TYPE, "c"),
              (USER, ("k", "")), (RESPONSE_TOPIC, "r"), (CORRELATION, b"\0d")]
# How a message comes: published with RETAIN, and what the flag is then; with
# Retain As Published; before the SUBSCRIBE.
LIVE, CLEARED, KEPT_FLAG, STORED = ("live", "live, published with RETAIN",
                                    "live, Retain As Published", "retained")
KINDS = {LIVE: (False, False), CLEARED: (True, False), KEPT_FLAG: (True, True),
         STORED: (True, True)}
PAYLOADS = [b"", b"payload \0\xff", bytes(range(256)) * 70]


def encoded(version, topic, qos, retain, number, properties, payload):
    """Return the PUBLISH that must come."""
    parts = [text(topic)]
    if qos:
        parts.append(number.to_bytes(2, "big"))
    if version == "5":
        parts.append(field(properties))
    return (mqtt.PUBLISH, qos << 1 | retain, b"".join(parts) + payload)


def expect(one, version, topic, qos, retain, properties, payload):
    """Assert that exactly this comes."""
    whole = one.accept(one.delivery())
    equal(whole, encoded(version, topic, qos, retain, whole.number
                         if qos else None, properties, payload),
          f"{topic} at QoS {qos}")


def subscribe(one, version, topic_filter, granted, kind):
    """Subscribe as the cell says."""
    bits = options(granted, as_published=kind == KEPT_FLAG)
    if version == "5":
        equal(one.subscribe((topic_filter, bits)), [granted])
    else:
        equal(one.subscribe((topic_filter, granted)), [granted])


def publish(other, version, topic, payload, qos, retain, properties):
    """Publish as the cell says."""
    if version == "5":
        other.publish(topic, payload, qos, retain, properties)
    else:
        other.publish(topic, payload, qos, retain)


@cases([(f"{publisher} to {subscriber}, {kind}, "
         f"{'shared' if shared else 'not shared'}: QoS 0 to 2, granted 0 to 2"
         " [MQTT-3.3.1-12] [MQTT-3.3.1-13] [MQTT-3.8.4-8]",
         publisher, subscriber, kind, shared)
        for publisher, subscriber, kind, shared in itertools.product(
            CONNECT, CONNECT, KINDS, (False, True))
        if subscriber == "5" or kind != KEPT_FLAG])
def cells(_, publisher, subscriber, kind, shared):
    retain, flag = KINDS[kind]
    sent = PROPERTIES if publisher == "5" else []
    with CONNECT[subscriber]() as one, CONNECT[publisher]() as other:
        for qos, granted, payload in itertools.product(
                range(3), range(3), PAYLOADS):
            if kind == STORED and not payload:
                continue
            topic = f"m/{qos}/{granted}/{len(payload)}"
            name = f"$share/group/{topic}" if shared else topic
            if kind != STORED:
                subscribe(one, subscriber, name, granted, kind)
            publish(other, publisher, topic, payload, qos, retain, sent)
            if kind == STORED:
                if not qos:
                    other.ping()
                subscribe(one, subscriber, name, granted, kind)
            if kind != STORED or not shared:
                expect(one, subscriber, topic, min(qos, granted), flag, sent,
                       payload)
            one.unsubscribe(name)
            if retain:
                publish(other, publisher, topic, b"", 1, True, [])
        one.quiet()


@cases([(f"{publisher} to 5, with a subscription identifier,"
         f" {'shared' if shared else 'not shared'} [MQTT-3.3.4-3]", publisher,
         shared) for publisher in CONNECT for shared in (False, True)])
def identifiers(_, publisher, shared):
    """The identifier comes before the message's own properties, or after."""
    sent = PROPERTIES if publisher == "5" else []
    with mqtt5.client() as one, CONNECT[publisher]() as other:
        for qos, granted, number in itertools.product(
                range(3), range(3), (1, 200, 70000, 268435455)):
            topic = f"i/{qos}/{granted}"
            name = f"$share/group/{topic}" if shared else topic
            own = [(SUBSCRIPTION_ID, number)]
            one.subscribe((name, granted), properties=own)
            publish(other, publisher, topic, b"m", qos, False, sent)
            whole = one.accept(one.delivery())
            both = [encoded("5", topic, min(qos, granted), False, whole.number,
                            properties, b"m")
                    for properties in (own + sent, sent + own)]
            assert whole in both, whole
        one.quiet()


main(any_broker())
