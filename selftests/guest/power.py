#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's half of selftests/check-power.

usage: power.py fill|verify DIRECTORY

The daemon has its store on /dev/vda. fill publishes until the power is cut;
verify asserts that all which was acknowledged is there. What was acknowledged
is in journals below DIRECTORY, which the guest shares with its host.
"""

import pathlib
import subprocess
import sys
import time

from broker import CONFIG, any_broker
from durable import Workload

DISK = pathlib.Path("/run/disk")
LIMIT = 60  # seconds, for what must happen long before


def mount():
    """Mount the disk."""
    for module in "virtio_blk", "ext4":  # or the kernel has them built in
        subprocess.run(["modprobe", "-q", module], check=False)
    DISK.mkdir()
    subprocess.run(["mount", "-t", "ext4", "/dev/vda", DISK], check=True)


def main():
    """Do what the command line says."""
    what, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    mount()
    broker = any_broker(
        f"{CONFIG}max_queued_messages 0\n"
        f"persistence true\npersistence_location {DISK}/\n")
    broker.start()
    work = Workload(directory)
    taken = work.complete
    work.start()
    if what == "fill":
        time.sleep(LIMIT)
        sys.exit("power.py: the power was not cut")
    work.finish(LIMIT)
    broker.stop()
    print(f"{taken} acknowledged, {work.complete} in the end")


main()
