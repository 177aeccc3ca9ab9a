#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""kmqtt-bench: every scenario runs, briefly, and notices what goes wrong."""

import json
import os
import resource
import subprocess

from broker import CONFIG, PORT, Broker, client
from ktap import LONG, TIMEOUT, cases, equal, main, note, test
from nl import TOP

BENCH = TOP / "tools/kmqtt-bench"

# Clients whose memory is measured.
MANY = 10000 if LONG else 500

COST = {"broker", "generator", "machine"}


def run(*args, status=0):
    """Run it, and return what it printed as JSON."""
    done = subprocess.run(
        [BENCH, *map(str, args), "--json", "--sched", "other"], check=False,
        capture_output=True, text=True, timeout=3 * TIMEOUT)
    equal(done.returncode, status, f"exit status, {done.stderr}")
    return json.loads(done.stdout)


def requests_of(result, counts):
    """Check the requests of a result, and return them by name."""
    equal([(r["name"], r["answered"]) for r in result["requests"]], counts)
    for request in result["requests"]:
        cost = request["cost"]
        equal(set(cost["each"]), COST)
        equal(sum(tenth["count"] for tenth in cost["tenths"]),
              request["count"], "of all tenths")
    return {r["name"]: r for r in result["requests"]}


@cases([
    ("ping, one in flight", ["ping", "-S", 20, "-n", 600], [("ping", 600)]),
    ("ping, all clients at once", ["ping", "-S", 20, "-w", 20, "-n", 600],
     [("ping", 600)]),
    ("connect", ["connect", "-S", 50], [("connect", 50), ("disconnect", 50)]),
    ("connect, 16 in flight, from two addresses",
     ["connect", "-S", 1010, "-w", 16],
     [("connect", 1010), ("disconnect", 1010)]),
    ("subscribe", ["subscribe", "-S", 200],
     [("subscribe", 200), ("unsubscribe", 200)]),
])
def requests(broker, args, counts):
    requests_of(run(*args, "-p", PORT), counts)
    broker.settle()
    requests_of(run("floor", *args), counts)


@cases([
    ("match, of 1,000 subscriptions", 1000, 10, 1),
    ("match, of 20,003 subscriptions, 16 in flight", 20003, 37, 16),
])
def match(_, subscriptions, clients, window):
    count = 600 if LONG else 200
    result = run("match", "-p", PORT, "-S", clients, "-w", window, "-n", count,
                 "--subscriptions", subscriptions)
    whole = (subscriptions + 3) // 4 * 4
    # A packet has 200 filters at most.
    packets = sum(-(-len(range(i, whole, clients)) // 200)
                  for i in range(clients))
    by_name = requests_of(result, [
        ("subscribe", packets), ("spread", count), ("same", count),
        ("fresh", count)])
    equal([by_name[name]["items"] for name in
           ("subscribe", "spread", "same", "fresh")],
          [whole, 3 * count, 3 * count, 2 * count])


@cases([("fanout, with two subscribers that stop reading", 2)])
def stalled(broker, count):
    def dropped():
        total = broker.nl.stats()["total"]
        return total["dropped_messages"] + total["dropped_bytes"]

    before = dropped()
    result = run("fanout", "-p", PORT, "-S", 12, "--stalled", count, "-n", 1000)
    equal((result["subscribers"], result["stalled"]), (10, count))
    equal(result["deliveries"], 1000)
    # All that was measured, as they were full before.
    assert dropped() - before >= count * result["messages"]
    assert 0 < result["stalled_kernel_bytes"] < 64 << 20


@cases([
    ("QoS 1, fanout", ["fanout", "-S", 10, "-w", 4]),
    ("QoS 1, p2p, fewer in flight than pairs", ["p2p", "-S", 10, "-w", 4]),
    ("QoS 1, fanout, without room for a stamp", ["fanout", "-S", 10, "-s", 0]),
    ("QoS 1, fanout, durable sessions", ["fanout", "-S", 10, "--durable"]),
])
def qos1(broker, args):
    result = run(*args, "-p", PORT, "-q", 1, "-n", 600)
    equal((result["qos"], result["durable"]), (1, "--durable" in args))
    equal((result["expected"], result["deliveries"]), (600, 600))
    broker.settle()


@cases([(f"MQTT {what}, QoS {qos}", qos, words, packet) for what, words, packet in (
    ("5", ["-V", "5"], 1),
    ("3.1.1 to 5", ["-V", "4,5"], 1),
    ("5 to 3.1.1, with 2 properties", ["-V", "5,4", "--user-properties", 2], 0),
    ("5, with 100 properties and identifiers",
     ["-V", 5, "--user-properties", 100, "--identifiers"], 1606)) for qos in (0, 1)])
def version_5(broker, qos, words, packet):
    bare = len("bench/fan/topic/0") + 2 + 2 * qos + 64 + 2
    for scenario in ["fanout", "-S", 10], ["p2p", "-S", 10]:
        result = run(*scenario, "-p", PORT, "-q", qos, "-n", 600, *words)
        equal((result["expected"], result["deliveries"]), (600, 600))
        # The length of a length over 127 takes two bytes.
        equal(result["packet_bytes"], bare + packet + (packet > 127))
        broker.settle()


@test("MQTT 5: durable sessions, requests")
def version_5_more(broker):
    for words in (["fanout", "-S", 10, "-q", 1, "--durable", "-n", 600],
                  ["connect", "-S", 20], ["subscribe", "-S", 20],
                  ["ping", "-S", 20, "-n", 200]):
        run(*words, "-p", PORT, "-V", 5)
        broker.settle()


@test("it notices that properties are not what was published")
def other_properties(broker):
    # Subscribers of its own to the topic, whose messages have none.
    with client() as other:
        process = subprocess.Popen(
            [BENCH, "fanout", "-p", str(PORT), "-V", "5", "-S", "2",
             "--user-properties", "1", "--json", "--duration", "2"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        while process.poll() is None:
            other.publish("bench/fan/topic/0", bytes(64))
        equal(process.returncode, 1)
        assert json.loads(process.stdout.read())["corrupted"], "unnoticed"


# With fewer, what is there once for all is most of it.
@cases([("memory", MANY)])
def memory(broker, clients):
    # What others have freed would not count.
    broker.restart(CONFIG)
    result = run("memory", "-p", PORT, "-S", clients, "--filters", 4,
                 "--pid", broker.daemon.pid)
    requests_of(result, [("subscribe", clients)])
    parts = [result["connection_bytes"]]
    if LONG:
        note(f"in the daemon {parts[0]['process']}")
        assert parts[0]["process"] <= 1024
    else:
        # Of so many, the kernel keeps what the next ones then take.
        floor = run("floor", "memory", "-S", clients)
        parts.append(floor["connection_bytes"])
    for part in parts:
        # So few clients say nothing about "kernel", which is all memory.
        assert isinstance(part["kernel"], float), part
        assert 2048 < part["slab"] < 65536, part
        assert 2048 < part["slabs"]["TCP"] < 8192, part
        assert part["process"] < 65536, part
    assert "slab" in result["subscription_bytes"]


@cases([(f"it notices: {kind}", kind, count) for kind, count in [
    ("loss", "lost"), ("duplicate", "duplicated"), ("reorder", "reordered"),
    ("corrupt", "corrupted"), ("topic", "corrupted"), ("short", "corrupted"),
    ("close", None)]])
def fault(_, kind, count):
    result = run("floor", "fanout", "-S", 10, "-n", 4000, "--fault",
                 f"{kind}:500", "--timeout", 2, status=1)
    assert not result["ok"] and result["error"]
    assert count is None or result[count], result


os.environ.pop("KMQTT_COUNT", None)
# The daemon's, too.
resource.setrlimit(resource.RLIMIT_NOFILE, (2 * MANY + 1000,) * 2)
main(Broker())
