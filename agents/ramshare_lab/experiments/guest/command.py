"""`ramshare lab guest`: a guest whose swap disk moves under it, with its table."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ramshare.messages.state import Mode
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.experiments.guest.scenario import GuestPlan, GuestRun, Passage, run_guest
from ramshare_lab.experiments.results import save, tell
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing


def guest(
    name: Name = "guest",
    results: Results = Path("results"),
    modes: Annotated[list[Mode] | None, typer.Option("--mode", help="Ways to attach; both by default.")] = None,
    accel: Accel = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print results/guest.json instead of the table.")] = False,
) -> None:
    """Move the swap disk of a running guest to remote memory and home; the guest notices nothing (about 4 minutes)."""
    plan = GuestPlan(modes=tuple(modes) if modes else GuestPlan.modes)
    with interruptible(), showing() as show, Lab(plan.lab(name, accel), show.stage) as lab:
        measured = run_guest(lab, plan, show)
    save(measured, results / "guest.json")
    tell(measured, [results / "guest.json"], guest_table(measured), as_json=as_json)


def guest_table(run: GuestRun) -> Table:
    """Return what the guest lived through, a row a passage."""
    same = "never restarted" if len(run.boot_ids) == 1 else f"RESTARTED: {len(run.boot_ids)} boot ids"
    pages = "no page lost or mixed up" if run.bad_pages == 0 else f"{run.bad_pages} BAD PAGES"
    grid = Table(
        title=f"A guest of {run.guest_memory_bytes / 1e6:.0f} MB that thrashes {run.data_size_bytes / 1e6:.0f} MB",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption=f"{pages}; {same}, up for {run.uptime_s:.0f} s; longest gap of its heartbeat {run.longest_gap_s:.1f} s",
        caption_justify="left",
    )
    grid.add_column("its swap disk")
    for heading in ("took", "pages accessed", "longest stall", "read from leases"):
        grid.add_column(heading, justify="right")
    for mode, stay in run.stays.items():
        grid.add_row(f"to remote memory ({mode})", *_cells(stay.out), f"{stay.read_from_leases_bytes / 1e6:.1f} MB")
        grid.add_row("home", *_cells(stay.home), "")
    return grid


def _cells(passage: Passage) -> tuple[str, str, str]:
    return f"{passage.seconds:.1f} s", str(passage.accesses), f"{passage.stall_s:.2f} s"
