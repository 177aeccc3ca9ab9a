# SPDX-License-Identifier: GPL-2.0
"""Results as a page that needs nothing but itself."""

import html

from measure import plot, scenarios, tables

UNIT = {"cost": "thousands of instructions a delivery",
        "requests": "thousands of instructions each"}

# In the style sheet; the one after these is for others.
COLOURS = ("bare loop", "kmqtt", "mosquitto", "mosquitto nodelay")

STYLE = """
:root { color-scheme: light dark; --page: #fcfcfb; --ink: #17171a;
  --soft: #5d5d64; --grid: #e4e4e1; --base: #b5b5b0; --tile: #f2f2ef;
  --s0: #8b8b86; --s1: #2a6fdb; --s2: #d9541e; --s3: #b88a00; --s4: #12876a; }
@media (prefers-color-scheme: dark) { :root { --page: #17181b;
  --ink: #ececea; --soft: #a2a2a8; --grid: #2d2e33; --base: #55565c;
  --tile: #212226; --s0: #9c9c97; --s1: #6aa5ff; --s2: #ff8a57;
  --s3: #e0b53a; --s4: #3cc39f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 940px; padding: 32px 40px 64px;
  background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 44px 0 6px; }
h3 { font-size: 14px; margin: 16px 0 0; }
p { margin: 6px 0 12px; max-width: 75ch; }
.soft, .note { color: var(--soft); }
.note { font-size: 14px; }
.tiles { display: grid; gap: 12px; margin: 8px 0 20px;
  grid-template-columns: repeat(auto-fit, minmax(155px, 1fr)); }
.tile { background: var(--tile); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 25px; line-height: 1.25; }
.tile span { display: block; font-size: 12.5px; color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 8px 0;
  font-size: 13.5px; }
.legend i { display: inline-block; width: 12px; height: 12px;
  border-radius: 3px; margin-right: 7px; }
svg { display: block; width: 100%; height: auto; margin: 8px 0; }
svg text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
  fill: var(--soft); }
svg text.heading { font-size: 13.5px; font-weight: 600; fill: var(--ink); }
svg text.name, svg text.value { fill: var(--ink); }
svg text.value { font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); } .base { stroke: var(--base); }
.line { fill: none; stroke-width: 2; stroke: var(--c); }
.dot { fill: var(--c); stroke: var(--page); stroke-width: 1.5; }
rect { fill: var(--c); } .part1 { opacity: .38; }
.legend i { background: var(--c); }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); }
.s3 { --c: var(--s3); } .s4 { --c: var(--s4); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
.l { text-align: left; }
tr.kmqtt td { font-weight: 600; }
summary { cursor: pointer; color: var(--soft); font-size: 13.5px; }
code { font-size: 13px; }
"""


def _escape(text):
    return html.escape(str(text))


class Page:
    """The page, while it is written."""

    def __init__(self, results):
        self.results = results
        self.tables = tables.tables(results)

    def series(self, broker):
        """Return the number of a broker's colour."""
        return COLOURS.index(broker) if broker in COLOURS else len(COLOURS)

    def legend(self, brokers):
        """Return what says which colour is which."""
        return '<div class="legend">' + "".join(
            f'<span><i class="s{self.series(name)}"></i>{_escape(name)}</span>'
            for name in brokers) + "</div>"

    # ---- Plots ----

    def _cost(self, section):
        groups = []
        for scenario in self.results.scenarios(section.name):
            rows = []
            for one in self.results.figures(section.name, scenario):
                sides = one.cost("broker"), one.cost("machine")
                rows.append((one.broker, self.series(one.broker), sides,
                             " / ".join(map(tables.number, sides))))
            groups.append((scenario, rows))
        return ('<p class="note">Solid: the broker. Pale: the load generator,'
                " up to the whole machine. Each group has a scale of its"
                " own.</p>" + plot.bars(groups, UNIT[section.kind],
                                        section.title))

    def _growth(self, section):
        brokers = self.results.brokers(section.name)
        series = [(name, self.series(name),
                   [(one.x, one.cost("broker"))
                    for one in tables.growth(self.results, section)
                    if one.broker == name]) for name in brokers]
        return self.legend(brokers) + plot.lines(
            series, section.axis, "thousands of instructions", section.title)

    def _latency(self):
        marks = tables.PERCENTILES
        drawn = []
        for scenario in tables.LATENCY:
            found = self.results.figures("cost", scenario)
            series = [(one.broker, self.series(one.broker),
                       [(index, one.latency(which))
                        for index, which in enumerate(marks)])
                      for one in found]
            drawn.append(f"<h3>{_escape(scenario)}</h3>" + plot.lines(
                series, "percentile of the deliveries",
                "millions of instructions", f"Latency, {scenario}",
                [tables.percentile(which) for which in marks]))
        return self.legend(self.results.brokers("cost")) + "".join(drawn)

    def _rate(self, section):
        def group(scenario, value, text):
            return [(one.broker, self.series(one.broker), (value(one),),
                     text(value(one)))
                    for one in self.results.figures(section.name, scenario)]

        first, *others = self.results.scenarios(section.name)
        rates = plot.bars([(first, group(first, lambda one: one.rate(),
                                         "{:,.0f}".format))],
                          "deliveries a second", section.title)
        delays = plot.bars([(name, group(name, lambda one: one.latency("mean"),
                                         tables.number)) for name in others],
                           "ms from write to read, mean", "Delay")
        return rates + delays

    def plot(self, name):
        """Return the plot of a section, if it has one."""
        if name == "latency":
            return self._latency()
        section = scenarios.section(name)
        draw = {"cost": self._cost, "requests": self._cost,
                "growth": self._growth, "rate": self._rate}
        return draw[section.kind](section) if section.kind in draw else ""

    # ---- Text ----

    def table(self, table):
        """Return a table."""
        def cells(row, tag):
            return "".join(
                f'<{tag}{" class=l" if column < table.left else ""}>'
                f"{_escape(cell)}</{tag}>" for column, cell in enumerate(row))

        rows = "".join(
            f'<tr{" class=kmqtt" if "kmqtt" in row else ""}>'
            f'{cells(row, "td")}</tr>' for row in table.rows)
        return (f'<div class="scroll"><table><thead><tr>'
                f'{cells(table.header, "th")}</tr></thead><tbody>{rows}'
                f"</tbody></table></div>")

    def tiles(self):
        """Return what to see first: kmqtt against the best of the others."""
        tiles = []
        for scenario in self.results.scenarios("cost"):
            found = {one.broker: one.cost("broker") for one in
                     self.results.figures("cost", scenario)}
            others = [cost for name, cost in found.items()
                      if name not in ("kmqtt", "bare loop")]
            if "kmqtt" in found and others:
                times = min(others) / found["kmqtt"]
                tiles.append(
                    f'<div class="tile"><b>{tables.number(found["kmqtt"])} k'
                    f"</b><span>{_escape(scenario)}</span><span>others:"
                    f" {tables.number(times)} times as much</span></div>")
        return ('<p class="note">Instructions that a delivery costs on'
                " kmqtt's side, TCP included, and what the cheapest of the"
                ' other brokers takes:</p><div class="tiles">' +
                "".join(tiles) + "</div>") if tiles else ""

    def head(self):
        """Return what all figures depend on."""
        first = next(iter(self.results.guests.values()))
        brokers = ", ".join(f"{name} ({version})" for name, version
                            in self.results.versions().items())
        return (f"<h1>What a delivery costs</h1>"
                f'<p class="soft">{_escape(first["date"])} · Linux '
                f'{_escape(first["kernel"])} · {_escape(first["emulator"])}'
                f" · {_escape(brokers)} · made by <code>"
                f'{_escape(first["command"])}</code></p>')

    def section(self, name):
        """Return one section."""
        table = self.tables[name]
        drawn = self.plot(name)
        shown = self.table(table)
        if drawn:
            shown = (f"{drawn}<details><summary>The figures</summary>{shown}"
                     "</details>")
        return (f"<section><h2>{_escape(table.title)}</h2>"
                f'<p class="note">{_escape(table.note)}</p>{shown}</section>')

    def failures(self):
        """Return what did not go well."""
        failed = self.results.failures
        if not failed:
            return ""
        return ("<h2>Runs that failed</h2><ul>" + "".join(
            f"<li>{_escape(line)}</li>" for line in failed) + "</ul>")


MEANING = """
<p>An instruction count repeats, whatever else the machine does, but knows
neither caches nor branch prediction, nor contention between processors. On
loopback whoever sends pays for the receiver's half of TCP too: the broker for
the subscribers, the load generator for the broker. <em>Broker</em> is all
busy time of the guest, its kernel included, less the load generator's process;
<em>machine</em> is with it. The load generator has TCP_NODELAY on; what the
brokers have is in the tables. Every delivery was checked for topic, sequence,
length and content.</p>
"""


def page(results):
    """Return the page."""
    it = Page(results)
    body = "".join(it.section(name) for name in it.tables)
    return ('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>kmqtt: what a delivery costs</title><style>{STYLE}"
            f"</style></head><body>{it.head()}{it.tiles()}{MEANING}"
            f"{it.failures()}{body}</body></html>\n")
