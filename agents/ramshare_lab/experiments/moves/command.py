"""`ramshare bench moves`: how long a volume is on its way, with its table."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ramshare.errors import ExitCode
from ramshare_lab.experiments.moves.results import GOAL, Moves
from ramshare_lab.experiments.moves.scenario import MovesPlan, run_moves
from ramshare_lab.experiments.results import save, tell
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing


def moves(
    name: Name = "moves",
    results: Results = Path("results"),
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Moves of each kind.")] = MovesPlan.rounds,
    storms: Annotated[
        list[int] | None, typer.Option("--storm", min=0, max=100, help="Percent of writes; 20 and 50 by default.")
    ] = None,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/moves.json instead of the table.")] = False,
) -> None:
    """Measure in a lab how long a swap volume moves out and home, idle and in storms (10 minutes; needs root)."""
    plan = MovesPlan(rounds=rounds, storms=tuple(storms) if storms else MovesPlan.storms)
    with interruptible(), showing() as show:
        measured = run_moves(plan, name, accel, show.stage, show.note)
    save(measured, results / "moves.json")
    tell(measured, [results / "moves.json"], moves_table(measured), as_json=as_json)
    if measured.bad_pages:
        raise typer.Exit(ExitCode.FAILED)


def moves_table(measured: Moves) -> Table:
    """Return the figures, a row for each way and load."""
    floor = measured.floor
    title = (
        f"{measured.size_bytes / 1e6:.0f} MB on the move, seconds; {measured.bad_pages} bad pages. In order the local "
        f"disk reads {floor.disk_read_mb_s:.0f} and writes {floor.disk_write_mb_s:.0f}, the lease reads "
        f"{floor.lease_read_mb_s:.0f} MB/s"
    )
    table = Table("way", "load", title=title, title_justify="left")
    for head in ("at least", "p50", "ratio", f"goal {GOAL:g}", "request to end, worst", "worst stall"):
        table.add_column(head, justify="right")
    for row in measured.series:
        whole_s = max(trip.whole_s for trip in row.trips)
        stall_s = max(trip.stall_s for trip in row.trips)
        figures = (f"{row.least_s:.1f}", f"{row.p50_s:.1f}", f"{row.ratio:.2f}", "met" if row.met else "MISSED")
        table.add_row(row.way, row.load, *figures, f"{whole_s:.1f}", f"{stall_s:.1f}")
    return table
