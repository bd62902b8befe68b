"""The bounded queue: order, what goes when it is full, and that it is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.bus.api import Arrival, Connected, EventArrived, RequestArrived, StateArrived
from ramshare.bus.counters import Counters, Drop
from ramshare.bus.inbox import Inbox
from ramshare.messages.events import Event, EventKind
from ramshare.messages.requests import Drain

pytestmark = pytest.mark.unit


def event(number: int) -> EventArrived:
    return EventArrived("lender.hosta", "step", Event(kind=EventKind.STEP, sentence=str(number)))


def request(number: int) -> RequestArrived:
    return RequestArrived("cli.alice", "drain", Drain(request_id=f"request-{number}"), b"")


def state(path: str, retained: bool = False) -> StateArrived:
    return StateArrived("lender.hosta", path, None, retained)


def small(counters: Counters) -> Inbox:
    return Inbox(counters, max_events=3, max_requests=2, max_states=4, coalesce_from=2)


def drained(inbox: Inbox) -> list[Arrival]:
    found = []
    while (arrival := inbox.next(0)) is not None:
        found.append(arrival)
    return found


def test_first_in_first_out() -> None:
    inbox = Inbox(Counters("x"))
    arrivals: list[Arrival] = [Connected(), state("a"), event(1), request(1), state("b")]
    assert all(inbox.put(arrival) for arrival in arrivals)
    assert drained(inbox) == arrivals


def test_the_oldest_event_goes_first_and_is_counted() -> None:
    counters = Counters("x")
    inbox = small(counters)
    for number in range(5):
        assert inbox.put(event(number))
    assert [
        arrival.message.model_dump()["sentence"] for arrival in drained(inbox) if isinstance(arrival, EventArrived)
    ] == [*"234"]
    assert counters[Drop.EVENT_OVERFLOW] == 2


def test_a_request_too_many_is_refused_to_the_sender() -> None:
    counters = Counters("x")
    inbox = small(counters)
    assert [inbox.put(request(number)) for number in range(3)] == [True, True, False]
    assert counters[Drop.BUSY] == 1
    inbox.next(0)
    assert inbox.put(request(9))


def test_a_newer_state_replaces_an_older_one_only_under_pressure() -> None:
    inbox = small(Counters("x"))
    for arrival in (state("a"), state("a", retained=True), state("a"), state("b"), state("a", retained=True)):
        inbox.put(arrival)
    assert drained(inbox) == [state("a"), state("a", retained=True), state("b")]


def test_what_a_new_connection_brings_does_not_slip_in_before_it() -> None:
    inbox = small(Counters("x"))
    heard: list[Arrival] = [state("a"), state("b"), Connected(), state("a", retained=True)]
    for arrival in heard:
        inbox.put(arrival)
    assert drained(inbox) == heard


def test_a_state_beyond_every_bound_is_counted() -> None:
    counters = Counters("x")
    inbox = small(counters)
    assert [inbox.put(state(path)) for path in "abcde"] == [True, True, True, True, False]
    assert counters[Drop.STATE_OVERFLOW] == 1


def test_waking_happens_for_what_was_queued_only() -> None:
    woken: list[int] = []
    inbox = small(Counters("x"))
    inbox.on_arrival(lambda: woken.append(1))
    for number in range(4):
        inbox.put(request(number))
    assert len(woken) == 2


ARRIVALS = st.one_of(
    st.integers(0, 9).map(event),
    st.integers(0, 9).map(request),
    st.tuples(st.sampled_from("abcdef"), st.booleans()).map(lambda pair: state(*pair)),
    st.just(Connected()),
)


@given(st.lists(st.one_of(ARRIVALS, st.none()), max_size=60))
def test_it_never_holds_more_than_its_bounds_and_loses_nothing_uncounted(steps: list[Arrival | None]) -> None:
    counters = Counters("x")
    inbox = small(counters)
    put = taken = 0
    newest: dict[str, StateArrived] = {}
    delivered: dict[str, StateArrived] = {}
    for step in steps:
        if step is not None:
            put += 1
            if inbox.put(step) and isinstance(step, StateArrived):
                newest[step.path] = step
        elif (arrival := inbox.next(0)) is not None:
            taken += 1
            if isinstance(arrival, StateArrived):
                delivered[arrival.path] = arrival
    rest = drained(inbox)
    for arrival in rest:
        if isinstance(arrival, StateArrived):
            delivered[arrival.path] = arrival
    assert delivered == newest, "the newest value of each topic is what is delivered last"
    lost = sum(counters.snapshot().values())
    replaced = put - taken - len(rest) - lost
    assert replaced >= 0
    assert sum(isinstance(arrival, EventArrived) for arrival in rest) <= 3
    assert sum(isinstance(arrival, RequestArrived) for arrival in rest) <= 2
    assert sum(isinstance(arrival, StateArrived) for arrival in rest) <= 4
