"""The lender's hold on its guests, when the hypervisor breaks, guests come and go, balloons do not move."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ramshare.lender.guests.host_guests import (
    LEFT_ALONE_S,
    LONG_AGO_S,
    LOOK_MOVING_S,
    LOOK_S,
    REACHED_WITHIN_S,
    HostGuests,
)
from ramshare.lender.guests.sizes import OWNER_MEANS_IT_S
from ramshare.linux.hypervisor import BalloonNote, Guest, HypervisorError, NullHypervisor
from ramshare.policy.intake import STALE_AFTER_S, HostIntake
from ramshare.policy.model import GuestSample, HostSample

pytestmark = pytest.mark.unit
MIB = 1 << 20


class FakeHypervisor:
    """Guests with balloons that obey, or stick."""

    present = True

    def __init__(self, *guests: Guest) -> None:
        self.vms = {guest.uuid: guest for guest in guests}
        self.gone = False
        self.sticks = False
        self.set: list[tuple[str, int]] = []

    def start(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change

    def stop(self) -> None:
        self.gone = True

    def guests(self) -> tuple[Guest, ...]:
        if self.gone:
            raise HypervisorError("no libvirtd")
        return tuple(self.vms.values())

    def write_note(self, uuid: str, note: BalloonNote | None) -> None:
        if self.gone:
            raise HypervisorError("no libvirtd")
        self.vms[uuid] = replace(self.vms[uuid], note=note)

    def set_balloon(self, uuid: str, target_bytes: int) -> None:
        if self.gone:
            raise HypervisorError("no libvirtd")
        self.set.append((uuid, target_bytes))
        if not self.sticks:
            self.vms[uuid] = replace(self.vms[uuid], actual_bytes=target_bytes)

    def has(self, uuid: str, mib: int) -> None:
        """Something else than we changed what the guest has."""
        self.vms[uuid] = replace(self.vms[uuid], actual_bytes=mib * MIB)


class Scene:
    def __init__(self, *guests: Guest) -> None:
        self.hypervisor = FakeHypervisor(*guests)
        self.posted: deque[Callable[[], None]] = deque()
        self.arrived = threading.Event()
        self.now_s = 1000.0
        self.held = HostGuests(self.hypervisor, self.post, lambda: self.now_s, ThreadPoolExecutor(1))

    def post(self, call: Callable[[], None]) -> None:
        self.posted.append(call)
        self.arrived.set()

    def look(self) -> None:
        """Look, and wait until the answer was taken."""
        self.arrived.clear()
        self.held.look(lambda: None)
        assert self.arrived.wait(5.0)
        self.posted.popleft()()

    def round(self, used_mib: int, wanted_mib: int, after_s: float = 2.0) -> list[str]:
        self.now_s += after_s
        self.look()
        size_bytes = self.hypervisor.vms["u1"].actual_bytes  # MemTotal follows the balloon
        sample = GuestSample("web1", self.now_s, size_bytes, used_mib * MIB)
        told = self.held.balance((sample,), wanted_mib * MIB, self.now_s, self.now_s)
        self.look()  # behind the balloon on the worker
        return told

    def actual_mib(self, uuid: str = "u1") -> int:
        return self.hypervisor.vms[uuid].actual_bytes // MIB


def vm(name: str = "web1", uuid: str = "u1", actual: int = 4096, floor: int = 0) -> Guest:
    """A guest of 4 GiB; what it has less, an earlier run of ours took."""
    note = BalloonNote(4096 * MIB, actual * MIB) if actual < 4096 else None
    return Guest(uuid, name, 4096 * MIB, actual * MIB, floor * MIB, note=note)


def test_memory_is_taken_in_steps_and_given_back_at_once() -> None:
    scene = Scene(vm())
    for _ in range(40):
        scene.round(used_mib=1000, wanted_mib=2000)
    assert scene.actual_mib() == pytest.approx(2096, abs=16)
    scene.round(used_mib=2000, wanted_mib=2000)
    assert scene.actual_mib() >= 2400
    for _ in range(10):
        assert scene.round(used_mib=2000, wanted_mib=0) == []
    assert scene.actual_mib() == 4096


def test_a_guests_own_floor_holds() -> None:
    scene = Scene(vm(floor=3500))
    for _ in range(40):
        scene.round(used_mib=100, wanted_mib=4000)
    assert scene.actual_mib() == 3500


def test_while_libvirt_is_gone_nothing_is_asked_and_then_all_goes_on() -> None:
    scene = Scene(vm())
    scene.round(used_mib=1000, wanted_mib=2000)
    before = scene.actual_mib()
    scene.hypervisor.gone = True
    for _ in range(3):
        scene.round(used_mib=1000, wanted_mib=2000)
    assert not scene.held.answers
    assert [guest.name for guest in scene.held.known] == ["web1"]
    assert scene.actual_mib() == before
    scene.hypervisor.gone = False
    scene.round(used_mib=1000, wanted_mib=2000)
    assert scene.held.answers
    assert scene.actual_mib() < before


def test_a_balloon_that_does_not_give_is_given_up_and_left_alone() -> None:
    scene = Scene(vm())
    scene.hypervisor.sticks = True
    scene.round(used_mib=1000, wanted_mib=2000)
    assert len(scene.hypervisor.set) == 1
    scene.round(used_mib=1000, wanted_mib=2000)
    assert len(scene.hypervisor.set) == 1  # under way
    (told,) = scene.round(used_mib=1000, wanted_mib=2000, after_s=REACHED_WITHIN_S)
    assert "web1" in told
    assert scene.hypervisor.set[-1] == ("u1", 4096 * MIB)  # the wish is taken back
    asked = len(scene.hypervisor.set)
    scene.round(used_mib=1000, wanted_mib=2000)
    assert len(scene.hypervisor.set) == asked
    scene.round(used_mib=1000, wanted_mib=2000, after_s=LEFT_ALONE_S)
    assert len(scene.hypervisor.set) == asked + 1


def test_a_balloon_that_does_not_give_back_is_asked_again_and_told() -> None:
    scene = Scene(vm(actual=1500))
    scene.hypervisor.sticks = True
    scene.round(used_mib=1400, wanted_mib=4000)
    (told,) = scene.round(used_mib=1400, wanted_mib=4000, after_s=REACHED_WITHIN_S)
    assert "1500 MiB" in told
    assert len(scene.hypervisor.set) == 2
    assert all(target > 1500 * MIB for _, target in scene.hypervisor.set)


def test_a_silent_guest_gets_all_its_memory_back_but_not_before_it_could_report() -> None:
    scene = Scene(vm(actual=2000))
    for passed_s, actual_mib in ((0.0, 2000), (STALE_AFTER_S - 1, 2000), (STALE_AFTER_S, 4096)):
        scene.look()
        scene.held.balance((), 4000 * MIB, 1000.0 + passed_s, 0.0)
        scene.look()
        assert scene.actual_mib() == actual_mib


def test_a_silent_guest_counts_as_full_and_teaches_the_policy_nothing() -> None:
    scene = Scene(vm(actual=2000))
    scene.look()
    view = HostIntake().read(HostSample("a", 1e9, 0.0, 0.0, scene.held.believed(()), frozenset({"web1"})))
    assert (view.free_bytes, view.demand_bytes, view.held_bytes) == (0, 0, 4096 * MIB)


def test_a_guests_kernel_counts_as_used_and_its_size_is_the_hypervisors() -> None:
    scene = Scene(vm(actual=3000))
    scene.look()
    (sample,) = scene.held.believed((GuestSample("web1", 7.0, 2900 * MIB, 1000 * MIB),))
    assert (sample.capacity_bytes, sample.used_bytes) == (4096 * MIB, 1100 * MIB)


def test_while_a_balloon_moves_its_guest_does_not_seem_to_use_more() -> None:
    scene = Scene(vm(actual=2100))
    scene.look()
    (sample,) = scene.held.believed((GuestSample("web1", 1000.0, 2000 * MIB, 500 * MIB),))
    assert sample.used_bytes == 600 * MIB
    scene.hypervisor.set_balloon("u1", 3100 * MIB)
    scene.look()
    for at_s in (1000.0, 1001.0):
        (sample,) = scene.held.believed((GuestSample("web1", at_s, 2000 * MIB, 500 * MIB),))
        assert sample.used_bytes == 600 * MIB
    (sample,) = scene.held.believed((GuestSample("web1", 1005.0, 3000 * MIB, 500 * MIB),))
    assert sample.used_bytes == 600 * MIB


def test_a_report_that_is_ahead_of_the_hypervisors_word_does_not_make_the_guest_look_smaller() -> None:
    scene = Scene(vm(actual=2100))
    scene.look()
    scene.held.balance((GuestSample("web1", 1000.0, 2000 * MIB, 1500 * MIB),), 4000 * MIB, 1000.0, 1000.0)
    scene.now_s = 1010.0  # it was given more, and says so before the hypervisor was asked again
    (sample,) = scene.held.believed((GuestSample("web1", 1010.0, 3000 * MIB, 1500 * MIB),))
    assert sample.used_bytes == 1600 * MIB


def test_a_demand_that_has_begun_is_met_ahead_and_the_slack_ends_with_it() -> None:
    scene = Scene(vm(actual=2000))
    scene.round(used_mib=1000, wanted_mib=2096, after_s=5.0)
    assert scene.actual_mib() == 2000
    scene.round(used_mib=1400, wanted_mib=2096, after_s=0.5)
    assert scene.actual_mib() > 1400 + 2 * 400
    for _ in range(20):
        scene.round(used_mib=1400, wanted_mib=2096, after_s=5.0)
    assert scene.actual_mib() == pytest.approx(2000, abs=16)


def test_a_guest_that_was_just_due_memory_is_left_alone() -> None:
    scene = Scene(vm(actual=1500))
    scene.round(used_mib=1400, wanted_mib=2596, after_s=5.0)
    assert scene.actual_mib() == 1860
    for _ in range(3):
        scene.round(used_mib=1000, wanted_mib=2596, after_s=3.0)
        assert scene.actual_mib() == 1860
    for _ in range(8):
        scene.round(used_mib=1000, wanted_mib=2596, after_s=3.0)
    assert scene.actual_mib() == pytest.approx(1500, abs=16)


def test_however_often_guests_report_memory_is_taken_at_its_own_pace() -> None:
    scene = Scene(vm())
    for _ in range(9):
        scene.round(used_mib=1000, wanted_mib=2000, after_s=0.2)
    assert scene.actual_mib() == pytest.approx(4096 - 204, abs=2)
    scene.round(used_mib=1000, wanted_mib=2000, after_s=0.4)
    assert scene.actual_mib() == pytest.approx(4096 - 2 * 204, abs=2)


def test_while_a_balloon_is_asked_to_move_it_is_looked_at_often() -> None:
    scene = Scene(vm())
    assert scene.held.look_again_s == LOOK_S
    scene.round(used_mib=1000, wanted_mib=100)
    assert scene.held.look_again_s == LOOK_MOVING_S
    scene.round(used_mib=1000, wanted_mib=100)
    assert scene.held.look_again_s == LOOK_S


def test_a_guest_that_appears_twice_is_full_twice() -> None:
    scene = Scene(vm(), vm(uuid="u2", actual=1000))
    scene.look()
    (sample,) = scene.held.believed((GuestSample("web1", 7.0, 4000 * MIB, 10 * MIB),))
    assert (sample.at_s, sample.capacity_bytes) == (LONG_AGO_S, 8192 * MIB)
    scene.round(used_mib=10, wanted_mib=8000)
    assert (scene.actual_mib("u1"), scene.actual_mib("u2")) == (4096, 4096)


def test_a_name_that_no_topic_can_carry_is_never_listened_to() -> None:
    scene = Scene(vm(name="#"), vm(name="db", uuid="u2"))
    scene.look()
    assert scene.held.names == {"db"}


def test_without_a_hypervisor_nothing_is_asked_and_all_is_known() -> None:
    held = HostGuests(
        NullHypervisor(), lambda call: pytest.fail("nobody can have posted"), lambda: 0.0, ThreadPoolExecutor(1)
    )
    assert held.seen
    held.look(lambda: pytest.fail("nobody can have looked"))
    assert held.balance((), 1 << 30, 0.0, 0.0) == []
    held.stop()


# What a guest is meant to have


def kept_small(name: str = "web1", uuid: str = "u1", run: int = 1) -> Guest:
    """A guest that its owner lets have 4 of the 16 GiB that its definition allows."""
    return Guest(uuid, name, 16_384 * MIB, 4096 * MIB, run=run)


def test_guests_that_their_owner_keeps_small_are_never_asked_to_grow() -> None:
    names = {f"u{number}": f"web{number}" for number in range(1, 5)}
    scene = Scene(*(kept_small(name, uuid) for uuid, name in names.items()))
    for wanted_mib in (0, 0, 4000, 0):
        scene.round(used_mib=3900, wanted_mib=wanted_mib, after_s=STALE_AFTER_S)  # the others are silent
    assert scene.hypervisor.set == []
    assert scene.held.ballooned_bytes == 0


def test_such_a_guest_gets_back_what_was_taken_and_no_more() -> None:
    scene = Scene(kept_small())
    for _ in range(10):
        scene.round(used_mib=1000, wanted_mib=1000)
    assert scene.actual_mib() == pytest.approx(3096, abs=16)
    for _ in range(20):
        scene.round(used_mib=3900, wanted_mib=0)
    assert scene.actual_mib() == 4096
    assert max(target for _, target in scene.hypervisor.set) == 4096 * MIB
    assert scene.hypervisor.vms["u1"].note is None, "nothing is held any more"


def test_what_an_earlier_run_or_another_host_took_is_given_back() -> None:
    scene = Scene(kept_small())
    for _ in range(10):
        scene.round(used_mib=1000, wanted_mib=1000)
    again = Scene(scene.hypervisor.vms["u1"])
    for _ in range(10):
        again.round(used_mib=3900, wanted_mib=0)
    assert again.actual_mib() == 4096


def test_memory_is_not_taken_before_it_is_noted_at_the_guest() -> None:
    scene = Scene(kept_small())

    def refuse(uuid: str, note: BalloonNote | None) -> None:
        raise HypervisorError("no metadata here")

    scene.hypervisor.write_note = refuse  # type: ignore[method-assign]
    scene.round(used_mib=1000, wanted_mib=1000)
    assert scene.hypervisor.set == []


def test_a_guest_that_its_owner_made_smaller_stays_so() -> None:
    scene = Scene(kept_small())
    for _ in range(10):
        scene.round(used_mib=1000, wanted_mib=1000)
    scene.hypervisor.has("u1", 2048)
    for _ in range(10):
        scene.round(used_mib=2000, wanted_mib=0)
    assert scene.actual_mib() == 2048


def test_a_guest_that_its_owner_made_larger_may_have_that_once_it_is_plain_that_it_was_meant() -> None:
    scene = Scene(kept_small())
    scene.round(used_mib=1000, wanted_mib=0)
    scene.hypervisor.has("u1", 8192)
    scene.round(used_mib=1000, wanted_mib=8000)
    assert scene.hypervisor.set == []
    scene.round(used_mib=1000, wanted_mib=8000, after_s=OWNER_MEANS_IT_S)
    scene.round(used_mib=1000, wanted_mib=8000)
    assert scene.actual_mib() < 8192
    for _ in range(10):
        scene.round(used_mib=8000, wanted_mib=0)
    assert scene.actual_mib() == 8192


def test_a_guest_that_boots_again_is_left_alone_until_its_balloon_is_where_it_was() -> None:
    """Without its driver the balloon is empty, and the guest seems to have all that its definition allows."""
    scene = Scene(kept_small())
    for _ in range(10):
        scene.round(used_mib=1000, wanted_mib=1000)
    asked, held_mib = len(scene.hypervisor.set), scene.actual_mib()
    scene.hypervisor.has("u1", 16_384)
    for _ in range(3):
        scene.round(used_mib=1000, wanted_mib=1000)
    assert len(scene.hypervisor.set) == asked
    scene.hypervisor.has("u1", held_mib)
    for _ in range(10):
        scene.round(used_mib=3900, wanted_mib=0)
    assert scene.actual_mib() == 4096


def test_a_guest_that_was_started_anew_is_seen_for_the_first_time() -> None:
    scene = Scene(kept_small())
    for _ in range(10):
        scene.round(used_mib=1000, wanted_mib=1000)
    scene.hypervisor.vms["u1"] = replace(kept_small(run=2), actual_bytes=16_384 * MIB)
    scene.look()
    scene.hypervisor.has("u1", 4096)  # its driver has loaded
    for _ in range(10):
        scene.round(used_mib=3900, wanted_mib=0)
    assert scene.actual_mib() == 4096


def test_a_balloon_that_stops_half_way_back_does_not_make_its_guest_smaller_for_good() -> None:
    scene = Scene(kept_small())
    for _ in range(10):
        scene.round(used_mib=1000, wanted_mib=1000)
    scene.hypervisor.sticks = True
    scene.round(used_mib=3900, wanted_mib=0)
    scene.hypervisor.has("u1", 3500)
    scene.round(used_mib=3900, wanted_mib=0, after_s=REACHED_WITHIN_S + 1)
    scene.hypervisor.sticks = False
    for _ in range(3):
        scene.round(used_mib=3900, wanted_mib=0, after_s=REACHED_WITHIN_S + 1)
    assert scene.actual_mib() == 4096


@pytest.mark.parametrize("note", [BalloonNote(20_000 * MIB, 4096 * MIB), BalloonNote(1, 2), BalloonNote(5, -1)])
def test_a_note_that_cannot_be_true_counts_for_nothing(note: BalloonNote) -> None:
    scene = Scene(replace(kept_small(), note=note))
    for _ in range(5):
        scene.round(used_mib=4000, wanted_mib=0)
    assert scene.hypervisor.set == []


# Who is left alone


@pytest.mark.parametrize("used_mib", [10, 4090])
def test_a_guest_that_is_to_be_left_alone_is_asked_nothing_and_named(used_mib: int) -> None:
    scene = Scene(replace(kept_small(), left_alone="its memory is locked"))
    for _ in range(5):
        scene.round(used_mib=used_mib, wanted_mib=4000, after_s=5.0)
    scene.held.balance((), 4000 * MIB, 1e6, 1e6)
    scene.look()
    assert scene.hypervisor.set == []
    assert scene.held.left_alone == {"web1": "its memory is locked"}


def test_a_guest_that_gets_a_device_passed_through_later_gets_back_what_was_taken_and_is_left_alone() -> None:
    scene = Scene(kept_small())
    for _ in range(10):
        scene.round(used_mib=1000, wanted_mib=1000)
    scene.hypervisor.vms["u1"] = replace(scene.hypervisor.vms["u1"], left_alone="a device is passed through to it")
    for _ in range(5):
        scene.round(used_mib=1000, wanted_mib=1000)
    assert scene.actual_mib() == 4096
    asked = len(scene.hypervisor.set)
    for _ in range(5):
        scene.round(used_mib=1000, wanted_mib=1000)
    assert len(scene.hypervisor.set) == asked


def test_xens_domain_0_is_no_guest_but_is_named() -> None:
    host = Guest("0" * 32, "Domain-0", 1 << 50, 8192 * MIB, left_alone="it is the host itself", is_host=True)
    scene = Scene(vm(), host)
    scene.look()
    assert [guest.name for guest in scene.held.known] == ["web1"]
    assert scene.held.names == {"web1"}
    assert scene.held.left_alone == {"Domain-0": "it is the host itself"}
