"""Only what works is accepted: of all that LVM can make of a volume, plain linear ones, in a group with room."""

import json
import re
from dataclasses import replace

import pytest

from kit.linux_data import lvm_report
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.observe import observe
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.suitability import unsuitable
from ramshare.borrower.plan.view import Heard, VolumeView
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm_report import parse_report
from ramshare.linux.lvm_state import Leg, LogicalVolume, LvmState, PhysicalVolume, Segment, VolumeGroup
from ramshare.messages.names import target_of
from ramshare.messages.replies import ErrorCode
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

EXTENT = 4 << 20
SIZE = 10 * EXTENT
ATTACHED = frozenset({"ramshare.goal=attached", "ramshare.mode=mirror", f"ramshare.lease=l1:hosta:{SIZE}"})
LEASE = PhysicalVolume("/dev/sdc", "vg0", 20 * EXTENT, 9 * EXTENT, frozenset({"ramshare.lease=l1"}))


def kind(name: str) -> LvmState:
    return parse_report(lvm_report(f"kinds/{name}"))


def sentence(state: LvmState, volume: str = "vg1/swap", mode: Mode | None = None) -> str:
    found = unsuitable(state, volume, mode)
    return found.sentence if found else ""


def group(*lvs: LogicalVolume, free: int = EXTENT, disks: tuple[PhysicalVolume, ...] = ()) -> LvmState:
    local = PhysicalVolume("/dev/vda", "vg0", 20 * EXTENT, free, uuid="local")
    return LvmState((local, LEASE, *disks), (VolumeGroup("vg0", 60 * EXTENT, free, EXTENT),), lvs)


@pytest.mark.parametrize(
    ("name", "what", "advice"),
    [
        ("striped", "striped over several disks", "lvcreate"),
        ("mixed", "striped over several disks", "lvcreate"),
        ("raid0", "raid0", "lvcreate"),
        ("raid5", "raid5", "lvcreate"),
        ("raid10", "raid10", "lvcreate"),
        ("raid1", "a raid1 by itself", "lvconvert -m0 vg1/swap"),
        ("raid1_3", "a raid1 by itself", "lvconvert -m0 vg1/swap"),
        ("integrity", "a raid1 by itself", "lvconvert -m0 vg1/swap"),
        ("mirror", "an old-style mirror", "lvconvert -m0 vg1/swap"),
        ("thin", "a thin volume", "lvcreate"),
        ("cache", "cached", "lvconvert --uncache vg1/swap"),
        ("cachevol", "cached", "lvconvert --uncache vg1/swap"),
        ("writecache", "behind a write cache", "lvconvert --splitcache vg1/swap"),
        ("snapshot", r"has a snapshot \(snap\)", "lvremove"),
        ("inactive", "is not active", "lvchange -ay vg1/swap"),
        ("exported", "volume group vg1 is exported", "vgimport vg1"),
        ("twonames", "two volume groups are called vg1", "vgrename"),
        ("full", "/dev/loop0 has no room for the extent", "borrow by move"),
        ("striped_missing", "striped", "lvcreate"),
    ],
)
def test_what_cannot_be_on_leases_is_refused_with_what_it_is_and_what_to_do(name: str, what: str, advice: str) -> None:
    said = sentence(kind(name))
    assert re.search(what, said)
    assert advice in said
    assert name == "full" or sentence(kind(name), mode=Mode.MOVE) == said


def test_a_snapshot_itself_and_a_pool_are_no_swap_volumes_either() -> None:
    assert "vg1/snap is a snapshot of swap" in sentence(kind("snapshot"), "vg1/snap")
    assert "vg1/pool is a thin pool" in sentence(kind("thin"), "vg1/pool")


def test_an_origin_is_known_by_its_attributes_alone() -> None:
    report = json.loads(lvm_report("kinds/snapshot"))
    rows = report["report"][0]["lv"]
    report["report"][0]["lv"] = [row for row in rows if row["lv_name"] == "swap"]
    assert "has a snapshot" in sentence(parse_report(json.dumps(report)))


def test_a_linear_volume_of_several_segments_and_disks_is_fine() -> None:
    state = kind("multi")
    volume = state.existing("vg1/swap")
    assert len(volume.segments) == 3
    assert len(volume.pvs) == 2
    assert sentence(state) == sentence(state, mode=Mode.MOVE) == ""


def test_a_full_disk_stops_a_mirror_but_no_move() -> None:
    assert sentence(kind("full"), mode=Mode.MOVE) == ""


def test_room_counts_only_where_the_volume_lies_and_lvm_may_use_it() -> None:
    lv = LogicalVolume("vg0", "swap", SIZE, segments=(Segment("/dev/vda", SIZE),))
    other = PhysicalVolume("/dev/vdb", "vg0", 20 * EXTENT, 20 * EXTENT)
    assert "no room" in sentence(group(lv, free=0, disks=(other,)), "vg0/swap")
    assert sentence(group(lv), "vg0/swap") == ""
    locked = replace(group(lv), pvs=tuple(replace(pv, allocatable=False) for pv in group(lv).pvs))
    assert "no room" in sentence(locked, "vg0/swap")


def test_a_volume_on_another_ones_lease_is_refused() -> None:
    lv = LogicalVolume("vg0", "swap", SIZE, segments=(Segment("/dev/sdc", SIZE),))
    assert "lease l1 of another volume" in sentence(group(lv), "vg0/swap")


def test_a_group_that_misses_a_disk_takes_no_lease() -> None:
    lv = LogicalVolume("vg0", "swap", SIZE, segments=(Segment("/dev/vda", SIZE),))
    gone = PhysicalVolume("[unknown]", "vg0", SIZE, 0, missing=True, uuid="gone")
    assert "misses a device of 40 MiB (gone), which is no lease" in sentence(group(lv, disks=(gone,)), "vg0/swap")
    lease = replace(gone, tags=frozenset({"ramshare.lease=l9"}))
    assert "being cleaned up" in sentence(group(lv, disks=(lease,)), "vg0/swap")


def test_a_pvmove_that_is_under_way_is_waited_for() -> None:
    report = lvm_report("moving").replace("ramshare.lease=2", "mine=2")
    found = unsuitable(parse_report(report), "vg0/swap")
    assert found is not None
    assert found.code is ErrorCode.BUSY


def test_our_own_mirror_is_no_stranger_with_both_legs_one_leg_or_a_dead_one() -> None:
    local, remote = (Leg(0, (Segment("/dev/vda", SIZE),)), Leg(1, (Segment("/dev/sdc", SIZE),)))
    lv = LogicalVolume("vg0", "swap", SIZE, ATTACHED, "raid,raid1", "raid1", legs=(local, remote))
    assert sentence(group(lv), "vg0/swap") == ""
    assert sentence(group(replace(lv, legs=(local, Leg(1, ())))), "vg0/swap") == ""
    third = Leg(2, (Segment("/dev/vdb", SIZE),))
    assert "has 3 legs" in sentence(group(replace(lv, legs=(local, remote, third))), "vg0/swap")
    both_home = replace(lv, legs=(local, Leg(1, (Segment("/dev/vdb", SIZE),))))
    assert "a raid1 by itself" in sentence(group(both_home), "vg0/swap")


# ---- what became unsuitable later


def session(lease: str, device: str) -> Session:
    return Session(1, target_of("hosta", lease), "10.0.0.1:3260", "LOGGED_IN", device, 5)


def view(report: str, *, home: bool = False, vacate: bool = False) -> VolumeView:
    text = lvm_report(report)
    text = text.replace("goal=attached", "goal=home") if home else text
    heard = Heard(vacate=frozenset({"l27-1"})) if vacate else Heard()
    found = observe("vg0/swap", parse_report(text), [session("l27-1", "/dev/sdc")], ["l27-1"], heard)
    assert found is not None
    return found


@pytest.mark.parametrize("report", ["thin_swap_moved", "striped_half_moved"])
def test_a_volume_that_is_not_wholly_remote_is_never_called_attached(report: str) -> None:
    step = next_step(view(report))
    assert isinstance(step, s.Wait)
    assert step.stuck is (report == "thin_swap_moved"), "a volume that lies on leases is left alone for ever"
    assert str(step).startswith("left alone: vg0/swap is ")


def test_bytes_that_nobody_accounts_for_are_not_called_attached() -> None:
    plain = view("plain_moved")
    held = replace(plain, reserved_bytes=plain.size_bytes)
    assert isinstance(next_step(held), s.Done)
    assert isinstance(next_step(replace(view("thin_swap_moved"), unsuitable="")), s.Wait)


def test_half_of_a_striped_volume_that_lies_on_a_lease_counts_as_half_and_comes_home_on_request() -> None:
    striped = view("striped_half_moved")
    assert (striped.local_bytes, striped.remote_bytes) == (striped.size_bytes // 2, striped.size_bytes // 2)
    assert isinstance(next_step(view("striped_half_moved", home=True)), s.StartMove)
    assert isinstance(next_step(view("striped_half_moved", vacate=True)), s.StartMove)


def test_pages_that_are_lost_are_told_also_of_a_volume_that_is_left_alone() -> None:
    striped = view("striped_half_moved")
    dead = replace(striped, leases=tuple(replace(lease, lost=True, can_login=False) for lease in striped.leases))
    assert next_step(dead) == s.TellLoss(("l27-1",))
    told = replace(dead, heard=Heard(told_lost=frozenset({"l27-1"})))
    assert str(next_step(told)).startswith("left alone")


def test_leases_that_carry_nothing_of_an_unsuitable_volume_go_back_on_request() -> None:
    assert next_step(view("thin_swap_moved", home=True)) == s.Leave("l27-1", "/dev/sdc")


def test_a_lease_on_which_somebody_put_another_volume_is_not_cut_off() -> None:
    plain = parse_report(lvm_report("plain_moved").replace("goal=attached", "goal=home"))
    guest = LogicalVolume("vg0", "guest", EXTENT, segments=(Segment("/dev/sdc", EXTENT),))
    lv = replace(plain.existing("vg0/swap"), segments=(Segment("/dev/sda", SIZE),))
    found = observe("vg0/swap", replace(plain, lvs=(lv, guest)), [session("l27-1", "/dev/sdc")], ["l27-1"])
    assert found is not None
    step = next_step(found)
    assert isinstance(step, s.Wait)
    assert "vg0/guest lies on /dev/sdc" in str(step)
