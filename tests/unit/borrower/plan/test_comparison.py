"""A loan that is to be kept only if it helps is measured before anything of the volume is put on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.borrowing_host import Host
from kit.pair_host import PairHost
from kit.plan_runs import kinds, run_to_end
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.comparison import Comparison
from ramshare.borrower.plan.patience import gives_up
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.view import Goal
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit


def host(mode: Mode, **about: float) -> Host:
    asked = Host(4, goal=Goal.ATTACHED, mode=mode, tagged=True, capacity=9, only_if_faster=True)
    for name, value in about.items():
        setattr(asked, name, value)
    return asked


@pytest.mark.parametrize("mode", [Mode.MOVE, Mode.MIRROR])
def test_every_lease_is_measured_before_it_joins_the_group(mode: Mode) -> None:
    steps = run_to_end(host(mode), 60)
    joined = [step.lease for step in steps if isinstance(step, s.Join)]
    assert joined
    for lease in joined:
        before: list[s.Step] = [step for step in steps if isinstance(step, s.Compare | s.Join) and step.lease == lease]
        assert kinds(before) == ["Compare", "Join"]
    assert isinstance(steps[-1], s.Attached)


@pytest.mark.parametrize("mode", [Mode.MOVE, Mode.MIRROR])
def test_what_is_not_twice_as_fast_is_given_up_at_once_with_both_figures(mode: Mode) -> None:
    slow = host(mode, lease_read_s=0.0012, home_read_s=0.002)
    for _ in range(20):
        step = next_step(slow.view())
        if isinstance(step, s.Wait) and step.hopeless:
            break
        slow.apply(step)
    assert isinstance(step, s.Wait)
    assert gives_up(slow.view(), step, failures=0, stuck_s=0.0)
    assert "1.20 ms from it and 2.00 ms from the local disk" in str(step)
    slow.goal = Goal.HOME
    assert kinds(run_to_end(slow, 20))[-1] == "AtHome"
    assert slow.leases == {}


def test_a_pair_is_measured_before_its_first_copy_is_made() -> None:
    pair = PairHost(4, goal=Goal.ATTACHED, mode=Mode.PAIR, tagged=True, capacity=20, only_if_faster=True)
    steps = run_to_end(pair, 80)
    first = next(number for number, step in enumerate(steps) if isinstance(step, s.StartMirror))
    joined = {step.lease for step in steps[:first] if isinstance(step, s.Join)}
    assert joined
    assert {step.lease for step in steps if isinstance(step, s.Compare)} == joined


def test_a_loan_without_conditions_is_not_measured() -> None:
    asked = host(Mode.MOVE, lease_read_s=1.0)
    asked.only_if_faster = False
    assert "Compare" not in kinds(run_to_end(asked, 60))


def test_leases_that_come_later_are_taken_as_they_are_for_the_pages_lie_there_already() -> None:
    asked = host(Mode.MOVE)
    run_to_end(asked, 60)
    asked.lease_read_s = 1.0
    asked.vacate = {"l1"}
    assert "Compare" not in kinds(run_to_end(asked, 60))


def test_a_lease_that_cannot_be_read_does_not_help() -> None:
    broken = Comparison(0.0, 0.02, "cannot read /dev/sdb: Input/output error")
    assert not broken.helps
    assert "cannot read /dev/sdb" in str(broken)


@given(st.floats(1e-6, 10), st.floats(1e-6, 10))
def test_it_helps_when_it_is_twice_as_fast(lease_read_s: float, home_read_s: float) -> None:
    assert Comparison(lease_read_s, home_read_s).helps is (home_read_s >= 2 * lease_read_s)
