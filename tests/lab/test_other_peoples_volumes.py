"""On a host with other people's volumes, a second disk, and sectors of 4096 bytes: what is not ours stays as it was."""

from collections.abc import Iterator

import pytest

from ramshare.bus.mqtt import MqttBus
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_state import LvmState
from ramshare.linux.run import Completed
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator, OperatorError
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.load.thrash import Thrash, command

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SWAP_BYTES = 64 * MIB
DATA_BYTES = 48 * MIB
WITHIN_S = 150.0
CONFIG = 'activation{udev_sync=0 udev_rules=0} global{thin_check_executable=""}'
GUESTS = ("vg0/striped", "vg0/pool", "vg0/thin", "vg0/both")
"""A guest's striped volume, a thin pool with a volume in it, and a raid1: all over both local disks."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    spec = LabSpec(
        name="others",
        lenders=1,
        guests=0,
        swap_bytes=SWAP_BYTES,
        lender_bytes=SWAP_BYTES + 32 * MIB,
        sector_bytes=4096,
        second_disk_bytes=128 * MIB,
        disk_iops=0,
    )
    with Lab(spec) as running:
        yield running


@pytest.fixture(scope="module")
def operator(lab: Lab) -> Iterator[Operator]:
    with Operator(MqttBus(lab.broker.settings("cli.lab"), "cli.lab"), "borrower.hostx") as connected:
        connected.wait_ready(SWAP_BYTES)
        yield connected


def lvm(lab: Lab, *argv: str) -> Completed:
    return lab.borrower.shell.run([argv[0], "--config", CONFIG, *argv[1:]], timeout_s=120.0)


def state(lab: Lab) -> LvmState:
    return Lvm(lab.borrower.shell, udev=False).report()


def guests(lab: Lab) -> dict[str, tuple[str, bool, int]]:
    """Return of each foreign volume what it is, whether a part is gone, and on how many devices it lies."""
    found = [lv for lv in state(lab).lvs if lv.full_name in GUESTS]
    return {lv.full_name: (lv.segtype, lv.health == "partial", len(lv.pvs)) for lv in found}


def sector_sizes(lab: Lab) -> str:
    """Return what the kernel says of the lease's disk and of each device of LVM."""
    sizes = (
        "for d in /sys/block/sd* /sys/block/dm-*; do echo ${d##*/} $(cat $d/dm/name $d/queue/logical_block_size); done"
    )
    return lab.borrower.shell.run(["sh", "-c", sizes]).stdout


def come_home(operator: Operator) -> None:
    operator.send_home(VOLUME)
    operator.follow(VOLUME, VolumePhase.HOME, WITHIN_S)


def test_a_full_disk_is_refused_before_any_lease_is_made(lab: Lab, operator: Operator) -> None:
    lvm(lab, "lvcreate", "--yes", "--name", "filler", "--extents", "100%FREE", "vg0")
    try:
        with pytest.raises(OperatorError, match="has no room for the extent"):
            operator.borrow(VOLUME, Mode.MIRROR)
        offer = operator.offer("lender.hosta")
        assert offer is not None
        assert offer.lent_bytes == 0
    finally:
        lvm(lab, "lvremove", "--yes", "vg0/filler")


@pytest.mark.parametrize("mode", [Mode.MIRROR, Mode.MOVE])
def test_swap_on_a_disk_with_sectors_of_4096_bytes_goes_out_and_home_and_keeps_every_page(
    lab: Lab, operator: Operator, mode: Mode
) -> None:
    shell = lab.borrower.shell
    assert shell.run(["cat", "/sys/block/vda/queue/logical_block_size"]).stdout.strip() == "4096"
    with Thrash(shell.open(command(DATA_BYTES))) as thrash:
        thrash.init()
        thrash.page_out()
        thrash.start_storm(50)
        operator.borrow(VOLUME, mode)
        operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
        # A volume has the largest sectors of the disks below it: those of home while a leg of it lies there.
        assert f"vg0-swap {4096 if mode is Mode.MIRROR else 512}\n" in sector_sizes(lab)
        thrash.stop_storm()
        thrash.page_out()
        thrash.start_storm(50)
        come_home(operator)
        storm = thrash.stop_storm()
        thrash.page_out()
        checked = thrash.check()
    assert (storm.bad_pages, checked.bad_pages_total) == (0, 0)
    errors = [line for line in shell.run(["dmesg"]).stdout.splitlines() if "rror" in line and "sd" in line]
    assert errors == []


def test_nothing_of_others_is_removed_while_their_disk_is_late_and_the_volume_cleans_up_when_it_is_there(
    lab: Lab, operator: Operator
) -> None:
    operator.wait_ready(SWAP_BYTES)
    make_guests(lab)
    before = guests(lab)
    assert before.keys() == set(GUESTS)
    operator.borrow(VOLUME, Mode.MIRROR)
    operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
    marker = lab.borrower.spec.persist_dir / "late_disk"
    marker.touch()
    lab.network.cut("hosta")
    try:
        lab.borrower.reset()
        operator.listen(3.0)
        lab.borrower.wait_ready()
        lab.agents["borrower.hostx"].kill()
        lab.start_agents_on("hostx")
        waits = operator.until(lambda: "misses a device of" in str(operator.volume(VOLUME)), WITHIN_S)
        assert waits, f"the volume is {operator.volume(VOLUME)}"
        operator.listen(15.0)
        assert guests(lab).keys() == set(GUESTS)
        assert "/dev/" in lab.borrower.shell.run(["cat", "/proc/swaps"]).stdout, "swap runs on the local leg"
        lab.borrower.shell.run(["sh", "-c", FIND_DISK])
        marker.unlink()
        cleaned = operator.until(lambda: not operator.leases() or repaired(operator), WITHIN_S)
        assert cleaned, f"the volume is {operator.volume(VOLUME)}"
        assert guests(lab) == before
    finally:
        lab.network.mend("hosta")
    operator.wait_ready(SWAP_BYTES)
    operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
    come_home(operator)
    assert guests(lab) == before


FIND_DISK = """
for device in /sys/bus/virtio/devices/*; do
    [ "$(cat "$device/device")" != 0x0002 ] || [ -e "$device/driver" ] ||
        basename "$device" > /sys/bus/virtio/drivers/virtio_blk/bind
done
"""


def repaired(operator: Operator) -> bool:
    """Whether the lost lease is gone: memory is asked for again."""
    volume = operator.volume(VOLUME)
    return volume is not None and "ask the manager" in volume.step


def make_guests(lab: Lab) -> None:
    lvm(lab, "vgextend", "--yes", "vg0", "/dev/vdb")
    for argv in (
        ("lvcreate", "--type", "striped", "--stripes", "2", "--size", "8m", "--name", "striped", "vg0"),
        ("lvcreate", "--type", "thin-pool", "--zero", "n", "--size", "12m", "--name", "pool", "vg0", "/dev/vdb"),
        ("lvcreate", "--type", "thin", "--virtualsize", "8m", "--thinpool", "pool", "--name", "thin", "vg0"),
        ("lvcreate", "--type", "raid1", "--mirrors", "1", "--size", "8m", "--name", "both", "vg0"),
    ):
        signatures = () if "thin-pool" in argv else ("--wipesignatures", "n")
        lvm(lab, argv[0], "--yes", *signatures, *argv[1:])
