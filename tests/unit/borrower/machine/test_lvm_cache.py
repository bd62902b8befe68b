"""A volume at rest is planned for from LVM's last answer as long as the kernel says that nothing has changed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.borrowing_host import Host
from kit.fakes import FakeRunner
from ramshare.borrower.machine.comparisons import Comparisons
from ramshare.borrower.machine.executor import Executor
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.machine.lvm_cache import TRUSTED_S, KernelWords, LvmCache
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.machine.repair import LostLeases, Rescue
from ramshare.borrower.machine.turn import Turns
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.view import NOTHING_HEARD, Goal, Heard, VolumeView
from ramshare.linux.ballast import Ballast
from ramshare.linux.dm import Dmsetup
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm import Lvm, LvmState
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

SESSION = Session(1, "iqn.2026-11.io.ramshare:hosta.l1", "10.0.0.1:3260", "LOGGED_IN", "/dev/sda", 5, "running")
WORDS = KernelWords(
    [SESSION],
    "0 507904 raid raid1 7 0 region_size 131072 write_mostly 0 max_write_behind 64 2 254:1 254:2 254:3 254:4",
    "0 507904 raid raid1 2 AA 507904/507904 idle 0 0 -",
)
VOLUME = "vg0/swap"


def attached(mode: Mode) -> VolumeView:
    """Return the picture of a volume that is attached and at rest."""
    host = Host(4, goal=Goal.ATTACHED, mode=mode, tagged=True, capacity=100)
    while not isinstance(step := next_step(host.view()), s.Done):
        host.apply(step)
        host.tick()
    return replace(host.view(), volume=VOLUME)


MIRRORED = attached(Mode.MIRROR)
WANTED_BACK = Heard(frozenset(lease.lease for lease in MIRRORED.leases))


def known(view: VolumeView = MIRRORED, words: KernelWords = WORDS) -> LvmCache:
    """Return what is known after LVM has been asked at second 0."""
    cache = LvmCache()
    cache.note(view, next_step(view), lambda: words, 0.0)
    return cache


def plan(
    cache: LvmCache, heard: Heard = NOTHING_HEARD, words: KernelWords = WORDS, now_s: float = 30.0
) -> s.Step | None:
    found = cache.plan(VOLUME, heard, lambda: words, now_s)
    return found[1] if found else None


def test_memory_that_is_wanted_back_is_cut_off_without_asking_lvm() -> None:
    step = plan(known(), WANTED_BACK)
    assert isinstance(step, s.CutOffLeases)
    assert {goes.lease for goes in step.leaving} == WANTED_BACK.vacate


@pytest.mark.parametrize("mode", [Mode.MIRROR, Mode.MOVE])
def test_a_volume_at_rest_stays_at_rest(mode: Mode) -> None:
    assert isinstance(plan(known(attached(mode))), s.Done)


def test_pages_that_lie_on_a_lease_only_are_moved_by_what_lvm_says_now() -> None:
    moved = attached(Mode.MOVE)
    assert plan(known(moved), Heard(frozenset(lease.lease for lease in moved.leases))) is None


@pytest.mark.parametrize(
    "now",
    [
        replace(WORDS, sessions=[]),
        replace(WORDS, sessions=[replace(SESSION, state="FAILED")]),
        replace(WORDS, sessions=[replace(SESSION, device="/dev/sdb")]),
        replace(WORDS, table="0 507904 linear 254:1 0"),
        replace(WORDS, status="0 507904 raid raid1 2 DA 507904/507904 idle 0 0 -"),
        replace(WORDS, table=None, status=None),
    ],
)
def test_any_change_in_the_kernel_has_lvm_asked(now: KernelWords) -> None:
    assert plan(known(), WANTED_BACK, now) is None


def test_the_last_good_copy_is_never_cut_off() -> None:
    dead = replace(WORDS, status="0 507904 raid raid1 2 DA 507904/507904 idle 0 0 -")
    assert dead.leg_failed
    assert plan(known(words=dead), WANTED_BACK, dead) is None


def test_lvm_is_asked_again_by_and_by() -> None:
    cache = known()
    assert plan(cache, now_s=TRUSTED_S - 1) is not None
    assert plan(cache, now_s=TRUSTED_S) is None


def test_a_change_of_tags_has_lvm_asked() -> None:
    cache = known()
    cache.forget(VOLUME)
    assert plan(cache) is None


def test_the_kernel_is_asked_only_of_volumes_at_rest() -> None:
    cache = LvmCache()
    asked = []

    def words() -> KernelWords:
        asked.append(1)
        return WORDS

    cache.note(MIRRORED, s.Wait("the mirror is synchronising, 3 %", 3.0), words, 0.0)
    assert cache.plan(VOLUME, WANTED_BACK, words, 1.0) is None
    assert not asked


class Rested:
    """A look that finds the volume mirrored and at rest; counts how often LVM was asked."""

    state = LvmState()
    seen: Sequence[Session] = ()

    def __init__(self) -> None:
        self.asked: list[Heard] = []

    def look(self, volume: str, heard: Heard = NOTHING_HEARD) -> VolumeView:
        self.asked.append(heard)
        return replace(MIRRORED, heard=heard)

    def sessions(self) -> Sequence[Session]:
        return ()


def turns(look: Rested, runner: FakeRunner, directory: Path, idle: bool = False) -> Turns:
    """Return the real turns, with LVM's part taken by `look`."""
    runner.on("dmsetup", "table", "vg0-swap", stdout=str(WORDS.table))
    runner.on("dmsetup", "status", "vg0-swap", stdout=str(WORDS.status))
    lvm, dm, iscsi, cache = Lvm(runner, udev=True), Dmsetup(runner), LeaseSessions(runner, 90.0), LvmCache()
    tags, rescue = VolumeTags(lvm, cache), Rescue(runner, lvm, directory)
    executor = Executor(lvm, tags, iscsi, rescue, LostLeases(lvm, tags, dm, iscsi, rescue), Comparisons())
    return Turns(look, cache, dm, executor, Ballast(), lambda: 1.0, lambda _volume, _dm: idle)


def test_a_lease_is_cut_off_without_one_lvm_command(tmp_path: Path) -> None:
    look = Rested()
    here = turns(look, FakeRunner(), tmp_path)
    assert isinstance(here.turn(VOLUME, NOTHING_HEARD).step, s.Done)
    assert isinstance(here.turn(VOLUME, WANTED_BACK).step, s.CutOffLeases)
    assert look.asked == [NOTHING_HEARD]


@pytest.mark.parametrize("idle", [True, False])
def test_whether_anybody_swaps_to_a_volume_at_rest_is_looked_at_without_lvm(tmp_path: Path, idle: bool) -> None:
    look = Rested()
    here = turns(look, FakeRunner(), tmp_path, idle)
    assert [here.turn(VOLUME, NOTHING_HEARD).view.idle for _ in range(2)] == [idle, idle]
    assert look.asked == [NOTHING_HEARD]


@given(steps=st.integers(0, 40), mode=st.sampled_from([Mode.MIRROR, Mode.MOVE]), vacate=st.booleans())
def test_what_is_planned_is_what_a_fresh_look_would_plan(steps: int, mode: Mode, vacate: bool) -> None:
    host = Host(4, goal=Goal.ATTACHED, mode=mode, tagged=True, capacity=100)
    for _ in range(steps):
        host.apply(next_step(host.view()))
        host.tick()
    view = replace(host.view(), volume=VOLUME)
    heard = Heard(frozenset(lease.lease for lease in view.leases)) if vacate else NOTHING_HEARD
    assert plan(known(view), heard) in (None, next_step(replace(view, heard=heard)))
