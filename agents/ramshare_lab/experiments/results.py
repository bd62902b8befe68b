"""What all results files have in common: figures by access pattern, ratios, and how a file is written.

Pure, but for `save` and `tell`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import typer
from pydantic import BaseModel, ConfigDict
from rich.console import RenderableType

from ramshare.cli.output import note, out
from ramshare.errors import RamshareError
from ramshare_lab.load.thrash_lines import Pattern, Result

Mode = Literal["move", "move_plain", "pair", "mirror"]
"""A way to attach; `move_plain` is a move whose lenders get the pages as they are."""
MODES: dict[Mode, str] = {
    "move": "move",
    "move_plain": "move, not encrypted",
    "pair": "pair",
    "mirror": "mirror",
}
TITLES = {
    Pattern.SEQUENTIAL_READ: "sequential read",
    Pattern.SEQUENTIAL_WRITE: "sequential write",
    Pattern.RANDOM_READ: "random read",
    Pattern.RANDOM_WRITE: "random write",
}


class ResultsError(RamshareError):
    """Measurements that cannot be compared, or a results file that cannot be read."""


class Model(BaseModel):
    """A part of a results file."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Four(Model):
    """One figure for each access pattern."""

    sequential_read: float
    sequential_write: float
    random_read: float
    random_write: float

    def of(self, pattern: Pattern) -> float:
        """Return the figure of one pattern."""
        return float(getattr(self, pattern.value))


class DiskModel(Model):
    """What the local disk was limited to."""

    iops: int
    bytes_per_s: int


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


def to_json(model: BaseModel) -> str:
    """Return a results model as indented JSON, five significant digits, without what was not measured."""
    return json.dumps(_rounded(model.model_dump(mode="json", exclude_none=True)), indent=2) + "\n"


def save(model: BaseModel, path: Path) -> None:
    """Write a results model as JSON, in one step, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(to_json(model))
    part.replace(path)


def tell(model: BaseModel, written: Sequence[Path], *shown: RenderableType, as_json: bool) -> None:
    """Print a results model, as JSON or as what is `shown`, and note which files were written."""
    if as_json:
        typer.echo(to_json(model), nl=False)
    else:
        out().print(*shown)
    note(f"written: {', '.join(map(str, written))}")


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
