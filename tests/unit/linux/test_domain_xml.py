"""Guests whose memory a balloon must not touch, told by their definitions."""

import pytest

from ramshare.linux.domain_xml import (
    ENCRYPTED,
    HUGE_PAGES,
    IN_ADVANCE,
    LOCKED,
    NO_BALLOON,
    PASSED_THROUGH,
    SELF_DEFLATING,
    VIRTIO_MEM,
    disk_sources,
    why_left_alone,
)

pytestmark = pytest.mark.unit


def guest(about: str = "", devices: str = "", balloon: str = "<memballoon model='virtio'/>", kind: str = "kvm") -> str:
    more = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
    return f"<domain type='{kind}' {more}>{about}<devices>{devices}{balloon}</devices></domain>"


def qemu(*arguments: str) -> str:
    said = "".join(f"<qemu:arg value='{argument}'/>" for argument in arguments)
    return f"<qemu:commandline>{said}</qemu:commandline>"


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ("<memoryBacking><hugepages/></memoryBacking>", HUGE_PAGES),
        ("<memoryBacking><hugepages><page size='1' unit='G' nodeset='0'/></hugepages></memoryBacking>", HUGE_PAGES),
        ("<memoryBacking><nosharepages/><locked/></memoryBacking>", LOCKED),
        ("<memoryBacking><allocation mode='immediate'/></memoryBacking>", IN_ADVANCE),
        ("<launchSecurity type='sev'><policy>0x0001</policy></launchSecurity>", ENCRYPTED),
        ("<launchSecurity type='sev-snp'/>", ENCRYPTED),
        ("<launchSecurity type='tdx'/>", ENCRYPTED),
        ("<launchSecurity type='s390-pv'/>", ENCRYPTED),
        (qemu("-mem-path", "/dev/hugepages"), HUGE_PAGES),
        (qemu("-object", "memory-backend-memfd,id=m,hugetlb=on,size=4G"), HUGE_PAGES),
        (qemu("-overcommit", "mem-lock=on"), LOCKED),
        (qemu("-device", "vfio-pci,host=01:00.0"), PASSED_THROUGH),
        (qemu("-mem-prealloc"), IN_ADVANCE),
        (qemu("-machine", "confidential-guest-support=sev0"), ENCRYPTED),
        (qemu("-device", "virtio-mem-pci,id=vm0"), VIRTIO_MEM),
        (qemu("-device", "virtio-rng-pci"), ""),
        ("<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>", ""),
        ("<memoryBacking><allocation mode='ondemand'/></memoryBacking>", ""),
        ("", ""),
    ],
)
def test_memory_that_is_held_or_hidden_is_left_alone(about: str, why: str) -> None:
    assert why_left_alone(guest(about)) == why


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        ("<hostdev mode='subsystem' type='pci' managed='yes'/>", PASSED_THROUGH),
        ("<hostdev mode='subsystem' type='mdev' model='vfio-pci'/>", PASSED_THROUGH),
        ("<hostdev mode='subsystem' type='usb'/>", ""),
        ("<hostdev mode='subsystem' type='scsi'/>", ""),
        ("<hostdev mode='subsystem' type='usb'/><hostdev mode='subsystem' type='pci'/>", PASSED_THROUGH),
        ("<interface type='hostdev' managed='yes'/>", PASSED_THROUGH),
        ("<interface type='vdpa'/>", PASSED_THROUGH),
        ("<interface type='bridge'/>", ""),
        ("<disk type='nvme' device='disk'/>", PASSED_THROUGH),
        ("<disk type='vhostvdpa' device='disk'/>", PASSED_THROUGH),
        ("<disk type='block' device='disk'/>", ""),
        ("<memory model='virtio-mem'><target><requested unit='GiB'>2</requested></target></memory>", VIRTIO_MEM),
        ("<memory model='dimm'/>", ""),
    ],
)
@pytest.mark.parametrize("kind", ["kvm", "xen"])
def test_devices_that_reach_into_memory_and_what_else_sizes_it_are_left_alone(
    devices: str, why: str, kind: str
) -> None:
    assert why_left_alone(guest(devices=devices, kind=kind)) == why


@pytest.mark.parametrize(
    ("balloon", "why"),
    [
        ("<memballoon model='virtio'/>", ""),
        ("<memballoon model='virtio-non-transitional' freePageReporting='on'/>", ""),
        ("<memballoon model='xen'/>", ""),
        ("<memballoon model='none'/>", NO_BALLOON),
        ("<memballoon model='virtio' autodeflate='on'/>", SELF_DEFLATING),
        ("", NO_BALLOON),
    ],
)
def test_only_a_balloon_that_shows_in_the_guests_size_is_used(balloon: str, why: str) -> None:
    assert why_left_alone(guest(balloon=balloon)) == why


@pytest.mark.parametrize(
    ("disk", "sources"),
    [
        ("<disk type='block' device='disk'><source dev='/dev/vg0/swap'/></disk>", ["/dev/vg0/swap"]),
        ("<disk type='block'><source dev='/dev/mapper/vg0-swap' index='2'/></disk>", ["/dev/mapper/vg0-swap"]),
        ("<disk type='block' device='lun'><source dev='/dev/disk/by-id/dm-name-vg0-swap'/></disk>", None),
        ("<disk type='file' device='disk'><source file='/dev/vg0/swap'/></disk>", ["/dev/vg0/swap"]),
        ("<disk type='file' device='disk'><source file='/var/lib/images/web1.qcow2'/></disk>", []),
        ("<disk type='volume' device='disk'><source pool='vg0' volume='swap'/></disk>", ["/dev/vg0/swap"]),
        ("<disk type='volume' device='disk'><source pool='vg0'/></disk>", []),
        ("<disk type='block' device='cdrom'><source dev='/dev/sr0'/></disk>", []),
        ("<disk type='block' device='disk'><source dev='/dev/vg0/swap'/><readonly/></disk>", []),
        ("<disk type='network' device='disk'><source protocol='rbd' name='pool/swap'/></disk>", []),
        ("<disk type='block' device='disk'/>", []),
        ("<disk type='block' device='disk'><source/></disk>", []),
        ("", []),
    ],
)
def test_the_block_devices_that_a_guest_writes_to_are_read_from_its_definition(
    disk: str, sources: list[str] | None
) -> None:
    expected = ["/dev/disk/by-id/dm-name-vg0-swap"] if sources is None else sources
    assert list(disk_sources(guest(devices=disk))) == expected


@pytest.mark.parametrize(
    ("said", "sources"),
    [
        (("-drive", "file=/dev/vg0/swap,format=raw,if=virtio"), ["/dev/vg0/swap"]),
        (("-drive", "if=virtio,file=/dev/mapper/vg0-swap"), ["/dev/mapper/vg0-swap"]),
        (
            (
                "-blockdev",
                "{&quot;driver&quot;:&quot;host_device&quot;,&quot;filename&quot;:&quot;/dev/vg0/swap&quot;}",
            ),
            None,
        ),
        (("-blockdev", "driver=host_device,filename=/dev/vg0/swap,node-name=s"), ["/dev/vg0/swap"]),
        (("-drive", "file=/srv/disk.img"), []),
        (("-chardev", "tty,path=/dev/ttyS0"), []),
    ],
)
def test_disks_handed_to_qemu_past_libvirt_are_seen_too(said: tuple[str, ...], sources: list[str] | None) -> None:
    assert list(disk_sources(guest(qemu(*said)))) == (["/dev/vg0/swap"] if sources is None else sources)


def test_every_disk_counts_once() -> None:
    swap = "<disk type='block' device='disk'><source dev='/dev/vg0/swap'/></disk>"
    other = "<disk type='block' device='disk'><source dev='/dev/vg0/web1'/></disk>"
    assert disk_sources(guest(devices=other + swap + swap)) == ("/dev/vg0/web1", "/dev/vg0/swap")
