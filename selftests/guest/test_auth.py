#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Who may connect, and as whom; what a slow hash and a storm of guesses cost
others; what is in the log."""

import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

from auth import ALICE, LISTENER, SLOW, USERS, Auth, b64, codes, line, waits
from broker import PORT, client
from ktap import FACTOR, TIMEOUT, Skip, cases, equal, main, note, test, \
    times, wait_until
from mqtt import Client, Closed, connect
from nl import TOP

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")
PASSWD = shutil.which("mosquitto_passwd")
BESIDE = PORT + 100
LATE = 1  # seconds at least until it is said that a login has failed


def old_line(user, password):
    """Likewise, of mosquitto_passwd 1.x."""
    salt = os.urandom(12)
    key = hashlib.sha512(password.encode() + salt).digest()
    return f"{user}:$6${b64(salt)}${b64(key)}\n"


@contextlib.contextmanager
def mosquitto(broker, config):
    """Run the other broker with the same configuration."""
    if not MOSQUITTO:
        raise Skip("mosquitto is not installed")
    path = broker.directory / "mosquitto.conf"
    path.write_text("user root\n" + config.replace(str(PORT), str(BESIDE)))
    with subprocess.Popen([MOSQUITTO, "-c", path], stderr=subprocess.DEVNULL
                          ) as process:
        def there():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", BESIDE)).close()
                return True
            return False

        try:
            wait_until(there, "mosquitto listens")
            yield
        finally:
            process.terminate()


WHO = [{"client_id": f"who{number}", **fields} for number, fields in enumerate(
    ({}, {"username": "alice"}, ALICE, {**ALICE, "level": 3},
     {"username": "alice", "password": "Secret"},
     {"username": "alice", "password": ""},
     {"username": "alic", "password": "secret"},
     {"username": "a b", "password": "x y"},
     {"username": "", "password": ""}, {"username": ""}))]
FILE = "password_file {passwords}\n"
SAME = [
    ("nothing is said", LISTENER, WHO, [5] * 10),
    ("allow_anonymous false", LISTENER + "allow_anonymous false\n", WHO,
     [5] * 10),
    ("allow_anonymous true", LISTENER + "allow_anonymous true\n", WHO,
     [0] * 10),
    ("password_file", LISTENER + FILE, WHO, [5, 5, 0, 0, 5, 5, 5, 0, 5, 5]),
    ("password_file, allow_anonymous", LISTENER + FILE +
     "allow_anonymous true\n", WHO, [0, 5, 0, 0, 5, 5, 5, 0, 0, 0]),
    ("per_listener_settings", "per_listener_settings true\n" + LISTENER + FILE,
     WHO, [5, 5, 0, 0, 5, 5, 5, 0, 5, 5]),
    ("clientid_prefixes", LISTENER + "allow_anonymous true\n"
     "clientid_prefixes ab\n",
     [{"client_id": i} for i in ("ab", "abc", "a", "xab", "")],
     [0, 0, 5, 5, 5]),
    ("clientid_prefixes, auto_id_prefix", LISTENER + "allow_anonymous true\n"
     "clientid_prefixes ab\nauto_id_prefix abc\n",
     [{"client_id": i} for i in ("abx", "")], [0, 0]),
    ("use_username_as_clientid", LISTENER + FILE + "allow_anonymous true\n"
     "use_username_as_clientid true\n",
     [{}, ALICE, {"username": ""}, {**ALICE, "password": "no"},
      {**ALICE, "client_id": "", "clean": False}], [5, 0, 5, 5, 2]),
    ("use_username_as_clientid, clientid_prefixes", LISTENER + FILE +
     "use_username_as_clientid true\nclientid_prefixes x\n",
     [ALICE, {"client_id": "xa", "username": "a b", "password": "x y"}],
     [5, 0]),
    ("allow_zero_length_clientid false", LISTENER + "allow_anonymous true\n"
     "allow_zero_length_clientid false\n",
     [{"client_id": ""}, {"client_id": "x"}], [2, 0]),
]


@cases([(f"CONNACK as mosquitto's: {name}", *rest) for name, *rest in SAME])
def same(broker, config, attempts, wanted):
    config = config.format(passwords=broker.passwords)
    broker.restart(config)
    equal(codes(PORT, attempts), wanted, attempts)
    broker.settle()
    with mosquitto(broker, config):
        equal(codes(BESIDE, attempts), wanted, "mosquitto")


@test("without a listener everybody may connect, but no user without a password")
def local(broker):
    broker.restart(f"password_file {broker.passwords}\n")
    equal(codes(PORT, WHO), [0, 5, 0, 0, 5, 5, 5, 0, 0, 0])


@test("use_username_as_clientid: the module knows the client by that name")
def username_as_id(broker):
    broker.restart(broker.users("use_username_as_clientid true\n"))
    with client("mine", **ALICE) as one:
        one.ping()
        equal(broker.record(one)["client_id"], b"alice")
        with client("other", username="a b", password="x y"):
            # Nobody takes over whose password he does not know.
            equal(codes(PORT, [{"client_id": "mine", "username": "alice",
                                "password": "guess"}]), [5])
            one.ping()
        with client("another", **ALICE):
            one.ended()


@test("per_listener_settings: each listener has its users")
def per_listener(broker):
    other = broker.directory / "others"
    other.write_text(line("bob", "b"))
    broker.restart(
        f"per_listener_settings true\nlistener {PORT} 127.0.0.1\n"
        f"password_file {broker.passwords}\nlistener {PORT + 1} 127.0.0.1\n"
        f"password_file {other}\nlistener {PORT + 2} 127.0.0.1\n"
        "allow_anonymous true\n")
    bob = {"username": "bob", "password": "b"}
    for port, wanted in (PORT, [0, 5]), (PORT + 1, [5, 0]), (PORT + 2, [0, 0]):
        equal(codes(port, [{"client_id": "1", **ALICE},
                           {"client_id": "2", **bob}]), wanted, port)


ARGON2 = ("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$"
          "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")


@test("every format of mosquitto's in one file")
def formats(broker):
    broker.write(line("short", "1"),
                 line("long", "2", 1000, os.urandom(64)),
                 line("once", "3", 1), old_line("old", "4"),
                 f"argon:{ARGON2}\n")
    broker.restart(broker.users())
    for user, password in (("short", "1"), ("long", "2"), ("once", "3"),
                           ("old", "4"), ("argon", "password")):
        client(user, username=user, password=password).close()
        # One by one: all at once, the last might come too late for its CONNACK.
        equal(codes(PORT, [{"client_id": user, "username": user,
                            "password": "password1"}]), [5])
    broker.write(USERS)


@test("mosquitto_passwd makes the file; mosquitto_pub and _sub -u -P")
def passwd(broker):
    if not PASSWD:
        raise Skip("mosquitto_passwd is not installed")
    broker.passwords.unlink()
    for options in ("-c",), ("-H", "sha512"), ():
        subprocess.run([PASSWD, *options, "-b", broker.passwords,
                        f"user{''.join(options)}", "pass word"], check=True,
                       capture_output=True)
    subprocess.run([PASSWD, "-D", broker.passwords, "user"], check=True)
    broker.restart(broker.users())
    for user in "user-c", "user-Hsha512":
        with subprocess.Popen(
                ["mosquitto_sub", "-u", user, "-P", "pass word", "-t", "t",
                 "-C", "1", "-W", str(int(TIMEOUT))],
                stdout=subprocess.PIPE) as sub:
            wait_until(lambda: broker.nl.stats()["subs"] == 1, "subscribed")
            subprocess.run(["mosquitto_pub", "-u", user, "-P", "pass word",
                            "-q", "1", "-t", "t", "-m", user], check=True)
            equal(sub.communicate()[0], user.encode() + b"\n")
    for user in "user", "user-c":
        done = subprocess.run(["mosquitto_pub", "-u", user, "-P", "password",
                               "-t", "t", "-m", "x"], capture_output=True,
                              check=False)
        equal(done.returncode, 5, done.stderr)
        assert b"not authorised" in done.stderr + done.stdout, done
    assert "pass" not in broker.said().replace("password_file", ""), "a password"
    broker.write(USERS)


@test("a password of 65535 bytes, with a NUL in it")
def long_password(broker):
    broker.write(line("alice", "x" * 65535), line("nul", "a\0b"))
    broker.restart(broker.users())
    client(username="alice", password="x" * 65535).close()
    client(username="nul", password="a\0b").close()
    equal(codes(PORT, [{"username": "alice", "password": "x" * 65534},
                       {"client_id": "2", "username": "nul", "password": "a"}]),
          [5, 5])
    broker.write(USERS)


def cpu(broker):
    """Return nanoseconds that the daemon's threads have run."""
    tasks = pathlib.Path(f"/proc/{broker.daemon.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


@test("a name that there is not costs as much as a wrong password, and as long")
def no_enumeration(broker):
    broker.write(line("alice", "secret", 20000))
    broker.restart(broker.users())
    spent = []
    for user in "alice", "nobody", "alice", "nobody":
        before = cpu(broker)
        begin = time.monotonic()
        equal(codes(PORT, [{"username": user, "password": "guess"}]), [5])
        late = time.monotonic() - begin
        assert late >= LATE, late
        spent.append(cpu(broker) - before)
    note("ms of CPU:", *(ns // 1000000 for ns in spent))
    # A busy machine blurs it, but no hash at all would be nearly nothing.
    known, unknown = min(spent[::2]), min(spent[1::2])
    assert 0.2 < known / unknown < 5, spent
    broker.write(USERS)


def traffic(one, number):
    """Send a message through the module, and one through the daemon."""
    one.publish("t", b"%d" % number)
    equal(one.message(), ("t", b"%d" % number))
    one.publish("t", b"%d" % number, qos=1)
    equal(one.message(), ("t", b"%d" % number))
    one.ping()


@test("a slow hash: messages pass, clients come and go, also the one that waits")
def slow(broker):
    broker.write(USERS, line("slow", "", SLOW))
    broker.restart(broker.users("allow_anonymous true\nconnect_timeout 600\n"))
    guess = {"username": "slow", "password": "guess"}
    with client("slow", clean=False) as one:
        one.subscribe("t")
        waiting = [waits(broker, "slow", **guess) for _ in range(4)]
        hashing = cpu(broker)
        for number in range(times(100)):
            traffic(one, number)
        with client("comes") as other:
            other.ping()
        waiting[0].reset()  # it is with the thread
        waiting[3].reset()  # it is not
        broker.await_conns(3)
        # It says nothing, and takes nobody's place.
        for bad in waiting[1:3]:
            bad.send(b"\xc0\0")
            bad.socket.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                bad.socket.recv(1)
                raise AssertionError("it got something")
        traffic(one, 0)
        assert cpu(broker) > hashing, "nothing is hashed"
        assert "New client connected" in broker.said()
        # Nor does it keep the daemon from ending.
        broker.daemon.send_signal(signal.SIGTERM)
        equal(broker.daemon.wait(TIMEOUT), 0, "exit status")
    for bad in waiting[1:3]:
        with contextlib.suppress(Closed):
            bad.packet()
        bad.close()
    broker.start_daemon(broker.own_config)


@test("a login that waits longer than connect_timeout is ended")
def timeout(broker):
    broker.write(USERS, line("slow", "", SLOW))
    broker.restart(broker.users("connect_timeout 2\n"))
    one = waits(broker, "1", username="slow", password="x")
    two = waits(broker, "2", **ALICE)
    for each in one, two:
        equal(each.ended(), [])
    broker.await_line("exceeded timeout")
    broker.end()
    broker.write(USERS)
    broker.start_daemon(broker.own_config)


class Storm:
    """Clients that guess, again and again, each when it has been refused."""

    def __init__(self, source, count, user):
        self.source = source
        self.user = user
        self.refused = 0
        self.soonest = TIMEOUT
        self.stop = False
        self.wrong = None
        self.threads = [threading.Thread(target=self.guess, args=(number,))
                        for number in range(count)]
        for thread in self.threads:
            thread.start()

    def attempt(self, number):
        """Guess once."""
        with socket.create_connection(("127.0.0.1", PORT), TIMEOUT * 3,
                                      (self.source, 0)) as one:
            begin = time.monotonic()
            one.sendall(connect(f"storm{number}", username=self.user,
                                password=f"guess{self.refused}"))
            with contextlib.suppress(ConnectionResetError):
                answer = one.recv(4)
                if answer not in (b"", b"\x20\x02\0\x05"):
                    self.wrong = answer
                if answer:
                    self.refused += 1
                    self.soonest = min(self.soonest, time.monotonic() - begin)

    def guess(self, number):
        """Guess, again and again."""
        while not self.stop:
            try:
                self.attempt(number)
            except OSError as error:
                if not self.stop:
                    self.wrong = error
                    return

    def end(self):
        """End it."""
        self.stop = True
        for thread in self.threads:
            thread.join()
        assert not self.wrong, self.wrong


def good_login(source="127.0.0.1"):
    """Log in. Return how many seconds it took."""
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", PORT), TIMEOUT,
                                  (source, 0)) as one:
        one.sendall(connect("good", **ALICE))
        equal(one.recv(4), b"\x20\x02\0\0", "CONNACK")
    return time.monotonic() - begin


@test("a storm of guesses: slow on each connection; who knows his password gets in")
def storm(broker):
    broker.restart(broker.users())
    guesses = Storm("127.0.0.1", 40, "alice")
    try:
        wait_until(lambda: guesses.refused, "refused")
        begin, before = time.monotonic(), guesses.refused
        took = [good_login() for _ in range(times(20))]
        wait_until(lambda: guesses.refused > before + 60, "refused", TIMEOUT)
        rate = (guesses.refused - before) / (time.monotonic() - begin)
    finally:
        guesses.end()
    note(f"{rate:.0f} guesses a second; logins took at most {max(took):.2f} s")
    assert guesses.soonest >= LATE, guesses.soonest
    assert max(took) < TIMEOUT / 2, took


@test("a storm at a slow hash: who comes from elsewhere waits for one or two")
def slow_storm(broker):
    broker.write(USERS, line("slow", "x", 30000))
    broker.restart(broker.users("connect_timeout 60\n"))
    begin = time.monotonic()
    client("one", username="slow", password="x").close()
    one_hash = time.monotonic() - begin
    guesses = Storm("127.0.0.1", 60, "slow")
    try:
        wait_until(lambda: broker.nl.stats()["conns"] >= 60, "a storm")
        took = [good_login("127.0.0.2") for _ in range(3)]
    finally:
        guesses.stop = True
        broker.write(USERS)
        broker.end()
        broker.start_daemon(broker.own_config)
        guesses.end()
    note(f"a hash takes {one_hash:.2f} s; logins took "
         f"{', '.join(f'{t:.2f}' for t in took)} s")
    assert max(took) < 15 * one_hash + 0.5 * FACTOR, took


# ---- Logs ----

HOSTILE = [
    b"a\n1795384425: Error: all is lost", b"it's 'quoted' \"twice\"",
    "\x1b[2J\x1b[31m\u009b\x7f".encode(), b"\\x0a%s%n%p", "é€😀".encode(),
    b"x" * 5000,
]


@test("what clients say is escaped in the log and in kmqttctl; passwords never")
def hostile(broker):
    broker.write(USERS, *(line(f"u{number}", "pass-word")
                          for number in range(2)))
    broker.restart(broker.users("allow_anonymous true\n"))
    for text in HOSTILE:
        broker.settle()
        with client(text, will=(text, "w", 0, False)) as one:
            one.subscribe(text)
            one.publish(text, b"payload", qos=1)
            one.message()
            tables = subprocess.run([TOP / "tools/kmqttctl", "conns"],
                                    capture_output=True, check=True).stdout
            tables += subprocess.run([TOP / "tools/kmqttctl", "subs"],
                                     capture_output=True, check=True).stdout
        equal(tables.count(b"\n"), 4, tables)
        for table_line in tables.splitlines():
            assert not any(c < 0x20 or c == 0x7f for c in table_line), tables
    equal(codes(PORT, [{"client_id": f"h{number}", "username": text,
                        "password": "pass-word"}
                       for number, text in enumerate(HOSTILE)]),
          [5] * len(HOSTILE))
    client("accepted", username="u1", password="pass-word").close()
    broker.settle()
    said = broker.output.read_bytes()
    for each in said.splitlines():
        assert not any(c < 0x20 or c == 0x7f for c in each), each
        assert each.split(b":")[0].isdigit(), each
        assert len(each) < 4096, each
    assert b"Error" not in said.replace(b"Error: all is lost", b""), said
    assert b"\n1795384425" not in said
    assert b"it\\x27s \\x27quoted\\x27 \\x22twice\\x22" in said
    assert b"\\x5cx0a%s%n%p" in said
    assert b"pass-word" not in said
    broker.write(USERS)


main(Auth())
