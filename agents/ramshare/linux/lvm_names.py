"""Names, tags and filters in the form that LVM takes, checked before they reach a command line.

Volume names come from people and over the bus: nothing that LVM could read as an option or a second name gets through.
"""

import re
from collections.abc import Sequence

from ramshare.errors import ExitCode, RamshareError

_NAME = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]*")
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


def tag_options(add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Return the options that add and remove tags. Raises `LvmUsageError` for a tag that LVM would not take."""
    for tag in (*add, *remove):
        if not _TAG.fullmatch(tag):
            raise LvmUsageError(f"not a tag that LVM allows: {tag!r}")
    return [option for tag in add for option in ("--addtag", tag)] + [
        option for tag in remove for option in ("--deltag", tag)
    ]


def reject(devices: Sequence[str]) -> str:
    """Return LVM configuration that hides `devices` from a command; empty for none."""
    patterns = ",".join(f'"r|^{device}$|"' for device in devices)
    return f"devices{{global_filter=[{patterns}]}}" if patterns else ""
