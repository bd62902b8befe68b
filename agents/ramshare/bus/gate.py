"""Flood control, before anything is decoded: how many requests, events and replies each sender may send.

State is not counted here. It must not be lost, and needs no limit in time: of each topic the newest value alone waits
(`fair.py`), and it is decoded when its turn has come. Replayed state is a subscriber's own wish in any case.

A sender over its rate is not answered, not even with a refusal: an answer would cost more than the request did.
"""

import logging

from ramshare.bus.counters import Counters, Drop
from ramshare.bus.rate import Rate, TokenBuckets
from ramshare.topics import ALLOWED, OWN_HOST, role, served_as

log = logging.getLogger(__name__)

REQUESTS = Rate(per_s=50, burst=2000)
"""For ever: more than twice what a server gets done; a lender makes 211 exports in 10 s (measured). At once: the leases
of 30 volumes (64 each at most), or the benchmark's thousand round trips. How many may wait is the inbox's to say."""
REFUSED = Rate(per_s=1, burst=5)
"""What this sender may not ask of us: a person who mistypes hears why, a flood hears nothing."""
GUESTS_REQUESTS = Rate(per_s=1, burst=20)
"""What a person types; the borrower's own limit is lower, and says so."""
EVENTS = Rate(per_s=100, burst=2000)
"""An agent tells a few steps for each lease; announcing or losing a whole cluster's leases stays below the burst."""
REPLIES = REQUESTS
FOREIGN = Rate(per_s=1, burst=20)
"""Topics that are not ours: for the log only."""

REMEMBERED_SENDERS = 4096
"""At about 300 bytes each."""
LOG_INTERVAL_S = 60.0
"""One line for each sender in this time."""
_ONCE_A_MINUTE = Rate(per_s=1 / LOG_INTERVAL_S, burst=1)


class Gate:
    """Decides by a packet's topic alone whether it is looked at. For one thread, the network's."""

    def __init__(self, me: str, counters: Counters) -> None:
        self._me = me
        self._counters = counters
        self._buckets = TokenBuckets(REMEMBERED_SENDERS)
        self._logged = TokenBuckets(REMEMBERED_SENDERS)

    def admits(self, topic: str, now_s: float) -> bool:
        """Return whether this packet's sender keeps to its rate; if not it is counted, and said once in a while."""
        sender, kind, rate = _judge(self._me, topic)
        if rate is None or self._buckets.take((sender, kind), rate, now_s):
            return True
        self._counters.count(Drop.FLOOD)
        if self._logged.take(sender, _ONCE_A_MINUTE, now_s):
            total = self._counters[Drop.FLOOD]
            who = repr(sender[:80])
            log.warning(
                "%s: %s sends more %s than %g in a second; what is over is dropped unread and unanswered (%d so far)",
                self._me, who, kind, rate.per_s, total,
            )  # fmt: skip
        return False


def _judge(me: str, topic: str) -> tuple[str, str, Rate | None]:
    """Return a packet's sender, what kind of packet it is, and how many of those the sender may send."""
    match topic.split("/", 5)[2:]:
        case ["state", sender, *_]:
            return sender, "state", None
        case ["event", sender, *_]:
            return sender, "events", EVENTS
        case ["request", server, sender, verb]:
            if role(sender) not in ALLOWED.get((served_as(server, me), verb), frozenset()):
                return sender, "requests that it may not make", REFUSED
            if server == OWN_HOST:
                return sender, "requests", GUESTS_REQUESTS
            return sender, "requests", REQUESTS
        case ["reply", _, sender]:
            return sender, "replies", REPLIES
    return "", "foreign topics", FOREIGN
