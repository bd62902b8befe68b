"""The bounded, fair queue between the network and an agent's loop; what has to go is counted and logged."""

import threading
import time
from collections.abc import Callable

from ramshare.bus.api import Arrival
from ramshare.bus.counters import Counters, Drop
from ramshare.bus.fair import Entry, FairQueue, Kind, Limit
from ramshare.bus.wire import Packet

LIMITS = {
    Kind.EVENT: Limit(each=2_000, total=10_000),
    # About 10 MB; an agent that is so far behind does not need the oldest ones.
    Kind.REQUEST: Limit(each=64, total=256),
    # A server works off a few tens in a second, so the last of 64 is served within its client's time-out.
    Kind.STATE: Limit(each=50_000, total=100_000),
    # In all as many as the broker's `max_queued_messages`: a snapshot that got here fits.
}
COALESCE_FROM = 64
"""With so many states of one sender waiting, a newer value of a topic replaces the older one instead of queueing behind
it. Fewer are given out one by one, in order."""

Waiting = Arrival | Packet
"""A packet is a state, decoded when its turn has come: what a newer value replaces is never looked at."""

_DROPS = {Kind.EVENT: Drop.EVENT_OVERFLOW, Kind.REQUEST: Drop.BUSY, Kind.STATE: Drop.STATE_OVERFLOW}


class Inbox:
    """The senders' arrivals in turn, each sender's in order. Safe from any thread."""

    def __init__(
        self, counters: Counters, *, limits: dict[Kind, Limit] | None = None, coalesce_from: int = COALESCE_FROM
    ) -> None:
        self._counters = counters
        self._queue: FairQueue[Waiting] = FairQueue(limits or LIMITS, coalesce_from)
        self._filled = threading.Condition()
        self._wake: Callable[[], None] = lambda: None

    def on_arrival(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something was queued."""
        self._wake = wake

    def put(self, sender: str, entry: Entry[Waiting]) -> Waiting | None:
        """Queue; return what had to go, this or something that waited, if anything had to."""
        with self._filled:
            lost = self._queue.put(sender, entry)
            taken = lost is None or lost[1] is not entry
            if taken:
                self._filled.notify()
        if taken:
            self._wake()
        if lost is None:
            return None
        loser, gone = lost
        self._counters.note(_DROPS[gone.kind], f"of {loser!r}")
        return gone.item

    def put_last(self, item: Waiting) -> None:
        """Queue behind everything that waits: what is told of the connection, and our own marks."""
        with self._filled:
            self._queue.put_last(item)
            self._filled.notify()
        self._wake()

    def next(self, timeout_s: float) -> Waiting | None:
        """Return the oldest arrival of the sender whose turn it is, waiting up to `timeout_s` for one."""
        deadline = time.monotonic() + timeout_s
        with self._filled:
            while (found := self._queue.take()) is None:
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    return None
                self._filled.wait(remaining_s)
            return found

    def __len__(self) -> int:
        with self._filled:
            return len(self._queue)
