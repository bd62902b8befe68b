"""The frontier of surplus policies as a chart: what each lends against the harm it does. For `ramshare policy compare`.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; policies differ in marker as well.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ramshare.errors import MissingPartError, RamshareError
from ramshare_lab.policies.compare import Point

HARM_TARGET = 0.0002
EARLY_TARGET = 0.045
LENT_TARGET = 0.84
"""What a policy has to reach, all three at once."""

DPI = 160
INK, QUIET, GREEN = "#222222", "#6b6b6b", "#009E73"
STYLES = (("#0072B2", "o"), ("#E69F00", "s"), ("#CC79A7", "^"), ("#56B4E9", "D"), ("#8c8c8c", "v"))


def draw(points: Sequence[Point], title: str, path: Path) -> Path:
    """Draw every policy's line into `path` (PNG). Raises `RamshareError` if it cannot be written."""
    figure, axes = _canvas()
    floor = 0.5 / max(point.score.host_steps for point in points)
    names = list(dict.fromkeys(point.policy for point in points))
    for name, (colour, marker) in zip(names, STYLES * len(names), strict=False):
        _line(axes, [point for point in points if point.policy == name], floor, colour, marker)
    low = max(0.0, min(point.score.lent_of_oracle for point in points) - 0.03)
    high = max(1.0, *(point.score.lent_of_oracle for point in points))
    axes.set_xscale("log")
    axes.set_ylim(low, high)
    target = (min(1.0, max(0.0, (LENT_TARGET - low) / (high - low))), 1.0)
    axes.axvspan(floor / 1.5, HARM_TARGET, *target, color=GREEN, alpha=0.12, lw=0, zorder=0)
    axes.set_xlim(left=floor / 1.5)
    axes.set_xlabel("harm rate: share of steps after which the host's next demand did not fit (log)")
    axes.set_ylabel("lent, as a share of what perfect foresight could lend")
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.legend(loc="lower right", frameon=False, fontsize=9)
    note = (
        f"Large: as a lender runs it. Filled: at most {EARLY_TARGET:.1%} of new loans taken back within the hour.\n"
        f"Green: the target, at least {LENT_TARGET} lent at a harm rate of at most {HARM_TARGET}."
    )
    figure.supxlabel(note, fontsize=8, color=QUIET, x=0.01, ha="left")
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise RamshareError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _line(axes: Any, points: Sequence[Point], floor: float, colour: str, marker: str) -> None:
    ordered = sorted(points, key=lambda point: point.caution)
    xs = [max(point.score.harm_rate, floor) for point in ordered]
    axes.plot(xs, [point.score.lent_of_oracle for point in ordered], color=colour, lw=1.6, zorder=2)
    for x, point in zip(xs, ordered, strict=True):
        usual = point.caution == 1.0
        face = colour if point.score.early_rate <= EARLY_TARGET else "white"
        style = {"color": colour, "marker": marker, "ms": 11 if usual else 5.5, "mfc": face, "mew": 1.4}
        axes.plot([x], [point.score.lent_of_oracle], ls="", label=point.policy if usual else None, zorder=3, **style)


def _canvas() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise MissingPartError("charts need matplotlib", "pip install 'ramshare[policy]'") from missing
    figure = Figure(figsize=(9.0, 5.8), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    return figure, axes
