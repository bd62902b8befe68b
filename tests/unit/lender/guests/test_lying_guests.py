"""What a lender offers while its guests lie, by the policy that lenders run: each costs its own share, and no more."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from kit.hands import GIB, FakeExports, FakeSampler
from kit.memory_bus import MemoryBus
from kit.world import World
from ramshare.agent import Runtime
from ramshare.lender.agent import Lender
from ramshare.lender.exports.store import Exports
from ramshare.lender.hands import Hands
from ramshare.linux.hypervisor import BalloonNote, Guest
from ramshare.messages.state import Memory, Offer
from ramshare.policy.registry import DEFAULT_POLICY, make_policy
from ramshare.settings import HostSettings, LenderSettings

pytestmark = pytest.mark.unit

PIB = 1 << 50
PACE = 0.02
"""An hour of the policy is a minute and a bit."""
LEARNT_S = 240.0


class TwoGuests:
    """A hypervisor with two guests of 2 GiB that keeps their balloons as they are."""

    present = True

    def start(self, on_change: Callable[[], None]) -> None: ...

    def stop(self) -> None: ...

    def guests(self) -> tuple[Guest, ...]:
        return tuple(Guest(name, name, 2 * GIB, 2 * GIB, resident_bytes=GIB // 2) for name in ("web1", "web2"))

    def write_note(self, uuid: str, note: BalloonNote | None) -> None: ...

    def set_balloon(self, uuid: str, target_bytes: int) -> None: ...


class Scene(World):
    """Host a of 8 GiB, of which 2 are in use, its guests among them."""

    step_s = 1.0

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.exports = FakeExports(directory)
        self.guests = {name: self.bus(f"guest.{name}") for name in ("web1", "web2")}

    def lender(self, hypervisor: TwoGuests | None = None, **settings: Any) -> None:
        extra: dict[str, Any] = {"hypervisor": hypervisor} if hypervisor else {}
        hands = Hands(
            exports=cast("Exports", self.exports),
            portal="10.0.0.1:3260",
            sampler=FakeSampler(),
            policy=make_policy(DEFAULT_POLICY, 1.0, PACE),
            **extra,
        )
        made = LenderSettings(reserve_bytes=0, directory=self.exports.marker.parent, **settings)

        def make(bus: MemoryBus, runtime: Runtime) -> Lender:
            return Lender(bus, HostSettings(host="a"), made, hands, runtime)

        self.start(make, "lender.a")
        self.settle()

    def report(self, guest: str, used_bytes: int = GIB, total_bytes: int = 2 * GIB, **more: Any) -> None:
        available = max(0, total_bytes - used_bytes)
        sizes = {"total_bytes": total_bytes, "available_bytes": available, "used_bytes": used_bytes}
        self.guests[guest].set_state("memory", Memory(**sizes, interval_s=5.0, **more))

    def reporting(self, seconds: float, **of_web1: Any) -> None:
        """Let time pass while web2 is honest and web1 says what it says."""
        for _ in range(int(seconds / 5)):
            self.report("web1", **of_web1)
            self.report("web2", GIB // 2)
            self.advance(5)

    @property
    def gib(self) -> float:
        found = self.state("lender.a", "offer")
        assert isinstance(found, Offer)
        return found.capacity_bytes / GIB


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()
    assert scene.errors.seen == []


SIZES = {"web1": 2 * GIB, "web2": 2 * GIB}
OTHERS_GIB = 8 - 1 - 2
"""What the host has free, by its own figures, if web1 used all it has: it used one of the two that are in use."""
MARGIN_GIB = 0.6


def test_a_guest_of_1_pib_that_uses_nothing_adds_nothing(scene: Scene) -> None:
    scene.lender(guests=SIZES)
    scene.reporting(LEARNT_S)
    honest = scene.gib
    assert honest > OTHERS_GIB
    scene.reporting(LEARNT_S, used_bytes=0, total_bytes=PIB)
    assert scene.gib == pytest.approx(honest, abs=0.1)


def test_a_report_that_is_deleted_holds_all_that_its_guest_has(scene: Scene) -> None:
    scene.lender(guests=SIZES)
    scene.reporting(LEARNT_S)
    scene.guests["web1"].set_state("memory", None)
    scene.advance(10)
    assert OTHERS_GIB - MARGIN_GIB < scene.gib <= OTHERS_GIB
    assert scene.gib > 0


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_guest_that_says_it_uses_1_pib_holds_its_own_share_and_nothing_of_it_is_learnt(
    scene: Scene, by_hand: bool
) -> None:
    scene.lender(None if by_hand else TwoGuests(), **({"guests": SIZES} if by_hand else {}))
    scene.reporting(LEARNT_S)
    honest = scene.gib
    scene.reporting(30, used_bytes=PIB, total_bytes=PIB)
    assert scene.gib >= honest - 2 - MARGIN_GIB
    scene.reporting(2 * LEARNT_S)
    assert scene.gib == pytest.approx(honest, abs=0.2)


@pytest.mark.parametrize("by_hand", [True, False])
def test_mild_pressure_for_ever_holds_its_own_share_and_lets_all_else_grow(scene: Scene, by_hand: bool) -> None:
    scene.lender(None if by_hand else TwoGuests(), **({"guests": SIZES} if by_hand else {}))
    scene.reporting(3 * LEARNT_S, psi_some_avg10=0.2)
    untouched_gib = 0 if by_hand else 3
    assert scene.gib >= min(OTHERS_GIB, 6 - untouched_gib) - MARGIN_GIB


def test_a_guest_that_plays_its_use_up_and_down_takes_nothing_that_no_guest_was_given(scene: Scene) -> None:
    scene.lender(TwoGuests())
    for turn in range(80):
        scene.reporting(10, used_bytes=2 * GIB if turn % 2 else 0)
    assert scene.gib >= 8 - 4 - 1 - MARGIN_GIB, "the host's own: 8 GiB, less two guests' and what it uses itself"


def test_a_guest_in_a_list_of_older_settings_lends_nothing_and_the_offer_says_what_to_write(scene: Scene) -> None:
    scene.lender(guests=("web1", "web2"))
    scene.reporting(LEARNT_S, used_bytes=0, total_bytes=PIB)
    assert scene.gib <= 6
    found = scene.state("lender.a", "offer")
    assert isinstance(found, Offer)
    assert "web1, web2 (how large it is nobody told: RAMSHARE_LENDER_GUESTS)" in found.reason
