"""What each guest of a host really uses, from its own report and the hypervisor's word; no I/O. For `HostGuests`.

A guest's kernel keeps some memory that its report does not show: what the hypervisor says it has, less its MemTotal.
Both change with the balloon, and are known at different moments, so that is learnt only while the balloon rests.
"""

import math
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace

from ramshare.linux.hypervisor import Guest
from ramshare.policy.model import GuestSample

SETTLE_S = 2.0
"""A report that arrives so long after a balloon moved is about the guest as it is now."""
RISE_S = 10.0
"""A rise of use counts for so long: two of the monitor's intervals."""


class GuestUse:
    """Bounded by the number of guests; `wall` is the clock of the reports' `at_s`."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._kept_bytes: dict[str, float] = {}
        self._moved_s: dict[str, float] = {}
        """When each balloon last moved; for ever in the future while it is asked to."""
        self._recent: dict[str, deque[tuple[float, float]]] = {}
        """Time and use of each guest's reports of the last `RISE_S`."""

    def moving(self, uuid: str) -> None:
        """Note that a balloon is asked to move."""
        self._moved_s[uuid] = math.inf

    def moved(self, uuid: str) -> None:
        """Note that a balloon has moved, or is not asked to any more."""
        self._moved_s[uuid] = self._wall()

    def seen_to_move(self, uuid: str) -> None:
        """Note that a balloon moves, whoever asked it to."""
        self._moved_s[uuid] = max(self._wall(), self._moved_s.get(uuid, -math.inf))

    def forget_others(self, uuids: Collection[str]) -> None:
        """Drop what is known of any other guest."""
        for table in (self._kept_bytes, self._moved_s, self._recent):
            for uuid in set(table).difference(uuids):
                del table[uuid]

    def sized(self, sample: GuestSample, guest: Guest) -> GuestSample:
        """Return the sample with the hypervisor's size and what the guest's kernel keeps for itself counted as used."""
        if sample.at_s > self._moved_s.get(guest.uuid, -math.inf) + SETTLE_S:
            self._kept_bytes[guest.uuid] = max(0.0, guest.actual_bytes - sample.capacity_bytes)
        kept_bytes = self._kept_bytes.get(guest.uuid, 0.0)
        return replace(sample, capacity_bytes=guest.max_bytes, used_bytes=sample.used_bytes + kept_bytes)

    def rise_bytes(self, uuid: str, sized: GuestSample) -> int:
        """Take a guest's newest report and return how much its use has risen of late."""
        recent = self._recent.setdefault(uuid, deque())
        if recent and sized.at_s < recent[-1][0]:
            recent.clear()  # the clock was set back
        if not recent or sized.at_s > recent[-1][0]:
            recent.append((sized.at_s, sized.used_bytes))
        while recent[0][0] < sized.at_s - RISE_S:
            recent.popleft()
        return int(sized.used_bytes - min(used_bytes for _, used_bytes in recent))
