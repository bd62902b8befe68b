"""`results/demo.png`: the demo's bars."""

from pathlib import Path

from ramshare_lab.experiments import charts
from ramshare_lab.experiments.demo.results import Demo
from ramshare_lab.experiments.results import MODES, TITLES, Four, Mode
from ramshare_lab.load.thrash_lines import Pattern


def demo_chart(results: Demo, path: Path) -> Path:
    """Draw the demo's four patterns by where the swap lay, with speed-ups on the remote bars, into `path` (PNG)."""
    figure, axes = charts.canvas(12.8, 5.8)
    series = _demo_series(results)
    width = 0.82 / len(series)
    for place, (label, colour, four, speedup) in enumerate(series):
        for at, pattern in enumerate(Pattern):
            x, value = at + (place - (len(series) - 1) / 2) * width, four.of(pattern)
            axes.bar(x, value, width * 0.94, color=colour, label=label if at == 0 else None, zorder=2)
            axes.annotate(_short(value), (x, value), (0, 3), **_above, fontsize=8.5, color=charts.QUIET)
            if speedup is not None:
                text = f"{_short(speedup.of(pattern))}×"
                axes.annotate(text, (x, value), (0, 14), **_above, fontsize=9, fontweight="bold", color=charts.INK)
    axes.set_yscale("log")
    values = [four.of(pattern) for _, _, four, _ in series for pattern in Pattern]
    axes.set_ylim(min(values) / 2.5, max(values) * 3)
    axes.set_xticks(range(len(Pattern)), [TITLES[pattern].capitalize() for pattern in Pattern])
    axes.tick_params(axis="x", length=0, labelsize=10.5)
    axes.yaxis.set_major_formatter(charts.plain)
    axes.set_ylabel("Throughput, MB/s (log scale)")
    charts.titles(axes, "Swap on remote memory against swap on the local disk", _demo_subtitle(results))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=len(series), frameon=False, fontsize=10)
    return charts.save(figure, path)


_above = {"textcoords": "offset points", "ha": "center", "va": "bottom"}


_COLOURS: dict[Mode, str] = {
    "move": charts.BLUE,
    "move_plain": charts.INK,
    "pair": charts.PINK,
    "mirror": charts.ORANGE,
}


def _demo_series(results: Demo) -> list[tuple[str, str, Four, Four | None]]:
    speedup = results.speedup.measured
    return [
        ("Local disk", charts.GREY, results.throughput_mb_s.local, None),
        *(
            (f"Remote: {MODES[mode]}", _COLOURS[mode], four, speedup[mode])
            for mode, four in results.throughput_mb_s.measured.items()
        ),
        ("RAM disk, no network", charts.GREEN, results.throughput_mb_s.ceiling, None),
    ]


def _demo_subtitle(results: Demo) -> str:
    lenders = len({lease.lender for lease in results.leases})
    return (
        f"{results.data_size_bytes / 1e6:.0f} MB of data, blocks of {charts.bytes_label(results.block_size_bytes)}, "
        f"{lenders} lender{'s' if lenders > 1 else ''}; local disk {results.disk_model.iops} IOPS, "
        f"{results.disk_model.bytes_per_s / 1e6:.0f} MB/s; {charts.machine(results.accel)}. Bold: speed-up."
    )


def _short(value: float) -> str:
    """Two significant digits below 10, whole numbers above."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
