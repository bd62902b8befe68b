"""The demand policy: a storm that lasts is borrowed for, a blip is not, and quiet brings the volume home."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramshare.policy.demand import (
    DELIVER_S,
    HANDS_OFF_S,
    HOUR_S,
    SLOWER_S,
    DemandPolicy,
)
from ramshare.policy.demand_model import (
    Action,
    DemandDecision,
    Limits,
    Place,
    Setback,
    SwapReport,
    VolumeSample,
    Why,
)

pytestmark = pytest.mark.unit

MIB, GIB = 1 << 20, 1 << 30
STORM: dict[str, Any] = {"read_bytes_s": 500e3, "write_bytes_s": 600e3, "busy_percent": 99.0, "read_s": 0.03}
REMOTE: dict[str, Any] = {"read_bytes_s": 9e6, "write_bytes_s": 9e6, "busy_percent": 80.0, "read_s": 0.001}
CALM: dict[str, Any] = {}


class Host:
    """One volume under a policy, second by second; it is attached as soon as the policy says so."""

    def __init__(self, limits: Limits | None = None, **about: Any) -> None:
        self.policy = DemandPolicy(limits)
        self.sample = VolumeSample("vg0/swap", 1000.0, "lv-1", "this host", size_bytes=GIB, most_bytes=GIB)
        self.sample = replace(self.sample, **about)
        self.actions: list[tuple[float, Action]] = []
        self.follows = True
        self.said: list[DemandDecision] = []

    def pass_s(self, seconds: float, step_s: float = 1.0, **seen: Any) -> DemandDecision:
        """Let time pass while the volume looks like this; return the last decision."""
        idle = {"read_bytes_s": 0.0, "write_bytes_s": 0.0, "busy_percent": 0.0, "read_s": None}
        for _ in range(math.ceil(seconds / step_s)):
            self.look(self.sample.at_s + step_s, **{**idle, **seen})
        return self.said[-1]

    def look(self, at_s: float, **seen: Any) -> DemandDecision:
        self.sample = replace(self.sample, at_s=at_s, setback=None, handed_back=False)
        self.sample = replace(self.sample, **seen)
        decision = self.policy.decide(self.sample)
        self.said.append(decision)
        if decision.action is not Action.STAY:
            self.actions.append((at_s, decision.action))
            if self.follows:
                borrowed = decision.action is Action.BORROW
                self.sample = replace(self.sample, place=Place.ATTACHED if borrowed else Place.HOME, automatic=borrowed)
        return decision

    def seconds_to(self, action: Action, most_s: int, **seen: Any) -> int:
        for second in range(1, most_s + 1):
            if self.pass_s(1, **seen).action is action:
                return second
        raise AssertionError(f"no {action} within {most_s} s; {self.said[-1]}")


# ---- storms and blips


def test_a_storm_that_lasts_is_borrowed_for_within_seconds() -> None:
    host = Host()
    host.pass_s(60, **CALM)
    assert host.seconds_to(Action.BORROW, 20, **STORM) <= 10
    decision = host.said[-1]
    assert (decision.why, decision.size_bytes) == (Why.STORM, GIB)
    assert "99 % busy" in decision.reason
    assert decision.figures["read_bytes_s"] == 500e3


def test_a_blip_is_told_and_nothing_is_borrowed() -> None:
    host = Host()
    for _ in range(50):
        gathering = host.pass_s(6, **STORM)
        assert gathering.why is Why.GATHERING
        assert host.pass_s(12, **CALM).why is Why.CALM
    assert host.actions == []


def test_a_storm_with_short_breaths_is_one() -> None:
    host = Host()
    for _ in range(6):
        host.pass_s(4, **STORM)
        host.pass_s(1, **CALM)
    assert [action for _, action in host.actions] == [Action.BORROW]


@given(st.lists(st.tuples(st.integers(1, 7), st.integers(0, 40)), max_size=30))
def test_bursts_shorter_than_a_storm_and_pauses_as_long_never_borrow(bursts: list[tuple[int, int]]) -> None:
    host = Host()
    for burst_s, more_pause_s in bursts:
        host.pass_s(burst_s, **STORM)
        host.pass_s(burst_s + more_pause_s, **CALM)
    assert host.actions == []


@pytest.mark.parametrize(
    "seen",
    [
        {**STORM, "read_bytes_s": 30e3},
        {**STORM, "busy_percent": 20.0},
        {**STORM, "swap_used_bytes": 4.0 * MIB},
        {"write_bytes_s": 20e6, "busy_percent": 99.0},
    ],
    ids=["hardly read", "a disk that keeps up", "hardly anything on it", "written only, cold pages"],
)
def test_what_nobody_waits_for_is_no_storm(seen: dict[str, Any]) -> None:
    host = Host()
    assert host.pass_s(600, **seen).why is Why.CALM


def test_who_swaps_here_waits_though_the_disk_is_not_busy() -> None:
    waits = SwapReport("this host", 0.0, 500e3, psi_some=40.0)
    host = Host()
    host.seconds_to(Action.BORROW, 20, **{**STORM, "busy_percent": 20.0, "reports": (waits,)})


def test_a_disk_that_is_read_though_nobody_swaps_in_is_copied_and_not_swapped_to() -> None:
    host = Host()
    host.pass_s(600, **STORM, reports=(SwapReport("this host", 0.0, 0.0, psi_some=0.0),))
    assert host.actions == []


def test_a_report_of_long_ago_says_nothing() -> None:
    host = Host()
    host.seconds_to(Action.BORROW, 20, **STORM, reports=(SwapReport("guest web1", 300.0, 0.0),))


# ---- guests that lie


@given(
    st.lists(
        st.builds(
            SwapReport,
            who=st.just("guest web1"),
            age_s=st.floats(),
            swap_in_bytes_s=st.floats(),
            psi_some=st.none() | st.floats(),
            refaults_s=st.none() | st.floats(),
        ),
        max_size=3,
    )
)
def test_no_word_of_a_guest_borrows_without_reads_that_the_kernel_counts(reports: list[SwapReport]) -> None:
    host = Host()
    host.pass_s(60, **CALM, reports=tuple(reports))
    assert host.actions == []


def test_a_guest_that_plays_its_pressure_up_keeps_no_memory() -> None:
    loud = SwapReport("guest web1", 0.0, 1e12, psi_some=100.0, refaults_s=1e9)
    host = Host(place=Place.ATTACHED, automatic=True)
    assert host.seconds_to(Action.RETURN, 700, **CALM, reports=(loud,)) >= 600


# ---- home again, and no flapping


def test_after_a_quiet_time_it_goes_home() -> None:
    host = Host()
    host.seconds_to(Action.BORROW, 20, **STORM)
    host.pass_s(300, **REMOTE)
    assert 600 <= host.seconds_to(Action.RETURN, 700, **CALM) <= 602
    assert host.said[-1].why is Why.QUIET


def test_stray_pages_do_not_keep_it_away_for_ever_and_steady_use_does() -> None:
    host = Host(place=Place.ATTACHED, automatic=True)
    for _ in range(120):
        host.pass_s(1, read_bytes_s=50e3)
        host.pass_s(9, **CALM)
    assert [action for _, action in host.actions] == [Action.RETURN]
    host = Host(place=Place.ATTACHED, automatic=True)
    host.pass_s(3600, read_bytes_s=50e3, write_bytes_s=1e3)
    assert host.actions == []


def test_the_more_often_it_was_borrowed_for_the_longer_it_must_be_quiet() -> None:
    host = Host()
    waited = []
    for _ in range(3):
        host.seconds_to(Action.BORROW, 20, **STORM)
        waited.append(host.seconds_to(Action.RETURN, 3000, **CALM))
    assert waited[0] < 0.6 * waited[1] < 0.6 * waited[2]


SPELLS = st.lists(st.tuples(st.sampled_from(["storm", "remote", "calm", "stir"]), st.integers(1, 900)), max_size=25)


@given(SPELLS, st.integers(0, 5))
def test_no_more_loans_in_an_hour_than_allowed_and_no_return_before_the_quiet_time(
    spells: list[tuple[str, int]], loans: int
) -> None:
    host = Host(Limits(loans_per_hour=loans, quiet_s=60.0))
    kinds = {"storm": STORM, "remote": REMOTE, "calm": CALM, "stir": {"read_bytes_s": 50e3}}
    for kind, seconds in spells:
        host.pass_s(seconds, step_s=2.0, **kinds[kind])
    borrowed = [at_s for at_s, action in host.actions if action is Action.BORROW]
    for at_s in borrowed:
        assert sum(1 for other in borrowed if at_s <= other < at_s + HOUR_S) <= loans
    for (first_s, first), (second_s, second) in pairwise(host.actions):
        assert first is not second
        assert second is not Action.RETURN or second_s - first_s >= 60.0


# ---- budgets


def test_no_more_is_borrowed_than_the_owner_allows() -> None:
    assert Host(most_bytes=GIB // 4).pass_s(9, **STORM).size_bytes == GIB // 4
    assert Host(most_bytes=9 * GIB).pass_s(9, **STORM).size_bytes == GIB


def test_a_mirror_takes_all_or_nothing() -> None:
    host = Host(most_bytes=GIB // 4, in_part=False)
    for seen in (CALM, STORM):
        decision = host.pass_s(60, **seen)
        assert (decision.action, decision.why) == (Action.STAY, Why.BUDGET)
        assert "a mirror or pair takes all its 1024 MiB, and 256 are allowed" in decision.reason


@given(st.integers(0, 3 * GIB), st.integers(0, 3 * GIB), st.integers(0, 3 * GIB))
def test_all_automatic_loans_together_keep_to_the_limit(limit: int, lent: int, most: int) -> None:
    host = Host(Limits(limit_bytes=limit), lent_bytes=lent, most_bytes=most)
    host.pass_s(20, **STORM)
    for decision in host.said:
        assert decision.action is not Action.BORROW or lent + decision.size_bytes <= limit


def test_loans_of_all_volumes_count_together() -> None:
    policy = DemandPolicy(Limits(loans_per_hour=2))
    borrowed = set()
    for second in range(60):
        for number in range(4):
            sample = VolumeSample(f"vg0/swap{number}", float(second), size_bytes=GIB, most_bytes=GIB, **STORM)
            if number in borrowed:
                sample = replace(sample, place=Place.ATTACHED, automatic=True)
            if policy.decide(sample).action is Action.BORROW:
                borrowed.add(number)
    assert len(borrowed) == 2


# ---- people


def test_a_persons_loan_is_left_alone_however_quiet_it_is() -> None:
    host = Host(place=Place.ATTACHED, automatic=False)
    assert host.pass_s(7200, **CALM).why is Why.PERSON
    assert host.actions == []


def test_what_a_person_brought_home_is_left_there_for_an_hour() -> None:
    host = Host()
    host.look(host.sample.at_s + 1, **STORM, handed_back=True)
    assert host.pass_s(HANDS_OFF_S - 60, **STORM).why is Why.HANDS_OFF
    host.seconds_to(Action.BORROW, 90, **STORM)


# ---- loans that come to nothing


def times_of(host: Host, setback: Setback, seconds: int) -> Iterator[float]:
    """Have every loan come to nothing at once, and tell when each was asked for."""
    host.follows = False
    told: Setback | None = None
    for _ in range(seconds):
        decision = host.look(host.sample.at_s + 1, **STORM, setback=told)
        told = setback if decision.action is Action.BORROW else None
        if told is not None:
            yield host.sample.at_s


def test_a_lender_that_never_delivers_is_asked_ever_more_rarely() -> None:
    host = Host(Limits(loans_per_hour=1000))
    times = list(times_of(host, Setback("refused"), 4 * 3600))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] < 60
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert HOUR_S <= pauses[-1] < HOUR_S + 60
    assert host.said[-1].why is Why.BACK_OFF
    assert "refused" in host.said[-1].reason


def test_while_nobody_answers_it_asks_again_within_a_minute_and_no_budget_is_used_up() -> None:
    host = Host(Limits(loans_per_hour=1))
    times = list(times_of(host, Setback("no answer", passing=True), 1800))
    assert len(times) > 20
    assert max(later - earlier for earlier, later in pairwise(times)) <= 70


def test_what_was_promised_and_is_not_delivered_is_given_back() -> None:
    host = Host()
    host.seconds_to(Action.BORROW, 20, **STORM)
    host.sample = replace(host.sample, place=Place.ATTACHING)
    assert host.seconds_to(Action.RETURN, 200, **STORM) <= DELIVER_S + 1
    assert host.said[-1].why is Why.UNDELIVERED
    assert host.pass_s(10, **STORM).why is Why.BACK_OFF


def test_what_is_being_filled_is_given_its_time() -> None:
    host = Host(place=Place.ATTACHING, automatic=True, delivering=True)
    host.pass_s(3600, **STORM)
    assert host.actions == []


def test_a_loan_that_became_slower_than_home_goes_back_and_is_not_tried_again_at_once() -> None:
    host = Host()
    host.seconds_to(Action.BORROW, 20, **STORM)
    host.pass_s(600, **REMOTE)
    took_s = host.seconds_to(Action.RETURN, 600, **{**REMOTE, "read_s": 0.05})
    assert SLOWER_S <= took_s <= SLOWER_S + 2
    assert "50.0 ms, 30.0 ms" in host.said[-1].reason
    assert host.pass_s(10, **STORM).why is Why.BACK_OFF


def test_a_lender_that_hangs_for_a_moment_is_forgiven() -> None:
    host = Host()
    host.seconds_to(Action.BORROW, 20, **STORM)
    for _ in range(20):
        host.pass_s(60, **{**REMOTE, "read_s": 0.05})
        host.pass_s(70, **REMOTE)
    assert len(host.actions) == 1


# ---- clocks, volumes and samples that are not what they were


def test_a_clock_that_jumps_ahead_makes_no_storm_and_no_quiet_time() -> None:
    host = Host()
    host.look(host.sample.at_s + 1, **STORM)
    assert host.look(host.sample.at_s + 1e6, **STORM).action is Action.STAY
    host = Host(place=Place.ATTACHED, automatic=True)
    for _ in range(100):
        assert host.look(host.sample.at_s + 86400.0, **CALM).action is Action.STAY


def test_a_clock_that_goes_back_loses_nothing_and_gains_nothing() -> None:
    host = Host()
    host.pass_s(5, **STORM)
    host.look(0.0, **STORM)
    assert 3 <= host.seconds_to(Action.BORROW, 20, **STORM) <= 4
    for _ in range(100):
        host.look(host.sample.at_s - 3600.0, **CALM)
    assert len(host.actions) == 1


def test_a_volume_that_vanishes_is_told_and_comes_back_as_a_new_one() -> None:
    host = Host()
    host.pass_s(6, **STORM)
    assert host.look(host.sample.at_s + 1, identity="", **STORM).why is Why.GONE
    host.look(host.sample.at_s + 1, identity="lv-1", **STORM)
    assert host.seconds_to(Action.BORROW, 20, **STORM) >= 7


@pytest.mark.parametrize("other", [{"identity": "lv-2"}, {"swapper": "guest web2"}])
def test_a_volume_of_another_owner_does_not_inherit_a_storm(other: dict[str, str]) -> None:
    host = Host()
    host.pass_s(7, **STORM)
    assert host.look(host.sample.at_s + 1, **other, **STORM).action is Action.STAY
    assert host.seconds_to(Action.BORROW, 20, **STORM) >= 7


def test_who_swaps_is_unknown_for_a_moment_and_the_storm_goes_on() -> None:
    host = Host()
    host.pass_s(5, **STORM)
    host.look(host.sample.at_s + 1, swapper="", **STORM)
    assert host.seconds_to(Action.BORROW, 20, **STORM) <= 3


ANY = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.lists(
        st.builds(
            VolumeSample,
            volume=st.sampled_from(["vg0/a", "vg0/b"]),
            at_s=ANY,
            identity=st.sampled_from(["", "1", "2"]),
            swapper=st.sampled_from(["", "this host", "guest web1"]),
            size_bytes=st.integers(0, 1 << 60),
            most_bytes=st.integers(0, 1 << 60),
            in_part=st.booleans(),
            place=st.sampled_from(Place),
            automatic=st.booleans(),
            delivering=st.booleans(),
            read_bytes_s=ANY,
            write_bytes_s=ANY,
            busy_percent=ANY,
            read_s=st.none() | ANY,
            swap_used_bytes=st.none() | ANY,
            lent_bytes=st.integers(0, 1 << 60),
            setback=st.none() | st.builds(Setback, st.text(max_size=9), st.booleans()),
            handed_back=st.booleans(),
        ),
        max_size=60,
    )
)
def test_nothing_that_a_sample_says_makes_it_fail_and_the_same_samples_decide_the_same(
    samples: list[VolumeSample],
) -> None:
    first, second = DemandPolicy(), DemandPolicy()
    for sample in samples:
        decision = first.decide(sample)
        assert second.decide(sample) == decision
        assert all(math.isfinite(figure) for figure in decision.figures.values())
        if decision.action is Action.BORROW:
            assert sample.place is Place.HOME
            assert 0 < decision.size_bytes <= min(sample.most_bytes, sample.size_bytes)
        if decision.action is Action.RETURN:
            assert sample.automatic
