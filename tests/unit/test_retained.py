"""The one cache of retained state: which word is the newest, who is stale, and what a cut leaves of it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.bus.api import StateArrived
from ramshare.messages.base import Message
from ramshare.messages.state import Decisions, Status
from ramshare.retained import STALE_AFTER_S, Retained

pytestmark = pytest.mark.unit
AT = datetime(2026, 1, 1, tzinfo=UTC)


def words(seq: int, text: str = "", run: str = "run") -> Decisions:
    return Decisions(decisions=(text,)).stamped(run, seq, AT)


def status(seq: int, word: str = "online") -> Status:
    return Status.model_validate({"status": word}).stamped("run", seq, AT)


def told(retained: Retained, path: str, message: Message | None, *, replay: bool = False, at_s: float = 0.0) -> None:
    retained.take(StateArrived("lender.a", path, message, replay), at_s)


def known(retained: Retained) -> dict[str, Message]:
    return {fact.path: fact.message for fact in retained.facts()}


def test_a_late_replay_does_not_undo_what_is_newer() -> None:
    retained = Retained()
    told(retained, "decisions", words(20, "new"))
    told(retained, "decisions", words(10, "old"), replay=True)
    assert known(retained) == {"decisions": words(20, "new")}


def test_a_new_run_counts_from_one_again() -> None:
    retained = Retained()
    told(retained, "decisions", words(20, "old"))
    told(retained, "decisions", words(1, "new", "next run"), replay=True)
    assert known(retained) == {"decisions": words(1, "new", "next run")}


def test_a_last_will_counts_though_it_was_written_before_everything_else() -> None:
    retained = Retained()
    told(retained, "status", status(50))
    assert retained.online("lender.a")
    told(retained, "status", status(1, "offline"))
    assert not retained.online("lender.a")


def test_a_last_will_is_no_sign_of_life() -> None:
    retained = Retained()
    told(retained, "status", status(50), at_s=10.0)
    told(retained, "status", status(1, "offline"), at_s=100.0)
    assert retained.by_client["lender.a"].silent_s(100.0) == 90.0


def test_who_missed_its_heartbeats_is_stale_until_it_speaks_again() -> None:
    retained = Retained()
    told(retained, "status", status(1), at_s=10.0)
    client = retained.by_client["lender.a"]
    assert not client.stale(10.0 + STALE_AFTER_S)
    assert client.stale(11.0 + STALE_AFTER_S)
    told(retained, "decisions", words(2), at_s=11.0 + STALE_AFTER_S)
    assert not client.stale(11.0 + STALE_AFTER_S)


def test_a_replay_makes_nobody_fresh() -> None:
    retained = Retained()
    told(retained, "status", status(1), replay=True)
    assert not retained.by_client["lender.a"].fresh
    told(retained, "status", status(2))
    assert retained.by_client["lender.a"].fresh


def test_after_a_cut_what_is_neither_replayed_nor_said_again_is_forgotten() -> None:
    retained = Retained()
    for path in ("status", "decisions", "export/l1"):
        told(retained, path, words(1))
    retained.doubt()
    assert not retained.by_client["lender.a"].fresh
    assert len(known(retained)) == 3
    told(retained, "status", words(2))
    told(retained, "decisions", words(1), replay=True)
    retained.settle()
    assert known(retained).keys() == {"status", "decisions"}


def test_whom_the_broker_has_forgotten_altogether_is_not_known_any_more() -> None:
    retained = Retained()
    told(retained, "status", status(1))
    retained.doubt()
    retained.settle()
    assert retained.clients() == []


def test_a_second_cut_before_everything_was_heard_forgets_no_more_than_the_broker_has() -> None:
    retained = Retained()
    told(retained, "status", status(1))
    told(retained, "decisions", words(2))
    retained.doubt()
    told(retained, "status", status(1), replay=True)
    retained.doubt()
    told(retained, "decisions", words(2), replay=True)
    retained.settle()
    assert known(retained).keys() == {"decisions"}


PATHS = st.sampled_from(["status", "decisions", "export/l1", "export/l2"])
DEEDS = st.one_of(
    st.tuples(st.just("says"), PATHS),
    st.tuples(st.just("clears"), PATHS),
    st.tuples(st.just("the broker loses"), PATHS),
    st.tuples(st.just("the reader is cut off"), st.just("")),
    st.tuples(st.just("the reader is back"), st.just("")),
)


@given(st.lists(DEEDS, max_size=40))
def test_a_reader_that_was_away_knows_in_the_end_what_one_knows_that_starts_now(deeds: list[tuple[str, str]]) -> None:
    retained, broker, there = Retained(), dict[str, Message](), True

    def back() -> None:
        retained.doubt()
        for path, message in broker.items():
            told(retained, path, message, replay=True)
        retained.settle()

    for seq, (deed, path) in enumerate(deeds, start=1):
        if deed == "says":
            broker[path] = words(seq)
        elif deed in ("clears", "the broker loses"):
            broker.pop(path, None)
        elif deed == "the reader is cut off":
            there = False
        elif not there:
            there = True
            back()
        if there and deed in ("says", "clears"):
            told(retained, path, broker.get(path))
    back()
    assert known(retained) == broker
