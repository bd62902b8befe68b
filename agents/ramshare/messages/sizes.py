"""How people write sizes: `512M`, `1.5GiB`, `4096`."""

import re

from ramshare.messages.base import MAX_BYTES

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"^([0-9]{1,18}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(?:i?B)?$", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes that a size names, in powers of 1024. Raises `ValueError` saying what to write."""
    found = _SIZE.match(text.strip())
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a size; write for example 512M or 1.5G")
    size_bytes = round(float(found[1]) * _UNITS[found[2].upper()])
    if size_bytes <= 0:
        raise ValueError("a size must be more than zero")
    if size_bytes > MAX_BYTES:
        raise ValueError(f"{text[:40]} is more than any cluster has ({MAX_BYTES >> 40} TiB at most)")
    return size_bytes
