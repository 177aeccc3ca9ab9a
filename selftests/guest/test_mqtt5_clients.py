#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""MQTT 5 with other people's clients: mosquitto_pub, _sub and _rr, paho-mqtt."""

import contextlib
import json
import shutil
import subprocess
import threading
import time

from broker import PORT, any_broker
from ktap import TIMEOUT, Skip, cases, equal, main, test, wait_until
from mqtt5 import (CONTENT_TYPE, CORRELATION, MESSAGE_EXPIRY, PAYLOAD_FORMAT,
                   RESPONSE_TOPIC, USER, back, client)

WHERE = ["-h", "127.0.0.1", "-p", str(PORT), "-V", "mqttv5"]
READY = "someone is there"


def need(program):
    """Skip where it is not installed."""
    if not shutil.which(program):
        raise Skip(f"{program} is not installed")


def run(program, *arguments, data=None):
    """Run one of the programs to its end. Return exit status and output."""
    need(program)
    done = subprocess.run([program, *WHERE, *arguments], input=data,
                          capture_output=True, timeout=TIMEOUT, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


@contextlib.contextmanager
def subscriber(*arguments):
    """Run mosquitto_sub until it ends by itself, once it has subscribed."""
    need("mosquitto_sub")
    with client() as one, subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", *WHERE, "-t", READY, *arguments],
            stdout=subprocess.PIPE) as process:
        line = threading.Event()
        got = []

        def read():
            for each in process.stdout:
                got.append(each)
                line.set()

        thread = threading.Thread(target=read)
        thread.start()
        try:
            # It says nothing: ask until the answer comes.
            deadline = time.monotonic() + TIMEOUT
            while not line.wait(0.05):
                assert process.poll() is None, "mosquitto_sub has ended"
                assert time.monotonic() < deadline, "it prints nothing"
                one.publish(READY, b"{}", 1)
            process.lines = got
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            thread.join(TIMEOUT)


PROPERTIES = ["-D", "publish", "content-type", "text/plain",
              "-D", "publish", "user-property", "a", "1",
              "-D", "publish", "user-property", "a", "2",
              "-D", "publish", "response-topic", "answer",
              "-D", "publish", "correlation-data", "xyz",
              "-D", "publish", "payload-format-indicator", "1",
              "-D", "publish", "message-expiry-interval", "100"]


@cases([(f"mosquitto_pub -V 5 -q {qos} with properties: all of them arrive",
         qos) for qos in range(3)])
def published(_, qos):
    with client() as one:
        one.subscribe(("c/t", 2))
        equal(run("mosquitto_pub", "-t", "c/t", "-m", "ü", "-q", str(qos),
                  *PROPERTIES)[0], 0)
        whole = one.accept(one.delivery())
        equal((whole.payload.decode(), whole.qos, whole.all(USER)),
              ("ü", qos, [("a", "1"), ("a", "2")]))
        equal([whole.get(i) for i in (CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION,
                                      PAYLOAD_FORMAT)],
              ["text/plain", "answer", b"xyz", 1])
        assert 95 <= whole.get(MESSAGE_EXPIRY) <= 100


@cases([(f"mosquitto_sub -V 5 -q {qos} -F %j: the properties, and the"
         " identifier", qos) for qos in range(3)])
def received(_, qos):
    with subscriber("-t", "c/t", "-q", str(qos), "-F", "%j", "-D", "subscribe",
                    "subscription-identifier", "42") as process, \
         client() as other:
        other.publish("c/t", b"m", qos, properties=[
            (USER, ("a", "1")), (CONTENT_TYPE, "x"), (USER, ("a", "2"))])
        wanted = wait_until(lambda: [line for line in process.lines
                                     if b"c/t" in line], "received")[0]
        fields = json.loads(wanted)
        equal((fields["qos"], fields["payload"]), (qos, "m"))
        text = wanted.decode()
        assert '"a"' in text and "42" in text and '"x"' in text, text


@test("mosquitto_pub with a topic alias, many lines [MQTT-3.3.2-12]")
def alias(_):
    with client() as one:
        one.subscribe("c/alias")
        lines = b"".join(b"line %d\n" % n for n in range(100))
        equal(run("mosquitto_pub", "-t", "c/alias", "-l", "-D", "publish",
                  "topic-alias", "3", data=lines)[0], 0)
        equal(one.messages(100),
              [("c/alias", b"line %d" % n) for n in range(100)])


@test("mosquitto_sub -c with a session expiry: what waited comes")
def durable(_):
    need("mosquitto_sub")
    arguments = ["-i", "durable", "-c", "-q", "1", "-t", "c/d", "-x", "3600"]
    equal(run("mosquitto_sub", *arguments, "-E")[0], 0)
    with client() as other:
        for number in range(5):
            other.publish("c/d", b"%d" % number, 1)
    status, out, _ = run("mosquitto_sub", *arguments, "-C", "5")
    equal((status, out), (0, b"0\n1\n2\n3\n4\n"))
    back("durable").disconnect()
    client("durable").disconnect()


@test("mosquitto_sub --retain-as-published")
def options(_):
    with client() as other:
        other.publish("c/r", b"old", 1, True)
        with subscriber("-t", "c/r", "--retain-as-published", "-F",
                        "%r %p") as process:
            other.publish("c/r", b"new", 1, True)
            wait_until(lambda: any(b"new" in line for line in process.lines),
                       "received")
        assert b"1 new\n" in process.lines, process.lines
        other.publish("c/r", b"", 1, True)


@test("mosquitto_rr: a request, and the answer to it")
def request(_):
    need("mosquitto_rr")
    with client() as answers:
        answers.subscribe(("c/request", 1))
        with subprocess.Popen(["mosquitto_rr", *WHERE, "-t", "c/request", "-e",
                               "c/answer", "-m", "ask", "-q", "1"],
                              stdout=subprocess.PIPE) as process:
            whole = answers.accept(answers.delivery())
            equal((whole.payload, whole.get(RESPONSE_TOPIC)),
                  (b"ask", "c/answer"))
            correlation = whole.get(CORRELATION)
            answers.publish("c/answer", b"told", 1, properties=[
                (CORRELATION, correlation)] * (correlation is not None))
            equal(process.communicate(timeout=TIMEOUT)[0], b"told\n")


@test("mosquitto_sub to a shared subscription: each message once")
def shared(_):
    with subscriber("-t", "$share/g/c/s") as one, \
         subscriber("-t", "$share/g/c/s") as two, client() as other:
        for number in range(20):
            other.publish("c/s", b"%d" % number, 1)

        def got():
            return [line for each in (one, two) for line in each.lines
                    if line != b"{}\n"]

        wait_until(lambda: len(got()) >= 20, "received")
        equal(sorted(got(), key=int), [b"%d\n" % n for n in range(20)])


# paho-mqtt

class Paho:
    """A client of paho's, its loop in a thread."""

    def __init__(self, client_id="", seconds=0):
        try:
            from paho.mqtt import client as module
            from paho.mqtt import properties, subscribeoptions
        except ImportError as error:
            raise Skip("python3-paho-mqtt is not installed") from error
        fields = {}
        if hasattr(module, "CallbackAPIVersion"):  # since 2.0
            fields["callback_api_version"] = module.CallbackAPIVersion.VERSION1
        self.module, self.properties = module, properties
        self.options = subscribeoptions.SubscribeOptions
        self.seconds = seconds
        self.paho = module.Client(client_id=client_id, protocol=module.MQTTv5,
                                  **fields)
        self.heard, self.codes, self.flags = [], [], None
        self.event, self.connected = threading.Event(), threading.Event()
        self.gone = []
        self.paho.on_message = lambda _c, _u, m: self.heard.append(m)
        self.paho.on_subscribe = self.on_subscribe
        self.paho.on_connect = self.on_connect
        self.paho.on_disconnect = lambda _c, _u, code, _p=None: \
            self.gone.append(code)

    def on_connect(self, _client, _data, flags, _code, _properties):
        """Remember how it was."""
        self.flags = flags
        self.connected.set()

    def on_subscribe(self, _client, _data, _mid, codes, _properties):
        """Remember what was granted."""
        self.codes = [code.value for code in codes]
        self.event.set()

    def of(self, packet, **fields):
        """Return properties of a packet."""
        wanted = self.properties.Properties(packet)
        for name, value in fields.items():
            setattr(wanted, name, value)
        return wanted

    def __enter__(self):
        types = self.module.PacketTypes if hasattr(
            self.module, "PacketTypes") else None
        from paho.mqtt.packettypes import PacketTypes
        self.types = types or PacketTypes
        self.paho.connect(
            "127.0.0.1", PORT, 60, clean_start=not self.seconds,
            properties=self.of(self.types.CONNECT,
                               SessionExpiryInterval=self.seconds))
        self.paho.loop_start()
        assert self.connected.wait(TIMEOUT), "not connected"
        return self

    def __exit__(self, *_):
        self.paho.disconnect()
        self.paho.loop_stop()

    def subscribe(self, topic, qos, identifier=None, **fields):
        """Subscribe, and return the reason codes."""
        self.event.clear()
        properties = identifier and self.of(self.types.SUBSCRIBE,
                                            SubscriptionIdentifier=identifier)
        self.paho.subscribe(topic, options=self.options(qos=qos, **fields),
                            properties=properties)
        assert self.event.wait(TIMEOUT), "no SUBACK"
        return self.codes

    def hears(self, count):
        """Wait for so many messages."""
        wait_until(lambda: len(self.heard) >= count, f"{count} messages heard")
        return self.heard


@cases([(f"paho-mqtt: QoS {qos}, with properties and an identifier"
         " [MQTT-4.2-1]", qos) for qos in range(3)])
def paho(_, qos):
    with Paho("one") as one, Paho("other") as other:
        equal(one.subscribe("t/#", qos, 7), [qos])
        pairs = [("a", "1"), ("b", "2"), ("a", "3")]
        properties = other.of(other.types.PUBLISH, UserProperty=pairs[0],
                              ContentType="c", ResponseTopic="r",
                              CorrelationData=b"\0x")
        for pair in pairs[1:]:
            properties.UserProperty = pair
        for number in range(50):
            other.paho.publish("t/x", b"%d" % number, qos,
                               properties=properties)
        got = one.hears(50)
        equal([(m.payload, m.qos) for m in got],
              [(b"%d" % n, qos) for n in range(50)])
        for message in got:
            have = message.properties
            equal((have.UserProperty, have.ContentType, have.ResponseTopic,
                   have.CorrelationData, have.SubscriptionIdentifier),
                  (pairs, "c", "r", b"\0x", [7]))


@test("paho-mqtt: a session with an expiry, its queue")
def paho_durable(_):
    with Paho("durable", 3600) as one:
        equal(one.flags["session present"], 0)
        one.subscribe("t", 1)
    with client() as other:
        for number in range(30):
            other.publish("t", b"%d" % number, 1)
    with Paho("durable", 3600) as one:
        equal([m.payload for m in one.hears(30)],
              [b"%d" % n for n in range(30)])
        equal(one.flags["session present"], 1)
    client("durable").disconnect()


@test("paho-mqtt: no-local, retain-as-published, retain handling")
def paho_options(_):
    with Paho("me") as one, client() as other:
        other.publish("t", b"kept", 1, True)
        one.subscribe("t", 1, noLocal=True, retainAsPublished=True,
                      retainHandling=2)
        one.paho.publish("t", b"mine", 1).wait_for_publish(TIMEOUT)
        other.publish("t", b"new", 1, True)
        equal([(m.payload, m.retain) for m in one.hears(1)], [(b"new", 1)])
        other.publish("t", b"", 1, True)


@test("paho-mqtt is told why it is disconnected")
def paho_disconnected(_):
    with Paho("me") as one:
        one.paho.on_disconnect = lambda c, _u, code, _p=None: (
            one.gone.append(int(getattr(code, "value", code))), c.disconnect())
        client("me").close()
        wait_until(lambda: one.gone, "disconnected")
        equal(one.gone[0], 0x8e)


main(any_broker())
