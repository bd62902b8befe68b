"""`results/demo.json`: what `make demo` measured; `table.py` shows it in a terminal, `chart.py` draws it.

The JSON's shape is a contract with whoever scripts against it; field names do not change. Pure.
"""

from typing import Annotated

from pydantic import Field

from ramshare_lab.experiments.results import MODES, DiskModel, Four, Mode, Model, ResultsError, ratio
from ramshare_lab.load.fio import Raw


class Lease(Model):
    """A piece of remote memory that the volume lay on."""

    lender: str
    bytes: int


class ModeTimes(Model):
    """What one way to attach took: from the request until the pages are where they should be, and back."""

    attach_s: float
    return_s: float


class PerMode(Model):
    """A figure for each way to attach that was measured."""

    move: Four
    move_plain: Four | None = None
    pair: Four | None = None
    mirror: Four | None = None

    @property
    def measured(self) -> dict[Mode, Four]:
        """Those that were measured, in the order in which they are shown."""
        found = ((mode, getattr(self, mode)) for mode in MODES)
        return {mode: four for mode, four in found if four is not None}

    def over(self, below: Four) -> "PerMode":
        """Return each figure's ratio to `below`."""
        return PerMode(**{mode: ratio(four, below) for mode, four in self.measured.items()})


class Throughput(PerMode):
    """MB/s (10^6 bytes/s) by where the swap lay; `ceiling` is a RAM disk in the borrower's host: no network."""

    local: Four
    ceiling: Four


class Demo(Model):
    """`results/demo.json`.

    `attach_s`, `return_s` and `leases` are those of the move; `modes` holds the times of every mode that was measured
    and, like `throughput_mb_s`, `speedup` and `efficiency`, has keys for those only.
    """

    accel: str
    """What ran the borrower's host: `kvm` or `tcg`."""
    disk_model: DiskModel
    data_size_bytes: int
    block_size_bytes: int
    throughput_mb_s: Throughput
    speedup: PerMode
    """Remote / local disk."""
    efficiency: PerMode
    """Remote / ceiling."""
    raw: Raw
    leases: Annotated[list[Lease], Field(min_length=1)]
    attach_s: float
    return_s: float
    modes: dict[Mode, ModeTimes]
    bad_pages: Annotated[int, Field(ge=0)]
    """Pages found lost, stale, mixed up or damaged, over the whole run."""
    secrets_found: Annotated[list[str], Field(default_factory=list)]
    """Where a secret (CHAP, password, key) was found that does not belong there: logs, databases, process lists."""


def demo(
    *,
    accel: str,
    disk_model: DiskModel,
    data_size_bytes: int,
    block_size_bytes: int,
    throughput: Throughput,
    raw: Raw,
    leases: list[Lease],
    modes: dict[Mode, ModeTimes],
    bad_pages: int,
    secrets_found: list[str],
) -> Demo:
    """Return the results with all ratios worked out. Raises `ResultsError` if rates and times do not match up."""
    if set(modes) != set(throughput.measured):
        raise ResultsError(f"rates of {sorted(throughput.measured)} but times of {sorted(modes)}")
    return Demo(
        accel=accel,
        disk_model=disk_model,
        data_size_bytes=data_size_bytes,
        block_size_bytes=block_size_bytes,
        throughput_mb_s=throughput,
        speedup=throughput.over(throughput.local),
        efficiency=throughput.over(throughput.ceiling),
        raw=raw,
        leases=leases,
        attach_s=modes["move"].attach_s,
        return_s=modes["move"].return_s,
        modes=modes,
        bad_pages=bad_pages,
        secrets_found=secrets_found,
    )
