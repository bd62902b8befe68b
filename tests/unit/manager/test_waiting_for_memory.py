"""Requests that stand in line at the manager, among fake lenders and borrowers: who is served when memory comes."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, cast

import pytest

from kit.memory_bus import MemoryBus
from kit.world import MIB, FakeBorrower, FakeLender, World, reply_of
from ramshare.agent import Runtime
from ramshare.manager.agent import Manager
from ramshare.manager.waiting import CLAIM_S, HOLD_S, KEEP_S, RETRY_S
from ramshare.messages.replies import BorrowReply, ErrorCode, Reply
from ramshare.messages.state import ManagerState, Mode

pytestmark = pytest.mark.unit


class Patient:
    """A borrower's request that is asked again whenever the manager says `waiting`, as the borrower's agent does."""

    def __init__(self, borrower: FakeBorrower, mib: int, wait_s: float = 600.0, **changes: Any) -> None:
        self.borrower, self.mib, self.wait_s, self.changes = borrower, mib, wait_s, changes
        self.request_id = f"patient-{borrower.client}-{mib}".replace(".", "-")
        self.began_s = borrower.world.clock()
        self.told: list[str] = []
        self.alive = True
        self.future = self._ask()

    def _ask(self) -> "Future[Reply]":
        waited_s = self.borrower.world.clock() - self.began_s
        fields = {"request_id": self.request_id, "wait_s": max(0.0, self.wait_s - waited_s), "waited_s": waited_s}
        return self.borrower.ask(self.mib * MIB, **{**fields, **self.changes})

    def turn(self) -> None:
        if not (self.alive and self.future.done()):
            return
        if self.future.exception() is not None:
            self.future = self._ask()
        elif self.future.result().error is ErrorCode.WAITING:
            self.told.append(self.future.result().sentence)
            self.future = self._ask()

    @property
    def answered(self) -> bool:
        return self.future.done() and self.future.exception() is None and self.reply.error is not ErrorCode.WAITING

    @property
    def reply(self) -> BorrowReply:
        return reply_of(self.future)


class Line(World):
    """A manager, lenders, and borrowers that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.patient: list[Patient] = []

    def lender(self, host: str, mib: int, committed_mib: int = 0) -> FakeLender:
        def make(bus: MemoryBus, runtime: Runtime) -> FakeLender:
            return FakeLender(bus, runtime, mib * MIB, committed_mib * MIB)

        found = cast("FakeLender", self.start(make, f"lender.{host}"))
        self.settle()
        return found

    def waits(self, host: str, mib: int, wait_s: float = 600.0, **changes: Any) -> Patient:
        known = {patient.borrower.client: patient.borrower for patient in self.patient}
        borrower = known.get(f"borrower.{host}") or FakeBorrower(self, host)
        waiting = Patient(borrower, mib, wait_s, **changes)
        self.patient.append(waiting)
        self.advance(1.0)
        return waiting

    def advance(self, seconds: float) -> None:
        until_s = self.clock() + seconds
        while self.clock() < until_s:
            super().advance(min(0.5, until_s - self.clock()))
            for patient in self.patient:
                patient.turn()
            self.settle()

    def summary(self) -> ManagerState:
        return cast("ManagerState", self.state("manager", "summary"))


@pytest.fixture
def world() -> Iterator[Line]:
    world = Line()
    world.start(Manager, "manager")
    yield world
    world.close()
    assert world.errors.seen == []


def test_a_request_stands_and_is_served_when_a_lender_comes(world: Line) -> None:
    world.advance(5)
    waiting = world.waits("b", 52)
    assert "number 1 of 1 in line" in waiting.told[0]
    assert "asked for 52 MiB" in waiting.told[0]
    world.advance(30)
    assert (waiting.answered, world.summary().waiting) == (False, 1)
    world.lender("h0", 100)
    world.advance(2)
    assert [grant.size_bytes for grant in waiting.reply.grants] == [52 * MIB]
    assert world.summary().waiting == 0


def test_a_lender_that_gets_memory_back_serves_who_waits(world: Line) -> None:
    lender = world.lender("h0", 10)
    world.advance(5)
    waiting = world.waits("b", 52)
    lender.capacity_bytes = 200 * MIB
    lender.offer()
    world.advance(2)
    assert waiting.reply.ok


def test_the_wait_ends_with_its_time_and_says_why(world: Line) -> None:
    world.lender("h0", 10)
    world.advance(5)
    waiting = world.waits("b", 52, wait_s=30)
    world.advance(25)
    assert not waiting.answered
    world.advance(10)
    assert waiting.reply.error is ErrorCode.NO_CAPACITY
    assert "no memory came in the time given" in waiting.reply.sentence
    assert world.summary().waiting == 0


def test_a_borrower_that_dies_waits_no_more(world: Line) -> None:
    world.advance(5)
    waiting = world.waits("b", 52)
    waiting.alive = False
    world.advance(HOLD_S + KEEP_S + 2)
    assert world.summary().waiting == 0
    lender = world.lender("h0", 100)
    world.advance(5)
    assert lender.asked == []


def test_memory_comes_to_those_who_wait_in_turn_and_a_newcomer_goes_behind(world: Line) -> None:
    world.advance(5)
    first, greedy, other = world.waits("a", 60), world.waits("a", 61), world.waits("b", 62)
    lender = world.lender("h0", 65)
    newcomer = FakeBorrower(world, "c").ask(3 * MIB, wait_s=0)
    world.advance(3)
    assert [p.answered for p in (first, greedy, other)] == [True, False, False]
    assert "before this one" in reply_of(newcomer).sentence
    for size in (140, 300):
        lender.capacity_bytes = size * MIB
        lender.offer()
        world.advance(3)
        assert other.answered
        assert greedy.answered == (size == 300)


def test_a_volume_that_is_attached_and_needs_another_lease_does_not_queue(world: Line) -> None:
    world.lender("h0", 20)
    world.advance(5)
    world.waits("a", 500)
    assert FakeBorrower(world, "b").borrow(10 * MIB).ok


def test_what_no_cluster_has_blocks_the_others_for_a_while_only(world: Line) -> None:
    world.lender("h0", 20)
    world.advance(5)
    world.waits("a", 5000)
    small = world.waits("b", 12)
    world.advance(CLAIM_S - 5)
    assert not small.answered
    world.advance(8)
    assert small.reply.ok


def test_more_than_a_borrower_may_ever_have_does_not_wait(world: Line) -> None:
    world.lender("h0", 20)
    world.advance(5)
    waiting = world.waits("a", 65 << 10)
    assert waiting.reply.error is ErrorCode.NO_CAPACITY
    assert "RAMSHARE_MANAGER_BORROWER_LIMIT_BYTES" in waiting.reply.sentence


def test_a_fresh_manager_has_everybody_in_line_again_in_the_old_order(world: Line) -> None:
    world.advance(5)
    first, second = world.waits("a", 60), world.waits("b", 60)
    world.advance(20)
    world.kill("manager")
    world.advance(3)
    world.start(Manager, "manager")
    # The second's question to the old manager times out, or it asks again, before the first does.
    second.future = second._ask()
    world.advance(2)
    first.future = first._ask()
    world.advance(2)
    assert world.summary().waiting == 2
    world.lender("h0", 70)
    world.advance(3)
    assert (first.answered, second.answered) == (True, False)


def test_a_lender_that_offers_and_never_delivers_is_not_asked_all_the_time(world: Line) -> None:
    liar = world.lender("h0", 100)
    liar.refuses = True
    world.advance(5)
    waiting = world.waits("b", 52)
    world.advance(60)
    assert not waiting.answered
    assert 2 <= len(liar.asked) <= 2 + 60 / RETRY_S
    assert len({request.lease for request in liar.asked}) == len(liar.asked)
    world.lender("h1", 100)
    world.advance(RETRY_S + 3)
    assert [grant.lender for grant in waiting.reply.grants] == ["lender.h1"]


def test_what_one_lender_granted_goes_back_while_the_rest_is_waited_for(world: Line) -> None:
    honest, liar = world.lender("h0", 40), world.lender("h1", 40)
    liar.refuses = True
    world.advance(5)
    waiting = world.waits("b", 60)
    world.advance(3)
    assert not waiting.answered
    assert honest.lent_bytes() == 0
    liar.refuses = False
    world.advance(RETRY_S + 3)
    assert len(waiting.reply.grants) == 2


def test_a_move_waits_for_committed_memory(world: Line) -> None:
    lender = world.lender("h0", 100)
    world.advance(5)
    waiting = world.waits("b", 52, mode=Mode.MOVE)
    mirror = world.waits("c", 40)
    assert (waiting.answered, mirror.answered) == (False, True)
    lender.capacity_bytes = lender.committed_bytes = 200 * MIB
    lender.offer()
    world.advance(2)
    assert waiting.reply.ok


def test_a_host_that_begins_to_lend_while_it_waits_is_told_so_when_memory_comes(world: Line) -> None:
    world.lender("b", 100)
    world.advance(5)
    waiting = world.waits("b", 52)
    assert FakeBorrower(world, "c").borrow(10 * MIB).ok
    world.lender("h0", 100)
    world.advance(3)
    assert waiting.reply.error is ErrorCode.CONFLICT
    assert "drain it" in waiting.reply.sentence
