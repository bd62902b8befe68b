"""The plain rule: what the host used at most in the last 24 hours, and a tenth of all it has, stay with the host.

The yardstick for every other policy.
"""

from collections.abc import Mapping
from typing import Any

from ramshare.lender.policy.base import StreamPolicy, Target
from ramshare.lender.policy.intake import View
from ramshare.lender.policy.peaks import Peaks

WINDOW_S = 24 * 3600.0
RESERVE_SHARE = 0.10


class WindowState:
    """The highest demands within the window."""

    def __init__(self, peaks: Peaks) -> None:
        self.peaks = peaks

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        return {"peaks": self.peaks.snapshot()}


class WindowMax(StreamPolicy[WindowState]):
    """Leaves the host its highest demand within a window, plus a share of its capacity."""

    name = "max24h"

    def __init__(self, caution: float = 1.0, window_s: float = WINDOW_S) -> None:
        super().__init__()
        self._window_s = window_s
        self._reserve_share = RESERVE_SHARE * caution

    def _new_state(self) -> WindowState:
        return WindowState(Peaks(self._window_s))

    def _load_state(self, data: Mapping[str, Any]) -> WindowState:
        return WindowState(Peaks(self._window_s, falling=data["peaks"]))

    def _target(self, state: WindowState, view: View, lent_bytes: float) -> Target:
        peak_bytes = state.peaks.push(view.clock_s, view.demand_bytes)
        reserve_bytes = self._reserve_share * view.capacity_bytes
        why = (
            f"the highest use of the last {self._window_s / 3600:.0f} h and {self._reserve_share:.0%} of all stay here"
        )
        lend_bytes = view.capacity_bytes - view.held_bytes - peak_bytes - reserve_bytes
        return Target(lend_bytes, why, {"peak_bytes": peak_bytes, "reserve_bytes": reserve_bytes})
