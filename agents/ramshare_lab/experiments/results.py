"""What `make demo` measured, as `results/demo.json`; `results_table.py` shows it in a terminal.

The JSON's shape is a contract with whoever scripts against it; field names do not change. Pure, but for `save`
and `load`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ramshare.errors import RamshareError
from ramshare_lab.load.fio import Raw
from ramshare_lab.load.thrash_lines import Pattern, Result

Mode = Literal["move", "mirror"]
MODES: tuple[Mode, ...] = ("move", "mirror")

TITLES = {
    Pattern.SEQUENTIAL_READ: "sequential read",
    Pattern.SEQUENTIAL_WRITE: "sequential write",
    Pattern.RANDOM_READ: "random read",
    Pattern.RANDOM_WRITE: "random write",
}


class ResultsError(RamshareError):
    """Measurements that cannot be compared, or a results file that cannot be read."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Four(_Model):
    """One figure for each access pattern."""

    sequential_read: float
    sequential_write: float
    random_read: float
    random_write: float

    def of(self, pattern: Pattern) -> float:
        """Return the figure of one pattern."""
        return float(getattr(self, pattern.value))


class DiskModel(_Model):
    """What the local disk was limited to."""

    iops: int
    bytes_per_s: int


class Lease(_Model):
    """A piece of remote memory that the volume lay on."""

    lender: str
    bytes: int


class ModeTimes(_Model):
    """What one way to attach took: from the request until the pages are where they should be, and back."""

    attach_s: float
    return_s: float


class Throughput(_Model):
    """MB/s (10^6 bytes/s) by where the swap lay; `ceiling` is a RAM disk in the borrower's host: no network."""

    local: Four
    move: Four
    ceiling: Four
    mirror: Four | None = None


class PerMode(_Model):
    """A ratio for each way to attach that was measured."""

    move: Four
    mirror: Four | None = None


class Demo(_Model):
    """`results/demo.json`.

    `attach_s`, `return_s` and `leases` are those of the move; `modes` holds the times of every mode that was measured
    and, like `throughput_mb_s`, `speedup` and `efficiency`, has a `mirror` key only if the mirror was.
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


def rates(results: Mapping[Pattern, Result]) -> Four:
    """Return the MB/s of four finished runs. Raises `ResultsError` when one is missing or got nothing done."""
    missing = [pattern.value for pattern in Pattern if pattern not in results]
    if missing:
        raise ResultsError(f"not measured: {', '.join(missing)}")
    idle = [pattern.value for pattern in Pattern if results[pattern].mb_s <= 0]
    if idle:
        raise ResultsError(f"nothing was finished in {', '.join(idle)}", "give each pattern more seconds")
    return Four(**{pattern.value: results[pattern].mb_s for pattern in Pattern})


def ratio(above: Four, below: Four) -> Four:
    """Return `above / below`, pattern by pattern."""
    return Four(**{pattern.value: above.of(pattern) / below.of(pattern) for pattern in Pattern})


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
) -> Demo:
    """Return the results with all ratios worked out. Raises `ResultsError` if rates and times do not match up."""
    measured: set[Mode] = {"move", "mirror"} if throughput.mirror else {"move"}
    if set(modes) != measured:
        raise ResultsError(f"rates of {sorted(measured)} but times of {sorted(modes)}")
    mirror = throughput.mirror
    return Demo(
        accel=accel,
        disk_model=disk_model,
        data_size_bytes=data_size_bytes,
        block_size_bytes=block_size_bytes,
        throughput_mb_s=throughput,
        speedup=PerMode(
            move=ratio(throughput.move, throughput.local), mirror=ratio(mirror, throughput.local) if mirror else None
        ),
        efficiency=PerMode(
            move=ratio(throughput.move, throughput.ceiling),
            mirror=ratio(mirror, throughput.ceiling) if mirror else None,
        ),
        raw=raw,
        leases=leases,
        attach_s=modes["move"].attach_s,
        return_s=modes["move"].return_s,
        modes=modes,
        bad_pages=bad_pages,
    )


def to_json(model: BaseModel) -> str:
    """Return a results model as indented JSON, five significant digits, without what was not measured."""
    return json.dumps(_rounded(model.model_dump(mode="json", exclude_none=True)), indent=2) + "\n"


def save(model: BaseModel, path: Path) -> None:
    """Write a results model as JSON, in one step, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(to_json(model))
    part.replace(path)


def load(path: Path) -> Demo:
    """Read `results/demo.json`. Raises `ResultsError` if it is absent or not what `save` writes."""
    try:
        return Demo.model_validate_json(path.read_text())
    except (OSError, ValidationError) as problem:
        raise ResultsError(f"cannot read {path}", "make demo writes it") from problem


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
