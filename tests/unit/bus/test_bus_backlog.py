"""What waits for the broker: bounded, in order, the least worth gone first, the newest of each state kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.bus.backlog import Backlog
from ramshare.bus.outbox import MAX_INFLIGHT, Outbox, Outgoing
from ramshare.bus.publisher import Publisher
from ramshare.bus.wire import Packet, Worth
from ramshare.messages.base import Message
from ramshare.messages.events import Event, EventKind
from ramshare.messages.replies import ErrorCode, Reply
from ramshare.messages.requests import Drain
from ramshare.topics import EventTopic, ReplyTopic, RequestTopic, Root, Topic

pytestmark = pytest.mark.unit


def packet(worth: Worth, topic: str = "t") -> Packet:
    return Packet(topic, b"", retain=worth is Worth.STATE, worth=worth)


def drained(backlog: Backlog[int]) -> list[int]:
    found = []
    while (kept := backlog.take()) is not None:
        found.append(kept)
    return found


def test_refusals_go_first_then_events_then_answers_then_requests_the_oldest_of_each() -> None:
    backlog: Backlog[int] = Backlog(max_waiting=6)
    worths = [Worth.REQUEST, Worth.REPLY, Worth.EVENT, Worth.REFUSAL, Worth.REFUSAL, Worth.EVENT]
    for number, worth in enumerate(worths):
        assert backlog.put(packet(worth), number) is None
    gone = [backlog.put(packet(Worth.REQUEST), 6 + number) for number in range(6)]
    assert gone == [3, 4, 2, 5, 1, 0]
    assert drained(backlog) == [6, 7, 8, 9, 10, 11]


def test_a_state_takes_the_older_values_place_under_pressure_only() -> None:
    backlog: Backlog[int] = Backlog(coalesce_from=3)
    for number, topic in enumerate(["a", "a", "b", "a", "b"]):
        backlog.put(packet(Worth.STATE, topic), number)
    assert drained(backlog) == [0, 3, 4]


PUTS = st.lists(st.one_of(st.tuples(st.sampled_from(Worth), st.sampled_from("abc")), st.none()), max_size=150)


@given(PUTS, st.integers(1, 10), st.integers(0, 5))
def test_it_is_bounded_in_order_and_loses_no_state(
    steps: list[tuple[Worth, str] | None], max_waiting: int, coalesce_from: int
) -> None:
    backlog: Backlog[int] = Backlog(max_waiting, coalesce_from)
    newest: dict[str, int] = {}
    lost: set[int] = set()
    taken: list[int] = []
    for number, step in enumerate(steps):
        if step is None:
            kept = backlog.take()
            taken += [] if kept is None else [kept]
            continue
        worth, topic = step
        if worth is Worth.STATE:
            newest[topic] = number
        gone = backlog.put(packet(worth, topic), number)
        if gone is not None:
            lost.add(gone)
        assert len(backlog) <= max_waiting + coalesce_from + 3
    taken += drained(backlog)
    worth_of = {number: step for number, step in enumerate(steps) if step is not None}
    others = [number for number in taken if worth_of[number][0] is not Worth.STATE]
    assert others == sorted(others)
    assert set(others) | lost == {number for number, step in worth_of.items() if step[0] is not Worth.STATE}
    states = {worth_of[number][1]: number for number in taken if worth_of[number][0] is Worth.STATE}
    assert states == newest


@pytest.mark.parametrize(
    ("topic", "message", "worth"),
    [
        (ReplyTopic("cli.a", "manager"), Reply(request_id="abcd-1234"), Worth.REPLY),
        (ReplyTopic("cli.a", "manager"), Reply(request_id="abcd-1234", error=ErrorCode.BUSY), Worth.REFUSAL),
        (RequestTopic("lender.a", "manager", "drain"), Drain(), Worth.REQUEST),
        (EventTopic("manager", "step"), Event(kind=EventKind.STEP, sentence="x"), Worth.EVENT),
    ],
)
def test_what_a_message_is_worth(topic: Topic, message: Message, worth: Worth) -> None:
    assert Publisher("manager", Root(), 180).message(topic, message).worth is worth


def outgoing(number: int, worth: Worth = Worth.REFUSAL) -> Outgoing:
    return Outgoing.of(packet(worth, str(number)))


def test_no_more_is_under_way_than_the_broker_acknowledges() -> None:
    outbox = Outbox()
    outbox.session_begins()
    for number in range(100_000):
        outbox.keep(outgoing(number))
    sent = 0
    while (due := outbox.next()) is not None:
        sent += 1
        outbox.sent(sent, due)
    assert sent == MAX_INFLIGHT
    assert len(outbox._waiting) + sent <= 1_020
    outbox.acknowledged(1)
    assert outbox.next() is not None
    assert outbox.next() is not None, "a packet that was taken but not sent holds no place"


def test_what_was_not_acknowledged_goes_first_in_the_next_session_without_states() -> None:
    outbox = Outbox()
    outbox.session_begins()
    outbox.sent(1, outgoing(1))
    outbox.sent(2, "a/subscription")
    outbox.sent(3, outgoing(3, Worth.STATE))
    outbox.keep(outgoing(4))
    outbox.keep(outgoing(5, Worth.STATE))
    assert not outbox.empty
    outbox.session_ended()
    assert outbox.empty, "nobody acknowledges anything without a session"
    assert [waited.packet.topic for waited in outbox.session_begins()] == ["1", "4"]


def test_it_is_empty_when_the_last_acknowledgement_has_come() -> None:
    outbox = Outbox()
    outbox.session_begins()
    outbox.keep(outgoing(1))
    due = outbox.next()
    assert due is not None
    outbox.sent(1, due)
    assert not outbox.empty
    outbox.acknowledged(1)
    assert outbox.empty
    assert outbox.wait_until_empty(0)
