"""What a borrower's host checks before it does anything, and what it asks for."""

from collections.abc import Sequence

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.host import BorrowerHost
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.machine.lvm_cache import LvmCache
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.plan.view import NOTHING_HEARD, Goal, Heard, Layout, VolumeView
from ramshare.desk import RefusedError
from ramshare.linux.iscsi_sessions import Session
from ramshare.linux.lvm import Lvm, LvmState, VolumeGroup
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


class AtHome:
    """A look that finds one volume at home."""

    seen: Sequence[Session] = ()

    def __init__(self, extent_bytes: int = 4 * MIB) -> None:
        self.state = LvmState(vgs=(VolumeGroup("vg0", 1 << 30, 0, extent_bytes),))

    def look(self, volume: str, heard: Heard = NOTHING_HEARD) -> VolumeView:
        return AT_HOME

    def sessions(self) -> Sequence[Session]:
        return ()


def host(use: SwapUse, extent_bytes: int = 4 * MIB) -> BorrowerHost:
    runner = FakeRunner()
    tags = VolumeTags(Lvm(runner, udev=True), LvmCache())
    iscsi = LeaseSessions(runner, 90.0)
    return BorrowerHost(AtHome(extent_bytes), tags, iscsi, lambda _device: use, lambda: "iqn.2026-11.test:b")


def test_what_is_not_swap_is_refused() -> None:
    with pytest.raises(RefusedError, match="mkswap makes it so") as refused:
        host(SwapUse(is_swap=False, has_queue=False)).check_borrow("vg0/swap", Mode.MIRROR)
    assert refused.value.code is ErrorCode.NOT_SWAP


def test_a_move_is_refused_while_the_host_swaps_through_a_loop_device() -> None:
    queued = host(SwapUse(is_swap=True, has_queue=True))
    with pytest.raises(RefusedError, match="borrow by mirror, or swap to /dev/vg0/swap directly") as refused:
        queued.check_borrow("vg0/swap", Mode.MOVE)
    assert refused.value.code is ErrorCode.CONFLICT
    assert queued.check_borrow("vg0/swap", Mode.MIRROR) is AT_HOME


def test_a_volume_that_is_swapped_to_directly_may_go_either_way() -> None:
    direct = host(SwapUse(is_swap=True, has_queue=False))
    assert all(direct.check_borrow("vg0/swap", mode) is AT_HOME for mode in Mode)


@pytest.mark.parametrize(
    ("mode", "extent_mib", "overhead_mib"),
    [(Mode.MOVE, 4, 4), (Mode.MIRROR, 4, 8), (Mode.MOVE, 1, 1), (Mode.MIRROR, 1, 2)],
)
def test_a_lease_has_room_for_lvms_own_extents(mode: Mode, extent_mib: int, overhead_mib: int) -> None:
    terms = host(SwapUse(is_swap=True, has_queue=False), extent_mib * MIB).terms("vg0/swap", mode)
    assert (terms.overhead_bytes, terms.grain_bytes) == (overhead_mib * MIB, extent_mib * MIB)
    assert terms.initiator == "iqn.2026-11.test:b"
