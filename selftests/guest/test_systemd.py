#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The unit's lines under a live systemd, one of a user's: the descriptor store,
socket activation, reload, stop."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import tempfile

from broker import CONFIG, PORT, Module, client
from ktap import equal, main, test, wait_until
from nl import TOP

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
        config = self.directory / "kmqtt.conf"
        config.write_text(f"{CONFIG}runtime_directory {self.directory}/run\n")
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
        """Kill the daemon. Until it is gone, its ring may accept clients."""
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
