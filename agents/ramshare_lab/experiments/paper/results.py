"""`results/paper.json`: the paper's figures 2 and 3, measured anew, as ratios, remote memory / local disk. Pure."""

from collections.abc import Sequence

from ramshare_lab.experiments.paper.plan import FIGURE2_BLOCKS, FIGURE3_BLOCK_BYTES, Plan
from ramshare_lab.experiments.results import DiskModel, Four, Mode, Model, rates, ratio
from ramshare_lab.experiments.sweeps import Measured
from ramshare_lab.load.thrash_lines import Pattern


class Compared(Model):
    """One point of a figure."""

    data_size_bytes: int
    block_size_bytes: int
    local_mb_s: Four
    remote_mb_s: Four
    ratio: Four
    """Remote / local: the paper's y axis."""


class Paper(Model):
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
