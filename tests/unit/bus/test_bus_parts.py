"""The small parts of the bus: topic filters, open requests, counting."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.bus.api import RequestTimeoutError
from ramshare.bus.counters import LOG_INTERVAL_S, Counters, Drop
from ramshare.bus.pending import Pending
from ramshare.bus.wire import matches
from ramshare.messages.replies import Reply

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("topic_filter", "topic", "covered"),
    [
        # MQTT 5, sections 4.7.1 and 4.7.2
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport/tennis", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/broker", False),
        ("+/broker", "$SYS/broker", False),
        ("$SYS/#", "$SYS/broker", True),
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/b/d", False),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
    ],
)
def test_filters_cover_what_the_standard_says(topic_filter: str, topic: str, covered: bool) -> None:
    assert matches(topic_filter, topic) is covered


SEGMENTS = st.lists(st.text("ab/", max_size=3).map(lambda text: text.replace("/", "")), min_size=1, max_size=5)


@given(SEGMENTS, st.data())
def test_a_filter_made_from_a_topic_covers_it(segments: list[str], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(segments), max_size=len(segments)))
    wanted = [segment if keep else "+" for segment, keep in zip(segments, kept, strict=True)]
    assert matches("/".join(wanted), "/".join(segments))
    end = data.draw(st.integers(0, len(segments)))
    assert matches("/".join([*wanted[:end], "#"]), "/".join(segments))


@given(SEGMENTS, SEGMENTS)
def test_a_filter_without_wildcards_covers_itself_only(one: list[str], other: list[str]) -> None:
    assert matches("/".join(one), "/".join(other)) == (one == other)


def test_a_reply_is_taken_once_and_only_from_the_server_asked() -> None:
    pending = Pending()
    correlation, waiting = pending.open("manager", "borrow", "request-1", 5.0, now=0.0)
    reply = Reply(request_id="request-1")
    assert not pending.resolve("lender.hosta", correlation, reply)
    assert not pending.resolve("manager", b"another", reply)
    assert not pending.resolve("manager", correlation, Reply(request_id="request-2"))
    assert pending.resolve("manager", correlation, reply)
    assert not pending.resolve("manager", correlation, reply)
    assert waiting.future.result(0) is reply


def test_without_correlation_data_the_id_and_the_server_must_fit() -> None:
    pending = Pending()
    _, waiting = pending.open("manager", "borrow", "request-1", 5.0, now=0.0)
    assert not pending.resolve("manager", None, Reply(request_id="request-2"))
    assert pending.resolve("manager", None, Reply(request_id="request-1"))
    assert waiting.future.done()


def test_only_what_is_overdue_fails() -> None:
    pending = Pending()
    _, short = pending.open("manager", "borrow", "request-1", 1.0, now=100.0)
    _, long = pending.open("manager", "borrow", "request-2", 9.0, now=100.0)
    pending.expire(101.0)
    assert isinstance(short.future.exception(0), RequestTimeoutError)
    assert not long.future.done()
    pending.close()
    assert isinstance(long.future.exception(0), RequestTimeoutError)
    assert len(pending) == 0


def test_a_cancelled_request_may_still_be_answered() -> None:
    pending = Pending()
    correlation, waiting = pending.open("manager", "borrow", "request-1", 1.0, now=0.0)
    assert waiting.future.cancel()
    assert pending.resolve("manager", correlation, Reply(request_id="request-1"))


def test_a_flood_is_counted_in_full_and_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    counters = Counters("lender.hosta", clock=lambda: now)
    for _ in range(1000):
        counters.note(Drop.FOREIGN, "'some/topic'")
    assert len(caplog.records) == 1
    now = LOG_INTERVAL_S
    with caplog.at_level(logging.WARNING):
        counters.note(Drop.FOREIGN, "'some/topic'")
    assert len(caplog.records) == 2
    assert "1001 so far" in caplog.text
    assert counters.snapshot() == {"foreign": 1001}
