"""A borrower whose lvm.conf and iscsid.conf are somebody else's, for his SAN: it borrows and returns all the same."""

from collections.abc import Iterator

import pytest

from kit.linux_data import HOSTILE_LVM_CONF, SITE_ISCSID_CONF
from ramshare.bus.mqtt import MqttBus
from ramshare.linux.lvm import Lvm
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SWAP_BYTES = 64 * MIB
WITHIN_S = 120.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(LabSpec(name="foreign", guests=0, swap_bytes=SWAP_BYTES, lender_bytes=SWAP_BYTES * 3 // 4)) as running:
        for path, text in (("/etc/lvm/lvm.conf", HOSTILE_LVM_CONF), ("/etc/iscsi/iscsid.conf", SITE_ISCSID_CONF)):
            running.borrower.shell.run(["sh", "-c", f"cat > {path}"], stdin=text)
        yield running


@pytest.mark.parametrize(("mode", "wait_s"), [(Mode.MIRROR, "4"), (Mode.MOVE, "90")])
def test_a_lease_is_one_session_with_our_own_time_outs_and_comes_home(lab: Lab, mode: Mode, wait_s: str) -> None:
    shell = lab.borrower.shell

    def kernel_says(what: str) -> list[str]:
        return shell.run(["sh", "-c", f"cat /sys/class/iscsi_{what}"]).stdout.split()

    with Operator(MqttBus(lab.broker.settings("cli.lab"), "cli.lab"), "borrower.hostx") as operator:
        operator.wait_ready(SWAP_BYTES)
        operator.borrow(VOLUME, mode, min_lenders=2)
        operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
        assert kernel_says("session/session*/recovery_tmo") == [wait_s, wait_s]
        assert kernel_says("connection/connection*/header_digest") == ["0", "0"]
        operator.send_home(VOLUME)
        operator.follow(VOLUME, VolumePhase.HOME, WITHIN_S)
    assert [lv.tags for lv in Lvm(shell, udev=False).report().lvs] == [frozenset()]
