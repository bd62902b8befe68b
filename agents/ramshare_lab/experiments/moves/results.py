"""How long a volume is on its way: the figures of `ramshare bench moves`, as `results/moves.json`. Pure.

Each is held against what the slower of the two disks does in order, measured in the same run. `scenario.py` measures.
"""

from collections.abc import Sequence
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

Way = Literal["out", "home"]
WAYS: tuple[Way, ...] = ("out", "home")
GOAL = 1.3
"""Times the bytes divided by what the slower disk does in order: the project's promise, at the median."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Floor(_Model):
    """What the disks do by themselves, in order, 10^6 bytes per second."""

    disk_read_mb_s: float
    disk_write_mb_s: float
    lease_read_mb_s: float

    def least_s(self, way: Way, size_bytes: int) -> float:
        """Return how long a copy takes at least, at the pace of the slower of the two disks."""
        disk = self.disk_read_mb_s if way == "out" else self.disk_write_mb_s
        return size_bytes / 1e6 / min(disk, self.lease_read_mb_s)


class Trip(_Model):
    """One move, as timed."""

    move_s: float
    """While the kernel has LVM's mirror: copying, and ending it."""
    whole_s: float
    """From the request until the borrower says that it is done: leases made, sessions, LVM's own starts."""
    stall_s: float
    """The longest time in which the process that thrashes got nothing done; 0 when it does not."""


class Series(_Model):
    """One way under one load."""

    way: Way
    load: str
    trips: tuple[Trip, ...]
    least_s: float
    p50_s: float
    ratio: float
    met: bool


class Moves(_Model):
    """`results/moves.json`."""

    accel: str
    size_bytes: int
    disk_iops: int
    floor: Floor
    bad_pages: int
    series: tuple[Series, ...]


def series(way: Way, load: str, trips: Sequence[Trip], least_s: float) -> Series:
    """Sum up the trips of one way under one load."""
    p50_s = median(trip.move_s for trip in trips)
    ratio = p50_s / least_s
    return Series(way=way, load=load, trips=tuple(trips), least_s=least_s, p50_s=p50_s, ratio=ratio, met=ratio <= GOAL)
