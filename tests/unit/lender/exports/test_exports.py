"""A lender's exports: what its RAM file system and its target say is brought in line, whoever died before."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from kit.fakes import FakeProcess
from kit.linux_data import tgt_show
from ramshare.desk import RefusedError
from ramshare.errors import RamshareError
from ramshare.lender.exports.store import Exports
from ramshare.linux.disk_identity import disk_id
from ramshare.linux.portal import Portal, PortalError
from ramshare.linux.ramdisk import NotEnoughMemoryError
from ramshare.linux.tgt import Export, TargetBusyError, TargetInfo
from ramshare.linux.tgt_show import LunInfo, TargetSession, parse_targets
from ramshare.messages.names import lease_of, target_of
from ramshare.messages.replies import ErrorCode
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

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
        return Exports(
            cast("Any", self.files),
            cast("Any", self.tgt),
            "a",
            PORTAL,
            sleep=lambda _seconds: None,
            hindrance=lambda _portal: self.hindrance,
        )

    def agent(self) -> Exports:
        exports = self.unstarted()
        exports.start()
        return exports

    @property
    def bare(self) -> bool:
        return not (self.files.held or self.files.written or self.tgt.targets)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def wanted(lease: str, size_bytes: int = 64 * MIB, borrower: str = "borrower.b") -> ExportLease:
    return ExportLease(
        lease=lease, borrower=borrower, initiator=INITIATOR, size_bytes=size_bytes, mode=Mode.MIRROR, login_within_s=60
    )


def test_an_export_is_there_for_an_agent_that_was_started_again(machine: Machine) -> None:
    record = machine.agent().create(wanted("l1"), 0)
    again = machine.agent()
    assert again.records == {"l1": record}
    assert again.create(wanted("l1"), 0) == record, "asked twice, made once"
    again.remove("l1")
    assert machine.bare


def test_a_lease_of_one_borrower_is_not_given_to_another(machine: Machine) -> None:
    exports = machine.agent()
    exports.create(wanted("l1"), 0)
    with pytest.raises(RefusedError) as refused:
        exports.create(wanted("l1", borrower="borrower.evil"), 0)
    assert refused.value.code is ErrorCode.CONFLICT


@pytest.mark.parametrize("reserve_bytes", [0, 2000 * MIB])
def test_an_export_that_fails_leaves_nothing(machine: Machine, reserve_bytes: int) -> None:
    machine.tgt.fails = True
    with pytest.raises((RamshareError, RefusedError)):
        machine.agent().create(wanted("l1"), reserve_bytes)
    assert machine.bare


def test_an_export_that_was_only_half_made_is_made_whole(machine: Machine) -> None:
    machine.agent().create(wanted("l1"), 0)
    iqn = target_of("a", "l1")
    machine.tgt.targets[iqn] = TargetInfo(1, iqn)
    machine.agent()
    assert machine.tgt.targets[iqn].initiators == (INITIATOR,)


def test_what_has_no_record_is_swept_and_so_is_a_record_without_its_image(machine: Machine) -> None:
    exports = machine.agent()
    for lease in ("l1", "l2", "l3"):
        exports.create(wanted(lease), 0)
    del machine.files.written["l1"]
    machine.files.written["l2"] = {"lease": "l2", "from": "another version"}
    del machine.files.held["l3"]
    again = machine.agent()
    assert again.records == {}
    assert machine.bare


def test_memory_that_somebody_uses_is_not_swept_before_its_borrower_has_logged_out(machine: Machine) -> None:
    machine.agent().create(wanted("l1"), 0)
    machine.tgt.login("l1")
    machine.files.written["l1"] = {"lease": "l1", "from": "another version"}
    again = machine.agent()
    assert again.look() == {}
    assert (set(machine.files.held), len(machine.tgt.targets)) == ({"l1"}, 1)
    machine.tgt.login("l1", sessions=())
    again.look()
    assert machine.bare


def test_a_target_in_use_is_removed_by_force_only(machine: Machine) -> None:
    exports = machine.agent()
    exports.create(wanted("l1"), 0)
    machine.tgt.login("l1")
    assert exports.look() == {"l1": True}
    with pytest.raises(RefusedError) as refused:
        exports.remove("l1")
    assert refused.value.code is ErrorCode.IN_USE
    exports.remove("l1", force=True)
    assert machine.bare


def test_a_tgtd_that_died_serves_everything_again(machine: Machine) -> None:
    exports = machine.agent()
    exports.create(wanted("l1"), 0)
    machine.tgt.up = False
    machine.tgt.targets.clear()
    assert exports.look() == {"l1": False}
    assert set(machine.tgt.targets) == {target_of("a", "l1")}


# Identity


def test_two_lenders_leases_are_two_disks_in_all_that_tells_disks_apart(machine: Machine, tmp_path: Path) -> None:
    """As an older version served them, both were `IET     00010001`: one disk with two paths, to multipath."""
    served = [parse_targets(tgt_show(host))[0] for host in ("hosta", "hostb")]
    assert served[0].luns[0].scsi_id == served[1].luns[0].scsi_id
    ids, numbers = set(), set()
    for target in served:
        lender = Machine(tmp_path)
        record = lender.agent().create(wanted(lease_of(target.iqn) or ""), 0)
        ids.add(lender.tgt.targets[record.target].luns[0].scsi_id)
        numbers.add(record.tid)
    assert (len(ids), len(numbers)) == (2, 2)


def test_a_disk_without_a_name_of_its_own_gets_one_unless_it_is_in_use(machine: Machine) -> None:
    machine.agent().create(wanted("l1"), 0)
    iqn = target_of("a", "l1")
    old = replace(machine.tgt.targets[iqn], luns=(LunInfo(1, "/l1.img", "l1", scsi_id="IET     00010001"),))
    machine.tgt.targets[iqn] = replace(old, sessions=(SESSION,))
    machine.agent()
    assert machine.tgt.targets[iqn].luns == old.luns
    machine.tgt.targets[iqn] = old
    machine.agent()
    assert machine.tgt.targets[iqn].luns[0].scsi_id == disk_id(iqn)


# Where it serves


def test_a_port_that_is_taken_starts_no_target_and_says_whose_it_is(machine: Machine) -> None:
    machine.tgt.up, machine.hindrance = False, "another program listens at 10.0.0.1:3260"
    exports = machine.unstarted()
    with pytest.raises(PortalError, match="another program"):
        exports.start()
    assert (exports.misplaced, machine.tgt.started) == ("another program listens at 10.0.0.1:3260", [])
    machine.hindrance = ""
    exports.start()
    assert (exports.misplaced, machine.tgt.started) == ("", [PORTAL])


def test_a_target_that_listens_elsewhere_after_all_is_ended_again(machine: Machine) -> None:
    machine.tgt.up, machine.tgt.falls_back = False, True
    exports = machine.unstarted()
    with pytest.raises(PortalError, match=r"0\.0\.0\.0:3260, \[::\]:3260"):
        exports.start()
    assert not machine.tgt.up
    assert exports.misplaced


@pytest.mark.parametrize("listens", [EVERYWHERE, EVERYWHERE | {PORTAL}, frozenset({Portal.parse("10.0.0.1:3261")})])
def test_a_running_target_that_listens_elsewhere_keeps_what_is_lent_and_exports_no_more(
    machine: Machine, listens: frozenset[Portal]
) -> None:
    machine.agent().create(wanted("l1"), 0)
    machine.tgt.login("l1")
    machine.tgt.listens = listens
    exports = machine.agent()
    assert (exports.look(), set(exports.records)) == ({"l1": True}, {"l1"})
    assert "told to serve 10.0.0.1:3260 only" in exports.misplaced
    with pytest.raises(RefusedError, match="told to serve"):
        exports.create(wanted("l2"), 0)
    assert (set(machine.files.held), len(machine.tgt.targets)) == ({"l1"}, 1)
    machine.tgt.listens = frozenset({PORTAL})
    exports.look()
    assert exports.create(wanted("l2"), 0).lease == "l2"


def test_a_target_that_died_is_served_again_only_where_it_was(machine: Machine) -> None:
    exports = machine.agent()
    exports.create(wanted("l1"), 0)
    machine.tgt.targets.clear()
    machine.tgt.listens = EVERYWHERE  # somebody else's daemon answers now
    assert exports.look() == {"l1": False}
    assert machine.tgt.targets == {}
    machine.tgt.listens = frozenset({PORTAL})
    exports.look()
    assert set(machine.tgt.targets) == {target_of("a", "l1")}
