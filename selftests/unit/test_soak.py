#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""tools/soak-page: what is flat, and what grows."""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
NAMES = "slab", "pages", "sockets", "module", "daemon", "journal", "database"
SECONDS = 600


def call(**series):
    """Judge series, each a function of time; the others stay the same."""
    rand = random.Random(1)
    with tempfile.TemporaryDirectory() as directory:
        samples = pathlib.Path(directory, "samples")
        page = pathlib.Path(directory, "page")
        samples.write_text("".join(
            json.dumps({"time": at, **{
                name: series.get(name, lambda _: 10000)(at) +
                rand.uniform(-300, 300) for name in NAMES}}) + "\n"
            for at in range(SECONDS)), encoding="ascii")
        done = subprocess.run([TOP / "tools/soak-page", samples, page],
                              capture_output=True, text=True, check=False)
        drawn = page.read_text(encoding="utf-8")
    return done.returncode, done.stdout, drawn


CASES = [
    ("what stays the same is flat", {}, 0),
    ("warming up does not count", {"slab": lambda at: 50 * min(at, 200)}, 0),
    ("nor do peaks", {"daemon": lambda at: 90000 if at % 50 == 7 else 9000}, 0),
    ("nor what goes back", {"pages": lambda at: 50000 - 50 * at}, 0),
    ("3 KiB a second is seen", {"slab": lambda at: 9000 + 3 * at}, 1),
    ("also late", {"journal": lambda at: 9000 + 20 * max(at - 400, 0)}, 1),
    ("also in steps", {"daemon": lambda at: 9000 + 300 * (at // 60)}, 1),
]


def main():
    """Run all cases."""
    print(f"KTAP version 1\n1..{len(CASES)}")
    failed = 0
    for number, (name, series, wanted) in enumerate(CASES, 1):
        status, said, drawn = call(**series)
        bad = [one for one in series if f"GROWS {one} " in said]
        good = (status == wanted and bool(bad) == bool(wanted) and
                drawn.count("<svg") == len(NAMES))
        failed += not good
        print(f"{'' if good else 'not '}ok {number} {name}")
        if not good:
            print(f"# status {status}\n# " + said.replace("\n", "\n# "))
    return failed != 0


sys.exit(main())
