"""multipath-tools on a borrower: two lenders' disks are never one, and none of them is taken from LVM."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramshare.bus.mqtt import MqttBus
from ramshare.linux.host_checks.multipath import MEND, MultipathFacts, judge
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator
from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        shutil.which("multipathd") is None, reason="not installed: multipathd (apt-get install multipath-tools)"
    ),
]

SWAP_BYTES = 64 * MIB
WITHIN_S = 180.0
OURS = Path(__file__).parents[2] / "agents/multipath/ramshare.conf"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    spec = LabSpec(name="multipath", guests=0, swap_bytes=SWAP_BYTES, lender_bytes=SWAP_BYTES * 3 // 4)
    with Lab(spec) as running:
        yield running


@pytest.fixture(scope="module")
def operator(lab: Lab) -> Iterator[Operator]:
    with Operator(MqttBus(lab.broker.settings("cli.lab"), "cli.lab"), "borrower.hostx") as connected:
        connected.wait_ready(SWAP_BYTES)
        yield connected


class Multipath:
    """multipathd, with udevd that it needs, in the borrower's VM."""

    def __init__(self, shell: RemoteShell) -> None:
        self.shell = shell
        self._sh("modprobe dm_multipath; /lib/systemd/systemd-udevd --daemon; udevadm trigger; udevadm settle")

    def start(self, find_multipaths: str, *files: Path) -> None:
        """Run anew with this policy and these files."""
        self.stop()
        self._sh("rm -rf /etc/multipath; mkdir -p /etc/multipath/conf.d")
        self._sh(
            f"printf 'defaults {{\\n find_multipaths {find_multipaths}\\n}}\\n' > /etc/multipath/conf.d/0site.conf"
        )
        for file in files:
            self._sh(f"cp {file} /etc/multipath/conf.d/")
        self._sh("multipathd")
        self._sh("for i in $(seq 100); do multipathd show status > /dev/null 2>&1 && exit; sleep 0.2; done; exit 1")

    def stop(self) -> None:
        """End the daemon and drop what it made."""
        self._sh("multipathd shutdown; while [ -e /run/multipathd.pid ]; do sleep 0.2; done; multipath -F; true")

    def mend(self) -> None:
        """Do what the check of a host, and the volume, advise."""
        self._sh(MEND)

    def maps(self) -> list[str]:
        """Return the names of all maps."""
        said = self._sh("udevadm settle; dmsetup ls --target multipath").split("\n")
        return [line.split()[0] for line in said if "(" in line]

    def paths(self) -> list[str]:
        """Return the WWID of every disk that the kernel has by iSCSI."""
        return self._sh("cat /sys/block/sd*/device/wwid 2> /dev/null; true").split()

    def findings(self) -> list[bool]:
        """Return whether the check of the host finds anything: for each finding, whether it stops the borrower."""
        return [found.blocks for found in judge(MultipathFacts(self._sh("multipathd show config")))]

    def _sh(self, script: str) -> str:
        return self.shell.run(["sh", "-c", script], timeout_s=120).stdout


@pytest.fixture(scope="module")
def multipath(lab: Lab) -> Multipath:
    return Multipath(lab.borrower.shell)


def goes_home(operator: Operator) -> None:
    operator.send_home(VOLUME)
    operator.follow(VOLUME, VolumePhase.HOME, WITHIN_S)


@pytest.mark.parametrize("mode", [Mode.MOVE, Mode.MIRROR])
@pytest.mark.parametrize(("find", "files"), [("yes", ()), ("greedy", (OURS,))])
def test_two_lenders_disks_are_two_and_no_map_is_made_over_them(
    operator: Operator, multipath: Multipath, find: str, files: tuple[Path, ...], mode: Mode
) -> None:
    multipath.start(find, *files)
    assert multipath.findings() == ([] if files else [False])
    operator.borrow(VOLUME, mode, min_lenders=2)
    operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
    assert {lease.lender for lease in operator.leases()} == {"lender.hosta", "lender.hostb"}
    wwids = multipath.paths()
    assert len(wwids) == len(set(wwids)) == 2
    assert all(wwid.startswith("naa.672616d") for wwid in wwids)
    assert multipath.maps() == []
    goes_home(operator)


def test_where_every_disk_is_mapped_the_volume_says_so_and_goes_on_once_that_is_mended(
    operator: Operator, multipath: Multipath
) -> None:
    multipath.start("greedy")
    assert multipath.findings() == [True]
    operator.borrow(VOLUME, Mode.MIRROR, min_lenders=2)

    def said() -> bool:
        volume = operator.volume(VOLUME)
        return volume is not None and "multipath" in volume.step

    assert operator.until(said, WITHIN_S), operator.volume(VOLUME)
    assert multipath.maps(), "else this test shows nothing"
    multipath.mend()
    operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
    assert multipath.maps() == []
    goes_home(operator)
    multipath.stop()
