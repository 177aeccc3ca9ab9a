#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Topic filters (section 4.7), against a matcher of our own."""

from broker import Broker, client
from ktap import equal, main, seed, test
from mqtt import publish, subscribe

# All of the examples of 4.7.1 to 4.7.3, and what brokers got wrong.
FILTERS = """
    # + +/+ +/+/+ +/# /+ /# +/ // //# +/+/# /+/ ///
    sport/tennis/player1/# sport/# sport/tennis/# sport/tennis/+ sport/+ sport
    sport/ sport/+/player1 +/tennis/# sport/+/# +/+/player1 sport/tennis/player1
    /finance finance +/finance/# /+/+ finance/#
    $SYS/# $SYS/monitor/+ +/monitor/Clients $SYS/+/Clients $SYS $SYS/monitor/#
    +/monitor/# $ $/# $share $other/+
    ACCOUNTS Accounts accounts accounts/+ ACCOUNTS/Payable
    a/b/c/d a/+/c/d a/b/+/d a/+/+/d +/+/+/+ a/# a/b/c/d/# a/b/c/d/e/#
    a//b a/+/b a//# a/+/# a//+ //b +//b a/ a//
    ü/+ ü/# ü u\u0308 \u00e9 e\u0301 日本語/+ +/東京 \ufeffa a \U0010ffff
    \x01 \x7f x y/x x/y x/x x/x/x aa
""".split() + ["Accounts payable", "with space/+", " ", " /#", "+/ "]

TOPICS = """
    sport/tennis/player1 sport/tennis/player1/ranking
    sport/tennis/player1/score/wimbledon sport sport/ sport/tennis
    sport/tennis/ sport/tennis/player2 sport/tennis/player1/ports sportx
    /finance finance /finance/ /finance/x finance/x
    / // /// //// a a/ /a /a/ a/b
    $SYS $SYS/ $SYS/monitor/Clients $SYS/monitor $SYS/monitor/ $SYS/x/Clients
    $ $/ $/a $share $share/g/a $other/a $other /$SYS a/$SYS
    ACCOUNTS Accounts accounts ACCOUNTS/Payable accounts/Payable
    a/b/c a/b/c/d a/b/c/d/ a/b/c/d/e a/x/c/d a/b/x/d a/x/y/d a/b/c/x
    a//b a//b/c a/b/ //b a// a///b b/
    ü ü/x ü/ u\u0308 \u00e9 e\u0301 日本語/x 日本語/東京 東京 \ufeffa \U0010ffff
    \x01 \x7f \U0001f600/\U0001f600 x y x/x y/x x/y x/x/x aa aaa
""".split() + ["Accounts payable", "with space/a b", " ", " /", "/ ", "a/ "]

FENCE = "fence/of/a/test"


def matches(topic_filter, topic):
    """Does it match? Nothing but the rules, one by one."""
    levels, names = topic_filter.split("/"), topic.split("/")
    if topic[0] == "$" and topic_filter[0] in "+#":
        return False
    for i, level in enumerate(levels):
        if level == "#":
            return True  # that many levels are the same: the parent's, too
        if i == len(names) or level not in ("+", names[i]):
            return False
    return len(levels) == len(names)


def check(groups, topics):
    """Subscribe a client to each group of filters; publish; compare."""
    clients = []
    for filters in groups:
        subscriber = client()
        clients.append(subscriber)
        subscriber.send(subscribe(1, *filters, FENCE))
    for subscriber, filters in zip(clients, groups):
        equal(subscriber.subscribed(1), [0] * (len(filters) + 1), filters)

    publisher = client()
    publisher.send(*(publish(topic, topic.encode()) for topic in topics),
                   publish(FENCE))
    for subscriber, filters in zip(clients, groups):
        wanted = [(topic, topic.encode()) for topic in topics
                  if any(matches(f, topic) for f in filters)]
        equal(subscriber.until(FENCE), wanted, filters)
    for subscriber in clients + [publisher]:
        subscriber.close()


@test("the examples of section 4.7, one filter each")
def examples(_):
    equal((len(set(FILTERS)), len(set(TOPICS))), (len(FILTERS), len(TOPICS)))
    check([[f] for f in FILTERS], TOPICS)


@test("the same, all filters of one client: each message comes once")
def together(_):
    check([FILTERS, FILTERS[::2], FILTERS[1::2], FILTERS[::-1]], TOPICS)


@test("random filters and topics")
def at_random(_):
    rand = seed()

    def name(words, most):
        return "/".join(rand.choice(words)
                        for _ in range(rand.randint(1, most)))

    def topic_filter():
        levels = name(["+", "+", "a", "b", "", "$a", "ab"], 5)
        return rand.choice([levels, levels, levels + "/#"])

    topics = (name(["a", "b", "", "$a", "ab"], 5) for _ in range(400))
    topics = [topic for topic in topics if topic]
    groups = [[topic_filter() or "#" for _ in range(rand.randint(1, 6))]
              for _ in range(50)]
    check(groups, topics)


@test("200 levels, and the longest topics")
def large(_):
    deep = "/".join("l" * 200)
    wide = "w" * 65000
    longest = "v" * 65000
    plus = "/".join("+" * 200)
    check([[deep], [plus], [deep[:-2] + "/#"], [deep[:-1] + "#"], [wide],
           ["#"], ["+"], ["+/#"]],
          [deep, deep[:-2], wide, longest, "/" * 199])


main(Broker())
