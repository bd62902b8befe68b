"""Our tags are changed in one place, and what is known of a volume at rest is forgotten with every change."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.lvm_cache import KernelWords, LvmCache
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.plan.steps import AtHome
from ramshare.borrower.plan.tags import LeaseTag, Terms, goal_tags
from ramshare.borrower.plan.view import NOTHING_HEARD, Goal, Layout, VolumeView
from ramshare.errors import RamshareError
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_state import LogicalVolume
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

VOLUME = "vg0/swap"
VIEW = VolumeView(VOLUME, 1 << 30, Goal.HOME, None, Layout.LINEAR, 1 << 30, ())
WORDS = KernelWords([], "0 8 linear 254:0 0", "0 8 linear")
LEASE = LeaseTag("l1", "hosta", 100)
OTHER = LeaseTag("l2", "hostb", 100)
LV = LogicalVolume("vg0", "swap", 1 << 30, frozenset({*goal_tags(Goal.ATTACHED, Mode.MOVE), str(LEASE), "theirs"}))

CHANGES: dict[str, tuple[Callable[[VolumeTags], None], set[str], set[str]]] = {
    "leases, and a goal": (
        lambda tags: tags.add_leases(LV, Mode.MIRROR, [OTHER]),
        {"ramshare.mode=mirror", str(OTHER)},
        {"ramshare.mode=move"},
    ),
    "leases that are not encrypted": (
        lambda tags: tags.add_leases(LV, Mode.MOVE, [OTHER], encrypt=False),
        {"ramshare.encrypt=no", str(OTHER)},
        set(),
    ),
    "leases that are encrypted again": (
        lambda tags: tags.add_leases(replace(LV, tags=LV.tags | {"ramshare.encrypt=no"}), Mode.MOVE, [OTHER]),
        {str(OTHER)},
        {"ramshare.encrypt=no"},
    ),
    "leases, and the disk that it leaves": (
        lambda tags: tags.add_leases(LV, None, [OTHER], ["BM9z8F-funv"]),
        {str(OTHER), "ramshare.home=BM9z8F-funv"},
        set(),
    ),
    "leases alone": (lambda tags: tags.add_leases(LV, None, [LEASE, OTHER]), {str(OTHER)}, set()),
    "a loan of the policy's": (
        lambda tags: tags.add_leases(LV, Mode.MOVE, [LEASE], terms=Terms(automatic=True, only_if_faster=True)),
        {"ramshare.by=policy", "ramshare.only=faster"},
        set(),
    ),
    "a loan of the policy's that a person takes over": (
        lambda tags: tags.adopt(replace(LV, tags=LV.tags | {"ramshare.by=policy", "ramshare.only=faster"})),
        set(),
        {"ramshare.by=policy", "ramshare.only=faster"},
    ),
    "the way home": (
        lambda tags: tags.aim_home(LV, Mode.MOVE),
        {"ramshare.goal=home"},
        {"ramshare.goal=attached"},
    ),
    "a mirror becomes a pair": (
        lambda tags: tags.add_leases(LV, Mode.PAIR, [LEASE.of_leg(2)]),
        {"ramshare.mode=pair", str(LEASE.of_leg(2))},
        {"ramshare.mode=move", str(LEASE)},
    ),
    "a loss": (lambda tags: tags.mark_lost(LV, {"l1", "l9"}), {str(LEASE.as_lost())}, {str(LEASE)}),
    "a lease that is gone": (lambda tags: tags.remove_lease(LV, "l1"), set(), {str(LEASE)}),
    "everything of ours": (lambda tags: tags.clear(LV), set(), set(LV.tags) - {"theirs"}),
}


@pytest.fixture
def cache() -> LvmCache:
    cache = LvmCache()
    cache.note(VIEW, AtHome(), lambda: WORDS, 0.0)
    assert cache.plan(VOLUME, NOTHING_HEARD, lambda: WORDS, 1.0) is not None
    return cache


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_made_in_one_command_and_lvm_is_asked_next(what: str, cache: LvmCache) -> None:
    change, added, removed = CHANGES[what]
    runner = FakeRunner().on("lvchange", ...)
    change(VolumeTags(Lvm(runner, udev=True), cache))
    [words] = runner.calls
    assert {words[i + 1] for i, word in enumerate(words) if word == "--addtag"} == added
    assert {words[i + 1] for i, word in enumerate(words) if word == "--deltag"} == removed
    assert cache.plan(VOLUME, NOTHING_HEARD, lambda: WORDS, 1.0) is None


def test_a_change_that_lvm_refuses_has_lvm_asked_too(cache: LvmCache) -> None:
    runner = FakeRunner().on("lvchange", ..., returncode=5, stderr="  Volume group vg0 is locked.")
    with pytest.raises(RamshareError, match="locked"):
        VolumeTags(Lvm(runner, udev=True), cache).clear(LV)
    assert cache.plan(VOLUME, NOTHING_HEARD, lambda: WORDS, 1.0) is None
