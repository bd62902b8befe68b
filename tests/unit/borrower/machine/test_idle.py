"""Whether anybody swaps to a volume."""

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.idle import is_idle
from ramshare.linux.dm import Dmsetup
from ramshare.linux.swap import Swap

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("swapped_to", "open_count", "claimed", "idle"),
    [(True, 1, False, False), (False, 1, False, False), (False, 0, False, True), (False, 1, True, True)],
    ids=["by the host", "by a guest", "by nobody", "only claimed by its unit"],
)
def test_a_volume_is_idle_if_neither_host_nor_guest_swaps_to_it(
    monkeypatch: pytest.MonkeyPatch, swapped_to: bool, open_count: int, claimed: bool, idle: bool
) -> None:
    runner = FakeRunner().on("dmsetup", "info", ..., stdout=f"vg0-swap|LVM-x|254|0|Active|{open_count}\n")
    active = Swap("/dev/dm-0", "partition", 1 << 30, 0, -2) if swapped_to else None
    monkeypatch.setattr("ramshare.linux.swap.active_swap", lambda _device: active)
    monkeypatch.setattr("ramshare.linux.swap.claim_on", lambda _device: "ramshare:vg0-swap" if claimed else None)
    assert is_idle("vg0/swap", Dmsetup(runner)) is idle
