"""`ramshare lab faults`: break every part of a running cluster, with a line a case and a table."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ramshare.errors import ExitCode
from ramshare.linux.target import Kind
from ramshare_lab.experiments.faults.case import FaultReport, FaultRow
from ramshare_lab.experiments.results import save, tell
from ramshare_lab.options import Accel, Name, Results, interruptible
from ramshare_lab.show import showing


def faults(
    name: Name = "faults",
    results: Results = Path("results"),
    only: Annotated[list[str] | None, typer.Option(help="Cases whose name begins so; all by default.")] = None,
    accel: Accel = "",
    target: Annotated[Kind, typer.Option(help="What serves leases; lio has lenders in virtual machines.")] = "tgt",
    lenders_in_vms: Annotated[bool, typer.Option(help="With tgt, too: the two side by side.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results/faults.json instead of the table.")] = False,
) -> None:
    """Break every part of a running cluster and prove that no page is lost (about 45 minutes for all cases)."""
    from ramshare_lab.experiments.faults.suite import run_suite, select

    cases = select(only or [])
    with interruptible(), showing() as show:

        def told(so_far: FaultReport) -> None:
            show.note(fault_line(so_far.rows[-1]))
            save(so_far, results / "faults.json")

        report = run_suite(
            cases,
            name=name,
            accel=accel,
            target=target,
            lenders_in_vms=lenders_in_vms,
            logs=results / "faults",
            say=show.stage,
            on_row=told,
        )
    tell(report, [results / "faults.json"], faults_table(report), as_json=as_json)
    if not all(row.survived for row in report.rows):
        raise typer.Exit(ExitCode.FAILED)


def fault_line(row: FaultRow) -> str:
    """Return one row as a line."""
    verdict = "ok" if row.survived else "FAILED"
    told = f"{verdict} {row.name} ({row.mode}): {row.bad_pages} bad pages, stall {row.stall_s:.1f} s"
    return f"{told}, recovered in {row.recovered_s:.1f} s{'; ' + row.note if row.note else ''}"


def faults_table(report: FaultReport) -> Table:
    """Return the whole suite as a table."""
    table = Table("case", "mode", title=f"Fault suite, {report.accel}, {report.seconds:.0f} s", title_justify="left")
    for head in ("survived", "bad pages", "stall s", "recovered s"):
        table.add_column(head, justify="right")
    table.add_column("note")
    for row in report.rows:
        figures = (str(row.bad_pages), f"{row.stall_s:.1f}", f"{row.recovered_s:.1f}")
        table.add_row(row.fault, row.mode, "yes" if row.survived else "NO", *figures, escape(row.note))
    return table
