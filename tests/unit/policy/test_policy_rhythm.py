"""The policy that lenders run: what it learns, and how its loans move."""

import itertools
import json
import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramshare.policy.model import Decision, GuestSample, HostSample
from ramshare.policy.peaks import Peaks
from ramshare.policy.rhythm import GROW_STEP, RECENT_S, RESTORE, SETTLE_S, SHRINK_BELOW, Rhythm
from ramshare.policy.surges import DAY_S, HOUR_S, Surges, day_of_week, hour_of_day

pytestmark = pytest.mark.unit

GIB = float(1 << 30)
CAPACITY = 64 * GIB
MONDAY_S = 1_699_833_600.0
"""Monday, 13 November 2023, 00:00 UTC."""
STEP_S = 300.0


def run(
    policy: Rhythm, used_bytes: Iterable[float], start_s: float = MONDAY_S, step_s: float = STEP_S
) -> list[Decision]:
    return [
        policy.decide(HostSample("h", start_s + step * step_s, CAPACITY, used)) for step, used in enumerate(used_bytes)
    ]


def days(number: float, demand: Callable[[float, random.Random], float]) -> list[float]:
    chance = random.Random(1)
    return [demand(step * STEP_S, chance) for step in range(int(number * 288))]


def quiet(at_s: float, chance: random.Random) -> float:
    return (8 + chance.random() * 0.2) * GIB


def wild(at_s: float, chance: random.Random) -> float:
    return (28 if chance.random() < 0.004 else 8 + chance.random() * 0.2) * GIB


def office(at_s: float, chance: random.Random) -> float:
    busy = hour_of_day(at_s) in range(9, 17)
    return (20 if busy and chance.random() < 0.02 else 8 + chance.random() * 0.2) * GIB


def test_a_quiet_host_earns_a_small_margin_and_a_wild_one_a_large_one() -> None:
    margins = [run(Rhythm(), days(20, demand))[-1].figures["margin_bytes"] for demand in (quiet, office, wild)]
    assert margins[0] < 0.04 * CAPACITY < margins[1] < margins[2]


def test_a_host_never_seen_keeps_a_good_part_free() -> None:
    first = run(Rhythm(), [8 * GIB])[0]
    assert 0.5 * CAPACITY < first.lendable_bytes < 0.75 * CAPACITY


def test_a_host_lends_more_in_the_hours_in_which_it_never_surges() -> None:
    policy = Rhythm()
    run(policy, days(30, office))
    margins = [decision.figures["margin_bytes"] for decision in run(policy, days(1, quiet), MONDAY_S + 30 * DAY_S)]
    night, noon = margins[3 * 12], margins[12 * 12]
    assert night < 0.7 * noon


def test_a_day_of_the_week_earns_its_own_factor_slowly() -> None:
    surges = Surges(CAPACITY)

    for step in range(16 * 7 * 288):
        at_s = MONDAY_S + step * STEP_S
        excess = 4 * GIB if day_of_week(at_s) < 5 else 0.0
        surges.add(excess, excess, STEP_S, at_s)
        if step == 6 * 288:
            first_week = surges.size_bytes(MONDAY_S + 5 * DAY_S) / surges.size_bytes(MONDAY_S + 4 * DAY_S)
    after_months = surges.size_bytes(at_s) / surges.size_bytes(at_s - 2 * DAY_S)
    assert after_months < 0.8 < 0.95 < first_week < 1.0


def test_the_days_and_hours_are_those_of_the_calendar() -> None:
    assert [day_of_week(MONDAY_S + DAY_S * day) for day in range(8)] == [0, 1, 2, 3, 4, 5, 6, 0]
    assert [hour_of_day(MONDAY_S + HOUR_S * hour) for hour in (0, 9.5, 23, 24)] == [0, 9, 23, 0]


def test_small_changes_of_use_do_not_move_the_loan() -> None:
    policy = Rhythm()
    run(policy, days(10, quiet))
    decisions = run(policy, days(1, quiet), MONDAY_S + 10 * DAY_S)
    loans = [decision.lendable_bytes for decision in decisions]
    assert max(loans) - min(loans) < decisions[-1].figures["margin_bytes"]
    assert sum(one != other for one, other in itertools.pairwise(loans)) < 36


def test_the_reason_of_an_unchanged_loan_is_not_news() -> None:
    told = [(decision.lendable_bytes, decision.reason) for decision in run(Rhythm(), days(10, wild))]
    news = [at for at in range(1, len(told)) if told[at] != told[at - 1]]
    assert news and all(told[at][0] != told[at - 1][0] for at in news)
    assert "GiB can be lent: use was at most" in told[0][1]


def test_a_surge_shrinks_the_loan_at_once_and_restores_most_of_the_margin() -> None:
    policy = Rhythm()
    run(policy, days(10, quiet))
    decision = run(policy, [30 * GIB], MONDAY_S + 10 * DAY_S)[0]
    assert decision.lendable_bytes <= CAPACITY - 30 * GIB - RESTORE * decision.figures["margin_bytes"]
    assert "use came to 30.00 GiB and still rises" in decision.reason


def test_a_rise_shrinks_the_loan_before_the_rest_of_the_surge_is_there() -> None:
    policy, start_s = Rhythm(), MONDAY_S + 10 * DAY_S
    lent = run(policy, days(10, wild))[-1].lendable_bytes
    rise = 0.2 * (CAPACITY - lent - 8 * GIB)  # far less than what is free
    decision = run(policy, [8 * GIB + rise], start_s)[0]
    assert decision.lendable_bytes < lent - rise


def test_what_was_just_lent_is_not_taken_back_for_a_mere_rise() -> None:
    policy = Rhythm()
    loans = run(policy, [8 * GIB, 8 * GIB, 10 * GIB])
    assert loans[2].lendable_bytes == loans[1].lendable_bytes
    later = run(policy, [8 * GIB] * 13 + [12 * GIB], MONDAY_S + 3 * STEP_S)
    assert later[-1].lendable_bytes < later[-2].lendable_bytes
    assert SETTLE_S == 12 * STEP_S


def test_the_loan_grows_back_in_coarse_steps_and_only_once_the_surge_has_left_the_recent_past() -> None:
    policy, start_s = Rhythm(), MONDAY_S + 10 * DAY_S
    run(policy, days(10, quiet))
    run(policy, [30 * GIB], start_s)
    steps = int(RECENT_S / STEP_S)
    waiting = run(policy, [8 * GIB] * (steps - 1), start_s + STEP_S)
    assert max(decision.lendable_bytes for decision in waiting) <= CAPACITY - 30 * GIB
    assert len({decision.lendable_bytes for decision in waiting}) <= 2
    grown = run(policy, [8 * GIB], start_s + RECENT_S)[0]
    assert grown.lendable_bytes >= waiting[-1].lendable_bytes + GROW_STEP * grown.figures["margin_bytes"]


def test_most_of_the_margin_may_be_used_up_before_the_loan_shrinks() -> None:
    policy = Rhythm()
    last = run(policy, [8 * GIB] * 3)[-1]  # the loan is fresh: rises do not count
    margin = last.figures["margin_bytes"]
    kept = run(policy, [8 * GIB + 0.1 * margin], MONDAY_S + 900)[0]
    assert kept.lendable_bytes == last.lendable_bytes
    shrunk = run(policy, [8 * GIB + (1.1 - SHRINK_BELOW) * margin], MONDAY_S + 1200)[0]
    assert shrunk.lendable_bytes < last.lendable_bytes


def test_samples_every_five_seconds_lead_to_about_the_same_loans_as_every_five_minutes() -> None:
    demand = days(2, wild)
    coarse = run(Rhythm(), demand)
    fine = run(Rhythm(), [used for used in demand for _ in range(60)], step_s=5.0)
    for step in range(144, len(demand), 37):
        assert fine[60 * step + 59].lendable_bytes == pytest.approx(coarse[step].lendable_bytes, abs=0.08 * CAPACITY)


def test_a_short_pace_lets_a_lab_see_in_a_minute_what_takes_hours() -> None:
    policy = Rhythm(pace=0.005)
    low = run(policy, [8 * GIB] * 5 + [40 * GIB], step_s=5.0)[-1].lendable_bytes
    later = run(policy, [8 * GIB] * 24, MONDAY_S + 30, step_s=5.0)[-1].lendable_bytes
    assert low <= 24 * GIB < 28 * GIB < later


def test_a_missing_guest_is_neither_learnt_from_nor_lent_from() -> None:
    policy = Rhythm()
    expected = frozenset({"a"})

    def sample(step: int, *guests: GuestSample) -> HostSample:
        return HostSample("h", MONDAY_S + step * STEP_S, 16 * GIB, 2 * GIB, guests, expected)

    for step in range(500):
        report = GuestSample("a", MONDAY_S + step * STEP_S, 32 * GIB, 4 * GIB)
        before = policy.decide(sample(step, report))
    missing = policy.decide(sample(500))
    assert missing.lendable_bytes <= 14 * GIB
    assert "guest a does not report" in missing.reason
    assert missing.figures["margin_bytes"] == pytest.approx(before.figures["margin_bytes"], rel=0.05)
    back = policy.decide(sample(501, GuestSample("a", MONDAY_S + 501 * STEP_S, 32 * GIB, 4 * GIB)))
    assert back.lendable_bytes > missing.lendable_bytes


@pytest.mark.parametrize("seed", range(20))
def test_the_queue_of_peaks_agrees_with_a_plain_maximum(seed: int) -> None:
    chance = random.Random(seed)
    peaks, seen, clock_s = Peaks(3000.0), [], 0.0
    for _ in range(300):
        clock_s += 300.0 * chance.choice([1, 1, 1, 2, 12])
        seen.append((clock_s, chance.random()))
        expected = max(value for at_s, value in seen if at_s > clock_s - 3000.0)
        assert peaks.push(clock_s, seen[-1][1]) == expected
    assert len(peaks.snapshot()) <= 10


def test_a_host_that_never_moves_still_keeps_a_hundredth() -> None:
    lent = run(Rhythm(), [8 * GIB] * 60 * 288)[-1].lendable_bytes
    assert lent < 56 * GIB - 0.0099 * CAPACITY


def test_one_lucky_day_does_not_make_a_restless_host_a_calm_one() -> None:
    """Jumps that stay below the recent high harm nobody yet, and tell that the host can jump."""

    def restless(at_s: float, chance: random.Random) -> float:
        return (20 if int(at_s // STEP_S) % 12 == 0 else 10 + chance.random() * 0.2) * GIB

    margins = [run(Rhythm(), days(1, demand))[-1].figures["margin_bytes"] for demand in (quiet, restless)]
    assert margins[0] < 0.04 * CAPACITY
    assert margins[1] > 3 * margins[0]


def test_a_host_hit_beyond_its_margin_keeps_more_from_then_on() -> None:
    policy = Rhythm()
    before, hit = run(policy, days(10, quiet))[-1], run(policy, [40 * GIB], MONDAY_S + 10 * DAY_S)[0]
    assert CAPACITY - before.lendable_bytes < 40 * GIB  # the loan was in the way
    after = run(policy, days(1, quiet), MONDAY_S + 10 * DAY_S + STEP_S)[-1]
    assert after.figures["margin_bytes"] > 2 * before.figures["margin_bytes"]
    assert hit.lendable_bytes < before.lendable_bytes


def test_the_sentence_tells_the_use_and_the_margin() -> None:
    told = [decision.reason.split(": ")[1] for decision in run(Rhythm(), days(3, quiet))]
    assert all(why.endswith("GiB are kept for surges beyond that") for why in told)
    assert any(why.startswith("use was at most 8.20 GiB of late, and ") for why in told)


def test_the_memory_of_a_new_guest_is_lent_only_once_it_has_been_free_for_a_while() -> None:
    policy = Rhythm()

    def lent(step: int, *guests: str) -> int:
        at_s = MONDAY_S + step * STEP_S
        reports = tuple(GuestSample(guest, at_s, 32 * GIB, 2 * GIB) for guest in guests)
        return policy.decide(HostSample("h", at_s, 0.0, 0.0, reports)).lendable_bytes

    before = [lent(step, "a", "b") for step in range(300)][-1]
    steps = int(RECENT_S / STEP_S)
    assert max(lent(300 + step, "a", "b", "new") for step in range(steps - 1)) <= before
    assert max(lent(300 + steps + step, "a", "b", "new") for step in range(288)) > before + 25 * GIB
    assert lent(600, "a") <= 30 * GIB


levels = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 40)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(levels=levels, caution=st.sampled_from([0.25, 1.0, 4.0]), step_s=st.sampled_from([60.0, 300.0]))
def test_whatever_demand_does_the_loan_leaves_room_now_and_grows_only_into_what_was_free(
    levels: list[tuple[float, int]], caution: float, step_s: float
) -> None:
    policy, used = Rhythm(caution), [share * CAPACITY for share, steps in levels for _ in range(steps)]
    lent, before = 0, int(RECENT_S / step_s)
    for step, decision in enumerate(run(policy, used, step_s=step_s)):
        margin = decision.figures["margin_bytes"]
        assert 0 <= decision.lendable_bytes <= CAPACITY - used[step]
        if decision.lendable_bytes > lent:
            past = max(used[max(0, step - before + 1) : step + 1])
            assert decision.lendable_bytes <= CAPACITY - past - margin + 1
            assert decision.lendable_bytes >= lent + GROW_STEP * margin - 1
        elif decision.lendable_bytes < lent:
            assert used[step] > CAPACITY - lent - margin - 3 * max(0.0, decision.figures["rise_bytes"])
        else:
            assert decision.lendable_bytes == 0 or CAPACITY - lent - used[step] >= SHRINK_BELOW * margin - 1
        lent = decision.lendable_bytes


@settings(max_examples=30, deadline=None)
@given(levels=levels, at=st.floats(0.0, 1.0))
def test_a_restart_at_any_moment_changes_nothing(levels: list[tuple[float, int]], at: float) -> None:
    used = [share * CAPACITY for share, steps in levels for _ in range(steps)]
    stop = int(at * len(used))
    policy, restored = Rhythm(), Rhythm()
    run(policy, used[:stop])
    restored.restore(json.loads(json.dumps(policy.snapshot())))
    start_s = MONDAY_S + stop * STEP_S
    assert run(restored, used[stop:], start_s) == run(policy, used[stop:], start_s)


@settings(max_examples=30, deadline=None)
@given(used=st.lists(st.floats(0.0, 30.0), min_size=2, max_size=60), stale=st.lists(st.booleans(), min_size=60))
def test_a_guest_that_stops_reporting_is_never_lent_from_and_teaches_nothing_new(
    used: list[float], stale: list[bool]
) -> None:
    policy = Rhythm()
    for step, use in enumerate(used):
        at_s = MONDAY_S + step * STEP_S
        report = GuestSample("a", at_s - (120.0 if stale[step] else 0.0), 32 * GIB, use * GIB)
        decision = policy.decide(HostSample("h", at_s, 8 * GIB, 2 * GIB, (report,), frozenset({"a"})))
        if stale[step]:
            assert decision.lendable_bytes <= 6 * GIB
