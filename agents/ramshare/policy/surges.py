"""How far a host's demand surges above what was expected of it, learnt from its own past.

Used by the `rhythm` policy. A surge is the part of a five-minute peak that exceeds what the policy expected five
minutes before. Its size is remembered as a mean of powers over time: by Markov's inequality a margin of `k` times the
mean's root is exceeded at most once in `k ** POWER` steps, whatever the distribution. A power of 2 is misled by hosts
that surge seldom and far, one of 4 learns the largest surge and little else; 2.5 to 3 did well on four traces.

Until surges have been watched for days, they are guessed from what shows much sooner: all jumps of demand, also those
that stay below the recent high. So the belief to start from is the host's own: a calm host soon keeps little, and a
restless one that was lucky on its first day keeps much. What shows at the level of guests (their spread, the way of the
largest back to its peak) was tried and told next to nothing that the host's sum did not.

An hour of the day and a day of the week correct the mean by the factor that they differ, drawn towards one while little
has been seen of them. All of it is 33 pairs of numbers a host, whatever the number of guests.
"""

from collections.abc import Mapping
from typing import Any

DAY_S = 86400.0
HOUR_S = 3600.0
HOURS = 24
DAYS = 7
EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday counts 0."""

POWER = 2.8
"""Of the mean. See above."""

MEMORY_DAYS = 30.0
"""Surges older than this have lost most of their weight: hosts change their work from month to month."""

UNSEEN_SHARE = 0.0028
"""A host never seen is taken for one that jumps and surges by this share of its memory all the time..."""
UNSEEN_DAYS = 0.4
"""...and that belief weighs as much as ten hours of its own."""

JUMPS_PART = 0.5
"""Surges beyond a recent high are taken for this part of the jumps of demand at any level..."""
JUMPS_DAYS = 3.0
"""...and that belief weighs as much as three days of having watched them."""

HOUR_MEMORY_H = MEMORY_DAYS
"""An hour of the day is seen for one hour a day."""
HOUR_PRIOR_H = 24.0
"""How much ordinary time outweighs what an hour and its neighbours have shown: eight days of them."""

DAY_MEMORY_H = 16 * 24.0
DAY_PRIOR_H = 16 * 24.0
"""A day of the week comes seldom: it takes four months to weigh as much as the belief that all days are alike."""


class _Fading:
    """A sum of values weighted by time, and the weight; both fade with age."""

    __slots__ = ("total", "weight")

    def __init__(self, total: float = 0.0, weight: float = 0.0) -> None:
        self.total = total
        self.weight = weight

    def add(self, value: float, time: float, memory: float) -> None:
        keep = max(0.0, 1.0 - time / memory)
        self.total = self.total * keep + value * time
        self.weight = self.weight * keep + time


class Surges:
    """What one host has shown of its surges. Values are powers of bytes, weights days (by hour and by day: hours)."""

    def __init__(self, capacity_bytes: float) -> None:
        unseen = UNSEEN_DAYS * (UNSEEN_SHARE * capacity_bytes) ** POWER
        self._jumps = _Fading(unseen, UNSEEN_DAYS)
        self._all = _Fading(unseen, UNSEEN_DAYS)
        self._hours = [_Fading() for _ in range(HOURS)]
        self._days = [_Fading() for _ in range(DAYS)]
        self._open = (0.0, 0.0, 0.0, 0, 0)
        """Of the bucket still open, already part of the sums: jump and surge (powers), time in seconds, hour, day."""

    def add(self, jump_bytes: float, excess_bytes: float, passed_s: float, at_s: float) -> None:
        """Open a new bucket, `passed_s` after the one before: how far demand jumped, and exceeded the expectation."""
        jump, surge = _power(jump_bytes), _power(excess_bytes)
        hour, day = hour_of_day(at_s), day_of_week(at_s)
        self._jumps.add(jump, passed_s / DAY_S, MEMORY_DAYS)
        self._all.add(surge, passed_s / DAY_S, MEMORY_DAYS)
        self._hours[hour].add(surge, passed_s / HOUR_S, HOUR_MEMORY_H)
        self._days[day].add(surge, passed_s / HOUR_S, DAY_MEMORY_H)
        self._open = (jump, surge, passed_s, hour, day)

    def raise_to(self, jump_bytes: float, excess_bytes: float) -> None:
        """Correct the open bucket upwards: a later sample of the same five minutes was higher."""
        jump, surge, passed_s, hour, day = self._open
        more_jump, more = max(0.0, _power(jump_bytes) - jump), max(0.0, _power(excess_bytes) - surge)
        self._jumps.total += more_jump * passed_s / DAY_S
        self._all.total += more * passed_s / DAY_S
        self._hours[hour].total += more * passed_s / HOUR_S
        self._days[day].total += more * passed_s / HOUR_S
        self._open = (jump + more_jump, surge + more, passed_s, hour, day)

    def size_bytes(self, at_s: float) -> float:
        """Return how large surges are at this hour and day: a power mean over time, bytes."""
        prior = JUMPS_DAYS * JUMPS_PART**POWER * self._jumps.total / self._jumps.weight
        usual = (self._all.total + prior) / (self._all.weight + JUMPS_DAYS)
        if usual <= 0:
            return 0.0
        mean = usual * self._by_hour(usual, hour_of_day(at_s)) * self._by_day(usual, day_of_week(at_s))
        return float(mean ** (1.0 / POWER))

    def _by_hour(self, usual: float, hour: int) -> float:
        """Return by which factor this hour of the day, with its neighbours, differs from the usual."""
        near = (self._hours[hour - 1], self._hours[hour], self._hours[(hour + 1) % HOURS])
        total, weight = sum(one.total for one in near), sum(one.weight for one in near)
        return (total + HOUR_PRIOR_H * usual) / (weight + HOUR_PRIOR_H) / usual

    def _by_day(self, usual: float, day: int) -> float:
        """Return by which factor this day of the week differs from the usual."""
        now = self._days[day]
        return (now.total + DAY_PRIOR_H * usual) / (now.weight + DAY_PRIOR_H) / usual

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        return {
            "jumps": [self._jumps.total, self._jumps.weight],
            "all": [self._all.total, self._all.weight],
            "hours": [[hour.total, hour.weight] for hour in self._hours],
            "days": [[day.total, day.weight] for day in self._days],
            "open": list(self._open),
        }

    @classmethod
    def restored(cls, data: Mapping[str, Any]) -> "Surges":
        """Build from a snapshot. Raises `TypeError`, `KeyError` or `ValueError` for one that does not fit."""
        surges = cls(0.0)
        surges._jumps, surges._all = _loaded(data["jumps"]), _loaded(data["all"])
        surges._hours = [_loaded(pair) for pair in data["hours"]]
        surges._days = [_loaded(pair) for pair in data["days"]]
        weight = min(surges._jumps.weight, surges._all.weight)
        if (len(surges._hours), len(surges._days)) != (HOURS, DAYS) or weight <= 0:
            raise ValueError("not the surges of a host")
        jump, surge, passed_s, hour, day = data["open"]
        surges._open = (float(jump), float(surge), float(passed_s), int(hour) % HOURS, int(day) % DAYS)
        return surges


def hour_of_day(at_s: float) -> int:
    """Return the hour of the day in UTC. Which zone does not matter: only that it comes round every day."""
    return int(at_s // HOUR_S) % HOURS


def day_of_week(at_s: float) -> int:
    """Return the day of the week in UTC, Monday 0."""
    return (int(at_s // DAY_S) + EPOCH_WEEKDAY) % DAYS


def _power(size_bytes: float) -> float:
    return float(max(0.0, size_bytes) ** POWER)


def _loaded(pair: Any) -> _Fading:
    total, weight = pair
    return _Fading(float(total), float(weight))
