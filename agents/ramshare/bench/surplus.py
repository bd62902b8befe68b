"""`results/surplus.json`: what lending a guest's spare memory costs that guest. Several measurements fill it in."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ramshare.bench.results import ResultsError, save


class SurplusResults(BaseModel):
    """The file. Each measurement fills in its own part; what was not measured yet is absent."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    demand_to_memory_s: float | None = None
    """From a guest's sudden demand until its balloon has given it the memory."""
    guest_swapped_pages: int | None = None
    """Pages that the guest swapped out meanwhile."""
    guest_slowdown: float | None = None
    """Its own work's time with lending, over its time without, minus 1."""
    accel: str | None = None
    """How the guest was run: absolute times under emulation (`tcg`) mean little."""

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
    merged = load_surplus(path).model_copy(update=part.model_dump(exclude_none=True))
    save(merged, path)
    return merged
