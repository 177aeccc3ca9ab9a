#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The daemon is killed, and no client notices.

KMQTT_LONG=1: with more clients, and more often.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import select
import signal
import subprocess
import threading
import time

from broker import CONFIG, Broker, client
from ktap import LONG, TIMEOUT, cases, equal, main, note, test, wait_until
from mqtt import (PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK,
                  Client, acknowledge, connect, disconnect, packet, ping, publish,
                  subscribe)
from nl import EVENT_DROPPED, STATE

CLIENTS = 1000 if LONG else 200
KILLS = 50 if LONG else 4
BURST = 10  # messages that are published before the slowest is waited for
ANSWER = packet(PINGRESP, 0)
WINDOW = 40  # messages that the slowest has not got; fewer than a ring has
DUP = 8
SIZE = 1900000  # of a large payload
READ = 32768  # bytes of a large packet, of which the module is told at once
POLL = 7  # number of the system call, on x86-64


def will(topic, qos=0):
    """Return the fields of a CONNECT with a will."""
    return {"will": (topic, b"gone", qos, False)}


def refuse(broker, one):
    """The next daemon does not let it stay, the one after that does."""
    config = broker.config
    broker.end()
    broker.start_daemon(config.replace("allow_anonymous true", ""))
    one.ended()
    broker.end()
    broker.start_daemon(config)


GONE = [(f"{where}, its connection {what}, {times}", persistent, kill, kills)
        for where, persistent in (("in memory", False), ("on disk", True))
        for what, kill in (
            ("ended before", lambda broker, one:
             broker.replace_losing(one, False)),
            ("ended meanwhile", lambda broker, one:
             broker.replace_losing(one, True)),
            ("forgotten meanwhile", lambda broker, one: broker.crash()),
            ("refused by the next", refuse))
        for times, kills in (("once", 0), ("and again", 1))]


class Crowd:
    """Subscribers to numbered messages, who read as they come, and check."""

    def __init__(self, count, topic):
        self.clients = [client(f"c{number}") for number in range(count)]
        self.got = [0] * count
        self.pings = [0] * count
        self.rest = [b""] * count
        self.packets = []
        self.failure = None
        self.topic = topic
        self.ready = select.epoll()
        self.by_fd = {}
        for index, one in enumerate(self.clients):
            one.subscribe(topic)
            self.by_fd[one.socket.fileno()] = index
            self.ready.register(one.socket, select.EPOLLIN)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        """Read until they are closed."""
        try:
            while self.clients:
                for fd, _ in self.ready.poll(0.1):
                    self.take(self.by_fd[fd])
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure

    def take(self, index):
        """Take what one of them has got, byte for byte."""
        data = self.rest[index] + self.clients[index].receive()
        at = 0
        while at < len(data):
            wanted = self.wanted(self.got[index])
            if data.startswith(wanted, at):
                self.got[index] += 1
                at += len(wanted)
            elif data.startswith(ANSWER, at):
                self.pings[index] += 1
                at += len(ANSWER)
            elif len(data) - at < len(wanted):
                break
            else:
                raise AssertionError(f"client {index}: {wanted} wanted, "
                                     f"got {data[at:at + 40]}")
        self.rest[index] = data[at:]

    def wanted(self, number):
        """Return the packet with that number."""
        while len(self.packets) <= number:
            self.packets.append(publish(self.topic, b"%d" % len(self.packets)))
        return self.packets[number]

    def await_all(self, counts, least, what):
        """Wait until all have got so many."""
        wait_until(lambda: self.failure or min(counts) >= least, what)
        if self.failure:
            raise self.failure

    def ping(self):
        """Have all of them ping."""
        wanted = max(self.pings) + 1
        for one in self.clients:
            one.send(ping)
        self.await_all(self.pings, wanted, "PINGREQ answered")

    def close(self):
        """Close all."""
        clients, self.clients = self.clients, []
        self.thread.join()
        for one in clients:
            one.close()


@test(f"kill -9 under fan-out to {CLIENTS}: nothing is lost, PINGREQ is answered")
def fan_out(broker):
    crowd = Crowd(CLIENTS, "fan/out")
    stop = threading.Event()
    sent = 0

    def load():
        nonlocal sent
        while not stop.is_set():
            for _ in range(BURST):
                publisher.send(publish("fan/out", b"%d" % sent))
                sent += 1
            # So that there is room in the ring of the slowest.
            crowd.await_all(crowd.got, sent - WINDOW, "delivered")

    with client("publisher") as publisher, broker.counted(), \
            concurrent.futures.ThreadPoolExecutor() as pool:
        loading = pool.submit(load)
        try:
            for _ in range(3):
                for act in broker.end, broker.start_daemon:
                    before = sent
                    act()
                    crowd.ping()
                    # The load has gone on in between, and after it.
                    crowd.await_all(crowd.got, before + WINDOW, "going on")
        finally:
            stop.set()
        loading.result()
        crowd.await_all(crowd.got, sent, "all delivered")
    note(f"{sent} messages to {CLIENTS}")
    crowd.close()


@test("the next daemon serves all as if it had always been there")
def serves(broker):
    with client("one") as one, client("other") as other, Client() as silent, \
         Client() as half:
        half.send(connect("half")[:5])
        one.subscribe("a", ("b", 1))
        broker.await_known(one, other)
        broker.end()
        half.send(connect("half")[5:])
        one.send(subscribe(77, "c"))
        other.send(publish("a", b"while away"))
        equal(one.message(), ("a", b"while away"))
        other.send(publish("b", b"QoS 1 while away", 2, 5))
        other.ping()
        broker.start_daemon()
        one.subscribed(77)
        equal(one.message(), ("b", b"QoS 1 while away"))
        other.acknowledged(PUBACK, 5)
        half.connected()
        half.ping()
        silent.connect("silent")
        silent.publish("c", b"later", 2)
        equal(one.message(), ("c", b"later"))
        one.unsubscribe("c")
        with client("one") as taken:
            one.ended()
            taken.ping()


@test("QoS 1 and 2 in flight go on with their identifiers, nothing is resent")
def in_flight(broker):
    with client("subscriber") as one, client("publisher") as other:
        one.subscribe(("q/#", 2))
        for qos in 1, 2, 2:
            other.publish(f"q/{qos}", b"x", qos)
        first, second, third = (one.delivery() for _ in range(3))
        one.send(acknowledge(PUBREC, third.number))
        one.acknowledged(PUBREL, third.number)
        broker.replace()
        one.quiet()
        one.send(acknowledge(PUBACK, first.number),
                 acknowledge(PUBREC, second.number),
                 acknowledge(PUBCOMP, third.number))
        one.acknowledged(PUBREL, second.number)
        broker.replace()
        one.send(acknowledge(PUBCOMP, second.number))
        other.publish("q/1", b"next", 1)
        after = one.accept(one.delivery())
        equal((after.payload, after.dup), (b"next", False))
        assert after.number not in (first.number, second.number, third.number)
        one.quiet()


@cases([(f"kill -9, a session {what}: what had been sent comes again with DUP"
         " [MQTT-3.3.1-1]", *how) for what, *how in GONE])
def redelivered(broker, persistent, kill, kills):
    if persistent:
        broker.restart(broker.persistent())
    with client("away", clean=False) as one:
        one.subscribe(("q", 2))
        with client() as other:
            for qos in 1, 2, 2:
                other.publish("q", b"sent", qos)
        sent = [one.delivery() for _ in range(3)]
        one.send(acknowledge(PUBREC, sent[2].number))
        one.acknowledged(PUBREL, sent[2].number)
        kill(broker, one)
        with client() as other:
            other.publish("q", b"new", 1)
        for _ in range(kills):
            broker.replace()
    with client("away", present=True, clean=False) as one:
        # PUBREL may come before or behind: it is no PUBLISH.
        came = [one.packet() for _ in sent]
        equal([whole for whole in came if whole.kind != PUBREL],
              [(whole.kind, whole.flags | DUP, whole.body)
               for whole in sent[:2]])
        equal([whole.number for whole in came if whole.kind == PUBREL],
              [sent[2].number])
        one.send(acknowledge(PUBCOMP, sent[2].number))
        for whole in sent[:2]:
            one.accept(whole)
        whole = one.accept(one.delivery())
        equal((whole.payload, whole.dup), (b"new", False))
        one.disconnect()
    client("away").disconnect()
    broker.restart(CONFIG)


@test("a QoS 2 PUBLISH half done is not delivered again")
def inbound(broker):
    with client("subscriber") as one, client("publisher") as other:
        one.subscribe(("q", 2))
        other.send(publish("q", b"once", 4, 9))
        other.acknowledged(PUBREC, 9)
        equal(one.message(), ("q", b"once"))
        broker.replace()
        other.send(publish("q", b"once", 4 | 8, 9))
        other.acknowledged(PUBREC, 9)
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9)
        one.quiet()


@test("wills: of those that ended meanwhile without DISCONNECT, and of no other")
def wills(broker):
    with client("watcher") as watcher:
        watcher.subscribe(("will/#", 1))
        stays = client("stays", **will("will/stays"))
        leaves = client("leaves", **will("will/leaves"))
        closes = client("closes", **will("will/closes", 1))
        before = client("before", **will("will/before"))
        resets = client("resets", **will("will/resets"))
        before.disconnect()
        broker.await_known(stays, leaves, closes, resets)
        broker.end()
        leaves.send(b"\xe0\0")
        leaves.close()
        closes.close()
        resets.reset()
        broker.start_daemon()
        equal({watcher.message()[0] for _ in range(2)},
              {"will/closes", "will/resets"})
        broker.replace()
        stays.ping()
        watcher.quiet()
        stays.reset()
        equal(watcher.message()[0], "will/stays")
        watcher.quiet()


@test("a journal that knows less than was sent: the connection ends, and nothing"
      " comes again on it")
def behind(broker):
    with client("one") as one, client("other") as other:
        one.subscribe(("q", 1))
        saved = {path: path.read_bytes() for path in
                 pathlib.Path("/run/kmqtt").glob("journal-*")}
        other.publish("q", b"m", 1)
        equal(one.message(), ("q", b"m"))
        broker.end()
        for path, records in saved.items():
            path.write_bytes(records)
        broker.start_daemon()
        equal(one.ended(), [])


@contextlib.contextmanager
def sink_held(broker):
    """The next daemon cannot have the sink yet, and so adopt nobody."""
    descriptor = []

    def taken():
        with contextlib.suppress(OSError):
            descriptor.append(broker.nl.sink_open(orphan_timeout=3600))
        return descriptor

    wait_until(taken, "sink let go")
    try:
        yield
    finally:
        os.close(descriptor[0])


@test("a client that says DISCONNECT before the next daemon knows it has no will")
def too_early(broker):
    with client("watcher") as watcher:
        watcher.subscribe(("will/#", 1))
        leaves = client("leaves", **will("will/leaves"))
        broker.await_known(watcher, leaves)
        conn = broker.record(leaves)["id"]
        broker.end()
        # As the daemon does each second: the next event wakes up.
        broker.nl.conns(pending=True)
        with sink_held(broker):
            broker.daemon = broker.run_daemon(broker.config)
            broker.await_line("Opening ipv4 listen socket")
            leaves.send(b"\xe0\0")
            leaves.close()
            wait_until(lambda: broker.nl.conn(conn)["state"] == STATE["ended"],
                       "ended")
        broker.await_ready()
        watcher.quiet()


@test("keep alive is enforced while there is no daemon")
def keepalive(broker):
    with client("watcher") as watcher, \
         client("silent", keepalive=1, **will("will/silent")) as silent:
        watcher.subscribe("will/#")
        broker.await_known(silent)
        broker.end()
        conn = broker.record(silent)["id"]
        wait_until(lambda: broker.nl.conn(conn)["state"] == STATE["ended"],
                   "ended")
        broker.start_daemon()
        equal(watcher.message()[0], "will/silent")
        silent.ended()


@test("SIGHUP while connections are being adopted counts once they are")
def hangup(broker):
    clients = [client(f"c{number}") for number in range(CLIENTS)]
    broker.end()
    broker.daemon = broker.run_daemon(broker.config)
    # Before it waits for signals it would just end.
    wait_until(lambda: broker.nl.stats()["daemon"] == broker.daemon.pid,
               "adopting")
    broker.daemon.send_signal(signal.SIGHUP)
    broker.await_ready()
    broker.await_line("Config reloaded")
    for one in clients:
        one.unsubscribe("nothing")
        one.close()


def run_second(broker):
    """Start another daemon, at another port."""
    config = broker.directory / "second.conf"
    config.write_text("listener 1884 127.0.0.1\nallow_anonymous true\n")
    return subprocess.Popen([broker.program, "-c", config],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@test("a second daemon is refused while the first lives")
def second(broker):
    begin = broker.output.stat().st_size
    with run_second(broker) as other:
        said, _ = other.communicate(timeout=TIMEOUT)
    equal(other.returncode, 1)
    assert b"Another kmqttd serves this network namespace" in said
    # The first one has nothing to say about it, only about clients of before.
    said = broker.output.read_bytes()[begin:].splitlines()
    equal([line for line in said if b"disconnected" not in line], [])
    equal(broker.nl.stats()["daemon"], broker.daemon.pid)


@test("a second daemon, before it is refused, ends nobody's connection")
def second_hears(broker):
    flood = [publish("flood", bytes(60000))] * 50
    with client("stalled", receive_buffer=4096) as stalled, \
            client("other") as other:
        stalled.subscribe("flood")
        other.send(*flood)
        broker.await_line("being dropped for client stalled")
        other.send(*flood)
        # It has said so, and will not look at it again for a while.
        wait_until(lambda: broker.record(stalled)["events"] & EVENT_DROPPED,
                   "dropped again")
        with run_second(broker) as second_daemon:
            wait_until(lambda: b"Opening" in second_daemon.stdout.readline(),
                       "it begins")
            with broker.counted("closed"):
                other.close()
                second_daemon.communicate(timeout=TIMEOUT)
        stalled.receive()


@test("orphan_timeout: then the kernel ends all, and the module can go")
def orphaned(broker):
    broker.restart(CONFIG + "orphan_timeout 3\n")
    with client("one", **will("will/one")) as one:
        # After CONNACK comes its activation: before, nobody answers.
        one.ping()
        with broker.counted("orphaned"):
            broker.end()
            one.ping()
            one.ended()
        equal(broker.nl.stats()["daemon"], 0)
    broker.start_daemon(broker.own_config)
    broker.await_conns(0)


class Loop:
    """Publish at one QoS from one client to another, while daemons fall."""

    def __init__(self, qos):
        self.qos = qos
        self.publisher = client(f"publisher{qos}")
        self.subscriber = client(f"subscriber{qos}")
        self.subscriber.subscribe((f"loop/{qos}", qos))
        self.count = 0
        self.got = []
        self.stop = False
        self.threads = [threading.Thread(target=self.publish),
                        threading.Thread(target=self.receive)]
        for thread in self.threads:
            thread.start()

    def publish(self):
        """Publish numbers, one after the other."""
        while not self.stop:
            self.publisher.publish(f"loop/{self.qos}", b"%d" % self.count,
                                   self.qos)
            self.count += 1
        self.publisher.publish(f"loop/{self.qos}", b"end", self.qos)

    def receive(self):
        """Receive them."""
        while True:
            payload = self.subscriber.message()[1]
            if payload == b"end":
                return
            self.got.append(int(payload))

    def end(self):
        """Return what was received, in order."""
        self.stop = True
        for thread in self.threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "it does not go on"
        self.publisher.close()
        self.subscriber.close()
        return self.got


@test("handover under load: no connection ends, and all arrives")
def handover(broker):
    clients = [client(f"c{n}") for n in range(CLIENTS // 4)]
    for one in clients:
        one.subscribe("idle")
    loops = [Loop(qos) for qos in (1, 2)]
    with broker.counted():
        for _ in range(3):
            before = loops[1].count
            wait_until(lambda: loops[1].count > before + 5, "going on")
            broker.hand_over()
    for loop in loops:
        got = loop.end()
        equal(got, list(range(loop.count)), f"QoS {loop.qos}")
    for one in clients:
        one.ping()
        one.close()


@test("handover in the middle of packets, both ways: they are finished after it")
def halves(broker):
    large = publish("large", bytes(range(250)) * 1200, 2, 7)
    with client("reader", receive_buffer=4096) as reader, \
            client("writer") as writer, client("other") as other:
        reader.subscribe(("huge", 1), ("small", 1))
        other.subscribe(("large", 1))
        writer.publish("huge", bytes(range(256)) * 4000, 1)
        writer.publish("small", b"behind it", 1)
        wait_until(lambda: broker.record(reader)["partial"], "half sent")
        writer.send(large[:200000])
        wait_until(lambda: broker.record(writer)["done"] > 100000,
                   "half received")
        with broker.counted():
            for _ in range(3):
                broker.hand_over()
            writer.send(large[200000:])
            writer.acknowledged(PUBACK, 7)
            equal(other.message(), ("large", bytes(range(250)) * 1200))
            equal(reader.message(), ("huge", bytes(range(256)) * 4000))
            equal(reader.message(), ("small", b"behind it"))
            writer.publish("small", b"and on", 1)
            equal(reader.message(), ("small", b"and on"))
            reader.quiet()


@test("handover in the middle of a packet to a client, then kill -9, the journal"
      " written anew meanwhile: it is finished")
def halves_killed(broker):
    with client("reader", receive_buffer=4096) as reader, \
            client("writer") as writer:
        reader.subscribe(("huge", 1), ("small", 1))
        writer.publish("huge", bytes(range(256)) * 4000, 1)
        writer.publish("small", b"behind it", 1)
        wait_until(lambda: broker.record(reader)["partial"], "half sent")
        with broker.counted():
            broker.hand_over()
            for _ in range(2):
                for _ in range(4):
                    writer.publish("nobody", bytes(SIZE), 1)
                broker.replace()
            equal(reader.message(), ("huge", bytes(range(256)) * 4000))
            equal(reader.message(), ("small", b"behind it"))
            reader.quiet()


def successor():
    """Return the process that waits to become the next daemon."""
    names = pathlib.Path("/proc").glob("[0-9]*/comm")
    return next(int(name.parent.name) for name in names
                if name.read_text() == "kmqttd-next\n")


@contextlib.contextmanager
def preparing(broker):
    """A handover has begun, and goes on at the end of it."""
    before, after = broker.daemon.pid, successor()
    call = pathlib.Path(f"/proc/{before}/syscall")
    os.kill(after, signal.SIGSTOP)
    try:
        broker.daemon.send_signal(signal.SIGUSR2)
        wait_until(lambda: call.read_text().startswith(f"{POLL} "), "asked")
        yield
    finally:
        os.kill(after, signal.SIGCONT)
    broker.await_successor(before)


@test("a client that says DISCONNECT while a handover is prepared has no will")
def leaving(broker):
    with client("reader", receive_buffer=4096) as reader, \
            client("watcher") as watcher, client("writer") as writer:
        reader.subscribe(("huge", 1))
        watcher.subscribe("w")
        writer.publish("huge", bytes(range(256)) * 4000, 1)
        wait_until(lambda: broker.record(reader)["partial"], "half sent")
        one = client("leaves", **will("w"))
        with preparing(broker):
            one.send(publish("w", b"last words", 2, 1), disconnect)
            one.close()
        equal(watcher.message(), ("w", b"last words"))
        wait_until(lambda: len(broker.nl.conns()) == 3, "gone")
        writer.publish("w", b"after it")
        equal(watcher.message(), ("w", b"after it"))
        equal(reader.message(), ("huge", bytes(range(256)) * 4000))


class Upload(threading.Thread):
    """Publishes large messages, a little at a time, until told to stop."""

    def __init__(self, one):
        super().__init__()
        self.one = one
        self.stop = False
        self.count = 0

    def run(self):
        while not self.stop:
            whole = publish("large", bytes(SIZE), 2, 1)
            for at in range(0, len(whole), 20000):
                self.one.send(whole[at:at + 20000])
                time.sleep(0.01)
            self.one.acknowledged(PUBACK, 1)
            self.count += 1


@test("handover while a large packet is on its way: it goes on coming")
def uploading(broker):
    with client("uploads") as one:
        upload = Upload(one)
        upload.start()
        with broker.counted():
            for number in range(2):
                wait_until(lambda n=number: upload.count >= n, "going on")
                wait_until(lambda: broker.record(one)["done"] % SIZE > 100000,
                           "half received")
                broker.hand_over()
        upload.stop = True
        upload.join()


@test("handover while a large packet for the disk is on its way: it is answered")
def uploading_to_disk(broker):
    broker.restart(broker.persistent())
    client("sleeps", clean=False).subscribe(("large", 1))
    with client("watcher") as watcher, \
            client("uploads", **will("w")) as one, broker.counted():
        watcher.subscribe("w")
        whole = publish("large", bytes(SIZE), 2, 1)
        one.send(whole[:-20000])
        wait_until(lambda: broker.record(one)["rx_bytes"] > SIZE - 30000,
                   "nearly received")
        with preparing(broker):
            one.send(whole[-20000:])
        one.acknowledged(PUBACK, 1)
        watcher.quiet()
    broker.restart(broker.own_config)


def await_read(broker, one, count):
    """Wait until the daemon has read all but the last of what the client sent."""
    wait_until(lambda: broker.record(one)["done"] > count - READ, "read")


@test("kill -9 in the middle of a large packet, time and again: it goes on coming,"
      " and arrives once")
def large(broker):
    data = bytes(range(256)) * (SIZE // 256)
    whole, step = publish("large", data, 4, 9), SIZE // 5
    with client("watcher") as watcher, client("one") as one, \
            client("uploads", **will("w")) as other, broker.counted():
        watcher.subscribe("w")
        one.subscribe(("large", 2))
        other.ping()
        count = broker.record(other)["done"]
        for at in range(0, len(whole), step):
            other.send(whole[at:at + step])
            if at + step < len(whole):
                await_read(broker, other, count + at + step)
            broker.replace()
            one.publish("other", bytes(SIZE // 10), 2)
        other.acknowledged(PUBREC, 9)
        equal(one.message(), ("large", data))
        one.quiet()
        # The next one begins where that ended.
        for rest in whole[:step], whole[step:]:
            other.send(rest)
            broker.replace()
        other.acknowledged(PUBREC, 9)
        other.send(acknowledge(PUBREL, 9))
        other.acknowledged(PUBCOMP, 9)
        one.quiet()
        watcher.quiet()


@test("kill -9 while more than 4 MiB of large packets have come: the connections"
      " beyond that end, and no other")
def too_large(broker):
    whole, had = publish("large", bytes(SIZE), 2, 1), 1 << 20
    with contextlib.ExitStack() as stack, client("witness") as witness:
        uploads = [stack.enter_context(client(f"u{number}"))
                   for number in range(6)]
        for one in uploads:
            count = broker.record(one)["done"]
            one.send(whole[:had])
            await_read(broker, one, count + had)
        with broker.counted("deleted", "deleted"):
            broker.replace()
        witness.ping()
        for one in uploads[:4]:
            one.send(whole[had:])
            one.acknowledged(PUBACK, 1)


@test("who takes no answer before it has sent all of a large packet is not waited"
      " for")
def full(broker):
    with client("one", receive_buffer=4096) as one, client("other") as other:
        one.subscribe("t")
        other.subscribe("large")
        for _ in range(40):
            other.publish("t", bytes(100000))
        other.ping()
        one.send(subscribe(2, "nothing"))
        one.send(publish("large", bytes(SIZE), 2, 1))
        equal(other.message(), ("large", bytes(SIZE)))


@test("handover while retained messages are sent: what is behind the SUBSCRIBE"
      " happens once")
def behind_subscribe(broker):
    broker.restart(broker.persistent())
    topics = [f"r/{number}" for number in range(1000)]
    with client("observer") as observer, client("other") as other, \
            client("reader", receive_buffer=4096) as reader:
        observer.subscribe(("x", 2))
        other.publish_all([(topic, bytes(1024)) for topic in topics],
                          retain=True)
        other.ping()
        reader.send(subscribe(1, "r/#"), publish("x", b"m", 4, 2),
                    acknowledge(PUBREL, 2))
        kinds = [reader.packet().kind for _ in range(300)]
        broker.hand_over()
        while PUBCOMP not in kinds[300:]:
            kinds.append(reader.packet().kind)
        equal([kind for kind in kinds if kind not in (SUBACK, PUBLISH)],
              [PUBREC, PUBCOMP])
        equal(observer.message(), ("x", b"m"))
        observer.quiet()
        other.publish_all([(topic, b"") for topic in topics], retain=True)
    broker.restart(broker.own_config)


@test("without a journal there is no handover: all would be disconnected")
def no_journal(broker):
    broker.restart(f"{broker.own_config}runtime_directory /no/such/one\n")
    with client("one") as one, broker.counted():
        broker.daemon.send_signal(signal.SIGUSR2)
        broker.await_line("Not handed over: without a journal")
        one.unsubscribe("nothing of that name")
    broker.restart(broker.own_config)


@test("a handover whose journal finds no room for half packets is called off")
def journal_full(broker):
    runtime = broker.directory / "small"
    runtime.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16M", "none", runtime],
                   check=True)
    broker.restart(f"{broker.own_config}runtime_directory {runtime}\n")
    huge = bytes(range(256)) * 4000
    readers = [client(f"reader{n}", receive_buffer=4096) for n in range(4)]
    with client("writer") as writer, broker.counted():
        for one in readers:
            one.subscribe(("huge", 1))
        writer.publish("huge", huge, 1)
        for one in readers:
            wait_until(lambda one=one: broker.record(one)["partial"], "half sent")
        with contextlib.suppress(OSError), open(runtime / "full", "wb") as full:
            while True:
                full.write(bytes(4096))
                full.flush()
        broker.daemon.send_signal(signal.SIGUSR2)
        broker.await_line("Handing over(.|\n)*Not handed over: without a journal")
        for one in readers:
            equal(one.message(), ("huge", huge))
            one.unsubscribe("huge")
    for one in readers:
        one.close()
    broker.restart(broker.own_config)
    subprocess.run(["umount", runtime], check=True)


@cases([("in memory", False), ("persistence", True)])
def kill_loop(broker, persistent):
    if persistent:
        broker.restart(broker.persistent())
    loops = [Loop(qos) for qos in (1, 2)]
    with broker.counted():
        for number in range(KILLS):
            before = loops[1].count
            wait_until(lambda: loops[1].count > before + number, "going on")
            broker.replace()
    once, exactly = (loop.end() for loop in loops)
    equal(exactly, list(range(loops[1].count)), "QoS 2")
    equal(sorted(set(once)), list(range(loops[0].count)), "QoS 1")
    if persistent:
        broker.restart(broker.own_config)


# Of the tests, one is about that time-out; a busy machine exceeds the default.
main(Broker(CONFIG + "orphan_timeout 3600\n"))
