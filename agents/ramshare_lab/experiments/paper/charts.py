"""The paper's figures 2 and 3 as ratios."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ramshare_lab.experiments import charts
from ramshare_lab.experiments.paper.results import Compared, Paper
from ramshare_lab.experiments.results import TITLES, ResultsError
from ramshare_lab.load.thrash_lines import Pattern

PAPER_SEQUENTIAL_READ = 3.0
"""How many times faster the paper's remote swap was at sequential reads (its section on figure 3)."""
PAPER_RANDOM_READ = (15.0, 20.0)
"""The same for random reads, as the range that it names."""
_LINES = {
    Pattern.SEQUENTIAL_READ: (charts.BLUE, "o", "-"),
    Pattern.SEQUENTIAL_WRITE: (charts.GREEN, "s", "--"),
    Pattern.RANDOM_READ: (charts.ORANGE, "^", "-"),
    Pattern.RANDOM_WRITE: (charts.PINK, "D", "--"),
}
_MARKS = (
    (1.0, "no gain", charts.QUIET),
    (PAPER_SEQUENTIAL_READ, "paper: sequential\nread 3×", charts.BLUE),
    ((PAPER_RANDOM_READ[0] * PAPER_RANDOM_READ[1]) ** 0.5, "paper: random\nread 15–20×", "#9a6a00"),
)
"""What stands at the right of a ratio chart: height, words, colour (a darker orange, legible on white)."""


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
        tick=charts.bytes_label,
    )


def data_chart(results: Paper, path: Path) -> Path:
    """Draw the paper's figure 3, the ratio by data size, into `path` (PNG)."""
    block = charts.bytes_label(_first(results.figure3).block_size_bytes)
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
    figure, axes = charts.canvas(8.8, 5.4)
    xs = [x_of(point) for point in points]
    ys = [point.ratio.of(pattern) for point in points for pattern in Pattern]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.axhspan(*PAPER_RANDOM_READ, color=charts.ORANGE, alpha=0.16, lw=0, zorder=0)
    axes.axhline(PAPER_SEQUENTIAL_READ, color=charts.BLUE, alpha=0.55, lw=1.2, ls=(0, (6, 3)), zorder=0)
    axes.axhline(1, color=charts.QUIET, lw=1, zorder=1)
    for pattern, (colour, marker, dash) in _LINES.items():
        values = [point.ratio.of(pattern) for point in points]
        style = {"color": colour, "marker": marker, "ls": dash, "lw": 2, "ms": 7, "mec": "white", "mew": 0.8}
        axes.plot(xs, values, label=TITLES[pattern].capitalize(), zorder=3, **style)
    axes.set_ylim(min([0.7, *(y / 1.4 for y in ys)]), max([30, *(y * 1.4 for y in ys)]))
    axes.minorticks_off()
    axes.set_yticks([tick for tick in (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 20, 50, 100, 200) if _inside(axes, tick)])
    axes.yaxis.set_major_formatter(charts.plain)
    axes.set_xticks(xs, [tick(x) for x in xs])
    axes.set_xlabel(x_label)
    axes.set_ylabel("Throughput on remote swap / on local disk (log scale)")
    for y, text, colour in _MARKS:
        axes.annotate(text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=colour)
    if usable_ram is not None:
        axes.axvline(usable_ram, color=charts.QUIET, lw=1, ls=":", zorder=1)
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axes.annotate("usable RAM", (usable_ram, 0.97), (5, 0), va="top", **place, fontsize=9, color=charts.QUIET)
    charts.titles(axes, title, subtitle)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, fontsize=10)
    return charts.save(figure, path)


def _setting(results: Paper) -> str:
    disk, machine = results.disk_model, charts.machine(results.accel)
    return f"{results.mode}; local disk {disk.iops} IOPS, {disk.bytes_per_s / 1e6:.0f} MB/s; {machine}"


def _first(points: Sequence[Compared]) -> Compared:
    if not points:
        raise ResultsError("no point was measured in both places", "let make paper run to its end")
    return points[0]


def _inside(axes: Any, y: float) -> bool:
    low, high = axes.get_ylim()
    return bool(low <= y <= high)
