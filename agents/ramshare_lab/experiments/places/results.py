"""`results/modes.json`: one process's swap in many places, and the project's goals. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ramshare_lab.experiments.results import DiskModel, Four, Model
from ramshare_lab.load.fio import Raw
from ramshare_lab.load.thrash_lines import Pattern

READS = (Pattern.SEQUENTIAL_READ, Pattern.RANDOM_READ)
WRITES = (Pattern.SEQUENTIAL_WRITE, Pattern.RANDOM_WRITE)


class Place(Model):
    """Where the volume lay, and what the process got done there, MB/s (10^6 bytes/s)."""

    name: str
    swap_mb_s: Four
    raw: Raw | None = None
    """The bare disk there."""


class Goal(Model):
    """A ratio that the project promises, at the worst of its patterns."""

    name: str
    wanted: float
    reached: float

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.reached >= self.wanted


class Places(Model):
    """All places of one run."""

    accel: str
    disk_model: DiskModel
    lenders: str
    """What lends: namespaces of this machine, or virtual machines."""
    data_size_bytes: int
    block_size_bytes: int
    seconds: float
    """Of each pattern in each place, from an array filled anew."""
    places: tuple[Place, ...]
    goals: tuple[Goal, ...]
    bad_pages: int


@dataclass(frozen=True)
class _Promise:
    place: str
    than: str
    wanted: float
    patterns: tuple[Pattern, ...]
    what: str


_PROMISES = (
    _Promise("pair", "move", 0.9, READS, "reads"),
    _Promise("pair", "move", 0.7, WRITES, "writes"),
    _Promise("pair", "mirror", 5.0, (Pattern.RANDOM_WRITE,), "random writes"),
    _Promise("move", "nbd", 1.0, tuple(Pattern), "all patterns"),
    _Promise("move-plain", "nbd", 1.0, tuple(Pattern), "all patterns, neither encrypted"),
)


def goals(places: Sequence[Place]) -> tuple[Goal, ...]:
    """Return the goals whose places were both measured."""
    by_name: Mapping[str, Four] = {place.name: place.swap_mb_s for place in places}
    found = []
    for promise in _PROMISES:
        if promise.place in by_name and promise.than in by_name:
            one, other = by_name[promise.place], by_name[promise.than]
            reached = min(one.of(pattern) / other.of(pattern) for pattern in promise.patterns)
            name = f"{promise.place} / {promise.than}, {promise.what}"
            found.append(Goal(name=name, wanted=promise.wanted, reached=reached))
    return tuple(found)
