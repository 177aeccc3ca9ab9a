#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The unit's lines under a live systemd, one of a user's: the descriptor store,
socket activation, reload, stop."""

import concurrent.futures
import contextlib
import errno
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading

from broker import CONFIG, PORT, Module, client, refused
from ktap import equal, main, test, wait_until
from mqtt import Client, connect
from nl import TOP

BACKLOG = 20  # clients that wait
HANDOVERS = 5

# What is about this, and works for a user's systemd, too.
KEYS = re.compile(r"(Type|NotifyAccess|Exec\w+|FileDescriptorStoreMax)=")


class Systemd(Module):
    """Fixture: a systemd, with the service stopped."""

    start_name = "the module loads and systemd starts"
    manager = directory = environment = None

    def start(self):
        super().start()
        cgroups = pathlib.Path("/sys/fs/cgroup")
        if not (cgroups / "cgroup.procs").exists():
            subprocess.run(["mount", "-t", "cgroup2", "none", cgroups],
                           check=True)
        own = cgroups / "test"
        own.mkdir(exist_ok=True)
        (own / "cgroup.procs").write_text(str(os.getpid()))
        # Where it looks whether this is its system.
        pathlib.Path("/run/systemd/system").mkdir(parents=True, exist_ok=True)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kmqtt."))
        self.environment = {**os.environ,
                            "XDG_RUNTIME_DIR": str(self.directory),
                            "XDG_CONFIG_HOME": str(self.directory / "config")}
        self.write_units()
        self.manager = subprocess.Popen(
            ["/lib/systemd/systemd", "--user"], env=self.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until((self.directory / "systemd/private").exists, "systemd")

    def write_units(self):
        """Write the units, and the daemon's configuration."""
        units = self.directory / "config/systemd/user"
        units.mkdir(parents=True)
        config = self.configure(CONFIG)
        template = (TOP / "userspace/kmqttd.service.in").read_text()
        lines = [line for line in template.splitlines() if KEYS.match(line)]
        text = "\n".join(lines).replace("/etc/kmqtt.conf", str(config))
        for program in "userspace/kmqttd", "tools/kmqttctl":
            name = program.split("/")[1]
            text = text.replace(f"@PREFIX@/sbin/{name}", str(TOP / program))
        (units / "kmqttd.service").write_text(
            f"[Service]\n{text}\nRestart=on-failure\nRestartSec=0\n")
        (units / "kmqttd.socket").write_text(
            f"[Socket]\nListenStream=127.0.0.1:{PORT}\n")

    def configure(self, config):
        """Write the daemon's configuration."""
        path = self.directory / "kmqtt.conf"
        path.write_text(f"{config}runtime_directory {self.directory}/run\n")
        return path

    def ctl(self, *words):
        """Run systemctl, and return what it says."""
        done = subprocess.run(["systemctl", "--user", *words],
                              env=self.environment, capture_output=True,
                              text=True, check=False)
        equal(done.returncode, 0, done)
        return done.stdout.strip()

    def pid(self):
        """The daemon's process, as systemd has it."""
        return int(self.ctl("show", "-p", "MainPID", "--value", "kmqttd"))

    def kill(self, pid):
        """Kill the daemon, and wait until it is gone."""
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "gone")

    def stop(self, *units):
        """Stop units; nothing is left, so that the module can go."""
        self.ctl("stop", *units)
        wait_until(lambda: not self.nl.stats()["conns"], "no connection")

    def unload(self):
        with contextlib.suppress(AssertionError):
            self.ctl("stop", "kmqttd.socket", "kmqttd.service")
        if self.manager:
            self.manager.terminate()
            self.manager.wait()
        super().unload()


@test("kill -9, and reload-or-restart: clients stay, who comes meanwhile waits")
def store(systemd):
    systemd.ctl("start", "kmqttd.service")
    with client("stays") as one, client("other") as other:
        one.subscribe(("a", 1))
        for way in "kill", "reload", "kill":
            before = systemd.pid()
            if way == "kill":
                systemd.kill(before)
            else:
                systemd.ctl("reload-or-restart", "kmqttd.service")
            # The listening socket is there all the time.
            with client("new") as new:
                new.publish("a", way.encode(), 1)
            equal(one.message(), ("a", way.encode()))
            other.ping()
            wait_until(lambda: systemd.pid() not in (0, before), "another one")
    systemd.stop("kmqttd.service")


OPEN = "allow_anonymous true\n"


@test("reload-or-restart with other listeners: so it stays, with the sockets that"
      " systemd keeps")
def other_listeners(systemd):
    steps = [(f"listener {PORT}\n{OPEN}", ["127.0.0.1", "::1", "127.8.7.6"], []),
             (f"listener {PORT} ::1\nlistener {PORT} 127.0.0.1\n{OPEN}",
              ["127.0.0.1", "::1"], ["127.8.7.6"]),
             (CONFIG, ["127.0.0.1"], ["::1", "127.8.7.6"])]
    systemd.configure(OPEN)
    systemd.ctl("start", "kmqttd.service")
    with client("stays") as one:
        for config, served, not_served in steps:
            systemd.configure(config)
            for way in "reload", "kill":
                before = systemd.pid()
                if way == "kill":
                    systemd.kill(before)
                else:
                    systemd.ctl("reload-or-restart", "kmqttd.service")
                wait_until(lambda: systemd.pid() not in (0, before), "another")
                for host in served:
                    with client(f"{way} {host}", (host, PORT)) as new:
                        new.ping()
                for host in not_served:
                    with refused(errno.ECONNREFUSED):
                        Client((host, PORT))
                one.unsubscribe("nothing of that name")
    systemd.stop("kmqttd.service")


@test("kill -9: who is not accepted yet is served by the next daemon")
def backlog(systemd):
    systemd.ctl("start", "kmqttd.service")
    before = systemd.pid()
    os.kill(before, signal.SIGSTOP)
    clients = [Client() for _ in range(BACKLOG)]
    for number, one in enumerate(clients[:-1]):
        one.send(connect(f"c{number}"))
    os.kill(before, signal.SIGKILL)
    clients[-1].send(connect("last"))
    for one in clients:
        one.connected()
        one.ping()
        one.close()
    systemd.stop("kmqttd.service")


@test("reload-or-restart while clients come: not one is turned away")
def coming(systemd):
    systemd.ctl("start", "kmqttd.service")
    stop = threading.Event()

    def come(name):
        while not stop.is_set():
            with client(name) as one:
                one.ping()
            counts.append(name)

    counts = []
    with concurrent.futures.ThreadPoolExecutor() as pool:
        comers = [pool.submit(come, f"c{number}") for number in range(4)]
        try:
            for _ in range(HANDOVERS):
                enough = len(counts) + 20
                wait_until(lambda: len(counts) > enough or
                           any(comer.done() for comer in comers), "some more")
                systemd.ctl("reload-or-restart", "kmqttd.service")
        finally:
            stop.set()
        for comer in comers:
            comer.result()
    systemd.stop("kmqttd.service")


@test("socket activation: the first client starts the daemon")
def activation(systemd):
    systemd.ctl("start", "kmqttd.socket")
    equal(systemd.pid(), 0, "not started")
    with client("first") as one:
        one.subscribe("a")
        before = systemd.pid()
        systemd.kill(before)
        with client("second") as other:
            other.publish("a", b"by the same socket")
        equal(one.message(), ("a", b"by the same socket"))
    systemd.stop("kmqttd.socket", "kmqttd.service")


@test("stop: clients are closed, and the module can be unloaded")
def stop(systemd):
    systemd.ctl("start", "kmqttd.service")
    with client("one") as one:
        systemd.stop("kmqttd.service")
        equal(one.ended(), [])
    equal(systemd.ctl("show", "-p", "Result", "--value", "kmqttd"), "success")


main(Systemd())
