#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""SIGHUP: what it changes, and whom it disconnects."""

import contextlib
import os
import signal
import subprocess
import threading
import time

import mqtt5
from auth import ALICE, LISTENER, USERS, Auth, codes, line, waits
from broker import NOBODY, PORT, client
from ktap import (LONG, TIMEOUT, cases, equal, main, note, test, times,
                  wait_until)
from mqtt import PUBCOMP, PUBREC, PUBREL, Client, acknowledge

@test("SIGHUP: who is gone, or has another password, is disconnected; others not")
def reload_users(broker):
    salt = os.urandom(12)
    broker.write(*(line(name, name, salt=salt) for name in "abc"))
    broker.restart(broker.users("allow_anonymous true\n"))
    clients = {name: client(name, username=name, password=name)
               for name in "abc"}
    clients["anonymous"] = client("anonymous")
    heir = client("heir")
    heir.subscribe("will/#")
    leaver = client("leaver", username="c", password="c",
                    will=("will/c", "gone", 0, False))
    broker.write(line("b", "other", salt=salt), line("a", "a", salt=salt),
                 line("d", "d"))
    broker.reload()
    for name in "bc":
        clients[name].ended()
    leaver.ended()
    equal(heir.message(), ("will/c", b"gone"))
    for name in "a", "anonymous":
        clients[name].ping()
    equal(codes(PORT, [{"client_id": f"try{name}", "username": name,
                        "password": password} for name, password in
                       (("a", "a"), ("b", "b"), ("b", "other"), ("c", "c"),
                        ("d", "d"))]), [0, 5, 0, 5, 0])
    broker.reload(broker.users())
    clients["anonymous"].ended()
    heir.ended()
    clients["a"].ping()
    broker.await_line(r"disconnected: not authorised\.")
    # Without the file, names mean nothing any more.
    broker.reload(LISTENER + "allow_anonymous true\n")
    clients["a"].ping()
    broker.reload(broker.users("allow_anonymous true\n"))
    clients["a"].ping()
    for one in clients.values():
        one.close()
    broker.write(USERS)


@test("SIGHUP while a password is hashed: what is in the file then counts")
def reload_meanwhile(broker):
    broker.write(line("slow", "x", 100000, b"0" * 12), line("b", "b"))
    broker.restart(broker.users("connect_timeout 60\n"))
    gone, stays = (waits(broker, name, username=name, password=password)
                   for name, password in (("slow", "x"), ("b", "b")))
    keep = broker.passwords.read_text().splitlines(keepends=True)[1]
    broker.write(line("slow", "y", 1), keep)
    broker.reload()
    equal(gone.packet().body, b"\0\5")
    equal(stays.packet().body, b"\0\0")
    gone.close()
    stays.close()
    broker.write(USERS)


@test("SIGHUP under load: nobody valid is dropped, no message is lost")
def reload_under_load(broker):
    broker.restart(broker.users("allow_anonymous true\nmax_queued_messages 0\n"))
    count, reloads = times(4000 if LONG else 600), times(30 if LONG else 10)
    receivers = [client(f"r{number}", **fields) for number, fields in
                 enumerate(({}, ALICE, ALICE))]
    for one in receivers:
        one.subscribe(("load", 1))
    sender = client("sender", **ALICE)
    done = threading.Event()

    def send():
        for number in range(count):
            sender.publish("load", b"%d" % number, qos=number % 2)
            if number % 50 == 0:
                time.sleep(0.005)
        done.set()

    heard = [[] for _ in receivers]

    def receive(one, into):
        for _ in range(count):
            into.append(int(one.message()[1]))

    threads = [threading.Thread(target=send)] + [
        threading.Thread(target=receive, args=pair)
        for pair in zip(receivers, heard)]
    for thread in threads:
        thread.start()
    made = 0
    while not done.is_set() or made < reloads:
        broker.write(USERS, line(f"new{made}", "x"))
        broker.reload()
        client(f"new{made}", username=f"new{made}", password="x").close()
        made += 1
    for thread in threads:
        thread.join(TIMEOUT)
    note(made, "reloads")
    for into in heard:
        equal(sorted(into), list(range(count)), "messages")
    for one in (*receivers, sender):
        one.ping()
        one.close()
    broker.write(USERS)


WRONG = [
    ("a password file [CVE-2018-12551]", "alice:secret\n", "", r"passwords:1\b"),
    ("the configuration", USERS, "\nallow_anonymous true\nnonsense 1\n",
     r"kmqttd\.conf:\d+\b"),
    ("a password file that is not there", None, "", r"passwords: No such file"),
    ("a log file that cannot be written", USERS,
     "log_dest file /no/such/directory/log\n", r"/no/such/directory/log"),
]


@cases([(f"SIGHUP, wrong is {name}: nothing changes, it says where", *rest)
        for name, *rest in WRONG])
def reload_wrong(broker, passwords, more, where):
    broker.restart(broker.users("max_keepalive 60\n"))
    with client("one", keepalive=60, **ALICE) as one:
        if passwords is None:
            broker.passwords.unlink()
        else:
            broker.write(passwords)
        broker.reload(broker.users(more), good=False)
        broker.await_line(where)
        assert "secret" not in broker.said()
        one.ping()
        equal(codes(PORT, [{"client_id": "2", "keepalive": 60, **ALICE},
                           {"client_id": "3", "keepalive": 0, **ALICE},
                           {"client_id": "4", "keepalive": 60}]), [0, 2, 5])
        broker.write(USERS)
        broker.reload(broker.users())
        equal(codes(PORT, [{"client_id": "3", "keepalive": 0, **ALICE}]), [0])
        one.ping()


@test("SIGHUP: limits, logging, clientid_prefixes, a log file that was renamed")
def reload_settings(broker):
    log, old = broker.directory / "log", broker.directory / "log.1"
    broker.restart(broker.users(f"log_dest file {log}\nlog_timestamp true\n"))
    log.rename(old)

    def reload(more):
        before = log.read_text().count("reloaded") if log.exists() else 0
        path = broker.directory / "kmqttd.conf"
        path.write_text(broker.users(
            f"log_dest file {log}\n{more}\npid_file {broker.pid_file}\n"))
        broker.daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: log.exists() and
                   log.read_text().count("reloaded") > before, "reloaded")

    with client("stays", **ALICE) as one:
        reload("log_timestamp_format at %Y\nmax_connections 2\n"
               "clientid_prefixes two\nmax_packet_size 100\n")
        assert "Reloading config." in old.read_text()
        assert "at 20" in log.read_text()
        with client("two", **ALICE) as two, Client() as three:
            equal(three.ended(), [])
            two.send(b"\x32\x64" + bytes(100))
            two.ended()
        broker.await_conns(1)
        equal(codes(PORT, [ALICE]), [5])
        one.ping()
        broker.await_conns(1)
        reload("connection_messages false\nlog_timestamp false\n")
        before = log.read_text()
        with client("quiet", **ALICE), client("quiet2", **ALICE):
            pass
        broker.await_conns(1)
        said = log.read_text()[len(before):]
        assert "onnected" not in said, said
        assert "Sending CONNACK to quiet (0, 0)" in said, said
        one.ping()


@test("SIGHUP: listeners, persistence and user stay, which is said")
def reload_fixed(broker):
    broker.restart(broker.users())
    with client("one", **ALICE) as one:
        broker.reload(broker.users(f"listener {PORT + 5} 127.0.0.1\n"
                                   "persistence true\n"))
        broker.await_line("Listeners are not opened or closed")
        broker.await_line("have no effect before kmqttd is restarted")
        one.ping()
        with contextlib.suppress(ConnectionRefusedError):
            Client(("127.0.0.1", PORT + 5))
            raise AssertionError("it listens")
        client("two", **ALICE).close()


@test("SIGHUP: what CONNACK has allowed is allowed as long as the connection,"
      " by the next daemon, too")
def reload_allowed(broker):
    broker.restart(broker.users("max_inflight_messages 5\n"))
    with mqtt5.client("one", **ALICE) as one:
        equal(one.connack.get(mqtt5.RECEIVE_MAX), 5)
        broker.reload(broker.users("max_inflight_messages 1\nmax_qos 1\n"
                                   "max_packet_size 100\n"))
        for number in range(1, 6):
            one.send(mqtt5.publish("t", bytes(200), 4, number))
            one.acknowledged(PUBREC, number)
        broker.replace()
        for number in range(1, 6):
            one.send(acknowledge(PUBREL, number))
            one.acknowledged(PUBCOMP, number)
        for number in range(1, 6):
            one.send(mqtt5.publish("t", bytes(200), 4, number))
            one.acknowledged(PUBREC, number)
        one.send(mqtt5.publish("t", b"", 4, 6))
        one.disconnected(0x93)
    with mqtt5.client("one", **ALICE) as one:
        equal([one.connack.get(what) for what in
               (mqtt5.RECEIVE_MAX, mqtt5.MAX_QOS, mqtt5.MAX_PACKET)],
              [1, 1, 100])
        one.send(mqtt5.publish("t", b"", 4, 1))
        one.disconnected(0x9b)


@test("SIGHUP: memory_limit and max_connection_rate count at once; that"
      " orphan_timeout stays is said")
def reload_limits(broker):
    def memory_limit():
        return broker.nl.stats()["memory_limit"]

    broker.restart(broker.users())
    equal(memory_limit(), 0)
    broker.reload(broker.users("memory_limit 100000000\n"
                               "max_connection_rate 1\n"))
    wait_until(memory_limit, "a limit")
    begin = time.monotonic()
    for _ in range(4):
        client(**ALICE).close()
    took = time.monotonic() - begin
    assert took > 2, f"after {took:.2f} s"
    broker.reload(broker.users("orphan_timeout 5\n"))
    wait_until(lambda: not memory_limit(), "no limit")
    broker.await_line("Changes of orphan_timeout.* have no effect")
    broker.daemon.send_signal(signal.SIGUSR1)
    broker.await_line("SIGUSR1 ignored")
    client(**ALICE).close()


@test("SIGHUP without a configuration file: it says so, and goes on")
def reload_nothing(broker):
    broker.stop()
    broker.daemon = broker.run_command(broker.program)
    broker.await_ready()
    broker.daemon.send_signal(signal.SIGHUP)
    broker.await_line("SIGHUP ignored")
    client().close()
    broker.daemon.send_signal(signal.SIGTERM)
    equal(broker.daemon.wait(TIMEOUT), 0)
    broker.start_daemon(broker.own_config)


@test("SIGHUP as another user: his log file; a file that he cannot read is said")
def reload_as_user(broker):
    broker.stop()
    os.chown(broker.directory, NOBODY, NOBODY)
    log = broker.directory / "log"
    config = broker.users(f"user nobody\nlog_dest stderr\nlog_dest file {log}\n")
    broker.start_daemon(config)
    log.rename(broker.directory / "log.1")
    broker.reload(config)
    assert log.stat().st_uid == NOBODY
    broker.reload(config)
    assert "SIGHUP will have no effect" not in broker.said()
    broker.passwords.chmod(0o600)
    broker.restart(config)
    broker.await_line("SIGHUP will have no effect: .*passwords: Permission")
    broker.reload(config, good=False)
    client("one", **ALICE).close()
    broker.passwords.chmod(0o644)


@test("--test-config reads password files, too: exit status 3")
def test_config(broker):
    path = broker.directory / "tested.conf"
    path.write_text(broker.users())
    for lines, wanted in ((USERS, 0), (USERS + line("alice", "x"), 3),
                          ("x:y\n", 3), (USERS, 0)):
        broker.write(lines)
        done = subprocess.run([broker.program, "-c", path, "--test-config"],
                              capture_output=True, check=False)
        equal(done.returncode, wanted, done)
        assert not wanted or b"Error found at" in done.stderr, done
    client("one", **ALICE).close()


main(Auth())
