"""What a guest's definition says: whether a balloon may change its memory, and what its disks lie on.

Pure; used by `libvirt_guests.py`.

A balloon in memory that is held for the guest (huge pages, locked, written by a device) frees nothing for the host, or
takes pages away under the device; of encrypted memory the host gets back what it cannot use; and what another mechanism
sizes is not for two to move (libvirt's formatdomain, QEMU's `ram_block_discard_disable`).
"""

import re
from xml.etree import ElementTree

QEMU_NAMESPACE = "{http://libvirt.org/schemas/domain/qemu/1.0}"

HUGE_PAGES = "its memory is huge pages"
LOCKED = "its memory is locked"
IN_ADVANCE = "its memory is allocated in advance"
ENCRYPTED = "its memory is encrypted"
VIRTIO_MEM = "virtio-mem sizes it"
PASSED_THROUGH = "a device is passed through to it"
NO_BALLOON = "it has no balloon"
SELF_DEFLATING = "its balloon empties itself"

_REACHES_NO_MEMORY = frozenset({"usb", "scsi", "scsi_host"})
"""Passed-through devices that the hypervisor itself works: they do not reach into the guest's memory."""
_FROM_COMMAND_LINE = (
    ("hugetlb=on", HUGE_PAGES),
    ("hugepages", HUGE_PAGES),
    ("mem-lock=on", LOCKED),
    ("mlock=on", LOCKED),
    ("prealloc", IN_ADVANCE),
    ("confidential-guest-support", ENCRYPTED),
    ("memory-encryption", ENCRYPTED),
    ("virtio-mem", VIRTIO_MEM),
    ("vfio-", PASSED_THROUGH),
    ("vhost-vdpa", PASSED_THROUGH),
)
"""Parts of what people hand to QEMU past libvirt."""


_DISKS = frozenset({None, "disk", "lun"})
"""What a guest may swap to; no CD-ROM or floppy."""
_ON_COMMAND_LINE = re.compile(r"""\b(?:file|filename)["']?\s*[=:]\s*["']?(/dev/[^,"'\s}]+)""")
"""Of `-drive file=/dev/vg0/swap,…` and `-blockdev {"filename": "/dev/vg0/swap"}`."""


def disk_sources(xml: str) -> tuple[str, ...]:
    """Return the block devices of the host that the guest with this definition writes to, as they are named there.

    A volume of a storage pool is taken to be `/dev/POOL/VOLUME`, as libvirt calls a volume group. What is on another
    machine, in a file, or read only is left out.
    """
    domain = ElementTree.fromstring(xml)
    found = [
        _source(disk)
        for disk in domain.iterfind("devices/disk")
        if disk.get("device") in _DISKS and disk.find("readonly") is None
    ]
    found += [device for said in _command_line(domain) for device in _ON_COMMAND_LINE.findall(said)]
    return tuple(dict.fromkeys(source for source in found if source))


def _source(disk: ElementTree.Element) -> str:
    source = disk.find("source")
    if source is None:
        return ""
    if disk.get("type") == "volume":
        pool, volume = source.get("pool", ""), source.get("volume", "")
        return f"/dev/{pool}/{volume}" if pool and volume else ""
    if disk.get("type") == "block":
        return source.get("dev", "")
    named = source.get("file", "")
    return named if disk.get("type") == "file" and named.startswith("/dev/") else ""


def why_left_alone(xml: str) -> str:
    """Return why the balloon of the guest with this definition must not be used, empty if it may be."""
    domain = ElementTree.fromstring(xml)
    backing = domain.find("memoryBacking")
    if backing is not None:
        if backing.find("hugepages") is not None:
            return HUGE_PAGES
        if backing.find("locked") is not None:
            return LOCKED
        if backing.find("allocation[@mode='immediate']") is not None:
            return IN_ADVANCE
    if domain.find("launchSecurity") is not None:
        return ENCRYPTED
    if domain.find("devices/memory[@model='virtio-mem']") is not None:
        return VIRTIO_MEM
    return _passed_through(domain) or _on_command_line(domain) or _balloon(domain)


def _passed_through(domain: ElementTree.Element) -> str:
    devices = [
        *(host for host in domain.iterfind("devices/hostdev") if host.get("type") not in _REACHES_NO_MEMORY),
        *(card for card in domain.iterfind("devices/interface") if card.get("type") in ("hostdev", "vdpa")),
        *(disk for disk in domain.iterfind("devices/disk") if disk.get("type") in ("nvme", "vhostvdpa")),
    ]
    return PASSED_THROUGH if devices else ""


def _on_command_line(domain: ElementTree.Element) -> str:
    said = _command_line(domain)
    return next((why for part, why in _FROM_COMMAND_LINE if any(part in value for value in said)), "")


def _command_line(domain: ElementTree.Element) -> list[str]:
    path = f"{QEMU_NAMESPACE}commandline/{QEMU_NAMESPACE}arg"
    return [argument.get("value", "") for argument in domain.iterfind(path)]


def _balloon(domain: ElementTree.Element) -> str:
    balloon = domain.find("devices/memballoon")
    if balloon is None or balloon.get("model") == "none":
        return NO_BALLOON
    # The guest's kernel counts such a balloon as used, so that what it uses itself cannot be told.
    return SELF_DEFLATING if balloon.get("autodeflate") == "on" else ""
