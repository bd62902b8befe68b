"""Two managers among lenders and borrowers, on the real bus code: one makes loans, the other takes over."""

from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kit.memory_bus import MemoryBus
from kit.world import MIB, READY_S, FakeBorrower, FakeLender, World, reply_of
from ramshare.agent import Agent, Runtime
from ramshare.manager.agent import Manager
from ramshare.manager.lending import LOGIN_WITHIN_S
from ramshare.manager.unused_grants import TAKE_BACK_AGAIN_S
from ramshare.manager.waiting import HOLD_S
from ramshare.messages.replies import BorrowReply, ErrorCode, Reply
from ramshare.messages.requests import ReleaseLease
from ramshare.messages.state import Claim, ManagerState

pytestmark = pytest.mark.unit

A, B = "manager.a", "manager.b"
TAKEOVER_S = 5.0


class Pair(World):
    """A world with two managers, of which one or the other can be stopped as a process can."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped: dict[str, Agent] = {}

    def manager(self, client: str) -> Manager:
        manager = self.start(Manager, client)
        assert isinstance(manager, Manager)
        return manager

    def lender(self, host: str, mib: int) -> FakeLender:
        def make(bus: MemoryBus, runtime: Runtime) -> FakeLender:
            return FakeLender(bus, runtime, mib * MIB)

        lender = self.start(make, f"lender.{host}")
        assert isinstance(lender, FakeLender)
        self.settle()
        return lender

    def stop(self, client: str) -> None:
        self.stopped[client] = self.agents.pop(client)

    def go_on(self, client: str) -> None:
        self.agents[client] = self.stopped.pop(client)

    def active(self) -> list[str]:
        return [c for c in (A, B) if isinstance(one := self.agents.get(c), Manager) and one.office.leads]

    def summary(self, client: str) -> ManagerState:
        found = self.state(client, "summary")
        assert isinstance(found, ManagerState)
        return found


@pytest.fixture
def world() -> Iterator[Pair]:
    world = Pair()
    yield world
    world.close()
    assert world.errors.seen == []


def both(world: Pair) -> FakeBorrower:
    """Two lenders of 100 MiB, A that makes loans, B that stands by."""
    for host in "xy":
        world.lender(host, 100)
    borrower = FakeBorrower(world, "b")
    for client in (A, B):
        world.manager(client)
        world.advance(READY_S)
    assert world.active() == [A]
    return borrower


def test_one_makes_loans_and_both_say_which(world: Pair) -> None:
    borrower = both(world)
    reply = borrower.borrow(50 * MIB)
    assert reply.ok
    world.advance(1)
    assert (world.summary(A).active, world.summary(B).active) == (True, False)
    assert world.summary(B).reason == f"standing by: {A} makes loans"
    assert world.states(A, "lease/").keys() == {f"lease/{reply.grants[0].lease}"}
    assert world.states(B, "lease/") == world.states(B, "host/") == {}, "one database, not two"


@pytest.mark.parametrize("how", ["killed", "stopped", "cut off"])
def test_the_other_takes_over_within_five_seconds_and_serves_what_was_asked_meanwhile(world: Pair, how: str) -> None:
    borrower = both(world)
    if how == "killed":
        world.kill(A)
    elif how == "stopped":
        world.stop(A)
    else:
        world.broker.cut(A)
    future = borrower.ask(50 * MIB)
    world.advance(TAKEOVER_S)
    assert reply_of(future).ok
    assert B in world.active()
    assert world.states(B, "host/").keys() == {"host/x", "host/y"}


def test_a_manager_that_says_goodbye_is_replaced_at_once(world: Pair) -> None:
    borrower = both(world)
    world.agents.pop(A).bus.close()
    world.advance(1.0)
    assert world.active() == [B]
    assert borrower.borrow(50 * MIB).ok


def test_one_that_was_stopped_and_goes_on_gives_no_orders_and_stands_by(world: Pair) -> None:
    borrower = both(world)
    world.stop(A)
    world.advance(TAKEOVER_S)
    first = borrower.ask(48 * MIB)
    world.settle()
    world.go_on(A)
    world.advance(2.0)
    assert world.active() == [B]
    assert world.state(A, "claim") is None
    assert reply_of(first).ok
    asked = [request for lender in "xy" for request in _lender(world, lender).asked]
    assert len({request.generation for request in asked}) == 1, "the memory was asked for once"
    assert sum(e.size_bytes for lender in "xy" for e in _lender(world, lender).exports.values()) == 48 * MIB
    world.advance(2.0)
    assert world.states(A, "lease/") == {}, "and its database is withdrawn"


def test_orders_that_were_under_way_when_it_was_replaced_are_refused(world: Pair) -> None:
    borrower = both(world)
    old = world.agents[A]
    assert isinstance(old, Manager)
    generation = old.office.generation
    world.kill(A)
    world.advance(TAKEOVER_S)
    lease = borrower.borrow(50 * MIB).grants[0]
    refused = world.bus(A).ask(lease.lender, _release(lease.lease, generation), 10.0)
    world.settle()
    assert refused.result().error is ErrorCode.OUTDATED
    assert lease.lease in _lender(world, lease.lender.partition(".")[2]).exports


def test_a_loan_that_died_half_way_is_gone_on_with_and_no_lease_is_left_over(world: Pair) -> None:
    borrower = both(world)
    slow = _lender(world, "x")
    slow.answers_late = []
    future = borrower.ask(150 * MIB)  # of both lenders
    world.settle()
    assert not future.done()
    world.kill(A)
    slow.answers_late = None
    world.advance(TAKEOVER_S)
    reply = reply_of(future)
    held = {(f"lender.{host}", lease) for host in "xy" for lease in _lender(world, host).exports}
    assert {(grant.lender, grant.lease) for grant in reply.grants} == held


def test_what_the_active_one_has_answered_the_other_does_not_begin_again(world: Pair) -> None:
    borrower = both(world)
    assert borrower.borrow(500 * MIB).error is ErrorCode.NO_CAPACITY
    reply = borrower.borrow(50 * MIB)
    world.advance(2.0)
    world.kill(A)
    world.advance(TAKEOVER_S)
    asked = [request.lease for host in "xy" for request in _lender(world, host).asked]
    assert asked == [grant.lease for grant in reply.grants]


def test_a_dry_run_is_answered_by_the_active_one_alone(world: Pair) -> None:
    borrower = both(world)
    world.kill(B)
    world.manager(B)  # has just started, and may not serve
    assert borrower.borrow(50 * MIB, dry_run=True).shares
    world.advance(READY_S + TAKEOVER_S)
    replies = [p for author, p in world.broker.published if "/reply/borrower.b/" in p.topic]
    assert len(replies) == 1


def test_who_waits_for_memory_waits_on_at_the_successor(world: Pair) -> None:
    borrower = both(world)
    world.kill(A)
    future = borrower.ask(500 * MIB, wait_s=60.0)
    world.advance(TAKEOVER_S)
    assert reply_of(future).error is ErrorCode.WAITING
    assert world.summary(B).waiting == 1


def test_who_waits_at_a_manager_that_gives_way_is_not_served_by_both(world: Pair) -> None:
    borrower = both(world)
    first = borrower.ask(500 * MIB, wait_s=60.0, request_id="request-1")
    world.advance(1.0)
    assert reply_of(first).error is ErrorCode.WAITING
    world.stop(A)
    world.advance(TAKEOVER_S)
    again = borrower.ask(500 * MIB, wait_s=55.0, request_id="request-1")
    world.go_on(A)
    world.advance(HOLD_S + 1.0)
    assert reply_of(again).error is ErrorCode.WAITING
    assert [world.summary(client).waiting for client in (A, B)] == [0, 1]


def test_a_broker_that_lost_everything_has_one_active_manager_again(world: Pair) -> None:
    borrower = both(world)
    assert borrower.borrow(20 * MIB).ok
    world.broker.restart(keep=())
    world.advance(READY_S + TAKEOVER_S)
    assert len(world.active()) == 1
    assert borrower.borrow(20 * MIB).ok


def test_a_grant_that_comes_while_its_manager_gives_way_and_claims_again_is_relayed(world: Pair) -> None:
    lender = world.lender("x", 100)
    manager = world.manager(A)
    world.advance(READY_S)
    lender.answers_late = []
    future = FakeBorrower(world, "b").ask(20 * MIB)
    world.settle()
    manager.on_connected()  # the connection is a new one
    for answer in lender.answers_late:
        answer()
    world.advance(READY_S)
    assert reply_of(future).ok


def test_a_claim_is_said_every_second_and_taken_back_by_who_gives_way(world: Pair) -> None:
    both(world)
    claim = world.state(A, "claim")
    assert isinstance(claim, Claim)
    before = sum(p.topic.endswith(f"/{A}/claim") for _, p in world.broker.published)
    world.advance(10.0)
    assert 9 <= sum(p.topic.endswith(f"/{A}/claim") for _, p in world.broker.published) - before <= 11
    assert world.state(B, "claim") is None


def test_a_manager_of_the_single_kind_is_as_before(world: Pair) -> None:
    world.lender("x", 100)
    world.manager("manager")
    world.advance(READY_S)
    assert FakeBorrower(world, "b").borrow(50 * MIB).ok
    assert world.summary("manager").active


def _lender(world: Pair, host: str) -> FakeLender:
    found = world.agents[f"lender.{host}"]
    assert isinstance(found, FakeLender)
    return found


def _release(lease: str, generation: int) -> ReleaseLease:
    return ReleaseLease(lease=lease, generation=generation)


class AnyCourse(RuleBasedStateMachine):
    """Whole managers, stopped, killed, cut off and back at any moment, while borrowers ask and lenders restart."""

    @initialize()
    def begin(self) -> None:
        self.world = Pair()
        for host in "xyz":
            self.world.lender(host, 100)
        self.borrowers = [FakeBorrower(self.world, host) for host in "bc"]
        self.futures: list[tuple[str, Future[Reply]]] = []
        self.cut: set[str] = set()
        for client in (A, B):
            self.world.manager(client)
        self.world.advance(READY_S)

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(who=st.integers(0, 1), mib=st.sampled_from([20, 60, 150]))
    def a_borrower_asks(self, who: int, mib: int) -> None:
        borrower = self.borrowers[who]
        self.futures.append((borrower.client, borrower.ask(mib * MIB)))

    @rule(client=st.sampled_from([A, B]))
    def one_agent_alone_takes_a_turn(self, client: str) -> None:
        if client in self.world.agents:
            self.world.agents[client].turn()

    @rule(client=st.sampled_from([A, B]))
    def a_manager_is_stopped_or_goes_on(self, client: str) -> None:
        if client in self.world.stopped:
            self.world.go_on(client)
        elif client in self.world.agents:
            self.world.stop(client)

    @rule(client=st.sampled_from([A, B]))
    def a_manager_is_killed_and_starts_again(self, client: str) -> None:
        self.world.stopped.pop(client, None)
        self.cut.discard(client)
        self.world.agents.pop(client, None)
        self.world.broker.crash(client)
        self.world.manager(client)

    @rule(client=st.sampled_from([A, B]))
    def a_manager_is_cut_off_or_back(self, client: str) -> None:
        if client in self.cut:
            self.cut.discard(client)
            self.world.broker.reconnect(client)
        else:
            self.cut.add(client)
            self.world.broker.cut(client)

    @rule(host=st.sampled_from("xyz"), late=st.booleans())
    def a_lender_is_slow_or_answers_what_it_owes(self, host: str, late: bool) -> None:
        lender = _lender(self.world, host)
        owed, lender.answers_late = lender.answers_late or [], [] if late else None
        for answer in owed:
            answer()

    @rule(keep=st.booleans())
    def the_broker_is_restarted(self, keep: bool) -> None:
        self.world.broker.restart(keep=None if keep else ())

    @invariant()
    def no_byte_is_lent_twice(self) -> None:
        if hasattr(self, "world"):
            for host in "xyz":
                lender = _lender(self.world, host)
                assert lender.lent_bytes() <= lender.capacity_bytes
                orders = [request.generation for request in lender.asked]
                assert orders == sorted(orders), "an older generation was obeyed"

    @invariant()
    def every_granted_export_belongs_to_one_loan(self) -> None:
        given: dict[tuple[str, str], str] = {}
        for number, (client, future) in enumerate(getattr(self, "futures", [])):
            if future.done() and not future.exception() and isinstance(reply := future.result(), BorrowReply):
                for grant in reply.grants:
                    assert given.setdefault((grant.lender, grant.lease), f"{client} {number}") == f"{client} {number}"

    def teardown(self) -> None:
        """When all is quiet one manager serves, and what nobody uses comes back."""
        if not hasattr(self, "world"):
            return
        for client in list(self.world.stopped):
            self.world.go_on(client)
        for client in self.cut:
            self.world.broker.reconnect(client)
        for host in "xyz":
            self.a_lender_is_slow_or_answers_what_it_owes(host, late=False)
        self.world.advance(READY_S + TAKEOVER_S + 5)
        assert len(self.world.active()) == 1
        self.world.advance(LOGIN_WITHIN_S + TAKE_BACK_AGAIN_S + 100)
        assert len(self.world.active()) == 1
        assert [_lender(self.world, host).exports for host in "xyz"] == [{}, {}, {}], "something leaked"
        assert self.borrowers[0].borrow(250 * MIB).ok
        self.world.close()
        assert self.world.errors.seen == []


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
