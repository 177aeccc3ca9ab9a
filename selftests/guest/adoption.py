#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
r"""Measures what it costs a daemon to adopt the connections of one that was
killed. In a guest whose clock counts instructions, these are instructions:

    tools/vm --count --mem 6G --timeout 3600 -- \
        selftests/guest/adoption.py [CONNECTIONS]

Each connection has a session and a subscription. What a start without
connections costs is left out. Exit status 1 when one costs more than 200,000
nanoseconds of processor time, the daemon's with what the kernel does for it.
"""

import pathlib
import resource
import sys

from broker import Broker, client

MOST = 200000


def busy(pid):
    """Nanoseconds of processor time of a process, its threads together."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def replace(broker):
    """Kill the daemon, and return what the start of the next one has cost."""
    broker.end()
    broker.start_daemon()
    return busy(broker.daemon.pid)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * count + 100,) * 2)
    broker = Broker()
    broker.start()
    replace(broker)
    start = min(replace(broker) for _ in range(2))
    clients = []
    for number in range(count):
        clients.append(client(f"client-{number}"))
        clients[-1].subscribe(f"topic/{number % 100}")
    costs = [(replace(broker) - start) / count for _ in range(2)]
    clients[0].ping()
    clients[-1].subscribe("still/there")
    print(f"{count:,} connections adopted: " + ", ".join(
        f"{cost / 1000:.1f}" for cost in costs) +
        f" thousand a connection; start {start / 1e6:.1f} million", flush=True)
    broker.end()
    return min(costs) > MOST


sys.exit(main())
