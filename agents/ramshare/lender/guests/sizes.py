"""How large a guest is meant to be: what it had when it was first seen, as long as its owner does not say otherwise.

Only what we took is given back. What a guest has changes because we asked (then it lies between where it was and what
it was asked for), because its owner set it, or because it starts anew and its balloon is empty until its driver runs.
No hypervisor says which. No I/O; used by `host_guests.py`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ramshare.lender.guests.balloon import STEP_BYTES
from ramshare.linux.hypervisor import BalloonNote, Guest

log = logging.getLogger(__name__)

OWNER_MEANS_IT_S = 60.0
"""A guest that has had more for so long was given it; one that starts has loaded its balloon's driver by then."""


@dataclass(frozen=True)
class GuestSize:
    """What one guest may have, and where our asking can have left it (`low_bytes` to `high_bytes`)."""

    most_bytes: int
    asked_bytes: int
    low_bytes: int
    high_bytes: int
    more_since_s: float | None = None
    """Since when it has had more than we can have given it; None: it has not."""

    @classmethod
    def first_seen(cls, actual_bytes: int, note: BalloonNote | None = None, max_bytes: int = 0) -> "GuestSize":
        """Return the size of a guest that is new to us; `note` is what another run, or another host, took from it.

        A note that cannot be true of a guest with `max_bytes` counts for nothing.
        """
        if note is None or not 0 <= note.asked_bytes <= note.most_bytes <= max_bytes:
            return cls(actual_bytes, actual_bytes, actual_bytes, actual_bytes)
        return cls(note.most_bytes, note.asked_bytes, note.asked_bytes, note.most_bytes)

    @property
    def note(self) -> BalloonNote | None:
        """What to keep with the guest: nothing if nothing of it is held."""
        return BalloonNote(self.most_bytes, self.asked_bytes) if self.asked_bytes < self.most_bytes else None

    @property
    def settled(self) -> bool:
        """Whether its balloon may be used; a guest that starts, or is being set by its owner, is left alone."""
        return self.more_since_s is None

    def seen(self, actual_bytes: int, now_s: float) -> "GuestSize":
        """Return the size after a look: what we cannot have caused is the owner's word."""
        if actual_bytes < self.low_bytes - STEP_BYTES:
            return self.first_seen(actual_bytes)
        if actual_bytes > self.high_bytes + STEP_BYTES:
            since_s = now_s if self.more_since_s is None else self.more_since_s
            if now_s - since_s >= OWNER_MEANS_IT_S:
                return self.first_seen(actual_bytes)
            return replace(self, more_since_s=since_s)
        if abs(actual_bytes - self.asked_bytes) < STEP_BYTES:
            return replace(self, low_bytes=self.asked_bytes, high_bytes=self.asked_bytes, more_since_s=None)
        return replace(self, more_since_s=None)

    def asked(self, target_bytes: int, actual_bytes: int) -> "GuestSize":
        """Return the size after a guest that has `actual_bytes` was asked to have `target_bytes`."""
        reach = (self.low_bytes, self.high_bytes, target_bytes, actual_bytes)
        return replace(self, asked_bytes=target_bytes, low_bytes=min(reach), high_bytes=max(reach))


class GuestSizes:
    """The sizes of the guests that run here now."""

    def __init__(self) -> None:
        self._sizes: dict[str, GuestSize] = {}
        self._runs: dict[str, int] = {}

    def take(self, guests: Sequence[Guest], now_s: float) -> set[str]:
        """Note how large each guest is at a look; return the UUIDs of those that are new here, or were started anew."""
        new = {
            guest.uuid for guest in guests if self._runs.get(guest.uuid) != guest.run or guest.uuid not in self._sizes
        }
        sizes = {}
        for guest in guests:
            first = GuestSize.first_seen(guest.actual_bytes, guest.note, guest.max_bytes)
            known = first if guest.uuid in new else self._sizes[guest.uuid]
            size = sizes[guest.uuid] = known.seen(guest.actual_bytes, now_s)
            if size.most_bytes != known.most_bytes:
                log.info("%s was set to %d MiB: that is its size from now on", guest.name, size.most_bytes >> 20)
        self._sizes, self._runs = sizes, {guest.uuid: guest.run for guest in guests}
        return new

    def meant(self, guest: Guest) -> Guest:
        """Return the guest with the most that it is meant to have, or has, in place of what its definition allows."""
        return replace(guest, max_bytes=max(self._sizes[guest.uuid].most_bytes, guest.actual_bytes))

    def settled(self, uuid: str) -> bool:
        """See `GuestSize.settled`."""
        return self._sizes[uuid].settled

    def asked(self, guest: Guest, target_bytes: int) -> BalloonNote | None:
        """Note what a guest is asked to have; return what to keep with it."""
        size = self._sizes[guest.uuid] = self._sizes[guest.uuid].asked(target_bytes, guest.actual_bytes)
        return size.note
