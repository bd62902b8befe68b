"""Going back to a volume group's old metadata must not undo what happened to anybody else in that group."""

from dataclasses import replace
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.repair import BEFORE_MOVE, Rescue, without_pvs
from ramshare.borrower.machine.repair import HOME as KEPT_AT_HOME
from ramshare.borrower.plan.tags import pv_tag
from ramshare.errors import RamshareError
from ramshare.linux import swap
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_state import Leg, LogicalVolume, LvmState, Move, PhysicalVolume, Segment, VolumeGroup

pytestmark = pytest.mark.unit

HOME = Segment("/dev/vda2", 100)
MINE = LogicalVolume("vg0", "swap", 100, segments=(HOME,))
OTHER = LogicalVolume("vg0", "other", 100, segments=(HOME,))
MIRRORED = LogicalVolume(
    "vg0", "other", 100, segtype="raid1", legs=(Leg(0, (HOME,)), Leg(1, (Segment("/dev/sdb", 100),)))
)
METADATA = """physical_volumes {
    pv0 {
        device = "/dev/vda2"
    }
    pv1 {
        device = "/dev/sda"
        tags = ["ramshare.lease=l1"]
    }
}
"""


@pytest.fixture
def runner() -> FakeRunner:
    runner = FakeRunner()
    runner.on("vgcfgbackup", ...).on("dmsetup", "table", ..., stdout="0 8 linear 254:2 2048\n")
    return runner


@pytest.fixture
def rescue(runner: FakeRunner, tmp_path: Path) -> Rescue:
    return Rescue(runner, Lvm(runner, udev=True), tmp_path)


@pytest.mark.parametrize(
    "now",
    [
        LvmState(lvs=(MINE, MIRRORED)),
        LvmState(lvs=(MINE,)),
        LvmState(lvs=(MINE, OTHER, LogicalVolume("vg0", "new", 8, segments=(HOME,)))),
        LvmState(lvs=(MINE, LogicalVolume("vg0", "other", 200, segments=(HOME,)))),
    ],
    ids=["another volume was mirrored", "one was removed", "one was made", "one has grown"],
)
def test_a_rescue_is_refused_if_it_would_undo_what_others_did(
    rescue: Rescue, runner: FakeRunner, now: LvmState
) -> None:
    rescue.keep("vg0/swap", LvmState(lvs=(MINE, OTHER)), BEFORE_MOVE)
    before = len(runner.calls)
    with pytest.raises(RamshareError, match="other volumes of vg0 changed"):
        rescue.undo_move("vg0/swap", now, ["l1"])
    assert len(runner.calls) == before, "nothing was touched"


def test_a_rescue_of_which_nothing_is_kept_is_refused(rescue: Rescue, runner: FakeRunner) -> None:
    with pytest.raises(RamshareError, match="nothing is kept"):
        rescue.write_off("vg0/swap", LvmState(lvs=(MINE,)))
    assert runner.calls == []


def test_only_the_dead_leases_disks_leave_the_metadata() -> None:
    assert without_pvs(METADATA, {pv_tag("l2")}) == METADATA
    assert without_pvs(METADATA, {pv_tag("l1")}) == METADATA[: METADATA.index("    pv1")] + "}\n"


def test_no_two_volumes_share_a_rescue_file(rescue: Rescue, tmp_path: Path) -> None:
    names = [("a.b", "c"), ("a", "b.c"), ("a-b", "c"), ("a", "b-c"), ("a+b", "c"), ("a--b", "c"), ("a", "b--c")]
    for vg, lv in names:
        rescue.keep(f"{vg}/{lv}", LvmState(lvs=(LogicalVolume(vg, lv, 100),)), BEFORE_MOVE)
    assert len(list(tmp_path.glob("*.table"))) == len(names)


def test_undoing_a_move_removes_that_move_only(rescue: Rescue, runner: FakeRunner, tmp_path: Path) -> None:
    devices = ["vg0-pvmove0", "vg0-pvmove0_mimage_0", "vg0-pvmove0_mimage_1", "vg0-pvmove1", "vg0-pvmoved", "vg0-swap"]
    listed = "".join(f"{name}|LVM-x|254|{number}|Active|1\n" for number, name in enumerate(devices))
    runner.on("dmsetup", ...).on("dmsetup", "info", ..., stdout=listed).on("vgcfgrestore", ...)
    runner.on("dmsetup", "table", ..., stdout="0 8 linear 254:2 2048\n")
    state = LvmState(lvs=(replace(MINE, moves=(Move("pvmove0", "/dev/vda2", (), 50.0),)),))
    rescue.keep("vg0/swap", state, BEFORE_MOVE)
    (tmp_path / "vg0-swap.move.vg").write_text(METADATA)
    rescue.undo_move("vg0/swap", state, ["l1"])
    removed = [call[2] for call in runner.ran("dmsetup", "remove", ...)]
    assert removed == ["vg0-pvmove0", "vg0-pvmove0_mimage_0", "vg0-pvmove0_mimage_1"]


def test_a_rescue_waits_while_a_foreign_disk_is_missing(rescue: Rescue, runner: FakeRunner) -> None:
    gone = PhysicalVolume("[unknown]", "vg0", 1, 0, missing=True, uuid="late")
    state = LvmState((gone,), (VolumeGroup("vg0", 1, 1, 1, 1),), (MINE,))
    rescue.keep("vg0/swap", state, BEFORE_MOVE)
    before = len(runner.calls)
    with pytest.raises(RamshareError, match="which is no lease"):
        rescue.undo_move("vg0/swap", state, ["l1"])
    assert len(runner.calls) == before


def test_disks_that_a_boot_named_otherwise_are_no_change(rescue: Rescue, runner: FakeRunner, tmp_path: Path) -> None:
    runner.on("dmsetup", ...).on("vgcfgrestore", ...).on("dmsetup", "table", ..., stdout="0 8 linear 254:2 2048\n")

    def named(disk: str) -> LvmState:
        pv = PhysicalVolume(disk, "vg0", 1, 0, uuid="one")
        return LvmState((pv,), lvs=(MINE, replace(OTHER, segments=(Segment(disk, 100),))))

    rescue.keep("vg0/swap", named("/dev/sdb"), BEFORE_MOVE)
    (tmp_path / "vg0-swap.move.vg").write_text(METADATA)
    rescue.undo_move("vg0/swap", named("/dev/sdc"), ["l1"])
    assert runner.ran("vgcfgrestore", ...)


def test_pages_of_a_pair_are_written_off_with_all_that_lies_below_it(
    rescue: Rescue, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    legs = ["vg0-swap_rimage_0", "vg0-swap_rmeta_0", "vg0-swap_rimage_0-missing_0_0"]
    listed = "".join(
        f"{name}|LVM-x|254|{n}|Active|0\n" for n, name in enumerate([*legs, "vg0-swap2", "vg0-swap2_rmeta_0"])
    )
    runner.on("dmsetup", ...).on("dmsetup", "info", ..., stdout=listed).on("vgcfgrestore", ...).on("lvchange", ...)
    runner.on("dmsetup", "table", ..., stdout="0 8 linear 254:2 2048\n")
    runner.on("mkswap", ...).on("swapon", ...)
    monkeypatch.setattr(swap, "active_swap", lambda _device: None)
    rescue.keep("vg0/swap", LvmState(lvs=(MINE,)), KEPT_AT_HOME)
    rescue.write_off("vg0/swap", LvmState(lvs=(MINE,)))
    removed = [call[2] for call in runner.ran("dmsetup", "remove", ...)]
    assert removed == ["vg0-swap", "vg0-swap_rmeta_0", "vg0-swap_rimage_0", legs[2], "vg0-swap_ramshare_home"]
