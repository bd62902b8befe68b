"""`make paper`: which points of the paper's figures 2 and 3 to measure, and what becomes of the measurements.

The paper had 900 MB of usable RAM, 4 GB of swap, and varied the block size at 1 GB of data (figure 2) and the data size
from 512 MB to 4 GB at blocks of 1 KB (figure 3). The plan keeps the *ratios* of data to usable RAM; data that would not
fit into the lab's RAM and swap is left out. Pure but for `measure`, which commands a `Thrash`; the lab places the swap.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from ramshare.errors import RamshareError
from ramshare_lab.experiments.results import DiskModel, Four, Mode, rates, ratio
from ramshare_lab.load.thrash import OnProgress, Thrash
from ramshare_lab.load.thrash_lines import Pattern, Result

PAGE_BYTES = 4096
PAPER_USABLE_RAM_MB = 900
PAPER_FIGURE2_DATA_MB = 1024
PAPER_FIGURE3_DATA_MB = (512, 768, 1024, 1536, 2048, 3072, 4096)
FIGURE2_BLOCKS = (64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
FIGURE3_BLOCK_BYTES = 1024
SECONDS_PER_POINT = 4.0
"""At 120 IOPS this is some 480 disk reads: enough for two digits, which a ratio of 3 or 20 needs."""
SWAP_FILL = 0.9
"""Share of the swap volume that data may fill; a full one gets a process killed rather than measured."""

ORDER = (Pattern.SEQUENTIAL_READ, Pattern.RANDOM_READ, Pattern.SEQUENTIAL_WRITE, Pattern.RANDOM_WRITE)
"""Reads first: pages that a write made dirty have to be swapped out at the cost of whatever is measured next."""

Key = tuple[int, int, Pattern]
"""Data size in bytes, block size in bytes, pattern."""
Measured = Mapping[Key, Result]


@dataclass(frozen=True)
class Point:
    """One measurement: a block size and a pattern."""

    block_bytes: int
    pattern: Pattern


@dataclass(frozen=True)
class Session:
    """One array, initialised once, and the points measured on it in this order.

    Reads come first, see `ORDER`. Sequential ones begin: right after `init` the pages at the cursor are those longest
    unused, which is the state that going round and round ends in, and going on in order keeps it.
    """

    data_bytes: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Plan:
    """What to measure in each place (local disk, then remote memory): every session in turn."""

    usable_ram_bytes: int
    swap_bytes: int
    seconds_per_point: float
    figure2: Session
    figure3: tuple[Session, ...]

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions; the one that both figures share is there once."""
        return (self.figure2, *(session for session in self.figure3 if session.data_bytes != self.figure2.data_bytes))


def plan(
    usable_ram_bytes: int,
    swap_bytes: int,
    seconds_per_point: float = SECONDS_PER_POINT,
    figure2_data_mb: int = PAPER_FIGURE2_DATA_MB,
) -> Plan:
    """Return the paper's points scaled to a machine with this much usable RAM and swap.

    `figure2_data_mb` is in the paper's own scale, in which 900 are usable; one of figure 3's saves a session.
    Raises `RamshareError` if not even figure 2's data fits.
    """
    room_bytes = usable_ram_bytes + int(swap_bytes * SWAP_FILL)
    figure2_bytes = _scaled(figure2_data_mb, usable_ram_bytes)
    if figure2_bytes > room_bytes:
        raise RamshareError(
            f"{swap_bytes} bytes of swap are too few to swap to", f"give it {figure2_bytes - usable_ram_bytes} at least"
        )
    sizes = [_scaled(megabytes, usable_ram_bytes) for megabytes in PAPER_FIGURE3_DATA_MB]
    return Plan(
        usable_ram_bytes,
        swap_bytes,
        seconds_per_point,
        Session(figure2_bytes, _points(FIGURE2_BLOCKS)),
        tuple(Session(size, _points([FIGURE3_BLOCK_BYTES])) for size in sizes if size <= room_bytes),
    )


def estimated_s(what: Plan, init_mb_s: float) -> float:
    """Return about how long one place takes, given how fast it initialises (lab: local 23, remote 48 MB/s)."""
    points = sum(len(session.points) for session in what.sessions)
    written = sum(session.data_bytes for session in what.sessions)
    return points * what.seconds_per_point + written / 1e6 / init_mb_s


def measure(
    thrash: Thrash,
    points: Sequence[Point],
    seconds: float,
    on_point: Callable[[Point, Result], None] | None = None,
    on_progress: OnProgress | None = None,
) -> dict[Key, Result]:
    """Measure `points` on an array that is initialised already."""
    measured: dict[Key, Result] = {}
    for point in points:
        result = thrash.run(point.pattern, block_bytes=point.block_bytes, seconds=seconds, on_progress=on_progress)
        measured[thrash.size_bytes, point.block_bytes, point.pattern] = result
        if on_point is not None:
            on_point(point, result)
    return measured


def measure_patterns(
    thrash: Thrash, block_bytes: int, seconds: float, on_progress: OnProgress | None = None
) -> dict[Pattern, Result]:
    """Measure the four patterns at one block size, in the order that sessions use; what the demo does in each place."""
    measured = measure(thrash, _points([block_bytes]), seconds, on_progress=on_progress)
    return {pattern: result for (_, _, pattern), result in measured.items()}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Compared(_Model):
    """One point of a figure."""

    data_size_bytes: int
    block_size_bytes: int
    local_mb_s: Four
    remote_mb_s: Four
    ratio: Four
    """Remote / local: the paper's y axis."""


class Paper(_Model):
    """`results/paper.json`: both figures' points, in the order of their x axes."""

    accel: str
    disk_model: DiskModel
    mode: Mode
    usable_ram_bytes: int
    swap_bytes: int
    seconds_per_point: float
    figure2: list[Compared]
    figure3: list[Compared]
    bad_pages: int


def merge(
    what: Plan, local: Measured, remote: Measured, *, accel: str, disk_model: DiskModel, mode: Mode, bad_pages: int
) -> Paper:
    """Return the figures' points; those that were not measured in both places (an interrupted run) are left out."""
    return Paper(
        accel=accel,
        disk_model=disk_model,
        mode=mode,
        usable_ram_bytes=what.usable_ram_bytes,
        swap_bytes=what.swap_bytes,
        seconds_per_point=what.seconds_per_point,
        figure2=_compared(local, remote, [(what.figure2.data_bytes, block) for block in FIGURE2_BLOCKS]),
        figure3=_compared(local, remote, [(session.data_bytes, FIGURE3_BLOCK_BYTES) for session in what.figure3]),
        bad_pages=bad_pages,
    )


def _compared(local: Measured, remote: Measured, wanted: Sequence[tuple[int, int]]) -> list[Compared]:
    points = []
    for data_bytes, block_bytes in wanted:
        keys = [(data_bytes, block_bytes, pattern) for pattern in Pattern]
        if all(key in local and key in remote for key in keys):
            before, after = (rates({key[2]: place[key] for key in keys}) for place in (local, remote))
            points.append(
                Compared(
                    data_size_bytes=data_bytes,
                    block_size_bytes=block_bytes,
                    local_mb_s=before,
                    remote_mb_s=after,
                    ratio=ratio(after, before),
                )
            )
    return points


def _points(blocks: Sequence[int]) -> tuple[Point, ...]:
    return tuple(Point(block, pattern) for pattern in ORDER for block in blocks)


def _scaled(paper_mb: int, usable_ram_bytes: int) -> int:
    return round(paper_mb / PAPER_USABLE_RAM_MB * usable_ram_bytes / PAGE_BYTES) * PAGE_BYTES
