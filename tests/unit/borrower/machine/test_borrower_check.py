"""What a borrower's host checks before it does anything, and what it asks for."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kit.fakes import FakeRunner
from kit.linux_data import lvm_report
from ramshare.borrower.machine.host import BorrowerHost
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.machine.lvm_cache import LvmCache
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.plan.observe import home_of, observe
from ramshare.borrower.plan.tags import LeaseTag
from ramshare.borrower.plan.view import NOTHING_HEARD, Goal, Heard, Layout, VolumeView
from ramshare.desk import RefusedError
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_report import parse_report
from ramshare.linux.lvm_state import LogicalVolume, LvmState, PhysicalVolume, Segment, VolumeGroup
from ramshare.linux.swap import SwapUse
from ramshare.messages.replies import ErrorCode
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

MIB = 1 << 20
AT_HOME = VolumeView(
    volume="vg0/swap",
    size_bytes=1 << 30,
    goal=Goal.HOME,
    mode=None,
    layout=Layout.LINEAR,
    local_bytes=1 << 30,
    local_devices=("/dev/vda",),
)


DISK = PhysicalVolume("/dev/vda", "vg0", 4 << 30, 3 << 30, uuid="BM9z8F-funv")
SWAP = LogicalVolume("vg0", "swap", 1 << 30, segments=(Segment("/dev/vda", 1 << 30),))


class AtHome:
    """A look that finds one volume at home, or LVM's report of something else."""

    seen: Sequence[Session] = ()

    def __init__(self, extent_bytes: int = 4 * MIB) -> None:
        self.state = LvmState((DISK,), (VolumeGroup("vg0", 1 << 30, 0, extent_bytes),), (SWAP,))

    def look(self, volume: str, heard: Heard = NOTHING_HEARD) -> VolumeView:
        return AT_HOME

    def sessions(self) -> Sequence[Session]:
        return ()


class Reported(AtHome):
    """A look that finds what LVM reported."""

    def __init__(self, name: str) -> None:
        self.state = parse_report(lvm_report(name))

    def look(self, volume: str, heard: Heard = NOTHING_HEARD) -> VolumeView:
        view = observe(volume, self.state, ())
        assert view is not None
        return view


def host(
    use: SwapUse,
    extent_bytes: int = 4 * MIB,
    look: AtHome | None = None,
    runner: FakeRunner | None = None,
    found: str | None = "",
) -> BorrowerHost:
    runner = runner or FakeRunner()
    tags = VolumeTags(Lvm(runner, udev=True), LvmCache())
    iscsi = LeaseSessions(runner, 90.0)
    return BorrowerHost(
        look or AtHome(extent_bytes),
        tags,
        iscsi,
        found_on=lambda _device: found,
        turn_off=lambda _device, _within_s: False,
        swap_use=lambda _device: use,
        initiator=lambda: "iqn.2026-11.test:b",
    )


def refusal(use: SwapUse, found: str | None = "") -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        host(use, found=found).check_borrow("vg0/swap", Mode.MIRROR)
    return refused.value


@pytest.mark.parametrize("found", ["an ext4 file system (label data)", "a partition table (gpt)", None])
def test_what_holds_something_or_cannot_be_told_is_refused_and_never_to_be_formatted(found: str | None) -> None:
    error = refusal(SwapUse(is_swap=False, has_queue=False), found)
    assert error.code is ErrorCode.NOT_SWAP
    assert f"vg0/swap is not swap; it holds {found or 'what cannot be told'}" in str(error)
    assert "mkswap" not in str(error)


def test_an_empty_volume_may_be_made_swap() -> None:
    assert "mkswap /dev/vg0/swap makes it swap" in str(refusal(SwapUse(is_swap=False, has_queue=False)))


def test_a_volume_that_is_swap_twice_is_refused_by_both_names() -> None:
    error = refusal(SwapUse(is_swap=True, has_queue=True, active=("/dev/dm-0", "/dev/loop0")))
    assert error.code is ErrorCode.CONFLICT
    assert "by /dev/dm-0 and /dev/loop0" in str(error)


@pytest.mark.parametrize("has_queue", [True, False])
def test_a_volume_may_go_either_way_however_it_is_swapped_to(has_queue: bool) -> None:
    asked = host(SwapUse(is_swap=True, has_queue=has_queue))
    assert all(asked.check_borrow("vg0/swap", mode) is AT_HOME for mode in Mode)


@pytest.mark.parametrize(
    ("mode", "extent_mib", "overhead_mib"),
    [(Mode.MOVE, 4, 4), (Mode.MIRROR, 4, 8), (Mode.MOVE, 1, 1), (Mode.MIRROR, 1, 2)],
)
def test_a_lease_has_room_for_lvms_own_extents(mode: Mode, extent_mib: int, overhead_mib: int) -> None:
    terms = host(SwapUse(is_swap=True, has_queue=False), extent_mib * MIB).terms("vg0/swap", mode)
    assert (terms.overhead_bytes, terms.grain_bytes) == (overhead_mib * MIB, extent_mib * MIB)
    assert terms.initiator == "iqn.2026-11.test:b"


@pytest.mark.parametrize("name", ["striped", "thin", "raid1", "snapshot", "inactive", "exported", "full"])
def test_a_volume_that_cannot_be_on_leases_is_refused_before_anything_is_asked_or_written(name: str) -> None:
    runner = FakeRunner()
    asked = host(SwapUse(is_swap=True, has_queue=False), look=Reported(f"kinds/{name}"), runner=runner)
    with pytest.raises(RefusedError) as refused:
        asked.check_borrow("vg1/swap", Mode.MIRROR)
    assert refused.value.code is ErrorCode.CONFLICT
    assert runner.calls == []


def test_while_a_foreign_disk_is_missing_not_even_a_tag_is_changed() -> None:
    runner = FakeRunner()
    asked = host(SwapUse(is_swap=True, has_queue=False), look=Reported("late_disk/thin_pool"), runner=runner)
    with pytest.raises(RefusedError, match=r"misses a device of 196 MiB .*bring it back"):
        asked.send_home("vg0/swap")
    with pytest.raises(RefusedError, match="then try again"):
        asked.forget_lease("vg0/swap", "l27-1")
    assert runner.calls == []


def test_what_is_accepted_is_written_down_with_the_disk_that_the_volume_lies_on() -> None:
    runner = FakeRunner().on("lvchange", ...)
    asked = host(SwapUse(is_swap=True, has_queue=False), runner=runner)
    asked.accept("vg0/swap", Mode.MOVE, [LeaseTag("l1", "hosta", 1 << 30)], [])
    [written] = runner.ran("lvchange", ...)
    assert "ramshare.home=BM9z8F-funv" in written
    assert "ramshare.lease=l1:hosta:1073741824" in written


def test_where_it_comes_home_to_is_written_down_once_and_not_while_pages_are_away() -> None:
    state = AtHome().state
    tagged = replace(SWAP, tags=frozenset({"ramshare.home=elsewhere"}))
    assert (home_of(state, SWAP), home_of(state, tagged)) == (["BM9z8F-funv"], [])
    lease = PhysicalVolume("/dev/sda", "vg0", 1, 0, frozenset({"ramshare.lease=l1"}), uuid="lease")
    away = replace(SWAP, segments=(Segment("/dev/vda", 1), Segment("/dev/sda", 1)))
    assert home_of(replace(state, pvs=(DISK, lease)), away) == []
