"""What a host learns from loans that were in its way: its margin is wider for as long as that keeps happening.

Used by the `rhythm` policy. `surges` learns how large surges are; the margin made of it fits most hosts, not all: one
whose surges are of an unusual shape, or whose work has just changed, is harmed more often than its margin promises.
Such harm is evidence that needs no assumption about demand, so it is answered directly, by the rule of adaptive
conformal inference (Gibbs and Candès, NeurIPS 2021): every harm widens the margin by one step, and a step wears off in
the time in which one harm may happen. A host harmed more often than that gets wider and wider margins until it is not.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ramshare.policy.peaks import BUCKET_S

STEP = 0.2
"""A loan that was in the way widens the margin by this part of what was learnt. Anything from half to one and a half
times of it does about as well on hosts and months held out; more overreacts to surges that struck by chance."""

WEARS_OFF_S = 5000 * BUCKET_S
"""How long one step takes to wear off: one harm in 5000 steps of five minutes (17 days) is the rate of 0.0002 that the
system allows itself."""

MOST = 1.0
"""Never more than twice the learnt margin: what the learnt one misses by more is no surge, but a host that changed."""


@dataclass(slots=True)
class Amends:
    """One host's widening, as a part of its margin. `clock_s` is observed time."""

    widening: float = 0.0
    clock_s: float = 0.0
    harmed_s: float = -BUCKET_S

    def update(self, clock_s: float, harmed: bool, pace: float) -> float:
        """Take in whether the last loan was in the way (once in five minutes) and return the widening."""
        self.widening = max(0.0, self.widening - STEP * (clock_s - self.clock_s) / (WEARS_OFF_S * pace))
        self.clock_s = clock_s
        if harmed and clock_s - self.harmed_s >= BUCKET_S * pace:
            self.widening = min(self.widening + STEP, MOST)
            self.harmed_s = clock_s
        return self.widening

    def snapshot(self) -> dict[str, float]:
        """Return the state as JSON-able data."""
        return asdict(self)

    @classmethod
    def restored(cls, data: Mapping[str, Any]) -> "Amends":
        """Build from a snapshot. Raises `TypeError`, `KeyError` or `ValueError` for one that does not fit."""
        return cls(float(data["widening"]), float(data["clock_s"]), float(data["harmed_s"]))
