#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""acl_file, QoS 0 (the module judges) and above (the daemon does), and beside
mosquitto with the same file.
"""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile

import mqtt5
from broker import CONFIG, PORT, Broker, client
from ktap import Skip, equal, main, note, seed, test, times, wait_until
from mqtt import publish

MOSQUITTO = "/usr/sbin/mosquitto"
PEER_PORT = 1899

fixture_dir = pathlib.Path(tempfile.mkdtemp(prefix="acl."))
fixture_dir.chmod(0o755)
acl_file = fixture_dir / "acl"

# Who reads and writes everything, to see what others do.
ADMIN = "user admin\ntopic readwrite #\ntopic readwrite $q/#\n"


def config(text=None):
    """Return a configuration with this acl_file."""
    if text is not None:
        acl_file.write_text(text)
    return f"{CONFIG}acl_file {acl_file}\n"


def rewrite(fixture, text):
    """Run the broker with another acl_file."""
    fixture.restart(config(text))


def admin(**fields):
    """A client that may do everything."""
    return client("admin", username="admin", **fields)


class Rules(Broker):
    """Fixture: a daemon with an acl_file."""

    def __init__(self):
        super().__init__(config(ADMIN))


@contextlib.contextmanager
def mosquitto(text):
    """A mosquitto with this acl_file."""
    if not os.access(MOSQUITTO, os.X_OK):
        raise Skip("there is no mosquitto")
    (fixture_dir / "peer.acl").write_text(text)
    (fixture_dir / "peer.conf").write_text(
        f"listener {PEER_PORT} 127.0.0.1\nallow_anonymous true\nuser root\n"
        f"acl_file {fixture_dir}/peer.acl\nset_tcp_nodelay true\n")
    with subprocess.Popen([MOSQUITTO, "-c", fixture_dir / "peer.conf"],
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        def there():
            with contextlib.suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", PEER_PORT)).close()
                return True
            return False
        try:
            wait_until(there, "mosquitto")
            yield
        finally:
            process.kill()


def outcome(fixture, topics, client_id, user, qos, port=PORT):
    """Return the topics of those that this client may write, and may read."""
    address = ("127.0.0.1", port)
    with admin(address=address) as one, \
            client(client_id, address, username=user) as other:
        one.subscribe(("#", qos), ("$q/#", qos))
        other.publish_all([(topic, b"w") for topic in topics], qos)
        other.ping()
        one.publish("end", b"", qos)
        written = [m[0] for m in one.until("end")]
        other.subscribe(("#", qos), ("$q/#", qos), ("end/#", qos))
        if port == PORT:
            fixture.await_known(other)  # a PINGRESP overtakes what is held
        one.publish_all([(topic, b"r") for topic in topics], qos)
        # Both have been judged when what comes after both is there.
        one.publish("end", b"", qos)
        one.until("end")
        one.ping()
        # A worker answers before it delivers what has come meanwhile.
        other.ping()
        other.ping()
        read = []
        while other.inbox:
            read.append(other.message()[0])
            if not other.inbox:
                # More may have waited for the acknowledgments.
                other.unsubscribe("nothing of that name")
        return written, sorted(set(read))


CASES = """\
topic write a/#
topic deny a/b/#
topic read a/c
topic readwrite lit/%c
topic $q/1
user joe
topic read joe/+
topic joe/own/#
user bob smith
topic write bob
user joe
topic deny joe/own/not
pattern write c/%c/#
pattern x-%c
pattern read u/%u
pattern deny c/%c/no
pattern w%uz
""" + ADMIN
TOPICS = ["a", "a/1", "a/b", "a/b/1", "a/c", "lit/%c", "lit/me", "$q/1", "$q/2",
          "joe/a", "joe/own/1", "joe/own/not", "joe/own", "bob", "c/me/1",
          "c/me", "c/me/no", "c/you", "x-me", "u/joe", "u/", "wjoez", "wz",
          "c/x/y/1", "x-x/y", "plain", "/", "$SYS/a"]
WHO = [("me", None), ("me", ""), ("me", "joe"), ("me", "bob smith"),
       ("me", "else"), ("x/y", None), ("m+", "joe"), ("m#", None),
       ("me", "jo#"), ("me", "a/b")]


@test("what may be written and read, at QoS 0 and 1, and in mosquitto")
def _(fixture):
    rewrite(fixture, CASES)
    with mosquitto(CASES):
        for client_id, user in WHO:
            ours = [outcome(fixture, TOPICS, client_id, user, qos)
                    for qos in (0, 1)]
            theirs = outcome(fixture, TOPICS, client_id, user, 1, PEER_PORT)
            equal(ours[0], ours[1], f"QoS 0 and 1 of {client_id}, {user}")
            equal(ours[1], theirs, f"ours, mosquitto's of {client_id}, {user}")


@test("QoS 2 is judged as QoS 1 is")
def _(fixture):
    rewrite(fixture, CASES)
    equal(outcome(fixture, TOPICS, "me", "joe", 2),
          outcome(fixture, TOPICS, "me", "joe", 1))


LEVELS = ["a", "b", "", "joe", "me"]


def random_acl(rng):
    """Return a random acl_file."""
    lines = []
    for _ in range(rng.randrange(12)):
        kind = rng.choice(["topic", "topic", "pattern", "user"])
        if kind == "user":
            lines.append(f"user {rng.choice(['joe', 'bob', 'a b'])}")
            continue
        levels = [rng.choice(LEVELS + ["+", "%c", "%u", "x%c"])
                  for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.4:
            levels.append("#")
        access = rng.choice(["read", "write", "readwrite", "deny"])
        lines.append(f"{kind} {access} {'/'.join(levels) or 'a'}")
    return "\n".join(lines) + "\n" + ADMIN


@test("random rules: the module, the daemon and mosquitto agree")
def _(fixture):
    rng = seed()
    for _ in range(times(3)):
        text = random_acl(rng)
        topics = {"/".join(rng.choice(LEVELS)
                           for _ in range(rng.randint(1, 4))) or "a"
                  for _ in range(30)}
        topics = sorted(topics)
        rewrite(fixture, text)
        with mosquitto(text):
            for who in ("me", None), ("me", "joe"), ("a/b", "bob"):
                said = f"{who} with\n{text}"
                daemon = outcome(fixture, topics, *who, 1)
                equal(outcome(fixture, topics, *who, 0), daemon,
                      f"QoS 0 of {said}")
                equal(outcome(fixture, topics, *who, 1, PEER_PORT), daemon,
                      f"mosquitto of {said}")


@test("an empty file denies everything, and SUBSCRIBE is still accepted "
      "[CVE-2018-12550]")
def _(fixture):
    rewrite(fixture, "")
    with client("a") as one, client("b") as other:
        equal(other.subscribe(("#", 1)), [1])
        for qos in 0, 1, 2:
            one.publish("x", b"", qos)
        one.ping()
        other.quiet()
    wait_until(lambda: fixture.nl.stats()["conns"] == 0, "ended")


@test("retained messages are judged when they are sent, and written "
      "[secnote-2026-26]")
def _(fixture):
    rewrite(fixture, ADMIN + "user joe\ntopic read r/a\ntopic write r/w\n")
    with admin() as one:
        for qos in 0, 1:
            for topic in "r/a", "r/b":
                one.publish(topic, b"%d" % qos, qos, True)
    with client("joe", username="joe") as joe:
        for qos in 0, 1:
            joe.publish("r/b", b"bad", qos, True)
            joe.publish("r/w", b"good", qos, True)
        joe.subscribe(("r/#", 1))
        equal(joe.message(), ("r/a", b"1"))
        joe.quiet()
    with admin() as one:
        one.subscribe(("r/#", 1))
        equal(sorted(one.messages(3)),
              [("r/a", b"1"), ("r/b", b"1"), ("r/w", b"good")])
        for topic in "r/a", "r/b", "r/w":
            one.publish(topic, b"", 1, True)


@test("check_retain_source: retained messages of who may not publish there any"
      " more do not arrive, after kill -9 either [CVE-2018-12546]")
def _(fixture):
    rules = [f"{ADMIN}user joe\ntopic {kind} r/#\n" for kind in
             ("write", "deny")]
    for option, kept in ("", False), ("check_retain_source false\n", True):
        fixture.restart(fixture.persistent(config(rules[0]) + option))
        with client("joe", username="joe") as joe:
            for qos in range(3):
                joe.publish(f"r/{qos}", b"joe's", qos, True)
        with admin() as one:
            one.publish("r/admin", b"admin's", 1, True)
        for change, wanted in ((None, True), (reload, kept), (crash, kept)):
            if change:
                change(fixture, rules[1])
            with admin() as one:
                one.subscribe(("r/#", 2))
                topics = ["r/0", "r/1", "r/2"] * wanted + ["r/admin"]
                equal(sorted(one.messages(len(topics))),
                      [(topic, b"joe's") for topic in topics[:-1]] +
                      [("r/admin", b"admin's")])
                one.quiet()
    fixture.restart(fixture.own_config)


@test("wills are judged when they are published")
def _(fixture):
    rewrite(fixture, ADMIN + "user joe\ntopic write w/yes/#\n")
    with admin() as one:
        one.subscribe(("#", 2))
        for qos in 0, 1, 2:
            for topic in f"w/no/{qos}", f"w/yes/{qos}":
                client(f"joe{topic}", username="joe",
                       will=(topic, b"", qos, False)).reset()
            equal(one.message()[0], f"w/yes/{qos}")


@test("a will that was stored is judged by the rules of when it is published")
def _(fixture):
    broker = fixture.persistent(config(ADMIN + "user joe\ntopic write w/#\n"))
    fixture.restart(broker)
    with admin(clean=False) as one:
        one.subscribe(("w/#", 1))
        one.disconnect()
    for name in "denied", "allowed":
        mqtt5.client(name, username="joe", properties=mqtt5.lasting(),
                     will=(f"w/{name}", b"gone", 1, False),
                     will_properties=[(mqtt5.WILL_DELAY, 2)]).close()
    fixture.await_conns(0)
    # Its CONNACK waits for the disk, to which the wills have gone before.
    with mqtt5.client("later", username="joe", properties=mqtt5.lasting()):
        pass
    config(ADMIN + "user joe\ntopic write w/allowed\n")
    fixture.restart(broker)
    with admin(clean=False, present=True) as one:
        equal(one.message(), ("w/allowed", b"gone"))
        one.quiet()


@test("what is queued is judged when it is queued, and when it is sent "
      "[CVE-2021-34434]")
def _(fixture):
    text = ADMIN + "user joe\ntopic read q/#\ntopic deny q/no\n"
    acl_file.write_text(text)
    fixture.restart(fixture.persistent(config()))
    with client("joe", username="joe", clean=False) as joe:
        joe.subscribe(("#", 1))
        joe.disconnect()
    with admin() as one:
        for topic in "q/no", "q/1", "x", "q/2", "q/3":
            one.publish(topic, b"", 1)
    acl_file.write_text(ADMIN + "user joe\ntopic read #\ntopic deny q/2\n")
    fixture.crash()
    with client("joe", username="joe", clean=False, present=True) as joe:
        equal([m[0] for m in joe.messages(2)], ["q/1", "q/3"])
        joe.quiet()
    with client("joe", username="joe"):
        pass


@test("per_listener_settings: each listener's own file [CVE-2018-20145]")
def _(fixture):
    other = fixture_dir / "other"
    other.write_text("topic write b\n" + ADMIN)
    acl_file.write_text("topic write a\n" + ADMIN)
    fixture.restart(
        f"per_listener_settings true\n{CONFIG}acl_file {acl_file}\n"
        f"listener 1884 127.0.0.1\nallow_anonymous true\nacl_file {other}\n"
        "listener 1885 127.0.0.1\nallow_anonymous true\n")
    with admin() as one:
        one.subscribe(("#", 0))
        for port, allowed in (1883, "a"), (1884, "b"), (1885, "ab"):
            with client("x", ("127.0.0.1", port)) as two:
                for topic in "ab":
                    two.publish(topic, b"%d" % port, 0)
                    two.publish(topic, b"%d" % port, 1)
                for topic in allowed:
                    equal(set(one.messages(2)), {(topic, b"%d" % port)})
        one.quiet()


def reload(fixture, text):
    """Swap the rules, and wait until they are in force."""
    before = fixture.said().count("The access rules are in force.")
    acl_file.write_text(text)
    fixture.daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: fixture.said().count("The access rules are in force.") >
               before, "in force")


def crash(fixture, _):
    """Kill the daemon, and start another."""
    fixture.crash()


@test("SIGHUP swaps the rules of those who live, and loses nothing")
def _(fixture):
    texts = [ADMIN + f"user joe\ntopic read always/#\ntopic write out\n"
             f"topic {kind} at/times\n" for kind in ("readwrite", "deny")]
    rewrite(fixture, texts[0])
    with admin() as one, client("joe", username="joe") as joe, \
            client("x", username="else") as other:
        joe.subscribe(("#", 1))
        one.subscribe(("at/#", 1), ("out", 0))
        for number in range(times(20)):
            may = not number % 2
            reload(fixture, texts[not may])
            for qos in 0, 1:
                for topic in "always/1", "at/times", "always/2":
                    one.publish(topic, b"%d" % number, qos)
                equal(sorted(m[0] for m in joe.messages(2 + may)),
                      sorted(["at/times"] * may + ["always/1", "always/2"]))
                if may:
                    equal(one.message()[0], "at/times")
                else:
                    equal(one.message(), ("at/times", b"%d" % number))
                joe.publish("at/times", b"joe", qos)
                joe.publish("out", b"", qos)
                joe.ping()
                if may:
                    equal(joe.message(), ("at/times", b"joe"))
                    equal(sorted(one.messages(2)),
                          [("at/times", b"joe"), ("out", b"")])
                else:
                    equal(one.message(), ("out", b""))
        before = fixture.said().count("Error found at")
        acl_file.write_text("bogus\n")
        fixture.daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: fixture.said().count("Error found at") > before,
                   "refused")
        one.publish("always/1", b"still", 0)
        equal(joe.message(), ("always/1", b"still"))
        reload(fixture, ADMIN)
        one.publish("always/1", b"", 1)
        joe.ping()
        joe.quiet()
        other.ping()


@test("users with the same rules share a set")
def _(fixture):
    rewrite(fixture, ADMIN + "".join(
        f"user u{i}\ntopic same\ntopic same/{i % 2}\n" for i in range(100)))
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(client(f"c{i}", username=f"u{i}"))
                 for i in range(20)]
        for one in users:
            one.ping()
        sets = {r["client_id"]: r["rules_id"] for r in fixture.nl.conns()}
        equal(len(set(sets.values())), 2)
        equal(sets[b"c0"], sets[b"c18"])
        equal([r["user_name"] for r in fixture.nl.conns()
               if r["client_id"] == b"c3"], [b"u3"])


@test("a large file, and rules that take several messages")
def _(fixture):
    lines = [f"topic read many/{i}/{'x' * 500}" for i in range(1000)]
    rewrite(fixture, ADMIN + "user joe\n" + "\n".join(lines) + "\ntopic last\n")
    equal(outcome(fixture, ["last", "first"], "x", "joe", 0),
          (["last"], ["last"]))


BAD = [("topic", "Empty topic"), ("topic foo bar", "Invalid topic access type"),
       ("user", "Missing username"), ("user ", "Missing username"),
       ("topic write a/#/b", "Invalid ACL topic"), ("bogus", "Invalid line"),
       ("\ttopic write x", "Invalid line"), (" # comment", "Invalid line"),
       ("topic a\0b", "NUL character")]


@test("a file that is wrong is named, and the line")
def _(fixture):
    for line, text in BAD:
        path = fixture_dir / "bad"
        path.write_text(f"# comment\n\ntopic ok\n{line}\n")
        conf = fixture_dir / "bad.conf"
        conf.write_text(f"{CONFIG}acl_file {path}\n")
        done = subprocess.run([fixture.program, "-c", conf, "--test-config"],
                              capture_output=True, text=True, check=False)
        equal(done.returncode, 3, f"exit status for {line!r}")
        assert f"{text}" in done.stderr, done.stderr
        assert f"Error found at {path}:4." in done.stderr, done.stderr
    conf.write_text(f"{CONFIG}acl_file {fixture_dir}/none\n")
    done = subprocess.run([fixture.program, "-c", conf, "--test-config"],
                          capture_output=True, text=True, check=False)
    equal(done.returncode, 3, "exit status without a file")
    assert f'Unable to open acl_file "{fixture_dir}/none"' in done.stderr


@test("kmqttctl shows what was denied")
def _(fixture):
    rewrite(fixture, "topic write a\n" + ADMIN)
    with client("x") as one:
        one.send(publish("b"), publish("b"), publish("a"))
        one.ping()
        done = subprocess.run(["tools/kmqttctl", "-j", "conns"],
                              capture_output=True, text=True, check=True,
                              cwd=pathlib.Path(__file__).parents[2])
        assert re.search(r'"denied_publishes": ?2', done.stdout), done.stdout


main(Rules())
