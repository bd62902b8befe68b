"""Publications on their way to the broker: what it has not acknowledged yet, and what waits for a connection."""

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from math import ceil

from ramshare.bus.wire import Packet

MAX_WAITING = 1_000
"""Publications kept while there is no session; the oldest goes first."""


@dataclass(frozen=True)
class Outgoing:
    """A packet and until when (monotonic clock) it is of use."""

    packet: Packet
    deadline: float

    @classmethod
    def of(cls, packet: Packet) -> "Outgoing":
        """Start the packet's time."""
        return cls(packet, time.monotonic() + (float("inf") if packet.expiry_s is None else packet.expiry_s))

    def renewed(self, now: float) -> "Outgoing | None":
        """Return it with the time that is left, None if it is over."""
        remaining_s = self.deadline - now
        if remaining_s <= 0:
            return None
        if self.packet.expiry_s is None:
            return self
        return replace(self, packet=replace(self.packet, expiry_s=ceil(remaining_s)))


class Outbox:
    """The caller serialises the calls, except `wait_until_empty`."""

    def __init__(self) -> None:
        self._sent: dict[int, Outgoing | str] = {}
        self._waiting: deque[Outgoing] = deque()
        self._empty = threading.Event()
        self._empty.set()

    def sent(self, number: int, what: Outgoing | str) -> None:
        """Note a publication, or a subscription by its filter, whose acknowledgement will carry `number`."""
        self._empty.clear()
        self._sent[number] = what

    def acknowledged(self, number: int) -> Outgoing | str | None:
        """Strike off and return what was sent under `number`."""
        what = self._sent.pop(number, None)
        if not self._sent:
            self._empty.set()
        return what

    def keep(self, outgoing: Outgoing) -> Outgoing | None:
        """Have it wait for a session; return what had to go for it."""
        self._waiting.append(outgoing)
        return self._waiting.popleft() if len(self._waiting) > MAX_WAITING else None

    def session_ended(self) -> None:
        """Have what was not acknowledged wait for the next session, except states: those are published anew."""
        unsure = [what for what in self._sent.values() if isinstance(what, Outgoing) and not what.packet.retain]
        self._sent.clear()
        self._waiting.extendleft(reversed(unsure))
        self._empty.set()

    def waiting(self) -> list[Outgoing]:
        """Take all that waits, oldest first."""
        taken, self._waiting = self._waiting, deque()
        return list(taken)

    @property
    def empty(self) -> bool:
        """Whether the broker has acknowledged everything."""
        return self._empty.is_set()

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged everything, or there is no session."""
        return self._empty.wait(timeout_s)
