"""A step says all about itself: who applies it, what is told of it, when to look again."""

import inspect
from typing import get_args

import pytest

from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.step import WORKING_S, AnyStep, Leaving
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

APPLIERS = [set(get_args(union)) for union in (s.BusStep, s.MachineStep, s.NoStep)]
ALL = [found for _, found in inspect.getmembers(s, inspect.isclass) if issubclass(found, AnyStep)]
LEAVING = (Leaving("l1", "lender.x", "/dev/sda"), Leaving("l2", "lender.y", "/dev/sdb"))


@pytest.mark.parametrize("step", [found for found in ALL if found not in (AnyStep, s.Done)])
def test_every_step_is_applied_by_the_bus_by_the_machine_or_by_nobody(step: type[AnyStep]) -> None:
    assert sum(step in some for some in APPLIERS) == 1


def test_what_is_applied_by_others_is_not_looked_for_before_they_had_time() -> None:
    for step in (s.AskForMemory, s.Release, s.SplitLeg, s.CutOffLeases, s.Wait):
        assert step.look_again_s >= WORKING_S


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (s.AskForMemory(600 << 20, ("lender.x",)), "ask the manager for 600 MiB"),
        (s.Login("l1"), "log in to lease l1"),
        (s.StartMove("/dev/vda", ("/dev/sda", "/dev/sdb")), "move the pages from /dev/vda to /dev/sda, /dev/sdb"),
        (s.CutOffLeases(LEAVING), "cut off l1, l2: every page is in another place too"),
        (s.DropFailedLeg(()), "clean up after lost memory (none known)"),
        (s.Wait("coming home {}, 3 %", 3.0), "coming home {}, 3 %"),
        (s.Attached(Mode.MOVE, 2), "attached by move to 2 lease(s)"),
    ],
)
def test_a_step_reads_as_a_sentence_with_its_own_figures(step: s.Step, sentence: str) -> None:
    assert str(step) == sentence


def test_two_steps_of_the_same_figures_are_the_same_step_and_none_can_be_changed() -> None:
    assert s.Login("l1") == s.Login("l1") != s.Login("l2")
    assert s.SplitLeg(("/dev/sda",), LEAVING) == s.SplitLeg(("/dev/sda",)), "who leaves is no part of it"
    with pytest.raises(AttributeError):
        s.Login("l1").lease = "l2"  # type: ignore[misc]


def test_a_step_names_the_leases_that_it_is_about_and_gives_back() -> None:
    assert (s.Join("l1", "/dev/sda").about_lease, s.FreeHome().about_lease) == ("l1", None)
    assert s.CutOffLeases(LEAVING).given_back == s.SplitLeg((), LEAVING).given_back == LEAVING
    assert s.Login("l1").given_back == ()


def test_progress_is_that_of_the_wait_and_whole_at_the_end() -> None:
    assert [step.progress_percent for step in (s.Login("l1"), s.Wait("x", 40.0), s.AtHome())] == [0.0, 40.0, 100.0]
