"""Memory that is held to be let go."""

import time

import pytest

from ramshare.linux.ballast import Ballast

pytestmark = pytest.mark.unit

MIB = 1 << 20


def filled(ballast: Ballast, size_bytes: int) -> bool:
    deadline = time.monotonic() + 30.0
    while ballast.held_bytes < size_bytes and time.monotonic() < deadline:
        time.sleep(0.001)
    return ballast.held_bytes == size_bytes


def test_it_is_held_outside_and_not_inside() -> None:
    ballast = Ballast(3 * MIB)
    ballast.fill()
    assert filled(ballast, 3 * MIB)
    with ballast.dropped():
        assert ballast.held_bytes == 0
    assert filled(ballast, 3 * MIB)


def test_dropping_while_it_is_being_taken_leaves_nothing_held() -> None:
    ballast = Ballast(64 * MIB)
    ballast.fill()
    ballast.drop()
    assert ballast.held_bytes == 0


def test_no_ballast_holds_nothing() -> None:
    ballast = Ballast()
    with ballast.dropped():
        pass
    assert ballast.held_bytes == 0


def test_what_was_not_held_before_is_not_held_after(monkeypatch: pytest.MonkeyPatch) -> None:
    ballast = Ballast(MIB)
    monkeypatch.setattr(ballast, "fill", lambda: pytest.fail("it is held again"))
    with ballast.dropped():
        pass
    ballast.drop()
    assert ballast.held_bytes == 0


def test_an_error_inside_does_not_keep_it_from_being_held_again() -> None:
    ballast = Ballast(MIB)
    ballast.fill()
    with pytest.raises(OSError, match="tool"), ballast.dropped():
        raise OSError("tool")
    assert filled(ballast, MIB)
