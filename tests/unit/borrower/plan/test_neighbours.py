"""Clean-up must not cost anybody else a volume: while a device is missing that is no lease of ours, nothing changes."""

import json
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kit.linux_data import lvm_report
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.neighbours import waits_for
from ramshare.borrower.plan.observe import observe
from ramshare.borrower.plan.planner import LEAVES_GROUP_ALONE, next_step
from ramshare.borrower.plan.tags import LeaseTag
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm_report import parse_report
from ramshare.linux.lvm_state import Leg, LogicalVolume, LvmState, PhysicalVolume, Segment, VolumeGroup
from ramshare.messages.names import target_of

pytestmark = pytest.mark.unit

MIB = 1 << 20
SIZE = 40 * MIB
HOME = PhysicalVolume("/dev/vda", "vg0", 200 * MIB, 100 * MIB, uuid="home")
DEAD = PhysicalVolume("[unknown]", "vg0", 60 * MIB, 20 * MIB, frozenset({"ramshare.lease=l1"}), True, "dead")
LATE = PhysicalVolume("[unknown]", "vg0", 200 * MIB, 20 * MIB, missing=True, uuid="late")
TAGS = frozenset({"ramshare.goal=attached", "ramshare.mode=mirror", str(LeaseTag("l1", "hosta", SIZE))})
LEGS = (Leg(0, (Segment("/dev/vda", SIZE),)), Leg(1, (Segment("[unknown]", SIZE),), health="partial"))
MINE = LogicalVolume("vg0", "swap", SIZE, TAGS, "raid,raid1", "raid1", legs=LEGS, health="partial", sync_percent=100.0)


def state(*others: LogicalVolume, pvs: tuple[PhysicalVolume, ...] = (HOME, DEAD)) -> LvmState:
    missing = sum(pv.missing for pv in pvs)
    return LvmState(pvs, (VolumeGroup("vg0", 400 * MIB, 100 * MIB, 4 * MIB, missing),), (MINE, *others))


def step(lvm: LvmState) -> s.Step:
    view = observe("vg0/swap", lvm, [])
    assert view is not None
    return next_step(view)


def test_a_dead_lease_is_cleaned_up_where_nobody_else_is_at_stake() -> None:
    plain = LogicalVolume("vg0", "root", SIZE, segments=(Segment("/dev/vda", SIZE),))
    assert step(state(plain)) == s.DropFailedLeg(("l1",))


@pytest.mark.parametrize("report", ["thin_pool", "striped"])
def test_clean_up_waits_for_a_disk_that_is_late_and_says_so(report: str) -> None:
    lvm = parse_report(lvm_report(f"late_disk/{report}"))
    view = observe("vg0/swap", lvm, [Session(1, target_of("hosta", "l27-1"), "10.0.0.1:3260", "FAILED", None, 5)])
    assert view is not None
    waiting = next_step(view)
    assert isinstance(waiting, s.Wait)
    assert "vg0 misses a device of 196 MiB" in str(waiting)
    assert "then: clean up" in str(waiting)


@pytest.mark.parametrize(
    "other",
    [
        LogicalVolume("vg0", "plain", SIZE, segments=(Segment("[unknown]", SIZE),), health="partial"),
        LogicalVolume("vg0", "half", SIZE, segments=(Segment("/dev/vda", 1), Segment("[unknown]", 1))),
        LogicalVolume("vg0", "thin", SIZE, layout="thin,sparse", segtype="thin", health="partial"),
        LogicalVolume("vg0", "both", SIZE, layout="raid,raid1", segtype="raid1", legs=LEGS, health="partial"),
        LogicalVolume("vg0", "moved", SIZE, TAGS, segments=(Segment("[unknown]", SIZE),), health="partial"),
    ],
    ids=lambda lv: lv.name,
)
def test_another_volume_on_a_missing_lease_is_not_thrown_away(other: LogicalVolume) -> None:
    assert isinstance(step(state(other)), s.Wait)
    assert f"{other.full_name} lies on a missing device" in waits_for(state(other), "vg0/swap")


def test_two_mirrors_of_ours_with_one_dead_lender_do_not_wait_for_each_other() -> None:
    second = replace(MINE, name="swap2")
    assert waits_for(state(second), "vg0/swap") == ""
    assert waits_for(state(second), "vg0/swap2") == ""


def test_a_hidden_volume_on_a_missing_device_counts_too() -> None:
    spare = LogicalVolume("vg0", "lvol0_pmspare", 4 * MIB, segments=(Segment("[unknown]", 4 * MIB),))
    assert "lvol0_pmspare" in waits_for(replace(state(), loose=(spare,)), "vg0/swap")


@pytest.mark.parametrize("name", ["thin_missing", "cache_missing", "raid5_missing", "raid1_missing", "striped_missing"])
def test_what_lies_below_hidden_volumes_counts(name: str) -> None:
    """The missing disk is taken for a lease, so that only the volumes on it stand in the way."""
    report = json.loads(lvm_report(f"kinds/{name}"))
    for pv in report["report"][0]["pv"]:
        pv["pv_tags"] = "ramshare.lease=l1" if pv["pv_missing"] else ""
    lvm = parse_report(json.dumps(report))
    if name == "thin_missing":  # the pool lies on the other disks
        assert waits_for(lvm, "vg1/other") == ""
    else:
        assert "vg1/swap lies on a missing device" in waits_for(lvm, "vg1/other")


def test_a_device_that_lvm_has_written_off_is_missing_though_its_name_is_known() -> None:
    back = replace(LATE, name="/dev/vdb")
    said = waits_for(state(pvs=(HOME, back, replace(DEAD, missing=False, name="/dev/sdc"))), "vg0/swap")
    assert "misses a device of 200 MiB (/dev/vdb, late), which is no lease" in said


def test_a_missing_device_that_only_the_group_counts_is_waited_for() -> None:
    lvm = state(pvs=(HOME,))
    lvm = replace(lvm, vgs=(replace(lvm.vgs[0], missing_pvs=1),))
    assert "misses a device that is no lease" in waits_for(lvm, "vg0/swap")


def test_groups_of_one_name_and_doubled_devices_are_not_touched() -> None:
    twin = VolumeGroup("vg0", 1, 1, 1, uuid="other")
    assert "two volume groups are called vg0" in waits_for(replace(state(), vgs=(*state().vgs, twin)), "vg0/swap")
    copy = replace(HOME, name="/dev/vdz")
    assert "seen on several devices" in waits_for(state(pvs=(HOME, DEAD, copy)), "vg0/swap")
    assert waits_for(replace(state(), vgs=(*state().vgs, replace(twin, name="vg1"))), "vg0/swap") == ""


@given(
    missing=st.lists(st.sampled_from([DEAD, LATE, replace(DEAD, uuid="d2", tags=frozenset({"ramshare.lease=l2"}))])),
    goal=st.sampled_from(["home", "attached"]),
    mode=st.sampled_from(["mirror", "move"]),
    moved=st.booleans(),
)
def test_no_step_changes_a_group_that_misses_a_foreign_device(
    missing: list[PhysicalVolume], goal: str, mode: str, moved: bool
) -> None:
    tags = frozenset({f"ramshare.goal={goal}", f"ramshare.mode={mode}", str(LeaseTag("l1", "hosta", SIZE))})
    mine = replace(MINE, tags=tags)
    if moved:
        mine = LogicalVolume("vg0", "swap", SIZE, tags, segments=(Segment("[unknown]", SIZE),), health="partial")
    lvm = replace(state(pvs=(HOME, *missing)), lvs=(mine,))
    if LATE in missing:
        assert isinstance(step(lvm), LEAVES_GROUP_ALONE)
