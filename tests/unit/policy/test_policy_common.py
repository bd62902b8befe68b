"""What holds for every policy: bounds, safety against bad samples, snapshots, cost."""

import json
import math
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ramshare.policy.model import GuestSample, HostSample, Policy
from ramshare.policy.registry import DEFAULT_POLICY, UnknownPolicyError, make_policy, policy_names

pytestmark = pytest.mark.unit

GIB = float(1 << 30)
NOW_S = 1_700_000_000.0
every_policy = pytest.mark.parametrize("name", policy_names())

anything = st.floats() | st.sampled_from([0.0, 1.0, GIB, 4 * GIB, NOW_S, NOW_S + 5])
guests = st.builds(
    GuestSample, st.sampled_from(["a", "b"]), anything, anything, anything, anything, st.none() | anything, anything
)
samples = st.builds(
    HostSample, st.sampled_from(["h", "i"]), anything, anything, anything, st.tuples() | st.tuples(guests, guests),
    st.sampled_from([frozenset[str](), frozenset({"a", "c"})]), anything, st.none() | anything, anything,
)  # fmt: skip


def host(at_s: float, used_bytes: float, capacity_bytes: float = 64 * GIB) -> HostSample:
    return HostSample("h", at_s, capacity_bytes, used_bytes)


def settle(policy: Policy, used_bytes: float = 8 * GIB, hours: int = 48, capacity_bytes: float = 64 * GIB) -> int:
    """Show a policy a calm host, step by step, and return what it lends in the end."""
    steps = hours * 12
    lent = [policy.decide(host(NOW_S + 300 * step, used_bytes, capacity_bytes)) for step in range(steps)]
    return lent[-1].lendable_bytes


def after(hours: float) -> float:
    return NOW_S + 3600 * hours


def test_the_default_policy_comes_first_and_an_unknown_one_is_refused_by_name() -> None:
    assert policy_names()[0] == DEFAULT_POLICY
    with pytest.raises(UnknownPolicyError, match=r"no surplus policy named 'best'.*memtrade"):
        make_policy("best")


@every_policy
@settings(max_examples=40, deadline=None)
@given(stream=st.lists(samples, max_size=12))
def test_no_sample_makes_a_policy_raise_or_lend_what_is_not_there(name: str, stream: list[HostSample]) -> None:
    policy = make_policy(name)
    for sample in stream:
        decision = policy.decide(sample)
        free_bytes = (
            decision.figures["capacity_bytes"] - decision.figures["demand_bytes"] - decision.figures["held_bytes"]
        )
        assert 0 <= decision.lendable_bytes <= max(0.0, free_bytes)
        assert decision.reason and math.isfinite(free_bytes)
        json.dumps(policy.snapshot(), allow_nan=False)


@every_policy
def test_a_calm_host_lends_most_of_what_is_free_but_not_all(name: str) -> None:
    assert 0.6 * 56 * GIB < settle(make_policy(name)) < 56 * GIB


@every_policy
def test_demand_shrinks_the_loan_at_once(name: str) -> None:
    policy = make_policy(name)
    before = settle(policy)
    now = policy.decide(host(after(48), 40 * GIB)).lendable_bytes
    assert now < before and now <= 24 * GIB


@every_policy
def test_more_caution_lends_less(name: str) -> None:
    assert settle(make_policy(name, caution=2.0)) < settle(make_policy(name)) < settle(make_policy(name, caution=0.5))


@every_policy
@pytest.mark.parametrize("back_s", [0.0, 5.0, 60.0])
def test_a_repeated_or_late_sample_may_shrink_the_loan_but_teaches_nothing(name: str, back_s: float) -> None:
    policy, other = make_policy(name), make_policy(name)
    lent = settle(policy)
    settle(other)
    last_s = after(48) - 300
    assert policy.decide(host(last_s - back_s, 0.0)).lendable_bytes == lent
    assert policy.decide(host(last_s - back_s, 60 * GIB)).lendable_bytes <= 4 * GIB
    learnt, untouched = policy.snapshot()["hosts"]["h"], other.snapshot()["hosts"]["h"]
    assert (learnt["state"], learnt["intake"]) == (untouched["state"], untouched["intake"])


@every_policy
@pytest.mark.parametrize("jump_h", [-1000.0, -1.0, 1000.0])
def test_a_clock_that_jumps_does_not_make_a_busy_host_lend_more(name: str, jump_h: float) -> None:
    policy = make_policy(name)
    settle(policy)
    busy = policy.decide(host(after(48), 40 * GIB)).lendable_bytes
    after_jump = [policy.decide(host(after(48 + jump_h) + 5 * step, 40 * GIB)).lendable_bytes for step in range(100)]
    assert max(after_jump) <= 24 * GIB
    if name in ("rhythm", "max24h"):
        calm = [policy.decide(host(after(48 + jump_h) + 5 * step, 8 * GIB)).lendable_bytes for step in range(100, 200)]
        assert max(calm) <= max(busy, 24 * GIB)  # the peak from before the jump is not forgotten


@every_policy
def test_capacity_hot_plugged_while_lent_is_lent_less_a_margin_and_unplugged_is_gone_at_once(name: str) -> None:
    policy = make_policy(name)
    before = settle(policy)
    plugged = settled = policy.decide(host(after(48), 8 * GIB, 96 * GIB)).lendable_bytes
    assert before <= plugged < 87.5 * GIB  # of 88 free
    for step in range(1, 300):
        settled = policy.decide(host(after(48) + 300 * step, 8 * GIB, 96 * GIB)).lendable_bytes
    assert before < settled < 87.5 * GIB
    assert policy.decide(host(after(80), 8 * GIB, 16 * GIB)).lendable_bytes <= 8 * GIB


@every_policy
def test_pressure_on_the_host_takes_everything_back_and_mild_pressure_forbids_growth(name: str) -> None:
    policy = make_policy(name)
    lent = settle(policy)
    mild = replace(host(after(48), 0.0), psi_some=1.0)
    assert policy.decide(mild).lendable_bytes <= lent
    assert policy.decide(replace(host(after(48.1), 8 * GIB), swap_in_bytes_s=2.0**22)).lendable_bytes == 0


@every_policy
def test_a_restarted_lender_goes_on_as_if_it_had_never_stopped(name: str) -> None:
    policy, restored = make_policy(name), make_policy(name)
    for step in range(600):
        policy.decide(host(NOW_S + 100 * step, (8 + step % 7) * GIB))
    restored.restore(json.loads(json.dumps(policy.snapshot())))
    for step in range(600, 1200):
        sample = host(NOW_S + 100 * step, (8 + step % 11) * GIB)
        assert restored.decide(sample) == policy.decide(sample)


@every_policy
@pytest.mark.parametrize("damage", [{}, {"policy": "x"}, {"hosts": [1]}, {"hosts": {"h": {}}}, {"version": 99}])
def test_a_snapshot_that_does_not_fit_is_dropped(name: str, damage: dict[str, Any]) -> None:
    policy = make_policy(name)
    settle(policy, hours=2)
    policy.restore({**policy.snapshot(), **damage} if damage else {})
    fresh = make_policy(name)
    assert policy.decide(host(NOW_S, GIB)) == fresh.decide(host(NOW_S, GIB))


@every_policy
def test_ten_thousand_guests_fit_in_200_mb_and_their_decision_in_a_second(name: str) -> None:
    policy = make_policy(name)
    names = [f"guest{number}" for number in range(10_000)]

    def crowd(step: int) -> HostSample:
        at_s = NOW_S + 300 * step
        reports = tuple(GuestSample(guest, at_s, 2 * GIB, (step % 5 + 1) * 0.1 * GIB) for guest in names)
        return HostSample("h", at_s, 0.0, 0.0, reports, frozenset(names))

    tracemalloc.start()
    for step in range(3):
        policy.decide(crowd(step))
    state_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert state_bytes < 200e6 / 20
    began_s = time.process_time()
    policy.decide(crowd(3))
    assert time.process_time() - began_s < 1.0


@every_policy
def test_state_does_not_grow_with_time_at_a_short_interval(name: str) -> None:
    policy = make_policy(name)
    sizes = []
    for day in range(3):
        for step in range(4320):
            used_bytes = (30 - (step % 1250) / 50) * GIB  # slowly falling: the worst for a queue of maxima
            policy.decide(host(NOW_S + 86400 * day + 20 * step, used_bytes))
        sizes.append(len(json.dumps(policy.snapshot())))
    assert sizes[2] < sizes[1] * 1.2 + 500 and sizes[2] < 30_000
