"""What a host does with its volumes when it shuts down: home in time, else off, else told."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from ramshare.borrower.homeward import HOME_SHARE, Homeward, bring_home
from ramshare.borrower.machine.api import Looked, Machine
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.view import Heard
from ramshare.bus.api import BrokerUnreachableError, Bus
from ramshare.errors import RamshareError
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import ReleaseLease
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

WITHIN_S = 30.0
COMING = s.Wait("pages are coming home, 40 %", 40.0)
RELEASE = s.Release("l1", "lender.hosta")
HOME = s.AtHome()


@dataclass
class ScriptedHost:
    """Volumes that come home by the steps they are given (an error in between); the last one is repeated for ever."""

    steps: dict[str, list[s.Step | RamshareError]]
    now_s: float = 0.0
    fits: bool = True
    busy: list[RamshareError] = field(default_factory=list)
    """What stands in the way of writing the way home down, so many times."""
    sent: list[str] = field(default_factory=list)
    swapoffs: list[tuple[str, float]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def start(self) -> list[str]:
        return list(self.steps)

    def send_home(self, volume: str) -> bool:
        self.now_s += 0.1
        if self.busy:
            raise self.busy.pop()
        self.sent.append(volume)
        return True

    def turn(self, volume: str, heard: Heard) -> Looked:
        steps = self.steps[volume]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        self.now_s += 0.1
        if isinstance(step, RamshareError):
            raise step
        return Looked(cast("Any", None), step)

    def swap_off(self, volume: str, within_s: float) -> bool:
        assert self.now_s + within_s <= WITHIN_S + 1.0, "longer than the shutdown waits"
        self.swapoffs.append((volume, self.now_s))
        return self.fits

    def forget_lease(self, volume: str, lease: str) -> None:
        self.dropped.append(lease)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def machine(self) -> Machine:
        unused = cast("Any", None)
        return Machine(self.start, self.turn, cast("Any", self), unused, unused, unused, unused, "")

    def homeward(self) -> Homeward:
        return Homeward(self.machine(), WITHIN_S, lambda: self.now_s, self.sleep)


@dataclass
class AnsweringBus:
    """A bus whose broker may be away; every request gets the same answer."""

    error: ErrorCode | None = None
    away: bool = False
    asked: list[str] = field(default_factory=list)
    closed: bool = False

    def connect(self, timeout_s: float = 10.0) -> None:
        if self.away:
            raise BrokerUnreachableError("nobody answers")

    def ask(self, server: str, request: ReleaseLease, timeout_s: float) -> "Future[Reply]":
        self.asked.append(f"{server} {request.lease}")
        answer: Future[Reply] = Future()
        answer.set_result(Reply(request_id=request.request_id, error=self.error))
        return answer

    def close(self) -> None:
        self.closed = True


def test_volumes_come_home_by_the_planners_steps_and_none_is_turned_off() -> None:
    host = ScriptedHost({"vg0/a": [s.FreeHome(), COMING, COMING, RELEASE], "vg0/b": [COMING, HOME]})
    outcome = host.homeward().run()
    assert (sorted(outcome.home), outcome.off, outcome.away) == (["vg0/a", "vg0/b"], [], [])
    assert host.sent == ["vg0/a", "vg0/b"]
    assert host.swapoffs == []


def test_a_volume_that_is_not_home_in_time_is_turned_off_while_there_is_time_for_that() -> None:
    host = ScriptedHost({"vg0/a": [COMING]})
    outcome = host.homeward().run()
    assert (outcome.home, outcome.off, outcome.away) == ([], ["vg0/a"], [])
    [(_, at_s)] = host.swapoffs
    assert WITHIN_S * HOME_SHARE <= at_s < WITHIN_S


def test_a_volume_whose_lender_is_dead_is_turned_off_at_once() -> None:
    host = ScriptedHost({"vg0/a": [s.TellLoss(("l1",))]})
    assert host.homeward().run().off == ["vg0/a"]
    assert host.swapoffs[0][1] < 1.0


def test_a_shutdown_waits_no_longer_than_it_was_told_for_what_neither_comes_home_nor_fits() -> None:
    host = ScriptedHost({"vg0/a": [COMING], "vg0/b": [RamshareError("LVM says no")]}, fits=False)
    outcome = host.homeward().run()
    assert (outcome.home, outcome.off, sorted(outcome.away)) == ([], [], ["vg0/a", "vg0/b"])
    assert host.now_s < WITHIN_S + 2.0


def test_what_fails_once_is_tried_again() -> None:
    host = ScriptedHost({"vg0/a": [RamshareError("busy"), COMING, RELEASE]})
    assert host.homeward().run().home == ["vg0/a"]


def test_a_volume_is_not_taken_for_home_before_its_way_home_is_written_down() -> None:
    host = ScriptedHost({"vg0/a": [COMING, RELEASE]}, busy=[RamshareError("LVM is locked")] * 2)
    assert host.homeward().run().home == ["vg0/a"]
    assert host.sent == ["vg0/a"]


def test_a_volume_that_still_says_attached_is_not_home() -> None:
    host = ScriptedHost({"vg0/a": [s.Attached(Mode.MOVE, 2)]})
    assert host.homeward().run().home == []


def test_lenders_get_their_leases_back_before_the_host_goes_down() -> None:
    bus = AnsweringBus()
    host = ScriptedHost({"vg0/a": [RELEASE, RELEASE, s.Forget(), HOME]})
    bring_home(host.machine(), WITHIN_S, lambda: cast("Bus", bus))
    assert bus.asked == ["lender.hosta l1"]
    assert host.dropped == ["l1"]
    assert bus.closed


@pytest.mark.parametrize("bus", [AnsweringBus(away=True), AnsweringBus(error=ErrorCode.BUSY)])
def test_without_broker_or_lender_the_lease_stays_on_the_books_for_the_next_boot(bus: AnsweringBus) -> None:
    host = ScriptedHost({"vg0/a": [RELEASE]})
    bring_home(host.machine(), WITHIN_S, lambda: cast("Bus", bus))
    assert host.dropped == []
    assert bus.closed


def test_pages_that_are_still_away_are_told_by_name() -> None:
    host = ScriptedHost({"vg0/a": [COMING]}, fits=False)
    with pytest.raises(RamshareError, match="vg0/a not home within 0 s"):
        bring_home(host.machine(), 0.0, lambda: cast("Bus", AnsweringBus()))
