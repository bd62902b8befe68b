"""Lenders in the wrong hands: what they grant or claim is believed as far as it is about themselves, no further."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.memory_bus import MemoryBus
from kit.world import MIB, READY_S, FakeBorrower, FakeLender, World
from ramshare.agent import Runtime
from ramshare.bus.api import RequestArrived
from ramshare.manager.agent import Manager
from ramshare.manager.lending import EXPORT_TIMEOUT_S
from ramshare.manager.quota import Quota
from ramshare.messages.events import Event
from ramshare.messages.names import target_of
from ramshare.messages.replies import ErrorCode, ExportReply, Grant, Reply
from ramshare.messages.requests import ExportLease
from ramshare.messages.state import LeaseRecord, Mode
from ramshare.settings import ManagerSettings

pytestmark = pytest.mark.unit

PIB = 1 << 50


class Forger(FakeLender):
    """Grants what it was asked for, changed in some way."""

    change: Callable[[Grant], dict[str, Any]] = staticmethod(lambda _grant: {})

    def _export(self, arrived: RequestArrived[ExportLease]) -> Reply | None:
        reply = super()._export(arrived)
        if reply is None:
            return None
        assert isinstance(reply, ExportReply) and reply.grant is not None
        forged = reply.grant.model_copy(update=self.change(reply.grant))
        return reply.model_copy(update={"grant": forged})


class Setting(World):
    """A manager with quotas, honest lenders and forgers."""

    def start_manager(self, **settings: Any) -> Manager:
        def make(bus: MemoryBus, runtime: Runtime) -> Manager:
            return Manager(bus, runtime, ManagerSettings(**settings))

        manager = self.start(make, "manager")
        assert isinstance(manager, Manager)
        self.advance(READY_S)
        return manager

    def lender(self, host: str, mib: int, kind: type[FakeLender] = FakeLender) -> FakeLender:
        lender = self.start(lambda bus, runtime: kind(bus, runtime, mib * MIB, mib * MIB), f"lender.{host}")
        assert isinstance(lender, FakeLender)
        self.settle()
        return lender

    def said(self, kind: str) -> list[str]:
        found = [p for author, p in self.broker.published if author == "manager" and p.topic.endswith(f"/{kind}")]
        return [Event.model_validate_json(p.payload).sentence for p in found]


@pytest.fixture
def world() -> Iterator[Setting]:
    world = Setting()
    yield world
    world.close()
    assert world.errors.seen == []


# ---- forged grants


@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (lambda g: {"target": target_of("honest", g.lease)}, "honest"),
        (lambda g: {"target": f"iqn.2001-04.com.example:storage.{g.lease}"}, "example"),
        (lambda _: {"portal": "203.0.113.66:3260"}, "203.0.113.66"),
        (lambda _: {"portal": "10.0.0.1:22"}, "10.0.0.1:22"),
        (lambda _: {"size_bytes": PIB}, str(PIB)),
        (lambda _: {"size_bytes": 1}, "1 bytes"),
        (lambda g: {"size_bytes": g.size_bytes - 1}, "bytes, not"),
        (lambda _: {"lender": "lender.honest"}, "lender.honest"),
        (lambda g: {"lease": f"{g.lease}1"}, "lease"),
    ],
)
def test_a_forged_grant_is_told_never_relayed_and_another_lender_serves(
    world: Setting, forge: Callable[[Grant], dict[str, Any]], why: str
) -> None:
    forger = world.lender("evil", 200, Forger)
    assert isinstance(forger, Forger)
    forger.change = forge
    honest = world.lender("honest", 100)
    world.start_manager()
    reply = FakeBorrower(world, "b").borrow(40 * MIB)
    assert [grant.lender for grant in reply.grants] == ["lender.honest"]
    assert honest.lent_bytes() == 40 * MIB
    (sentence,) = world.said("refused")
    assert "lender.evil" in sentence and why in sentence
    assert forger.lent_bytes() == 0, "it was told to give up what it made"


def test_a_lender_that_grants_byte_by_byte_makes_one_export_and_no_more(world: Setting) -> None:
    forger = world.lender("evil", 1000, Forger)
    assert isinstance(forger, Forger)
    forger.change = lambda _grant: {"size_bytes": 1}
    world.start_manager()
    reply = FakeBorrower(world, "b").borrow(40 * MIB)
    assert reply.error is ErrorCode.NO_CAPACITY
    assert "1 bytes, not" in reply.sentence
    assert len(forger.asked) == 1


def test_a_manager_that_starts_anew_takes_up_no_lease_that_its_request_cannot_have_made(world: Setting) -> None:
    lender = world.lender("evil", 1000)
    world.start_manager()
    borrower = FakeBorrower(world, "b")
    lease = borrower.borrow(40 * MIB, request_id="request-1").grants[0].lease
    del world.agents["manager"]
    world.broker.crash("manager")
    second = f"{lease[:-1]}2"
    forged = {"lease": second, "target": target_of("evil", second), "size_bytes": PIB}
    lender.exports[second] = lender.exports[lease].model_copy(update=forged)
    lender.bus.set_state(f"export/{second}", lender.exports[second])
    world.start_manager()
    reply = borrower.borrow(40 * MIB, request_id="request-1")
    assert [grant.size_bytes for grant in reply.grants] == [40 * MIB]


@pytest.mark.parametrize("how", ["silent", "forges"])
def test_a_lender_that_offers_most_and_never_delivers_is_the_last_choice_from_then_on(world: Setting, how: str) -> None:
    evil = world.lender("evil", 1000, Forger)
    assert isinstance(evil, Forger)
    evil.silent = how == "silent"
    evil.change = lambda _grant: {"size_bytes": 1}
    world.lender("honest", 200)
    world.start_manager()
    first = FakeBorrower(world, "b").ask(40 * MIB)
    world.advance(EXPORT_TIMEOUT_S + 1)
    assert first.result(0).ok
    assert FakeBorrower(world, "c").borrow(40 * MIB).ok, "at once"
    assert len(evil.asked) == 1
    evil.silent, evil.change = False, lambda _grant: {}
    assert FakeBorrower(world, "d").borrow(400 * MIB).ok, "nobody else can serve so much"
    assert "lender.evil" in {grant.lender for grant in FakeBorrower(world, "e").borrow(40 * MIB).grants}


# ---- what lenders claim


def test_two_topics_of_one_lender_take_no_other_lender_out_of_the_cluster(world: Setting) -> None:
    evil = world.lender("evil", 100)
    world.start_manager()
    lease = FakeBorrower(world, "b").borrow(40 * MIB).grants[0].lease
    for host in ("h0", "h1"):
        world.lender(host, 100)
        name = f"claim-{host}"
        claim = {"lease": name, "target": target_of("evil", name), "borrower": f"borrower.{host}", "connected": True}
        evil.bus.set_state(f"export/{name}", evil.exports[lease].model_copy(update=claim))
    world.settle()
    reply = FakeBorrower(world, "c").borrow(160 * MIB)
    assert {grant.lender for grant in reply.grants} == {"lender.h0", "lender.h1"}


def test_a_lease_is_the_lenders_that_was_asked_whoever_else_shows_it(world: Setting) -> None:
    honest, evil = world.lender("honest", 100), world.lender("evil", 50)
    world.start_manager()
    lease = FakeBorrower(world, "b").borrow(60 * MIB).grants[0].lease
    claim = {"host": "evil", "target": target_of("evil", lease), "portal": "203.0.113.66:3260"}
    evil.bus.set_state(f"export/{lease}", honest.exports[lease].model_copy(update=claim))
    world.settle()
    record = world.state("manager", f"lease/{lease}")
    assert isinstance(record, LeaseRecord)
    assert (record.host, record.address) == ("honest", "10.0.0.1:3260")
    world.advance(70)
    assert honest.lent_bytes() == 0, "what nobody logs in to is taken back as ever"


# ---- small ones, and many


def test_a_request_for_a_byte_gets_the_smallest_lease(world: Setting) -> None:
    lender = world.lender("h0", 1000)
    world.start_manager()
    reply = FakeBorrower(world, "b").borrow(1, grain_bytes=1)
    assert [grant.size_bytes for grant in reply.grants] == [4 * MIB]
    FakeBorrower(world, "b").borrow(5 * MIB, grain_bytes=3 * MIB, min_lenders=1)
    assert lender.asked[-1].size_bytes == 6 * MIB, "smaller extents are counted by as many as make a lease"


def test_a_borrower_gets_no_more_leases_than_its_quota_and_is_told_which_setting_that_is(world: Setting) -> None:
    world.lender("h0", 1000)
    world.start_manager(borrower_limit_leases=2)
    greedy = FakeBorrower(world, "b")
    assert [greedy.borrow(1).ok for _ in range(3)] == [True, True, False]
    reply = greedy.borrow(1)
    assert reply.error is ErrorCode.NO_CAPACITY
    assert "2 lease(s) of 8 MiB" in reply.sentence
    assert "RAMSHARE_MANAGER_BORROWER_LIMIT_LEASES" in reply.sentence
    assert FakeBorrower(world, "c").borrow(1).ok, "another's quota is his own"


def test_a_borrower_gets_no_more_bytes_than_its_quota_until_it_gives_some_back(world: Setting) -> None:
    lender = world.lender("h0", 1000)
    world.start_manager(borrower_limit_bytes=100 * MIB)
    greedy = FakeBorrower(world, "b")
    grant = greedy.borrow(60 * MIB).grants[0]
    assert "RAMSHARE_MANAGER_BORROWER_LIMIT_BYTES" in greedy.borrow(60 * MIB).sentence
    dry = greedy.ask(60 * MIB, dry_run=True)
    world.settle()
    assert "LIMIT_BYTES" in dry.result(0).sentence, "a dry run says the same"
    del lender.exports[grant.lease]
    lender.bus.set_state(f"export/{grant.lease}", None)
    lender.offer()
    world.advance(70)
    assert greedy.borrow(60 * MIB).ok


def test_requests_at_the_same_moment_share_one_quota(world: Setting) -> None:
    lender = world.lender("h0", 1000)
    lender.answers_late = []
    world.start_manager(borrower_limit_bytes=100 * MIB)
    greedy = FakeBorrower(world, "b")
    futures = [greedy.ask(60 * MIB) for _ in range(2)]
    world.settle()
    for answer in lender.answers_late:
        answer()
    world.settle()
    assert [future.result(0).ok for future in futures].count(True) == 1


def test_no_lender_can_use_up_a_borrowers_quota_by_claims(world: Setting) -> None:
    evil = world.lender("evil", 100)
    world.start_manager(borrower_limit_leases=2)
    lease = FakeBorrower(world, "c").borrow(4 * MIB).grants[0].lease
    for number in range(5):
        name = f"claim-{number}"
        claim = {"lease": name, "target": target_of("evil", name), "borrower": "borrower.b"}
        evil.bus.set_state(f"export/{name}", evil.exports[lease].model_copy(update=claim))
    world.settle()
    assert FakeBorrower(world, "b").borrow(4 * MIB, mode=Mode.MIRROR).ok


sizes = st.lists(st.integers(0, 1 << 40), max_size=70)


@given(held=sizes, more=sizes, size_bytes=st.integers(0, 1 << 42), leases=st.integers(0, 70))
def test_within_a_quota_is_what_fits_it_with_all_that_is_held(
    held: list[int], more: list[int], size_bytes: int, leases: int
) -> None:
    allowed = not Quota(size_bytes, leases).exceeded("borrower.b", held, more)
    fits = sum(held) + sum(more) <= size_bytes and len(held) + len(more) <= leases
    assert allowed == (fits or not more)
