"""A lender's machine that outlives its agent: a RAM file system, a tgtd, and what becomes of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from kit.fakes import FakeProcess
from ramshare.errors import RamshareError
from ramshare.lender.exports.store import Exports
from ramshare.linux.disk_identity import disk_id
from ramshare.linux.portal import Portal
from ramshare.linux.ramdisk import NotEnoughMemoryError
from ramshare.linux.target import Export, LunInfo, TargetBusyError, TargetInfo, TargetSession
from ramshare.linux.tgt_service import TgtService
from ramshare.messages.names import target_of
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Mode

MIB = 1 << 20
INITIATOR = "iqn.2026-11.test:b"
PORTAL = Portal.parse("10.0.0.1:3260")
EVERYWHERE = frozenset({Portal.parse("0.0.0.0:3260"), Portal.parse("[::]:3260")})
SESSION = TargetSession(sid=1, initiator=INITIATOR, address="10.0.0.2")


class RamFiles:
    """A RAM file system that outlives the agent."""

    can_unmap = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.free_bytes = 1000 * MIB
        self.held: dict[str, int] = {}
        self.written: dict[str, dict[str, Any]] = {}
        self.freed: list[str] = []

    def mount(self) -> str:
        return "tmpfs"

    def image(self, name: str) -> Path:
        return self.root / f"{name}.img"

    def images(self) -> dict[str, int]:
        return dict(self.held)

    def records(self) -> dict[str, dict[str, Any]]:
        return dict(self.written)

    def allocate(self, name: str, size_bytes: int, *, reserve_bytes: int) -> None:
        if sum(self.held.values()) + size_bytes > self.free_bytes - reserve_bytes:
            raise NotEnoughMemoryError("full")
        self.held[name] = size_bytes

    def write_record(self, name: str, record: dict[str, Any]) -> None:
        self.written[name] = record

    def free(self, name: str) -> None:
        self.freed.append(name)
        self.held.pop(name, None)
        self.written.pop(name, None)


class Targets:
    """A tgtd that outlives the agent, too."""

    def __init__(self) -> None:
        self.targets: dict[str, TargetInfo] = {}
        self.up = True
        self.fails = False
        self.listens = frozenset({PORTAL})
        self.started: list[Portal] = []
        self.falls_back = False

    def start_daemon(self, portal: Portal) -> FakeProcess:
        self.up = True
        self.started.append(portal)
        self.listens = EVERYWHERE if self.falls_back else frozenset({portal})
        return FakeProcess(("tgtd",), -1)

    def stop_daemon(self) -> None:
        assert not self.targets
        self.up = False

    def portals(self) -> frozenset[Portal]:
        return self.listens if self.up else frozenset()

    def ready(self) -> bool:
        return self.up

    def show(self) -> list[TargetInfo]:
        return list(self.targets.values())

    def export(self, export: Export) -> None:
        self.targets[export.iqn] = TargetInfo(export.tid, export.iqn)
        if self.fails:
            raise RamshareError("tgtadm: no such luck")
        luns = (LunInfo(1, str(export.path), export.serial, scsi_id=disk_id(export.iqn)),)
        self.targets[export.iqn] = TargetInfo(export.tid, export.iqn, luns=luns, initiators=(export.initiator,))

    def login(self, lease: str, sessions: tuple[TargetSession, ...] = (SESSION,)) -> None:
        old = self.targets[target_of("a", lease)]
        self.targets[old.iqn] = replace(old, sessions=sessions)

    def delete_target(self, iqn: str, *, force: bool = False) -> None:
        if iqn in self.targets and self.targets[iqn].sessions and not force:
            raise TargetBusyError("in use")
        self.targets.pop(iqn, None)


class Machine:
    """One lender's machine; `agent` starts its agent, again if it has died."""

    def __init__(self, directory: Path) -> None:
        self.files, self.tgt = RamFiles(directory), Targets()
        self.hindrance = ""

    def unstarted(self) -> Exports:
        service = TgtService(
            cast("Any", self.tgt),
            PORTAL,
            sleep=lambda _seconds: None,
            hindrance=lambda _portal: self.hindrance,
        )
        return Exports(cast("Any", self.files), service, "a")

    def agent(self) -> Exports:
        exports = self.unstarted()
        exports.start()
        return exports

    @property
    def bare(self) -> bool:
        return not (self.files.held or self.files.written or self.tgt.targets)


def wanted(lease: str, size_bytes: int = 64 * MIB, borrower: str = "borrower.b") -> ExportLease:
    return ExportLease(
        lease=lease, borrower=borrower, initiator=INITIATOR, size_bytes=size_bytes, mode=Mode.MIRROR, login_within_s=60
    )
