"""The results of an evaluation: model, table and chart."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from ramshare_lab.experiments import charts
from ramshare_lab.experiments.evaluate.play import Outcome
from ramshare_lab.experiments.evaluate.scene import Scene
from ramshare_lab.experiments.results import Model

NAMES = {
    "disk": "no lending",
    "migration": "live migration only",
    "ramshare": "ramshare",
    "infiniswap": "Infiniswap's rules",
    "memtrade": "Memtrade's rules",
}
ANCHORS = (
    "Infiniswap raised the memory in use of 32 hosts from 40.8 to 60 % (NSDI 2017); Memtrade lent with 4.6 % taken "
    "back early (SIGMETRICS 2023). Those were other loads: the rows above are to be compared with each other."
)


class Row(Model):
    """One way of lending; see `play.Outcome`."""

    rule: str
    memory_in_use: float
    off_disk: float
    """Of what would be swapped to disk if nothing were done: the part that is not."""
    short_bytes: float
    disk_bytes: float
    loans: int
    revocations: int
    revoked_early: float
    harmed: float
    lenders: int
    largest_lender: float
    migrations: int


class Evaluation(Model):
    """`results/evaluate.json`."""

    trace: str
    seed: int
    hosts: int
    hours: float
    warmup_hours: float
    step_s: float
    memory_bytes: float
    rows: list[Row]
    seconds: float


def evaluation(trace: str, seed: int, scene: Scene, outcomes: list[Outcome], seconds: float) -> Evaluation:
    """Return the results of one run."""
    hour_steps = 3600.0 / scene.step_s
    worst_bytes = next(outcome.disk_bytes for outcome in outcomes if outcome.rule == "disk")
    return Evaluation(
        trace=trace,
        seed=seed,
        hosts=len(scene.hosts),
        hours=scene.steps / hour_steps,
        warmup_hours=scene.warmup_steps / hour_steps,
        step_s=scene.step_s,
        memory_bytes=sum(host.memory_bytes for host in scene.hosts),
        rows=[
            Row(**asdict(outcome), off_disk=1.0 - outcome.disk_bytes / worst_bytes if worst_bytes else 1.0)
            for outcome in outcomes
        ],
        seconds=seconds,
    )


def table(found: Evaluation) -> Table:
    """Return the table that people see."""
    shown = Table(
        title=f"{found.hosts} hosts of {found.trace}, {found.hours:g} h",
        title_justify="left",
        caption=ANCHORS,
        box=None,
    )
    shown.add_column("way of lending")
    for head in (
        "memory in use",
        "swap off the disk",
        "loans",
        "taken back",
        "early",
        "lenders harmed",
        "lenders",
        "largest",
        "moves",
    ):
        shown.add_column(head, justify="right")
    for row in found.rows:
        shown.add_row(
            NAMES[row.rule],
            f"{row.memory_in_use:.1%}",
            f"{row.off_disk:.1%}",
            str(row.loans),
            str(row.revocations),
            f"{row.revoked_early:.1%}",
            f"{row.harmed:.3%}",
            str(row.lenders),
            f"{row.largest_lender:.1%}",
            str(row.migrations),
        )
    return shown


def draw(found: Evaluation, path: Path) -> Path:
    """Draw where swap was and how much memory was in use, and return where."""
    figure, axes = charts.canvas(8.5, 4.6)
    places = range(len(found.rows))
    _bars(axes, [place - 0.2 for place in places], [100 * row.memory_in_use for row in found.rows], charts.BLUE)
    _bars(axes, [place + 0.2 for place in places], [100 * row.off_disk for row in found.rows], charts.ORANGE)
    axes.set_xticks(list(places), [NAMES[row.rule] for row in found.rows])
    axes.set_ylabel("%")
    axes.set_ylim(0, 108)
    axes.legend(
        ["the cluster's memory in use", "of the swap without lending: kept off the disk"],
        frameon=False,
        loc="upper left",
    )
    charts.titles(
        axes,
        "What lending makes of a cluster",
        f"{found.hosts} hosts replayed from {found.trace}, {found.hours:g} h, seed {found.seed}",
    )
    return charts.save(figure, path)


def _bars(axes: Any, places: list[float], values: list[float], colour: str) -> None:
    bars = axes.bar(places, values, 0.38, color=colour, zorder=2)
    axes.bar_label(bars, [f"{value:.0f}" for value in values], padding=2, fontsize=9)
