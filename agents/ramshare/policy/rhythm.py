"""The policy that lenders run: each host keeps the margin that its own past surges ask for, at this hour of the day.

What must stay with a host is what it uses, or used of late, and a margin on top. No constant fits all hosts: the margin
that would just have done no harm is 1 % of memory on one and 20 % on another. What is done here was chosen on four
traces at once: containers, batch jobs, nearly full machines, and two months of virtual machines.

- *The margin is learnt* on each host from what happened there (`surges`), and being wrong has a price: the margin is
  the multiple of their size that two samples in 10000 exceeded, and little evidence is not taken for calm. Choosing
  among windows of several lengths as well was tried: it lends a quarter of a percent more, and was left out.
- *A rise announces a surge.* Demand sampled as an average over an interval shows a jump in two steps, and a cluster
  that starts work does not start at once: after a rise of 2 to 4 % of memory, the next sample surges by 10 % twenty
  times as often as after none. So the margin is widened by a multiple of the last rise, while demand is rising.
- *Loans change in coarse steps.* The loan shrinks at once, but only when nearly half of the margin is used up, and then
  a little further; it grows only to what would have been safe in the recent past, and by a good part of the margin.
  In the hour after it grew, a mere rise does not make it shrink: that memory was only just lent.

What was free of late is remembered, not what was used: the memory of a new guest, which has yet to show what it needs
of it, counts only once it has been free for a while.
"""

from collections.abc import Mapping
from typing import Any

from ramshare.policy.base import StreamPolicy, Target
from ramshare.policy.intake import View
from ramshare.policy.peaks import BUCKET_S, Peaks
from ramshare.policy.surges import Surges

MARGIN_FACTOR = 13.1
"""margin = factor x surge size: it trades lending against harm..."""
LEAST_SHARE = 0.01
"""...and is never less than this share of memory, the best margin in hindsight for the calmest hosts seen."""
STRANGER_SHARE = 0.2
"""A host seen for the first time keeps this share of its memory more..."""
STRANGER_S = 7 * 60.0
"""...half of it after seven minutes, a tenth after an hour."""

RECENT_S = 1.5 * 3600.0
"""The highest use of this long is expected again, and memory must have been free for this long to be lent."""
DAY_S = 20 * 3600.0
DAY_WEIGHT = 0.2
"""A loan grows as if this part of the way to the day's highest use were in use. The day is short of 24 hours, so that
yesterday's peak is not counted for today's."""

RISE_FACTOR = 3.0
"""By how many times its last rise demand is expected to rise further, when the loan is judged."""
RISE_EXPECTED = 2.0
"""The same, when surges are learnt: what a rise repeats of itself is no surprise."""

SHRINK_BELOW = 0.55
"""The loan shrinks when less than this part of the margin is left..."""
RESTORE = 0.65
"""...and then restores this part: little more, so that a loan just made is seldom taken back whole."""
GROW_STEP = 0.25
"""The loan grows only by at least this part of the margin."""
SETTLE_S = 3600.0
"""How long after growing a rise alone does not shrink the loan: the horizon over which a loan should last."""


class RhythmState:
    """One host: its recent highs, its surges, and the five minutes under way."""

    def __init__(self, pace: float) -> None:
        self.recent = Peaks(RECENT_S * pace, BUCKET_S * pace)
        self.day = Peaks(DAY_S * pace, BUCKET_S * pace)
        """Both hold use less capacity, what was free with a minus sign: the highest is what was least free."""
        self.surges: Surges | None = None
        self.bucket = -1
        self.opened_s = 0.0
        self.sum_bytes = 0.0
        self.count = 0
        self.before_bytes = 0.0
        """Mean demand of the five minutes before; the last rise counts from there."""
        self.expected_bytes = 0.0
        """Expected by the end of the five minutes before."""
        self.next_expected_bytes = 0.0
        self.grew_s = -SETTLE_S
        self.why = ""
        """Why the loan is what it is: told until it changes, so that an unchanged offer is not news."""

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        return {
            "recent": self.recent.snapshot(),
            "day": self.day.snapshot(),
            "surges": self.surges.snapshot() if self.surges else None,
            "bucket": [self.bucket, self.opened_s, self.sum_bytes, self.count],
            "bytes": [self.before_bytes, self.expected_bytes, self.next_expected_bytes],
            "grew_s": self.grew_s,
            "why": self.why,
        }

    @classmethod
    def restored(cls, data: Mapping[str, Any], pace: float) -> "RhythmState":
        """Build from a snapshot. Raises `TypeError`, `KeyError` or `ValueError` for one that does not fit."""
        state = cls(pace)
        state.recent = Peaks(RECENT_S * pace, BUCKET_S * pace, data["recent"])
        state.day = Peaks(DAY_S * pace, BUCKET_S * pace, data["day"])
        state.surges = None if data["surges"] is None else Surges.restored(data["surges"])
        bucket, opened_s, sum_bytes, count = data["bucket"]
        state.bucket, state.opened_s, state.sum_bytes = int(bucket), float(opened_s), float(sum_bytes)
        state.count = int(count)
        state.before_bytes, state.expected_bytes, state.next_expected_bytes = (float(size) for size in data["bytes"])
        state.grew_s, state.why = float(data["grew_s"]), str(data["why"])
        return state

    def learn(self, view: View, bucket_s: float) -> None:
        """Take in the demand of one sample."""
        bucket, demand_bytes = int(view.clock_s // bucket_s), view.demand_bytes
        if self.surges is None:
            self.surges = Surges(view.capacity_bytes)
            self.before_bytes = self.expected_bytes = self.next_expected_bytes = demand_bytes
            self.bucket, self.opened_s = bucket, view.clock_s
        if bucket > self.bucket:
            self.before_bytes = self.sum_bytes / self.count
            self.expected_bytes = self.next_expected_bytes
            jump_bytes, excess_bytes = demand_bytes - self.before_bytes, demand_bytes - self.expected_bytes
            self.surges.add(jump_bytes, excess_bytes, view.clock_s - self.opened_s, view.at_s)
            self.bucket, self.opened_s, self.sum_bytes, self.count = bucket, view.clock_s, 0.0, 0
        else:
            self.surges.raise_to(demand_bytes - self.before_bytes, demand_bytes - self.expected_bytes)
        self.sum_bytes += demand_bytes
        self.count += 1


class Rhythm(StreamPolicy[RhythmState]):
    """Learns each host's surges and their rhythm. `pace` shortens every window, for a lab that has minutes only."""

    name = "rhythm"

    def __init__(self, caution: float = 1.0, pace: float = 1.0) -> None:
        super().__init__()
        self._caution = caution
        self._pace = pace

    def _new_state(self) -> RhythmState:
        return RhythmState(self._pace)

    def _load_state(self, data: Mapping[str, Any]) -> RhythmState:
        return RhythmState.restored(data, self._pace)

    def _target(self, state: RhythmState, view: View, lent_bytes: float) -> Target:
        state.learn(view, BUCKET_S * self._pace)
        demand_bytes = view.demand_bytes
        rise_bytes = max(0.0, demand_bytes - state.before_bytes)
        recent_bytes = view.capacity_bytes + state.recent.push(view.clock_s, demand_bytes - view.capacity_bytes)
        day_bytes = view.capacity_bytes + state.day.push(view.clock_s, demand_bytes - view.capacity_bytes)
        state.next_expected_bytes = max(recent_bytes, demand_bytes + RISE_EXPECTED * rise_bytes)
        margin_bytes = self._margin_bytes(state, view)
        settling = view.clock_s - state.grew_s <= SETTLE_S * self._pace
        rising_bytes = demand_bytes + (0.0 if settling else RISE_FACTOR * rise_bytes)
        past_bytes = recent_bytes + DAY_WEIGHT * (day_bytes - recent_bytes)
        lendable_bytes = view.capacity_bytes - view.held_bytes
        figures = {
            "margin_bytes": margin_bytes,
            "recent_peak_bytes": recent_bytes,
            "day_peak_bytes": day_bytes,
            "rise_bytes": rise_bytes,
        }
        kept = f"{_gib(margin_bytes)} are kept for surges beyond that"
        if lendable_bytes - lent_bytes - rising_bytes < SHRINK_BELOW * margin_bytes:
            lend_bytes = max(0.0, min(lent_bytes, lendable_bytes - rising_bytes - RESTORE * margin_bytes))
            if lend_bytes < lent_bytes or not state.why:
                grew = " and still rises" if rising_bytes > demand_bytes else ""
                state.why = f"use came to {_gib(demand_bytes)}{grew}, and {kept}"
            return Target(lend_bytes, state.why, figures)
        grown_bytes = lendable_bytes - view.uneasy_bytes - max(past_bytes, rising_bytes) - margin_bytes
        if view.calm and grown_bytes >= lent_bytes + GROW_STEP * margin_bytes:
            state.grew_s = view.clock_s
            state.why = f"use was at most {_gib(recent_bytes)} of late, and {kept}"
            return Target(grown_bytes, state.why, figures)
        return Target(lent_bytes, state.why or "too little is free to lend with a margin for surges", figures)

    def _margin_bytes(self, state: RhythmState, view: View) -> float:
        size_bytes = state.surges.size_bytes(view.at_s) if state.surges else 0.0
        stranger_share = STRANGER_SHARE / (1.0 + view.clock_s / (STRANGER_S * self._pace))
        least_bytes = LEAST_SHARE * view.capacity_bytes
        return self._caution * (max(least_bytes, MARGIN_FACTOR * size_bytes) + stranger_share * view.capacity_bytes)


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / 2**30:.2f} GiB"
