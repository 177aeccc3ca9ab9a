# SPDX-License-Identifier: GPL-2.0
"""Whether memory stays the same over time, from samples of it."""

import json
import statistics

SERIES = {
    "slab": "kernel: slabs that cannot be reclaimed",
    "pages": "kernel: pages that nothing else accounts for",
    "sockets": "kernel: TCP's buffers",
    "module": "kernel: what the module counts as held for clients",
    "daemon": "kmqttd: resident, anonymous",
    "journal": "kmqttd: its journal, on a tmpfs",
    "database": "kmqttd: its database",
}
WARM_UP = 1 / 3     # of the time, until everything has been seen once
PART = 0.05         # of what there is, that may come to it over the rest
LEAST = 512         # KiB that may come in any case: as much comes and goes
BINS = 40           # the rest is divided into, at most


class Judged:
    """One kind of memory, in KiB over seconds."""

    def __init__(self, name, points):
        self.name, self.points = name, points
        end = points[-1][0]
        self.begin = points[0][0] + (end - points[0][0]) * WARM_UP
        self.rest = [point for point in points if point[0] >= self.begin]
        self.median = statistics.median(value for _, value in self.rest)
        self.slope = slope(bins(self.rest))
        self.growth = self.slope * (end - self.begin)
        self.allowed = max(PART * self.median, LEAST)
        self.flat = self.growth <= self.allowed

    def text(self):
        """Say it in a line."""
        return (f"{'flat ' if self.flat else 'GROWS'} {self.name:9}"
                f"{self.median:9,.0f} KiB, {self.growth:+8,.0f} KiB in "
                f"{self.points[-1][0] - self.begin:,.0f} s "
                f"(at most {self.allowed:+,.0f})")


def bins(points):
    """Return the medians of parts of the time, which peaks do not change."""
    size = max(len(points) // BINS, 1)
    parts = [points[at:at + size] for at in range(0, len(points), size)]
    return [tuple(statistics.median(values) for values in zip(*part))
            for part in parts]


def slope(points):
    """Return the median of the slopes between all pairs (Theil and Sen)."""
    found = [(b[1] - a[1]) / (b[0] - a[0])
             for number, a in enumerate(points) for b in points[number + 1:]]
    return statistics.median(found) if found else 0


def judge(path):
    """Return what becomes of each kind of memory in a file of samples."""
    with open(path, encoding="ascii") as lines:
        samples = [json.loads(line) for line in lines]
    if len(samples) < 10:
        raise ValueError(f"{path}: {len(samples)} samples are too few")
    return [Judged(name, [(one["time"], one[name]) for one in samples])
            for name in SERIES]
