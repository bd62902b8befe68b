"""The manager among fake lenders and borrowers, on the real bus code: grants, refusals, races, restarts."""

from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.memory_bus import MemoryBus
from kit.world import MIB, READY_S, FakeBorrower, FakeLender, World, reply_of
from ramshare.agent import Runtime
from ramshare.bus.api import StateArrived
from ramshare.manager.agent import LISTEN_S, Manager
from ramshare.manager.confirming import CONFIRM_S
from ramshare.manager.gaps import GAP_S
from ramshare.manager.lending import EXPORT_TIMEOUT_S, LOGIN_WITHIN_S
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import Announce
from ramshare.messages.state import HostRecord, LeaseRecord, ManagerState, Mode, Status
from ramshare.retained import STALE_AFTER_S

pytestmark = pytest.mark.unit


class Setting(World):
    """A world with a manager that is ready, and lenders and borrowers on demand."""

    def manager(self) -> Manager:
        manager = self.start(Manager, "manager")
        assert isinstance(manager, Manager)
        return manager

    def lender(self, host: str, mib: int, committed_mib: int = 0) -> FakeLender:
        def make(bus: MemoryBus, runtime: Runtime) -> FakeLender:
            return FakeLender(bus, runtime, mib * MIB, committed_mib * MIB)

        lender = self.start(make, f"lender.{host}")
        assert isinstance(lender, FakeLender)
        self.settle()
        return lender

    def ready(self) -> None:
        self.settle()
        self.advance(READY_S)

    def summary(self) -> ManagerState:
        found = self.state("manager", "summary")
        assert isinstance(found, ManagerState)
        return found


@pytest.fixture
def world() -> Iterator[Setting]:
    world = Setting()
    yield world
    world.close()
    assert world.errors.seen == []


def serving(world: Setting, *sizes_mib: int, committed_mib: int = 0) -> tuple[list[FakeLender], FakeBorrower]:
    lenders = [world.lender(f"h{i}", size, committed_mib) for i, size in enumerate(sizes_mib)]
    world.manager()
    borrower = FakeBorrower(world, "b")
    world.ready()
    return lenders, borrower


# ---- listening first


def test_a_fresh_manager_serves_when_it_has_heard_what_the_broker_has_stored_or_waited(
    world: Setting,
) -> None:
    world.lender("h0", 100)
    borrower = FakeBorrower(world, "b")
    world.broker.holds_subscriptions = True
    manager = world.manager()
    world.settle()
    world.broker.answer_subscriptions()  # but the mark is lost: it came before anybody listened
    future = borrower.ask(40 * MIB)
    world.advance(LISTEN_S - 1.0)
    assert not manager.ready
    assert not world.summary().ready
    assert not future.done()
    world.advance(2.0)
    assert manager.ready
    assert reply_of(future).ok


def test_a_fresh_manager_serves_with_what_is_stored_before_anybody_has_spoken(world: Setting) -> None:
    lender = world.lender("h0", 100)
    del world.agents["lender.h0"]  # connected, but takes no turn
    manager = world.manager()
    world.settle()
    assert manager.ready
    assert (world.summary().agents, world.summary().heard) == (1, 0)
    assert world.summary().reason == "serving; 1 not heard yet: lender.h0"
    world.agents["lender.h0"] = lender
    world.advance(READY_S)
    assert (world.summary().agents, world.summary().heard) == (1, 1)
    assert world.summary().reason == "serving"


def test_a_lender_that_was_not_heard_is_asked_whether_it_is_there_before_a_loan_counts_on_it(world: Setting) -> None:
    hung = world.lender("h0", 1000)
    del world.agents["lender.h0"]
    world.lender("h1", 100)
    world.manager()
    borrower = FakeBorrower(world, "b")
    world.settle()
    futures = [borrower.ask(20 * MIB) for _ in range(3)]
    world.advance(CONFIRM_S + 0.5)
    assert [[g.lender for g in reply_of(future).grants] for future in futures] == [["lender.h1"]] * 3
    assert hung.asked == []
    confirmations = [p for _, p in world.broker.published if p.topic.endswith("/lender.h0/manager/confirm")]
    assert len(confirmations) == 1, "asked once for all"


def test_a_lender_that_speaks_while_its_answer_is_waited_for_is_believed(world: Setting) -> None:
    lender = world.lender("h0", 100)
    del world.agents["lender.h0"]
    world.manager()
    borrower = FakeBorrower(world, "b")
    world.settle()
    future = borrower.ask(20 * MIB)
    world.settle()
    lender.offer()  # busy, but there: it answers no request
    world.advance(CONFIRM_S + 0.5)
    world.agents["lender.h0"] = lender
    world.settle()
    assert reply_of(future).ok


def test_a_stored_word_counts_as_long_as_the_broker_would_keep_it(world: Setting) -> None:
    world.lender("h0", 100)
    del world.agents["lender.h0"]
    world.broker.cut("lender.h0")
    world.broker._clients["lender.h0"].will = None  # the broker was restarted meanwhile
    world.advance(STALE_AFTER_S + 35.0)
    world.manager()
    reply = FakeBorrower(world, "b").borrow(40 * MIB)
    assert reply.error is ErrorCode.NO_CAPACITY, "its heartbeat is old"


def test_announcements_are_spread_when_there_are_many(world: Setting) -> None:
    asked = Announce(within_s=60.0)
    lenders = [world.lender(f"h{number}", 100) for number in range(20)]
    world.manager()
    world.advance(READY_S)
    before = len(world.broker.published)
    world.bus("manager").ask("all", asked, 60.0)
    world.settle()
    said = [author for author, p in world.broker.published[before:] if p.topic.endswith("/offer")]
    assert len(said) < len(lenders) / 2
    world.advance(60.0)
    said = [author for author, p in world.broker.published[before:] if p.topic.endswith("/offer")]
    assert set(said) == {lender.bus.client for lender in lenders}


def test_what_the_broker_has_dropped_is_noticed_and_asked_for_again(world: Setting) -> None:
    world.lender("h0", 100)
    manager = world.manager()
    borrower = FakeBorrower(world, "b")
    world.ready()
    lease = borrower.borrow(40 * MIB).grants[0].lease
    manager.cluster.take(StateArrived("lender.h0", f"export/{lease}", None, retained=False), world.clock())
    world.advance(GAP_S + 1.0)
    assert f"export/{lease}" in manager.cluster.by_client["lender.h0"].messages
    assert world.summary().incomplete == 0
    manager.cluster.take(StateArrived("lender.h0", "offer", None, retained=False), world.clock())
    world.advance(1.0)
    assert world.summary().incomplete == 1
    world.advance(GAP_S)
    assert world.summary().incomplete == 0


# ---- only asked what would be


def foretold(borrower: FakeBorrower, size_bytes: int) -> Reply:
    future = borrower.ask(size_bytes, dry_run=True)
    borrower.world.settle()
    return future.result(0)


def test_a_dry_run_tells_what_lenders_would_be_asked_for_and_asks_none(world: Setting) -> None:
    lenders, borrower = serving(world, 100, 100)
    reply = borrower.borrow(160 * MIB, overhead_bytes=8 * MIB, dry_run=True)
    assert (reply.ok, reply.grants) == (True, ())
    assert {share.lender: share.size_bytes for share in reply.shares} == {"lender.h0": 88 * MIB, "lender.h1": 88 * MIB}
    assert "no fewer than 2" in reply.sentence
    assert [lender.asked for lender in lenders] == [[], []]
    assert world.events("granted") == []


def test_a_dry_run_is_refused_for_the_reasons_of_a_loan_but_without_an_event(world: Setting) -> None:
    _, borrower = serving(world, 100)
    too_much = foretold(borrower, 200 * MIB)
    assert too_much.error is ErrorCode.NO_CAPACITY
    assert "the cluster can lend 100 MiB" in too_much.sentence
    borrower.borrow(40 * MIB)
    lends_itself = foretold(FakeBorrower(world, "h0"), 4 * MIB)
    assert (lends_itself.error, "drain it" in lends_itself.sentence) == (ErrorCode.CONFLICT, True)
    assert world.events("refused") == []


def test_a_manager_that_is_still_listening_foretells_nothing_before_it_has_heard_everybody(world: Setting) -> None:
    world.lender("h0", 100)
    world.manager()
    future = FakeBorrower(world, "b").ask(40 * MIB, dry_run=True)
    assert not future.done()
    world.ready()
    assert reply_of(future).shares


# ---- granting


def test_two_lenders_together_serve_what_neither_could(world: Setting) -> None:
    lenders, borrower = serving(world, 100, 100)
    reply = borrower.borrow(160 * MIB)
    assert reply.ok
    assert {grant.lender for grant in reply.grants} == {"lender.h0", "lender.h1"}
    assert sum(grant.size_bytes for grant in reply.grants) == 160 * MIB
    assert [lender.lent_bytes() for lender in lenders] == [80 * MIB, 80 * MIB]
    assert "no fewer than 2" in reply.sentence
    assert len(world.events("granted")) == 1


def test_each_lease_has_its_overhead_on_top(world: Setting) -> None:
    _, borrower = serving(world, 100, 100)
    reply = borrower.borrow(160 * MIB, overhead_bytes=8 * MIB)
    assert sum(grant.size_bytes for grant in reply.grants) == (160 + 2 * 8) * MIB


def test_the_export_names_the_borrower_and_its_initiator(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    borrower.borrow(40 * MIB, initiator="iqn.2026-11.test:special")
    assert (lender.asked[0].borrower, lender.asked[0].initiator) == ("borrower.b", "iqn.2026-11.test:special")


def test_a_move_gets_committed_memory_only_and_a_refusal_says_so(world: Setting) -> None:
    _, borrower = serving(world, 100, committed_mib=40)
    assert borrower.borrow(40 * MIB, mode=Mode.MOVE).ok
    reply = borrower.borrow(40 * MIB, mode=Mode.MOVE)
    assert reply.error is ErrorCode.NO_CAPACITY
    assert "committed" in reply.sentence
    assert borrower.borrow(40 * MIB, mode=Mode.MIRROR).ok


def test_excluded_lenders_and_the_borrowers_own_host_are_not_asked(world: Setting) -> None:
    lenders, borrower = serving(world, 100, 100)
    own = world.lender("b", 1000)
    world.settle()
    reply = borrower.borrow(40 * MIB, exclude=("lender.h0",))
    assert [grant.lender for grant in reply.grants] == ["lender.h1"]
    assert (own.asked, lenders[0].asked) == ([], [])


def test_a_reply_with_very_many_lenders_still_arrives(world: Setting) -> None:
    _, borrower = serving(world, *([8] * 40))
    reply = borrower.borrow(40 * 8 * MIB)
    assert reply.ok
    assert len(reply.grants) == 40


# ---- lenders that do not


def test_when_a_lender_refuses_another_is_asked(world: Setting) -> None:
    lenders, borrower = serving(world, 200, 100)
    lenders[0].refuses = True
    reply = borrower.borrow(40 * MIB)
    assert [grant.lender for grant in reply.grants] == ["lender.h1"]


def test_when_nobody_else_is_left_the_refusal_says_what_lenders_said(world: Setting) -> None:
    (lender,), borrower = serving(world, 200)
    lender.refuses = True
    reply = borrower.borrow(40 * MIB)
    assert reply.error is ErrorCode.NO_CAPACITY
    assert "lender.h0 said: the RAM file system is full" in reply.sentence


def test_a_lender_that_does_not_answer_is_told_to_release_and_another_is_asked(world: Setting) -> None:
    lenders, borrower = serving(world, 200, 100)
    lenders[0].answers_late = []
    future = borrower.ask(40 * MIB)
    world.settle()
    assert not future.done()
    assert lenders[0].lent_bytes() == 40 * MIB
    world.advance(EXPORT_TIMEOUT_S + 1)
    assert [grant.lender for grant in reply_of(future).grants] == ["lender.h1"]
    assert lenders[0].lent_bytes() == 0


def test_an_answer_after_the_time_out_changes_nothing(world: Setting) -> None:
    lenders, borrower = serving(world, 200, 100)
    late = lenders[0].answers_late = []
    future = borrower.ask(40 * MIB)
    world.settle()
    world.advance(EXPORT_TIMEOUT_S + 1)
    for answer in late:
        answer()
    world.settle()
    assert [grant.lender for grant in reply_of(future).grants] == ["lender.h1"]


def test_what_was_granted_is_given_back_when_the_rest_cannot_be_found(world: Setting) -> None:
    lenders, borrower = serving(world, 100, 100)
    lenders[1].refuses = True
    reply = borrower.borrow(160 * MIB)
    assert reply.error is ErrorCode.NO_CAPACITY
    assert lenders[0].lent_bytes() == 0
    assert world.states("manager", "lease/") == {}


def test_too_much_is_refused_with_how_much_there_is(world: Setting) -> None:
    _, borrower = serving(world, 100, 60)
    reply = borrower.borrow(200 * MIB)
    assert reply.error is ErrorCode.NO_CAPACITY
    assert "160 MiB" in reply.sentence


@pytest.mark.parametrize("refusing", [0, 1, 2])
def test_a_spread_is_kept_when_one_of_it_refuses(world: Setting, refusing: int) -> None:
    lenders, borrower = serving(world, 300, 200, 100)
    lenders[refusing].refuses = True
    reply = borrower.borrow(80 * MIB, min_lenders=2)
    assert reply.ok
    assert len({grant.lender for grant in reply.grants}) == 2
    assert f"lender.h{refusing}" not in {grant.lender for grant in reply.grants}


# ---- the same again


def test_the_same_request_twice_gives_the_same_grants_and_lends_once(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    first = borrower.borrow(40 * MIB, request_id="request-1")
    second = borrower.borrow(40 * MIB, request_id="request-1")
    assert first.grants == second.grants
    assert lender.lent_bytes() == 40 * MIB


def test_a_repeat_while_the_first_is_being_served_waits_for_the_same_answer(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    late = lender.answers_late = []
    futures = [borrower.ask(40 * MIB, request_id="request-1") for _ in range(2)]
    world.settle()
    assert len(lender.asked) == 1
    late[0]()
    world.settle()
    assert reply_of(futures[0]).grants == reply_of(futures[1]).grants


def test_another_request_is_another_loan(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    borrower.borrow(40 * MIB)
    borrower.borrow(40 * MIB)
    assert lender.lent_bytes() == 80 * MIB


def test_a_manager_that_was_killed_between_export_and_reply_grants_the_same_leases(world: Setting) -> None:
    lenders, borrower = serving(world, 100, 100)
    for lender in lenders:
        lender.answers_late = []
    borrower.ask(160 * MIB, request_id="request-1")
    world.settle()
    made = {lease for lender in lenders for lease in lender.exports}
    world.kill("manager")
    for lender in lenders:
        lender.answers_late = None
    world.manager()
    world.ready()
    reply = borrower.borrow(160 * MIB, request_id="request-1")
    assert reply.ok
    assert {grant.lease for grant in reply.grants} == made
    assert sum(lender.lent_bytes() for lender in lenders) == 160 * MIB


def test_a_successor_makes_what_its_predecessor_had_not_under_names_of_its_own(world: Setting) -> None:
    lenders, borrower = serving(world, 100, 100)
    for lender in lenders:
        lender.answers_late = []
    borrower.ask(160 * MIB, request_id="request-1")
    world.settle()
    world.kill("manager")
    gone = next(lease for lender in lenders for lease in lender.exports if lease.endswith("-1"))
    for lender in lenders:
        lender.answers_late = None
        if gone in lender.exports:
            del lender.exports[gone]
            lender.bus.set_state(f"export/{gone}", None)
            lender.offer()
    world.manager()
    world.ready()
    reply = borrower.borrow(160 * MIB, request_id="request-1")
    assert reply.ok
    assert gone not in {grant.lease for grant in reply.grants}
    assert sum(lender.lent_bytes() for lender in lenders) == sum(g.size_bytes for g in reply.grants) == 160 * MIB


def test_another_borrowers_request_id_does_not_open_somebody_elses_leases(world: Setting) -> None:
    _, borrower = serving(world, 100)
    mine = borrower.borrow(40 * MIB, request_id="request-1")
    theirs = FakeBorrower(world, "c").borrow(40 * MIB, request_id="request-1")
    assert {g.lease for g in mine.grants}.isdisjoint({g.lease for g in theirs.grants})


# ---- races


def test_two_borrowers_racing_for_the_last_bytes_get_them_once(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    other = FakeBorrower(world, "c")
    futures = [borrower.ask(60 * MIB), other.ask(60 * MIB)]
    world.settle()
    replies = [reply_of(future) for future in futures]
    assert [reply.ok for reply in replies].count(True) == 1
    assert [reply.error for reply in replies].count(ErrorCode.NO_CAPACITY) == 1
    assert lender.lent_bytes() == 60 * MIB


def test_racers_who_both_fit_both_get_theirs_even_from_a_lender_slow_to_tell(world: Setting) -> None:
    lenders, borrower = serving(world, 100, 80)
    lenders[0].tells_offers = False
    lenders[0].answers_late = []
    other = FakeBorrower(world, "c")
    futures = [borrower.ask(60 * MIB), other.ask(60 * MIB)]
    world.settle()
    for answer in lenders[0].answers_late:
        answer()
    world.settle()
    assert [[g.lender for g in reply_of(future).grants] for future in futures] == [["lender.h0"], ["lender.h1"]]


def test_two_hosts_never_lend_to_each_other(world: Setting) -> None:
    world.lender("h0", 100).answers_late = []
    world.lender("h1", 100).answers_late = []
    world.manager()
    zero, one = FakeBorrower(world, "h0"), FakeBorrower(world, "h1")
    world.ready()
    futures = [zero.ask(40 * MIB), one.ask(40 * MIB)]
    world.settle()
    for client in ("lender.h0", "lender.h1"):
        lender = world.agents[client]
        assert isinstance(lender, FakeLender)
        for answer in lender.answers_late or []:
            answer()
    world.settle()
    codes = {reply_of(future).error for future in futures}
    assert codes == {None, ErrorCode.CONFLICT}


def test_a_host_that_lends_does_not_borrow_and_one_that_borrows_does_not_lend(world: Setting) -> None:
    lenders, borrower = serving(world, 100)
    grant = borrower.borrow(40 * MIB).grants[0]
    borrower.uses(grant.lease, grant.lender)
    own = world.lender("b", 1000)
    world.settle()
    assert FakeBorrower(world, "h0").borrow(40 * MIB).error is ErrorCode.CONFLICT
    assert FakeBorrower(world, "c").borrow(60 * MIB).ok
    assert (own.asked, lenders[0].lent_bytes()) == ([], 100 * MIB)


def log_in(lenders: list[FakeLender], futures: "list[Future[Reply]]") -> None:
    """Have borrowers use what they were granted, which is not taken back then."""
    granted = {grant.lease for future in futures if future.done() for grant in reply_of(future).grants}
    for lender in lenders:
        for lease in granted & lender.exports.keys():
            lender.connected(lease)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    asks=st.lists(
        st.tuples(st.sampled_from(["x", "y", "z"]), st.integers(1, 50), st.integers(1, 3), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    deaf=st.sets(st.integers(0, 3)),
)
@settings(max_examples=60, deadline=None)
def test_no_byte_is_lent_twice_and_everybody_gets_an_answer(
    sizes: list[int], asks: list[tuple[str, int, int, bool]], deaf: set[int]
) -> None:
    world = Setting()
    lenders = [world.lender(f"h{i}", size * 4) for i, size in enumerate(sizes)]
    for number in deaf & set(range(len(lenders))):
        lenders[number].refuses = number % 2 == 0
        lenders[number].silent = number % 2 == 1
    world.manager()
    borrowers = {host: FakeBorrower(world, host) for host in "xyz"}
    world.ready()
    futures = []
    for host, grains, spread, wait in asks:
        futures.append(borrowers[host].ask(grains * 4 * MIB, min_lenders=spread))
        if wait:
            world.settle()
    for _ in sizes:
        world.advance(EXPORT_TIMEOUT_S + 1)
        log_in(lenders, futures)
    replies = [reply_of(future) for future in futures]
    for lender in lenders:
        assert lender.lent_bytes() <= lender.capacity_bytes
    granted = [grant for reply in replies for grant in reply.grants]
    assert len({grant.lease for grant in granted}) == len(granted)
    assert sum(g.size_bytes for g in granted) == sum(lender.lent_bytes() for lender in lenders)
    for (_, grains, spread, _), reply in zip(asks, replies, strict=True):
        if reply.ok:
            assert sum(g.size_bytes for g in reply.grants) == grains * 4 * MIB
            assert len({g.lender for g in reply.grants}) >= min(spread, grains)
    world.close()
    assert world.errors.seen == []


# ---- grants that nobody uses


def test_a_grant_that_nobody_logs_in_to_is_taken_back(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    borrower.borrow(40 * MIB)
    world.advance(LOGIN_WITHIN_S - 5)
    assert lender.lent_bytes() == 40 * MIB
    world.advance(10)
    assert lender.lent_bytes() == 0
    assert len(world.events("taken-back")) == 1


def test_a_grant_in_use_is_not_taken_back(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    lender.connected(borrower.borrow(40 * MIB).grants[0].lease)
    world.advance(LOGIN_WITHIN_S * 3)
    assert lender.lent_bytes() == 40 * MIB


def test_the_time_to_log_in_begins_with_the_grant_and_not_with_the_export(world: Setting) -> None:
    lenders, borrower = serving(world, 100, 100, 100, 100, 100, 100)
    for lender in lenders[1:5]:
        lender.silent = True
    future = borrower.ask(150 * MIB, min_lenders=2)
    world.advance(EXPORT_TIMEOUT_S * 4 - 5)
    assert not future.done()
    world.advance(10)
    assert len(reply_of(future).grants) == 2
    world.advance(LOGIN_WITHIN_S - 30)
    assert lenders[0].lent_bytes() > 0


def test_a_lease_that_its_borrower_does_not_know_any_more_is_taken_back(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    grant = borrower.borrow(40 * MIB).grants[0]
    borrower.bus.set_state("status", Status(status="online"))
    borrower.uses(grant.lease, grant.lender)
    lender.connected(grant.lease)
    lender.exports[grant.lease] = lender.exports[grant.lease].model_copy(update={"connected": False})
    lender.bus.set_state(f"export/{grant.lease}", lender.exports[grant.lease])
    world.advance(LOGIN_WITHIN_S * 2)
    assert lender.lent_bytes() > 0, "the borrower may come back to it"
    borrower.bus.set_state("status", Status(status="online"))
    borrower.bus.set_state(f"lease/{grant.lease}", None)
    world.advance(LOGIN_WITHIN_S + 5)
    assert lender.lent_bytes() == 0


def test_an_unused_grant_of_a_predecessor_is_taken_back_too(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    borrower.borrow(40 * MIB)
    world.kill("manager")
    world.manager()
    world.advance(LOGIN_WITHIN_S + 10)
    assert lender.lent_bytes() == 0


def test_a_lender_that_does_not_give_it_up_is_asked_again_without_a_word_each_second(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    borrower.borrow(40 * MIB)
    lender.silent = True
    world.advance(LOGIN_WITHIN_S + 100)
    assert len(world.events("taken-back")) == 1
    asked = [p for author, p in world.broker.published if author == "manager" and p.topic.endswith("/release")]
    assert 1 < len(asked) <= 3
    lender.silent = False
    world.advance(120)
    assert lender.lent_bytes() == 0


# ---- the database


def test_anyone_can_read_who_lends_what_to_whom(world: Setting) -> None:
    _, borrower = serving(world, 100)
    lease = borrower.borrow(40 * MIB).grants[0].lease
    host, record = world.state("manager", "host/h0"), world.state("manager", f"lease/{lease}")
    assert isinstance(host, HostRecord)
    assert isinstance(record, LeaseRecord)
    assert (host.capacity_bytes, host.lent_bytes, host.free_bytes) == (100 * MIB, 40 * MIB, 60 * MIB)
    assert (record.host, record.borrower, record.size_bytes) == ("h0", "borrower.b", 40 * MIB)
    assert (world.summary().leases, world.summary().lent_bytes) == (1, 40 * MIB)


def test_nothing_secret_is_in_any_state_or_event(world: Setting) -> None:
    _, borrower = serving(world, 100)
    secret = borrower.borrow(40 * MIB).grants[0].sealed_secrets.get_secret_value().encode()
    for _, packet in world.broker.published:
        assert secret not in packet.payload or "/reply/" in packet.topic


def test_records_of_a_predecessor_that_are_not_true_any_more_are_cleared(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    lease = borrower.borrow(40 * MIB).grants[0].lease
    world.kill("manager")
    lender.exports.clear()
    lender.bus.set_state(f"export/{lease}", None)
    lender.offer()
    assert world.state("manager", f"lease/{lease}") is not None
    world.manager()
    world.ready()
    assert world.state("manager", f"lease/{lease}") is None
    assert world.state("manager", "host/h0") is not None


def test_records_that_a_crashed_broker_brings_back_are_cleared(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    lease = borrower.borrow(40 * MIB).grants[0].lease
    topic = f"ramshare/v1/state/manager/lease/{lease}"
    old = world.broker.retained()[topic]
    del lender.exports[lease]
    lender.bus.set_state(f"export/{lease}", None)
    world.settle()
    assert topic not in world.broker.retained()
    world.broker.publish("manager", topic, old, retain=True)
    world.broker.restart()
    world.ready()
    assert topic not in world.broker.retained()


def test_after_a_broker_that_forgot_everything_the_database_is_whole_again(world: Setting) -> None:
    _, borrower = serving(world, 100)
    lease = borrower.borrow(40 * MIB).grants[0].lease
    world.kill("manager")
    world.manager()
    world.ready()
    world.broker.restart(keep=[])
    world.ready()
    assert world.state("manager", f"lease/{lease}") is not None
    assert world.state("manager", "host/h0") is not None
    assert borrower.borrow(40 * MIB).ok


def test_a_lender_that_went_away_is_offline_in_the_database_and_not_asked(world: Setting) -> None:
    lenders, borrower = serving(world, 200, 100)
    world.kill("lender.h0")
    world.advance(10)
    host = world.state("manager", "host/h0")
    assert isinstance(host, HostRecord)
    assert (host.online, host.exportable, host.reason) == (False, False, "offline")
    assert [g.lender for g in borrower.borrow(40 * MIB).grants] == ["lender.h1"]
    assert lenders[0].asked == []


# ---- what is malformed


@pytest.mark.parametrize(
    "damage",
    [
        ("lender.h0", "state/lender.h0/offer", b"{}"),
        ("lender.h0", "state/lender.h0/offer", b"\xff\xfe"),
        ("lender.h0", "state/lender.h0/export/l1", b'{"schema":"export/1","lease":"other"}'),
        ("lender.h0", "state/lender.h0/nonsense", b"{}"),
        ("borrower.b", "request/manager/borrower.b/borrow", b"["),
        ("borrower.b", "request/manager/borrower.b/borrow", b'{"schema":"borrow-memory/1","size_bytes":-1}'),
        ("borrower.b", "request/manager/borrower.b/export", b"{}"),
    ],
)
def test_a_malformed_message_changes_nothing(world: Setting, damage: tuple[str, str, bytes]) -> None:
    _, borrower = serving(world, 100)
    author, topic, payload = damage
    world.broker.publish(author, f"ramshare/v1/{topic}", payload, retain=topic.startswith("state"))
    world.settle()
    assert borrower.borrow(40 * MIB).ok


def test_an_export_under_another_leases_topic_does_not_stop_the_manager(world: Setting) -> None:
    (lender,), borrower = serving(world, 100)
    lease = borrower.borrow(40 * MIB).grants[0].lease
    lender.bus.set_state("export/elsewhere", lender.exports[lease])
    world.advance(LOGIN_WITHIN_S + 10)
    assert lender.lent_bytes() == 0
    assert world.summary().ready


def test_lenders_and_operators_cannot_borrow(world: Setting) -> None:
    world.broker.lax = True  # the rules would refuse it before the agent does
    serving(world, 100)
    for client in ("lender.h9", "cli.al", "guest.g"):
        other = FakeBorrower(world, "x")
        other.bus = world.bus(client)
        future = other.ask(4 * MIB)
        world.settle()
        assert future.result().error is ErrorCode.NOT_ALLOWED


# ---- a pair


def test_a_pair_gets_two_legs_of_different_lenders_the_first_on_committed_memory(world: Setting) -> None:
    revocable, committed = world.lender("h0", 300), world.lender("h1", 200, committed_mib=200)
    world.manager()
    borrower = FakeBorrower(world, "b")
    world.ready()
    grants = borrower.borrow(100 * MIB, mode=Mode.PAIR).grants
    assert [(g.lender, g.leg) for g in sorted(grants, key=lambda g: g.leg)] == [("lender.h1", 1), ("lender.h0", 2)]
    assert (revocable.asked[0].leg, committed.asked[0].leg) == (2, 1)


def test_a_leg_whose_lender_refuses_is_found_at_a_lender_that_has_none_of_the_other(world: Setting) -> None:
    lenders, borrower = serving(world, 300, 200, 150, committed_mib=100)
    lenders[0].refuses = True
    grants = borrower.borrow(100 * MIB, mode=Mode.PAIR).grants
    assert sorted((g.lender, g.leg) for g in grants) in (
        [("lender.h1", 1), ("lender.h2", 2)],
        [("lender.h1", 2), ("lender.h2", 1)],
    )


def test_one_leg_of_a_pair_can_be_replaced(world: Setting) -> None:
    _, borrower = serving(world, 300, 200, committed_mib=100)
    grants = borrower.borrow(100 * MIB, mode=Mode.PAIR, leg=1, exclude=("lender.h0",)).grants
    assert [(g.lender, g.leg) for g in grants] == [("lender.h1", 1)]


def test_where_only_one_leg_can_be_had_nothing_is_lent_and_another_mode_is_offered(world: Setting) -> None:
    lenders, borrower = serving(world, 300, committed_mib=300)
    reply = borrower.borrow(100 * MIB, mode=Mode.PAIR)
    assert reply.error is ErrorCode.NO_CAPACITY
    assert "borrow by mirror or move instead" in reply.sentence
    assert lenders[0].exports == {}
