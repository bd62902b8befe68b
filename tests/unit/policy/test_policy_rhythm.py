"""The policy that lenders run: what it learns, and how its loans move."""

import random
from collections.abc import Callable, Iterable

import pytest

from ramshare.policy.model import Decision, GuestSample, HostSample
from ramshare.policy.peaks import Peaks
from ramshare.policy.rhythm import GROW_STEP, RECENT_S, SETTLE_S, SHRINK_BELOW, Rhythm
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
        surges.add(4 * GIB if day_of_week(at_s) < 5 else 0.0, STEP_S, at_s)
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
    loans = {decision.lendable_bytes for decision in run(policy, days(1, quiet), MONDAY_S + 10 * DAY_S)}
    assert len(loans) <= 2


def test_the_reason_of_an_unchanged_loan_is_not_news() -> None:
    told = [(decision.lendable_bytes, decision.reason) for decision in run(Rhythm(), days(10, wild))]
    news = [at for at in range(1, len(told)) if told[at] != told[at - 1]]
    assert news and all(told[at][0] != told[at - 1][0] for at in news)
    assert "GiB can be lent: use was at most" in told[0][1]


def test_a_surge_shrinks_the_loan_at_once_and_restores_the_margin() -> None:
    policy = Rhythm()
    run(policy, days(10, quiet))
    decision = run(policy, [30 * GIB], MONDAY_S + 10 * DAY_S)[0]
    assert decision.lendable_bytes <= CAPACITY - 30 * GIB - decision.figures["margin_bytes"]
    assert "use came to 30.00 GiB and still rises" in decision.reason


def test_a_rise_shrinks_the_loan_before_the_rest_of_the_surge_is_there() -> None:
    policy, start_s = Rhythm(), MONDAY_S + 10 * DAY_S
    lent = run(policy, days(10, wild))[-1].lendable_bytes
    rise = 0.3 * (CAPACITY - lent - 8 * GIB)  # far less than what is free
    decision = run(policy, [8 * GIB + rise], start_s)[0]
    assert decision.lendable_bytes < lent - rise


def test_what_was_just_lent_is_not_taken_back_for_a_mere_rise() -> None:
    policy = Rhythm()
    loans = run(policy, [8 * GIB, 8 * GIB, 10 * GIB])
    assert loans[2].lendable_bytes == loans[0].lendable_bytes
    later = run(policy, [8 * GIB] * 13 + [10 * GIB], MONDAY_S + 3 * STEP_S)
    assert later[-1].lendable_bytes < loans[0].lendable_bytes
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
    kept = run(policy, [8 * GIB + (0.9 - SHRINK_BELOW) * margin], MONDAY_S + 900)[0]
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
