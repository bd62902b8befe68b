"""What of a large cluster is shown: one host, or of every table the rows that need attention first. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ramshare.cli.rows import AgentRow, GuestRow, HostRow, LeaseRow, Report, VolumeRow
from ramshare.topics import name

Row = HostRow | VolumeRow | LeaseRow | GuestRow | AgentRow
R = TypeVar("R", HostRow, VolumeRow, LeaseRow, GuestRow, AgentRow)

DEFAULT_LIMIT = 50
"""Rows of each table; a screen or two. Nobody reads ten thousand."""


@dataclass(frozen=True)
class Focus:
    """How many rows of each table are shown; 0: all."""

    limit: int = 0

    def of(self, rows: Sequence[R]) -> tuple[list[R], int]:
        """Return the rows that are shown, in their order, and how many are not."""
        if not self.limit or len(rows) <= self.limit:
            return list(rows), 0
        first = sorted(range(len(rows)), key=lambda number: (_urgency(rows[number]), number))[: self.limit]
        return [rows[number] for number in sorted(first)], len(rows) - self.limit

    def sentences(self, found: Sequence[str]) -> list[str]:
        """Return the warnings that are shown; the most important come first anyhow."""
        if not self.limit or len(found) <= self.limit:
            return list(found)
        return [*found[: self.limit], f"and {len(found) - self.limit} more warnings; --limit 0 shows all"]


EVERYTHING = Focus()


def of_host(report: Report, host: str) -> Report:
    """Return what a report says of one host or guest, as lender and as borrower, and the warnings that name it."""
    return report.model_copy(
        update={
            "narrow": False,
            "warnings": [sentence for sentence in report.warnings if host in sentence],
            "hosts": [row for row in report.hosts if row.host == host],
            "volumes": [row for row in report.volumes if row.host == host],
            "leases": [row for row in report.leases if host in (name(row.lender), name(row.borrower))],
            "guests": [row for row in report.guests if name(row.client) == host],
            "agents": [row for row in report.agents if name(row.client) == host],
        }
    )


def known(report: Report) -> bool:
    """Whether a report (of one host) speaks of anything at all."""
    return bool(report.hosts or report.volumes or report.leases or report.guests or report.agents)


def _urgency(row: Row) -> int:
    """What needs attention first, then what is in use, then the rest."""
    match row:
        case VolumeRow():
            return 0 if row.stale or row.phase == "failed" else 1 if row.phase not in ("attached", "home") else 2
        case LeaseRow():
            return 0 if row.stale or row.lender_phase is None or row.borrower_phase == "lost" else 1
        case HostRow():
            return 0 if row.stale else 1 if row.draining else 2 if row.lent_bytes else 3
        case GuestRow():
            return 0 if row.stale else 1 if row.swap_in_bytes_s or row.swap_out_bytes_s else 2
    return 0 if row.stale or not row.online else 1
