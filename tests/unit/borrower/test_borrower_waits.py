"""A borrower whose request stands in line: what is shown meanwhile, and everything that ends the wait."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.borrower_scene import Scene
from kit.hands import VOLUME
from ramshare.messages.replies import AttachReply, ErrorCode
from ramshare.messages.requests import BorrowVolume, ReturnVolume
from ramshare.messages.state import ManagerState, Mode, VolumePhase

pytestmark = pytest.mark.unit


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene.ready()
    scene.close()
    assert scene.errors.seen == []


def waiting(scene: Scene) -> int:
    summary = scene.state("manager", "summary")
    assert isinstance(summary, ManagerState)
    return summary.waiting


def waits(scene: Scene, wait_s: float = 600.0) -> AttachReply:
    future = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR, wait_s=wait_s))
    scene.advance(3)
    reply = future.result(0)
    assert isinstance(reply, AttachReply)
    assert reply.ok
    assert reply.waiting
    return reply


def test_a_volume_is_shown_as_waiting_until_memory_comes_and_then_attaches(scene: Scene) -> None:
    reply = waits(scene)
    assert "number 1 of 1 in line" in reply.sentence
    assert (scene.volume().phase, scene.volume().step) == (VolumePhase.WAITING, reply.sentence)
    scene.advance(60)
    assert scene.volume().phase is VolumePhase.WAITING
    scene.lender("x", 9)
    scene.advance(20)
    assert (scene.volume().phase, scene.volume().remote_bytes) == (VolumePhase.ATTACHED, 4)
    assert scene.bring_back().ok


def test_it_is_shown_as_failed_when_its_time_is_over(scene: Scene) -> None:
    waits(scene, wait_s=20)
    scene.advance(25)
    assert scene.volume().phase is VolumePhase.FAILED
    assert "no memory came in the time given" in scene.volume().step
    scene.lender("x", 9)
    scene.advance(20)
    assert scene.lent() == 0
    assert scene.borrow().ok
    assert scene.volume().phase is VolumePhase.ATTACHED


@pytest.mark.parametrize("only_waiting", [True, False])
def test_return_ends_the_wait_and_nothing_is_lent_afterwards(scene: Scene, only_waiting: bool) -> None:
    waits(scene)
    reply = scene.tell("cli.al", ReturnVolume(volume=VOLUME, only_waiting=only_waiting)).result(0)
    assert (reply.ok, reply.sentence) == (True, f"{VOLUME} waits for memory no more")
    assert scene.volume().phase is VolumePhase.HOME
    scene.advance(10)
    assert waiting(scene) == 0
    scene.lender("x", 9)
    scene.advance(10)
    assert scene.lent() == 0


def test_memory_that_comes_in_the_moment_when_the_wait_is_ended_goes_back(scene: Scene) -> None:
    waits(scene)
    scene.agents["manager"].turn()
    scene.cli.ask("borrower.b", ReturnVolume(volume=VOLUME), 5.0)
    scene.lender("x", 9)
    scene.advance(10)
    assert (scene.lent(), scene.model.tagged) == (0, False)


def test_a_wait_cannot_be_ended_while_what_came_is_being_written_down(scene: Scene) -> None:
    waits(scene)
    scene.worker.hold()
    scene.lender("x", 9)
    scene.advance(3)
    scene.worker.go_on()  # the volume is looked at again ...
    scene.worker.hold()
    scene.advance(1)  # ... and now its leases would be written down
    ended = scene.tell("cli.al", ReturnVolume(volume=VOLUME, only_waiting=True)).result(0)
    assert "does not wait" in ended.sentence
    scene.worker.go_on()
    scene.advance(20)
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_only_the_wait_is_ended_where_memory_has_come_already(scene: Scene) -> None:
    scene.lender("x", 9)
    scene.borrow()
    reply = scene.tell("cli.al", ReturnVolume(volume=VOLUME, only_waiting=True)).result(0)
    assert "does not wait" in reply.sentence
    scene.advance(10)
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_a_volume_waits_once(scene: Scene) -> None:
    waits(scene)
    second = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR, wait_s=60)).result(0)
    assert (second.error, "ramshare return" in second.sentence) == (ErrorCode.BUSY, True)


def test_a_borrower_that_starts_again_waits_no_more_and_says_so(scene: Scene) -> None:
    waits(scene)
    scene.kill("borrower.b")
    scene.borrower()
    scene.advance(30)
    assert scene.state("borrower.b", f"volume/{VOLUME}") is None
    assert waiting(scene) == 0


def test_the_wait_goes_on_over_an_absence_of_the_manager(scene: Scene) -> None:
    waits(scene)
    scene.kill("manager")
    scene.advance(30)
    assert scene.volume().phase is VolumePhase.WAITING
    assert "manager does not answer" in scene.volume().step
    scene.manager()
    scene.advance(20)
    assert waiting(scene) == 1
    scene.lender("x", 9)
    scene.advance(20)
    assert scene.volume().phase is VolumePhase.ATTACHED


def test_without_a_manager_the_wait_still_ends_in_time(scene: Scene) -> None:
    waits(scene, wait_s=30)
    scene.kill("manager")
    scene.advance(90)
    assert scene.volume().phase is VolumePhase.FAILED


def test_a_volume_that_is_no_swap_any_more_when_memory_comes_is_left_alone(scene: Scene) -> None:
    waits(scene)
    scene.host.refuses = (ErrorCode.NOT_SWAP, "it holds a file system")
    scene.lender("x", 9)
    scene.advance(10)
    assert (scene.lent(), scene.model.tagged) == (0, False)
    assert "file system" in scene.volume().step
