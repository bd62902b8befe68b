"""Counts what the bus dropped, and says so in the log without flooding it and without any payload."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
"""One line per kind in this time; the count in it tells how many there were."""


class Drop(StrEnum):
    """Why something was not delivered."""

    FOREIGN = "foreign topic"
    MALFORMED = "malformed message"
    OVERSIZED = "oversized message"
    UNEXPECTED = "unexpected reply"
    EVENT_OVERFLOW = "event, the queue was full"
    STATE_OVERFLOW = "state, the queue was full"
    BUSY = "request, too many were waiting"
    FLOOD = "message of a sender over its rate"
    BROKER = "message that the broker dropped, its queue was full"
    REFUSED = "publication that the broker refused"


class Counters:
    """Drops by kind; safe from any thread."""

    def __init__(self, client: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._counts: Counter[Drop] = Counter()
        self._logged: dict[Drop, float] = {}
        self._lock = threading.Lock()

    def note(self, kind: Drop, detail: str, count: int = 1) -> None:
        """Count and, at most every `LOG_INTERVAL_S`, log. `detail` must not hold anything of a payload."""
        now = self._clock()
        total = self.count(kind, count)
        with self._lock:
            quiet = now - self._logged.get(kind, -LOG_INTERVAL_S) < LOG_INTERVAL_S
            if not quiet:
                self._logged[kind] = now
        if not quiet:
            log.warning("%s: dropped %s: %s (%d so far)", self._client, kind.value, detail, total)

    def count(self, kind: Drop, count: int = 1) -> int:
        """Count without a word, for what has its own way of saying so; return how many there are."""
        with self._lock:
            self._counts[kind] += count
            return self._counts[kind]

    def __getitem__(self, kind: Drop) -> int:
        with self._lock:
            return self._counts[kind]

    def snapshot(self) -> dict[str, int]:
        """Return every count that is not zero."""
        with self._lock:
            return {kind.name.lower(): count for kind, count in self._counts.items() if count}
