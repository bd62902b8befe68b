"""`results/surplus.json`: what lending a guest's spare memory costs that guest. Several measurements fill it in."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median, stdev

from pydantic import BaseModel, ConfigDict, ValidationError

from ramshare_lab.experiments.results import ResultsError, save

TARGET_SLOWDOWN = 0.02
"""The project's promise to a guest whose memory is lent."""


class SurplusRound(BaseModel):
    """One guest's memory lent and taken back. Times of the demand count from its first byte."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    freed_to_offer_s: float
    """From the guest's memory being free until so much was offered as the borrower asks for."""
    host_gained_bytes: int
    """By how much the guest's process on the host shrank meanwhile."""
    demand_to_memory_s: float
    offer_falls_s: float
    lease_back_s: float
    """Until the lender had the lease's memory back; until then the host's reserve stood in for it."""
    fill_s: float
    """How long the demanding process took to fill its memory..."""
    fill_alone_s: float
    """...and how long without lending."""
    swapped_pages: int
    lent_rates: tuple[float, ...]
    """Accesses a second of the guest's own work while its memory was lent..."""
    alone_rates: tuple[float, ...]
    """...and right before, without lending."""


def slowdown(rounds: Sequence[SurplusRound]) -> float:
    """Return the guest's slowdown by lending: the median over the rounds.

    Each round's work is compared with the mean of the work without lending right before and, by the next round, after.
    """
    return median(_slowdowns(rounds))


def noise(rounds: Sequence[SurplusRound]) -> float | None:
    """Return the standard error of the slowdown, by how much the rounds differ; None for one round."""
    return stdev(_slowdowns(rounds)) / len(rounds) ** 0.5 if len(rounds) > 1 else None


def _slowdowns(rounds: Sequence[SurplusRound]) -> list[float]:
    alone = [median(each.alone_rates) for each in rounds]
    around = [(before + after) / 2 for before, after in pairwise([*alone, alone[-1]])]
    return [rate / median(each.lent_rates) - 1.0 for rate, each in zip(around, rounds, strict=True)]


class SurplusResults(BaseModel):
    """The file. Each measurement fills in its own part; what was not measured yet is absent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    demand_to_memory_s: float | None = None
    """From a guest's sudden demand until its balloon has given it the memory; of the slowest round."""
    guest_swapped_pages: int | None = None
    """Pages that the guest swapped out meanwhile; of the worst round."""
    guest_slowdown: float | None = None
    """Its own work's time with its memory lent, over its time without, minus 1: the median of the rounds."""
    guest_slowdown_noise: float | None = None
    """Its standard error: a smaller slowdown means nothing."""
    accel: str | None = None
    """How the guest was run: absolute times under emulation (`tcg`) mean little."""
    guest_memory_bytes: int | None = None
    demand_bytes: int | None = None
    lent_bytes: int | None = None
    """The lease that the borrower had of it."""
    bad_pages: int | None = None
    """Of the borrower's pages, after all rounds."""
    rounds: tuple["SurplusRound", ...] | None = None

    monitor_rss_bytes: int | None = None
    monitor_cpu_share: float | None = None
    """Of one core, with one report every `monitor_interval_s`, over `monitor_seconds`."""
    monitor_interval_s: float | None = None
    monitor_seconds: float | None = None
    monitor_reports: int | None = None


def load_surplus(path: Path) -> SurplusResults:
    """Read the file, empty if there is none. Raises `ResultsError` if it is damaged."""
    try:
        return SurplusResults.model_validate_json(path.read_text())
    except FileNotFoundError:
        return SurplusResults()
    except (OSError, ValidationError) as problem:
        raise ResultsError(f"cannot read {path}", "delete it, and measure again") from problem


def add(path: Path, part: SurplusResults) -> SurplusResults:
    """Put what `part` measured into the file and return all of it."""
    merged = SurplusResults.model_validate({**load_surplus(path).model_dump(), **part.model_dump(exclude_none=True)})
    save(merged, path)
    return merged
