#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5: the daemon is killed, and no client notices.

What the next daemon must know of a connection that it did not make.
"""

import time

from broker import CONFIG, Broker
from broker import client as client_311
from ktap import cases, equal, main, test, times, wait_until
from mqtt import (DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBSCRIBE,
                  packet)
from mqtt5 import (ALIAS, KEEPALIVE, MALFORMED, MAX_PACKET, MESSAGE_EXPIRY,
                   PROTOCOL, RECEIVE_MAX, REQUEST_PROBLEM, SESSION_EXPIRY,
                   SUBSCRIPTION_ID, TAKEN_OVER, USER, WILL_DELAY, WITH_WILL,
                   Client, acknowledge, back, client, connect, disconnect,
                   lasting, listed, options, publish, subscribe)
from nl import END, STATE

HOWS = [("kill -9", lambda broker: broker.replace()),
        ("handover", lambda broker: broker.hand_over())]
SENT = [(USER, ("a", "b")), (USER, ("a", "a"))]


@cases([(f"{name}: QoS 0 of both versions goes on, with properties,"
         " identifiers, aliases", how) for name, how in HOWS])
def qos_0(broker, how):
    with client("one") as one, client("other") as other, \
         client_311("old") as old:
        one.subscribe(("t", options(1, as_published=True)),
                      properties=[(SUBSCRIPTION_ID, 300)])
        old.subscribe("t")
        other.send(publish("t", b"0", properties=[(ALIAS, 3)]))
        equal((one.message(), old.message()), (("t", b"0"),) * 2)
        how(broker)
        for topic, qos in ("", 0), ("", 1), ("t", 0), ("", 2):
            other.publish(topic, b"m", qos, properties=[*SENT, (ALIAS, 3)])
            whole = one.accept(one.delivery())
            equal((whole.topic, whole.qos, whole.all(SUBSCRIPTION_ID)),
                  ("t", min(qos, 1), [300]))
            equal(listed(p for p in whole.properties
                         if p[0] != SUBSCRIPTION_ID), listed(SENT))
            equal(old.message(), ("t", b"m"))


@cases([(f"{name}: who was told DISCONNECT hears nothing else, and is gone"
         " [MQTT-3.14.4-1]", how) for name, how in HOWS])
def dismissed(broker, how):
    with client("watcher") as watcher, client("other") as other:
        watcher.subscribe("w")
        one = client("dies", receive_buffer=4096, will=("w", b"gone", 0, False))
        one.subscribe("t")
        for _ in range(40):
            other.publish("t", bytes(100000))
        other.ping()
        one.send(packet(SUBSCRIBE, 2, b"\0\1\0"))  # to nothing
        wait_until(lambda: broker.record(one)["end"] == END["deleted"],
                   "dismissed")
        how(broker)
        equal(watcher.message(), ("w", b"gone"))
        kinds = [whole.kind for whole in one.ended()]
        assert DISCONNECT not in kinds[:-1], kinds[-9:]
        one.close()


@test("killed after it told the module that a client goes, and not the client")
def half_dismissed(broker):
    with client("watcher") as watcher:
        watcher.subscribe("w")
        one = client("dies", will=("w", b"gone", 0, False))
        number = broker.record(one)["id"]
        broker.end()
        broker.nl.conn_set(number, last=True)
        broker.start_daemon()
        equal(watcher.message(), ("w", b"gone"))
        equal(one.ended(), [])
        one.close()


@cases([(f"{name}: what CONNECT said is known: Receive Maximum, Maximum Packet"
         " Size, Request Problem Information [MQTT-3.3.4-9] [MQTT-3.1.2-24]"
         " [MQTT-3.1.2-29]", how) for name, how in HOWS])
def said(broker, how):
    """Client looks at what comes."""
    with client("one", properties=[(RECEIVE_MAX, 2), (MAX_PACKET, 100),
                                   (REQUEST_PROBLEM, 0)]) as one, \
         client("other") as other:
        one.subscribe(("t", 2))
        how(broker)
        for number in range(4):
            other.publish("t", b"%d" % number, 1)
            other.publish("t", bytes(200), number % 3)
        first = [one.delivery() for _ in range(2)]
        one.quiet()
        how(broker)
        one.quiet()
        for whole in first:
            one.accept(whole)
        equal(one.messages(2), [("t", b"2"), ("t", b"3")])
        one.publish("nobody", b"m", 1)
        one.unsubscribe("nothing")
        one.quiet()


@test("QoS 1 and 2 in flight go on with their identifiers, nothing is resent"
      " [MQTT-4.4.0-1]")
def in_flight(broker):
    with client("subscriber") as one, client("publisher") as other:
        one.subscribe(("q/#", 2))
        for qos in 1, 2, 2:
            other.publish(f"q/{qos}", b"x", qos, properties=SENT)
        first, second, third = (one.delivery() for _ in range(3))
        one.send(acknowledge(PUBREC, third.number))
        one.acknowledged(PUBREL, third.number)
        broker.replace()
        one.quiet()
        one.send(acknowledge(PUBACK, first.number, 0x83),
                 acknowledge(PUBREC, second.number),
                 acknowledge(PUBCOMP, third.number, 0, SENT))
        one.acknowledged(PUBREL, second.number)
        broker.replace()
        one.send(acknowledge(PUBCOMP, second.number))
        other.publish("q/1", b"next", 1)
        after = one.accept(one.delivery())
        equal((after.payload, after.dup), (b"next", False))
        assert after.number not in (first.number, second.number, third.number)
        one.quiet()


@cases([(f"kill -9, {what}: what had been sent comes again with DUP, though"
         " it has expired [MQTT-3.3.1-1] [MQTT-4.3.3-7]", meanwhile)
        for what, meanwhile in (("its connection ended before", False),
                                ("its connection ended meanwhile", True))])
def expired(broker, meanwhile):
    """What has been sent is finished, whatever time has passed."""
    with client("away", properties=lasting()) as one, client() as other:
        one.subscribe(("q", 2))
        other.publish("q", b"sent", 2, properties=[*SENT, (MESSAGE_EXPIRY, 3)])
        sent = one.delivery()
        broker.replace_losing(one, meanwhile)
        other.publish("q", b"late", 2, properties=[(MESSAGE_EXPIRY, 1)])
        time.sleep(4.2)  # what takes time
    with back("away") as one:
        whole = one.accept(one.delivery())
        equal((whole.payload, whole.dup, whole.number, whole.all(USER)),
              (b"sent", True, sent.number, [("a", "b"), ("a", "a")]))
        one.quiet()
    client("away").disconnect()


@test("a QoS 2 PUBLISH half done is not delivered again [MQTT-4.3.3-10]")
def inbound(broker):
    with client("subscriber") as one, client("publisher") as other:
        one.subscribe(("q", 2))
        other.send(publish("q", b"once", 4, 9, SENT))
        other.acknowledged(PUBREC, 9)
        equal(one.message(), ("q", b"once"))
        broker.replace()
        other.send(publish("q", b"once", 4 | 8, 9, SENT))
        other.acknowledged(PUBREC, 9)
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9, 0)
        one.quiet()


@test("what was sent while there was no daemon is served by the next")
def served(broker):
    with client("one") as one, client("other") as other:
        one.subscribe("a", ("b", 1))
        broker.await_known(one, other)
        broker.end()
        one.send(subscribe(77, ("c", 1), properties=[(SUBSCRIPTION_ID, 5)]))
        other.send(publish("a", b"while away", properties=SENT))
        whole = one.delivery()
        equal((whole.payload, whole.raw), (b"while away", listed(SENT)))
        other.send(publish("b", b"QoS 1 while away", 2, 5, SENT))
        other.ping()
        broker.start_daemon()
        equal(one.subscribed(77), [1])
        whole = one.accept(one.delivery())
        equal((whole.payload, whole.raw), (b"QoS 1 while away", listed(SENT)))
        other.acknowledged(PUBACK, 5)
        other.publish("c", b"later", 2)
        equal(one.accept(one.delivery()).all(SUBSCRIPTION_ID), [5])


@cases([(f"{name}, while there is no daemon: the next one says 0x{code:02x}",
         whole, code) for name, whole, code in (
             ("reserved flags", b"\xc1\0", MALFORMED),
             ("a wrong PUBLISH", publish(b"\xff", b"m"), MALFORMED),
             ("a wrong SUBSCRIBE", subscribe(1), PROTOCOL))])
def errors(broker, whole, code):
    with client("wrong", will=("w", b"gone", 1, False)) as one, \
         client() as witness:
        witness.subscribe(("w", 1))
        broker.await_known(one, witness)
        broker.end()
        one.send(whole)
        witness.ping()
        broker.start_daemon()
        one.disconnected(code)
        equal(witness.message(), ("w", b"gone"))


@test("the keep alive, while there is no daemon: the will, and 0x8d at most")
def keepalive(broker):
    with client("watcher") as watcher, \
         client("silent", keepalive=1, will=("w", b"gone", 1, False)) as one:
        watcher.subscribe(("w", 1))
        broker.await_known(one)
        broker.end()
        conn = broker.record(one)["id"]
        wait_until(lambda: broker.nl.conn(conn)["state"] == STATE["ended"],
                   "ended")
        broker.start_daemon()
        equal(watcher.message(), ("w", b"gone"))
        assert [p.reason for p in one.ended()] in ([], [KEEPALIVE])


@test("wills and their delay, sessions and their expiry, of connections that"
      " end meanwhile [MQTT-3.1.2-8] [MQTT-4.1.0-2]")
def wills(broker):
    """As if the daemon had been there all the time."""
    def dies(name, delay, seconds):
        return client(name, will=(f"w/{name}", b"gone", 1, False),
                      will_properties=[(WILL_DELAY, delay), *SENT],
                      properties=lasting(seconds))

    with client("watcher") as watcher:
        watcher.subscribe(("w/#", 1))
        soon, late = dies("soon", 0, 60), dies("late", 3600, 60)
        short, leaves = dies("short", 3600, 1), dies("leaves", 0, 60)
        tells, stays = dies("tells", 0, 60), dies("stays", 0, 60)
        broker.await_known(soon, late, short, leaves, tells, stays)
        broker.end()
        for one in soon, late, short:
            one.close()
        leaves.send(disconnect())
        tells.send(disconnect(WITH_WILL, [(SESSION_EXPIRY, 0)]))
        for one in leaves, tells:
            one.close()
        stays.ping()
        broker.start_daemon()
        got = [watcher.accept(watcher.delivery()) for _ in range(3)]
        equal({p.topic for p in got}, {"w/soon", "w/tells", "w/short"})
        equal({p.raw for p in got}, {listed(SENT)})
        watcher.quiet()
        for name, present in (("soon", True), ("late", True),
                              ("short", False), ("leaves", True),
                              ("tells", False)):
            client(name, present, clean=False).disconnect()
        stays.reset()
        equal(watcher.message()[0], "w/stays")
        watcher.quiet()
        client("stays").disconnect()


@test("a will with a delay is not published if the client comes back, and says"
      " DISCONNECT, as soon as there is a daemon, though its connection ended in"
      " half a packet [MQTT-3.1.2-8]")
def back_at_once(broker):
    fields = {"clean": False, "properties": lasting()}
    with client("watcher") as watcher, Client() as late:
        watcher.subscribe(("w", 1))
        marker = client("marker", will=("w", b"later", 1, False),
                        will_properties=[(WILL_DELAY, 2)], properties=lasting())
        whole = connect("dies", **fields)
        late.send(whole[:5])
        dies = client("dies", receive_buffer=4096, will=("w", b"gone", 1, False),
                      will_properties=[(WILL_DELAY, 1)], **fields)
        dies.subscribe(("huge", 1))
        # Their adoption takes longer than to read the rest of a CONNECT.
        # All at once: a CONNECT that is not whole has 10 s.
        others = [Client() for _ in range(times(300))]
        for number, one in enumerate(others):
            one.send(connect(f"c{number}"))
        for one in others:
            one.connected()
        watcher.publish("huge", bytes(1000000), 1)
        record = wait_until(lambda: broker.record(dies) if
                            broker.record(dies)["partial"] else None,
                            "half sent")
        broker.await_known(watcher, others[-1])
        broker.end()
        dies.reset()
        wait_until(lambda: broker.nl.conn(record["id"])["state"] ==
                   STATE["ended"], "ended")
        late.send(whole[5:])
        broker.start_daemon()
        late.connected(True)
        late.disconnect()
        # By then the other one would have come.
        marker.close()
        equal(watcher.message()[1], b"later")
        watcher.quiet()
        for one in others:
            one.close()
    for name in "dies", "marker":
        client(name).disconnect()


@test("an adopted session expires as it was asked for, and is taken over with"
      " 0x8e [MQTT-4.1.0-2] [MQTT-3.1.4-3]")
def adopted(broker):
    with client("hour", properties=lasting(3600)) as hour, \
         client("second", properties=lasting(1)) as second, \
         client("none") as none, client("taken") as taken:
        for one in hour, second:
            one.subscribe(("s", 1))
        broker.replace()
        for one in hour, second, none:
            one.ping()
            one.disconnect()
        begin = time.monotonic()
        with client("taken"):
            taken.disconnected(TAKEN_OVER)
        client("none", clean=False).disconnect()
        with client() as other:
            other.publish("s", b"m", 1)
        time.sleep(max(0, 2.5 - (time.monotonic() - begin)))  # what takes time
        client("second", clean=False).disconnect()
        with back("hour") as one:
            equal(one.message(), ("s", b"m"))
        client("hour").disconnect()


@test("an adopted connection may not change an expiry of 0")
def no_expiry(broker):
    with client("none") as one:
        broker.replace()
        one.send(disconnect(0, [(SESSION_EXPIRY, 5)]))
        one.disconnected(PROTOCOL)


@test("what waits in memory keeps its properties and its time"
      " [MQTT-3.3.2-5] [MQTT-3.3.2-6]")
def queued(broker):
    with client("away", properties=lasting()) as one, client() as other:
        one.subscribe(("t", 2))
        one.disconnect()
        for interval in 1, 100, 1000:
            other.publish("t", b"%d" % interval, 2,
                          properties=[*SENT, (MESSAGE_EXPIRY, interval)])
        begin = time.monotonic()
        broker.replace()
        time.sleep(max(0, 2.2 - (time.monotonic() - begin)))  # what takes time
        with back("away") as one:
            for interval in 100, 1000:
                whole = one.accept(one.delivery())
                equal(int(whole.payload), interval)
                equal(whole.all(USER), [("a", "b"), ("a", "a")])
                assert 2 <= interval - whole.get(MESSAGE_EXPIRY) < 60
            one.quiet()
        client("away").disconnect()


def passes(predicate):
    """Return whether it is true at some time within a second."""
    until = time.monotonic() + 1
    while not (true := predicate()) and time.monotonic() < until:
        pass
    return true


@test("queue_qos0_messages true: killed while a client is sent what had waited,"
      " it is not kept waiting for what is live")
def waited(broker):
    broker.restart(CONFIG + "queue_qos0_messages true\n"
                   "max_queued_messages 0\n")
    with client("away", properties=lasting()) as one, client() as other:
        one.subscribe("t")
        one.disconnect()
        for _ in range(times(10)):
            for _ in range(6000):
                other.send(publish("t", b"queued"))
            other.ping()
            with back("away") as one:
                # It is what passes, though it reads nothing: all fits.
                held = passes(lambda: broker.record(one)["held"])
                if held:
                    broker.replace()
                other.publish("t", b"live")
                while one.message() != ("t", b"live"):
                    pass
                wait_until(lambda: not broker.record(one)["held"], "released")
            if held:
                break
        assert held, "not seen held"
        client("away").disconnect()
    broker.restart(CONFIG)


@test("shared subscriptions go on: each message to one member, QoS 0 to 2"
      " [MQTT-4.8.2-3]")
def shared(broker):
    with client("one") as one, client("two") as two, client() as other:
        for member in one, two:
            member.subscribe(("$share/g/t", 1))
        for _ in range(2):
            broker.replace()
            for qos in range(3):
                for number in range(10):
                    other.publish("t", b"%d" % number, qos)
                other.ping()
                got = []
                for member in one, two:
                    got += [int(whole.payload) for whole in member.waiting()]
                equal(sorted(got), list(range(10)))
        one.unsubscribe("$share/g/t")
        other.publish("t", b"m")
        equal(two.message(), ("t", b"m"))
        one.quiet()


main(Broker())
