"""The lab's own libvirt: domains as they are asked for, the daemon's life, and what is said when it is not there."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kit.fakes import FakeRunner
from ramshare.linux.domain_xml import why_left_alone
from ramshare_lab.cluster.journal import Journal
from ramshare_lab.cluster.kernel import Kernel
from ramshare_lab.cluster.libvirt_host import LibvirtHost, LibvirtVm
from ramshare_lab.cluster.libvirt_xml import domain_xml
from ramshare_lab.cluster.spec import LabSpec
from ramshare_lab.cluster.vm import VmError
from ramshare_lab.cluster.vm_spec import MIB, DiskSpec, VmSpec

pytestmark = pytest.mark.unit

KERNEL = Kernel("6.1.0-1-amd64", Path("/cache/linux-image-6.1.0-1-amd64"))
SPEC = VmSpec(
    lab="demo",
    name="web1",
    role="guest",
    state_dir=Path("/state/web1"),
    address="10.77.0.31",
    prefix_length=24,
    mac="52:54:00:4d:00:1f",
    tap="t-web1",
    mtu=9000,
    memory_bytes=512 * MIB,
    disk=DiskSpec(Path("/disks/web1.raw"), 256 * MIB),
    swap_bytes=256 * MIB,
)


def domain(accel: str = "tcg", spec: VmSpec = SPEC) -> ElementTree.Element:
    return ElementTree.fromstring(domain_xml(spec, KERNEL, Path("/cache/initramfs.cpio"), accel, python="/venv/python"))


def test_the_domain_is_called_as_its_monitor_reports_and_gets_its_memory() -> None:
    xml = domain()
    assert xml.findtext("name") == "web1"
    memory = xml.find("memory")
    assert memory is not None and (memory.text, memory.get("unit")) == (str(512 * MIB), "b")
    assert "ramshare.name=web1" in (xml.findtext("os/cmdline") or "")


def test_its_balloon_is_one_that_the_lender_uses() -> None:
    xml = domain_xml(SPEC, KERNEL, Path("/i"), "tcg")
    assert why_left_alone(xml) == ""
    assert ElementTree.fromstring(xml).find("devices/memballoon/stats") is None  # the lender asks for them itself


def test_only_the_state_directory_can_be_written() -> None:
    shares = domain().findall("devices/filesystem")
    places = {share.find("source").get("dir"): share.find("readonly") is not None for share in shares}  # type: ignore[union-attr]
    assert places == {"/": True, "/state/web1/persist": False}


def test_the_tap_is_the_labs_own() -> None:
    target = domain().find("devices/interface/target")
    assert target is not None and target.attrib == {"dev": "t-web1", "managed": "no"}


def test_its_swap_disk_is_a_hard_disk_and_without_limits_there_is_no_throttle() -> None:
    tune = domain().find("devices/disk/iotune")
    assert tune is not None and tune.findtext("total_iops_sec") == "120"
    free = replace(SPEC, disk=DiskSpec(Path("/d"), MIB, iops=0, bytes_per_s=0))
    assert domain(spec=free).find("devices/disk/iotune") is None
    assert domain(spec=replace(SPEC, disk=None)).find("devices/disk") is None


@pytest.mark.parametrize(("accel", "kind", "cpu"), [("tcg", "qemu", "maximum"), ("kvm", "kvm", "host-passthrough")])
def test_emulation_and_kvm_are_told_apart(accel: str, kind: str, cpu: str) -> None:
    xml = domain(accel)
    found = xml.find("cpu")
    assert found is not None and (xml.get("type"), found.get("mode")) == (kind, cpu)
    assert [x.get("name") for x in found] == (["erms", "fsrm"] if accel == "tcg" else [])


def test_a_lab_whose_lender_uses_balloons_has_its_guests_memory_and_little_else() -> None:
    spec = LabSpec(lenders=2, guests=2, guest_memory_bytes=512 * MIB, host_bytes=64 * MIB, lender_bytes=900 * MIB)
    assert spec.host_capacity_bytes("hosta") == 1088 * MIB
    assert spec.host_capacity_bytes("hostb") == 900 * MIB
    assert LabSpec(guests=1, lender_bytes=400 * MIB).host_capacity_bytes("hosta") == 656 * MIB


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def guest(runner: FakeRunner, tmp_path: Path) -> LibvirtVm:
    host = LibvirtHost(tmp_path / "libvirt", runner, Journal(tmp_path / "journal"))
    spec = replace(SPEC, state_dir=tmp_path, disk=DiskSpec(tmp_path / "disk.raw", MIB))
    return LibvirtVm(spec, "<domain/>", host, runner)


def test_a_guest_is_started_stopped_and_ballooned_by_its_own_libvirtd(
    runner: FakeRunner, guest: LibvirtVm, tmp_path: Path
) -> None:
    own = ("virsh", "-q", "-c", f"qemu:///system?socket={tmp_path}/libvirt/sockets/libvirt-sock")
    runner.on(*own, ...)
    runner.on(*own, "domstate", "web1", stdout="running\n")
    runner.on(*own, "dommemstat", "web1", stdout="actual 290584\nlast_update 1795393095\n\nrss 467616\n")
    guest.start()
    guest.balloon(256 * MIB)
    assert guest.balloon_actual_bytes() == 290584 * 1024
    guest.stop()
    assert [call[4:] for call in runner.calls] == [
        ("create", str(tmp_path / "domain.xml")),
        ("setmem", "web1", "262144k", "--live"),
        ("dommemstat", "web1"),
        ("domstate", "web1"),
        ("destroy", "web1"),
    ]
    assert (tmp_path / "disk.raw").stat().st_size == MIB


def test_a_guest_that_libvirt_does_not_know_is_off_and_one_that_it_refuses_is_an_error(
    runner: FakeRunner, guest: LibvirtVm
) -> None:
    runner.on("virsh", ..., returncode=1, stderr="error: failed to get domain 'web1'")
    assert not guest.running()
    guest.stop()
    with pytest.raises(VmError, match="does not start web1"):
        guest.start()
