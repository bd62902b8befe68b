"""Whether this host's own swap lies where it can be borrowed for: on a logical volume, with an extent to spare."""

from dataclasses import dataclass

from ramshare.linux.dm import volume_of_device
from ramshare.linux.host_checks.model import Finding, Host
from ramshare.linux.lvm import Lvm
from ramshare.linux.swap import read_swaps


@dataclass(frozen=True)
class SwapVolume:
    """A volume that the host swaps to."""

    name: str
    """`VG/LV`."""
    layout: str
    disks: tuple[str, ...]
    """The physical volumes that it lies on."""
    room_bytes: int
    """The most that is free on one of them."""
    extent_bytes: int


@dataclass(frozen=True)
class SwapLayout:
    """What the host swaps to."""

    volumes: tuple[SwapVolume, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Paths of swap that lies on no logical volume."""
    groups: int = 0
    """How many volume groups LVM shows."""


def observe(host: Host) -> SwapLayout:
    """Ask the kernel what it swaps to, and LVM where that lies."""
    state = Lvm(host.runner).report()
    volumes, elsewhere = [], []
    for swap in read_swaps(host.root / "proc"):
        name = volume_of_device(swap.path, host.root / "sys", host.root / "dev")
        volume = state.lv(name) if name else None
        if volume is None:
            elsewhere.append(swap.path)
            continue
        group, disks = state.vg(volume.vg), [pv for pv in state.disks_of(volume.vg) if pv.name in volume.pvs]
        room = max((pv.free_bytes for pv in disks if pv.allocatable), default=0)
        names, extent = tuple(pv.name for pv in disks), group.extent_bytes if group else 0
        volumes.append(SwapVolume(volume.full_name, volume.layout, names, room, extent))
    return SwapLayout(tuple(volumes), tuple(elsewhere), len(state.vgs))


def judge(facts: SwapLayout) -> list[Finding]:
    """Say what keeps volumes from being borrowed for; guests' swap volumes are seen when they are asked for."""
    found = []
    if not facts.groups:
        what = "LVM has no volume group here: swap that is to be borrowed for lies on a logical volume"
        found.append(Finding(what, "pvcreate DISK && vgcreate vg0 DISK && lvcreate -L 4G -n swap vg0, then mkswap it"))
    for path in facts.elsewhere:
        what = f"the swap {path} lies on no logical volume: nothing can be borrowed for it"
        found.append(Finding(what, "lvcreate -L 4G -n swap VG, mkswap and swapon it, then swapoff the other"))
    for volume in facts.volumes:
        if volume.layout == "linear" and volume.room_bytes < volume.extent_bytes:
            what = (
                f"{', '.join(volume.disks)} has no room for the extent ({volume.extent_bytes >> 20} MiB) that a mirror "
                f"needs beside {volume.name}"
            )
            mend = f"swapoff it, lvreduce -l -1 {volume.name}, mkswap and swapon it again; or borrow by --mode move"
            found.append(Finding(what, mend))
    return found
