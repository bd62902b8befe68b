"""Plain rules as yardsticks for the default policy: those of two published systems, senpai's, and a window's maximum.

Memtrade smooths what is used, Infiniswap weighs what is free; senpai probes a little and backs off at once (where no
stall is known, as in a recorded trace, use that reaches into a small reserve counts as one); the plain rule keeps what
the host used at most in the last 24 hours, and a tenth of all it has.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ramshare.policy.base import StreamPolicy, Target
from ramshare.policy.intake import View
from ramshare.policy.peaks import BUCKET_S, Peaks

MEMTRADE_WEIGHT = 0.2
"""Weight of the newest five minutes (Memtrade, SIGMETRICS 2023)."""
MEMTRADE_RESERVE_SHARE = 0.10

INFINISWAP_WEIGHT = 0.7
"""Weight of the newest second (Infiniswap, NSDI 2017)."""
INFINISWAP_LOW_SHARE = 8 / 64
"""It takes slabs back when less than 8 GB of its 64 GB machines are free."""
INFINISWAP_HIGH_SHARE = 16 / 64
"""It adds slabs while more than 16 GB are free, one after 20 checks in a row."""
INFINISWAP_SLAB_SHARE = 1 / 64
INFINISWAP_GROW_EVERY_S = 20.0


@dataclass
class Average:
    """One smoothed figure, bytes; `None` before the first sample."""

    value_bytes: float | None = None

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        return asdict(self)

    def update(self, value_bytes: float, weight_per_period: float, periods: float) -> float:
        """Blend in a value that has held for some periods and return the new average."""
        keep = (1.0 - weight_per_period) ** periods
        old = value_bytes if self.value_bytes is None else self.value_bytes
        self.value_bytes = keep * old + (1.0 - keep) * value_bytes
        return self.value_bytes


class _Averaging(StreamPolicy[Average]):
    def _new_state(self) -> Average:
        return Average()

    def _load_state(self, data: Mapping[str, Any]) -> Average:
        value = data["value_bytes"]
        return Average(None if value is None else float(value))


class Memtrade(_Averaging):
    """Lends the smaller of what is free now and what was free on average, less a reserve."""

    name = "memtrade"

    def __init__(self, caution: float = 1.0) -> None:
        super().__init__()
        self._reserve_share = MEMTRADE_RESERVE_SHARE * caution

    def _target(self, state: Average, view: View, lent_bytes: float) -> Target:
        smooth_bytes = state.update(view.demand_bytes, MEMTRADE_WEIGHT, view.step_s / BUCKET_S)
        need_bytes = max(smooth_bytes, view.demand_bytes) + self._reserve_share * view.capacity_bytes
        why = f"the larger of the average and the present use, and {self._reserve_share:.0%} of all, stay here"
        return Target(view.capacity_bytes - view.held_bytes - need_bytes, why, {"average_bytes": smooth_bytes})


class Infiniswap(_Averaging):
    """Grows slab by slab while much is free beside the loan, takes slabs back as soon as little is."""

    name = "infiniswap"

    def __init__(self, caution: float = 1.0) -> None:
        super().__init__()
        self._low_share = INFINISWAP_LOW_SHARE * caution
        self._high_share = INFINISWAP_HIGH_SHARE * caution

    def _target(self, state: Average, view: View, lent_bytes: float) -> Target:
        low_bytes, high_bytes = self._low_share * view.capacity_bytes, self._high_share * view.capacity_bytes
        slab_bytes = INFINISWAP_SLAB_SHARE * view.capacity_bytes
        free_bytes = state.update(view.free_bytes, INFINISWAP_WEIGHT, view.step_s) - lent_bytes
        figures = {"average_free_bytes": free_bytes, "low_bytes": low_bytes, "high_bytes": high_bytes}
        if free_bytes < low_bytes:
            slabs = -(-(low_bytes - free_bytes) // slab_bytes) if slab_bytes else 0.0
            return Target(
                lent_bytes - slabs * slab_bytes, "little is free beside the loan, so slabs come back", figures
            )
        slabs = min(
            view.step_s // INFINISWAP_GROW_EVERY_S, (free_bytes - high_bytes) // slab_bytes if slab_bytes else 0
        )
        if slabs > 0:
            return Target(lent_bytes + slabs * slab_bytes, "much is free beside the loan, so slabs are added", figures)
        return Target(lent_bytes, "enough is free beside the loan, not enough for another slab", figures)


PROBE_SHARE = 0.01
PROBE_S = 6.0
SENPAI_RESERVE_SHARE = 0.10
"""What the probing leaves free. senpai needs none, since it can measure stalls."""
APPROACH = 0.1
"""Part of the distance to the reserve that one probe covers: small steps near the edge."""


class Stateless:
    """The law needs no memory but the loan itself."""

    def snapshot(self) -> dict[str, Any]:
        """Return nothing, as JSON-able data."""
        return {}


class Senpai(StreamPolicy[Stateless]):
    """Lends a little more at every step, and takes back double what reaches into the reserve."""

    name = "senpai"

    def __init__(self, caution: float = 1.0) -> None:
        super().__init__()
        self._reserve_share = SENPAI_RESERVE_SHARE * caution

    def _new_state(self) -> Stateless:
        return Stateless()

    def _load_state(self, data: Mapping[str, Any]) -> Stateless:
        return Stateless()

    def _target(self, state: Stateless, view: View, lent_bytes: float) -> Target:
        reserve_bytes = self._reserve_share * view.capacity_bytes
        room_bytes = view.free_bytes - lent_bytes - reserve_bytes
        figures = {"reserve_bytes": reserve_bytes, "room_bytes": room_bytes}
        if room_bytes < 0:
            return Target(
                lent_bytes + 2 * room_bytes, "use reached into the reserve, so twice that comes back", figures
            )
        probes = view.step_s / PROBE_S
        step_bytes = min(PROBE_SHARE * probes * view.capacity_bytes, (1 - (1 - APPROACH) ** probes) * room_bytes)
        return Target(lent_bytes + step_bytes, "nothing stalled, so a little more is lent", figures)


WINDOW_S = 24 * 3600.0
WINDOW_RESERVE_SHARE = 0.10


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
        self._reserve_share = WINDOW_RESERVE_SHARE * caution

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
