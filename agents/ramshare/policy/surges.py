"""How far a host's demand surges above what was expected of it, learnt from its own past.

Used by the `rhythm` policy. A surge is the part of a five-minute peak that exceeds what the policy expected five
minutes before. Its size is remembered as a mean square over time, so that a few large surges count more than many small
ones, and in three ways: over weeks, by hour of the day, and by day of the week. Each of the latter two corrects the
first by the factor that it differs, drawn towards one while little has been seen of it (as if some ordinary time had
been seen before). All of it is 33 pairs of numbers a host, whatever the number of guests.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any

DAY_S = 86400.0
HOUR_S = 3600.0
HOURS = 24
DAYS = 7
EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday counts 0."""

MEMORY_DAYS = 30.0
"""Surges older than this have lost most of their weight: hosts change their work from month to month."""

PRIOR_SHARE = 0.01
"""A host never seen is taken for one whose surges are this share of its memory, as a root mean square over time..."""
PRIOR_DAYS = 3.0
"""...and that belief weighs as much as three days of its own."""

HOUR_MEMORY_H = MEMORY_DAYS
"""An hour of the day is seen for one hour a day."""
HOUR_PRIOR_H = 12.0
"""How much ordinary time outweighs what an hour and half of its neighbours have shown: six days of them."""

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
    """What one host has shown of its surges. Values are squared bytes, weights days (by hour and by day: hours)."""

    def __init__(self, capacity_bytes: float) -> None:
        self._all = _Fading(PRIOR_DAYS * (PRIOR_SHARE * capacity_bytes) ** 2, PRIOR_DAYS)
        self._hours = [_Fading() for _ in range(HOURS)]
        self._days = [_Fading() for _ in range(DAYS)]
        self._open = (0.0, 0.0, 0, 0)
        """Square, time in seconds, hour and day of the bucket that is still open, already part of the sums."""

    def add(self, excess_bytes: float, passed_s: float, at_s: float) -> None:
        """Open a new bucket, `passed_s` after the one before, with what exceeded the expectation (or less than 0)."""
        square = max(0.0, excess_bytes) ** 2
        hour, day = hour_of_day(at_s), day_of_week(at_s)
        self._all.add(square, passed_s / DAY_S, MEMORY_DAYS)
        self._hours[hour].add(square, passed_s / HOUR_S, HOUR_MEMORY_H)
        self._days[day].add(square, passed_s / HOUR_S, DAY_MEMORY_H)
        self._open = (square, passed_s, hour, day)

    def raise_to(self, excess_bytes: float) -> None:
        """Correct the open bucket upwards: a later sample of the same five minutes was higher."""
        known, passed_s, hour, day = self._open
        more = max(0.0, excess_bytes) ** 2 - known
        if more <= 0:
            return
        self._all.total += more * passed_s / DAY_S
        self._hours[hour].total += more * passed_s / HOUR_S
        self._days[day].total += more * passed_s / HOUR_S
        self._open = (known + more, passed_s, hour, day)

    def size_bytes(self, at_s: float) -> float:
        """Return how large surges are at this hour and day: a root mean square over time, bytes."""
        usual = self._all.total / self._all.weight
        if usual <= 0:
            return 0.0
        return sqrt(usual * self._by_hour(usual, hour_of_day(at_s)) * self._by_day(usual, day_of_week(at_s)))

    def _by_hour(self, usual: float, hour: int) -> float:
        """Return by which factor this hour of the day, with half its neighbours, differs from the usual."""
        before, now, after = self._hours[hour - 1], self._hours[hour], self._hours[(hour + 1) % HOURS]
        total = now.total + 0.5 * (before.total + after.total)
        weight = now.weight + 0.5 * (before.weight + after.weight)
        return (total + HOUR_PRIOR_H * usual) / (weight + HOUR_PRIOR_H) / usual

    def _by_day(self, usual: float, day: int) -> float:
        """Return by which factor this day of the week differs from the usual."""
        now = self._days[day]
        return (now.total + DAY_PRIOR_H * usual) / (now.weight + DAY_PRIOR_H) / usual

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        return {
            "all": [self._all.total, self._all.weight],
            "hours": [[hour.total, hour.weight] for hour in self._hours],
            "days": [[day.total, day.weight] for day in self._days],
            "open": list(self._open),
        }

    @classmethod
    def restored(cls, data: Mapping[str, Any]) -> "Surges":
        """Build from a snapshot. Raises `TypeError`, `KeyError` or `ValueError` for one that does not fit."""
        surges = cls(0.0)
        surges._all = _loaded(data["all"])
        surges._hours = [_loaded(pair) for pair in data["hours"]]
        surges._days = [_loaded(pair) for pair in data["days"]]
        if (len(surges._hours), len(surges._days)) != (HOURS, DAYS) or surges._all.weight <= 0:
            raise ValueError("not the surges of a host")
        square, passed_s, hour, day = data["open"]
        surges._open = (float(square), float(passed_s), int(hour) % HOURS, int(day) % DAYS)
        return surges


def hour_of_day(at_s: float) -> int:
    """Return the hour of the day in UTC. Which zone does not matter: only that it comes round every day."""
    return int(at_s // HOUR_S) % HOURS


def day_of_week(at_s: float) -> int:
    """Return the day of the week in UTC, Monday 0."""
    return (int(at_s // DAY_S) + EPOCH_WEEKDAY) % DAYS


def _loaded(pair: Any) -> _Fading:
    total, weight = pair
    return _Fading(float(total), float(weight))
