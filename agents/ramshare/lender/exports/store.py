"""What a lender exports: made, watched and removed (RAM file + iSCSI target). Runs on the agent's worker thread.

The truth is on the RAM file system (images and records) and in tgtd (targets and sessions); this class keeps nothing
that could not be read again. `start` brings both in line, whoever died before.
"""

import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ramshare.desk import RefusedError
from ramshare.errors import RamshareError
from ramshare.lender.exports.records import ExportRecord, parse_records
from ramshare.linux.protect import protect_threads_of
from ramshare.linux.ramdisk import NotEnoughMemoryError, Ramdisk
from ramshare.linux.tgt import Export, TargetBusyError, TargetInfo, Tgt
from ramshare.messages.names import lease_of, target_of
from ramshare.messages.replies import ErrorCode
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import LeasePhase

log = logging.getLogger(__name__)

DAEMON_WITHIN_S = 10.0
SECRET_BYTES = 12
"""16 characters of base64: RFC 3720 (8.2.1) asks for 96 random bits, and some initiators take no more than 16."""


class Exports:
    """Every export of this host."""

    def __init__(
        self, ramdisk: Ramdisk, tgt: Tgt, host: str, portal: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._ramdisk = ramdisk
        self._tgt = tgt
        self._host = host
        self._portal = portal
        self._sleep = sleep
        self.records: dict[str, ExportRecord] = {}
        self._strays: dict[str, str] = {}
        """Lease to target of what is in use without a record that can be read."""

    def start(self) -> dict[str, ExportRecord]:
        """Mount, start tgtd unless it runs, and make targets match records; what has no record is swept.

        But not while somebody is logged in: pages lie there, whatever became of the record (another version wrote it).
        """
        self._ramdisk.mount()
        self._ensure_daemon()
        found, images = self._ramdisk.records(), self._ramdisk.images()
        records = {lease: r for lease, r in parse_records(found).items() if images.get(lease) == r.size_bytes}
        targets = {lease: t for t in self._tgt.show() if (lease := lease_of(t.iqn)) is not None}
        for lease in sorted((targets.keys() | images.keys() | found.keys()) - records.keys()):
            if _sessions(targets.get(lease)):
                log.error("lease %s has a borrower but no record to go by: left alone until it logs out", lease)
                self._strays[lease] = targets[lease].iqn
            else:
                self._sweep(lease, target_of(self._host, lease))
        for lease, record in records.items():
            self.records[lease] = record
            if lease not in targets or not targets[lease].initiators:  # they are the last step of making it
                self._serve(record)
        return dict(self.records)

    def create(self, request: ExportLease, reserve_bytes: int) -> ExportRecord:
        """Make one export, or return the one that this lease has. Raises `RefusedError`; a failure leaves nothing."""
        known = self.records.get(request.lease)
        if known is not None:
            if (known.borrower, known.initiator) != (request.borrower, request.initiator):
                raise RefusedError(ErrorCode.CONFLICT, f"lease {request.lease} is another borrower's")
            return known
        record = ExportRecord(
            lease=request.lease,
            borrower=request.borrower,
            initiator=request.initiator,
            size_bytes=request.size_bytes,
            mode=request.mode,
            target=target_of(self._host, request.lease),
            tid=self._free_tid(),
            chap_user=request.lease,
            chap_secret=secrets.token_urlsafe(SECRET_BYTES),
            created_at=datetime.now(UTC),
            login_within_s=request.login_within_s,
        )
        try:
            self._ramdisk.allocate(record.lease, record.size_bytes, reserve_bytes=reserve_bytes)
            self._keep(record)
            self._serve(record)
        except NotEnoughMemoryError as error:
            self._undo(record)
            raise RefusedError(ErrorCode.NO_CAPACITY, error.message) from error
        except BaseException:
            self._undo(record)
            raise
        return record

    def remove(self, lease: str, *, force: bool = False) -> None:
        """Take everything of a lease away; none is success. Raises `RefusedError` on an open session, unless forced."""
        record = self.records.get(lease)
        if record is None:
            return
        try:
            self._tgt.delete_target(record.target, force=force)
        except TargetBusyError as error:
            raise RefusedError(ErrorCode.IN_USE, f"{error.message}: log out first") from error
        self._ramdisk.free(lease)
        del self.records[lease]

    def look(self) -> dict[str, bool]:
        """Return which leases have an open session; a tgtd that died is started again with everything it served."""
        if not self._tgt.ready():
            log.error("tgtd is gone: starting it again")
            self._ensure_daemon()
            for record in self.records.values():
                self._serve(record)
        targets = {target.iqn: target for target in self._tgt.show()}
        connected = {}
        for lease, record in list(self.records.items()):
            connected[lease] = bool(_sessions(targets.get(record.target)))
            if connected[lease] and record.phase is LeasePhase.EXPORTED:
                self._keep(record.model_copy(update={"phase": LeasePhase.ATTACHED}))
        for lease, target in list(self._strays.items()):
            if not _sessions(targets.get(target)):
                self._sweep(lease, target)
                del self._strays[lease]
        return connected

    def draining(self) -> bool:
        """Return whether this host is being drained; that is kept on the RAM file system, so a reboot ends it."""
        return self._marker.exists()

    def drain(self, draining: bool) -> None:
        """Remember over a restart of the agent whether this host is being drained."""
        if draining:
            self._marker.touch()
        else:
            self._marker.unlink(missing_ok=True)

    @property
    def _marker(self) -> Path:
        return self._ramdisk.root / "draining"

    def _sweep(self, lease: str, target: str) -> None:
        log.warning("sweeping what is left of lease %s", lease)
        self._tgt.delete_target(target)
        self._ramdisk.free(lease)

    def _keep(self, record: ExportRecord) -> None:
        self._ramdisk.write_record(record.lease, record.model_dump(mode="json"))
        self.records[record.lease] = record

    def _serve(self, record: ExportRecord) -> None:
        self._tgt.export(
            Export(
                tid=record.tid,
                iqn=record.target,
                path=self._ramdisk.image(record.lease),
                initiator=record.initiator,
                user=record.chap_user,
                secret=record.chap_secret.get_secret_value(),
                thin=self._ramdisk.can_unmap,
                serial=record.lease,
            )
        )

    def _undo(self, record: ExportRecord) -> None:
        try:
            self._tgt.delete_target(record.target, force=True)
        except RamshareError as error:
            log.error("cannot remove the half-made target of %s: %s", record.lease, error)
        self._ramdisk.free(record.lease)
        self.records.pop(record.lease, None)

    def _free_tid(self) -> int:
        used = {target.tid for target in self._tgt.show()} | {record.tid for record in self.records.values()}
        return next(tid for tid in range(1, len(used) + 2) if tid not in used)

    def _ensure_daemon(self) -> None:
        started = self._tgt.start_daemon(self._portal)
        if started is not None:
            # Killed for memory, it would stall every borrower at once; the images are not its own memory.
            protect_threads_of(started.pid)
        for _ in range(int(DAEMON_WITHIN_S / 0.1)):
            if self._tgt.ready():
                return
            self._sleep(0.1)
        raise RamshareError(f"tgtd does not answer within {DAEMON_WITHIN_S:g} s", "is its port taken? ss -ltnp")


def _sessions(target: TargetInfo | None) -> int:
    return len(target.sessions) if target else 0
