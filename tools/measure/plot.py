# SPDX-License-Identifier: GPL-2.0
"""Plots as SVG, to stand in a page whose style sheet has their colours.

A series has a number, which is that of its colour, class s0, s1...; what is
drawn from it says its values when pointed at.
"""

import html
import math

WIDTH = 860

# Bars.
LABEL, VALUE = 150, 110      # columns left and right of the bars
ROW, BAR, HEAD = 22, 14, 30

# Lines.
LEFT, RIGHT, ABOVE, BELOW, HEIGHT = 64, 16, 14, 48, 320


def _svg(height, parts, title):
    return (f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img"'
            f' aria-label="{html.escape(title)}">' + "".join(parts) + "</svg>")


def _text(x, y, text, style="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"'
            f' text-anchor="{anchor}">{html.escape(text)}</text>')


def _line(x1, y1, x2, y2, style):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            f' class="{style}"/>')


def number(value):
    """Return a short number for an axis."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:g}"


def _steps(top):
    """Return round numbers from 0 to top, some four."""
    raw = top / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= raw)
    return [step * n for n in range(int(top / step) + 1)]


# ---- Bars ----

def _bar(row, y, scale, unit):
    """Draw one broker's bar: the first part solid, what is beyond it pale."""
    name, series, values, text = row
    parts = [_text(LABEL - 10, y + BAR - 3, name, "name", "end"),
             f"<g><title>{html.escape(name)}: {html.escape(text)} "
             f"{html.escape(unit)}</title>"]
    x = LABEL
    for index, value in enumerate(values):
        width = scale(value) - x
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}"'
                     f' height="{BAR}" class="s{series} part{index}"/>')
        x = scale(value)
    parts.append("</g>" + _text(x + 8, y + BAR - 3, text, "value"))
    return parts


def bars(groups, unit, title):
    """Draw groups of bars, each to a scale of its own.

    A group is a heading and rows; a row has a name, a number of its series,
    its values, which lie within each other from the least, and a text.
    """
    parts, y = [], 0
    for heading, rows in groups:
        top = max(row[2][-1] for row in rows)

        def scale(value, top=top):
            return LABEL + (WIDTH - LABEL - VALUE) * value / top

        bottom = y + HEAD + ROW * len(rows)
        parts.append(_text(LABEL, y + 18, heading, "heading"))
        for step in _steps(top):
            parts.append(_line(scale(step), y + HEAD - 4, scale(step), bottom,
                               "grid"))
            parts.append(_text(scale(step), bottom + 13, number(step), "tick",
                               "middle"))
        for row in rows:
            parts += _bar(row, y + HEAD + ROW * rows.index(row), scale, unit)
        y = bottom + 26
    parts.append(_text(LABEL + (WIDTH - LABEL - VALUE) / 2, y + 6, unit,
                       "axis", "middle"))
    return _svg(y + 14, parts, title)


# ---- Lines ----

class _Axis:
    """A logarithmic axis, or one of names at equal distances."""

    def __init__(self, values, names, begin, end):
        self.begin, self.end = begin, end
        self.names = names
        if names:
            self.low, self.high = 0, len(names) - 1
        else:
            self.low = math.log10(min(values))
            self.high = math.log10(max(values))
            # Less than a decade would make much of little.
            room = max(0.06 * (self.high - self.low),
                       (1 - self.high + self.low) / 2)
            self.low, self.high = self.low - room, self.high + room

    def place(self, value):
        """Return where a value stands."""
        along = value if self.names else math.log10(value)
        return self.begin + (self.end - self.begin) * \
            (along - self.low) / (self.high - self.low)

    def ticks(self):
        """Return (value, text) of what is marked."""
        if self.names:
            return list(enumerate(self.names))
        decades = self.high - self.low
        digits = (1, 2, 3, 5) if decades < 1.5 else \
            (1, 2, 5) if decades < 3 else (1,)
        values = [digit * 10 ** power
                  for power in range(math.floor(self.low),
                                     math.ceil(self.high) + 1)
                  for digit in digits]
        return [(value, number(value)) for value in values
                if self.low <= math.log10(value) <= self.high]


def _marks(series, x, y, unit):
    name, colour, points = series
    path = " ".join(f"{x.place(a):.1f},{y.place(b):.1f}" for a, b in points)
    parts = [f'<polyline points="{path}" class="line s{colour}"/>']
    for a, b in points:
        at = x.names[a] if x.names else number(a)
        parts.append(f'<circle cx="{x.place(a):.1f}" cy="{y.place(b):.1f}"'
                     f' r="4" class="dot s{colour}"><title>'
                     f"{html.escape(name)}, {html.escape(at)}: {b:.3g} "
                     f"{html.escape(unit)}</title></circle>")
    return parts


def lines(series, x_label, y_label, title, names=()):
    """Draw lines on logarithmic axes; x is an index into names, if any.

    A series is a name, its number and points.
    """
    points = [point for _, _, points in series for point in points]
    x = _Axis([a for a, _ in points], names, LEFT + (40 if names else 0),
              WIDTH - RIGHT - (40 if names else 0))
    y = _Axis([b for _, b in points], (), HEIGHT - BELOW, ABOVE)
    parts = []
    for value, text in y.ticks():
        parts.append(_line(LEFT, y.place(value), WIDTH - RIGHT, y.place(value),
                           "grid"))
        parts.append(_text(LEFT - 8, y.place(value) + 4, text, "tick", "end"))
    for value, text in x.ticks():
        parts.append(_line(x.place(value), HEIGHT - BELOW, x.place(value),
                           HEIGHT - BELOW + 5, "base"))
        parts.append(_text(x.place(value), HEIGHT - BELOW + 19, text, "tick",
                           "middle"))
    parts.append(_line(LEFT, HEIGHT - BELOW, WIDTH - RIGHT, HEIGHT - BELOW,
                       "base"))
    for one in series:
        parts += _marks(one, x, y, y_label)
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "axis",
                       "middle"))
    parts.append(f'<text transform="translate(14 {(HEIGHT - BELOW) / 2})'
                 f' rotate(-90)" class="axis" text-anchor="middle">'
                 f"{html.escape(y_label)}</text>")
    return _svg(HEIGHT, parts, title)


# ---- Over time ----

def trend(points, begin, fit, x_label, y_label, title):
    """Draw values over time, on axes that begin at 0.

    What is before begin is pale. fit gives the trend of the rest.
    """
    end, top = points[-1][0], max(value for _, value in points) * 1.1 or 1
    height = HEIGHT * 2 / 3

    def place(at, value):
        return (LEFT + (WIDTH - LEFT - RIGHT) * at / end,
                height - BELOW - (height - BELOW - ABOVE) * value / top)

    def path(part):
        return " ".join("%.1f,%.1f" % place(*point) for point in part)

    left, base = place(0, 0)
    parts = []
    for value in _steps(top):
        y = place(0, value)[1]
        parts.append(_line(left, y, WIDTH - RIGHT, y, "grid" if value else
                           "base"))
        parts.append(_text(left - 8, y + 4, number(value), "tick", "end"))
    for value in _steps(end):
        parts.append(_text(place(value, 0)[0], base + 19, number(value), "tick",
                           "middle"))
    early = [point for point in points if point[0] <= begin]
    late = [point for point in points if point[0] >= begin]
    parts.append(f'<polyline points="{path(early)}" class="line s1 part1"/>')
    parts.append(f'<polyline points="{path(late)}" class="line s1"/>')
    parts.append(f'<polyline points="{path([(x, fit(x)) for x in (begin, end)])}"'
                 ' class="line s2"/>')
    parts.append(_text((left + WIDTH - RIGHT) / 2, height - 8,
                       f"{y_label} over {x_label}", "axis", "middle"))
    return _svg(height, parts, title)
