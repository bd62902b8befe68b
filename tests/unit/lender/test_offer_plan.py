"""From a policy's word to an offer: physics and the owner have the last word, and rounding never takes a loan away."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ramshare.lender.offer_plan import MIB, STEP_BYTES, Limits, plan_offer

pytestmark = pytest.mark.unit

SIZES = st.one_of(st.integers(0, 64 * 1024 * MIB), st.integers(0, 4096).map(lambda n: n * 4 * MIB))


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    lent = draw(SIZES)
    return Limits(
        decided_bytes=draw(SIZES),
        decided_reason="the guests use little",
        available_bytes=draw(SIZES),
        reserve_bytes=draw(SIZES),
        lent_bytes=lent,
        lent_committed_bytes=draw(st.integers(0, lent)),
        committed_bytes=draw(st.one_of(st.just(0), SIZES)),
        limit_bytes=draw(st.one_of(st.none(), SIZES)),
    )


@given(limits())
def test_a_new_loan_never_takes_more_than_is_free_beside_the_reserve(given_limits: Limits) -> None:
    plan = plan_offer(given_limits)
    assert 0 <= plan.free_bytes <= max(0, given_limits.available_bytes - given_limits.reserve_bytes)


@given(limits())
def test_the_owners_limit_holds_loans_included(given_limits: Limits) -> None:
    assume(given_limits.limit_bytes is not None)
    assert given_limits.limit_bytes is not None
    plan = plan_offer(given_limits)
    assert plan.capacity_bytes <= given_limits.limit_bytes
    if plan.free_bytes:
        assert plan.free_bytes + given_limits.lent_bytes <= given_limits.limit_bytes


@given(limits())
def test_the_numbers_of_an_offer_agree_with_each_other(given_limits: Limits) -> None:
    plan = plan_offer(given_limits)
    assert plan.free_bytes == max(0, plan.capacity_bytes - given_limits.lent_bytes)
    assert 0 <= plan.committed_free_bytes <= plan.free_bytes
    assert plan.committed_free_bytes + given_limits.lent_committed_bytes <= max(
        given_limits.committed_bytes, given_limits.lent_committed_bytes
    )
    assert plan.exportable == (plan.free_bytes > 0)
    assert plan.reason


@given(limits(), st.booleans())
def test_a_host_that_is_drained_or_borrows_itself_offers_nothing(given_limits: Limits, draining: bool) -> None:
    plan = plan_offer(replace(given_limits, draining=draining, borrowing=not draining))
    assert (plan.capacity_bytes, plan.free_bytes, plan.committed_free_bytes) == (0, 0, 0)
    assert "drain" in plan.reason if draining else "remote" in plan.reason


@given(limits(), st.sampled_from(["decided_bytes", "available_bytes", "committed_bytes"]), st.integers(0, 1 << 34))
def test_more_memory_never_makes_a_smaller_offer(given_limits: Limits, field: str, more: int) -> None:
    grown = replace(given_limits, **{field: getattr(given_limits, field) + more})
    assert plan_offer(grown).capacity_bytes >= plan_offer(given_limits).capacity_bytes
    assert plan_offer(grown).committed_free_bytes >= plan_offer(given_limits).committed_free_bytes


@given(limits(), st.integers(0, 1 << 34))
def test_a_larger_reserve_never_makes_a_larger_offer(given_limits: Limits, more: int) -> None:
    careful = replace(given_limits, reserve_bytes=given_limits.reserve_bytes + more)
    assert plan_offer(careful).capacity_bytes <= plan_offer(given_limits).capacity_bytes


@given(limits())
def test_memory_that_was_set_aside_is_offered_even_if_the_policy_says_less(given_limits: Limits) -> None:
    roomy = replace(
        given_limits,
        decided_bytes=0,
        limit_bytes=None,
        lent_bytes=0,
        lent_committed_bytes=0,
        available_bytes=given_limits.committed_bytes + given_limits.reserve_bytes,
    )
    assert plan_offer(roomy).capacity_bytes == given_limits.committed_bytes // STEP_BYTES * STEP_BYTES


@given(st.integers(1, 1000).map(lambda n: n * 4 * MIB))
def test_a_loan_of_an_odd_size_is_not_called_back_by_rounding(lent: int) -> None:
    steady = Limits(
        decided_bytes=lent,
        decided_reason="as yesterday",
        available_bytes=8 * MIB,
        reserve_bytes=8 * MIB,
        lent_bytes=lent,
        lent_committed_bytes=0,
        committed_bytes=0,
    )
    assert plan_offer(steady).capacity_bytes == lent


@given(st.integers(0, 512), st.integers(0, 2048))
def test_a_host_below_its_reserve_wants_memory_back(available_mib: int, lent_mib: int) -> None:
    pressed = Limits(
        decided_bytes=1 << 40,
        decided_reason="the guests use little",
        available_bytes=available_mib * MIB,
        reserve_bytes=512 * MIB,
        lent_bytes=lent_mib * MIB,
        lent_committed_bytes=0,
        committed_bytes=0,
    )
    plan = plan_offer(pressed)
    assert plan.free_bytes == 0
    assert plan.capacity_bytes <= max(0, (lent_mib + available_mib - 512)) * MIB


@given(limits())
def test_a_lender_that_serves_elsewhere_offers_nothing_and_asks_nothing_back_for_it(given_limits: Limits) -> None:
    well, ill = plan_offer(given_limits), plan_offer(replace(given_limits, misplaced="the target serves 0.0.0.0:3260"))
    assert (ill.free_bytes, ill.committed_free_bytes) == (0, 0)
    assert ill.capacity_bytes == min(well.capacity_bytes, given_limits.lent_bytes)
    assert "the target serves 0.0.0.0:3260" in ill.reason


def test_guests_that_are_left_alone_are_named_by_reason_and_not_all_of_a_crowd() -> None:
    few = Limits(0, "full", 0, 0, 0, 0, 0, left_alone={"db": "locked", "gpu": "passed through", "app": "locked"})
    assert plan_offer(few).reason.endswith("; left alone: app, db (locked), gpu (passed through)")
    crowd = {f"vm{number:03}": "locked" for number in range(200)}
    reason = plan_offer(replace(few, left_alone=crowd)).reason
    assert reason.endswith("; left alone: vm000, vm001, vm002 and 197 more (locked)")
    assert (
        plan_offer(replace(few, left_alone={})).reason == plan_offer(replace(few, draining=False)).reason.split(";")[0]
    )
