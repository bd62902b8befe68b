"""What is said of a volume and its leases."""

from dataclasses import replace

import pytest

from kit.borrowing_host import Host
from ramshare.borrower.plan.steps import AskForMemory, AtHome, Attached, Step, Wait
from ramshare.borrower.plan.view import Goal
from ramshare.borrower.publish import states
from ramshare.messages.state import Mode, Volume, VolumePhase

pytestmark = pytest.mark.unit

ATTACHED = Host(4, goal=Goal.ATTACHED, mode=Mode.MOVE, tagged=True).view()
DONE = Attached(Mode.MOVE, 2)


def told(idle: bool, step: Step = DONE, goal: Goal = Goal.ATTACHED) -> str:
    volume = states(replace(ATTACHED, idle=idle, goal=goal), step, "", {})["volume/vg0/swap"]
    assert isinstance(volume, Volume)
    return volume.step


def test_a_volume_is_not_called_attached_without_a_word_when_its_swap_is_off() -> None:
    assert told(idle=True).startswith("attached by move to 2 lease(s), but nobody swaps to it: ")
    assert "swapon /dev/vg0/swap" in told(idle=True)


def test_nothing_is_added_of_one_that_is_in_use_or_at_home_or_on_its_way() -> None:
    assert told(idle=False) == str(DONE)
    assert told(idle=True, step=AtHome(), goal=Goal.HOME) == "at home"
    assert told(idle=True, step=Wait("synchronising", 3.0)) == "synchronising"


def test_a_pair_that_found_no_second_lender_is_attached_and_says_as_what() -> None:
    asks = AskForMemory(4, leg=2, note="a mirror until a second lender can be had")
    volume = states(ATTACHED, asks, "the cluster can lend 0 MiB now", {})["volume/vg0/swap"]
    assert isinstance(volume, Volume)
    assert volume.phase is VolumePhase.ATTACHED
    assert volume.step == "a mirror until a second lender can be had: the cluster can lend 0 MiB now"
