"""What is found beside a lender's records, half-written, foreign or in use: no live target is ever removed for it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.lenders_machine import MIB, SESSION, Machine, wanted
from ramshare.desk import RefusedError
from ramshare.lender.exports.records import parse_records
from ramshare.linux.target import LunInfo, TargetInfo
from ramshare.messages.names import target_of
from ramshare.messages.replies import ErrorCode

pytestmark = pytest.mark.unit


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


UNREADABLE: dict[str, Any] = {"lease": "l1", "from": "another version"}


def in_use_without_record(machine: Machine) -> None:
    """A lease with a borrower whose record an agent of another version wrote."""
    machine.agent().create(wanted("l1"), 0)
    machine.tgt.login("l1")
    machine.files.written["l1"] = UNREADABLE


@pytest.mark.parametrize("size_mib", [64, 32])
def test_an_export_for_a_lease_that_is_in_use_is_refused_and_harms_nothing(machine: Machine, size_mib: int) -> None:
    in_use_without_record(machine)
    exports = machine.agent()
    before = (dict(machine.files.held), dict(machine.tgt.targets))
    with pytest.raises(RefusedError) as refused:
        exports.create(wanted("l1", size_mib * MIB, borrower="borrower.evil"), 0)
    assert (refused.value.code, "its record cannot be read" in str(refused.value)) == (ErrorCode.IN_USE, True)
    assert (machine.files.held, machine.tgt.targets, machine.files.written) == (*before, {"l1": UNREADABLE})


def test_a_record_that_becomes_unreadable_later_protects_its_lease_as_well(machine: Machine) -> None:
    exports = machine.agent()
    in_use_without_record(machine)
    with pytest.raises(RefusedError, match="in use here already"):
        exports.create(wanted("l1"), 0)
    machine.tgt.login("l1", sessions=())
    exports.look()
    assert exports.create(wanted("l1"), 0).lease == "l1", "its borrower has left"


def test_an_image_that_lies_there_without_a_target_is_made_anew(machine: Machine) -> None:
    exports = machine.agent()
    machine.files.held["l1"] = 64 * MIB
    exports.create(wanted("l1"), 0)
    assert machine.files.freed == ["l1"]


@pytest.mark.parametrize(
    "damage",
    [
        {"lease": "l2"},
        {"target": target_of("a", "l2")},
        {"target": "iqn.2001-04.com.example:storage"},
        {"login_within_s": float("inf")},
        {"created_at": "0001-01-01T00:00:00+23:59"},
        {"tid": -1},
        {"size_bytes": 32 * MIB},
    ],
)
def test_a_record_that_cannot_be_true_is_none_and_the_leases_that_it_names_stay(
    machine: Machine, damage: dict[str, Any]
) -> None:
    exports = machine.agent()
    for lease in ("l1", "l2"):
        exports.create(wanted(lease), 0)
    machine.tgt.login("l2")
    machine.files.written["l1"] |= damage
    again = machine.agent()
    assert (set(again.records), set(machine.files.held), set(machine.tgt.targets)) == (
        {"l2"},
        {"l2"},
        {target_of("a", "l2")},
    )
    assert again.look() == {"l2": True}


def test_two_records_of_one_target_number_are_both_served(machine: Machine) -> None:
    exports = machine.agent()
    for lease in ("l1", "l2"):
        exports.create(wanted(lease), 0)
    machine.files.written["l2"]["tid"] = machine.files.written["l1"]["tid"]
    machine.tgt.targets.clear()
    machine.agent()
    assert len({target.tid for target in machine.tgt.targets.values()}) == 2


def test_targets_and_files_of_others_are_left_alone(machine: Machine) -> None:
    theirs = TargetInfo(7, target_of("otherhost", "l9"), luns=(LunInfo(1, "/run/elsewhere/l9.img"),))
    storage = TargetInfo(8, "iqn.2001-04.com.example:storage.l9")
    machine.tgt.targets |= {theirs.iqn: theirs, storage.iqn: storage}
    machine.files.held["Backup of 2025"] = 4096
    machine.agent().look()
    assert set(machine.tgt.targets) == {theirs.iqn, storage.iqn}
    assert set(machine.files.held) == {"Backup of 2025"}


def test_a_host_that_was_called_otherwise_knows_its_targets_by_their_images(machine: Machine) -> None:
    old = TargetInfo(7, target_of("oldname", "l1"), luns=(LunInfo(1, str(machine.files.image("l1"))),))
    machine.files.held["l1"] = 64 * MIB
    machine.tgt.targets[old.iqn] = replace(old, sessions=(SESSION,))
    exports = machine.agent()
    with pytest.raises(RefusedError):
        exports.create(wanted("l1"), 0)
    assert (set(machine.tgt.targets), set(machine.files.held)) == ({old.iqn}, {"l1"})
    machine.tgt.targets[old.iqn] = old
    exports.look()
    assert machine.bare


leases = st.sampled_from(["l1", "l2", "l3"])
damages = st.one_of(
    st.tuples(st.just("record gone"), leases),
    st.tuples(st.just("record damaged"), leases),
    st.tuples(st.just("record of another"), leases),
    st.tuples(st.just("image gone"), leases),
    st.tuples(st.just("image of another size"), leases),
    st.tuples(st.just("target gone"), leases),
)


@given(used=st.sets(leases), damage=st.lists(damages, max_size=6), asked=st.lists(leases, max_size=4))
def test_whatever_is_damaged_who_is_logged_in_keeps_his_target_and_the_lender_starts(
    tmp_path_factory: pytest.TempPathFactory, used: set[str], damage: list[tuple[str, str]], asked: list[str]
) -> None:
    machine = Machine(tmp_path_factory.mktemp("lender"))
    exports = machine.agent()
    for lease in ("l1", "l2", "l3"):
        exports.create(wanted(lease), 0)
    for lease in used:
        machine.tgt.login(lease)
    for what, lease in damage:
        match what:
            case "record gone":
                machine.files.written.pop(lease, None)
            case "record damaged":
                machine.files.written[lease] = UNREADABLE
            case "record of another":
                machine.files.written[lease] = dict(machine.files.written.get("l1", UNREADABLE))
            case "image gone":
                machine.files.held.pop(lease, None)
            case "image of another size":
                machine.files.held[lease] = 32 * MIB
            case "target gone" if lease not in used:
                machine.tgt.targets.pop(target_of("a", lease), None)
    live = {iqn: target for iqn, target in machine.tgt.targets.items() if target.sessions}
    held = {lease: size for lease, size in machine.files.held.items() if target_of("a", lease) in live}
    again = machine.agent()
    again.look()
    for lease in asked:
        try:
            again.create(wanted(lease), 0)
        except RefusedError as refused:
            assert refused.code is ErrorCode.IN_USE
    assert machine.tgt.targets | live == machine.tgt.targets
    assert machine.files.held | held == machine.files.held


def test_nothing_that_a_file_can_hold_stops_the_reading_of_records() -> None:
    for text in ("null", "{}", '{"lease": "l1"}', '{"lease": {"a": []}}'):
        assert parse_records({"l1": json.loads(text) or {}}) == {}
