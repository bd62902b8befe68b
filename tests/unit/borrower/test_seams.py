"""Whatever fails inside the borrower, a request is answered, and the volume is free for the next one."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from kit.borrower_scene import Scene
from kit.hands import VOLUME
from ramshare.borrower.machine.api import LeaseTerms
from ramshare.errors import RamshareError
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import BorrowMemory, BorrowVolume, ReturnVolume
from ramshare.messages.state import Mode, VolumePhase

pytestmark = pytest.mark.unit

HOST_SEAMS = (
    "look",
    "check_borrow",
    "terms",
    "accept",
    "send_home",
    "forget_lease",
)
ERRORS = (RamshareError("it burns"), OSError(5, "I/O error"), ValueError("odd"), KeyError("lost"), AssertionError())


class Seam:
    """Raises instead of one call of a method, counted from the first."""

    def __init__(self, target: Any, name: str, nth: int, error: Exception) -> None:
        self.calls = 0
        self._real: Callable[..., Any] = getattr(target, name)
        self._nth = nth
        self._error = error
        setattr(target, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self._nth:
            raise self._error
        return self._real(*args, **kwargs)


@settings(max_examples=100)
@given(
    seam=st.sampled_from([*HOST_SEAMS, "bus.ask"]),
    nth=st.integers(1, 4),
    error=st.sampled_from(ERRORS),
    mode=st.sampled_from([Mode.MIRROR, Mode.MOVE]),
)
@example(seam="terms", nth=1, error=ValueError("odd"), mode=Mode.MIRROR)
@example(seam="bus.ask", nth=1, error=ValueError("odd"), mode=Mode.MIRROR)
def test_a_request_is_answered_and_the_volume_is_free_whatever_raises(
    seam: str, nth: int, error: Exception, mode: Mode
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        scene = Scene(Path(directory))
        scene.step_s = 1.0
        scene.lender("x", 40, committed=40)
        scene.ready()
        target = scene.agents["borrower.b"].bus if seam == "bus.ask" else scene.host
        Seam(target, seam.removeprefix("bus."), nth, error)
        first = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=mode))
        scene.advance(60)
        assert first.done(), "no answer"
        back = scene.tell("cli.al", ReturnVolume(volume=VOLUME))
        scene.advance(60)
        assert back.done(), "no answer to the return"
        again = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=mode))
        scene.advance(90)
        assert again.result().error is not ErrorCode.BUSY, again.result().sentence
        if not again.result().ok:
            again = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=mode))
            scene.advance(90)
        assert again.result().ok, again.result().sentence
        assert scene.volume().phase is VolumePhase.ATTACHED
        scene.tell("cli.al", ReturnVolume(volume=VOLUME))
        scene.advance(90)
        if scene.model.tagged:  # the fault hit the return itself
            scene.tell("cli.al", ReturnVolume(volume=VOLUME))
            scene.advance(90)
        assert scene.volume().phase is VolumePhase.HOME
        assert not scene.model.leases
        scene.close()


INITIATOR = "iqn.2026-11.test:b"
WRONG = [LeaseTerms(1, 1, ""), LeaseTerms(-1, 1, INITIATOR), LeaseTerms(1, 0, INITIATOR)]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_the_manager_cannot_be_asked_is_the_operators_answer(tmp_path: Path, wrong: LeaseTerms) -> None:
    scene = Scene(tmp_path)
    scene.lender("x", 40)
    scene.ready()
    right = scene.host.terms(VOLUME, Mode.MIRROR)
    scene.host.terms = lambda *_: wrong  # type: ignore[method-assign]
    assert _answer(scene).error is ErrorCode.FAILED
    scene.host.terms = lambda *_: right  # type: ignore[method-assign]
    assert _answer(scene).ok
    scene.close()


def test_extents_of_a_gibibyte_and_a_mirror_can_be_asked_for() -> None:
    BorrowMemory(
        volume=VOLUME,
        size_bytes=1 << 30,
        grain_bytes=1 << 30,
        overhead_bytes=2 << 30,
        mode=Mode.MIRROR,
        initiator="iqn.2026-11.test:b",
    )


def _answer(scene: Scene) -> Reply:
    future = scene.tell("cli.al", BorrowVolume(volume=VOLUME, mode=Mode.MIRROR))
    scene.advance(10)
    return future.result(0)


@pytest.mark.parametrize("seam", ["terms", "accept", "look", "forget_lease"])
@pytest.mark.parametrize("error", [ValueError("odd"), OSError(5, "I/O error")])
def test_a_volume_that_asks_for_more_by_itself_asks_again_after_any_error(
    tmp_path: Path, seam: str, error: Exception
) -> None:
    scene = Scene(tmp_path)
    x = scene.lender("x", 40)
    scene.ready().borrow()
    [wanted] = x.exports
    Seam(scene.host, seam, 1, error)
    scene.vacate("lender.x", wanted)
    scene.advance(120)
    assert scene.volume().phase is VolumePhase.ATTACHED
    assert wanted not in scene.volume().leases
    scene.close()


def test_a_volume_that_could_not_even_ask_asks_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    x = scene.lender("x", 40)
    scene.ready().borrow()
    [wanted] = x.exports
    right = scene.host.terms(VOLUME, Mode.MIRROR)
    scene.host.terms = lambda *_: WRONG[0]  # type: ignore[method-assign]
    scene.vacate("lender.x", wanted)
    scene.advance(20)
    scene.host.terms = lambda *_: right  # type: ignore[method-assign]
    scene.advance(120)
    assert scene.volume().phase is VolumePhase.ATTACHED
    scene.close()
