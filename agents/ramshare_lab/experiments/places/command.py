"""`ramshare bench modes` and `ramshare bench targets`, with their table and chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ramshare.errors import ExitCode
from ramshare_lab.experiments import charts
from ramshare_lab.experiments.demo.scenario import DemoPlan
from ramshare_lab.experiments.places.results import Places
from ramshare_lab.experiments.places.scenario import MODES, TARGETS, Visit, run_places
from ramshare_lab.experiments.results import TITLES, save, tell
from ramshare_lab.load.thrash_lines import Pattern
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing

Seconds = Annotated[float, typer.Option(min=1.0, max=600.0, help="Time for each access pattern in each place.")]
Chosen = Annotated[list[str] | None, typer.Option("--place", help="Places to measure; all by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results instead of the table.")]
COLOURS = (charts.GREY, charts.BLUE, charts.QUIET, charts.PINK, charts.GREEN, charts.ORANGE, charts.INK)


def modes(
    name: Name = "modes",
    results: Results = Path("results"),
    seconds: Seconds = 60.0,
    place: Chosen = None,
    accel: Accel = "",
    as_json: AsJson = False,
) -> None:
    """Measure the ways to attach, nbd, the local disk and a RAM disk, a minute each pattern (about 40 minutes).

    A burst hides a slow leg behind the host's memory; a minute does not. Every place is measured from an array that was
    filled anew. Places: local, move, move-plain (not encrypted, as
    nbd), pair, mirror, nbd, ceiling.
    """
    _measure(MODES, "modes", name, results, seconds, place or [], accel, as_json)


def targets(
    name: Name = "targets",
    results: Results = Path("results"),
    seconds: Seconds = 20.0,
    place: Chosen = None,
    accel: Accel = "",
    as_json: AsJson = False,
) -> None:
    """Measure what serves a lease: tgt, LIO, nbdkit and nvmet, with the lender in a virtual machine (20 minutes).

    Places: move and move-plain (not encrypted; by tgt, then by LIO), nbd, nvme-tcp.
    """
    _measure(TARGETS, "targets", name, results, seconds, place or [], accel, as_json)


def _measure(
    visits: Sequence[Visit],
    title: str,
    name: str,
    results: Path,
    seconds: float,
    wanted: Sequence[str],
    accel: str,
    as_json: bool,
) -> None:
    known = {place + suffix for visit in visits for place in visit.names for suffix in ("", visit.suffix)}
    if unknown := sorted(set(wanted) - known):
        raise typer.BadParameter(f"no such place: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    with interruptible(), showing() as show:
        found = run_places([visit.only(wanted) for visit in visits], DemoPlan(seconds=seconds), name, accel, show)
    save(found, results / f"{title}.json")
    drawn = places_chart(found, results / f"{title}.png")
    tell(found, [results / f"{title}.json", drawn], places_table(found), as_json=as_json)
    if found.bad_pages:
        raise typer.Exit(ExitCode.FAILED)


def places_table(found: Places) -> Table:
    """Return the terminal's table: a row for each place."""
    title = f"Swap throughput, MB/s, {found.seconds:g} s for each: {found.data_size_bytes / 1e6:.0f} MB of data"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, caption=caption(found))
    table.caption_justify = "left"
    table.add_column("place", no_wrap=True)
    for pattern in Pattern:
        table.add_column(TITLES[pattern], justify="right")
    for head in ("bare: random read, µs", "in order, MB/s"):
        table.add_column(head, justify="right")
    for place in found.places:
        raw = place.raw
        bare = (f"{raw.random_read_latency_us:.0f}", f"{raw.sequential_read_mb_s:.0f}") if raw else ("", "")
        table.add_row(place.name, *(f"{place.swap_mb_s.of(pattern):.3g}" for pattern in Pattern), *bare)
    return table


def caption(found: Places) -> str:
    """Return the lines below the table."""
    pages = "no page lost or mixed up" if found.bad_pages == 0 else f"{found.bad_pages} BAD PAGES"
    lines = [f"{pages}. Machine: {found.accel}; lenders: {found.lenders}; disk {found.disk_model.iops} IOPS."]
    lines += [
        f"{goal.name}: {goal.reached:.2f} (goal {goal.wanted:g}: {'met' if goal.met else 'MISSED'})"
        for goal in found.goals
    ]
    return "\n".join(lines)


def places_chart(found: Places, path: Path) -> Path:
    """Draw the four patterns by place into `path` (PNG)."""
    figure, axes = charts.canvas(9.6, 5.4)
    width = 0.82 / len(found.places)
    for number, place in enumerate(found.places):
        for at, pattern in enumerate(Pattern):
            x, value = at + (number - (len(found.places) - 1) / 2) * width, place.swap_mb_s.of(pattern)
            colour = COLOURS[number % len(COLOURS)]
            axes.bar(x, value, width * 0.94, color=colour, label=place.name if at == 0 else None, zorder=2)
            axes.annotate(f"{value:.3g}", (x, value), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(Pattern)), [TITLES[pattern].capitalize() for pattern in Pattern])
    axes.yaxis.set_major_formatter(charts.plain)
    axes.set_ylabel("Throughput, MB/s (log scale)")
    subtitle = f"{found.seconds:g} s for each pattern, array filled anew; {charts.machine(found.accel)}"
    charts.titles(axes, "The same swap volume in many places", subtitle)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=len(found.places), frameon=False, fontsize=10)
    return charts.save(figure, path)
