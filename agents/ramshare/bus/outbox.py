"""Publications on their way to the broker: what it has not acknowledged yet, and what waits for a connection."""

import threading
import time
from dataclasses import dataclass, replace
from math import ceil

from ramshare.bus.backlog import Backlog
from ramshare.bus.wire import Packet

MAX_INFLIGHT = 20
"""Publications sent and not acknowledged; as the broker's `max_inflight_messages`. paho would take any number more, and
keep them: 98,400 refusals were half a gigabyte, and each turn of its loop went through all of them (measured)."""


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
        self._in_flight = 0
        """Of those sent, the publications."""
        self._waiting: Backlog[Outgoing] = Backlog()
        self._in_session = False
        self._empty = threading.Event()
        self._empty.set()

    def keep(self, outgoing: Outgoing) -> Outgoing | None:
        """Have it wait for its turn; return what had to go for it."""
        lost = self._waiting.put(outgoing.packet, outgoing)
        self._look()
        return lost

    def next(self) -> Outgoing | None:
        """Take what is to be sent now: what has waited longest, if not too much is under way already."""
        return self._waiting.take() if self._in_flight < MAX_INFLIGHT else None

    def sent(self, number: int, what: Outgoing | str) -> None:
        """Note a publication, or a subscription by its filter, whose acknowledgement will carry `number`."""
        self._in_flight += isinstance(what, Outgoing)
        self._sent[number] = what
        self._look()

    def acknowledged(self, number: int) -> Outgoing | str | None:
        """Strike off and return what was sent under `number`; then more may be sent."""
        what = self._sent.pop(number, None)
        self._in_flight -= isinstance(what, Outgoing)
        return what

    def session_begins(self) -> list[Outgoing]:
        """Take all that waits: it goes out after what every session begins with."""
        self._in_session = True
        return self._take_all()

    def session_ended(self) -> None:
        """Have what was not acknowledged wait for the next session, except states: those are published anew."""
        unsure = [what for what in self._sent.values() if isinstance(what, Outgoing)]
        waited = self._take_all()
        self._sent.clear()
        self._in_flight = 0
        self._in_session = False
        for outgoing in (*unsure, *waited):
            if not outgoing.packet.retain:
                self._waiting.put(outgoing.packet, outgoing)
        self._look()

    def __len__(self) -> int:
        """Publications that the broker has not acknowledged, sent or not."""
        return self._in_flight + len(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether the broker has acknowledged everything, or there is no session."""
        self._look()
        return self._empty.is_set()

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until the broker has acknowledged everything, or there is no session."""
        return self._empty.wait(timeout_s)

    def _take_all(self) -> list[Outgoing]:
        taken = []
        while (outgoing := self._waiting.take()) is not None:
            taken.append(outgoing)
        return taken

    def _look(self) -> None:
        if self._in_session and (self._sent or self._waiting):
            self._empty.clear()
        else:
            self._empty.set()
