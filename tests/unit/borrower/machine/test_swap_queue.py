"""How many requests of swap are under way while a volume moves."""

from dataclasses import replace
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.executor import Executor
from ramshare.borrower.machine.lvm_cache import LvmCache
from ramshare.borrower.machine.swap_queue import USUAL, WHILE_MOVING, fit_queue
from ramshare.borrower.machine.turn import Turns
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.view import NOTHING_HEARD, Goal, Layout, MoveView, VolumeView
from ramshare.linux.ballast import Ballast
from ramshare.linux.dm import Dmsetup
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A host that swaps to `/dev/vg0/swap` through `/dev/loop3`, and to another volume directly."""
    for name in ("dev/vg0/swap", "dev/loop3", "dev/dm-7"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    for name, text in (
        ("proc/swaps", "Filename Type Size Used Priority\n/dev/loop3 partition 9 5 -2\n/dev/dm-7 partition 9 5 -2\n"),
        ("sys/block/loop3/loop/backing_file", "/dev/vg0/swap\n"),
        ("sys/block/loop3/loop/offset", "0\n"),
        ("sys/block/loop3/queue/nr_requests", "128\n"),
        ("sys/block/dm-7/queue/nr_requests", "128\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def requests(machine: Path, disk: str = "loop3") -> int:
    return int((machine / f"sys/block/{disk}/queue/nr_requests").read_text())


def test_the_queue_is_narrow_while_the_volume_moves_and_as_wide_as_before_afterwards(machine: Path) -> None:
    fit_queue("vg0/swap", moving=True, root=machine)
    assert requests(machine) == WHILE_MOVING
    fit_queue("vg0/swap", moving=False, root=machine)
    assert requests(machine) == USUAL


def test_another_volumes_queue_and_swap_without_one_are_left_alone(machine: Path) -> None:
    fit_queue("vg0/other", moving=True, root=machine)
    fit_queue("dm-7", moving=True, root=machine)
    assert (requests(machine), requests(machine, "dm-7")) == (USUAL, 128)


class Seen:
    """A look that shows one view."""

    def __init__(self, view: VolumeView) -> None:
        self.view, self.state, self.seen = view, None, ()

    def look(self, volume: str, heard: object = None) -> VolumeView:
        return self.view

    def sessions(self) -> tuple[()]:
        return ()


class Applied(Executor):
    """Takes every step without a word."""

    def __init__(self) -> None:
        pass

    def apply(self, *_: object) -> None:
        pass


HOME = VolumeView("vg0/swap", 4, Goal.HOME, Mode.MOVE, Layout.LINEAR, 4, ("/dev/vda",), tagged=True)


@pytest.mark.parametrize(
    ("seen", "step", "narrow"),
    [
        (replace(HOME, move=MoveView(50.0)), s.Wait, True),
        (replace(HOME, goal=Goal.ATTACHED, move=MoveView(50.0, to_leases=frozenset({"x"}))), s.Wait, True),
        (HOME, s.Forget, False),
    ],
    ids=["coming home", "moving out", "there"],
)
def test_every_look_at_a_volume_fits_its_queue(seen: VolumeView, step: type, narrow: bool) -> None:
    said: list[tuple[str, bool]] = []
    turns = Turns(
        Seen(seen),  # type: ignore[arg-type]
        LvmCache(),
        Dmsetup(FakeRunner().on("dmsetup", ...)),
        Applied(),
        Ballast(),
        fit_queue=lambda volume, moving: said.append((volume, moving)),
    )
    looked = turns.turn("vg0/swap", NOTHING_HEARD)
    assert isinstance(looked.step, step)
    assert said == [("vg0/swap", narrow)]
