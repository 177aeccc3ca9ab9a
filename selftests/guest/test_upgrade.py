#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""upgrade_outgoing_qos true: what is delivered has the QoS of the subscription,
whatever it was published at."""

import contextlib
import pathlib
import signal
import tempfile

import mqtt5
from broker import CONFIG, Peer, any_broker
from broker import client as client_3
from ktap import TIMEOUT, cases, equal, main, test, wait_until
from mqtt import publish
from mqtt5 import (SUBSCRIPTION_ID, USER, back, lasting, listed, options,
                   session)

UPGRADE = f"{CONFIG}upgrade_outgoing_qos true\n"
VERSIONS = ("3.1.1", client_3), ("5", mqtt5.client)
COUNT = 30
OURS = not Peer.program  # what mosquitto does otherwise, or cannot


def ours(*args):
    """Add a test of what mosquitto does otherwise, or cannot show."""
    return test(*args) if OURS else lambda function: function


def got(one, count, timeout=TIMEOUT):
    """Accept so many PUBLISHes. Return their payloads and QoS."""
    whole = [one.accept(one.delivery(timeout)) for _ in range(count)]
    return [(p.payload, p.qos) for p in whole]


def last(publisher, one, topic):
    """Nothing but this message is on its way to a client."""
    publisher.publish(topic, b"last")
    equal([payload for payload, _ in got(one, 1)], [b"last"])


@cases([(f"{name}, published at {qos}, granted {granted}", new, qos, granted)
        for name, new in VERSIONS for qos in range(3) for granted in range(3)])
def granted_qos(_, new, qos, granted):
    with new() as one, new() as other:
        one.subscribe(("t", granted))
        for number in range(5):
            other.publish("t", b"%d" % number, qos)
        equal(got(one, 5), [(b"%d" % n, granted) for n in range(5)])
        last(other, one, "t")


@ours("a message is in the sink once, however many want it; those granted QoS 0"
      " and other topics are the module's")
def once(broker):
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(client_3()) for _ in range(4)]
        zero, other = every[0], stack.enter_context(client_3())
        zero.subscribe("#")
        for one in every[1:]:
            one.subscribe(("t/+", 1), ("t/a", 2))
        seq = broker.nl.stats()["sink_seq"]
        for topic in "t/a", "u", "t/b":
            other.publish(topic, b"m")
        for one in every[1:]:
            equal(got(one, 2), [(b"m", 2), (b"m", 1)])
        equal(zero.messages(3), [(t, b"m") for t in ("t/a", "u", "t/b")])
        equal(broker.nl.stats()["sink_seq"], seq + 2)
        equal(broker.nl.stats()["total"]["deliveries"] >= 3, True)


@ours("overlapping filters: one copy, at the highest QoS granted")
def overlap(_):
    for _, new in VERSIONS:
        with new() as one, new() as other:
            one.subscribe(("t/#", 0), ("t/a", 1), ("+/a", 2), ("t/b", 0),
                          ("#", 0))
            for number in range(3):
                other.publish("t/a", b"%d" % number, number)
            other.publish("t/b", b"b", 1)
            # In order are only those of one topic, published at one QoS.
            equal(sorted(got(one, 4)),
                  [(b"0", 2), (b"1", 2), (b"2", 2), (b"b", 0)])
            last(other, one, "t/a")


@test("5: properties unaltered, identifiers, No Local, Retain As Published")
def version_5(_):
    sent = [(USER, ("a", "b")), (USER, ("a", "c"))]
    with mqtt5.client() as one, mqtt5.client() as other:
        one.subscribe(("t", options(2, as_published=True)),
                      properties=[(SUBSCRIPTION_ID, 300)])
        other.subscribe(("t", options(1, no_local=True)))
        other.publish("t", b"m", 0, True, sent)
        whole = one.accept(one.delivery())
        equal((whole.qos, whole.retain, whole.payload), (2, True, b"m"))
        assert listed(sent) in whole.raw, whole
        assert (SUBSCRIPTION_ID, 300) in whole.properties, whole
        one.publish("t", b"n")
        equal(got(other, 1), [(b"n", 1)])
        equal(got(one, 1), [(b"n", 2)])
        other.publish("t", b"", 0, True)
        equal(got(one, 1), [(b"", 2)])


@test("a subscription at QoS 0, then 1, 2, 0, none")
def changes(_):
    with client_3() as one, client_3() as other:
        for number, qos in enumerate((0, 1, 2, 0)):
            one.subscribe(("t", qos))
            other.publish("t", b"%d" % number)
            equal(got(one, 1), [(b"%d" % number, qos)])
        one.unsubscribe("t")
        other.publish("t", b"none")
        other.ping()
        one.quiet()


@test("shared subscriptions: one member each, at what it was granted")
def shared(_):
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(mqtt5.client()) for _ in range(3)]
        other = stack.enter_context(client_3())
        alone = stack.enter_context(client_3())
        alone.subscribe(("t", 0))
        for qos, one in enumerate(every):
            one.subscribe(("$share/g/t", qos))
        for number in range(COUNT):
            other.publish("t", b"%d" % number)
        numbers = []

        def take():
            for qos, one in enumerate(every):
                for whole in one.waiting():
                    equal(whole.qos, qos)
                    numbers.append(int(whole.payload))
            return len(numbers) >= COUNT

        wait_until(take, f"{COUNT} at members")
        equal(sorted(numbers), list(range(COUNT)))
        equal([int(p) for _, p in alone.messages(COUNT)], list(range(COUNT)))


@cases([(f"{name}: they wait for a session that is away, in order", new)
        for name, new in VERSIONS])
def away(_, new):
    lasts = {"properties": lasting()} if new is mqtt5.client else \
        {"clean": False}
    one = new("away", **lasts)
    one.subscribe(("t/0", 1), ("t/1", 1), ("t/2", 2), ("zero", 0))
    one.disconnect()
    with client_3() as other:
        for number in range(COUNT):
            other.publish(f"t/{number % 3}", b"%d" % number)
            other.publish("zero", b"no")
        other.ping()
    with new("away", present=True, **{**lasts, "clean": False}) as one:
        equal(got(one, COUNT), [(b"%d" % n, 2 if n % 3 == 2 else 1)
                                for n in range(COUNT)])
        with client_3() as other:
            last(other, one, "t/1")
            other.publish("zero", b"yes")
            equal(got(one, 1), [(b"yes", 0)])
    new("away").disconnect()


@ours("a member that is away gets what no other is there for")
def away_shared(_):
    with session("m", ("$share/g/t", 1)) as member, client_3() as other:
        member.disconnect()
        for number in range(3):
            other.publish("t", b"%d" % number)
        other.ping()
        with mqtt5.client() as zero:
            zero.subscribe(("$share/g/t", 0))
            for number in range(5):
                other.publish("t", b"m%d" % number)
            equal(got(zero, 5), [(b"m%d" % n, 0) for n in range(5)])
        with back("m") as member:
            equal(got(member, 3), [(b"%d" % n, 1) for n in range(3)])
            last(other, member, "t")


@ours("nothing is lost, nor comes twice, while a client comes and goes")
def comes_and_goes(_):
    total, taken = 400, []
    with session("c", ("t", 2)) as one, client_3() as other:
        for number in range(total):
            other.send(publish("t", b"%d" % number))
            if number % 40 == 20:
                taken += [p for p, _ in got(one, 1)]
                one.unsubscribe("to know that PUBCOMP was handled")
                one.close()
                one = back("c")
        while len(taken) < total:
            taken += [p for p, _ in got(one, 1)]
        last(other, one, "t")
        one.close()
    # QoS 2: in order, each once.
    equal(taken, [b"%d" % n for n in range(total)])


@test("retained messages and wills, too")
def retained_and_wills(_):
    with client_3() as other:
        other.publish("kept", b"k", 0, True)
        other.ping()
        for qos in range(3):
            with client_3() as one:
                one.subscribe(("kept", qos))
                equal(got(one, 1), [(b"k", qos)])
                one.quiet()
        other.publish("kept", b"", 0, True)
    with client_3() as zero, client_3() as one, \
            client_3(will=("will", b"w", 0, False)) as gone:
        zero.subscribe(("will", 0))
        one.subscribe(("will", 2))
        gone.close()
        equal(got(zero, 1), [(b"w", 0)])
        equal(got(one, 1), [(b"w", 2)])
        last(one, one, "will")


@ours("an acl_file is obeyed")
def access(broker):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="upgrade."))
    directory.chmod(0o755)
    (directory / "acl").write_text(
        "topic write #\ntopic read yes\nuser joe\ntopic readwrite #\n")
    broker.restart(f"{UPGRADE}acl_file {directory}/acl\n")
    with client_3() as one, client_3(username="joe") as joe:
        one.subscribe(("#", 2))
        joe.subscribe(("#", 1))
        for topic in "no", "yes":
            joe.publish(topic, b"m")
            equal(got(joe, 1), [(b"m", 1)])
        equal([one.accept(one.delivery()).topic for _ in range(1)], ["yes"])
        one.quiet()
    broker.restart(UPGRADE)


@ours("queued ones are there after a restart, and after kill -9; what is published"
      " meanwhile too")
def restarts(broker):
    def terminated():
        # Filters of the sink stay.
        broker.daemon.send_signal(signal.SIGTERM)
        equal(broker.daemon.wait(TIMEOUT), 0, "exit status")

    for end in terminated, broker.end:
        config = broker.persistent(UPGRADE)
        broker.restart(config)
        one = client_3("away", clean=False)
        one.subscribe(("t", 1))
        one.disconnect()
        with client_3() as other:
            for number in range(COUNT):
                other.publish("t", b"%d" % number)
            other.ping()  # the module has read them
            wait_until(lambda: not broker.nl.stats()["sink_records"], "kept")
        end()
        broker.start_daemon()
        with client_3("away", present=True, clean=False) as one:
            equal(got(one, COUNT), [(b"%d" % n, 1) for n in range(COUNT)])
        client_3("away").disconnect()
    broker.restart(UPGRADE)


@ours("kill -9: what is published while there is no daemon comes from the next")
def adopted(broker):
    with client_3() as one, client_3() as zero, client_3() as other:
        one.subscribe(("t", 2))
        zero.subscribe(("t", 0))
        for _ in range(3):
            broker.await_known(one, zero, other)
            broker.end()
            for number in range(COUNT):
                other.publish("t", b"%d" % number)
            equal(len(zero.messages(COUNT)), COUNT)
            broker.start_daemon()
            equal(got(one, COUNT), [(b"%d" % n, 2) for n in range(COUNT)])
            last(other, one, "t")
            zero.message()


@ours("it holds from the next start on, for those who are connected, too")
def other_mode(broker):
    with client_3() as one, client_3() as other:
        one.subscribe(("t", 1))
        for config, qos in (CONFIG, 0), (UPGRADE, 1), (CONFIG, 0):
            broker.end()
            broker.start_daemon(config)
            # SUBACK comes from who has adopted it.
            one.subscribe(("another", 1))
            other.publish("t", b"m")
            equal(got(one, 1), [(b"m", qos)])
    broker.restart(UPGRADE)


main(any_broker(UPGRADE))
