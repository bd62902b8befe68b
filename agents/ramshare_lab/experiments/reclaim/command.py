"""`ramshare bench reclaim`: how fast a lender has its memory back, with its table."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ramshare.errors import ExitCode
from ramshare.messages.state import Mode
from ramshare_lab.experiments.reclaim.results import Reclaim, Series
from ramshare_lab.experiments.reclaim.scenario import ReclaimPlan, run_reclaim
from ramshare_lab.experiments.results import save, tell
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing


def reclaim(
    name: Name = "reclaim",
    results: Results = Path("results"),
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Reclaims of each kind.")] = 10,
    modes: Annotated[list[Mode] | None, typer.Option("--mode", help="Ways to attach; all by default.")] = None,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/reclaim.json instead of the table.")] = False,
) -> None:
    """Measure in a lab how long a lender waits for 256 MB that it wants back (about 30 minutes; needs root)."""
    plan = ReclaimPlan(rounds=rounds, modes=tuple(modes) if modes else ReclaimPlan.modes)
    with interruptible(), showing() as show:
        measured = run_reclaim(plan, name, accel, show.stage, show.note)
    save(measured, results / "reclaim.json")
    tell(measured, [results / "reclaim.json"], reclaim_table(measured), as_json=as_json)
    if measured.bad_pages:
        raise typer.Exit(ExitCode.FAILED)


def reclaim_table(measured: Reclaim) -> Table:
    """Return the figures, a row for each mode and load."""
    title = f"{measured.lent_bytes / 1e6:.0f} MB back with the lender, seconds; {measured.bad_pages} bad pages"
    table = Table("mode", "load", title=title, title_justify="left")
    for head in ("p50", "worst", "target"):
        table.add_column(head, justify="right")
    table.add_column("where the time goes")
    for row in measured.series:
        table.add_row(row.mode, row.load, f"{row.p50_s:.2f}", f"{row.worst_s:.2f}", _target(row), _parts(row))
    return table


def _target(row: Series) -> str:
    if row.target_s is None:
        return ""
    return f"{row.target_s:g} {'met' if row.met else 'MISSED'}"


def _parts(row: Series) -> str:
    return ", ".join(f"{name} {took_s:.2f}" for name, took_s in row.parts_s.items())
