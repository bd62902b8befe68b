"""What hides leased disks from our own calls of LVM: LVM must see what lies above encryption, and nothing below it.

A lender writes into its RAM file what it likes: a label that names the borrower's own group would keep that group from
being changed, one in a partition too. LVM hides a device if any of its names is refused and none is let in, so every
name of the disk and of its partitions is refused, before the owner's own patterns. A devices file in use needs none of
this: LVM then looks at what is in it only, which is what it has labelled itself. Used by the borrower.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ramshare.linux.crypt_names import UUID_PREFIX
from ramshare.linux.disk_identity import NAA_PREFIX
from ramshare.linux.proc import read
from ramshare.messages.names import PREFIX

STABLE_IDS = (f"r|^/dev/disk/by-id/.*{NAA_PREFIX}|", f"r|^/dev/disk/by-path/.*{PREFIX}:|")
"""Refuse every lease by what udev calls it, whatever its `/dev/sdX` is."""
_PLAIN_CHARACTER = re.compile(r"[^A-Za-z0-9_/:-]")


def refusing(disks: Iterable[str], root: Path = Path("/")) -> tuple[str, ...]:
    """Return patterns that refuse these disks, their partitions and what others made of them, by all their names."""
    devices = sorted({name for disk in disks for name in _made_of(Path(disk).name, root)})
    names = {f"/dev/{device}" for device in devices}
    for link in [*(root / "dev/disk").glob("*/*"), *(root / "dev/mapper").glob("*"), *(root / "dev/md").glob("*")]:
        if link.is_symlink() and link.resolve().name in devices:
            names.add(f"/{link.relative_to(root)}")
    return tuple(f"r|^{_PLAIN_CHARACTER.sub('.', name)}$|" for name in sorted(names))


def setting(patterns: Sequence[str]) -> str:
    """Return `devices/filter` with these patterns, for LVM's `--config`."""
    escaped = (re.sub(r'(["\\])', r"\\\1", pattern) for pattern in patterns)
    return f"devices/filter=[{','.join(f'{chr(34)}{pattern}{chr(34)}' for pattern in escaped)}]"


def _made_of(disk: str, root: Path) -> set[str]:
    """Return the disk, its partitions, and what holds them (an md array …) but for encryption and logical volumes."""
    place = root / "sys/class/block" / disk
    found = {disk}
    for entry in (*place.glob(f"{disk}*"), *place.glob("holders/*")):
        if not _read(entry / "dm/uuid").startswith((UUID_PREFIX, "LVM-")):
            found |= _made_of(entry.name, root)
    return found


def _read(path: Path) -> str:
    try:
        return read(path)
    except OSError:
        return ""
