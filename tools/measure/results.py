# SPDX-License-Identifier: GPL-2.0
"""Results that bench-run noted, and the figures in them.

A figure is the least of its runs: what differs between runs (a timer, or when
the load generator's turn comes) only adds.
"""

import json

SIDES = ("broker", "machine")
WRONG = ("lost", "duplicated", "reordered", "corrupted")


def _operations(result):
    """Yield (name, what it says of one operation) of a run's object.

    A load delivers, which needs no name; others make one request after the
    other, perhaps of several kinds.
    """
    for request in result.get("requests", ()):
        cost = request["cost"] or {}
        # A packet subscribes to many filters, but a publish is one thing.
        each = "item" if request.get("item") == "subscription" else "each"
        yield request["name"], {
            "count": request["answered"], "cost": cost.get(each),
            "tenths": [tenth["each"] for tenth in cost.get("tenths", ())
                       if "each" in tenth],
            "latency_us": request["latency_us"], "wrong": 0}
    if "deliveries" in result:
        yield "", {
            "count": result["deliveries"],
            "cost": (result["cost"] or {}).get("delivery"),
            "rate": result["deliveries_per_s"],
            "latency_us": result["latency_us"],
            "wrong": sum(result[kind] for kind in WRONG)}


class Figure:
    """All runs of one operation of one scenario on one broker."""

    def __init__(self, run, name=""):
        self.broker = run["broker"]
        self.nodelay = run["nodelay"]
        self.section = run["section"]
        self.name = name  # of the operation
        self.load = run["scenario"]
        self.scenario = f"{name}, {self.load}" if name else self.load
        self.x = run["x"]
        self.workers = run["workers"]
        self.operations = []

    def cost(self, side):
        """Return thousands of instructions an operation."""
        return min(one["cost"][side] for one in self.operations) / 1000

    def tenth(self, index, side):
        """Return the same of one tenth of the operations."""
        return min(one["tenths"][index][side]
                   for one in self.operations) / 1000

    def spread(self, side):
        """Return by how much the costliest run exceeds the least, in %."""
        costs = [one["cost"][side] for one in self.operations]
        return 100 * (max(costs) / min(costs) - 1)

    def rate(self):
        """Return the most operations a second."""
        return max(one["rate"] for one in self.operations)

    def latency(self, which):
        """Return the least latency, in ms."""
        return min(one["latency_us"][which]
                   for one in self.operations) / 1000

    def count(self):
        """Return the operations of the shortest run."""
        return min(one["count"] for one in self.operations)

    def wrong(self):
        """Return how many were lost, or not what they should be."""
        return sum(one["wrong"] for one in self.operations)


class Results:
    """What is in a file of results."""

    def __init__(self, path):
        self.guests = {}     # the last one of each name
        self.memory = {}     # bytes, by broker
        self.failures = []   # a line for each run that did not go well
        self._figures = {}
        with open(path, encoding="utf-8") as lines:
            for line in map(json.loads, lines):
                if line["kind"] == "guest":
                    self.guests[line["guest"]] = line
                else:
                    self._add(line)

    def _add(self, run):
        result = run["result"]
        if not result["ok"]:
            self.failures.append(
                f"{run['section']}: {run['scenario']}: {run['broker']}: "
                f"{result['error'] or 'interrupted'}")
        elif "connection_bytes" in result:
            self.memory[run["broker"]] = result
        else:
            for name, operation in _operations(result):
                key = run["section"], run["scenario"], run["broker"], name
                self._figures.setdefault(key, Figure(run, name)) \
                    .operations.append(operation)

    def figures(self, section, scenario=None):
        """Return the figures of a section, or of one scenario of it."""
        return [figure for figure in self._figures.values()
                if figure.section == section and
                scenario in (None, figure.scenario)]

    def scenarios(self, section):
        """Return the names of the section's scenarios."""
        return list(dict.fromkeys(
            figure.scenario for figure in self.figures(section)))

    def brokers(self, section):
        """Return the names of the section's brokers."""
        return list(dict.fromkeys(
            figure.broker for figure in self.figures(section)))

    def versions(self):
        """Return what is known of the brokers, by name."""
        return {name: version for guest in self.guests.values()
                for name, version in guest["versions"].items() if version}
