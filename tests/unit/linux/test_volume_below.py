"""What a guest's disk lies on, from a made-up sysfs: a volume under any name, its partitions, loop devices over it."""

from pathlib import Path

import pytest

from ramshare.linux.dm import volume_below

pytestmark = pytest.mark.unit


class Devices:
    """A `/dev` and a `/sys` as the kernel and udev would have them."""

    def __init__(self, root: Path) -> None:
        self.sys, self.dev = root / "sys", root / "dev"
        (self.sys / "class/block").mkdir(parents=True)
        self.dev.mkdir()

    def block(self, name: str, below: str = "") -> Path:
        home = self.sys / "devices" / (f"{below}/{name}" if below else name)
        home.mkdir(parents=True)
        (self.sys / "class/block" / name).symlink_to(home)
        (self.dev / name).touch()
        return home

    def mapping(self, name: str, dm_name: str, uuid: str, *slaves: str) -> None:
        home = self.block(name)
        (home / "dm").mkdir()
        (home / "dm/name").write_text(f"{dm_name}\n")
        (home / "dm/uuid").write_text(f"{uuid}\n")
        for slave in slaves:
            (home / "slaves" / slave).mkdir(parents=True)
        self.alias(f"mapper/{dm_name}", name)

    def alias(self, path: str, name: str) -> None:
        link = self.dev / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.dev / name)

    def below(self, text: str) -> str | None:
        return volume_below(text, self.sys, self.dev)


@pytest.fixture
def devices(tmp_path: Path) -> Devices:
    found = Devices(tmp_path)
    found.block("sda")
    found.mapping("dm-0", "vg0-swap", "LVM-abc", "sda")
    found.mapping("dm-1", "vg--a-web1", "LVM-def", "sda")
    found.alias("vg0/swap", "dm-0")
    found.alias("disk/by-id/dm-uuid-LVM-abc", "dm-0")
    found.alias("swap-of-web1", "dm-0")
    return found


@pytest.mark.parametrize(
    "name",
    ["/dev/vg0/swap", "/dev/mapper/vg0-swap", "/dev/dm-0", "/dev/disk/by-id/dm-uuid-LVM-abc", "/dev/swap-of-web1"],
)
def test_a_volume_is_known_under_all_its_names(devices: Devices, name: str) -> None:
    assert devices.below(name) == "vg0/swap"


def test_a_partition_of_a_volume_is_the_volumes(devices: Devices) -> None:
    devices.mapping("dm-2", "vg0-swap1", "part1-LVM-abc", "dm-0")
    assert devices.below("/dev/mapper/vg0-swap1") == "vg0/swap"


def test_a_loop_device_over_a_volume_and_a_partition_of_that_are_the_volumes(devices: Devices) -> None:
    loop = devices.block("loop0")
    (loop / "loop").mkdir()
    (loop / "loop/backing_file").write_text("/dev/mapper/vg0-swap\n")
    (devices.block("loop0p1", below="loop0") / "partition").write_text("1\n")
    assert devices.below("/dev/loop0") == "vg0/swap"
    assert devices.below("/dev/loop0p1") == "vg0/swap"


def test_a_node_that_is_no_link_is_told_by_its_number(devices: Devices) -> None:
    (devices.dev / "mapper/vg0-plain").touch()
    (devices.sys / "dev/block").mkdir(parents=True)
    (devices.sys / "dev/block/254:0").symlink_to(devices.sys / "devices/dm-0")

    def number(node: Path) -> str | None:
        return "254:0" if node.name == "vg0-plain" else None

    assert volume_below("/dev/mapper/vg0-plain", devices.sys, devices.dev, number) == "vg0/swap"


def test_what_lies_on_two_volumes_or_on_none_is_nobodys(devices: Devices) -> None:
    devices.mapping("dm-3", "joined", "", "dm-0", "dm-1")
    devices.mapping("dm-4", "vg0-fake", "CRYPT-PLAIN-x", "sda")
    for name in ("/dev/mapper/joined", "/dev/mapper/vg0-fake", "/dev/sda"):
        assert devices.below(name) is None, name


def test_a_name_that_points_elsewhere_is_what_it_points_to(devices: Devices) -> None:
    devices.alias("vg9/swap", "dm-1")
    assert devices.below("/dev/vg9/swap") == "vg-a/web1"


@pytest.mark.parametrize(
    ("name", "volume"), [("/dev/vg0/gone", "vg0/gone"), ("vg0/xen", "vg0/xen"), ("/dev/sdz", None)]
)
def test_of_a_device_that_is_not_there_its_name_must_do(devices: Devices, name: str, volume: str | None) -> None:
    assert devices.below(name) == volume
