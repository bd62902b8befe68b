"""`ramshare lab react`: a cluster that reacts by itself, measured, with its table."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ramshare.errors import ExitCode
from ramshare.messages.state import Mode
from ramshare_lab.experiments.react.results import React
from ramshare_lab.experiments.react.scenario import ReactPlan, run_react
from ramshare_lab.experiments.results import save, tell
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing

REACT_EXAMPLE = "Example: ramshare lab react --mode mirror --results results"


def react(
    name: Name = "react",
    results: Results = Path("results"),
    mode: Annotated[
        Mode, typer.Option(metavar="[move|mirror]", help="How the borrower may attach by itself.")
    ] = Mode.MOVE,
    reclaim: Annotated[
        bool, typer.Option("--reclaim/--no-reclaim", help="Have a lender want its memory back in the middle.")
    ] = True,
    fast_disk: Annotated[
        bool, typer.Option("--fast-disk/--no-fast-disk", help="Also a host whose disk is too fast for a loan to help.")
    ] = True,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/react.json instead of the table.")] = False,
) -> None:
    """Let a host swap and type nothing: a blip, a storm, a lender that leaves, and home (about 10 minutes)."""
    plan = ReactPlan(mode=mode, reclaim=reclaim, fast_disk=fast_disk)
    with interruptible(), showing() as show:
        measured = run_react(plan, name, accel, show)
    save(measured, results / "react.json")
    tell(measured, [results / "react.json"], react_table(measured), as_json=as_json)
    if measured.bad_pages or measured.needless_loans:
        raise typer.Exit(ExitCode.FAILED)


def react_table(measured: React) -> Table:
    """Return what happened, a row each."""
    storm, disk = measured.reaction, f"a disk of {measured.disk_iops} IOPS, by {measured.mode}"
    pages = f"{measured.bad_pages} bad pages, {measured.needless_loans} needless loans"
    grid = Table("what", "how", title=f"Nobody typed anything: {disk}", title_justify="left", box=box.SIMPLE_HEAD)
    grid.add_row(f"a blip of {measured.blip.seconds:g} s", f"{measured.blip.loans} loans")
    grid.add_row("a storm, until it is borrowed for", f"{storm.decided_s:.1f} s")
    grid.add_row("until its pages are remote", f"{storm.attached_s:.1f} s")
    speed = f"{storm.before_s:.0f}, then {storm.after_s:.0f} ({storm.gain:.1f} times as many)"
    grid.add_row("accesses each second", speed)
    if storm.lender_left_s is not None:
        grid.add_row("a lender wants its memory back", f"has it after {storm.lender_left_s:.1f} s")
    grid.add_row("the storm is over, until home", f"{storm.home_s:.1f} s ({storm.quiet_s:g} s of them to be sure)")
    if measured.refusal is not None:
        grid.add_row("a storm on a fast disk", f"given back after {measured.refusal.given_back_s:.1f} s")
        grid.add_row("", measured.refusal.reason)
    grid.caption = pages
    grid.caption_justify = "left"
    return grid
