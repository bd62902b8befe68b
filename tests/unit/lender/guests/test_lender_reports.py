"""How old a guest's report is, whatever its clock says."""

from datetime import UTC, datetime

import pytest

from ramshare.lender.guests.reports import GuestReports
from ramshare.messages.state import Memory
from ramshare.policy.intake import STALE_AFTER_S
from ramshare.policy.model import HostSample
from ramshare.policy.registry import make_policy

pytestmark = pytest.mark.unit
GIB = 1 << 30
NOW_S = 1_800_000_000.0


def report(at_s: float, used: int = GIB, instance: str = "run1") -> Memory:
    made = Memory(total_bytes=4 * GIB, available_bytes=4 * GIB - used, used_bytes=used, interval_s=5.0)
    return made.stamped(instance, 1, datetime.fromtimestamp(at_s, UTC))


@pytest.mark.parametrize("guests_clock_s", [NOW_S, NOW_S - 86_400, NOW_S + 86_400])
def test_a_live_report_is_as_old_as_its_arrival_whatever_the_guests_clock_says(guests_clock_s: float) -> None:
    reports = GuestReports()
    reports.take("web1", report(guests_clock_s), NOW_S, stored=False)
    assert [(g.guest, g.at_s) for g in reports] == [("web1", NOW_S)]


def test_a_repeated_report_is_not_younger_for_it() -> None:
    reports = GuestReports()
    reports.take("web1", report(NOW_S), NOW_S, stored=False)
    reports.take("web1", report(NOW_S), NOW_S + 60, stored=False)
    assert next(iter(reports)).at_s == NOW_S
    reports.take("web1", report(NOW_S, instance="run2"), NOW_S + 60, stored=False)
    assert next(iter(reports)).at_s == NOW_S + 60


def test_a_stored_report_has_only_the_guests_word_for_its_age() -> None:
    reports = GuestReports()
    reports.take("web1", report(NOW_S - 3600), NOW_S, stored=True)
    assert next(iter(reports)).at_s == NOW_S - 3600


def test_a_guest_that_is_gone_is_forgotten() -> None:
    reports = GuestReports()
    reports.take("web1", report(NOW_S), NOW_S, stored=False)
    reports.forget("web1")
    reports.forget("web2")
    assert not list(reports)


def lendable_bytes(reports: GuestReports, now_s: float) -> int:
    sample = HostSample("a", now_s, 0.0, 0.0, tuple(reports), frozenset({"web1"}))
    return make_policy().decide(sample).lendable_bytes


def test_the_policy_counts_a_report_older_than_its_limit_as_full() -> None:
    reports = GuestReports()
    reports.take("web1", report(NOW_S - 86_400), NOW_S, stored=False)
    assert lendable_bytes(reports, NOW_S + STALE_AFTER_S - 1) > 0
    assert lendable_bytes(reports, NOW_S + STALE_AFTER_S + 1) == 0
