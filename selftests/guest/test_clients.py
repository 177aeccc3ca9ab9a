#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Other people's clients: mosquitto_pub and mosquitto_sub, paho-mqtt."""

import contextlib
import os
import shutil
import subprocess
import threading

from broker import CONFIG, PORT, Broker
from ktap import TIMEOUT, Skip, cases, equal, main, test, wait_until

WHERE = ["-h", "127.0.0.1", "-p", str(PORT)]


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
def subscriber(broker, *arguments, subscriptions=1):
    """Run mosquitto_sub until it ends by itself, once it has subscribed."""
    need("mosquitto_sub")
    before = broker.nl.stats()["subs"]
    with subprocess.Popen(["mosquitto_sub", *WHERE, *arguments],
                          stdout=subprocess.PIPE) as process:
        wanted = before + subscriptions
        wait_until(lambda: broker.nl.stats()["subs"] == wanted, "subscribed")
        yield process
        if process.poll() is None and not process.stdout.closed:
            process.terminate()


def output(process):
    """Return exit status and output of a program that ends by itself."""
    out, _ = process.communicate(timeout=TIMEOUT)
    return process.returncode, out


@test("mosquitto_pub to mosquitto_sub")
def messages(broker):
    with subscriber(broker, "-v", "-t", "a/+", "-t", "b/#", "-C", "4",
                    subscriptions=2) as process:
        for topic, message in ("a/1", "one"), ("x", "no"), ("b", "two words"):
            equal(run("mosquitto_pub", "-t", topic, "-m", message)[0], 0)
        equal(run("mosquitto_pub", "-t", "b/ü/ö", "-n")[0], 0)
        equal(run("mosquitto_pub", "-t", "a/2", "-m", "")[0], 0)
        equal(output(process),
              (0, "a/1 one\nb two words\nb/ü/ö (null)\na/2 (null)\n".encode()))


@test("mosquitto_pub -l: 2,000 lines, in order")
def lines(broker):
    data = b"".join(b"line %d\n" % n for n in range(2000))
    with subscriber(broker, "-t", "lines", "-C", "2000") as process:
        # In parts: QoS 0 to a reader that is slower than that is dropped.
        need("mosquitto_pub")
        with subprocess.Popen(["mosquitto_pub", *WHERE, "-t", "lines", "-l"],
                              stdin=subprocess.PIPE) as publisher:
            got = b""
            for first in range(0, len(data), 5000):
                part = data[first:first + 5000]
                publisher.stdin.write(part)
                publisher.stdin.flush()
                while len(got) < data.rfind(b"\n", 0, first + 5000) + 1:
                    got += os.read(process.stdout.fileno(), 65536)
            publisher.stdin.close()
            equal(publisher.wait(TIMEOUT), 0)
        equal((process.wait(TIMEOUT), got), (0, data))


@test("mosquitto_pub -f: a file of 1 MiB")
def file(broker):
    payload = os.urandom(1 << 20)
    path = broker.directory / "payload"
    path.write_bytes(payload)
    with subscriber(broker, "-N", "-t", "file", "-C", "1") as process:
        equal(run("mosquitto_pub", "-t", "file", "-f", path)[0], 0)
        status, got = output(process)
        equal(status, 0)
        assert got == payload


@test("mosquitto_sub -W: exit status 27")
def timeout(_):
    equal(run("mosquitto_sub", "-t", "nothing", "-W", "1")[0], 27)


@cases([(f"mosquitto_sub -q {qos}: granted", qos) for qos in (0, 1, 2)])
def granted(_, qos):
    status, out, err = run("mosquitto_sub", "-d", "-t", "q", "-q", str(qos),
                           "-W", "1")
    equal(status, 27)
    said = out.decode() + err
    assert f"Subscribed (mid: 1): {qos}" in said, said


@test("mosquitto_sub of a bad filter among good ones")
def bad_filter(broker):
    # It checks filters itself; one that is too long for us is good for it.
    with subscriber(broker, "-t", "good", "-t", "x" * 65001,
                    "-C", "1") as process:
        run("mosquitto_pub", "-t", "good", "-m", "x")
        equal(output(process), (0, b"x\n"))


@cases([(f"mosquitto_pub and _sub -V {name}", name)
        for name in ("mqttv31", "mqttv311")])
def version(broker, name):
    with subscriber(broker, "-V", name, "-i", "me", "-t", "v",
                    "-C", "1") as process:
        equal(run("mosquitto_pub", "-V", name, "-t", "v", "-m", name)[0], 0)
        equal(output(process), (0, name.encode() + b"\n"))


@test("a version that is not accepted is refused, and they say why")
def version_5(broker):
    broker.restart(CONFIG + "accept_protocol_versions 3, 4\n")
    for program in "mosquitto_sub", "mosquitto_pub":
        status, out, err = run(program, "-V", "mqttv5", "-t", "v",
                               *["-m", "x"] * (program == "mosquitto_pub"))
        assert status not in (0, 27), status
        assert "Unsupported Protocol Version" in out.decode() + err, out + err
    broker.restart(CONFIG)


@test("options that set flags of CONNECT")
def options(broker):
    with subscriber(broker, "-t", "o", "-C", "1", "-i", "identifier", "-c",
                    "-k", "5", "-u", "user", "-P", "password",
                    "--will-topic", "w", "--will-payload", "gone",
                    "--will-qos", "1", "--will-retain") as process:
        equal([r["client_id"] for r in broker.nl.conns()], [b"identifier"])
        run("mosquitto_pub", "-t", "o", "-m", "x", "--repeat", "1")
        equal(output(process), (0, b"x\n"))


@test("refused: mosquitto_pub and _sub say so, exit status 5")
def refused(broker):
    broker.restart(CONFIG.replace("true", "false"))
    for program in "mosquitto_sub", "mosquitto_pub":
        status, out, err = run(program, "-t", "v",
                               *["-m", "x"] * (program == "mosquitto_pub"))
        equal(status, 5)
        assert "not authorised" in out.decode() + err, err
    broker.restart(CONFIG)


# paho-mqtt

@contextlib.contextmanager
def paho(client_id="", **fields):
    """A client of paho's that has connected, its loop in a thread."""
    try:
        from paho.mqtt import client as module
    except ImportError as error:
        raise Skip("python3-paho-mqtt is not installed") from error
    if hasattr(module, "CallbackAPIVersion"):  # since 2.0
        fields["callback_api_version"] = module.CallbackAPIVersion.VERSION1
    one = module.Client(client_id=client_id, **fields)
    one.heard, one.event, one.codes = [], threading.Event(), []
    one.on_message = lambda _c, _u, m: one.heard.append((m.topic, m.payload))
    one.on_subscribe = lambda _c, _u, _m, codes: (one.codes.extend(codes),
                                                   one.event.set())
    one.on_unsubscribe = lambda *_: one.event.set()
    connected = threading.Event()
    one.on_connect = lambda *_: connected.set()
    one.connect("127.0.0.1", PORT, 5)
    one.loop_start()
    assert connected.wait(TIMEOUT), "not connected"
    yield one
    one.disconnect()
    one.loop_stop()


def paho_subscribe(one, *filters):
    """Subscribe, and return the return codes."""
    one.event.clear()
    one.codes.clear()
    one.subscribe([(f, 1) for f in filters])
    assert one.event.wait(TIMEOUT), "no SUBACK"
    return list(one.codes)


@cases([("paho-mqtt, MQTT 3.1.1", 4), ("paho-mqtt, MQTT 3.1", 3)])
def paho_works(_, protocol):
    with paho("paho one", protocol=protocol) as one, \
         paho("paho other", protocol=protocol) as other:
        equal(paho_subscribe(one, "p/+", "q/#"), [1, 1])
        equal(paho_subscribe(other, "p/x"), [1])
        wanted = [(f"p/{n}", b"%d" % n) for n in range(200)]
        for topic, payload in wanted:
            other.publish(topic, payload)
        wait_until(lambda: len(one.heard) == 200, "heard")
        equal(one.heard, wanted)
        one.heard.clear()
        payload = os.urandom(1 << 20)
        other.publish("q", payload)
        wait_until(lambda: one.heard, "heard")
        assert one.heard == [("q", payload)]
        one.heard.clear()

        one.event.clear()
        one.unsubscribe("p/+")
        assert one.event.wait(TIMEOUT), "no UNSUBACK"
        one.publish("p/x", b"unheard")
        one.publish("q/end", b"")
        wait_until(lambda: one.heard, "heard")
        equal(one.heard, [("q/end", b"")])
        wait_until(lambda: other.heard, "heard")
        equal(other.heard, [("p/x", b"unheard")])


@test("mosquitto_sub and paho-mqtt stay for longer than a keep alive of 5 s")
def kept(broker):
    with subscriber(broker, "-t", "k", "-C", "1", "-k", "5") as process, \
         paho() as one:
        paho_subscribe(one, "k")
        gone = threading.Event()
        one.on_disconnect = lambda *_: gone.set()
        assert not gone.wait(8.5), "paho-mqtt was disconnected"
        assert process.poll() is None, "mosquitto_sub has ended"
        run("mosquitto_pub", "-t", "k", "-m", "x")
        equal(output(process), (0, b"x\n"))
        wait_until(lambda: one.heard == [("k", b"x")], "heard")


@test("paho-mqtt connects again by itself after a flush")
def paho_again(broker):
    with paho("again") as one:
        again = threading.Event()
        one.on_connect = lambda *_: again.set()
        broker.nl.flush()
        assert again.wait(TIMEOUT)
        paho_subscribe(one, "a")
        one.publish("a", b"x")
        wait_until(lambda: one.heard == [("a", b"x")], "heard")


main(Broker())
