#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: enhanced authentication, SCRAM-SHA-256, re-authentication (3.15,
4.12)."""

import contextlib

from auth import ALICE, Auth
from ktap import cases, equal, main, test
from mqtt import CONNACK
from mqtt5 import (AUTH, AUTH_DATA, AUTH_METHOD, BAD_LOGIN, BAD_METHOD,
                   CONTINUE, MALFORMED, MAX_PACKET, NOT_AUTHORIZED, PROTOCOL,
                   REASON, REAUTHENTICATE, REQUEST_PROBLEM, SESSION_EXPIRY,
                   SUCCESS, USER, Client, auth, client, connect, disconnect,
                   dismissed, lasting, ping, publish, subscribe)
from scram import METHOD, Exchange, secret

WRONG = BAD_LOGIN, NOT_AUTHORIZED
WILL = ("w", b"gone", 1, False)
SECRETS = [f"bob:{secret('builder')}\n", f"ü:{secret('pässword', 10000)}\n"]


class Scram(Auth):
    """Fixture: a broker whose users log in with SCRAM, or with a password."""

    def write(self, *lines):
        super().write(*lines, *SECRETS)


def properties_of(exchange, *more, data=None):
    """Return the properties of a CONNECT that begins an exchange."""
    data = exchange.first if data is None else data
    return [(AUTH_METHOD, METHOD), (AUTH_DATA, data), *more]


def challenged(one):
    """Await the server's first message."""
    whole = one.answer(AUTH)
    equal((whole.reason, whole.get(AUTH_METHOD)), (CONTINUE, METHOD))
    return whole.get(AUTH_DATA)


def answer(one, data, reason=CONTINUE, method=METHOD):
    """Send an AUTH."""
    one.send(auth(reason, [(AUTH_METHOD, method), (AUTH_DATA, data)]))


def begin(client_id="scram", user="bob", password="builder", more=(),
          **fields):
    """Begin to connect. Return the client and the exchange, challenged."""
    exchange = Exchange(user, password)
    one = Client()
    one.begin(client_id, properties=properties_of(exchange, *more), **fields)
    answer(one, exchange.final(challenged(one)))
    return one, exchange


def logged_in(*arguments, present=False, **fields):
    """Connect with SCRAM."""
    one, exchange = begin(*arguments, **fields)
    whole = one.connected(present)
    equal(whole.get(AUTH_METHOD), METHOD)
    exchange.check(whole.get(AUTH_DATA))
    return one


@test("SCRAM-SHA-256: AUTH 0x18 both ways, then CONNACK with the method and the"
      " server's signature [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5]"
      " [MQTT-3.15.2-1]")
def good(_):
    for user, password in ("bob", "builder"), ("ü", "pässword"):
        with logged_in(user=user, password=password) as one:
            one.subscribe(("t", 1))
            one.publish("t", b"m", 1)
            equal(one.message(), ("t", b"m"))
            one.quiet()


@test("no first message in CONNECT: the server asks for it [MQTT-4.12.0-2]")
def late_first(_):
    exchange = Exchange("bob", "builder")
    with Client() as one:
        one.begin("late", properties=[(AUTH_METHOD, METHOD)])
        assert not challenged(one)
        answer(one, exchange.first)
        answer(one, exchange.final(challenged(one)))
        exchange.check(one.connected().get(AUTH_DATA))


@cases([(f"{name}: refused [MQTT-4.12.0-4]", *rest) for name, *rest in (
    ("a wrong password", "bob", "wrong"),
    ("an empty password", "bob", ""),
    ("no such user", "nobody", "builder"),
    ("a user who has no secret for it", "alice", "secret"))])
def refused_login(_, user, password):
    """Of who is not there one may hear at once, or as of others at the end."""
    exchange = Exchange(user, password)
    with Client() as one:
        one.begin("x", properties=properties_of(exchange))
        if one.packet().kind == AUTH:
            answer(one, exchange.final(one.last.get(AUTH_DATA)))
            one.packet()
        assert one.last.kind == CONNACK and one.last.reason in WRONG, one.last
        equal(one.ended(), [])


@test("a method that there is not: 0x8c, or 0x87 [MQTT-4.12.0-1]"
      " [MQTT-4.12.0-4]")
def unknown_method(_):
    for method in "", "PLAIN", "scram-sha-256", "SCRAM-SHA-1", "x" * 1000:
        with Client() as one:
            one.begin("x", properties=[(AUTH_METHOD, method),
                                       (AUTH_DATA, b"n,,n=bob,r=x")])
            one.refused(BAD_METHOD, NOT_AUTHORIZED)


@cases([(f"{name} for the first message: refused [MQTT-4.12.0-4]", data)
        for name, data in (
            ("nonsense", b"nonsense"), ("NUL", b"\0" * 10),
            ("no nonce", b"n,,n=bob"), ("no user", b"n,,n=,r=abc"),
            ("channel binding", b"p=tls-unique,,n=bob,r=abcdef"),
            ("an extension", b"n,,m=x,n=bob,r=abcdef"),
            ("65,535 bytes", b"n,,n=bob,r=" + b"x" * 65500),
            ("another's identity", b"n,a=alice,n=bob,r=abcdef"))])
def bad_first(_, data):
    """What the exchange tolerates must fail at the end."""
    with Client() as one:
        one.begin("x", properties=[(AUTH_METHOD, METHOD), (AUTH_DATA, data)])
        whole = one.packet()
        if whole.kind == AUTH:
            answer(one, b"c=biws,r=abcdef,p=AAAA")
            whole = one.packet()
        assert whole.kind == CONNACK and whole.reason >= 0x80, whole
        equal(one.ended(), [])


@cases([(f"{name} for the last message: refused [MQTT-4.12.0-4]", change)
        for name, change in (
            ("nothing", lambda final: b""),
            ("nonsense", lambda final: b"\xff\0nonsense"),
            ("another nonce", lambda final: final.replace(b"r=", b"r=x")),
            ("another proof", lambda final: final[:-8] + b"AAAAAAA="),
            ("no proof", lambda final: final[:final.index(b",p=")]),
            ("other channel binding",
             lambda final: final.replace(b"c=biws", b"c=eSws")))])
def bad_last(_, change):
    exchange = Exchange("bob", "builder")
    with Client() as one:
        one.begin("x", properties=properties_of(exchange))
        answer(one, change(exchange.final(challenged(one))))
        one.refused(*WRONG, MALFORMED, PROTOCOL, 0x80)


@test("an answer from before is worth nothing [MQTT-4.12.0-4]")
def replayed(_):
    exchange = Exchange("bob", "builder")
    with Client() as one:
        one.begin("x", properties=properties_of(exchange))
        final = exchange.final(challenged(one))
        answer(one, final)
        one.connected()
    with Client() as one:
        one.begin("x", properties=properties_of(exchange))
        challenged(one)
        answer(one, final)
        one.refused(*WRONG)


@cases([(f"{name} before CONNACK: closed, CONNACK at most [MQTT-3.1.2-30]"
         " [MQTT-3.1.4-6]", whole) for name, whole in (
             ("PUBLISH", publish("t", b"m")), ("PINGREQ", ping),
             ("PUBLISH at QoS 1", publish("t", b"m", 2, 1)),
             ("SUBSCRIBE", subscribe(1, "t")), ("CONNECT", connect("y")))])
def others_before(_, whole):
    with client(**ALICE) as witness:
        witness.subscribe("t")
        with Client() as one:
            one.begin("x", properties=properties_of(Exchange("bob", "b")))
            challenged(one)
            one.send(whole)
            said = one.ended()
            assert all(p.kind == CONNACK and p.reason >= 0x80 for p in said), \
                said
        witness.quiet()


@test("DISCONNECT before CONNACK ends it [MQTT-3.1.2-30] [MQTT-3.14.0-1]")
def disconnect_before(_):
    with Client() as one:
        one.begin("x", properties=properties_of(Exchange("bob", "b")))
        challenged(one)
        one.send(disconnect())
        assert all(p.kind == CONNACK for p in one.ended())


@cases([(f"{name} in the middle: closed [MQTT-4.12.0-3] [MQTT-4.12.0-5]"
         " [MQTT-3.15.2-1]", build) for name, build in (
             ("AUTH 0x19", lambda d: auth(REAUTHENTICATE, [
                 (AUTH_METHOD, METHOD), (AUTH_DATA, d)])),
             ("AUTH 0x00", lambda d: auth(SUCCESS, [
                 (AUTH_METHOD, METHOD), (AUTH_DATA, d)])),
             ("AUTH 0x87", lambda d: auth(NOT_AUTHORIZED, [
                 (AUTH_METHOD, METHOD), (AUTH_DATA, d)])),
             ("another method", lambda d: auth(CONTINUE, [
                 (AUTH_METHOD, "PLAIN"), (AUTH_DATA, d)])),
             ("AUTH without a method", lambda d: auth(CONTINUE, [
                 (AUTH_DATA, d)])),
             ("an empty AUTH", lambda d: auth()),
             ("a method twice", lambda d: auth(CONTINUE, [
                 (AUTH_METHOD, METHOD), (AUTH_METHOD, METHOD),
                 (AUTH_DATA, d)])),
             ("data twice", lambda d: auth(CONTINUE, [
                 (AUTH_METHOD, METHOD), (AUTH_DATA, d), (AUTH_DATA, d)])),
             ("a property of another packet", lambda d: auth(CONTINUE, [
                 (AUTH_METHOD, METHOD), (AUTH_DATA, d), (SESSION_EXPIRY, 1)])),
             ("reserved flags", lambda d: b"\xf1" + auth(CONTINUE, [
                 (AUTH_METHOD, METHOD), (AUTH_DATA, d)])[1:]))])
def wrong_auth(_, build):
    exchange = Exchange("bob", "builder")
    with Client() as one:
        one.begin("x", properties=properties_of(exchange))
        one.send(build(exchange.final(challenged(one))))
        said = one.ended()
        assert all(p.kind == CONNACK and p.reason >= 0x80 for p in said), said


@test("without a method: AUTH is a protocol error, and none comes"
      " [MQTT-4.12.0-6] [MQTT-4.12.0-7] [MQTT-4.13.1-1]")
def without_method(_):
    with client(**ALICE) as one:
        equal((one.connack.get(AUTH_METHOD), one.connack.get(AUTH_DATA)),
              (None, None))
    for reason in REAUTHENTICATE, CONTINUE:
        dismissed([PROTOCOL], auth(reason, [(AUTH_METHOD, METHOD),
                                            (AUTH_DATA, b"n,,n=bob,r=x")]),
                  **ALICE)


@test("a login that fails takes nothing over, and leaves no will"
      " [MQTT-4.12.0-4] [MQTT-3.1.4-2]")
def takes_nothing(_):
    with client("taken", properties=lasting(), **ALICE) as old, \
         client("witness", **ALICE) as witness:
        witness.subscribe("w")
        one, _exchange = begin("taken", password="wrong", will=WILL)
        with one:
            old.ping()
            one.refused(*WRONG)
        half = Client()
        half.begin("taken", will=WILL,
                   properties=properties_of(Exchange("bob", "builder")))
        challenged(half)
        old.ping()
        half.close()
        old.quiet()
        witness.quiet()
        old.disconnect(0, [(SESSION_EXPIRY, 0)])


@test("the session is the one of the client id, with SCRAM or without")
def same_session(_):
    one = logged_in("s", more=[(SESSION_EXPIRY, 60)])
    one.subscribe(("s", 1))
    one.disconnect()
    with client(**ALICE) as other:
        other.publish("s", b"m", 1)
    with logged_in("s", present=True, clean=False) as one:
        equal(one.message(), ("s", b"m"))


@test("an AUTH is not larger than the client takes, and has no reason string"
      " if none is wanted [MQTT-3.15.2-2] [MQTT-3.15.2-3] [MQTT-3.1.2-29]")
def small(_):
    """Client looks at what comes."""
    more = [(MAX_PACKET, 256), (REQUEST_PROBLEM, 0)]
    logged_in(more=more).disconnect()
    one, _exchange = begin(password="wrong", more=more)
    with one:
        one.refused(*WRONG)


# Re-authentication.

def again(one, user="bob", password="builder", method=METHOD):
    """Begin to authenticate again. Return the exchange, answered."""
    exchange = Exchange(user, password)
    answer(one, exchange.first, REAUTHENTICATE, method)
    answer(one, exchange.final(challenged(one)))
    return exchange


@test("re-authentication: AUTH 0x00 with the method and the signature; all goes"
      " on meanwhile [MQTT-4.12.1-1] [MQTT-4.12.0-5] [MQTT-3.15.2-1]")
def reauthenticate(_):
    with logged_in() as one, client(**ALICE) as other:
        one.subscribe(("t", 1))
        for _ in range(3):
            exchange = Exchange("bob", "builder")
            answer(one, exchange.first, REAUTHENTICATE)
            challenge = challenged(one)
            for qos in range(3):
                other.publish("t", b"m", qos)
                equal(one.message(), ("t", b"m"))
            one.publish("t", b"mine", 1)
            equal(one.message(), ("t", b"mine"))
            one.ping()
            answer(one, exchange.final(challenge))
            whole = one.answer(AUTH)
            equal((whole.reason, whole.get(AUTH_METHOD)), (SUCCESS, METHOD))
            exchange.check(whole.get(AUTH_DATA))
        one.quiet()


@test("re-authentication that fails: DISCONNECT, closed, and the will"
      " [MQTT-4.12.1-2]")
def reauthentication_fails(_):
    with client(**ALICE) as witness:
        witness.subscribe("w")
        for user, password in ("bob", "wrong"), ("nobody", "builder"):
            with logged_in(will=WILL) as one:
                again(one, user, password)
                one.disconnected(*WRONG)
                equal(witness.message(), ("w", b"gone"))


@test("re-authentication with another method: DISCONNECT [MQTT-4.12.1-1]"
      " [MQTT-4.12.1-2]")
def other_method(_):
    for method in "PLAIN", "", "SCRAM-SHA-1":
        with logged_in() as one:
            answer(one, Exchange("bob", "builder").first, REAUTHENTICATE,
                   method)
            one.disconnected(PROTOCOL, BAD_METHOD, NOT_AUTHORIZED)


@cases([(f"{name} on an open connection is a protocol error [MQTT-4.12.1-1]",
         whole) for name, whole in (
             ("AUTH 0x18", auth(CONTINUE, [(AUTH_METHOD, METHOD),
                                           (AUTH_DATA, b"x")])),
             ("AUTH 0x00", auth(SUCCESS, [(AUTH_METHOD, METHOD)])),
             ("an empty AUTH", auth()),
             ("AUTH 0x19 without a method", auth(REAUTHENTICATE, ())))])
def unexpected(_, whole):
    with logged_in() as one:
        one.send(whole)
        one.disconnected(PROTOCOL, MALFORMED)


@test("re-authentication is of the same user")
def other_user(_):
    """It would be another's session then; to refuse is all that is safe."""
    with logged_in() as one:
        again(one, "ü", "pässword")
        one.disconnected(PROTOCOL, *WRONG)


@test("two hundred exchanges that nobody ends: others log in meanwhile")
def half_open(_):
    with contextlib.ExitStack() as stack:
        for number in range(200):
            one = stack.enter_context(Client())
            one.begin(f"half {number}",
                      properties=properties_of(Exchange("bob", "builder")))
        challenged(one)
        logged_in("whole").disconnect()
        client("plain", **ALICE).disconnect()


@test("reason string and user properties of AUTH are taken")
def with_reason(_):
    exchange = Exchange("bob", "builder")
    with Client() as one:
        one.begin("r", properties=properties_of(exchange))
        one.send(auth(CONTINUE, [(REASON, "because"), (USER, ("a", "b")),
                                 (AUTH_METHOD, METHOD), (AUTH_DATA,
                                  exchange.final(challenged(one)))]))
        one.connected()


main(Scram())
