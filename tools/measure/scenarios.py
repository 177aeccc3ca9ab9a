# SPDX-License-Identifier: GPL-2.0
"""What is measured, and in which guest.

Every section is a table and a plot of the output, and every scenario a row or
a point of it. To measure more is a line more here.
"""

import dataclasses

# How each guest is booted.
GUESTS = {
    "count": ("--count", "--mem", "4G"),
    "two": ("--smp", "2"),
    "four": ("--smp", "4"),
    # For each broker once: what others leave in slabs would count.
    "fresh": ("--count", "--mem", "4G"),
}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One load, run on each broker of its section."""

    label: str
    words: tuple          # kmqtt-bench's arguments
    x: int = None         # where it stands in the section's plot
    hog: bool = False     # beside a busy loop on the last processor
    runs: int = None      # if not as many as the command line says
    budget: bool = False  # selftests/budget has figures of it


@dataclasses.dataclass(frozen=True)
class Section:
    """Scenarios that are shown together, in a way that kind says."""

    name: str
    kind: str             # cost, growth, requests, memory, rate or workers
    guest: str
    title: str
    scenarios: tuple
    axis: str = ""        # of growth: what x is
    each: str = "delivery"  # of growth: what is plotted
    brokers: tuple = ()   # names; all if empty


def _load(label, words, **more):
    return Scenario(label, tuple(words.split()), **more)


def _grow(values, label, words):
    return tuple(_load(label.format(n), words.format(n), x=n, runs=1)
                 for n in values)


# Equal time for all, so that the cheap ones do not end at once nor the
# expensive ones never: in the counting guest a second is 10^9 instructions,
# in the most expensive scenario some 15,000 deliveries. The warm-up takes a
# new connection's first packets, which cost more, out of the figure.
_COST = (
    _load("fan-out, 1 in flight", "fanout -w 1 --warmup 50 --duration 2",
          budget=True),
    _load("fan-out, 1 in flight, rested",
          "fanout -w 1 --rest 250 --warmup 50 --duration 2"),
    _load("fan-out, 16 in flight", "fanout -w 16 --warmup 200 --duration 2",
          budget=True),
    _load("fan-out, 64 in flight", "fanout -w 64 --warmup 200 --duration 2",
          budget=True),
    _load("fan-in, 200 in flight", "fanin --warmup 10000 --duration 2",
          budget=True),
    _load("pairs, 100 in flight", "p2p --warmup 5000 --duration 3",
          budget=True),
)

# What MQTT 5 may cost, beside 3.1.1 in the same guest.
_MQTT5 = (
    ("3.1.1", ""),
    ("5", "-V 5"),
    ("5, identifiers", "-V 5 --identifiers"),
    ("5, 2 properties", "-V 5 --user-properties 2"),
    ("5, 2 properties, identifiers",
     "-V 5 --user-properties 2 --identifiers"),
    ("5 to 3.1.1, 2 properties", "-V 5,4 --user-properties 2"),
    ("3.1.1 to 5", "-V 4,5"),
)

SECTIONS = (
    Section("cost", "cost", "count", "Cost of a delivery", _COST),
    Section("qos1", "cost", "count", "Cost of a delivery at QoS 1", (
        _load("fan-out to 100, 4 in flight",
              "fanout -q 1 -S 100 -w 4 --warmup 50 --duration 2", budget=True),
        _load("100 pairs, 4 in flight",
              "p2p -q 1 -w 4 --warmup 1000 --duration 2", budget=True),
        _load("100 pairs, 100 in flight",
              "p2p -q 1 -w 100 --warmup 1000 --duration 2"),
    ), brokers=("kmqtt", "mosquitto", "mosquitto nodelay")),
    Section("rules", "cost", "count", "Cost of a delivery with an acl_file", (
        _load("fan-out, 1 in flight", "fanout -w 1 --warmup 50 --duration 2"),
        _load("fan-out, 64 in flight",
              "fanout -w 64 --warmup 200 --duration 2"),
        _load("fan-in, 200 in flight", "fanin --warmup 10000 --duration 2"),
        _load("one to one, 16 in flight",
              "p2p -P 1 -S 1 -w 16 --warmup 5000 --duration 2"),
    ), brokers=("kmqtt", "kmqtt with 8 rules")),
    Section("mqtt5", "cost", "count", "Cost of a delivery with MQTT 5", tuple(
        _load(f"{flight} in flight, MQTT {label}",
              f"fanout -w {flight} --warmup 200 --duration {time} {words}",
              budget=flight == 16 and label in ("5", "5, identifiers"))
        for flight, time in ((1, 1), (16, 0.3), (64, 0.3))
        for label, words in _MQTT5
    ), brokers=("kmqtt",)),
    Section("subscribers", "growth", "count", "Cost as subscribers grow",
            _grow((10, 50, 200, 1000, 10000), "{:,} subscribers",
                  "fanout -S {} -w 16 --rest 250 --warmup 16 --duration 1"),
            "subscribers, 16 in flight"),
    Section("payload", "growth", "count", "Cost as the payload grows",
            _grow((16, 64, 256, 1024, 4096, 16384), "{:,} bytes",
                  "fanout -s {} -w 16 --warmup 50 --duration 1"),
            "bytes of payload, 16 in flight"),
    Section("subscriptions", "growth", "count",
            "Cost of matching as subscriptions grow",
            _grow((1000, 10000, 100000, 1000000), "{:,} subscriptions",
                  "match --rest 250 --subscriptions {}"),
            "subscriptions, three of which match", "spread", ("kmqtt",)),
    Section("stalled", "cost", "count", "A subscriber that stops reading", (
        _load("199 subscribers",
              "fanout -S 199 -w 16 --rest 250 --warmup 200 --duration 2"),
        _load("199 subscribers and one stalled",
              "fanout -S 200 --stalled 1 -w 16 --rest 250 --warmup 200"
              " --duration 2"),
    ), brokers=("kmqtt", "mosquitto nodelay")),
    Section("requests", "requests", "count", "Clients that publish nothing", (
        _load("200 clients", "ping"),
        _load("10,000 clients", "connect -S 10000", runs=1),
        _load("2,000 clients, one topic", "subscribe -S 2000", runs=1),
    ), brokers=("bare loop", "kmqtt", "mosquitto")),
    Section("memory", "memory", "fresh", "Memory", (
        _load("10,000 clients", "memory -S 10000", runs=1),
    ), brokers=("bare loop", "kmqtt", "mosquitto")),
    Section("rate", "rate", "two", "Two processors", (
        _load("fan-out, 16 in flight", "fanout -w 16 --duration 5"),
        _load("one subscriber, 1 in flight", "fanout -S 1 -w 1 --duration 5"),
        _load("one subscriber, 1 in flight, beside a CPU hog",
              "fanout -S 1 -w 1 --duration 5", hog=True),
    )),
    Section("workers", "workers", "four", "Four processors", (
        _load("fan-out, 1 in flight", "fanout -w 1 --duration 5"),
        _load("fan-out, 16 in flight", "fanout -w 16 --duration 5"),
    ), brokers=("kmqtt",)),
)


def section(name):
    """Return the section of that name."""
    return next(found for found in SECTIONS if found.name == name)
