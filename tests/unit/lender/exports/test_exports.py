"""A lender's exports: what its RAM file system and its target say is brought in line, whoever died before."""

from dataclasses import replace
from pathlib import Path

import pytest

from kit.lenders_machine import EVERYWHERE, INITIATOR, MIB, PORTAL, SESSION, Machine, wanted
from kit.linux_data import tgt_show
from ramshare.desk import RefusedError
from ramshare.errors import RamshareError
from ramshare.generation import NONE, Generation
from ramshare.linux.disk_identity import disk_id
from ramshare.linux.portal import Portal, PortalError
from ramshare.linux.target import LunInfo, TargetInfo
from ramshare.linux.tgt_show import parse_targets
from ramshare.messages.names import lease_of, target_of
from ramshare.messages.replies import ErrorCode

pytestmark = pytest.mark.unit


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


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


def test_whose_orders_are_obeyed_is_remembered_as_long_as_there_are_leases(machine: Machine) -> None:
    exports = machine.agent()
    assert exports.newest() == NONE
    exports.remember(Generation(8, "manager.hostb"))
    assert machine.agent().newest() == Generation(8, "manager.hostb")


def test_what_nobody_can_read_of_it_stops_no_lender(machine: Machine) -> None:
    machine.agent().remember(Generation(8, "manager.hostb"))
    (machine.files.root / "generation").write_text("eight\n")
    assert machine.agent().newest() == NONE
