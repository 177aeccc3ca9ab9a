# SPDX-License-Identifier: GPL-2.0
"""Fixtures for ktap.main(): the module alone, and with the daemon."""

import contextlib
import ctypes
import errno
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from ktap import TIMEOUT, Skip, equal, wait_until
from mqtt import Client
from nl import STATE, TOP, Netlink

MODULE = TOP / "kmod/kmqtt.ko"
DAEMON = os.environ.get("KMQTT_DAEMON", TOP / "userspace/kmqttd")

PORT = 1883
CONFIG = f"""\
listener {PORT} 127.0.0.1
allow_anonymous true
"""

# Kernel messages that may come while the module is used: it is not signed, and
# an emulated machine's clock is late at times.
ALLOWED = re.compile(
    rb"kmqtt: (loading out-of-tree module|module verification failed)|"
    rb"clocksource: |hrtimer: interrupt took|perf: interrupt took|"
    rb"sched_clock: |TSC found unstable |workqueue: .* hogged CPU|={20,}$")
LOG_WARNING = 4


def ours(records):
    """Leave out data races (KCSAN) without any code of the module."""
    report = []
    for level, text in records:
        if text.startswith(b"BUG: KCSAN: "):
            report = [(level, text)]
        elif not report:
            yield level, text
        elif not text.startswith(b"=" * 20):
            report.append((level, text))
        else:
            if any(b"[kmqtt]" in line for _, line in report):
                yield from report
            report = []
    yield from report


NOBODY = 65534
PR_SET_PDEATHSIG = 1
NEW_USER, NEW_NET = 0x10000000, 0x40000000  # namespaces, for in_child()
libc = ctypes.CDLL(None, use_errno=True)


def loaded():
    """Is the module loaded?"""
    return os.path.exists("/sys/module/kmqtt")


class KernelLog:
    """What the kernel says from now on."""

    def __init__(self):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)

    def records(self):
        """Yield (level, text) of messages that have come."""
        while True:
            try:
                head, _, text = os.read(self.file, 8192).partition(b";")
            except BlockingIOError:
                return
            except BrokenPipeError:  # it was overwritten, go on with the rest
                yield LOG_WARNING, b"kernel messages were lost"
                continue
            yield int(head.split(b",")[0]) & 7, text.split(b"\n")[0]

    def check(self, allowed=None):
        """Assert that there were no warnings, nor worse, but those allowed."""
        bad = [text.decode(errors="replace")
               for level, text in ours(self.records())
               if level <= LOG_WARNING and not ALLOWED.search(text)
               and not (allowed and allowed.search(text))]
        assert not bad, "the kernel said:\n" + "\n".join(bad)


class Module:
    """Fixture: the module is loaded."""

    start_name = "the module loads"
    allowed = None  # kernel messages of this program's own

    def __init__(self):
        self.log = self.nl = None

    def start(self):
        """Load the module, and unload one that is left from before."""
        if loaded():
            self.unload()
        self.log = KernelLog()
        self.load()

    def load(self):
        """Load the module."""
        subprocess.run(["insmod", MODULE], check=True)
        self.nl = Netlink()

    def unload(self):
        """Flush and unload the module."""
        self.nl = self.nl or Netlink()
        self.nl.flush()
        self.nl.close()
        self.nl = None
        # Files are released shortly after.
        wait_until(lambda: not subprocess.run(
            ["rmmod", "kmqtt"], check=False, capture_output=True).returncode,
            "unloaded")
        assert not loaded()

    def settle(self):
        """Wait until nothing is left of the test before."""

    def recover(self):
        """Remove what a failed test left."""
        with contextlib.suppress(OSError, AttributeError):
            self.nl.flush()

    def ends(self):
        """Return (name, function) of tests that end it."""
        return [("the module unloads", self.unload),
                ("the kernel log is silent",
                 lambda: self.log.check(self.allowed))]

    def diagnose(self):
        """Return text that helps to understand a failure."""
        with contextlib.suppress(OSError, AttributeError):
            stats = self.nl.stats()
            del stats["worker"]
            for name in "ended", "total":
                stats[name] = {k: v for k, v in stats[name].items() if v}
            return f"The module: {stats}"
        return ""


class Process:
    """A daemon that is nobody's child here, as subprocess.Popen is one."""

    def __init__(self, pid):
        self.pid = pid
        self.fd = os.pidfd_open(pid)
        self.returncode = None

    def poll(self):
        """Return None while it runs; how it ended is not known."""
        if select.select([self.fd], [], [], 0)[0]:
            self.returncode = 0
        return self.returncode

    def wait(self, timeout=None):
        """Wait until it has ended."""
        if not select.select([self.fd], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("kmqttd", timeout)
        return self.poll()

    def send_signal(self, number):
        """Send it a signal."""
        signal.pidfd_send_signal(self.fd, number)

    def kill(self):
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class Broker(Module):
    """Fixture: the module and the daemon."""

    start_name = "the module loads and the daemon gets ready"
    lasting = 0  # connections that last from test to test
    program = DAEMON
    extra = ""  # more of its configuration

    def __init__(self, config=CONFIG):
        super().__init__()
        self.config = self.own_config = config
        self.daemon = self.output = self.directory = None

    def start(self):
        super().start()
        self.make_directory()
        self.start_daemon()

    def make_directory(self):
        """Make a directory for the daemon's files."""
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kmqtt."))
        self.directory.chmod(0o755)

    def start_daemon(self, config=None):
        """Start the daemon, and wait until it is ready."""
        self.config = self.config if config is None else config
        self.daemon = self.run_daemon(self.config)
        self.await_ready()

    def await_ready(self):
        """Wait until the daemon says so."""
        with self.notified as notified:
            wait_until(lambda: self._ready(notified), "ready")

    def run_daemon(self, config, *prefix):
        """Run the daemon, its output going to self.output."""
        path = self.directory / "kmqttd.conf"
        path.write_text(f"{config}\npid_file {self.pid_file}\n{self.extra}")
        return self.run_command(*prefix, self.program, "-c", path)

    def run_command(self, *command, stdin=None):
        """Run a command that becomes the daemon, likewise."""
        address = self.directory / "notify"
        address.unlink(missing_ok=True)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(address))
        address.chmod(0o666)
        self.notified.settimeout(0.01)
        self.output = self.directory / "output"
        with open(self.output, "wb") as output:
            return subprocess.Popen(
                command, stdin=stdin, stdout=output, stderr=output,
                env={**os.environ, "NOTIFY_SOCKET": str(address)},
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))

    def _ready(self, notified):
        assert self.daemon.poll() is None, "the daemon has ended"
        with contextlib.suppress(TimeoutError):
            return b"READY=1" in notified.recv(4096).split(b"\n")
        return False

    @property
    def pid_file(self):
        """Path of the daemon's pid_file."""
        return self.directory / "kmqttd.pid"

    def stop(self):
        """End the daemon in order."""
        self.daemon.send_signal(signal.SIGTERM)
        equal(self.daemon.wait(TIMEOUT), 0, "exit status")
        assert not self.pid_file.exists(), "the pid file is still there"
        self.settle()

    def restart(self, config):
        """Stop the daemon, and start it with another configuration."""
        self.stop()
        self.start_daemon(config)

    def crash(self):
        """Kill the daemon, cut all connections, and start it again."""
        self.end()
        self.nl.flush()
        self.start_daemon()

    def replace(self):
        """Kill the daemon, and start another, which adopts its connections."""
        self.end()
        self.start_daemon()

    def replace_losing(self, client, meanwhile):
        """Replace the daemon; a connection is lost before that, or meanwhile."""
        conn = self.record(client)["id"]

        def await_gone():
            wait_until(lambda: conn not in [r["id"] for r in self.nl.conns()],
                       "gone")

        if meanwhile:
            self.end()
        client.reset()
        if not meanwhile:
            await_gone()
        self.replace()
        await_gone()

    def hand_over(self):
        """Have another process of the daemon take over."""
        done = subprocess.run([TOP / "tools/kmqttctl", "handover"],
                              capture_output=True, timeout=TIMEOUT,
                              check=False)
        assert b"has taken over" in done.stdout, done
        self.await_successor(self.daemon.pid)

    def await_successor(self, before):
        """Wait until another process than that one is the daemon."""
        equal(self.daemon.wait(TIMEOUT), 0, "exit status")
        wait_until(lambda: self.nl.stats()["daemon"] not in (0, before),
                   "taken over")
        self.daemon = Process(self.nl.stats()["daemon"])

    def end(self):
        """Kill the daemon, if it runs."""
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()

    def persistent(self, config=CONFIG):
        """Return a configuration with a store of its own."""
        store = tempfile.mkdtemp(prefix="store.", dir=self.directory)
        return (f"{config}persistence true\n"
                f"persistence_location {store}/\n")

    def persist(self):
        """Run with a database from now on."""
        if "persistence true" not in self.config:
            self.restart(self.persistent())

    def unload(self):
        self.end()
        super().unload()
        if self.directory:
            shutil.rmtree(self.directory)

    def recover(self):
        super().recover()
        if self.daemon.poll() is not None or self.config != self.own_config:
            self.end()
            self.start_daemon(self.own_config)

    def ends(self):
        return [("the daemon ends in order", self.stop)] + super().ends()

    def settle(self):
        if self.nl:
            self.await_conns(self.lasting)

    def diagnose(self):
        text = super().diagnose()
        with contextlib.suppress(OSError, AttributeError, TypeError):
            lines = self.said().splitlines()
            text += "\nThe daemon said at last:\n" + "\n".join(lines[-8:])
        return text

    def said(self):
        """Return what the daemon has said."""
        return self.output.read_text(errors="replace")

    def await_line(self, pattern):
        """Wait until the daemon has said something like that."""
        return wait_until(lambda: re.search(pattern, self.said()),
                          f"said by the daemon: {pattern}")

    # Looking at what the module does.

    def record(self, client):
        """Return the module's record of a client's connection."""
        port = client.port.to_bytes(2, "big")
        return wait_until(
            lambda: [r for r in self.nl.conns() if r["remote"][2:4] == port],
            "attached")[0]

    def await_known(self, *clients):
        """Wait until the module serves these without a daemon.

        It does so a moment after CONNACK, and lets go what a SUBSCRIBE held back
        a moment after SUBACK.
        """
        def known(one):
            record = self.record(one)
            return record["state"] == STATE["active"] and not record["held"]

        for one in clients:
            wait_until(lambda one=one: known(one), "known")

    def await_received(self, client, size, record=None):
        """Wait until the module has received that many bytes of a client."""
        conn = (record or self.record(client))["id"]
        wait_until(lambda: self.nl.conn(conn)["rx_bytes"] >= size, "received")

    def await_conns(self, count):
        """Wait until there are so many connections; with none, nothing else."""
        names = ["conns"] if count else ["conns", "subs", "filters"]

        def there():
            stats = self.nl.stats()
            return all(stats[name] == count for name in names)

        wait_until(there, f"{count} connections")

    @contextlib.contextmanager
    def counted(self, *reasons):
        """Assert that connections end meanwhile, for these reasons only."""
        before = self.nl.stats()["ended"]

        def ended():
            after = self.nl.stats()["ended"]
            return {reason: number - before[reason]
                    for reason, number in after.items()
                    if number != before[reason]}

        yield
        wait_until(lambda: sum(ended().values()) >= len(reasons),
                   f"ended: {len(reasons)} of {reasons[:3]}")
        equal(ended(), {reason: reasons.count(reason) for reason in reasons},
              "connections ended")


class Peer(Broker):
    """Fixture: another broker, to try on it tests that look only at MQTT.

    KMQTT_PEER is its path: of a mosquitto, or what takes its configuration.
    """

    start_name = "the broker gets ready"
    program = os.environ.get("KMQTT_PEER")
    # As far as it can: it writes a whole file after every change.
    extra = ("user root\nset_tcp_nodelay true\n"
             "autosave_interval 1\nautosave_on_changes true\n")

    def start(self):
        self.make_directory()
        self.start_daemon()

    def start_daemon(self, config=None):
        super().start_daemon(config)
        # It says so a little before it is: SIGTERM would be lost.
        client().close()

    def unload(self):
        self.end()
        shutil.rmtree(self.directory)

    def settle(self):
        pass

    def ends(self):
        return [("the broker ends in order", self.stop),
                ("nothing is left of it", self.unload)]


def any_broker(config=CONFIG):
    """Return the fixture for tests that look only at MQTT."""
    return Peer(config) if Peer.program else Broker(config)


def client(client_id="", address=("127.0.0.1", PORT), receive_buffer=None,
           **fields):
    """Return a client that has connected."""
    return Client(address, receive_buffer).connect(client_id, **fields)


@contextlib.contextmanager
def later(seconds):
    """Set the clock forward."""
    if not os.environ.get("KMQTT_VM"):
        raise Skip("the clock is not the test's own")

    def move(by):
        time.clock_settime(time.CLOCK_REALTIME,
                           time.clock_gettime(time.CLOCK_REALTIME) + by)

    move(seconds)
    try:
        yield
    finally:
        move(-seconds)


def in_child(function, *, user=None, unshare=0):
    """Call function in a child, as another user, in new namespaces.

    It passes or fails as the function does.
    """
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        text = b""
        try:
            if user is not None:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            if libc.unshare(unshare):
                raise OSError(ctypes.get_errno(), "unshare")
            function()
        except BaseException as error:  # pylint: disable=broad-except
            text = f"in the child: {error!r}".encode()
        os.write(write, text)
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(pid, 0)
    assert not text, text


@contextlib.contextmanager
def refused(number, *words):
    """Assert that an OSError of that number comes, with these words in it."""
    try:
        yield
    except OSError as error:
        equal(errno.errorcode[error.errno], errno.errorcode[number], "error")
        for word in words:
            assert word in str(error), f"{word!r} is not in {error}"
    else:
        raise AssertionError("it was not refused")

