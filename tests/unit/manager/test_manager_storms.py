"""What a large cluster does to a manager: storms of requests, agents that flap, shrink, lie or have a wrong clock."""

from collections import Counter
from datetime import timedelta

import pytest

from kit.manager_scale import GIB, LOAN_BYTES, PORTAL, ScaledManager
from ramshare.messages.replies import ErrorCode
from ramshare.messages.state import Offer, Status

pytestmark = pytest.mark.unit


def test_a_storm_larger_than_the_cluster_is_served_fairly_refused_early_and_leaves_nothing() -> None:
    manager = ScaledManager(30, capacity_bytes=2 * LOAN_BYTES)
    asked = {manager.ask(f"borrower.b{n}"): n for _ in range(10) for n in range(20)}
    answers = manager.serve()
    assert answers.keys() == asked.keys(), "everybody has an answer"
    granted = Counter(asked[request] for request, reply in answers.items() if reply.ok)
    assert granted == dict.fromkeys(range(20), 3), "60 loans fit: three for each of 20 borrowers"
    assert {reply.error for reply in answers.values() if not reply.ok} == {ErrorCode.NO_CAPACITY}
    assert manager.exports_asked == 60, "no lender is asked for what is not there"
    assert max(manager.lent.values()) == 2 * LOAN_BYTES
    assert manager.pledged() == set()


def test_one_borrowers_storm_takes_nothing_from_those_who_ask_after_it() -> None:
    manager = ScaledManager(20, capacity_bytes=2 * LOAN_BYTES)
    for _ in range(64):
        manager.ask("borrower.storm")
    others = [manager.ask(f"borrower.b{n}") for n in range(19)]
    answers = manager.serve()
    assert all(answers[request].ok for request in others)
    assert manager.pledged() == set()


def test_more_than_can_wait_is_told_to_come_again_and_then_served() -> None:
    manager = ScaledManager(100)
    requests = {manager.ask(f"borrower.b{n}"): n for n in range(400)}
    answers = manager.serve()
    busy = [request for request in requests if answers[request].error is ErrorCode.BUSY]
    assert 0 < len(busy) < 400
    again = [manager.ask(f"borrower.b{requests[request]}") for request in busy]
    answers = manager.serve()
    assert all(answers[request].ok for request in again)
    assert manager.pledged() == set()


def test_a_lender_that_flaps_is_asked_only_while_it_is_there() -> None:
    manager = ScaledManager(3)
    flapping = "lender.h00000"
    for number in range(100):
        there = number % 2 == 0
        manager.say(flapping, "status", Status(status="online" if there else "offline"))
        manager.shrink("lender.h00001", GIB)  # says its offer anew, as ever
        reply = manager.borrow(number)
        assert there or flapping not in {grant.lender for grant in reply.grants}
        if not reply.ok:
            assert reply.error is ErrorCode.NO_CAPACITY
    assert manager.pledged() == set()
    assert all(lent <= GIB for lent in manager.lent.values())


def test_of_an_offer_that_shrinks_while_it_is_granted_another_lender_makes_up() -> None:
    manager = ScaledManager(2)
    manager.shrink("lender.h00001", GIB // 2)
    request = manager.ask("borrower.b1")
    manager.turn()  # the one with the most free memory is being asked
    manager.shrink("lender.h00000", 0)
    (grant,) = manager.serve()[request].grants
    assert grant.lender == "lender.h00001"
    assert manager.lent == {"lender.h00000": 0, "lender.h00001": LOAN_BYTES}


def test_when_all_offers_shrink_while_they_are_granted_the_loan_is_refused_and_nothing_is_held() -> None:
    manager = ScaledManager(5)
    requests = [manager.ask(f"borrower.b{n}") for n in range(5)]
    manager.turn()
    for lender in manager.lenders:
        manager.shrink(lender, 0)
    answers = manager.serve()
    assert [answers[request].error for request in requests] == [ErrorCode.NO_CAPACITY] * 5
    assert manager.pledged() == set()
    assert not any(manager.lent.values())


def test_nobody_offers_for_another_host() -> None:
    manager = ScaledManager(2, capacity_bytes=LOAN_BYTES)
    huge = Offer(
        host="h00000",
        portal=PORTAL,
        capacity_bytes=GIB,
        lent_bytes=0,
        free_bytes=GIB,
        exportable=True,
        reason="mine, too",
    )
    manager.say("lender.h00001", "offer", huge)
    lenders = [grant.lender for n in range(3) for grant in manager.borrow(n).grants]
    assert sorted(lenders) == ["lender.h00000", "lender.h00001"], "each for its own host, and for no more than it has"


def test_clocks_that_are_hours_apart_change_nothing() -> None:
    manager = ScaledManager(6, clocks=lambda n: timedelta(hours=5 * (n % 3 - 1)))
    assert manager.manager.ready
    lenders = {grant.lender for n in range(6) for grant in manager.borrow(n).grants}
    assert lenders == manager.lenders.keys(), "one after the other, whatever time it is there"
