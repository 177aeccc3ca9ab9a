#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Other people's clients at QoS 1 and 2: mosquitto_pub and mosquitto_sub,
paho-mqtt; durable sessions, retained messages, wills."""

import contextlib
import os
import shutil
import subprocess
import threading

from broker import CONFIG, PORT, any_broker, client
from ktap import TIMEOUT, Skip, cases, equal, main, test, wait_until

WHERE = ["-h", "127.0.0.1", "-p", str(PORT)]
READY = "ready/or/not"  # retained: who gets it has subscribed


def need(program):
    """Skip where it is not installed."""
    if not shutil.which(program):
        raise Skip(f"{program} is not installed")


def pub(*arguments, data=None):
    """Run mosquitto_pub; it must succeed."""
    need("mosquitto_pub")
    subprocess.run(["mosquitto_pub", *WHERE, *arguments], input=data,
                   timeout=TIMEOUT, check=True)


@contextlib.contextmanager
def sub(*arguments, topic="t"):
    """Run mosquitto_sub, for a while; yield it when it has subscribed."""
    need("mosquitto_sub")
    with client() as one:
        one.publish(READY, b"READY", qos=1, retain=True)
    with subprocess.Popen(["mosquitto_sub", *WHERE, *arguments, "-t", topic,
                           "-t", READY, "-W", str(int(TIMEOUT))],
                          stdout=subprocess.PIPE) as process:
        line = process.stdout.readline()
        assert b"READY" in line, line
        yield process
        if process.poll() is None:
            process.kill()
    with client() as one:
        one.publish(READY, b"", qos=1, retain=True)


def lines(process, count):
    """Return the next lines that it prints."""
    return [process.stdout.readline().decode().rstrip("\n")
            for _ in range(count)]


VERSIONS = ["mqttv31", "mqttv311"]


@cases([(f"mosquitto_pub -q {qos} to mosquitto_sub -q {granted} -V {version}"
         " [MQTT-7.0.0-2] [MQTT-7.1.1-1]",
         qos, granted, version)
        for qos in range(3) for granted in range(3) for version in VERSIONS])
def messages(_, qos, granted, version):
    with sub("-q", str(granted), "-F", "%q %r %p", "-V", version,
             topic="t/+") as process:
        wanted = f"{min(qos, granted)} 0 "
        for number in range(3):
            pub("-q", str(qos), "-t", f"t/{number}", "-m", f"m {number}",
                "-V", version)
        equal(lines(process, 3), [f"{wanted}m {n}" for n in range(3)])


@cases([(f"mosquitto_pub -l -q {qos}: 2,000 lines, in order", qos)
        for qos in (1, 2)])
def many_lines(broker, qos):
    broker.restart(CONFIG + "max_queued_messages 0\n")
    with sub("-q", str(qos)) as process:
        pub("-q", str(qos), "-t", "t", "-l",
            data=b"".join(b"line %d\n" % n for n in range(2000)))
        equal(lines(process, 2000), [f"line {n}" for n in range(2000)])
    broker.restart(CONFIG)


@cases([(f"mosquitto_pub -f -q {qos}: a file of 1 MiB", qos)
        for qos in (1, 2)])
def file(broker, qos):
    payload = os.urandom(1 << 20)
    path = broker.directory / "payload"
    path.write_bytes(payload)
    with sub("-q", str(qos)) as process:
        pub("-q", str(qos), "-t", "t", "-f", path)
        assert process.stdout.read(len(payload) + 1) == payload + b"\n"


@cases([(f"mosquitto_sub -c -q {qos}: a durable session, across {what}",
         qos, how) for qos in (1, 2) for what, how in (
             ("a reconnect", lambda broker: None),
             ("a restart", lambda broker: broker.restart(broker.config)),
             ("kill -9", lambda broker: broker.crash()))])
def durable(broker, qos, how):
    need("mosquitto_sub")
    broker.restart(broker.persistent())

    def resume(*arguments):
        return subprocess.run(
            ["mosquitto_sub", *WHERE, "-c", "-i", "durable", "-q", str(qos),
             "-t", "t", *arguments], timeout=TIMEOUT, check=True,
            capture_output=True).stdout.decode().splitlines()

    equal(resume("-E"), [])  # it ends once it has subscribed
    for half in range(0, 25), range(25, 50):
        pub("-q", "2", "-t", "t", "-l",
            data=b"".join(b"m %d\n" % number for number in half))
        if not half.start:
            how(broker)
    equal(resume("-C", "50"), [f"m {n}" for n in range(50)])
    client("durable").disconnect()
    broker.restart(CONFIG)


@cases([(f"mosquitto_pub -r -q {qos}: retained, replaced, cleared with -n",
         qos) for qos in range(3)])
def retained(_, qos):
    level = ["-q", str(qos), "-r"]
    pub(*level, "-t", "t/1", "-m", "old")
    pub(*level, "-t", "t/1", "-m", "kept")
    pub(*level, "-t", "t/2", "-m", "two")
    done = subprocess.run(
        ["mosquitto_sub", *WHERE, "-t", "t/#", "-q", "2", "-C", "2",
         "-F", "%t %q %r %p"], timeout=TIMEOUT, check=True,
        capture_output=True)
    equal(sorted(done.stdout.decode().splitlines()),
          [f"t/1 {qos} 1 kept", f"t/2 {qos} 1 two"])
    for topic in "t/1", "t/2":
        pub(*level, "-t", topic, "-n")
    with sub("-F", "%t %p", topic="t/#") as process:
        pub("-t", "t/end", "-m", "end")
        equal(lines(process, 1), ["t/end end"])


@cases([(f"mosquitto_sub --will-qos {qos}: published when it is killed", qos)
        for qos in range(3)])
def will(_, qos):
    with client() as one:
        one.subscribe(("w", 2))
        with sub("--will-topic", "w", "--will-payload", "gone",
                 "--will-qos", str(qos)) as process:
            process.kill()
        whole = one.accept(one.delivery())
        equal((whole.topic, whole.payload, whole.qos), ("w", b"gone", qos))
        one.quiet()


# paho-mqtt

class Paho:
    """A client of paho's, its loop in a thread."""

    def __init__(self, client_id="", clean=True, **fields):
        try:
            from paho.mqtt import client as module
        except ImportError as error:
            raise Skip("python3-paho-mqtt is not installed") from error
        if hasattr(module, "CallbackAPIVersion"):  # since 2.0
            fields["callback_api_version"] = module.CallbackAPIVersion.VERSION1
        self.paho = module.Client(client_id=client_id, clean_session=clean,
                                  **fields)
        self.heard = []  # (payload, QoS, RETAIN)
        self.connected = threading.Event()
        self.subscribed = threading.Event()
        self.present = None
        self.paho.on_message = lambda _c, _u, m: self.heard.append(
            (m.payload, m.qos, bool(m.retain)))
        self.paho.on_subscribe = lambda *_: self.subscribed.set()
        self.paho.on_connect = self.on_connect

    def on_connect(self, _client, _data, flags, _code):
        """Remember how it was."""
        self.present = flags["session present"]
        self.connected.set()

    def __enter__(self):
        self.paho.connect("127.0.0.1", PORT, 60)
        self.paho.loop_start()
        assert self.connected.wait(TIMEOUT), "not connected"
        return self

    def __exit__(self, *_):
        self.paho.disconnect()
        self.paho.loop_stop()

    def subscribe(self, topic, qos):
        """Subscribe, and wait until that is done."""
        self.subscribed.clear()
        self.paho.subscribe(topic, qos)
        assert self.subscribed.wait(TIMEOUT), "no SUBACK"

    def publish(self, payloads, qos, retain=False, topic="t"):
        """Publish, and wait until the exchanges are complete."""
        for info in [self.paho.publish(topic, payload, qos, retain)
                     for payload in payloads]:
            info.wait_for_publish(TIMEOUT)
            assert info.is_published()

    def hears(self, count):
        """Wait for so many messages."""
        wait_until(lambda: len(self.heard) >= count, f"{count} messages heard")
        return self.heard


@cases([(f"paho-mqtt: QoS {qos} both ways, MQTT {name} [MQTT-7.0.0-2]", qos, level)
        for qos in (1, 2) for name, level in (("3.1", 3), ("3.1.1", 4))])
def paho_qos(_, qos, level):
    payloads = [b"%d" % n for n in range(200)]
    with Paho("one", protocol=level) as one, \
         Paho("other", protocol=level) as other:
        one.subscribe("t", qos)
        other.publish(payloads, qos)
        equal(one.hears(200), [(p, qos, False) for p in payloads])
        other.publish([os.urandom(1 << 20), b"end"], qos)
        equal(len(one.hears(202)), 202)
        equal(one.heard[-1], (b"end", qos, False))


@cases([(f"paho-mqtt: a durable session at QoS {qos}, its queue", qos)
        for qos in (1, 2)])
def paho_durable(_, qos):
    payloads = [b"%d" % n for n in range(100)]
    with Paho("durable", clean=False) as one:
        equal(one.present, 0)
        one.subscribe("t", qos)
    with Paho("other") as other:
        other.publish(payloads, qos)
    with Paho("durable", clean=False) as one:
        equal(one.present, 1)
        equal(one.hears(100), [(p, qos, False) for p in payloads])
    client("durable").disconnect()


@test("paho-mqtt: it connects again after kill -9, and loses nothing")
def paho_crash(broker):
    broker.restart(broker.persistent())
    with Paho("durable", clean=False) as one, \
         Paho("other", clean=False) as other:
        one.subscribe("t", 2)
        other.publish([b"before"], 2)
        one.hears(1)
        for paho in one, other:
            paho.connected.clear()
        broker.crash()
        # It says that it is not connected, though it would send it later.
        assert other.connected.wait(TIMEOUT), "not connected again"
        other.publish([b"after"], 2)
        equal(one.hears(2), [(b"before", 2, False), (b"after", 2, False)])
    for name in "durable", "other":
        client(name).disconnect()
    broker.restart(CONFIG)


@cases([(f"paho-mqtt: retained at QoS {qos}", qos) for qos in range(3)])
def paho_retained(_, qos):
    with Paho() as one, Paho() as other:
        other.publish([b"old", b"kept"], qos, True)
        # At QoS 0 nothing tells paho that it has arrived.
        other.subscribe("t", 0)
        other.hears(1)
        wait_until(lambda: other.heard[-1][0] == b"kept", "retained")
        one.subscribe("t", 2)
        equal(one.hears(1), [(b"kept", qos, True)])
        other.publish([b""], qos, True)
        equal(one.hears(2)[1:], [(b"", qos, False)])


@cases([(f"paho-mqtt: a will at QoS {qos}", qos) for qos in range(3)])
def paho_will(_, qos):
    with Paho() as one:
        one.subscribe("w", 2)
        dies = Paho("dies")
        dies.paho.will_set("w", b"gone", qos)
        with dies:
            # Another takes its name, and it would connect again.
            dies.paho.on_disconnect = lambda c, *_: c.disconnect()
            client("dies").disconnect()
            equal(one.hears(1), [(b"gone", qos, False)])


main(any_broker())
