"""Single columns of LVM's report: how it writes tags, sizes, yes and no, names and devices."""

import re
from collections.abc import Mapping

from ramshare.linux.lvm_state import UNKNOWN_PV

_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_+.\-/=!:&#]+")
"""What may stand between tags: any character that LVM does not allow in one."""
_DEVICE = re.compile(r"[,;| ]*(.+?)\((\d+)\)")
"""A device with its first extent, in a list of them."""

Row = Mapping[str, str]
"""A row of the report; a column that LVM left out is empty."""


def tags(text: str) -> frozenset[str]:
    """Return the tags in a list of them."""
    return frozenset(filter(None, _NOT_IN_TAGS.split(text)))


def says(value: str, word: str) -> bool:
    """Whether a yes-or-no column says yes: by its word, or by 1 (`report/binary_values_as_numeric`)."""
    return value in (word, "1")


def number(text: str) -> int:
    """Return a size in bytes or a count; none where LVM has none to tell."""
    return int(text or 0)


def percent(text: str) -> float | None:
    """Return a percentage, None where LVM has none to tell."""
    return float(text) if text else None


def plain(name: str) -> str:
    """Strip the brackets that LVM puts around internal volumes (but not around `[unknown]` physical ones)."""
    if name in _UNKNOWN_NAMES:
        return UNKNOWN_PV
    return name[1:-1] if name.startswith("[") else name


_UNKNOWN_NAMES = (UNKNOWN_PV, "unknown device")


def devices(seg: Row) -> list[tuple[str, int]]:
    """Split `a(0),b(16)` into names and first extents."""
    return [(plain(name), int(extent)) for name, extent in _DEVICE.findall(seg["devices"])]
