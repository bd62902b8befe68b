"""What the kernel counts of a logical volume's I/O, and whether this host swaps to it. Reads sysfs and `/proc` only.

The counters are those of the volume's own device, wherever its pages lie: a read that a guest or this host's swap
waited for, from the local disk or from a lease. What LVM copies (a move, a raid1 that synchronises) is not in them.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from ramshare.linux.proc import read
from ramshare.linux.swap import ROOT, active_swap

SECTOR_BYTES = 512
"""Of the kernel's counters, whatever the disk's own are."""
_READS, _SECTORS_READ, _READ_MS, _SECTORS_WRITTEN, _BUSY_MS = 0, 2, 3, 6, 9
"""Places in `stat` (kernel: Documentation/block/stat.rst)."""


@dataclass(frozen=True)
class VolumeIo:
    """Counted since the device was made."""

    identity: str
    """LVM's UUID of group and volume: another volume of the same name has another one."""
    size_bytes: int
    reads: int = 0
    read_bytes: int = 0
    read_s: float = 0.0
    """Spent by all reads together."""
    write_bytes: int = 0
    busy_s: float = 0.0
    """In which anything was under way."""
    used_bytes: int | None = None
    """What this host has swapped out to it; None if this host does not swap to it."""


def read_volume_io(volume: str, root: Path = ROOT) -> VolumeIo | None:
    """Return what is counted of `VG/LV`; None if there is no such volume, or it is not active."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        number = (root / "dev" / volume).stat().st_rdev
        block = root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
        counted = [int(word) for word in read(block / "stat").split()]
        swap = active_swap(f"/dev/{volume}", root)
        return VolumeIo(
            identity=read(block / "dm/uuid").strip(),
            size_bytes=int(read(block / "size")) * SECTOR_BYTES,
            reads=counted[_READS],
            read_bytes=counted[_SECTORS_READ] * SECTOR_BYTES,
            read_s=counted[_READ_MS] / 1e3,
            write_bytes=counted[_SECTORS_WRITTEN] * SECTOR_BYTES,
            busy_s=counted[_BUSY_MS] / 1e3,
            used_bytes=swap.used_bytes if swap is not None else None,
        )
    return None
