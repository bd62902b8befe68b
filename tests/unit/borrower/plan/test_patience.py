"""What cannot be done is given up after a bounded number of tries or minutes, on the way out only."""

from dataclasses import replace

import pytest

from kit.borrowing_host import Host
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.patience import STUCK_MOST_S, TRIES_MOST, gives_up
from ramshare.borrower.plan.view import Goal
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

OUT = Host(4, goal=Goal.ATTACHED, mode=Mode.MOVE, tagged=True, capacity=9).view()
HOME = OUT.local_devices[0]


@pytest.mark.parametrize(
    "step",
    [
        s.Join("l1", "/dev/sdc"),
        s.StartMirror(("/dev/sdc",)),
        s.PreferRemote((HOME,)),
        s.StartMove(HOME, ("/dev/sdc",)),
        s.ReserveHome((HOME,), 4),
        s.FreeHome(),
    ],
)
def test_a_step_that_leads_out_is_tried_so_often_and_no_more(step: s.Step) -> None:
    assert not gives_up(OUT, step, TRIES_MOST - 1, 0.0)
    assert gives_up(OUT, step, TRIES_MOST, 0.0)
    assert not gives_up(replace(OUT, goal=Goal.HOME), step, 1000, 0.0)


@pytest.mark.parametrize(
    "step", [s.StartMove("/dev/sdc", (HOME,)), s.DropFailedLeg(("l1",)), s.WriteOff(("l1",)), s.Leave("l1", "/dev/sdc")]
)
def test_what_brings_pages_home_or_cleans_up_is_tried_for_ever(step: s.Step) -> None:
    assert not gives_up(OUT, step, 1000, 0.0)


def test_a_wait_that_nothing_here_will_end_is_given_up_but_no_other() -> None:
    assert gives_up(OUT, s.Wait("no disk yet", 0.0, stuck=True), 0, STUCK_MOST_S)
    assert not gives_up(OUT, s.Wait("no disk yet", 0.0, stuck=True), 0, STUCK_MOST_S - 1)
    assert not gives_up(OUT, s.Wait("synchronising, 3 %", 3.0), 0, 1e6)
