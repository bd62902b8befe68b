"""From what simulated borrowers were told to figures. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Held:
    """A lease that a borrower was granted, and the time in which it counted on it (seconds of one clock)."""

    lease: str
    lender: str
    borrower: str
    size_bytes: int
    since_s: float
    until_s: float = math.inf


@dataclass
class Asked:
    """One request for a loan and what came of it."""

    due_s: float
    """When it was to be asked; a process that is behind asks later, and the wait counts."""
    at_s: float = 0.0
    answered_s: float | None = None
    refusal: str = ""
    held: list[Held] = field(default_factory=list)

    @property
    def granted(self) -> bool:
        """Whether there was memory in it."""
        return bool(self.held)

    @property
    def over(self) -> bool:
        """Whether it was refused, or all that was granted is given back."""
        return bool(self.refusal) or (self.granted and all(lease.until_s < math.inf for lease in self.held))


@dataclass(frozen=True)
class Latency:
    """Of the requests that were granted, in milliseconds; None if none was."""

    p50_ms: float | None
    p99_ms: float | None


def latency(seconds: Iterable[float]) -> Latency:
    """Return median and 99th percentile, nearest rank."""
    ordered = sorted(seconds)
    if not ordered:
        return Latency(None, None)
    return Latency(_rank_ms(ordered, 50), _rank_ms(ordered, 99))


def granted_s(asked: Iterable[Asked]) -> list[float]:
    """Return how long each granted request took."""
    return [one.answered_s - one.at_s for one in asked if one.granted and one.answered_s is not None]


def lent_twice(asked: Iterable[Asked], capacity_bytes: int) -> list[str]:
    """Return a sentence for each byte that two counted on: one lease of two borrowers, a lender beyond its capacity.

    A lender frees a lease after its borrower has given it up, so what borrowers hold is never more than what it lends.
    """
    held = [lease for one in asked for lease in one.held]
    owners: dict[tuple[str, str], set[str]] = defaultdict(set)
    changes: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for lease in held:
        owners[lease.lender, lease.lease].add(lease.borrower)
        changes[lease.lender] += [(lease.since_s, lease.size_bytes), (lease.until_s, -lease.size_bytes)]
    found = [
        f"{lease} of {lender} is held by {', '.join(sorted(who))}"
        for (lender, lease), who in owners.items()
        if len(who) > 1
    ]
    for lender, steps in changes.items():
        lent = most = 0
        for _, step in sorted(steps):  # what is given back at a moment goes first: the smaller number
            lent += step
            most = max(most, lent)
        if most > capacity_bytes:
            found.append(f"{lender} lent {most} bytes at a time and has {capacity_bytes}")
    return sorted(found)


def growth(large: float | None, small: float | None) -> float | None:
    """Return how many times as much the larger cluster took."""
    return None if large is None or not small else large / small


def _rank_ms(ordered: Sequence[float], percent: int) -> float:
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] * 1e3
