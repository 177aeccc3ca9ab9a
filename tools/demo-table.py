#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Lay out runs of kmqtt-bench, JSON lines on standard input: for each window
a floor, a kmqtt and a mosquitto, in this order."""

import json
import sys

NAMES = ("bare send loop", "kmqtt", "mosquitto")


def main():
    runs = [json.loads(line) for line in sys.stdin]
    print("\nThousands of instructions a delivery, TCP included; 64-byte"
          " payload,\nTCP_NODELAY on in the load generator.\n")
    print(f"{'':16}{'in flight':>10}{'broker':>10}{'machine':>10}"
          f"{'deliveries':>12}{'lost':>6}{'reordered':>11}")
    ok = True
    for index, run in enumerate(runs):
        cost = run["cost"]["delivery"]
        ok = ok and run["ok"]
        print(f"{NAMES[index % len(NAMES)]:16}{run['window']:>10}"
              f"{cost['broker'] / 1000:>10.2f}{cost['machine'] / 1000:>10.2f}"
              f"{run['deliveries']:>12}{run['lost']:>6}{run['reordered']:>11}")
        if index % len(NAMES) == len(NAMES) - 1:
            print()
    print("broker: all busy time of the guest less the load generator's"
          " process.\nmachine: with it.")
    return 0 if ok else 1


sys.exit(main())
