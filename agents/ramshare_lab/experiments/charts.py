"""What all charts have in common: canvas, colours, titles, labels.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; lines differ in marker and dash as well.
matplotlib is imported on use only, so that other commands start faster.
"""

from pathlib import Path
from typing import Any

from ramshare.errors import MissingPartError

DPI = 160
INK = "#222222"
QUIET = "#6b6b6b"
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#8c8c8c"
_MACHINES = {"tcg": "emulated machine (tcg)", "kvm": "KVM"}


def machine(accel: str) -> str:
    """Return what ran the hosts, in words."""
    return _MACHINES.get(accel, accel)


def canvas(width: float, height: float) -> tuple[Any, Any]:
    """Return an empty figure of so many inches and its axes. Raises `MissingPartError`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise MissingPartError("charts need matplotlib", "pip install matplotlib") from missing
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b0b0b0")
    axes.grid(axis="y", which="major", color="#e4e4e4", lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    return figure, axes


def titles(axes: Any, title: str, subtitle: str) -> None:
    """Write a title and a smaller line beneath it above the axes."""
    axes.set_title(title, loc="left", fontsize=14, fontweight="bold", color=INK, pad=26)
    axes.annotate(
        subtitle, (0, 1), (0, 10), xycoords="axes fraction", textcoords="offset points", fontsize=9.5, color=QUIET
    )


def save(figure: Any, path: Path) -> Path:
    """Write a figure as PNG and return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def plain(value: float, _: object = None) -> str:
    """Return the label of a tick, without exponents."""
    return f"{value:g}"


def bytes_label(value: float) -> str:
    """Return a size in the largest unit that it fills."""
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"
