#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: what the configuration has CONNACK and DISCONNECT say."""

from auth import Auth
from ktap import cases, equal, main, test
from mqtt import connect as connect_3
from mqtt import CONNACK
from mqtt import Client as Client3
from mqtt5 import (ALIAS_MAX, MAX_QOS, PAYLOAD_FORMAT, REQUEST_RESPONSE,
                   RESPONSE_INFO, SERVER_REFERENCE, client, connect, publish,
                   refused)

PAYLOAD, QOS, ANOTHER_SERVER, SERVER_MOVED = 0x99, 0x9b, 0x9c, 0x9d


def users(fixture, more):
    """Return a configuration where anybody may log in."""
    return fixture.users(more).replace("password_file", "#password_file") + \
        "\nallow_anonymous true\n"


@test("response_information, for who asks; max_topic_alias; max_qos"
      " [MQTT-3.1.2-28]")
def told(fixture):
    fixture.restart(users(fixture, "response_information me/\nmax_qos 1\n"
                          "max_topic_alias 7\n"))
    with client(properties=[(REQUEST_RESPONSE, 1)]) as one:
        equal([one.connack.get(p) for p in (RESPONSE_INFO, ALIAS_MAX, MAX_QOS)],
              ["me/", 7, 1])
        equal(one.subscribe(("t", 2)), [1])
        one.send(publish("t", b"m", 4, 1))
        one.disconnected(QOS)
    for properties in (), [(REQUEST_RESPONSE, 0)]:
        with client(properties=properties) as one:
            equal(one.connack.get(RESPONSE_INFO), None)
    refused([QOS], connect("w", will=("w", b"", 2, False)))


@test("use_another_server, server_moved: DISCONNECT to all at SIGHUP, then"
      " CONNACK, with a server reference; MQTT 3.x: 3")
def elsewhere(fixture):
    for option, reason in (("use_another_server", ANOTHER_SERVER),
                           ("server_moved", SERVER_MOVED)):
        fixture.restart(users(fixture, ""))
        with client("a") as one:
            fixture.reload(users(fixture, f"{option} b.example:1883 c"))
            equal(one.disconnected(reason).get(SERVER_REFERENCE),
                  "b.example:1883 c")
        equal(refused([reason], connect("a")).get(SERVER_REFERENCE),
              "b.example:1883 c")
        with Client3() as old:
            old.send(connect_3("a"))
            equal([(p.kind, p.body) for p in old.ended()],
                  [(CONNACK, b"\0\3")])


@cases([(f"check_payload_format {str(check).lower()}: a payload that says that"
         " it is UTF-8, and is not, also of a will", check)
        for check in (True, False)])
def payload_format(fixture, check):
    fixture.restart(users(fixture, f"check_payload_format {str(check).lower()}"
                          "\n"))
    text = [(PAYLOAD_FORMAT, 1)]
    with client() as witness, client() as one:
        witness.subscribe(("p/#", 2))
        for qos in range(3):
            for payload in b"\xff", b"":
                equal(one.publish("p/binary", payload, qos,
                                  properties=[(PAYLOAD_FORMAT, 0)]), 0)
                witness.message()
            # Unlike a string, it may have U+0000 in it.
            equal(one.publish("p/text", b"\0\xc3\xa4", qos, properties=text), 0)
            witness.message()
        for qos in 1, 2:
            said = one.publish("p/wrong", b"\xc3", qos, properties=text,
                               reasons=[PAYLOAD] if check else [])
            equal(said, PAYLOAD if check else 0)
        one.send(publish("p/wrong", b"\xc3", 0, properties=text))
        if check:
            one.disconnected(PAYLOAD)
        else:
            equal([witness.message() for _ in range(3)],
                  [("p/wrong", b"\xc3")] * 3)
        witness.quiet()
    will = connect("w", will=("p/will", b"\xc3", 0, False),
                   will_properties=text)
    if check:
        refused([PAYLOAD], will)
    with client("w", will=("p/will", b"\0", 0, False), will_properties=text):
        pass


main(Auth())
