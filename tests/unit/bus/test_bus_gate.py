"""Who is heard how often, decided by the topic alone."""

import logging

import pytest

from ramshare.bus.counters import Counters, Drop
from ramshare.bus.gate import EVENTS, FOREIGN, LOG_INTERVAL_S, REFUSED, REPLIES, REQUESTS, Gate

pytestmark = pytest.mark.unit

V1 = "ramshare/v1"


def passed(gate: Gate, topic: str, tries: int = 10_000, now_s: float = 0.0) -> int:
    return sum(gate.admits(topic, now_s) for _ in range(tries))


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("request/lender.hosta/cli.alice/drain", REQUESTS.burst),
        ("request/lender.hosta/manager/export", REQUESTS.burst),
        ("request/lender.hosta/guest.web1/drain", REFUSED.burst),
        ("request/lender.hosta/cli.alice/export", REFUSED.burst),
        ("request/lender.hosta/cli.alice/fly", REFUSED.burst),
        ("request/all/manager/announce", REQUESTS.burst),
        ("request/all/guest.web1/announce", REFUSED.burst),
        ("event/borrower.hostb/step", EVENTS.burst),
        ("reply/lender.hosta/manager", REPLIES.burst),
        ("request/lender.hosta", FOREIGN.burst),
        ("elsewhere", FOREIGN.burst),
    ],
)
def test_each_sender_has_its_burst_of_each_kind(topic: str, allowed: int) -> None:
    counters = Counters("lender.hosta")
    assert passed(Gate("lender.hosta", counters), f"{V1}/{topic}") == allowed
    assert counters[Drop.FLOOD] == 10_000 - allowed


def test_what_one_sender_sends_is_not_counted_against_another_nor_against_its_own_other_kinds() -> None:
    gate = Gate("lender.hosta", Counters("lender.hosta"))
    passed(gate, f"{V1}/request/lender.hosta/guest.web1/drain")
    passed(gate, f"{V1}/request/lender.hosta/cli.alice/fly")
    assert gate.admits(f"{V1}/request/lender.hosta/guest.web2/drain", 0.0)
    assert gate.admits(f"{V1}/request/lender.hosta/cli.alice/drain", 0.0)


def test_verbs_that_a_sender_makes_up_share_one_bucket() -> None:
    gate = Gate("lender.hosta", Counters("lender.hosta"))
    allowed = sum(gate.admits(f"{V1}/request/lender.hosta/guest.web1/verb{n}", 0.0) for n in range(100))
    assert allowed == REFUSED.burst


def test_a_flood_is_said_once_for_each_sender_and_minute(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate("lender.hosta", Counters("lender.hosta"))
    with caplog.at_level(logging.WARNING):
        for guest in ("guest.web1", "guest.web2"):
            passed(gate, f"{V1}/request/lender.hosta/{guest}/drain")
            passed(gate, f"{V1}/event/{guest}/step")
        assert len(caplog.records) == 2
        passed(gate, f"{V1}/request/lender.hosta/guest.web1/drain", now_s=LOG_INTERVAL_S)
    assert len(caplog.records) == 3
    assert "'guest.web1' sends more requests that it may not make than 1 in a second" in caplog.text


def test_a_sender_that_came_to_its_senses_is_heard_again() -> None:
    gate = Gate("lender.hosta", Counters("lender.hosta"))
    topic = f"{V1}/request/lender.hosta/cli.alice/drain"
    passed(gate, topic)
    assert gate.admits(topic, 1.0)
