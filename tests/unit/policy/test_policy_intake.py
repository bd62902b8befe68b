"""What a policy believes: guests that lie, clocks that jump, reports that are missing, pressure."""

import math
from dataclasses import replace

import pytest

from ramshare.policy.intake import ALARM_PSI, LATE_S, MAX_STEP_S, STALE_AFTER_S, HostIntake, View
from ramshare.policy.model import GuestSample, HostSample

pytestmark = pytest.mark.unit

GIB = float(1 << 30)
NOW_S = 1_700_000_000.0
CALM = GuestSample("calm", NOW_S, 4 * GIB, 1 * GIB)


def sample(*guests: GuestSample, at_s: float = NOW_S, expected: frozenset[str] = frozenset()) -> HostSample:
    return HostSample("hosta", at_s, 8 * GIB, 2 * GIB, guests, expected)


def read(*guests: GuestSample, expected: frozenset[str] = frozenset()) -> View:
    return HostIntake().read(sample(*guests, expected=expected))


def test_host_and_guests_add_up() -> None:
    view = read(CALM, replace(CALM, guest="other", used_bytes=2 * GIB))
    assert (view.capacity_bytes, view.demand_bytes, view.held_bytes) == (16 * GIB, 5 * GIB, 0)
    assert view.fresh and view.calm and not view.notes


@pytest.mark.parametrize("used_bytes", [4 * GIB + 1, -1.0, math.nan, math.inf, 2.0**80])
def test_a_guest_that_lies_about_its_use_counts_as_full(used_bytes: float) -> None:
    view = read(replace(CALM, used_bytes=used_bytes))
    assert view.free_bytes == 6 * GIB  # the host's own free memory, nothing of the guest's
    assert "counts as full" in view.notes[0]


@pytest.mark.parametrize("capacity_bytes", [-1.0, math.nan, math.inf, 2.0**80])
def test_a_guest_that_lies_about_its_size_keeps_its_last_believable_one_and_counts_as_full(
    capacity_bytes: float,
) -> None:
    intake = HostIntake()
    intake.read(sample(CALM))
    later = replace(CALM, at_s=NOW_S + 5, capacity_bytes=capacity_bytes)
    view = intake.read(sample(later, at_s=NOW_S + 5))
    assert view.capacity_bytes == 12 * GIB and view.free_bytes == 6 * GIB
    assert read(replace(CALM, capacity_bytes=capacity_bytes)).capacity_bytes == 8 * GIB


def test_the_host_s_own_lies_count_as_full_or_as_nothing() -> None:
    for used_bytes in (math.nan, -1.0, 9 * GIB):
        assert HostIntake().read(replace(sample(CALM), used_bytes=used_bytes)).free_bytes == 3 * GIB
    for capacity_bytes in (math.nan, -1.0):
        assert HostIntake().read(replace(sample(CALM), capacity_bytes=capacity_bytes)).free_bytes == 3 * GIB


def test_a_guest_that_appears_twice_counts_once_by_its_newest_and_most_demanding_report() -> None:
    older = replace(CALM, at_s=NOW_S - 5, used_bytes=3 * GIB)
    same_time = replace(CALM, used_bytes=2 * GIB)
    for guests in ((older, CALM, same_time), (same_time, CALM, older)):
        view = read(*guests)
        assert (view.capacity_bytes, view.demand_bytes) == (12 * GIB, 4 * GIB)
        assert "twice" in view.notes[0]
    lie = replace(CALM, used_bytes=math.nan)
    assert {read(CALM, lie).free_bytes, read(lie, CALM).free_bytes} <= {6 * GIB, 9 * GIB}


def test_an_expected_guest_without_a_report_counts_as_full() -> None:
    intake = HostIntake()
    intake.read(sample(CALM, expected=frozenset({"calm"})))
    view = intake.read(sample(at_s=NOW_S + 5, expected=frozenset({"calm"})))
    assert view.free_bytes == 6 * GIB and view.demand_bytes == 3 * GIB
    assert view.notes == ["guest calm does not report and counts as full"]


def test_a_guest_nobody_ever_heard_adds_nothing_and_does_not_stop_others_from_lending() -> None:
    view = read(CALM, expected=frozenset({"calm", "silent"}))
    assert view.free_bytes == 9 * GIB and view.calm


def test_a_guest_that_left_is_forgotten_at_once() -> None:
    intake = HostIntake()
    intake.read(sample(CALM, expected=frozenset({"calm"})))
    view = intake.read(sample(CALM, at_s=NOW_S + 5, expected=frozenset({"other"})))
    assert view.capacity_bytes == 8 * GIB
    assert intake.snapshot()["guests"] == {}


@pytest.mark.parametrize("age_s", [STALE_AFTER_S + 1, 86400.0, -3600.0, math.nan])
def test_a_stale_report_or_one_from_the_future_counts_as_full(age_s: float) -> None:
    assert read(replace(CALM, at_s=NOW_S - age_s)).free_bytes == 6 * GIB


def test_a_report_of_a_few_seconds_ago_is_believed() -> None:
    assert read(replace(CALM, at_s=NOW_S - STALE_AFTER_S)).free_bytes == 9 * GIB


def test_observed_time_follows_the_clock_only_where_it_can_be_believed() -> None:
    intake = HostIntake()
    moments = [
        (NOW_S, True, 0.0),
        (NOW_S + 5, True, 5.0),
        (NOW_S + 5, False, 5.0),  # repeated
        (NOW_S + 5 - LATE_S, False, 5.0),  # out of order
        (math.nan, False, 5.0),
        (NOW_S + 7 * 86400, True, 5.0 + MAX_STEP_S),  # a week's gap, or a clock set forward
        (NOW_S, True, 5.0 + MAX_STEP_S),  # set back
        (NOW_S + 5, True, 10.0 + MAX_STEP_S),
    ]
    for at_s, fresh, clock_s in moments:
        view = intake.read(sample(at_s=at_s))
        assert (view.fresh, view.clock_s) == (fresh, clock_s)


@pytest.mark.parametrize(
    "sign",
    [{"psi_some": ALARM_PSI + 1}, {"swap_in_bytes_s": 2.0**21}, {"refault_pages_s": 5000.0}, {"psi_some": math.inf}],
)
def test_a_guest_under_pressure_counts_as_full_whatever_it_uses(sign: dict[str, float]) -> None:
    view = read(replace(CALM, **sign))  # type: ignore[arg-type]
    assert view.free_bytes == 6 * GIB and view.calm, "it holds its own share, and no other's"
    host = HostIntake().read(replace(sample(CALM), **sign))  # type: ignore[arg-type]
    assert host.host_alarm and not host.calm


@pytest.mark.parametrize("sign", [{"psi_some": 0.5}, {"swap_in_bytes_s": 8192.0}, {"refault_pages_s": 100.0}])
def test_mild_pressure_only_forbids_growth_a_guests_that_of_its_own_share(sign: dict[str, float]) -> None:
    view = read(replace(CALM, **sign))  # type: ignore[arg-type]
    assert (view.free_bytes, view.uneasy_bytes, view.calm) == (9 * GIB, 3 * GIB, True)
    host = HostIntake().read(replace(sample(CALM), **sign))  # type: ignore[arg-type]
    assert (host.uneasy_bytes, host.calm, host.host_alarm) == (0, False, False)


def test_no_pressure_figures_mean_no_pressure() -> None:
    view = read(replace(CALM, psi_some=None, refault_pages_s=None, swap_in_bytes_s=math.nan))
    assert view.calm
