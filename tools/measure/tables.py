# SPDX-License-Identifier: GPL-2.0
"""Results as tables: what is in them, and how they look as text."""

import dataclasses
import textwrap

from measure import scenarios

PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")
# Of the cost section: one at a time, and a backlog.
LATENCY = ("fan-out, 1 in flight", "fan-out, 16 in flight")


@dataclasses.dataclass
class Table:
    """A table; columns are aligned to the right but for the first ones."""

    title: str
    note: str
    header: list
    rows: list
    left: int = 1    # columns that are aligned to the left


def number(value):
    """Return a number with three digits that count, or all there are."""
    for limit, digits in (10, 2), (100, 1):
        if value < limit:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def percentile(name):
    """Return what people call it."""
    return name.replace("_", ".")


def _rows(results, section, row):
    """Return row() of each figure, those of a scenario together."""
    return [row(figure) for scenario in results.scenarios(section.name)
            for figure in results.figures(section.name, scenario)]


def _cost(results, section):
    rows = _rows(results, section, lambda figure: [
        figure.scenario, figure.broker, figure.nodelay,
        number(figure.cost("broker")), number(figure.cost("machine")),
        f"{figure.spread('machine'):.1f} %", f"{figure.count():,}",
        str(figure.wrong())])
    return Table(section.title,
                 "Thousands of instructions a delivery, TCP included, the"
                 " least of the runs; spread: by how much the costliest run"
                 " exceeds it.",
                 ["", "", "TCP_NODELAY", "broker", "machine", "spread",
                  "deliveries", "wrong"], rows, 3)


def growth(results, section):
    """Return the figures that a section about growth is about."""
    return [figure for figure in results.figures(section.name)
            if figure.name in ("", section.each)]


def _growth(results, section):
    brokers = results.brokers(section.name)
    rows = {}
    for figure in results.figures(section.name):
        rows.setdefault(figure.scenario, {})[figure.broker] = \
            number(figure.cost("broker"))
    return Table(section.title, "Thousands of instructions on the broker's"
                 " side, a delivery or what the name says.", ["", *brokers],
                 [[scenario, *(found.get(name, "-") for name in brokers)]
                  for scenario, found in rows.items()])


def _requests(results, section):
    rows = _rows(results, section, lambda figure: [
        figure.scenario, figure.broker, number(figure.cost("broker")),
        number(figure.cost("machine")), number(figure.tenth(0, "broker")),
        number(figure.tenth(-1, "broker")), f"{figure.count():,}"])
    return Table(section.title, "Thousands of instructions each; tenths: the"
                 " broker's part of the first and of the last of them.",
                 ["", "", "broker", "machine", "first tenth", "last tenth",
                  "count"], rows, 2)


def _memory(results, section):
    least = results.memory.get("bare loop", {}).get("connection_bytes")
    rows = []
    for broker, found in results.memory.items():
        conn = found["connection_bytes"]
        sub = found.get("subscription_bytes", {})
        rows.append([broker, *(f"{bytes:,.0f}" if bytes is not None else "-"
                               for bytes in (
            conn["kernel"], conn["kernel"] - least["kernel"] if least else
            None, conn.get("process"), sub.get("kernel"),
            sub.get("process")))])
    return Table(section.title, "Bytes for each of 10,000 idle clients, with"
                 " both ends of its socket, and for each of 10 subscriptions"
                 " of a client, which 10 clients share.",
                 ["", "kernel", "beyond a socket", "process",
                  "subscription: kernel", "process"], rows)


def _latency(results):
    rows = [[figure.scenario, figure.broker,
             *(number(figure.latency(which)) for which in PERCENTILES)]
            for scenario in LATENCY
            for figure in results.figures("cost", scenario)]
    return Table("Latency in instructions",
                 "Millions of instructions of the whole machine between the"
                 " publisher's write and a subscriber's read, the least of"
                 " the runs.",
                 ["", "", *map(percentile, PERCENTILES)], rows, 2)


def _rate(results, section):
    rows = _rows(results, section, lambda figure: [
        figure.scenario, figure.broker, figure.nodelay,
        f"{figure.rate():,.0f}", number(figure.latency("mean")),
        number(figure.latency("p99"))])
    return Table(section.title,
                 "Load generator on one processor. Emulated seconds: good to"
                 " compare brokers with, no more. Best of the runs.",
                 ["", "", "TCP_NODELAY", "deliveries/s", "mean ms", "p99 ms"],
                 rows, 3)


def _workers(results, section):
    rows = []
    for figure in results.figures(section.name):
        done = [worker["deliveries"] for worker in figure.workers]
        mean = sum(done) / len(done)
        rows += [[figure.scenario, str(index), f"{count:,}",
                  f"{100 * count / mean - 100:+.1f} %",
                  f"{figure.workers[index]['tx_calls']:,}"]
                 for index, count in enumerate(done)]
    return Table(section.title, "What each of kmqtt's workers did.",
                 ["", "worker", "deliveries", "from the mean", "sends"], rows,
                 2)


_TABLES = {"cost": _cost, "growth": _growth, "requests": _requests,
           "memory": _memory, "rate": _rate, "workers": _workers}


def tables(results):
    """Return all tables that there are results for, by section."""
    found = {section.name: _TABLES[section.kind](results, section)
             for section in scenarios.SECTIONS}
    found["latency"] = _latency(results)
    return {name: table for name, table in found.items() if table.rows}


def _thin(rows):
    """Blank out a name that is the same as in the row above."""
    above = None
    for name, *rest in rows:
        yield ["" if name == above else name, *rest]
        above = name


def text(table):
    """Lay a table out for a terminal."""
    rows = [table.header, *_thin(table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [table.title, textwrap.fill(table.note, 79), ""]
    for row in rows:
        cells = [cell.ljust(width) if column < table.left else
                 cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def markdown(table):
    """Write a table as Markdown, for the README."""
    marks = [" --- " if column < table.left else " ---: "
             for column in range(len(table.header))]
    lines = ["| " + " | ".join(table.header) + " |",
             "|" + "|".join(marks) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in _thin(table.rows)]
    return "\n".join(lines) + "\n"
