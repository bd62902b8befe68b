"""The lender's ledger: what is lent, what is being lent, and whether the host is being drained.

It follows what `store.py` found on the RAM file system, and is published as `export/…`. Every part of the lender's
agent reads it, on the agent's loop.
"""

from collections.abc import Mapping

from ramshare.agent import Agent
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.exports.store import Exports
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Export, Mode


class Ledger:
    """Owns records, sessions and pending exports."""

    def __init__(self, agent: Agent, exports: Exports, host: str, portal: str) -> None:
        self._agent = agent
        self._exports = exports
        self.host = host
        self.portal = portal
        self.records: dict[str, ExportRecord] = {}
        self.pending: dict[str, ExportLease] = {}
        """Being made; counted as lent, so that two exports do not get the same bytes."""
        self.ready = False
        """The RAM file system was read; before, nothing is known of any lease."""
        self.draining = False
        self._connected: dict[str, bool] = {}

    @property
    def paths(self) -> set[str]:
        """State paths of all exports."""
        return {f"export/{lease}" for lease in (*self.records, *self.pending)}

    def open(self, records: Mapping[str, ExportRecord]) -> None:
        """Begin with what the RAM file system holds."""
        self.records = dict(records)
        self.draining = self._exports.marker.exists()
        self.ready = True
        for record in records.values():
            self.publish(record)

    def lent_bytes(self, mode: Mode | None = None) -> int:
        """Return what is lent, or being lent, in one mode or in both."""
        made = [(r.size_bytes, r.mode) for r in self.records.values()]
        making = [(p.size_bytes, p.mode) for p in self.pending.values()]
        return sum(size for size, of_mode in made + making if mode is None or of_mode is mode)

    @property
    def made_bytes(self) -> int:
        """What exports hold that have been made."""
        return sum(record.size_bytes for record in self.records.values())

    def strike(self, record: ExportRecord) -> bool:
        """Take out an export that is no more; False if it was out already."""
        if self.records.pop(record.lease, None) is None:
            return False
        self._connected.pop(record.lease, None)
        self._agent.bus.set_state(f"export/{record.lease}", None)
        return True

    def drain(self, draining: bool) -> None:
        """Remember over a restart of the agent whether this host is being drained."""
        self.draining = draining
        if draining:
            self._exports.marker.touch()
        else:
            self._exports.marker.unlink(missing_ok=True)

    def note_sessions(self, connected: Mapping[str, bool]) -> None:
        """Take note of which leases have a session, and publish those that changed."""
        for lease, now in connected.items():
            record = self._exports.records.get(lease)
            if record is None or lease not in self.records:
                continue
            changed = now != self._connected.get(lease, False) or record.phase != self.records[lease].phase
            self.records[lease], self._connected[lease] = record, now
            if changed:
                self.publish(record)

    def publish(self, record: ExportRecord) -> None:
        """Show an export."""
        self._agent.bus.set_state(
            f"export/{record.lease}",
            Export(
                lease=record.lease,
                host=self.host,
                borrower=record.borrower,
                initiator=record.initiator,
                target=record.target,
                portal=self.portal,
                size_bytes=record.size_bytes,
                mode=record.mode,
                phase=record.phase,
                connected=self._connected.get(record.lease, False),
                created_at=record.created_at,
                login_by=record.login_by,
            ),
        )
