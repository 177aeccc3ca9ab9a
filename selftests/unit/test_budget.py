#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""tools/bench-budget: what is within the budget, and what is not."""

import json
import pathlib
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
NAMES = "fan-out, 1 in flight", "fan-in, 200 in flight"
COST = {"broker": 10000.0, "machine": 20000.0}
GOOD = {"ok": True, "error": None, "deliveries": 1, "deliveries_per_s": 1.0,
        "latency_us": None, "lost": 0, "duplicated": 0, "reordered": 0,
        "corrupted": 0}


def line(scenario, factor=1.0, **result):
    """Return a line of results: one run of kmqtt."""
    cost = {side: figure * factor for side, figure in COST.items()}
    return json.dumps({
        "kind": "run", "guest": "count", "section": "cost", "broker": "kmqtt",
        "scenario": scenario, "nodelay": "on", "x": None, "workers": [],
        "result": {**GOOD, "cost": {"delivery": cost}, **result}})


def budget(factor=1.0):
    """Return a budget for what line() costs."""
    return "# A comment.\n" + "".join(
        f"{name}  {side}  {figure * factor / 1000:.3f}\n"
        for name in NAMES for side, figure in COST.items())


def call(act, lines, text):
    """Run bench-budget. Return status, output and the budget afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        results = pathlib.Path(directory, "results")
        path = pathlib.Path(directory, "budget")
        results.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.write_text(text, encoding="utf-8")
        run = subprocess.run([TOP / "tools/bench-budget", act, results, path],
                             check=False, capture_output=True, text=True)
        return run.returncode, run.stdout + run.stderr, path.read_text()


BOTH = [line(name) for name in NAMES]
LOST = line(NAMES[0], ok=False, error="1 lost")
# A name, the lines of results, a budget, the status wanted.
CASES = (
    ("the same figures pass", BOTH, budget(), 0),
    ("4 % more passes", [line(name, 1.04) for name in NAMES], budget(), 0),
    ("6 % more fails", [line(name, 1.06) for name in NAMES], budget(), 1),
    ("6 % more in one scenario fails", [BOTH[0], line(NAMES[1], 1.06)],
     budget(), 1),
    ("a budget of 90 % fails", BOTH, budget(0.9), 1),
    ("half the cost passes", [line(name, 0.5) for name in NAMES], budget(), 0),
    ("the least of the runs counts", [*BOTH, line(NAMES[0], 1.5)], budget(),
     0),
    ("what was not measured fails", BOTH[:1], budget(), 1),
    ("a run that failed fails", [*BOTH, LOST], budget(), 1),
    ("an empty budget fails", BOTH, "", 1),
)


def main():
    """Run the cases, and see that what is written is what is read."""
    print(f"KTAP version 1\n1..{len(CASES) + 1}")
    failed = 0
    for number, (name, lines, text, wanted) in enumerate(CASES, 1):
        status, output, _ = call("check", lines, text)
        good = status == wanted and "Traceback" not in output
        failed += not good
        print(f"{'' if good else 'not '}ok {number} {name}")
        if not good:
            print("# " + output.replace("\n", "\n# "))
    _, _, written = call("write", BOTH, "")
    status, output, _ = call("check", BOTH, written)
    good = status == 0 and output.count("+0.0 %") == 4
    failed += not good
    print(f"{'' if good else 'not '}ok {len(CASES) + 1} what is written is"
          " the budget")
    return failed != 0


sys.exit(main())
