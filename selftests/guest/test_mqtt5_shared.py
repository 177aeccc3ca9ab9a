#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: shared subscriptions (4.8.2)."""

import contextlib
import itertools
import time

from broker import CONFIG, any_broker
from broker import client as client_311
from ktap import FACTOR, cases, equal, main, note, test
from mqtt import PUBACK, PUBREC, PUBREL
from mqtt import publish as publish_311
from mqtt5 import (NO_SUBSCRIPTION, PROTOCOL, RECEIVE_MAX, SUBSCRIPTION_ID,
                   USER, acknowledge, back, bad_filter, client, dismissed,
                   lasting, listed, options, publish, session, subscribe)

COUNT = 30


@contextlib.contextmanager
def members(count, topic_filter, qos=0):
    """Clients that share a subscription."""
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(client()) for _ in range(count)]
        for one in every:
            equal(one.subscribe((topic_filter, qos)), [qos])
        yield every


def numbers(packets):
    """Return what they carry."""
    return [int(p.payload) for p in packets]


def fill(topic, which=range(COUNT), qos=1, **fields):
    """Publish numbers."""
    with client() as other:
        for number in which:
            other.publish(topic, b"%d" % number, qos, **fields)
        other.ping()


def shared_out(every, wanted):
    """Assert that each number is at one of them, in order. Return counts."""
    got = [numbers(one.waiting()) for one in every]
    for part in got:
        equal(part, sorted(part))
    equal(sorted(sum(got, [])), sorted(wanted))
    return [len(part) for part in got]


@cases([(f"the filter {name!r} is malformed [{statement}]", name)
        for name, statement in (
            ("$share/", "MQTT-4.8.2-1"), ("$share//t", "MQTT-4.8.2-1"),
            ("$share/g", "MQTT-4.8.2-2"), ("$share/g/", "MQTT-4.8.2-2"),
            ("$share/g+/t", "MQTT-4.8.2-2"), ("$share/+/t", "MQTT-4.8.2-2"),
            ("$share/#/t", "MQTT-4.8.2-2"), ("$share/g#/t", "MQTT-4.8.2-2"),
            ("$share/#", "MQTT-4.8.2-2"), ("$share/g/a#", "MQTT-4.7.1-1"),
            ("$share/g/a+", "MQTT-4.7.1-2"))])
def malformed(_, name):
    bad_filter(subscribe(1, name))


@test("filters that are shared, and one that only begins like it"
      " [MQTT-4.8.2-1] [MQTT-4.8.2-2]")
def good(_):
    names = ["$share/g/t", "$share/g/#", "$share/g/+/a", "$share/g//",
             "$share/ü $/$x/#", "$share/$share/$share/g", "$shared/g/t"]
    with client() as one:
        equal(one.subscribe(*names), [0] * len(names))
        one.publish("$shared/g/t", b"m")
        equal(one.message(), ("$shared/g/t", b"m"))
        one.publish("$share/g/t", b"m")
        one.quiet()
        equal(one.unsubscribe(*names, "$share/g/t"),
              [0] * len(names) + [NO_SUBSCRIPTION])


@test("No Local on a shared subscription: 0x82 [MQTT-3.8.3-4]")
def no_local(_):
    for qos in range(3):
        shared = "$share/g/t", options(qos, no_local=True)
        dismissed([PROTOCOL], subscribe(1, shared))
        dismissed([PROTOCOL], subscribe(1, "a", shared, "b"))


@cases([(f"QoS {qos}: each message to one member, by turns; to each group, and"
         " to who does not share", qos) for qos in range(3)])
def one_each(_, qos):
    with members(3, "$share/g/s/#", qos) as every, \
         members(2, "$share/other/s/+", qos) as others, client() as alone:
        alone.subscribe(("s/t", qos))
        fill("s/t", qos=qos)
        counts = shared_out(every, range(COUNT))
        assert min(counts) >= COUNT // 3 - 2, f"not in turns: {counts}"
        assert min(shared_out(others, range(COUNT))) >= COUNT // 2 - 2
        equal(numbers(alone.waiting()), list(range(COUNT)))
        fill("$s/t", qos=qos)
        shared_out(every, [])


@cases([(f"the filter {name}: not what begins with $ [MQTT-4.7.2-1]", name)
        for name in ("$share/g/#", "$share/g/+/t", "$share/g/+/#")])
def not_dollar(_, name):
    with client() as one:
        for qos in range(3):
            one.subscribe((name, qos), ("$end", qos))
            for topic in "$own/t", "own/t", "$own/t/u", "$end":
                one.publish(topic, b"m", qos)
            equal(one.messages(2), [("own/t", b"m"), ("$end", b"m")])
            one.quiet()


@cases([(f"SUBACK when it is effective, QoS {qos} [MQTT-3.8.4-1]", qos)
        for qos in range(3)])
def effective(_, qos):
    with client() as one, client() as other:
        for number in range(20):
            one.subscribe((f"$share/g/e/{number}", qos))
            equal(other.publish(f"e/{number}", b"m", qos), 0)
            equal(one.message(), (f"e/{number}", b"m"))


@cases([(f"published at {qos}: each member at the QoS that it was granted,"
         " properties unaltered [MQTT-4.8.2-3]", qos) for qos in range(3)])
def granted(_, qos):
    sent = [(USER, ("a", "b")), (USER, ("a", "c"))]
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(client()) for _ in range(3)]
        for asked, one in enumerate(every):
            one.subscribe(("$share/g/t", asked))
        fill("t", qos=qos, properties=sent)
        got = [(asked, whole) for asked, one in enumerate(every)
               for whole in one.waiting()]
        equal(sorted(numbers(whole for _, whole in got)), list(range(COUNT)))
        equal({asked for asked, _ in got}, {0, 1, 2}, "members served")
        for asked, whole in got:
            equal((whole.qos, whole.raw), (min(qos, asked), listed(sent)))


@test("3.1.1 publishes, a member of version 5 receives; identifiers too")
def identifiers(_):

    with client() as one, client_311() as old:
        one.subscribe(("$share/g/t", 1), properties=[(SUBSCRIPTION_ID, 9)])
        for qos in range(3):
            old.publish("t", b"m", qos)
            whole = one.accept(one.delivery())
            equal((whole.qos, whole.properties),
                  (min(qos, 1), [(SUBSCRIPTION_ID, 9)]))
        one.subscribe(("$share/g/t", 0), properties=[(SUBSCRIPTION_ID, 10)])
        old.publish("t", b"m", 1)
        whole = one.accept(one.delivery())
        equal((whole.qos, whole.properties), (0, [(SUBSCRIPTION_ID, 10)]))
        one.quiet()


@test("retained messages are not sent to who begins to share; live they are,"
      " RETAIN as the option says [MQTT-3.3.1-12] [MQTT-3.3.1-13]")
def retained(_):
    with client() as one, client() as other:
        other.publish("kept", b"old", 1, True)
        for handling in 0, 1, 2, 0:
            one.subscribe(("$share/g/kept", options(1, handling=handling)))
            one.quiet()
        for flag in False, True:
            one.subscribe(("$share/g/kept", options(1, as_published=flag)))
            for qos in range(3):
                other.publish("kept", b"live", qos, True)
                whole = one.accept(one.delivery())
                equal((whole.payload, whole.retain), (b"live", flag))
        one.quiet()
        other.publish("kept", b"", 1, True)


@cases([(f"QoS {qos}: who leaves gets nothing more, the others all"
         " [MQTT-3.10.4-2]", qos) for qos in range(3)])
def leaves(_, qos):
    with members(3, "$share/g/t", qos) as every:
        equal(every[0].unsubscribe("$share/g/t"), [0])
        equal(every[0].unsubscribe("$share/g/t", "t"), [NO_SUBSCRIPTION] * 2)
        every[1].disconnect()
        fill("t", qos=qos)
        equal(shared_out([every[0], every[2]], range(COUNT)), [0, COUNT])
        every[0].subscribe(("$share/g/t", qos))
        fill("t", qos=qos)
        counts = shared_out([every[0], every[2]], range(COUNT))
        assert min(counts) > 0, counts


@test("of the group, and by itself: at least the copy that is its own")
def both(_):
    with client() as one:
        one.subscribe(("$share/g/t", 1), ("t", 1))
        for qos in range(3):
            one.publish("t", b"m", qos)
            assert 1 <= len(one.waiting()) <= 2


@test("QoS 0: a member that does not read does not stop the others, and loses"
      " nothing that others could take")
def stalled(broker):
    """The module skips members whose ring is full."""
    count = 2500
    with client("stalled", receive_buffer=4096) as slow, \
         client("awake") as one, client() as other:
        slow.subscribe("$share/g/t", "end")
        one.subscribe("$share/g/t", "end")
        got = []
        for number in range(count):
            other.send(publish("t", b"%06d" % number + bytes(2000)))
            if number % 20 == 19:
                other.ping()
                got += one.waiting()
        other.ping()
        got += one.waiting()
        # Who does not read has what its socket and its ring hold.
        assert len(got) > count // 2, len(got)
        got += [slow.delivery() for _ in range(count - len(got))]
        equal(sorted(int(p.payload[:6]) for p in got), list(range(count)))
        for each in slow, one:
            equal(each.waiting(), [])


# Sessions that are away, at QoS 1 and 2.

@cases([(f"QoS {qos}: members that are online come before those away", qos)
        for qos in (1, 2)])
def prefers_online(_, qos):
    with session("away", ("$share/g/t", qos)) as away, \
         members(2, "$share/g/t", qos) as every:
        away.disconnect()
        fill("t", qos=qos)
        shared_out(every, range(COUNT))
        with back("away") as away:
            away.quiet()


@cases([(f"QoS {qos}: all are away: each message waits for one of them"
         " [MQTT-4.5.0-1]", qos) for qos in (1, 2)])
def all_away(_, qos):
    names = "away 1", "away 2"
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(session(name, ("$share/g/t", qos))).disconnect()
        fill("t", qos=qos)
        came = [stack.enter_context(back(name)) for name in names]
        # What waited for the one may go to the other that is there first.
        shared_out(came, range(COUNT))


@cases([(f"QoS {qos}: what was sent to a member is completed when it comes"
         " back, and nobody else gets it [MQTT-4.8.2-4]", qos)
        for qos in (1, 2)])
def completed(_, qos):
    with session("breaks", ("$share/g/t", qos)) as one, client() as other:
        fill("t", range(5), qos)
        got = [one.delivery() for _ in range(5)]
        one.reset()
        other.subscribe(("$share/g/t", qos))
        if qos == 2:
            other.quiet()
        with back("breaks") as one:
            came = one.waiting()
            if qos == 2:
                equal([(p.number, p.payload, p.dup) for p in came],
                      [(p.number, p.payload, True) for p in got])
                other.quiet()
            else:  # 4.8.2: it may be given to another
                equal(sorted(numbers(came + other.waiting())), list(range(5)))


@test("QoS 1: what an ended session had not acknowledged goes to another")
def given_on(_):
    with client("ends") as one, client() as other:
        one.subscribe(("$share/g/t", 1))
        fill("t", range(5))
        got = [one.delivery() for _ in range(5)]
        one.accept(got[1])
        one.ping()
        other.subscribe(("$share/g/t", 1))
        one.close()
        equal(sorted(int(other.message()[1]) for _ in range(4)), [0, 2, 3, 4])
        other.quiet()


@test("QoS 1: also what only waited for it, and when its session expires")
def queue_given_on(_):
    with client("expires", properties=lasting(1, (RECEIVE_MAX, 2))) as one, \
         client() as other:
        one.subscribe(("$share/g/t", 1))
        fill("t", range(6))
        for _ in range(2):
            one.delivery()
        one.quiet()
        other.subscribe(("$share/g/t", 1))
        one.close()
        equal(sorted(int(other.message()[1]) for _ in range(6)),
              list(range(6)))
        other.quiet()


@test("QoS 1: an ended session, and nobody else there: it waits for who is"
      " away")
def given_to_away(_):
    with session("away", ("$share/g/t", 1)) as away:
        away.disconnect()
        with client("ends") as one:
            one.subscribe(("$share/g/t", 1))
            fill("t", range(3))
            equal(numbers(one.delivery() for _ in range(3)), [0, 1, 2])
            one.disconnect()
        with back("away") as away:
            equal(sorted(int(away.message()[1]) for _ in range(3)),
                  [0, 1, 2])
            away.quiet()


@test("QoS 2: what was sent to a session that ends goes to nobody"
      " [MQTT-4.8.2-5]")
def not_given_on(_):
    with client("ends") as one, client() as other:
        one.subscribe(("$share/g/t", 2))
        fill("t", range(4), 2)
        got = [one.delivery() for _ in range(4)]
        one.send(acknowledge(PUBREC, got[0].number))
        one.acknowledged(PUBREL, got[0].number)
        other.subscribe(("$share/g/t", 2))
        one.disconnect()
        fill("t", [9], 2)
        equal(other.message(), ("t", b"9"))
        other.quiet()


@cases([(f"QoS {qos}: a PUBACK or PUBREC of 0x80 or more: discarded, nobody"
         " else gets it [MQTT-4.8.2-6] [MQTT-4.4.0-2]", qos)
        for qos in (1, 2)])
def rejected(_, qos):
    with session("rejects", ("$share/g/t", qos)) as one, client() as other:
        fill("t", range(3), qos)
        for _ in range(3):
            one.send(acknowledge(PUBACK if qos == 1 else PUBREC,
                                 one.delivery().number, 0x83))
        one.ping()
        other.subscribe(("$share/g/t", qos))
        one.quiet()
        one.disconnect()
        with back("rejects") as one:
            one.quiet()
        other.quiet()


@cases([(f"a shared subscription is the session's: it survives {what}", how)
        for what, how in (
            ("a reconnect", lambda broker: None),
            ("a restart", lambda broker: broker.restart(broker.config)),
            ("kill -9", lambda broker: broker.crash()))])
def survives(broker, how):
    broker.restart(broker.persistent())
    names = ["one", "two"]
    for name in names:
        with client(name, properties=lasting()) as one:
            one.subscribe(("$share/g/t", 2), properties=[(SUBSCRIPTION_ID, 4)])
            one.disconnect()
    how(broker)
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(back(name)) for name in names]
        for qos in range(3):
            fill("t", qos=qos)
            shared_out(every, range(COUNT))
    for name in names:
        client(name).disconnect()
    broker.restart(CONFIG)


@test("very many share names of one client, who keeps no more messages: who"
      " publishes to all of them does not keep others waiting")
def many_shares(_):
    filters = ["/".join(levels)
               for levels in itertools.product("m+", repeat=4)]
    count = 60
    with client("shares") as one, client_311() as other, client() as pair:
        pair.subscribe(("pair", 1))
        for topic_filter in filters:
            codes = one.subscribe(*((f"$share/{n}/{topic_filter}", 1)
                                    for n in range(1000)))
            equal(set(codes), {1})
        # What it is sent it does not acknowledge; then its queue fills.
        other.publish("m/m/m/m", b"", 1)
        begin = time.monotonic()
        other.send(*(publish_311("m/m/m/m", b"", 2, n + 1)
                     for n in range(count)))
        pair.publish("pair", b"m", 1)
        equal(pair.message(), ("pair", b"m"))
        took = time.monotonic() - begin
        for number in range(count):
            other.acknowledged(PUBACK, number + 1)
        note(f"{took:.2f} s, all: {time.monotonic() - begin:.2f} s")
        assert took < 4 * FACTOR, f"{took:.1f} s"


main(any_broker())
