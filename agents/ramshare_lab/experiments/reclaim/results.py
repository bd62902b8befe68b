"""How fast a lender gets its memory back: the figures of `ramshare bench reclaim`, as `results/reclaim.json`. Pure.

A time runs from the lender's decision (its `vacated` event) to its word that the memory is free (`released`: unit and
RAM file gone), both by the lender's own clock. `scenario.py` measures.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

Load = Literal["idle", "storm"]
LOADS: tuple[Load, ...] = ("idle", "storm")
TARGETS_S: Mapping[tuple[str, str], float] = {
    ("mirror", "idle"): 1.0,
    ("mirror", "storm"): 10.0,
    ("pair", "idle"): 2.0,
    ("pair", "storm"): 2.0,
}
"""The project's promise, at the worst of the rounds."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Series(_Model):
    """One mode under one load."""

    mode: str
    load: Load
    samples_s: tuple[float, ...]
    parts_s: dict[str, float]
    """Where the time goes: median seconds until the borrower said each step was done, since the one before."""
    p50_s: float
    worst_s: float
    target_s: float | None
    met: bool | None
    """None: no target was set for it."""


class Reclaim(_Model):
    """`results/reclaim.json`."""

    accel: str
    lent_bytes: int
    disk_iops: int
    bad_pages: int
    series: tuple[Series, ...]


def series(mode: str, load: Load, samples_s: Sequence[float], parts: Sequence[Mapping[str, float]]) -> Series:
    """Sum up the rounds of one mode under one load; `parts` has the steps of each round."""
    target_s = TARGETS_S.get((mode, load))
    worst_s = max(samples_s)
    names = list(dict.fromkeys(name for part in parts for name in part))
    return Series(
        mode=mode,
        load=load,
        samples_s=tuple(samples_s),
        parts_s={name: median(part[name] for part in parts if name in part) for name in names},
        p50_s=median(samples_s),
        worst_s=worst_s,
        target_s=target_s,
        met=None if target_s is None else worst_s <= target_s,
    )
