"""Cleaning up after a dead lender waits until the slow local disk has caught up, but not for ever."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.borrower.plan.steps import AtHome, CutOffLeases, DropFailedLeg, SplitLeg, Step, Wait
from ramshare.borrower.plan.write_backlog import FEW_WRITES, PATIENCE_S, SUSPENDED_S, WriteBacklog, Writes, drain_s
from ramshare.linux.dm import writes

pytestmark = pytest.mark.unit

CHANGE = DropFailedLeg(("l1",))
PACE = 120
"""Writes a second of a 7200 rpm disk."""


def ask(quiet: WriteBacklog, at_s: float, in_flight: int, step: Step = CHANGE, pace: int = PACE) -> Step:
    return quiet.instead_of(step, "vg0/swap", Writes(at_s, in_flight, int(at_s * pace)))


def test_a_volume_with_little_under_way_is_changed_at_once() -> None:
    assert ask(WriteBacklog(), 0.0, FEW_WRITES) == CHANGE


def test_a_change_waits_until_the_disk_has_caught_up() -> None:
    quiet = WriteBacklog()
    waits = [ask(quiet, float(at_s), 1200 - PACE * at_s) for at_s in range(9)]
    assert all(isinstance(step, Wait) for step in waits[:8])
    assert "writes are under way" in str(waits[0]) and str(CHANGE) in str(waits[0])
    assert waits[8] == CHANGE  # 240 writes are two seconds of this disk


def test_many_writes_under_way_are_nothing_to_a_fast_disk() -> None:
    quiet = WriteBacklog()
    ask(quiet, 0.0, 5000, pace=50_000)
    assert ask(quiet, 1.0, 5000, pace=50_000) == CHANGE


def test_a_storm_that_never_ends_puts_a_change_off_for_a_minute_only() -> None:
    quiet = WriteBacklog()
    times = [float(at_s) for at_s in range(int(PATIENCE_S) + 3)]
    steps = [ask(quiet, at_s, 10_000) for at_s in times]
    assert steps.index(CHANGE) == int(PATIENCE_S) + 1
    assert isinstance(ask(quiet, times[-1] + 1, 10_000), Wait), "the next change has a patience of its own"


def test_memory_that_its_lender_needs_now_is_not_waited_for() -> None:
    assert ask(WriteBacklog(), 0.0, 10_000, CutOffLeases(())) == CutOffLeases(())
    assert ask(WriteBacklog(), 0.0, 10_000, SplitLeg(("/dev/sda",))) == SplitLeg(("/dev/sda",))
    assert ask(WriteBacklog(), 0.0, 10_000, AtHome()) == AtHome()


def test_waiting_begins_anew_after_another_step() -> None:
    quiet = WriteBacklog()
    ask(quiet, 0.0, 10_000)
    ask(quiet, PATIENCE_S, 10_000, AtHome())
    assert isinstance(ask(quiet, PATIENCE_S + 5, 10_000, DropFailedLeg(())), Wait)


@given(in_flight=st.integers(0, 10**6), done=st.integers(0, 10**6), passed_s=st.floats(0.1, 100))
def test_a_change_never_holds_still_for_longer_than_stated(in_flight: int, done: int, passed_s: float) -> None:
    left_s = drain_s(Writes(0.0, 0, 0), Writes(passed_s, in_flight, done))
    if left_s <= SUSPENDED_S:
        assert in_flight <= max(FEW_WRITES, SUSPENDED_S * done / passed_s * 1.001)


def test_a_devices_writes_are_read_from_sysfs(tmp_path: Path) -> None:
    for number, name in enumerate(("vg0-other", "vg0-swap")):
        block = tmp_path / f"block/dm-{number}"
        (block / "dm").mkdir(parents=True)
        (block / "dm/name").write_text(f"{name}\n")
        (block / "inflight").write_text(f"       3 {number + 40}\n")
        (block / "stat").write_text(f"  10 0 80 5 {number + 7} 0 160 9 0 1 2 0 0 0 0 0 0\n")
    assert writes("vg0-swap", tmp_path) == (41, 8)
    assert writes("vg0-gone", tmp_path) == (0, 0)
