"""The inbox: what had to go is counted and given back, and waking happens for what was queued."""

import threading

import pytest

from ramshare.bus.api import Connected, EventArrived, RequestArrived
from ramshare.bus.counters import Counters, Drop
from ramshare.bus.fair import Entry, Kind, Limit
from ramshare.bus.inbox import COALESCE_FROM, LIMITS, Inbox, Waiting
from ramshare.bus.wire import Packet
from ramshare.messages.events import Event, EventKind
from ramshare.messages.requests import Drain

pytestmark = pytest.mark.unit

SMALL = {kind: Limit(each=2, total=3) for kind in Kind}


def event(number: int) -> Entry[Waiting]:
    return Entry(Kind.EVENT, EventArrived("a", "step", Event(kind=EventKind.STEP, sentence=str(number))))


def request(number: int) -> Entry[Waiting]:
    return Entry(Kind.REQUEST, RequestArrived("a", "drain", Drain(request_id=f"request-{number}"), b""))


def state(topic: str) -> Entry[Waiting]:
    return Entry(Kind.STATE, Packet(topic, b"{}"), topic)


def drained(inbox: Inbox) -> list[Waiting]:
    found = []
    while (arrival := inbox.next(0)) is not None:
        found.append(arrival)
    return found


def test_first_in_first_out() -> None:
    inbox = Inbox(Counters("x"))
    entries = [Entry[Waiting](Kind.EVENT, Connected()), state("a"), event(1), request(1), state("b")]
    assert [inbox.put("a", entry) for entry in entries] == [None] * 5
    assert drained(inbox) == [entry.item for entry in entries]


@pytest.mark.parametrize(
    ("entries", "gone", "drop"),
    [
        ([event(0), event(1), event(2)], 0, Drop.EVENT_OVERFLOW),
        ([request(0), request(1), request(2)], 2, Drop.BUSY),
        ([state("a"), state("b"), state("c")], 2, Drop.STATE_OVERFLOW),
    ],
)
def test_what_had_to_go_is_given_back_and_counted(entries: list[Entry[Waiting]], gone: int, drop: Drop) -> None:
    counters = Counters("x")
    inbox = Inbox(counters, limits=SMALL)
    assert [inbox.put("a", entry) for entry in entries] == [None, None, entries[gone].item]
    assert counters.snapshot() == {drop.name.lower(): 1}
    assert len(inbox) == 2


def test_waking_happens_for_what_was_queued_only() -> None:
    woken: list[int] = []
    inbox = Inbox(Counters("x"), limits=SMALL)
    inbox.on_arrival(lambda: woken.append(1))
    for number in range(4):
        inbox.put("a", request(number))
    assert len(woken) == 2


def test_a_reader_that_waits_is_woken() -> None:
    inbox = Inbox(Counters("x"))
    found: list[Waiting | None] = []
    reader = threading.Thread(target=lambda: found.append(inbox.next(10)))
    reader.start()
    sent = request(1)
    inbox.put("a", sent)
    reader.join(5)
    assert found == [sent.item]


def test_a_flood_of_one_topic_costs_a_few_places() -> None:
    inbox = Inbox(Counters("x"))
    for number in range(10_000):
        inbox.put("guest.web1", Entry(Kind.STATE, Packet("memory", b"%d" % number), "memory"))
    assert len(inbox) == COALESCE_FROM
    last = drained(inbox)[-1]
    assert isinstance(last, Packet)
    assert last.payload == b"9999"


def test_a_snapshot_as_large_as_the_brokers_queue_fits() -> None:
    assert LIMITS[Kind.STATE].total == 100_000
