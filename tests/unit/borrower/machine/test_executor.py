"""Every step of the machine has its branch; one that has none is an error, never a success."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.comparisons import Comparisons
from ramshare.borrower.machine.executor import Executor
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.machine.lvm_cache import LvmCache
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.machine.repair import LostLeases, Rescue
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.step import AnyStep
from ramshare.borrower.plan.tags import goal_tags
from ramshare.borrower.plan.view import Goal, Layout, VolumeView
from ramshare.linux.dm import Dmsetup
from ramshare.linux.lvm import Lvm, LvmState
from ramshare.linux.lvm_state import LogicalVolume
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

VIEW = VolumeView("vg0/swap", 1 << 30, Goal.HOME, None, Layout.LINEAR, 1 << 30, ())
TAGS = frozenset({*goal_tags(Goal.HOME, Mode.MOVE), "theirs"})
STATE = LvmState(lvs=(LogicalVolume("vg0", "swap", 1 << 30, TAGS),))


class Defragment(AnyStep):
    """A step that nobody wrote an executor for."""

    says = "put the pages in order"


def executor(runner: FakeRunner, directory: Path) -> Executor:
    lvm, dm, iscsi = Lvm(runner, udev=True), Dmsetup(runner), LeaseSessions(runner, 90.0)
    tags, rescue = VolumeTags(lvm, LvmCache()), Rescue(runner, lvm, directory)
    return Executor(lvm, tags, iscsi, rescue, LostLeases(lvm, tags, dm, iscsi, rescue), Comparisons())


def test_a_step_without_an_executor_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Defragment"):
        executor(FakeRunner(), tmp_path).apply(VIEW, STATE, cast("s.MachineStep", Defragment()))


@pytest.mark.parametrize("step", [s.Release("l1", "lender.x"), s.AtHome()])
def test_a_step_for_the_bus_or_for_nobody_is_none_of_its_business(step: s.Step, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        executor(FakeRunner(), tmp_path).apply(VIEW, STATE, cast("s.MachineStep", step))


def test_a_volume_that_is_home_loses_our_tags_and_no_other(tmp_path: Path) -> None:
    runner = FakeRunner().on("lvchange", ...)
    executor(runner, tmp_path).apply(VIEW, STATE, s.Forget())
    [change] = runner.calls
    assert [word for word in change if word.startswith(("ramshare.", "theirs"))] == sorted(TAGS - {"theirs"})


@pytest.mark.parametrize(("mode", "hurries"), [(Mode.PAIR, True), (Mode.MIRROR, False)])
def test_a_pairs_copies_do_not_wait_for_a_storm_to_end(mode: Mode, hurries: bool, tmp_path: Path) -> None:
    runner = FakeRunner().on("lvconvert", ...).on("lvchange", ...)
    executor(runner, tmp_path).apply(replace(VIEW, mode=mode), STATE, s.StartMirror(("/dev/sda",)))
    rates = [call[call.index("--minrecoveryrate") + 1] for call in runner.calls if "--minrecoveryrate" in call]
    assert rates == ["65536k"] * hurries
