"""What a borrower's host checks before it does anything."""

from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.borrower.machine.host import BorrowerHost
from ramshare.borrower.plan.view import Goal, Layout, VolumeView
from ramshare.desk import RefusedError
from ramshare.messages.replies import ErrorCode
from ramshare.messages.state import Mode

pytestmark = pytest.mark.unit

AT_HOME = VolumeView(
    volume="vg0/swap",
    size_bytes=1 << 30,
    goal=Goal.HOME,
    mode=None,
    layout=Layout.LINEAR,
    local_bytes=1 << 30,
    local_devices=("/dev/vda",),
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BorrowerHost:
    host = BorrowerHost(FakeRunner(), tmp_path)
    monkeypatch.setattr(host, "look", lambda _volume: AT_HOME)
    monkeypatch.setattr("ramshare.linux.swap.is_swap", lambda _device: True)
    return host


def test_a_move_is_refused_while_the_host_swaps_through_a_loop_device(
    host: BorrowerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramshare.linux.swap.has_queue", lambda _device: True)
    with pytest.raises(RefusedError, match="borrow by mirror, or swap to /dev/vg0/swap directly") as refused:
        host.check_borrow("vg0/swap", Mode.MOVE)
    assert refused.value.code is ErrorCode.CONFLICT
    assert host.check_borrow("vg0/swap", Mode.MIRROR) is AT_HOME


def test_a_volume_that_is_swapped_to_directly_may_go_either_way(
    host: BorrowerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramshare.linux.swap.has_queue", lambda _device: False)
    assert all(host.check_borrow("vg0/swap", mode) is AT_HOME for mode in Mode)
