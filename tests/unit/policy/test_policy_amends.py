"""What harm does to the margin: it widens at once, for its time, and those hit too often are hit less."""

import pytest

from ramshare.policy import amends
from ramshare.policy.amends import MOST, STEP, WEARS_OFF_S, Amends
from ramshare.policy.model import GuestSample, HostSample
from ramshare.policy.rhythm import RECENT_S, Rhythm

pytestmark = pytest.mark.unit

GIB = float(1 << 30)
CAPACITY = 64 * GIB
STEP_S = 300.0


def test_harm_widens_and_wears_off_in_the_time_in_which_one_harm_may_happen() -> None:
    host = Amends()
    assert host.update(0.0, False, 1.0) == 0
    assert host.update(STEP_S, True, 1.0) == STEP
    assert host.update(STEP_S + WEARS_OFF_S / 2, False, 1.0) == pytest.approx(STEP / 2)
    assert host.update(STEP_S + 2 * WEARS_OFF_S, False, 1.0) == 0
    assert 1 / (WEARS_OFF_S / STEP_S) == 0.0002


def test_one_surge_counts_once_however_often_it_is_sampled() -> None:
    host = Amends()
    seen = [host.update(5.0 * sample, True, 1.0) for sample in range(60)]
    assert max(seen) == STEP
    assert host.update(300.0, True, 1.0) > 1.9 * STEP


def test_the_widening_has_an_end() -> None:
    host = Amends()
    assert max(host.update(STEP_S * step, True, 1.0) for step in range(100)) == MOST


def run(policy: Rhythm, used_bytes: list[float]) -> tuple[int, dict[str, float], str]:
    """Return how often the loan was in the way of the next use, the last figures, and the last reason."""
    harms, left, figures, reason = 0, CAPACITY, {}, ""
    for step, used in enumerate(used_bytes):
        harms += used > left
        decision = policy.decide(HostSample("h", 1.7e9 + step * STEP_S, CAPACITY, used))
        left, figures, reason = CAPACITY - decision.lendable_bytes, decision.figures, decision.reason
    return harms, figures, reason


def test_a_loan_in_the_way_is_told_and_widens_the_margin_of_the_next() -> None:
    policy = Rhythm()
    harms, figures, reason = run(policy, [8 * GIB] * 600 + [40 * GIB])
    assert harms == 1 and figures["margin_widened_ratio"] == STEP
    assert "more than usual since a loan was in the way" in reason


def test_a_host_that_was_never_harmed_keeps_its_margin() -> None:
    harms, figures, reason = run(Rhythm(), [8 * GIB] * 600 + [9 * GIB])
    assert harms == 0 and figures["margin_widened_ratio"] == 0 and "more than usual" not in reason


def test_a_host_whose_surges_the_margin_does_not_fit_is_harmed_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [(26 if step % 233 == 0 else 8) * GIB for step in range(1, 60 * 288)]
    harms = run(Rhythm(), used)[0]
    monkeypatch.setattr(amends, "STEP", 0.0)
    assert 1 <= harms < 0.7 * run(Rhythm(), used)[0]


def test_the_memory_of_a_new_guest_is_lent_only_once_it_has_been_free_for_a_while() -> None:
    policy = Rhythm()

    def lent(step: int, *guests: str) -> int:
        at_s = 1.7e9 + step * STEP_S
        reports = tuple(GuestSample(guest, at_s, 32 * GIB, 2 * GIB) for guest in guests)
        return policy.decide(HostSample("h", at_s, 0.0, 0.0, reports)).lendable_bytes

    before = [lent(step, "a", "b") for step in range(300)][-1]
    steps = int(RECENT_S / STEP_S)
    assert max(lent(300 + step, "a", "b", "new") for step in range(steps - 1)) <= before
    assert lent(300 + steps + 1, "a", "b", "new") > before + 10 * GIB
    assert lent(300 + steps + 2, "a") <= 30 * GIB
