"""What a lender exports: made, watched and removed (RAM file + iSCSI target). Runs on the agent's worker thread.

The truth is on the RAM file system (images and records) and in the target (exports and sessions); this class keeps
nothing that could not be read again. `start` brings both in line, whoever died before.
"""

import logging
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from ramshare.desk import RefusedError
from ramshare.errors import RamshareError
from ramshare.generation import NONE, Generation
from ramshare.lender.exports.records import ExportRecord, parse_records
from ramshare.linux.disk_identity import disk_id, target_number
from ramshare.linux.ramdisk import NotEnoughMemoryError, Ramdisk
from ramshare.linux.target import Export, Target, TargetBusyError, TargetInfo
from ramshare.messages.base import LEASE_PATTERN
from ramshare.messages.names import lease_of, target_of
from ramshare.messages.replies import ErrorCode
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import LeasePhase

log = logging.getLogger(__name__)

SECRET_BYTES = 12
"""16 characters of base64: RFC 3720 (8.2.1) asks for 96 random bits, and some initiators take no more than 16."""


class Exports:
    """Every export of this host."""

    def __init__(self, ramdisk: Ramdisk, target: Target, host: str) -> None:
        self._ramdisk = ramdisk
        self._target = target
        self._host = host
        self.misplaced = ""
        """Why the target does not serve where it was told to, or not there alone: then nothing new is exported. Mostly
        empty."""
        self.records: dict[str, ExportRecord] = {}
        self._strays: dict[str, str] = {}
        """Target to lease of what is in use without a record that can be read."""

    def start(self) -> dict[str, ExportRecord]:
        """Mount, start the target unless it runs, and make targets match records; what has no record is swept.

        But not while somebody is logged in: pages lie there, whatever became of the record (another version wrote it).
        """
        self._ramdisk.mount()
        self._start_target()
        found, images = self._ramdisk.records(), self._ramdisk.images()
        records = {lease: r for lease, r in parse_records(found).items() if images.get(lease) == r.size_bytes}
        self._compare_portals()
        targets = self._own_targets()
        self.records.update(records)
        for target in targets.values():
            if target.iqn not in {record.target for record in records.values()}:
                self._put_aside_or_remove(target)
        for lease in sorted(filter(_is_lease, (images.keys() | found.keys()) - records.keys())):
            if lease not in self._strays.values():
                self._free(lease)
        self._serve_missing(targets)
        return dict(self.records)

    def create(self, request: ExportLease, reserve_bytes: int) -> ExportRecord:
        """Make one export, or return the one that this lease has. Raises `RefusedError`; a failure leaves nothing."""
        known = self.records.get(request.lease)
        if known is not None:
            if (known.borrower, known.initiator) != (request.borrower, request.initiator):
                raise RefusedError(ErrorCode.CONFLICT, f"lease {request.lease} is another borrower's")
            return known
        self._compare_portals()
        if self.misplaced:
            raise RefusedError(ErrorCode.NO_CAPACITY, self.misplaced)
        self._make_way(request.lease)
        tid = self._free_tid(target_of(self._host, request.lease))
        secret, proof = (secrets.token_urlsafe(SECRET_BYTES) for _ in range(2))
        record = ExportRecord.made(request, self._host, tid, secret, proof)
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
            self._target.delete_target(record.target, force=force)
        except TargetBusyError as error:
            raise RefusedError(ErrorCode.IN_USE, f"{error.message}: log out first") from error
        self._ramdisk.free(lease)
        del self.records[lease]

    def look(self) -> dict[str, bool]:
        """Return which leases have an open session; a target that died is started again with everything it served."""
        if not self._target.ready():
            log.error("the target is gone: starting it again")
            self._start_target()
        self._compare_portals()
        targets = self._own_targets()
        self._serve_missing(targets)
        connected = {}
        for lease, record in list(self.records.items()):
            connected[lease] = bool(_sessions(targets.get(record.target)))
            if connected[lease] and record.phase is LeasePhase.EXPORTED:
                self._keep(record.model_copy(update={"phase": LeasePhase.ATTACHED}))
        for iqn, lease in list(self._strays.items()):
            if not _sessions(targets.get(iqn)):
                self._target.delete_target(iqn)
                del self._strays[iqn]
                self._free(lease)
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

    def newest(self) -> Generation:
        """Return the newest manager whose orders were obeyed; none if that cannot be read."""
        try:
            number, manager = self._newest.read_text().split()
            return Generation(int(number), manager)
        except (OSError, ValueError):
            return NONE

    def remember(self, newest: Generation) -> None:
        """Remember over a restart of the agent which manager is obeyed; as long as there are leases to protect."""
        half = self._newest.with_suffix(".tmp")
        half.write_text(f"{newest.number} {newest.manager}\n")
        half.replace(self._newest)

    @property
    def _newest(self) -> Path:
        return self._ramdisk.root / "generation"

    @property
    def _marker(self) -> Path:
        return self._ramdisk.root / "draining"

    def _own_targets(self) -> dict[str, TargetInfo]:
        """Return our targets by name: by this host's names, or (it was called otherwise once) of our images."""
        return {
            target.iqn: target
            for target in self._target.show()
            if (lease := lease_of(target.iqn)) is not None
            and (target.iqn == target_of(self._host, lease) or self._is_of_ours(target))
        }

    def _is_of_ours(self, target: TargetInfo) -> bool:
        return any(Path(lun.path).parent == self._ramdisk.root for lun in target.luns)

    def _put_aside_or_remove(self, target: TargetInfo) -> None:
        """Remove a target without a record, but not while somebody is logged in: pages lie there."""
        lease = lease_of(target.iqn) or ""
        if _sessions(target):
            log.error("lease %s has a borrower but no record to go by: left alone until it logs out", lease)
            self._strays[target.iqn] = lease
            return
        self._target.delete_target(target.iqn)
        self._free(lease)

    def _free(self, lease: str) -> None:
        """Remove the files of a lease that nobody has, unless it is in the records or in use by another target."""
        if lease not in self.records and lease not in self._strays.values():
            log.warning("sweeping what is left of lease %s", lease)
            self._ramdisk.free(lease)

    def _make_way(self, lease: str) -> None:
        """Remove what is left of a lease that has no record. Raises `RefusedError` if somebody uses it."""
        for target in self._own_targets().values():
            if lease_of(target.iqn) == lease:
                self._put_aside_or_remove(target)
        if lease in self._strays.values():
            sentence = f"lease {lease} is in use here already, and its record cannot be read: it is left alone"
            raise RefusedError(ErrorCode.IN_USE, sentence)
        if lease in self._ramdisk.images():
            self._free(lease)

    def _keep(self, record: ExportRecord) -> None:
        self._ramdisk.write_record(record.lease, record.model_dump(mode="json"))
        self.records[record.lease] = record

    def _serve(self, record: ExportRecord) -> None:
        self._target.export(
            Export(
                tid=record.tid,
                iqn=record.target,
                path=self._ramdisk.image(record.lease),
                initiator=record.initiator,
                user=record.chap_user,
                secret=record.chap_secret.get_secret_value(),
                proof_user=record.proof_user,
                proof_secret=record.proof_secret.get_secret_value(),
                thin=self._ramdisk.can_unmap,
                serial=record.lease,
            )
        )

    def _undo(self, record: ExportRecord) -> None:
        try:
            self._target.delete_target(record.target)
        except RamshareError as error:
            log.error("cannot remove the half-made target of %s: %s", record.lease, error)
        self._ramdisk.free(record.lease)
        self.records.pop(record.lease, None)

    def _free_tid(self, iqn: str) -> int:
        used = self._target.numbers() | {record.tid for record in self.records.values()}
        first = target_number(iqn)
        return next(tid for tid in range(first, first + len(used) + 1) if tid not in used)

    def _serve_missing(self, targets: Mapping[str, TargetInfo]) -> None:
        """Serve what `targets` (by name) lacks or has half, unless it would be open to others than it should."""
        for record in list(self.records.values()):
            if not self.misplaced and not _is_whole(targets.get(record.target)):
                self._serve_again(record)

    def _serve_again(self, record: ExportRecord) -> None:
        """Serve an export whose target is gone; one that cannot be served hinders no other and is tried again."""
        try:
            own = {target.tid for target in self._target.show() if target.iqn == record.target}
            if record.tid in self._target.numbers() - own:
                record = record.model_copy(update={"tid": self._free_tid(record.target)})
                self._keep(record)
            self._serve(record)
        except RamshareError as error:
            log.error("cannot serve lease %s: %s", record.lease, error)

    def _start_target(self) -> None:
        try:
            self._target.start()
        except RamshareError as error:
            self.misplaced = str(error)
            raise

    def _compare_portals(self) -> None:
        before, self.misplaced = self.misplaced, self._target.misplaced()
        if self.misplaced and self.misplaced != before:
            log.error("nothing is offered: %s", self.misplaced)


def _is_lease(name: str) -> bool:
    """Whether a file's name can be a lease; what is called otherwise is somebody else's, and left alone."""
    return re.fullmatch(LEASE_PATTERN, name) is not None


def _sessions(target: TargetInfo | None) -> int:
    return len(target.sessions) if target else 0


def _is_whole(target: TargetInfo | None) -> bool:
    """Whether a target was made to the end, its disk with a name of its own; that of a disk in use stays as it is."""
    if target is None or not target.initiators:  # they are the last step of making it
        return False
    return bool(target.sessions) or all(lun.scsi_id == disk_id(target.iqn) for lun in target.luns)
