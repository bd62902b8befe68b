"""`make paper`: which points of the paper's figures 2 and 3 to measure.

The paper had 900 MB of usable RAM, 4 GB of swap, and varied the block size at 1 GB of data (figure 2) and the data size
from 512 MB to 4 GB at blocks of 1 KB (figure 3). The plan keeps the *ratios* of data to usable RAM; data that would not
fit into the lab's RAM and swap is left out. Pure.
"""

from dataclasses import dataclass

from ramshare.errors import RamshareError
from ramshare_lab.experiments.sweeps import Session, points_of

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
        Session(figure2_bytes, points_of(FIGURE2_BLOCKS)),
        tuple(Session(size, points_of([FIGURE3_BLOCK_BYTES])) for size in sizes if size <= room_bytes),
    )


def estimated_s(what: Plan, init_mb_s: float) -> float:
    """Return about how long one place takes, given how fast it initialises (lab: local 23, remote 48 MB/s)."""
    points = sum(len(session.points) for session in what.sessions)
    written = sum(session.data_bytes for session in what.sessions)
    return points * what.seconds_per_point + written / 1e6 / init_mb_s


def _scaled(paper_mb: int, usable_ram_bytes: int) -> int:
    return round(paper_mb / PAPER_USABLE_RAM_MB * usable_ram_bytes / PAGE_BYTES) * PAGE_BYTES
