"""Devices that a dying tool left suspended are resumed, those that LVM suspends for a moment are left alone."""

import threading
from collections.abc import Iterator

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.session_watch import SessionWatch
from ramshare.borrower.machine.suspend_watch import SUSPENDED_MOST_S, SuspendWatch
from ramshare.linux.dm import Dmsetup
from ramshare.linux.iscsi_sessions import Session

pytestmark = pytest.mark.unit


class Bench:
    """A watch, its clock, and what is suspended."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.suspended: set[str] = set()
        self.runner = FakeRunner().on("dmsetup", "resume", ...)
        self.watch = SuspendWatch(Dmsetup(self.runner), lambda: self.suspended, lambda: self.now_s)
        self.watch.mind(["vg0/swap"])

    def look_after(self, seconds: float) -> list[str]:
        self.now_s += seconds
        return self.watch.look()


def test_a_device_that_stays_suspended_is_resumed() -> None:
    bench = Bench()
    bench.suspended = {"vg0-swap", "vg0-swap_rimage_0"}
    assert bench.look_after(0) == []
    assert bench.look_after(SUSPENDED_MOST_S) == []
    assert bench.look_after(1) == ["vg0-swap", "vg0-swap_rimage_0"]
    assert [call[-1] for call in bench.runner.calls] == ["vg0-swap", "vg0-swap_rimage_0"]


def test_a_device_that_was_resumed_in_between_is_counted_anew() -> None:
    bench = Bench()
    for suspended in ({"vg0-swap"}, set(), {"vg0-swap"}):
        bench.suspended = suspended
        assert bench.look_after(SUSPENDED_MOST_S - 1) == []
    assert bench.runner.calls == []


def test_somebody_elses_device_is_left_alone() -> None:
    bench = Bench()
    bench.suspended = {"vg1-root", "vg0-swap2", "vg0-swap--2", "vg0-swap-cow", "vg0-swap-real", "vg0-swap_root"}
    bench.look_after(0)
    assert bench.look_after(100) == []
    bench.watch.mind([])
    bench.suspended = {"vg0-swap"}
    bench.look_after(0)
    assert bench.look_after(100) == []


def test_it_is_told_of_on_a_thread_of_its_own_and_an_error_ends_nothing() -> None:
    told, resumed = threading.Event(), []
    looks: Iterator[set[str] | OSError] = iter([{"vg0-swap"}, {"vg0-swap"}, OSError("sysfs is gone"), {"vg0-swap"}])
    clock = iter([0.0, 100.0, 200.0, 300.0])

    def look() -> set[str]:
        found = next(looks, set[str]())
        if isinstance(found, OSError):
            raise found
        return found

    def on_resumed(device: str) -> None:
        resumed.append((device, threading.current_thread() is not threading.main_thread()))
        if len(resumed) == 2:
            told.set()

    runner = FakeRunner().on("dmsetup", "resume", ...)
    watch = SuspendWatch(Dmsetup(runner), look, lambda: next(clock, 400.0), look_every_s=0.0)
    watch.mind(["vg0/swap"])
    watch.start(on_resumed)
    assert told.wait(10.0)
    watch.stop()
    assert resumed == [("vg0-swap", True)] * 2


def test_a_change_of_sessions_is_seen_once() -> None:
    up = Session(1, "iqn.2026-11.io.ramshare:a.l1", "10.0.0.1:3260", "LOGGED_IN", "/dev/sda", 5, "running")
    down = Session(1, "iqn.2026-11.io.ramshare:a.l1", "10.0.0.1:3260", "FAILED", "/dev/sda", 5, "blocked")
    looks = iter([[], [up], [up], [down], [down]])
    watch = SessionWatch(lambda: next(looks))
    assert [watch.changed() for _ in range(5)] == [False, True, False, True, False]
