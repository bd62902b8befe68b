"""The lender's ledger: what is lent, what is being lent, and whether the host is being drained.

It follows what `store.py` found on the RAM file system, and is published as `export/…`. Every part of the lender reads
it, on the agent's loop; whoever changes it need not know who goes by it: those listen.
"""

from collections.abc import Callable, Mapping

from pydantic import SecretStr

from ramshare.bus.api import Bus
from ramshare.desk import RefusedError
from ramshare.generation import NONE, Generation
from ramshare.lender.exports.records import ExportRecord
from ramshare.lender.fence import Fence
from ramshare.messages.replies import ErrorCode, Grant
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Export, SealingKey, is_committed
from ramshare.sealed import Secrets, seal


class Ledger:
    """Owns records, sessions and pending exports."""

    def __init__(self, bus: Bus, host: str, portal: str) -> None:
        self._bus = bus
        self.host = host
        self.portal = portal
        self.records: dict[str, ExportRecord] = {}
        self.pending: dict[str, ExportLease] = {}
        """Being made; counted as lent, so that two exports do not get the same bytes."""
        self.fence = Fence()
        """Which manager is obeyed."""
        self.ready = False
        """The RAM file system was read; before, nothing is known of any lease."""
        self.draining = False
        self.misplaced = ""
        """Why exports are not served at `portal`, and there alone; empty if they are."""
        self._keys: dict[str, str] = {}
        """Borrower to the key that it has published."""
        self._connected: dict[str, bool] = {}
        self._shown: set[str] = set()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, call: Callable[[], None]) -> None:
        """Have `call` run after every change of what is lent, and of whether anything may be."""
        self._listeners.append(call)

    # --- what is lent

    @property
    def paths(self) -> set[str]:
        """State paths of all exports."""
        return {f"export/{lease}" for lease in (*self.records, *self.pending)}

    def lent_bytes(self, *, committed: bool = False) -> int:
        """Return what is lent, or being lent; of it only what is committed, if asked."""
        made = [(r.size_bytes, r.committed) for r in self.records.values()]
        making = [(p.size_bytes, is_committed(p.mode, p.leg)) for p in self.pending.values()]
        return sum(size for size, is_set_aside in made + making if is_set_aside or not committed)

    @property
    def made_bytes(self) -> int:
        """What exports hold that have been made."""
        return sum(record.size_bytes for record in self.records.values())

    def hear_key(self, borrower: str, key: SealingKey | None) -> None:
        """Seal the secrets of this borrower's leases to this key from now on; None: it has none any more."""
        if key is None:
            self._keys.pop(borrower, None)
        else:
            self._keys[borrower] = key.public_key

    def require_key(self, borrower: str) -> str:
        """Return the borrower's key. Raises `RefusedError` if it has not told any."""
        if borrower not in self._keys:
            sentence = f"{borrower} has not published the key that secrets are sealed to; is its agent connected?"
            raise RefusedError(ErrorCode.NOT_READY, sentence)
        return self._keys[borrower]

    def grant(self, record: ExportRecord) -> Grant:
        """Return what the lease's borrower needs to log in, with secrets that only that borrower can read.

        Raises `RefusedError` without its key.
        """
        secrets = Secrets(record.chap_secret.get_secret_value(), record.proof_secret.get_secret_value())
        return Grant(
            lease=record.lease,
            lender=self._bus.client,
            portal=self.portal,
            target=record.target,
            size_bytes=record.size_bytes,
            leg=record.leg,
            chap_user=record.chap_user,
            sealed_secrets=SecretStr(seal(secrets, self.require_key(record.borrower))),
        )

    # --- changes

    def open(self, records: Mapping[str, ExportRecord], draining: bool, newest: Generation = NONE) -> None:
        """Begin with what the RAM file system holds."""
        self.records = dict(records)
        self.draining = draining
        self.fence = Fence(newest)
        self.ready = True
        for record in records.values():
            self._publish(record)
        self._changed()

    def begin(self, request: ExportLease) -> None:
        """Count an export that is about to be made."""
        self.pending[request.lease] = request
        self._changed()

    def abandon(self, lease: str) -> None:
        """Count it no more: it has been made, or will not be."""
        if self.pending.pop(lease, None) is not None:
            self._changed()

    def enter(self, record: ExportRecord) -> bool:
        """Take in an export that has been made; False if it was known."""
        self.pending.pop(record.lease, None)
        new = record.lease not in self.records
        self.records[record.lease] = record
        self._publish(record)
        self._changed()
        return new

    def strike(self, record: ExportRecord) -> bool:
        """Take out an export that is no more; False if it was out already."""
        if self.records.pop(record.lease, None) is None:
            return False
        self._connected.pop(record.lease, None)
        self._clear(record.lease)
        self._changed()
        return True

    def drain(self, draining: bool) -> None:
        """Note whether this host is being drained."""
        self.draining = draining
        self._changed()

    def note_place(self, misplaced: str) -> None:
        """Note why exports are not served where they should be, empty if they are."""
        before, self.misplaced = self.misplaced, misplaced
        if before != misplaced:
            self._changed()

    def note_sessions(self, records: Mapping[str, ExportRecord], connected: Mapping[str, bool]) -> None:
        """Take note of which leases have a session, and publish those that changed; `records` are as of the look.

        What could not be shown when it changed is shown now.
        """
        for lease, now in connected.items():
            record = records.get(lease)
            if record is None or lease not in self.records:
                continue
            changed = now != self._connected.get(lease, False) or record.phase != self.records[lease].phase
            self.records[lease], self._connected[lease] = record, now
            if changed or lease not in self._shown:
                self._publish(record)
        for lease in self._shown - self.records.keys():
            self._clear(lease)

    def _changed(self) -> None:
        for call in self._listeners:
            call()

    def _publish(self, record: ExportRecord) -> None:
        self._bus.set_state(
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
                leg=record.leg,
                phase=record.phase,
                connected=self._connected.get(record.lease, False),
                created_at=record.created_at,
                login_by=record.login_by,
            ),
        )
        self._shown.add(record.lease)

    def _clear(self, lease: str) -> None:
        self._bus.set_state(f"export/{lease}", None)
        self._shown.discard(lease)
