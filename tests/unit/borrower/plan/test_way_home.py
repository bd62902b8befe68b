"""A volume comes home to the disk that it left; where that is gone it goes to another one and says so."""

from dataclasses import replace

import pytest

from kit.linux_data import lvm_report
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.observe import observe
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.tags import home_tag
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm_report import parse_report
from ramshare.linux.lvm_state import LvmState, PhysicalVolume
from ramshare.messages.names import target_of

pytestmark = pytest.mark.unit

SSD, LEASE = "/dev/sdb", "/dev/sdc"


def moved(*, left: str = SSD, goal: str = "attached") -> LvmState:
    """Return a volume that lies on its lease, in a group of two local disks, with its tags as it left `left`."""
    state = parse_report(lvm_report("plain_moved").replace("goal=attached", f"goal={goal}"))
    disk = state.pv(left)
    assert disk is not None
    lv = state.existing("vg0/swap")
    return replace(state, lvs=(replace(lv, tags=lv.tags | {home_tag(disk.uuid)}),))


def with_disk(state: LvmState, disk: str, **changes: object) -> LvmState:
    pvs = [replace(pv, **changes) if pv.name == disk else pv for pv in state.pvs]  # type: ignore[arg-type]
    return replace(state, pvs=tuple(pvs))


def without(state: LvmState, name: str) -> LvmState:
    return replace(state, pvs=tuple(pv for pv in state.pvs if pv.name != name))


def step(state: LvmState) -> s.Step:
    session = Session(1, target_of("hosta", "l27-1"), "10.0.0.1:3260", "LOGGED_IN", LEASE, 5)
    view = observe("vg0/swap", state, [session], ["l27-1"])
    assert view is not None
    return next_step(view)


@pytest.mark.parametrize("left", ["/dev/sda", "/dev/sdb"])
def test_its_place_is_held_on_the_disk_that_it_left_and_it_comes_home_there(left: str) -> None:
    held = step(moved(left=left))
    assert isinstance(held, s.ReserveHome)
    assert held.devices == (left,)
    assert step(moved(left=left, goal="home")) == s.StartMove(LEASE, (left,))
    assert str(step(moved(left=left, goal="home"))).endswith(f"to {left}")


def test_the_disk_is_known_again_under_another_name() -> None:
    renamed = with_disk(moved(goal="home"), SSD, name="/dev/nvme1n1")
    assert step(renamed) == s.StartMove(LEASE, ("/dev/nvme1n1",))


def test_where_that_disk_is_gone_another_local_one_is_taken_and_said() -> None:
    coming = step(without(moved(goal="home"), SSD))
    assert coming == s.StartMove(LEASE, ("/dev/sda",))
    assert str(coming).endswith(": the disk that it left is gone")
    held = step(without(moved(), SSD))
    assert "the disk that it left is gone" in str(held)


@pytest.mark.parametrize("changes", [{"free_bytes": 0}, {"allocatable": False}])
def test_where_that_disk_has_no_room_another_one_helps_out_and_is_said(changes: dict[str, object]) -> None:
    coming = step(with_disk(moved(goal="home"), SSD, **changes))
    assert isinstance(coming, s.StartMove)
    assert "/dev/sda" in coming.destinations
    assert "the disk that it left" in str(coming)


def test_a_lease_is_never_a_home() -> None:
    for state in (moved(goal="home"), without(without(moved(goal="home"), SSD), "/dev/sda")):
        coming = step(state)
        assert isinstance(coming, s.StartMove)
        assert LEASE not in coming.destinations


def test_without_a_record_it_comes_home_to_any_local_disk() -> None:
    state = parse_report(lvm_report("plain_moved").replace("goal=attached", "goal=home"))
    assert step(state) == s.StartMove(LEASE, ("/dev/sda", SSD))


def test_of_several_disks_that_it_left_each_is_a_home() -> None:
    state = moved()
    lv = state.existing("vg0/swap")
    uuids = [pv.uuid for pv in state.pvs if pv.name != LEASE]
    both = replace(state, lvs=(replace(lv, tags=lv.tags | set(map(home_tag, uuids))),))
    held = step(both)
    assert isinstance(held, s.ReserveHome)
    assert held.devices == ("/dev/sda", SSD)


def test_a_third_disk_is_not_taken_while_another_one_has_room() -> None:
    state = without(moved(goal="home"), SSD)
    small = PhysicalVolume("/dev/sdd", "vg0", 8 << 20, 8 << 20, uuid="small")
    assert step(replace(state, pvs=(*state.pvs, small))) == s.StartMove(LEASE, ("/dev/sda",))
