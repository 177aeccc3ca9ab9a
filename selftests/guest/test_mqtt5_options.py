#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: what the configuration has CONNACK and DISCONNECT say."""

from auth import Auth
from ktap import equal, main, test
from mqtt import connect as connect_3
from mqtt import CONNACK
from mqtt import Client as Client3
from mqtt5 import (ALIAS_MAX, MAX_QOS, REQUEST_RESPONSE, RESPONSE_INFO,
                   SERVER_REFERENCE, client, connect, publish, refused)

ANOTHER_SERVER, SERVER_MOVED, QOS = 0x9c, 0x9d, 0x9b


def users(fixture, more):
    """Return a configuration where anybody may log in."""
    return fixture.users(more).replace("password_file", "#password_file") + \
        "\nallow_anonymous true\n"


@test("response_information, for who asks; max_topic_alias; max_qos")
def told(fixture):
    fixture.restart(users(fixture, "response_information me/\nmax_qos 1\n"
                          "max_topic_alias 7\n"))
    with client(properties=[(REQUEST_RESPONSE, 1)]) as one:
        equal([one.connack.get(p) for p in (RESPONSE_INFO, ALIAS_MAX, MAX_QOS)],
              ["me/", 7, 1])
        equal(one.subscribe(("t", 2)), [1])
        one.send(publish("t", b"m", 4, 1))
        one.disconnected(QOS)
    with client() as one:
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


main(Auth())
