"""The plain rule: what the host used at most in the last 24 hours, and a tenth of all it has, stay with the host.

The first policy a lender ran and the yardstick for others. Samples are joined into buckets of five minutes, so a day costs at most 289 numbers.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from ramshare.lender.policy.base import HostState, Need, StreamPolicy
from ramshare.lender.policy.intake import View

_BUCKET_S = 300.0
"""Samples this close share one entry: a window stays bounded at any reporting interval."""


class Peaks(HostState):
    """The highest demands within a window, as a queue of falling maxima (constant cost on average)."""

    def __init__(self) -> None:
        self.falling: deque[tuple[float, float]] = deque()

    def push(self, at_s: float, value: float, window_s: float) -> float:
        """Add a value and return the highest within `window_s`. Values of one bucket share one entry."""
        bucket_s = at_s // _BUCKET_S * _BUCKET_S
        while self.falling and (self.falling[-1][1] <= value or self.falling[-1][0] > at_s):
            self.falling.pop()
        if not self.falling or self.falling[-1][0] < bucket_s:
            self.falling.append((bucket_s, value))
        while self.falling[0][0] <= at_s - window_s and len(self.falling) > 1:
            self.falling.popleft()
        return self.falling[0][1]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        return {"falling": [list(pair) for pair in self.falling]}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "Peaks":
        """Build from a snapshot."""
        peaks = cls()
        peaks.falling.extend((float(at_s), float(value)) for at_s, value in state["falling"])
        return peaks


class WindowMax(StreamPolicy[Peaks]):
    """Leaves the host its highest demand within a window, plus a share of its capacity."""

    name = "max24h"
    state_type = Peaks

    def __init__(self, window_s: float = 86400.0, reserve_share: float = 0.10) -> None:
        super().__init__()
        self._window_s = window_s
        self._reserve_share = reserve_share

    def _need(self, state: Peaks, view: View, lent_bytes: float) -> Need:
        peak_bytes = state.push(view.at_s, view.demand_bytes, self._window_s)
        reserve_bytes = self._reserve_share * view.capacity_bytes
        why = (
            f"the highest use of the last {self._window_s / 3600:.0f} h and {self._reserve_share:.0%} of all stay here"
        )
        return Need(peak_bytes + reserve_bytes, why, {"peak_bytes": peak_bytes, "reserve_bytes": reserve_bytes})
