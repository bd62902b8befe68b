"""The main job on real kernels: a thrashing process's swap goes to two lenders' memory, unreadable there, and home.

What is asked for in vain is refused with a reason and changes nothing.
"""

from collections.abc import Iterator

import pytest

from ramshare.bus.mqtt import MqttBus
from ramshare.linux.lvm import Lvm
from ramshare.messages.requests import BorrowVolume, Drain, ReturnVolume, Undrain
from ramshare.messages.state import Mode, VolumePhase
from ramshare_lab.cluster.lab import Lab
from ramshare_lab.cluster.operator import Operator, OperatorError
from ramshare_lab.cluster.secret_search import search_lab
from ramshare_lab.cluster.spec import VOLUME, LabSpec
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.load.thrash import Thrash, command

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SWAP_BYTES = 192 * MIB
DATA_BYTES = 176 * MIB
"""About 35 MiB more than stay in the VM's memory: it thrashes, and the disk of 120 IOPS reads them back in a minute."""
WITHIN_S = 180.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    spec = LabSpec(name="borrowing", guests=0, swap_bytes=SWAP_BYTES, lender_bytes=SWAP_BYTES * 3 // 4)
    with Lab(spec) as running:
        yield running


@pytest.fixture(scope="module")
def operator(lab: Lab) -> Iterator[Operator]:
    with Operator(MqttBus(lab.broker.settings("cli.lab"), "cli.lab"), "borrower.hostx") as connected:
        connected.wait_ready(SWAP_BYTES)
        yield connected


def nothing_is_left(lab: Lab, operator: Operator) -> None:
    """The volume is as it was before anybody borrowed, on the host and at every lender."""
    state = Lvm(lab.borrower.shell, udev=False).report()
    volume = state.lv(VOLUME)
    assert volume is not None
    assert (volume.layout, volume.tags) == ("linear", frozenset())
    assert [pv.name for pv in state.pvs] == ["/dev/vda"]
    assert [lv.name for lv in state.lvs] == ["swap"]
    assert operator.leases() == []
    for host in lab.spec.lender_names:
        offer = operator.offer(f"lender.{host}")
        assert offer is not None
        assert offer.lent_bytes == 0
        assert list((lab.state_dir / "lender" / host).glob("*.img")) == []


def test_an_unknown_volume_is_refused_by_name(lab: Lab, operator: Operator) -> None:
    with pytest.raises(OperatorError, match="no volume group nosuch"):
        operator.borrow("nosuch/swap", Mode.MIRROR)
    with pytest.raises(OperatorError, match="no logical volume vg0/nosuch"):
        operator.borrow("vg0/nosuch", Mode.MIRROR)
    nothing_is_left(lab, operator)


def test_a_volume_that_is_not_swap_is_refused(lab: Lab, operator: Operator) -> None:
    shell = lab.borrower.shell
    create = ["lvcreate", "--yes", "--config", "activation{udev_sync=0 udev_rules=0}", "-n", "data", "-l", "1", "vg0"]
    shell.run(create)
    try:
        with pytest.raises(OperatorError, match="vg0/data is not swap"):
            operator.borrow("vg0/data", Mode.MIRROR)
    finally:
        shell.run(["lvremove", "--yes", "--config", "activation{udev_sync=0 udev_rules=0}", "vg0/data"])
    nothing_is_left(lab, operator)


def test_more_than_the_cluster_has_is_refused_with_how_much_there_is(lab: Lab, operator: Operator) -> None:
    for host in lab.spec.lender_names:
        operator.ask(f"lender.{host}", Drain())
    try:
        with pytest.raises(OperatorError, match="the cluster can lend 0 MiB now"):
            operator.borrow(VOLUME, Mode.MIRROR)
    finally:
        for host in lab.spec.lender_names:
            operator.ask(f"lender.{host}", Undrain())
    operator.wait_ready(SWAP_BYTES)
    nothing_is_left(lab, operator)


@pytest.mark.parametrize(
    ("mode", "part_bytes"),
    [
        pytest.param(Mode.MOVE, None, id="move"),
        pytest.param(Mode.MIRROR, None, id="mirror"),
        pytest.param(Mode.MOVE, 96 * MIB, id="a part by move"),
    ],
)
def test_a_thrashing_process_keeps_every_page_while_its_swap_goes_to_two_lenders_and_home(
    lab: Lab, operator: Operator, mode: Mode, part_bytes: int | None
) -> None:
    away_bytes = part_bytes or SWAP_BYTES
    with Thrash(lab.borrower.shell.open(command(DATA_BYTES))) as thrash:
        thrash.init()
        thrash.start_storm(20)
        borrow = BorrowVolume(volume=VOLUME, mode=mode, min_lenders=2, size_bytes=part_bytes)
        first = operator.ask("borrower.hostx", borrow)
        again = operator.ask("borrower.hostx", borrow)
        assert again.model_dump(exclude={"seq", "at"}) == first.model_dump(exclude={"seq", "at"})
        attached = operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
        assert {lease.lender for lease in operator.leases()} == {"lender.hosta", "lender.hostb"}
        leg_metadata = range(64 * MIB) if mode is Mode.MIRROR else range(1)
        assert attached.remote_bytes - away_bytes in leg_metadata
        assert attached.local_bytes == (SWAP_BYTES if mode is Mode.MIRROR else SWAP_BYTES - away_bytes)
        lent = [int(place.rpartition(" ")[2]) for place in attached.placement if place.startswith("lender.")]
        assert (len(lent), sum(lent)) == (2, attached.remote_bytes)
        searched = search_lab(lab)
        home = ReturnVolume(volume=VOLUME)
        operator.ask("borrower.hostx", home)
        operator.ask("borrower.hostx", home)
        operator.follow(VOLUME, VolumePhase.HOME, WITHIN_S)
        storm = thrash.stop_storm()
        checked = thrash.check()
    assert storm.operations > 0
    assert (storm.bad_pages, checked.bad_pages_total) == (0, 0)
    assert searched.found == ()
    assert searched.secrets >= 2 + 1, "of each lease, and an account's at least"
    operator.listen(3.0)
    nothing_is_left(lab, operator)


SECRET = b"what was swapped out is nobody else's"
_SWAP_IT_OUT = f"""
import mmap, time
pages = mmap.mmap(-1, 4 << 20)
pages.write(({SECRET!r} + bytes(4096))[:4096] * 1024)
pages.madvise(21)  # MADV_PAGEOUT
time.sleep(3)
"""
_ONLY = 'filter=["a|^/dev/loop|","r|.*|"]'
_FORGE = f"""
truncate -s 8M /dev/shm/forged
mkdir -p /run/forge  # LVM makes no second vg0 where /dev/vg0 is
loop=$(losetup --find --show /dev/shm/forged)
only='devices{{dir="/run/forge" scan=["/dev"] {_ONLY} global_{_ONLY}}} backup{{backup=0 archive=0}}'
vgcreate -q -s 1m --config "$only" vg0 "$loop"
losetup --detach "$loop"
cp /dev/shm/forged /var/lib/ramshare/forged && rm /dev/shm/forged
"""


def lent(lab: Lab) -> dict[str, bytes]:
    """Return what each lender's root can read of what it has lent."""
    images = {host: [*(lab.state_dir / "lender" / host).glob("*.img")] for host in lab.spec.lender_names}
    return {host: b"".join(image.read_bytes() for image in found) for host, found in images.items()}


def joined(lab: Lab) -> list[str]:
    """Return the devices that the group has got from lenders, as LVM knows them."""
    return [pv.name for pv in Lvm(lab.borrower.shell, udev=False).report().disks_of("vg0") if pv.name != "/dev/vda"]


@pytest.mark.parametrize("encrypt", [True, False])
def test_a_lenders_root_reads_pages_only_where_encryption_was_done_without(
    lab: Lab, operator: Operator, *, encrypt: bool
) -> None:
    operator.borrow(VOLUME, Mode.MIRROR, encrypt=encrypt)
    operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
    lab.borrower.shell.run(["python3", "-c", _SWAP_IT_OUT])
    assert any(SECRET in memory for memory in lent(lab).values()) is not encrypt
    assert all(name.startswith("/dev/mapper/ramshare-" if encrypt else "/dev/sd") for name in joined(lab))
    operator.send_home(VOLUME)
    operator.follow(VOLUME, VolumePhase.HOME, WITHIN_S)
    operator.listen(3.0)
    nothing_is_left(lab, operator)


def test_a_lender_that_forges_a_label_of_the_borrowers_own_group_loses_its_lease_and_stops_nothing(
    lab: Lab, operator: Operator
) -> None:
    lab.borrower.shell.run(["sh", "-ec", _FORGE])
    forged = (lab.borrower.spec.persist_dir / "forged").read_bytes()
    assert b"vg0" in forged
    operator.borrow(VOLUME, Mode.MIRROR, min_lenders=2)
    operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
    [image] = (lab.state_dir / "lender" / "hosta").glob("*.img")
    with image.open("r+b") as memory:
        memory.write(forged[: 1 << 20])
    operator.send_home(VOLUME)
    operator.follow(VOLUME, VolumePhase.HOME, WITHIN_S)
    operator.listen(3.0)
    nothing_is_left(lab, operator)


def test_a_lender_that_vanishes_between_grant_and_login_costs_time_only(lab: Lab, operator: Operator) -> None:
    lab.network.cut("hosta", peer="hostx")
    try:
        operator.borrow(VOLUME, Mode.MIRROR, min_lenders=2)
        failed = operator.until(lambda: "failed" in str(operator.volume(VOLUME)), WITHIN_S)
        assert failed, "the failed login is not told"
    finally:
        lab.network.mend("hosta", peer="hostx")
    operator.follow(VOLUME, VolumePhase.ATTACHED, WITHIN_S)
    operator.send_home(VOLUME)
    operator.follow(VOLUME, VolumePhase.HOME, WITHIN_S)
    operator.listen(3.0)
    nothing_is_left(lab, operator)
