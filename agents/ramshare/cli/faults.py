"""How `ramshare lab faults` shows its rows."""

from rich.markup import escape
from rich.table import Table

from ramshare.lab.faults.case import FaultReport, FaultRow


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
