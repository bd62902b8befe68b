"""Names, tags and filters in the form that LVM takes, checked before they reach a command line.

Volume names come from people and over the bus: nothing that LVM could read as an option or a second name gets through.
"""

import re
from collections.abc import Sequence

from ramshare.errors import ExitCode, RamshareError

_NAME = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]*")
_LEG = re.compile(r"(_r(image|meta)_[0-9]+(-missing_[0-9]+_[0-9]+)?)?")
_DM_PREFIXES = ("/dev/mapper/", "/dev/disk/by-id/dm-name-")
_TAG = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.\-/=!:&#]*")


class LvmUsageError(RamshareError):
    """A volume's name or a tag that LVM would not take."""

    exit_code = ExitCode.USAGE


def split_volume(full_name: str) -> tuple[str, str]:
    """Split `VG/LV`. Raises `LvmUsageError` unless both are names that LVM allows."""
    vg, slash, lv = full_name.partition("/")
    if not slash or not _NAME.fullmatch(vg) or not _NAME.fullmatch(lv):
        raise LvmUsageError(f"not a logical volume: {full_name!r}", "name it VG/LV; `lvs` lists them")
    return vg, lv


def dm_name(vg: str, lv: str) -> str:
    """Return the device-mapper name of a logical volume: hyphens in names are doubled."""
    return f"{vg.replace('-', '--')}-{lv.replace('-', '--')}"


def split_dm_name(name: str) -> tuple[str, str] | None:
    """Return group and volume of a device-mapper name, None if it is not one of a logical volume."""
    parts = [part.replace("\0", "-") for part in name.replace("--", "\0").split("-")]
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None


def is_device_of(name: str, vg: str, lv: str) -> bool:
    """Whether the device-mapper device `name` is this volume or one of its raid1 legs.

    Those names are exact: `vg0-swap2` and `vg0-swap-cow` begin with the same letters and are somebody else's.
    """
    base = dm_name(vg, lv)
    return name.startswith(base) and _LEG.fullmatch(name[len(base) :]) is not None


def is_stub_of(name: str, vg: str, lv: str) -> bool:
    """Whether the device is an error device that LVM put in place of a missing disk below this volume's legs."""
    return is_device_of(name, vg, lv) and "-missing_" in name


def volume_of_path(text: str) -> str | None:
    """Return the `VG/LV` that a name as people paste it stands for, None if that takes a look at its host.

    Understood are `VG/LV`, `/dev/VG/LV`, `/dev/mapper/VG-LV` and udev's `/dev/disk/by-id/dm-name-VG-LV`.
    """
    for prefix in _DM_PREFIXES:
        if text.startswith(prefix):
            found = split_dm_name(text.removeprefix(prefix))
            return "/".join(found) if found else None
    parts = text.removeprefix("/dev/").split("/")
    return "/".join(parts) if len(parts) == 2 and all(map(_NAME.fullmatch, parts)) else None


def tag_options(add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Return the options that add and remove tags. Raises `LvmUsageError` for a tag that LVM would not take."""
    for tag in (*add, *remove):
        if not _TAG.fullmatch(tag):
            raise LvmUsageError(f"not a tag that LVM allows: {tag!r}")
    return [option for tag in add for option in ("--addtag", tag)] + [
        option for tag in remove for option in ("--deltag", tag)
    ]
