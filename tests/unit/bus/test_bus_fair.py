"""Several senders, one reader: in turn, in order, within bounds, and no newest value lost."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.bus.fair import Entry, FairQueue, Kind, Limit

pytestmark = pytest.mark.unit

Item = tuple[str, str, int]
"""Sender, topic (empty for none), number."""


def queue(each: int = 4, total: int = 8, coalesce_from: int = 2) -> FairQueue[Item]:
    return FairQueue({kind: Limit(each, total) for kind in Kind}, coalesce_from)


def entry(sender: str, kind: Kind, number: int, topic: str = "") -> Entry[Item]:
    return Entry(kind, (sender, topic, number), topic)


def drained(fair: FairQueue[Item]) -> list[Item]:
    taken = []
    while (item := fair.take()) is not None:
        taken.append(item)
    return taken


def test_senders_take_turns_and_each_ones_order_is_kept() -> None:
    fair = queue(each=9, total=9)
    for number in range(4):
        fair.put("loud", entry("loud", Kind.REQUEST, number))
    fair.put("quiet", entry("quiet", Kind.EVENT, 0))
    fair.put("quiet", entry("quiet", Kind.REQUEST, 1))
    assert [(sender, number) for sender, _, number in drained(fair)] == [
        ("loud", 0), ("quiet", 0), ("loud", 1), ("quiet", 1), ("loud", 2), ("loud", 3),
    ]  # fmt: skip


def test_a_sender_over_its_share_loses_its_own() -> None:
    fair = queue(each=2)
    for number in range(4):
        lost_event = fair.put("loud", entry("loud", Kind.EVENT, number))
        lost_request = fair.put("loud", entry("loud", Kind.REQUEST, number))
    assert lost_event == ("loud", entry("loud", Kind.EVENT, 1)), "the oldest event goes"
    assert lost_request == ("loud", entry("loud", Kind.REQUEST, 3)), "the newest request is refused"


@pytest.mark.parametrize("kind", Kind)
def test_when_all_is_full_the_fullest_lane_gives_way_to_who_has_less(kind: Kind) -> None:
    fair = queue(each=4, total=5)
    for number in range(4):
        fair.put("loud", entry("loud", kind, number, f"t{number}"))
    fair.put("other", entry("other", kind, 0, "t"))
    lost = fair.put("quiet", entry("quiet", kind, 0, "t"))
    assert lost is not None
    assert lost[0] == "loud"
    assert ("quiet", "t", 0) in drained(fair)


def test_a_value_takes_the_older_ones_place_under_pressure_only() -> None:
    fair = queue(coalesce_from=2)
    for number in range(6):
        assert fair.put("a", entry("a", Kind.STATE, number, "offer")) is None
    assert [number for _, _, number in drained(fair)] == [0, 5]


def test_what_is_put_last_stands_between_what_came_before_and_what_comes_after() -> None:
    fair = queue(each=9, total=9)
    for sender, number in (("a", 0), ("a", 1), ("b", 2)):
        fair.put(sender, entry(sender, Kind.STATE, number, f"t{number}"))
    fair.put_last(("", "", 3))
    for sender, number in (("b", 4), ("a", 5)):
        fair.put(sender, entry(sender, Kind.STATE, number, "t0"))
    assert len(fair) == 6
    assert [number for _, _, number in drained(fair)] == [0, 2, 1, 3, 4, 5]
    assert len(fair) == 0


def test_what_was_put_last_counts_until_it_is_taken() -> None:
    fair = queue(each=9, total=3)
    for number in range(3):
        fair.put("a", entry("a", Kind.REQUEST, number))
    fair.put_last(("", "", 3))
    assert fair.put("b", entry("b", Kind.REQUEST, 4)) == ("b", entry("b", Kind.REQUEST, 4))
    fair.take()
    assert fair.put("b", entry("b", Kind.REQUEST, 5)) is None


SENDERS = st.sampled_from(["a", "b", "c", "d"])
PUT = st.tuples(SENDERS, st.sampled_from(Kind), st.sampled_from(["t0", "t1", "t2"]))
STEPS = st.lists(st.one_of(PUT, st.none()), max_size=120)
LIMITS = st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(0, 4))


@given(STEPS, LIMITS)
def test_bounds_order_and_the_newest_values_hold_whatever_comes(
    steps: list[tuple[str, Kind, str] | None], limits: tuple[int, int, int]
) -> None:
    each, total, coalesce_from = limits
    fair = queue(each, total, coalesce_from)
    held: Counter[tuple[str, Kind]] = Counter()
    kind_of: dict[int, Kind] = {}
    newest: dict[tuple[str, str], int] = {}
    lost_states: set[int] = set()
    taken: list[Item] = []
    for number, step in enumerate(steps):
        if step is None:
            item = fair.take()
            if item is not None:
                taken.append(item)
            continue
        sender, kind, topic = step
        kind_of[number] = kind
        if kind is Kind.STATE:
            newest[(sender, topic)] = number
        lost = fair.put(sender, entry(sender, kind, number, topic))
        if lost is not None and lost[1].kind is Kind.STATE:
            lost_states.add(lost[1].item[2])
        for one in Kind:
            assert fair.waiting(one) <= total
    rest = drained(fair)
    for sender, _, number in rest:
        held[(sender, kind_of[number])] += 1
    assert all(number <= each for number in held.values())
    delivered: dict[tuple[str, str], int] = {}
    order: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for sender, topic, number in (*taken, *rest):
        if kind_of[number] is Kind.STATE:
            delivered[(sender, topic)] = number
        else:
            order[(sender, True)].append(number)
    assert all(numbers == sorted(numbers) for numbers in order.values())
    for place, number in newest.items():
        assert number in lost_states or delivered[place] == number


@given(STEPS, st.integers(1, 5))
def test_a_newcomer_is_heard_after_one_turn_of_the_others(
    steps: list[tuple[str, Kind, str] | None], waiting: int
) -> None:
    fair = queue(each=1000, total=1000)
    for number, step in enumerate(steps):
        if step is not None:
            fair.put(step[0], entry(step[0], step[1], number, step[2]))
    for number in range(waiting):
        fair.put("new", entry("new", Kind.REQUEST, number))
    places = [place for place, (sender, _, _) in enumerate(drained(fair)) if sender == "new"]
    assert all(place < (number + 1) * 5 for number, place in enumerate(places))
    assert len(places) == waiting


@given(st.lists(st.tuples(SENDERS, st.sampled_from(["t0", "t1", "t2"])), max_size=200), st.integers(0, 4))
def test_no_topic_is_lost_while_all_topics_fit(puts: list[tuple[str, str]], coalesce_from: int) -> None:
    each = 3 + coalesce_from  # that many values may wait beside the newest of each topic
    fair = queue(each, 4 * each, coalesce_from)
    for number, (sender, topic) in enumerate(puts):
        assert fair.put(sender, entry(sender, Kind.STATE, number, topic)) is None
    last = {(sender, topic): number for number, (sender, topic) in enumerate(puts)}
    assert {(sender, topic): number for sender, topic, number in drained(fair)} == last
