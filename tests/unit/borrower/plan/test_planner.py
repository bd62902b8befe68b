"""The borrower's plan, proved on a model of its host: whatever happens, it ends, and nothing is lost on the way."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kit.borrowing_host import LOCAL, Host
from kit.plan_runs import kinds, run_to_end
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.view import Goal, Layout, Link
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

MODES = (Mode.MIRROR, Mode.MOVE)
"""A pair has a plan and a model of its own (`test_pair_plan.py`)."""
BOUND = 150
"""Steps and waits within which any plan must end once nothing happens any more; the longest seen is 50."""


def run(host: Host, most: int = BOUND) -> list[s.Step]:
    return run_to_end(host, most)


def attached(size: int, mode: Mode, largest: int = 3, *, encrypt: bool = True) -> Host:
    """Return a host whose volume is attached and at rest."""
    host = Host(size, goal=Goal.ATTACHED, mode=mode, tagged=True, capacity=100, largest=largest, encrypt=encrypt)
    run(host)
    return host


class Life(RuleBasedStateMachine):
    """Steps of the plan, mixed with everything that may befall a borrower's host."""

    @initialize(
        size=st.integers(1, 6),
        mode=st.sampled_from(MODES),
        largest=st.integers(1, 6),
        encrypt=st.booleans(),
        part=st.integers(0, 5),
    )
    def begin(self, size: int, mode: Mode, largest: int, part: int, *, encrypt: bool) -> None:
        self.host = Host(
            size, goal=Goal.ATTACHED, mode=mode, tagged=True, capacity=20, largest=largest, encrypt=encrypt
        )
        self.host.part = part if mode is Mode.MOVE and part < size else 0
        self.ever_moved = mode is Mode.MOVE

    @rule(number=st.integers(1, 8))
    def work(self, number: int) -> None:
        for _ in range(number):
            self.host.apply(next_step(self.host.view()))
            self.host.tick()

    @rule(kind=st.sampled_from([s.StartMove, s.StartMirror, s.FreeHome, s.ReserveHome, s.Join, s.Leave, s.Logout]))
    def work_until_just_after(self, kind: type[s.Step]) -> None:
        """Faults are most interesting in the middle of a copy or a handover."""
        for _ in range(12):
            step = next_step(self.host.view())
            self.host.apply(step)
            if isinstance(step, kind):
                return
            self.host.tick()

    @rule()
    def one_step_without_time(self) -> None:
        self.host.apply(next_step(self.host.view()))

    @rule()
    def time_passes(self) -> None:
        self.host.tick()

    @rule()
    def the_agent_crashes(self) -> None:
        self.host.crash_agent()

    @rule()
    def the_agent_crashes_before_it_encrypts(self) -> None:
        self.host.crash_agent_before_encryption()

    @rule()
    def the_host_reboots(self) -> None:
        self.host.reboot()

    @precondition(lambda self: self.host.leases)
    @rule(data=st.data())
    def a_lender_dies(self, data: st.DataObject) -> None:
        self.host.kill(data.draw(st.sampled_from(sorted(self.host.leases))))

    @precondition(lambda self: self.host.leases)
    @rule(data=st.data())
    def a_lender_is_cut_off(self, data: st.DataObject) -> None:
        self.host.cut(data.draw(st.sampled_from(sorted(self.host.leases))))

    @precondition(lambda self: self.host.leases)
    @rule(data=st.data())
    def a_lender_is_back(self, data: st.DataObject) -> None:
        self.host.mend(data.draw(st.sampled_from(sorted(self.host.leases))))

    @precondition(lambda self: self.host.leases)
    @rule(data=st.data())
    def leases_are_called_back(self, data: st.DataObject) -> None:
        names = sorted(self.host.leases)
        self.host.vacate |= data.draw(st.sets(st.sampled_from(names), min_size=1))

    @rule()
    def the_operator_wants_it_home(self) -> None:
        self.host.goal = Goal.HOME

    @rule(mode=st.sampled_from(MODES))
    def the_operator_wants_it_out(self, mode: Mode) -> None:
        self.host.encrypt = not self.host.encrypt
        self.host.goal, self.host.mode, self.host.tagged = Goal.ATTACHED, mode, True
        self.ever_moved |= mode is Mode.MOVE

    @rule(capacity=st.integers(0, 20))
    def the_cluster_has_other_memory(self, capacity: int) -> None:
        self.host.capacity = capacity

    @rule()
    def the_agent_may_ask_again(self) -> None:
        self.host.nothing_to_borrow = self.host.asked_in_vain = False

    @rule()
    def the_agent_has_asked_in_vain_for_long(self) -> None:
        self.host.asked_in_vain = self.host.nothing_to_borrow

    @invariant()
    def a_mirrored_volume_is_whole_at_home(self) -> None:
        if hasattr(self, "host") and not self.ever_moved:
            assert set(self.host.pages) == {LOCAL}
            assert not self.host.lost_pages

    def teardown(self) -> None:
        if not hasattr(self, "host"):
            return
        host = self.host
        for lease in list(host.leases):
            host.mend(lease)
        before = set(host.released)
        wanted_back = set(host.vacate)
        host.capacity, host.nothing_to_borrow, host.asked_in_vain = 0, False, False
        run(host)
        assert wanted_back <= set(host.released) - before, "a lease that was called back is still held"
        host.capacity, host.nothing_to_borrow, host.asked_in_vain = 1000, False, False
        run(host)
        self.at_rest(host)
        host.goal = Goal.HOME
        run(host)
        self.at_home(host)

    def at_rest(self, host: Host) -> None:
        view = host.view()
        assert all(lease.link is Link.UP and not lease.lost for lease in view.leases)
        if host.goal is Goal.HOME:
            self.at_home(host)
        elif host.mode is Mode.MIRROR:
            assert (view.layout, view.local_bytes, view.reserved_bytes) == (Layout.RAID1, host.size, 0)
            assert view.write_mostly
        else:
            assert (view.layout, view.remote_bytes, view.reserved_bytes) == (
                Layout.LINEAR,
                view.wanted_bytes,
                view.wanted_bytes,
            )

    def at_home(self, host: Host) -> None:
        assert (host.leases, host.reserved, host.tagged, host.leg) == ({}, 0, False, None)
        assert set(host.pages) == {LOCAL}


Life.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


# ---- and in words


def test_a_move_out_over_two_lenders_and_home_again() -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=Mode.MOVE, tagged=True, capacity=10, largest=2)
    assert kinds(run(host)) == ["AskForMemory", "Login", "Join", "StartMove", "ReserveHome", "Attached"]
    assert sorted(host.pages) == ["l1", "l1", "l2", "l2"]
    host.goal = Goal.HOME
    assert kinds(run(host)) == [
        "FreeHome",
        "StartMove",
        "Leave",
        "Logout",
        "Release",
        "Forget",
        "AtHome",
    ]


def test_a_mirror_over_two_lenders_and_home_again_without_a_copy() -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=Mode.MIRROR, tagged=True, capacity=10, largest=2)
    assert kinds(run(host)) == ["AskForMemory", "Login", "Join", "StartMirror", "PreferRemote", "Attached"]
    host.goal = Goal.HOME
    assert kinds(run(host)) == ["SplitLeg", "Release", "Forget", "AtHome"]


def test_a_moved_lease_that_is_called_back_goes_straight_to_another_one() -> None:
    host = attached(4, Mode.MOVE, largest=2)
    host.vacate = {"l1"}
    steps = run(host)
    assert kinds(steps) == ["AskForMemory", "Login", "Join", "StartMove", "Leave", "Logout", "Release", "Attached"]
    ask = steps[0]
    assert ask == s.AskForMemory(2, ("lender.of-l1",))
    assert set(host.pages) == {"l2", "l3"}
    assert host.reserved == 4


def test_a_part_of_a_volume_lies_on_leases_its_first_pages_and_the_rest_stays_at_home() -> None:
    host = Host(5, goal=Goal.ATTACHED, mode=Mode.MOVE, part=3, tagged=True, capacity=9, largest=2)
    steps = run(host)
    assert steps[0] == s.AskForMemory(3)
    assert host.pages == ["l1", "l1", "l2", LOCAL, LOCAL]
    assert host.reserved == 3
    assert steps[-1] == s.Attached(Mode.MOVE, 2, ", 0 of its 0 MiB; the rest is at home")


def test_a_part_comes_home_to_its_place() -> None:
    host = Host(5, goal=Goal.ATTACHED, mode=Mode.MOVE, part=3, tagged=True, capacity=9, largest=2)
    run(host)
    host.goal = Goal.HOME
    run(host)
    assert host.pages == [LOCAL] * 5
    assert not host.leases
    assert host.reserved == 0


def test_a_part_whose_lease_is_called_back_goes_to_another_lease_and_stays_as_large() -> None:
    host = Host(5, goal=Goal.ATTACHED, mode=Mode.MOVE, part=3, tagged=True, capacity=9, largest=3)
    run(host)
    host.vacate = {"l1"}
    run(host)
    assert host.pages == ["l2", "l2", "l2", LOCAL, LOCAL]


def test_a_part_that_had_to_come_home_in_part_is_made_up_again_when_there_is_memory() -> None:
    host = Host(5, goal=Goal.ATTACHED, mode=Mode.MOVE, part=4, tagged=True, capacity=4, largest=2)
    run(host)
    host.vacate = {"l1"}
    run(host)
    assert host.pages == [LOCAL, LOCAL, "l2", "l2", LOCAL]
    host.capacity, host.nothing_to_borrow = 10, False
    run(host)
    assert host.pages == ["l3", "l3", "l2", "l2", LOCAL]


def test_a_moved_lease_that_is_called_back_comes_home_if_there_is_no_other() -> None:
    host = attached(4, Mode.MOVE, largest=2)
    host.vacate, host.capacity = {"l1"}, 0
    steps = run(host)
    assert kinds(steps) == [
        "AskForMemory",
        "FreeHome",
        "StartMove",
        "Leave",
        "Logout",
        "Release",
        "ReserveHome",
        "AskForMemory",
    ]
    assert sorted(host.pages) == ["l2", "l2", LOCAL, LOCAL]
    assert host.reserved == 2
    host.capacity, host.nothing_to_borrow = 10, False
    run(host)
    assert set(host.pages) == {"l2", "l3"}
    assert host.reserved == 4


def test_a_mirror_of_which_one_lease_is_called_back_is_mirrored_again_with_another() -> None:
    host = attached(4, Mode.MIRROR, largest=2)
    host.vacate = {"l2"}
    steps = run(host)
    assert kinds(steps)[:3] == ["CutOffLeases", "DropFailedLeg", "Release"]
    assert kinds(steps)[3:] == ["AskForMemory", "Login", "Join", "StartMirror", "PreferRemote", "Attached"]
    assert host.released == ["l2"]
    assert set(host.leg or ()) == {"l1", "l3"}


def test_a_mirror_that_lost_a_lender_is_cleaned_up_and_mirrored_again() -> None:
    host = attached(4, Mode.MIRROR, largest=2)
    host.kill("l1")
    assert kinds(run(host))[0] == "DropFailedLeg"
    assert "l1" not in host.leases
    assert len(host.leg or ()) == 4
    assert not host.lost_pages


def test_a_lease_that_is_called_back_unused_does_not_disturb_the_mirror() -> None:
    host = attached(4, Mode.MIRROR, largest=4)
    host._ask(2)
    run(host)
    host.vacate = {"l2"}
    assert "SplitLeg" not in kinds(run(host))
    assert host.released == ["l2"]


def test_leases_that_are_too_few_go_back_after_a_while_and_the_whole_is_asked_for() -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=Mode.MIRROR, tagged=True, capacity=2, largest=2)
    host._ask(2)
    run(host)
    assert len(host.leases) == 1
    host.asked_in_vain = True
    host.apply(next_step(host.view()))
    while host.leases:
        host.apply(next_step(host.view()))
    assert next_step(host.view()) == s.AskForMemory(4)


def test_the_operator_changes_his_mind_in_the_middle_of_a_move() -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=Mode.MOVE, tagged=True, capacity=10, largest=4)
    while host.move is None:
        host.apply(next_step(host.view()))
    host.goal = Goal.HOME
    assert kinds(run(host))[0] == "AbortMove"


def test_a_lender_that_dies_in_the_middle_of_a_move_out_costs_nothing() -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=Mode.MOVE, tagged=True, capacity=4, largest=4)
    while host.move is None:
        host.apply(next_step(host.view()))
    host.kill("l1")
    assert kinds(run(host))[0] == "RescueMove"
    assert set(host.pages) == {LOCAL}
    assert not host.lost_pages


def test_a_lender_that_dies_with_the_only_copy_is_written_off_by_name() -> None:
    host = attached(4, Mode.MOVE, largest=2)
    host.kill("l1")
    steps = run(host)
    assert steps[:2] == [s.TellLoss(("l1",)), s.WriteOff(("l1",))]
    assert len(host.lost_pages) == 2


def test_a_rebooted_host_logs_in_again_to_what_holds_its_pages_in_the_clear() -> None:
    host = attached(4, Mode.MOVE, largest=2, encrypt=False)
    host.reboot()
    assert kinds(run(host)) == ["Login", "Attached"]


def test_a_rebooted_host_writes_off_what_it_has_no_key_of_any_more() -> None:
    host = attached(4, Mode.MOVE, largest=2)
    host.reboot()
    steps = run(host)
    assert kinds(steps)[:2] == ["TellLoss", "WriteOff"]
    assert set(host.released) == {"l1", "l2"}


def test_a_rebooted_hosts_mirror_drops_the_leg_without_its_key_and_gets_another() -> None:
    host = attached(4, Mode.MIRROR, largest=2)
    host.reboot()
    assert kinds(run(host))[:2] == ["DropFailedLeg", "Release"]
    assert not host.lost_pages
    assert set(host.pages) == {LOCAL}


def test_an_agent_that_died_between_login_and_encryption_goes_on_with_it() -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=Mode.MIRROR, tagged=True, capacity=10, largest=4)
    while not any(lent.session for lent in host.leases.values()):
        host.apply(next_step(host.view()))
    host.crash_agent_before_encryption()
    assert kinds(run(host))[:2] == ["Login", "Join"]


def test_a_network_that_is_down_for_a_while_is_waited_for_in_a_move() -> None:
    host = attached(4, Mode.MOVE, largest=4)
    host.cut("l1")
    assert isinstance(next_step(host.view()), s.Wait)
    host.mend("l1")
    assert isinstance(next_step(host.view()), s.Done)


def test_a_move_is_not_undone_if_pages_lie_on_another_dead_lease_too() -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=Mode.MOVE, tagged=True, capacity=4, largest=2)
    while host.move is None:
        host.apply(next_step(host.view()))
    host.move.targets = {2: "l2", 3: "l2"}
    host.pages = ["l1", "l1", LOCAL, LOCAL]
    host.kill("l1")
    host.kill("l2")
    assert next_step(host.view()) == s.TellLoss(("l1", "l2"))
    host.apply(s.TellLoss(("l1", "l2")))
    assert next_step(host.view()) == s.WriteOff(("l1", "l2"))


def test_a_loss_that_grew_is_told_again_before_pages_are_written_off() -> None:
    host = attached(4, Mode.MOVE, largest=2)
    host.kill("l1")
    host.apply(next_step(host.view()))
    host.kill("l2")
    assert next_step(host.view()) == s.TellLoss(("l1", "l2"))


def test_a_dead_lease_that_a_move_does_not_need_waits_until_the_move_is_over() -> None:
    host = Host(2, goal=Goal.ATTACHED, mode=Mode.MOVE, tagged=True, capacity=4, largest=2)
    host._ask(4)
    while host.move is None:
        host.apply(next_step(host.view()))
    host.kill("l2")
    assert isinstance(next_step(host.view()), s.Wait)
    host.move = None
    assert next_step(host.view()) == s.DropFailedLeg(("l2",))


def test_pages_are_not_sent_to_a_lease_whose_session_is_down() -> None:
    host = attached(4, Mode.MOVE, largest=2)
    host._ask(2)
    run(host)
    host.pages, host.vacate = ["l1", "l2", "l2", "l3"], {"l2"}
    host.cut("l1")
    host.capacity = 0
    host.apply(next_step(host.view()))
    assert host.nothing_to_borrow
    assert isinstance(next_step(host.view()), s.FreeHome), "l3 alone has no room, l1 does not answer"


def test_a_reservation_that_nothing_needs_is_given_up() -> None:
    view = replace(Host(4, tagged=True).view(), reserved_bytes=4)
    assert isinstance(next_step(view), s.FreeHome)
    linear = replace(attached(4, Mode.MIRROR).view(), layout=Layout.LINEAR, reserved_bytes=4)
    empty = replace(linear, leases=tuple(replace(lease, used_bytes=0) for lease in linear.leases))
    assert isinstance(next_step(empty), s.FreeHome)


def test_a_failing_local_disk_stops_everything_that_could_cost_the_remote_copy() -> None:
    view = replace(attached(4, Mode.MIRROR).view(), degraded=True, local_failed=True)
    for goal in Goal:
        assert isinstance(next_step(replace(view, goal=goal)), s.Wait)


def test_a_volume_that_is_raid1_by_itself_is_left_alone() -> None:
    host = Host(4)
    view = replace(host.view(), layout=Layout.RAID1)
    assert isinstance(next_step(view), s.Done)
    assert isinstance(next_step(replace(view, goal=Goal.ATTACHED)), s.Wait)


@pytest.mark.parametrize("mode", [Mode.MIRROR, Mode.MOVE])
def test_every_step_reads_as_a_sentence(mode: Mode) -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=mode, tagged=True, capacity=9, largest=2)
    steps = run(host)
    host.goal = Goal.HOME
    for step in [
        *steps,
        *run(host),
        s.RescueMove(("l1",)),
        s.TellLoss(("l1",)),
        s.WriteOff(("l1",)),
        s.DropFailedLeg(()),
        s.AbortMove(),
    ]:
        assert str(step)
        assert "(" not in str(step).split()[0], f"{step!r} has no sentence"
