"""The newest report of each guest, with the time at which it can be said to be true. No I/O; used by the lender.

A guest's clock may be wrong by hours, so what counts is when a report arrived, on the lender's own clock. A report that
arrives a second time (a guest that reconnects sends its last one again) is as old as it was before; of one that the
broker had in store nobody knows the age, so there the guest's word must do until its next report.
"""

from collections.abc import Iterator

from ramshare.messages.state import Memory
from ramshare.policy.model import GuestSample


class GuestReports:
    """What the guests of one host said last."""

    def __init__(self) -> None:
        self._samples: dict[str, GuestSample] = {}
        self._stamps: dict[str, tuple[str, float]] = {}
        """Run of the monitor and its own time of the last report: together they tell a repetition."""

    def take(self, guest: str, memory: Memory, now_s: float, *, stored: bool) -> None:
        """Note a report that arrived at `now_s`; `stored` if the broker had kept it."""
        stamp = (memory.instance, memory.at.timestamp())
        if guest in self._samples and self._stamps.get(guest) == stamp:
            return
        self._stamps[guest] = stamp
        self._samples[guest] = GuestSample(
            guest=guest,
            at_s=stamp[1] if stored else now_s,
            capacity_bytes=memory.total_bytes,
            used_bytes=memory.used_bytes,
            swap_in_bytes_s=memory.swap_in_bytes_s,
            psi_some=memory.psi_some_avg10,
            refault_pages_s=memory.refaults_s,
        )

    def forget(self, guest: str) -> None:
        """Drop a guest that is gone."""
        self._samples.pop(guest, None)
        self._stamps.pop(guest, None)

    def __iter__(self) -> Iterator[GuestSample]:
        return iter([self._samples[guest] for guest in sorted(self._samples)])
