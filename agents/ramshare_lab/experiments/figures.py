"""Charts of what was measured: the demo's bars and the paper's figures 2 and 3 as ratios.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; lines differ in marker and dash as well.
matplotlib comes with the `bench` extra and is imported on use only, so that agents never load it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ramshare.errors import MissingPartError
from ramshare_lab.experiments.results import TITLES, Demo, Four, ResultsError
from ramshare_lab.experiments.sweeps import Compared, Paper
from ramshare_lab.load.thrash_lines import Pattern

DPI = 160
INK = "#222222"
QUIET = "#6b6b6b"
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#8c8c8c"

PAPER_SEQUENTIAL_READ = 3.0
"""How many times faster the paper's remote swap was at sequential reads (its section on figure 3)."""
PAPER_RANDOM_READ = (15.0, 20.0)
"""The same for random reads, as the range that it names."""

_LINES = {
    Pattern.SEQUENTIAL_READ: (BLUE, "o", "-"),
    Pattern.SEQUENTIAL_WRITE: (GREEN, "s", "--"),
    Pattern.RANDOM_READ: (ORANGE, "^", "-"),
    Pattern.RANDOM_WRITE: (PINK, "D", "--"),
}


_MARKS = (
    (1.0, "no gain", QUIET),
    (PAPER_SEQUENTIAL_READ, "paper: sequential\nread 3×", BLUE),
    ((PAPER_RANDOM_READ[0] * PAPER_RANDOM_READ[1]) ** 0.5, "paper: random\nread 15–20×", "#9a6a00"),
)
"""What stands at the right of a ratio chart: height, words, colour (a darker orange, legible on white)."""

_MACHINES = {"tcg": "emulated machine (tcg)", "kvm": "KVM"}


def demo_chart(results: Demo, path: Path) -> Path:
    """Draw the demo's four patterns by where the swap lay, with speed-ups on the remote bars, into `path` (PNG)."""
    figure, axes = _canvas(9.6, 5.4)
    series = _demo_series(results)
    width = 0.82 / len(series)
    for place, (label, colour, four, speedup) in enumerate(series):
        for at, pattern in enumerate(Pattern):
            x, value = at + (place - (len(series) - 1) / 2) * width, four.of(pattern)
            axes.bar(x, value, width * 0.94, color=colour, label=label if at == 0 else None, zorder=2)
            axes.annotate(_short(value), (x, value), (0, 3), **_above, fontsize=8.5, color=QUIET)
            if speedup is not None:
                text = f"{_short(speedup.of(pattern))}×"
                axes.annotate(text, (x, value), (0, 14), **_above, fontsize=11, fontweight="bold", color=INK)
    axes.set_yscale("log")
    values = [four.of(pattern) for _, _, four, _ in series for pattern in Pattern]
    axes.set_ylim(min(values) / 2.5, max(values) * 3)
    axes.set_xticks(range(len(Pattern)), [TITLES[pattern].capitalize() for pattern in Pattern])
    axes.tick_params(axis="x", length=0, labelsize=10.5)
    axes.yaxis.set_major_formatter(_plain)
    axes.set_ylabel("Throughput, MB/s (log scale)")
    _titles(axes, "Swap on remote memory against swap on the local disk", _demo_subtitle(results))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=len(series), frameon=False, fontsize=10)
    return _save(figure, path)


def block_chart(results: Paper, path: Path) -> Path:
    """Draw the paper's figure 2, the ratio by block size, into `path` (PNG)."""
    size_mb = _first(results.figure2).data_size_bytes / 1e6
    ram_mb = results.usable_ram_bytes / 1e6
    return _ratio_chart(
        results.figure2,
        lambda point: float(point.block_size_bytes),
        path,
        title="Gain of remote swap by block size (the paper's figure 2)",
        subtitle=f"{size_mb:.0f} MB of data, {ram_mb:.0f} MB of usable RAM; {_setting(results)}",
        x_label="Block size of one access",
        tick=_bytes_label,
    )


def data_chart(results: Paper, path: Path) -> Path:
    """Draw the paper's figure 3, the ratio by data size, into `path` (PNG)."""
    block = _bytes_label(_first(results.figure3).block_size_bytes)
    return _ratio_chart(
        results.figure3,
        lambda point: point.data_size_bytes / 1e6,
        path,
        title="Gain of remote swap by data size (the paper's figure 3)",
        subtitle=f"Blocks of {block}; {_setting(results)}",
        x_label="Data size, MB",
        tick=lambda value: f"{value:.0f}",
        usable_ram=results.usable_ram_bytes / 1e6,
    )


def _ratio_chart(
    points: Sequence[Compared],
    x_of: Callable[[Compared], float],
    path: Path,
    *,
    title: str,
    subtitle: str,
    x_label: str,
    tick: Callable[[float], str],
    usable_ram: float | None = None,
) -> Path:
    figure, axes = _canvas(8.8, 5.4)
    xs = [x_of(point) for point in points]
    ys = [point.ratio.of(pattern) for point in points for pattern in Pattern]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.axhspan(*PAPER_RANDOM_READ, color=ORANGE, alpha=0.16, lw=0, zorder=0)
    axes.axhline(PAPER_SEQUENTIAL_READ, color=BLUE, alpha=0.55, lw=1.2, ls=(0, (6, 3)), zorder=0)
    axes.axhline(1, color=QUIET, lw=1, zorder=1)
    for pattern, (colour, marker, dash) in _LINES.items():
        values = [point.ratio.of(pattern) for point in points]
        style = {"color": colour, "marker": marker, "ls": dash, "lw": 2, "ms": 7, "mec": "white", "mew": 0.8}
        axes.plot(xs, values, label=TITLES[pattern].capitalize(), zorder=3, **style)
    axes.set_ylim(min([0.7, *(y / 1.4 for y in ys)]), max([30, *(y * 1.4 for y in ys)]))
    axes.minorticks_off()
    axes.set_yticks([tick for tick in (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 20, 50, 100, 200) if _inside(axes, tick)])
    axes.yaxis.set_major_formatter(_plain)
    axes.set_xticks(xs, [tick(x) for x in xs])
    axes.set_xlabel(x_label)
    axes.set_ylabel("Throughput on remote swap / on local disk (log scale)")
    for y, text, colour in _MARKS:
        axes.annotate(text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=colour)
    if usable_ram is not None:
        axes.axvline(usable_ram, color=QUIET, lw=1, ls=":", zorder=1)
        note = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 9, "color": QUIET}
        axes.annotate("usable RAM", (usable_ram, 0.97), (5, 0), va="top", **note)
    _titles(axes, title, subtitle)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, fontsize=10)
    return _save(figure, path)


_above = {"textcoords": "offset points", "ha": "center", "va": "bottom"}


def _demo_series(results: Demo) -> list[tuple[str, str, Four, Four | None]]:
    by_place, speedup = results.throughput_mb_s, results.speedup
    series: list[tuple[str, str, Four, Four | None]] = [
        ("Local disk", GREY, by_place.local, None),
        ("Remote memory (move)", BLUE, by_place.move, speedup.move),
    ]
    if by_place.mirror is not None:
        series.append(("Remote memory (mirror)", ORANGE, by_place.mirror, speedup.mirror))
    return [*series, ("Ceiling: RAM disk, no network", GREEN, by_place.ceiling, None)]


def _demo_subtitle(results: Demo) -> str:
    lenders = len({lease.lender for lease in results.leases})
    return (
        f"{results.data_size_bytes / 1e6:.0f} MB of data, blocks of {_bytes_label(results.block_size_bytes)}, "
        f"{lenders} lender{'s' if lenders > 1 else ''}; local disk {results.disk_model.iops} IOPS, "
        f"{results.disk_model.bytes_per_s / 1e6:.0f} MB/s; {_machine(results.accel)}. Bold: speed-up."
    )


def _setting(results: Paper) -> str:
    disk = results.disk_model
    return f"{results.mode}; local disk {disk.iops} IOPS, {disk.bytes_per_s / 1e6:.0f} MB/s; {_machine(results.accel)}"


def _machine(accel: str) -> str:
    return _MACHINES.get(accel, accel)


def _first(points: Sequence[Compared]) -> Compared:
    if not points:
        raise ResultsError("no point was measured in both places", "let make paper run to its end")
    return points[0]


def _canvas(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise MissingPartError("charts need matplotlib", "pip install 'ramshare[bench]'") from missing
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b0b0b0")
    axes.grid(axis="y", which="major", color="#e4e4e4", lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    return figure, axes


def _titles(axes: Any, title: str, subtitle: str) -> None:
    axes.set_title(title, loc="left", fontsize=14, fontweight="bold", color=INK, pad=26)
    axes.annotate(
        subtitle, (0, 1), (0, 10), xycoords="axes fraction", textcoords="offset points", fontsize=9.5, color=QUIET
    )


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _inside(axes: Any, y: float) -> bool:
    low, high = axes.get_ylim()
    return bool(low <= y <= high)


def _short(value: float) -> str:
    """Two significant digits below 10, whole numbers above."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _plain(value: float, _: object = None) -> str:
    return f"{value:g}"


def _bytes_label(value: float) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"
