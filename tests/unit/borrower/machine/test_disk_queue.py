"""How many requests wait at the local disk while a volume moves."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.disk_queue import USUAL, WHILE_MOVING, DiskQueues
from ramshare.borrower.machine.executor import Executor
from ramshare.borrower.machine.lvm_cache import LvmCache
from ramshare.borrower.machine.turn import Turns
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.view import NOTHING_HEARD, Goal, Layout, LeaseView, LegView, Link, MoveView, VolumeView
from ramshare.linux.ballast import Ballast
from ramshare.linux.dm import Dmsetup
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit


class Disks:
    """The kernel's settings of some disks, and how often they were changed."""

    def __init__(self, **requests: str) -> None:
        self.now = {f"/dev/{disk}": {"nr_requests": value, "wbt_lat_usec": "75000"} for disk, value in requests.items()}
        self.changes = 0

    def tune(self, disk: str, settings: Mapping[str, str]) -> None:
        self.now[disk] |= settings
        self.changes += 1

    def settings(self, disk: str, names: Iterable[str]) -> dict[str, str]:
        return {name: self.now[disk][name] for name in names}

    @property
    def queues(self) -> DiskQueues:
        return DiskQueues(self.tune, self.settings)


def test_the_queue_is_short_while_a_volume_moves_and_as_long_as_before_afterwards() -> None:
    disks = Disks(vda="256", vdb="64")
    queues = disks.queues
    for _ in range(3):
        queues.fit(["/dev/vda"], moving=True)
    assert disks.now["/dev/vda"] == WHILE_MOVING
    assert disks.now["/dev/vdb"]["nr_requests"] == "64"
    for _ in range(3):
        queues.fit(["/dev/vda"], moving=False)
    assert disks.now["/dev/vda"] == {"nr_requests": "256", "wbt_lat_usec": "75000"}
    assert disks.changes == 2


def test_a_queue_that_a_dead_agent_left_short_gets_the_kernels_own_length() -> None:
    disks = Disks(vda=WHILE_MOVING["nr_requests"])
    disks.queues.fit(["/dev/vda"], moving=False)
    assert disks.now["/dev/vda"] == USUAL


def test_a_queue_that_no_move_concerns_is_left_alone() -> None:
    disks = Disks(vda="32")
    disks.queues.fit(["/dev/vda"], moving=False)
    assert disks.changes == 0


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


LEASE = LeaseView("x", "lender.a", 4, link=Link.UP, device="/dev/sda", in_vg=True, used_bytes=4)
LEGS = (LegView(("/dev/sda",), frozenset({"x"})), LegView(("/dev/vda",), is_local=True, in_sync=False))
HOME = VolumeView("vg0/swap", 4, Goal.HOME, Mode.MOVE, Layout.LINEAR, 4, ("/dev/vda",), tagged=True)


@pytest.mark.parametrize(
    ("seen", "step", "short"),
    [
        (replace(HOME, move=MoveView(50.0)), s.Wait, True),
        (replace(HOME, goal=Goal.ATTACHED, move=MoveView(50.0, to_leases=frozenset({"x"}))), s.Wait, True),
        (replace(HOME, mode=Mode.PAIR, layout=Layout.RAID1, leases=(LEASE,), legs=LEGS), s.Wait, True),
        (HOME, s.Forget, False),
    ],
    ids=["coming home", "moving out", "a pair gets a leg at home", "there"],
)
def test_every_look_at_a_volume_fits_its_disks_queue(seen: VolumeView, step: type, short: bool) -> None:
    disks = Disks(vda="256" if short else WHILE_MOVING["nr_requests"])
    turns = Turns(
        Seen(seen),  # type: ignore[arg-type]
        LvmCache(),
        Dmsetup(FakeRunner().on("dmsetup", ...)),
        Applied(),
        Ballast(),
        queues=disks.queues,
    )
    looked = turns.turn("vg0/swap", NOTHING_HEARD)
    assert isinstance(looked.step, step)
    assert (disks.now["/dev/vda"] == WHILE_MOVING) is short
