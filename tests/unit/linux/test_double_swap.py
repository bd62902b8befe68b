"""Two swaps on one device, as `--check` finds them on a host with udev's names."""

from pathlib import Path

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.host_checks import swap_queue
from ramshare.linux.host_checks.double_swap import judge, observe, unescape
from ramshare.linux.host_checks.model import Finding, Host

pytestmark = pytest.mark.unit

UUID = "dc73c657-23f4-47d1-9bb6-8e88340f4b8b"


class Machine:
    """A root directory: one volume `debian-vg/swap_1`, another, and a loop device over the first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for place in (
            "proc",
            "etc/systemd/system/swap.target.wants",
            "dev/mapper",
            "dev/disk/by-uuid",
            "dev/debian-vg",
        ):
            (root / place).mkdir(parents=True)
        for device in ("dm-0", "dm-1", "loop0"):
            (root / "dev" / device).touch()
        for link in ("mapper/debian--vg-swap_1", "debian-vg/swap_1"):
            (root / "dev" / link).symlink_to("../dm-0")
        (root / "dev/disk/by-uuid" / UUID).symlink_to("../../dm-0")
        backing = root / "sys/block/loop0/loop/backing_file"
        backing.parent.mkdir(parents=True)
        backing.write_text("/dev/dm-0\n")
        backing.with_name("offset").write_text("0\n")
        self.active()

    def active(self, *devices: str) -> None:
        lines = [f"{device} partition 65532 532 -2" for device in devices]
        (self.root / "proc/swaps").write_text("\n".join(["Filename Type Size Used Priority", *lines]) + "\n")

    def fstab(self, *lines: str) -> None:
        (self.root / "etc/fstab").write_text("# a comment swap\n" + "\n".join(lines) + "\n")

    def enable(self, instance: str) -> None:
        link = self.root / "etc/systemd/system/swap.target.wants" / f"ramshare-swap@{instance}.service"
        link.symlink_to("/etc/systemd/system/ramshare-swap@.service")

    def findings(self) -> list[Finding]:
        return judge(observe(Host(FakeRunner(), self.root)))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("direct", ["/dev/dm-0", "/dev/mapper/debian--vg-swap_1", "/dev/debian-vg/swap_1"])
def test_a_volume_swapped_to_directly_and_through_a_loop_device_stops_the_agent(machine: Machine, direct: str) -> None:
    machine.active("/dev/dm-1", direct, "/dev/loop0")
    [found] = machine.findings()
    assert found.blocks
    assert f"{direct} and the swap /dev/loop0 are one device" in str(found)


@pytest.mark.parametrize(
    "spec",
    ["/dev/debian-vg/swap_1", "/dev/mapper/debian--vg-swap_1", "/dev/dm-0", f"UUID={UUID}", f'UUID="{UUID}"'],
)
def test_fstabs_line_beside_the_unit_is_told_before_both_are_active(machine: Machine, spec: str) -> None:
    machine.fstab("/dev/sda1 / ext4 defaults 0 1", f"{spec} none swap sw 0 0")
    machine.enable(r"debian\x2dvg-swap_1")
    [found] = machine.findings()
    assert not found.blocks
    assert f"line 3 of /etc/fstab ({spec})" in str(found)


def test_fstabs_line_beside_an_active_loop_device_is_told(machine: Machine) -> None:
    machine.fstab("/dev/mapper/debian--vg-swap_1 none swap sw 0 0")
    machine.active("/dev/loop0")
    assert len(machine.findings()) == 1


def test_one_way_to_swap_to_each_device_is_right(machine: Machine) -> None:
    machine.fstab("/dev/dm-1 none swap sw 0 0", "/swap.img none swap sw 0 0")
    machine.enable(r"debian\x2dvg-swap_1")
    machine.active("/dev/loop0", "/dev/dm-1", "/swap.img")
    assert machine.findings() == []


def test_a_line_that_nobody_turns_on_by_itself_is_no_second_swap(machine: Machine) -> None:
    machine.fstab("/dev/dm-0 none swap sw,noauto 0 0")
    machine.enable(r"debian\x2dvg-swap_1")
    assert machine.findings() == []


def test_a_host_without_fstab_or_swap_has_nothing_to_say(tmp_path: Path) -> None:
    assert judge(observe(Host(FakeRunner(), tmp_path))) == []


@pytest.mark.parametrize(
    ("instance", "path"),
    [("vg0-swap", "vg0/swap"), (r"debian\x2dvg-swap_1", "debian-vg/swap_1"), (r"a\x2bb-c.d", "a+b/c.d")],
)
def test_a_units_instance_names_a_path_as_systemd_escape_writes_it(instance: str, path: str) -> None:
    assert unescape(instance) == path


def test_a_volume_that_the_host_swaps_to_directly_has_no_queue(machine: Machine) -> None:
    for name, value in (("name", "debian--vg-swap_1"), ("uuid", "LVM-abc")):
        place = machine.root / "sys/class/block/dm-0/dm" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{value}\n")
    host = Host(FakeRunner(), machine.root)
    machine.active("/dev/mapper/debian--vg-swap_1", "/dev/dm-1", "/swap.img")
    [found] = swap_queue.judge(swap_queue.observe(host))
    assert not found.blocks
    assert "swaps to debian-vg/swap_1 directly" in found.what
    assert "--template=ramshare-swap@.service debian-vg/swap_1" in found.mend
    machine.active("/dev/loop0", "/dev/dm-1")
    assert swap_queue.observe(host) == ()
