"""Going back to a volume group's old metadata must not undo what happened to anybody else in that group."""

from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.repair import BEFORE_MOVE, Rescue, without_pvs
from ramshare.borrower.plan.tags import pv_tag
from ramshare.errors import RamshareError
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_state import Leg, LogicalVolume, LvmState, Segment

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
