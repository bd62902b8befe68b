"""A guest keeps running, and keeps every page, while its host moves its swap disk to remote memory and home."""

import os
import shutil
from collections.abc import Iterator

import pytest

from ramshare.messages.state import Mode
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.experiments.guest.scenario import GuestPlan, GuestRun, Stay, run_guest
from ramshare_lab.show import Show

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
    pytest.mark.skipif(shutil.which("linux.uml") is None, reason="not installed: linux.uml (user-mode-linux)"),
]

LONGEST_STALL_S = 20.0
"""Of the guest's accesses while its disk moves. 1 to 4 s were seen on two cores that others kept busy too."""


class Printed(Show):
    """Tells the stages to whoever reads the test's output."""

    def stage(self, title: str) -> None:
        print(title)

    def progress(self, done: float, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        print(text)


PLAN = GuestPlan(modes=(Mode.MOVE,), seconds=4.0)


@pytest.fixture(scope="module")
def run() -> Iterator[GuestRun]:
    with Lab(PLAN.lab("tguest"), print) as lab:
        yield run_guest(lab, PLAN, Printed())


@pytest.fixture
def stay(run: GuestRun) -> Stay:
    return run.stays[Mode.MOVE]


def test_no_page_of_the_guest_is_lost_stale_or_mixed_up(run: GuestRun, stay: Stay) -> None:
    assert run.bad_pages == 0
    assert stay.out.bad_pages == stay.home.bad_pages == 0


def test_the_guest_is_never_restarted_and_its_clock_covers_the_journey(run: GuestRun, stay: Stay) -> None:
    assert len(run.boot_ids) == 1
    assert run.uptime_s > stay.out.seconds + stay.home.seconds


def test_the_guest_goes_on_while_its_disk_moves(run: GuestRun, stay: Stay) -> None:
    print(f"longest stall out {stay.out.stall_s:.2f} s, home {stay.home.stall_s:.2f} s; gap {run.longest_gap_s:.2f} s")
    for passage in (stay.out, stay.home):
        assert passage.accesses > 200
        assert passage.stall_s < LONGEST_STALL_S


def test_every_page_of_the_disk_was_on_both_lenders_and_nowhere_else(stay: Stay) -> None:
    lenders = sorted(place.split()[0] for place in stay.placement)
    assert lenders == ["lender.hosta", "lender.hostb"]
    assert sum(int(place.split()[2]) for place in stay.placement) == stay.remote_bytes == PLAN.swap_bytes


def test_the_guest_was_really_served_from_the_leases(stay: Stay) -> None:
    assert stay.read_from_leases_bytes >= 4096  # on a busy machine the guest gets to few pages
