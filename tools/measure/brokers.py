# SPDX-License-Identifier: GPL-2.0
"""The brokers that are measured. In the guest each runs alone."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BENCH = TOP / "tools/kmqtt-bench"
TIMEOUT = 60


def _await(condition, what):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"in {TIMEOUT} s: not {what}")
        time.sleep(0.05)


class Broker:
    """A broker on this machine, as a context: it runs within."""

    program = None     # how to start it
    special = False    # it is measured only where a section names it
    pid = None         # of the process, while it runs

    def __init__(self, name, nodelay, port):
        self.name = name
        self.nodelay = nodelay  # on its sockets: "on", "off" or what is known
        self.port = port
        self._process = None

    def version(self):
        """Return one line that says which one it is."""
        return ""

    def arguments(self, words):
        """Return kmqtt-bench's arguments for this broker."""
        if words[0] == "memory":
            words = [*words, "--filters", "10", "--pid", str(self.pid)]
        return [*words, "--port", str(self.port)]

    def _listening(self):
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended: {self.program}")
        with socket.socket() as client:
            return not client.connect_ex(("127.0.0.1", self.port))

    def __enter__(self):
        self._process = subprocess.Popen(
            self.program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        self.pid = self._process.pid
        _await(self._listening, f"listening on port {self.port}: {self.name}")
        return self

    def __exit__(self, *_):
        self.pid = None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Floor(Broker):
    """kmqtt-bench's own loop of receive and send."""

    def __init__(self):
        super().__init__("bare loop", "on", None)

    def arguments(self, words):
        return ["floor", *words]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Kmqtt(Broker):
    """The module and the daemon."""

    program = [TOP / "userspace/kmqttd"]

    def __init__(self):
        super().__init__("kmqtt", "on", 1883)

    def version(self):
        return os.environ.get("KMQTT_VERSION", "")

    def __enter__(self):
        subprocess.run(["insmod", TOP / "kmod/kmqtt.ko"], check=True)
        return super().__enter__()

    def __exit__(self, *_):
        super().__exit__()
        subprocess.run([TOP / "tools/kmqttctl", "flush"], check=True,
                       stdout=subprocess.DEVNULL)
        _await(lambda: not subprocess.run(
            ["rmmod", "kmqtt"], check=False, stderr=subprocess.DEVNULL
        ).returncode, "unloaded: kmqtt")


class KmqttRules(Kmqtt):
    """The same with an acl_file, whose eighth rule is the one that allows."""

    special = True

    def __init__(self):
        super().__init__()
        self.name = "kmqtt with 8 rules"
        self._conf = pathlib.Path("/tmp/kmqtt.conf")
        self.program = [*self.program, "-c", self._conf]

    def __enter__(self):
        rules = self._conf.with_suffix(".acl")
        # Two more forbid to publish to what is reserved.
        rules.write_text("topic deny bench/secret/#\n"
                         "topic deny +/+/secret\n"
                         "topic read bench/only/read/+\n"
                         "topic write log/+/#\n"
                         "topic readwrite bench/+\n"
                         "topic readwrite bench/#\n")
        self._conf.write_text(f"listener {self.port}\nallow_anonymous true\n"
                              f"acl_file {rules}\n")
        return super().__enter__()


class Mosquitto(Broker):
    """Debian's mosquitto, with Nagle's algorithm or without."""

    def __init__(self, nodelay):
        super().__init__(f"mosquitto{' nodelay' if nodelay else ''}",
                         "on" if nodelay else "off", 1884)
        self._conf = pathlib.Path("/tmp/mosquitto.conf")
        self.program = ["mosquitto", "-c", self._conf]

    def version(self):
        said = subprocess.run(["mosquitto", "-h"], check=False, text=True,
                              capture_output=True).stdout
        return said.splitlines()[0] if said else ""

    def __enter__(self):
        nodelay = "true" if self.nodelay == "on" else "false"
        self._conf.write_text(f"listener {self.port} 127.0.0.1\n"
                              "allow_anonymous true\nuser root\n"
                              f"set_tcp_nodelay {nodelay}\n")
        return super().__enter__()


class Other(Broker):
    """Any other: its command stays in the foreground."""

    def __init__(self, text):
        match = re.fullmatch(r"([^:]+):(.+):(\d+)", text, re.S)
        if not match:
            raise ValueError(f"BROKER wants name:command:port, not {text!r}")
        super().__init__(match[1], "its own", int(match[3]))
        self.program = ["sh", "-c", match[2]]

    def version(self):
        return self.program[-1]


def all_brokers():
    """Return those to measure, in the order of the tables."""
    found = [Floor(), Kmqtt(), KmqttRules(), Mosquitto(False), Mosquitto(True)]
    if os.environ.get("BROKER"):
        found.append(Other(os.environ["BROKER"]))
    return found
