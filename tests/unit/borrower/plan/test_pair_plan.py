"""The plan of a pair on a model of its host: no page is lost but with the last good leg, whatever is interrupted."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kit.borrowing_host import LOCAL
from kit.pair_host import PairHost, at_rest
from kit.plan_runs import kinds, run_to_end
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.pair import not_convertible
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.view import Goal, Layout
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

BOUND = 200


def run(host: PairHost, most: int = BOUND) -> list[s.Step]:
    return run_to_end(host, most)


def attached(size: int = 4, largest: int = 4, *, encrypt: bool = True) -> PairHost:
    host = PairHost(size, goal=Goal.ATTACHED, tagged=True, largest=largest, encrypt=encrypt)
    run(host)
    assert at_rest(host)
    return host


def lease_of_leg(host: PairHost, leg: int) -> str:
    return next(lease for lease in host.leases if host.leg_of(lease) == leg)


def test_the_way_there_and_home_adds_a_leg_before_one_goes() -> None:
    host = PairHost(4, goal=Goal.ATTACHED, tagged=True, largest=2)
    assert kinds(run(host)) == [
        *("AskForMemory", "Login", "Join", "StartMirror"),
        *("AskForMemory", "Login", "Join", "StartMirror"),
        *("SplitLeg", "ReserveHome", "Attached"),
    ]
    assert at_rest(host)
    host.goal = Goal.HOME
    assert kinds(run(host)) == ["FreeHome", "StartMirror", "SplitLeg", "Release", "Forget", "AtHome"]
    assert (host.places(), host.leases) == ([[LOCAL] * 4], {})


@pytest.mark.parametrize("leg", [1, 2])
def test_a_dead_leg_is_dropped_at_once_and_comes_from_another_lender(leg: int) -> None:
    host = attached()
    dead, other = lease_of_leg(host, leg), lease_of_leg(host, 3 - leg)
    host.kill(dead)
    steps = run(host)
    assert kinds(steps)[0] == "DropFailedLeg"
    assert at_rest(host)
    asked = next(step for step in steps if isinstance(step, s.AskForMemory))
    assert (asked.leg, f"lender.of-{other}" in asked.exclude) == (leg, True)
    assert not host.lost_pages
    assert LOCAL not in {place for places in host.places() for place in places}


def test_without_another_lender_the_local_disk_stands_in_until_one_comes_back() -> None:
    host = attached()
    host.lenders = {1: 0, 2: 0}
    host.kill(lease_of_leg(host, 2))
    steps = run(host)
    assert host.where == [{"1"}, {LOCAL}]
    assert host.write_mostly, "reads come from remote memory"
    assert host.reserved == 0
    assert isinstance(steps[-1], s.AskForMemory), "it goes on asking"
    assert steps[-1].note == "a mirror until a second lender can be had"
    host.lenders, host.nothing_to_borrow = {1: 0, 2: 4}, False
    run(host)
    assert at_rest(host)


@pytest.mark.parametrize("leg", [1, 2])
def test_a_lender_that_wants_its_leg_back_has_it_at_once(leg: int) -> None:
    host = attached()
    wanted = lease_of_leg(host, leg)
    host.vacate = {wanted}
    step = next_step(host.view())
    assert isinstance(step, s.CutOffLeases)
    assert [goes.lease for goes in step.given_back] == [wanted]
    run(host)
    assert at_rest(host)


def test_two_lenders_that_want_both_legs_wait_for_another_copy() -> None:
    host = attached()
    old = set(host.leases)
    host.vacate = set(old)
    steps = run(host)
    assert kinds(steps)[:4] == ["AskForMemory", "Login", "Join", "StartMirror"]
    assert at_rest(host)
    assert not old & set(host.leases)


def test_the_last_copy_goes_home_where_nobody_else_lends_and_the_lender_hears_how_far_it_is() -> None:
    host = attached()
    host.lenders = {1: 0, 2: 0}
    host.vacate = set(host.leases)
    steps = run(host)
    waits = [step for step in steps if isinstance(step, s.Wait)]
    assert any("synchronising" in str(step) and step.percent for step in waits)
    assert (host.places(), host.leases) == ([[LOCAL] * 4], {})


def test_two_lenders_dead_at_once_are_told_by_name_and_the_volume_lives_on() -> None:
    host = attached()
    dead = set(host.leases)
    for lease in dead:
        host.leases[lease].alive = host.leases[lease].granted = host.leases[lease].node = False
        host.leases[lease].session = False
    steps = run(host)
    told = next(step for step in steps if isinstance(step, s.TellLoss))
    assert set(told.leases) == dead
    assert "WriteOff" in kinds(steps)
    assert at_rest(host), "it is attached again, to others"


def test_a_reset_host_logs_in_again_before_it_says_that_anything_is_lost() -> None:
    host = attached(encrypt=False)
    host.reboot()
    assert isinstance(next_step(host.view()), s.Login)
    run(host)
    assert not host.told_lost


def test_only_whole_legs_are_dropped_though_one_lease_of_it_is_called_back() -> None:
    host = attached(4, largest=2)
    wanted = lease_of_leg(host, 1)
    host.vacate = {wanted}
    run(host)
    assert at_rest(host)
    assert wanted in host.released


class Life(RuleBasedStateMachine):
    """Steps of the plan, mixed with everything that may befall a pair but the death of its last good leg."""

    @initialize(size=st.integers(1, 5), largest=st.integers(1, 5))
    def begin(self, size: int, largest: int) -> None:
        self.host = PairHost(size, goal=Goal.ATTACHED, tagged=True, largest=largest)

    @rule(number=st.integers(1, 8))
    def work(self, number: int) -> None:
        for _ in range(number):
            self.host.apply(next_step(self.host.view()))
            self.host.tick()

    @rule()
    def one_step_without_time(self) -> None:
        self.host.apply(next_step(self.host.view()))

    @rule(kind=st.sampled_from([s.StartMirror, s.SplitLeg, s.FreeHome, s.ReserveHome, s.CutOffLeases, s.DropFailedLeg]))
    def work_until_just_after(self, kind: type[s.Step]) -> None:
        for _ in range(14):
            step = next_step(self.host.view())
            self.host.apply(step)
            if isinstance(step, kind):
                return
            self.host.tick()

    @rule()
    def the_agent_crashes(self) -> None:
        self.host.crash_agent()

    @precondition(lambda self: self.host.leases)
    @rule(data=st.data(), how=st.sampled_from(["kill", "cut"]))
    def a_lender_fails(self, data: st.DataObject, how: str) -> None:
        lease = data.draw(st.sampled_from(sorted(self.host.leases)))
        lent = self.host.leases[lease]
        before = lent.alive
        lent.alive = False
        spared = self.host.safe
        lent.alive = before
        if spared:
            self.host.kill(lease) if how == "kill" else self.host.cut(lease)

    @precondition(lambda self: self.host.leases)
    @rule(data=st.data())
    def a_lender_is_back(self, data: st.DataObject) -> None:
        self.host.mend(data.draw(st.sampled_from(sorted(self.host.leases))))

    @precondition(lambda self: self.host.leases)
    @rule(data=st.data())
    def leases_are_called_back(self, data: st.DataObject) -> None:
        self.host.vacate |= data.draw(st.sets(st.sampled_from(sorted(self.host.leases)), min_size=1))

    @rule(goal=st.sampled_from(Goal))
    def the_operator_wants(self, goal: Goal) -> None:
        self.host.goal, self.host.tagged = goal, True

    @rule(one=st.integers(0, 10), two=st.integers(0, 10))
    def the_cluster_has_other_memory(self, one: int, two: int) -> None:
        self.host.lenders = {1: one, 2: two}

    @rule()
    def the_agent_may_ask_again(self) -> None:
        self.host.nothing_to_borrow = self.host.asked_in_vain = False

    @invariant()
    def no_page_is_lost(self) -> None:
        if hasattr(self, "host"):
            assert self.host.safe
            assert not self.host.told_lost

    def teardown(self) -> None:
        if not hasattr(self, "host"):
            return
        host = self.host
        for lease in list(host.leases):
            host.mend(lease)
        host.lenders, host.nothing_to_borrow, host.asked_in_vain = {1: 1000, 2: 1000}, False, False
        run(host)
        assert at_rest(host) if host.goal is Goal.ATTACHED else not host.leases, host.view()
        host.goal = Goal.HOME
        run(host)
        assert (host.leases, host.reserved, host.tagged, host.copies) == ({}, 0, False, [])
        assert set(host.pages) == {LOCAL}


Life.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


def test_a_moved_volume_becomes_a_pair_by_a_second_leg_only() -> None:
    host = attached()
    host.copies, host.pages = [], host.copies[0].places
    host.leases.pop(lease_of_leg(host, 2))
    host.leases["l1"] = host.leases.pop(lease_of_leg(host, 1))
    host.leases["l1"].lease = "l1"
    host.pages = ["l1"] * 4
    assert host.view().layout is Layout.LINEAR
    assert kinds(run(host)) == ["AskForMemory", "Login", "Join", "StartMirror", "Attached"]


def test_a_mirror_becomes_a_pair_by_a_second_leg_and_gives_up_the_local_one() -> None:
    host = attached()
    host.copies[1].places = [LOCAL] * 4
    host.reserved = 0
    host.leases.pop(lease_of_leg(host, 2))
    assert host.mode is Mode.PAIR
    assert kinds(run(host)) == ["AskForMemory", "Login", "Join", "StartMirror", "SplitLeg", "ReserveHome", "Attached"]


def test_a_pair_becomes_a_mirror_whose_local_leg_is_whole_before_the_second_lender_goes() -> None:
    host = attached()
    kept, gone = lease_of_leg(host, 1), lease_of_leg(host, 2)
    host.mode = Mode.MIRROR
    assert kinds(run(host)) == ["FreeHome", "StartMirror", "SplitLeg", "Release", "PreferRemote", "Attached"]
    assert host.where == [{"1"}, {LOCAL}]
    assert (host.write_mostly, set(host.leases), host.released) == (True, {kept}, [gone])


def test_what_cannot_go_over_to_another_mode_is_refused_with_what_to_do() -> None:
    pair = attached().view()
    assert not not_convertible(pair, Mode.MIRROR)
    assert "return it first" in not_convertible(pair, Mode.MOVE)
    moved = replace(pair, mode=Mode.MOVE, layout=Layout.LINEAR, legs=())
    assert not not_convertible(moved, Mode.PAIR)
    assert not_convertible(replace(moved, degraded=True), Mode.PAIR)
    assert not not_convertible(replace(pair, mode=Mode.MIRROR), Mode.PAIR)
    assert "return it first" in not_convertible(replace(pair, mode=Mode.MIRROR), Mode.MOVE)


def test_a_leg_that_was_replaced_for_a_lender_whose_word_a_crash_forgot_is_not_kept_twice() -> None:
    host = attached()
    host.vacate = set(host.leases)
    while len(host.copies) < 3 or host.copies[2].sync < 100.0:
        host.apply(next_step(host.view()))
        host.tick()
    host.crash_agent()
    run(host)
    assert at_rest(host)
    assert len(host.leases) == 2
