"""What is seen of a raid1 with legs on leases: whose each leg is, whether it has every page, and what is missing."""

from dataclasses import replace

import pytest

from ramshare.borrower.plan.observe import observe
from ramshare.borrower.plan.tags import LeaseTag, parse, pv_tag
from ramshare.borrower.plan.view import Layout, LegView, VolumeView
from ramshare.linux.lvm_state import Leg, LogicalVolume, LvmState, PhysicalVolume, Segment, VolumeGroup
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

EXTENT = 4 << 20
ONE, TWO = LeaseTag("l1", "hosta", 100 * EXTENT, leg=1), LeaseTag("l2", "hostb", 100 * EXTENT, leg=2)
TAGS = frozenset({"ramshare.goal=attached", "ramshare.mode=pair", str(ONE), str(TWO)})
DISK = PhysicalVolume("/dev/vda", "vg0", 200 * EXTENT, 100 * EXTENT, uuid="home")
A = PhysicalVolume("/dev/sda", "vg0", 102 * EXTENT, 0, frozenset({pv_tag("l1")}), uuid="a")
B = PhysicalVolume("/dev/sdb", "vg0", 102 * EXTENT, 0, frozenset({pv_tag("l2")}), uuid="b")


def leg(index: int, pv: str, *, health: str = "", in_sync: bool = True) -> Leg:
    return Leg(index, (Segment(pv, 100 * EXTENT),), (Segment(pv, EXTENT),), health=health, in_sync=in_sync)


def seen(*legs: Leg, pvs: tuple[PhysicalVolume, ...] = (DISK, A, B), tags: frozenset[str] = TAGS) -> VolumeView:
    lv = LogicalVolume("vg0", "swap", 100 * EXTENT, tags=tags, segtype="raid1", legs=legs, sync_percent=100.0)
    view = observe("vg0/swap", LvmState(pvs, (VolumeGroup("vg0", 1, 1, EXTENT),), (lv,)), ())
    assert view is not None
    return view


def test_a_leases_leg_outlives_the_agent_as_a_tag() -> None:
    assert [(tag.lease, tag.leg) for tag in parse(TAGS).leases] == [("l1", 1), ("l2", 2)]
    assert parse({str(ONE.as_lost())}).leases[0].leg == 1
    assert parse({"ramshare.lease=l1:hosta:1"}).leases[0].leg == 0
    assert parse({"ramshare.lease=l1:hosta:1:7"}).leases[0].leg == 0


def test_each_leg_is_seen_with_its_lease_and_its_disks() -> None:
    view = seen(leg(0, "/dev/sda"), leg(1, "/dev/sdb"))
    assert (view.layout, view.local_bytes, view.mode) == (Layout.RAID1, 0, Mode.PAIR)
    assert view.legs == (LegView(("/dev/sda",), frozenset({"l1"})), LegView(("/dev/sdb",), frozenset({"l2"})))
    assert all(x.good for x in view.legs)
    assert not view.unsuitable


def test_on_the_way_there_the_local_leg_is_told_from_the_others_and_the_new_one_is_no_copy_yet() -> None:
    view = seen(leg(0, "/dev/vda"), leg(1, "/dev/sda"), leg(2, "/dev/sdb", in_sync=False))
    assert [(x.is_local, x.good) for x in view.legs] == [(True, True), (False, True), (False, False)]
    assert not view.unsuitable


def test_a_leg_whose_device_is_missing_is_no_copy_and_has_no_disk() -> None:
    gone = replace(A, name="[unknown]", missing=True)
    view = seen(leg(0, "[unknown]", health="partial"), leg(1, "/dev/sdb"), pvs=(DISK, gone, B))
    assert view.legs[0] == LegView((), failed=True)
    assert [(x.lease, x.lost) for x in view.leases] == [("l1", True), ("l2", False)]


def test_a_pair_on_its_way_to_a_mirror_may_have_three_legs_and_a_mirror_by_itself_may_not() -> None:
    legs = (leg(0, "/dev/sda"), leg(1, "/dev/sdb"), leg(2, "/dev/vda"))
    was_pair = (TAGS - {"ramshare.mode=pair"}) | {"ramshare.mode=mirror"}
    assert not seen(*legs, tags=was_pair).unsuitable
    never = frozenset({"ramshare.goal=attached", "ramshare.mode=mirror"}) | {str(replace(x, leg=0)) for x in (ONE, TWO)}
    assert "has 3 legs" in seen(*legs, tags=never).unsuitable
