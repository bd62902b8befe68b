"""No name of a leased disk, of its partitions or of what others make of them passes LVM's filter."""

import re
from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from kit.linux_data import lvm_report
from ramshare.linux.host_checks.lvm_filters import lets_in
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_filter import STABLE_IDS, refusing, setting

pytestmark = pytest.mark.unit

BY_ID = "/dev/disk/by-id/scsi-3672616d0123456789abcdef012345678"
BY_PATH = "/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.2026-11.io.ramshare:hosta.l1-lun-1"
OWNERS = ["a|^/dev/sd|", "a|^/dev/mapper/|", "a|^/dev/md|", "r|.*|"]
LEASE_DISKS = 'devices {\n\tuse_devicesfile=%s\n\tfilter=["a|^/dev/sd|","r|a \\"name\\"|"]\n}\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with a lease `sdb` (encrypted, with a forged partition in an array) and a disk `sdba` of its own."""
    block = tmp_path / "sys/class/block"
    holders = {"sdb": {"dm-1": "CRYPT-PLAIN-ramshare-l1", "dm-2": "LVM-abc"}, "sdb1": {"md127": "", "dm-3": "part1-x"}}
    for disk in ("sdb", "sdba", "md127", "dm-1", "dm-2", "dm-3"):
        (block / disk).mkdir(parents=True)
    (block / "sdb/sdb1").mkdir()
    (block / "sdb1").symlink_to(block / "sdb/sdb1")
    for disk, names in holders.items():
        for holder, uuid in names.items():
            (block / disk / "holders").mkdir(exist_ok=True)
            (block / disk / "holders" / holder).symlink_to(block / holder)
            if uuid:
                (block / holder / "dm").mkdir()
                (block / holder / "dm/uuid").write_text(f"{uuid}\n")
    links = {BY_ID: "sdb", f"{BY_ID}-part1": "sdb1", "/dev/md/forged": "md127", "/dev/mapper/ramshare-l1": "dm-1"}
    for name, device in {**links, "/dev/disk/by-id/ata-mine": "sdba", "/dev/mapper/kpartx": "dm-3"}.items():
        (tmp_path / "dev" / device).touch() if (tmp_path / "dev").exists() else (tmp_path / "dev").mkdir()
        link = tmp_path / name.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(tmp_path / "dev" / device)
    return tmp_path


@pytest.mark.parametrize(
    "names",
    [
        ("/dev/sdb", BY_ID),
        ("/dev/sdb1", f"{BY_ID}-part1"),
        ("/dev/md127", "/dev/md/forged"),
        ("/dev/dm-3", "/dev/mapper/kpartx"),
    ],
)
def test_a_lease_and_whatever_is_made_of_its_content_is_hidden_by_all_its_names(
    root: Path, names: tuple[str, ...]
) -> None:
    assert lets_in(OWNERS, names)
    assert not lets_in([*refusing(["/dev/sdb"], root), *OWNERS], names)


@pytest.mark.parametrize("names", [("/dev/sdba", "/dev/disk/by-id/ata-mine"), ("/dev/mapper/ramshare-l1", "/dev/dm-1")])
def test_the_hosts_own_disks_and_the_encrypted_device_are_seen(root: Path, names: tuple[str, ...]) -> None:
    assert lets_in([*STABLE_IDS, *refusing(["/dev/sdb"], root), *OWNERS], names)


@pytest.mark.parametrize("names", [(BY_ID,), (f"{BY_ID}-part1",), (BY_PATH,), (f"{BY_PATH}-part1",)])
def test_by_its_stable_names_a_lease_is_hidden_whatever_letter_it_has(names: tuple[str, ...]) -> None:
    assert not lets_in(STABLE_IDS, names)


def test_no_lease_is_no_filter(tmp_path: Path) -> None:
    runner = FakeRunner().on("lvm", ..., stdout=lvm_report("linear"))
    Lvm(runner, udev=True, devices_files=tmp_path).report()
    assert "devices/filter" not in " ".join(runner.calls[0])


def test_every_command_hides_what_is_to_be_hidden_besides_what_the_owner_hides(tmp_path: Path) -> None:
    runner = FakeRunner().on("lvm", ..., stdout=lvm_report("linear")).on("lvchange", ...)
    runner.on("lvm", "lvmconfig", ..., stdout=LEASE_DISKS % 0)
    lvm = Lvm(runner, udev=True, devices_files=tmp_path, hidden=lambda: ("r|^/dev/sdb$|",))
    lvm.report()
    lvm.change_lv_tags("vg0/swap", add=["x"])
    wanted = r'devices/filter=["r|^/dev/sdb$|","a|^/dev/sd|","r|a \"name\"|"]'
    assert [wanted in " ".join(call) for call in runner.calls] == [False, True, True]


@pytest.mark.parametrize(("use", "filtered"), [(1, False), (0, True)])
def test_a_devices_file_in_use_needs_no_filter_which_lvm_would_complain_of(
    tmp_path: Path, use: int, *, filtered: bool
) -> None:
    (tmp_path / "system.devices").touch()
    runner = FakeRunner().on("lvm", ..., stdout=lvm_report("linear"))
    runner.on("lvm", "lvmconfig", ..., stdout=LEASE_DISKS % use)
    Lvm(runner, udev=True, devices_files=tmp_path, hidden=lambda: ("r|^/dev/sdb$|",)).report()
    assert ("devices/filter=[" in " ".join(runner.calls[-1])) is filtered


def test_a_filter_is_written_as_lvm_reads_it() -> None:
    assert re.fullmatch(r'devices/filter=\["r\|a\\\\b\|","a\|\\"\|"\]', setting(["r|a\\b|", 'a|"|']))
