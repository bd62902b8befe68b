"""Whose swap is it: what a borrower shows of the guests that have its volumes, and whom it listens to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.borrower_scene import Scene
from kit.hands import VOLUME, FakeGuestDisks
from ramshare.borrower.agent import Borrower
from ramshare.borrower.machine.guest_disks import HypervisorsDisks
from ramshare.linux.hypervisor import Guest, NullHypervisor
from ramshare.messages.requests import BorrowVolume
from ramshare.messages.state import Memory, Mode, VolumePhase
from ramshare.settings import AllowedVolume

pytestmark = pytest.mark.unit
MEMORY = Memory(total_bytes=1 << 30, available_bytes=1 << 20, used_bytes=1 << 29, interval_s=5.0, swap_in_bytes_s=3e6)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    scene.disks = FakeGuestDisks(web1=(VOLUME, "vg0/root"))
    yield scene
    scene.close()
    assert scene.errors.seen == []


@pytest.fixture
def disks(scene: Scene) -> FakeGuestDisks:
    assert isinstance(scene.disks, FakeGuestDisks)
    return scene.disks


def borrowed(scene: Scene) -> Borrower:
    scene.lender("x", 9)
    scene.ready().borrow()
    borrower = scene.agents["borrower.b"]
    assert isinstance(borrower, Borrower)
    return borrower


def test_the_guest_whose_disk_a_volume_is_is_shown_with_it(scene: Scene) -> None:
    borrowed(scene)
    assert scene.volume().guests == ("web1",)


def test_a_volume_that_waits_for_memory_shows_its_guest_too(scene: Scene) -> None:
    scene.ready()
    scene.tell("cli.al", BorrowVolume(volume=VOLUME, wait_s=60))
    scene.advance(3)
    assert (scene.volume().phase, scene.volume().guests) == (VolumePhase.WAITING, ("web1",))


def test_only_the_guests_of_volumes_in_our_care_are_listened_to(scene: Scene, disks: FakeGuestDisks) -> None:
    web1, web2 = scene.bus("guest.web1"), scene.bus("guest.web2")
    disks.of["web2"] = ("vg0/other",)
    borrower = borrowed(scene)
    for bus in (web1, web2):
        bus.set_state("memory", MEMORY)
    scene.settle()
    scene.advance(2)
    (report,) = borrower.guests.reports(VOLUME)
    assert (report.who, report.swap_in_bytes_s, report.age_s) == ("web1", 3e6, 2.0)
    assert borrower.guests.reports("vg0/other") == []
    disks.change(web2=(VOLUME,))
    scene.advance(2)
    (report,) = borrower.guests.reports(VOLUME)
    assert report.who == "web2"
    assert report.age_s > 600, "the broker had it in store: nobody knows how old it is"


def test_two_guests_with_one_disk_are_both_shown_and_neither_owns_it(scene: Scene, disks: FakeGuestDisks) -> None:
    borrower = borrowed(scene)
    assert borrower.guests.owner(VOLUME) == "web1"
    disks.change(web1=(VOLUME,), web2=(VOLUME,))
    scene.advance(2)
    assert scene.volume().guests == ("web1", "web2")
    assert borrower.guests.owner(VOLUME) is None
    assert borrower.guests.reports(VOLUME) == []


def test_a_guest_that_migrates_away_while_attached_leaves_the_volume_as_it_is(
    scene: Scene, disks: FakeGuestDisks
) -> None:
    borrower = borrowed(scene)
    disks.change()
    scene.advance(2)
    assert (scene.volume().guests, scene.volume().phase) == ((), VolumePhase.ATTACHED)
    assert borrower.guests.owner(VOLUME) is None
    assert scene.bring_back().ok


def test_a_volume_that_changes_its_owner_is_shown_with_the_new_one(scene: Scene, disks: FakeGuestDisks) -> None:
    borrowed(scene)
    disks.change(web2=(VOLUME,))
    scene.advance(2)
    assert scene.volume().guests == ("web2",)
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_change_that_nobody_tells_of_is_seen_at_the_next_look(scene: Scene, disks: FakeGuestDisks) -> None:
    borrowed(scene)
    disks.of = {"web3": (VOLUME,)}
    scene.advance(7)
    assert scene.volume().guests == ("web3",)


def test_a_hypervisor_that_does_not_answer_changes_nothing(scene: Scene, disks: FakeGuestDisks) -> None:
    borrowed(scene)
    disks.gone = True
    scene.advance(20)
    assert scene.volume().guests == ("web1",)
    disks.gone = False
    disks.of = {}
    scene.advance(7)
    assert scene.volume().guests == ()


def test_without_a_hypervisor_nothing_changes(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    borrower = borrowed(scene)
    assert scene.volume().guests == ()
    asked: list[object] = []
    borrower.guests.look(asked.append)
    scene.advance(1)
    assert "RAMSHARE_BORROWER_HYPERVISOR" in str(asked[0])
    scene.close()


# ---- from the hypervisor's words to volumes


class Hypervisor(NullHypervisor):
    present = True

    def __init__(self, *guests: Guest) -> None:
        self._guests = guests

    def guests(self) -> tuple[Guest, ...]:
        return self._guests


def a_guest(name: str, *disks: str, is_host: bool = False) -> Guest:
    return Guest(name, name, max_bytes=1, actual_bytes=1, disks=disks, is_host=is_host)


def test_disks_become_volumes_and_what_is_none_is_left_out() -> None:
    below = {"/dev/vg0/swap": "vg0/swap", "/dev/mapper/vg0-swap1": "vg0/swap", "/dev/vg0/a": "vg0/a"}
    hypervisor = Hypervisor(
        a_guest("web1", "/dev/vg0/swap", "/dev/mapper/vg0-swap1", "/dev/sda"),
        a_guest("web2", "/dev/vg0/a"),
        a_guest("web 3 (copy)", "/dev/vg0/swap"),
        a_guest("Domain-0", "/dev/vg0/swap", is_host=True),
    )
    assert HypervisorsDisks(hypervisor, below.get).look() == {"vg0/swap": ("web1",), "vg0/a": ("web2",)}


def test_the_guest_of_a_volume_that_may_be_borrowed_for_by_itself_is_heard_before_anything_is_lent(
    scene: Scene,
) -> None:
    scene.ready(auto={VOLUME: AllowedVolume(Mode.MIRROR)})
    scene.bus("guest.web1").set_state("memory", MEMORY)
    scene.advance(1)
    borrower = scene.agents["borrower.b"]
    assert isinstance(borrower, Borrower)
    assert [report.who for report in borrower.guests.reports(VOLUME)] == ["web1"]
